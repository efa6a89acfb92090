//! Print: results on standard output. A reader that has gone away, as `head` does, has seen what it wanted.

use serde::Serialize;
use std::io::Write as _;

/// Prints text, without its colours where nobody would see them.
pub(crate) fn print(text: &str) {
    let _ = anstream::stdout().write_all(text.as_bytes());
}

/// Prints one JSON object in a line.
pub(crate) fn print_json(object: &impl Serialize) {
    let text = serde_json::to_string(object).unwrap_or_else(|error| format!("{{\"error\":{:?}}}", error.to_string()));
    let _ = writeln!(std::io::stdout(), "{text}");
}
