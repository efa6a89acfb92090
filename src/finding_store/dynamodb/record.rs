//! Records findings with their windows, counts and alerts.

use super::item::{self, Key};
use super::{Cancelled, DynamoFindings};
use crate::aws;
use crate::finding::{Alert, AlertKind, AlertWindow, DetectionFinding, FindingId, Grouping};
use crate::finding_store::{RecordedFindings, Route};
use crate::ledger::store::StoreError;
use crate::ledger::store::dynamodb::RequestRetry;
use aws_sdk_dynamodb::types::TransactWriteItem;
use std::collections::HashSet;

/// The maximum number of findings of one transaction. With 8 KB each, their window and their alerts, it stays below the
/// limits of 100 items and 4 MB
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>).
const MAX_FINDINGS: usize = 40;

/// Findings of one rule, group, window and hour.
struct FindingBatch<'f> {
    key: BatchKey<'f>,
    findings: Vec<(FindingId, &'f DetectionFinding)>,
}

#[derive(PartialEq, Eq)]
struct BatchKey<'f> {
    rule: &'f str,
    group: String,
    start: i64,
    hour: i64,
    is_suppressed: bool,
}

/// The settings that apply to all findings of a call.
struct RecordSettings<'a> {
    grouping: &'a Grouping,
    routes: &'a [Route],
    now: i64,
}

