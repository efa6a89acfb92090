//! Batches of messages to an emulated queue: only the failed messages of a batch are sent again.

mod bed;

use aws_sdk_sqs::types::QueueAttributeName;
use bed::emulator::Emulator;
use bed::faults::{Fault, Faults};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use trailhose::backfill::budget::Budget;
use trailhose::backfill::dispatch::{MessageSender, OutboundMessage, Packing, QueueDispatcher};
use trailhose::backfill::{DispatchError, Dispatcher};
use trailhose::backoff::Pace;
use trailhose::notification::{Message, Notice, parse};
use trailhose::object::ObjectRef;
use trailhose::queue::{OutgoingMessage, Queue, Target, sqs::Sqs};

const QUICK: Pace = Pace { base: Duration::from_millis(1), cap: Duration::from_millis(5) };

async fn queue(name: &str) -> String {
    let client = aws_sdk_sqs::Client::new(&Emulator::shared_ministack().config());
    client.create_queue().queue_name(name).send().await.unwrap().queue_url().unwrap().to_owned()
}

/// Returns the bodies of the messages in a queue, and how often each was received.
async fn bodies(url: &str) -> BTreeMap<String, usize> {
    let client = aws_sdk_sqs::Client::new(&Emulator::shared_ministack().config());
    let mut bodies = BTreeMap::new();
    loop {
        let got = client.receive_message().queue_url(url).max_number_of_messages(10).send().await.unwrap();
        if got.messages().is_empty() {
            return bodies;
        }
        for message in got.messages() {
            *bodies.entry(message.body().unwrap().to_owned()).or_default() += 1;
        }
    }
}

fn sender(faults: &Faults, url: &str) -> MessageSender {
    let client = aws_sdk_sqs::Client::new(&faults.config());
    MessageSender::new(Arc::new(Sqs::new(client, url.to_owned())), Arc::new(Budget::unlimited())).with_pace(QUICK)
}

/// Returns a deadline that the tests do not reach.
fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

#[tokio::test]
async fn failed_messages_of_a_batch_are_sent_again() {
    let url = queue("partial").await;
    let faults = Faults::before(Emulator::shared_ministack());
    faults.on("SendMessageBatch", 0..1, Fault::FailEntries(vec![0, 9]));
    faults.on("SendMessageBatch", 1..2, Fault::FailEntries(vec![1]));
    // Calls 0 to 2 are the first ten messages, 3 and 4 the next ten, 5 the rest.
    faults.on("SendMessageBatch", 3..4, Fault::LoseReply);
    let objects: Vec<ObjectRef> =
        (0..25).map(|number| ObjectRef::new("logs", format!("key {number:02}")).with_version("e", 10)).collect();
    let dispatch = QueueDispatcher::new(sender(&faults, &url), Packing { objects: 1, ..Packing::default() });
    let submitted = dispatch.submit(&objects, deadline()).await;
    assert_eq!((submitted.accepted, submitted.messages, submitted.error), (25, 25, None));
    let bodies = bodies(&url).await;
    let mut arrived = BTreeMap::new();
    for (body, times) in &bodies {
        let [Notice::Object(at)] = &parse(body).unwrap()[..] else { panic!("{body}") };
        arrived.insert(at.key.clone(), *times);
    }
    let expected = (0..25).map(|number| (format!("key {number:02}"), if (10..20).contains(&number) { 2 } else { 1 }));
    assert_eq!(arrived, expected.collect(), "messages of the lost reply arrive twice, all others once");
    assert_eq!(faults.count("SendMessageBatch"), 6);
}

#[tokio::test]
async fn permanently_rejected_message_is_not_retried() {
    let url = queue("refused").await;
    let faults = Faults::before(Emulator::shared_ministack());
    faults.on("SendMessageBatch", 1..2, Fault::Deny);
    let messages: Vec<OutboundMessage> = (0..25).map(|number| OutboundMessage::of(format!("body {number}"))).collect();
    let (sent, error) = sender(&faults, &url).send(&messages, deadline()).await;
    let Some(DispatchError::Failed(reason)) = error else { panic!("{error:?}") };
    assert!(reason.contains("allow sqs:SendMessage on this queue"), "{reason}");
    assert_eq!((sent, faults.count("SendMessageBatch"), bodies(&url).await.len()), (10, 2, 10));

    let nowhere = sender(&faults, &format!("{url}-that-is-not-there"));
    let (sent, error) = nowhere.send(&messages[..1], deadline()).await;
    let Some(DispatchError::Failed(reason)) = error else { panic!("{error:?}") };
    assert!(sent == 0 && reason.contains("that-is-not-there"), "{reason}");
    assert_eq!(faults.count("SendMessageBatch"), 3);
}

#[tokio::test]
async fn deferred_message_returns_to_its_queue() {
    let (live, missed) = (queue("live").await, queue("missed").await);
    let client = aws_sdk_sqs::Client::new(&Emulator::shared_ministack().config());
    // The ingest function is also configured with its first queue only.
    let queue = Sqs::new(client.clone(), live.clone());
    let from = |name: &str, receipt: &str| Message {
        id: "1".to_owned(),
        receipt_handle: receipt.to_owned(),
        body: String::new(),
        receive_count: 1,
        queue_arn: format!("arn:aws:sqs:{}:{}:{name}", bed::REGION, bed::ACCOUNT),
        ..Message::default()
    };
    let send = async |body: &str, source: Option<&Message>| {
        let message = OutgoingMessage { body, ..OutgoingMessage::default() };
        queue.send(Target::SourceOf(source), &message).await.unwrap();
    };
    send("of the missed queue", Some(&from("missed", "r"))).await;
    send("of the live queue", Some(&from("live", "r"))).await;
    send("of a FIFO queue", Some(&from("orders.fifo", "r"))).await;
    send("without a source", None).await;
    let got = client.receive_message().queue_url(&missed).send().await.unwrap();
    let [message] = got.messages() else { panic!("{got:?}") };
    assert_eq!(message.body(), Some("of the missed queue"));
    queue.hide(&from("missed", message.receipt_handle().unwrap()), Duration::from_secs(600)).await.unwrap();
    assert_eq!(
        bodies(&live).await.into_keys().collect::<Vec<_>>(),
        ["of a FIFO queue", "of the live queue", "without a source"]
    );
    let hidden = QueueAttributeName::ApproximateNumberOfMessagesNotVisible;
    let asked = client.get_queue_attributes().queue_url(&missed).attribute_names(hidden.clone()).send().await.unwrap();
    assert_eq!(asked.attributes().unwrap()[&hidden], "1");
}
