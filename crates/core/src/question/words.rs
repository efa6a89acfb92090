//! The words of a question, and which of them are understood.

use super::stop_words;
use std::ops::Range;

/// A word, a quoted text or a number.
#[derive(Debug, Clone)]
pub(super) struct Word {
    /// As written, without punctuation around it.
    pub(super) text: String,
    pub(super) lower: String,
    pub(super) is_quoted: bool,
    /// What the word contributes. `None` if it is not consumed.
    pub(super) role: Option<Role>,
    /// Whether it belongs to what a negation excludes.
    pub(super) is_negated: bool,
}

/// What a word contributes to the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Time,
    /// Part of the output: groups, counts, order, limit.
    Output,
    Service,
    Event,
    /// The name of what an event is about.
    Object,
    Principal,
    Address,
    AccessKey,
    Account,
    Region,
    State,
    Negation,
    /// Belongs to a phrase and restricts nothing by itself.
    Label,
}

/// The words of a question.
#[derive(Debug)]
pub(super) struct Words {
    pub(super) all: Vec<Word>,
}

impl Words {
    /// Splits a question. Texts in quotation marks are one word each.
    pub(super) fn split(text: &str) -> Self {
        let mut all = Vec::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if let Some(end) = closing_mark(c)
                && let Some(length) = rest.get(c.len_utf8()..).and_then(|inner| inner.find(end))
            {
                let inner = rest.get(c.len_utf8()..c.len_utf8() + length).unwrap_or_default();
                all.push(Word::new(inner, true));
                rest = rest.get(c.len_utf8() + length + end.len_utf8()..).unwrap_or_default();
                continue;
            }
            let length = rest.find(char::is_whitespace).unwrap_or(rest.len());
            if length == 0 {
                rest = rest.trim_start();
                continue;
            }
            let (word, after) = rest.split_at(length);
            rest = after;
            for word in word.split("..").flat_map(|part| ["..", part]).skip(1) {
                let word = if word == ".." { word } else { trimmed(word) };
                if !word.is_empty() {
                    all.push(Word::new(word, false));
                }
            }
        }
        Self { all }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// The word in lower case. Empty for a quoted text and beyond the end, so that it equals no word.
    pub(super) fn lower(&self, at: usize) -> &str {
        self.all.get(at).filter(|word| !word.is_quoted).map_or("", |word| &word.lower)
    }

    pub(super) fn text(&self, at: usize) -> &str {
        self.all.get(at).map_or("", |word| &word.text)
    }

    pub(super) fn is_free(&self, at: usize) -> bool {
        self.all.get(at).is_some_and(|word| word.role.is_none())
    }

    pub(super) fn role(&self, at: usize) -> Option<Role> {
        self.all.get(at).and_then(|word| word.role)
    }

    pub(super) fn consume(&mut self, range: Range<usize>, role: Role) {
        for word in self.all.get_mut(range).unwrap_or_default() {
            word.role = Some(role);
        }
    }

    /// Returns the number of words at this position that match `phrase` and are free. A `|` separates alternatives for a word,
    /// and a word with `?` is optional.
    pub(super) fn phrase(&self, at: usize, phrase: &str) -> Option<usize> {
        let mut next = at;
        for pattern in phrase.split(' ') {
            let (pattern, is_optional) = pattern.strip_suffix('?').map_or((pattern, false), |pattern| (pattern, true));
            let found = self.is_free(next) && pattern.split('|').any(|word| word == self.lower(next));
            if !found && !is_optional {
                return None;
            }
            next += usize::from(found);
        }
        (next > at).then_some(next - at)
    }

    /// Consumes the earliest match of these phrases, the longest one at its position, and returns its position and length.
    pub(super) fn find(&mut self, phrases: &[&str], role: Role) -> Option<(usize, usize)> {
        let (at, length) = (0..self.len()).find_map(|at| {
            phrases.iter().filter_map(|phrase| self.phrase(at, phrase)).max().map(|length| (at, length))
        })?;
        self.consume(at..at + length, role);
        Some((at, length))
    }

    /// Returns the position of the nearest word before this one that is not an article or a label of a name.
    pub(super) fn before(&self, at: usize) -> Option<usize> {
        (0..at).rev().find(|&before| !stop_words::is_article(self.lower(before)))
    }

    /// Returns whether this can be the name of a user, a bucket or another resource.
    pub(super) fn is_name(&self, at: usize) -> bool {
        let Some(word) = self.all.get(at).filter(|word| word.role.is_none()) else { return false };
        if word.is_quoted {
            return !word.text.is_empty();
        }
        let is_valid = word.text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./@:+=,$*#%".contains(c));
        let has_letter = word.text.bytes().any(|byte| byte.is_ascii_alphabetic());
        is_valid && has_letter && !stop_words::is_known(&word.lower)
    }

    /// The words that are not understood.
    pub(super) fn unknown(&self) -> Vec<String> {
        let words = (0..self.len()).filter(|&at| self.is_free(at) && !stop_words::is_stop_word(self.lower(at)));
        words.map(|at| self.text(at).to_owned()).collect()
    }
}

impl Word {
    fn new(text: &str, is_quoted: bool) -> Self {
        Self { text: text.to_owned(), lower: text.to_lowercase(), is_quoted, role: None, is_negated: false }
    }
}

/// Removes punctuation around a word, and `'s` at its end.
fn trimmed(word: &str) -> &str {
    let word = word.trim_matches([',', ';', '?', '!', '(', ')', '[', ']', '"', '\'', '’', '“', '”', '`']);
    let word = word.trim_end_matches(['.', ':', ',']);
    word.strip_suffix("'s").or_else(|| word.strip_suffix("’s")).unwrap_or(word)
}

fn closing_mark(c: char) -> Option<char> {
    match c {
        '"' | '\'' | '`' => Some(c),
        '“' => Some('”'),
        '‘' => Some('’'),
        _ => None,
    }
}
