//! Detection over the objects of a lake: evaluates rules over each new object, records findings, and sends alerts. The
//! function `detect` calls it once for each invocation.
//!
//! ```text
//! object ─▶ lines ─▶ rules ─▶ findings, windows and outbox (DynamoDB) ─▶ acknowledge the message
//!                                                           └─▶ destinations, also on a schedule
//! ```

mod object;
mod tally;

pub use tally::LakeTally;

use super::rule_loader::{RuleLoader, RulesInUse};
use crate::alert::{AlertDestination, AlertSender, SendPolicy, SendReport};
use crate::finding::Grouping;
use crate::finding_store::dynamodb::DynamoFindings;
use crate::finding_store::{FindingStore, Route};
use crate::notification::{self, Message, Notice};
use crate::object::ObjectRef;
use crate::source::Source;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long an invocation sends alerts to one destination. The schedule sends the rest.
const SEND_TIME: Duration = Duration::from_secs(10);

/// How long an invocation has the right to send to a destination. This is longer than [`SEND_TIME`], the timeouts of two
/// requests and those of two reads of a secret together.
const LEASE_SECONDS: i64 = 90;

/// Evaluates rules over the objects of a lake.
#[derive(Debug)]
pub struct LakeDetection {
    /// Reads the objects.
    pub source: Arc<dyn Source>,
    /// The rules.
    pub rules: RuleLoader,
    /// The store of findings.
    pub store: Arc<DynamoFindings>,
    /// How findings are grouped.
    pub grouping: Grouping,
    /// The destinations of alerts.
    pub destinations: Vec<Arc<dyn AlertDestination>>,
    /// The alerts that each destination gets.
    pub routes: Vec<Route>,
    /// The time after the end of a window at which it is closed.
    pub close_after: Duration,
}

impl LakeDetection {
    /// Processes a batch of messages. Returns the IDs of the messages that must be delivered again, and what was done. The
    /// findings of all other messages are durable.
    pub async fn messages(&self, messages: &[Message]) -> (Vec<String>, LakeTally) {
        let mut tally = LakeTally::default();
        let mut failed = Vec::new();
        let Some(rules) = self.current_rules(&mut tally).await else {
            return (messages.iter().map(|message| message.id.clone()).collect(), tally);
        };
        for message in messages {
            let done = match notification::parse(&message.body) {
                Ok(notices) => self.notices(&notices, &rules, &mut tally).await,
                Err(error) => {
                    tally.invalid_messages += 1;
                    tracing::error!(message = message.id, "{error}");
                    false
                }
            };
            if !done {
                failed.push(message.id.clone());
            }
        }
        self.count_failures_of_rules(&rules, &mut tally);
        if tally.recorded.alerts > 0 {
            self.send(&mut tally).await;
        }
        (failed, tally)
    }

    /// Evaluates the objects of a direct invocation. Returns whether all were evaluated.
    pub async fn direct(&self, notices: &[Notice]) -> (bool, LakeTally) {
        let mut tally = LakeTally::default();
        let Some(rules) = self.current_rules(&mut tally).await else { return (false, tally) };
        let done = self.notices(notices, &rules, &mut tally).await;
        self.count_failures_of_rules(&rules, &mut tally);
        self.send(&mut tally).await;
        (done, tally)
    }

    /// Loads the rules, closes windows, and sends what is pending. A schedule calls it.
    pub async fn scheduled(&self) -> LakeTally {
        let mut tally = LakeTally::default();
        self.current_rules(&mut tally).await;
        let now = jiff::Timestamp::now().as_second();
        let grace = i64::try_from(self.close_after.as_secs()).unwrap_or(i64::MAX);
        match self.store.close_windows(&self.routes, grace, now).await {
            Ok(closed) => tally.windows_closed += closed,
            Err(error) => {
                tally.failed += 1;
                tracing::error!("windows are not closed: {error}; the next invocation tries again");
            }
        }
        self.send(&mut tally).await;
        tally
    }

