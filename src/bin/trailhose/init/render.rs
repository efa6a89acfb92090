//! Renders the findings as a settings file and as text.

use super::SourceReport;
use super::bucket::keys;
use super::trails::TrailScope;
use crate::text::one_line;
use std::fmt::Write as _;

/// Returns the text of `trailhose.toml`.
pub(super) fn settings(found: &[SourceReport], regions: &[String]) -> String {
    let mut text = format!(
        "# Written by trailhose init from cloudtrail:DescribeTrails in {}.\n\
         # All settings: docs/configuration.md\n\n\
         dest = \"events\"                    # a folder next to this file, or \"firehose://STREAM\"\n\
         # ledger = \"dynamodb://TABLE\"      # [default: .trailhose/ledger.db in dest]\n",
        regions.join(", ")
    );
    for source in found {
        text.push('\n');
        for trail in &source.trails {
            let _ = writeln!(text, "# {trail}");
        }
        text.push_str("[[source]]\n");
        let mut set = |name: &str, value: &str| {
            let _ = writeln!(text, "{name} = {}", quoted(value));
        };
        set("bucket", &source.bucket);
        if !source.prefix.is_empty() {
            set("prefix", &source.prefix);
        }
        if let Some(region) = &source.bucket_region {
            set("bucket_region", region);
        }
        let is_of_organization = source.trails.iter().any(|trail| trail.scope == TrailScope::Organization);
        if let ([organization], true) = (&source.organizations[..], is_of_organization) {
            set("organization", organization);
        }
        let keys = keys(&source.trails);
        if let Some(key) = keys.first() {
            set("kms_key", key);
        }
        if let Some(topic) = source.trails.iter().find_map(|trail| trail.sns_topic.as_deref()) {
            set("sns_topic", topic);
        }
        for other in keys.iter().skip(1) {
            let _ = writeln!(text, "# also encrypted with {other}");
        }
        let arns: Vec<String> = source.trails.iter().map(|trail| quoted(&trail.arn)).collect();
        let _ = writeln!(text, "trails = [{}]", arns.join(", "));
    }
    text
}

/// Returns a TOML basic string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Returns the findings, one paragraph per source.
pub(super) fn findings(found: &[SourceReport]) -> String {
    let mut text = String::new();
    for source in found {
        let slash = if source.prefix.is_empty() { "" } else { "/" };
        let _ = writeln!(text, "s3://{}{slash}{}", source.bucket, source.prefix);
        for trail in &source.trails {
            let _ = writeln!(text, "  {trail}");
        }
        for check in &source.checks {
            // Error messages of AWS services may contain line breaks.
            let found = one_line(&check.found);
            let _ = match &check.to_do {
                None => writeln!(text, "  {found}: nothing to do"),
                Some(to_do) => writeln!(text, "  {found}\n    to do: {to_do}"),
            };
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;
    use proptest::prelude::*;
    use std::path::Path;

    proptest! {
        #[test]
        fn settings_with_any_prefix_can_be_read_back(prefix in "\\PC{1,20}|[\"\\\\\u{1}\u{7f}/a]{1,9}") {
            let source = SourceReport {
                bucket: "b".into(),
                prefix: prefix.clone(),
                trails: Vec::new(),
                organizations: Vec::new(),
                bucket_region: None,
                checks: Vec::new(),
            };
            let text = settings(&[source], &["eu-west-1".into()]);
            let read = Settings::parse(Path::new("trailhose.toml"), &text).unwrap();
            prop_assert_eq!(read.sources[0].location.to_string(), format!("s3://b/{prefix}"));
        }
    }
}
