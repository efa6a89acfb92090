//! Adapters: implement the traits of the checks with the AWS SDK, one file for each service.

mod bucket;
mod cloudwatch;
mod detection;
mod key;
mod lambda;
mod objects;
mod queue;
mod quota;
mod role;
mod table;
mod topic;
mod trail;

use super::Services;
use super::facts::{Fact, ask};
use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use std::time::Duration;
use tokio::sync::OnceCell;

/// Attempts of a call. A throttled call is repeated within its time limit.
const ATTEMPTS: u32 = 4;

/// The time limit of an operation with several calls, such as listing folders, as a multiple of the limit of one call.
const OPERATION_LIMIT: u32 = 3;

/// All services of an account and region.
pub struct AwsServices {
    config: SdkConfig,
    limit: Duration,
    /// Client of the bucket's region.
    s3: OnceCell<aws_sdk_s3::Client>,
    table: Option<String>,
}

impl AwsServices {
    /// Creates the clients. Each call takes at most `limit`. `table` is the ledger's table.
    pub fn new(config: &SdkConfig, limit: Duration, table: Option<String>) -> Self {
        let retries = RetryConfig::standard().with_max_attempts(ATTEMPTS);
        let config = config.to_builder().retry_config(retries).build();
        Self { config, limit, s3: OnceCell::new(), table }
    }

    /// Returns the services as the checks use them.
    pub fn services(&self) -> Services<'_> {
        Services {
            trails: self,
            buckets: self,
            keys: self,
            topics: self,
            rules: self,
            queues: self,
            functions: self,
            roles: self,
            tables: self,
            streams: self,
            alarms: self,
            metrics: self,
            quotas: self,
            objects: self,
            detection: self,
        }
    }

    async fn ask<T, E>(
        &self,
        action: &str,
        resource: &str,
        call: impl Future<Output = Result<T, SdkError<E>>>,
    ) -> Fact<T>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        ask(self.limit, action, resource, call).await
    }

    /// Returns the configuration of another region.
    fn config_in(&self, region: &str) -> SdkConfig {
        self.config.to_builder().region(aws_config::Region::new(region.to_owned())).build()
    }
}

impl std::fmt::Debug for AwsServices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AwsServices").field("limit", &self.limit).finish_non_exhaustive()
    }
}
