//! Checks of what was delivered: activity, lag, quarantined objects.

use super::catalog::{DELIVERY_ACTIVITY, DELIVERY_LAG, DELIVERY_QUARANTINE};
use super::facts::Fact;
use super::finding::{Finding, Verdict};
use super::metrics::{MetricName, Metrics};
use super::text::{counted, duration, short};
use crate::ledger::model::quarantine::QuarantineKind;
use crate::ledger::model::row::Row;

/// A lag of this many seconds is a warning. CloudTrail usually delivers within ten minutes.
const LATE: f64 = 3_600.0;

/// A lag of this many seconds is a failure.
const VERY_LATE: f64 = 6.0 * 3_600.0;

/// The maximum number of quarantined rows that are read.
pub(super) const MAX_QUARANTINED: usize = 1_000;

/// The maximum number of objects that a finding names.
const NAMED: usize = 3;

/// The first quarantined objects, and whether there are more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QuarantinedRows {
    /// The first rows.
    pub rows: Vec<Row>,
    /// Whether there are more.
    pub more: bool,
}

pub(super) fn quarantine(rows: Option<&Fact<QuarantinedRows>>) -> Finding {
    match rows {
        None => DELIVERY_QUARANTINE.finding(Verdict::not_applicable("the table is not known")),
        Some(rows) => DELIVERY_QUARANTINE.finding_of(rows, evaluate_quarantine),
    }
}

fn evaluate_quarantine(found: &QuarantinedRows) -> Verdict {
    let kind = |row: &Row| QuarantineKind::of(row.reason.as_deref().unwrap_or_default());
    let waiting = found.rows.iter().filter(|row| kind(row).reopened_by_discovery().is_some());
    let (accepted, open): (Vec<&Row>, Vec<&Row>) =
        found.rows.iter().filter(|row| kind(row) == QuarantineKind::Other).partition(|row| row.accepted.is_some());
    let waiting = waiting.count() as u64;
    let others = match (waiting, accepted.len()) {
        (0, 0) => String::new(),
        (0, accepted) => format!("; {accepted} accepted"),
        (waiting, accepted) => format!("; {waiting} archived or without a usable key, {accepted} accepted"),
    };
    let at_least = if found.more { "at least " } else { "" };
    let reason = |row: &&&Row| format!("{}: {}", row.object, short(row.reason.as_deref().unwrap_or("no reason"), 120));
    match (open.len(), waiting) {
        (0, 0) => Verdict::ok(format!("none{others}")),
        (0, waiting) => Verdict::warning(
            format!("{at_least}{} archived or without a usable KMS key", counted(waiting, "object")),
            "restore them or enable the key; the next backfill that covers them delivers them",
        ),
        (count, _) => Verdict::failed(
            format!(
                "{at_least}{}{others}; first: {}",
                counted(count as u64, "object"),
                open.iter().take(NAMED).map(|row| reason(&row)).collect::<Vec<_>>().join("; ")
            ),
            "list them with trailhose ledger quarantine list, then retry or accept each (docs/quarantine.md)",
        ),
    }
}

pub(super) fn metric_findings(metrics: &Fact<Metrics>, has_function: bool) -> Vec<Finding> {
    if !has_function {
        let verdict = Verdict::not_applicable("the ingest function is not known");
        return vec![DELIVERY_ACTIVITY.finding(verdict.clone()), DELIVERY_LAG.finding(verdict)];
    }
    vec![DELIVERY_ACTIVITY.finding_of(metrics, activity), DELIVERY_LAG.finding_of(metrics, lag)]
}

