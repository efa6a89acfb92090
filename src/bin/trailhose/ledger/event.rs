//! `trailhose ledger event`: shows the page and the owner of one event.

use super::open::{OpenedLedger, failed};
use super::view::{line, named, say};
use crate::args::EventArgs;
use crate::print::{print, print_json};
use clap::builder::styling::Style;
use serde::Serialize;
use trailhose::event::{EventId, EventScope, WINDOW_MINUTES};
use trailhose::ledger::EventTrace;
use trailhose::ledger::inspect::scan::ScanFilter;
use trailhose::ledger::model::page::Owner;

/// The ledger entry of an event in one page.
#[derive(Debug, Serialize)]
struct EventView {
    id: String,
    /// Account, region and minutes since 1970, then `~` and the shard, if any.
    page: String,
    delivered: bool,
    /// The owner with its version; `None` if another object delivered the event, or the owner's row expired.
    owner: Option<String>,
    owner_status: Option<&'static str>,
    /// Index of the event in the owner, if recorded.
    ordinal: Option<u32>,
    because: &'static str,
}

impl EventView {
    fn of(id: &str, traced: &EventTrace) -> Self {
        let because = match (&traced.owner, traced.entry.owner, traced.delivered()) {
            (_, Owner::Delivered, _) => "delivered by another object",
            (None, Owner::Object(_), _) => "its owner is done, and the owner's row expired",
            (Some(_), _, true) => "recorded in the owner's row",
            (Some(_), _, false) => "not recorded in the owner's row",
        };
        Self {
            id: id.to_owned(),
            page: traced.page.0.clone(),
            delivered: traced.delivered(),
            owner: traced.owner.as_ref().map(named),
            owner_status: traced.owner.as_ref().map(|row| row.status.as_str()),
            ordinal: traced.entry.ordinal,
            because,
        }
    }

    fn text(&self) -> String {
        let bold = Style::new().bold();
        let mut out = format!("{bold}{}{bold:#}\n", crate::text::one_line(&self.id));
        let delivered = if self.delivered { "yes" } else { "not proven" };
        line(&mut out, "delivered", &format!("{delivered}: {}", self.because));
        line(&mut out, "page", &self.page);
        if let (Some(owner), Some(status)) = (&self.owner, self.owner_status) {
            let at = self.ordinal.map_or(String::new(), |ordinal| format!(", event {ordinal}"));
            line(&mut out, "owner", &format!("{owner}, {status}{at}"));
        }
        out
    }
}

pub(super) async fn run(open: &OpenedLedger, args: &EventArgs, json: bool) -> Result<u8, String> {
    let id = EventId::from_text(args.id.as_bytes());
    let traced = match args.scan {
        true => scan_all_pages(open, id).await?,
        false => open.ledger.trace(id, &scopes(args)).await.map_err(failed)?,
    };
    for traced in &traced {
        let found = EventView::of(&args.id, traced);
        if json { print_json(&found) } else { print(&found.text()) }
    }
    if open.is_billed() && !json {
        say(&format!("read: {}", open.cost_so_far()));
    }
    if traced.is_empty() {
        let scope = if args.scan { "" } else { " for this account, region and time" };
        say(&format!(
            "{}: event not found{scope}: not ingested, or its record expired. IDs are case-sensitive.",
            open.at
        ));
        return Ok(super::NOT_FOUND);
    }
    Ok(0)
}

/// Returns the scopes to search for each account and region: the requested minutes, the other minutes of their time
/// windows, because aggregated events are distributed over a window, and the scope of events without a time.
fn scopes(args: &EventArgs) -> Vec<EventScope> {
    let minute = args.time.unwrap_or_default().div_euclid(60);
    let first = minute - args.minutes;
    let last = minute + args.minutes;
    let first = first - first.rem_euclid(WINDOW_MINUTES);
    let last = last - last.rem_euclid(WINDOW_MINUTES) + WINDOW_MINUTES - 1;
    let minutes = (first..=last).map(Some).chain([None]);
    let of = |account: &String, region: &String| {
        let (account, region) = (account.clone(), region.clone());
        move |minute| EventScope { account: account.clone(), region: region.clone(), minute }
    };
    let pairs = args.accounts.iter().flat_map(|account| args.regions.iter().map(move |region| (account, region)));
    pairs.flat_map(|(account, region)| minutes.clone().map(of(account, region))).collect()
}

async fn scan_all_pages(open: &OpenedLedger, id: EventId) -> Result<Vec<EventTrace>, String> {
    let mut found = Vec::new();
    let mut walk = open.walk(ScanFilter::Pages);
    let now = open.ledger.now();
    while let Some(batch) = walk.next().await? {
        for (name, page) in batch.pages {
            if let Some(entry) = page.entries.get(&id).filter(|_| page.live(now)) {
                found.push((name, *entry));
            }
        }
    }
    open.ledger.owners(found).await.map_err(failed)
}
