//! Reads and changes the findings and the outbox for a person.

use super::StateDatabase;
use crate::finding_store::{
    AlertState, FindingFilter, FindingReview, FindingState, RuleReport, StoredAlert, StoredFinding,
};
use async_trait::async_trait;

#[async_trait]
impl FindingReview for StateDatabase {
    async fn findings(&self, filter: &FindingFilter) -> Result<Vec<StoredFinding>, String> {
        Self::findings(self, filter).map_err(|error| error.to_string())
    }

    async fn findings_by_id(&self, start: &str) -> Result<Vec<StoredFinding>, String> {
        Self::findings_by_id(self, start).map_err(|error| error.to_string())
    }

    async fn set_finding_state(
        &self,
        finding: &StoredFinding,
        state: FindingState,
        note: Option<&str>,
    ) -> Result<(), String> {
        Self::set_finding_state(self, &finding.id, state, note).map(drop).map_err(|error| error.to_string())
    }

    async fn rule_reports(&self) -> Result<Vec<RuleReport>, String> {
        Self::rule_reports(self).map_err(|error| error.to_string())
    }

    async fn alerts(&self, state: Option<AlertState>, limit: u32) -> Result<Vec<StoredAlert>, String> {
        Self::alerts(self, state, limit).map_err(|error| error.to_string())
    }

    async fn retry_alerts(&self, numbers: &[i64], now: i64) -> Result<u64, String> {
        Self::retry_alerts(self, numbers, now).map_err(|error| error.to_string())
    }
}
