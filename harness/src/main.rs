//! The `unwind-harness` program: arguments in, exit status out. Everything else is in the library.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use anstream::AutoStream;
use unwind_harness::Error;
use unwind_harness::cli::{Cli, USAGE};
use unwind_harness::error::printed;
use unwind_harness::file::{Console, UntilClosed};
use unwind_harness::interrupt::{self, Interrupt};

fn main() -> ExitCode {
    let cli = match Cli::of(std::env::args_os()) {
        Ok(cli) => cli,
        // Help and version are printed as errors are.
        Err(asked) => {
            let status = u8::try_from(asked.exit_code()).unwrap_or(USAGE);
            return ExitCode::from(if asked.print().is_ok() { status } else { USAGE });
        }
    };
    // Styles are stripped where the stream is not a terminal, or NO_COLOR is set, unless --color asks for them; documents are written
    // as they are.
    let color = cli.color();
    let mut out = UntilClosed::new(AutoStream::new(std::io::stdout(), color));
    let mut document = UntilClosed::new(std::io::stdout());
    let mut err = UntilClosed::new(AutoStream::new(std::io::stderr(), color));
    let (progress, verbose) = (cli.progress(std::io::stderr().is_terminal()), cli.is_verbose());
    let done = Interrupt::of_signals()
        .map_err(|source| Error::File { path: "signal handlers".into(), source })
        .and_then(|interrupt| {
            let (out, document, err) = (&mut out, Some(&mut document as _), &mut err);
            cli.execute_on(&mut Console { out, document, err, interrupt, progress, verbose })
        })
        // What standard output still holds may be what does not fit on the disk.
        .and_then(|status| printed(std::io::stdout().flush().or_else(unless_closed)).map(|()| status));
    match done {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            // In the form that clap uses. A closed standard error is not worth a panic.
            let _ = writeln!(err, "error: {error}");
            ExitCode::from(if matches!(error, Error::Interrupted) { interrupt::STATUS } else { USAGE })
        }
    }
}

/// Standard output whose reader has left has nothing to lose.
fn unless_closed(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) }
}
