//! The summary: a table for a person, one JSON object for a program, and the exit code.

use crate::INTERRUPTED;
use crate::labels::{Named, Names, one_line};
use crate::print::{print, print_json};
use crate::table::Table;
use clap::builder::styling::{AnsiColor, Style};
use indicatif::{DecimalBytes, HumanCount};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use trailhose::billing::price::Counted;
use trailhose::ledger::cost;
use trailhose::sink::firehose;
use trailhose::source::metered;
use trailhose::sync::{Ended, How};
use trailhose::tally::Tally;

/// Everything that was selected is delivered.
const DELIVERED: u8 = 0;

/// Something failed or must come back.
const AGAIN: u8 = 1;

/// All is delivered but what is quarantined.
const ASIDE: u8 = 3;

/// What became of a run.
pub(crate) struct Summary<'a> {
    /// The number of the round, from 1, where there are several.
    pub(crate) round: Option<u64>,
    pub(crate) source: String,
    pub(crate) dest: String,
    pub(crate) ledger: String,
    pub(crate) ended: &'a Ended,
    pub(crate) took: Duration,
    pub(crate) names: &'a Names,
    pub(crate) source_spent: metered::Spent,
    pub(crate) ledger_spent: cost::Spent,
    pub(crate) firehose_spent: Option<firehose::Spent>,
    /// What Firehose would have been given, whatever the destination is.
    pub(crate) sent: firehose::Spent,
}

/// `error`, as it stands before an error.
pub(crate) fn error_word() -> String {
    let red = Style::new().fg_color(Some(AnsiColor::Red.into())).bold();
    format!("{red}error{red:#}")
}

