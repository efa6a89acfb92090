//! Adapters for Lambda and Firehose: functions, event source mappings, and the stream.

use super::AwsServices;
use crate::doctor::facts::{Fact, FactError};
use crate::doctor::function::{FunctionFacts, FunctionReader, MappingFacts};
use crate::doctor::stream::{StreamFacts, StreamReader};
use async_trait::async_trait;
use aws_sdk_firehose::types::DeliveryStreamDescription;
use aws_sdk_lambda::Client;

#[async_trait]
impl FunctionReader for AwsServices {
    async fn function(&self, name: &str) -> Fact<FunctionFacts> {
        let client = Client::new(&self.config);
        let call = client.get_function_configuration().function_name(name).send();
        let answer = self.ask("lambda:GetFunctionConfiguration", name, call).await?;
        Ok(FunctionFacts {
            state: answer.state().map_or("Active", |state| state.as_str()).to_owned(),
            last_update: answer.last_update_status().map_or("Successful", |status| status.as_str()).to_owned(),
            reason: answer.state_reason().or(answer.last_update_status_reason()).map(str::to_owned),
        })
    }

    async fn mappings(&self, name: &str) -> Fact<Vec<MappingFacts>> {
        let client = Client::new(&self.config);
        let mut found = Vec::new();
        let mut marker = None;
        loop {
            let call = client.list_event_source_mappings().function_name(name).set_marker(marker).send();
            let answer = self.ask("lambda:ListEventSourceMappings", name, call).await?;
            found.extend(answer.event_source_mappings().iter().map(|each| MappingFacts {
                id: each.uuid().unwrap_or_default().to_owned(),
                source: each.event_source_arn().unwrap_or_default().to_owned(),
                state: each.state().unwrap_or_default().to_owned(),
            }));
            marker = answer.next_marker.filter(|marker| !marker.is_empty());
            if marker.is_none() {
                return Ok(found);
            }
        }
    }

    async fn reserved_concurrency(&self, name: &str) -> Fact<Option<u64>> {
        let client = Client::new(&self.config);
        let call = client.get_function_concurrency().function_name(name).send();
        let answer = self.ask("lambda:GetFunctionConcurrency", name, call).await?;
        Ok(answer.reserved_concurrent_executions().and_then(|reserved| u64::try_from(reserved).ok()))
    }

    async fn concurrency_quota(&self) -> Fact<u64> {
        const ACTION: &str = "lambda:GetAccountSettings";
        let client = Client::new(&self.config);
        let answer = self.ask(ACTION, "*", client.get_account_settings().send()).await?;
        let quota = answer.account_limit().and_then(|limit| u64::try_from(limit.concurrent_executions()).ok());
        quota.filter(|quota| *quota > 0).ok_or_else(|| FactError::Unanswered {
            action: ACTION.to_owned(),
            resource: "*".to_owned(),
            message: "the answer contains no quota of concurrent executions".to_owned(),
        })
    }
}

#[async_trait]
impl StreamReader for AwsServices {
    async fn stream(&self, name: &str) -> Fact<StreamFacts> {
        let client = aws_sdk_firehose::Client::new(&self.config);
        let call = client.describe_delivery_stream().delivery_stream_name(name).send();
        let answer = self.ask("firehose:DescribeDeliveryStream", name, call).await?;
        let Some(stream) = answer.delivery_stream_description() else {
            return Err(FactError::Absent {
                action: "firehose:DescribeDeliveryStream".to_owned(),
                resource: name.to_owned(),
                message: "no description".to_owned(),
            });
        };
        let failure =
            stream.failure_description().map(|found| format!("{}: {}", found.r#type().as_str(), found.details()));
        let encryption = stream.delivery_stream_encryption_configuration().and_then(|found| found.status());
        Ok(StreamFacts {
            status: stream.delivery_stream_status().as_str().to_owned(),
            failure,
            kind: stream.delivery_stream_type().as_str().to_owned(),
            destinations: destinations(stream),
            encryption: encryption.map(|status| status.as_str().to_owned()),
        })
    }
}

fn destinations(stream: &DeliveryStreamDescription) -> Vec<String> {
    let name = |each: &aws_sdk_firehose::types::DestinationDescription| {
        if let Some(s3) = each.extended_s3_destination_description() {
            return s3.bucket_arn().to_owned();
        }
        let others = [
            ("S3", each.s3_destination_description().is_some()),
            ("Redshift", each.redshift_destination_description().is_some()),
            ("Elasticsearch", each.elasticsearch_destination_description().is_some()),
            ("OpenSearch", each.amazonopensearchservice_destination_description().is_some()),
            ("OpenSearch Serverless", each.amazon_open_search_serverless_destination_description().is_some()),
            ("Splunk", each.splunk_destination_description().is_some()),
            ("an HTTP endpoint", each.http_endpoint_destination_description().is_some()),
            ("Snowflake", each.snowflake_destination_description().is_some()),
            ("Iceberg", each.iceberg_destination_description().is_some()),
        ];
        // From the end: a destination other than S3 can also have the description of an S3 bucket.
        others.iter().rev().find(|(_, found)| *found).map_or("another destination", |(name, _)| name).to_owned()
    };
    stream.destinations().iter().map(name).collect()
}
