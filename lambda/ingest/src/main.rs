//! The Lambda function `ingest`: constructs the components and passes each invocation to the batch.

use aws_lambda_events::event::sqs::{BatchItemFailure, SqsBatchResponse};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use trailhose::batch::{Batch, BatchReport};
use trailhose::config::IngestConfig;
use trailhose::ingest::{CHUNK_BYTES, Deadline, Ingest, KeyPolicy, MAX_BUFFERED_BYTES};
use trailhose::invocation_error::InvocationError;
use trailhose::ledger::store::dynamodb::DynamoDb;
use trailhose::ledger::{Ledger, cost, system_clock};
use trailhose::notification::{Invocation, invocation};
use trailhose::queue::{Queue, sqs::Sqs};
use trailhose::sink::firehose::{self, Firehose};
use trailhose::sink::oversize::OversizeStore;
use trailhose::source::s3::S3;
use trailhose::tally::Tally;
use trailhose::telemetry::{self, IngestUsage};
use trailhose::{aws, decode};

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let config = IngestConfig::from_env()?;
    let sdk = aws::function_config();
    let store = DynamoDb::new(aws::dynamodb(&sdk), config.table);
    let sink = Firehose::new(aws::firehose(&sdk), &config.stream, config.lines);
    let sink = match &config.oversize {
        Some(location) => sink.with_oversize_store(OversizeStore::new(aws::s3(&sdk), location)?),
        None => sink,
    };
    let counters = Counters { ledger: store.counters(), sink: sink.counters() };
    let queue_url = config.requeue_url.clone();
    let queue = config.requeue_url.map(|url| Arc::new(Sqs::new(aws_sdk_sqs::Client::new(&sdk), url)) as Arc<dyn Queue>);
    let ingest = Ingest {
        source: Arc::new(S3::new(aws::s3(&sdk))),
        ledger: Ledger::new(Arc::new(store), system_clock(), config.retention),
        sink: Arc::new(sink),
        limits: decode::DecodeLimits {
            object_bytes: config.object_bytes,
            events: config.object_events,
            ..decode::DecodeLimits::default()
        },
        filter: config.filter,
        max_buffered_bytes: MAX_BUFFERED_BYTES,
        chunk_bytes: CHUNK_BYTES,
        key_policy: KeyPolicy::CloudTrailLogs,
    };
    let batch = Batch::new(ingest, queue, config.concurrency, config.memory_mib);
    let batch = match config.deferral {
        Some(deferral) => batch.with_deferral(deferral),
        None => batch,
    };
    let batch = match queue_url {
        Some(url) => batch.with_lag_queue(url),
        None => batch,
    };
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Box<RawValue>>| {
        let left = Duration::from_millis(event.context.deadline.saturating_sub(now_ms()));
        answer(&batch, &counters, event.payload.get(), Deadline::within(left)).await
    }))
    .await
}

/// Processes an invocation. The response to a queue's batch lists the failed messages. A direct invocation fails as a
/// whole if an object is not delivered, so that its caller retries it.
async fn answer(
    batch: &Batch,
    counters: &Counters,
    payload: &str,
    deadline: Deadline,
) -> Result<SqsBatchResponse, InvocationError> {
    let before = counters.usage();
    let invocation = invocation(payload).map_err(|error| {
        let outcome =
            BatchReport { tally: Tally { invalid_messages: 1, ..Tally::default() }, ..BatchReport::default() };
        report(&outcome, &counters.since(&before));
        InvocationError { kind: "InvalidMessage", message: error.to_string() }
    })?;
    let (outcome, direct) = match &invocation {
        Invocation::Queue(messages) => (batch.messages(messages, deadline).await, false),
        Invocation::Direct(notices) => (batch.notices(notices, deadline).await, true),
    };
    report(&outcome, &counters.since(&before));
    if direct && !outcome.failed.is_empty() {
        let message = format!("not delivered yet: {}", outcome.failed.join(", "));
        return Err(InvocationError { kind: "NotDelivered", message });
    }
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = outcome.failed.into_iter().map(failure).collect();
    Ok(response)
}

fn failure(message: String) -> BatchItemFailure {
    let mut failure = BatchItemFailure::default();
    failure.item_identifier = message;
    failure
}

fn report(outcome: &BatchReport, used: &IngestUsage) {
    let function = std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_else(|_| "ingest".to_owned());
    println!("{}", telemetry::embedded_metrics(&function, outcome, used, now_ms()));
}

/// The counters of the ledger and the sink. They are cumulative over all invocations.
struct Counters {
    ledger: Arc<cost::LedgerCounters>,
    sink: Arc<firehose::SinkCounters>,
}

impl Counters {
    fn usage(&self) -> IngestUsage {
        IngestUsage { ledger: self.ledger.usage(), sink: self.sink.usage() }
    }

    fn since(&self, before: &IngestUsage) -> IngestUsage {
        let now = self.usage();
        IngestUsage { ledger: now.ledger - before.ledger, sink: now.sink - before.sink }
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
