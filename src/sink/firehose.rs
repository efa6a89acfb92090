//! The Amazon Data Firehose sink. It calls `PutRecordBatch` and retries only the records that failed.

mod body;

pub use super::cost::{BILLED_STEP, SinkCounters, SinkUsage};
use super::cost::{CALL_BYTES, CALL_RECORDS, RECORD_BYTES};
use super::oversize::{self, OversizeStore};
use super::{Oversize, Sink, SinkError};
use crate::aws::{self, AwsFailure, FailureKind};
use crate::backoff::{Backoff, Pace};
use crate::pack::{LinesPerRecord, PackLimits, SinkCall};
use async_trait::async_trait;
use aws_sdk_firehose::Client;
use aws_sdk_firehose::operation::put_record_batch::PutRecordBatchOutput;
use aws_sdk_firehose::types::PutRecordBatchResponseEntry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The default limits of the waits between retries. Firehose's quotas apply per second, so a wait of more than a few
/// seconds only wastes the function's time.
const DEFAULT_PACE: Pace = Pace { base: Duration::from_millis(100), cap: Duration::from_secs(5) };

/// A sink that delivers to a Firehose stream (Direct PUT).
#[derive(Debug)]
pub struct Firehose {
    client: Client,
    stream: String,
    lines: LinesPerRecord,
    oversize_store: Option<OversizeStore>,
    pace: Pace,
    usage: Arc<SinkCounters>,
    /// The buffer of the last request body, reused for the next one.
    spare_buffer: Mutex<Vec<u8>>,
}

impl Firehose {
    /// Creates a sink for `stream` (a name or an ARN). `lines` selects one or several events per record, as the
    /// stream's destination requires. The client must not retry by itself: create it with [`aws::firehose`].
    pub fn new(client: Client, stream: &str, lines: LinesPerRecord) -> Self {
        let stream = stream.rsplit_once("deliverystream/").map_or(stream, |(_, name)| name).to_owned();
        Self {
            client,
            stream,
            lines,
            oversize_store: None,
            pace: DEFAULT_PACE,
            usage: Arc::default(),
            spare_buffer: Mutex::default(),
        }
    }

    /// Stores oversize events in `oversize_store`. Without a store an oversize event is an error.
    pub fn with_oversize_store(self, oversize_store: OversizeStore) -> Self {
        Self { oversize_store: Some(oversize_store), ..self }
    }

