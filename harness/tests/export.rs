//! Points as data: what other programs read of them is what the oracle knows.

use std::path::{Path, PathBuf};
use std::process::Command;

use rstest::rstest;
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn export(arguments: &[&str]) -> (Option<i32>, String, String) {
    let program =
        Command::new(env!("CARGO_BIN_EXE_unwind-harness")).arg("export").args(arguments).current_dir(root()).output();
    let output = program.expect("the program starts");
    let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).expect("text"));
    (output.status.code(), out, err)
}

/// A new folder, or the name of a new file.
fn path(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("export").join(name);
    let _ = std::fs::remove_dir_all(&path);
    let _ = std::fs::remove_file(&path);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    path
}

/// The exported points, as JSON.
fn points(arguments: &[&str]) -> Vec<Value> {
    let (status, out, err) = export(arguments);
    assert_eq!(status, Some(0), "{err}");
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((&lines[0]["t"], &lines[0]["format"]), (&"run".into(), &1.into()));
    assert!(lines.iter().any(|line| line["t"] == "module"), "{out}");
    lines.into_iter().filter(|line| line["t"] == "point").collect()
}

/// The functions of a point's truth, the interrupted one first.
fn functions(point: &Value) -> Vec<String> {
    let bare = |name: &str| name.split('+').next().unwrap_or_default().to_owned();
    let here = point["name"].as_str().expect("a name");
    let truth = point["truth"].as_array().expect("a list");
    [bare(here)].into_iter().chain(truth.iter().map(|one| bare(one["name"].as_str().expect("a name")))).collect()
}

#[rstest]
fn a_line_says_everything_of_a_point(#[values("arm64", "riscv64", "x86_64")] cpu: &str) {
    let all = points(&["leaf", "--arch", cpu, "--function", "leaf"]);
    assert!(all.len() >= 2, "{}", all.len());
    let point = &all[0];
    assert_eq!(functions(point), ["leaf", "caller", "guest_main", "_start"]);
    assert_eq!((&point["name"], &point["start"]), (&"leaf+0x0#1".into(), &"live".into()));
    assert!(point["regs"].as_object().is_some_and(|regs| regs.len() >= 16), "{point}");
    let memory = point["memory"][0]["data"].as_str().expect("digits");
    assert!(memory.len() > 16 && memory.len().is_multiple_of(16), "{memory}");
}

#[test]
fn a_stack_can_be_cut_as_for_a_profiler() {
    let whole = points(&["arm64/leaf", "--function", "leaf"]);
    let cut = points(&["arm64/leaf", "--function", "leaf", "--stack", "16"]);
    let bytes = |point: &Value| point["memory"][0]["data"].as_str().map_or(0, str::len) as u64 / 2;
    assert_eq!((bytes(&cut[0]), cut[0]["cut"].as_u64()), (16, Some(bytes(&whole[0]) - 16)));
    assert_eq!(whole[0]["cut"].as_u64(), Some(0));
}

#[test]
fn what_is_not_written_is_counted() {
    let (status, out, err) = export(&["arm64/leaf", "--most", "3"]);
    assert_eq!((status, out.matches("\"t\":\"point\"").count()), (Some(0), 3));
    assert!(err.contains("3 points; 30 more were not written"), "{err}");
}

#[rstest]
#[case(&["arm64/leaf", "--format", "core"], "name a folder")]
#[case(&["arm64/leaf", "--function", "nothing"], "no such point")]
#[case(&["riscv64/leaf", "--format", "minidump", "--out", "/tmp/none"], "minidumps of riscv64")]
#[case(&["leaf", "--format", "perf"], "a perf.data is of one program")]
fn a_wrong_request_is_refused(#[case] arguments: &[&str], #[case] reason: &str) {
    let (status, _, err) = export(arguments);
    assert_eq!(status, Some(2), "{err}");
    assert!(err.contains(reason), "{err}");
}

fn gdb() -> Option<&'static str> {
    let works = |name: &&str| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success());
    ["gdb-multiarch", "gdb"].into_iter().find(works)
}

