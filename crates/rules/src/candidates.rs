//! Selects the rules that can match an event by the texts that they require, so that most rules are not evaluated.

use crate::required::{RequiredText, required};
use crate::rule_event::{self, FieldPosition, RuleEvent};
use rsigma_parser::Detections;
use std::collections::HashMap;
use trailhose_core::decode::SelectedFields;
use trailhose_core::event::json::RawValue;

/// The key fields, most selective first. The key of a rule is the first of these fields in which the rule requires certain
/// texts.
const KEYS: [&str; 12] = [
    "eventName",
    "errorCode",
    "errorMessage",
    "userAgent",
    "sourceIPAddress",
    "eventSource",
    "userIdentity.arn",
    "userIdentity.userName",
    "userIdentity.accessKeyId",
    "userIdentity.invokedBy",
    "userIdentity.type",
    "eventType",
];

/// Maximum bytes of a text that is converted to lower case without an allocation. [`KeyIndex::lengths`] has a bit for each
/// length up to it.
const MAX_TEXT: usize = 127;

/// The rules of a rule set, by the texts that they require.
#[derive(Debug, Default)]
pub(crate) struct CandidateIndex {
    keys: Vec<KeyIndex>,
    /// The rules that require no text of a key.
    always: Vec<u32>,
}

/// The rules whose key is one field. The numbers of the rules are ascending.
#[derive(Debug)]
struct KeyIndex {
    field: FieldPosition,
    /// The rules that require a text, by this text in lower case.
    by_text: HashMap<Box<[u8]>, Vec<u32>, foldhash::fast::RandomState>,
    /// Prefixes in lower case and their rules.
    prefixes: Vec<(Box<[u8]>, u32)>,
    /// One bit for each length that a text of `by_text` has.
    lengths: u128,
    /// The length of the longest text or prefix.
    longest: usize,
    /// All rules with this key.
    all: Vec<u32>,
}

/// The candidates of one event. In most cases one list of an index contains all of them, and nothing is copied.
#[derive(Debug, Default)]
struct Candidates<'i> {
    first: &'i [u32],
    merged: Vec<u32>,
}

/// The texts that a rule requires in its key.
#[derive(Debug)]
pub(crate) struct RequiredKey {
    /// The index of the field in [`KEYS`].
    key: usize,
    texts: Vec<RequiredText>,
}

impl RequiredKey {
    /// Returns the key of a rule. Every event that the rule matches has one of the required texts in this field. `None` if
    /// there is no such field.
    pub(crate) fn of(detections: &Detections) -> Option<Self> {
        (0..).zip(KEYS).find_map(|(key, field)| Some(Self { key, texts: required(detections, field)? }))
    }
}

impl CandidateIndex {
    /// Builds the index. Each item is the key of one rule.
    pub(crate) fn new<'r>(rules: impl Iterator<Item = Option<&'r RequiredKey>>, selected: &SelectedFields) -> Self {
        let mut index = Self::default();
        let mut keys: [Option<KeyIndex>; KEYS.len()] = [const { None }; KEYS.len()];
        for (number, required) in (0..).zip(rules) {
            let position = required.and_then(|required| FieldPosition::find(KEYS[required.key], selected));
            let (Some(required), Some(field)) = (required, position) else {
                index.always.push(number);
                continue;
            };
            keys[required.key].get_or_insert_with(|| KeyIndex::new(field)).add(number, &required.texts);
        }
        index.keys = keys.into_iter().flatten().collect();
        index
    }

    /// Passes the numbers of the rules that can match an event to `with`, in ascending order.
    #[inline]
    pub(crate) fn with_candidates<T>(&self, event: &RuleEvent<'_>, with: impl FnOnce(&[u32]) -> T) -> T {
        let mut candidates = Candidates { first: &self.always, merged: Vec::new() };
        for key in &self.keys {
            if let Some(value) = event.value_at(key.field) {
                key.find(value, &mut candidates);
            }
        }
        if candidates.merged.is_empty() {
            return with(candidates.first);
        }
        candidates.merged.sort_unstable();
        candidates.merged.dedup();
        with(&candidates.merged)
    }
}

impl<'i> Candidates<'i> {
    fn add(&mut self, numbers: &'i [u32]) {
        match (self.first.is_empty(), self.merged.is_empty()) {
            (true, _) => self.first = numbers,
            (false, true) if numbers.is_empty() => {}
            (false, true) => self.merged = [self.first, numbers].concat(),
            (false, false) => self.merged.extend(numbers),
        }
    }
}

impl KeyIndex {
    fn new(field: FieldPosition) -> Self {
        let (by_text, prefixes, all) = (HashMap::default(), Vec::new(), Vec::new());
        Self { field, by_text, prefixes, lengths: 0, longest: 0, all }
    }

    fn add(&mut self, number: u32, texts: &[RequiredText]) {
        self.all.push(number);
        for text in texts {
            // The same conversion as `rsigma` applies to the values of rules and events.
            let lower = text.text.to_lowercase().into_bytes();
            self.longest = self.longest.max(lower.len());
            if text.is_prefix {
                self.prefixes.push((lower.into(), number));
                continue;
            }
            if lower.len() <= MAX_TEXT {
                self.lengths |= 1 << lower.len();
            }
            let numbers = self.by_text.entry(lower.into()).or_default();
            if numbers.last() != Some(&number) {
                numbers.push(number);
            }
        }
    }

    /// Adds the rules that require this value of the field.
    #[inline]
    fn find<'i>(&'i self, value: RawValue<'_>, candidates: &mut Candidates<'i>) {
        match value.bytes {
            b"null" => {}
            [b'"', text @ .., b'"'] if !value.has_escape && self.longest <= MAX_TEXT && text.is_ascii() => {
                let is_listed = text.len() <= MAX_TEXT && self.lengths >> text.len() & 1 == 1;
                if !is_listed && self.prefixes.is_empty() {
                    return;
                }
                let mut buffer = [0; MAX_TEXT];
                let head = &text[..text.len().min(MAX_TEXT)];
                let lower = &mut buffer[..head.len()];
                lower.copy_from_slice(head);
                lower.make_ascii_lowercase();
                self.find_lower(lower, is_listed, candidates);
            }
            [b'"', ..] => self.find_lower(rule_event::text(value).to_lowercase().as_bytes(), true, candidates),
            // An array can contain any text, and numbers and booleans are compared in several ways.
            _ => candidates.add(&self.all),
        }
    }

    fn find_lower<'i>(&'i self, lower: &[u8], is_listed: bool, candidates: &mut Candidates<'i>) {
        if is_listed && let Some(numbers) = self.by_text.get(lower) {
            candidates.add(numbers);
        }
        for (prefix, number) in &self.prefixes {
            if lower.starts_with(prefix) {
                candidates.add(std::slice::from_ref(number));
            }
        }
    }
}
