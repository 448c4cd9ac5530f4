//! `export`: points as data.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::HOLDS;
use super::narrow::Narrow;
use super::selection::{Selection, select_part};
use crate::Error;
use crate::export::{ExportedPoint, Origin, PerfData, core, header, minidump, point};
use crate::file::{Console, Output, make_folder_of};
use crate::guest::Program;
use crate::scenario::Part;
use crate::suite::Job;

/// The most points that are written unless the user wants more.
const MOST: u64 = 10_000;
/// The most bytes of a stack unless the user wants another number: what a large thread has.
const STACK: u64 = 1 << 20;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    narrow: Narrow,
    /// The form of the points
    #[arg(long, value_enum, default_value_t = Form::Jsonl)]
    format: Form,
    /// Of jsonl and perf the file, `-` for standard output; of core and minidump the folder, which gets a file for each point
    #[arg(long, value_name = "PATH", default_value = "-")]
    out: PathBuf,
    /// At most this many bytes of the stack, from SP up: what a profiler gets [default: 1048576]
    #[arg(long, value_name = "N")]
    stack: Option<u64>,
    /// At most this many points [default: 10000]
    #[arg(long, value_name = "N")]
    most: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// A line of JSON for each point
    Jsonl,
    /// An ELF core for each point, for gdb and others
    Core,
    /// A minidump for each point (arm64, x86_64)
    Minidump,
    /// A perf.data with a sample for each point, for `perf script`
    Perf,
}

/// What has been written.
struct Written<'a> {
    arguments: &'a Arguments,
    points: u64,
    left: u64,
    /// The only file, in the forms that have one.
    file: Vec<u8>,
}

pub(super) fn execute(root: &Path, arguments: &Arguments, console: &mut Console<'_>) -> Result<u8, Error> {
    let (scenarios, _, part) = select_part(root, &arguments.selection, &arguments.narrow)?;
    let is_folder = matches!(arguments.format, Form::Core | Form::Minidump);
    if is_folder && arguments.out == Path::new("-") {
        return Err(Error::Usage("--format core and minidump write many files: name a folder (--out)".to_owned()));
    }
    let single = (!is_folder).then_some(&arguments.out);
    let [output] = Output::prepare([("--out", single)])?;
    let mut written = Written { arguments, points: 0, left: 0, file: Vec::new() };
    let mut runs = 0;
    for scenario in &scenarios {
        for variant in scenario.variants() {
            let is_run = |kind| part.has_run((!variant.name.is_empty()).then_some(&variant.name), kind);
            for kind in scenario.text.interrupt.iter().copied().filter(|kind| is_run(*kind)) {
                let job = Job { root, scenario, variant: &variant, kind };
                runs += 1;
                if runs > 1 && arguments.format == Form::Perf {
                    return Err(Error::Usage("a perf.data is of one program: name one run".to_owned()));
                }
                written.run(job, &part, console)?;
            }
        }
    }
    // The runs and modules of no point are of no use.
    if let Some(output) = output.as_ref().filter(|_| written.points > 0) {
        output.write(console.document(), &mut |out| out.write_all(&written.file))?;
    }
    let Written { points, left, .. } = written;
    // There is nowhere to say that standard error is closed.
    let _ = match left {
        0 => writeln!(console.err, "{points} points"),
        left => writeln!(console.err, "{points} points; {left} more were not written (--most)"),
    };
    if points == 0 {
        return Err(Error::Usage("there is no such point".to_owned()));
    }
    Ok(HOLDS)
}

impl Written<'_> {
    fn run(&mut self, job: Job<'_>, part: &Part, console: &Console<'_>) -> Result<(), Error> {
        let program = job.program()?;
        let variant = if job.variant.name.is_empty() { String::new() } else { format!(" [{}]", job.variant.name) };
        let title = format!("{}{variant} {}", job.scenario.name, job.kind.name());
        let origin = Origin { program: &program, title: &title };
        let mut perf = self.begin(origin)?;
        let stack = self.arguments.stack.unwrap_or(STACK);
        let folder = format!("{}{variant}-{}", job.scenario.name, job.kind.name()).replace(['/', ' '], "-");
        job.export(origin, (part, stack), &console.interrupt, &mut |point| {
            self.take(origin, point, &folder, &mut perf)
        })?;
        if let Some(perf) = perf {
            self.file = perf.finish();
        }
        Ok(())
    }

    fn begin(&mut self, origin: Origin<'_>) -> Result<Option<PerfData>, Error> {
        match self.arguments.format {
            Form::Jsonl => {
                for line in header(origin) {
                    self.file.extend(line.into_bytes());
                    self.file.push(b'\n');
                }
                Ok(None)
            }
            Form::Perf => require_file(origin.program).map(|()| Some(PerfData::new(origin))),
            Form::Core | Form::Minidump => Ok(None),
        }
    }

    fn take(
        &mut self,
        origin: Origin<'_>,
        it: &ExportedPoint,
        folder: &str,
        perf: &mut Option<PerfData>,
    ) -> Result<ControlFlow<()>, Error> {
        if self.points >= self.arguments.most.unwrap_or(MOST) {
            self.left += 1;
            return Ok(ControlFlow::Continue(())); // they are counted
        }
        self.points += 1;
        let bytes = match self.arguments.format {
            Form::Jsonl => {
                self.file.extend(point(origin, it).into_bytes());
                self.file.push(b'\n');
                return Ok(ControlFlow::Continue(()));
            }
            Form::Perf => {
                perf.iter_mut().for_each(|perf| perf.add(origin, it));
                return Ok(ControlFlow::Continue(()));
            }
            Form::Core => core(origin, it),
            Form::Minidump => minidump(origin, it).ok_or_else(|| {
                Error::Usage(format!("minidumps of {} are not known to their readers", origin.program.guest.cpu.name))
            })?,
        };
        let ending = if self.arguments.format == Form::Core { "core" } else { "dmp" };
        let name = format!("{}.{ending}", it.name.replace('/', "-"));
        let path = self.arguments.out.join(folder).join(name);
        make_folder_of(&path)?;
        let [output] = Output::prepare([("--out", Some(&path))])?;
        if let Some(output) = output {
            output.write(&mut std::io::sink(), &mut |out| out.write_all(&bytes))?;
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// A sample says which file its code is from, and nothing of the code itself.
fn require_file(program: &Program) -> Result<(), Error> {
    let guest = &program.guest;
    if guest.unwind.files.len() <= 1 && guest.path.is_file() {
        return Ok(());
    }
    Err(Error::Usage("--format perf needs a guest that is one file; use jsonl or core".to_owned()))
}
