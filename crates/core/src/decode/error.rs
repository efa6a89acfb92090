//! What can be wrong with an object's bytes, and where.

/// Why an object cannot be read. Nothing of such an object is delivered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not a single byte.
    #[error("the object is empty; expected gzip or JSON")]
    Empty,
    /// The gzip stream is cut, corrupt, fails its checksum or is followed by other bytes.
    #[error("{what}, at byte {at} of {size} compressed bytes")]
    Gzip {
        /// What was found.
        what: String,
        /// Offset in the object as stored.
        at: u64,
        /// The object's size as stored.
        size: u64,
    },
    /// The JSON is cut short.
    #[error("the JSON ends at byte {at} within {within}")]
    Truncated {
        /// Offset in the decompressed object.
        at: u64,
        /// What was not finished.
        within: &'static str,
    },
    /// A byte that cannot stand where it stands.
    #[error("invalid JSON at byte {at}: expected {expected}, found {found}")]
    Json {
        /// Offset in the decompressed object.
        at: u64,
        /// What the grammar, or CloudTrail's format, wants there.
        expected: &'static str,
        /// The byte that stands there.
        found: String,
    },
    /// A JSON object without `Records`.
    #[error("no \"Records\" in the object: not a CloudTrail log file")]
    NoRecords,
    /// More decompressed bytes than is allowed: a decompression bomb, or a limit set too low.
    #[error(
        "more than {limit} bytes decompressed (TRAILHOSE_MAX_OBJECT_BYTES); read to byte {at} of {size} compressed bytes"
    )]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
        /// Offset in the object as stored.
        at: u64,
        /// The object's size as stored.
        size: u64,
    },
    /// One event, or another value, longer than is allowed.
    #[error("a single value of more than {limit} bytes starts at byte {at}")]
    ValueTooLong {
        /// The limit in bytes.
        limit: usize,
        /// Offset in the decompressed object.
        at: u64,
    },
    /// More events than memory is meant for.
    #[error("more than {limit} events in one object (TRAILHOSE_MAX_OBJECT_EVENTS); the next starts at byte {at}")]
    TooMany {
        /// The limit.
        limit: u32,
        /// Offset in the decompressed object.
        at: u64,
    },
}

impl DecodeError {
    /// One word for metrics and summaries.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Gzip { .. } => "gzip",
            Self::Truncated { .. } => "truncated",
            Self::Json { .. } => "json",
            Self::NoRecords => "no_records",
            Self::TooLarge { .. } => "too_large",
            Self::ValueTooLong { .. } => "value_too_long",
            Self::TooMany { .. } => "too_many",
        }
    }
}
