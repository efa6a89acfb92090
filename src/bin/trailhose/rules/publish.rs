//! `trailhose rules publish`: writes the rules of a folder to the location from which the detect function reads them.

use crate::NOTHING_STARTED;
use crate::args::PublishArgs;
use crate::components::Aws;
use crate::print::{print, print_json};
use crate::text::counted;
use serde::Serialize;
use trailhose::detect::{RuleLocation, read_rule_files};

/// The result as JSON.
#[derive(Debug, Serialize)]
struct Published<'a> {
    rule_set: &'a str,
    location: &'a str,
    files: usize,
    rules: usize,
}

pub(super) async fn run(args: &PublishArgs) -> Result<u8, String> {
    // `read_valid` prints every invalid rule with its file and line.
    if super::read_valid(&args.rules, false)?.is_none() {
        return Ok(NOTHING_STARTED);
    }
    let files = read_rule_files(&args.rules).map_err(|error| error.to_string())?;
    let location = RuleLocation::new(Aws::default().s3().await?, &args.location).map_err(|error| error.to_string())?;
    let count = files.len();
    let set = location.publish(files).await.map_err(|error| error.to_string())?;
    let rules = set.rules.rules().len();
    if args.json {
        print_json(&Published { rule_set: &set.id, location: &args.location, files: count, rules });
        return Ok(0);
    }
    let (files, rules) = (counted(count as u64, "file"), counted(rules as u64, "rule"));
    print(&format!("published {files} with {rules} to {location} as rule set {}\n", set.id));
    Ok(0)
}
