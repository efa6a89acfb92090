//! The YAML documents of a rule file, and the limits of a file.

use crate::rule::InvalidRule;
use rsigma_parser::{FilterRule, SigmaRule, parse_sigma_yaml};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::cell::Cell;
use std::fmt;
use yaml_serde::Value;

/// Maximum bytes of a rule file. The largest rules that are published have about 30 KB.
pub const MAX_FILE_BYTES: usize = 128 << 10;

/// Maximum number of values of a document, after its aliases are replaced by what they refer to. A few hundred bytes can
/// refer to billions of values.
const MAX_VALUES: usize = 20_000;

/// Maximum nesting depth of a document.
const MAX_DOCUMENT_DEPTH: usize = 32;

/// A parsed document.
#[derive(Debug)]
pub(crate) struct Document<'f> {
    /// The name of the file.
    pub(crate) file: &'f str,
    /// The text of the document.
    pub(crate) text: &'f str,
    /// The line of the file on which `text` starts. The first line is 1.
    pub(crate) first_line: usize,
    pub(crate) content: DocumentContent,
}

/// What a document contains.
#[derive(Debug)]
pub(crate) enum DocumentContent {
    Rule(Box<SigmaRule>),
    /// A filter document, and all its members.
    Filter(Box<FilterRule>, Value),
}

impl Document<'_> {
    /// Returns a defect of this document: at the first line that contains `near`, or at the first line with content.
    pub(crate) fn invalid(&self, near: &str, reason: impl Into<String>) -> InvalidRule {
        invalid(self.file, self.text, self.first_line, near, reason)
    }

    /// Returns the number of the first line with content.
    pub(crate) fn line(&self) -> usize {
        line_of(self.text, self.first_line, "")
    }
}

/// Parses the documents of a file. Each document succeeds or fails on its own.
pub(crate) fn parse<'f>(file: &'f str, text: &'f str) -> Vec<Result<Document<'f>, InvalidRule>> {
    let documents = split(text);
    if documents.is_empty() {
        return vec![Err(invalid(file, text, 1, "", "the file contains no document: write a rule or remove the file"))];
    }
    documents.into_iter().map(|(first_line, text)| parse_document(file, text, first_line)).collect()
}

/// Splits a file at its document markers. Parts without content are omitted. Each part has the number of its first line.
fn split(text: &str) -> Vec<(usize, &str)> {
    let mut parts = Vec::new();
    let (mut start, mut first_line, mut at) = (0, 1, 0);
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        if line.strip_prefix("---").is_some_and(|rest| rest.trim().is_empty() || rest.trim_start().starts_with('#')) {
            parts.push((first_line, &text[start..at]));
            (start, first_line) = (at + line.len(), number + 1);
        }
        at += line.len();
    }
    parts.push((first_line, &text[start..]));
    parts.retain(|(_, part)| part.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#')));
    parts
}

fn parse_document<'f>(file: &'f str, text: &'f str, first_line: usize) -> Result<Document<'f>, InvalidRule> {
    let defect = |near: &str, reason: String| invalid(file, text, first_line, near, reason);
    let yaml = |error: yaml_serde::Error| {
        let line = error.location().map_or_else(|| line_of(text, first_line, ""), |at| first_line + at.line() - 1);
        let reason = error.to_string();
        let reason = reason.split(" at line ").next().unwrap_or(&reason);
        InvalidRule { file: file.to_owned(), line, reason: format!("invalid YAML: {reason}") }
    };
    let values = Cell::new(0);
    ValueLimit { values: &values, depth: 0 }.deserialize(yaml_serde::Deserializer::from_str(text)).map_err(yaml)?;
    let all: Value = yaml_serde::from_str(text).map_err(yaml)?;
    let Value::Mapping(members) = &all else {
        return Err(defect("", "not a rule: a rule is a mapping with title, logsource and detection".to_owned()));
    };
    if members.contains_key("action") {
        let reason = "collections of rules (action) are not supported: write each rule as a document of its own";
        return Err(defect("action", reason.to_owned()));
    }
    if members.contains_key("correlation") {
        let reason = "correlation rules are not supported: trailhose groups findings by rule, account and principal";
        return Err(defect("correlation", reason.to_owned()));
    }
    let mut parsed = parse_sigma_yaml(text).map_err(|error| defect("", error.to_string()))?;
    if let Some(error) = parsed.errors.first() {
        return Err(match error.split_once("Condition parse error") {
            Some((_, details)) => defect("condition", invalid_condition(&all, details)),
            None => defect(quoted(error), format!("invalid Sigma: {error}")),
        });
    }
    let content = match (parsed.rules.pop(), parsed.filters.pop()) {
        (Some(rule), None) => DocumentContent::Rule(Box::new(rule)),
        (None, Some(filter)) => DocumentContent::Filter(Box::new(filter), all),
        _ => return Err(defect("", "the document is neither a rule nor a filter".to_owned())),
    };
    Ok(Document { file, text, first_line, content })
}

/// Returns why the condition of a document is invalid. The message of the parser has several lines, and the last one names
/// what it expects.
fn invalid_condition(document: &Value, details: &str) -> String {
    let condition = document.get("detection").and_then(|detection| detection.get("condition")).and_then(Value::as_str);
    let expected = details.lines().last().unwrap_or(details).trim_start_matches([' ', '=']);
    match condition {
        Some(text) if text.contains('|') => {
            format!("condition `{text}`: aggregations such as count() and near are not supported")
        }
        Some(text) => format!("invalid condition `{text}`: {expected}"),
        None => format!("invalid condition: {expected}"),
    }
}

/// Returns the first text in single quotes of a message. `rsigma` quotes parts of the document.
fn quoted(message: &str) -> &str {
    message.split('\'').nth(1).unwrap_or("")
}

fn invalid(file: &str, text: &str, first_line: usize, near: &str, reason: impl Into<String>) -> InvalidRule {
    InvalidRule { file: file.to_owned(), line: line_of(text, first_line, near), reason: reason.into() }
}

/// Returns the number of the first line that contains `near`, or of the first line with content.
fn line_of(text: &str, first_line: usize, near: &str) -> usize {
    let has_content = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    let at = match near {
        "" => None,
        near => text.lines().position(|line| has_content(line) && line.contains(near)),
    };
    first_line + at.or_else(|| text.lines().position(has_content)).unwrap_or(0)
}

/// Reads a document without keeping it, and fails when it has too many values or is nested too deep.
struct ValueLimit<'c> {
    values: &'c Cell<usize>,
    depth: usize,
}

impl ValueLimit<'_> {
    fn nested<E: Error>(&self) -> Result<Self, E> {
        if self.depth == MAX_DOCUMENT_DEPTH {
            return Err(E::custom(format_args!("nested deeper than {MAX_DOCUMENT_DEPTH} levels")));
        }
        Ok(Self { values: self.values, depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for ValueLimit<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        self.values.set(self.values.get() + 1);
        if self.values.get() > MAX_VALUES {
            return Err(D::Error::custom(format_args!("more than {MAX_VALUES} values, counting those behind aliases")));
        }
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueLimit<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value without a tag")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self.nested()?)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while members.next_key_seed(self.nested()?)?.is_some() {
            members.next_value_seed(self.nested()?)?;
        }
        Ok(())
    }
}
