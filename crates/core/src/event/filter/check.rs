//! Finds rules that have no effect, and filters that drop every event.
//!
//! Each finding follows from the conditions alone. Which values and fields occur together in events is not considered, so
//! a filter without findings can still have rules that match no event.

use super::condition::{Condition, Test};
use super::{Filter, Rule, RuleKind, Rules};
use std::collections::HashMap;

/// Fields that nearly all events have.
const USUAL_FIELDS: [&str; 9] = [
    "awsRegion",
    "eventID",
    "eventName",
    "eventSource",
    "eventTime",
    "eventType",
    "eventVersion",
    "sourceIPAddress",
    "userIdentity",
];

/// A rule without effect, or a filter that drops every event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterFinding {
    /// The line of the rule in its file, from 1.
    pub line: usize,
    /// The rule and what is wrong with it.
    pub text: String,
}

impl Filter {
    /// Returns the rules that have no effect, and whether the filter drops every event. In the order of the lines.
    pub fn findings(&self) -> Vec<FilterFinding> {
        let Some(rules) = &self.0 else { return Vec::new() };
        let mut findings = rules.findings();
        findings.sort_by_key(|finding| finding.line);
        findings
    }
}

fn finding(rule: &Rule, what: &str) -> FilterFinding {
    FilterFinding { line: rule.line, text: format!("{} rule {:?} {what}", rule.kind.as_str(), rule.name) }
}

impl Rules {
    fn findings(&self) -> Vec<FilterFinding> {
        let mut findings = Vec::new();
        let mut effective_includes = 0;
        let excludes = CoverIndex::new(&self.exclude);
        for rules in [&self.include, &self.exclude] {
            let mut earlier = CoverIndex::default();
            for (number, rule) in rules.iter().enumerate() {
                if let Some(reason) = self.contradiction(rule) {
                    findings.push(finding(rule, &format!("cannot match: {reason}")));
                    continue;
                }
                if let Some(covering) = earlier.covering(rules, rule, self) {
                    let what = format!(
                        "has no effect: rule {:?} on line {} matches the same events",
                        covering.name, covering.line
                    );
                    findings.push(finding(rule, &what));
                }
                earlier.add(rules, number);
                if rule.kind == RuleKind::Include {
                    match excludes.covering(&self.exclude, rule, self) {
                        Some(exclude) => {
                            let what = format!(
                                "keeps no event: exclude rule {:?} on line {} drops them",
                                exclude.name, exclude.line
                            );
                            findings.push(finding(rule, &what));
                        }
                        None => effective_includes += 1,
                    }
                }
            }
        }
        if let Some(first) = self.include.first()
            && effective_includes == 0
        {
            let text = "the filter drops every event: no include rule keeps any".to_owned();
            findings.push(FilterFinding { line: first.line, text });
        }
        findings.extend(self.exclude.iter().filter_map(|rule| self.universal(rule)));
        findings.extend(self.complement());
        findings
    }

    /// Returns why no event fulfills all conditions of a rule.
    fn contradiction(&self, rule: &Rule) -> Option<String> {
        let conditions = &rule.conditions;
        for (number, first) in conditions.iter().enumerate() {
            let path = &self.paths[first.path];
            let others =
                || conditions.iter().enumerate().filter(|(at, other)| *at != number && other.path == first.path);
            if others().any(|(_, second)| implies(first, &second.opposite(), path.kind.is_single)) {
                return Some(format!("its conditions on {path} contradict each other"));
            }
            // Each of the accepted values can fail a different condition.
            if let Test::AnyOf { texts, or_null: false } = &first.test
                && !first.negated
                && path.kind.is_single
                && texts
                    .iter()
                    .all(|text| others().any(|(_, other)| other.test.passes_text(text.as_bytes()) == other.negated))
            {
                return Some(format!("no value of {path} fulfills all of its conditions"));
            }
        }
        None
    }

