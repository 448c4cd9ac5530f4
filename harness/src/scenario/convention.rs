//! `[[convention]]`: calls that do not follow the ABI.

use std::ops::Range;
use std::sync::OnceLock;

use serde::Deserialize;

use super::Scenario;
use crate::Error;
use crate::cpu::{Cpu, FlowKind, Register};
use crate::guest::conventions::{CallConvention, Preserved, SpAtReturn, StackRole};
use crate::guest::{Guest, Poison, Program, Symbol};
use crate::oracle::private_conventions;

/// What [`private_conventions`] has seen of a scenario's code.
pub(super) type PrivateConventions = OnceLock<Vec<(Range<u64>, CallConvention)>>;

/// How calls of some functions differ from the ABI's, and why.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Convention {
    /// Their names; one that ends in `*` stands for all functions whose names begin so.
    pub functions: Vec<String>,
    /// They return with SP so many bytes above that of the call: they pop their arguments.
    #[serde(default)]
    pub pops: u64,
    /// A call leaves the return address in this register.
    pub link: Option<String>,
    /// Of the callee-saved registers, they preserve only these.
    pub preserves: Option<Vec<String>>,
    /// Of the callee-saved registers, they preserve all but these.
    pub clobbers: Option<Vec<String>>,
    /// They are a part of their callers' prologues or epilogues.
    pub outlined: Option<Outlined>,
    /// The reason.
    pub because: String,
}

/// Code that several functions share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outlined {
    /// A prologue: it returns with a lower SP, and has saved registers.
    Prologue,
    /// An epilogue that is called: it returns with a higher SP, and has restored registers.
    Epilogue,
}

impl Convention {
    /// The convention on this CPU.
    ///
    /// # Errors
    ///
    /// What is wrong with the table, by its keys.
    pub fn resolve(&self, cpu: &Cpu) -> Result<CallConvention, String> {
        let first = self.functions.first().ok_or("[[convention]] functions is empty")?;
        let wrong = |reason: String| format!("[[convention]] of {first}: {reason}");
        let returns = match (self.pops, self.outlined) {
            (0, None) => SpAtReturn::Same,
            (bytes, None) => SpAtReturn::Higher(bytes),
            (0, Some(Outlined::Prologue)) => SpAtReturn::Lowered,
            (0, Some(Outlined::Epilogue)) => SpAtReturn::Raised,
            (_, Some(_)) => return Err(wrong("pops and outlined exclude each other".to_owned())),
        };
        let preserves = match (&self.preserves, &self.clobbers) {
            (None, None) => Preserved::ALL,
            (Some(names), None) => Preserved::of(indices("preserves", names, cpu).map_err(wrong)?),
            (None, Some(names)) => {
                let clobbered = indices("clobbers", names, cpu).map_err(wrong)?;
                clobbered.into_iter().fold(Preserved::ALL, Preserved::without)
            }
            (Some(_), Some(_)) => return Err(wrong("preserves and clobbers exclude each other".to_owned())),
        };
        let link = self.link.as_ref().map(|name| register("link", name, cpu)).transpose().map_err(wrong)?;
        let convention = CallConvention { link, returns, preserves, is_supposed: false };
        if convention == CallConvention::default() {
            return Err(wrong("it declares nothing: give pops, link, preserves, clobbers or outlined".to_owned()));
        }
        Ok(convention)
    }

    /// The functions of a guest that follow it.
    ///
    /// # Errors
    ///
    /// A name that is none of a function of the guest.
    pub fn functions_of(&self, guest: &Guest) -> Result<Vec<Range<u64>>, String> {
        let mut found = Vec::new();
        for name in &self.functions {
            let before = found.len();
            match name.strip_suffix('*') {
                Some(prefix) => {
                    let functions = guest.symbols.functions().iter();
                    found.extend(functions.filter(|function| function.name.starts_with(prefix)).map(range));
                }
                None => found.extend(guest.symbols.function_named(name).map(range)),
            }
            if found.len() == before {
                let path = guest.path.display();
                let near = guest.symbols.near(name);
                return Err(format!("[[convention]] functions: {name:?} is no function of {path}{near}"));
            }
        }
        Ok(found)
    }
}

