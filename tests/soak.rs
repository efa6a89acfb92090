//! The whole system on its worst day: objects that overlap, services that throttle, fail, reset, lose replies and take
//! half of a batch, functions killed at their work, messages that come twice. Then the day ends, one backfill runs, and
//! the lake must hold every event.
//!
//! Short in `./test`; `TRAILHOSE_SOAK_SECONDS=600 TRAILHOSE_SOAK_EVENTS=20000` is the long one, which also waits until the
//! leases of the killed end by themselves.

mod bed;

use aws_sdk_dynamodb::types::AttributeValue;
use bed::faults::{Call, Fault};
use bed::stack::lake::id;
use bed::stack::{LOG_BUCKET, Stack};
use flate2::{Compression, write::GzEncoder};
use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};
use trailhose::backfill::budget::Budget;
use trailhose::backfill::dispatch::{MessageSender, Packing, QueueDispatcher};
use trailhose::backfill::{Backfill, UnitEnd};
use trailhose::ledger::store::dynamodb::DynamoDb;
use trailhose::ledger::{Ledger, system_clock};
use trailhose::listing::Span;
use trailhose::listing::discover::{Discovery, DiscoveryRequest};
use trailhose::notification;
use trailhose::object::ObjectRef;
use trailhose::queue::sqs::Sqs;
use trailhose::source::s3::S3;

/// Events that an object has to itself, and events it shares with its neighbour.
const OWN: u32 = 20;
const SHARED: u32 = 5;

/// Messages, and so objects, that one invocation takes: what one crash interrupts at the most.
const BATCH: usize = 10;

/// How long the quiet may take.
const PATIENCE: Duration = Duration::from_secs(1_500);

fn setting(name: &str, default: u32) -> u32 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// The events of one object: its own, and the first of the next one's.
fn object(number: u32, events: u32) -> Vec<u8> {
    let records = (number * OWN..(number * OWN + OWN + SHARED).min(events)).map(|number| {
        format!(
            r#"{{"eventVersion":"1.11","eventTime":"2026-11-20T10:{:02}:00Z","awsRegion":"eu-west-1","recipientAccountId":"111122223333","eventID":"{}"}}"#,
            number / 50 % 60,
            id(number)
        )
    });
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    write!(gzip, "{{\"Records\":[{}]}}", records.collect::<Vec<_>>().join(",")).unwrap();
    gzip.finish().unwrap()
}

fn key(trail: u32, number: u32) -> String {
    format!(
        "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/11/20/\
         111122223333_CloudTrail_eu-west-1_20261120T10{:02}Z_{trail}{number:015}.json.gz",
        number % 60
    )
}

/// What goes wrong with a call: with one in ten of them, and with every third of Firehose's.
fn fault(random: &mut fastrand::Rng, call: &Call) -> Option<Fault> {
    Some(match (random.u32(..100), call.operation.as_str()) {
        (0..2, _) => Fault::Throttle,
        (2..4, _) => Fault::Unavailable,
        (4..6, _) => Fault::Reset,
        (6..9, _) => Fault::LoseReply,
        (9..12, "GetObject") => Fault::CutReply(random.usize(..200)),
        (9..25, "PutRecordBatch") => Fault::FailRecords(vec![0]),
        // A service that can repeat what it is told deserves to be told twice.
        (25..40, "PutRecordBatch") => Fault::LoseReply,
        _ => return None,
    })
}

/// Puts every object within the time, some of them under a second trail's name, some announced twice, and kills a function
/// every so often. Returns the keys and how many were killed.
async fn bad_day(stack: &Stack, events: u32, time: Duration) -> (Vec<String>, usize) {
    let mut random = fastrand::Rng::with_seed(20_261_121);
    let (start, objects) = (Instant::now(), events.div_ceil(OWN));
    let (mut keys, mut killed) = (Vec::new(), 0);
    for number in 0..objects {
        let bytes = object(number, events);
        for trail in 0..if random.u32(..4) == 0 { 2 } else { 1 } {
            let key = key(trail, number);
            stack.put(&key, bytes.clone()).await;
            if random.u32(..5) == 0 {
                stack.send(&notification::render(&ObjectRef::new(LOG_BUCKET, &*key))).await;
            }
            keys.push(key);
        }
        tokio::time::sleep((time * (number + 1) / objects).saturating_sub(start.elapsed())).await;
        // One every five seconds of the day, as soon as one is at work.
        if start.elapsed() > Duration::from_secs(5) * (killed + 1) {
            killed += stack.kill_functions(1) as u32;
        }
    }
    (keys, killed as usize)
}

/// The rows of the objects: key, status, lease and its token.
async fn rows(stack: &Stack) -> Vec<HashMap<String, AttributeValue>> {
    let mut rows = Vec::new();
    let mut pages = stack.dynamodb.scan().table_name(stack.output("LedgerTableName")).consistent_read(true);
    loop {
        let page = pages.clone().send().await.unwrap();
        rows.extend(page.items().iter().filter(|item| item.contains_key("status")).cloned());
        match page.last_evaluated_key {
            Some(last) => pages = pages.set_exclusive_start_key(Some(last)),
            None => return rows,
        }
    }
}

fn is_done(row: &HashMap<String, AttributeValue>) -> bool {
    row["status"] == AttributeValue::S("done".into())
}

