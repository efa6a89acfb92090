//! The summary of a sync: a table or one JSON object, and the exit code.

use crate::INTERRUPTED;
use crate::labels::{NotIngested, NotIngestedLog, one_line};
use crate::print::{print, print_json};
use crate::table::Table;
use clap::builder::styling::{AnsiColor, Style};
use indicatif::{DecimalBytes, HumanCount};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use trailhose::billing::price::BilledUnits;
use trailhose::ledger::cost;
use trailhose::sink::cost::SinkUsage;
use trailhose::source::metered;
use trailhose::sync::{Completion, SyncReport};
use trailhose::tally::Tally;

/// Exit code: all selected objects are delivered.
const DELIVERED: u8 = 0;

/// Exit code: some objects failed or were deferred.
const INCOMPLETE: u8 = 1;

/// Exit code: completed, but some objects are quarantined.
const QUARANTINED: u8 = 3;

/// Result of a run, or of one round of `--watch`.
pub(crate) struct Summary<'a> {
    /// Number of the round, from 1, with `--watch`.
    pub(crate) round: Option<u64>,
    pub(crate) source: String,
    pub(crate) dest: String,
    pub(crate) ledger: String,
    pub(crate) ended: &'a SyncReport,
    pub(crate) took: Duration,
    pub(crate) names: &'a NotIngestedLog,
    pub(crate) source_spent: metered::SourceUsage,
    pub(crate) ledger_spent: cost::LedgerUsage,
    pub(crate) firehose_spent: Option<SinkUsage>,
    /// Usage that Firehose would have billed, for any destination.
    pub(crate) sent: SinkUsage,
}

/// Returns the word `error` in red, for the start of an error message.
pub(crate) fn error_word() -> String {
    let red = Style::new().fg_color(Some(AnsiColor::Red.into())).bold();
    format!("{red}error{red:#}")
}

