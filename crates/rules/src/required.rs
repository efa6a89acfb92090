//! The values of a field that an event must have to match a rule.

use rsigma_parser::value::{SpecialChar, StringPart};
use rsigma_parser::{
    ConditionExpr, Detection, DetectionItem, Detections, Modifier, Quantifier, SigmaString, SigmaValue,
};

/// A value, or the prefix of a value, as it is in the rule. The comparison ignores case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RequiredText {
    pub(crate) text: String,
    pub(crate) is_prefix: bool,
}

impl RequiredText {
    /// Returns the text as it is shown: a prefix ends with `*`.
    pub(crate) fn shown(&self) -> String {
        format!("{}{}", self.text, if self.is_prefix { "*" } else { "" })
    }
}

/// Returns the texts that `field` can have in an event that fulfills a condition of a rule, or `None` if events with
/// other texts can fulfill it too.
pub(crate) fn required(detections: &Detections, field: &str) -> Option<Vec<RequiredText>> {
    let all = detections.conditions.iter().map(|condition| of_condition(condition, detections, field));
    let mut texts = any(all)?;
    texts.sort();
    texts.dedup();
    Some(texts)
}

/// Returns the names of the fields that the detections compare.
pub(crate) fn fields(detections: &Detections) -> Vec<String> {
    let mut found = Vec::new();
    detections.named.values().for_each(|detection| add_fields(detection, &mut found));
    found
}

fn add_fields(detection: &Detection, found: &mut Vec<String>) {
    match detection {
        Detection::AllOf(items) => {
            for item in items {
                found.extend(item.field.name.clone());
                if item.field.has_modifier(Modifier::FieldRef) {
                    let names = item.values.iter().filter_map(|value| match value {
                        SigmaValue::String(text) => Some(text.original.clone()),
                        _ => None,
                    });
                    found.extend(names);
                }
            }
        }
        Detection::AnyOf(parts) | Detection::And(parts) => parts.iter().for_each(|part| add_fields(part, found)),
        Detection::Keywords(_) | Detection::ArrayMatch { .. } | Detection::Conditional { .. } => {}
    }
}

fn of_condition(condition: &ConditionExpr, detections: &Detections, field: &str) -> Option<Vec<RequiredText>> {
    match condition {
        ConditionExpr::Identifier(name) => of_detection(detections.named.get(name)?, field),
        ConditionExpr::And(parts) => fewest(parts.iter().map(|part| of_condition(part, detections, field))),
        ConditionExpr::Or(parts) => any(parts.iter().map(|part| of_condition(part, detections, field))),
        ConditionExpr::Not(_) => None,
        ConditionExpr::Selector { quantifier, pattern } => {
            let selected = detections.named.iter().filter(|(name, _)| pattern.matches_detection_name(name));
            let parts = selected.map(|(_, detection)| of_detection(detection, field));
            match quantifier {
                Quantifier::All => fewest(parts),
                Quantifier::Any => any(parts),
                // With a count of 0, every event fulfills the condition.
                Quantifier::Count(0) => None,
                Quantifier::Count(_) => any(parts),
            }
        }
    }
}

fn of_detection(detection: &Detection, field: &str) -> Option<Vec<RequiredText>> {
    match detection {
        Detection::AllOf(items) => fewest(items.iter().map(|item| of_item(item, field))),
        Detection::And(parts) => fewest(parts.iter().map(|part| of_detection(part, field))),
        Detection::AnyOf(parts) => any(parts.iter().map(|part| of_detection(part, field))),
        Detection::Keywords(_) | Detection::ArrayMatch { .. } | Detection::Conditional { .. } => None,
    }
}

fn of_item(item: &DetectionItem, field: &str) -> Option<Vec<RequiredText>> {
    if item.field.name.as_deref() != Some(field) {
        return None;
    }
    let of_value = |value: &SigmaValue| match (value, &item.field.modifiers[..]) {
        (SigmaValue::String(text), [] | [Modifier::Cased]) => exact_or_prefix(text),
        (SigmaValue::String(text), [Modifier::StartsWith]) => prefix(text),
        _ => None,
    };
    item.values.iter().map(of_value).collect()
}

/// Returns the text of a value without wildcards, or the text before its first wildcard.
fn exact_or_prefix(value: &SigmaString) -> Option<RequiredText> {
    match &value.parts[..] {
        [StringPart::Plain(text)] => Some(RequiredText { text: text.clone(), is_prefix: false }),
        _ => prefix(value),
    }
}

fn prefix(value: &SigmaString) -> Option<RequiredText> {
    match &value.parts[..] {
        [StringPart::Plain(text)] | [StringPart::Plain(text), StringPart::Special(SpecialChar::WildcardMulti), ..] => {
            Some(RequiredText { text: text.clone(), is_prefix: true })
        }
        _ => None,
    }
}

/// Returns the texts of all parts if every part requires texts.
fn any(parts: impl Iterator<Item = Option<Vec<RequiredText>>>) -> Option<Vec<RequiredText>> {
    let parts: Vec<_> = parts.collect::<Option<_>>()?;
    (!parts.is_empty()).then(|| parts.concat())
}

/// Returns the shortest list of texts that a part requires.
fn fewest(parts: impl Iterator<Item = Option<Vec<RequiredText>>>) -> Option<Vec<RequiredText>> {
    parts.flatten().min_by_key(Vec::len)
}
