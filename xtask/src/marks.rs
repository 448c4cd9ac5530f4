//! Pages of which a part is written by a task, between two lines.

/// The page with the part between its two lines replaced. `name` is for messages.
///
/// # Errors
///
/// The page lacks one of the lines.
pub(crate) fn replaced(name: &str, page: &str, [begin, end]: [&str; 2], part: &str) -> Result<String, String> {
    let missing = || format!("{name} has no lines {} and {}", begin.trim_end(), end.trim_end());
    let (before, rest) = page.split_once(begin).ok_or_else(missing)?;
    let (_, after) = rest.split_once(end).ok_or_else(missing)?;
    Ok(format!("{before}{begin}{part}{end}{after}"))
}
