//! The `unwind-harness` program: arguments in, exit status out. Everything else is in the library.

use std::process::ExitCode;

use clap::Parser as _;
use unwind_harness::Error;
use unwind_harness::cli::{Cli, USAGE};

fn main() -> ExitCode {
    // Styles are stripped where standard output is not a terminal, or NO_COLOR is set.
    let mut out = anstream::AutoStream::auto(std::io::stdout().lock());
    match Cli::parse().execute(&mut out) {
        Ok(status) => ExitCode::from(status),
        // The reader has closed the pipe (`| head`).
        Err(Error::File { source, .. }) if source.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln_error(&error);
            ExitCode::from(USAGE)
        }
    }
}

/// Prints the error in the form that clap uses. A closed standard error is not worth a panic.
fn writeln_error(error: &Error) -> std::io::Result<()> {
    use std::io::Write as _;
    writeln!(std::io::stderr(), "error: {error}")
}
