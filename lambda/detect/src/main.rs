//! The Lambda function `detect`: constructs the components and passes each invocation to the detection over the lake.

// The types of the nested futures exceed the default limit.
#![recursion_limit = "256"]

use aws_lambda_events::event::sqs::{BatchItemFailure, SqsBatchResponse};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use trailhose::alert::SecretStore;
use trailhose::alert::aws_secrets::AwsSecrets;
use trailhose::config::DetectConfig;
use trailhose::detect::{LakeDetection, LakeTally, RuleLoader, RuleLocation, hide_messages_of_rule_panics};
use trailhose::finding::Grouping;
use trailhose::finding_store::dynamodb::DynamoFindings;
use trailhose::invocation_error::InvocationError;
use trailhose::notification::{Invocation, invocation};
use trailhose::source::s3::S3;
use trailhose::{alert, aws, telemetry};

/// The payload of the schedule.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scheduled {
    #[serde(rename = "scheduled")]
    _scheduled: bool,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::start();
    hide_messages_of_rule_panics();
    let config = DetectConfig::from_env()?;
    let sdk = aws::function_config();
    let s3 = aws::s3(&sdk);
    let store = Arc::new(DynamoFindings::new(aws::dynamodb(&sdk), config.table, config.keep));
    let destinations = config.destinations.iter().map(|destination| alert::open(destination, Some(&sdk)));
    let mut destinations = destinations.collect::<Result<Vec<_>, _>>()?;
    let secrets: Arc<dyn SecretStore> = Arc::new(AwsSecrets::new(&sdk));
    destinations.extend(config.stored.into_iter().map(|stored| alert::open_stored(stored, Arc::clone(&secrets))));
    let detection = LakeDetection {
        source: Arc::new(S3::new(s3.clone())),
        rules: RuleLoader::new(RuleLocation::new(s3, &config.rules)?, Arc::clone(&store)),
        store: Arc::clone(&store),
        grouping: Grouping { window: config.window, ..Grouping::default() },
        destinations,
        routes: config.routes,
        close_after: config.close_after,
    };
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Box<RawValue>>| {
        let before = store.consumed_units();
        let (response, tally) = answer(&detection, event.payload.get()).await;
        let after = store.consumed_units();
        report(&tally, (after.0 - before.0, after.1 - before.1));
        response
    }))
    .await
}

/// Processes an invocation. The response to a batch of a queue lists the failed messages. A direct invocation fails if one of
/// its objects fails.
async fn answer(detection: &LakeDetection, payload: &str) -> (Result<SqsBatchResponse, InvocationError>, LakeTally) {
    let mut response = SqsBatchResponse::default();
    if serde_json::from_str::<Scheduled>(payload).is_ok() {
        return (Ok(response), detection.scheduled().await);
    }
    match invocation(payload) {
        Ok(Invocation::Queue(messages)) => {
            let (failed, tally) = detection.messages(&messages).await;
            response.batch_item_failures = failed.into_iter().map(failure).collect();
            (Ok(response), tally)
        }
        Ok(Invocation::Direct(notices)) => match detection.direct(&notices).await {
            (true, tally) => (Ok(response), tally),
            (false, tally) => {
                let message = "not all objects were evaluated, see the log".to_owned();
                (Err(InvocationError { kind: "NotEvaluated", message }), tally)
            }
        },
        Err(error) => {
            let tally = LakeTally { invalid_messages: 1, ..LakeTally::default() };
            (Err(InvocationError { kind: "InvalidMessage", message: error.to_string() }), tally)
        }
    }
}

fn failure(message_id: String) -> BatchItemFailure {
    let mut failure = BatchItemFailure::default();
    failure.item_identifier = message_id;
    failure
}

fn report(tally: &LakeTally, units: (u64, u64)) {
    let function = std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_else(|_| "detect".to_owned());
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
    println!("{}", telemetry::detect_metrics(&function, tally, units, now));
}
