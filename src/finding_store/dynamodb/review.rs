//! Reads and changes the findings and the outbox for a person. The table has no index, so a list reads the whole table.

use super::item::{self, Key};
use super::{Attributes, Cancelled, DynamoFindings};
use crate::aws;
use crate::finding::{Alert, AlertKind};
use crate::finding_store::{
    AlertState, FindingFilter, FindingReview, FindingState, Route, RuleReport, StoredAlert, StoredFinding,
};
use crate::ledger::store::StoreError;
use crate::ledger::store::dynamodb::RequestRetry;
use async_trait::async_trait;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

/// What happened with a test message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TestProgress {
    /// The function has not tried to send it.
    Waiting,
    /// The destination accepted it.
    Accepted,
    /// The destination did not accept it, for this reason.
    NotAccepted(String),
}

impl DynamoFindings {
    /// Reads the items of the whole table for which a condition holds.
    async fn scan(
        &self,
        condition: &str,
        values: &[(&str, &str)],
        mut visit: impl FnMut(&Attributes) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let values: HashMap<_, _> =
            values.iter().map(|(name, value)| ((*name).to_owned(), item::text(value))).collect();
        let mut start: Option<Attributes> = None;
        loop {
            let mut retry = RequestRetry::new();
            let page = loop {
                let request = self
                    .client
                    .scan()
                    .table_name(&self.table)
                    .filter_expression(condition)
                    .set_expression_attribute_values(Some(values.clone()))
                    .set_exclusive_start_key(start.clone())
                    .return_consumed_capacity(ReturnConsumedCapacity::Total);
                match request.send().await {
                    Ok(page) => break page,
                    Err(error) => retry.wait_or_fail("dynamodb:Scan", &self.table, aws::failure(&error)).await?,
                }
            };
            Self::count(&self.units.read, page.consumed_capacity.as_slice());
            for found in page.items() {
                visit(found)?;
            }
            start = page.last_evaluated_key;
            if start.is_none() {
                return Ok(());
            }
        }
    }

    async fn list(&self, filter: &FindingFilter) -> Result<Vec<StoredFinding>, StoreError> {
        let limit = usize::try_from(filter.limit).unwrap_or(usize::MAX);
        let mut found = Vec::new();
        let newest_first = |found: &mut Vec<StoredFinding>| {
            found.sort_by(|a: &StoredFinding, b| (Reverse(a.order()), &a.id).cmp(&(Reverse(b.order()), &b.id)));
            found.truncate(limit);
        };
        let values = [(":rule", "rule#"), (":finding", "finding#")];
        self.scan("begins_with(pk, :rule) AND begins_with(sk, :finding)", &values, |item| {
            let finding = stored_finding(item)?;
            let matches = filter.state.is_none_or(|state| state.name() == finding.state)
                && filter.rule.as_ref().is_none_or(|rule| *rule == finding.rule)
                && filter.since.is_none_or(|since| finding.time.is_some_and(|time| time >= since));
            if matches {
                found.push(finding);
            }
            // A table can contain more findings than fit into memory.
            if found.len() >= limit.saturating_mul(2).max(1_000) {
                newest_first(&mut found);
            }
            Ok(())
        })
        .await?;
        newest_first(&mut found);
        Ok(found)
    }

    async fn by_id(&self, start: &str) -> Result<Vec<StoredFinding>, StoreError> {
        let mut found = Vec::new();
        let id = format!("finding#{}", start.to_ascii_lowercase());
        self.scan("begins_with(pk, :rule) AND begins_with(sk, :id)", &[(":rule", "rule#"), (":id", &id)], |item| {
            if found.len() < 2 {
                found.push(stored_finding(item)?);
            }
            Ok(())
        })
        .await?;
        Ok(found)
    }

    async fn set_state(
        &self,
        finding: &StoredFinding,
        state: FindingState,
        note: Option<&str>,
    ) -> Result<(), Cancelled> {
        let mut values = item::attributes([(":state", item::text(state.name()))]);
        let mut change = "SET finding_state = :state".to_owned();
        if let Some(note) = note {
            values.insert(":note".into(), item::text(note));
            change += ", state_note = :note";
        }
        let key = Key::finding_by_id(&finding.rule, finding.time.unwrap_or(0).div_euclid(3_600) * 3_600, &finding.id);
        self.transact(vec![self.update(&key, &change, "attribute_exists(pk)", values)?]).await
    }