    /// Sets the limits of the waits between retries.
    pub fn with_pace(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    /// Returns the counters of this sink.
    pub fn counters(&self) -> Arc<SinkCounters> {
        Arc::clone(&self.usage)
    }

    /// Sends one request with the records whose indices are in `pending`. Returns the records that were not delivered
    /// and the reason.
    async fn put_pending(&self, call: &SinkCall, pending: &[usize]) -> Result<Option<UndeliveredRecords>, SinkError> {
        self.usage.request_sent();
        let body = body::render(&self.stream, call, pending, std::mem::take(&mut *self.spare_buffer()));
        let sent = body.clone();
        let request = self.client.put_record_batch().delivery_stream_name(&self.stream).set_records(Some(Vec::new()));
        let answer = request.customize().map_request(move |request| body::replace_body(request, &sent)).send().await;
        if body.is_unique() {
            *self.spare_buffer() = body.into();
        }
        match answer {
            Ok(answer) => {
                let undelivered = self.undelivered_records(&answer, call, pending)?;
                match undelivered {
                    Some(UndeliveredRecords { pending, last_failure }) if last_failure.kind == FailureKind::Denied => {
                        Err(partial(call, &pending, self.denied(&last_failure)))
                    }
                    _ => Ok(undelivered),
                }
            }
            Err(error) => match aws::failure(&error) {
                last_failure if last_failure.is_transient() => {
                    Ok(Some(UndeliveredRecords { pending: pending.to_vec(), last_failure }))
                }
                failure if failure.kind == FailureKind::Denied => Err(self.denied(&failure)),
                failure if failure.kind == FailureKind::NotFound => Err(self.not_found(&failure)),
                failure => Err(SinkError::Unavailable(format!(
                    "Firehose stream {} rejected a call of {} records, and a retry cannot succeed: {failure}",
                    self.stream,
                    pending.len()
                ))),
            },
        }
    }

    /// Returns the records of `sent` that a response with HTTP 200 did not acknowledge.
    ///
    /// # Errors
    /// The response does not match the request. No record counts as delivered.
    fn undelivered_records(
        &self,
        answer: &PutRecordBatchOutput,
        call: &SinkCall,
        sent: &[usize],
    ) -> Result<Option<UndeliveredRecords>, SinkError> {
        let (entries, total) = (answer.request_responses(), sent.len());
        if entries.len() != total {
            return Err(SinkError::Unavailable(format!(
                "Firehose stream {} returned results for {} records, but {total} were sent: none counts as delivered",
                self.stream,
                entries.len()
            )));
        }
        let acknowledged =
            |entry: &PutRecordBatchResponseEntry| entry.error_code().is_none() && entry.record_id().is_some();
        let failed = entries.iter().filter(|entry| !acknowledged(entry)).count();
        if usize::try_from(answer.failed_put_count()).is_ok_and(|reported| reported > failed) {
            return Err(SinkError::Unavailable(format!(
                "Firehose stream {} reported {} of {total} records as failed but marked {failed}: none counts as \
                 delivered",
                self.stream,
                answer.failed_put_count()
            )));
        }
        let mut last_failure: Option<AwsFailure> = None;
        let mut pending = Vec::with_capacity(failed);
        for (record, entry) in sent.iter().copied().zip(entries) {
            if acknowledged(entry) {
                self.usage.acknowledged(call.record_bytes(record) as u64);
                continue;
            }
            // A denial takes precedence over throttling, because only a person can fix it.
            if last_failure.as_ref().is_none_or(|last_failure| last_failure.kind != FailureKind::Denied) {
                let code = entry.error_code().unwrap_or("NoRecordId");
                last_failure = Some(aws::failure_of_code(code, entry.error_message().unwrap_or("no message")));
            }
            pending.push(record);
        }
        Ok(last_failure.map(|last_failure| UndeliveredRecords { pending, last_failure }))
    }

    /// Checks that the stream exists, so that a misspelled name is found before an object is leased.
    ///
    /// Without the permission `firehose:DescribeDeliveryStream` the check succeeds, and the first delivery reports a
    /// missing stream.
    ///
    /// # Errors
    /// The stream does not exist ([`SinkError::NotFound`]), the credentials are not accepted ([`SinkError::Denied`]),
    /// or Firehose does not answer ([`SinkError::Unavailable`]).
    pub async fn check(&self) -> Result<(), SinkError> {
        let request = self.client.describe_delivery_stream().delivery_stream_name(&self.stream).limit(1);
        let Err(error) = request.send().await else { return Ok(()) };
        let failure = aws::failure(&error);
        match failure.kind {
            FailureKind::NotFound => Err(self.not_found(&failure)),
            _ if failure.concerns_credentials() => Err(self.denied(&failure)),
            _ if matches!(failure.code.as_str(), "Connection" | "Timeout") => {
                Err(SinkError::Unavailable(format!("cannot reach Firehose stream {}: {failure}", self.stream)))
            }
            _ => {
                tracing::debug!(stream = self.stream, %failure, "could not check that the stream exists");
                Ok(())
            }
        }
    }

    fn not_found(&self, failure: &AwsFailure) -> SinkError {
        SinkError::NotFound(format!(
            "Firehose stream {} does not exist in this account and region: create it or correct its name. {failure}",
            self.stream
        ))
    }

    fn spare_buffer(&self) -> MutexGuard<'_, Vec<u8>> {
        self.spare_buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn denied(&self, failure: &AwsFailure) -> SinkError {
        let stream = &self.stream;
        if failure.concerns_credentials() {
            return SinkError::Denied(format!("cannot use Firehose stream {stream}: {}", failure.credentials_text()));
        }
        let action = failure.action.as_deref().unwrap_or("firehose:PutRecordBatch");
        let advice = failure.denial_advice(|| format!("allow {action} on this stream for this role"));
        SinkError::Denied(format!("access denied to Firehose stream {stream}: {advice}. {failure}"))
    }
}

/// The records of a call that were not delivered, as indices in ascending order, and the reason: the first denial, or
/// the last failure if there is no denial.
struct UndeliveredRecords {
    pending: Vec<usize>,
    last_failure: AwsFailure,
}

/// Returns the error of a call if only the records in `pending` are not acknowledged.
fn partial(call: &SinkCall, pending: &[usize], error: SinkError) -> SinkError {
    match error {
        // The error already lists the records that the last response did not acknowledge.
        error @ SinkError::Partial { .. } => error,
        error if pending.len() == call.records.len() => error,
        error => SinkError::Partial { unacknowledged: pending.to_vec(), error: Box::new(error) },
    }
}

#[async_trait]
impl Sink for Firehose {
    fn limits(&self) -> PackLimits {
        PackLimits { record_bytes: RECORD_BYTES, call_records: CALL_RECORDS, call_bytes: CALL_BYTES, lines: self.lines }
    }

