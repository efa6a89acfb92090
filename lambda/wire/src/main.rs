//! The Lambda function `wire`: the custom resource that adds the notification of a stack to the log bucket.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use trailhose::invocation_error::InvocationError;
use trailhose::wire::custom_resource::{CustomResourceRequest, PendingRequest, send};
use trailhose::wire::{BucketNotifications, S3Notifications};
use trailhose::{aws, telemetry};

/// Time that is reserved for the answer at the end of an invocation.
const ANSWER_TIME: Duration = Duration::from_secs(25);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let pending = PendingRequest::default();
    pending.answer_after_panics();
    let s3 = aws::s3(&aws::function_config());
    let open = |bucket: &str| Box::new(S3Notifications::new(s3.clone(), bucket)) as Box<dyn BucketNotifications>;
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Value>| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let left = Duration::from_millis(event.context.deadline).saturating_sub(now);
        let request: CustomResourceRequest =
            serde_json::from_value(event.payload).map_err(|error| InvocationError {
                kind: "InvalidMessage",
                message: format!("the event is not a request of a CloudFormation custom resource: {error}"),
            })?;
        pending.set(&request);
        let answer = request.execute(&open, left.saturating_sub(ANSWER_TIME)).await;
        match answer.result() {
            (false, result) => tracing::info!(result, "request completed"),
            (true, reason) => tracing::error!(reason, "request failed"),
        }
        let sent = send(&request.response_url, &answer).await;
        pending.take();
        sent.map_err(|message| InvocationError { kind: "NotAnswered", message })
    }))
    .await
}
