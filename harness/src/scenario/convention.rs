//! `[[convention]]`: calls that do not follow the ABI.

use std::ops::Range;

use serde::Deserialize;

use crate::cpu::{Cpu, Register};
use crate::guest::conventions::{CallConvention, Preserved, SpAtReturn};
use crate::guest::{Guest, Symbol};

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
        let convention = CallConvention { link, returns, preserves };
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
                return Err(format!("[[convention]] functions: {name:?} is no function of {path}"));
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