    async fn reports(&self) -> Result<Vec<RuleReport>, StoreError> {
        let mut reports: BTreeMap<String, RuleReport> = BTreeMap::new();
        let values = [(":rule", "rule#"), (":count", "count"), (":window", "window#")];
        self.scan("(begins_with(pk, :rule) AND sk = :count) OR begins_with(pk, :window)", &values, |item| {
            let count = |name| item::integer(item, name).map(i64::cast_unsigned);
            let key = Key::of(item)?;
            // The key is `rule#RULE#HOUR`. The ID of a rule may contain `#`, so the hour is after the last one.
            let of_hour = key.pk.strip_prefix("rule#").and_then(|key| key.rsplit_once('#'));
            let rule = match of_hour {
                Some((rule, _)) => rule,
                None => item::string(item, "rule_id")?,
            };
            let report = reports
                .entry(rule.to_owned())
                .or_insert_with(|| RuleReport { rule: rule.into(), ..RuleReport::default() });
            if of_hour.is_some() {
                report.findings += count("detailed")? + count("detailed_suppressed")? + count("excess")?;
                report.overflow += count("excess")?;
            } else {
                report.windows += 1;
                report.late += count("late")?;
            }
            Ok(())
        })
        .await?;
        Ok(reports.into_values().collect())
    }

    /// Returns the pending and the failed alerts, ordered by number.
    pub(crate) async fn outbox(&self, state: Option<AlertState>) -> Result<Vec<StoredAlert>, StoreError> {
        let mut found = Vec::new();
        let values = [(":pending", "pending#"), (":failed", "failed#")];
        self.scan("begins_with(pk, :pending) OR begins_with(pk, :failed)", &values, |item| {
            let alert = stored_alert(item)?;
            if state.is_none_or(|state| state.name() == alert.state) {
                found.push(alert);
            }
            Ok(())
        })
        .await?;
        found.sort_by_key(|alert| alert.number);
        Ok(found)
    }

    async fn retry(&self, numbers: &[i64], now: i64) -> Result<u64, StoreError> {
        let mut retried = 0;
        let (pending, failed): (Vec<_>, Vec<_>) =
            self.outbox(None).await?.into_iter().partition(|alert| alert.state == AlertState::Pending.name());
        for alert in failed {
            if !numbers.is_empty() && !numbers.contains(&alert.number) {
                continue;
            }
            let pending = Key::pending(&alert.destination, alert.number);
            let failed = Key::failed(&alert.destination, alert.number);
            let Some(mut content) = self.read_one(failed.clone()).await? else { continue };
            content.retain(|name, _| !matches!(name.as_str(), "pk" | "sk" | "last_error"));
            content.extend(item::attributes([
                ("recorded", item::number(now)),
                ("attempts", item::number(0)),
                ("due", item::number(0)),
                ("expires", self.expires(now)),
            ]));
            let writes = vec![self.delete(&failed, Some("attribute_exists(pk)"))?, self.put(&pending, content, None)?];
            retried += u64::from(self.unless_sent(writes).await?);
        }
        if retried == 0 && !numbers.is_empty() {
            return Ok(0);
        }
        for alert in pending {
            let pending = Key::pending(&alert.destination, alert.number);
            let values = item::attributes([(":zero", item::number(0))]);
            self.unless_sent(vec![self.update(&pending, "SET due = :zero", "attribute_exists(pk)", values)?]).await?;
        }
        let mut circuits = Vec::new();
        let values = [(":destination", "destination#"), (":circuit", "circuit")];
        self.scan("begins_with(pk, :destination) AND sk = :circuit", &values, |item| {
            circuits.push(Key::of(item)?);
            Ok(())
        })
        .await?;
        for circuit in circuits {
            self.unless_sent(vec![self.delete(&circuit, None)?]).await?;
        }
        Ok(retried)
    }

    /// Executes a transaction. Returns false if its condition does not hold, for example because the function sent the alert
    /// meanwhile.
    async fn unless_sent(&self, writes: Vec<aws_sdk_dynamodb::types::TransactWriteItem>) -> Result<bool, StoreError> {
        match self.transact(writes).await {
            Ok(()) => Ok(true),
            Err(Cancelled::Outdated) => Ok(false),
            Err(Cancelled::Failed(error)) => Err(error),
        }
    }

    /// Adds a test message to the outbox of a destination, and returns its number.
    ///
    /// # Errors
    /// Errors of DynamoDB.
    pub async fn enqueue_test(&self, destination: &str, alert: &Alert) -> Result<i64, String> {
        debug_assert_eq!(alert.kind, AlertKind::Test);
        let route = Route { destination: destination.to_owned(), min_level: trailhose_rules::RuleLevel::Informational };
        let writes = self.enqueue(alert, &[route]).map_err(|error| error.to_string())?;
        let number = writes.first().and_then(|write| write.put()).and_then(|put| put.item().get("sk")).cloned();
        match self.transact(writes).await {
            Ok(()) => {}
            Err(Cancelled::Outdated) => {
                return Err(format!("the test message for {destination} was not recorded: retry"));
            }
            Err(Cancelled::Failed(error)) => return Err(error.to_string()),
        }
        let number = number.as_ref().and_then(|number: &AttributeValue| number.as_s().ok()).map(String::as_str);
        item::sorted_number(number.unwrap_or_default()).map_err(|error| error.to_string())
    }

