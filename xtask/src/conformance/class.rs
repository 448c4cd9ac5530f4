//! What kind of place an instruction is.

/// The classes, in the order of the table.
pub(super) const ALL: [&str; 9] =
    ["prologue", "body", "epilogue", "leaf", "PLT", "signal frame", "stack switch", "tail call", "PAC"];

/// The class of each instruction of a function: by its scenario, where that is about one thing, else by the instructions around it.
/// A prologue is what begins a function and touches SP, the frame pointer or the link register; an epilogue what ends in a return and
/// does; a leaf calls nothing.
pub(super) fn of(scenario: &str, function: &str, instructions: &[&str]) -> Vec<&'static str> {
    let whole = match scenario.rsplit('/').next().unwrap_or_default() {
        "plt_stub" => Some("PLT"),
        "signals" => Some("signal frame"),
        "call_on_irq_stack" | "cfa_not_rising" | "fibers" => Some("stack switch"),
        "tail_call" => Some("tail call"),
        "pac" => Some("PAC"),
        _ if function.ends_with("@plt") => Some("PLT"),
        _ => None,
    };
    if let Some(class) = whole {
        return vec![class; instructions.len()];
    }
    let starts = |text: &str, words: &[&str]| words.contains(&text.split_whitespace().next().unwrap_or_default());
    let calls = |text: &str| {
        starts(text, &["bl", "blr", "blraa", "call", "callq", "jalr", "c.jalr"]) || text.starts_with("jal ")
    };
    if !instructions.iter().any(|text| calls(text)) {
        return vec!["leaf"; instructions.len()];
    }
    let of_frame = |text: &str| {
        ["sp", "x29", "x30", "rbp", "rsp", "s0", "ra", "push", "pop", "leave"]
            .iter()
            .any(|word| text.split(|letter: char| !letter.is_ascii_alphanumeric()).any(|part| part == *word))
            && !calls(text)
    };
    let mut classes = vec!["body"; instructions.len()];
    for (class, _) in classes.iter_mut().zip(instructions).take_while(|(_, text)| of_frame(text)) {
        *class = "prologue";
    }
    for end in (0..instructions.len()).filter(|at| starts(instructions[*at], &["ret", "retq", "retaa", "c.jr"])) {
        classes[end] = "epilogue";
        for before in (0..end).rev().take_while(|at| of_frame(instructions[*at])) {
            classes[before] = "epilogue";
        }
    }
    classes
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn a_function_has_a_prologue_a_body_and_an_epilogue() {
        let function = ["push rbp", "mov rbp, rsp", "mov edi, 1", "call leaf", "nop", "pop rbp", "ret"];
        let expected = ["prologue", "prologue", "body", "body", "body", "epilogue", "epilogue"];
        assert_eq!(of("x86_64/call_chain", "f", &function), expected);
        assert_eq!(of("x86_64/call_chain", "f", &["nop", "ret"]), ["leaf"; 2]);
        assert_eq!(of("arm64/plt_stub", "f", &["nop"]), ["PLT"]);
        assert_eq!(of("x86_64/signals", "handler", &["nop"]), ["signal frame"]);
        assert_eq!(of("x86_64/libc", "free@plt", &["jmp rax"]), ["PLT"]);
    }
}
