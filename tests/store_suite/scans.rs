//! Ledger scans return everything once, in batches of any size.

use super::refused;
use std::collections::BTreeMap;
use trailhose::event::EventId;
use trailhose::ledger::inspect::scan::{LedgerScan, ScanFilter};
use trailhose::ledger::model::page::{Entry, Owner, Page, PageName};
use trailhose::ledger::model::row::{Change, Guard, Row, Seconds, Token};
use trailhose::ledger::store::Store;
use trailhose::object::Object;

const NOW: Seconds = 1_800_000_000;
const MINE: Token = Token(0xab);

async fn put(store: &dyn Store, key: &str, etag: &str, change: Change) -> Row {
    let object = Object { bucket: "logs".into(), key: key.into(), etag: etag.into() };
    let lease = Change::Lease { token: MINE, until: NOW };
    refused(store.change_row(&object, Guard::Leasable { now: NOW, token: MINE }, &lease).await).unwrap();
    refused(store.change_row(&object, Guard::Held(MINE), &change).await).unwrap()
}

/// Runs a whole scan, and returns the rows and pages of this run. Fails if one is returned twice.
async fn scan_all(
    scan: &dyn LedgerScan,
    over: &ScanFilter,
    run: &str,
    at_most: u32,
) -> (BTreeMap<String, Row>, BTreeMap<PageName, Page>) {
    let (mut rows, mut pages) = (BTreeMap::new(), BTreeMap::new());
    let mut after = None;
    loop {
        let batch = scan.scan(over, after.as_ref(), at_most).await.unwrap();
        assert!(batch.rows.len() + batch.pages.len() <= at_most as usize, "{at_most}");
        for row in batch.rows.into_iter().filter(|row| row.object.key.starts_with(run)) {
            let name = format!("{}#{}", row.object.key, row.object.etag);
            assert!(rows.insert(name.clone(), row).is_none(), "{name} is returned twice");
        }
        for (name, page) in batch.pages.into_iter().filter(|(name, _)| name.0.starts_with(run)) {
            assert!(pages.insert(name.clone(), page).is_none(), "{name} is returned twice");
        }
        match batch.next {
            None => return (rows, pages),
            next => after = next,
        }
    }
}

pub async fn scan_returns_every_row_and_page_once(store: &dyn Store, scan: &dyn LedgerScan, run: &str) {
    let run = format!("{run}-scan");
    let (mut rows, mut pages) = (BTreeMap::new(), BTreeMap::new());
    for number in 0..23 {
        let row = put(store, &format!("{run}/{number}"), "e", Change::Advance(number)).await;
        rows.insert(format!("{run}/{number}#e"), row);
    }
    for number in 0..11u8 {
        let mut page = Page::new(if number % 2 == 0 { 5 } else { NOW });
        let entry = Entry { owner: Owner::Delivered, fingerprint: 1, ordinal: None };
        page.entries.insert(EventId([number; 16]), entry);
        let name = PageName(format!("{run}/eu-west-1/{number}"));
        refused(store.write_page(&name, None, &page).await).unwrap();
        pages.insert(name, page);
    }
    for at_most in [7, 1000] {
        assert_eq!(scan_all(scan, &ScanFilter::All, &run, at_most).await, (rows.clone(), pages.clone()), "{at_most}");
        assert_eq!(
            scan_all(scan, &ScanFilter::Pages, &run, at_most).await,
            (BTreeMap::new(), pages.clone()),
            "{at_most}"
        );
    }
}

/// Not for the emulators: the size that they report is not that of their contents.
pub async fn size_includes_rows_and_pages(store: &dyn Store, scan: &dyn LedgerScan, run: &str) {
    let run = format!("{run}-size");
    let before = scan.size().await.unwrap();
    put(store, &format!("{run}/a"), "e", Change::Settle).await;
    put(store, &format!("{run}/b"), "e", Change::Quarantine { reason: "r".repeat(100_000), at: NOW }).await;
    refused(store.write_page(&PageName(format!("{run}/eu-west-1/1")), None, &Page::new(NOW)).await).unwrap();
    let after = scan.size().await.unwrap();
    assert_eq!((after.items - before.items, after.age), (3, 0));
    assert_eq!(after.quarantined.unwrap() - before.quarantined.unwrap(), 1);
    assert!(after.bytes - before.bytes >= 98_000, "{before:?} {after:?}");
}

pub async fn quarantined_rows_are_listed_until_reopened(store: &dyn Store, scan: &dyn LedgerScan, run: &str) {
    let run = format!("{run}-quarantined");
    let mut quarantined = BTreeMap::new();
    for number in 0..9 {
        let key = format!("{run}/{number}");
        let change = match number % 3 {
            0 => Change::Settle,
            _ => Change::Quarantine { reason: format!("reason {number}"), at: NOW },
        };
        let row = put(store, &key, "e", change).await;
        if number % 3 > 0 {
            quarantined.insert(format!("{key}#e"), row);
        }
    }
    for at_most in [2, 1000] {
        assert_eq!(
            scan_all(scan, &ScanFilter::Quarantined, &run, at_most).await,
            (quarantined.clone(), BTreeMap::new()),
            "{at_most}"
        );
    }
    let (_, opened) = quarantined.pop_first().unwrap();
    let forgotten =
        store.change_row_by_id(opened.object.id(), Guard::Quarantined { now: NOW + 1 }, &Change::Reset).await;
    assert_eq!(refused(forgotten).unwrap().reason, None);
    assert_eq!(scan_all(scan, &ScanFilter::Quarantined, &run, 1000).await.0, quarantined);
}

pub async fn all_versions_of_an_object_are_found(store: &dyn Store, scan: &dyn LedgerScan, run: &str) {
    let run = format!("{run}-versions");
    let mut rows = BTreeMap::new();
    for (key, etag) in [("a", "1"), ("a", "2"), ("a", "3"), ("a/b", "1"), ("b", "1"), ("c", "1")] {
        let row = put(store, &format!("{run}/{key}"), etag, Change::Settle).await;
        rows.insert(format!("{run}/{key}#{etag}"), row);
    }
    let asked = |keys: &[&str]| {
        ScanFilter::Versions(keys.iter().map(|key| ("logs".to_owned(), format!("{run}/{key}"))).collect())
    };
    let found = scan_all(scan, &asked(&["a", "c", "none"]), &run, 1000).await.0;
    rows.retain(|name, _| name.starts_with(&format!("{run}/a#")) || name.starts_with(&format!("{run}/c#")));
    assert_eq!(found, rows);
    let elsewhere = ScanFilter::Versions(vec![("other".to_owned(), format!("{run}/a"))]);
    assert_eq!(scan_all(scan, &elsewhere, &run, 1000).await.0, BTreeMap::new());
}
