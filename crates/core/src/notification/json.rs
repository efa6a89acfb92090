//! A JSON value with its path in the message, so that every error contains the path.
//!
//! `serde`'s derive is not used, because its errors quote values, and a notification's values may be confidential.

use super::NotificationError;
use serde_json::Value;

/// Maximum number of field names in an error.
const MAX_FIELD_NAMES: usize = 12;
/// Maximum number of characters of a field name in an error.
const MAX_NAME_CHARS: usize = 48;

/// Parses `text` as JSON.
pub(super) fn parse(text: &str, at: &str) -> Result<Value, NotificationError> {
    serde_json::from_str(text).map_err(|error| NotificationError::NotJson {
        at: at.to_owned(),
        bytes: text.len(),
        line: error.line(),
        column: error.column(),
    })
}

/// A value, or its absence, at a path in a message.
#[derive(Debug)]
pub(super) struct PathValue<'v> {
    /// The value, or `null` if it is missing.
    pub(super) value: &'v Value,
    /// The path of the value.
    pub(super) path: String,
}

impl<'v> PathValue<'v> {
    pub(super) fn new(value: &'v Value, path: String) -> Self {
        Self { value, path }
    }

    /// Returns the field of this name, or `null` if it is missing.
    pub(super) fn field(&self, name: &str) -> Self {
        Self { value: self.value.get(name).unwrap_or(&Value::Null), path: format!("{}.{name}", self.path) }
    }

    /// Returns the string of the field of this name, or `None` if it is missing or not a string.
    pub(super) fn get(&self, name: &str) -> Option<&'v str> {
        self.value.get(name)?.as_str()
    }

    /// Returns the elements of a list. An empty list is an error: AWS does not send one, and an empty result would be
    /// acknowledged.
    pub(super) fn items(&self) -> Result<impl Iterator<Item = Self>, NotificationError> {
        match self.value.as_array() {
            Some(items) if !items.is_empty() => {
                let path = self.path.clone();
                Ok(items.iter().enumerate().map(move |(index, value)| Self { value, path: format!("{path}[{index}]") }))
            }
            _ => Err(self.unexpected("a non-empty list")),
        }
    }

    /// Returns the value as a string.
    pub(super) fn text(&self) -> Result<&'v str, NotificationError> {
        self.value.as_str().ok_or_else(|| self.unexpected("a string"))
    }

    /// Returns the value as a string that is not empty, such as the name of a bucket.
    pub(super) fn name(&self) -> Result<&'v str, NotificationError> {
        self.text().ok().filter(|text| !text.is_empty()).ok_or_else(|| self.unexpected("a non-empty string"))
    }

    /// Returns the value as a non-negative integer, or `None` if it is missing.
    pub(super) fn number(&self) -> Result<Option<u64>, NotificationError> {
        match self.value {
            Value::Null => Ok(None),
            value => value.as_u64().map(Some).ok_or_else(|| self.unexpected("a non-negative integer")),
        }
    }

    /// Returns the value as a string, or `None` if it is missing.
    pub(super) fn text_or_none(&self) -> Result<Option<&'v str>, NotificationError> {
        match self.value {
            Value::Null => Ok(None),
            _ => self.text().map(Some),
        }
    }

    /// Checks that the value is exactly this word.
    pub(super) fn check_is(&self, word: &str, expected: &'static str) -> Result<(), NotificationError> {
        if self.value.as_str() == Some(word) { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    /// Returns the error for a field with an unexpected value.
    pub(super) fn unexpected(&self, expected: &'static str) -> NotificationError {
        NotificationError::Field { at: self.path.clone(), expected, found: describe(self.value) }
    }

    /// Returns the error for an unknown name of an AWS event. The error contains the name if it is short and has no
    /// special characters, because the name shows the cause.
    pub(super) fn unknown_word(&self, expected: &'static str) -> NotificationError {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b" :.-_*/".contains(&byte);
        match self.value.as_str() {
            Some(word) if word.len() <= MAX_NAME_CHARS && word.bytes().all(plain) => {
                NotificationError::Field { at: self.path.clone(), expected, found: format!("`{word}`") }
            }
            _ => self.unexpected(expected),
        }
    }

    /// Returns the error for an unknown shape.
    pub(super) fn unknown(&self) -> NotificationError {
        NotificationError::Unknown { at: self.path.clone(), found: describe(self.value) }
    }
}

/// Describes a value for an error: its type and its field names, never its content.
fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(_) => "a boolean".to_owned(),
        Value::Number(_) => "a number".to_owned(),
        Value::String(text) => format!("a string of {} bytes", text.len()),
        Value::Array(items) => format!("a list of {} elements", items.len()),
        Value::Object(fields) if fields.is_empty() => "an object without fields".to_owned(),
        Value::Object(fields) => {
            let names: Vec<_> = fields.keys().take(MAX_FIELD_NAMES).map(|name| show(name)).collect();
            let more = fields.len().saturating_sub(MAX_FIELD_NAMES);
            let and_more = if more == 0 { String::new() } else { format!(" and {more} more") };
            format!("an object with {}{and_more}", names.join(", "))
        }
    }
}

/// Formats a field name for an error: truncated to a maximum length, with control characters escaped.
fn show(name: &str) -> String {
    let mut shown: String = name.chars().take(MAX_NAME_CHARS).flat_map(char::escape_debug).collect();
    if name.chars().nth(MAX_NAME_CHARS).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}
