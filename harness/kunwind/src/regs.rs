//! Register values as an unwinder has them: some known, the others absent.

/// A register, by its DWARF number.
///
/// The numbering is each psABI's: AADWARF64 4.1 (x0..x30 = 0..30, SP = 31), RISC-V DWARF specification (x0..x31 =
/// 0..31), x86-64 psABI figure 3.36 (rax 0, rdx 1, rcx 2, rbx 3, rsi 4, rdi 5, rbp 6, rsp 7, r8..r15 = 8..15, return
/// address 16).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Register(pub u8);

/// Some of the registers that are tracked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RegisterSet(u64);

impl RegisterSet {
    /// These registers. Those beyond [`Regs::LEN`] are not tracked.
    pub(crate) const fn of(registers: &[Register]) -> Self {
        let mut bits = 0;
        let mut rest = registers;
        while let [first, others @ ..] = rest {
            if (first.0 as usize) < Regs::LEN {
                bits |= 1 << first.0;
            }
            rest = others;
        }
        Self(bits)
    }
}

/// The values of the registers in one frame. A register whose value was not recovered is absent, never zero.
#[derive(Clone, Copy)]
pub struct Regs {
    value: [u64; Self::LEN],
    known: u64,
}

impl Regs {
    /// One more than the highest DWARF number that is tracked.
    pub const LEN: usize = 33;

    /// No register is known.
    #[must_use]
    pub const fn none() -> Self {
        Self { value: [0; Self::LEN], known: 0 }
    }

    /// The value of a register, if it is known.
    #[must_use]
    #[inline]
    pub fn get(&self, register: Register) -> Option<u64> {
        let index = usize::from(register.0);
        (index < Self::LEN && self.known >> index & 1 == 1).then(|| self.value[index])
    }

    /// Makes a register known. A register beyond [`Self::LEN`] is ignored: it stays absent.
    #[inline]
    pub fn set(&mut self, register: Register, value: u64) {
        let index = usize::from(register.0);
        if index < Self::LEN {
            self.value[index] = value;
            self.known |= 1 << index;
        }
    }

    /// Forgets all registers.
    #[inline]
    pub const fn clear(&mut self) {
        self.known = 0;
    }

    /// Forgets all registers but these.
    #[inline]
    pub fn keep(&mut self, registers: &[Register]) {
        self.keep_set(RegisterSet::of(registers));
    }

    /// Forgets all registers but these.
    #[inline]
    pub(crate) const fn keep_set(&mut self, registers: RegisterSet) {
        self.known &= registers.0;
    }

    /// Forgets a register.
    #[inline]
    pub fn forget(&mut self, register: Register) {
        if usize::from(register.0) < Self::LEN {
            self.known &= !(1 << register.0);
        }
    }

    /// The known registers with their values, in order of number.
    pub fn iter(&self) -> impl Iterator<Item = (Register, u64)> + '_ {
        let mut rest = self.known;
        core::iter::from_fn(move || {
            let number = (rest != 0).then(|| rest.trailing_zeros() as u8)?;
            rest &= rest - 1;
            Some((Register(number), self.value[usize::from(number)]))
        })
    }
}

impl PartialEq for Regs {
    fn eq(&self, other: &Self) -> bool {
        let mut rest = self.known;
        while rest != 0 {
            let index = rest.trailing_zeros() as usize;
            if self.value[index] != other.value[index] {
                return false;
            }
            rest &= rest - 1;
        }
        self.known == other.known
    }
}

impl Eq for Regs {}

impl core::fmt::Debug for Regs {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.debug_map().entries(self.iter().map(|(register, value)| (register.0, value))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{Register, Regs};

    #[test]
    fn an_unknown_register_is_absent_and_not_zero() {
        let mut regs = Regs::none();
        assert_eq!(regs.get(Register(29)), None);
        regs.set(Register(29), 0);
        assert_eq!(regs.get(Register(29)), Some(0));
        regs.forget(Register(29));
        assert_eq!(regs.get(Register(29)), None);
    }

    #[test]
    fn what_is_not_kept_is_absent() {
        let mut regs = Regs::none();
        regs.set(Register(1), 5);
        regs.set(Register(32), 6);
        regs.keep(&[Register(32), Register(2), Register(200)]);
        assert_eq!((regs.get(Register(1)), regs.get(Register(2)), regs.get(Register(32))), (None, None, Some(6)));
    }

    #[test]
    fn a_register_out_of_range_stays_absent() {
        let mut regs = Regs::none();
        regs.set(Register(Regs::LEN as u8), 7);
        regs.set(Register(255), 7);
        regs.forget(Register(255));
        assert_eq!(regs, Regs::none());
    }

    #[test]
    fn forgotten_values_do_not_count_in_comparisons() {
        let mut left = Regs::none();
        left.set(Register(1), 5);
        left.forget(Register(1));
        assert_eq!(left, Regs::none());
    }
}
