//! Questions in plain English, read with a fixed grammar: `who deleted the bucket reports-prod last week?`
//!
//! A question becomes a [`Plan`]. Each word contributes to the plan or is in a fixed list of words that contribute nothing.
//! A question with any other word is refused. The grammar has no state and needs no network.
//!
//! # Order
//! Access keys, accounts, addresses, regions and IDs are recognized by their form. Then come time expressions, numbers
//! (`top 10`, `more than 5 times`), sign-ins, states (`failed`, `denied`, `without MFA`), event names, principals, groups
//! (`by account`), verbs with their objects, what is asked for (`which users`), and services.

mod draft;
mod event;
mod join;
mod literal;
mod literal_conditions;
mod noun;
mod object;
mod operations;
mod output;
mod parameters;
mod principal;
mod reader;
mod receiver;
mod service;
mod state;
mod stop_words;
mod verb;
mod vocabulary;
mod words;

pub use vocabulary::{is_event_name, is_event_source};

use crate::plan::{Plan, TimeSpan};
use jiff::Timestamp;
use literal::Literal;
use reader::Reader;
use words::{Role, Words};

/// Longest question in bytes.
pub const MAX_LENGTH: usize = 1_000;

/// A question that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What is run.
    pub plan: Plan,
    /// Whether the question names no time, so that the plan has the default span of 24 hours.
    pub has_default_span: bool,
    /// What the answer does not show, in one sentence.
    pub note: Option<String>,
}

impl Question {
    /// Returns the plan and the note as English sentences.
    pub fn restate(&self) -> String {
        let note = self.note.as_deref().map(|note| format!(" {note}")).unwrap_or_default();
        format!("{}{note}", self.plan.restate())
    }
}

/// A question that is not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// Why, and what to write instead.
    pub reason: String,
    /// The words that were not understood, as written.
    pub unknown_words: Vec<String>,
    /// The plan without these words. It is shown and not run.
    pub closest: Option<Box<Plan>>,
}

/// Advice for a question with words that were not understood.
const HINT: &str = "write a name with its kind and in quotation marks, such as bucket \"reports\" or user \"alice\"";

/// What one query cannot express: phrases, and the reason.
const NOT_EXPRESSIBLE: &[(&[&str], &str)] = &[
    (
        &["for the first time", "never before", "not seen before", "newly seen", "first-time"],
        "\"for the first time\" compares two time spans, and a query has one; ask about each span and compare the answers",
    ),
    (
        &["country|countries|city|cities|continent|location|locations|geography|geolocation|abroad|geographic"],
        "events have no geographic location; ask for the source IP addresses and look them up elsewhere",
    ),
    (
        &[
            "unusual|suspicious|anomalous|abnormal|strange|malicious|weird|unexpected|unexpectedly|normal|normally|rare|rarely",
        ],
        "a query cannot decide what is unusual; name the events, errors, principals or addresses to look for",
    ),
    (&["impossible travel"], "a query cannot compare the locations of two events"),
    (
        &["least active|used|common|frequent"],
        "rows are ordered with the largest number first; ask for all rows, for example \"calls by user\"",
    ),
    (
        &["unused", "inactive", "not used", "never used", "dormant"],
        "CloudTrail records only what was used; ask for that and compare it with your inventory",
    ),
    (
        &["can|could|may not?", "is|are allowed|permitted|able to", "has|have access|permission|permissions to"],
        "CloudTrail records what was requested, not what is permitted; ask who did it, or who was denied",
    ),
    (&["cost|costs|price|spend"], "CloudTrail events contain no costs"),
];

/// Reads a question. Relative times refer to `now`.
///
/// # Errors
/// Words that are not understood, what a query cannot express, an invalid time, or more than 1,000 bytes.
pub fn interpret(text: &str, now: Timestamp) -> Result<Question, Refusal> {
    let refuse = |reason: String| Refusal { reason, unknown_words: Vec::new(), closest: None };
    if text.len() > MAX_LENGTH {
        return Err(refuse(format!("the question has {} bytes: expected at most {MAX_LENGTH}", text.len())));
    }
    let mut reader = Reader::new(text, now);
    if reader.words.len() == 0 {
        return Err(refuse(
            "the question is empty: expected for example \"who deleted the bucket reports last week?\"".into(),
        ));
    }
    reader.words.find(&["can|could|would you", "can|could i"], Role::Label);
    for (phrases, reason) in NOT_EXPRESSIBLE {
        if reader.words.find(phrases, Role::Label).is_some() {
            return Err(refuse((*reason).to_owned()));
        }
    }
    reader.read_literals();
    reader.read_time().map_err(refuse)?;
    reader.read_labels();
    reader.read_numbers();
    reader.read_logins();
    reader.read_states();
    reader.read_event_names();
    reader.read_principals();
    reader.read_groups();
    reader.read_objects();
    reader.read_named_resources();
    reader.read_dimensions();
    reader.read_services();
    reader.read_alternatives();
    reader.question()
}

