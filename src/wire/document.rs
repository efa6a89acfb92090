//! The notification configuration of a bucket as the XML document that S3 returns.
//!
//! `PutBucketNotificationConfiguration` replaces the whole configuration. So the rules of others are sent back with the
//! bytes that S3 returned for them. The types of the SDK would lose elements that its version does not know.

use super::overlap::{KeyFilter, event_types_overlap};
use super::xml::{self, XmlElement};
use super::{CREATED, QueueRule};
use std::collections::BTreeMap;
use std::ops::Range;

const ROOT: &str = "NotificationConfiguration";
const START: &str = "<NotificationConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">";
const QUEUE: &str = "QueueConfiguration";
const EVENT_BRIDGE: &str = "EventBridgeConfiguration";

/// The notification configuration of a bucket.
#[derive(Debug, Clone)]
pub struct NotificationDocument {
    xml: String,
    /// Position of the start tag of the root element. `None` if the configuration is empty.
    root: Option<Range<usize>>,
    elements: Vec<Element>,
}

/// A child of the root element.
#[derive(Debug, Clone)]
struct Element {
    span: Range<usize>,
    name: String,
    rule: Option<NotificationRule>,
    canonical: String,
}

/// A rule of the configuration: which events of which keys S3 sends where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotificationRule {
    /// ID, which is unique in the bucket.
    pub id: String,
    /// ARN of the queue, topic or function.
    pub target: String,
    /// Event types, such as `s3:ObjectCreated:*`.
    pub events: Vec<String>,
    /// The keys that the rule applies to.
    pub filter: KeyFilter,
    /// Whether the target is a queue.
    pub is_queue: bool,
}

impl NotificationRule {
    /// Returns whether S3 refuses this rule together with a rule for created objects with `filter`.
    pub fn conflicts(&self, filter: &KeyFilter) -> bool {
        self.events.iter().any(|event| event_types_overlap(event, CREATED)) && self.filter.overlaps(filter)
    }
}

impl std::fmt::Display for NotificationRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "rule {} ({} of {}, target {})", self.id, self.events.join(", "), self.filter, self.target)
    }
}

impl NotificationDocument {
    /// Parses the response of `GetBucketNotificationConfiguration`.
    ///
    /// # Errors
    /// The text is not a notification configuration. The message names the reason.
    pub fn parse(xml: String) -> Result<Self, String> {
        if xml.trim().is_empty() {
            return Ok(Self { xml, root: None, elements: Vec::new() });
        }
        let root = xml::parse(&xml)?;
        if root.children.is_empty() {
            return Ok(Self { xml: String::new(), root: None, elements: Vec::new() });
        }
        if root.name != ROOT {
            return Err(format!("its root element is {}, not {ROOT}", root.name));
        }
        let elements = root.children.iter().map(element).collect();
        let start_tag = root.start_tag.clone();
        Ok(Self { root: Some(start_tag), elements, xml })
    }

    /// Returns the document.
    pub fn xml(&self) -> &str {
        &self.xml
    }

    /// Returns all rules.
    pub fn rules(&self) -> impl Iterator<Item = &NotificationRule> {
        self.elements.iter().filter_map(|element| element.rule.as_ref())
    }

    /// Returns whether the bucket sends its events to EventBridge.
    pub fn sends_to_event_bridge(&self) -> bool {
        self.elements.iter().any(|element| element.name == EVENT_BRIDGE)
    }

    /// Returns the document with a rule added in place of the rules with the IDs `replaced`.
    pub(super) fn with_queue_rule(&self, rule: &QueueRule, replaced: &[&str]) -> Self {
        let mut parts = self.parts_without(replaced);
        // S3's schema requires topics, then queues, then functions. All other elements keep their order.
        let at = parts.iter().rposition(|(name, _)| matches!(*name, QUEUE | "TopicConfiguration"));
        parts.insert(at.map_or(0, |at| at + 1), (QUEUE, render(rule)));
        self.rebuilt(&parts)
    }

    /// Returns the document without the rules with these IDs.
    pub(super) fn without_rules(&self, ids: &[&str]) -> Self {
        self.rebuilt(&self.parts_without(ids))
    }

    /// Returns the document with the delivery to EventBridge switched on.
    pub(super) fn with_event_bridge(&self) -> Self {
        let mut parts = self.parts_without(&[]);
        parts.push((EVENT_BRIDGE, format!("<{EVENT_BRIDGE}/>")));
        self.rebuilt(&parts)
    }

    fn parts_without(&self, ids: &[&str]) -> Vec<(&str, String)> {
        let is_kept = |element: &&Element| element.rule.as_ref().is_none_or(|rule| !ids.contains(&rule.id.as_str()));
        let part = |element: &'_ Element| self.xml[element.span.clone()].to_owned();
        self.elements.iter().filter(is_kept).map(|element| (element.name.as_str(), part(element))).collect()
    }

