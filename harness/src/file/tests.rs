use std::io::{self, Write};

use super::{Output, UntilClosed, read};

/// A pipe whose reader takes some bytes and leaves.
struct Pipe(Vec<u8>, usize);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.1 - self.0.len());
        self.0.extend_from_slice(&bytes[..taken]);
        if taken == 0 { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(taken) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.0.len() == self.1 { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let mut out = UntilClosed::new(Pipe(Vec::new(), 5));
    out.write_all(b"one two three").expect("the rest is thrown away");
    out.flush().expect("nothing is left to flush");
    out.write_all(b"four").expect("and so is this");
    assert_eq!(out.stream.0, b"one t");
}

#[test]
fn any_other_error_stays_one() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    assert!(UntilClosed::new(Full).write_all(b"text").is_err());
}

#[test]
fn a_document_that_fails_half_way_leaves_the_old_file_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("report.json");
    std::fs::write(&path, "old").expect("a file");
    let [output] = Output::prepare([("--json", Some(&path))]).expect("it can be written");
    let output = output.expect("a path was given");
    let half = output.write(&mut io::sink(), &mut |out| {
        out.write_all(&[b'x'; 100_000])?;
        Err(io::ErrorKind::StorageFull.into())
    });
    let error = half.expect_err("the disk is full").to_string();
    assert!(error.contains("report.json"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).expect("the file"), "old");
    assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 1);
    output.write(&mut io::sink(), &mut |out| out.write_all(b"new")).expect("there is space");
    output.write_partial(&mut io::sink(), &mut |out| out.write_all(b"part")).expect("there is space");
    assert_eq!(std::fs::read_to_string(&path).expect("the file"), "new");
    let partial = folder.path().join("report.json.partial");
    assert_eq!(std::fs::read_to_string(partial).expect("the file"), "part");
    assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 2);
}

#[test]
fn a_link_keeps_its_place_and_a_file_its_permissions() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("a folder");
    let (path, link) = (folder.path().join("file"), folder.path().join("link"));
    std::fs::write(&path, "old").expect("a file");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("permissions");
    std::os::unix::fs::symlink("file", &link).expect("a link");
    let [output] = Output::prepare([("--json", Some(&link))]).expect("it can be written");
    output.expect("a path").write(&mut io::sink(), &mut |out| out.write_all(b"new")).expect("it is written");
    assert!(link.is_symlink());
    assert_eq!(std::fs::read_to_string(&path).expect("the file"), "new");
    assert_eq!(std::fs::metadata(&path).expect("the file").permissions().mode() & 0o777, 0o640);
}

#[test]
fn a_file_beyond_the_limit_is_not_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sparse");
    std::fs::File::create(&path).and_then(|file| file.set_len(1 << 40)).expect("a sparse file");
    let error = read(&path, 1 << 20).expect_err("too large").to_string();
    assert!(error.contains("1099511627776 bytes"), "{error}");
    std::fs::write(&path, [0; 16]).expect("a file");
    assert_eq!(read(&path, 16).expect("just right").len(), 16);
    assert!(read(&path, 15).is_err());
}