    async fn current_rules(&self, tally: &mut LakeTally) -> Option<RulesInUse> {
        match self.rules.rules().await {
            Ok(rules) => {
                tally.rules_changed += u64::from(rules.is_change);
                tally.rules_unusable += u64::from(rules.problem.is_some());
                Some(rules)
            }
            Err(error) => {
                tally.rules_unusable += 1;
                tracing::error!("{error}");
                None
            }
        }
    }

    /// Evaluates the objects of notices. Returns whether all were evaluated.
    async fn notices(&self, notices: &[Notice], rules: &RulesInUse, tally: &mut LakeTally) -> bool {
        let mut done = true;
        for notice in notices {
            let Notice::Object(at) = notice else {
                tally.ignored += 1;
                continue;
            };
            match self.evaluate(at, rules, tally).await {
                Ok(()) => tally.objects += 1,
                Err(error) => {
                    done = false;
                    tally.failed += 1;
                    tracing::error!(object = %at, "{error}");
                }
            }
        }
        done
    }

    async fn evaluate(&self, at: &ObjectRef, rules: &RulesInUse, tally: &mut LakeTally) -> Result<(), String> {
        let stored = object::fetch(self.source.as_ref(), at).await?;
        let (mut batches, reader) = object::findings(stored, at.to_string(), Arc::clone(&rules.rules));
        while let Some(findings) = batches.recv().await {
            let now = jiff::Timestamp::now().as_second();
            let recorded = self.store.record_findings(&findings, &self.grouping, &self.routes, now).await;
            tally.recorded.add(recorded.map_err(|error| error.to_string())?);
        }
        let read = reader.await.map_err(|error| format!("the evaluation ended unexpectedly: {error}"))??;
        tally.events += read.events;
        tally.invalid_lines += read.invalid_lines;
        if read.invalid_lines > 0 {
            tracing::warn!(object = %at, lines = read.invalid_lines, "lines that are not events were not evaluated");
        }
        Ok(())
    }

    fn count_failures_of_rules(&self, rules: &RulesInUse, tally: &mut LakeTally) {
        for (rule, count) in rules.rules.failed_rules() {
            tally.rules_failed += 1;
            tracing::error!(rule = rule.id, count, "the evaluation of this rule failed for events; report this defect");
        }
    }

    /// Sends the pending alerts of each destination, unless another invocation sends to it. Destinations do not wait for each
    /// other.
    async fn send(&self, tally: &mut LakeTally) {
        let sends = self.destinations.iter().map(async |to| {
            let prepared = to.prepare().await;
            (to.name(), self.send_to(to, prepared.is_ok()).await, prepared)
        });
        for (destination, sent, prepared) in futures_util::future::join_all(sends).await {
            if let Err(error) = prepared {
                tally.destinations_unusable += 1;
                tracing::error!(destination, "alerts are not sent and stay in the outbox: {error}");
            }
            match sent {
                Ok(report) => tally.alerts.add(report),
                Err(error) => {
                    tally.failed += 1;
                    tracing::error!(destination, "alerts are not sent: {error}; the next invocation tries again");
                }
            }
        }
    }

    /// Sends the pending alerts of a destination. If the destination is not usable, only counts them.
    async fn send_to(&self, to: &Arc<dyn AlertDestination>, is_usable: bool) -> Result<SendReport, String> {
        // In most cases nothing is pending, and this read costs less than the two writes of a lease.
        let pending = self.store.pending_alerts(to.name()).await.map_err(|error| error.to_string())?.count;
        if pending == 0 || !is_usable {
            return Ok(SendReport { pending, ..SendReport::default() });
        }
        let now = jiff::Timestamp::now().as_second();
        let lease = self.store.lease(to.name(), now, now + LEASE_SECONDS).await.map_err(|error| error.to_string())?;
        let Some(lease) = lease else { return Ok(SendReport::default()) };
        // Repeats until nothing is due. The sender ends if a circuit is open.
        let (_ends, ended) = watch::channel(true);
        let policy = SendPolicy { final_send_time: SEND_TIME, ..SendPolicy::default() };
        let sent = AlertSender::new(Arc::clone(&self.store), vec![Arc::clone(to)], policy).run(ended).await;
        self.store.release(lease).await.map_err(|error| error.to_string())?;
        sent.map_err(|error| error.to_string())
    }
}
