//! Checks of the ledger's table.

use super::catalog::{LEDGER_RECOVERY, LEDGER_SCHEMA, LEDGER_TABLE, LEDGER_THROTTLING, LEDGER_TTL};
use super::deployment::Deployment;
use super::facts::Fact;
use super::finding::{Finding, Verdict};
use super::metrics::{MetricName, Metrics};
use super::text::counted;
use crate::ledger::store::dynamodb::SCHEMA_VERSION;
use async_trait::async_trait;

/// The attribute with the time to live.
const TTL_ATTRIBUTE: &str = "expires";

/// Indexes of the table.
const INDEXES: [&str; 2] = ["quarantined", "runs"];

/// The ledger's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFacts {
    /// Status, such as `ACTIVE`.
    pub status: String,
    /// Names of the key attributes, the hash key first.
    pub key: Vec<String>,
    /// Names and states of the global secondary indexes.
    pub indexes: Vec<(String, String)>,
    /// Whether capacity is billed on demand.
    pub on_demand: bool,
}

/// The time to live of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeToLive {
    /// Whether it is enabled.
    pub enabled: bool,
    /// The attribute with the time of expiry.
    pub attribute: Option<String>,
}

/// Reads tables.
#[async_trait]
pub trait TableReader: Send + Sync {
    /// Returns a table.
    async fn table(&self, name: &str) -> Fact<TableFacts>;
    /// Returns the schema version of a ledger, or `None` if none is stored.
    async fn schema_version(&self, name: &str) -> Fact<Option<u32>>;
    /// Returns the time to live of a table.
    async fn time_to_live(&self, name: &str) -> Fact<TimeToLive>;
    /// Returns whether point-in-time recovery is enabled.
    async fn point_in_time_recovery(&self, name: &str) -> Fact<bool>;
}

pub(super) async fn examine(
    tables: &dyn TableReader,
    deployment: &Deployment,
    metrics: &Fact<Metrics>,
) -> Vec<Finding> {
    let Some(name) = deployment.table.as_deref() else {
        let checks = [&LEDGER_TABLE, &LEDGER_SCHEMA, &LEDGER_TTL, &LEDGER_RECOVERY, &LEDGER_THROTTLING];
        return checks.map(|check| check.finding(Verdict::not_applicable("the table is not known"))).to_vec();
    };
    let (table, schema, ttl, recovery) = tokio::join!(
        tables.table(name),
        tables.schema_version(name),
        tables.time_to_live(name),
        tables.point_in_time_recovery(name)
    );
    let on_demand = table.as_ref().is_ok_and(|table| table.on_demand);
    vec![
        LEDGER_TABLE.finding_of(&table, |table| shape(name, table)),
        LEDGER_SCHEMA.finding_of(&schema, |version| schema_version(*version)),
        LEDGER_TTL.finding_of(&ttl, |ttl| time_to_live(name, ttl)),
        LEDGER_RECOVERY.finding_of(&recovery, |enabled| match enabled {
            true => Verdict::ok("enabled"),
            false => Verdict::warning(
                "not enabled",
                format!(
                    "aws dynamodb update-continuous-backups --table-name {name} \
                     --point-in-time-recovery-specification PointInTimeRecoveryEnabled=true"
                ),
            ),
        }),
        LEDGER_THROTTLING.finding_of(metrics, |metrics| throttling(metrics, on_demand)),
    ]
}

fn shape(name: &str, table: &TableFacts) -> Verdict {
    if !matches!(table.status.as_str(), "ACTIVE" | "UPDATING") {
        return Verdict::failed(format!("{name} is {}", table.status), "wait until the table is ACTIVE");
    }
    if table.key != ["pk"] {
        return Verdict::failed(
            format!("the key of {name} is {}, expected pk", table.key.join(" and ")),
            "use the table of the stack (output LedgerTableName)",
        );
    }
    for index in INDEXES {
        match table.indexes.iter().find(|(found, _)| found == index) {
            Some((_, status)) if status == "ACTIVE" || status == "UPDATING" => {}
            Some((_, status)) => {
                return Verdict::warning(format!("the index {index} is {status}"), "wait until the index is ACTIVE");
            }
            None => {
                return Verdict::failed(
                    format!("{name} has no index {index}"),
                    "deploy the template of this version, which creates the index",
                );
            }
        }
    }
    let billing = if table.on_demand { "on demand" } else { "provisioned capacity" };
    Verdict::ok(format!("{name} is active, {billing}"))
}