fn activity(metrics: &Metrics) -> Verdict {
    let invocations = metrics.sum(MetricName::IngestInvocations).unwrap_or(0.0) as u64;
    let events = metrics.sum(MetricName::EventsDelivered);
    if metrics.latest(MetricName::BreakerOpen) == Some(1.0) {
        return Verdict::failed(
            "the circuit breaker is open",
            "find the error in the log of the ingest function, and correct its cause; objects wait and are delivered afterwards",
        );
    }
    match (invocations, events) {
        (0, None) => Verdict::warning(
            "no invocation",
            "check bucket.notification, queue.policy and function.mappings, and that the trail records events",
        ),
        (invocations, None) => Verdict::warning(
            format!("{}, but no metric EventsDelivered in the namespace trailhose", counted(invocations, "invocation")),
            "read the log of the ingest function; its role needs logs:PutLogEvents",
        ),
        (invocations, Some(events)) => {
            Verdict::ok(format!("{}, {events:.0} events delivered", counted(invocations, "invocation")))
        }
    }
}

fn lag(metrics: &Metrics) -> Verdict {
    let Some(lag) = metrics.latest(MetricName::Lag) else {
        return Verdict::not_applicable("nothing was delivered in the last 24 hours");
    };
    let found = duration(lag as i64);
    let next_step = "check function.errors, function.mappings and the quotas; trailhose pause --status shows the messages that wait";
    match lag {
        lag if lag >= VERY_LATE => Verdict::failed(found, next_step),
        lag if lag >= LATE => Verdict::warning(found, next_step),
        _ => Verdict::ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::CheckStatus::{Failed, NotApplicable, Ok as Fine, Warning};
    use crate::ledger::model::row::Status;
    use crate::object::Object;

    fn row(reason: &str, accepted: Option<&str>) -> Row {
        Row {
            object: Object { bucket: "logs".into(), key: "AWSLogs/x.json.gz".into(), etag: "e".into() },
            status: Status::Quarantined,
            token: None,
            until: 0,
            cursor: 0,
            acknowledged: Default::default(),
            counts: None,
            reason: Some(reason.into()),
            quarantined_at: Some(1),
            accepted: accepted.map(str::to_owned),
            expires: None,
        }
    }

    #[test]
    fn quarantine_is_a_failure_unless_accepted_or_waiting() {
        let of = |rows: Vec<Row>| quarantine(Some(&Ok(QuarantinedRows { rows, more: false })));
        assert_eq!(of(vec![]).status, Fine);
        assert_eq!(of(vec![row("gzip: damaged", Some("known"))]).status, Fine);
        assert_eq!(of(vec![row("archived: restore it", None)]).status, Warning);
        let finding =
            of(vec![row("gzip: damaged at 7", None), row("json: x", Some("known")), row("kms: disabled", None)]);
        assert_eq!(finding.status, Failed);
        assert_eq!(
            finding.found,
            "1 object; 1 archived or without a usable key, 1 accepted; first: s3://logs/AWSLogs/x.json.gz: gzip: damaged at 7"
        );
        assert_eq!(quarantine(None).status, NotApplicable);
    }

    #[test]
    fn lag_is_that_of_the_latest_data_point() {
        let of = |points: Vec<f64>| DELIVERY_LAG.finding(lag(&Metrics::from_iter([(MetricName::Lag, points)]))).status;
        assert_eq!(
            [of(vec![]), of(vec![600.0, 90_000.0]), of(vec![3_600.0]), of(vec![21_600.0])],
            [NotApplicable, Fine, Warning, Failed]
        );
    }

    #[test]
    fn function_must_have_run() {
        let of = |metrics: Metrics| DELIVERY_ACTIVITY.finding(activity(&metrics)).status;
        assert_eq!(of(Metrics::default()), Warning);
        let ran = (MetricName::IngestInvocations, vec![2.0]);
        assert_eq!(of(Metrics::from([ran.clone()])), Warning);
        let delivered = (MetricName::EventsDelivered, vec![5.0]);
        assert_eq!(of(Metrics::from([ran.clone(), delivered.clone()])), Fine);
        assert_eq!(of(Metrics::from([ran, delivered, (MetricName::BreakerOpen, vec![1.0, 0.0])])), Failed);
    }
}
