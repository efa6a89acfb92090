//! Rejects documents that `rsigma` accepts, but that would never match or would match more than the author expects.

use crate::document::Document;
use crate::exclusion::Suppression;
use crate::rule::InvalidRule;
use jiff::civil::Date;
use jiff::{Timestamp, tz::TimeZone};
use regex::RegexBuilder;
use rsigma_parser::{
    ConditionExpr, Detection, DetectionItem, Detections, FilterRule, LogSource, Modifier, SigmaRule, SigmaValue,
};
use std::collections::HashMap;
use trailhose_core::event::field;
use yaml_serde::Value;

/// Maximum size of a compiled regular expression in bytes. `(a{1000}){1000}` exceeds it.
const MAX_REGEX_BYTES: usize = 1 << 20;

/// The member of a filter document that makes it a suppression.
const SUPPRESS_UNTIL: &str = "suppress_until";

/// Checks a rule. Returns the fields that no event of CloudTrail has, with a message for each.
pub(crate) fn rule(document: &Document<'_>, rule: &SigmaRule) -> Result<Vec<String>, InvalidRule> {
    unknown_members(document, &rule.custom_attributes, &[])?;
    match rule.id.as_deref().map(str::trim) {
        None | Some("") => return Err(document.invalid("", "the rule has no id: add a UUID")),
        Some(id) if id.len() > 100 => return Err(document.invalid("id:", "the id has more than 100 bytes")),
        Some(_) => {}
    }
    sigma_version(document, rule.sigma_version)?;
    log_source(document, Some(&rule.logsource))?;
    detections(document, &rule.detection)
}

/// Checks a filter document. Returns the suppression that it describes, if it has an expiry date.
pub(crate) fn filter(
    document: &Document<'_>,
    filter: &FilterRule,
    members: &Value,
) -> Result<Option<Suppression>, InvalidRule> {
    unknown_members(document, &filter.custom_attributes, &[SUPPRESS_UNTIL])?;
    sigma_version(document, filter.sigma_version)?;
    log_source(document, filter.logsource.as_ref())?;
    let targets = members.get("filter").and_then(|filter| filter.get("rules"));
    let is_valid = match targets {
        Some(Value::String(_)) => true,
        Some(Value::Sequence(targets)) => !targets.is_empty() && targets.iter().all(Value::is_string),
        _ => false,
    };
    if !is_valid {
        let reason = "filter.rules must be a list of rule IDs, or `any` for all rules";
        return Err(document.invalid("rules:", reason));
    }
    // A filter document that compares an unknown field would exclude everything or nothing.
    if let Some(unknown) = detections(document, &filter.detection)?.into_iter().next() {
        return Err(document.invalid("filter", unknown));
    }
    let Some(until) = filter.custom_attributes.get(SUPPRESS_UNTIL) else { return Ok(None) };
    let until = until.as_str().and_then(time).ok_or_else(|| {
        let reason = format!("{SUPPRESS_UNTIL} must be a date (2027-01-31) or a time (2027-01-31T12:00:00Z)");
        document.invalid(SUPPRESS_UNTIL, reason)
    })?;
    let (file, line) = (document.file.to_owned(), document.line());
    Ok(Some(Suppression { title: filter.title.clone(), until, file, line }))
}

/// Parses a time, or a date. A date is its first moment in UTC.
fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok().or_else(|| {
        let date: Date = text.parse().ok()?;
        date.to_zoned(TimeZone::UTC).ok().map(|start| start.timestamp())
    })
}

fn unknown_members(document: &Document<'_>, found: &HashMap<String, Value>, known: &[&str]) -> Result<(), InvalidRule> {
    let mut unknown: Vec<_> = found.keys().filter(|name| !known.contains(&name.as_str())).collect();
    unknown.sort();
    match unknown.first() {
        Some(name) => {
            let hint = trailhose_core::suggest::did_you_mean(name, MEMBERS.iter().chain(known).copied());
            Err(document.invalid(&format!("{name}:"), format!("unknown member {name:?}{hint}")))
        }
        None => Ok(()),
    }
}

/// The members of a rule.
/// <https://github.com/SigmaHQ/sigma-specification/blob/main/specification/sigma-rules-specification.md>
const MEMBERS: &[&str] = &[
    "author",
    "date",
    "description",
    "detection",
    "falsepositives",
    "fields",
    "id",
    "level",
    "license",
    "logsource",
    "modified",
    "name",
    "references",
    "related",
    "scope",
    "status",
    "tags",
    "taxonomy",
    "title",
];

fn sigma_version(document: &Document<'_>, version: Option<u32>) -> Result<(), InvalidRule> {
    match version {
        Some(version) if version > 2 => {
            Err(document
                .invalid("sigma-version", format!("version {version} of Sigma is not supported: use version 2")))
        }
        _ => Ok(()),
    }
}

/// Checks that the log source is CloudTrail, or all logs of AWS.
fn log_source(document: &Document<'_>, source: Option<&LogSource>) -> Result<(), InvalidRule> {
    let Some(source) = source else { return Ok(()) };
    let is = |value: &Option<String>, expected: &str| value.as_deref().is_none_or(|value| value == expected);
    let is_cloudtrail = is(&source.product, "aws") && is(&source.service, "cloudtrail");
    if is_cloudtrail && source.product.is_some() && source.category.is_none() && source.custom.is_empty() {
        return Ok(());
    }
    let reason = "the rule is not for CloudTrail: logsource must be `product: aws` with `service: cloudtrail`";
    Err(document.invalid("logsource", reason))
}

