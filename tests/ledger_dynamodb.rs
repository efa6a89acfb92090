//! The DynamoDB store: errors, written items, and counted requests.

mod bed;
mod common;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use bed::emulator::Emulator;
use bed::faults::{Fault, Faults};
use common::stub::{Reply, Stub};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use trailhose::aws;
use trailhose::event::EventId;
use trailhose::ledger::cost;
use trailhose::ledger::model::page::{Entry, Owner, Page, PageName};
use trailhose::ledger::model::row::{Change, Counts, Guard, Row, Token};
use trailhose::ledger::store::dynamodb::DynamoDb;
use trailhose::ledger::store::{Store, StoreError, WriteError};
use trailhose::object::{Object, ObjectId};

const NOW: i64 = 1_800_000_000;
const MINE: Token = Token(1);
const HELD: Guard = Guard::Held(MINE);
const LEASABLE: Guard = Guard::Leasable { now: NOW, token: MINE };

fn lease() -> Change {
    Change::Lease { token: MINE, until: NOW + 60 }
}

fn object(key: &str) -> Object {
    Object { bucket: "logs".into(), key: key.into(), etag: "e".into() }
}

fn page(events: u8) -> Page {
    let mut page = Page::new(NOW);
    for number in 0..events {
        let entry = Entry { owner: Owner::Object(ObjectId([9; 16])), fingerprint: 1, ordinal: None };
        page.entries.insert(EventId([number; 16]), entry);
    }
    page
}

async fn table(emulator: &Emulator, name: &str) -> Client {
    let client = aws::dynamodb(&emulator.config());
    bed::table::create(&client, name, &[]).await;
    client
}

/// Returns a store whose calls go through the fault proxy. The schema version of its table is stored and checked.
async fn faulty(name: &str) -> (DynamoDb, Faults) {
    let client = table(Emulator::shared_ministack(), name).await;
    put_schema(&client, name, "1").await;
    let faults = Faults::before(Emulator::shared_ministack());
    let store = DynamoDb::new(aws::dynamodb(&faults.config()), name);
    store.pages(&[]).await.unwrap();
    (store, faults)
}

/// Stores a schema version, like the program of that version.
async fn put_schema(client: &Client, table: &str, version: &str) {
    let put = client.put_item().table_name(table).item("pk", AttributeValue::S("schema".into()));
    put.item("version", AttributeValue::N(version.into())).send().await.unwrap();
}

#[tokio::test]
async fn throttled_and_failed_calls_are_retried() {
    let (store, faults) = faulty("repeated").await;
    for operation in ["UpdateItem", "PutItem", "BatchGetItem"] {
        let next = faults.count(operation);
        faults.on(operation, next..next + 1, Fault::Throttle);
        faults.on(operation, next + 1..next + 2, Fault::Unavailable);
        faults.on(operation, next + 2..next + 3, Fault::Reset);
    }
    let object = object("a");
    let row = store.change_row(&object, LEASABLE, &lease()).await.unwrap();
    assert_eq!(store.rows(&[object.id()]).await.unwrap(), [Some(row)]);
    let (name, page) = (PageName("p".into()), page(3));
    store.write_page(&name, None, &page).await.unwrap();
    assert_eq!(store.pages(&[name]).await.unwrap(), [Some(page)]);
    assert_eq!(["UpdateItem", "PutItem"].map(|operation| faults.count(operation)), [4, 4]);
}

#[tokio::test]
async fn lost_reply_of_a_write_is_retried() {
    let (store, faults) = faulty("lost").await;
    faults.on("UpdateItem", 0..1, Fault::LoseReply);
    faults.on("PutItem", 0..1, Fault::LoseReply);
    faults.on("PutItem", 2..3, Fault::CutReply(1));
    let object = object("a");
    let row = store.change_row(&object, LEASABLE, &lease()).await.unwrap();
    assert_eq!((row.token, row.until, row.cursor), (Some(MINE), NOW + 60, 0));
    let (name, first, second) = (PageName("p".into()), page(3), page(4));
    for (expected_version, page) in [(None, &first), (Some(first.version), &second)] {
        match store.write_page(&name, expected_version, page).await {
            Ok(()) => {}
            Err(WriteError::Refused(Some(current))) => assert_eq!(&*current, page, "first attempt"),
            Err(other) => panic!("{other}"),
        }
        assert_eq!(store.pages(std::slice::from_ref(&name)).await.unwrap(), [Some(page.clone())]);
    }
}

