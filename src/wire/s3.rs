//! The notification configuration of a bucket in S3, as raw documents.

use super::BucketNotifications;
use crate::aws::{AwsFailure, FailureKind, failure};
use async_trait::async_trait;
use aws_config::retry::RetryConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::SdkBody;
use aws_sdk_s3::types::NotificationConfiguration;
use aws_smithy_runtime_api::client::interceptors::context::AfterDeserializationInterceptorContextRef;
use std::sync::{Arc, Mutex};

/// The notification configuration of a bucket in S3.
#[derive(Debug, Clone)]
pub struct S3Notifications {
    client: Client,
    bucket: String,
}

impl S3Notifications {
    /// Returns the configuration of `bucket`, which must be in the region of the client.
    pub fn new(client: Client, bucket: impl Into<String>) -> Self {
        Self { client, bucket: bucket.into() }
    }
}

#[async_trait]
impl BucketNotifications for S3Notifications {
    fn bucket(&self) -> &str {
        &self.bucket
    }

    async fn read(&self) -> Result<String, AwsFailure> {
        let body = ResponseBody::default();
        let request = self.client.get_bucket_notification_configuration().bucket(&self.bucket);
        request.customize().interceptor(body.clone()).send().await.map_err(|error| failure(&error))?;
        let bytes = body.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take().unwrap_or_default();
        String::from_utf8(bytes).map_err(|error| AwsFailure {
            kind: FailureKind::Invalid,
            code: "Response".to_owned(),
            message: format!("the response is not UTF-8: {error}"),
            action: None,
            request_id: None,
            bucket_region: None,
        })
    }

    async fn replace(&self, document: &str, validate: bool) -> Result<(), AwsFailure> {
        let document = document.to_owned();
        let request = self.client.put_bucket_notification_configuration().bucket(&self.bucket);
        let request = request.set_skip_destination_validation((!validate).then_some(true));
        // The SDK renders only what its types contain, so the rendered body is replaced before the request is signed.
        let request = request.notification_configuration(NotificationConfiguration::builder().build()).customize();
        let no_retries = aws_sdk_s3::config::Builder::new().retry_config(RetryConfig::disabled());
        let request = request.config_override(no_retries).mutate_request(move |request| {
            request.headers_mut().insert("content-length", document.len().to_string());
            *request.body_mut() = SdkBody::from(document.as_str());
        });
        request.send().await.map(|_| ()).map_err(|error| failure(&error))
    }
}

/// Keeps the body of a successful response.
#[derive(Debug, Clone, Default)]
struct ResponseBody(Arc<Mutex<Option<Vec<u8>>>>);

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for ResponseBody {
    fn name(&self) -> &'static str {
        "ResponseBody"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = context.response().body().bytes().map(<[u8]>::to_vec);
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = body;
        Ok(())
    }
}
