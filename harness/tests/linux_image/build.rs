//! Small images, packages and tables, made by code from the formats' descriptions.

use std::io::Write as _;

/// Where the synthetic image is linked.
pub(super) const BASE: u64 = 0xffff_8000_8000_0000;

/// A symbol: nm(1)'s letter, name, address.
pub(super) type Symbol = (char, String, u64);

/// How kallsyms stores addresses, and in which order its tables stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// 7.x: relative to itself; tables at multiples of 4.
    SelfRelative,
    /// 6.12: relative to a base that follows the offsets; multiples of 8.
    BaseBehind,
    /// 6.1: offsets and base in front.
    BaseInFront,
    /// 6.1 with `seqs_of_names` between markers and tokens.
    SequencesBetween,
    /// x86-64 until 6.14: values from 0 on are absolute.
    PerCpu,
}

pub(super) const SHAPES: [Shape; 5] =
    [Shape::SelfRelative, Shape::BaseBehind, Shape::BaseInFront, Shape::SequencesBetween, Shape::PerCpu];

fn align(bytes: &mut Vec<u8>, to: usize) {
    while !bytes.len().is_multiple_of(to) {
        bytes.push(0);
    }
}

/// Puts the table behind the bytes of an image.
pub(super) fn append_kallsyms(image: &mut Vec<u8>, base: u64, symbols: &[Symbol], shape: Shape) {
    let to = if shape == Shape::SelfRelative { 4 } else { 8 };
    let offset = |at: usize, address: u64| -> u32 {
        match shape {
            Shape::SelfRelative => address.wrapping_sub(base + at as u64) as u32,
            Shape::PerCpu if address < base => address as u32,
            Shape::PerCpu => (base.wrapping_sub(1).wrapping_sub(address)) as u32,
            _ => (address - base) as u32,
        }
    };
    let offsets = |image: &mut Vec<u8>| {
        for (_, _, address) in symbols {
            image.extend(offset(image.len(), *address).to_le_bytes());
        }
        if shape != Shape::SelfRelative {
            align(image, 8);
            image.extend(base.to_le_bytes());
        }
    };
    let is_early = matches!(shape, Shape::BaseInFront | Shape::SequencesBetween);
    align(image, 8);
    if is_early {
        offsets(image);
    }
    image.extend((symbols.len() as u32).to_le_bytes());
    align(image, to);
    let (names, mut markers) = (image.len(), Vec::new());
    for (index, (kind, name, _)) in symbols.iter().enumerate() {
        if index % 256 == 0 {
            markers.extend(((image.len() - names) as u32).to_le_bytes());
        }
        let text = format!("{kind}{name}").replace("Tfunction_", "\x01").replace("_of", "\x02");
        match text.len() {
            length @ ..0x80 => image.push(length as u8),
            length => image.extend([0x80 | length as u8 & 0x7f, (length >> 7) as u8]),
        }
        image.extend(text.bytes());
    }
    align(image, to);
    image.extend(markers);
    if shape == Shape::SequencesBetween {
        align(image, 8);
        image.extend((0..symbols.len()).flat_map(|index| [0xa5, (index >> 8) as u8 | 0x40, index as u8]));
    }
    align(image, to);
    append_tokens(image, to);
    if !is_early {
        offsets(image);
    }
}

/// The 256 tokens and their index. Two have several letters; what is printable stands for itself.
fn append_tokens(image: &mut Vec<u8>, to: usize) {
    let (table, mut index) = (image.len(), Vec::new());
    for number in 0..=u8::MAX {
        index.extend(((image.len() - table) as u16).to_le_bytes());
        match number {
            1 => image.extend(b"Tfunction_"),
            2 => image.extend(b"_of"),
            0x21..0x7f => image.push(number),
            _ => {}
        }
        image.push(0);
    }
    align(image, to);
    image.extend(index);
    align(image, to);
}

