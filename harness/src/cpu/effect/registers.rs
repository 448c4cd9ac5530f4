//! What registers hold, and what the instruction that is being decoded does to those that matter.

use std::collections::BTreeMap;

use super::Effect;

/// The roles that unwinders go by: `sp`, `fp`, `ra`, `current`, and `0` for a zero register.
pub(super) type RoleOf = fn(&str) -> Option<&'static str>;

/// A place in memory.
pub(super) struct Place {
    /// As it is shown.
    pub(super) text: String,
    /// As it is compared.
    key: String,
    /// Whether it is relative to SP or FP.
    pub(super) is_on_stack: bool,
}

/// The registers of one CPU.
pub(super) struct Registers {
    role: RoleOf,
    watched: Vec<String>,
    known: BTreeMap<String, String>,
    /// What `auipc` has put into a register.
    pages: BTreeMap<String, u64>,
    effects: Vec<Effect>,
}

impl Registers {
    pub(super) fn new(role: RoleOf, watched: &[String]) -> Self {
        Self { role, watched: watched.to_vec(), known: BTreeMap::new(), pages: BTreeMap::new(), effects: Vec::new() }
    }

    pub(super) fn forget(&mut self) {
        self.known.clear();
        self.pages.clear();
    }

    pub(super) fn held(&self) -> BTreeMap<String, String> {
        self.known.clone()
    }

    pub(super) fn hold(&mut self, held: BTreeMap<String, String>) {
        self.forget();
        self.known = held;
    }

    /// The effects since the last call.
    pub(super) fn take(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// The instruction does this, and it is compared as it is shown.
    pub(super) fn does(&mut self, what: impl Into<String>) {
        let text = what.into();
        self.effects.push(Effect { key: text.clone(), text });
    }

    pub(super) fn does_alike(&mut self, text: String, key: String) {
        self.effects.push(Effect { text, key });
    }

    /// The name under which a register counts.
    pub(super) fn role_of(&self, register: &str) -> Option<String> {
        let watched = self.watched.iter().find(|watched| *watched == register).cloned();
        (self.role)(register).map(str::to_owned).or(watched)
    }

    /// What a register holds, as it is shown and as it is compared.
    pub(super) fn value(&self, register: &str) -> (String, String) {
        if let Some(role) = self.role_of(register) {
            return (role.clone(), role);
        }
        match self.known.get(register) {
            Some(known) => (known.clone(), known.clone()),
            None => (register.to_owned(), "*".to_owned()),
        }
    }

    /// A register takes an address, of which the low bits follow.
    pub(super) fn page(&mut self, register: &str, address: u64) {
        self.set(register, &format!("page {address:#x}"), "page");
        self.pages.insert(register.to_owned(), address);
    }

    pub(super) fn page_of(&self, register: &str) -> Option<u64> {
        self.pages.get(register).copied()
    }

    fn is_known(&self, register: &str) -> bool {
        self.role_of(register).is_some() || self.known.contains_key(register)
    }

    /// A register takes a value of which only this is known.
    pub(super) fn set(&mut self, register: &str, text: &str, key: &str) {
        self.pages.remove(register);
        match self.role_of(register).as_deref() {
            Some("0") => {}
            Some(role) => {
                if role == "sp" || role == "fp" {
                    self.moved(role);
                }
                self.does_alike(format!("{role} = {text}"), format!("{role} = {key}"));
            }
            None => {
                self.known.remove(register);
            }
        }
    }

    /// A register takes a value that the instruction's own effect names.
    pub(super) fn set_aside(&mut self, register: &str) {
        self.known.remove(register);
        self.pages.remove(register);
    }

    /// A register takes a value that is known.
    pub(super) fn know(&mut self, register: &str, value: &str) {
        self.set(register, value, value);
        if self.role_of(register).is_none() {
            self.known.insert(register.to_owned(), value.to_owned());
        }
    }

    /// One register is copied to another.
    pub(super) fn copy(&mut self, to: &str, from: &str) {
        let (text, key) = self.value(from);
        if key == "*" { self.set(to, &text, &key) } else { self.know(to, &text) }
    }

    /// `to` = `from` + `by`.
    pub(super) fn add(&mut self, to: &str, from: &str, by: i64) {
        let same = self.role_of(to).filter(|role| self.role_of(from).as_ref() == Some(role));
        match same.as_deref() {
            Some(role @ ("sp" | "fp")) => {
                self.moved(role);
                let sign = if by < 0 { '-' } else { '+' };
                self.does(format!("{role} {sign}= {}", by.unsigned_abs()));
            }
            _ => {
                let (text, key) = self.value(from);
                let sum = |value: &str| if by == 0 { value.to_owned() } else { format!("{value}{by:+}") };
                match self.role_of(from).as_deref() {
                    Some("sp" | "fp" | "current") => self.know(to, &sum(&text)),
                    Some("0") => self.know(to, &by.to_string()),
                    _ if matches!(text.as_str(), "sp" | "fp") => self.know(to, &sum(&text)),
                    _ if key == "*" => self.set(to, &sum(&text), &key),
                    _ => self.set(to, &sum(&text), &sum(&key)),
                }
            }
        }
    }

    /// Any other computation. A sum of registers without a role is an address that was computed in pieces.
    pub(super) fn compute(&mut self, to: &str, mnemonic: &str, from: &[&str]) {
        let is_address =
            mnemonic == "add" && from.len() > 1 && from.iter().all(|register| self.role_of(register).is_none());
        let key = if is_address { "*" } else { mnemonic };
        self.set(to, &format!("{mnemonic} {}", from.join(", ")), key);
    }

    /// What is known relative to a register holds no longer when that moves.
    fn moved(&mut self, role: &str) {
        self.known.retain(|_, value| !value.starts_with(role));
    }

    /// The word at `base` + `offset`.
    pub(super) fn place(&self, base: &str, offset: i64) -> Place {
        match self.role_of(base).as_deref() {
            Some(role @ ("sp" | "fp")) => {
                let text = if offset == 0 { format!("[{role}]") } else { format!("[{role}{offset:+}]") };
                Place { key: text.clone(), text, is_on_stack: true }
            }
            _ => Place { text: format!("[{base}{offset:+}]"), key: "[*]".to_owned(), is_on_stack: false },
        }
    }

    /// Stores a register. Outside of the stack, only what unwinders go by counts.
    pub(super) fn store(&mut self, register: &str, place: &Place) {
        let role = self.role_of(register);
        let is_followed = role.is_some_and(|role| !matches!(role.as_str(), "0" | "current"));
        let counts = if place.is_on_stack { self.is_known(register) } else { is_followed };
        if counts {
            self.store_any(register, place);
        }
    }

    /// Stores a register, which counts whatever it holds.
    pub(super) fn store_any(&mut self, register: &str, place: &Place) {
        let (text, key) = self.value(register);
        self.does_alike(format!("{} = {text}", place.text), format!("{} = {key}", place.key));
    }

    /// Stores a constant.
    pub(super) fn store_number(&mut self, value: i64, place: &Place) {
        if place.is_on_stack {
            self.does(format!("{} = {value}", place.text));
        }
    }

    /// Loads a register.
    pub(super) fn load(&mut self, register: &str, place: &Place) {
        self.set(register, &place.text, &place.key);
    }
}