fn schema_version(version: Option<u32>) -> Verdict {
    match version {
        None => Verdict::ok("none is stored, because no event was delivered yet"),
        Some(version @ 1..=SCHEMA_VERSION) => Verdict::ok(format!("version {version}")),
        Some(version) => Verdict::failed(
            format!("version {version}; this version of trailhose reads up to {SCHEMA_VERSION}"),
            "update trailhose, and deploy the functions of the same version",
        ),
    }
}

fn time_to_live(name: &str, ttl: &TimeToLive) -> Verdict {
    match (ttl.enabled, ttl.attribute.as_deref()) {
        (true, Some(TTL_ATTRIBUTE)) => Verdict::ok(format!("enabled on {TTL_ATTRIBUTE}")),
        (true, other) => Verdict::failed(
            format!("enabled on {}, expected {TTL_ATTRIBUTE}", other.unwrap_or("no attribute")),
            "disable the time to live, wait an hour, and deploy the stack again",
        ),
        (false, _) => Verdict::failed(
            "not enabled",
            format!(
                "aws dynamodb update-time-to-live --table-name {name} \
                 --time-to-live-specification Enabled=true,AttributeName={TTL_ATTRIBUTE}"
            ),
        ),
    }
}

fn throttling(metrics: &Metrics, on_demand: bool) -> Verdict {
    let sum = |metric| metrics.sum(metric).unwrap_or(0.0) as u64;
    let (writes, reads) = (sum(MetricName::TableWriteThrottles), sum(MetricName::TableReadThrottles));
    if writes + reads == 0 {
        return Verdict::ok("none");
    }
    let next_step = match on_demand {
        true => {
            "wait: an on-demand table adapts to twice its previous peak within 30 minutes; if throttling continues, see quota.table-writes"
        }
        false => "raise the provisioned capacity, or set BillingMode to PAY_PER_REQUEST",
    };
    Verdict::warning(format!("{}, {}", counted(writes, "throttled write"), counted(reads, "throttled read")), next_step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::CheckStatus::{self, Failed, Ok as Fine, Warning};

    fn table() -> TableFacts {
        TableFacts {
            status: "ACTIVE".into(),
            key: vec!["pk".into()],
            indexes: INDEXES.map(|name| (name.to_owned(), "ACTIVE".to_owned())).to_vec(),
            on_demand: true,
        }
    }

    fn status(check: &crate::doctor::catalog::Check, verdict: Verdict) -> CheckStatus {
        check.finding(verdict).status
    }

    #[test]
    fn table_needs_its_key_and_both_indexes() {
        let of = |table: TableFacts| status(&LEDGER_TABLE, shape("ledger", &table));
        assert_eq!(of(table()), Fine);
        assert_eq!(of(TableFacts { status: "DELETING".into(), ..table() }), Failed);
        assert_eq!(of(TableFacts { key: vec!["pk".into(), "sk".into()], ..table() }), Failed);
        assert_eq!(of(TableFacts { indexes: table().indexes[..1].to_vec(), ..table() }), Failed);
        let creating = vec![("quarantined".into(), "CREATING".into()), ("runs".into(), "ACTIVE".into())];
        assert_eq!(of(TableFacts { indexes: creating, ..table() }), Warning);
    }

    #[test]
    fn later_schema_version_is_a_failure() {
        let of = |version| status(&LEDGER_SCHEMA, schema_version(version));
        assert_eq!((of(None), of(Some(SCHEMA_VERSION))), (Fine, Fine));
        assert_eq!((of(Some(0)), of(Some(SCHEMA_VERSION + 1))), (Failed, Failed));
    }

    #[test]
    fn time_to_live_must_use_the_attribute_of_the_ledger() {
        let of = |enabled, attribute: Option<&str>| {
            status(
                &LEDGER_TTL,
                time_to_live("ledger", &TimeToLive { enabled, attribute: attribute.map(str::to_owned) }),
            )
        };
        assert_eq!((of(true, Some("expires")), of(true, Some("ttl")), of(false, None)), (Fine, Failed, Failed));
    }

    #[test]
    fn throttled_requests_are_a_warning() {
        let metrics = Metrics::from([(MetricName::TableWriteThrottles, vec![1.0, 0.0, 4.0])]);
        let finding = LEDGER_THROTTLING.finding(throttling(&metrics, false));
        assert_eq!((finding.status, finding.found.as_str()), (Warning, "5 throttled writes, 0 throttled reads"));
        assert_eq!(status(&LEDGER_THROTTLING, throttling(&Metrics::default(), true)), Fine);
    }
}