impl Summary<'_> {
    fn tally(&self) -> &Tally {
        &self.ended.tally
    }

    /// Returns the result of a round as one line, or `None` if nothing happened.
    pub(crate) fn round_line(&self) -> Option<String> {
        let (tally, counts) = (self.tally(), &self.tally().done.counts);
        let mut parts = Vec::new();
        for (count, what) in [
            (tally.objects, "objects done"),
            (counts.delivered, "events delivered"),
            (counts.duplicate, "duplicates"),
            (tally.quarantined_by_this_run(), "quarantined"),
            (tally.deferred, "deferred"),
            (tally.failed, "failed"),
        ] {
            if count > 0 {
                parts.push(format!("{} {what}", HumanCount(count)));
            }
        }
        (!parts.is_empty()).then(|| format!("round {}: {}", self.round.unwrap_or(1), parts.join(", ")))
    }

    fn quarantined(&self) -> u64 {
        self.tally().quarantined_by_this_run() + self.tally().quarantined_before
    }

    /// Returns the billed requests of this run, as if source, ledger and destination were on AWS.
    fn counted(&self) -> BilledUnits {
        BilledUnits {
            firehose_bytes: self.firehose_spent.unwrap_or(self.sent).billed_bytes as f64,
            s3_gets: self.source_spent.gets as f64,
            s3_lists: self.source_spent.lists as f64,
            ..BilledUnits::ledger(self.ledger_spent)
        }
    }

    /// Returns the exit code; `--help` documents the codes.
    pub(crate) fn exit_code(&self) -> u8 {
        match self.ended.completion {
            Completion::Stopped => INTERRUPTED,
            Completion::Aborted(_) => INCOMPLETE,
            Completion::Complete if self.tally().failed + self.tally().deferred > 0 => INCOMPLETE,
            Completion::Complete if self.quarantined() > 0 => QUARANTINED,
            Completion::Complete => DELIVERED,
        }
    }

    /// Describes what was not delivered and what to do about it; `None` if everything was delivered.
    pub(crate) fn advice(&self) -> Option<String> {
        let undelivered = self.tally().failed + self.tally().deferred;
        let text = match &self.ended.completion {
            Completion::Stopped => "interrupted: objects in progress were finished; rerun to resume".to_owned(),
            Completion::Aborted(reason) => {
                format!("{}: {}. Progress is saved. Fix the problem and rerun.", error_word(), one_line(reason))
            }
            Completion::Complete if undelivered > 0 => {
                format!("{} not delivered yet; rerun to resume", objects(undelivered))
            }
            Completion::Complete if self.quarantined() > 0 => format!(
                "{} quarantined and not delivered, for the reasons above: replace them with intact copies, or inspect \
                 one with `trailhose explain`",
                objects(self.quarantined())
            ),
            Completion::Complete => return None,
        };
        Some(text)
    }

    /// Prints the table to standard output.
    pub(crate) fn print(&self) {
        print(&self.table());
    }

    /// Prints the JSON object to standard output.
    pub(crate) fn print_json(&self) {
        let (result, reason) = match &self.ended.completion {
            Completion::Complete => ("complete", None),
            Completion::Stopped => ("interrupted", None),
            Completion::Aborted(reason) => ("aborted", Some(reason.as_str())),
        };
        let line = SummaryJson {
            round: self.round,
            source: &self.source,
            dest: &self.dest,
            ledger: &self.ledger,
            result,
            reason,
            exit_code: self.exit_code(),
            seconds: self.took.as_secs_f64(),
            tally: self.tally(),
            excluded: self.ended.excluded,
            excluded_folders: self.ended.excluded_folders,
            unvisited_folders: self.ended.unvisited,
            not_ingested: self.names.list(),
            ledger_requests: LedgerRequests {
                writes: self.ledger_spent.writes,
                refused: self.ledger_spent.refused,
                write_units: self.ledger_spent.write_units,
                reads: self.ledger_spent.reads,
                read_units: self.ledger_spent.read_units,
            },
            s3_requests: S3Requests { gets: self.source_spent.gets, lists: self.source_spent.lists },
            aws_dollars: self.counted().dollars(),
            firehose_requests: self.firehose_spent.map(|spent| FirehoseRequests {
                calls: spent.calls,
                records: spent.records,
                bytes: spent.bytes,
                billed_bytes: spent.billed_bytes,
                records_retried: spent.retried,
            }),
        };
        print_json(&line);
    }

    fn table(&self) -> String {
        let tally = self.tally();
        let (done, counts) = (&tally.done, &tally.done.counts);
        let mut table = Table::new(22, 14);
        table.head(&format!("{} → {}", self.source, self.dest));
        table.row("objects done", tally.objects, "");
        table.row("already done", tally.already_done, "");
        table.row_if("skipped", tally.skipped.values().sum(), &kinds(&tally.skipped));
        let folders = match self.ended.excluded_folders {
            0 => String::new(),
            1 => "and 1 folder".to_owned(),
            folders => format!("and {} folders", HumanCount(folders)),
        };
        if self.ended.excluded + self.ended.excluded_folders > 0 {
            table.row("excluded by selection", self.ended.excluded, &folders);
        }
        table.row_if("unvisited folders", self.ended.unvisited, "not CloudTrail folders");
        table.bad("quarantined", tally.quarantined_by_this_run(), &kinds(&tally.quarantined));
        table.bad("quarantined before", tally.quarantined_before, "");
        table.bad("deferred", tally.deferred, "");
        table.bad("failed", tally.failed, "");
        table.row("events", counts.seen, "");
        table.row("delivered", counts.delivered, "");
        let (within, other) = (done.repeats.min(counts.duplicate), counts.duplicate.saturating_sub(done.repeats));
        let causes = format!("{} within an object, {} from another", HumanCount(within), HumanCount(other));
        table.row("duplicates", counts.duplicate, if counts.duplicate > 0 { &causes } else { "" });
        table.row_if("filtered", counts.filtered, "");
        table.row_if("oversize", counts.oversize, "stored separately; a pointer record is delivered");
        table.row_if("conflicts", done.conflicts, "same ID, different content; the first is delivered");
        table.row_if("helped", done.helped, "delivered on behalf of a stalled object");
        let seconds = self.took.as_secs_f64().max(0.001);
        let rate = |count: u64| (count as f64 / seconds) as u64;
        let read =
            format!("{} decompressed, {}/s", DecimalBytes(done.json_bytes), DecimalBytes(rate(done.stored_bytes)));
        table.text("read", &DecimalBytes(done.stored_bytes).to_string(), &read);
        table.text("written", &DecimalBytes(done.sent_bytes).to_string(), "");
        let pace = format!("{} events/s", HumanCount(rate(counts.seen)));
        table.text("time", &format!("{seconds:.1} s"), &pace);
        let bill = self.counted().bill();
        let each = bill.by_service().into_iter().map(|(service, price)| format!("{service} {}", dollars(price)));
        let each: Vec<_> = each.collect();
        table.text("price on AWS", &dollars(bill.dollars()), &each.join(", "));
        if self.exit_code() == DELIVERED {
            let green = Style::new().fg_color(Some(AnsiColor::Green.into()));
            table.line(&format!("{green}{}{green:#}", self.success_text()));
        }
        table.into_text()
    }

    /// Returns the closing line. If no object was recognized as a log, the object names are the likely reason.
    fn success_text(&self) -> &'static str {
        let tally = self.tally();
        let unrecognized = tally.skipped.get("elsewhere").is_some_and(|&count| count > 0);
        match (tally.objects + tally.already_done > 0, unrecognized) {
            (true, _) => "All selected objects are delivered.",
            (false, true) => "No object name matches a CloudTrail log; use --all-files to read all files.",
            (false, false) => "No CloudTrail log was found.",
        }
    }
}

