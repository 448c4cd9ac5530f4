//! Which guests the names on a command line mean.

/// What a name can mean of a guest: its CPU, its own name, and the source it is built from, which may give several guests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) cpu: &'a str,
    pub(crate) name: &'a str,
    pub(crate) source: &'a str,
}

impl Candidate<'_> {
    /// Whether `leaf` or `arm64/leaf` names this guest, or the source of it.
    fn is_named(self, wanted: &str) -> bool {
        let (cpu, name) = split(wanted);
        cpu.is_none_or(|cpu| cpu == self.cpu) && (name == self.name || name == self.source)
    }
}

/// `arm64/leaf` is a CPU and a name, `leaf` a name on every CPU.
fn split(wanted: &str) -> (Option<&str>, &str) {
    wanted.split_once('/').map_or((None, wanted), |(cpu, name)| (Some(cpu), name))
}

/// Whether each candidate is selected: all of them if there are no names.
///
/// # Errors
///
/// The first name that selects nothing, with what it may have meant.
pub(crate) fn select(wanted: &[String], candidates: &[Candidate<'_>]) -> Result<Vec<bool>, String> {
    for name in wanted {
        if !candidates.iter().any(|candidate| candidate.is_named(name)) {
            return Err(unknown(name, candidates));
        }
    }
    let is_selected =
        |candidate: &Candidate<'_>| wanted.is_empty() || wanted.iter().any(|name| candidate.is_named(name));
    Ok(candidates.iter().map(is_selected).collect())
}

/// How alike two names must be for one to be suggested for the other, from 0 to 1: clap's threshold.
const ALIKE: f64 = 0.7;
/// How much less alike than the nearest name another may be and still be suggested.
const MARGIN: f64 = 0.1;
const MAX_SUGGESTIONS: usize = 4;

fn unknown(wanted: &str, candidates: &[Candidate<'_>]) -> String {
    let (cpu, name) = split(wanted);
    if let Some(cpu) = cpu
        && !candidates.iter().any(|candidate| candidate.cpu == cpu)
    {
        let mut cpus: Vec<&str> = candidates.iter().map(|candidate| candidate.cpu).collect();
        cpus.dedup();
        return format!("{wanted}: there is no CPU {cpu:?}, only {}", cpus.join(", "));
    }
    let alike = |other: &str| if other.contains(name) { 1.0 } else { strsim::jaro(name, other) };
    let mut near: Vec<(f64, String)> = Vec::new();
    for candidate in candidates {
        let likeness = alike(candidate.name).max(alike(candidate.source));
        let call =
            if cpu.is_some() { format!("{}/{}", candidate.cpu, candidate.name) } else { candidate.name.to_owned() };
        if likeness > ALIKE && !near.iter().any(|(_, there)| *there == call) {
            near.push((likeness, call));
        }
    }
    // The sort is stable: equally near names stay in the order of the candidates.
    near.sort_by(|(left, _), (right, _)| right.total_cmp(left));
    let best = near.first().map_or(0.0, |(likeness, _)| *likeness);
    near.retain(|(likeness, _)| *likeness > best - MARGIN);
    near.truncate(MAX_SUGGESTIONS);
    let near: Vec<String> = near.into_iter().map(|(_, name)| name).collect();
    match near.as_slice() {
        [] => format!("there is no guest {wanted:?}; guests/MANIFEST.toml lists them"),
        _ => format!("there is no guest {wanted:?}; perhaps {}", near.join(" or ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANDIDATES: &[Candidate<'_>] = &[
        Candidate { cpu: "arm64", name: "fgraph-F0", source: "fgraph" },
        Candidate { cpu: "arm64", name: "fgraph-F3", source: "fgraph" },
        Candidate { cpu: "arm64", name: "leaf", source: "leaf" },
        Candidate { cpu: "x86_64", name: "drap", source: "drap" },
        Candidate { cpu: "x86_64", name: "leaf", source: "leaf" },
    ];

    fn selected(wanted: &[&str]) -> Result<Vec<String>, String> {
        let wanted: Vec<String> = wanted.iter().map(|&name| name.to_owned()).collect();
        let selection = select(&wanted, CANDIDATES)?;
        let chosen = CANDIDATES.iter().zip(selection).filter(|(_, selected)| *selected);
        Ok(chosen.map(|(candidate, _)| format!("{}/{}", candidate.cpu, candidate.name)).collect())
    }

    #[test]
    fn a_name_means_every_cpu_a_source_and_all_of_its_builds() {
        assert_eq!(selected(&[]).map(|all| all.len()), Ok(CANDIDATES.len()));
        assert_eq!(selected(&["leaf"]).unwrap(), ["arm64/leaf", "x86_64/leaf"]);
        assert_eq!(selected(&["arm64/leaf"]).unwrap(), ["arm64/leaf"]);
        assert_eq!(selected(&["fgraph-F3", "arm64/leaf"]).unwrap(), ["arm64/fgraph-F3", "arm64/leaf"]);
        assert_eq!(selected(&["fgraph"]).unwrap(), ["arm64/fgraph-F0", "arm64/fgraph-F3"]);
    }

    #[test]
    fn a_name_that_means_nothing_is_refused_with_what_is_near() {
        let refused = |name| selected(&["leaf", name]).unwrap_err();
        assert_eq!(refused("laef"), "there is no guest \"laef\"; perhaps leaf");
        assert_eq!(refused("arm64/drap"), "there is no guest \"arm64/drap\"; perhaps x86_64/drap");
        assert_eq!(refused("fgraph-F9"), "there is no guest \"fgraph-F9\"; perhaps fgraph-F0 or fgraph-F3");
        assert_eq!(refused("zzz"), "there is no guest \"zzz\"; guests/MANIFEST.toml lists them");
        assert_eq!(refused("mips/leaf"), "mips/leaf: there is no CPU \"mips\", only arm64, x86_64");
        assert!(refused("").starts_with("there is no guest \"\""), "{}", refused(""));
    }
}