/// gdb opens each core with the guest's file, and finds the true callers by the guest's CFI, which are right there.
#[rstest]
fn gdb_finds_the_truth_in_a_core(#[values("arm64", "riscv64", "x86_64")] cpu: &str) {
    let Some(gdb) = gdb().filter(|gdb| *gdb == "gdb-multiarch" || cpu == "x86_64") else {
        eprintln!("SKIPPED gdb_finds_the_truth_in_a_core for {cpu}: no gdb that knows it (gdb-multiarch)");
        return;
    };
    let folder = path(&format!("cores-{cpu}"));
    let scenario = format!("{cpu}/leaf");
    let (status, _, err) = export(&[&scenario, "--format", "core", "--out", folder.to_str().expect("text")]);
    assert_eq!(status, Some(0), "{err}");
    let elf = root().join("guests").join(cpu).join("leaf.elf");
    let mut judged = 0;
    for point in points(&[&scenario]) {
        let name = point["name"].as_str().expect("a name");
        let core = folder.join(format!("{cpu}-leaf-probe")).join(format!("{name}.core"));
        let output =
            Command::new(gdb).args(["-nx", "-batch", "-ex", "bt"]).arg(&elf).arg(&core).output().expect("it starts");
        let text = String::from_utf8_lossy(&output.stdout);
        // The innermost frame is shown when the core is opened, and again by `bt`.
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with('#')).skip(1).collect();
        let function = |line: &&str| Some(line.split(" in ").nth(1)?.split_whitespace().next()?.to_owned());
        let frames: Vec<String> = lines.iter().filter_map(function).collect();
        let expected = functions(&point);
        assert_eq!(frames, expected, "{name}: {text}{}", String::from_utf8_lossy(&output.stderr));
        judged += 1;
    }
    assert!(judged > 10, "{judged}");
}

#[rstest]
#[case("x86_64", 120, 16)]
#[case("arm64", 8, 32)]
fn a_minidump_holds_registers_and_stack(#[case] cpu: &str, #[case] head: usize, #[case] pc: usize) {
    let folder = path(&format!("dumps-{cpu}"));
    let scenario = format!("{cpu}/leaf");
    let out = folder.to_str().expect("text");
    let (status, _, err) = export(&[&scenario, "--function", "leaf", "--format", "minidump", "--out", out]);
    assert_eq!(status, Some(0), "{err}");
    let point = &points(&[&scenario, "--function", "leaf"])[0];
    let dump = std::fs::read(folder.join(format!("{cpu}-leaf-probe/leaf+0x0#1.dmp"))).expect("it is there");
    let u32_at = |at: usize| u32::from_le_bytes(*dump[at..].first_chunk().expect("four bytes")) as usize;
    let u64_at = |at: usize| u64::from_le_bytes(*dump[at..].first_chunk().expect("eight bytes"));
    assert_eq!(&dump[..4], b"MDMP");
    let streams: Vec<(usize, usize)> =
        (0..u32_at(8)).map(|index| u32_at(12) + 12 * index).map(|at| (u32_at(at), u32_at(at + 8))).collect();
    let thread = streams.iter().find(|(kind, _)| *kind == 3).expect("a list of threads").1 + 4;
    let (base, size, stack, context) =
        (u64_at(thread + 24), u32_at(thread + 32), u32_at(thread + 36), u32_at(thread + 44));
    assert_eq!(format!("{:#x}", u64_at(context + head + 8 * pc)), point["pc"]);
    assert_eq!(format!("{base:#x}"), point["memory"][0]["addr"]);
    let digits: String = dump[stack..stack + size].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digits, point["memory"][0]["data"]);
}

/// perf reads every sample, with its address.
#[test]
fn perf_reads_the_samples() {
    if !Command::new("perf").arg("--version").output().is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED perf_reads_the_samples: no perf");
        return;
    }
    let file = path("perf.data");
    let name = file.to_str().expect("text");
    let (status, _, err) = export(&["x86_64/leaf", "--format", "perf", "--out", name]);
    assert_eq!(status, Some(0), "{err}");
    let output =
        Command::new("perf").args(["script", "-f", "-i", name, "-F", "ip,sym", "-G"]).output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let samples: Vec<String> =
        text.lines().filter_map(|line| Some(format!("0x{}", line.split_whitespace().next()?))).collect();
    let expected: Vec<String> =
        points(&["x86_64/leaf"]).iter().map(|point| point["pc"].as_str().expect("a pc").to_owned()).collect();
    assert_eq!(samples, expected, "{text}{}", String::from_utf8_lossy(&output.stderr));
}
