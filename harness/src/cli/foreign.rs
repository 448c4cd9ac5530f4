//! Unwinders that are processes of their own: options, and who they say they are.

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::Error;
use crate::analysis::gate::demand;
use crate::cpu::Cpu;
use crate::recording::{Recording, Section, Skip};
use crate::scenario::{Level, Part};
use crate::subject::remote::{Greeted, Limits, Remote};
use crate::subject::{About, Subject as _};

/// Unwinders of others.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Foreign {
    /// Judge this unwinder, a process that is asked on its standard input (docs/your-unwinder.md); without --unwinder no other (may be
    /// repeated)
    #[arg(long, value_name = "PROGRAM ARGS")]
    unwinder_cmd: Vec<String>,
    /// How many milliseconds each of its walks may take [default: 1000]
    #[arg(long, value_name = "MS", requires = "unwinder_cmd")]
    unwinder_time: Option<std::num::NonZeroU32>,
    /// How many bytes each of its walks may send and receive [default: 4194304]
    #[arg(long, value_name = "N", requires = "unwinder_cmd")]
    unwinder_bytes: Option<std::num::NonZeroU32>,
    /// After how many walks of a run that crash or time out it is given up [default: 100]
    #[arg(long, value_name = "N", requires = "unwinder_cmd")]
    unwinder_failures: Option<std::num::NonZeroU32>,
}

/// What is demanded of them.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(super) struct Must {
    /// Of the unwinders of --unwinder-cmd: break a gate where a walk is not exact, or is unsound, crashes or times out [default: any]
    #[arg(long, value_name = "LEVEL", value_enum)]
    must: Option<MustBe>,
}

/// The levels of `[must]` that demand something.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum MustBe {
    Exact,
    Sound,
}

impl Must {
    /// Refuses a demand on nobody, and one that could not be held.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`].
    pub(super) fn require(self, foreign: &Foreign, is_shard: bool) -> Result<(), Error> {
        let reason = match self.must {
            Some(_) if foreign.unwinder_cmd.is_empty() => {
                "it is about the unwinders of --unwinder-cmd, and there is none"
            }
            Some(_) if is_shard => "a shard cannot hold it, and `merge` does not know of it",
            _ => return Ok(()),
        };
        Err(Error::Usage(format!("--must: {reason}")))
    }

    /// Holds the demand.
    pub(super) fn hold(self, met: &Met, recording: &mut Recording) {
        let level = match self.must {
            None => return,
            Some(MustBe::Exact) => Level::Exact,
            Some(MustBe::Sound) => Level::Sound,
        };
        let mut names: Vec<&str> = met.names.iter().map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        demand(&mut recording.sections, &names, level);
    }
}

/// What the processes said.
#[derive(Debug, Default)]
pub(super) struct Met {
    /// The processes.
    pub(super) remote: Vec<Remote>,
    /// Their names.
    names: Vec<String>,
    /// On which CPUs which of them does not walk, and why.
    skipped: Vec<Skip>,
}

impl Foreign {
    /// Starts each once for each CPU, so that what cannot work is told before anything runs. Their names join those of a part that
    /// names others.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] for a command that is none, or a name that two have, and as [`Remote::start`].
    pub(super) fn meet(&self, cpus: impl IntoIterator<Item = &'static Cpu>, part: &mut Part) -> Result<Met, Error> {
        let mut limits = Limits::default();
        if let Some(time) = self.unwinder_time {
            limits.time = Duration::from_millis(u64::from(time.get()));
        }
        limits.bytes = self.unwinder_bytes.map_or(limits.bytes, |bytes| u64::from(bytes.get()));
        limits.failures = self.unwinder_failures.map_or(limits.failures, |count| u64::from(count.get()));
        let mut met = Met::default();
        let mut cpus: Vec<_> = cpus.into_iter().collect();
        cpus.sort_by_key(|cpu| cpu.name);
        cpus.dedup_by_key(|cpu| cpu.name);
        for cpu in cpus {
            let mut names: Vec<String> = Vec::new();
            for command in &self.unwinder_cmd {
                let remote = Remote::new(command, limits)?;
                match remote.start(cpu)? {
                    Greeted::Walks(subject) => {
                        let About { name, .. } = subject.about();
                        if names.contains(name) {
                            return Err(Error::Usage(format!(
                                "two processes of --unwinder-cmd say that they are {name}"
                            )));
                        }
                        names.push(name.clone());
                    }
                    Greeted::Refuses(name, reason) => {
                        met.skipped.push(Skip::absent(format!("{name} on {}", cpu.name), reason));
                    }
                }
                if !met.remote.contains(&remote) {
                    met.remote.push(remote);
                }
            }
            if !part.unwinders.is_empty() {
                part.unwinders.extend(names.iter().map(|name| (name.clone(), None)));
            }
            met.names.extend(names);
        }
        Ok(met)
    }
}

impl Met {
    /// What there is no walk of, with the reason.
    pub(super) fn absent(&self, recording: &Recording) -> Vec<Skip> {
        let walks = |name: &str| recording.sections.iter().any(|section| section.column(name).is_some());
        let is_judged = recording.sections.iter().any(Section::is_whole);
        let mut names: Vec<&String> = self.names.iter().filter(|name| is_judged && !walks(name)).collect();
        names.dedup();
        let reason = "there is no guest here of the kind in which it walks (\"scope\" in docs/unwinder-protocol.md)";
        let absent = names.into_iter().map(|name| Skip::absent(format!("{name} made no walk here"), reason));
        let lacked = self.remote.iter().flat_map(Remote::lacked).map(|(section, missing, all)| {
            let what = format!("{section}, which it asked for");
            Skip::absent(what, format!("{missing} of {all} guests have none, so it got no such data there"))
        });
        self.skipped.iter().cloned().chain(absent).chain(lacked).collect()
    }
}
