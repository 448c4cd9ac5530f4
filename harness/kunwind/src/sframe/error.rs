//! What can be wrong with a section: the rule, the field, where it is and what it holds.

use core::fmt;

/// Something is wrong with a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Error {
    /// The rule that is broken.
    pub kind: ErrorKind,
    /// The field that breaks it.
    pub field: Field,
    /// The offset of the field, in bytes from the start of the section.
    pub offset: usize,
    /// What the field holds; for an impossible address, the low 64 bits of what was computed.
    pub value: u64,
}

impl Error {
    pub(super) const fn new(kind: ErrorKind, field: Field, offset: usize, value: u64) -> Self {
        Self { kind, field, offset, value }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, field, offset, value } = self;
        write!(formatter, "{kind}: {field} at {offset:#x} is {value:#x}")
    }
}

impl core::error::Error for Error {}

macro_rules! names {
    ($(#[$attribute:meta])* $name:ident { $($(#[doc = $doc:literal])* $variant:ident = $text:literal,)* }) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[doc = $doc])* $variant,)*
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(match self { $(Self::$variant => $text,)* })
            }
        }
    };
}

names! {
    /// The rules. The names are those of the format's own fields where it has them.
    ErrorKind {
        /// The section has no bytes: there is no data, and nothing is malformed.
        Empty = "the section is empty",
        /// The section ends inside the preamble or the header.
        Truncated = "the section is too short",
        /// The first two bytes are not the format's, in either byte order.
        BadMagic = "not an SFrame section",
        /// A version other than 2 and 3, whose layout is not known here.
        UnsupportedVersion = "this version is not supported",
        /// A flag that this version does not have.
        UnknownFlags = "unknown flags",
        /// There is no ABI with this number.
        UnsupportedAbi = "unknown ABI",
        /// The ABI has the other byte order.
        EndianMismatch = "the ABI contradicts the byte order",
        /// The ABI is not that of the file.
        AbiMachineMismatch = "the ABI contradicts the file's machine",
        /// The return address is neither at a fixed offset nor in the rows.
        BadFixedOffset = "the return address would be lost",
        /// Something reaches beyond the part that holds it.
        OutOfBounds = "out of bounds",
        /// The rows begin before the index ends.
        SubsectionOverlap = "the index and the rows overlap",
        /// A count in the header differs from what is there.
        CountMismatch = "the count is wrong",
        /// An address does not fit into 64 bits.
        AddressOverflow = "the address overflows",
        /// A function starts or ends outside the code.
        FunctionOutsideText = "the function is outside of the text",
        /// The index says that it is sorted, and is not.
        NotSorted = "the index is not sorted",
        /// Two functions start at the same address.
        Duplicate = "two functions start here",
        /// A function reaches into the next.
        Overlap = "the function overlaps the next",
        /// A function has more rows than bytes.
        FresExceedSize = "more rows than bytes of code",
        /// The size of row addresses is not 1, 2 or 4 bytes.
        BadFreType = "no such row type",
        /// The type of the function descriptor is neither default nor flexible.
        UnsupportedFdeType = "this type of function is not supported",
        /// Bits that must be 0 are set.
        ReservedBits = "reserved bits are set",
        /// The size of the block that repeats is 0.
        BadRepSize = "the repeating block is empty",
        /// A row starts no later than the one before it.
        FreOrder = "rows are out of order",
        /// A row starts after the end of its function.
        FreStartBeyondFunction = "the row starts after its function",
        /// A row starts after the end of the block that repeats.
        FreStartBeyondBlock = "the row starts after its block",
        /// The size of words is not 1, 2 or 4 bytes.
        BadDatawordSize = "no such word size",
        /// More words than the ABI has rules for.
        TooManyDatawords = "too many words",
        /// The words of a flexible row do not pair up.
        BadFlexWords = "a rule lacks its words",
        /// A control word with no meaning.
        BadControlWord = "invalid control word",
        /// A register that the ABI does not have.
        BadRegister = "no such register",
        /// An offset at which nothing can be saved.
        BadOffset = "nothing can be saved at this offset",
        /// Bytes other than 0 follow the section's data.
        TrailingData = "data after the end",
        /// This reader of the section needs sorted functions, and the section does not say that they are.
        MissingSorted = "a flag is missing, SFRAME_F_FDE_SORTED (0x1)",
        /// This reader of the section needs starts relative to themselves, and the section does not say that they are.
        MissingPcrel = "a flag is missing, SFRAME_F_FDE_FUNC_START_PCREL (0x4)",
        /// An auxiliary header, which this reader of the section does not know.
        UnsupportedAuxHeader = "an auxiliary header is not supported",
        /// A count that this reader of the section does not allow to be 0.
        NoData = "there are none",
    }
}

names! {
    /// The fields. Those of the format have its names, without their prefixes.
    Field {
        /// The section as a whole; the value is its size in bytes.
        Section = "section",
        /// The first four bytes; the value is the size of what is there.
        Preamble = "preamble",
        /// The header; the value is the size of what is there.
        Header = "header",
        /// `sfp_magic`.
        Magic = "magic",
        /// `sfp_version`.
        Version = "version",
        /// `sfp_flags`.
        Flags = "flags",
        /// `sfh_abi_arch`.
        AbiArch = "abi_arch",
        /// `sfh_cfa_fixed_ra_offset`.
        FixedRaOffset = "cfa_fixed_ra_offset",
        /// `sfh_auxhdr_len`.
        AuxHeaderLength = "auxhdr_len",
        /// `sfh_num_fdes`.
        NumFdes = "num_fdes",
        /// `sfh_num_fres`.
        NumFres = "num_fres",
        /// `sfh_fre_len`.
        FreLength = "fre_len",
        /// `sfh_fdeoff`.
        FdeOffset = "fdeoff",
        /// `sfh_freoff`.
        FreOffset = "freoff",
        /// The start of a function; the value is its address where it has one.
        FuncStart = "func_start_offset",
        /// The size of a function, in bytes.
        FuncSize = "func_size",
        /// Where the attribute and rows of a function are, in bytes from the start of the rows of all functions.
        FuncStartFreOffset = "func_start_fre_off",
        /// The number of rows of a function.
        FuncNumFres = "func_num_fres",
        /// The info byte of a function.
        FuncInfo = "func_info",
        /// The second info byte of a function.
        FuncInfo2 = "func_info2",
        /// The size of a repeating block, in bytes.
        RepSize = "func_rep_size",
        /// The padding of a function descriptor of version 2.
        FuncPadding = "func_padding2",
        /// The start of a row, in bytes from its function.
        FreStart = "fre_start_address",
        /// The info byte of a row.
        FreInfo = "fre_info",
        /// The words of a row.
        DataWords = "fre_datawords",
        /// A control word.
        ControlWord = "fre_control_word",
        /// The first byte after the section's data that is not 0.
        Tail = "tail",
        /// The magic of another section after the section's data.
        SecondHeader = "second header",
    }
}
