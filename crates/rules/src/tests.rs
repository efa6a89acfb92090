//! Tests of rule files and of their evaluation.

mod invalid;
mod semantics;

use crate::{LoadedRules, RuleMatch, RuleSet};

/// Returns a rule with this `detection` section.
fn rule(id: &str, detection: &str) -> String {
    format!(
        "title: Rule {id}\nid: '{id}'\nlogsource:\n    product: aws\n    service: cloudtrail\ndetection:\n{detection}\nlevel: \
         high\n"
    )
}

/// Returns a rule with one selection of these lines.
fn selection(id: &str, lines: &str) -> String {
    let lines = lines.lines().map(|line| format!("        {line}\n")).collect::<String>();
    rule(id, &format!("    selection:\n{lines}    condition: selection"))
}

fn load<const N: usize>(files: [(&str, &str); N]) -> LoadedRules {
    RuleSet::load(files.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())))
}

/// Loads one valid file.
fn valid(text: &str) -> RuleSet {
    let loaded = load([("a.yml", text)]);
    assert_eq!(loaded.invalid, [], "{text}");
    loaded.rules
}

fn ids<'r>(matches: &[RuleMatch<'r>]) -> Vec<&'r str> {
    matches.iter().map(|found| &*found.rule.id).collect()
}

/// Returns whether a rule with this selection matches the event. Checks that the offsets of the decoder make no difference.
fn matches(lines: &str, event: &str) -> bool {
    let rules = valid(&selection("x", lines));
    let is_match = !rules.evaluate(event.as_bytes()).is_empty();
    let object = format!("{{\"Records\":[{event}]}}");
    let mut reader = trailhose_core::decode::EventReader::new(object.as_bytes(), Default::default())
        .noting(Some(rules.selected_fields()));
    let decoded = reader.next().unwrap().unwrap();
    assert_eq!(
        !rules.evaluate_decoded(decoded.line, decoded.offsets.unwrap()).is_empty(),
        is_match,
        "{lines}: the offsets of the decoder make a difference for {event}"
    );
    is_match
}
