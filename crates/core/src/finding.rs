//! Findings: what a detection rule found in one event, and the windows in which findings are grouped for alerts.
//!
//! Everything here is a function of the rule and the event, so the order in which events arrive and repeated deliveries
//! change nothing.

mod alert;
mod grouping;
mod ocsf;

pub use alert::{Alert, AlertKind, AlertWindow};
pub use grouping::{GroupField, Grouping, parse_span};
pub use ocsf::ocsf;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// The maximum size of the path and of the value of a matched field, each in bytes. The rest is cut off.
pub const MAX_VALUE_BYTES: usize = 512;

/// The maximum size of the paths and values of all matched fields of a finding, in bytes. A field that does not fit is
/// omitted and counted.
pub const MAX_FIELDS_BYTES: usize = 4_096;

/// The maximum size of each text that a finding copies from its event, in bytes, for example of the principal. The event ID
/// is not cut.
pub const MAX_COPIED_TEXT_BYTES: usize = 2_048;

/// The ID of a finding: 128 bits of a hash of the rule's ID, the rule's version and the event's ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FindingId(pub [u8; 16]);

impl FindingId {
    /// Returns the ID of the finding of a rule version in an event. `rule`, `version` and `event` are their IDs.
    pub fn new(rule: &str, version: &str, event: &str) -> Self {
        Self(hash("finding", &[rule, version, event]))
    }

    /// Parses 32 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 32 || !text.is_ascii() {
            return None;
        }
        let mut id = [0; 16];
        for (byte, at) in id.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
        }
        Some(Self(id))
    }
}

impl fmt::Display for FindingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// Returns 128 bits of a SHA-256 hash over the length and the bytes of each text, so that different lists of texts have
/// different hashes.
pub(crate) fn hash(domain: &str, texts: &[&str]) -> [u8; 16] {
    let mut sha = Sha256::new();
    for text in std::iter::once(&domain).chain(texts) {
        sha.update((text.len() as u64).to_be_bytes());
        sha.update(text.as_bytes());
    }
    let full: [u8; 32] = sha.finalize().into();
    let mut short = [0; 16];
    short.copy_from_slice(&full[..16]);
    short
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The description of a rule that a finding contains. The rule itself can change or be removed later.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleSummary {
    /// The rule's ID.
    pub id: String,
    /// The SHA-256 hash of the rule's text, in hexadecimal digits.
    pub version: String,
    /// The title.
    pub title: String,
    /// The level: informational, low, medium, high or critical.
    pub level: String,
    /// The author, if the rule names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The license of the rule, if the rule names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// The tags, for example `attack.t1078`.
    #[serde(default)]
    pub tags: Vec<String>,
}

/// Where an event is stored, and the fields that describe it to people. The event itself is not copied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventPointer {
    /// The event ID.
    pub id: String,
    /// The event time in seconds since 1970, if it is valid.
    pub time: Option<i64>,
    /// The account.
    pub account: String,
    /// The region.
    pub region: String,
    /// `eventName`.
    pub name: String,
    /// `eventSource`.
    pub source: String,
    /// `userIdentity.arn`, or the first of `invokedBy`, `principalId` and `type` of `userIdentity` that is present.
    pub principal: String,
    /// `sourceIPAddress`.
    pub address: String,
    /// `errorCode`, or an empty text.
    pub error: String,
    /// The file or object that contains the event.
    pub file: String,
    /// The offset in the file of the compressed member that contains the event, or of the event itself, in bytes.
    pub member: u64,
    /// The offset of the event in the decompressed member, in bytes.
    pub offset: u64,
    /// The length of the event in bytes.
    pub length: u64,
}

/// A field of an event that made a rule match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatchedField {
    /// The path, for example `requestParameters.bucketName`.
    pub path: String,
    /// The value as text, or the start of it.
    pub value: String,
}

/// What a rule found in an event. Its size is limited, regardless of the size of the event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetectionFinding {
    /// The rule.
    pub rule: RuleSummary,
    /// The event.
    pub event: EventPointer,
    /// The matched fields, at most [`MAX_FIELDS_BYTES`].
    pub fields: Vec<MatchedField>,
    /// The number of matched fields that are omitted because of the limit.
    pub omitted_fields: u64,
    /// The title of the suppression that applies to the event. A suppressed finding causes no alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suppression: Option<String>,
}

