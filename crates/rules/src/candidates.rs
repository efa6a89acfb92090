//! Selects the rules that can match an event by its `eventName`, so that most events are not compared with any rule.

use crate::required::RequiredText;
use crate::rule_event;
use std::collections::HashMap;
use trailhose_core::event::json::RawValue;

/// Maximum bytes of an `eventName` that is converted to lower case without an allocation. The longest name of AWS's service
/// models has 62.
const MAX_NAME: usize = 96;

/// The rules of a rule set, by the values of `eventName` that they require.
#[derive(Debug, Default)]
pub(crate) struct CandidateIndex {
    /// The rules of each name in lower case, including those of [`CandidateIndex::always`] and of the prefixes that the
    /// name has. The numbers of the rules are ascending.
    by_name: HashMap<Box<[u8]>, Box<[u32]>, foldhash::fast::RandomState>,
    /// Prefixes in lower case and their rules.
    prefixes: Vec<(Box<[u8]>, u32)>,
    /// The rules that require no name.
    always: Vec<u32>,
    /// All rules.
    all: Vec<u32>,
}

impl CandidateIndex {
    /// Lists the rules. Each item is what one rule requires of `eventName`.
    pub(crate) fn new<'r>(rules: impl Iterator<Item = Option<&'r [RequiredText]>>) -> Self {
        let mut index = Self::default();
        let mut names: HashMap<Vec<u8>, Vec<u32>> = HashMap::new();
        for (number, required) in (0..).zip(rules) {
            index.all.push(number);
            let Some(required) = required else {
                index.always.push(number);
                continue;
            };
            for text in required {
                // The same conversion as `rsigma` applies to the values of rules and events.
                let lower = text.text.to_lowercase().into_bytes();
                match text.is_prefix {
                    true => index.prefixes.push((lower.into(), number)),
                    false => names.entry(lower).or_default().push(number),
                }
            }
        }
        for (name, mut numbers) in names {
            numbers.extend(index.without_name(&name));
            numbers.sort_unstable();
            numbers.dedup();
            index.by_name.insert(name.into(), numbers.into());
        }
        index
    }

    /// Returns the rules for a name in lower case that do not require exactly this name.
    fn without_name<'i>(&'i self, name: &'i [u8]) -> impl Iterator<Item = u32> + 'i {
        let with_prefix = self.prefixes.iter().filter(move |(prefix, _)| name.starts_with(prefix));
        self.always.iter().copied().chain(with_prefix.map(|(_, number)| *number))
    }

    /// Passes the numbers of the rules that can match an event with this `eventName` to `with`.
    #[inline]
    pub(crate) fn with_candidates<T>(&self, name: Option<RawValue<'_>>, with: impl FnOnce(&[u32]) -> T) -> T {
        let Some(name) = name else { return with(&self.always) };
        match name.bytes {
            b"null" => with(&self.always),
            [b'"', text @ .., b'"'] if !name.has_escape && text.len() <= MAX_NAME && text.is_ascii() => {
                let mut buffer = [0; MAX_NAME];
                let lower = &mut buffer[..text.len()];
                lower.copy_from_slice(text);
                lower.make_ascii_lowercase();
                self.with_listed(lower, with)
            }
            [b'"', ..] => {
                let lower = rule_event::text(name).to_lowercase();
                self.with_listed(lower.as_bytes(), with)
            }
            // An array can contain any name.
            _ => with(&self.all),
        }
    }

    #[inline]
    fn with_listed<T>(&self, lower: &[u8], with: impl FnOnce(&[u32]) -> T) -> T {
        if let Some(numbers) = self.by_name.get(lower) {
            return with(numbers);
        }
        if self.prefixes.is_empty() {
            return with(&self.always);
        }
        let mut numbers: Vec<u32> = self.without_name(lower).collect();
        numbers.sort_unstable();
        numbers.dedup();
        with(&numbers)
    }
}
