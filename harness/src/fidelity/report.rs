//! The printed forms.

use std::fmt::Write as _;

use super::Comparison;
use super::body::Event;
use crate::linux::KernelImage;

/// The columns of one side: offset and event.
const SIDE: usize = 47;

/// What the image is.
#[must_use]
pub fn title(image: &KernelImage) -> String {
    let build = image.build_id.as_deref().unwrap_or("none");
    format!("{} ({}), build id {build}\n", image.release, image.cpu.name)
}

/// One line for each function.
#[must_use]
pub fn table(image: &KernelImage, comparisons: &[Comparison]) -> String {
    let mut text = title(image);
    let names = comparisons.iter().map(|comparison| name(comparison).len()).max().unwrap_or_default().max(8);
    let _ = writeln!(
        text,
        "{:<names$}  {:>5} {:>5}  {:>5}  {:>10}  {:>10}  {:>4}",
        "function", "mimic", "image", "equal", "only mimic", "only image", "nops"
    );
    for comparison in comparisons {
        let _ = match &comparison.rows {
            Err(reason) => writeln!(text, "{:<names$}  {:>5}  {reason}", name(comparison), comparison.events),
            Ok(_) => {
                let [both, mimic, real] = comparison.counts();
                writeln!(
                    text,
                    "{:<names$}  {:>5} {:>5}  {both:>5}  {mimic:>10}  {real:>10}  {:>4}",
                    name(comparison),
                    comparison.events,
                    comparison.image_events,
                    comparison.nops
                )
            }
        };
    }
    let [equal, differ, missing] = totals(comparisons);
    let _ = writeln!(text, "{equal} equal, {differ} differ, {missing} not in this image. {LINKED}");
    text
}

/// Of what the image is a picture.
pub(super) const LINKED: &str = "The image is as linked: what boot patches in is nop.";

fn name(comparison: &Comparison) -> String {
    if comparison.mimic == comparison.image {
        comparison.image.clone()
    } else {
        format!("{} ({})", comparison.image, comparison.mimic)
    }
}

/// How many functions are equal, differ, and are missing.
pub(super) fn totals(comparisons: &[Comparison]) -> [usize; 3] {
    let missing = comparisons.iter().filter(|comparison| comparison.rows.is_err()).count();
    let differ = comparisons.iter().filter(|comparison| comparison.differences() > 0).count();
    [comparisons.len() - missing - differ, differ, missing]
}

fn verdict(comparison: &Comparison) -> String {
    match (&comparison.rows, comparison.differences()) {
        (Err(reason), _) => reason.clone(),
        (Ok(_), 0) => "equal".to_owned(),
        (Ok(_), 1) => "1 difference".to_owned(),
        (Ok(_), count) => format!("{count} differences"),
    }
}

/// A heading, and the events of both, at most 100 columns wide: `=` in both, `<` in the mimic alone, `>` in the image alone.
#[must_use]
pub fn side_by_side(comparison: &Comparison) -> String {
    let mut text = format!("{}  {}", name(comparison), verdict(comparison));
    if comparison.nops > 0 {
        let _ = write!(text, ", {} nop", comparison.nops);
    }
    text.push('\n');
    for row in comparison.rows.as_deref().unwrap_or_default() {
        let mark = match (&row.mimic, &row.image) {
            (Some(_), Some(_)) => '=',
            (Some(_), None) => '<',
            _ => '>',
        };
        let (mimic, image) = (side(row.mimic.as_ref()), side(row.image.as_ref()));
        let _ = writeln!(text, "{}", format!("{mark} {mimic:<SIDE$}  {image}").trim_end());
    }
    text
}

fn side(event: Option<&Event>) -> String {
    let Some(event) = event else { return String::new() };
    let text = format!("{:>+#6x} {}", event.offset, event.text);
    if text.chars().count() <= SIDE {
        return text;
    }
    text.chars().take(SIDE - 2).chain("..".chars()).collect()
}
