//! The result of a local backfill, as a table or JSON.

use crate::table::Table;
use crate::text::{self, one_line};
use indicatif::{DecimalBytes, HumanCount, HumanDuration};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use trailhose::backfill::estimate::Estimate;
use trailhose::billing::price;
use trailhose::listing::ListingCounts;
use trailhose::listing::discover::DiscoveryProgress;
use trailhose::object::ObjectRef;

/// Counts of a local run, and an estimate for ingesting the missing objects.
#[derive(Debug, Serialize)]
pub(super) struct LocalReport {
    dry_run: bool,
    counts: ListingCounts,
    unvisited_folders: u64,
    /// The names of the first of these folders, for each source.
    unvisited: Vec<String>,
    /// Folders whose listing is denied. Their objects are not counted.
    denied: Vec<DeniedFolder>,
    estimate: EstimateView,
}

/// Folders that discovery did not list, of all sources.
#[derive(Debug, Default)]
pub(crate) struct UnlistedFolders {
    pub(crate) count: u64,
    /// The first names of each source.
    pub(super) names: Vec<String>,
    /// Folders whose listing is denied, and entries that cannot be read.
    pub(crate) denied: Vec<DeniedFolder>,
}

/// A folder whose listing is denied.
#[derive(Debug, Serialize)]
pub(crate) struct DeniedFolder {
    folder: String,
    reason: String,
}

impl UnlistedFolders {
    /// Adds the unvisited and the denied folders of a discovery in this bucket or folder.
    pub(super) fn add(&mut self, bucket: &str, progress: &DiscoveryProgress) {
        self.count += progress.unvisited_count;
        let names = progress.unvisited.iter().map(|folder| ObjectRef::new(bucket, folder).to_string());
        self.names.extend(names);
        self.denied.extend(progress.denied.iter().map(|entry| DeniedFolder {
            folder: ObjectRef::new(bucket, &entry.key).to_string(),
            reason: entry.reason.clone(),
        }));
    }

    /// Prints the first names of unvisited folders, and all denied folders, to standard error.
    pub(crate) fn print(&self) {
        for DeniedFolder { folder, reason } in &self.denied {
            anstream::eprintln!("failed: {}: not listed: {}", one_line(folder), one_line(reason));
        }
        self.names.iter().for_each(|folder| {
            anstream::eprintln!(
                "unvisited: {}: not a CloudTrail folder; to read it, use it as SOURCE",
                one_line(folder)
            );
        });
    }
}

/// Estimate for the missing objects.
#[derive(Debug, Serialize)]
struct EstimateView {
    events: u64,
    event_bytes: u64,
    seconds: f64,
    dollars: f64,
    dollars_by_service: BTreeMap<&'static str, f64>,
    prices_of: &'static str,
    prices_as_of: &'static str,
}

impl LocalReport {
    pub(super) fn of(
        counts: ListingCounts,
        unlisted: UnlistedFolders,
        dry_run: bool,
        bytes_per_second: Option<u64>,
    ) -> Self {
        let estimate = Estimate::of(&counts, bytes_per_second);
        let bill = estimate.counted.bill();
        let mut dollars_by_service: BTreeMap<&'static str, f64> = BTreeMap::new();
        for line in &bill.lines {
            *dollars_by_service.entry(line.price.service).or_default() += line.dollars;
        }
        let estimate = EstimateView {
            events: estimate.events,
            event_bytes: estimate.event_bytes,
            seconds: estimate.time.as_secs_f64(),
            dollars: bill.dollars(),
            dollars_by_service,
            prices_of: price::REGION,
            prices_as_of: price::AS_OF,
        };
        let UnlistedFolders { count, names, denied } = unlisted;
        Self { dry_run, counts, unvisited_folders: count, unvisited: names, denied, estimate }
    }

    pub(super) fn table(&self) -> String {
        let Self { dry_run, counts, unvisited_folders, denied, estimate, .. } = self;
        let mut table = Table::new(22, 14);
        table.row("keys", counts.listed, "");
        table.row("done", counts.done, "");
        table.row("in progress", counts.leased, "");
        table.row("quarantined", counts.quarantined, "");
        table.row_if("archived", counts.archived, "restore them; the next run enqueues them");
        table.row_if("KMS key unusable", counts.kms, "enable the key; the next run enqueues them");
        table.row("not logs", counts.not_logs, "");
        table.row("not selected", counts.excluded, "");
        table.row_if("unvisited folders", *unvisited_folders, "not CloudTrail folders");
        table.bad("denied folders", denied.len() as u64, "not listed; their objects are not counted");
        table.row("missing", counts.missing, "");
        table.row_if(
            "  beyond retention",
            counts.past_retention,
            "older than ledger retention; may be delivered again",
        );
        table.row("unfinished", counts.unfinished, "");
        let sent = if *dry_run { "to enqueue" } else { "enqueued" };
        table.row(sent, counts.sent, &format!("{} as stored", DecimalBytes(counts.bytes)));
        let reads = format!("list requests, {} ledger rows read", HumanCount(counts.ledger_reads));
        table.row("requests", counts.list_requests, &reads);
        table.head("Estimate for ingesting them, from the average object:");
        let events = format!("~{}", HumanCount(estimate.events));
        table.text("events", &events, &DecimalBytes(estimate.event_bytes).to_string());
        let time = HumanDuration(Duration::try_from_secs_f64(estimate.seconds).unwrap_or(Duration::MAX)).to_string();
        table.text("time", &format!("~{time}"), "at the stream's default quota of 5 MiB/s, or at --bytes-per-second");
        for (service, dollars) in &estimate.dollars_by_service {
            table.text(service, &format!("~{}", text::dollars(*dollars, 4)), "");
        }
        let list = format!("list prices of {}, {}", estimate.prices_of, estimate.prices_as_of);
        table.text("total", &format!("~{}", text::dollars(estimate.dollars, 4)), &list);
        table.into_text()
    }
}