/// Checks the detections of a document. Returns a message for each unknown field.
fn detections(document: &Document<'_>, detections: &Detections) -> Result<Vec<String>, InvalidRule> {
    if detections.timeframe.is_some() {
        let reason = "timeframe is not supported: trailhose counts findings in windows of its own";
        return Err(document.invalid("timeframe", reason));
    }
    if detections.conditions.is_empty() {
        return Err(document.invalid("condition", "condition is an empty list"));
    }
    for condition in &detections.conditions {
        references(document, condition, detections)?;
    }
    let mut named: Vec<_> = detections.named.iter().collect();
    named.sort_by_key(|(name, _)| *name);
    let mut unknown = Vec::new();
    for (_, part) in named {
        detection(document, part, &mut unknown)?;
    }
    unknown.dedup();
    Ok(unknown)
}

/// Checks that a condition refers only to selections that the document defines. Otherwise it would never match.
fn references(document: &Document<'_>, condition: &ConditionExpr, detections: &Detections) -> Result<(), InvalidRule> {
    match condition {
        ConditionExpr::And(parts) | ConditionExpr::Or(parts) => {
            parts.iter().try_for_each(|part| references(document, part, detections))
        }
        ConditionExpr::Not(part) => references(document, part, detections),
        ConditionExpr::Identifier(name) if detections.named.contains_key(name) => Ok(()),
        ConditionExpr::Identifier(name) => {
            let hint = trailhose_core::suggest::did_you_mean(name, detections.named.keys().map(String::as_str));
            Err(document.invalid("condition", format!("condition refers to {name:?}, which is not defined{hint}")))
        }
        ConditionExpr::Selector { pattern, .. } => {
            match detections.named.keys().any(|name| pattern.matches_detection_name(name)) {
                true => Ok(()),
                false => {
                    Err(document.invalid("condition", format!("no selection matches `{pattern}` of the condition")))
                }
            }
        }
    }
}

fn detection(document: &Document<'_>, part: &Detection, unknown: &mut Vec<String>) -> Result<(), InvalidRule> {
    match part {
        Detection::AllOf(items) => items.iter().try_for_each(|item| check_item(document, item, unknown)),
        Detection::AnyOf(parts) | Detection::And(parts) => {
            parts.iter().try_for_each(|part| detection(document, part, unknown))
        }
        Detection::Keywords(_) => Ok(()),
        Detection::ArrayMatch { .. } | Detection::Conditional { .. } => {
            Err(document.invalid("[", "array selectors are not supported: a field name matches in every element"))
        }
    }
}

fn check_item(document: &Document<'_>, item: &DetectionItem, unknown: &mut Vec<String>) -> Result<(), InvalidRule> {
    if let Some(name) = &item.field.name {
        if name.contains(['[', ']', '\\']) {
            // The parser adds a backslash before each bracket.
            let name = name.replace('\\', "");
            let reason = format!("field {name:?}: brackets are not supported; a field name matches in every element");
            return Err(document.invalid(&name, reason));
        }
        check_field(document, name, unknown)?;
    }
    let has = |modifier| item.field.has_modifier(modifier);
    if has(Modifier::Expand) {
        let reason = "the modifier `expand` is not supported: replace the placeholder by its values";
        return Err(document.invalid("expand", reason));
    }
    for value in &item.values {
        if has(Modifier::Re) {
            regular_expression(document, value)?;
        }
        if has(Modifier::FieldRef)
            && let SigmaValue::String(text) = value
        {
            check_field(document, &text.original, unknown)?;
        }
    }
    Ok(())
}

/// Rejects a misspelled field. A field that resembles no known one is not rejected, because published rules use fields of
/// other products, and because CloudTrail can get new ones.
fn check_field(document: &Document<'_>, name: &str, unknown: &mut Vec<String>) -> Result<(), InvalidRule> {
    let path: Vec<String> = name.split('.').map(str::to_owned).collect();
    match field::check_presence(&path) {
        Ok(_) => Ok(()),
        Err(reason) if reason.contains("; did you mean ") => Err(document.invalid(name, reason)),
        Err(reason) => {
            unknown.push(reason);
            Ok(())
        }
    }
}

/// Checks that a regular expression compiles within the limit. The engine is linear in the length of the text.
fn regular_expression(document: &Document<'_>, value: &SigmaValue) -> Result<(), InvalidRule> {
    let SigmaValue::String(pattern) = value else { return Ok(()) };
    let near = pattern.original.lines().next().unwrap_or("");
    RegexBuilder::new(&pattern.original).size_limit(MAX_REGEX_BYTES).build().map(drop).map_err(|error| {
        let error = error.to_string();
        // The message of the parser contains the pattern and a line of marks below it.
        let reason = error.lines().last().unwrap_or("").trim_start_matches("error: ");
        document.invalid(near, format!("invalid regular expression {:?}: {reason}", pattern.original))
    })
}
