//! Checks of yesterday's volume against the quotas of AWS.

use super::catalog::{
    Check, QUOTA_CONCURRENCY, QUOTA_STREAM_BYTES, QUOTA_STREAM_RECORDS, QUOTA_STREAM_REQUESTS, QUOTA_TABLE_WRITES,
};
use super::deployment::Deployment;
use super::facts::Fact;
use super::finding::{Finding, Verdict};
use super::metrics::{MetricName, Metrics};
use async_trait::async_trait;

/// A peak of this share of a quota is a warning.
const HIGH: f64 = 0.7;

/// Length of a data point in seconds.
pub(super) const PERIOD: i32 = 60;

/// The regions with the larger quota of Firehose.
/// <https://docs.aws.amazon.com/firehose/latest/dev/limits.html>
const LARGE_REGIONS: [&str; 3] = ["us-east-1", "us-west-2", "eu-west-1"];

/// Write request units per second of a table, unless the quota was raised.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html>
const TABLE_WRITES: f64 = 40_000.0;

/// The name of the quota of [`TABLE_WRITES`] in Service Quotas.
pub(super) const TABLE_WRITES_QUOTA: &str = "Table-level write throughput limit";

/// Reads service quotas.
#[async_trait]
pub trait QuotaReader: Send + Sync {
    /// Returns the quota of a service that has this name, or `None` if no value was set for the account.
    async fn quota(&self, service: &str, name: &str) -> Fact<Option<f64>>;
}

/// Quotas of the account.
#[derive(Debug)]
pub(super) struct Quotas {
    /// Concurrent executions of Lambda.
    pub(super) concurrency: Fact<u64>,
    /// Reserved concurrency of the ingest function, if it has one. It is then the limit of the function.
    pub(super) reserved: Option<u64>,
    /// Write units per second of a table.
    pub(super) table_writes: Fact<Option<f64>>,
}

pub(super) fn findings(metrics: &Fact<Metrics>, quotas: &Quotas, deployment: &Deployment) -> Vec<Finding> {
    let large = LARGE_REGIONS.contains(&deployment.region.as_str());
    let default = |large_value: f64, other: f64| if large { large_value } else { other };
    let mib = 1024.0 * 1024.0;
    let stream = |check: &Check, used: MetricName, limit: MetricName, default: f64, unit: &str| {
        if deployment.stream.is_none() {
            return check.finding(Verdict::not_applicable("the stream is not known"));
        }
        check.finding_of(metrics, |metrics| {
            let quota = metrics.min(limit).filter(|limit| *limit > 0.0);
            let source = if quota.is_some() { "quota of the stream" } else { "default quota of the region" };
            let peak = metrics.max(used).map(|sum| sum / f64::from(PERIOD));
            compare(
                peak,
                quota.unwrap_or(default),
                unit,
                source,
                "request a higher quota of the stream with the Firehose limits form",
            )
        })
    };
    vec![
        stream(
            &QUOTA_STREAM_BYTES,
            MetricName::StreamBytes,
            MetricName::StreamBytesLimit,
            default(5.0, 1.0) * mib,
            "bytes/s",
        ),
        stream(
            &QUOTA_STREAM_RECORDS,
            MetricName::StreamRecords,
            MetricName::StreamRecordsLimit,
            default(500_000.0, 100_000.0),
            "records/s",
        ),
        stream(
            &QUOTA_STREAM_REQUESTS,
            MetricName::StreamRequests,
            MetricName::StreamRequestsLimit,
            default(2_000.0, 1_000.0),
            "requests/s",
        ),
        concurrency(metrics, quotas),
        table_writes(metrics, quotas, deployment),
    ]
}

fn concurrency(metrics: &Fact<Metrics>, quotas: &Quotas) -> Finding {
    let both = metrics.clone().and_then(|metrics| Ok((metrics, *quotas.concurrency.as_ref().map_err(Clone::clone)?)));
    QUOTA_CONCURRENCY.finding_of(&both, |(metrics, quota)| match quotas.reserved.filter(|reserved| *reserved > 0) {
        Some(reserved) => compare(
            metrics.max(MetricName::IngestConcurrency),
            reserved as f64,
            "concurrent executions of the ingest function",
            "its reserved concurrency",
            "raise the reserved concurrency of the ingest function",
        ),
        None => compare(
            metrics.max(MetricName::AccountConcurrency).or(metrics.max(MetricName::IngestConcurrency)),
            *quota as f64,
            "concurrent executions of the account",
            "quota of the account",
            "request a higher quota (Lambda, Concurrent executions), or reserve concurrency for the ingest function",
        ),
    })
}

