//! A rule of a filter: a name and conditions.

use super::condition::Condition;

/// Whether a rule keeps or drops the events that it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RuleKind {
    /// The event is kept, unless an exclude rule matches it.
    Include,
    /// The event is dropped.
    Exclude,
}

impl RuleKind {
    /// Returns the name of the kind as in a filter file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Include => "include",
            Self::Exclude => "exclude",
        }
    }
}

/// A rule. It matches an event that fulfills all of its conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The name in the file, or `exclude rule 2` without one. In the one-line syntax: the text of the rule.
    pub(super) name: String,
    pub(super) kind: RuleKind,
    /// The number among the rules of this kind, from 0.
    pub(super) number: usize,
    /// The line of the rule in its file, from 1.
    pub(super) line: usize,
    /// At least one condition. Conditions of top-level fields come first, because they cost least.
    pub(super) conditions: Vec<Condition>,
}

impl Rule {
    /// Returns the name in the file, or `exclude rule 2` without one. In the one-line syntax: the text of the rule.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns whether the rule keeps or drops events.
    pub fn kind(&self) -> RuleKind {
        self.kind
    }

    /// Returns the number of the rule among those of its kind, from 0.
    pub fn number(&self) -> usize {
        self.number
    }

    /// Returns the line of the rule in its file, from 1.
    pub fn line(&self) -> usize {
        self.line
    }
}