impl DynamoFindings {
    pub(super) async fn record(
        &self,
        findings: &[DetectionFinding],
        grouping: &Grouping,
        routes: &[Route],
        now: i64,
    ) -> Result<RecordedFindings, StoreError> {
        let mut recorded = RecordedFindings::default();
        let (mut batches, mut seen) = (Vec::<FindingBatch<'_>>::new(), HashSet::new());
        for finding in findings {
            let id = finding.id();
            if !seen.insert(id) {
                recorded.repeated += 1;
                continue;
            }
            let time = finding.event.time;
            let key = BatchKey {
                rule: &finding.rule.id,
                group: grouping.group(finding),
                start: grouping.window_start(time),
                hour: time.unwrap_or(0).div_euclid(3_600) * 3_600,
                is_suppressed: finding.suppression.is_some(),
            };
            let has_space = |batch: &&mut FindingBatch<'_>| batch.key == key && batch.findings.len() < MAX_FINDINGS;
            match batches.iter_mut().rev().find(has_space) {
                Some(batch) => batch.findings.push((id, finding)),
                None => batches.push(FindingBatch { key, findings: vec![(id, finding)] }),
            }
        }
        let settings = RecordSettings { grouping, routes, now };
        for batch in &batches {
            recorded.add(self.record_batch(batch, &settings).await?);
        }
        Ok(recorded)
    }

    async fn record_batch(
        &self,
        batch: &FindingBatch<'_>,
        settings: &RecordSettings<'_>,
    ) -> Result<RecordedFindings, StoreError> {
        let mut retry = RequestRetry::new();
        loop {
            let (recorded, writes) = self.plan(batch, settings).await?;
            if writes.is_empty() {
                return Ok(recorded);
            }
            match self.transact(writes).await {
                Ok(()) => return Ok(recorded),
                Err(Cancelled::Failed(error)) => return Err(error),
                Err(Cancelled::Outdated) => {
                    let conflict =
                        aws::failure_of_code("ThrottlingException", "other findings of the group are recorded");
                    retry.wait_or_fail(super::TRANSACTION, &self.table, conflict).await?;
                }
            }
        }
    }

    /// Reads what is recorded. Returns the effect of a transaction that records the rest, and its writes.
    async fn plan(
        &self,
        batch: &FindingBatch<'_>,
        settings: &RecordSettings<'_>,
    ) -> Result<(RecordedFindings, Vec<TransactWriteItem>), StoreError> {
        let FindingBatch { key: BatchKey { rule, group, start, hour, is_suppressed }, findings } = batch;
        let RecordSettings { grouping, routes, now } = *settings;
        let finding_key = |id| Key::finding(rule, *hour, id);
        let (count_key, window_key) = (Key::count(rule, *hour), Key::window(group, *start));
        let mut keys: Vec<Key> = findings.iter().map(|(id, _)| finding_key(*id)).collect();
        keys.extend([count_key.clone(), window_key.clone()]);
        let existing = self.read(&keys).await?;
        let new: Vec<_> = findings.iter().filter(|(id, _)| !existing.contains_key(&finding_key(*id))).collect();
        let repeated = (findings.len() - new.len()) as u64;
        let mut recorded = RecordedFindings { repeated, new: new.len() as u64, ..RecordedFindings::default() };
        if new.is_empty() {
            return Ok((recorded, Vec::new()));
        }

        let (count, window) = (existing.get(&count_key), existing.get(&window_key));
        // Suppressed findings are counted apart, so that many of them do not take the details and alerts of others.
        let detailed = if *is_suppressed { "detailed_suppressed" } else { "detailed" };
        let stored = count.filter(|item| item.contains_key(detailed));
        let stored = stored.map(|item| item::integer(item, detailed)).transpose()?;
        let free = grouping.findings_per_hour.saturating_sub(stored.unwrap_or(0).cast_unsigned());
        let with_details = new.len().min(usize::try_from(free).unwrap_or(usize::MAX));
        recorded.overflow = (new.len() - with_details) as u64;
        let mut writes = Vec::new();
        for (at, (id, finding)) in new.iter().enumerate() {
            let mut attributes = item::attributes([
                ("rule_id", item::text(rule)),
                ("group_id", item::text(group)),
                ("window_start", item::number(*start)),
                ("recorded", item::number(now)),
                ("expires", self.expires(now)),
            ]);
            if let Some(time) = finding.event.time {
                attributes.insert("time".into(), item::number(time));
            }
            if let Some(suppression) = &finding.suppression {
                attributes.insert("suppression".into(), item::text(suppression));
            }
            if at < with_details {
                attributes.insert("content".into(), item::json(finding)?);
            }
            writes.push(self.put(&finding_key(*id), attributes, Some("attribute_not_exists(pk)"))?);
        }

        let may_alert = |finding: &DetectionFinding| !is_suppressed && grouping.may_alert(finding.event.time, now);
        let alert = |kind, group: &str, window, count, finding: &DetectionFinding| Alert {
            kind,
            group: group.to_owned(),
            window,
            count,
            finding: finding.clone(),
            recorded: now,
        };
        let mut alerts = Vec::new();

        // Counts the findings of the rule in this hour. One alert says that they exceed the limit.
        let has_overflowed = count.is_some_and(|item| item.contains_key("overflow_alerted"));
        let overflow = new[with_details..].iter().find(|(_, finding)| may_alert(finding)).filter(|_| !has_overflowed);
        if let Some((_, finding)) = overflow {
            let window = AlertWindow { start: *hour, end: *hour + 3_600 };
            let details = grouping.findings_per_hour;
            alerts.extend(self.enqueue(&alert(AlertKind::Overflow, rule, window, details, finding), routes)?);
        }
        let mut values = item::attributes([
            (":detailed", item::number(with_details as u64)),
            (":excess", item::number(recorded.overflow)),
            (":expires", self.expires(now)),
        ]);
        let mut change = format!("ADD {detailed} :detailed, excess :excess SET expires = :expires");
        let mut condition = format!("attribute_not_exists({detailed})");
        if let Some(stored) = stored {
            condition = format!("{detailed} = :before");
            values.insert(":before".into(), item::number(stored));
        }
        if overflow.is_some() {
            change += ", overflow_alerted = :now";
            condition += " AND attribute_not_exists(overflow_alerted)";
            values.insert(":now".into(), item::number(now));
        }
        writes.push(self.update(&count_key, &change, &condition, values)?);

        if !is_suppressed {
            let before = window.map(|item| item::integer(item, "findings")).transpose()?;
            let is_closed = window.is_some_and(|item| item.contains_key("closed"));
            let has_alerted = window.is_some_and(|item| item.contains_key("alerted"));
            recorded.late = if is_closed { recorded.new } else { 0 };
            let span = AlertWindow { start: *start, end: grouping.window_end(*start) };
            let mut values = item::attributes([
                (":new", item::number(recorded.new)),
                (":late", item::number(recorded.late)),
                (":rule", item::text(rule)),
                (":stop", item::number(span.end)),
                (":expires", self.expires(now)),
            ]);
            let mut change =
                "ADD findings :new, late :late SET rule_id = :rule, window_end = :stop, expires = :expires".to_owned();
            let first = new[..with_details].iter().position(|(_, finding)| may_alert(finding)).filter(|_| !has_alerted);
            if let Some(at) = first {
                let finding = new[at].1;
                change += ", alerted = :content";
                values.insert(":content".into(), item::json(finding)?);
                let number = before.unwrap_or(0).cast_unsigned() + at as u64 + 1;
                alerts.extend(self.enqueue(&alert(AlertKind::First, group, span, number, finding), routes)?);
            }
            let condition = match before {
                None => "attribute_not_exists(findings)",
                Some(_) if is_closed => "findings = :before AND attribute_exists(closed)",
                Some(_) => "findings = :before AND attribute_not_exists(closed)",
            };
            if let Some(before) = before {
                values.insert(":before".into(), item::number(before));
            }
            writes.push(self.update(&window_key, &change, condition, values)?);
            if before.is_none() {
                let open = Key::open_window(span.end, group, span.start);
                let attributes = [
                    ("group_id", item::text(group)),
                    ("window_start", item::number(span.start)),
                    ("window_end", item::number(span.end)),
                ];
                writes.push(self.put(&open, item::attributes(attributes), None)?);
            }
        }
        recorded.alerts = alerts.len() as u64;
        writes.extend(alerts);
        Ok((recorded, writes))
    }
}