impl DetectionFinding {
    /// Returns the finding of a rule in an event, with its texts cut to their limits.
    pub fn new<'a>(
        rule: RuleSummary,
        event: EventPointer,
        fields: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let mut finding =
            Self { rule, event: shortened(event), fields: Vec::new(), omitted_fields: 0, suppression: None };
        let mut left = MAX_FIELDS_BYTES;
        for (path, value) in fields {
            let field = MatchedField {
                path: truncated(path, MAX_VALUE_BYTES).to_owned(),
                value: truncated(value, MAX_VALUE_BYTES).to_owned(),
            };
            match left.checked_sub(field.path.len() + field.value.len()) {
                Some(rest) => {
                    left = rest;
                    finding.fields.push(field);
                }
                None => finding.omitted_fields += 1,
            }
        }
        finding
    }

    /// Returns the ID of the finding.
    pub fn id(&self) -> FindingId {
        FindingId::new(&self.rule.id, &self.rule.version, &self.event.id)
    }
}

fn shortened(mut event: EventPointer) -> EventPointer {
    let texts = [
        &mut event.account,
        &mut event.region,
        &mut event.name,
        &mut event.source,
        &mut event.principal,
        &mut event.address,
        &mut event.error,
    ];
    for text in texts {
        let length = truncated(text, MAX_COPIED_TEXT_BYTES).len();
        text.truncate(length);
    }
    event
}

/// Returns the longest start of a text that has at most `limit` bytes.
pub fn truncated(text: &str, limit: usize) -> &str {
    match text.len() <= limit {
        true => text,
        false => &text[..(0..=limit).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)],
    }
}

/// Returns a principal without the name of the role session. Sessions of one role are one principal: a job that runs every
/// hour has a new session name each time.
pub fn without_session(principal: &str) -> &str {
    let Some((_, resource)) = principal.split_once(":assumed-role/") else { return principal };
    match resource.split_once('/') {
        Some((_, session)) => &principal[..principal.len() - session.len() - 1],
        None => principal,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn finding(rule: &str, event: &str, time: i64, principal: &str) -> DetectionFinding {
        let rule = RuleSummary {
            id: rule.into(),
            version: "ab".repeat(32),
            title: "CloudTrail stopped".into(),
            level: "high".into(),
            author: Some("an author".into()),
            license: Some("DRL-1.1".into()),
            tags: vec!["attack.defense-evasion".into(), "attack.t1562.008".into()],
        };
        let event = EventPointer {
            id: event.into(),
            time: Some(time),
            account: "111122223333".into(),
            region: "eu-west-1".into(),
            name: "StopLogging".into(),
            source: "cloudtrail.amazonaws.com".into(),
            principal: principal.into(),
            address: "192.0.2.1".into(),
            ..EventPointer::default()
        };
        DetectionFinding::new(rule, event, [("eventName", "StopLogging")])
    }

    #[test]
    fn id_depends_on_rule_version_and_event_only() {
        let id = |rule, version, event| FindingId::new(rule, version, event);
        assert_eq!(id("r", "1", "e"), id("r", "1", "e"));
        let others = [id("r", "1", "f"), id("r", "2", "e"), id("s", "1", "e"), id("r1", "", "e"), id("", "r1", "e")];
        assert!(others.iter().all(|other| *other != id("r", "1", "e")));
        assert_ne!(others[3], others[4], "the boundaries of the texts are part of the hash");
        let text = id("r", "1", "e").to_string();
        assert_eq!(FindingId::parse(&text), Some(id("r", "1", "e")));
        assert_eq!(["", "zz", "é".repeat(16).as_str()].map(FindingId::parse), [None; 3]);
    }

    #[test]
    fn finding_of_a_large_event_is_small() {
        let event = EventPointer { principal: "ü".repeat(100_000), ..EventPointer::default() };
        let value = "ä".repeat(400_000);
        let fields: Vec<(&str, &str)> = (0..1_000).map(|_| ("requestParameters.policy", value.as_str())).collect();
        let finding = DetectionFinding::new(RuleSummary::default(), event, fields);
        assert!(serde_json::to_vec(&finding).unwrap().len() < 8 << 10);
        assert_eq!(finding.fields.len() as u64 + finding.omitted_fields, 1_000);
        assert_eq!(finding.fields[0].value.len(), MAX_VALUE_BYTES);
        assert!(finding.fields.len() >= 5);
    }

    #[test]
    fn sessions_of_a_role_are_one_principal() {
        for (principal, expected) in [
            ("arn:aws:sts::111122223333:assumed-role/ci/run-17", "arn:aws:sts::111122223333:assumed-role/ci"),
            ("arn:aws:sts::111122223333:assumed-role/ci", "arn:aws:sts::111122223333:assumed-role/ci"),
            ("arn:aws:iam::111122223333:user/path/alice", "arn:aws:iam::111122223333:user/path/alice"),
            ("ec2.amazonaws.com", "ec2.amazonaws.com"),
        ] {
            assert_eq!(without_session(principal), expected);
        }
    }
}
