//! The event filter.
//!
//! A filter has include rules and exclude rules. A rule is a list of conditions and matches an event that fulfills all
//! of them. An event is kept if there are no include rules or one of them matches, and no exclude rule matches.
//!
//! A filtered event is counted and dropped. It is neither claimed nor delivered. If the filter is removed later, the
//! event is delivered from the next object that contains it.

#[cfg(feature = "filter-file")]
mod check;
mod condition;
#[cfg(feature = "filter-file")]
mod file;
#[cfg(feature = "filter-file")]
mod gate;
mod index;
mod known_fields;
#[cfg(feature = "filter-file")]
mod network;
mod path;
#[cfg(feature = "filter-file")]
mod patterns;
mod rule;
#[cfg(test)]
mod tests;
mod text_map;
mod values;

#[cfg(feature = "filter-file")]
pub use check::FilterFinding;
#[cfg(feature = "filter-file")]
pub use file::{FilterFileError, MAX_PATTERNS, MAX_RULES};
pub use known_fields::KnownField;
pub use rule::{Rule, RuleKind};

use super::field::{self, FieldKind};
use crate::decode::{Event, FieldOffsets, SelectedFields};
use condition::{Condition, Test};
#[cfg(feature = "filter-file")]
use gate::GateFields;
use index::RuleIndex;
use path::{FieldPath, NotedPosition};
#[cfg(feature = "filter-file")]
use patterns::PatternSet;
use std::collections::HashMap;
use std::sync::Arc;
use values::{EventFields, KEPT_FIELDS};

/// Decides which events are dropped. The default filter drops no event. A clone shares the rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter(Option<Arc<Rules>>);

/// The rules of a filter, and what is computed from them once.
#[derive(Debug, PartialEq, Eq)]
struct Rules {
    include: Vec<Rule>,
    exclude: Vec<Rule>,
    include_index: RuleIndex,
    exclude_index: RuleIndex,
    /// The distinct fields of all conditions.
    paths: Vec<FieldPath>,
    /// For each path, the index of its values among the kept ones of its kind, top-level or nested, if they are kept.
    kept: Vec<Option<usize>>,
    /// For each path, its regular expressions, if they are searched together.
    #[cfg(feature = "filter-file")]
    patterns: Vec<Option<PatternSet>>,
    /// The top-level fields and the members of `userIdentity` of all paths.
    selected: Arc<SelectedFields>,
    /// For each path, its position in `selected`.
    positions: Vec<NotedPosition>,
}

/// What a filter does with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision<'f> {
    /// The event is kept because of this include rule, or because the filter has no include rules.
    Kept(Option<&'f Rule>),
    /// The event is dropped because of this exclude rule, or because no include rule matches.
    Dropped(Option<&'f Rule>),
}

impl Filter {
    /// Parses rules such as `eventSource=kms.amazonaws.com,eventName=Decrypt|Encrypt; readOnly=true`, which are exclude
    /// rules. `;` separates rules, one of which must match. `,` separates the fields of a rule, all of which must match.
    /// `|` separates the values of a field. The comparison is case-sensitive.
    ///
    /// # Errors
    /// A message that names the part that is not `field=value`, or the field that no event has or that cannot be
    /// compared.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut paths = PathTable::default();
        let mut exclude = Vec::new();
        for rule in text.split(';').map(str::trim).filter(|rule| !rule.is_empty()) {
            let conditions = rule.split(',').map(|part| parse_condition(part, &mut paths)).collect::<Result<_, _>>()?;
            let number = exclude.len();
            exclude.push(Rule { name: rule.to_owned(), kind: RuleKind::Exclude, number, line: 1, conditions });
        }
        Ok(Self::new(Vec::new(), exclude, paths.paths))
    }

    fn new(mut include: Vec<Rule>, mut exclude: Vec<Rule>, paths: Vec<FieldPath>) -> Self {
        if include.is_empty() && exclude.is_empty() {
            return Self(None);
        }
        let selected = SelectedFields::new(
            paths.iter().map(|path| &*path.names[0]),
            paths.iter().filter_map(|path| path.identity_member()),
        );
        let positions = paths.iter().map(|path| path.position(&selected)).collect();
        let (mut single, mut nested) = (0..KEPT_FIELDS, 0..KEPT_FIELDS);
        let kept = paths.iter().map(|path| if path.is_top_level() { single.next() } else { nested.next() }).collect();
        for rule in include.iter_mut().chain(&mut exclude) {
            rule.conditions.sort_by_key(|condition| (!paths[condition.path].is_top_level(), condition.test.cost()));
        }
        let path_of = |name: &str| paths.iter().position(|path| path.is_top_level() && path.names[0] == name);
        let include_index = RuleIndex::new(&mut include, path_of);
        let exclude_index = RuleIndex::new(&mut exclude, path_of);
        #[cfg(feature = "filter-file")]
        let patterns: Vec<_> = (0..paths.len())
            .map(|path| match paths[path].is_top_level() {
                true => PatternSet::new(include.iter_mut().chain(&mut exclude), path),
                false => None,
            })
            .collect();
        #[cfg(feature = "filter-file")]
        let (include_index, exclude_index) = {
            let fields = GateFields { paths: &paths, patterns: &patterns };
            (include_index.with_gates(&include, fields), exclude_index.with_gates(&exclude, fields))
        };
        Self(Some(Arc::new(Rules {
            include,
            exclude,
            include_index,
            exclude_index,
            paths,
            kept,
            #[cfg(feature = "filter-file")]
            patterns,
            selected: Arc::new(selected),
            positions,
        })))
    }

    /// Returns the rules: include rules, then exclude rules.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter().flat_map(|rules| rules.include.iter().chain(&rules.exclude))
    }

    /// Returns whether the event is dropped. A line that is not a JSON object is never dropped.
    #[inline]
    pub fn drops(&self, line: &[u8]) -> bool {
        match &self.0 {
            None => false,
            Some(rules) => matches!(rules.decide(line), Decision::Dropped(_)),
        }
    }

    /// Returns whether a decoded event is dropped. Costs less than [`Filter::drops`] if the reader notes the offsets of
    /// [`Filter::selected_fields`].
    #[inline]
    pub fn drops_event(&self, event: &Event<'_>) -> bool {
        let Some(rules) = &self.0 else { return false };
        let decision = match event.offsets.and_then(|offsets| offsets.of(&rules.selected)) {
            Some(offsets) => rules.decide_from(event.line, offsets),
            None => rules.decide(event.line),
        };
        matches!(decision, Decision::Dropped(_))
    }

    /// Returns the fields that the rules use. `None` without rules.
    pub fn selected_fields(&self) -> Option<Arc<SelectedFields>> {
        self.0.as_ref().map(|rules| Arc::clone(&rules.selected))
    }

    /// Returns whether the filter has no rules, so that it drops no event.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Returns whether the event is dropped, and the rule that decides: the first matching rule of its kind. A line that
    /// is not a JSON object is kept.
    pub fn decide(&self, line: &[u8]) -> Decision<'_> {
        self.0.as_ref().map_or(Decision::Kept(None), |rules| rules.decide(line))
    }
}

