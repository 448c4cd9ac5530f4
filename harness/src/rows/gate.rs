//! What a scenario must say of rows that are wrong, not judged or missing, and what it says in vain.

use super::asked::HOOKED;
use super::name_of;
use crate::recording::rows::{FunctionRows, GuestRows, TableResult, Unjudged};
use crate::recording::{Novelty, Recording};
use crate::scenario::{Scenario, UnjudgedRows};

/// Everything that a scenario neither lists with a reason nor may list. `all` are the scenarios whose lists count; only those of
/// `scenarios` can be stale.
pub(super) fn check(report: &Recording, scenarios: &[Scenario], all: &[Scenario]) -> Vec<String> {
    let mut broken = Vec::new();
    for guest in &report.rows {
        // A run that was cut short may still turn out to be void.
        if guest.interrupted {
            continue;
        }
        let own: Vec<&Scenario> = all.iter().filter(|scenario| has(scenario, guest)).collect();
        let asked = Asked::of(is_of_others(scenarios, guest), &own);
        for function in &guest.functions {
            broken.extend(wrong(guest, function, &own, &asked));
            broken.extend(unjudged(guest, function, &own, &asked));
            broken.extend(missing(guest, function, &own));
        }
        broken.extend(strays(guest, &own, &asked));
        broken.extend(unasked(guest, &own));
    }
    // What a run that was cut short did not show, it may still show.
    if report.partial.is_none() {
        broken.extend(scenarios.iter().flat_map(|scenario| stale(report, scenario)));
    }
    broken
}

/// Of which tables rows must be right: of all, or, of somebody else's file, of those that its scenario names (`must-be-right`).
enum Asked<'s> {
    All,
    These(Vec<&'s str>),
}

