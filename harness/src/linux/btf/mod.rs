//! Types and offsets from an image's `.BTF` (Documentation/bpf/btf.rst, include/uapi/linux/btf.h).
//!
//! A field is asked for by its path, `task_struct`, `thread.cpu_context.pc`: the image decides where it is, and a field that is not
//! there is an error that names it.

mod types;

use std::ops::Range;

use rustc_hash::FxHashMap;

use self::types::{Kind, Types};

/// How many typedefs, qualifiers or arrays may lie on one another. A circle of them is malformed.
const MAX_DEPTH: usize = 32;

/// The magic, as a little-endian kernel stores it, with version 1 and no flags.
pub(super) const MAGIC: [u8; 4] = [0x9f, 0xeb, 1, 0];

/// The types of an image.
#[derive(Debug)]
pub struct Btf {
    types: Types,
    /// The first complete struct or union of each name.
    aggregates: FxHashMap<String, u32>,
    /// The first typedef of each name.
    typedefs: FxHashMap<String, u32>,
    /// The value of each enumerator; of several of one name the first.
    enumerators: FxHashMap<String, i64>,
}

/// Where a field is within its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// From the beginning of the outermost type, in bytes. Of a bit field: the byte that holds its first bit.
    pub offset: u64,
    /// The size in bytes. Of a bit field: as many as its bits touch.
    pub size: u64,
    /// The bits of a bit field, counted from the least significant bit at `offset`.
    pub bits: Option<Range<u32>>,
    /// How many elements an array has.
    pub length: Option<u64>,
    /// The name of its type, as C would spell it, as far as BTF has names.
    pub type_name: String,
    /// Its type.
    id: u32,
}

impl Btf {
    /// Reads the section. Everything in it is checked to lie inside; what types say about each other is checked when it is used.
    ///
    /// # Errors
    ///
    /// What is malformed, with its offset.
    pub fn parse(data: &[u8]) -> Result<Self, String> {
        let types = Types::parse(data)?;
        let (mut aggregates, mut typedefs) = (FxHashMap::default(), FxHashMap::default());
        let mut enumerators = FxHashMap::default();
        for id in 1..types.count() {
            let record = types.get(id)?;
            let name = types.string(record.name)?;
            match record.kind {
                Kind::Struct | Kind::Union if !name.is_empty() => {
                    aggregates.entry(name.to_owned()).or_insert(id);
                }
                Kind::Typedef => {
                    typedefs.entry(name.to_owned()).or_insert(id);
                }
                Kind::Enum | Kind::Enum64 => {
                    for (name, value) in types.enumerators(&record)? {
                        enumerators.entry(name.to_owned()).or_insert(value);
                    }
                }
                _ => {}
            }
        }
        Ok(Self { types, aggregates, typedefs, enumerators })
    }

