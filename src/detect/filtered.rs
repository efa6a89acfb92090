//! Rules that watch events that the event filter drops.

use crate::event::filter::Filter;
use trailhose_rules::{DetectionRule, RuleSet};

/// A rule, and the event names of the rule that a filter drops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilteredRule<'r> {
    /// The rule.
    pub rule: &'r DetectionRule,
    /// The dropped event names. The filter drops every event that has one of these names and an event source of the rule.
    pub event_names: Vec<String>,
}

/// Returns the rules that watch event names whose events a filter drops without exception. The filter can drop further events
/// that a rule watches, depending on their other fields. A name with a wildcard is not considered.
pub fn filtered_rules<'r>(rules: &'r RuleSet, filter: &Filter) -> Vec<FilteredRule<'r>> {
    let found = rules.rules().map(|rule| {
        let names = rule.event_names.iter().filter(|name| !name.ends_with('*')).filter(|name| {
            let known = ("eventName", name.as_str());
            match &rule.event_sources[..] {
                [] => filter.drops_every(&[known]),
                sources => sources.iter().all(|source| filter.drops_every(&[known, ("eventSource", source)])),
            }
        });
        FilteredRule { rule, event_names: names.cloned().collect() }
    });
    found.filter(|found| !found.event_names.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_filter_drops_are_found() {
        let rule = "title: T\nid: a\nlogsource:\n    product: aws\n    service: cloudtrail\ndetection:\n    selection:\n        \
                    eventSource: kms.amazonaws.com\n        eventName: [Decrypt, DisableKey]\n    condition: selection\n";
        let loaded = RuleSet::load([("a.yml".to_owned(), rule.as_bytes().to_vec())]);
        for (filter, expected) in [
            ("eventName=Decrypt", &["Decrypt"][..]),
            ("eventSource=kms.amazonaws.com", &["Decrypt", "DisableKey"]),
            ("eventSource=s3.amazonaws.com", &[]),
            ("eventName=Decrypt,readOnly=true", &[]),
            ("", &[]),
        ] {
            let found = filtered_rules(&loaded.rules, &Filter::parse(filter).unwrap());
            let names: Vec<_> = found.iter().flat_map(|found| &found.event_names).collect();
            assert_eq!(names, expected, "{filter}");
        }
        // An include rule on another field keeps some events of each name.
        let include = "[[include]]\nwhen = [{ field = \"readOnly\", equals = \"false\" }]\n";
        assert_eq!(filtered_rules(&loaded.rules, &Filter::from_toml("filter.toml", include).unwrap()), []);
    }
}
