//! The summary of a sync: a table or one JSON object, and the exit code.

use crate::detection_counts::DetectionCounts;
use crate::followers::FollowerView;
use crate::not_ingested::{NotIngested, NotIngestedLog};
use crate::print::{print, print_json};
use crate::sync::ForwardResult;
use crate::sync::empty::EmptySource;
use crate::sync::open_sources::FailedSource;
use crate::table::Table;
use crate::text::{counted, dollars, objects_are, one_line, reasons};
use crate::{NOTHING_MATCHED, interrupt};
use clap::builder::styling::{AnsiColor, Style};
use indicatif::{DecimalBytes, HumanCount};
use serde::Serialize;
use std::time::Duration;
use trailhose::billing::price::BilledUnits;
use trailhose::ledger::cost;
use trailhose::ledger::model::quarantine::QuarantineKind;
use trailhose::shell;
use trailhose::sink::cost::SinkUsage;
use trailhose::sink::jsonl::{Outstanding, PrunedFiles, Rebuild};
use trailhose::source::metered;
use trailhose::sync::{Completion, SyncReport};
use trailhose::tally::Tally;

/// Exit code: all selected objects are delivered.
const DELIVERED: u8 = 0;

/// Exit code: some objects failed or were deferred.
const INCOMPLETE: u8 = 1;

/// Exit code: completed, but some objects are quarantined.
pub(crate) const QUARANTINED: u8 = 3;

/// Result of a run, or of one round of `--watch`.
pub(crate) struct Summary<'a> {
    /// Number of the round, from 1, with `--watch`.
    pub(crate) round: Option<u64>,
    pub(crate) source: String,
    pub(crate) dest: String,
    pub(crate) ledger: String,
    pub(crate) report: &'a SyncReport,
    pub(crate) took: Duration,
    pub(crate) not_ingested: &'a NotIngestedLog,
    /// The sources without a matching object, unless this is expected.
    pub(crate) empty: &'a [EmptySource],
    /// The sources that cannot be read, or were not processed to their end.
    pub(crate) failed_sources: &'a [FailedSource],
    /// Number of sources.
    pub(crate) sources: usize,
    /// Whether sources, destination and ledger are on this machine.
    pub(crate) is_local: bool,
    pub(crate) source_spent: metered::SourceUsage,
    pub(crate) ledger_spent: cost::LedgerUsage,
    pub(crate) firehose_spent: Option<SinkUsage>,
    /// What Firehose would bill for everything that was written, to a destination of any type.
    pub(crate) sent: SinkUsage,
    /// Files that were deleted before this run, because they are older than `keep_days`.
    pub(crate) pruned: &'a PrunedFiles,
    /// The followers of the folder, after the run.
    pub(crate) followers: &'a [FollowerView],
    /// What the forwards of the run leave. In a round of `--watch`, they still run.
    pub(crate) forwards: ForwardResult,
    /// What the detection found and sent: in this run, or since the previous round. `None` without a detection.
    pub(crate) detection: Option<DetectionCounts>,
    /// Files of earlier runs that are missing or damaged.
    pub(crate) missing_files: u64,
    /// The result of `--rebuild`.
    pub(crate) rebuild: Option<&'a Rebuild>,
    /// Events that this run or an earlier one with `--rebuild` should have delivered again.
    pub(crate) not_rebuilt: &'a Outstanding,
}

/// Returns the word `error` in red, for the start of an error message.
pub(crate) fn error_word() -> String {
    let red = Style::new().fg_color(Some(AnsiColor::Red.into())).bold();
    format!("{red}error{red:#}")
}

