//! `trailhose rules`: checks, lists and publishes the rules of a folder.

mod check;
mod list;
#[cfg(feature = "dynamodb")]
mod publish;

use crate::args::{RulesArgs, RulesCommand};
use crate::settings::Settings;
use crate::summary::error_word;
use crate::text::one_line;
use std::path::Path;
use trailhose::detect::{LoadedRules, RuleSet, filtered_rules, read_rules};
use trailhose::event::filter::Filter;

/// Runs the command and returns the exit code.
pub(crate) async fn run(args: &RulesArgs) -> Result<u8, String> {
    match &args.command {
        RulesCommand::Check(args) => check::run(args),
        RulesCommand::List(args) => list::run(args),
        #[cfg(feature = "dynamodb")]
        RulesCommand::Publish(args) => publish::run(args).await,
        #[cfg(not(feature = "dynamodb"))]
        RulesCommand::Publish(_) => Err(crate::components::missing_feature("`trailhose rules publish`", "dynamodb")),
    }
}

/// Reads the rules of a folder.
///
/// # Errors
/// The folder cannot be read, or it contains no rule file.
pub(crate) fn read(path: &Path) -> Result<LoadedRules, String> {
    read_rules(path).map_err(|error| error.to_string())
}

/// Prints one line for each invalid rule to standard error.
pub(crate) fn print_invalid(word: &str, loaded: &LoadedRules) {
    for invalid in &loaded.invalid {
        anstream::eprintln!("{word}: {}", one_line(&invalid.to_string()));
    }
}

/// Reads the rules of a folder and prints each invalid one. Returns `None` if a rule is invalid and invalid rules are not
/// skipped.
///
/// # Errors
/// The folder cannot be read, or it contains no valid rule.
pub(crate) fn read_valid(path: &Path, skip_invalid: bool) -> Result<Option<RuleSet>, String> {
    valid(read(path)?, path, skip_invalid)
}

/// Does the same as [`read_valid`] for rules that were already read from `path`.
///
/// # Errors
/// There is no valid rule.
pub(crate) fn valid(loaded: LoadedRules, path: &Path, skip_invalid: bool) -> Result<Option<RuleSet>, String> {
    if !loaded.invalid.is_empty() && !skip_invalid {
        print_invalid(&error_word(), &loaded);
        return Ok(None);
    }
    print_invalid("warning", &loaded);
    let is_empty = loaded.rules.rules().len() == 0;
    if is_empty { Err(format!("{} contains no valid rule", path.display())) } else { Ok(Some(loaded.rules)) }
}

/// Returns one warning for each field of a rule that no event of CloudTrail has.
pub(crate) fn unknown_fields(rules: &RuleSet) -> Vec<String> {
    let warnings = rules.rules().flat_map(|rule| {
        rule.unknown_fields.iter().map(|message| one_line(&format!("{}:{}: {message}", rule.file, rule.line)))
    });
    warnings.collect()
}

/// Returns one warning for each rule that watches events that the filter of `./trailhose.toml` drops. Without this file,
/// there is none.
///
/// # Errors
/// The file or its filter file is invalid.
pub(crate) fn filter_warnings(rules: &RuleSet) -> Result<Vec<String>, String> {
    let Some(settings) = Settings::find(None)? else { return Ok(Vec::new()) };
    let filter = match (&settings.filter, &settings.filter_file) {
        (Some(filter), _) => filter.clone(),
        (None, Some(file)) => crate::filter::read(file)?,
        (None, None) => Filter::default(),
    };
    let path = settings.path.display();
    let warning = |found: trailhose::detect::FilteredRule<'_>| {
        let (rule, names) = (found.rule, found.event_names.join(", "));
        one_line(&format!(
            "{}:{}: the filter of {path} drops events that the rule watches: {names}. Delivered files do not contain them",
            rule.file, rule.line
        ))
    };
    Ok(filtered_rules(rules, &filter).into_iter().map(warning).collect())
}
