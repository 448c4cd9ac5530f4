//! The messages of the protocol, version [`PROTOCOL`]: one JSON object to a line. Addresses and register values are strings in
//! hexadecimal digits, because numbers in JSON need not be whole. Fields that are not known are ignored.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Deserializer};
use serde_json::json;

use super::Failure;
use crate::cpu::{Cpu, Register, Regs};
use crate::guest::{LoadedSection, Program};
use crate::subject::{Claims, MAX_ENTRIES, Question};

/// The version of the protocol.
pub const PROTOCOL: u64 = 1;

/// How long a name may be, in letters.
const MOST_NAME: usize = 40;
/// The sections whose contents can be asked for.
pub(super) const SECTIONS: [&str; 3] = ["eh_frame", "debug_frame", "sframe"];
/// How much of somebody's text is shown, in letters.
const SHOWN: usize = 80;

/// What a process may send.
#[derive(Debug, Deserialize)]
#[serde(tag = "t", rename_all = "lowercase")]
pub(super) enum Answer {
    /// Who it is.
    Hello(Hello),
    /// It wants memory.
    Read {
        /// From here on.
        #[serde(rename = "a")]
        address: Word,
        /// So many bytes.
        #[serde(rename = "n")]
        size: u64,
    },
    /// A walk.
    Walk(Walk),
}

impl Answer {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "a hello",
            Self::Read { .. } => "a read",
            Self::Walk(_) => "a walk",
        }
    }
}

/// Who a process is.
#[derive(Debug, Deserialize)]
pub(super) struct Hello {
    proto: u64,
    pub(super) name: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    pub(super) needs: Vec<String>,
    #[serde(default = "by_end", deserialize_with = "claims")]
    pub(super) claims: Claims,
    #[serde(default)]
    pub(super) scope: Where,
    #[serde(default)]
    pub(super) refuse: Option<String>,
}

const fn by_end() -> Claims {
    Claims::ByEnd
}

/// How walks claim: not as a step does, since no flags of steps are sent.
fn claims<'de, D: Deserializer<'de>>(from: D) -> Result<Claims, D::Error> {
    match String::deserialize(from)?.as_str() {
        "explicit" => Ok(Claims::Explicit),
        "by-end" => Ok(Claims::ByEnd),
        "never" => Ok(Claims::Never),
        other => {
            let reason = format!("claims must be explicit, by-end or never, not {:?}", shown(other));
            Err(serde::de::Error::custom(reason))
        }
    }
}

/// The guests in which it walks.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Where {
    /// Those without a kernel.
    #[default]
    Program,
    /// Those with one.
    Kernel,
    /// All.
    Any,
}

/// A walk as it was sent.
#[derive(Debug, Deserialize)]
pub(super) struct Walk {
    pub(super) id: u64,
    frames: Vec<SentFrame>,
    end: WalkEnd,
    #[serde(default)]
    reliable: bool,
    #[serde(default)]
    why: String,
}

/// Why a walk is not longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum WalkEnd {
    /// The last frame has no caller.
    Outermost,
    /// It could not go on.
    Stopped,
}

#[derive(Debug, Deserialize)]
struct SentFrame {
    pc: Word,
    #[serde(default)]
    regs: BTreeMap<String, Word>,
}

/// A walk: the callers, youngest first, with what their registers will be.
#[derive(Debug)]
pub(super) struct Walked {
    pub(super) frames: Vec<(u64, Regs)>,
    pub(super) end: WalkEnd,
    pub(super) reliable: bool,
    pub(super) why: String,
}

/// A number of 64 bits, as `"0x12ab"`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word(u64);

impl std::ops::Deref for Word {
    type Target = u64;

    fn deref(&self) -> &u64 {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let sent = serde_json::Value::deserialize(from)?;
        let digits = sent.as_str().and_then(|text| text.strip_prefix("0x"));
        let digits = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let value = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        let wrong = || format!("{} is no string with a number of 64 bits as \"0x12ab\"", shown(&sent.to_string()));
        value.map(Self).ok_or_else(|| serde::de::Error::custom(wrong()))
    }
}

/// The start of a text.
fn shown(text: &str) -> String {
    let dots = if text.chars().nth(SHOWN).is_some() { ".." } else { "" };
    text.chars().take(SHOWN).map(|letter| if letter.is_control() { ' ' } else { letter }).chain(dots.chars()).collect()
}

/// Reads a line that the process has sent.
pub(super) fn parse(line: &[u8]) -> Result<Answer, Failure> {
    serde_json::from_slice(line).map_err(|error| {
        let text = String::from_utf8_lossy(&line[..line.len().min(4 * SHOWN)]);
        // Reports cut long lines: what is wrong comes first. There is one line, so that its number says nothing.
        let reason = error.to_string();
        let reason = reason.split(" at line 1 ").next().unwrap_or(&reason);
        Failure::Crash(format!("{reason}; it sent {:?}", shown(&text)))
    })
}

impl Hello {
    /// The same, if it is usable.
    pub(super) fn checked(mut self) -> Result<Self, Failure> {
        let wrong = |reason: String| Err(Failure::Crash(format!("hello: {reason}")));
        if self.proto != PROTOCOL {
            return wrong(format!("it speaks version {} of the protocol, and this program {PROTOCOL}", self.proto));
        }
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._:+-".contains(letter);
        if self.name.is_empty() || self.name.len() > MOST_NAME || !self.name.chars().all(is_plain) {
            return wrong(format!(
                "the name {:?} must be 1 to {MOST_NAME} letters, digits and . _ : + -",
                shown(&self.name)
            ));
        }
        let is_known = |need: &&String| SECTIONS.contains(&need.trim_start_matches('.'));
        if let Some(need) = self.needs.iter().find(|need| !is_known(need)) {
            return wrong(format!("needs can be {}, not {:?}", SECTIONS.join(", "), shown(need)));
        }
        self.refuse = self.refuse.map(|reason| match self.version.as_str() {
            "" => shown(&reason),
            version => shown(&format!("{version}: {reason}")),
        });
        Ok(self)
    }
}

