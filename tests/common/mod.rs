//! What several tests share.
#![allow(dead_code, reason = "each test program uses its own part of this")]

pub mod moto;
pub mod stub;

use aws_config::SdkConfig;
use aws_config::timeout::TimeoutConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use std::time::Duration;

/// The house's own configuration, pointed at `endpoint` with made-up credentials and little patience.
pub async fn config(endpoint: &str) -> SdkConfig {
    let credentials = Credentials::new("key", "secret", None, None, "test");
    trailhose::aws::config()
        .await
        .into_builder()
        .endpoint_url(endpoint)
        .region(aws_config::Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(Duration::from_millis(1_500)).build())
        .build()
}