/// Symbols of a kernel: the first at the base, then functions 16 bytes apart.
pub(super) fn symbols(base: u64, functions: usize) -> Vec<Symbol> {
    let mut symbols = vec![('T', "_text".to_owned(), base), ('T', "_stext".to_owned(), base)];
    symbols.extend((0..functions).map(|index| {
        let name =
            if index == 5 { "twice".to_owned() } else { format!("function_{index}_of_{}", "x".repeat(index % 150)) };
        ('T', name, base + 0x40 + 0x10 * index as u64)
    }));
    symbols.push(('t', "twice".to_owned(), base + 0x40 + 0x10 * functions as u64));
    symbols.push(('d', "alias_of_twice".to_owned(), base + 0x40 + 0x10 * functions as u64));
    symbols
}

/// Types: `struct outer { int a; union { long b; struct { u8 c; struct inner d[3]; }; }; int e:3; int f:5; }`, `struct inner { short x; short
/// y; }`, an enum, a declaration without contents, and a second `inner`, which is larger.
pub(super) fn btf() -> Vec<u8> {
    let mut strings = vec![0_u8];
    let mut name = |text: &str| {
        let at = strings.len() as u32;
        strings.extend(text.bytes());
        strings.push(0);
        at
    };
    let info = |kind: u32, count: u32, flag: u32| kind << 24 | count | flag << 31;
    let words: Vec<u32> = [
        vec![name("int"), info(1, 0, 0), 4, 0x0100_0020],   // 1
        vec![name("long"), info(1, 0, 0), 8, 0x0100_0040],  // 2
        vec![name("short"), info(1, 0, 0), 2, 0x0100_0010], // 3
        vec![name("inner"), info(7, 0, 0), 0],              // 4: forward
        vec![name("inner"), info(4, 2, 0), 4, name("x"), 3, 0, name("y"), 3, 16], // 5
        vec![0, info(3, 0, 0), 0, 5, 1, 3],                 // 6: inner[3]
        vec![name("u8"), info(8, 0, 0), 8],                 // 7: typedef of 8
        vec![name("char"), info(1, 0, 0), 1, 0x8],          // 8
        vec![0, info(4, 2, 0), 16, name("c"), 7, 0, name("d"), 6, 32], // 9: unnamed
        vec![0, info(5, 2, 0), 16, name("b"), 2, 0, 0, 9, 0], // 10: unnamed union
        vec![
            name("outer"),
            info(4, 4, 1),
            32,
            name("a"),
            1,
            0,
            0,
            10,
            64,
            name("e"),
            1,
            3 << 24 | 192,
            name("f"),
            1,
            5 << 24 | 195,
        ], // 11
        vec![name("inner"), info(4, 1, 0), 8, name("x"), 2, 0], // 12
        vec![name("color"), info(6, 2, 1), 4, name("RED"), 7, name("BLUE"), u32::MAX], // 13
        vec![name("outer_t"), info(8, 0, 0), 11],           // 14
        vec![name("circle"), info(8, 0, 0), 15],            // 15
        vec![name("wide"), info(19, 1, 0), 8, name("HUGE"), 1, 2], // 16
    ]
    .concat();
    let types: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let header = [24, 0, types.len() as u32, types.len() as u32, strings.len() as u32];
    let mut bytes = vec![0x9f, 0xeb, 1, 0];
    bytes.extend(header.iter().flat_map(|word| word.to_le_bytes()));
    bytes.extend(types);
    bytes.extend(strings);
    bytes
}

pub(super) const CONFIG: &str = "CONFIG_BPF=y\n# CONFIG_X is not set\nCONFIG_NAME=\"none\"\nCONFIG_M=m\n";

/// What every synthetic kernel holds in front of its symbols.
fn content(base: u64) -> Vec<u8> {
    let mut image = vec![0; 0x40];
    image.extend(b"Linux version 7.9.9-synthetic (a@b) (cc (x) 1, ld (y) 2) #1 SMP\n\0");
    align(&mut image, 8);
    // Pointers into itself.
    image.extend((0..8).flat_map(|index| (base + 8 * index).to_le_bytes()));
    image.extend(btf());
    align(&mut image, 8);
    image.extend(b"IKCFG_ST");
    image.extend(gzip(CONFIG.as_bytes()));
    image.extend(b"IKCFG_ED");
    align(&mut image, 8);
    image
}

