//! Searches the raw bytes of many lines for texts that every selected event contains, before any line is parsed.
//!
//! A text can be searched in raw bytes if JSON has no other form for it than its own characters and `\u00XX`. So the texts are
//! printable ASCII without `"`, `\` and `/` (which can be written as `\/`), and a line that contains `\u00` is never
//! excluded. The plan is evaluated for every line that is not excluded.

use crate::plan::{Column, Plan, Predicate, QueryField, Scope, ValueTest};
use memchr::memmem::Finder;

/// The minimum length of a searched text in bytes. Shorter ones are in most lines.
const MIN_TEXT: usize = 4;

/// The maximum number of searched texts. Each is a search of all bytes.
const MAX_TEXTS: usize = 8;

/// Excludes lines that contain none of these texts.
#[derive(Debug, Clone)]
pub struct Prefilter {
    texts: Vec<Finder<'static>>,
}

impl Prefilter {
    /// Returns the prefilter of a plan, or `None` if the plan requires no text that can be searched.
    pub fn of_plan(plan: &Plan) -> Option<Self> {
        let texts = match plan.scope() {
            Scope::EventId(id) => Some(vec![id.clone()]),
            Scope::Time(_) => required_texts(plan.predicate()),
        };
        let texts = texts.filter(|texts| texts.len() <= MAX_TEXTS)?;
        let escape = Finder::new("\\u00").into_owned();
        let texts = texts.iter().map(|text| Finder::new(text).into_owned()).chain([escape]);
        Some(Self { texts: texts.collect() })
    }

    /// Returns the texts. A line that contains none of them is not parsed.
    pub fn texts(&self) -> Vec<String> {
        self.texts.iter().map(|text| String::from_utf8_lossy(text.needle()).into_owned()).collect()
    }

    /// Returns a search through lines.
    pub(super) fn search<'f, 'b>(&'f self, lines: &'b [u8]) -> PrefilterSearch<'f, 'b> {
        let next = self.texts.iter().map(|text| text.find(lines)).collect();
        PrefilterSearch { prefilter: self, lines, next }
    }

    /// Returns whether a line can be selected.
    pub(super) fn admits(&self, line: &[u8]) -> bool {
        self.texts.iter().any(|text| text.find(line).is_some())
    }
}

/// A search through lines.
#[derive(Debug)]
pub(super) struct PrefilterSearch<'f, 'b> {
    prefilter: &'f Prefilter,
    lines: &'b [u8],
    /// For each text, the offset of its next occurrence.
    next: Vec<Option<usize>>,
}

impl<'b> PrefilterSearch<'_, 'b> {
    /// Returns the next line that contains one of the texts, without its line break.
    pub(super) fn next_line(&mut self) -> Option<&'b [u8]> {
        let at = self.next.iter().flatten().copied().min()?;
        let start = memchr::memrchr(b'\n', &self.lines[..at]).map_or(0, |before| before + 1);
        let end = memchr::memchr(b'\n', &self.lines[at..]).map_or(self.lines.len(), |length| at + length);
        for (next, text) in self.next.iter_mut().zip(&self.prefilter.texts) {
            if next.is_some_and(|next| next < end) {
                *next = text.find(&self.lines[end..]).map(|found| end + found);
            }
        }
        Some(&self.lines[start..end])
    }
}

/// Returns a list of texts. Every event that fulfills the predicate contains at least one of them. `None` if there is no such
/// list.
fn required_texts(predicate: &Predicate) -> Option<Vec<String>> {
    match predicate {
        Predicate::All(inner) => {
            // The shortest text of a set decides how many lines it excludes.
            let quality = |texts: &Vec<String>| {
                (texts.len() <= MAX_TEXTS, texts.iter().map(String::len).min().unwrap_or_default())
            };
            inner.iter().filter_map(required_texts).max_by_key(quality)
        }
        Predicate::Any(inner) if !inner.is_empty() => {
            let parts: Option<Vec<_>> = inner.iter().map(required_texts).collect();
            parts.map(|parts| parts.concat())
        }
        Predicate::Anywhere(text) => longest_text(text, |_| true).map(|text| vec![text]),
        // An event may not contain the text of its computed time, because `eventTime` can have an offset.
        Predicate::Field(QueryField::Column(Column::Day | Column::Hour), _) => None,
        Predicate::Field(_, test) => match test {
            ValueTest::Equals(values) | ValueTest::Prefix(values) | ValueTest::Suffix(values) => {
                values.iter().map(|value| longest_text(value, |_| true)).collect()
            }
            // The case of letters is ignored, so only the parts between letters are searched.
            ValueTest::Contains(values) => {
                values.iter().map(|value| longest_text(value, |byte| !byte.is_ascii_alphabetic())).collect()
            }
            ValueTest::Cidr(_) | ValueTest::Null | ValueTest::SameAs(_) => None,
        },
        Predicate::Any(_) | Predicate::Not(_) => None,
    }
}

/// Returns the longest part of a value that can be searched in raw bytes.
fn longest_text(value: &str, is_usable: impl Fn(u8) -> bool) -> Option<String> {
    let is_safe = |c: char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\' | '/') && is_usable(c as u8);
    let parts = value.split(|c| !is_safe(c));
    parts.max_by_key(|part| part.len()).filter(|part| part.len() >= MIN_TEXT).map(str::to_owned)
}

#[cfg(test)]
mod tests;