    /// Returns whether every event that `narrow` matches is also matched by `wide`.
    fn covers(&self, wide: &Rule, narrow: &Rule) -> bool {
        wide.conditions.iter().all(|required| {
            let is_single = self.paths[required.path].kind.is_single;
            narrow.conditions.iter().any(|known| known.path == required.path && implies(known, required, is_single))
        })
    }

    /// Returns a finding if an exclude rule matches every event with certain fields, which nearly all events have.
    fn universal(&self, rule: &Rule) -> Option<FilterFinding> {
        let mut fields: Vec<String> =
            rule.conditions.iter().map(|condition| self.paths[condition.path].to_string()).collect();
        fields.sort();
        fields.dedup();
        let is_trivial = |condition: &Condition| !condition.negated && condition.test.passes_every_text();
        let is_universal =
            rule.conditions.iter().all(is_trivial) && fields.iter().all(|field| USUAL_FIELDS.contains(&field.as_str()));
        let what = format!("drops every event that has {}, which nearly all events have", fields.join(" and "));
        is_universal.then(|| finding(rule, &what))
    }

    /// Returns a finding if two exclude rules with one condition each match all events together.
    fn complement(&self) -> Option<FilterFinding> {
        let single = |rule: &'_ Rule| rule.conditions.len() == 1;
        let mut by_path = HashMap::<usize, Vec<&Rule>>::new();
        for rule in self.exclude.iter().filter(|rule| single(rule)) {
            by_path.entry(rule.conditions[0].path).or_default().push(rule);
        }
        // Only a negated condition is fulfilled by events without the field, so one of the two is negated.
        by_path.values().find_map(|rules| {
            let (negated, positive): (Vec<&&Rule>, Vec<&&Rule>) =
                rules.iter().partition(|rule| rule.conditions[0].negated);
            negated.iter().find_map(|first| {
                let opposite = first.conditions[0].opposite();
                let is_single = self.paths[opposite.path].kind.is_single;
                let second = positive.iter().find(|second| implies(&opposite, &second.conditions[0], is_single))?;
                let line = first.line.max(second.line);
                let text = format!(
                    "the filter drops every event: exclude rules {:?} and {:?} together match all events",
                    first.name, second.name
                );
                Some(FilterFinding { line, text })
            })
        })
    }
}

/// Rules by the texts that they require, to find the rules that can cover another one.
#[derive(Debug, Default)]
struct CoverIndex {
    /// Numbers of rules by a path and one of the texts that the rule accepts there.
    by_text: HashMap<(usize, String), Vec<usize>>,
    /// Numbers of rules that require no texts.
    others: Vec<usize>,
}

impl CoverIndex {
    fn new(rules: &[Rule]) -> Self {
        let mut index = Self::default();
        (0..rules.len()).for_each(|number| index.add(rules, number));
        index
    }

    fn add(&mut self, rules: &[Rule], number: usize) {
        let conditions = &rules[number].conditions;
        let required = conditions.iter().filter_map(|condition| Some((condition.path, condition.required_texts()?)));
        // The condition whose texts select the fewest rules so far.
        let size = |path: usize, texts: &[String]| {
            let sizes = texts.iter().map(|text| self.by_text.get(&(path, text.clone())).map_or(0, Vec::len));
            sizes.max().unwrap_or_default()
        };
        match required.min_by_key(|(path, texts)| size(*path, texts)) {
            Some((path, texts)) => {
                for text in texts {
                    self.by_text.entry((path, text.clone())).or_default().push(number);
                }
            }
            None => self.others.push(number),
        }
    }

    /// Returns a rule of the index that matches every event that `narrow` matches.
    fn covering<'r>(&self, rules: &'r [Rule], narrow: &Rule, context: &Rules) -> Option<&'r Rule> {
        // A covering rule accepts all texts that the rule accepts, so it is listed under the first of them.
        let first_texts = narrow
            .conditions
            .iter()
            .filter_map(|condition| Some((condition.path, condition.required_texts()?.first()?)));
        let listed = first_texts.filter_map(|(path, text)| self.by_text.get(&(path, text.clone()))).flatten();
        let candidates = listed.chain(&self.others).map(|&number| &rules[number]);
        candidates.into_iter().find(|wide| context.covers(wide, narrow))
    }
}