/// An arm64 `Image` with this many functions, and 64 KiB of .bss.
pub(super) fn arm64(functions: usize, shape: Shape) -> Vec<u8> {
    let mut image = content(BASE);
    let mut all = symbols(BASE, functions);
    if shape == Shape::PerCpu {
        all.insert(0, ('A', "per_cpu_of".to_owned(), 0x1238));
    }
    append_kallsyms(&mut image, BASE, &all, shape);
    let size = image.len() as u64 + 0x1_0000;
    image[0x10..0x18].copy_from_slice(&size.to_le_bytes());
    image[0x18] = 0xa;
    image[0x38..0x3c].copy_from_slice(b"ARMd");
    image
}

/// A riscv64 `Image`.
pub(super) fn riscv64() -> Vec<u8> {
    let base = 0xffff_ffff_8000_0000;
    let mut image = content(base);
    let mut all = symbols(base, 300);
    all[0].1 = "_start".to_owned();
    all[1] = ('T', "_text".to_owned(), base + 8);
    append_kallsyms(&mut image, base, &all, Shape::SelfRelative);
    let size = image.len() as u64;
    image[0x10..0x18].copy_from_slice(&size.to_le_bytes());
    image[0x30..0x38].copy_from_slice(b"RISCV\0\0\0");
    image[0x38..0x3c].copy_from_slice(b"RSC\x05");
    image
}

/// The base of the x86-64 kernel.
pub(super) const X86_BASE: u64 = 0xffff_ffff_8100_0000;

/// An x86-64 `vmlinux` with two loads, the second one linked at 0 as the per-CPU area was, and with this symbol table.
pub(super) fn vmlinux(table: &[(&str, u64, u64)]) -> Vec<u8> {
    let mut text = content(X86_BASE);
    append_kallsyms(&mut text, X86_BASE, &symbols(X86_BASE, 300), Shape::PerCpu);
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    let half = |file: &mut Vec<u8>, values: &[u16]| file.extend(values.iter().flat_map(|it| it.to_le_bytes()));
    let word = |file: &mut Vec<u8>, values: &[u32]| file.extend(values.iter().flat_map(|it| it.to_le_bytes()));
    let long = |file: &mut Vec<u8>, values: &[u64]| file.extend(values.iter().flat_map(|it| it.to_le_bytes()));
    let (headers, per_cpu) = (64 + 2 * 56, [0xcc; 16]);
    let sections = (headers + text.len() + per_cpu.len()) as u64;
    half(&mut file, &[2, 62]); // ET_EXEC, EM_X86_64
    word(&mut file, &[1]);
    long(&mut file, &[X86_BASE, 64, if table.is_empty() { 0 } else { sections }]);
    word(&mut file, &[0]);
    half(&mut file, &[64, 56, 2, 64, if table.is_empty() { 0 } else { 4 }, if table.is_empty() { 0 } else { 3 }]);
    let length = text.len() as u64;
    for (address, physical, at, size, memory) in
        [(X86_BASE, 0x100_0000, headers as u64, length, length), (0, 0x200_0000, headers as u64 + length, 16, 0x1000)]
    {
        word(&mut file, &[1, 6]);
        long(&mut file, &[at, address, physical, size, memory, 1]);
    }
    file.extend(text);
    file.extend(per_cpu);
    if table.is_empty() {
        return file;
    }
    let (mut names, mut symbols) = (vec![0_u8], vec![0_u8; 24]);
    for (name, address, size) in table {
        word(&mut symbols, &[names.len() as u32]);
        symbols.extend([0x12, 0, 1, 0]); // global function in section 1
        long(&mut symbols, &[*address, *size]);
        names.extend(name.bytes().chain([0]));
    }
    let (at_symbols, at_names) = (sections + 4 * 64, sections + 4 * 64 + symbols.len() as u64);
    file.extend([0; 64]);
    for (kind, at, size, link, entry) in [
        (2, at_symbols, symbols.len() as u64, 2, 24_u64),
        (3, at_names, names.len() as u64, 0, 0),
        (3, at_names, 1, 0, 0),
    ] {
        word(&mut file, &[0, kind]);
        long(&mut file, &[0, 0, at, size]);
        word(&mut file, &[link, 0]);
        long(&mut file, &[8, entry]);
    }
    file.extend(symbols);
    file.extend(names);
    file
}