#[tokio::test]
async fn denied_call_names_action_and_table() {
    let (store, faults) = faulty("denied").await;
    faults.when(|_| Some(Fault::Deny));
    let reads = faults.count("BatchGetItem");
    let page_name = PageName("p".into());
    let denied = [
        (
            "dynamodb:UpdateItem",
            store.change_row(&object("a"), LEASABLE, &lease()).await.map(drop).map_err(store_error),
        ),
        ("dynamodb:PutItem", store.write_page(&page_name, None, &page(1)).await.map_err(store_error)),
        ("dynamodb:BatchGetItem", store.rows(&[object("a").id()]).await.map(drop)),
    ];
    for (action, outcome) in denied {
        match outcome {
            Err(StoreError::Denied(text)) => assert!(text.contains(action) && text.contains("denied"), "{text}"),
            other => panic!("{action}: {other:?}"),
        }
        let earlier = if action == "dynamodb:BatchGetItem" { reads } else { 0 };
        let calls = faults.count(action.trim_start_matches("dynamodb:")) - earlier;
        assert_eq!(calls, 1, "a denied call is not retried");
    }
}

fn store_error<T: std::fmt::Debug>(error: WriteError<T>) -> StoreError {
    match error {
        WriteError::Store(error) => error,
        refused => panic!("{refused}"),
    }
}

#[tokio::test]
async fn missing_or_foreign_table_is_a_clear_error() {
    let client = aws::dynamodb(&Emulator::shared_ministack().config());
    let error = DynamoDb::new(client.clone(), "no-such-table").rows(&[object("a").id()]).await.unwrap_err();
    assert!(matches!(error, StoreError::Unreadable(_)), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("table no-such-table") && text.contains("create the table"), "{text}");

    let client = table(Emulator::shared_ministack(), "strange").await;
    let id = object("a").id();
    let put = client.put_item().table_name("strange").item("pk", AttributeValue::S(format!("o#{id}")));
    put.item("status", AttributeValue::N("1".into())).send().await.unwrap();
    let error = DynamoDb::new(client, "strange").rows(&[id]).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unreadable(text) if text.contains("status")), "{error:?}");
}

/// Returns the results of all requests that depend on the schema version.
async fn all_requests(store: &DynamoDb) -> [(&'static str, Result<(), StoreError>); 5] {
    let (object, name) = (object("a"), PageName("p".into()));
    let page = page(1);
    [
        ("change_row", store.change_row(&object, LEASABLE, &lease()).await.map(drop).map_err(store_error)),
        (
            "change_row_by_id",
            store.change_row_by_id(object.id(), HELD, &Change::Settle).await.map(drop).map_err(store_error),
        ),
        ("rows", store.rows(&[object.id()]).await.map(drop)),
        ("pages", store.pages(std::slice::from_ref(&name)).await.map(drop)),
        ("write_page", store.write_page(&name, None, &page).await.map_err(store_error)),
    ]
}

#[tokio::test]
async fn schema_version_is_read_once_per_process_and_stored_with_the_first_page() {
    let client = table(Emulator::shared_ministack(), "versioned").await;
    for (process, puts) in [(0, 2), (1, 1)] {
        let faults = Faults::before(Emulator::shared_ministack());
        let store = DynamoDb::new(aws::dynamodb(&faults.config()), "versioned");
        // Concurrent first requests share one read.
        let ids = [object("a").id()];
        let (first, second) = tokio::join!(store.rows(&ids), store.rows(&ids));
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(faults.count("BatchGetItem"), 3, "one for the version, two for rows");
        assert_eq!(item(&client, "versioned", "schema").await.is_empty(), process == 0, "reading stores nothing");
        let name = PageName(format!("p{process}"));
        store.write_page(&name, None, &page(1)).await.unwrap();
        assert_eq!(item(&client, "versioned", "schema").await["version"], AttributeValue::N("1".into()));
        // 20 objects, each with the requests of its lease, its rows and its pages.
        for number in 0..20 {
            let object = object(&format!("{process}/{number}"));
            store.change_row(&object, LEASABLE, &lease()).await.unwrap();
            store.pages(std::slice::from_ref(&name)).await.unwrap();
            store.clone().rows(&[object.id()]).await.unwrap();
        }
        assert_eq!((faults.count("BatchGetItem"), faults.count("PutItem")), (3 + 40, puts));
    }
}

#[tokio::test]
async fn program_refuses_a_table_of_a_newer_version_and_changes_nothing() {
    let client = table(Emulator::shared_ministack(), "newer").await;
    put_schema(&client, "newer", "2").await;
    let faults = Faults::before(Emulator::shared_ministack());
    let store = DynamoDb::new(aws::dynamodb(&faults.config()), "newer");
    let checked = [("check", store.check().await)];
    for (request, result) in all_requests(&store).await.into_iter().chain(checked) {
        match result {
            Err(StoreError::Unreadable(text)) => assert_eq!(
                text,
                "a newer version of trailhose wrote the ledger in table newer (schema version 2; this version reads up \
                 to 1): update trailhose",
                "{request}"
            ),
            other => panic!("{request}: {other:?}"),
        }
    }
    assert_eq!((faults.count("PutItem"), faults.count("UpdateItem")), (0, 0));
    // The refusal is not remembered: after the table is restored, the same process works.
    put_schema(&client, "newer", "1").await;
    for (request, result) in all_requests(&store).await {
        assert!(result.is_ok() || request == "change_row_by_id", "{request}: {result:?}");
    }
}

#[tokio::test]
async fn two_processes_that_store_the_schema_version_at_once_agree() {
    let (store, client) = {
        let client = table(Emulator::shared_ministack(), "raced").await;
        let faults = Faults::before(Emulator::shared_ministack());
        faults.on("PutItem", 0..1, Fault::LoseReply);
        let store = DynamoDb::new(aws::dynamodb(&faults.config()), "raced");
        // This process has read that there is no version. Its own write takes effect, and its reply is lost.
        store.pages(&[]).await.unwrap();
        store.write_page(&PageName("p".into()), None, &page(1)).await.unwrap();
        assert_eq!(faults.count("PutItem"), 3);
        (DynamoDb::new(client.clone(), "raced"), client)
    };
    // A newer program raises the version between this process's read and its write.
    client.delete_item().table_name("raced").key("pk", AttributeValue::S("schema".into())).send().await.unwrap();
    store.pages(&[]).await.unwrap();
    put_schema(&client, "raced", "7").await;
    let refused = store.write_page(&PageName("q".into()), None, &page(1)).await;
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("schema version 7"), "{text}");
    assert!(store.pages(&[PageName("q".into())]).await.unwrap()[0].is_none());
}

