use super::*;
use crate::notification::{Notice, parse};
use crate::queue::{QueueError, UnsentBody};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::sync::Mutex;

const QUICK: Pace = Pace { base: Duration::ZERO, cap: Duration::ZERO };

fn object(key: String, size: u64) -> ObjectRef {
    ObjectRef::new("logs", key).with_version("0123456789abcdef0123456789abcdef", size)
}

fn objects(count: usize) -> Vec<ObjectRef> {
    (0..count).map(|number| object(format!("key {number:05}"), 1000)).collect()
}

fn read(bodies: &[String]) -> Vec<ObjectRef> {
    let notices = bodies.iter().flat_map(|body| parse(body).unwrap());
    notices.map(|notice| if let Notice::Object(at) = notice { at } else { panic!("{notice:?}") }).collect()
}

/// A queue that returns scripted responses, and accepts all messages after the last of them.
#[derive(Debug, Default)]
struct ScriptedOutbox {
    answers: Mutex<VecDeque<Result<Vec<UnsentBody>, QueueError>>>,
    /// The accepted bodies in order.
    accepted: Mutex<Vec<String>>,
    /// The number of bodies of each call.
    calls: Mutex<Vec<usize>>,
}

#[async_trait]
impl Outbox for ScriptedOutbox {
    async fn send_batch(&self, bodies: &[&str]) -> Result<Vec<UnsentBody>, QueueError> {
        self.calls.lock().unwrap().push(bodies.len());
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or_else(|| Ok(Vec::new()))?;
        let sent =
            bodies.iter().enumerate().filter(|(index, _)| answer.iter().all(|rejected| rejected.index != *index));
        self.accepted.lock().unwrap().extend(sent.map(|(_, body)| (*body).to_owned()));
        Ok(answer)
    }

    async fn send_delayed(&self, body: &str, _delay: Duration) -> Result<(), QueueError> {
        self.send_batch(&[body]).await.map(drop)
    }
}

fn rejected(indices: &[usize], transient: bool) -> Result<Vec<UnsentBody>, QueueError> {
    Ok(indices.iter().map(|&index| UnsentBody { index, transient, reason: "busy".to_owned() }).collect())
}

async fn submit(
    objects: &[ObjectRef],
    answers: impl IntoIterator<Item = Result<Vec<UnsentBody>, QueueError>>,
) -> (Submitted, Arc<ScriptedOutbox>) {
    let outbox =
        Arc::new(ScriptedOutbox { answers: Mutex::new(answers.into_iter().collect()), ..ScriptedOutbox::default() });
    let sender = MessageSender::new(outbox.clone(), Arc::new(Budget::unlimited())).with_pace(QUICK);
    let packing = Packing { objects: 3, ..Packing::default() };
    let submitted =
        QueueDispatcher::new(sender, packing).submit(objects, Instant::now() + Duration::from_secs(60)).await;
    (submitted, outbox)
}

proptest! {
    #[test]
    fn objects_are_packed_once_in_order_within_message_limits(
        keys in proptest::collection::vec(("\\PC{1,300}", 0u64..50_000_000), 0..60),
        limit in 1usize..20,
    ) {
        let objects: Vec<ObjectRef> = keys.into_iter().map(|(key, size)| object(key, size)).collect();
        let packing = Packing { body_bytes: 4096, objects: limit, stored_bytes: 60_000_000 };
        let messages = pack(&objects, packing);
        for message in &messages {
            prop_assert!(message.objects <= limit);
            prop_assert!(message.objects == 1 || message.body.len() <= 4096 && message.stored_bytes <= 60_000_000);
        }
        let bodies: Vec<String> = messages.into_iter().map(|message| message.body).collect();
        prop_assert_eq!(read(&bodies), objects);
    }
}

#[tokio::test]
async fn messages_are_sent_in_full_batches() {
    let (submitted, outbox) = submit(&objects(100), []).await;
    assert_eq!((submitted.accepted, submitted.messages, submitted.error), (100, 34, None));
    assert_eq!(*outbox.calls.lock().unwrap(), [10, 10, 10, 4]);
    assert_eq!(read(&outbox.accepted.lock().unwrap()), objects(100));
}

#[tokio::test]
async fn only_rejected_messages_of_a_batch_are_sent_again() {
    let (submitted, outbox) = submit(&objects(30), [rejected(&[2, 7], true), rejected(&[1], true)]).await;
    assert_eq!((submitted.accepted, submitted.error), (30, None));
    assert_eq!(*outbox.calls.lock().unwrap(), [10, 2, 1]);
    let accepted = outbox.accepted.lock().unwrap();
    assert_eq!(accepted.len(), 10, "no message is accepted twice");
    let mut arrived = read(&accepted);
    arrived.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(arrived, objects(30));
}

#[tokio::test]
async fn batch_without_reply_is_sent_again_completely() {
    let lost = Err(QueueError("connection reset".to_owned()));
    let (submitted, outbox) = submit(&objects(30), [lost]).await;
    assert_eq!((submitted.accepted, submitted.error), (30, None));
    assert_eq!(*outbox.calls.lock().unwrap(), [10, 10]);
}

#[tokio::test]
async fn permanent_rejection_stops_after_the_last_accepted_batch() {
    let (submitted, outbox) = submit(&objects(60), [rejected(&[], true), rejected(&[4], false)]).await;
    assert_eq!((submitted.accepted, submitted.messages), (30, 10));
    assert_eq!(submitted.error, Some(DispatchError::Failed("busy".to_owned())));
    assert_eq!(outbox.calls.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn busy_queue_fails_with_its_reason_after_all_attempts() {
    let (submitted, outbox) = submit(&objects(3), (0..100).map(|_| rejected(&[0], true))).await;
    assert_eq!(submitted.accepted, 0);
    let Some(DispatchError::Failed(reason)) = submitted.error else { panic!("submission did not fail") };
    assert_eq!(reason, "1 messages not accepted in 8 attempts: busy");
    assert_eq!(outbox.calls.lock().unwrap().len(), 8);
}

#[tokio::test]
async fn exhausted_budget_leaves_the_remaining_objects() {
    let outbox = Arc::new(ScriptedOutbox::default());
    let sender = MessageSender::new(outbox.clone(), Arc::new(Budget::of(1)));
    let dispatch = QueueDispatcher::new(sender, Packing { objects: 1, ..Packing::default() });
    let stop = Instant::now() + Duration::from_secs(60);
    let submitted = dispatch.submit(&objects(30), stop).await;
    assert_eq!(submitted.accepted, 10);
    // 10 kB at one byte per second.
    let Some(DispatchError::BudgetUsed { until }) = submitted.error else { panic!("{submitted:?}") };
    assert!(until > stop + Duration::from_secs(9_900), "{until:?}");
}

#[tokio::test]
async fn batch_stays_below_the_size_limit_of_a_queue() {
    let outbox = Arc::new(ScriptedOutbox::default());
    let sender = MessageSender::new(outbox.clone(), Arc::new(Budget::unlimited()));
    let messages: Vec<OutboundMessage> = (0..10).map(|_| OutboundMessage::of("x".repeat(64 * 1024))).collect();
    let (sent, error) = sender.send(&messages, Instant::now() + Duration::from_secs(60)).await;
    assert_eq!((sent, error), (10, None));
    assert_eq!(*outbox.calls.lock().unwrap(), [3, 3, 3, 1]);
}
