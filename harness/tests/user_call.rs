//! Functions of other people's files, called without a scenario: Debian's libc packages for each CPU, where they are installed.

use std::path::{Path, PathBuf};

use unwind_harness::user::{Kind, Module};

/// The libc of a CPU: Debian's libc6-arm64-cross, libc6-riscv64-cross, and libc6 on amd64.
const LIBCS: [(&str, &str); 3] = [
    ("arm64", "/usr/aarch64-linux-gnu/lib/libc.so.6"),
    ("riscv64", "/usr/riscv64-linux-gnu/lib/libc.so.6"),
    ("x86_64", "/lib/x86_64-linux-gnu/libc.so.6"),
];

/// The libcs that are there. A missing one is said aloud.
fn libcs() -> impl Iterator<Item = (&'static str, PathBuf)> {
    LIBCS.into_iter().filter_map(|(cpu, path)| {
        let path = Path::new(path).to_path_buf();
        if !path.exists() {
            println!("SKIPPED: {cpu}: there is no {}; install Debian's libc6-*-cross", path.display());
        }
        path.exists().then_some((cpu, path))
    })
}

#[test]
fn a_libc_is_read_wherever_it_is_loaded() {
    for (cpu, path) in libcs() {
        let mut module = Module::load(&path).expect("it is an ELF file");
        assert_eq!((module.cpu.name, module.kind, &*module.name), (cpu, Kind::Shared, "libc.so.6"));
        let qsort = |module: &Module| {
            let symbol = module.symbols.iter().find(|symbol| symbol.name == "qsort").expect("it has qsort");
            let exported =
                module.dynamic.symbols.iter().find(|symbol| symbol.name == "qsort").expect("it exports qsort");
            assert_eq!(symbol.address, exported.value);
            assert!(exported.version.as_ref().is_some_and(|version| version.starts_with("GLIBC_2.")), "{exported:?}");
            symbol.address
        };
        let (linked, low) = (qsort(&module), module.extent().0);
        let place = module.dynamic.relocations[0].place;
        module.shift(0x2000_0000).expect("it can be moved");
        assert_eq!(qsort(&module), linked + 0x2000_0000);
        assert_eq!(module.extent().0, low + 0x2000_0000);
        assert_eq!(module.dynamic.relocations[0].place, place + 0x2000_0000);
        assert!(module.tls.is_some() && module.dynamic.needed.iter().any(|name| name.starts_with("ld-linux")));
        assert!(module.shift(1).is_err(), "by whole pages only");
        // Every place that is relocated is loaded.
        let places =
            module.dynamic.relocations.iter().map(|it| it.place).chain(module.dynamic.relative.iter().copied());
        let lost: Vec<u64> = places.filter(|place| module.word(*place).is_none()).collect();
        assert!(lost.is_empty(), "{lost:x?}");
        // Stripped code has names all the same.
        assert!(module.symbols.iter().any(|symbol| symbol.name.starts_with("sub_")), "{cpu}");
    }
}
