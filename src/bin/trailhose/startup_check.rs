//! The check of an AWS service at the start. A service that does not answer is reported within seconds; later requests
//! are retried for much longer.

use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};
use trailhose::source::SourceError;
use trailhose::source::s3::S3;

/// How long a check waits for an answer of the service.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// The time between two attempts.
const PAUSE: Duration = Duration::from_millis(500);

/// The error of an attempt.
enum CheckError {
    /// The service did not answer. A later attempt can succeed.
    Unanswered(String),
    /// The service answered with an error that a later attempt would get too.
    Rejected(String),
}

/// Sends a request to a bucket. `endpoint` is the endpoint of the source, if it has one of its own.
///
/// # Errors
/// The bucket does not answer or rejects every request. The message is one line with the next step.
pub(crate) async fn s3(
    source: &S3,
    bucket: &str,
    prefix: &str,
    endpoint: Option<&str>,
    config: &aws_config::SdkConfig,
) -> Result<(), String> {
    let what_to_check = match endpoint {
        Some(url) => format!("the endpoint {url}"),
        None => what_to_check("S3", config),
    };
    repeat(&what_to_check, async || {
        source.check(bucket, prefix).await.map_err(|error| match error {
            SourceError::Unreachable(text) => CheckError::Unanswered(text),
            error => CheckError::Rejected(error.to_string()),
        })
    })
    .await
}

/// Sends a request to a ledger's table.
///
/// # Errors
/// The table does not answer, does not exist, or rejects every request.
#[cfg(feature = "dynamodb")]
pub(crate) async fn dynamodb(
    store: &trailhose::ledger::store::dynamodb::DynamoDb,
    config: &aws_config::SdkConfig,
) -> Result<(), String> {
    use trailhose::ledger::store::StoreError;
    repeat(&what_to_check("DYNAMODB", config), async || {
        store.check().await.map_err(|error| match error {
            StoreError::Unknown(text) => CheckError::Unanswered(text),
            error => CheckError::Rejected(error.to_string()),
        })
    })
    .await
    .map_err(|error| format!("ledger: {error}"))
}

/// Sends a request to a destination stream.
///
/// # Errors
/// The stream does not answer, does not exist, or rejects every request.
#[cfg(feature = "firehose")]
pub(crate) async fn firehose(
    sink: &trailhose::sink::firehose::Firehose,
    config: &aws_config::SdkConfig,
) -> Result<(), String> {
    use trailhose::sink::SinkError;
    repeat(&what_to_check("FIREHOSE", config), async || {
        sink.check().await.map_err(|error| match error {
            SinkError::Unavailable(text) => CheckError::Unanswered(text),
            error => CheckError::Rejected(error.to_string()),
        })
    })
    .await
    .map_err(|error| format!("DEST: {error}"))
}

/// Repeats an attempt until the service answers or the time is over.
async fn repeat(what_to_check: &str, attempt: impl AsyncFn() -> Result<(), CheckError>) -> Result<(), String> {
    let end = Instant::now() + TIME_LIMIT;
    let mut last = format!("no answer within {} s", TIME_LIMIT.as_secs());
    loop {
        match timeout_at(end, attempt()).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(CheckError::Rejected(text))) => return Err(text),
            Ok(Err(CheckError::Unanswered(text))) => last = text,
            Err(_) => return Err(format!("{last}; check {what_to_check}")),
        }
        if Instant::now() + PAUSE >= end {
            return Err(format!("{last}; check {what_to_check}"));
        }
        sleep(PAUSE).await;
    }
}

/// Returns what to check if a service does not answer: the configured endpoint, or the network and the region.
fn what_to_check(service: &str, config: &aws_config::SdkConfig) -> String {
    let variables = [format!("AWS_ENDPOINT_URL_{service}"), "AWS_ENDPOINT_URL".to_owned()];
    let custom =
        variables.iter().find_map(|name| Some((name, std::env::var(name).ok().filter(|url| !url.is_empty())?)));
    match (custom, config.endpoint_url(), config.region()) {
        (Some((name, url)), _, _) => format!("{name}={url}"),
        (None, Some(url), _) => format!("the endpoint {url} of the AWS profile"),
        (None, None, Some(region)) => format!("the network, and that {region} is an AWS region"),
        (None, None, None) => "the network".to_owned(),
    }
}