impl Condition {
    fn opposite(&self) -> Self {
        Self { negated: !self.negated, ..self.clone() }
    }
}

/// Returns whether each event that fulfills `known` also fulfills `required`. Both have the same path. False if this is
/// not known. `is_single`: the field has at most one value.
fn implies(known: &Condition, required: &Condition, is_single: bool) -> bool {
    match (known.negated, required.negated) {
        (false, false) => known.test.is_within(&required.test),
        (true, true) => required.test.is_within(&known.test),
        (false, true) => is_single && known.test.is_disjoint(&required.test),
        // An event without the field fulfills `known` and not `required`.
        (true, false) => false,
    }
}

impl Test {
    /// Returns whether every value that passes this test also passes `other`. False if this is not known.
    fn is_within(&self, other: &Self) -> bool {
        match (self, other) {
            (same, other) if same == other => true,
            (_, Self::Exists) => true,
            (Self::AnyOf { texts, or_null }, other) => {
                texts.iter().all(|text| other.passes_text(text.as_bytes())) && (!or_null || other.passes_null())
            }
            (Self::Null, other) => other.passes_null(),
            (Self::Prefix(narrow), Self::Prefix(wide)) => {
                narrow.iter().all(|text| wide.iter().any(|prefix| text.starts_with(prefix)))
            }
            (Self::Suffix(narrow), Self::Suffix(wide)) => {
                narrow.iter().all(|text| wide.iter().any(|suffix| text.ends_with(suffix)))
            }
            (Self::Network(narrow), Self::Network(wide)) => {
                narrow.iter().all(|inner| wide.iter().any(|outer| outer.contains(inner)))
            }
            (Self::Regex(narrow), Self::Regex(wide)) => narrow.iter().all(|pattern| wide.contains(pattern)),
            _ => false,
        }
    }

    /// Returns whether no value passes both tests. False if this is not known.
    fn is_disjoint(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::AnyOf { texts, or_null }, other) | (other, Self::AnyOf { texts, or_null }) => {
                let passes = |text: &String| other.passes_text(text.as_bytes());
                !(texts.iter().any(passes) || *or_null && other.passes_null())
            }
            (Self::Null, other) | (other, Self::Null) => !other.passes_null(),
            (Self::Prefix(these), Self::Prefix(those)) => {
                these.iter().all(|a| those.iter().all(|b| !a.starts_with(b) && !b.starts_with(a)))
            }
            (Self::Suffix(these), Self::Suffix(those)) => {
                these.iter().all(|a| those.iter().all(|b| !a.ends_with(b) && !b.ends_with(a)))
            }
            (Self::Network(these), Self::Network(those)) => {
                these.iter().all(|a| those.iter().all(|b| !a.contains(b) && !b.contains(a)))
            }
            _ => false,
        }
    }

    fn passes_null(&self) -> bool {
        matches!(self, Self::Exists | Self::Null | Self::AnyOf { or_null: true, .. })
    }

    /// Returns whether every text passes. False if this is not known.
    fn passes_every_text(&self) -> bool {
        match self {
            Self::Exists => true,
            Self::Prefix(texts) | Self::Suffix(texts) => texts.iter().any(String::is_empty),
            // A pattern without anchors that matches the empty text matches at the start of every text.
            Self::Regex(patterns) => patterns.iter().any(|pattern| {
                let source = pattern.regex.as_str();
                matches!(source, "^" | "$" | ".*" | "^.*" | ".*$")
                    || (!source.contains(['^', '$', '\\']) && pattern.regex.is_match(b""))
            }),
            Self::AnyOf { .. } | Self::Network(_) | Self::Null => false,
        }
    }
}
