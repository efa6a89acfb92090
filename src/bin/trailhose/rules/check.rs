//! `trailhose rules check`: reports invalid rules, ended suppressions, unknown fields, and rules whose events are filtered.

use crate::NOTHING_STARTED;
use crate::args::RuleFolderArgs;
use crate::print::{print, print_json};
use crate::summary::error_word;
use crate::text::{counted, one_line};
use jiff::Timestamp;
use serde::Serialize;
use trailhose::detect::{InvalidRule, RuleSet};

/// Exit code: all rules are valid, but a rule names an unknown field or watches filtered events, or a suppression has ended.
const WARNINGS: u8 = 1;

/// The result of a check.
#[derive(Debug, Serialize)]
struct RuleCheckResult {
    result: &'static str,
    rules: usize,
    filters: usize,
    suppressions: usize,
    invalid: Vec<InvalidDocument>,
    warnings: Vec<String>,
    exit_code: u8,
}

/// An invalid document, as JSON.
#[derive(Debug, Serialize)]
struct InvalidDocument {
    file: String,
    line: usize,
    reason: String,
}

impl From<InvalidRule> for InvalidDocument {
    fn from(InvalidRule { file, line, reason }: InvalidRule) -> Self {
        Self { file, line, reason: one_line(&reason) }
    }
}

pub(super) fn run(args: &RuleFolderArgs) -> Result<u8, String> {
    let loaded = super::read(&args.rules)?;
    let mut warnings = ended(&loaded.rules, Timestamp::now());
    warnings.extend(super::unknown_fields(&loaded.rules));
    warnings.extend(super::filter_warnings(&loaded.rules)?);
    if !args.json {
        super::print_invalid(&error_word(), &loaded);
        warnings.iter().for_each(|warning| print(&format!("{warning}\n")));
    }
    let (result, exit_code) = match (loaded.invalid.is_empty(), warnings.is_empty()) {
        (false, _) => ("invalid", NOTHING_STARTED),
        (true, false) => ("warnings", WARNINGS),
        (true, true) => ("valid", 0),
    };
    let (filters, suppressions) = loaded.rules.filter_counts();
    let rules = loaded.rules.rules().len();
    let invalid = loaded.invalid.into_iter().map(InvalidDocument::from).collect();
    let result = RuleCheckResult { result, rules, filters, suppressions, invalid, warnings, exit_code };
    match args.json {
        true => print_json(&result),
        false => print(&text(args, &result)),
    }
    Ok(exit_code)
}

fn text(args: &RuleFolderArgs, result: &RuleCheckResult) -> String {
    let counts = format!(
        "{}, {} and {}",
        counted(result.rules as u64, "rule"),
        counted(result.filters as u64, "filter"),
        counted(result.suppressions as u64, "suppression")
    );
    let path = args.rules.display();
    match result.invalid.len() {
        0 => format!("{path}: valid, {counts}\n"),
        invalid => format!("{path}: {} invalid; {counts} valid\n", documents_are(invalid)),
    }
}

fn documents_are(count: usize) -> String {
    format!("{} {}", counted(count as u64, "document"), if count == 1 { "is" } else { "are" })
}

/// Returns one warning for each suppression that has ended.
fn ended(rules: &RuleSet, now: Timestamp) -> Vec<String> {
    let ended = rules.suppressions().filter(|suppression| suppression.until <= now);
    let warning = |suppression: &trailhose::detect::Suppression| {
        let (file, line, title) = (&suppression.file, suppression.line, &suppression.title);
        one_line(&format!(
            "{file}:{line}: the suppression {title:?} ended at {}: remove or extend it",
            suppression.until
        ))
    };
    ended.map(warning).collect()
}
