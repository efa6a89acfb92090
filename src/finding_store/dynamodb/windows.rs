//! Closes windows.

use super::item::{self, Key};
use super::{Attributes, Cancelled, DynamoFindings, TRANSACTION};
use crate::aws;
use crate::finding::{Alert, AlertKind, AlertWindow};
use crate::finding_store::Route;
use crate::ledger::store::StoreError;
use crate::ledger::store::dynamodb::RequestRetry;

impl DynamoFindings {
    /// Closes windows that ended at or before `until`, and returns their number.
    pub(super) async fn close_ended(&self, routes: &[Route], until: i64, now: i64) -> Result<u64, StoreError> {
        // `$` is the character after `#`, so the page contains every group and start of this end.
        let last = format!("{}$", item::sortable(until));
        let (mut closed, mut start) = (0, None);
        loop {
            let (ended, next) = self.page("open", Some(&last), None, start).await?;
            for marker in &ended {
                closed += u64::from(self.close(marker, routes, now).await?);
            }
            start = next;
            if start.is_none() {
                return Ok(closed);
            }
        }
    }

    /// Closes a window. Returns whether this call closed it.
    async fn close(&self, marker: &Attributes, routes: &[Route], now: i64) -> Result<bool, StoreError> {
        let group = item::string(marker, "group_id")?;
        let (start, end) = (item::integer(marker, "window_start")?, item::integer(marker, "window_end")?);
        let (key, marker) = (Key::window(group, start), Key::of(marker)?);
        let mut retry = RequestRetry::new();
        loop {
            let window = self.read_one(key.clone()).await?;
            let mut writes = vec![self.delete(&marker, None)?];
            let is_open = window.as_ref().is_some_and(|window| !window.contains_key("closed"));
            if let Some(window) = window.filter(|_| is_open) {
                let findings = item::integer(&window, "findings")?;
                let values = item::attributes([(":now", item::number(now)), (":before", item::number(findings))]);
                let condition = "findings = :before AND attribute_not_exists(closed)";
                writes.push(self.update(&key, "SET closed = :now", condition, values)?);
                if window.contains_key("alerted") && findings >= 2 {
                    let alert = Alert {
                        kind: AlertKind::Summary,
                        group: group.to_owned(),
                        window: AlertWindow { start, end },
                        count: findings.cast_unsigned(),
                        finding: item::parsed(&window, "alerted")?,
                        recorded: now,
                    };
                    writes.extend(self.enqueue(&alert, routes)?);
                }
            }
            match self.transact(writes).await {
                Ok(()) => return Ok(is_open),
                // A finding was recorded meanwhile, or another process closed the window.
                Err(Cancelled::Outdated) => {
                    let conflict = aws::failure_of_code("ThrottlingException", "the window changes");
                    retry.wait_or_fail(TRANSACTION, &self.table, conflict).await?;
                }
                Err(Cancelled::Failed(error)) => return Err(error),
            }
        }
    }
}
