//! What the kernel of a process answers to its system calls, noted so that a frozen state can answer the same.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::MappedPage;
use crate::guest::{Answer, PAGE};
use crate::user::process::Permission;

/// The answers of a process's kernel, from when somebody begins to be interested.
#[derive(Debug, Default)]
pub struct Answers {
    has_begun: Cell<bool>,
    noted: RefCell<Noted>,
}

/// What was noted.
#[derive(Debug, Default)]
struct Noted {
    /// All pages that were mapped at some time, with all that they could be used for.
    pages: BTreeMap<u64, MappedPage>,
    /// The addresses of those that were not mapped at the beginning.
    new: BTreeSet<u64>,
    /// What the system call in hand has written.
    writes: Vec<(u64, Vec<u8>)>,
    answers: Vec<Answer>,
}

impl Answers {
    /// Notes from now on. These pages are mapped.
    pub fn begin(&self, mapped: impl IntoIterator<Item = MappedPage>) {
        self.noted.borrow_mut().pages.extend(mapped.into_iter().map(|page| (page.address, page)));
        self.has_begun.set(true);
    }

    /// Whether somebody is interested.
    pub(super) const fn has_begun(&self) -> bool {
        self.has_begun.get()
    }

    /// The kernel has written these bytes.
    pub(super) fn wrote(&self, address: u64, bytes: &[u8]) {
        self.noted.borrow_mut().writes.push((address, bytes.to_vec()));
    }

    /// The kernel has given pages another permission; those that are `fresh` are zeros now.
    pub(super) fn mapped(&self, range: &Range<u64>, permission: Permission, fresh: bool) {
        let Permission { read, write, execute } = permission;
        if !(read || write || execute) {
            return; // whoever uses it now would have ended the run
        }
        let noted = &mut *self.noted.borrow_mut();
        for address in range.clone().step_by(PAGE as usize) {
            match noted.pages.get_mut(&address) {
                Some(page) => {
                    page.executable |= execute;
                    page.writable |= write;
                    if fresh {
                        noted.writes.push((address, vec![0; PAGE as usize]));
                    }
                }
                None => {
                    noted.pages.insert(address, MappedPage { address, executable: execute, writable: write });
                    noted.new.insert(address);
                }
            }
        }
    }

    /// A system call has returned this.
    pub(super) fn answered(&self, result: u64) {
        let noted = &mut *self.noted.borrow_mut();
        let writes = std::mem::take(&mut noted.writes);
        noted.answers.push(Answer { result, writes });
    }

    /// The answers, in order.
    #[must_use]
    pub fn answers(&self) -> Vec<Answer> {
        self.noted.borrow().answers.clone()
    }

    /// All pages that were mapped at some time since the beginning, with all that they could be used for, by address; and whether they
    /// were not there at the beginning, when they would have been zeros.
    #[must_use]
    pub fn pages(&self) -> Vec<(MappedPage, bool)> {
        let noted = self.noted.borrow();
        noted.pages.values().map(|page| (*page, noted.new.contains(&page.address))).collect()
    }
}
