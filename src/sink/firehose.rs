//! Amazon Data Firehose as a sink: `PutRecordBatch`, with exactly the records sent again that were refused.

mod body;

pub use super::cost::{BILLED_STEP, SinkUsage, SinkCounters};
use super::oversize::{self, OversizeStore};
use super::{Oversize, Sink, SinkError};
use crate::aws::{self, Failure, Kind};
use crate::backoff::{Backoff, Pace};
use crate::pack::{Call, PackLimits, LinesPerRecord};
use async_trait::async_trait;
use aws_sdk_firehose::Client;
use aws_sdk_firehose::operation::put_record_batch::PutRecordBatchOutput;
use aws_sdk_firehose::types::PutRecordBatchResponseEntry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// "The maximum size of the data blob, before base64-encoding, is 1,000 KiB … Maximum length of 1024000."
/// <https://docs.aws.amazon.com/firehose/latest/APIReference/API_Record.html>
pub const RECORD_BYTES: usize = 1_024_000;

/// "Each PutRecordBatch request supports up to 500 records."
/// <https://docs.aws.amazon.com/firehose/latest/APIReference/API_PutRecordBatch.html>
pub const CALL_RECORDS: usize = 500;

/// "… up to a limit of 4 MB for the entire request." Same page; the limits page says 4 MiB. Counted before base64 and
/// without overhead, as AWS's own agent counts it (`MAX_BATCH_PUT_SIZE_BYTES` of amazon-kinesis-agent).
/// <https://docs.aws.amazon.com/firehose/latest/dev/limits.html>
pub const CALL_BYTES: usize = 4 * 1024 * 1024;

// A longer record would be sent as a call by itself, and refused.
const _: () = assert!(RECORD_BYTES <= CALL_BYTES);

/// Waits between calls. Firehose's quotas are counted by the second: a wait beyond a few seconds only wastes
/// the function's time.
const PACE: Pace = Pace { base: Duration::from_millis(100), cap: Duration::from_secs(5) };

/// A Firehose stream (Direct PUT).
#[derive(Debug)]
pub struct Firehose {
    client: Client,
    stream: String,
    lines: LinesPerRecord,
    oversize_store: Option<OversizeStore>,
    pace: Pace,
    usage: Arc<SinkCounters>,
    /// The memory of a body that was sent, for the next.
    spare: Mutex<Vec<u8>>,
}

impl Firehose {
    /// The stream named `stream` (its name, or its ARN), with as many `lines` in a record as its destination can take
    /// apart. The client should not retry by itself: take it from [`aws::firehose`].
    pub fn new(client: Client, stream: &str, lines: LinesPerRecord) -> Self {
        let stream = stream.rsplit_once("deliverystream/").map_or(stream, |(_, name)| name).to_owned();
        Self { client, stream, lines, oversize_store: None, pace: PACE, usage: Arc::default(), spare: Mutex::default() }
    }

    /// Sets events that are too long for a record aside there, rather than failing on them.
    pub fn with_oversize_store(self, oversize_store: OversizeStore) -> Self {
        Self { oversize_store: Some(oversize_store), ..self }
    }

