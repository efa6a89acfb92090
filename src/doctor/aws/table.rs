//! Adapter for DynamoDB: the settings of a table.

use super::objects::store_error;
use super::{AwsServices, OPERATION_LIMIT};
use crate::doctor::facts::{Fact, FactError, within};
use crate::doctor::ledger_table::{TableFacts, TableReader, TimeToLive};
use crate::ledger::store::dynamodb::DynamoDb;
use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    BillingMode, ContinuousBackupsStatus, KeyType, PointInTimeRecoveryStatus, TimeToLiveStatus,
};

#[async_trait]
impl TableReader for AwsServices {
    async fn table(&self, name: &str) -> Fact<TableFacts> {
        const ACTION: &str = "dynamodb:DescribeTable";
        let client = Client::new(&self.config);
        let answer = self.ask(ACTION, name, client.describe_table().table_name(name).send()).await?;
        let table = answer.table.ok_or_else(|| FactError::Absent {
            action: ACTION.to_owned(),
            resource: name.to_owned(),
            message: "no description".to_owned(),
        })?;
        let mut key = table.key_schema().to_vec();
        key.sort_by_key(|element| *element.key_type() != KeyType::Hash);
        let index = |index: &aws_sdk_dynamodb::types::GlobalSecondaryIndexDescription| {
            let status = index.index_status().map_or("ACTIVE", |status| status.as_str());
            (index.index_name().unwrap_or_default().to_owned(), status.to_owned())
        };
        let billing = table.billing_mode_summary().and_then(|summary| summary.billing_mode());
        Ok(TableFacts {
            status: table.table_status().map_or("unknown", |status| status.as_str()).to_owned(),
            key: key.iter().map(|element| element.attribute_name().to_owned()).collect(),
            indexes: table.global_secondary_indexes().iter().map(index).collect(),
            on_demand: billing == Some(&BillingMode::PayPerRequest),
        })
    }

    async fn schema_version(&self, name: &str) -> Fact<Option<u32>> {
        const ACTION: &str = "dynamodb:BatchGetItem";
        let store = DynamoDb::new(crate::aws::dynamodb(&self.config), name);
        within(self.limit * OPERATION_LIMIT, ACTION, name, async {
            store.schema_version().await.map_err(|error| store_error(error, ACTION, name))
        })
        .await
    }

    async fn time_to_live(&self, name: &str) -> Fact<TimeToLive> {
        let client = Client::new(&self.config);
        let call = client.describe_time_to_live().table_name(name).send();
        let answer = self.ask("dynamodb:DescribeTimeToLive", name, call).await?;
        let ttl = answer.time_to_live_description();
        let status = ttl.and_then(|ttl| ttl.time_to_live_status());
        Ok(TimeToLive {
            enabled: matches!(status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)),
            attribute: ttl.and_then(|ttl| ttl.attribute_name()).map(str::to_owned),
        })
    }

    async fn point_in_time_recovery(&self, name: &str) -> Fact<bool> {
        let client = Client::new(&self.config);
        let call = client.describe_continuous_backups().table_name(name).send();
        let answer = self.ask("dynamodb:DescribeContinuousBackups", name, call).await?;
        let backups = answer.continuous_backups_description();
        let backups = backups.filter(|found| *found.continuous_backups_status() == ContinuousBackupsStatus::Enabled);
        let recovery = backups.and_then(|found| found.point_in_time_recovery_description());
        Ok(recovery.and_then(|found| found.point_in_time_recovery_status())
            == Some(&PointInTimeRecoveryStatus::Enabled))
    }
}
