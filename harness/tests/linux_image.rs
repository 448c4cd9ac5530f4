//! Linux images from synthetic files: what is read, and that nothing malformed is more than an error.

mod build;

use std::path::Path;

use build::{BASE, SHAPES, Shape, X86_BASE};
use clap::Parser as _;
use proptest::prelude::*;
use unwind_harness::cli::Cli;
use unwind_harness::linux::{AddressFormat, Btf, KernelImage, SymbolSource, list};

fn parse(bytes: Vec<u8>) -> Result<KernelImage, String> {
    KernelImage::parse(Path::new("synthetic"), bytes).map_err(|error| error.to_string())
}

#[track_caller]
fn refused(bytes: Vec<u8>, says: &str) {
    let reason = parse(bytes).expect_err("it is refused");
    assert!(reason.starts_with("synthetic: ") && reason.contains(says), "{reason}");
}

#[test]
fn every_shape_of_kallsyms_gives_the_same_symbols() {
    for shape in SHAPES {
        for functions in [8, 300, 900] {
            let image =
                parse(build::arm64(functions, shape)).unwrap_or_else(|error| panic!("{shape:?} {functions}: {error}"));
            let all = image.symbols.all();
            assert_eq!(all.len(), functions + 4, "{shape:?}");
            assert_eq!((all[0].name.as_str(), all[0].address), ("_stext", BASE), "{shape:?}");
            for (index, name) in [(6, "function_6_of_xxxxxx".to_owned()), (7, "function_7_of_xxxxxxx".to_owned())] {
                let symbol = image.symbol(&name).expect("it is there");
                assert_eq!(symbol.address, BASE + 0x40 + 0x10 * index);
                assert!(symbol.is_function && symbol.is_global && symbol.is_size_inferred);
                assert_eq!(symbol.size, 0x10);
            }
            let format = match shape {
                Shape::SelfRelative => AddressFormat::SelfRelative,
                Shape::PerCpu => AddressFormat::AbsolutePerCpu(BASE),
                _ => AddressFormat::BaseRelative(BASE),
            };
            assert_eq!(image.symbols.source(), SymbolSource::Kallsyms(format));
            assert_eq!(image.symbols.absolute("per_cpu_of"), (shape == Shape::PerCpu).then_some(0x1238));
        }
    }
    // A name of more than 127 letters has a length of two bytes.
    let image = parse(build::arm64(900, Shape::SelfRelative)).expect("it is read");
    image.symbol(&format!("function_149_of_{}", "x".repeat(149))).expect("a long name");
}

#[test]
fn names_and_addresses_need_not_be_unique() {
    let image = parse(build::arm64(300, Shape::SelfRelative)).expect("it is read");
    let last = BASE + 0x40 + 0x10 * 300;
    let reason = image.address("twice").expect_err("it is ambiguous").to_string();
    assert!(reason.ends_with(&format!("names 2 addresses: {:#x}, {last:#x}", BASE + 0x90)), "{reason}");
    let reason = image.address("nowhere").expect_err("it is missing").to_string();
    assert!(reason.ends_with("no symbol `nowhere`"), "{reason}");
    let at: Vec<_> = image.symbols.at(last).iter().map(|symbol| symbol.name.as_str()).collect();
    assert_eq!(at, ["twice", "alias_of_twice"], "the function stands for all");
    assert_eq!(image.symbols.name(BASE + 0x94), "twice+0x4");
    assert_eq!(image.symbols.name(last), "twice");
    assert_eq!(image.symbols.name(BASE - 1), format!("{:#x}", BASE - 1));
    let guest = image.symbols.to_guest();
    assert_eq!(guest.name(BASE + 0x94), "twice+0x4");
}

