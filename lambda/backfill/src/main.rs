//! The Lambda function `backfill`: constructs the components and passes each invocation to the worker.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde::Serialize;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use trailhose::backfill::payload::BackfillInvocation;
use trailhose::backfill::record::dynamodb::DynamoDbRunRecords;
use trailhose::backfill::tally::BackfillTally;
use trailhose::backfill::worker::{Budgets, TaskBatchReport, Worker, deadline};
use trailhose::backfill::{Run, RunId, UnitProcessor};
use trailhose::config;
use trailhose::invocation_error::InvocationError;
use trailhose::ledger::store::dynamodb::DynamoDb;
use trailhose::ledger::{Ledger, cost, system_clock};
use trailhose::listing::DayRange;
use trailhose::queue::sqs::Sqs;
use trailhose::source::s3::S3;
use trailhose::{aws, telemetry};

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let config = config::BackfillConfig::from_env()?;
    let sdk = aws::function_config();
    let store = DynamoDb::new(aws::dynamodb(&sdk), &config.table);
    let usage = store.counters();
    let sqs = aws_sdk_sqs::Client::new(&sdk);
    let worker = Worker {
        processor: UnitProcessor {
            source: Arc::new(S3::new(aws::s3(&sdk))),
            ledger: Ledger::new(Arc::new(store), system_clock(), config.retention),
        },
        records: Arc::new(DynamoDbRunRecords::new(aws_sdk_dynamodb::Client::new(&sdk), &config.table, system_clock())),
        tasks: Arc::new(Sqs::new(sqs.clone(), config.task_queue)),
        ingest: Arc::new(Sqs::new(sqs, config.ingest_queue)),
        defaults: config.defaults,
        workers: config.workers,
        budgets: Budgets::default(),
    };
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Box<RawValue>>| {
        let left = Duration::from_millis(event.context.deadline.saturating_sub(now_ms()));
        let before = usage.usage();
        let (tally, answer) = answer(&worker, event.payload.get(), event.context.request_id, left).await;
        report(&tally, before, usage.usage());
        answer
    }))
    .await
}

/// Processes an invocation. The response to a queue's batch lists the failed tasks. If a run cannot be started, the
/// invocation fails, so that its caller retries it.
async fn answer(
    worker: &Worker,
    payload: &str,
    request_id: String,
    left: Duration,
) -> (BackfillTally, Result<TaskResponse, InvocationError>) {
    let failed = |tally: BackfillTally, kind, error: &dyn std::fmt::Display| {
        tracing::error!(%error, "could not start a run");
        (tally, Err(InvocationError { kind, message: error.to_string() }))
    };
    let invalid_messages = BackfillTally { invalid_messages: 1, ..BackfillTally::default() };
    let deadline = deadline(left);
    let request = match BackfillInvocation::parse(payload) {
        Ok(BackfillInvocation::Queue(messages)) => {
            let TaskBatchReport { tally, failed } = worker.messages(&messages, deadline).await;
            let batch_item_failures = failed.into_iter().map(|item_identifier| Failed { item_identifier }).collect();
            return (tally, Ok(TaskResponse::Queue { batch_item_failures }));
        }
        Ok(BackfillInvocation::Start(request)) => request,
        Err(error) => return failed(invalid_messages, "InvalidMessage", &error),
    };
    // Lambda retries a failed invocation with the same request ID, and therefore with the same run ID.
    let id = match RunId::try_from(request_id) {
        Ok(id) => id,
        Err(error) => return failed(invalid_messages, "InvalidMessage", &error),
    };
    match worker.start(id, request, deadline).await {
        Ok(run) => (BackfillTally { runs: 1, ..BackfillTally::default() }, Ok(TaskResponse::started(run))),
        Err(error) if error.is_invalid_request() => failed(error.tally(), "InvalidMessage", &error),
        Err(error) => failed(error.tally(), "NotStarted", &error),
    }
}

/// The response of the function.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum TaskResponse {
    /// The response to a queue: the messages to be delivered again.
    /// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>
    #[serde(rename_all = "camelCase")]
    Queue { batch_item_failures: Vec<Failed> },
    /// The response to a schedule or a user: the run that was started.
    Run { run: RunId, sources: Vec<String>, day_range: DayRange },
}

impl TaskResponse {
    fn started(run: Run) -> Self {
        Self::Run {
            run: run.id,
            sources: run.sources.iter().map(ToString::to_string).collect(),
            day_range: run.options.day_range,
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Failed {
    item_identifier: String,
}

fn report(tally: &BackfillTally, before: cost::LedgerUsage, after: cost::LedgerUsage) {
    let function = std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_else(|_| "backfill".to_owned());
    let read_units = after.read_units - before.read_units;
    println!("{}", telemetry::backfill_metrics(&function, tally, read_units, now_ms()));
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
