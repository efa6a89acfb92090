//! The rule set in use, and its changes.

use super::item::{self, Key};
use super::{Cancelled, DynamoFindings, TRANSACTION};
use crate::aws;
use crate::ledger::store::StoreError;
use crate::ledger::store::dynamodb::RequestRetry;

impl DynamoFindings {
    /// Returns the ID of the last rule set that was valid.
    ///
    /// # Errors
    /// Errors of DynamoDB.
    pub async fn last_valid_rules(&self) -> Result<Option<String>, StoreError> {
        let found = self.read_one(Key::rules()).await?;
        found.map(|found| item::string(&found, "rule_set").map(str::to_owned)).transpose()
    }

    /// Durably records the rule set in use, and the change as an item of its own. Returns whether it is a change. `now` is
    /// in milliseconds since 1970.
    ///
    /// # Errors
    /// Errors of DynamoDB.
    pub async fn record_rules(&self, id: &str, rules: u64, now: i64) -> Result<bool, StoreError> {
        let mut retry = RequestRetry::new();
        loop {
            let before = self.last_valid_rules().await?;
            if before.as_deref() == Some(id) {
                return Ok(false);
            }
            let mut values = item::attributes([
                (":id", item::text(id)),
                (":rules", item::number(rules)),
                (":now", item::number(now.div_euclid(1_000))),
            ]);
            let mut change = item::attributes([
                ("rule_set", item::text(id)),
                ("rule_count", item::number(rules)),
                ("recorded", item::number(now.div_euclid(1_000))),
                ("expires", self.expires(now.div_euclid(1_000))),
            ]);
            let mut condition = "attribute_not_exists(rule_set)";
            if let Some(before) = &before {
                condition = "rule_set = :before";
                values.insert(":before".into(), item::text(before));
                change.insert("rule_set_before".into(), item::text(before));
            }
            let set = "SET rule_set = :id, rule_count = :rules, recorded = :now";
            let writes = vec![
                self.update(&Key::rules(), set, condition, values)?,
                self.put(&Key::rule_change(now), change, None)?,
            ];
            match self.transact(writes).await {
                Ok(()) => return Ok(true),
                // Another instance recorded a change.
                Err(Cancelled::Outdated) => {
                    let conflict = aws::failure_of_code("ThrottlingException", "the rule set changes");
                    retry.wait_or_fail(TRANSACTION, &self.table, conflict).await?;
                }
                Err(Cancelled::Failed(error)) => return Err(error),
            }
        }
    }
}