#[test]
fn an_image_says_what_it_is() {
    let bytes = build::arm64(300, Shape::BaseBehind);
    let length = bytes.len() as u64;
    let image = parse(bytes).expect("it is read");
    assert_eq!((image.cpu.name, image.release.as_str()), ("arm64", "7.9.9-synthetic"));
    assert!(image.banner.ends_with("#1 SMP"), "{}", image.banner);
    assert_eq!(image.build_id, None);
    assert_eq!((image.base, image.memory_size()), (BASE, length + 0x1_0000));
    let config = image.config.as_ref().expect("IKCONFIG");
    assert!(config.is_built_in("BPF") && !config.is_built_in("M") && !config.is_built_in("X"));
    assert_eq!((config.value("NAME"), config.len(), config.source.as_str()), (Some("none"), 3, "IKCONFIG"));
    let lacks: Vec<_> = image.lacks.iter().map(|lack| lack.feature).collect();
    assert!(lacks.contains(&"fgraph") && lacks.contains(&"reliable walk") && !lacks.contains(&"types"), "{lacks:?}");
    // .bss is zero, and no byte is behind it.
    assert_eq!(image.u64_at(BASE + length), Some(0));
    assert_eq!(image.u64_at(BASE + length + 0xfff8), Some(0));
    assert_eq!(image.u64_at(BASE + length + 0xfff9), None);
    assert_eq!(parse(build::riscv64()).expect("it is read").cpu.name, "riscv64");
}

#[test]
fn what_is_signed_has_no_signature_in_its_bss() {
    let mut bytes = build::arm64(300, Shape::SelfRelative);
    let size = bytes.len();
    // A PE header with one section that ends with the image, in place of the padding behind the arm64 header.
    let header = bytes.windows(4).position(|it| it == b"IKCF").expect("it is there");
    let mut pe = vec![0; 24 + 40];
    pe[..4].copy_from_slice(b"PE\0\0");
    pe[6] = 1;
    pe[24 + 16..24 + 20].copy_from_slice(&(size as u32 - 0x40).to_le_bytes());
    pe[24 + 20] = 0x40;
    bytes[0x3c..0x40].copy_from_slice(&(header as u32).to_le_bytes());
    bytes[header..header + 64].copy_from_slice(&pe);
    bytes.extend([0xee; 0x100]);
    let image = parse(bytes).expect("it is read");
    assert_eq!(image.u64_at(BASE + size as u64), Some(0));
}

#[test]
fn relative_relocations_are_applied() {
    let mut bytes = build::arm64(300, Shape::BaseBehind);
    // Where kallsyms has its base, the last word, an older linker leaves nothing.
    let place = bytes.len() - 8;
    bytes[place..].fill(0);
    let entry = |offset: usize| [BASE + offset as u64, 0x403, BASE].map(u64::to_le_bytes).concat();
    let table = [entry(0x8), vec![0; 24], entry(place)].concat();
    refused(bytes.clone(), "no reading of the offsets");
    bytes.extend(table);
    bytes[0x10..0x18].copy_from_slice(&0x10_0000_u64.to_le_bytes());
    let image = parse(bytes).expect("it is read");
    assert_eq!(image.relocations, "2 relative, 2 of them not yet in place");
    assert_eq!(image.u64_at(BASE + 8), Some(BASE));
}

#[test]
fn wrappings_are_taken_off() {
    let image = build::arm64(300, Shape::SelfRelative);
    let elf = build::vmlinux(&[]);
    let cases = [
        (build::gzip(&image), "gzip, arm64 Image"),
        (build::xz(&image), "xz, arm64 Image"),
        (build::zstd(&image), "zstd, arm64 Image"),
        (build::lz4(&image, true), "lz4, arm64 Image"),
        (build::lz4(&image, false), "lz4, arm64 Image"),
        (build::zboot(&build::gzip(&image), "gzip"), "EFI zboot (gzip), arm64 Image"),
        (build::zboot(&build::zstd(&image), "zstd"), "EFI zboot (zstd), arm64 Image"),
        (build::bzimage(&build::gzip(&elf), elf.len()), "bzImage (gzip), ELF"),
        (build::bzimage(&build::zstd(&elf), elf.len()), "bzImage (zstd), ELF"),
        (build::bzimage(&build::xz(&elf), elf.len()), "bzImage (xz), ELF"),
        (build::bzimage(&build::lz4(&elf, true), elf.len()), "bzImage (lz4), ELF"),
        (elf, "ELF"),
    ];
    for (bytes, wrappings) in cases {
        let image = parse(bytes).unwrap_or_else(|error| panic!("{wrappings}: {error}"));
        assert_eq!(image.wrappings.join(", "), wrappings);
        assert_eq!(image.release, "7.9.9-synthetic");
    }
}

