//! Debian's own kernels, as `.ci/linux` fetches them. Nothing of them is checked in: where one was not fetched, the tests that need it
//! say so and pass; `cargo xtask ci` then fails.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Once;

use unwind_harness::cpu;
use unwind_harness::linux::{KernelImage, SymbolSource, list};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/linux")
}

/// The list of tests that were skipped, which `xtask` prints and judges: a line each, with the reason.
fn skipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/skipped-tests")
}

/// What an earlier run has left there is not of this one.
fn begin() {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| drop(std::fs::remove_file(skipped())));
}

/// Says that a test is not made, or not for one image.
pub(crate) fn skip(test: &str, reason: &str) {
    begin();
    let line = format!("SKIPPED: {test}: {reason}\n");
    // Past the test runner, which shows only what failing tests print.
    let _ = std::io::stderr().write_all(line.as_bytes());
    let file = std::fs::OpenOptions::new().create(true).append(true).open(skipped());
    file.and_then(|mut file| file.write_all(line.as_bytes())).expect("target can be written to");
}

/// The images that were fetched. Where one of a CPU is missing, the test is skipped for that CPU.
pub(crate) fn images(test: &str) -> Vec<KernelImage> {
    let all = fetched();
    for cpu in cpu::ALL {
        require(test, cpu.name, &all);
    }
    all
}

/// The images of one CPU that were fetched.
pub(crate) fn images_of(test: &str, cpu: &str) -> Vec<KernelImage> {
    let mut all = fetched();
    all.retain(|image| image.cpu.name == cpu);
    require(test, cpu, &all);
    all
}

fn require(test: &str, cpu: &str, images: &[KernelImage]) {
    if !images.iter().any(|image| image.cpu.name == cpu) {
        // What `.ci/linux` says of an archive that it cannot reach.
        let unreachable = std::fs::read_to_string(folder().join("unreachable"));
        let reason = unreachable.as_deref().map_or("`.ci/linux` fetches it", str::trim);
        skip(test, &format!("no {cpu} image is in target/linux: {reason}"));
    }
}

fn fetched() -> Vec<KernelImage> {
    begin();
    // A folder without any image is an error there, and a reason to skip here.
    let listing = list(&folder()).unwrap_or_default();
    listing.images.iter().map(|path| KernelImage::open(path).expect("it is read")).collect()
}

/// Whether an image is the one whose numbers are known; if not, the test is skipped for it.
pub(crate) fn require_pinned(test: &str, image: &KernelImage) -> bool {
    let is_pinned = PINNED.iter().any(|pinned| pinned.0 == image.hash);
    if !is_pinned {
        skip(test, &format!("{} ({}) is not the pinned image: pin it in .ci/linux", image.release, image.cpu.name));
    }
    is_pinned
}

/// The pinned images: SHA-256 of `vmlinuz`, release, build id, symbols, types.
pub(crate) const PINNED: [(&str, &str, &str, usize, u32); 3] = [
    (
        "2187a5783e663d94a1f12901d0efbb554a288172a9ba77979f12b10d84e41dd1",
        "7.3.4+deb13-cloud-arm64",
        "b114001d8228c02ea1c3170732da3a7b611ce811",
        187_455,
        128_216,
    ),
    (
        "7435b9178e91998f4f70774510c4ffad6764a08c64b17f7ef9c4252ea5948932",
        "7.3.4+deb13-cloud-amd64",
        "1fe9968467f2755292a45806719b9bba136b0cc8",
        197_553,
        121_184,
    ),
    (
        "84b0b9ec39aa16cbe29d19a7c359a354fc893aa8b5a814122b4bb1536ebe9216",
        "7.2.13+deb14-riscv64",
        "09be080153cf8966479a51b87a1356ed07564687",
        118_383,
        111_942,
    ),
];

#[test]
fn a_real_image_agrees_with_itself() {
    for image in images("a_real_image_agrees_with_itself") {
        let name = &image.release;
        assert!(matches!(image.symbols.source(), SymbolSource::Kallsyms(_)), "{name}");
        assert!(
            ["_text", "_start"].iter().any(|first| image.address(first).is_ok_and(|it| it == image.base)),
            "{name}"
        );
        // That loading, relocations, symbols and types agree: the first task's stack is the linked one.
        let task = image.address("init_task").expect("a task");
        let stack = image.u64_at(task + image.offset("task_struct", "stack").expect("a field")).expect("a word");
        assert_eq!(stack, image.address("init_stack").expect("a stack"), "{name}");
        let comm = image.member("task_struct", "comm").expect("a field");
        let mut text = [0; 16];
        image.read(task + comm.offset, &mut text).expect("it is there");
        assert_eq!((comm.length, &text[..8]), (Some(16), &b"swapper\0"[..]), "{name}");
        // Text, read-only data and .bss follow one another.
        let at = |name: &str| image.address(name).expect("a symbol");
        let order =
            [at("_stext"), at("_etext"), at("_sdata"), at("_edata"), at("__bss_start"), at("__bss_stop"), at("_end")];
        assert!(order.is_sorted(), "{name}: {order:x?}");
        let bss = at("__bss_start").next_multiple_of(8);
        assert!(
            (bss..at("__bss_stop")).step_by(8).all(|word| image.u64_at(word) == Some(0)),
            "{name}: .bss is not zero"
        );
        let symbol = image.symbol("return_to_handler").expect("a function");
        assert!(symbol.is_function && symbol.is_size_inferred && symbol.size > 0, "{name}");
        assert_eq!(image.symbols.name(symbol.address + 1), "return_to_handler+0x1", "{name}");
        assert_eq!(image.build_id.as_ref().map(String::len), Some(40), "{name}");
    }
}

#[test]
fn the_pinned_images_are_read_whole() {
    for image in images("the_pinned_images_are_read_whole") {
        let pinned = PINNED.iter().find(|(hash, ..)| *hash == image.hash);
        let Some((_, release, build_id, symbols, types)) = pinned else {
            require_pinned("the_pinned_images_are_read_whole", &image);
            continue;
        };
        assert_eq!((image.release.as_str(), image.build_id.as_deref()), (*release, Some(*build_id)));
        assert_eq!((image.symbols.all().len(), image.types().expect("types").count()), (*symbols, *types), "{release}");
        assert_eq!(image.config, None, "{release}");
        let lacks: Vec<_> = image.lacks.iter().map(|lack| lack.feature).collect();
        let expected: &[&str] = match image.cpu.name {
            "arm64" => &["livepatch", "pseudo-NMI"],
            "riscv64" => &["livepatch", "reliable walk"],
            _ => &[],
        };
        assert_eq!(lacks, expected, "{release}");
    }
}
