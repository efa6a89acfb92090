//! The outbox: pending and failed alerts, and the circuits of destinations. A sent alert is deleted.

use super::item::{self, Key};
use super::{Attributes, Cancelled, DynamoFindings};
use crate::finding_store::{Circuit, PendingAlert, PendingAlerts};
use crate::ledger::store::StoreError;
use aws_sdk_dynamodb::types::TransactWriteItem;
use std::collections::HashSet;
use std::sync::atomic::Ordering;

/// The attributes that select an alert. The alert itself is read only before it is sent.
const SELECTION: &str = "pk, sk, group_id, due";

impl DynamoFindings {
    /// Returns a number for a new alert. The numbers of one process increase. Numbers of several processes have the order of
    /// their milliseconds. If another process used the number, the transaction fails and is repeated.
    pub(super) fn new_number(&self) -> i64 {
        let now = jiff::Timestamp::now().as_millisecond().saturating_mul(1_000_000) + fastrand::i64(0..1_000_000);
        let next = |last: i64| now.max(last + 1);
        let before = self.last_number.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
        next(before.unwrap_or_default())
    }

    /// Returns the first alert that is due and has no earlier pending alert of its group.
    pub(super) async fn first_due(&self, destination: &str, now: i64) -> Result<Option<PendingAlert>, StoreError> {
        let (mut groups, mut start) = (HashSet::new(), None);
        loop {
            let pk = format!("pending#{destination}");
            let (alerts, next) = self.page(&pk, None, Some(SELECTION), start).await?;
            for alert in &alerts {
                let is_first = groups.insert(item::string(alert, "group_id")?.to_owned());
                if !is_first || item::integer(alert, "due")? > now {
                    continue;
                }
                // `None`: another process sent it meanwhile.
                if let Some(found) = self.read_one(Key::of(alert)?).await? {
                    return pending(&found).map(Some);
                }
            }
            start = next;
            if start.is_none() {
                return Ok(None);
            }
        }
    }

    pub(super) async fn count_pending(&self, destination: &str) -> Result<PendingAlerts, StoreError> {
        let (mut pending, mut start) = (PendingAlerts::default(), None);
        loop {
            let pk = format!("pending#{destination}");
            let (alerts, next) = self.page(&pk, None, Some(SELECTION), start).await?;
            for alert in &alerts {
                let at = item::integer(alert, "due")?;
                pending.next_due = Some(pending.next_due.map_or(at, |due| due.min(at)));
                pending.count += 1;
            }
            start = next;
            if start.is_none() {
                return Ok(pending);
            }
        }
    }

    pub(super) async fn remove_sent(&self, destination: &str, number: i64) -> Result<(), StoreError> {
        let alert = self.delete(&Key::pending(destination, number), None)?;
        self.change(vec![alert, self.delete(&Key::circuit(destination), None)?]).await
    }

    pub(super) async fn defer(
        &self,
        destination: &str,
        number: i64,
        due: i64,
        circuit: &Circuit,
    ) -> Result<(), StoreError> {
        let values = [(":due", item::number(due)), (":one", item::number(1)), (":error", item::text(&circuit.error))];
        let change = "ADD attempts :one SET due = :due, last_error = :error";
        let key = Key::pending(destination, number);
        let alert = self.update(&key, change, "attribute_exists(pk)", item::attributes(values))?;
        let attributes = item::attributes([
            ("failures", item::number(circuit.failures)),
            ("refusals", item::number(circuit.refusals)),
            ("open_until", item::number(circuit.open_until)),
            ("last_error", item::text(&circuit.error)),
        ]);
        self.change(vec![alert, self.put(&Key::circuit(destination), attributes, None)?]).await
    }

    /// Records that an alert is not sent again. With `is_refused`, counts it in the circuit of its destination.
    pub(super) async fn fail(
        &self,
        destination: &str,
        number: i64,
        error: &str,
        is_refused: bool,
    ) -> Result<(), StoreError> {
        let key = Key::pending(destination, number);
        let Some(mut alert) = self.read_one(key.clone()).await? else { return Ok(()) };
        let attempts = item::integer(&alert, "attempts")? + 1;
        alert.retain(|name, _| name != "pk" && name != "sk");
        let now = jiff::Timestamp::now().as_second();
        alert.extend(item::attributes([
            ("attempts", item::number(attempts)),
            ("last_error", item::text(error)),
            ("expires", self.expires(now)),
        ]));
        let failed = self.put(&Key::failed(destination, number), alert, None)?;
        let mut writes = vec![self.delete(&key, Some("attribute_exists(pk)"))?, failed];
        if is_refused {
            let values = [(":one", item::number(1)), (":zero", item::number(0)), (":error", item::text(error))];
            let change = "ADD refusals :one SET failures = if_not_exists(failures, :zero), \
                 open_until = if_not_exists(open_until, :zero), last_error = :error";
            // The circuit may not exist yet, so the condition always holds.
            let condition = "attribute_exists(pk) OR attribute_not_exists(pk)";
            writes.push(self.update(&Key::circuit(destination), change, condition, item::attributes(values))?);
        }
        self.change(writes).await
    }

    pub(super) async fn read_circuit(&self, destination: &str) -> Result<Circuit, StoreError> {
        let Some(found) = self.read_one(Key::circuit(destination)).await? else { return Ok(Circuit::default()) };
        Ok(Circuit {
            failures: u32::try_from(item::integer(&found, "failures")?).unwrap_or(u32::MAX),
            // An earlier version stored no refusals.
            refusals: u32::try_from(item::integer(&found, "refusals")?).unwrap_or(u32::MAX),
            open_until: item::integer(&found, "open_until")?,
            error: item::string(&found, "last_error")?.to_owned(),
        })
    }

    /// Executes a transaction of the process that holds the lease of a destination. If its condition does not hold, another
    /// process has sent the alert after this one lost its lease, and nothing is left to record.
    async fn change(&self, writes: Vec<TransactWriteItem>) -> Result<(), StoreError> {
        match self.transact(writes).await {
            Ok(()) | Err(Cancelled::Outdated) => Ok(()),
            Err(Cancelled::Failed(error)) => Err(error),
        }
    }
}

fn pending(found: &Attributes) -> Result<PendingAlert, StoreError> {
    Ok(PendingAlert {
        number: item::sorted_number(item::string(found, "sk")?)?,
        alert: item::parsed(found, "content")?,
        attempts: u32::try_from(item::integer(found, "attempts")?).unwrap_or(u32::MAX),
        recorded: item::integer(found, "recorded")?,
    })
}