async fn item(client: &Client, table: &str, pk: &str) -> std::collections::HashMap<String, AttributeValue> {
    let got = client.get_item().table_name(table).key("pk", AttributeValue::S(pk.to_owned())).send().await.unwrap();
    got.item.unwrap_or_default()
}

/// Returns an item's size by the published rules, independently of the code under test.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html>
fn size(item: &std::collections::HashMap<String, AttributeValue>) -> usize {
    let digits =
        |number: &str| number.trim_start_matches('-').trim_start_matches('0').trim_end_matches('0').len().max(1);
    let value = |value: &AttributeValue| match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(number) => digits(number).div_ceil(2) + 1 + usize::from(number.starts_with('-')),
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        AttributeValue::Bool(_) => 1,
        other => panic!("{other:?} is not expected in an item"),
    };
    item.iter().map(|(name, attribute)| name.len() + value(attribute)).sum()
}

/// Checks every state of a row: the counted size, the expiry, and the entry in the index.
#[tokio::test]
async fn item_size_expiry_and_index_match_its_state() {
    let client = table(Emulator::shared_ministack(), "items").await;
    let store = DynamoDb::new(client.clone(), "items");
    let object = object("a");
    let counts = Counts { seen: 1200, delivered: 1, duplicate: 22, filtered: 333, oversize: 0 };
    let quarantine = || Change::Quarantine { reason: "gzip ends at byte 12".into(), at: NOW };
    let pk = format!("o#{}", object.id());
    let steps = [
        (lease(), false, false),
        (Change::Advance(500), false, false),
        (quarantine(), false, true),
        (Change::Accept { reason: "known since 2024".into() }, false, true),
        (Change::WithdrawAcceptance, false, true),
        (Change::Accept { reason: "known since 2023".into() }, false, true),
        (Change::ResetCursor { token: MINE }, false, false),
        (quarantine(), false, true),
        (Change::Settle, false, false),
        (quarantine(), false, true),
        (Change::Complete { counts, expires: NOW + 77 }, true, false),
        (Change::ResetCursor { token: MINE }, false, false),
        (quarantine(), false, true),
        (Change::Reset, false, false),
    ];
    for (at, (change, expires, listed)) in steps.into_iter().enumerate() {
        let guard = if at == 0 { LEASABLE } else { HELD };
        let row: Row = store.change_row(&object, guard, &change).await.unwrap();
        let item = item(&client, "items", &pk).await;
        assert_eq!(cost::row_bytes(&row), size(&item), "after {change:?}: {item:?}");
        assert_eq!(item.contains_key("expires"), expires, "after {change:?}");
        assert_eq!(item.contains_key("quarantined_at"), listed, "after {change:?}");
    }
    for (events, full) in [(0, false), (40, true)] {
        let (name, page) = (PageName(format!("111122223333/eu-west-1/{events}")), Page { full, ..page(events) });
        store.write_page(&name, None, &page).await.unwrap();
        let item = item(&client, "items", &format!("p#{name}")).await;
        assert_eq!(cost::page_bytes(&name, &page), size(&item), "{item:?}");
        assert!(item.contains_key("expires"));
    }
}

