//! `trailhose redrive` returns the messages of a dead-letter queue on an emulator.

mod bed;
mod laptop;

use aws_sdk_sqs::types::{MessageAttributeValue, MessageSystemAttributeName, QueueAttributeName};
use bed::emulator::Emulator;
use laptop::{Ran, trailhose_at};
use serde_json::json;
use std::time::Duration;
use trailhose::notification::{FIRST_SEEN_ATTRIBUTE, REASON_ATTRIBUTE, SOURCE_ATTRIBUTE};
use trailhose::queue::{OutgoingMessage, Queue, Target, redrive::Redrive, sqs::Sqs};

struct Queues {
    sqs: aws_sdk_sqs::Client,
    dead: String,
    source: String,
}

fn arn(name: &str) -> String {
    format!("arn:aws:sqs:{}:{}:{name}", bed::REGION, bed::ACCOUNT)
}

impl Queues {
    /// Creates a dead-letter queue and a source whose messages are received once.
    async fn new(name: &str) -> Self {
        let sqs = aws_sdk_sqs::Client::new(&Emulator::shared_ministack().config());
        let dead = sqs.create_queue().queue_name(format!("{name}-dead")).send().await.unwrap().queue_url.unwrap();
        let policy = json!({ "deadLetterTargetArn": arn(&format!("{name}-dead")), "maxReceiveCount": 1 });
        let request = sqs.create_queue().queue_name(format!("{name}-source"));
        let request = request.attributes(QueueAttributeName::RedrivePolicy, policy.to_string());
        let request = request.attributes(QueueAttributeName::VisibilityTimeout, "0");
        let source = request.send().await.unwrap().queue_url.unwrap();
        Self { sqs, dead, source }
    }

    async fn send(&self, url: &str, message: &OutgoingMessage<'_>) {
        Sqs::new(self.sqs.clone(), self.source.clone()).send(Target::Url(url), message).await.unwrap();
    }

    async fn receive(&self, url: &str) -> Vec<aws_sdk_sqs::types::Message> {
        let request = self.sqs.receive_message().queue_url(url).max_number_of_messages(10);
        let request = request.message_attribute_names("All");
        let got = request.message_system_attribute_names(MessageSystemAttributeName::All).send().await.unwrap();
        got.messages.unwrap_or_default()
    }

    fn redrive(&self, arguments: &[&str]) -> Ran {
        let mut command = trailhose_at(&Emulator::shared_ministack().endpoint());
        Ran(command.args([&["redrive", &self.dead], arguments].concat()).output().unwrap())
    }
}

fn value<'m>(message: &'m aws_sdk_sqs::types::Message, name: &str) -> Option<&'m str> {
    message.message_attributes()?.get(name).and_then(MessageAttributeValue::string_value)
}

#[tokio::test]
async fn messages_return_to_their_sources() {
    let queues = Queues::new("redrive").await;
    let source = arn("redrive-source");
    // Moved by the ingest function, with the reason.
    let moved = OutgoingMessage {
        body: "moved",
        first_seen: Some(1_793_491_200),
        source_arn: Some(&source),
        reason: Some("s3://logs/key#etag: deliver: no answer"),
        ..OutgoingMessage::default()
    };
    queues.send(&queues.dead, &moved).await;
    // Moved by SQS after its only receive.
    queues.send(&queues.source, &OutgoingMessage { body: "received", ..OutgoingMessage::default() }).await;
    assert_eq!(queues.receive(&queues.source).await.len(), 1);
    assert_eq!(queues.receive(&queues.source).await.len(), 0);
    // Sent by another program.
    queues.send(&queues.dead, &OutgoingMessage { body: "foreign", ..OutgoingMessage::default() }).await;
    tokio::time::sleep(Duration::from_secs(1)).await;

    let expected = json!({
        "returned": { "redrive-source": 2 },
        "reasons": { "deliver: no answer": 1, "received too often": 1 },
        "without_source": 1,
        "left": 3,
    });
    // A dry run twice has the same result: it changes nothing.
    for _ in 0..2 {
        let ran = queues.redrive(&["--dry-run", "--json"]);
        assert_eq!((ran.code(), ran.json()), (1, expected.clone()), "{ran:?}");
    }
    let ran = queues.redrive(&["--json"]);
    let mut after = expected;
    after["left"] = json!(1);
    assert_eq!((ran.code(), ran.json()), (1, after), "{ran:?}");
    let mut returned = queues.receive(&queues.source).await;
    returned.sort_by_key(|message| message.body.clone());
    assert_eq!(returned.iter().map(|message| message.body().unwrap()).collect::<Vec<_>>(), ["moved", "received"]);
    assert_eq!(value(&returned[0], FIRST_SEEN_ATTRIBUTE), Some("1793491200"));
    assert!(value(&returned[1], FIRST_SEEN_ATTRIBUTE).is_some(), "the age of the original message");
    assert!(returned.iter().all(|message| value(message, REASON_ATTRIBUTE).is_none()));
    assert!(returned.iter().all(|message| value(message, SOURCE_ATTRIBUTE).is_none()));

    // The rest needs a queue.
    let ran = queues.redrive(&["--to", &queues.source]);
    assert_eq!(ran.code(), 0, "{ran:?}");
    assert!(ran.out().contains("returned") && !ran.out().contains("source unknown"), "{ran:?}");
    assert_eq!(queues.redrive(&["--json"]).json()["left"], 0);
}

/// A message that fails again at once returns to the dead-letter queue during the redrive.
#[tokio::test]
async fn message_that_arrives_during_the_redrive_is_kept() {
    let queues = Queues::new("circle").await;
    let source = arn("circle-source");
    let message = OutgoingMessage { body: "fails", source_arn: Some(&source), ..OutgoingMessage::default() };
    queues.send(&queues.dead, &message).await;
    let sent = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    let redrive = async |now| {
        let (client, dead_letter_url) = (queues.sqs.clone(), queues.dead.clone());
        let redrive = Redrive { client, dead_letter_url, to: None, max: 10, dry_run: false, now };
        let report = redrive.run().await.unwrap();
        (report.returned.values().sum::<u64>(), report.left)
    };
    assert_eq!(redrive(sent - 60).await, (0, 1));
    assert!(queues.receive(&queues.source).await.is_empty());
    assert_eq!(redrive(sent + 60).await, (1, 0));
    assert_eq!(queues.receive(&queues.source).await.len(), 1);
}

#[tokio::test]
async fn queue_that_does_not_exist_is_named() {
    let queues = Queues::new("nowhere").await;
    let missing = Queues { dead: format!("{}-missing", queues.dead), ..queues };
    let ran = missing.redrive(&[]);
    assert_eq!(ran.code(), 2, "{ran:?}");
    assert!(ran.err().contains("nowhere-dead-missing"), "{ran:?}");
}

#[test]
fn help_names_the_outputs_of_the_stack() {
    let ran = Ran(laptop::trailhose().args(["redrive", "--help"]).output().unwrap());
    assert!(ran.out().contains("DeadLetterQueueUrl"), "{ran:?}");
}
