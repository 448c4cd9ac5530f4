//! A guest with everything that is made of it once.

use std::path::Path;

use kunwind::StackBounds;

use crate::Error;
use crate::guest::Guest;
use crate::layout::{Layout, Poison};
use crate::listing::Listing;
use crate::machine::Machine;
use crate::oracle::{Oracle, Witnesses};
use crate::scenario::{Cpu, Scenario, Text, Variant};
use crate::tables::Tables;

/// A guest that is ready to run, with everything that is made of it once.
#[derive(Debug)]
pub struct Prepared {
    /// The guest.
    pub guest: Guest,
    /// Its disassembly.
    pub listing: Listing,
    /// Where its stacks lie.
    pub layout: Layout,
    /// What they are filled with.
    pub poison: Poison,
    /// Their bounds alone, for walks.
    pub bounds: Vec<StackBounds>,
    /// Its unwind data.
    pub tables: Tables,
}

impl Prepared {
    /// Loads the guest of a scenario's variant.
    ///
    /// # Errors
    ///
    /// As [`Guest::load`], [`Listing::new`] and [`Layout::new`].
    pub fn load(root: &Path, scenario: &Scenario, variant: &Variant) -> Result<Self, Error> {
        let guest = Guest::load(&scenario.guest_path(root, variant), scenario.arch)?;
        Self::new(guest, &variant.stacks, variant.cfa_mod32)
    }

    /// Prepares a loaded guest.
    ///
    /// # Errors
    ///
    /// As [`Listing::new`], [`Layout::new`] and [`Tables::new`].
    pub fn new(guest: Guest, stacks: &[String], cfa_mod32: u64) -> Result<Self, Error> {
        let listing = Listing::new(&guest)?;
        let layout = Layout::new(&guest, stacks, cfa_mod32)?;
        let poison = Poison::new(&listing, &layout.stacks);
        let bounds = layout.stacks.iter().map(|stack| stack.bounds).collect();
        let tables = Tables::new(&guest)?;
        Ok(Self { guest, listing, layout, poison, bounds, tables })
    }

    /// An oracle for one run of the guest.
    #[must_use]
    pub fn oracle(&self, witnesses: Witnesses) -> Oracle<'_> {
        Oracle::new(&self.guest, &self.layout, &self.poison, witnesses)
    }

    /// A machine for one run of the guest, as a scenario wants it.
    pub(crate) fn machine_for(&self, text: &Text) -> Result<Machine<'_>, Error> {
        let mut machine = self.machine(&text.entry)?;
        if text.cpu == Cpu::Max {
            machine.use_max_cpu();
        }
        Ok(machine)
    }

    /// A machine for one run of the guest.
    ///
    /// # Errors
    ///
    /// As [`Machine::new`].
    pub fn machine(&self, entry: &str) -> Result<Machine<'_>, Error> {
        Machine::new(&self.guest, entry, &self.layout, &self.poison)
    }
}