impl Summary<'_> {
    fn tally(&self) -> &Tally {
        &self.report.tally
    }

    /// Returns the result of a round as one line, or `None` if nothing happened.
    pub(crate) fn round_line(&self) -> Option<String> {
        let (tally, counts) = (self.tally(), &self.tally().done.counts);
        let quarantined = tally.quarantined_by_this_run();
        let detection = self.detection.unwrap_or_default();
        let mut parts = Vec::new();
        for (count, what) in [
            (tally.objects, counted(tally.objects, "object") + " done"),
            (counts.delivered, counted(counts.delivered, "event") + " delivered"),
            (counts.duplicate, counted(counts.duplicate, "duplicate")),
            (quarantined, format!("{} quarantined", HumanCount(quarantined))),
            (tally.deferred, format!("{} deferred", HumanCount(tally.deferred))),
            (tally.failed, format!("{} failed", HumanCount(tally.failed))),
            (self.report.rolled_back, format!("{} rolled back", HumanCount(self.report.rolled_back))),
            (detection.recorded, counted(detection.recorded, "new finding")),
            (detection.alerts_sent, counted(detection.alerts_sent, "alert") + " sent"),
            (detection.alerts_failed, counted(detection.alerts_failed, "alert") + " failed"),
        ] {
            if count > 0 {
                parts.push(what);
            }
        }
        (!parts.is_empty()).then(|| format!("round {}: {}", self.round.unwrap_or(1), parts.join(", ")))
    }

    /// Returns the number of quarantined objects that stay quarantined until a person retries them.
    fn quarantined(&self) -> u64 {
        self.tally().quarantined_until_retried()
    }

    /// Returns the numbers of archived objects and of objects whose KMS key cannot be used. They are delivered without
    /// further action when the cause is gone.
    fn waiting(&self) -> [u64; 2] {
        [QuarantineKind::ARCHIVED, QuarantineKind::KMS].map(|kind| self.tally().waiting(kind))
    }

    /// Returns the billed requests of this run, as if source, ledger and destination were on AWS.
    fn billed_units(&self) -> BilledUnits {
        BilledUnits {
            firehose_bytes: self.firehose_spent.unwrap_or(self.sent).billed_bytes as f64,
            s3_gets: self.source_spent.gets as f64,
            s3_lists: self.source_spent.lists as f64,
            ..BilledUnits::ledger(self.ledger_spent)
        }
    }

    /// Returns the exit code; `--help` documents the codes.
    pub(crate) fn exit_code(&self) -> u8 {
        match self.report.completion {
            Completion::Stopped => interrupt::exit_code(),
            Completion::Aborted(_) => INCOMPLETE,
            Completion::Complete if self.tally().failed + self.tally().deferred > 0 => INCOMPLETE,
            Completion::Complete if self.not_rebuilt.events > 0 => INCOMPLETE,
            Completion::Complete if self.forwards.incomplete > 0 => INCOMPLETE,
            Completion::Complete if self.quarantined() > 0 || self.forwards.refused > 0 => QUARANTINED,
            Completion::Complete if !self.empty.is_empty() => NOTHING_MATCHED,
            Completion::Complete if self.detection.is_some_and(|detection| detection.is_incomplete) => INCOMPLETE,
            Completion::Complete => DELIVERED,
        }
    }

    /// Describes what was not delivered, which sources had no match, and what to do. Empty if there is nothing to do.
    pub(crate) fn advice(&self) -> Vec<String> {
        let warnings = self.empty.iter().map(EmptySource::warning);
        self.undelivered().into_iter().chain(warnings).collect()
    }

    fn undelivered(&self) -> Option<String> {
        let undelivered = self.tally().failed + self.tally().deferred;
        let text = match &self.report.completion {
            Completion::Stopped => "interrupted: objects in progress were finished; rerun to resume".to_owned(),
            Completion::Aborted(_) if self.failed_sources.len() < self.sources => {
                failed_sources_advice(self.failed_sources)
            }
            Completion::Aborted(reason) => {
                let reason = match self.not_ingested.has_printed(reason) {
                    true => "stopped because of the failure above".to_owned(),
                    false => one_line(reason),
                };
                format!("{}: {reason}. Progress is saved. Fix the problem and rerun.", error_word())
            }
            // A rerun alone does not remove the cause of a failure.
            Completion::Complete if self.tally().failed > 0 => {
                format!(
                    "{} not delivered yet; fix the causes of the failures above and rerun",
                    objects_are(undelivered)
                )
            }
            Completion::Complete if undelivered > 0 => {
                format!("{} not delivered yet; rerun to resume", objects_are(undelivered))
            }
            Completion::Complete if self.not_rebuilt.events > 0 => not_rebuilt_advice(self.not_rebuilt, &self.dest),
            Completion::Complete if self.quarantined() > 0 => self.quarantine_advice(),
            Completion::Complete if self.waiting() != [0, 0] => waiting_advice(self.waiting()),
            Completion::Complete => return None,
        };
        Some(text)
    }

    /// Describes what to do about quarantined objects that stay quarantined until a person retries them.
    fn quarantine_advice(&self) -> String {
        let ledger = shell::word(&self.ledger);
        let mut quarantined =
            self.not_ingested.list().iter().filter(|object| object.outcome == "quarantined").peekable();
        let is_too_large = quarantined.peek().is_some() && quarantined.all(|object| object.kind == "too_large");
        let remedy = match is_too_large {
            true => {
                format!("raise --max-object-bytes and run `trailhose ledger quarantine retry --all --ledger {ledger}`")
            }
            false => "replace them with intact copies".to_owned(),
        };
        format!(
            "{} quarantined and not delivered, for the reasons above: {remedy}, inspect one with `trailhose explain`, or accept \
             them with `trailhose ledger quarantine accept OBJECT#ETAG --reason TEXT --ledger {ledger}` (`trailhose ledger \
             quarantine list --ledger {ledger}` prints each OBJECT#ETAG)",
            objects_are(self.quarantined())
        )
    }

    /// Prints the table to standard output.
    pub(crate) fn print(&self) {
        print(&self.table());
    }

    /// Prints the JSON object to standard output.
    pub(crate) fn print_json(&self) {
        let (result, reason) = match &self.report.completion {
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
            rolled_back: self.report.rolled_back,
            followers: self.followers,
            pruned_files: self.pruned.deleted,
            pruned_events: self.pruned.events,
            missing_files: self.missing_files,
            rebuild: self.rebuild.map(|rebuild| RebuildJson {
                files: rebuild.files,
                events: rebuild.events,
                objects: rebuild.objects.len(),
            }),
            not_rebuilt: NotRebuiltJson {
                events: self.not_rebuilt.events,
                objects: self.not_rebuilt.objects.iter().map(ToString::to_string).collect(),
            },
            excluded: self.report.excluded,
            excluded_folders: self.report.excluded_folders,
            unvisited_folders: self.report.unvisited,
            not_ingested: self.not_ingested.list(),
            failed_sources: self.failed_sources,
            empty_sources: self.empty.iter().map(|source| source.source.as_str()).collect(),
            ledger_requests: LedgerRequests {
                writes: self.ledger_spent.writes,
                refused: self.ledger_spent.refused,
                write_units: self.ledger_spent.write_units,
                reads: self.ledger_spent.reads,
                read_units: self.ledger_spent.read_units,
            },
            s3_requests: S3Requests { gets: self.source_spent.gets, lists: self.source_spent.lists },
            aws_dollars: (!self.is_local).then(|| self.billed_units().dollars()),
            detection: self.detection.as_ref(),
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
        table.row_if("skipped", tally.skipped.values().sum(), &reasons(&tally.skipped));
        let folders = match self.report.excluded_folders {
            0 => String::new(),
            folders => format!("and {}", counted(folders, "folder")),
        };
        if self.report.excluded + self.report.excluded_folders > 0 {
            table.row("excluded by selection", self.report.excluded, &folders);
        }
        table.row_if("unvisited folders", self.report.unvisited, "not CloudTrail folders");
        if self.sources > 1 {
            table.bad("failed sources", self.failed_sources.len() as u64, "");
        }
        table.bad("quarantined", tally.quarantined_by_this_run(), &reasons(&tally.quarantined));
        table.bad("quarantined before", tally.quarantined_before, "");
        table.row_if("quarantined before", tally.waiting_before.values().sum(), &reasons(&tally.waiting_before));
        let list = format!("see `trailhose ledger quarantine list --ledger {}`", shell::word(&self.ledger));
        table.row_if("quarantined, accepted", tally.quarantined_accepted, &list);
        table.bad("deferred", tally.deferred, "");
        table.bad("failed", tally.failed, "");
        table.bad("rolled back", self.report.rolled_back, "processed, but not saved; the next run delivers them");
        table.row_if("pruned files", self.pruned.deleted, "no longer needed");
        table.bad("missing files", self.missing_files, "");
        if let Some(rebuild) = self.rebuild {
            let of = format!("of {} missing files", HumanCount(rebuild.files));
            table.row("events to rebuild", rebuild.events, &of);
        }
        table.bad("events not rebuilt", self.not_rebuilt.events, "of missing files");
        table.row("events", counts.seen, "");
        table.row("delivered", counts.delivered, "");
        let (within, other) = (done.repeats.min(counts.duplicate), counts.duplicate.saturating_sub(done.repeats));
        let causes = format!("{} within an object, {} from another", HumanCount(within), HumanCount(other));
        table.row("duplicates", counts.duplicate, if counts.duplicate > 0 { &causes } else { "" });
        table.row_if("filtered", counts.filtered, "");
        table.row_if("oversize", counts.oversize, "stored separately; a pointer record is delivered");
        table.row_if("conflicts", done.conflicts, "same ID, different content; the first is delivered");
        table.row_if("unknown kinds", done.unknown_kinds, "objects; their events are delivered");
        table.row_if("helped", done.helped, "delivered on behalf of a stalled object");
        if let Some(detection) = &self.detection {
            let repeated = detection.matched.saturating_sub(detection.recorded);
            let note = format!("{} recorded before", HumanCount(repeated));
            table.row("new findings", detection.recorded, if repeated > 0 { &note } else { "" });
            table.row_if("alerts sent", detection.alerts_sent, "");
            table.bad("alerts failed", detection.alerts_failed, "");
            table.row_if("alerts pending", detection.alerts_pending, "");
        }
        let seconds = self.took.as_secs_f64().max(0.001);
        let rate = |count: u64| (count as f64 / seconds) as u64;
        let read =
            format!("{} decompressed, {}/s", DecimalBytes(done.json_bytes), DecimalBytes(rate(done.stored_bytes)));
        table.text("read", &DecimalBytes(done.stored_bytes).to_string(), &read);
        table.text("written", &DecimalBytes(done.sent_bytes).to_string(), "");
        let pace = format!("{} events/s", HumanCount(rate(counts.seen)));
        table.text("time", &format!("{seconds:.1} s"), &pace);
        if !self.is_local {
            let bill = self.billed_units().bill();
            let each = bill.by_service().into_iter().map(|(service, price)| format!("{service} {}", dollars(price, 6)));
            table.text("price on AWS", &dollars(bill.dollars(), 6), &each.collect::<Vec<_>>().join(", "));
        }
        if self.exit_code() == DELIVERED {
            let green = Style::new().fg_color(Some(AnsiColor::Green.into()));
            table.line(&format!("{green}{}{green:#}", self.success_text()));
        }
        table.into_text()
    }

    /// Returns the closing line of a successful run.
    fn success_text(&self) -> &'static str {
        match self.tally().matched() {
            0 => "No object matched.",
            _ if self.waiting() != [0, 0] => "All other selected objects are delivered.",
            _ if self.tally().quarantined_accepted > 0 => {
                "All selected objects are delivered, except the accepted ones."
            }
            _ => "All selected objects are delivered.",
        }
    }
}

