//! The guests' mimics beside real kernels, as `.ci/linux` fetches them.

use std::path::Path;

use unwind_harness::fidelity::{Comparison, compare, markdown, side_by_side, table};

use crate::linux_packages::images;

/// Functions whose mimics are, to an unwinder, the pinned images' own.
const FAITHFUL: &[&str] = &[
    "el1h_64_irq",
    "ret_to_kernel",
    "call_on_irq_stack",
    "cpu_switch_to",
    "ret_from_fork",
    "return_to_handler",
    "__switch_to",
    "ret_from_fork_kernel_asm",
    "ret_from_fork_asm",
];

/// Which are not, in spite of the list above, and why.
const UNLESS: &[(&str, &str)] = &[
    // It computes the IRQ stack's high end in SP's own way; compared is only that SP is set.
    ("riscv64", "call_on_irq_stack"),
];

#[test]
fn mimics_stay_as_faithful_as_they_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for image in images("mimics_stay_as_faithful_as_they_are") {
        let comparisons = compare(root, &image).expect("the guests are there");
        assert!(comparisons.len() >= 10);
        for comparison in &comparisons {
            let Comparison { image: name, rows, events, image_events, .. } = comparison;
            let Ok(rows) = rows else { panic!("{}: no {name}", image.release) };
            let [both, mimic, real] = comparison.counts();
            assert!(*events > 0 && *image_events > 0, "{name}");
            assert_eq!(
                (both + mimic, both + real, both + mimic + real),
                (*events, *image_events, rows.len()),
                "{name}"
            );
            let text = side_by_side(comparison);
            assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
            let is_excepted = UNLESS.contains(&(image.cpu.name, name));
            if FAITHFUL.contains(&name.as_str()) && !is_excepted {
                assert_eq!(comparison.differences(), 0, "{}: {text}", image.release);
                assert!(text.lines().skip(1).all(|line| line.starts_with('=')), "{text}");
            }
        }
        let table = table(&image, &comparisons);
        assert_eq!(table.lines().count(), comparisons.len() + 3, "{table}");
        let markdown = markdown(&image, &comparisons);
        assert_eq!(markdown.matches("```text").count(), comparisons.iter().filter(|it| it.differences() > 0).count());
    }
}