#[test]
fn what_is_not_opened_is_named() {
    refused(Vec::new(), "it is empty");
    refused(b"Hello".to_vec(), "48 65 6c 6c 6f");
    refused(build::zboot(b"BZh91", "bzip2"), "bzip2, which is not decoded");
    refused(build::zboot(b"odd", "lzfse"), "an EFI zboot application, compressed with \"lzfse\"");
    refused(build::bzimage(b"odd!", 3), "compressed in an unknown way");
    refused(b"BZh91".to_vec(), "compressed with bzip2");
    refused(b"MZ\0\0 and so on".to_vec(), "an EFI application for another CPU");
    let mut big_endian = build::arm64(8, Shape::SelfRelative);
    big_endian[0x18] |= 1;
    refused(big_endian, "big-endian");
    let mut other = build::vmlinux(&[]);
    other[18] = 21;
    refused(other, "e_machine 21");
    let nested = (0..8).fold(build::arm64(8, Shape::SelfRelative), |inside, _| build::gzip(&inside));
    refused(nested, "wrapped more than 4 times");
    let mut huge = build::arm64(8, Shape::SelfRelative);
    huge[0x10..0x18].copy_from_slice(&u64::MAX.to_le_bytes());
    refused(huge, "impossible size");
}

#[test]
fn a_vmlinux_gives_its_own_symbols_and_loads() {
    let table = [("_text", X86_BASE, 0x10), ("main", X86_BASE + 0x10, 0x20), ("no_size", X86_BASE + 0x30, 0)];
    let image = parse(build::vmlinux(&table)).expect("it is read");
    assert_eq!((image.cpu.name, image.symbols.source()), ("x86_64", SymbolSource::Elf));
    let main = image.symbol("main").expect("it is there");
    assert_eq!((main.size, main.is_size_inferred, main.is_function), (0x20, false, true));
    assert!(image.symbol("no_size").expect("it is there").is_size_inferred);
    // The per-CPU area that is linked at 0 lies where it is loaded.
    let addresses: Vec<_> = image.loads.iter().map(|load| (load.address, load.memory_size)).collect();
    assert_eq!(addresses[1], (0xffff_ffff_8200_0000, 0x1000));
    assert_eq!(image.bytes_at(0xffff_ffff_8200_0000), [0xcc; 16]);
    let bare = parse(build::vmlinux(&[])).expect("it is read");
    assert_eq!(bare.symbols.source(), SymbolSource::Kallsyms(AddressFormat::AbsolutePerCpu(X86_BASE)));
    assert_eq!(bare.address("function_6_of_xxxxxx").expect("it is there"), X86_BASE + 0xa0);
}