    /// Waits at another pace between calls.
    pub fn with_pace(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    /// The counters of this sink.
    pub fn usage(&self) -> Arc<SinkCounters> {
        Arc::clone(&self.usage)
    }

    /// One request with those of the call's records that are at `pending`. Returns what is still to be sent, and why.
    async fn put(&self, call: &Call, pending: Vec<usize>) -> Result<Option<Refusal>, SinkError> {
        self.usage.called();
        let body = body::render(&self.stream, call, &pending, std::mem::take(&mut *self.spare()));
        let sent = body.clone();
        let request = self.client.put_record_batch().delivery_stream_name(&self.stream).set_records(Some(Vec::new()));
        let answer = request.customize().map_request(move |request| body::put_into(request, &sent)).send().await;
        if body.is_unique() {
            *self.spare() = body.into();
        }
        match answer {
            Ok(answer) => {
                let refusal = self.refused(&answer, call, pending)?;
                match &refusal {
                    Some(Refusal { last, .. }) if last.kind == Kind::Denied => Err(self.denied(last)),
                    _ => Ok(refusal),
                }
            }
            Err(error) => match aws::failure(&error) {
                last if last.is_passing() => Ok(Some(Refusal { pending, last })),
                failure if failure.kind == Kind::Denied => Err(self.denied(&failure)),
                failure if failure.kind == Kind::NotFound => Err(SinkError::Unavailable(format!(
                    "there is no Firehose stream {} in this account and region: create it or correct its name. {failure}",
                    self.stream
                ))),
                failure => Err(SinkError::Unavailable(format!(
                    "Firehose stream {} refused a call of {} records for good: {failure}",
                    self.stream,
                    pending.len()
                ))),
            },
        }
    }

    /// Which of `sent` an answer with HTTP 200 did not take. An answer that cannot be matched with what was sent
    /// acknowledges nothing: every record of it counts as not delivered.
    fn refused(
        &self,
        answer: &PutRecordBatchOutput,
        call: &Call,
        sent: Vec<usize>,
    ) -> Result<Option<Refusal>, SinkError> {
        let (entries, total) = (answer.request_responses(), sent.len());
        if entries.len() != total {
            return Err(SinkError::Unavailable(format!(
                "Firehose stream {} answered for {} records where {total} were sent: none counts as delivered",
                self.stream,
                entries.len()
            )));
        }
        let taken = |entry: &PutRecordBatchResponseEntry| entry.error_code().is_none() && entry.record_id().is_some();
        let failed = entries.iter().filter(|entry| !taken(entry)).count();
        if usize::try_from(answer.failed_put_count()).is_ok_and(|said| said > failed) {
            return Err(SinkError::Unavailable(format!(
                "Firehose stream {} said that {} of {total} records failed and marked {failed}: none counts as delivered",
                self.stream,
                answer.failed_put_count()
            )));
        }
        let mut last: Option<Failure> = None;
        let mut pending = Vec::with_capacity(failed);
        for (record, entry) in sent.into_iter().zip(entries) {
            if taken(entry) {
                self.usage.acknowledged(call.record_bytes(record) as u64);
                continue;
            }
            // A denial among throttled records is the one that needs a person.
            if last.as_ref().is_none_or(|last| last.kind != Kind::Denied) {
                let code = entry.error_code().unwrap_or("NoRecordId");
                last = Some(aws::failure_of_code(code, entry.error_message().unwrap_or("no message")));
            }
            pending.push(record);
        }
        Ok(last.map(|last| Refusal { pending, last }))
    }

    fn spare(&self) -> MutexGuard<'_, Vec<u8>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn denied(&self, failure: &Failure) -> SinkError {
        SinkError::Denied(match failure.action.as_deref() {
            Some(other) if other != "firehose:PutRecordBatch" => {
                format!("writing to Firehose stream {} needs {other}: allow it for this role. {failure}", self.stream)
            }
            _ if failure.code == "Credentials" => {
                format!(
                    "no AWS credentials for Firehose stream {}: give this program a role or a profile. {failure}",
                    self.stream
                )
            }
            _ => format!(
                "allow firehose:PutRecordBatch on arn:aws:firehose:*:*:deliverystream/{} for this role. {failure}",
                self.stream
            ),
        })
    }
}

/// What is left of a call, the records' indices in its order, and the last reason.
struct Refusal {
    pending: Vec<usize>,
    last: Failure,
}

#[async_trait]
impl Sink for Firehose {
    fn limits(&self) -> PackLimits {
        PackLimits { record_bytes: RECORD_BYTES, call_records: CALL_RECORDS, call_bytes: CALL_BYTES, lines: self.lines }
    }

    async fn span(&self) -> Result<super::Span, SinkError> {
        Ok(super::Span::none())
    }

    async fn deliver(&self, call: &Call, deadline: Instant) -> Result<(), SinkError> {
        if call.is_empty() {
            return Ok(());
        }
        let mut pending: Vec<usize> = (0..call.records.len()).collect();
        let total = pending.len();
        let mut backoff = Backoff::new(self.pace, fastrand::f64);
        let mut last = String::from("no answer");
        loop {
            let failed = pending.len();
            let out_of_time = |code| SinkError::OutOfTime { failed, records: total, code };
            if Instant::now() >= deadline {
                return Err(out_of_time(last));
            }
            let Ok(outcome) = timeout_at(deadline, self.put(call, pending)).await else {
                return Err(out_of_time(last));
            };
            let Some(refusal) = outcome? else { return Ok(()) };

            let (failed, wait) = (refusal.pending.len(), backoff.wait());
            tracing::debug!(stream = self.stream, failed, total, reason = %refusal.last, ?wait, "sending records again");
            // A wait that ends after the deadline is time that the caller can use better.
            if Instant::now() + wait >= deadline {
                return Err(SinkError::OutOfTime { failed, records: total, code: refusal.last.code });
            }
            tokio::time::sleep(wait).await;
            self.usage.again(failed as u64);
            pending = refusal.pending;
            last = refusal.last.code;
        }
    }

    async fn store_oversize(&self, event: &Oversize<'_>) -> Result<String, SinkError> {
        match &self.oversize_store {
            Some(store) => store.store(event).await,
            None => Err(oversize::no_oversize_store(event, self.limits().max_line_bytes())),
        }
    }
}