#[tokio::test]
async fn requests_and_units_include_refused_writes() {
    let client = table(Emulator::shared_ministack(), "counted").await;
    let store = DynamoDb::new(client, "counted");
    let (object, name, long) = (object("a"), PageName("p".into()), page(200));
    store.change_row(&object, LEASABLE, &lease()).await.unwrap();
    store.change_row(&object, Guard::Held(Token(2)), &Change::Settle).await.unwrap_err();
    store.write_page(&name, None, &long).await.unwrap();
    store.write_page(&name, None, &page(1)).await.unwrap_err();
    store.pages(&[name, PageName("absent".into())]).await.unwrap();
    let spent = store.counters().usage();
    // The schema version, two writes of the row, one write of the 3.6 kB page, and a refusal, which costs as much as the
    // larger of the stored and the new page.
    assert_eq!((spent.writes, spent.refused, spent.write_units), (5, 2, 1 + 2 + 4 + 4));
    assert_eq!((spent.reads, spent.read_units), (2, 1 + 2));
}

/// DynamoDB returns a part of a batch if the batch exceeds 16 MB or the table throttles.
#[tokio::test]
async fn unprocessed_keys_are_requested_again() {
    let batches = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&batches);
    let stub = Stub::start(move |request| {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let asked = &body["RequestItems"]["t"];
        assert_eq!(asked["ConsistentRead"], true);
        let keys = asked["Keys"].as_array().unwrap();
        if keys[0]["pk"]["S"] == "schema" {
            let header = vec![("content-type", "application/x-amz-json-1.0".into())];
            return Reply::Answer(200, header, br#"{"Responses":{"t":[]},"UnprocessedKeys":{}}"#.to_vec());
        }
        let mut seen = seen.lock().unwrap();
        seen.push(keys.len());
        // The second reply contains no items.
        let returned = if seen.len() == 2 { 0 } else { keys.len().min(40) };
        let items: Vec<Value> = keys[..returned]
            .iter()
            .map(|key| {
                json!({"pk": key["pk"], "bucket": {"S": "logs"}, "key": {"S": key["pk"]["S"]}, "etag": {"S": "e"},
                       "status": {"S": "open"}, "until": {"N": "0"}, "cursor": {"N": "0"}})
            })
            .collect();
        let mut answer = json!({"Responses": {"t": items}, "UnprocessedKeys": {}});
        if returned < keys.len() {
            answer["UnprocessedKeys"] = json!({"t": {"Keys": keys[returned..], "ConsistentRead": true}});
        }
        Reply::Answer(200, vec![("content-type", "application/x-amz-json-1.0".into())], answer.to_string().into_bytes())
    });
    let config = common::config(&stub.endpoint()).await;
    let store = DynamoDb::new(aws::dynamodb(&config), "t");
    let ids: Vec<ObjectId> = (0..100).map(|number| ObjectId([number; 16])).collect();
    let rows = store.rows(&ids).await.unwrap();
    assert_eq!(rows.len(), ids.len(), "one row for each ID");
    for (id, row) in ids.iter().zip(rows) {
        assert_eq!(row.map(|row| row.object.key), Some(format!("o#{id}")));
    }
    assert_eq!(*batches.lock().unwrap(), [100, 60, 60, 20]);
    assert_eq!(store.counters().usage().read_units, 1 + 100, "an unprocessed key is billed once");
}

#[tokio::test]
async fn size_is_read_from_the_table_and_its_index() {
    use trailhose::ledger::inspect::scan::{LedgerScan, LedgerSize};
    let answer = |index: &str| {
        json!({ "Table": { "TableName": "t", "ItemCount": 120, "TableSizeBytes": 81_920, "GlobalSecondaryIndexes": [
            { "IndexName": index, "ItemCount": 3, "IndexSizeBytes": 900 } ] } })
        .to_string()
    };
    for (index, quarantined) in [("quarantined", Some(3)), ("another", None)] {
        let body = answer(index);
        let stub = Stub::start(move |request| {
            assert_eq!(request.header("x-amz-target"), Some("DynamoDB_20120810.DescribeTable"));
            Reply::Answer(200, vec![("content-type", "application/x-amz-json-1.0".into())], body.clone().into_bytes())
        });
        let store = DynamoDb::new(aws::dynamodb(&common::config(&stub.endpoint()).await), "t");
        let size = store.size().await.unwrap();
        assert_eq!(size, LedgerSize { items: 120, bytes: 81_920, quarantined, age: 6 * 3600 });
    }
}