    /// How many types there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.types.count() - 1
    }

    /// Whether there is a complete struct or union, or a typedef, of this name.
    #[must_use]
    pub fn has(&self, type_name: &str) -> bool {
        self.named(type_name).is_ok()
    }

    /// Whether the type has this field.
    #[must_use]
    pub fn has_member(&self, type_name: &str, path: &str) -> bool {
        self.member(type_name, path).is_ok()
    }

    /// The size of a struct, union or typedef in bytes.
    ///
    /// # Errors
    ///
    /// When there is no such type, named.
    pub fn size(&self, type_name: &str) -> Result<u64, String> {
        self.size_of(self.named(type_name)?).map_err(|reason| format!("type {type_name}: {reason}"))
    }

    /// The offset of a field in bytes; as [`Btf::member`].
    ///
    /// # Errors
    ///
    /// The same, and when the field is a bit field.
    pub fn offset(&self, type_name: &str, path: &str) -> Result<u64, String> {
        let member = self.member(type_name, path)?;
        match member.bits {
            None => Ok(member.offset),
            Some(bits) => Err(format!("{type_name}.{path} is a bit field of {} bits", bits.len())),
        }
    }

    /// A field by its path: names after one another with dots, through structs and unions with and without names; `name[3]` is an
    /// element of an array.
    ///
    /// # Errors
    ///
    /// When the type or a part of the path is missing: the error names it.
    pub fn member(&self, type_name: &str, path: &str) -> Result<Member, String> {
        let mut id = self.named(type_name)?;
        let (mut bit, mut bit_size) = (0_u64, 0);
        let mut so_far = type_name.to_owned();
        for part in path.split('.') {
            let (name, indices) = part.split_once('[').map_or((part, ""), |(name, rest)| (name, rest));
            let lost = |reason: String| format!("{type_name}.{path}: {reason}");
            let aggregate = self.plain(id).map_err(lost)?;
            let found = self.field(aggregate, name, 0).map_err(lost)?;
            let found = found.ok_or_else(|| format!("{type_name}.{path}: {so_far} has no field `{name}`"))?;
            bit += found.bit;
            (id, bit_size) = (found.id, found.bit_size);
            so_far = format!("{so_far}.{name}");
            for index in indices.split('[').filter(|index| !index.is_empty()) {
                let number = index.strip_suffix(']').and_then(|index| index.parse::<u64>().ok());
                let number = number.ok_or_else(|| format!("{type_name}.{path}: `[{index}` is no index"))?;
                let array = self.array(id).map_err(lost)?;
                let (element, length) = array.ok_or_else(|| format!("{type_name}.{path}: {so_far} is no array"))?;
                if number >= u64::from(length) {
                    return Err(format!("{type_name}.{path}: {so_far} has {length} elements"));
                }
                bit += 8 * number * self.size_of(element).map_err(lost)?;
                id = element;
            }
        }
        self.finished(id, bit, bit_size).map_err(|reason| format!("{type_name}.{path}: {reason}"))
    }

    /// The fields of a type that have names, each with its place; those of unnamed structs and unions among them.
    ///
    /// # Errors
    ///
    /// When there is no such type, or it has no fields.
    pub fn members(&self, type_name: &str, path: Option<&str>) -> Result<Vec<(String, Member)>, String> {
        let (id, base) = match path {
            None => (self.named(type_name)?, 0),
            Some(path) => self.member(type_name, path).map(|member| (member.id, member.offset))?,
        };
        let mut found = Vec::new();
        self.collect(self.plain(id)?, 8 * base, 0, &mut found)?;
        Ok(found)
    }

    fn collect(&self, id: u32, bit: u64, depth: usize, into: &mut Vec<(String, Member)>) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err("unnamed structs lie within themselves".to_owned());
        }
        for field in self.types.fields(&self.types.get(id)?)? {
            let name = self.types.string(field.name)?;
            if name.is_empty() {
                let inner = self.plain(field.id)?;
                if self.types.get(inner)?.kind.is_aggregate() {
                    self.collect(inner, bit + field.bit, depth + 1, into)?;
                }
            } else {
                into.push((name.to_owned(), self.finished(field.id, bit + field.bit, field.bit_size)?));
            }
        }
        Ok(())
    }

    /// The value of an enumerator, whatever enum it is in.
    ///
    /// # Errors
    ///
    /// When there is none of this name.
    pub fn enumerator(&self, name: &str) -> Result<i64, String> {
        self.enumerators.get(name).copied().ok_or_else(|| format!("no enumerator `{name}`"))
    }

    fn named(&self, type_name: &str) -> Result<u32, String> {
        let name = type_name.trim_start_matches("struct ").trim_start_matches("union ");
        let found = self.aggregates.get(name).or_else(|| self.typedefs.get(name));
        found.copied().ok_or_else(|| format!("no type `{type_name}`"))
    }

    /// The type below typedefs and qualifiers.
    fn plain(&self, mut id: u32) -> Result<u32, String> {
        for _ in 0..MAX_DEPTH {
            let record = self.types.get(id)?;
            if !record.kind.is_alias() {
                return Ok(id);
            }
            id = record.size_or_type;
        }
        Err("a typedef leads to itself".to_owned())
    }

    /// The element and the length of an array.
    fn array(&self, id: u32) -> Result<Option<(u32, u32)>, String> {
        let record = self.types.get(self.plain(id)?)?;
        if record.kind == Kind::Array { self.types.array(&record).map(Some) } else { Ok(None) }
    }

    fn size_of(&self, id: u32) -> Result<u64, String> {
        let (mut id, mut factor) = (self.plain(id)?, 1_u64);
        for _ in 0..MAX_DEPTH {
            let record = self.types.get(id)?;
            let size = match record.kind {
                Kind::Int | Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 | Kind::Float => {
                    u64::from(record.size_or_type)
                }
                Kind::Pointer => 8,
                Kind::Array => {
                    let (element, length) = self.types.array(&record)?;
                    factor = factor.checked_mul(length.into()).ok_or("an array is larger than memory")?;
                    id = self.plain(element)?;
                    continue;
                }
                kind => return Err(format!("a {kind:?} has no size")),
            };
            return factor.checked_mul(size).ok_or_else(|| "an array is larger than memory".to_owned());
        }
        Err("an array contains itself".to_owned())
    }

    /// A field of a struct or union, through unnamed ones in it.
    fn field(&self, id: u32, name: &str, depth: usize) -> Result<Option<types::Field>, String> {
        let record = self.types.get(id)?;
        if depth > MAX_DEPTH || !record.kind.is_aggregate() {
            return Ok(None);
        }
        for field in self.types.fields(&record)? {
            let this = self.types.string(field.name)?;
            if this == name {
                return Ok(Some(field));
            }
            if this.is_empty()
                && let Some(inner) = self.field(self.plain(field.id)?, name, depth + 1)?
            {
                return Ok(Some(types::Field { bit: field.bit + inner.bit, ..inner }));
            }
        }
        Ok(None)
    }

    fn finished(&self, id: u32, bit: u64, mut bit_size: u32) -> Result<Member, String> {
        let (mut offset, mut first) = (bit / 8, (bit % 8) as u32);
        let plain = self.types.get(self.plain(id)?)?;
        if bit_size == 0 && plain.kind == Kind::Int {
            // Before kind_flag an integer type said where its bits are.
            let (shift, bits) = self.types.int(&plain)?;
            if u64::from(bits) < 8 * u64::from(plain.size_or_type) && !(bits == 1 && plain.size_or_type == 1) {
                offset = (bit + u64::from(shift)) / 8;
                first = ((bit + u64::from(shift)) % 8) as u32;
                bit_size = bits;
            }
        }
        let is_bit_field = bit_size != 0;
        let bits = is_bit_field.then(|| first..first + bit_size);
        let size = match &bits {
            Some(bits) => u64::from(bits.end.div_ceil(8)),
            None if first != 0 => return Err("a field that is no bit field begins within a byte".to_owned()),
            None => self.size_of(id)?,
        };
        let length = self.array(id)?.map(|(_, length)| u64::from(length));
        Ok(Member { offset, size, bits, length, type_name: self.spelled(id, 0), id })
    }

    /// A type as C spells it, roughly.
    fn spelled(&self, id: u32, depth: usize) -> String {
        let spell = || -> Result<String, String> {
            if id == 0 {
                return Ok("void".to_owned());
            }
            let record = self.types.get(id)?;
            let name = self.types.string(record.name)?;
            let inner = || self.spelled(record.size_or_type, depth + 1);
            Ok(match record.kind {
                Kind::Struct => format!("struct {name}"),
                Kind::Union => format!("union {name}"),
                Kind::Enum | Kind::Enum64 => format!("enum {name}"),
                Kind::Pointer => format!("{} *", inner()),
                Kind::Const => format!("const {}", inner()),
                Kind::Volatile | Kind::Restrict | Kind::TypeTag => inner(),
                Kind::FunctionPrototype => "function".to_owned(),
                Kind::Array => {
                    let (element, length) = self.types.array(&record)?;
                    format!("{}[{length}]", self.spelled(element, depth + 1))
                }
                _ => name.to_owned(),
            })
        };
        if depth > MAX_DEPTH { "...".to_owned() } else { spell().unwrap_or_else(|_| "?".to_owned()) }
    }
}
