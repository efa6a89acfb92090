//! The error of the decoder.

use super::foreign::ForeignFormat;

/// The reason why an object cannot be decoded. No event of such an object is delivered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The object has no bytes.
    #[error("the object is empty; expected gzip or JSON")]
    Empty,
    /// The gzip stream is truncated, corrupt, fails its checksum or is followed by other bytes.
    #[error("{what}, at byte {at} of {size} compressed bytes")]
    Gzip {
        /// The defect.
        what: String,
        /// Offset in the object as stored.
        at: u64,
        /// The object's size as stored.
        size: u64,
    },
    /// The JSON is truncated.
    #[error("the JSON ends at byte {at} within {within}")]
    Truncated {
        /// Offset in the decompressed object.
        at: u64,
        /// The incomplete element.
        within: &'static str,
    },
    /// A byte violates the JSON grammar or CloudTrail's format.
    #[error("invalid JSON at byte {at}: {}", defect.describe(found))]
    Json {
        /// Offset in the decompressed object.
        at: u64,
        /// The violated rule.
        defect: JsonDefect,
        /// The byte at this offset.
        found: String,
    },
    /// The first byte does not start a JSON object or array.
    #[error("invalid JSON at byte {at}: expected '{{' or '[', found {found}{}", ForeignFormat::hint(*format))]
    NotJson {
        /// Offset in the decompressed object.
        at: u64,
        /// The byte at this offset.
        found: String,
        /// The format that the first bytes indicate.
        format: Option<&'static ForeignFormat>,
    },
    /// The outermost JSON object has no `Records`.
    #[error(
        "no \"Records\" in the JSON object{}",
        if format.is_some() { ForeignFormat::hint(*format) } else { ": not a CloudTrail log file".to_owned() }
    )]
    NoRecords {
        /// The format that the names of the members indicate.
        format: Option<&'static ForeignFormat>,
    },
    /// An element of the outermost array has no ID and no time, or an element is an envelope around an event.
    #[error(
        "the value at byte {at} is not a CloudTrail event{}",
        if format.is_some() { ForeignFormat::hint(*format) } else { ": it has neither eventID nor eventTime".to_owned() }
    )]
    NotAnEvent {
        /// Offset in the decompressed object.
        at: u64,
        /// The format that the names of its members indicate.
        format: Option<&'static ForeignFormat>,
    },
    /// The object exceeds the limit of decompressed bytes: it is a decompression bomb, or the limit is too low.
    #[error("over {limit} decompressed bytes at byte {at} of {size} compressed bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
        /// Offset in the object as stored.
        at: u64,
        /// The object's size as stored.
        size: u64,
    },
    /// One event or another value exceeds the limit of a value.
    #[error("the value at byte {at} exceeds {limit} bytes")]
    ValueTooLong {
        /// The limit in bytes.
        limit: usize,
        /// Offset in the decompressed object.
        at: u64,
    },
    /// The object exceeds the limit of events.
    #[error("the object exceeds {limit} events at byte {at}")]
    TooMany {
        /// The limit.
        limit: u32,
        /// Offset in the decompressed object.
        at: u64,
    },
}

/// A rule of JSON or of CloudTrail's format that a byte violates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonDefect {
    /// Another element is expected.
    Expected(&'static str),
    /// The outermost object has a second `Records`.
    DuplicateRecords,
    /// The byte follows the end of the JSON.
    AfterEnd,
    /// The value exceeds the maximum nesting depth.
    Nesting,
    /// A control character in a string is not escaped.
    ControlCharacter,
    /// The byte after a backslash is not an escape.
    Escape,
    /// The text is not UTF-8.
    Utf8,
}

impl JsonDefect {
    /// Describes the defect. `found` describes the byte that violates the rule.
    fn describe(self, found: &str) -> String {
        match self {
            Self::Expected(expected) => format!("expected {expected}, found {found}"),
            Self::DuplicateRecords => "duplicate \"Records\"".to_owned(),
            Self::AfterEnd => format!("unexpected {found} after the end of the JSON"),
            Self::Nesting => "nesting exceeds 128 levels".to_owned(),
            Self::ControlCharacter => format!("unescaped control character in a string: {found}"),
            Self::Escape => format!("unknown escape in a string: {found}"),
            Self::Utf8 => format!("invalid UTF-8: {found}"),
        }
    }
}

impl DecodeError {
    /// Returns the stable name of the error for metrics and summaries.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Gzip { .. } => "gzip",
            Self::Truncated { .. } => "truncated",
            Self::Json { .. } | Self::NotJson { .. } => "json",
            Self::NoRecords { .. } => "no_records",
            Self::NotAnEvent { .. } => "not_an_event",
            Self::TooLarge { .. } => "too_large",
            Self::ValueTooLong { .. } => "value_too_long",
            Self::TooMany { .. } => "too_many",
        }
    }
}