/// Returns the texts in quotation marks and the words that name one thing by their form: access keys, accounts, addresses,
/// networks, regions, IDs and e-mail addresses, and of an ARN its last part. Accounts are returned without hyphens.
pub fn identifiers(question: &str) -> Vec<String> {
    let identifier = |word: words::Word| match Literal::parse(&word.text) {
        Some(Literal::Arn(arn)) => arn.rsplit([':', '/']).next().map(str::to_owned),
        Some(Literal::Account(text) | Literal::Region(text)) => Some(text),
        Some(_) => Some(word.text),
        None => Some(word.text).filter(|text| word.is_quoted && !text.is_empty()),
    };
    Words::split(question).all.into_iter().filter_map(identifier).collect()
}

impl Reader {
    /// Consumes the time expression.
    fn read_time(&mut self) -> Result<(), String> {
        for at in 0..self.words.len() {
            if !self.words.is_free(at) {
                continue;
            }
            // A quoted word and a consumed word are not part of a time.
            let rest: Vec<&str> = (at..self.words.len())
                .map_while(|at| Some(self.words.lower(at)).filter(|word| !word.is_empty() && self.words.is_free(at)))
                .collect();
            let found = TimeSpan::parse_prefix(&rest, self.now).map_err(|error| error.to_string())?;
            let Some((length, span)) = found else { continue };
            self.words.consume(at..at + length, Role::Time);
            if self.draft.span.is_some() {
                return Err("the question has more than one time: ask about each of them, or about one span".into());
            }
            if self.take_negation(at) {
                return Err("a query cannot exclude a time: ask about the span before or after it".into());
            }
            self.draft.span = Some(span);
        }
        Ok(())
    }

    /// Consumes phrases that do not restrict the events.
    fn read_labels(&mut self) {
        const LABELS: &[&str] = &[
            "cloudtrail activity|activities|events|event|records|record|logs|log|entries|data",
            "user|account activity",
            "instances where|when",
            "cloud trail activity|events|records|logs",
            "audit trail|trails",
            "in cloudtrail",
            "from cloudtrail",
            "or not",
            "in the? aws? organization|org",
            "across the? organization|org",
            "at all",
            "as well",
        ];
        while self.words.find(LABELS, Role::Label).is_some() {}
        self.draft.shows_principal = self.words.find(&["and? by whom|who"], Role::Output).is_some();
    }

    /// Consumes the names of services.
    fn read_services(&mut self) {
        for at in 0..self.words.len() {
            let Some((source, length)) = service::at(&self.words, at) else { continue };
            let length = length + self.words.phrase(at + length, "service|services").unwrap_or(0);
            self.words.consume(at..at + length, Role::Service);
            if self.take_negation(at) {
                let source = format!("{source}.amazonaws.com");
                self.draft
                    .conditions
                    .push(crate::plan::Predicate::equals(crate::plan::Column::EventSource, source).negated());
            } else if !self.draft.services.contains(&source) {
                self.draft.services.push(source);
            }
        }
    }

    /// Accepts `or` between alternatives of the same kind.
    fn read_alternatives(&mut self) {
        for at in 0..self.words.len() {
            if self.words.lower(at) != "or" || !self.words.is_free(at) {
                continue;
            }
            let left = (0..at).rev().find_map(|at| self.words.role(at).filter(|role| *role != Role::Label));
            let right = (at..self.words.len()).find_map(|at| self.words.role(at).filter(|role| *role != Role::Label));
            let is_event = |role| matches!(role, Some(Role::Event | Role::Object));
            let is_union = matches!(
                left,
                Some(Role::Principal | Role::Address | Role::AccessKey | Role::Account | Role::Region | Role::Service)
            );
            let is_errors = left == Some(Role::State) && self.draft.errors.len() > 1;
            if (left == right && (is_union || is_errors))
                || (is_event(left) && is_event(right) && self.draft.events.len() > 1)
            {
                self.words.consume(at..at + 1, Role::Label);
            }
        }
    }

    /// Returns the plan, or the words that were not understood.
    fn question(mut self) -> Result<Question, Refusal> {
        let unknown_words = self.words.unknown();
        if let Some(reason) = self.refusal {
            return Err(Refusal { reason, unknown_words, closest: None });
        }
        if unknown_words.is_empty() {
            self.draft.check_parameters().map_err(|reason| Refusal {
                reason,
                unknown_words: Vec::new(),
                closest: None,
            })?;
        }
        let plan = self.draft.plan(self.now);
        if unknown_words.is_empty() && !self.draft.is_empty() {
            return match plan {
                Ok(plan) => Ok(Question {
                    plan,
                    has_default_span: self.draft.span.is_none() && self.draft.event_id.is_none(),
                    note: self.draft.note,
                }),
                Err(error) => Err(Refusal { reason: error.to_string(), unknown_words, closest: None }),
            };
        }
        let closest = plan.ok().filter(|_| !self.draft.is_empty()).map(Box::new);
        let reason = match unknown_words.len() {
            0 => "nothing in the question restricts the events: name an event, a service, a user or a time".to_owned(),
            1 => format!("this word was not understood: {}; {HINT}", unknown_words.concat()),
            _ => format!("these words were not understood: {}; {HINT}", unknown_words.join(", ")),
        };
        Err(Refusal { reason, unknown_words, closest })
    }
}

#[cfg(test)]
mod resource_tests;
#[cfg(test)]
mod tests;