#[test]
fn types_say_where_fields_are() {
    let btf = Btf::parse(&build::btf()).expect("it is read");
    assert_eq!((btf.count(), btf.size("outer"), btf.size("outer_t"), btf.size("u8")), (16, Ok(32), Ok(32), Ok(1)));
    assert_eq!(btf.size("inner"), Ok(4), "the first complete one");
    for (path, offset, size) in
        [("a", 0, 4), ("b", 8, 8), ("c", 8, 1), ("d", 12, 12), ("d[2]", 20, 4), ("d[2].y", 22, 2)]
    {
        for name in ["outer", "struct outer", "outer_t"] {
            let member = btf.member(name, path).unwrap_or_else(|error| panic!("{path}: {error}"));
            assert_eq!((member.offset, member.size, member.bits), (offset, size, None), "{path}");
        }
    }
    assert_eq!(btf.member("outer", "d").expect("it is there").length, Some(3));
    assert_eq!(btf.member("outer", "d").expect("it is there").type_name, "struct inner[3]");
    let bits = btf.member("outer", "f").expect("it is there");
    assert_eq!((bits.offset, bits.size, bits.bits), (24, 1, Some(3..8)));
    assert!(btf.offset("outer", "f").expect_err("it is a bit field").contains("bit field of 5 bits"));
    assert_eq!(
        (btf.enumerator("RED"), btf.enumerator("BLUE"), btf.enumerator("HUGE")),
        (Ok(7), Ok(-1), Ok(2 << 32 | 1))
    );
    let names: Vec<_> = btf.members("outer", None).expect("fields").into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["a", "b", "c", "d", "e", "f"]);
    for (name, path, says) in [
        ("outer", "d[3]", "outer.d[3]: outer.d has 3 elements"),
        ("outer", "d.z", "outer.d.z: outer.d has no field `z`"),
        ("outer", "q", "outer.q: outer has no field `q`"),
        ("outer", "a[0]", "outer.a[0]: outer.a is no array"),
        ("outer", "d[x]", "`[x]` is no index"),
        ("nothing", "a", "no type `nothing`"),
        ("circle", "a", "leads to itself"),
    ] {
        let reason = btf.member(name, path).expect_err(says);
        assert!(reason.contains(says), "{reason}");
    }
    assert!(btf.enumerator("GREEN").is_err() && !btf.has("green") && btf.has_member("outer", "d[1].x"));
}

/// The image ends with the table of symbols, so that every prefix lacks something.
#[test]
fn every_prefix_of_an_image_is_refused() {
    for shape in SHAPES {
        let image = build::arm64(8, shape);
        for length in 0..image.len() {
            assert!(parse(image[..length].to_vec()).is_err(), "{shape:?}: {length} of {} bytes", image.len());
        }
    }
    let elf = build::vmlinux(&[("_text", X86_BASE, 0x10)]);
    let bzimage = build::bzimage(&build::gzip(&elf), elf.len());
    for length in (0..bzimage.len()).step_by(7) {
        assert!(parse(bzimage[..length].to_vec()).is_err(), "{length} of {} bytes", bzimage.len());
    }
    for length in (0..elf.len()).step_by(61) {
        assert!(parse(elf[..length].to_vec()).is_err(), "{length} of {} bytes", elf.len());
    }
    let btf = build::btf();
    for length in 0..btf.len() {
        assert!(Btf::parse(&btf[..length]).is_err(), "{length} of {} bytes", btf.len());
    }
}

/// Asks for everything; what comes does not matter.
fn ask(image: &KernelImage) {
    for symbol in image.symbols.all() {
        let _ = (image.symbols.unique(&symbol.name), image.symbols.name(symbol.address), image.u64_at(symbol.address));
    }
    if let Ok(btf) = &image.btf {
        ask_types(btf);
    }
}

fn ask_types(btf: &Btf) {
    for name in ["outer", "inner", "outer_t", "circle", "u8"] {
        let _ = (btf.size(name), btf.members(name, None));
        for path in ["a", "b", "d[2].y", "e", "f"] {
            let _ = (btf.member(name, path), btf.offset(name, path));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_images_are_no_more_than_errors(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        which in 0..6_usize,
    ) {
        let mut bytes = match which {
            0 => build::vmlinux(&[("_text", X86_BASE, 0x10), ("main", X86_BASE + 0x10, 0x20)]),
            1 => build::bzimage(&build::zstd(&build::vmlinux(&[])), 0),
            2 => build::xz(&build::riscv64()),
            3 => build::bzimage(&build::lz4(&build::vmlinux(&[]), true), 0),
            _ => build::arm64(8, SHAPES[which % 5]),
        };
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(image) = parse(bytes) {
            ask(&image);
        }
    }

    #[test]
    fn damaged_types_are_no_more_than_errors(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let mut bytes = build::btf();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(btf) = Btf::parse(&bytes) {
            ask_types(&btf);
        }
    }

    #[test]
    fn arbitrary_bytes_are_no_more_than_errors(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
        prop_assert!(parse(bytes.clone()).is_err());
        prop_assert!(Btf::parse(&bytes).is_err());
    }
}

/// Writes a file into a folder of its own, and opens it as an image.
fn open(name: &str, bytes: &[u8]) -> (tempfile::TempDir, Result<KernelImage, String>) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).expect("it is written");
    let image = KernelImage::open(&path).map_err(|error| error.to_string());
    (folder, image)
}