    fn rebuilt(&self, parts: &[(&str, String)]) -> Self {
        let start = self.root.clone().map_or(START, |root| &self.xml[root]);
        let body: String = parts.iter().map(|(_, text)| text.as_str()).collect();
        // The end tag repeats the namespace prefix of the start tag.
        let name = start.trim_start_matches('<').split([' ', '>', '\n', '\t', '\r']).next().unwrap_or(ROOT);
        let xml = format!("{start}{body}</{name}>");
        Self::parse(xml).expect("a document that was parsed, with elements added or removed, is well-formed")
    }

    /// Returns which elements of `expected` are missing in this document, and which elements it has in addition. The order
    /// of rules and the notation of XML do not count.
    pub(super) fn differences(&self, expected: &Self) -> Differences {
        let mut counts: BTreeMap<&str, (isize, String)> = BTreeMap::new();
        for (document, step) in [(self, 1), (expected, -1)] {
            for element in &document.elements {
                let text = element.rule.as_ref().map_or_else(|| element.name.clone(), ToString::to_string);
                counts.entry(element.canonical.as_str()).or_insert((0, text)).0 += step;
            }
        }
        let of = |sign: isize| {
            counts.values().filter(|(count, _)| count.signum() == sign).map(|(_, text)| text.clone()).collect()
        };
        Differences { missing: of(-1), unexpected: of(1) }
    }
}

/// The differences between a read configuration and the written one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Differences {
    /// Elements that were written and not read back.
    pub missing: Vec<String>,
    /// Elements that were read back and not written.
    pub unexpected: Vec<String>,
}

impl Differences {
    pub(super) fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty()
    }
}

impl std::fmt::Display for Differences {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |list: &[String]| if list.is_empty() { "nothing".to_owned() } else { list.join("; ") };
        write!(f, "missing: {}; unexpected: {}", list(&self.missing), list(&self.unexpected))
    }
}

fn element(element: &XmlElement<'_>) -> Element {
    let has_events = element.children.iter().any(|child| child.name == "Event");
    // The element of the target has a name of its own for each type of target, and later types can have others.
    let target = element.children.iter().find(|child| !matches!(child.name, "Id" | "Event" | "Filter"));
    let rule = has_events.then(|| NotificationRule {
        id: element.child_text("Id").unwrap_or_default().to_owned(),
        target: target.map(|target| target.text.clone()).unwrap_or_default(),
        events: element.children.iter().filter(|child| child.name == "Event").map(|child| child.text.clone()).collect(),
        filter: key_filter(element),
        is_queue: element.name == QUEUE,
    });
    Element { span: element.span.clone(), name: element.name.to_owned(), rule, canonical: canonical(element) }
}

fn key_filter(element: &XmlElement<'_>) -> KeyFilter {
    let mut filter = KeyFilter::default();
    let keys = element.children.iter().filter(|child| child.name == "Filter").flat_map(|child| &child.children);
    // A condition that is not a prefix or a suffix is ignored, so the rule counts as wider than it is.
    for rule in keys.filter(|key| key.name == "S3Key").flat_map(|key| &key.children) {
        let value = rule.child_text("Value").unwrap_or_default().to_owned();
        match rule.child_text("Name").unwrap_or_default().to_ascii_lowercase().as_str() {
            "prefix" => filter.prefix = value,
            "suffix" => filter.suffix = value,
            _ => {}
        }
    }
    filter
}

/// Returns a text that is equal for elements of the same meaning. S3 can return the events in another order, capitalize
/// the names of filter rules, and add filters without a condition.
fn canonical(element: &XmlElement<'_>) -> String {
    let mut children: Vec<String> = element.children.iter().map(canonical).filter(|child| !child.is_empty()).collect();
    children.sort_unstable();
    let is_filter = matches!(element.name, "Filter" | "S3Key");
    let is_open_rule = element.name == "FilterRule" && element.child_text("Value").unwrap_or_default().is_empty();
    if is_open_rule || (is_filter && children.is_empty()) {
        return String::new();
    }
    let text = if element.name == "Name" { element.text.to_ascii_lowercase() } else { element.text.clone() };
    format!("{:?}", (element.name, &element.attributes, text, children))
}

fn render(rule: &QueueRule) -> String {
    let filter = match rule.prefix.as_str() {
        "" => String::new(),
        prefix => format!(
            "<Filter><S3Key><FilterRule><Name>prefix</Name><Value>{}</Value></FilterRule></S3Key></Filter>",
            xml::escaped(prefix)
        ),
    };
    let (id, queue) = (xml::escaped(&rule.id), xml::escaped(&rule.queue_arn));
    format!("<{QUEUE}><Id>{id}</Id><Queue>{queue}</Queue><Event>{CREATED}</Event>{filter}</{QUEUE}>")
}

#[cfg(test)]
mod tests;
