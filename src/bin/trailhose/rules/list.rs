//! `trailhose rules list`: prints the rules of a folder.

use crate::NOTHING_STARTED;
use crate::args::RuleFolderArgs;
use crate::print::{print, print_json};
use crate::query::output::table;
use crate::summary::error_word;
use serde::Serialize;
use trailhose::detect::DetectionRule;

/// A rule as JSON.
#[derive(Debug, Serialize)]
struct ListedRule<'r> {
    id: &'r str,
    title: &'r str,
    level: &'r str,
    tags: &'r [String],
    event_names: &'r [String],
    event_sources: &'r [String],
    author: Option<&'r str>,
    license: Option<&'r str>,
    version: &'r str,
    file: &'r str,
    line: usize,
}

pub(super) fn run(args: &RuleFolderArgs) -> Result<u8, String> {
    let loaded = super::read(&args.rules)?;
    super::print_invalid(&error_word(), &loaded);
    let rules = loaded.rules.rules();
    if args.json {
        rules.for_each(|rule| print_json(&listed(rule)));
    } else {
        let columns = ["level", "title", "id", "ATT&CK", "event names"].map(str::to_owned);
        let row = |rule: &DetectionRule| {
            let names = if rule.event_names.is_empty() { "all".to_owned() } else { rule.event_names.join(", ") };
            let techniques = attack(rule).join(", ");
            let values = [rule.level.to_string(), rule.title.clone(), rule.id.clone(), techniques, names];
            values.map(|value| Some(value).filter(|value| !value.is_empty())).to_vec()
        };
        let rows: Vec<_> = rules.map(row).collect();
        print(&table(&columns, &rows));
    }
    Ok(if loaded.invalid.is_empty() { 0 } else { NOTHING_STARTED })
}

fn listed(rule: &DetectionRule) -> ListedRule<'_> {
    ListedRule {
        id: &rule.id,
        title: &rule.title,
        level: rule.level.as_str(),
        tags: &rule.tags,
        event_names: &rule.event_names,
        event_sources: &rule.event_sources,
        author: rule.author.as_deref(),
        license: rule.license.as_deref(),
        version: &rule.version,
        file: &rule.file,
        line: rule.line,
    }
}

/// Returns the techniques of a rule as ATT&CK writes them, for example `T1562.008`. Tactics are only in the JSON.
fn attack(rule: &DetectionRule) -> Vec<String> {
    let technique = |tag: &String| {
        let name = tag.strip_prefix("attack.")?;
        (name.starts_with('t') && name[1..].starts_with(|c: char| c.is_ascii_digit())).then(|| name.to_uppercase())
    };
    rule.tags.iter().filter_map(technique).collect()
}