    async fn begin(&self) -> Result<super::Transaction, SinkError> {
        Ok(super::Transaction::none())
    }

    async fn deliver(&self, call: &SinkCall, deadline: Instant) -> Result<(), SinkError> {
        if call.is_empty() {
            return Ok(());
        }
        let mut pending: Vec<usize> = (0..call.records.len()).collect();
        let total = pending.len();
        let mut backoff = Backoff::new(self.pace, fastrand::f64);
        let mut last_failure = String::from("no answer");
        loop {
            let failed = pending.len();
            let out_of_time = |code| partial(call, &pending, SinkError::OutOfTime { failed, records: total, code });
            if Instant::now() >= deadline {
                return Err(out_of_time(last_failure));
            }
            let Ok(outcome) = timeout_at(deadline, self.put_pending(call, &pending)).await else {
                return Err(out_of_time(last_failure));
            };
            let outcome = outcome.map_err(|error| partial(call, &pending, error));
            let Some(undelivered) = outcome? else { return Ok(()) };

            let (failed, wait) = (undelivered.pending.len(), backoff.wait());
            let reason = &undelivered.last_failure;
            tracing::debug!(stream = self.stream, failed, total, %reason, ?wait, "retrying failed records");
            // Return at once if the wait would end after the deadline, so that the caller can use the remaining time.
            if Instant::now() + wait >= deadline {
                let error = SinkError::OutOfTime { failed, records: total, code: undelivered.last_failure.code };
                return Err(partial(call, &undelivered.pending, error));
            }
            tokio::time::sleep(wait).await;
            self.usage.retried(failed as u64);
            pending = undelivered.pending;
            last_failure = undelivered.last_failure.code;
        }
    }

    async fn store_oversize(&self, event: &Oversize<'_>) -> Result<String, SinkError> {
        match &self.oversize_store {
            Some(store) => store.store(event).await,
            None => Err(oversize::no_oversize_store(event, self.limits().max_line_bytes())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_firehose::config::{BehaviorVersion, Config};

    /// A response with one acknowledged record and two failed ones, in both orders of the failures.
    #[test]
    fn denial_of_one_record_outweighs_throttling_of_others() {
        let config = Config::builder().behavior_version(BehaviorVersion::latest()).build();
        let sink = Firehose::new(Client::from_conf(config), "lake", LinesPerRecord::Many);
        let call = SinkCall { body: b"a\nb\nc\n".to_vec(), records: vec![2, 4, 6], ..SinkCall::default() };
        for codes in [
            [Some("AccessDeniedException"), None, Some("ServiceUnavailableException")],
            [Some("ServiceUnavailableException"), None, Some("AccessDeniedException")],
        ] {
            let entry = |code: Option<&str>| {
                let builder = PutRecordBatchResponseEntry::builder().set_error_code(code.map(str::to_owned));
                builder.set_record_id(code.is_none().then(|| "1".to_owned())).build()
            };
            let answer = PutRecordBatchOutput::builder().failed_put_count(2);
            let answer = answer.set_request_responses(Some(codes.map(entry).to_vec())).build().unwrap();
            let undelivered = sink.undelivered_records(&answer, &call, &[0, 1, 2]).unwrap().unwrap();
            assert_eq!((undelivered.last_failure.kind, undelivered.pending), (FailureKind::Denied, vec![0, 2]));
        }
    }
}
