//! Rules that watch events that the event filter drops.

use crate::event::filter::{Decision, Filter};
use trailhose_rules::{DetectionRule, RuleSet};

/// A rule, and the event names of the rule that a filter drops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilteredRule<'r> {
    /// The rule.
    pub rule: &'r DetectionRule,
    /// The dropped event names. The filter drops an event that has one of these names, an event source of the rule, and no
    /// other field.
    pub event_names: Vec<String>,
}

/// Returns the rules that watch event names that a filter drops. Considers only `eventName` and `eventSource`: all other
/// fields count as missing. So the filter can drop further events that a rule watches. If it has include rules or tests
/// for missing fields, it can also keep some events with a returned name.
pub fn filtered_rules<'r>(rules: &'r RuleSet, filter: &Filter) -> Vec<FilteredRule<'r>> {
    if filter.is_empty() {
        return Vec::new();
    }
    let is_dropped = |source: Option<&str>, name: &str| {
        let mut event = serde_json::json!({ "eventName": name });
        if let Some(source) = source {
            event["eventSource"] = source.into();
        }
        matches!(filter.decide(event.to_string().as_bytes()), Decision::Dropped(_))
    };
    let found = rules.rules().map(|rule| {
        let names = rule.event_names.iter().filter(|name| {
            let name = name.trim_end_matches('*');
            match &rule.event_sources[..] {
                [] => is_dropped(None, name),
                sources => sources.iter().all(|source| is_dropped(Some(source), name)),
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
    }
}
