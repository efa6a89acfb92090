//! The queues, run records and worker of a backfill in a [`World`].

use super::{OverWire, Wire, World};
use async_trait::async_trait;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use trailhose::backfill::record::{RecordError, RunPart, RunRecords};
use trailhose::backfill::run::{Defaults, SourceRoot};
use trailhose::backfill::worker::{Budgets, Worker};
use trailhose::backfill::{Run, RunId, UnitProcessor};
use trailhose::ledger::Ledger;
use trailhose::notification::Message;
use trailhose::queue::{Outbox, QueueError, UnsentBody};

/// A queue that keeps a message until it is acknowledged.
#[derive(Debug, Default)]
pub struct MemoryQueue {
    messages: Mutex<BTreeMap<usize, String>>,
    /// All messages that were sent.
    pub sent: Mutex<Vec<String>>,
    /// The delays of the messages that were sent with one. Delayed messages can be received at once.
    pub delays: Mutex<Vec<Duration>>,
    /// Whether it rejects all messages with a permanent error.
    pub closed: AtomicBool,
}

impl MemoryQueue {
    /// Returns the oldest message.
    pub fn first(&self) -> Option<Message> {
        let messages = self.messages.lock().unwrap();
        messages.iter().next().map(|(number, body)| Message {
            id: number.to_string(),
            receipt_handle: number.to_string(),
            body: body.clone(),
            receive_count: 1,
            queue_arn: "arn:aws:sqs:us-east-1:111122223333:line".to_owned(),
            ..Message::default()
        })
    }

    /// Deletes a message.
    pub fn acknowledge(&self, message: &Message) {
        self.messages.lock().unwrap().remove(&message.id.parse().unwrap());
    }

    /// Adds a message.
    pub fn push(&self, body: &str) {
        let mut sent = self.sent.lock().unwrap();
        self.messages.lock().unwrap().insert(sent.len(), body.to_owned());
        sent.push(body.to_owned());
    }

    /// Reverses the order of the waiting messages.
    pub fn reverse(&self) {
        let mut messages = self.messages.lock().unwrap();
        let bodies: BTreeSet<(usize, String)> = std::mem::take(&mut *messages).into_iter().collect();
        let numbers: Vec<usize> = bodies.iter().map(|(number, _)| *number).collect();
        *messages = numbers.into_iter().zip(bodies.into_iter().rev().map(|(_, body)| body)).collect();
    }
}

#[async_trait]
impl Outbox for OverWire<MemoryQueue> {
    async fn send_batch(&self, bodies: &[&str]) -> Result<Vec<UnsentBody>, QueueError> {
        let lost = || QueueError("wire".to_owned());
        let send = async {
            if self.to.closed.load(Ordering::SeqCst) {
                let refused = |index| UnsentBody { index, transient: false, reason: "closed".to_owned() };
                return Ok((0..bodies.len()).map(refused).collect());
            }
            bodies.iter().for_each(|body| self.to.push(body));
            Ok(Vec::new())
        };
        self.wire.call("send_batch", lost, send).await
    }

    async fn send_delayed(&self, body: &str, delay: Duration) -> Result<(), QueueError> {
        self.to.delays.lock().unwrap().push(delay);
        self.send_batch(&[body]).await.map(drop)
    }
}

fn lost_record() -> RecordError {
    RecordError::Unavailable("wire".to_owned())
}

#[async_trait]
impl<R: RunRecords> RunRecords for OverWire<R> {
    async fn start(&self, run: &Run) -> Result<Run, RecordError> {
        self.wire.call("begin", lost_record, self.to.start(run)).await
    }

    async fn save(&self, run: &RunId, part: &RunPart) -> Result<(), RecordError> {
        self.wire.call("note", lost_record, self.to.save(run, part)).await
    }

    async fn run(&self, id: &RunId) -> Result<Option<Run>, RecordError> {
        self.to.run(id).await
    }

    async fn parts(&self, id: &RunId) -> Result<Vec<RunPart>, RecordError> {
        self.to.parts(id).await
    }

    async fn runs(&self, most: usize) -> Result<Vec<Run>, RecordError> {
        self.to.runs(most).await
    }
}

impl World {
    /// Returns a backfill worker that is connected by a wire.
    pub fn backfiller<R: RunRecords + 'static>(
        &self,
        wire: &Arc<Wire>,
        [tasks, missed]: [&Arc<MemoryQueue>; 2],
        run_records: &Arc<R>,
    ) -> Worker {
        let now = Arc::clone(&self.now);
        let store = self.store_over(wire);
        let sources = vec![SourceRoot::parse("s3://logs").unwrap()];
        Worker {
            processor: UnitProcessor {
                source: Arc::new(OverWire { wire: Arc::clone(wire), to: Arc::clone(&self.bucket) }),
                ledger: Ledger::new(store, Arc::new(move || now.load(Ordering::SeqCst)), self.keep),
            },
            records: Arc::new(OverWire { wire: Arc::clone(wire), to: Arc::clone(run_records) }),
            tasks: Arc::new(OverWire { wire: Arc::clone(wire), to: Arc::clone(tasks) }),
            ingest: Arc::new(OverWire { wire: Arc::clone(wire), to: Arc::clone(missed) }),
            defaults: Defaults { sources, look_back_days: 3 },
            workers: 1,
            budgets: Budgets::default(),
        }
    }
}
