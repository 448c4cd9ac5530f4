//! The mistakes that are planted in a row, one at a time.

use kunwind::{Abi, CfaRule, Entry, PauthKey, PtRegsRow, Register, Rule, UnwindRow};

use crate::cpu::Cpu;
use crate::recording::mutation::Family;

/// By how much offsets are changed, in bytes: a word, and two.
const DISTANCES: [i64; 4] = [8, -8, 16, -16];

/// What a table says of an instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Says {
    pub(super) entry: Option<Entry>,
    /// The rules of other registers; nothing if the format has none.
    pub(super) saved: Option<Vec<(Register, Rule)>>,
    pub(super) key: PauthKey,
}

/// A mistake: of which family, in words, and what the row says with it.
pub(super) struct Mistake {
    pub(super) family: Family,
    pub(super) name: String,
    pub(super) says: Says,
}

/// Collects the mistakes of one row.
struct Mistakes<'a> {
    abi: &'a Abi,
    can_sign: bool,
    says: &'a Says,
    found: Vec<Mistake>,
}

/// All mistakes in what a row says. Those that would change nothing are left out.
pub(super) fn mistakes(cpu: &Cpu, says: &Says) -> Vec<Mistake> {
    let abi = cpu.abi;
    let mut all = Mistakes { abi, can_sign: cpu.can_sign(), says, found: Vec::new() };
    match says.entry {
        Some(Entry::Row(row)) => {
            all.cfa(row);
            all.return_address(row);
            all.frame_pointer(row);
            all.swapped(row);
            all.signed(row);
            all.saved();
            all.entry(Family::Rule, "no caller".to_owned(), Entry::Outermost);
        }
        Some(Entry::PtRegs(row)) => all.pt_regs(row),
        Some(Entry::Outermost) => all.entry(Family::Rule, "a caller".to_owned(), Entry::Row(first_row(abi))),
        Some(Entry::NoRow { .. }) | None => {}
    }
    all.found
}

/// What holds at the first instruction of a function that does nothing.
fn first_row(abi: &Abi) -> UnwindRow {
    let (cfa, ra) = if abi.ra.is_some() { (0, Rule::Retain) } else { (8, Rule::CfaOffsetDeref(-8)) };
    let cfa = CfaRule::RegOffset(abi.sp, cfa);
    UnwindRow { cfa, ra, fp: Rule::Retain, mangled_ra: false, signal: false }
}

/// The CFA's rule, counted from elsewhere.
fn shifted_cfa(rule: CfaRule, by: i64) -> Option<CfaRule> {
    Some(match rule {
        CfaRule::RegOffset(base, offset) => CfaRule::RegOffset(base, offset.wrapping_add(by)),
        CfaRule::RegOffsetDeref(base, offset) => CfaRule::RegOffsetDeref(base, offset.wrapping_add(by)),
        CfaRule::RegDerefOffset(base, offset) => CfaRule::RegDerefOffset(base, offset.wrapping_add(by)),
        CfaRule::Expression(_) => return None,
    })
}

/// The CFA's rule with the other of SP and the frame pointer.
fn other_base(abi: &Abi, rule: CfaRule) -> Option<CfaRule> {
    let other = |base| if base == abi.sp { abi.fp } else { abi.sp };
    Some(match rule {
        CfaRule::RegOffset(base, offset) => CfaRule::RegOffset(other(base), offset),
        CfaRule::RegOffsetDeref(base, offset) => CfaRule::RegOffsetDeref(other(base), offset),
        CfaRule::RegDerefOffset(base, offset) => CfaRule::RegDerefOffset(other(base), offset),
        CfaRule::Expression(_) => return None,
    })
}

/// A rule that names a word, with another word.
const fn shifted(rule: Rule, by: i64) -> Option<Rule> {
    match rule {
        Rule::CfaOffsetDeref(offset) => Some(Rule::CfaOffsetDeref(offset.wrapping_add(by))),
        Rule::RegOffsetDeref(base, offset) => Some(Rule::RegOffsetDeref(base, offset.wrapping_add(by))),
        _ => None,
    }
}

/// A rule that names a word, taken for one that names the value.
const fn computed(rule: Rule) -> Option<Rule> {
    match rule {
        Rule::CfaOffsetDeref(offset) => Some(Rule::CfaOffset(offset)),
        Rule::RegOffsetDeref(base, offset) => Some(Rule::RegOffset(base, offset)),
        _ => None,
    }
}

/// Other rules for a value, and what is wrong with them; `usual` is where the word usually is, from the CFA.
fn other_rules(rule: Rule, usual: i64) -> Vec<(Family, String, Rule)> {
    let slot = |by| shifted(rule, by).map(|rule| (Family::Slot, format!("slot {by:+}"), rule));
    let other = match rule {
        Rule::Retain => ("in memory", Rule::CfaOffsetDeref(usual)),
        _ => ("in its register", Rule::Retain),
    };
    let kinds =
        [Some(("lost", Rule::Undefined)), Some(other), computed(rule).map(|rule| ("is the slot's address", rule))];
    let kinds = kinds.into_iter().flatten().map(|(what, rule)| (Family::Rule, what.to_owned(), rule));
    [8, -8].into_iter().filter_map(slot).chain(kinds).collect()
}

