//! Symbols on lines: address, size, type and name, as `nm -S` prints them. A `?` behind the size says that it is inferred.

use super::hex::number;
use crate::guest::{Symbol, Symbols};
use crate::linux::KernelSymbols;

/// The line of a symbol. Types as nm's: `T` a function, `D` data, in lower case if other files do not see it.
pub(super) fn line(symbol: &Symbol) -> String {
    let Symbol { name, address, size, is_function, is_global, is_size_inferred } = symbol;
    let kind = match (is_function, is_global) {
        (true, true) => 'T',
        (true, false) => 't',
        (false, true) => 'D',
        (false, false) => 'd',
    };
    let inferred = if *is_size_inferred { "?" } else { "" };
    format!("{address:#x} {size:#x}{inferred} {kind} {name}")
}

/// Reads the lines.
pub(super) fn read(lines: &[String]) -> Result<Symbols, String> {
    lines
        .iter()
        .map(|line| symbol(line).map_err(|reason| format!("{line:?}: {reason}")))
        .collect::<Result<_, _>>()
        // A kernel's names come in a kernel's order, and of a guest's it changes nothing.
        .map(KernelSymbols::as_guest)
}

fn symbol(line: &str) -> Result<Symbol, String> {
    let parts: Vec<&str> = line.splitn(4, ' ').collect();
    let [address, size, kind, name] = parts.as_slice() else {
        return Err("it is not an address, a size, a type and a name".to_owned());
    };
    let (is_function, is_global) = match *kind {
        "T" => (true, true),
        "t" => (true, false),
        "D" => (false, true),
        "d" => (false, false),
        other => return Err(format!("its type {other:?} is none of T, t, D, d")),
    };
    let exact = size.strip_suffix('?');
    let (address, size) = (number(address)?, number(exact.unwrap_or(size))?);
    if address.checked_add(size).is_none() {
        return Err("it wraps around the address space".to_owned());
    }
    Ok(Symbol { name: (*name).to_owned(), address, size, is_function, is_global, is_size_inferred: exact.is_some() })
}

#[cfg(test)]
mod tests {
    use super::{line, symbol};

    #[test]
    fn a_line_is_a_symbol() {
        for text in ["0xffff800080010000 0x1c4 T sort", "0x10 0x0 d a name", "0x10 0x8? t swap"] {
            assert_eq!(line(&symbol(text).unwrap()), text);
        }
        for text in ["", "0x10 0x8 T", "10 0x8 T sort", "0x10 0x8 X sort", "0xffffffffffffffff 0x8 T sort"] {
            assert!(symbol(text).is_err(), "{text}");
        }
    }
}
