//! Tests of the events that a rebuild records until they are delivered, and of the comparison of files and ledger.

use super::*;
use crate::event::EventId;
use crate::ledger::model::page::{Entry, Owner, Page, PageName, Version};
use std::collections::HashSet;

pub(super) const EVENT: &str =
    r#"{"eventID":"e","eventTime":"2023-03-28T10:40:00Z","awsRegion":"eu-west-1","recipientAccountId":"1"}"#;

fn page_name() -> PageName {
    PageName::root(&scope("1"), EventId::from_text(b"e"))
}

/// Makes an object the owner of the event, as a claim does.
pub(super) async fn claim(ledger: &Sqlite, number: u32) {
    let found = ledger.pages(&[page_name()]).await.unwrap().remove(0);
    let (version, mut page) = (found.as_ref().map(|page| page.version), found.unwrap_or_else(|| Page::new(i64::MAX)));
    page.version = Version(version.map_or(1, |version| version.0.wrapping_add(1)));
    let entry = Entry { owner: Owner::Object(object(number).id()), fingerprint: 0, ordinal: None };
    page.entries.insert(EventId::from_text(b"e"), entry);
    ledger.write_page(&page_name(), version, &page).await.unwrap();
}

async fn status(ledger: &Sqlite, number: u32) -> Status {
    ledger.rows(&[object(number).id()]).await.unwrap().remove(0).unwrap().status
}

#[tokio::test]
async fn event_of_a_missing_file_is_outstanding_until_it_is_delivered() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("out");
    let (ledger, sink) = open(&root, options(Compression::None)).await;
    claim(&ledger, 1).await;
    ingest(&ledger, &sink, 1, &[("1", EVENT)]).await;
    // Another object contains the same event, and is done too.
    ingest(&ledger, &sink, 2, &[]).await;
    sink.flush().await.unwrap();
    std::fs::remove_file(files(&root).remove(0)).unwrap();
    assert_eq!(sink.rebuild(HashSet::new()).await.unwrap().objects, [object(1)]);
    let outstanding = Outstanding { events: 1, objects: vec![object(1)] };
    // The record is in the transaction of the rebuild, and later starts find it.
    drop((ledger, sink));
    let (ledger, sink) = open(&root, options(Compression::None)).await;
    assert_eq!(sink.outstanding().await.unwrap(), outstanding);
    assert_eq!((status(&ledger, 1).await, status(&ledger, 2).await), (Status::Open, Status::Done));
    // Its object may still be found, so a rebuild changes nothing.
    assert_eq!(sink.rebuild(HashSet::new()).await.unwrap(), Rebuild::default());
    assert_eq!((sink.outstanding().await.unwrap(), status(&ledger, 2).await), (outstanding.clone(), Status::Done));
    // Its object is gone, so any other object can own and deliver the event.
    let rebuilt = sink.rebuild([object(1).id()].into()).await.unwrap();
    assert_eq!((rebuilt.files, rebuilt.events, rebuilt.unknown), (0, 1, 1));
    assert!(ledger.pages(&[page_name()]).await.unwrap()[0].as_ref().unwrap().entries.is_empty());
    assert_eq!((sink.outstanding().await.unwrap(), status(&ledger, 2).await), (outstanding, Status::Open));
    claim(&ledger, 2).await;
    ingest(&ledger, &sink, 2, &[("1", EVENT)]).await;
    assert_eq!(sink.outstanding().await.unwrap(), Outstanding::default());
    sink.flush().await.unwrap();
    drop((ledger, sink));
    let ledger = root.join(".trailhose/ledger.db");
    let verified = verify(&root, &ledger, true).await.unwrap();
    assert!(verified.is_intact() && verified.events == 1, "{verified:?}");
}

#[tokio::test]
async fn accepted_event_is_no_longer_outstanding() {
    let root = tempfile::tempdir().unwrap();
    let (ledger, sink) = open(root.path(), options(Compression::None)).await;
    claim(&ledger, 1).await;
    ingest(&ledger, &sink, 1, &[("1", EVENT)]).await;
    sink.flush().await.unwrap();
    assert_eq!(sink.accept_outstanding().await.unwrap(), 0);
    std::fs::remove_file(files(root.path()).remove(0)).unwrap();
    assert_eq!(sink.rebuild(HashSet::new()).await.unwrap().events, 1);
    sink.flush().await.unwrap();
    let path = root.path().join(".trailhose/ledger.db");
    assert_eq!(verify(root.path(), &path, true).await.unwrap().outstanding.events, 1);
    assert_eq!(sink.accept_outstanding().await.unwrap(), 1);
    assert_eq!(sink.outstanding().await.unwrap(), Outstanding::default());
    assert!(verify(root.path(), &path, true).await.unwrap().is_intact());
    // The object is still open, so it delivers the event if it is found again.
    assert_eq!(status(&ledger, 1).await, Status::Open);
}

/// `ledger reset` lets an object deliver its events again. Also a repetition of an event without ID is a repetition.
#[tokio::test]
async fn repeated_event_without_id_is_not_unknown() {
    const NAMELESS: &str = r#"{"eventTime":"2023-03-28T10:40:00Z","awsRegion":"eu-west-1","recipientAccountId":"1"}"#;
    let root = tempfile::tempdir().unwrap();
    let (ledger, sink) = open(root.path(), options(Compression::None)).await;
    let first = EventId::from_content(NAMELESS.as_bytes());
    let mut page = Page::new(i64::MAX);
    // The object contains two events with the same content.
    for id in [first, first.occurrence(1)] {
        let entry = Entry { owner: Owner::Object(object(1).id()), fingerprint: 0, ordinal: None };
        page.entries.insert(id, entry);
    }
    ledger.write_page(&page_name(), None, &page).await.unwrap();
    ingest(&ledger, &sink, 1, &[("1", NAMELESS), ("1", NAMELESS)]).await;
    sink.flush().await.unwrap();
    let path = root.path().join(".trailhose/ledger.db");
    let counts = async || {
        let found = verify(root.path(), &path, true).await.unwrap();
        (found.events, found.repeated, found.missing, found.unknown)
    };
    assert_eq!(counts().await, (2, 0, 0, 0));
    ingest(&ledger, &sink, 2, &[("1", NAMELESS), ("1", NAMELESS)]).await;
    sink.flush().await.unwrap();
    assert_eq!(counts().await, (2, 2, 0, 0));
    let foreign = NAMELESS.replace("10:40", "10:41");
    ingest(&ledger, &sink, 3, &[("1", &foreign), ("1", &foreign)]).await;
    sink.flush().await.unwrap();
    assert_eq!(counts().await, (4, 2, 0, 2), "an event that the ledger does not contain is unknown");
}