#[test]
fn packages_hold_kernels() {
    let kernel = build::zboot(&build::gzip(&build::riscv64()), "gzip");
    let long = format!("./lib/modules/{}/vmlinuz", "7".repeat(120));
    let pax = format!("{} path={long}\n", long.len() + 10);
    let config = build::tar_entry("./boot/config-7.9.9-synthetic", b'0', b"CONFIG_OF_PACKAGE=y\n");
    let link = build::tar_entry("./boot/vmlinuz-link", b'2', b"");
    let modules = build::tar_entry("./usr/lib/modules/7/a.ko", b'0', &[1; 700]);
    let boot = build::tar_entry("./boot/vmlinuz-7.9.9-synthetic", b'0', &kernel);
    let short = build::tar_entry("./lib/modules/7777", b'0', &kernel);
    let archives = [
        ("boot/vmlinuz-7.9.9-synthetic", build::tar(&[config.clone(), link, boot.clone(), modules.clone()])),
        ("usr/lib/modules/7/vmlinuz", build::tar(&[build::tar_entry("./usr/lib/modules/7/vmlinuz", b'0', &kernel)])),
        (&long[2..], build::tar(&[build::tar_entry("././@LongLink", b'L', long.as_bytes()), short.clone()])),
        (&long[2..], build::tar(&[build::tar_entry("./PaxHeaders/x", b'x', pax.as_bytes()), short])),
    ];
    for (member, tar) in &archives {
        for (name, data) in [
            ("data.tar", tar.clone()),
            ("data.tar.gz", build::gzip(tar)),
            ("data.tar.xz", build::xz(tar)),
            ("data.tar.zst", build::zstd(tar)),
        ] {
            let (_folder, image) = open("a.deb", &build::deb(name, &data));
            let image = image.unwrap_or_else(|error| panic!("{name} {member}: {error}"));
            assert_eq!(image.member.as_deref(), Some(*member));
            assert_eq!(
                (image.release.as_str(), image.package_hash.map(|hash| hash.len())),
                ("7.9.9-synthetic", Some(64))
            );
            let has_config = member.starts_with("boot/");
            assert_eq!(image.config.expect("one is there").is_built_in("OF_PACKAGE"), has_config);
        }
    }
    for (bytes, says) in [
        (build::deb("data.tar", &build::tar(&[modules])), "the package holds no kernel"),
        (
            build::deb("data.tar", &build::tar(&[boot.clone(), build::tar_entry("./boot/vmlinux-7", b'0', b"")])),
            "two kernels",
        ),
        (build::deb("other.tar", &[]), "no member data.tar"),
        (build::deb("data.tar", &boot[..900]), "truncated"),
        (build::deb("data.tar.bz2", b"BZh91AY"), "data.tar.bz2: it is compressed with bzip2"),
    ] {
        let (_folder, image) = open("a.deb", &bytes);
        let reason = image.expect_err(says);
        assert!(reason.contains(says), "{reason}");
    }
    let deb = build::deb("data.tar.gz", &build::gzip(&archives[0].1));
    for length in (0..deb.len()).step_by(113) {
        assert!(open("a.deb", &deb[..length]).1.is_err(), "{length} of {} bytes", deb.len());
    }
}