impl Mistakes<'_> {
    fn add(&mut self, family: Family, name: String, says: Says) {
        if says != *self.says {
            self.found.push(Mistake { family, name, says });
        }
    }

    fn entry(&mut self, family: Family, name: String, entry: Entry) {
        self.add(family, name, Says { entry: Some(entry), ..self.says.clone() });
    }

    fn row(&mut self, family: Family, name: impl Into<String>, row: UnwindRow) {
        self.entry(family, name.into(), Entry::Row(row));
    }

    fn cfa(&mut self, row: UnwindRow) {
        for by in DISTANCES {
            if let Some(cfa) = shifted_cfa(row.cfa, by) {
                self.row(Family::CfaOffset, format!("CFA {by:+}"), UnwindRow { cfa, ..row });
            }
        }
        if let Some(cfa) = other_base(self.abi, row.cfa) {
            self.row(Family::CfaBase, "CFA from the other register", UnwindRow { cfa, ..row });
        }
        match row.cfa {
            CfaRule::RegOffset(base, offset) => {
                let cfa = CfaRule::RegDerefOffset(base, offset);
                self.row(Family::CfaBase, "CFA from the word at the register", UnwindRow { cfa, ..row });
            }
            CfaRule::RegOffsetDeref(base, offset) | CfaRule::RegDerefOffset(base, offset) => {
                let cfa = CfaRule::RegOffset(base, offset);
                self.row(Family::CfaBase, "CFA from the register itself", UnwindRow { cfa, ..row });
            }
            CfaRule::Expression(_) => {}
        }
    }

    fn return_address(&mut self, row: UnwindRow) {
        for (family, what, ra) in other_rules(row.ra, -8) {
            self.row(family, format!("RA {what}"), UnwindRow { ra, ..row });
        }
    }

    fn frame_pointer(&mut self, row: UnwindRow) {
        for (family, what, fp) in other_rules(row.fp, -16) {
            self.row(family, format!("FP {what}"), UnwindRow { fp, ..row });
        }
    }

    fn swapped(&mut self, row: UnwindRow) {
        if row.ra != Rule::Retain && row.fp != Rule::Retain {
            let swapped = UnwindRow { ra: row.fp, fp: row.ra, ..row };
            self.row(Family::Swapped, "RA and FP swapped", swapped);
        }
        let Some(saved) = &self.says.saved else { return };
        for index in 1..saved.len() {
            let mut saved = saved.clone();
            let [(first, one), (second, other)] = [saved[index - 1], saved[index]];
            (saved[index - 1].1, saved[index].1) = (other, one);
            let name = format!("{} and {} swapped", self.abi.register_name(first), self.abi.register_name(second));
            self.add(Family::Swapped, name, Says { saved: Some(saved), ..self.says.clone() });
        }
    }

    fn signed(&mut self, row: UnwindRow) {
        if !self.can_sign {
            return;
        }
        let name = if row.mangled_ra { "RA not signed" } else { "RA signed" };
        self.row(Family::Signed, name, UnwindRow { mangled_ra: !row.mangled_ra, ..row });
        if row.mangled_ra {
            let key = match self.says.key {
                PauthKey::A => PauthKey::B,
                PauthKey::B => PauthKey::A,
            };
            self.add(Family::Signed, "the other key".to_owned(), Says { key, ..self.says.clone() });
        }
    }

    fn saved(&mut self) {
        let Some(saved) = &self.says.saved else { return };
        for (index, (register, rule)) in saved.iter().enumerate() {
            let name = self.abi.register_name(*register);
            let mut with = |family, name: String, rule: Option<Rule>| {
                let mut saved = saved.clone();
                match rule {
                    Some(rule) => saved[index].1 = rule,
                    None => drop(saved.remove(index)),
                }
                let says = Says { saved: Some(saved), ..self.says.clone() };
                if says != *self.says {
                    self.found.push(Mistake { family, name, says });
                }
            };
            for by in [8, -8] {
                if let Some(rule) = shifted(*rule, by) {
                    with(Family::Slot, format!("{name} slot {by:+}"), Some(rule));
                }
            }
            with(Family::Rule, format!("{name} unchanged"), None);
            with(Family::Rule, format!("{name} lost"), Some(Rule::Undefined));
            if let Some(rule) = computed(*rule) {
                with(Family::Rule, format!("{name} is the slot's address"), Some(rule));
            }
        }
    }

    fn pt_regs(&mut self, row: PtRegsRow) {
        for by in DISTANCES {
            if let Some(at) = shifted_cfa(row.at, by) {
                self.entry(Family::CfaOffset, format!("pt_regs {by:+}"), Entry::PtRegs(PtRegsRow { at, ..row }));
            }
        }
        if let Some(at) = other_base(self.abi, row.at) {
            let name = "pt_regs from the other register".to_owned();
            self.entry(Family::CfaBase, name, Entry::PtRegs(PtRegsRow { at, ..row }));
        }
        let name = if row.is_whole { "pt_regs is only what the CPU saves" } else { "pt_regs is whole" };
        let other = PtRegsRow { is_whole: !row.is_whole, ..row };
        self.entry(Family::Rule, name.to_owned(), Entry::PtRegs(other));
        self.entry(Family::Rule, "an ordinary call".to_owned(), Entry::Row(first_row(self.abi)));
        self.entry(Family::Rule, "no caller".to_owned(), Entry::Outermost);
    }
}
