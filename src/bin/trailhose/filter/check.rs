//! `trailhose filter check`: reports invalid rules, rules without effect, and a filter that drops every event.

use crate::args::FilterCheckArgs;
use crate::print::{print, print_json};
use crate::text::{counted, one_line};
use serde::Serialize;
use trailhose::event::filter::{Filter, RuleKind};

/// Exit code: the file is valid, but a rule has no effect.
const WARNINGS: u8 = 1;

/// The result of a check.
#[derive(Debug, Serialize)]
struct CheckResult {
    result: &'static str,
    include_rules: usize,
    exclude_rules: usize,
    /// Why the file is invalid. Each starts with file, line and rule.
    errors: Vec<String>,
    /// Rules without effect, and whether the filter drops every event. Each starts with file and line.
    warnings: Vec<String>,
    exit_code: u8,
}

pub(super) fn run(args: &FilterCheckArgs) -> Result<u8, String> {
    let text = super::read_text(&args.file)?;
    let (filter, errors) = match super::parse(&args.file, &text) {
        Ok(filter) => (filter, Vec::new()),
        Err(error) => (Filter::default(), error.all().iter().map(|error| one_line(error)).collect()),
    };
    let count = |kind| filter.rules().filter(|rule| rule.kind() == kind).count();
    let warnings: Vec<String> = super::warnings(&args.file, &filter).iter().map(|text| one_line(text)).collect();
    let (result, exit_code) = match (errors.is_empty(), warnings.is_empty()) {
        (false, _) => ("invalid", crate::NOTHING_STARTED),
        (true, false) => ("warnings", WARNINGS),
        (true, true) => ("valid", 0),
    };
    let (include_rules, exclude_rules) = (count(RuleKind::Include), count(RuleKind::Exclude));
    let result = CheckResult { result, include_rules, exclude_rules, errors, warnings, exit_code };
    if args.json {
        print_json(&result);
    } else {
        print_text(args, &result);
    }
    Ok(exit_code)
}

fn print_text(args: &FilterCheckArgs, result: &CheckResult) {
    result.errors.iter().for_each(|error| anstream::eprintln!("{}: {error}", crate::summary::error_word()));
    result.warnings.iter().for_each(|warning| print(&format!("{warning}\n")));
    if !result.errors.is_empty() {
        return;
    }
    let warnings = match result.warnings.len() {
        0 => String::new(),
        count => format!(", {}", counted(count as u64, "warning")),
    };
    print(&format!(
        "{}: valid, {} and {}{warnings}\n",
        args.file.display(),
        counted(result.include_rules as u64, "include rule"),
        counted(result.exclude_rules as u64, "exclude rule")
    ));
}