#[test]
fn a_folder_is_all_its_images() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).expect("it is written");
    let names = |paths: &[std::path::PathBuf]| -> Vec<String> {
        paths.iter().map(|path| path.file_name().expect("a name").to_string_lossy().into_owned()).collect()
    };
    write("readme", b"no image");
    assert!(list(folder.path()).expect_err("it has none").to_string().contains(".ci/linux"));
    write("vmlinuz.b", &build::bzimage(&build::gzip(&build::vmlinux(&[])), 0));
    write("Image.a", &build::arm64(8, Shape::SelfRelative));
    write("package.deb", b"!<arch>\n");
    write(".hidden.deb", b"!<arch>\n");
    std::fs::create_dir(folder.path().join("versions")).expect("it is made");
    let listing = list(folder.path()).expect("it is read");
    assert_eq!(names(&listing.images), ["Image.a", "package.deb", "vmlinuz.b"]);
    assert_eq!(names(&listing.others), ["readme"]);
    let one = folder.path().join("Image.a");
    assert_eq!(list(&one).expect("it is read").images, [one]);
    assert!(list(&folder.path().join("missing")).is_err());
}

#[test]
fn a_configuration_may_lie_beside() {
    let mut image = build::arm64(8, Shape::SelfRelative);
    let mark = image.windows(8).position(|it| it == b"IKCFG_ST").expect("it is there");
    image[mark] = b'X';
    let (folder, without) = open("Image", &image);
    assert_eq!(without.expect("it is read").config, None);
    std::fs::write(folder.path().join("config-7.9.9-synthetic"), "CONFIG_BESIDE=y\n").expect("it is written");
    let config = KernelImage::open(&folder.path().join("Image")).expect("it is read").config.expect("one is there");
    assert!(config.is_built_in("BESIDE") && config.source.ends_with("config-7.9.9-synthetic"));
}

#[test]
fn the_program_lists_what_is_in_an_image() {
    let (folder, _) = open("Image", &build::arm64(300, Shape::SelfRelative));
    std::fs::write(folder.path().join("vmlinux"), build::vmlinux(&[])).expect("it is written");
    let path = folder.path().to_str().expect("text");
    let list = |arguments: &[&str]| -> Result<(u8, String), String> {
        let cli = Cli::try_parse_from([&["unwind-harness", "list", "--linux", path], arguments].concat());
        let mut out = Vec::new();
        let status = cli.map_err(|error| error.to_string())?.execute(&mut out).map_err(|error| error.to_string())?;
        Ok((status, String::from_utf8(out).expect("text")))
    };
    let (status, text) = list(&["--arch", "arm64"]).expect("it is listed");
    assert!(status == 0 && text.lines().count() < 20, "{text}");
    for part in [
        "7.9.9-synthetic (arm64)",
        "arm64 Image",
        "304, 303 of them functions",
        "16 (BTF)",
        "3 options (IKCONFIG)",
        "lacks",
    ] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    let (_, text) = list(&["--symbol", "twice", "--symbol", "0xffffffff81000094"]).expect("it is listed");
    assert_eq!(text.matches(" twice: function, at most 0x10 bytes\n").count(), 2, "{text}");
    // The last one ends with what is loaded around it.
    assert_eq!(text.matches(" twice: function, at most ").count(), 4, "{text}");
    assert!(!text.contains("at most 0xff"), "{text}");
    assert!(text.contains("0xffffffff81000094 twice+0x4"), "{text}");
    let (_, text) = list(&["--type", "outer", "--type", "outer.d[1]", "--type", "outer.f"]).expect("it is listed");
    for part in [
        "  outer: 32 bytes\n    0x0000 a: int, 4 bytes\n    0x0008 b: long, 8 bytes\n",
        "  0x0010 outer.d[1]: struct inner, 4 bytes\n    0x0010 x: short, 2 bytes\n    0x0012 y: short, 2 bytes\n",
        "  0x0018 bits 3..8 outer.f: int, 1 bytes\n",
    ] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    assert!(list(&["--type", "outer.q"]).expect_err("it is missing").contains("outer has no field `q`"));
    assert!(list(&["--arch", "sparc"]).expect_err("no such CPU").contains("no such CPU"));
    // A damaged one does not hide the others.
    std::fs::write(folder.path().join("a.deb"), b"!<arch>\n").expect("it is written");
    let (status, text) = list(&[]).expect("the others are listed");
    assert_eq!((status, text.matches("7.9.9-synthetic").count() >= 2), (2, true), "{text}");
}