fn objects(count: u64) -> String {
    if count == 1 { "1 object is".into() } else { format!("{} objects are", HumanCount(count)) }
}

/// Formats dollars: two decimals from one dollar up, six below.
fn dollars(dollars: f64) -> String {
    if dollars >= 1.0 { format!("${dollars:.2}") } else { format!("${dollars:.6}") }
}

fn kinds(kinds: &BTreeMap<String, u64>) -> String {
    let each: Vec<_> = kinds.iter().map(|(kind, count)| format!("{} {kind}", HumanCount(*count))).collect();
    each.join(", ")
}

/// The summary as a JSON object.
#[derive(Serialize)]
struct SummaryJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    round: Option<u64>,
    source: &'a str,
    dest: &'a str,
    ledger: &'a str,
    result: &'static str,
    reason: Option<&'a str>,
    exit_code: u8,
    seconds: f64,
    #[serde(flatten)]
    tally: &'a Tally,
    excluded: u64,
    excluded_folders: u64,
    unvisited_folders: u64,
    not_ingested: &'a [NotIngested],
    ledger_requests: LedgerRequests,
    s3_requests: S3Requests,
    /// Cost of these requests at list prices, as if source, ledger and destination were on AWS.
    aws_dollars: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    firehose_requests: Option<FirehoseRequests>,
}

/// Requests to the ledger, in DynamoDB units for any type of ledger.
#[derive(Serialize)]
struct LedgerRequests {
    writes: u64,
    refused: u64,
    write_units: u64,
    reads: u64,
    read_units: u64,
}

/// Requests to the bucket, or their equivalents for a folder.
#[derive(Serialize)]
struct S3Requests {
    gets: u64,
    lists: u64,
}

/// Requests to Firehose.
#[derive(Serialize)]
struct FirehoseRequests {
    calls: u64,
    records: u64,
    bytes: u64,
    billed_bytes: u64,
    records_retried: u64,
}
