//! The error of the scanner.

use super::error::JsonDefect;

/// The reason why a value could not be scanned to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The bytes end within the value.
    Incomplete,
    /// The byte at this offset is not allowed there.
    Invalid {
        at: usize,
        /// The text is a reference, because the scanner is measurably faster if the error is small.
        defect: &'static JsonDefect,
    },
}

/// Returns the byte at `at`, or [`Fault::Incomplete`] at the end of the bytes.
pub(super) fn peek(bytes: &[u8], at: usize) -> Result<u8, Fault> {
    bytes.get(at).copied().ok_or(Fault::Incomplete)
}

/// Returns [`Fault::Invalid`] for the byte at `at`.
pub(super) fn invalid<T>(at: usize, defect: &'static JsonDefect) -> Result<T, Fault> {
    Err(Fault::Invalid { at, defect })
}
