//! Helpers shared by several tests.
#![allow(dead_code, reason = "each test program uses its own part of this")]

pub mod moto;
pub mod stub;

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;

/// Returns the program's AWS configuration for `endpoint`, with fake credentials.
pub async fn config(endpoint: &str) -> SdkConfig {
    let credentials = Credentials::new("key", "secret", None, None, "test");
    trailhose::aws::config(&trailhose::aws::BucketAccess::default())
        .await
        .into_builder()
        .endpoint_url(endpoint)
        .region(aws_config::Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}
