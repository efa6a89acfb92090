//! Adapter for the detection: the published rules in S3, and the table of the findings.

use super::objects::store_error;
use super::{AwsServices, OPERATION_LIMIT};
use crate::detect::{RuleLocation, RuleLocationError};
use crate::doctor::detection::{DetectionReader, OutboxFacts, PublishedSet};
use crate::doctor::facts::{Fact, FactError, within};
use crate::finding_store::dynamodb::DynamoFindings;
use crate::finding_store::{AlertState, StoredAlert};
use async_trait::async_trait;
use std::time::Duration;

const SCAN: &str = "dynamodb:Scan";

impl AwsServices {
    fn findings(&self, table: &str) -> DynamoFindings {
        DynamoFindings::new(crate::aws::dynamodb(&self.config), table, Duration::ZERO)
    }
}

#[async_trait]
impl DetectionReader for AwsServices {
    async fn published_rules(&self, location: &str) -> Fact<PublishedSet> {
        const ACTION: &str = "s3:GetObject";
        let published = match RuleLocation::new(crate::aws::s3(&self.config), location) {
            Ok(published) => published,
            Err(error) => return Ok(Err(error.to_string())),
        };
        within(self.limit * OPERATION_LIMIT, ACTION, location, async {
            match published.published().await {
                Ok(set) => Ok(Ok(set.id)),
                Err(RuleLocationError::Request { denied: Some(advice), .. }) => {
                    Err(FactError::Denied { action: ACTION.to_owned(), resource: format!("{location}/*"), advice })
                }
                Err(error) => Ok(Err(error.to_string())),
            }
        })
        .await
    }

    async fn rules_in_use(&self, table: &str) -> Fact<Option<String>> {
        const ACTION: &str = "dynamodb:BatchGetItem";
        within(self.limit, ACTION, table, async {
            self.findings(table).last_valid_rules().await.map_err(|error| store_error(error, ACTION, table))
        })
        .await
    }

    async fn outbox(&self, table: &str) -> Fact<OutboxFacts> {
        within(self.limit * OPERATION_LIMIT, SCAN, table, async {
            let alerts = self.findings(table).outbox(None).await.map_err(|error| store_error(error, SCAN, table))?;
            Ok(outbox_facts(&alerts))
        })
        .await
    }
}

fn outbox_facts(alerts: &[StoredAlert]) -> OutboxFacts {
    let of = |state: AlertState| alerts.iter().filter(move |alert| alert.state == state.name());
    let all = of(AlertState::Failed).chain(of(AlertState::Pending));
    let error = all.filter_map(|alert| Some((alert.destination.clone(), alert.error.clone()?))).next();
    OutboxFacts {
        pending: of(AlertState::Pending).count() as u64,
        failed: of(AlertState::Failed).count() as u64,
        oldest: of(AlertState::Pending).map(|alert| alert.alert.recorded).min(),
        error,
    }
}
