//! Functions as their events, made by hand; and the guests' mimics beside real kernels, as `.ci/linux` fetches them.

use std::collections::BTreeMap;
use std::path::Path;

use unwind_harness::cpu;
use unwind_harness::fidelity::{Body, Code, Compared, Comparison, Event, Pages, Thunks, compare, side_by_side, table};

use crate::linux_packages::{images, require_pinned};

/// The pinned images, compared; those of other releases are checked for what holds for every image.
fn compared(test: &str) -> Vec<Compared> {
    let mut pinned = Vec::new();
    for image in images(test) {
        let comparisons = compare(root(), &image).expect("the guests are there");
        assert!(comparisons.len() >= 10);
        for comparison in &comparisons {
            require_counts(&image.release, comparison);
        }
        let table = table(&image, &comparisons);
        assert_eq!(table.lines().count(), comparisons.len() + 3, "{table}");
        assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
        if require_pinned(test, &image) {
            pinned.push(Compared::new(&image, comparisons));
        }
    }
    pinned
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn require_counts(release: &str, comparison: &Comparison) {
    let Comparison { image: name, rows, events, image_events, .. } = comparison;
    let Ok(rows) = rows else { panic!("{release}: no {name}") };
    let [both, mimic, real] = comparison.counts();
    assert!(*events > 0 && *image_events > 0, "{name}");
    assert_eq!((both + mimic, both + real, both + mimic + real), (*events, *image_events, rows.len()), "{name}");
    let text = side_by_side(comparison);
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    let marks = text.lines().skip(1).filter(|line| !line.starts_with('=')).count();
    assert_eq!(marks, comparison.differences(), "{text}");
}

/// A mimic that comes to differ, and a reason for a difference that is gone, are both mistakes.
#[test]
fn every_mimic_is_equal_or_says_why_not() {
    for Compared { release, comparisons, .. } in compared("every_mimic_is_equal_or_says_why_not") {
        for comparison in &comparisons {
            let is_explained = comparison.differs.is_some();
            assert_eq!(comparison.differences() > 0, is_explained, "{release}: {}", side_by_side(comparison));
        }
        assert!(comparisons.iter().filter(|comparison| comparison.differences() == 0).count() >= 6, "{release}");
    }
}

#[test]
fn the_pages_are_those_that_the_pinned_images_give() {
    let test = "the_pages_are_those_that_the_pinned_images_give";
    let (pages, all) = (Pages::load(root()).expect("the prose is there"), compared(test));
    let Ok(written) = pages.of(&all) else {
        // Pages of the images that are there cannot be whole; what is missing was said above.
        assert!(all.len() < cpu::ALL.len());
        return;
    };
    assert_eq!(written.len(), cpu::ALL.len() + 1);
    for (path, text) in written {
        let there = std::fs::read_to_string(root().join("docs").join(&path)).expect("the page is checked in");
        let again = "cargo run --release -- fidelity --linux target/linux --markdown docs";
        assert_eq!(there, text, "{}: {again}", path.display());
        assert!(!text.contains("{comparison}") && !text.contains("not explained"), "{}", path.display());
    }
}

#[test]
fn pages_need_one_image_of_each_cpu() {
    let pages = Pages::load(root()).expect("the prose is there");
    let one = |name: &str| Compared {
        cpu: cpu::by_name(name).expect("a CPU"),
        release: "7.3".to_owned(),
        build_id: "none".to_owned(),
        comparisons: Vec::new(),
    };
    let all: Vec<_> = cpu::ALL.iter().map(|cpu| one(cpu.name)).collect();
    assert_eq!(pages.of(&all).expect("it is whole").len(), cpu::ALL.len() + 1);
    assert!(pages.of(&all[1..]).expect_err("one is missing").to_string().contains(cpu::ALL[0].name));
    let twice: Vec<_> = all.into_iter().chain([one("riscv64")]).collect();
    assert!(pages.of(&twice).expect_err("one is there twice").to_string().contains("riscv64"));
}

/// The events of this code at 0x1000, as they are shown, with `*` where they are compared as less than that.
fn events(cpu: &str, bytes: &[u8], names: &[(u64, &str)]) -> (Vec<String>, usize) {
    let names: BTreeMap<u64, &str> = names.iter().copied().collect();
    let name_of =
        Box::new(move |address| names.get(&address).map_or_else(|| format!("{address:#x}"), |&it| it.to_owned()));
    let code = Code { start: 0x1000, bytes, name_of };
    let body = Body::of(cpu::by_name(cpu).expect("a CPU"), &[code], &[], &Thunks::load()).expect("it decodes");
    let shown = |event: Event| if event.key == event.text { event.text } else { format!("{}*", event.text) };
    (body.events.into_iter().map(shown).collect(), body.nops)
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[test]
fn branches_labels_and_calls_are_events_and_what_is_never_reached_is_not() {
    let code = words(&[
        0xd503_201f, // 1000 nop
        0xd280_0033, // 1004 mov x19, #1
        0xb400_0060, // 1008 cbz x0, 1014
        0x9400_03fd, // 100c bl 2000
        0x17ff_ffff, // 1010 b 100c
        0xf900_07f3, // 1014 str x19, [sp, #8]
        0xd69f_03e0, // 1018 eret
        0xd503_201f, // 101c nop
        0x9100_43ff, // 1020 add sp, sp, #16: behind the end
    ]);
    let expected = ["branch forward", "label:", "call callee*", "jump back", "label:", "[sp+8] = 1", "eret"];
    assert_eq!(events("arm64", &code, &[(0x2000, "callee")]), (expected.map(str::to_owned).to_vec(), 1));
}

#[test]
fn a_register_holds_at_a_label_only_what_it_holds_on_all_ways_there() {
    let code = words(&[
        0xd280_0020, // 1000 mov x0, #1
        0xb400_0041, // 1004 cbz x1, 100c
        0xd280_0040, // 1008 mov x0, #2
        0xf900_03e0, // 100c str x0, [sp]: 1 or 2
        0xd65f_03c0, // 1010 ret
    ]);
    assert_eq!(events("arm64", &code, &[]).0, ["branch forward", "label:", "return"]);
}

#[test]
fn a_far_call_of_riscv64_has_a_name() {
    let code = words(&[
        0x0000_1097, // 1000 auipc ra, 1
        0x0000_80e7, // 1004 jalr ra, 0(ra)
        0x1020_0073, // 1008 sret
    ]);
    let expected = ["ra = page 0x2000*", "call callee*", "sret"];
    assert_eq!(events("riscv64", &code, &[(0x2000, "callee")]).0, expected);
}

#[test]
fn a_return_thunk_of_x86_64_is_a_return() {
    let code = [
        0x55, // 1000 push %rbp
        0x48, 0x89, 0xe5, // 1001 mov %rsp, %rbp
        0x48, 0x89, 0xea, // 1004 mov %rbp, %rdx
        0x48, 0x89, 0x54, 0x24, 0x20, // 1007 mov %rdx, 32(%rsp)
        0xba, 0x05, 0, 0, 0, // 100c mov $5, %edx
        0x48, 0x89, 0x54, 0x24, 0x28, // 1011 mov %rdx, 40(%rsp)
        0x5d, // 1016 pop %rbp
        0xe9, 0xe4, 0x0f, 0, 0,    // 1017 jmp 2000
        0xcc, // 101c int3
    ];
    let names = [(0x2000, "__x86_return_thunk")];
    let expected = ["push fp", "fp = sp", "[sp+32] = fp", "[sp+40] = 5", "pop fp", "return"];
    assert_eq!(events("x86_64", &code, &names).0, expected);
    assert_eq!(events("x86_64", &code, &[(0x2000, "other")]).0.last().expect("an event"), "jump other*");
}
