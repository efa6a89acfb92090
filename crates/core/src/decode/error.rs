//! The error of the decoder.

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
    #[error("invalid JSON at byte {at}: expected {expected}, found {found}")]
    Json {
        /// Offset in the decompressed object.
        at: u64,
        /// The expected element.
        expected: &'static str,
        /// The byte at this offset.
        found: String,
    },
    /// The outermost JSON object has no `Records`.
    #[error("no \"Records\" in the object: not a CloudTrail log file")]
    NoRecords,
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

impl DecodeError {
    /// Returns the stable name of the error for metrics and summaries.
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
