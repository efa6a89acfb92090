//! Renders findings as text.

use crate::text::{counted, one_line};
use clap::builder::styling::{AnsiColor, Style};
use std::fmt::Write as _;
use trailhose::doctor::catalog::GROUPS;
use trailhose::doctor::{CheckStatus, Finding, StatusCounts};

/// Width of the status column.
const STATUS: usize = 15;

/// Width of the column with the check's ID.
const ID: usize = 25;

/// Returns the report: one line for each check, and the meaning and the next step of each problem.
pub(super) fn report(findings: &[Finding], counts: StatusCounts, skipped: &[String]) -> String {
    let mut text = String::new();
    let bold = Style::new().bold();
    for (group, title) in GROUPS {
        let of_group: Vec<_> = findings.iter().filter(|finding| finding.group() == group).collect();
        if of_group.is_empty() {
            continue;
        }
        let _ = writeln!(text, "{bold}{title}{bold:#}");
        of_group.iter().for_each(|finding| add(&mut text, finding));
    }
    let StatusCounts { ok, warning, failed, not_permitted, not_applicable } = counts;
    let _ = writeln!(
        text,
        "\n{ok} ok, {}, {failed} failed, {not_permitted} not permitted, {not_applicable} not applicable",
        counted(warning, "warning")
    );
    if !skipped.is_empty() {
        let _ = writeln!(text, "skipped: {}", skipped.join(", "));
    }
    text
}

fn add(text: &mut String, finding: &Finding) {
    let style = match finding.status {
        CheckStatus::Ok => Style::new().fg_color(Some(AnsiColor::Green.into())),
        CheckStatus::Warning | CheckStatus::NotPermitted => Style::new().fg_color(Some(AnsiColor::Yellow.into())),
        CheckStatus::Failed => Style::new().fg_color(Some(AnsiColor::Red.into())).bold(),
        CheckStatus::NotApplicable => Style::new().dimmed(),
    };
    let status = finding.status.as_str();
    let _ = writeln!(
        text,
        "  {style}{status:<STATUS$}{style:#}{:<ID$}{}: {}",
        finding.id,
        finding.title,
        one_line(&finding.found)
    );
    let mut detail = |name: &str, value: &str| {
        let _ = writeln!(text, "  {:<STATUS$}{name:<ID$}{}", "", one_line(value));
    };
    if let Some(meaning) = finding.meaning {
        detail("  meaning", meaning);
    }
    if let Some(next_step) = &finding.next_step {
        detail("  next step", next_step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problem_has_its_meaning_and_its_next_step() {
        let finding = Finding {
            id: "trail.logging",
            title: "the trail records events",
            status: CheckStatus::Failed,
            found: "stopped: arn:t".into(),
            meaning: Some("CloudTrail records no events."),
            next_step: Some("aws cloudtrail start-logging --name arn:t".into()),
            permission: None,
        };
        let fine = Finding {
            status: CheckStatus::Ok,
            id: "stack.status",
            title: "status of the stack",
            found: "s is CREATE_COMPLETE".into(),
            meaning: None,
            next_step: None,
            ..finding.clone()
        };
        let findings = [fine, finding];
        let text = report(&findings, StatusCounts::of(&findings), &["bucket.lock".to_owned()]);
        let text = anstream::adapter::strip_str(&text).to_string();
        let expected = "\
Stack
  ok             stack.status             status of the stack: s is CREATE_COMPLETE
Trails
  failed         trail.logging            the trail records events: stopped: arn:t
                   meaning                CloudTrail records no events.
                   next step              aws cloudtrail start-logging --name arn:t

1 ok, 0 warnings, 1 failed, 0 not permitted, 0 not applicable
skipped: bucket.lock
";
        assert_eq!(text, expected);
    }
}
