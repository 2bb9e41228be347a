//! Amounts of memory, time and CPU. They are stored as numbers and serialized in one notation.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::FormatError;
use super::text::Format;
use crate::diag::Code;

/// An amount of memory, in KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Memory(u64);

/// Maximum of an amount of memory: more than any machine has.
const MAX_MEMORY_KIB: u64 = 1 << 40;

/// A positive length of time, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(u64);

/// A length of time that may be zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Delay(Duration);

/// A CPU quantity, in thousandths of a core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cpu(u64);

pub(super) const FORMATS: &[Format] = &[
    Format { name: "memory", check: |text| Memory::parse(text).map(drop) },
    Format { name: "time-span", check: |text| Duration::parse(text).map(drop) },
    Format { name: "delay", check: |text| Delay::parse(text).map(drop) },
    Format { name: "cpu", check: |text| Cpu::parse(text).map(drop) },
];

impl Memory {
    /// Reads `512m`, `4g`, `4gb`, `4Gi` or `1t`. Units are powers of 1024, as in Spark and the JVM.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let error = |message: String| {
            FormatError::new(Code::BAD_MEMORY, message)
                .help("write a whole number and a unit: `512m`, `4g`, `1t`")
        };
        let (number, unit) = split_number(text);
        let kib = match unit.to_ascii_lowercase().as_str() {
            "" if !number.is_empty() => return Err(error(format!("`{text}` has no unit"))),
            "k" | "kb" | "ki" | "kib" => 1,
            "m" | "mb" | "mi" | "mib" => 1 << 10,
            "g" | "gb" | "gi" | "gib" => 1 << 20,
            "t" | "tb" | "ti" | "tib" => 1 << 30,
            _ => return Err(error(format!("`{text}` is no amount of memory"))),
        };
        let number: u64 = number.parse().map_err(|_| error(format!("`{text}` is no amount of memory")))?;
        match number.checked_mul(kib) {
            Some(0) => Err(error(format!("`{text}` is no memory at all"))),
            Some(kib) if kib <= MAX_MEMORY_KIB => Ok(Self(kib)),
            _ => Err(error(format!("`{text}` is more memory than any machine has"))),
        }
    }

    /// Returns an amount in bytes, rounded down to KiB; none if it is no amount that can be written.
    pub fn from_bytes(bytes: u64) -> Option<Self> {
        Some(Self(bytes >> 10)).filter(|memory| (1..=MAX_MEMORY_KIB).contains(&memory.0))
    }

    pub fn mib(self) -> u64 {
        self.0 >> 10
    }

    pub fn bytes(self) -> u64 {
        self.0 << 10
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (size, unit) = [(1 << 30, "t"), (1 << 20, "g"), (1 << 10, "m")]
            .into_iter()
            .find(|(size, _)| self.0.is_multiple_of(*size))
            .unwrap_or((1, "k"));
        write!(f, "{}{unit}", self.0 / size)
    }
}

impl Duration {
    /// Reads `500ms`, `30s`, `5m`, `2h`, `7d` and sums of them: `1h30m`. Rejects zero.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        match Self::parse_or_zero(text)? {
            Self(0) => Err(Self::error(format!("`{text}` is no length of time that anything could take"))),
            duration => Ok(duration),
        }
    }

    fn error(message: String) -> FormatError {
        FormatError::new(Code::BAD_DURATION, message)
            .help("write a number and a unit: `500ms`, `30s`, `5m`, `2h`, `7d`, `1h30m`")
    }

    /// Reads a length of time. Accepts zero.
    fn parse_or_zero(text: &str) -> Result<Self, FormatError> {
        let error = Self::error;
        let malformed = || error(format!("`{text}` is no length of time"));
        let mut rest = text;
        let mut total: u64 = 0;
        let mut last = u64::MAX;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, after) = rest.split_at(digits);
            let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
            let (unit, after) = after.split_at(letters);
            let size = match unit {
                "ms" => 1,
                "s" => 1000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                "" if !number.is_empty() && after.is_empty() => {
                    return Err(error(format!("`{text}` has no unit")));
                }
                _ => return Err(malformed()),
            };
            if size >= last {
                return Err(malformed());
            }
            last = size;
            let number: u64 = number.parse().map_err(|_| malformed())?;
            total =
                number.checked_mul(size).and_then(|part| total.checked_add(part)).ok_or_else(malformed)?;
            rest = after;
        }
        if text.is_empty() {
            return Err(malformed());
        }
        if total > 100 * 365 * 86_400_000 {
            return Err(error(format!("`{text}` is longer than a hundred years")));
        }
        Ok(Self(total))
    }

    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds * 1000)
    }

    pub fn millis(self) -> u64 {
        self.0
    }

    /// Returns whole seconds, rounded up.
    pub fn secs(self) -> u64 {
        self.0.div_ceil(1000)
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        for (size, unit) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")] {
            if rest >= size {
                write!(f, "{}{unit}", rest / size)?;
                rest %= size;
            }
        }
        Ok(())
    }
}

impl Delay {
    /// Reads the notation of [`Duration::parse`]. Also accepts zero.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        Duration::parse_or_zero(text).map(Self)
    }
}

impl fmt::Display for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Duration(0) => f.write_str("0s"),
            duration => duration.fmt(f),
        }
    }
}