/// Lets the time pass that the leases of killed functions would take to end: of the rows that are leased now, those whose
/// holder is then killed. A holder that lived on would repeat what it delivers, and may not.
async fn lapse(stack: &Stack) -> usize {
    let leased: Vec<_> =
        rows(stack).await.into_iter().filter(|row| row.contains_key("token") && !is_done(row)).collect();
    let killed = stack.kill_functions(usize::MAX);
    for row in &leased {
        let update =
            stack.dynamodb.update_item().table_name(stack.output("LedgerTableName")).key("pk", row["pk"].clone());
        let update = update.update_expression("SET #until = :past").condition_expression("#token = :token");
        let update = update.expression_attribute_names("#until", "until").expression_attribute_names("#token", "token");
        let past = AttributeValue::N("1".into());
        let update = update.expression_attribute_values(":past", past);
        if let Err(error) = update.expression_attribute_values(":token", row["token"].clone()).send().await {
            // Its holder finished, or another took it over, before it could be killed.
            assert!(error.into_service_error().is_conditional_check_failed_exception());
        }
    }
    killed
}

/// One backfill of the whole bucket, through the queue, as the scheduled function does it.
async fn backfill(stack: &Stack) -> u64 {
    let config = stack.config();
    let s3 = aws_sdk_s3::Client::from_conf(aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build());
    let source = Arc::new(S3::new(s3));
    let store = DynamoDb::new(stack.dynamodb.clone(), stack.output("LedgerTableName").to_owned());
    let ledger = Ledger::new(Arc::new(store), system_clock(), 90 * 86_400);
    let queue = Sqs::new(stack.sqs.clone(), stack.output("IngestQueueUrl").to_owned());
    let sender = MessageSender::new(Arc::new(queue), Arc::new(Budget::unlimited()));
    let intake = QueueDispatcher::new(sender, Packing { objects: BATCH, ..Packing::default() });
    let worker = Backfill { source: source.clone(), ledger };
    let span = Span::parse("2026-11-20", "2026-11-20").unwrap();
    let mut discovery = Discovery::new(source, DiscoveryRequest::new(LOG_BUCKET, "", span));
    let stop = tokio::time::Instant::now() + PATIENCE;
    let mut sent = 0;
    while let Some(unit) = discovery.next().await.unwrap() {
        let ended = worker.run(unit, &intake, stop).await;
        assert!(matches!(ended.end, UnitEnd::Done), "{:?}", ended.end);
        sent += ended.counts.sent;
    }
    sent
}

async fn all_done(stack: &Stack, objects: usize) {
    let start = Instant::now();
    loop {
        let rows = rows(stack).await;
        if rows.len() == objects && rows.iter().all(is_done) {
            return;
        }
        let left: Vec<_> = rows.iter().filter(|row| !is_done(row)).collect();
        assert!(
            start.elapsed() < PATIENCE,
            "{} of {objects} rows, not done: {left:?}\n{}",
            rows.len(),
            stack.log_tail()
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_worst_day_and_one_backfill_the_lake_holds_every_event() {
    let seconds = setting("TRAILHOSE_SOAK_SECONDS", 8);
    let events = setting("TRAILHOSE_SOAK_EVENTS", 800);
    let long = seconds >= 300;
    let stack = Stack::deploy(&bed::lambda_program("ingest")).await;
    stack.set_visibility(Duration::from_secs(20)).await;
    let mut random = fastrand::Rng::with_seed(7);
    stack.faults.when(move |call| fault(&mut random, call));

    let (keys, mut killed) = bad_day(&stack, events, Duration::from_secs(seconds.into())).await;
    stack.faults.heal();
    if long {
        stack.drained(PATIENCE).await;
    } else {
        killed += lapse(&stack).await;
    }
    let enqueued = backfill(&stack).await;
    all_done(&stack, keys.len()).await;

    let lake = stack.lake().await;
    let lost: Vec<_> = (0..events).map(id).filter(|id| !lake.contains_key(id)).collect();
    assert!(lost.is_empty(), "{} of {events} events are lost: {lost:?}", lost.len());
    assert_eq!(lake.len(), events as usize);

    let exchanges = stack.faults.exchanges();
    let spoiled = exchanges.iter().filter(|exchange| exchange.fault.is_some()).count();
    let unheard = |exchange: &&bed::faults::Exchange| {
        exchange.call.operation == "PutRecordBatch" && exchange.fault == Some(Fault::LoseReply)
    };
    let unheard = exchanges.iter().filter(unheard).count();
    let repeats = lake.values().sum::<usize>() - lake.len();
    let given_up = stack.dead_letters().await.len();
    // Of each call whose reply was lost, and of each object that a killed function was at, one call.
    let bound = (unheard + killed * BATCH) * (OWN + SHARED) as usize;
    println!(
        "soak: {events} events in {} objects over {seconds} s; {} calls, {spoiled} of them spoiled; {killed} functions \
         killed; {given_up} messages given up; {enqueued} objects handed in by the backfill; 0 events lost, {repeats} \
         repeated, {unheard} replies of Firehose lost, bound {bound}",
        keys.len(),
        exchanges.len(),
    );
    assert!(repeats <= bound, "{repeats} events came again, {bound} may");
    assert!(spoiled >= keys.len() / 2 && unheard > 0 && killed > 0, "a bad day, and it was none");
}