fn range(function: &Symbol) -> Range<u64> {
    function.address..function.address + function.size
}

/// The indices of registers among the callee-saved ones.
fn indices(key: &str, names: &[String], cpu: &Cpu) -> Result<Vec<usize>, String> {
    let index = |name: &String| {
        let register = register(key, name, cpu)?;
        let saved = cpu.callee_saved.iter().position(|saved| *saved == register);
        saved.ok_or_else(|| {
            let all: Vec<&str> = cpu.callee_saved.iter().map(|saved| cpu.abi.register_name(*saved)).collect();
            format!("{key}: no ABI makes a function preserve {name}, only {}", all.join(", "))
        })
    };
    names.iter().map(index).collect()
}

fn register(key: &str, name: &str, cpu: &Cpu) -> Result<Register, String> {
    let names = cpu.abi.register_names.iter();
    let number = names.zip(0..).find(|(known, _)| **known == name).map(|(_, number)| Register(number));
    number.ok_or_else(|| {
        let known = cpu.abi.register_names.join(", ");
        format!("{key}: {name:?} is no register of {}, which has {known}", cpu.name)
    })
}

impl Scenario {
    /// Requires what the scenario says of its guest, and adds it to the guest's conventions.
    ///
    /// # Errors
    ///
    /// As [`Scenario::require_functions`]; [`Error::Scenario`] when a convention does not fit the guest.
    pub fn declare(&self, mut program: Program) -> Result<Program, Error> {
        self.require_functions(&program)?;
        let reject = |reason: String| Error::Scenario { path: self.path.clone(), reason };
        for declared in &self.text.convention {
            let convention = declared.resolve(self.cpu).map_err(reject)?;
            let functions = declared.functions_of(&program.guest).map_err(reject)?;
            let added = program.conventions.calls.add(convention, functions);
            added.map_err(|twice| {
                let name = program.guest.symbols.function_at(twice).map_or("?", |function| &function.name);
                reject(format!("[[convention]]: two tables name {name}"))
            })?;
        }
        self.declare_fibers(&mut program).map_err(reject)?;
        // Where such a call returns is behind a jump.
        if program.held.is_none() && self.text.convention.iter().any(|declared| declared.link.is_some()) {
            program.poison = Poison::new(&program.listing, &program.layout.stacks, FlowKind::Jump);
        }
        Ok(program)
    }

    /// Adds the conventions that somebody's code was seen to have ([`private_conventions`]), in one run for all loads. A run that fails
    /// here fails again, where that is reported.
    pub(super) fn with_private_conventions(&self, mut program: Program) -> Result<Program, Error> {
        let seen = match self.learned.private.get() {
            Some(seen) => seen,
            None => {
                let seen = private_conventions(&program, &mut *self.live(&program)?);
                self.learned.private.get_or_init(|| seen.unwrap_or_default())
            }
        };
        for (function, convention) in seen {
            let start = function.start;
            let twice = |_| Error::Internal(format!("{start:#x} has two conventions"));
            program.conventions.calls.add(*convention, vec![function.clone()]).map_err(twice)?;
        }
        Ok(program)
    }

    /// Gives the fibers' stacks their role.
    fn declare_fibers(&self, program: &mut Program) -> Result<(), String> {
        let fibers = &self.text.fibers;
        if !fibers.is_empty() && program.conventions.kernel.is_some() {
            return Err("fibers: a kernel's tasks are told apart by __current, not by stacks".to_owned());
        }
        for name in fibers {
            let stacks = &mut program.layout.stacks;
            let names: Vec<String> = stacks.iter().map(|stack| stack.name.clone()).collect();
            let stack = stacks.iter_mut().find(|stack| stack.name == *name);
            let stack = stack.ok_or_else(|| format!("fibers: the guest has no stack {name:?}, only {names:?}"))?;
            if stack.role == StackRole::First {
                return Err(format!("fibers: {name:?} is the stack on which the run begins, and no fiber's"));
            }
            stack.role = StackRole::Fiber;
        }
        Ok(())
    }
}