impl Walk {
    /// The same with registers of this CPU.
    pub(super) fn checked(self, cpu: &Cpu, claims: Claims) -> Result<Walked, Failure> {
        let wrong = |reason: String| Failure::Crash(format!("walk {}: {reason}", self.id));
        if self.reliable && claims != Claims::Explicit {
            return Err(wrong("it is said to be reliable, but hello says that claims are not explicit".to_owned()));
        }
        let register = |name: &str| {
            let all = (0..cpu.registers).map(Register);
            all.into_iter().find(|register| cpu.abi.register_name(*register) == name)
        };
        let mut frames = Vec::new();
        // One more than fits shows that there are too many.
        for (index, frame) in self.frames.iter().take(MAX_ENTRIES + 1).enumerate() {
            let mut regs = Regs::none();
            for (name, value) in &frame.regs {
                let register =
                    register(name).ok_or_else(|| wrong(format!("frame {index}: no register {:?}", shown(name))))?;
                regs.set(register, **value);
            }
            frames.push((*frame.pc, regs));
        }
        Ok(Walked { frames, end: self.end, reliable: self.reliable, why: shown(&self.why) })
    }
}

fn hex(value: u64) -> String {
    format!("{value:#x}")
}

/// The first message.
pub(super) fn hello(cpu: &Cpu) -> String {
    let names: Vec<&str> = (0..cpu.registers).map(|number| cpu.abi.register_name(Register(number))).collect();
    let (sp, fp) = (cpu.abi.register_name(cpu.sp), cpu.abi.register_name(cpu.abi.fp));
    let ra = cpu.abi.ra.map(|register| cpu.abi.register_name(register));
    json!({ "t": "hello", "proto": PROTOCOL, "cpu": cpu.name, "registers": names, "sp": sp, "fp": fp, "ra": ra })
        .to_string()
}

/// Of the sections that are asked for, those that a program has not.
pub(super) fn lacking<'n>(program: &Program, needs: &'n [String]) -> Vec<&'n str> {
    let named = sections(program);
    let is_there = |need: &str| named.iter().any(|(name, sections)| name[1..] == *need && !sections.is_empty());
    needs.iter().map(|need| need.trim_start_matches('.')).filter(|need| !is_there(need)).collect()
}

/// The sections of a program that can be asked for.
fn sections(program: &Program) -> [(&'static str, &[LoadedSection]); 3] {
    let unwind = &program.guest.unwind;
    [(".eh_frame", &unwind.eh_frame), (".debug_frame", &unwind.debug_frame), (".sframe", &unwind.sframe)]
}

/// What is loaded: a message for each file.
pub(crate) fn modules(program: &Program, needs: &[String]) -> Vec<String> {
    let guest = &program.guest;
    let unwind = &guest.unwind;
    let named = sections(program);
    let files = match unwind.files.as_slice() {
        [] | [_] => vec![None],
        several => several.iter().map(Some).collect(),
    };
    let is_alone = files.len() == 1;
    let module = |(index, range): (usize, Option<&std::ops::Range<u64>>)| {
        // What is not loaded is told with the first.
        let is_here = |section: &&LoadedSection| match range {
            Some(range) if section.address > 0 => range.contains(&section.address),
            _ => index == 0,
        };
        let tell = |name: &str, section: &LoadedSection| {
            let wanted = needs.iter().any(|need| need.trim_start_matches('.') == name.trim_start_matches('.'));
            let data = wanted.then(|| digits(&section.data));
            json!({ "name": name, "addr": hex(section.address), "size": section.data.len(), "data": data })
        };
        let sections = named.iter().flat_map(|(name, sections)| {
            sections.iter().filter(is_here).map(|section| tell(name, section)).collect::<Vec<_>>()
        });
        let within = |text: &std::ops::Range<u64>| range.is_none_or(|range| range.contains(&text.start));
        let text: Vec<[String; 2]> = guest.text().filter(within).map(|text| [hex(text.start), hex(text.end)]).collect();
        let path = (is_alone && guest.path.is_file()).then(|| guest.path.to_string_lossy());
        let sections: Vec<_> = sections.collect();
        json!({ "t": "module", "name": guest.name, "path": path, "text": text, "sections": sections }).to_string()
    };
    files.into_iter().enumerate().map(module).collect()
}

/// The question for a walk.
pub(super) fn point(cpu: &Cpu, id: u64, question: &Question<'_>) -> String {
    let name = |register| cpu.abi.register_name(register).to_owned();
    let regs: BTreeMap<String, String> =
        question.regs.iter().map(|(register, value)| (name(register), hex(value))).collect();
    let stacks: Vec<[String; 2]> = question.target.stacks.iter().map(|it| [hex(it.low), hex(it.high)]).collect();
    json!({ "t": "point", "id": id, "pc": hex(question.pc.value()), "regs": regs, "stacks": stacks }).to_string()
}

/// Memory.
pub(super) fn data(bytes: &[u8]) -> String {
    format!("{{\"t\":\"data\",\"d\":\"{}\"}}", digits(bytes))
}

/// Bytes in hexadecimal digits.
pub(crate) fn digits(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
