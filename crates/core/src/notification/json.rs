//! A value in a message together with the way to it, so that every error says where.
//!
//! Not `serde`'s derive: its errors quote the values they stumble over, and a notification's values are not ours to print.

use super::NotificationError;
use serde_json::Value;

/// As many field names as an error lists, and as many characters of a name as it shows.
const SHOWN: usize = 12;
const SHOWN_CHARS: usize = 48;

/// `text` as JSON.
pub(super) fn parse(text: &str, at: &str) -> Result<Value, NotificationError> {
    serde_json::from_str(text).map_err(|error| NotificationError::NotJson {
        at: at.to_owned(),
        bytes: text.len(),
        line: error.line(),
        column: error.column(),
    })
}

/// A value, or its absence, at a place in a message.
#[derive(Debug)]
pub(super) struct PathValue<'v> {
    /// What is there; `null` where there is nothing.
    pub(super) value: &'v Value,
    /// The way there.
    pub(super) path: String,
}

impl<'v> PathValue<'v> {
    pub(super) fn new(value: &'v Value, path: String) -> Self {
        Self { value, path }
    }

    /// The field of that name, `null` where there is none.
    pub(super) fn field(&self, name: &str) -> Self {
        Self { value: self.value.get(name).unwrap_or(&Value::Null), path: format!("{}.{name}", self.path) }
    }

    /// The text of the field of that name, if it is there and a text.
    pub(super) fn get(&self, name: &str) -> Option<&'v str> {
        self.value.get(name)?.as_str()
    }

    /// The elements of a list that has some. An empty one would be a message about nothing, which is not known to
    /// exist and must not pass for one that was dealt with.
    pub(super) fn items(&self) -> Result<impl Iterator<Item = Self>, NotificationError> {
        match self.value.as_array() {
            Some(items) if !items.is_empty() => {
                let path = self.path.clone();
                Ok(items.iter().enumerate().map(move |(index, value)| Self { value, path: format!("{path}[{index}]") }))
            }
            _ => Err(self.unexpected("a list with at least one element")),
        }
    }

    /// A text.
    pub(super) fn text(&self) -> Result<&'v str, NotificationError> {
        self.value.as_str().ok_or_else(|| self.unexpected("a text"))
    }

    /// A text that is not empty, such as the name of a bucket.
    pub(super) fn name(&self) -> Result<&'v str, NotificationError> {
        self.text().ok().filter(|text| !text.is_empty()).ok_or_else(|| self.unexpected("a text that is not empty"))
    }

    /// A whole number, or nothing.
    pub(super) fn number(&self) -> Result<Option<u64>, NotificationError> {
        match self.value {
            Value::Null => Ok(None),
            value => value.as_u64().map(Some).ok_or_else(|| self.unexpected("a whole number")),
        }
    }

    /// A text, or nothing.
    pub(super) fn text_or_none(&self) -> Result<Option<&'v str>, NotificationError> {
        match self.value {
            Value::Null => Ok(None),
            _ => self.text().map(Some),
        }
    }

    /// Exactly this word.
    pub(super) fn is(&self, word: &str, expected: &'static str) -> Result<(), NotificationError> {
        if self.value.as_str() == Some(word) { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    /// The error for a field that is not what it should be.
    pub(super) fn unexpected(&self, expected: &'static str) -> NotificationError {
        NotificationError::Field { at: self.path.clone(), expected, found: describe(self.value) }
    }

    /// The error for one of the words by which AWS names its events, when the word is not known. The word is shown,
    /// for it tells what to do, as long as it looks like one.
    pub(super) fn unknown_word(&self, expected: &'static str) -> NotificationError {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b" :.-_*/".contains(&byte);
        match self.value.as_str() {
            Some(word) if word.len() <= SHOWN_CHARS && word.bytes().all(plain) => {
                NotificationError::Field { at: self.path.clone(), expected, found: format!("`{word}`") }
            }
            _ => self.unexpected(expected),
        }
    }

    /// The error for a shape that is not known.
    pub(super) fn unknown(&self) -> NotificationError {
        NotificationError::Unknown { at: self.path.clone(), found: describe(self.value) }
    }
}

/// The kind of a value and its field names: all an error may say of it.
fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(_) => "true or false".to_owned(),
        Value::Number(_) => "a number".to_owned(),
        Value::String(text) => format!("a text of {} bytes", text.len()),
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(fields) if fields.is_empty() => "an object without fields".to_owned(),
        Value::Object(fields) => {
            let names: Vec<_> = fields.keys().take(SHOWN).map(|name| show(name)).collect();
            let more = fields.len().saturating_sub(SHOWN);
            let and_more = if more == 0 { String::new() } else { format!(" and {more} more") };
            format!("an object with {}{and_more}", names.join(", "))
        }
    }
}

/// A field name, cut where it is too long to be one, control characters escaped so that it stays on its line.
fn show(name: &str) -> String {
    let mut shown: String = name.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect();
    if name.chars().nth(SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}