impl Cpu {
    /// Reads `2`, `0.5` or `500m`, as Kubernetes does.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let malformed = || {
            FormatError::new(Code::BAD_CPU, format!("`{text}` is no amount of CPU"))
                .help("write cores or thousandths of a core: `2`, `0.5` or `500m`")
        };
        let millis = match text.strip_suffix('m') {
            Some(millis) => millis.parse::<u64>().map_err(|_| malformed())?,
            None => {
                let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
                let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
                if !digits(whole) || !digits(part) || part.len() > 3 {
                    return Err(malformed());
                }
                let whole: u64 = whole.parse().map_err(|_| malformed())?;
                let part: u64 = format!("{part:0<3}").parse().map_err(|_| malformed())?;
                whole.checked_mul(1000).and_then(|whole| whole.checked_add(part)).ok_or_else(malformed)?
            }
        };
        if millis == 0 || millis > 1_000_000 { Err(malformed()) } else { Ok(Self(millis)) }
    }

    pub fn millis(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(1000) { write!(f, "{}", self.0 / 1000) } else { write!(f, "{}m", self.0) }
    }
}

fn split_number(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

macro_rules! as_text {
    ($($name:ident, $format:literal, $types:tt, $description:literal, $examples:tt;)+) => {
        $(
            impl Serialize for $name {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    serializer.collect_str(self)
                }
            }

            impl<'de> Deserialize<'de> for $name {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    let text = super::Scalar::deserialize(deserializer)?;
                    $name::parse(text.as_str()).map_err(|error| serde::de::Error::custom(error.message))
                }
            }

            impl JsonSchema for $name {
                fn schema_name() -> Cow<'static, str> {
                    stringify!($name).into()
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    json_schema!({
                        "type": $types,
                        "format": $format,
                        "description": $description,
                        "examples": $examples,
                    })
                }
            }
        )+
    };
}

as_text! {
    Memory, "memory", "string",
        "An amount of memory: a whole number and a unit, in powers of 1024, as Spark and the JVM have them.",
        ["512m", "4g", "1t"];
    Duration, "time-span", "string",
        "A length of time: a number and a unit (`ms`, `s`, `m`, `h`, `d`), or a sum of them.",
        ["30s", "5m", "1h30m", "7d"];
    Delay, "delay", "string",
        "A length of time as [Duration](#duration) has it, or `0s`.",
        ["10m", "0s"];
    Cpu, "cpu", ["string", "number"],
        "A CPU quantity as Kubernetes has it: cores, or thousandths of a core.",
        ["500m", "2", "0.5"];
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn delay_may_be_zero_and_duration_may_not() {
        for text in ["0s", "0ms", "0h0m"] {
            assert_eq!(Delay::parse(text).expect(text).to_string(), "0s");
            assert!(Duration::parse(text).is_err(), "{text}");
        }
        assert_eq!(Delay::parse("90m").expect("a length of time").to_string(), "1h30m");
        for text in ["", "0", "s", "-1s"] {
            assert!(Delay::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn memory_is_read_and_written() {
        for (text, shown) in
            [("512m", "512m"), ("4g", "4g"), ("4096M", "4g"), ("2Gi", "2g"), ("1tb", "1t"), ("500K", "500k")]
        {
            assert_eq!(Memory::parse(text).expect(text).to_string(), shown);
        }
        for text in ["", "4", "g", "4x", "-4g", "4.5g", "0g", "4 g", "99999999999999999999g", "99999999999t"]
        {
            assert_eq!(Memory::parse(text).expect_err(text).code, Code::BAD_MEMORY, "{text}");
        }
        assert_eq!(Memory::from_bytes((4 << 30) + 1), Memory::parse("4g").ok());
        assert_eq!((Memory::from_bytes(1_023), Memory::from_bytes(u64::MAX)), (None, None));
    }

    #[test]
    fn durations_are_read_and_written() {
        for (text, shown) in
            [("30s", "30s"), ("90s", "1m30s"), ("1h30m", "1h30m"), ("500ms", "500ms"), ("48h", "2d")]
        {
            assert_eq!(Duration::parse(text).expect(text).to_string(), shown);
        }
        for text in
            ["", "5", "5x", "m", "5 m", "1m1h", "1m1m", "-1s", "0s", "99999999999999999999s", "999999d", "5M"]
        {
            assert!(Duration::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn cpus_are_read_and_written() {
        for (text, shown) in
            [("2", "2"), ("0.5", "500m"), ("500m", "500m"), ("2000m", "2"), ("1.25", "1250m")]
        {
            assert_eq!(Cpu::parse(text).expect(text).to_string(), shown);
        }
        for text in ["", "m", "-1", "1.2345", "0", "1e3", "1.", ".5", "99999999999999999999"] {
            assert!(Cpu::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn quantities_round_trip(text in "[0-9]{1,6}(ms|s|m|h|d|k|g|t|Gi|)(30s)?") {
            if let Ok(memory) = Memory::parse(&text) {
                prop_assert_eq!(Memory::parse(&memory.to_string()), Ok(memory));
                prop_assert_eq!(Memory::from_bytes(memory.bytes()), Some(memory));
            }
            if let Ok(duration) = Duration::parse(&text) {
                prop_assert_eq!(Duration::parse(&duration.to_string()), Ok(duration));
            }
            if let Ok(cpu) = Cpu::parse(&text) {
                prop_assert_eq!(Cpu::parse(&cpu.to_string()), Ok(cpu));
            }
        }
    }
}
