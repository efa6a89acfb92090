//! The findings of an event: its matches, and where the event is stored.

use crate::finding::{DetectionFinding, EventPointer, RuleSummary};
use crate::indexed_fields::IndexedFields;
use std::borrow::Cow;
use trailhose_rules::{DetectionRule, RuleMatch, RuleSet};

/// Where an event is stored. The event's own bytes give its length.
pub(crate) struct EventLocation<'a> {
    /// The file or object.
    pub(crate) file: &'a str,
    /// The offset of the compressed member, or of the event itself.
    pub(crate) member: u64,
    /// The offset in the decompressed member.
    pub(crate) offset: u64,
}

/// Returns the findings of an event, or `None` if the bytes are not a JSON object.
pub(crate) fn findings_in(
    rules: &RuleSet,
    event: &[u8],
    location: &EventLocation<'_>,
) -> Option<Vec<DetectionFinding>> {
    let matches = rules.try_evaluate(event)?;
    if matches.is_empty() {
        return Some(Vec::new());
    }
    let fields = IndexedFields::read(event);
    let text = |text: &Option<Cow<'_, str>>| text.as_deref().unwrap_or_default().to_owned();
    let pointer = EventPointer {
        id: fields.id(event).to_string(),
        time: fields.seconds(),
        account: text(&fields.account),
        region: text(&fields.region),
        name: text(&fields.name),
        source: text(&fields.source),
        principal: text(&fields.principal),
        address: text(&fields.address),
        error: text(&fields.error),
        file: location.file.to_owned(),
        member: location.member,
        offset: location.offset,
        length: event.len() as u64,
    };
    Some(matches.iter().map(|found| finding(found, pointer.clone())).collect())
}

fn finding(found: &RuleMatch<'_>, event: EventPointer) -> DetectionFinding {
    let fields = found.matched_fields.iter().map(|field| (field.path.as_str(), field.value.as_str()));
    let mut finding = DetectionFinding::new(summary(found.rule), event, fields);
    finding.suppression = found.suppression.map(|suppression| suppression.title.clone());
    finding
}

fn summary(rule: &DetectionRule) -> RuleSummary {
    RuleSummary {
        id: rule.id.clone(),
        version: rule.version.clone(),
        title: rule.title.clone(),
        level: rule.level.as_str().to_owned(),
        author: rule.author.clone(),
        license: rule.license.clone(),
        tags: rule.tags.clone(),
    }
}