/// A `bzImage` around this payload, which has the size of the contents behind it, as the kernel's build appends it.
pub(super) fn bzimage(payload: &[u8], inside: usize) -> Vec<u8> {
    let mut file = vec![0; 0x600];
    file[0x1f1] = 2; // sectors behind the first
    file[0x202..0x206].copy_from_slice(b"HdrS");
    file[0x206..0x208].copy_from_slice(&0x20f_u16.to_le_bytes());
    file[0x248..0x24c].copy_from_slice(&0x10_u32.to_le_bytes());
    file[0x24c..0x250].copy_from_slice(&(payload.len() as u32 + 4).to_le_bytes());
    file.extend([0x90; 0x10]);
    file.extend(payload);
    file.extend((inside as u32).to_le_bytes());
    file
}

/// An EFI zboot application.
pub(super) fn zboot(payload: &[u8], kind: &str) -> Vec<u8> {
    let mut file = vec![0; 0x80];
    file[..8].copy_from_slice(b"MZ\0\0zimg");
    file[8..12].copy_from_slice(&0x80_u32.to_le_bytes());
    file[12..16].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    file[0x18..0x18 + kind.len()].copy_from_slice(kind.as_bytes());
    file.extend(payload);
    file
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

pub(super) fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

/// A frame of LZ4: the legacy one of the kernel's build, or the usual one.
pub(super) fn lz4(bytes: &[u8], is_legacy: bool) -> Vec<u8> {
    let info = lz4_flex::frame::FrameInfo::new().legacy_frame(is_legacy);
    let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(bytes).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

/// An `xz` stream of one block whose LZMA2 chunks are not compressed, without a check (the .xz file format, 2 to 4).
pub(super) fn xz(bytes: &[u8]) -> Vec<u8> {
    let crc = |bytes: &[u8]| {
        let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        let crc = bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step));
        (!crc).to_le_bytes()
    };
    let varint = |mut value: usize| {
        let mut bytes = Vec::new();
        while value >= 0x80 {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    };
    let mut file = b"\xfd7zXZ\0\0\0".to_vec();
    file.extend(crc(&[0, 0]));
    let start = file.len();
    let header = [2, 0, 0x21, 1, 0x16, 0, 0, 0];
    file.extend(header);
    file.extend(crc(&header));
    for (index, chunk) in bytes.chunks(0x1_0000).enumerate() {
        file.push(if index == 0 { 1 } else { 2 });
        file.extend(((chunk.len() - 1) as u16).to_be_bytes());
        file.extend(chunk);
    }
    file.push(0);
    let unpadded = file.len() - start;
    align(&mut file, 4);
    let mut index = [vec![0, 1], varint(unpadded), varint(bytes.len())].concat();
    align(&mut index, 4);
    index.extend(crc(&index));
    let footer = [&((index.len() / 4 - 1) as u32).to_le_bytes()[..], &[0, 0]].concat();
    file.extend(index);
    file.extend(crc(&footer));
    file.extend(footer);
    file.extend(b"YZ");
    file
}

/// An entry of a tar archive; the kind `0` is a regular file.
pub(super) fn tar_entry(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 512];
    header[..name.len().min(100)].copy_from_slice(&name.as_bytes()[..name.len().min(100)]);
    header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
    header[148..156].fill(b' ');
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header.extend(content);
    align(&mut header, 512);
    header
}

/// The entries of a tar archive, ended.
pub(super) fn tar(entries: &[Vec<u8>]) -> Vec<u8> {
    [entries.concat(), vec![0; 1024]].concat()
}

/// A Debian package around this archive.
pub(super) fn deb(name: &str, data: &[u8]) -> Vec<u8> {
    let mut file = b"!<arch>\n".to_vec();
    for (name, content) in [("debian-binary", &b"2.0\n"[..]), ("control.tar.xz", b"odd"), (name, data)] {
        file.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, content.len()).bytes());
        file.extend(content);
        align(&mut file, 2);
    }
    file
}