/// Describes which sources failed while others were processed, and what to do.
fn failed_sources_advice(failed: &[FailedSource]) -> String {
    let named: Vec<String> =
        failed.iter().map(|FailedSource { source, reason }| one_line(&format!("{source}: {reason}"))).collect();
    format!(
        "{}: {} failed, and the others were processed: {}. Fix the problem, or remove the source from the settings, and rerun",
        error_word(),
        counted(failed.len() as u64, "source"),
        named.join("; ")
    )
}

/// Describes what to do about archived objects and objects whose KMS key cannot be used.
fn waiting_advice([archived, kms]: [u64; 2]) -> String {
    let mut parts = Vec::new();
    if archived > 0 {
        parts.push(format!(
            "{} archived: restore them with `aws s3api restore-object` or S3 Batch Operations",
            objects_are(archived)
        ));
    }
    if kms > 0 {
        parts.push(format!(
            "{} encrypted with a KMS key that cannot be used: enable it or cancel its deletion",
            objects_are(kms)
        ));
    }
    format!("{}. The next sync that covers them delivers them", parts.join("; "))
}

/// Describes what to do about events of missing files that were not delivered again.
fn not_rebuilt_advice(not_rebuilt: &Outstanding, dest: &str) -> String {
    let dest = shell::word(dest);
    let events = counted(not_rebuilt.events, "event");
    let owners = match &not_rebuilt.objects[..] {
        [] => String::new(),
        [object] => format!(" Their object is {}.", one_line(&object.to_string())),
        [first, others @ ..] => format!(
            " Their objects are {} and {}.",
            one_line(&first.to_string()),
            counted(others.len() as u64, "other object")
        ),
    };
    format!(
        "not delivered again yet: {events} of missing files.{owners} If the objects are outside of the selected sources, add \
         their source or widen the selection, and rerun. If they no longer exist, rerun with --rebuild: any other object \
         that contains the events delivers them. If there is none, accept the loss with `trailhose ledger release \
         --not-rebuilt {dest}`"
    )
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
    /// Objects that were processed and rolled back.
    rolled_back: u64,
    /// The followers of the folder, after the run.
    followers: &'a [FollowerView],
    pruned_files: u64,
    pruned_events: u64,
    /// Files of earlier runs that are missing or damaged.
    missing_files: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rebuild: Option<RebuildJson>,
    not_rebuilt: NotRebuiltJson,
    excluded: u64,
    excluded_folders: u64,
    unvisited_folders: u64,
    not_ingested: &'a [NotIngested],
    failed_sources: &'a [FailedSource],
    empty_sources: Vec<&'a str>,
    ledger_requests: LedgerRequests,
    s3_requests: S3Requests,
    /// Cost of these requests at list prices, as if source, ledger and destination were on AWS. Absent if none of them
    /// is.
    #[serde(skip_serializing_if = "Option::is_none")]
    aws_dollars: Option<f64>,
    /// What the detection found and sent. Absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    detection: Option<&'a DetectionCounts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    firehose_requests: Option<FirehoseRequests>,
}

/// The result of `--rebuild`.
#[derive(Serialize)]
struct RebuildJson {
    /// Files that were missing.
    files: u64,
    /// Their events.
    events: u64,
    /// Objects that were read again.
    objects: usize,
}

/// Events that this run or an earlier one with `--rebuild` should have delivered again.
#[derive(Serialize)]
struct NotRebuiltJson {
    events: u64,
    /// The objects that owned them.
    objects: Vec<String>,
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
