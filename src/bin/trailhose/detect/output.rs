//! Prints the matches of a hunt as a table or JSON Lines, and the summary per rule.

use crate::args::DetectOutputArgs;
use crate::print::{self, print, print_json};
use crate::query::output::table;
use indicatif::{HumanCount, ProgressBar};
use serde::Serialize;
use std::cmp::Reverse;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::sync::Arc;
use trailhose::detect::{DetectionRule, EventContext, HuntMatch, HuntReport, HuntSink, RuleHits, RuleSet};

/// Prints matches to standard output. A closed pipe, as after `head`, ends the hunt.
pub(super) struct MatchPrinter {
    args: DetectOutputArgs,
    rules: Arc<RuleSet>,
    /// The newest matches, for the table.
    newest: Vec<HuntMatch>,
    /// How many matches were found.
    found: usize,
    out: BufWriter<io::Stdout>,
    /// Why not every match was printed.
    stopped: Option<&'static str>,
    /// Hidden while matches are printed.
    bar: ProgressBar,
}

/// A match as JSON.
#[derive(Debug, Serialize)]
struct MatchLine<'m> {
    rule_id: &'m str,
    rule: &'m str,
    level: &'m str,
    rule_version: &'m str,
    tags: &'m [String],
    #[serde(flatten)]
    event: &'m EventContext,
    matched_fields: Vec<MatchedValue<'m>>,
    suppressed_by: Option<&'m str>,
}

/// A field by which an event matches.
#[derive(Debug, Serialize)]
struct MatchedValue<'m> {
    field: &'m str,
    value: &'m str,
}

/// The matches of a rule as JSON.
#[derive(Debug, Serialize)]
struct RuleHitsLine<'r> {
    rule_id: &'r str,
    rule: &'r str,
    level: &'r str,
    events: u64,
    suppressed: u64,
    first: Option<String>,
    last: Option<String>,
    failed: u64,
}

impl MatchPrinter {
    pub(super) fn new(args: &DetectOutputArgs, rules: &Arc<RuleSet>, bar: ProgressBar) -> Self {
        let (args, rules) = (args.clone(), Arc::clone(rules));
        Self { args, rules, newest: Vec::new(), found: 0, out: BufWriter::new(io::stdout()), stopped: None, bar }
    }

    fn write_json(&mut self, found: &HuntMatch) -> io::Result<()> {
        let Some(rule) = self.rules.rules().nth(found.rule_index) else { return Ok(()) };
        let fields = found.matched_fields.iter().map(|field| MatchedValue { field: &field.path, value: &field.value });
        let line = MatchLine {
            rule_id: &rule.id,
            rule: &rule.title,
            level: rule.level.as_str(),
            rule_version: &rule.version,
            tags: &rule.tags,
            event: &found.event,
            matched_fields: fields.collect(),
            suppressed_by: found.suppressed_by.as_deref(),
        };
        let text = serde_json::to_string(&line)? + "\n";
        self.out.write_all(text.as_bytes())
    }

    /// Keeps the newest matches for the table. They are sorted only after many are collected.
    fn keep(&mut self, found: HuntMatch) {
        self.newest.push(found);
        if self.newest.len() > 2 * self.args.limit + 1_000 {
            self.keep_newest();
        }
    }

    fn keep_newest(&mut self) {
        let key = |found: &HuntMatch| (Reverse(found.event.time), found.rule_index, found.event.event_id.clone());
        self.newest.sort_by_cached_key(key);
        self.newest.truncate(self.args.limit);
    }

    /// Prints the rest: the table, or the summary as JSON. Returns why not every match was printed, if so.
    pub(super) fn finish(mut self, report: &HuntReport) -> Option<&'static str> {
        let stopped = self.stopped.or_else(|| self.out.flush().err().map(print::stopped));
        if stopped.is_some() {
            return stopped;
        }
        if !self.args.json {
            self.keep_newest();
            print(&self.text(report));
        } else if self.args.summary {
            self.rules.rules().zip(&report.rules).for_each(|(rule, hits)| print_json(&hits_line(rule, hits)));
        }
        None
    }

    fn text(&self, report: &HuntReport) -> String {
        let mut text = String::new();
        if !self.newest.is_empty() {
            let columns = ["time", "level", "rule", "event", "account", "principal", "source IP", "suppressed by"];
            let rows: Vec<_> = self.newest.iter().map(|found| self.row(found)).collect();
            text += &table(&columns.map(str::to_owned), &rows);
            let left = self.found - self.newest.len();
            if left > 0 {
                text += &format!("{} older matches are not shown: use --limit or --json\n", HumanCount(left as u64));
            }
            text.push('\n');
        }
        let hits = self.rules.rules().zip(&report.rules).filter(|(_, hits)| hits.events + hits.suppressed > 0);
        let mut hits: Vec<_> = hits.collect();
        hits.sort_by_key(|(rule, hits)| Reverse((rule.level, hits.events)));
        if !hits.is_empty() {
            let columns = ["level", "rule", "count", "suppressed", "first", "last"].map(str::to_owned);
            let rows: Vec<_> = hits.into_iter().map(hits_row).collect();
            text += &table(&columns, &rows);
        }
        text
    }

    fn row(&self, found: &HuntMatch) -> Vec<Option<String>> {
        let event = &found.event;
        let (level, title) = match self.rules.rules().nth(found.rule_index) {
            Some(rule) => (rule.level.as_str(), &*rule.title),
            None => ("", ""),
        };
        let time = event.time.map(|time| time.to_string()).unwrap_or_default();
        let who = [&*event.event_name, &event.account, &event.principal, &event.source_ip];
        let suppressed = found.suppressed_by.as_deref().unwrap_or_default();
        let values = [&*time, level, title].into_iter().chain(who).chain([suppressed]);
        values.map(|value| Some(value.to_owned()).filter(|value| !value.is_empty())).collect()
    }
}

fn hits_row((rule, hits): (&DetectionRule, &RuleHits)) -> Vec<Option<String>> {
    vec![
        Some(rule.level.to_string()),
        Some(rule.title.clone()),
        Some(hits.events.to_string()),
        (hits.suppressed > 0).then(|| hits.suppressed.to_string()),
        hits.times.map(|(first, _)| first.to_string()),
        hits.times.map(|(_, last)| last.to_string()),
    ]
}

fn hits_line<'r>(rule: &'r DetectionRule, hits: &RuleHits) -> RuleHitsLine<'r> {
    RuleHitsLine {
        rule_id: &rule.id,
        rule: &rule.title,
        level: rule.level.as_str(),
        events: hits.events,
        suppressed: hits.suppressed,
        first: hits.times.map(|(first, _)| first.to_string()),
        last: hits.times.map(|(_, last)| last.to_string()),
        failed: hits.failed,
    }
}

impl HuntSink for MatchPrinter {
    fn found(&mut self, found: HuntMatch) -> ControlFlow<()> {
        self.found += 1;
        if self.args.summary {
            return ControlFlow::Continue(());
        }
        if !self.args.json {
            self.keep(found);
            return ControlFlow::Continue(());
        }
        let bar = self.bar.clone();
        match bar.suspend(|| self.write_json(&found)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.stopped = Some(print::stopped(error));
                ControlFlow::Break(())
            }
        }
    }
}