impl Summary<'_> {
    fn tally(&self) -> &Tally {
        &self.ended.tally
    }

    /// What a round brought, in one line; nothing if it brought nothing.
    pub(crate) fn news(&self) -> Option<String> {
        let (tally, counts) = (self.tally(), &self.tally().done.counts);
        let mut parts = Vec::new();
        for (count, what) in [
            (tally.objects, "objects done"),
            (counts.delivered, "events delivered"),
            (counts.duplicate, "duplicates"),
            (tally.set_aside(), "quarantined"),
            (tally.later, "to come back"),
            (tally.failed, "failed"),
        ] {
            if count > 0 {
                parts.push(format!("{} {what}", HumanCount(count)));
            }
        }
        (!parts.is_empty()).then(|| format!("round {}: {}", self.round.unwrap_or(1), parts.join(", ")))
    }

    fn aside(&self) -> u64 {
        self.tally().set_aside() + self.tally().quarantined_before
    }

    /// What this run asks of AWS, or would ask if bucket, ledger and stream lay there.
    fn counted(&self) -> Counted {
        Counted {
            firehose_bytes: self.firehose_spent.unwrap_or(self.sent).billed as f64,
            s3_gets: self.source_spent.gets as f64,
            s3_lists: self.source_spent.lists as f64,
            ..Counted::ledger(self.ledger_spent)
        }
    }

    /// See `--help`.
    pub(crate) fn exit_code(&self) -> u8 {
        match self.ended.how {
            How::Halted => INTERRUPTED,
            How::GaveUp(_) => AGAIN,
            How::Complete if self.tally().failed + self.tally().later > 0 => AGAIN,
            How::Complete if self.aside() > 0 => ASIDE,
            How::Complete => DELIVERED,
        }
    }

    /// What is not well, and what to do about it.
    pub(crate) fn trouble(&self) -> Option<String> {
        let back = self.tally().failed + self.tally().later;
        let text = match &self.ended.how {
            How::Halted => {
                "interrupted: what was in flight is finished; run the same command again to go on".to_owned()
            }
            How::GaveUp(reason) => format!(
                "{}: gave up: {}; what was delivered is noted: see to the cause and run the same command again",
                error_word(),
                one_line(reason)
            ),
            How::Complete if back > 0 => {
                format!("{} not delivered yet: run the same command again", objects(back))
            }
            How::Complete if self.aside() > 0 => format!(
                "{} quarantined and not delivered, for the reasons above: put sound copies in their place, or look at \
                 one with trailhose explain",
                objects(self.aside())
            ),
            How::Complete => return None,
        };
        Some(text)
    }

    /// Prints the table to standard output.
    pub(crate) fn print(&self) {
        print(&self.table());
    }

    /// Prints the JSON object to standard output.
    pub(crate) fn print_json(&self) {
        let (result, reason) = match &self.ended.how {
            How::Complete => ("complete", None),
            How::Halted => ("interrupted", None),
            How::GaveUp(reason) => ("gave_up", Some(reason.as_str())),
        };
        let line = Json {
            round: self.round,
            source: &self.source,
            dest: &self.dest,
            ledger: &self.ledger,
            result,
            reason,
            exit_code: self.exit_code(),
            seconds: self.took.as_secs_f64(),
            tally: self.tally(),
            left_out: self.ended.left_out,
            left_out_folders: self.ended.left_out_folders,
            passed_over_folders: self.ended.passed_over,
            not_ingested: self.names.list(),
            ledger_requests: Ledger {
                writes: self.ledger_spent.writes,
                refused: self.ledger_spent.refused,
                write_units: self.ledger_spent.write_units,
                reads: self.ledger_spent.reads,
                read_units: self.ledger_spent.read_units,
            },
            s3_requests: S3 { gets: self.source_spent.gets, lists: self.source_spent.lists },
            aws_dollars: self.counted().dollars(),
            firehose_requests: self.firehose_spent.map(|spent| Firehose {
                calls: spent.calls,
                records: spent.records,
                bytes: spent.bytes,
                billed_bytes: spent.billed,
                records_sent_again: spent.retried,
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
        table.row("done before", tally.already, "");
        table.row_if("skipped", tally.skipped.values().sum(), &kinds(&tally.skipped));
        let folders = match self.ended.left_out_folders {
            0 => String::new(),
            1 => "and 1 folder".to_owned(),
            folders => format!("and {} folders", HumanCount(folders)),
        };
        if self.ended.left_out + self.ended.left_out_folders > 0 {
            table.row("left out by selection", self.ended.left_out, &folders);
        }
        table.row_if("folders passed over", self.ended.passed_over, "not CloudTrail's");
        table.bad("quarantined", tally.set_aside(), &kinds(&tally.quarantined));
        table.bad("quarantined before", tally.quarantined_before, "");
        table.bad("to come back", tally.later, "");
        table.bad("failed", tally.failed, "");
        table.row("events", counts.seen, "");
        table.row("delivered", counts.delivered, "");
        let (within, other) = (done.repeats.min(counts.duplicate), counts.duplicate.saturating_sub(done.repeats));
        let causes = format!("{} within an object, {} from another", HumanCount(within), HumanCount(other));
        table.row("duplicates", counts.duplicate, if counts.duplicate > 0 { &causes } else { "" });
        table.row_if("filtered", counts.filtered, "");
        table.row_if("oversize", counts.oversize, "kept aside, a line that points there delivered");
        table.row_if("conflicts", done.conflicts, "same ID, other content; the first is delivered");
        table.row_if("helped", done.helped, "delivered in the stead of an object that stalled");
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
            table.line(&format!("{green}{}{green:#}", self.good()));
        }
        table.into_text()
    }

    /// Where nothing at all was recognised, the names are most likely the reason.
    fn good(&self) -> &'static str {
        let tally = self.tally();
        let foreign = tally.skipped.get("elsewhere").is_some_and(|&count| count > 0);
        match (tally.objects + tally.already > 0, foreign) {
            (true, _) => "Everything selected is delivered.",
            (false, true) => "No object is named as a CloudTrail log; --all-files reads them all the same.",
            (false, false) => "No CloudTrail log was found.",
        }
    }
}

fn objects(count: u64) -> String {
    if count == 1 { "1 object is".into() } else { format!("{} objects are", HumanCount(count)) }
}

/// Cents where there are some; of less, as many digits as tell it from nothing.
fn dollars(dollars: f64) -> String {
    if dollars >= 1.0 { format!("${dollars:.2}") } else { format!("${dollars:.6}") }
}

fn kinds(kinds: &BTreeMap<String, u64>) -> String {
    let each: Vec<_> = kinds.iter().map(|(kind, count)| format!("{} {kind}", HumanCount(*count))).collect();
    each.join(", ")
}

#[derive(Serialize)]
struct Json<'a> {
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
    left_out: u64,
    left_out_folders: u64,
    passed_over_folders: u64,
    not_ingested: &'a [Named],
    ledger_requests: Ledger,
    s3_requests: S3,
    /// What these requests come to at list prices, if bucket, ledger and stream lie on AWS.
    aws_dollars: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    firehose_requests: Option<Firehose>,
}

/// What the ledger was asked for, in DynamoDB's units, whichever ledger it was.
#[derive(Serialize)]
struct Ledger {
    writes: u64,
    refused: u64,
    write_units: u64,
    reads: u64,
    read_units: u64,
}

/// What the bucket was asked for, or would be if it were one.
#[derive(Serialize)]
struct S3 {
    gets: u64,
    lists: u64,
}

#[derive(Serialize)]
struct Firehose {
    calls: u64,
    records: u64,
    bytes: u64,
    billed_bytes: u64,
    records_sent_again: u64,
}
