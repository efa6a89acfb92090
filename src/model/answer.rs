//! The answer of a model: strict parsing. Everything in it is untrusted input.

use super::{check, excerpt};
use crate::plan::{Plan, TimeSpan};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The span of a question without a time.
const DEFAULT_SPAN: SignedDuration = SignedDuration::from_hours(24);

/// The number of rows of a plan without a limit.
const DEFAULT_ROWS: u64 = 100;

/// The maximum number of rows.
const MAX_ROWS: u64 = 10_000;

/// What is wrong with an answer.
#[derive(Debug)]
pub(super) enum Problem {
    NotAPlan(String),
    Refused(String),
}

/// Returns the plan of an answer, and whether the question contains no time.
pub(super) fn read(answer: &str, question: &str, now: Timestamp) -> Result<(Plan, bool), Problem> {
    let answer = answer.trim();
    if answer.is_empty() {
        return Err(Problem::NotAPlan("it is empty".into()));
    }
    let not_json = |_| Problem::NotAPlan(format!("it is not a JSON object: {}", excerpt(answer)));
    let mut form: Map<String, Value> = serde_json::from_str(answer).map_err(not_json)?;
    // A schema of structured output requires every member, so a member without a value is `null`.
    form.retain(|_, value| !value.is_null());
    let has_default_span = read_time(&mut form, question, now)?;
    if let Some(clauses) = form.remove("where") {
        form.insert("where".into(), predicate(clauses)?);
    }
    match form.get("limit").map(|limit| limit.as_u64().filter(|limit| (1..=MAX_ROWS).contains(limit))) {
        None => {
            form.insert("limit".into(), DEFAULT_ROWS.into());
        }
        Some(Some(_)) => {}
        Some(None) => return Err(Problem::NotAPlan(format!("limit is not a number from 1 to {MAX_ROWS}"))),
    }
    if let Some(events) = form.get("events") {
        // The columns of an answer are fixed, and the order of the files is none.
        let is_valid = events.as_object().is_some_and(|events| {
            events.len() == 1 && events.get("order").is_some_and(|order| *order == "newest" || *order == "oldest")
        });
        if !is_valid {
            return Err(Problem::NotAPlan("events has other members than order: newest or oldest".into()));
        }
    }
    let plan: Plan =
        serde_json::from_value(Value::Object(form)).map_err(|error| Problem::NotAPlan(error.to_string()))?;
    check::check(&plan, question).map_err(Problem::Refused)?;
    Ok((plan, has_default_span))
}

/// Replaces the words of a time by its span, which our parser computes. Returns whether the question contains no time.
fn read_time(form: &mut Map<String, Value>, question: &str, now: Timestamp) -> Result<bool, Problem> {
    let refused = |error: &dyn std::fmt::Display| Problem::Refused(error.to_string());
    let (span, is_default) = match form.remove("time") {
        Some(Value::String(text)) => {
            let span = TimeSpan::parse(&text, now).map_err(|error| refused(&error))?;
            if !check::spans_in(question, now).iter().any(|(_, asked)| *asked == span) {
                return Err(Problem::Refused(format!("the plan has the time {text:?}, and the question does not")));
            }
            (span, false)
        }
        Some(other) => return Err(Problem::NotAPlan(format!("time is not a text: {}", excerpt(&other.to_string())))),
        None => {
            if let Some((words, _)) = check::spans_in(question, now).into_iter().next() {
                return Err(Problem::Refused(format!("the question has the time {words:?}, and the plan has none")));
            }
            if form.contains_key("event_id") {
                return Ok(false);
            }
            let since = now.checked_sub(DEFAULT_SPAN).map_err(|error| refused(&error))?;
            (TimeSpan::new(since, now).map_err(|error| refused(&error))?, true)
        }
    };
    let span = json!({"since": span.since().to_string(), "until": span.until().to_string()});
    form.insert("time".into(), span);
    Ok(is_default)
}

/// A condition: one of the tests holds, or none of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerClause {
    not: bool,
    any: Vec<Value>,
}

/// Returns the conditions of an answer in the form of a plan.
fn predicate(clauses: Value) -> Result<Value, Problem> {
    let clauses: Vec<AnswerClause> =
        serde_json::from_value(clauses).map_err(|error| Problem::NotAPlan(format!("where: {error}")))?;
    let mut all = Vec::new();
    for AnswerClause { not, mut any } in clauses {
        let predicate = match any.len() {
            0 => return Err(Problem::NotAPlan("where: a condition has no test".into())),
            1 => any.remove(0),
            _ => json!({"any": any}),
        };
        all.push(if not { json!({"not": predicate}) } else { predicate });
    }
    Ok(if all.len() == 1 { all.remove(0) } else { json!({"all": all}) })
}
