//! Lists of numbers, short: ranges of arrivals, and the steps from instruction to instruction.

/// Numbers, as the first and the last of each range.
pub(super) type Ranges = Vec<(u64, u64)>;

/// Appends a range that starts after the others.
pub(super) fn append(ranges: &mut Ranges, first: u64, last: u64) {
    match ranges.last_mut() {
        Some(range) if range.1 + 1 == first => range.1 = last,
        _ => ranges.push((first, last)),
    }
}

/// The numbers from the place `first` to the place `last`, where the places count the numbers from 1.
pub(super) fn part(ranges: &[(u64, u64)], first: u64, last: u64) -> Ranges {
    let mut before = 0;
    let mut found = Ranges::new();
    for (from, to) in ranges {
        let count = to - from + 1;
        let (low, high) = (first.max(before + 1), last.min(before + count));
        if low <= high {
            found.push((from + low - before - 1, from + high - before - 1));
        }
        before += count;
    }
    found
}

/// `1-3,7`.
pub(super) fn write(ranges: &[(u64, u64)]) -> String {
    let parts =
        ranges.iter().map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") });
    parts.collect::<Vec<_>>().join(",")
}

/// Reads what [`write()`] has written.
///
/// # Errors
///
/// A sentence.
pub(super) fn read(text: &str) -> Result<Ranges, String> {
    let wrong = || format!("{text:?} is not of the form 1-3,7");
    let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
    let parts = text.split(',').map(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first <= last { Ok((first, last)) } else { Err(wrong()) }
    });
    parts.collect()
}

/// `4*14,2`: fourteen steps of four bytes, and one of two.
pub(super) fn write_steps(steps: &[u64]) -> String {
    let parts = steps.chunk_by(|one, other| one == other).map(|equal| match equal {
        [step] => step.to_string(),
        _ => format!("{}*{}", equal[0], equal.len()),
    });
    parts.collect::<Vec<_>>().join(",")
}

/// No function has more instructions.
const MAX_STEPS: usize = 1 << 20;

/// Reads what [`write_steps`] has written.
///
/// # Errors
///
/// A sentence.
pub(super) fn read_steps(text: &str) -> Result<Vec<u64>, String> {
    let wrong = || format!("{text:?} is not of the form 4*14,2");
    let mut steps = Vec::new();
    for part in text.split(',') {
        let (step, count) = part.split_once('*').unwrap_or((part, "1"));
        let step: u64 = step.parse().map_err(|_| wrong())?;
        let count: usize = count.parse().map_err(|_| wrong())?;
        if step == 0 || count > MAX_STEPS - steps.len() {
            return Err(wrong());
        }
        steps.extend(std::iter::repeat_n(step, count));
    }
    Ok(steps)
}