impl<'s> Asked<'s> {
    fn of(is_of_others: bool, own: &[&'s Scenario]) -> Self {
        if !is_of_others {
            return Self::All;
        }
        Self::These(own.iter().flat_map(|scenario| scenario.text.must_be_right.iter().map(String::as_str)).collect())
    }

    fn has(&self, format: &str) -> bool {
        match self {
            Self::All => true,
            Self::These(formats) => formats.contains(&format),
        }
    }
}

/// Whether a guest is somebody else's file, of which nothing is demanded unless its scenario says so.
fn is_of_others(scenarios: &[Scenario], guest: &GuestRows) -> bool {
    scenarios.iter().any(|scenario| scenario.text.is_of_others() && has(scenario, guest))
}

/// Notes how the wrong rows and those that were not judged stand with the lists of the scenarios `all`. Nothing is demanded of the files
/// of others, which are called by `scenarios`.
pub(super) fn mark(report: &mut Recording, scenarios: &[Scenario], all: &[Scenario]) {
    for guest in report.rows.iter_mut().filter(|guest| !guest.interrupted) {
        let own: Vec<&Scenario> = all.iter().filter(|scenario| has(scenario, guest)).collect();
        let asked = Asked::of(is_of_others(scenarios, guest), &own);
        let novelty = |format: &str, is_listed: bool| match (asked.has(format), is_listed) {
            (false, _) => Novelty::Exempt,
            (true, true) => Novelty::Known,
            (true, false) => Novelty::New,
        };
        for function in &mut guest.functions {
            let wrong_rows = own.iter().flat_map(|scenario| &scenario.text.wrong_rows);
            let of_wrong: Vec<&str> = wrong_rows
                .filter(|list| list.functions.contains(&function.name))
                .map(|list| list.because.as_str())
                .collect();
            for table in &mut function.tables {
                let unjudged = own.iter().flat_map(|scenario| &scenario.text.unjudged);
                let of_unjudged: Vec<&str> = unjudged
                    .filter(|list| lists(list, &table.format, &function.name))
                    .map(|list| list.because.as_str())
                    .collect();
                let is_hooked = has_hook(&own) && table.unjudged.iter().all(|unjudged| unjudged.reason == HOOKED);
                table.wrong_novelty = table.is_wrong().then(|| novelty(&table.format, !of_wrong.is_empty()));
                let has_unjudged = !table.unjudged.is_empty();
                table.unjudged_novelty =
                    has_unjudged.then(|| novelty(&table.format, is_hooked || !of_unjudged.is_empty()));
                let wrong = of_wrong.iter().filter(|_| table.wrong_novelty.is_some());
                let reasons = wrong.chain(of_unjudged.iter().filter(|_| has_unjudged));
                table.because = reasons.map(|reason| (*reason).to_owned()).collect();
                table.because.dedup();
            }
        }
    }
}

/// Whether a guest has a return hook, beyond which rows lead nowhere.
fn has_hook(own: &[&Scenario]) -> bool {
    own.iter().any(|scenario| {
        scenario.text.return_hook.is_some() || scenario.text.variant.iter().any(|variant| variant.return_hook.is_some())
    })
}

/// Whether a scenario has this guest.
fn has(scenario: &Scenario, guest: &GuestRows) -> bool {
    scenario.variants().iter().any(|variant| name_of(scenario, variant) == guest.name)
}

/// What to do about something: also to give the reason in this list of the guest's scenario, if it has one.
fn advice(what: &str, list: &str, guest: &GuestRows, own: &[&Scenario]) -> String {
    if own.is_empty() {
        what.to_owned()
    } else {
        format!("{what}, or give the reason in [[{list}]] of {}", guest.scenario)
    }
}

/// Wrong rows for which no scenario of the guest gives a reason: every table that is wrong, at its first wrong instruction.
fn wrong(guest: &GuestRows, function: &FunctionRows, own: &[&Scenario], asked: &Asked<'_>) -> Option<String> {
    let is_listed =
        own.iter().flat_map(|scenario| &scenario.text.wrong_rows).any(|list| list.functions.contains(&function.name));
    let tables = function.tables.iter().filter(|table| asked.has(&table.format));
    let tables = tables.filter_map(|table| Some((&*table.format, table.first_wrong()?)));
    let mut places: Vec<(u64, Vec<&str>)> = Vec::new();
    for (format, offset) in tables {
        match places.iter_mut().find(|(other, _)| *other == offset) {
            Some((_, formats)) => formats.push(format),
            None => places.push((offset, vec![format])),
        }
    }
    let name = &function.name;
    let of_place = |(offset, formats): &(u64, Vec<&str>)| {
        let verb = if formats.len() == 1 { "is" } else { "are" };
        format!("{} {verb} wrong at {name}+{offset:#x}", formats.join(" and "))
    };
    let places: Vec<String> = places.iter().map(of_place).collect();
    (!is_listed && !places.is_empty()).then(|| {
        let advice = advice("fix it", "wrong-rows", guest, own);
        format!("{}: {}; {advice}", guest.name, places.join(", "))
    })
}

fn lists(list: &UnjudgedRows, table: &str, function: &str) -> bool {
    list.functions.iter().any(|name| name == function) && list.is_of(table)
}

/// Rows that were not judged, for which no scenario of the guest gives a reason.
fn unjudged(guest: &GuestRows, function: &FunctionRows, own: &[&Scenario], asked: &Asked<'_>) -> Vec<String> {
    let is_listed = |table: &TableResult| {
        let lists_all = own.iter().flat_map(|scenario| &scenario.text.unjudged);
        lists_all.into_iter().any(|list| lists(list, &table.format, &function.name))
    };
    let has_hook = has_hook(own);
    let is_open = |unjudged: &&Unjudged| !(has_hook && unjudged.reason == HOOKED);
    let open = function.tables.iter().filter(|table| asked.has(&table.format) && !is_listed(table));
    let first = open.filter_map(|table| Some((table, table.unjudged.iter().find(is_open)?)));
    first
        .map(|(table, unjudged)| {
            let advice = advice("mend it", "unjudged", guest, own);
            format!(
                "{}: {} is not judged at {}+{:#x}: {}; {advice}",
                guest.name, table.format, function.name, unjudged.first, unjudged.reason
            )
        })
        .collect()
}

/// Tables that a scenario demands, without a row for a function that ran.
fn missing(guest: &GuestRows, function: &FunctionRows, own: &[&Scenario]) -> Vec<String> {
    let demanded =
        own.iter().flat_map(|scenario| scenario.text.must_have_rows.iter().map(move |name| (scenario, name)));
    let lacks = |format: &str| {
        let table = function.tables.iter().find(|table| table.format == format);
        function.ran > 0 && table.is_none_or(TableResult::has_no_data)
    };
    let mut messages: Vec<String> = demanded
        .filter(|(_, format)| lacks(format))
        .map(|(scenario, format)| {
            let (guest, name, scenario) = (&guest.name, &function.name, &scenario.name);
            format!(
                "{guest}: {format} has no data for {name}, which ran, and must-have-rows of {scenario} demands them"
            )
        })
        .collect();
    messages.dedup();
    messages
}

/// Data that could not be read and code without a symbol, unless a scenario lists them (`[[unjudged]]` without functions).
fn strays(guest: &GuestRows, own: &[&Scenario], asked: &Asked<'_>) -> Vec<String> {
    let is_listed = |format: Option<&str>| {
        let mut lists = own.iter().flat_map(|scenario| &scenario.text.unjudged);
        lists.any(|list| list.functions.is_empty() && format.map_or(list.table.is_none(), |format| list.is_of(format)))
    };
    let name = &guest.name;
    let advice = advice("mend it", "unjudged", guest, own);
    let unread = guest.unread.iter().filter(|unread| asked.has(&unread.format) && !is_listed(Some(&unread.format)));
    let mut broken: Vec<String> =
        unread.map(|unread| format!("{name}: {} is not judged: {}; {advice}", unread.format, unread.reason)).collect();
    // Somebody's library has code without symbols: no table is asked about it by name.
    if matches!(asked, Asked::All) && guest.outside_functions > 0 && !is_listed(None) {
        let count = guest.outside_functions;
        broken.push(format!(
            "{name}: {count} instructions that ran lie in no function, so they are not judged; {advice}"
        ));
    }
    broken
}

/// Tables whose rows must be right, of which none was judged: there are none, or the name is wrong.
fn unasked(guest: &GuestRows, own: &[&Scenario]) -> Vec<String> {
    let is_judged = |format: &str| {
        let mut tables = guest.functions.iter().flat_map(|function| &function.tables);
        tables.any(|table| table.format == format && table.cfa.judged > 0)
    };
    let named = own.iter().flat_map(|scenario| scenario.text.must_be_right.iter().map(move |name| (scenario, name)));
    named
        .filter(|(_, format)| guest.void.is_none() && guest.not_judged.is_none() && !is_judged(format))
        .map(|(scenario, format)| {
            format!(
                "{}: no row of {format} was judged, and must-be-right of {} demands them",
                guest.name, scenario.name
            )
        })
        .collect()
}

/// Functions that a scenario lists though their rows are right, or were judged, in each of its guests.
fn stale(report: &Recording, scenario: &Scenario) -> Vec<String> {
    let guests = || report.rows.iter().filter(|guest| has(scenario, guest));
    if guests().any(|guest| guest.void.is_some()) {
        return Vec::new();
    }
    let path = scenario.path.display();
    let functions = |name: &str| {
        let name = name.to_owned();
        guests().flat_map(|guest| &guest.functions).filter(move |function| function.name == name)
    };
    let mut broken = Vec::new();
    for name in scenario.text.wrong_rows.iter().flat_map(|list| &list.functions) {
        if !functions(name).any(|function| function.tables.iter().any(TableResult::is_wrong)) {
            broken.push(format!("{path}: [[wrong-rows]] lists {name}, whose rows are not wrong: remove it"));
        }
    }
    for list in &scenario.text.unjudged {
        for name in &list.functions {
            let is_so = |table: &TableResult| lists(list, &table.format, name) && !table.unjudged.is_empty();
            if !functions(name).any(|function| function.tables.iter().any(is_so)) {
                broken.push(format!("{path}: [[unjudged]] lists {name}, whose rows were judged: remove it"));
            }
        }
        let is_stray = |guest: &GuestRows| !guest.unread.is_empty() || guest.outside_functions > 0;
        if list.functions.is_empty() && !guests().any(is_stray) {
            broken.push(format!("{path}: [[unjudged]] without functions lists nothing: remove it"));
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{check, mark};
    use crate::recording::Novelty;
    use crate::recording::rows::GuestRows;
    use crate::scenario::Scenario;

    #[test]
    fn no_gate_is_held_of_a_run_that_was_stopped() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut scenarios = crate::scenario::load_all(root).expect("they load").into_iter();
        let has_list = |it: &Scenario| it.name.ends_with("/loop") && !it.text.wrong_rows.is_empty();
        let mut scenario = scenarios.find(has_list).expect("its rows are wrong");
        scenario.text.wrong_rows.clear();
        let all = [scenario];
        let mut report = crate::rows::run_all(root, &all, &all).expect("it runs");
        let is_new = |guest: &GuestRows| {
            let mut tables = guest.functions.iter().flat_map(|function| &function.tables);
            tables.any(|table| table.wrong_novelty == Some(Novelty::New))
        };
        assert!(!report.row_failures.is_empty() && report.rows.iter().any(is_new), "its rows are wrong");
        for guest in &mut report.rows {
            guest.interrupted = true;
            guest.functions.iter_mut().flat_map(|it| &mut it.tables).for_each(|table| table.wrong_novelty = None);
        }
        mark(&mut report, &all, &all);
        assert!(!report.rows.iter().any(is_new));
        report.partial = Some(crate::recording::Partial { because: "interrupted".to_owned(), whole: 0, of: 1 });
        assert_eq!(check(&report, &all, &all), Vec::<String>::new());
    }
}
