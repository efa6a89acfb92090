//! What was counted, as a person or a program reads it.

use clap::builder::styling::Style;
use indicatif::{DecimalBytes, HumanCount, HumanDuration};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;
use trailhose::backfill::Counts;
use trailhose::backfill::estimate::Estimate;
use trailhose::price;

/// What a run in this process counted, and what it would take to ingest it.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    dry_run: bool,
    counts: Counts,
    estimate: Estimated,
}

/// Of what is missing.
#[derive(Debug, Serialize)]
struct Estimated {
    events: u64,
    event_bytes: u64,
    seconds: f64,
    dollars: f64,
    dollars_by_service: BTreeMap<&'static str, f64>,
    prices_of: &'static str,
    prices_as_of: &'static str,
}

impl Told {
    pub(super) fn of(counts: Counts, dry_run: bool, bytes_per_second: Option<u64>) -> Self {
        let estimate = Estimate::of(&counts, bytes_per_second);
        let bill = estimate.counted.bill();
        let mut dollars_by_service: BTreeMap<&'static str, f64> = BTreeMap::new();
        for line in &bill.lines {
            *dollars_by_service.entry(line.price.service).or_default() += line.dollars;
        }
        let estimate = Estimated {
            events: estimate.events,
            event_bytes: estimate.event_bytes,
            seconds: estimate.time.as_secs_f64(),
            dollars: bill.dollars(),
            dollars_by_service,
            prices_of: price::REGION,
            prices_as_of: price::AS_OF,
        };
        Self { dry_run, counts, estimate }
    }

    pub(super) fn table(&self) -> String {
        let bold = Style::new().bold();
        let Self { dry_run, counts, estimate } = self;
        let mut out = String::new();
        let mut row = |name: &str, figure: &str, remark: &str| {
            let line = format!("  {name:<22}{figure:>14}   {remark}");
            let _ = writeln!(out, "{}", line.trim_end());
        };
        let count = |count: u64| HumanCount(count).to_string();
        row("keys looked at", &count(counts.listed), "");
        row("done", &count(counts.done), "");
        row("at work", &count(counts.leased), "");
        row("quarantined", &count(counts.quarantined), "");
        row("no logs", &count(counts.no_logs), "");
        row("not asked for", &count(counts.not_asked), "");
        row("missing", &count(counts.missing), "");
        if counts.forgotten > 0 {
            row("  older than memory", &count(counts.forgotten), "may be done and forgotten, and then are repeated");
        }
        row("half done", &count(counts.unfinished), "");
        let sent = if *dry_run { "would be handed in" } else { "handed in" };
        row(sent, &count(counts.sent), &format!("{} as stored", DecimalBytes(counts.bytes)));
        row("looked with", &count(counts.list_requests), &format!("lists, {} ledger rows", count(counts.ledger_reads)));
        let _ = writeln!(out, "{bold}Ingesting them, by what objects hold on average:{bold:#}");
        let mut row = |name: &str, figure: &str, remark: &str| {
            let line = format!("  {name:<22}{figure:>14}   {remark}");
            let _ = writeln!(out, "{}", line.trim_end());
        };
        row("events", &format!("~{}", count(estimate.events)), &DecimalBytes(estimate.event_bytes).to_string());
        let time = HumanDuration(Duration::try_from_secs_f64(estimate.seconds).unwrap_or(Duration::MAX)).to_string();
        row("time", &format!("~{time}"), "at a stream's default quota of 5 MiB/s, or the budget");
        for (service, dollars) in &estimate.dollars_by_service {
            row(service, &format!("~${dollars:.4}"), "");
        }
        let list = format!("list prices of {}, {}", estimate.prices_of, estimate.prices_as_of);
        row("together", &format!("~${:.4}", estimate.dollars), &list);
        out
    }
}

/// Prints results on standard output. A reader that has gone away has seen what it wanted.
pub(super) fn print(text: &str) {
    let _ = anstream::stdout().write_all(text.as_bytes());
}

/// Prints one JSON object in a line.
pub(super) fn print_json(object: &impl Serialize) {
    let text = serde_json::to_string(object).unwrap_or_else(|error| format!("{{\"error\":{:?}}}", error.to_string()));
    let _ = writeln!(std::io::stdout(), "{text}");
}
