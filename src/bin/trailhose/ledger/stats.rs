//! `trailhose ledger stats`: shows the size and the contents of a ledger.

use super::open::{OpenedLedger, failed};
use crate::print::{print, print_json};
use crate::table::Table;
use indicatif::{DecimalBytes, HumanCount};
use serde::Serialize;
use trailhose::ledger::inspect::scan::{ScanBatch, ScanFilter};
use trailhose::ledger::model::page::Owner;
use trailhose::ledger::model::row::{Counts, Status};

/// Size and contents of a ledger.
#[derive(Debug, Serialize)]
struct StatsReport {
    ledger: String,
    items: u64,
    bytes: u64,
    /// Maximum age of the figures above in seconds.
    age: u64,
    quarantined: Option<u64>,
    /// Contents, if they were read.
    contents: Option<LedgerContents>,
}

/// Contents of a ledger.
#[derive(Debug, Default, Serialize)]
struct LedgerContents {
    objects: u64,
    open: u64,
    settled: u64,
    done: u64,
    quarantined: u64,
    /// Quarantined objects that a person accepted. Included in `quarantined`.
    accepted: u64,
    /// Objects with an unexpired lease.
    leased: u64,
    /// Event counts of the objects that are done.
    #[serde(flatten)]
    counts: Counts,
    pages: u64,
    /// Pages that were split into shards.
    full: u64,
    /// Expired pages, which count as absent.
    expired: u64,
    /// Event IDs in the pages that are not expired.
    ids: u64,
    /// Event IDs delivered by another object than their owner.
    helped: u64,
}

impl LedgerContents {
    fn add(&mut self, batch: &ScanBatch, now: i64) {
        for row in &batch.rows {
            self.objects += 1;
            match row.status {
                Status::Open => self.open += 1,
                Status::Settled => self.settled += 1,
                Status::Done => self.done += 1,
                Status::Quarantined => self.quarantined += 1,
            }
            self.accepted += u64::from(row.accepted.is_some());
            self.leased += u64::from(row.leased(now));
            self.counts.merge(&row.counts.unwrap_or_default());
        }
        for (_, page) in &batch.pages {
            self.pages += 1;
            self.full += u64::from(page.full);
            if !page.live(now) {
                self.expired += 1;
                continue;
            }
            self.ids += page.entries.len() as u64;
            self.helped += page.entries.values().filter(|entry| entry.owner == Owner::Delivered).count() as u64;
        }
    }
}

pub(super) async fn run(open: &OpenedLedger, scan: bool, json: bool) -> Result<u8, String> {
    let size = open.scanner.size().await.map_err(failed)?;
    let mut contents = None;
    if scan || !open.is_billed() {
        let mut walk = open.walk(ScanFilter::All);
        let mut counted = LedgerContents::default();
        while let Some(batch) = walk.next().await? {
            counted.add(&batch, open.ledger.now());
        }
        contents = Some(counted);
    }
    let stats = StatsReport {
        ledger: open.at.to_string(),
        items: size.items,
        bytes: size.bytes,
        age: size.age,
        quarantined: size.quarantined,
        contents,
    };
    if json {
        print_json(&stats)
    } else {
        print(&table(&stats, open))
    }
    Ok(0)
}

fn table(stats: &StatsReport, open: &OpenedLedger) -> String {
    let mut table = Table::new(16, 16);
    table.head(&stats.ledger);
    let age = match stats.age {
        0 => String::new(),
        age => format!("counted by DynamoDB up to {} hours ago", age.div_ceil(3600)),
    };
    table.row("items", stats.items, &age);
    table.text("size", &DecimalBytes(stats.bytes).to_string(), &age);
    match &stats.contents {
        None => {
            match stats.quarantined {
                Some(count) => table.row("quarantined", count, &age),
                None => {
                    table.text("quarantined", "?", "the table has no index `quarantined`: deploy the current template")
                }
            }
            let cost = format!("use --scan to count them, for about {}", open.cost_of_all(stats.bytes));
            table.text("contents", "not read", &cost);
        }
        Some(found) => {
            table.row("objects", found.objects, &format!("{} under a lease", HumanCount(found.leased)));
            table.row("  done", found.done, "");
            table.row("  settled", found.settled, "own events delivered; waiting for other objects");
            table.row("  open", found.open, "");
            let accepted =
                if found.accepted > 0 { format!("{} accepted", HumanCount(found.accepted)) } else { String::new() };
            table.row("  quarantined", found.quarantined, &accepted);
            table.row("events", found.counts.seen, "in objects that are done");
            table.row("  delivered", found.counts.delivered, "");
            table.row("  duplicates", found.counts.duplicate, "");
            table.row("  filtered", found.counts.filtered, "");
            table.row("  oversize", found.counts.oversize, "");
            table.row("pages", found.pages, &format!("{} full, {} expired", found.full, found.expired));
            table.row("event IDs", found.ids, &format!("{} delivered by another object", HumanCount(found.helped)));
            if open.is_billed() {
                table.text("cost", "", &open.cost_so_far());
            }
        }
    }
    table.into_text()
}
