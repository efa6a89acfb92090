//! Whether a plan matches its question: each value that it searches for is in the question or in a fixed list, and each
//! identifier in the question is in the plan. Names of fields are checked by the plan itself.

use crate::plan::{Column, Plan, Predicate, QueryField, Scope, TimeSpan, ValueTest};
use crate::question;
use jiff::Timestamp;

/// Fields, and those of their values that questions express in other words, for example "denied" or "root". These values
/// need not be in the question.
const KNOWN_VALUES: [(Column, &[&str]); 10] = [
    (Column::ReadOnly, BOOLEAN),
    (Column::ManagementEvent, BOOLEAN),
    (Column::MfaAuthenticated, BOOLEAN),
    (Column::SessionCredentialFromConsole, BOOLEAN),
    (Column::EventCategory, &["Management", "Data", "Insight", "NetworkActivity"]),
    (
        Column::EventType,
        &[
            "AwsApiCall",
            "AwsServiceEvent",
            "AwsConsoleAction",
            "AwsConsoleSignIn",
            "AwsVpceEvent",
            "AwsCloudTrailInsight",
        ],
    ),
    (Column::UserIdentityType, IDENTITY_TYPES),
    (Column::Principal, IDENTITY_TYPES),
    (Column::SessionIssuerType, &["Role", "IAMUser", "Root"]),
    (
        Column::ErrorCode,
        &["AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "Client.UnauthorizedOperation"],
    ),
];

const BOOLEAN: &[&str] = &["true", "false"];

const IDENTITY_TYPES: &[&str] = &[
    "Root",
    "IAMUser",
    "AssumedRole",
    "Role",
    "FederatedUser",
    "Directory",
    "AWSAccount",
    "AWSService",
    "IdentityCenterUser",
    "SAMLUser",
    "WebIdentityUser",
    "Unknown",
];

/// The same for paths of the events of sign-ins.
const KNOWN_PATH_VALUES: [(&str, &[&str]); 2] =
    [("responseElements.ConsoleLogin", &["Success", "Failure"]), ("additionalEventData.MFAUsed", &["Yes", "No"])];

/// Checks a plan.
///
/// # Errors
/// The value that is neither in the question nor in a list, or the identifier that is not in the plan.
pub(super) fn check(plan: &Plan, question: &str) -> Result<(), String> {
    let identifiers = question::identifiers(question);
    // The searched text contains each identifier twice: as the user wrote it, and in its normalized form.
    let check = AnswerCheck { question: format!("{question} {}", identifiers.join(" ")).to_lowercase() };
    if let Scope::EventId(id) = plan.scope() {
        check.written(id, "event_id")?;
    }
    check.predicate(plan.predicate())?;
    let text = serde_json::to_string(plan).map_err(|error| error.to_string())?;
    let is_used = |identifier: &String| {
        // Without the quotation marks: the plan may contain it as a part of a value.
        let json = serde_json::Value::from(identifier.as_str()).to_string();
        text.contains(json.trim_matches('"'))
    };
    match identifiers.iter().find(|identifier| !is_used(identifier)) {
        Some(identifier) => Err(format!("the question names {identifier:?}, and the plan does not")),
        None => Ok(()),
    }
}

struct AnswerCheck {
    /// In lower case.
    question: String,
}

impl AnswerCheck {
    fn predicate(&self, predicate: &Predicate) -> Result<(), String> {
        match predicate {
            Predicate::All(inner) | Predicate::Any(inner) => inner.iter().try_for_each(|inner| self.predicate(inner)),
            Predicate::Not(inner) => self.predicate(inner),
            Predicate::Anywhere(text) => self.written(text, "anywhere"),
            Predicate::Field(field, test) => {
                match test {
                    ValueTest::Null | ValueTest::SameAs(_) => Ok(()),
                    ValueTest::Cidr(networks) => networks.iter().try_for_each(|network| {
                        // One address can be written without the length of its prefix.
                        let address = network.first().to_string();
                        let is_one = network.prefix_length() == if network.first().is_ipv4() { 32 } else { 128 };
                        let text = network.to_string();
                        if is_one && self.written(&address, field).is_ok() {
                            Ok(())
                        } else {
                            self.written(&text, field)
                        }
                    }),
                    ValueTest::Equals(values) => values.iter().try_for_each(|value| self.value(field, value)),
                    ValueTest::Prefix(values) | ValueTest::Suffix(values) | ValueTest::Contains(values) => {
                        values.iter().try_for_each(|value| self.part(field, value))
                    }
                }
            }
        }
    }

    fn value(&self, field: &QueryField, value: &str) -> Result<(), String> {
        match field {
            QueryField::Column(Column::EventName) => match question::is_event_name(value) {
                true => Ok(()),
                false => Err(format!("{value:?} is not the name of an event")),
            },
            QueryField::Column(Column::EventSource) => match question::is_event_source(value) {
                true => Ok(()),
                false => Err(format!("{value:?} is not the event source of a service")),
            },
            _ if known(field).contains(&value) => Ok(()),
            _ => self.written(value, field),
        }
    }

    /// Checks a part of a value. A separator at its ends, as in `/alice` of an ARN, need not be in the question.
    fn part(&self, field: &QueryField, value: &str) -> Result<(), String> {
        if known(field).iter().any(|known| known.contains(value) && value.len() >= 4) {
            return Ok(());
        }
        let inner = value.trim_matches(['/', ':', '.', '*']);
        // A question says "deleted" where names of events start with Delete.
        let is_verb = *field == QueryField::Column(Column::EventName) && inner.len() >= 3;
        if is_verb && self.question.contains(&inner.to_lowercase()) {
            return Ok(());
        }
        self.written(inner, field)
    }

    /// Checks that a value is in the question, and not only as a part of a longer word.
    fn written(&self, value: &str, field: impl std::fmt::Display) -> Result<(), String> {
        let value_lower = value.to_lowercase();
        let is_word = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
        let is_whole = |at: usize| {
            let before = self.question[..at].chars().next_back();
            let after = self.question[at + value_lower.len()..].chars().next();
            !before.is_some_and(is_word) && !after.is_some_and(is_word)
        };
        if !value_lower.is_empty() && self.question.match_indices(&value_lower).any(|(at, _)| is_whole(at)) {
            return Ok(());
        }
        Err(format!("the plan searches {field} for {value:?}, which is not in the question"))
    }
}

/// Returns the known values of a field.
fn known(field: &QueryField) -> &'static [&'static str] {
    match field {
        QueryField::Column(column) => {
            KNOWN_VALUES.iter().find(|(known, _)| known == column).map_or(&[], |(_, values)| values)
        }
        QueryField::Path(path) => {
            let path = path.to_string();
            KNOWN_PATH_VALUES.iter().find(|(known, _)| *known == path).map_or(&[], |(_, values)| values)
        }
    }
}

/// Returns the times in a question, with their words.
pub(super) fn spans_in(question: &str, now: Timestamp) -> Vec<(String, TimeSpan)> {
    let lower = question.to_lowercase();
    let is_outside = |c: char| !c.is_alphanumeric() && !matches!(c, '-' | ':' | '+');
    let words: Vec<&str> = lower.split_whitespace().map(|word| word.trim_matches(is_outside)).collect();
    let spans = (0..words.len()).filter_map(|start| {
        let (length, span) = TimeSpan::parse_prefix(&words[start..], now).ok()??;
        Some((words[start..start + length].join(" "), span))
    });
    spans.collect()
}
