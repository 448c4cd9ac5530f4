//! The mutants that were planted, and what catches each.

/// What catches a mutant.
pub(super) enum Guard {
    /// The gate of this scenario.
    Gate(&'static str),
    /// This test, in this file.
    Test(&'static str, &'static str),
}

use Guard::{Gate, Test};

const HERE: &str = "harness/tests/mutants.rs";
const COMPLETENESS: &str = "harness/tests/completeness.rs";
const VERDICT: &str = "harness/src/verdict/tests.rs";
const KERNEL: &str = "harness/kunwind/tests/kernel.rs";
const NEXT_SP: &str = "harness/kunwind/tests/next_sp.rs";
const BOUNDARY: &str = "harness/kunwind/tests/boundary.rs";
const USER: &str = "harness/kunwind/tests/user.rs";

/// The file that was changed, what the mutant does, and what catches it.
pub(super) const MUTANTS: &[(&str, &str, &[Guard])] = &[
    (
        "harness/src/analysis/gate.rs",
        "[[known]] covers any verdict",
        &[Test(HERE, "a_known_deviation_covers_no_other_verdict")],
    ),
    (
        "harness/src/analysis/gate.rs",
        "[[known]] covers any subject, function, offset, variant or kind of interruption",
        &[
            Test(HERE, "a_known_deviation_covers_no_other_subject"),
            Test(HERE, "a_known_deviation_covers_no_other_place"),
            Test(HERE, "a_known_deviation_covers_no_other_variant_and_no_other_kind_of_interruption"),
        ],
    ),
    (
        "harness/src/analysis/gate.rs",
        "one end of a [[known]] range, or none, has to be real",
        &[Test(HERE, "both_ends_of_a_known_range_must_be_real")],
    ),
    (
        "harness/src/analysis/gate.rs",
        "a subject may be right as seldom as it likes",
        &[
            Test(COMPLETENESS, "a_walker_that_always_fails_breaks_a_gate_wherever_it_is_right_today"),
            Test(COMPLETENESS, "a_floor_is_held_to_the_walk_and_says_where_it_broke"),
        ],
    ),
    (
        "harness/src/analysis/gate.rs",
        "reads outside of the stacks, unread data or a run without points are no failure",
        &[Test(HERE, "a_gate_breaks_for_what_is_no_verdict")],
    ),
    (
        "harness/src/scenario/demand.rs",
        "`exact` allows `~`, or all that is not `!`",
        &[Test(HERE, "a_level_allows_what_it_says_and_nothing_else")],
    ),
    (
        "harness/src/oracle/mod.rs",
        "calls that never resume need not be listed in never-resumes",
        &[Test(HERE, "a_call_that_never_returns_voids_the_run_unless_its_function_is_listed")],
    ),
    (
        "harness/src/oracle/mod.rs",
        "poison may equal a return address",
        &[Test(HERE, "poison_that_equals_a_return_address_voids_the_run")],
    ),
    (
        "harness/src/verdict/align.rs",
        "walk and truth are aligned by pc alone",
        &[
            Gate("arm64/recursion_wrong_cfa"),
            Gate("riscv64/recursion_wrong_cfa"),
            Gate("x86_64/recursion_wrong_cfa"),
            Test(VERDICT, "a_repeated_activation"),
        ],
    ),
    (
        "harness/src/verdict/align.rs",
        "an activation that a walk skips is not missed",
        &[Gate("arm64/fgraph_nested"), Gate("arm64/sdei"), Test(VERDICT, "a_skipped_activation")],
    ),
    (
        "harness/src/verdict/align.rs",
        "a CFA, a frame pointer or a callee-saved register is not compared",
        &[
            Gate("riscv64/museum_millicode"),
            Gate("arm64/leaf_misannotated"),
            Gate("riscv64/museum_push_order"),
            Test(VERDICT, "a_wrong_state_with_right_pcs"),
        ],
    ),
    (
        "harness/src/verdict/align.rs",
        "an entry that repeats an earlier one is a stranger",
        &[Gate("arm64/leaf_misannotated"), Test(VERDICT, "a_repeated_activation")],
    ),
    (
        "harness/kunwind/src/kernel/records.rs",
        "pt_regs are not consumed",
        &[
            Gate("arm64/stack_order"),
            Gate("arm64/sframe_checks"),
            Test(BOUNDARY, "v5_takes_sp_from_the_handlers_frame_record_and_not_from_pt_regs"),
        ],
    ),
    (
        "harness/kunwind/src/kernel/unwind_frame.rs",
        "pt_regs are not consumed",
        &[Gate("x86_64/syscall"), Gate("x86_64/corrupt_stack")],
    ),
    (
        "harness/kunwind/src/stack.rs",
        "x86's walk along rbp goes to any stack, wherever the present one was entered from",
        &[
            Test(NEXT_SP, "a_stack_leads_to_the_one_from_which_it_was_entered"),
            Test(NEXT_SP, "no_stack_is_entered_twice"),
        ],
    ),
    (
        "harness/kunwind/src/stack.rs",
        "stacks are bounded but not consumed, or entered twice",
        &[
            Gate("arm64/fgraph"),
            Gate("arm64/serror"),
            Gate("arm64/fault_in_irq"),
            Test("harness/kunwind/src/stack.rs", "a_stack_is_consumed_upwards"),
            Test("harness/kunwind/src/stack.rs", "a_stack_that_was_left_is_gone"),
        ],
    ),
    (
        "harness/kunwind/src/stack.rs",
        "a walk by ORC enters a stack twice",
        &[
            Gate("x86_64/stack_reentered"),
            Test("harness/kunwind/tests/orc/step.rs", "a_stack_is_entered_once_and_sp_rises_on_it"),
        ],
    ),
    (
        "harness/kunwind/src/kernel/boundary.rs",
        "the return address is consumed 8 bytes low",
        &[Gate("arm64/fgraph_nested")],
    ),
    (
        "harness/kunwind/src/unwinder/table.rs",
        "the return address is consumed 8 bytes low",
        &[Gate("arm64/recursion_wrong_cfa"), Gate("riscv64/recursion_wrong_cfa"), Gate("x86_64/recursion_wrong_cfa")],
    ),
    (
        "harness/kunwind/src/kernel/records.rs",
        "any FINAL record is the end",
        &[
            Gate("riscv64/fgraph_stale_record"),
            Gate("arm64/museum_record_below_sp"),
            Test(KERNEL, "arm64_ends_at_the_final_record_of_the_task_and_nowhere_else"),
        ],
    ),
    (
        "harness/kunwind/src/kernel/walk_stackframe.rs",
        "it stops at once",
        &[
            Gate("riscv64/stack_order"),
            Gate("riscv64/syscall"),
            Gate("riscv64/s0_scratch"),
            Test(COMPLETENESS, "a_walker_that_always_fails_breaks_a_gate_wherever_it_is_right_today"),
        ],
    ),
    (
        "harness/kunwind/src/unwinder/user.rs",
        "the CFA need not rise",
        &[Gate("x86_64/cfa_not_rising"), Test(USER, "the_cfa_rises_but_the_youngest_frame_may_keep_sp")],
    ),
    (
        "harness/kunwind/src/unwinder/user.rs",
        "the CFA must rise in the youngest frame too",
        &[
            Gate("arm64/call_on_irq_stack"),
            Gate("arm64/noreturn_last_insn"),
            Test(USER, "the_cfa_rises_but_the_youngest_frame_may_keep_sp"),
        ],
    ),
    (
        "harness/kunwind/src/unwinder/user.rs",
        "a return address is looked up one byte back",
        &[
            Gate("arm64/noreturn_last_insn"),
            Gate("x86_64/noreturn_last_insn"),
            Test(USER, "a_return_address_is_looked_up_where_it_is"),
        ],
    ),
    (
        "harness/kunwind/src/kernel/boundary.rs",
        "the fallback to a frame record is not flagged",
        &[
            Gate("arm64/fgraph"),
            Gate("arm64/stack_order"),
            Test(BOUNDARY, "v5_falls_back_to_the_frame_record_where_metadata_fails_and_flags_that"),
        ],
    ),
    (
        "harness/kunwind/src/kernel/boundary.rs",
        "the slot of the frame pointer may lie anywhere",
        &[Gate("arm64/sdei_in_irq"), Gate("arm64/idle_secondary")],
    ),
    (
        "harness/kunwind/src/kernel/boundary.rs",
        "the CFA may be misaligned, or an outermost row ends the walk well",
        &[
            Gate("arm64/sframe_checks"),
            Gate("arm64/fgraph"),
            Test(BOUNDARY, "each_version_checks_the_cfa_with_its_own_mask_and_the_order_of_fp_and_sp_as_it_does"),
            Test(BOUNDARY, "an_outermost_row_ends_the_walk_well_in_v5_alone"),
        ],
    ),
    (
        "harness/kunwind/src/kernel/boundary.rs",
        "a row is followed with a misaligned frame pointer",
        &[Test(BOUNDARY, "no_row_is_followed_with_a_misaligned_frame_pointer")],
    ),
    (
        "harness/kunwind/src/kernel/boundary.rs",
        "a signed return address keeps its signature",
        &[Gate("arm64/pac_signed")],
    ),
    (
        "harness/kunwind/src/kernel/records.rs",
        "a record of a trampoline is not consumed",
        &[Test(KERNEL, "a_record_of_a_trampoline_is_consumed_like_any_other")],
    ),
    (
        "harness/kunwind/src/kernel/walk_stackframe.rs",
        "a frame pointer may be misaligned",
        &[Test(KERNEL, "riscv_mainline_stops_where_a_frame_pointer_cannot_be_one_and_never_says_why")],
    ),
    (
        "harness/kunwind/src/kernel/walk_stackframe.rs",
        "the rule for leaves is dropped, or holds for return addresses too",
        &[
            Gate("riscv64/leaf_s0_in_ra_slot"),
            Test(KERNEL, "riscv_mainline_takes_a_lone_s0_in_the_slot_of_ra_for_a_leaf_only_at_the_start_from_pt_regs"),
        ],
    ),
    (
        "harness/kunwind/src/kernel/walk_stackframe.rs",
        "exceptions are not noticed",
        &[Gate("riscv64/fault_in_irq"), Gate("riscv64/syscall")],
    ),
    (
        "harness/kunwind/src/kernel/unwind_frame.rs",
        "a frame pointer may be misaligned",
        &[Test(KERNEL, "x86_follows_no_misaligned_frame_pointer")],
    ),
    (
        "harness/kunwind/src/kernel/unwind_frame.rs",
        "the last record of a realigned stack is not known",
        &[Test(KERNEL, "x86_knows_the_last_record_where_gcc_realigned_the_stack")],
    ),
    (
        "harness/kunwind/src/kernel/unwind_frame.rs",
        "the reliable walk begins at an interrupted instruction",
        &[Gate("x86_64/fgraph"), Gate("x86_64/stack_order")],
    ),
    (
        "harness/kunwind/src/kernel/unwind_frame.rs",
        "pt_regs of user mode, or those of the task, are no end",
        &[Gate("x86_64/corrupt_stack"), Gate("x86_64/idle_primary")],
    ),
    (
        "harness/kunwind/src/kernel/unwind_orc.rs",
        "words below rsp are believed inside of return_to_handler",
        &[Gate("x86_64/fgraph_stale_bp")],
    ),
    (
        "harness/kunwind/src/kernel/trampoline.rs",
        "the design that refuses the trampoline does not, or one that has lost the address goes on",
        &[Gate("arm64/fgraph_nested"), Gate("arm64/fgraph_sdei")],
    ),
    (
        "harness/kunwind/src/kernel/trampoline.rs",
        "what the ret_stack gives is not asked for again",
        &[Gate("arm64/rethook_fgraph"), Gate("riscv64/rethook_fgraph")],
    ),
    (
        "harness/kunwind/src/kernel/recover.rs",
        "a circle of return hooks is left with a trampoline's address",
        &[Test(
            "harness/kunwind/tests/return_hook.rs",
            "a_design_gives_up_where_the_second_answer_is_a_trampoline_too",
        )],
    ),
    (
        "harness/kunwind/src/return_hook.rs",
        "an entry or a node is used twice, or holds the trampoline",
        &[Test(
            "harness/kunwind/tests/return_hook.rs",
            "an_entry_and_a_node_are_used_once_and_not_those_that_hold_the_trampoline",
        )],
    ),
];
