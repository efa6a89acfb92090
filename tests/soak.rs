//! The whole system under faults: overlapping objects, throttled and failed calls, resets, lost replies, partial
//! failures of batches, killed functions and duplicate messages. Then the faults end, one backfill runs, and the lake
//! must contain every event.
//!
//! The run in `./test` is short. `TRAILHOSE_SOAK_SECONDS=600 TRAILHOSE_SOAK_EVENTS=20000` is a long run, which also
//! waits until the leases of killed functions expire.

mod bed;

use aws_sdk_dynamodb::types::AttributeValue;
use bed::faults::{Fault, SinkCall};
use bed::stack::lake::id;
use bed::stack::{LOG_BUCKET, Stack};
use flate2::{Compression, write::GzEncoder};
use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};
use trailhose::backfill::budget::Budget;
use trailhose::backfill::dispatch::{MessageSender, Packing, QueueDispatcher};
use trailhose::backfill::{UnitEnd, UnitProcessor};
use trailhose::ledger::store::dynamodb::DynamoDb;
use trailhose::ledger::{Ledger, system_clock};
use trailhose::listing::DayRange;
use trailhose::listing::discover::{Discovery, DiscoveryRequest};
use trailhose::notification;
use trailhose::object::ObjectRef;
use trailhose::queue::sqs::Sqs;
use trailhose::source::s3::S3;

/// Numbers of events that only one object contains, and that it shares with the next one.
const OWN: u32 = 20;
const SHARED: u32 = 5;

/// Messages per invocation, with one object each: the most that one crash interrupts.
const BATCH: usize = 10;

/// Time limit of the phase without faults.
const PATIENCE: Duration = Duration::from_secs(1_500);

fn setting(name: &str, default: u32) -> u32 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// Returns an object with its own events and the first events of the next object.
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

/// Returns a fault for one in ten calls, and for one in three Firehose calls.
fn fault(random: &mut fastrand::Rng, call: &SinkCall) -> Option<Fault> {
    Some(match (random.u32(..100), call.operation.as_str()) {
        (0..2, _) => Fault::Throttle,
        (2..4, _) => Fault::Unavailable,
        (4..6, _) => Fault::Reset,
        (6..9, _) => Fault::LoseReply,
        (9..12, "GetObject") => Fault::CutReply(random.usize(..200)),
        (9..25, "PutRecordBatch") => Fault::FailRecords(vec![0]),
        // Lost replies cause repeated calls.
        (25..40, "PutRecordBatch") => Fault::LoseReply,
        _ => return None,
    })
}

/// Puts all objects within this time, some also for a second trail, some with duplicate notifications, and kills
/// functions. Returns the keys and the number of killed functions.
async fn run_with_faults(stack: &Stack, events: u32, time: Duration) -> (Vec<String>, usize) {
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
        // One function every five seconds, as soon as one is running.
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

/// Expires the leases of killed functions: kills the holders of all current leases and then ends these leases. A holder
/// that is still running would repeat deliveries.
async fn expire_leases(stack: &Stack) -> usize {
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
            // The holder finished, or another took the lease, before it was killed.
            assert!(error.into_service_error().is_conditional_check_failed_exception());
        }
    }
    killed
}

/// Runs one backfill of the whole bucket through the queue, like the scheduled function.
async fn backfill(stack: &Stack) -> u64 {
    let config = stack.config();
    let s3 = aws_sdk_s3::Client::from_conf(aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build());
    let source = Arc::new(S3::new(s3));
    let store = DynamoDb::new(stack.dynamodb.clone(), stack.output("LedgerTableName").to_owned());
    let ledger = Ledger::new(Arc::new(store), system_clock(), 90 * 86_400);
    let queue = Sqs::new(stack.sqs.clone(), stack.output("IngestQueueUrl").to_owned());
    let sender = MessageSender::new(Arc::new(queue), Arc::new(Budget::unlimited()));
    let intake = QueueDispatcher::new(sender, Packing { objects: BATCH, ..Packing::default() });
    let worker = UnitProcessor { source: source.clone(), ledger };
    let day_range = DayRange::parse("2026-11-20", "2026-11-20").unwrap();
    let mut discovery = Discovery::new(source, DiscoveryRequest::new(LOG_BUCKET, "", day_range));
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
async fn no_event_is_lost_under_faults_and_one_backfill() {
    let seconds = setting("TRAILHOSE_SOAK_SECONDS", 8);
    let events = setting("TRAILHOSE_SOAK_EVENTS", 800);
    let long = seconds >= 300;
    let stack = Stack::deploy(&bed::lambda_program("ingest")).await;
    stack.set_visibility(Duration::from_secs(20)).await;
    let mut random = fastrand::Rng::with_seed(7);
    stack.faults.when(move |call| fault(&mut random, call));

    let (keys, mut killed) = run_with_faults(&stack, events, Duration::from_secs(seconds.into())).await;
    stack.faults.heal();
    if long {
        stack.drained(PATIENCE).await;
    } else {
        killed += expire_leases(&stack).await;
    }
    let enqueued = backfill(&stack).await;
    all_done(&stack, keys.len()).await;

    let lake = stack.lake().await;
    let lost: Vec<_> = (0..events).map(id).filter(|id| !lake.contains_key(id)).collect();
    assert!(lost.is_empty(), "{} of {events} events are lost: {lost:?}", lost.len());
    assert_eq!(lake.len(), events as usize);

    let exchanges = stack.faults.exchanges();
    let faulty = exchanges.iter().filter(|exchange| exchange.fault.is_some()).count();
    let lost_replies = |exchange: &&bed::faults::Exchange| {
        exchange.call.operation == "PutRecordBatch" && exchange.fault == Some(Fault::LoseReply)
    };
    let lost_replies = exchanges.iter().filter(lost_replies).count();
    let repeats = lake.values().sum::<usize>() - lake.len();
    let given_up = stack.dead_letters().await.len();
    // One call per lost reply, and one per object of a killed function.
    let bound = (lost_replies + killed * BATCH) * (OWN + SHARED) as usize;
    println!(
        "soak: {events} events in {} objects over {seconds} s; {} calls, {faulty} of them with faults; {killed} functions \
         killed; {given_up} messages given up; {enqueued} objects enqueued by the backfill; 0 events lost, {repeats} \
         repeated, {lost_replies} replies of Firehose lost, bound {bound}",
        keys.len(),
        exchanges.len(),
    );
    assert!(repeats <= bound, "{repeats} repeated events, at most {bound} expected");
    assert!(faulty >= keys.len() / 2 && lost_replies > 0 && killed > 0, "too few faults were injected");
}