/// The distinct fields of the conditions.
#[derive(Debug, Default)]
struct PathTable {
    paths: Vec<FieldPath>,
    index: HashMap<Vec<String>, usize>,
}

impl PathTable {
    /// Returns the index of a path, which is added if it is new.
    fn intern(&mut self, names: Vec<String>, kind: FieldKind) -> usize {
        let next = self.paths.len();
        let at = *self.index.entry(names.clone()).or_insert(next);
        if at == next {
            self.paths.push(FieldPath { names, kind });
        }
        at
    }
}

fn parse_condition(part: &str, paths: &mut PathTable) -> Result<Condition, String> {
    match part.trim().split_once('=') {
        Some((field, values)) if !field.is_empty() && !values.is_empty() => {
            let field = field.trim();
            let kind = field::check_top_level(field).map_err(|what| format!("invalid filter {part:?}: {what}"))?;
            let path = paths.intern(vec![field.to_owned()], kind);
            let mut texts: Vec<String> = values.split('|').map(|value| value.trim().to_owned()).collect();
            texts.sort();
            texts.dedup();
            let or_null = texts.iter().any(|text| text == "null");
            let is_boolean_value = |text: &String| matches!(text.as_str(), "true" | "false" | "null");
            if let Some(wrong) = texts.iter().find(|text| kind.is_boolean && !is_boolean_value(text)) {
                return Err(format!("invalid filter {part:?}: {field} is never {wrong:?}: the field is true or false"));
            }
            Ok(Condition { path, test: Test::AnyOf { texts, or_null }, negated: false })
        }
        _ => Err(format!("invalid filter {part:?}: expected field=value, for example readOnly=true")),
    }
}

impl Rules {
    fn decide(&self, line: &[u8]) -> Decision<'_> {
        match self.selected.offsets(line) {
            Some(offsets) => self.decide_from(line, &offsets),
            None => Decision::Kept(None),
        }
    }

    fn decide_from(&self, line: &[u8], offsets: &FieldOffsets) -> Decision<'_> {
        let event = EventFields::new(self, line, offsets);
        let mut kept_by = None;
        if !self.include.is_empty() {
            match self.include_index.first_match(&self.include, &event) {
                None => return Decision::Dropped(None),
                Some(number) => kept_by = Some(&self.include[number]),
            }
        }
        match self.exclude_index.first_match(&self.exclude, &event) {
            Some(number) => Decision::Dropped(Some(&self.exclude[number])),
            None => Decision::Kept(kept_by),
        }
    }
}