fn table_writes(metrics: &Fact<Metrics>, quotas: &Quotas, deployment: &Deployment) -> Finding {
    if deployment.table.is_none() {
        return QUOTA_TABLE_WRITES.finding(Verdict::not_applicable("the table is not known"));
    }
    let both = metrics.clone().and_then(|metrics| Ok((metrics, quotas.table_writes.clone()?)));
    QUOTA_TABLE_WRITES.finding_of(&both, |(metrics, quota)| {
        let peak = metrics.max(MetricName::TableWriteUnits).map(|sum| sum / f64::from(PERIOD));
        let source = if quota.is_some() { "quota of the account" } else { "default quota" };
        let next_step = format!("request a higher quota (DynamoDB, {TABLE_WRITES_QUOTA})");
        compare(peak, quota.unwrap_or(TABLE_WRITES), "write units/s", source, &next_step)
    })
}

/// Compares a peak with a quota.
fn compare(peak: Option<f64>, quota: f64, unit: &str, source: &str, next_step: &str) -> Verdict {
    let Some(peak) = peak else {
        return Verdict::not_applicable(format!("no data of yesterday; {source}: {quota:.0} {unit}"));
    };
    let share = peak / quota;
    let found = format!("busiest minute: {peak:.1} of {quota:.0} {unit} ({:.1} %, {source})", share * 100.0);
    match share {
        share if share >= 1.0 => Verdict::failed(found, next_step),
        share if share >= HIGH => Verdict::warning(found, next_step),
        _ => Verdict::ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::CheckStatus::{self, Failed, NotApplicable, Ok as Fine, Warning};

    fn deployment(region: &str) -> Deployment {
        Deployment { region: region.into(), stream: Some("s".into()), table: Some("t".into()), ..Deployment::default() }
    }

    fn quotas() -> Quotas {
        Quotas { concurrency: Ok(1_000), reserved: None, table_writes: Ok(None) }
    }

    fn of(metrics: Metrics, quotas: &Quotas, region: &str, id: &str) -> Finding {
        let found = findings(&Ok(metrics), quotas, &deployment(region));
        found.into_iter().find(|finding| finding.id == id).unwrap()
    }

    #[test]
    fn stream_is_compared_with_the_quota_of_the_stream_or_the_region() {
        // 3 MiB/s in the busiest minute.
        let bytes = (MetricName::StreamBytes, vec![60.0, 60.0 * 3.0 * 1024.0 * 1024.0]);
        let status = |metrics, region| of(metrics, &quotas(), region, "quota.stream-bytes").status;
        assert_eq!(status(Metrics::from([bytes.clone()]), "eu-west-1"), Fine);
        assert_eq!(status(Metrics::from([bytes.clone()]), "eu-central-1"), Failed);
        let limit = (MetricName::StreamBytesLimit, vec![4.0 * 1024.0 * 1024.0]);
        assert_eq!(status(Metrics::from([bytes, limit]), "eu-central-1"), Warning);
        assert_eq!(status(Metrics::default(), "eu-west-1"), NotApplicable);
        let records = Metrics::from([(MetricName::StreamRecords, vec![60.0 * 50_000.0])]);
        let finding = of(records, &quotas(), "eu-central-1", "quota.stream-records");
        assert_eq!(finding.found, "busiest minute: 50000.0 of 100000 records/s (50.0 %, default quota of the region)");
    }

    #[test]
    fn concurrency_is_compared_with_the_account_or_the_reservation() {
        let metrics =
            Metrics::from([(MetricName::AccountConcurrency, vec![800.0]), (MetricName::IngestConcurrency, vec![20.0])]);
        let status = |quotas: &Quotas| of(metrics.clone(), quotas, "eu-west-1", "quota.lambda-concurrency").status;
        assert_eq!(status(&quotas()), Warning);
        assert_eq!(status(&Quotas { reserved: Some(50), ..quotas() }), Fine);
        assert_eq!(status(&Quotas { reserved: Some(20), ..quotas() }), Failed);
    }

    #[test]
    fn raised_quota_of_the_table_is_used() {
        let metrics = Metrics::from([(MetricName::TableWriteUnits, vec![60.0 * 30_000.0])]);
        let status = |table_writes| {
            let quotas = Quotas { table_writes: Ok(table_writes), ..quotas() };
            of(metrics.clone(), &quotas, "eu-west-1", "quota.table-writes").status
        };
        let all: [CheckStatus; 2] = [status(None), status(Some(80_000.0))];
        assert_eq!(all, [Warning, Fine]);
    }
}