    /// Returns what happened with a test message.
    ///
    /// # Errors
    /// Errors of DynamoDB.
    pub async fn test_progress(&self, destination: &str, number: i64) -> Result<TestProgress, String> {
        let keys = [Key::pending(destination, number), Key::failed(destination, number)];
        let found = self.read(&keys).await.map_err(|error| error.to_string())?;
        let Some(item) = keys.iter().find_map(|key| found.get(key)) else { return Ok(TestProgress::Accepted) };
        Ok(match item.get("last_error").and_then(|error| error.as_s().ok()) {
            Some(error) => TestProgress::NotAccepted(error.clone()),
            None => TestProgress::Waiting,
        })
    }

    /// Removes a test message that was not accepted.
    ///
    /// # Errors
    /// Errors of DynamoDB.
    pub async fn remove_test(&self, destination: &str, number: i64) -> Result<(), String> {
        let keys = [Key::pending(destination, number), Key::failed(destination, number)];
        let writes = keys.iter().map(|key| self.delete(key, None)).collect::<Result<Vec<_>, _>>();
        let writes = writes.map_err(|error| error.to_string())?;
        self.unless_sent(writes).await.map(drop).map_err(|error| error.to_string())
    }
}

fn optional_text(item: &Attributes, name: &str) -> Option<String> {
    item.get(name).and_then(|value| value.as_s().ok()).cloned()
}

fn stored_finding(item: &Attributes) -> Result<StoredFinding, StoreError> {
    let key = Key::of(item)?;
    let suppressed = if item.contains_key("suppression") { FindingState::Suppressed } else { FindingState::Open };
    Ok(StoredFinding {
        id: key.sk.strip_prefix("finding#").unwrap_or(&key.sk).to_owned(),
        rule: item::string(item, "rule_id")?.to_owned(),
        group: item::string(item, "group_id")?.to_owned(),
        window_start: item::integer(item, "window_start")?,
        time: item::optional_integer(item, "time")?,
        recorded: item::integer(item, "recorded")?,
        state: optional_text(item, "finding_state").unwrap_or_else(|| suppressed.name().to_owned()),
        note: optional_text(item, "state_note").or_else(|| optional_text(item, "suppression")),
        finding: item.contains_key("content").then(|| item::parsed(item, "content")).transpose()?,
    })
}

fn stored_alert(item: &Attributes) -> Result<StoredAlert, StoreError> {
    let key = Key::of(item)?;
    let (state, destination) = match key.pk.strip_prefix("pending#") {
        Some(destination) => (AlertState::Pending, destination),
        None => (AlertState::Failed, key.pk.strip_prefix("failed#").unwrap_or_default()),
    };
    Ok(StoredAlert {
        number: item::sorted_number(&key.sk)?,
        alert: item::parsed(item, "content")?,
        destination: destination.to_owned(),
        state: state.name().to_owned(),
        attempts: u32::try_from(item::integer(item, "attempts")?).unwrap_or(u32::MAX),
        sent: None,
        error: optional_text(item, "last_error"),
        due: item::integer(item, "due")?,
    })
}

#[async_trait]
impl FindingReview for DynamoFindings {
    async fn findings(&self, filter: &FindingFilter) -> Result<Vec<StoredFinding>, String> {
        self.list(filter).await.map_err(|error| error.to_string())
    }

    async fn findings_by_id(&self, start: &str) -> Result<Vec<StoredFinding>, String> {
        self.by_id(start).await.map_err(|error| error.to_string())
    }

    async fn set_finding_state(
        &self,
        finding: &StoredFinding,
        state: FindingState,
        note: Option<&str>,
    ) -> Result<(), String> {
        match self.set_state(finding, state, note).await {
            Ok(()) => Ok(()),
            Err(Cancelled::Outdated) => {
                Err(format!("the finding {} has expired or is being changed: retry", finding.id))
            }
            Err(Cancelled::Failed(error)) => Err(error.to_string()),
        }
    }

    async fn rule_reports(&self) -> Result<Vec<RuleReport>, String> {
        self.reports().await.map_err(|error| error.to_string())
    }

    async fn alerts(&self, state: Option<AlertState>, limit: u32) -> Result<Vec<StoredAlert>, String> {
        if state == Some(AlertState::Sent) {
            return Err("the table does not keep alerts that were sent: list pending or failed ones".into());
        }
        let mut alerts = self.outbox(state).await.map_err(|error| error.to_string())?;
        alerts.drain(..alerts.len().saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX)));
        Ok(alerts)
    }

    async fn retry_alerts(&self, numbers: &[i64], now: i64) -> Result<u64, String> {
        self.retry(numbers, now).await.map_err(|error| error.to_string())
    }
}
