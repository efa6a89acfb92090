//! Metrics that the checks read from CloudWatch.

use super::deployment::Deployment;
use super::facts::Fact;
use async_trait::async_trait;
use std::collections::BTreeMap;

/// A metric that the checks use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the table in `definition` describes each")]
pub enum MetricName {
    IngestInvocations,
    IngestErrors,
    IngestThrottles,
    BackfillErrors,
    BackfillThrottles,
    IngestConcurrency,
    AccountConcurrency,
    EventsDelivered,
    Lag,
    BreakerOpen,
    TableWriteThrottles,
    TableReadThrottles,
    TableWriteUnits,
    StreamBytes,
    StreamRecords,
    StreamRequests,
    StreamBytesLimit,
    StreamRecordsLimit,
    StreamRequestsLimit,
    StreamThrottledRecords,
    StreamFreshness,
    DestinationsUnusable,
}

/// How CloudWatch identifies a metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricDefinition {
    /// Which metric it is.
    pub metric: MetricName,
    /// Namespace.
    pub namespace: &'static str,
    /// Name.
    pub name: &'static str,
    /// Name and value of its dimension, if it has one.
    pub dimension: Option<(&'static str, String)>,
    /// Statistic.
    pub statistic: &'static str,
}

impl MetricName {
    /// Metrics of the state of a deployment, read for the last 24 hours.
    pub(crate) const STATE: [Self; 14] = [
        Self::IngestInvocations,
        Self::IngestErrors,
        Self::IngestThrottles,
        Self::BackfillErrors,
        Self::BackfillThrottles,
        Self::EventsDelivered,
        Self::Lag,
        Self::BreakerOpen,
        Self::TableWriteThrottles,
        Self::TableReadThrottles,
        Self::StreamThrottledRecords,
        Self::StreamFreshness,
        Self::StreamBytes,
        Self::DestinationsUnusable,
    ];

    /// Metrics of the volume, read for yesterday with one data point per minute.
    pub(crate) const VOLUME: [Self; 9] = [
        Self::IngestConcurrency,
        Self::AccountConcurrency,
        Self::TableWriteUnits,
        Self::StreamBytes,
        Self::StreamRecords,
        Self::StreamRequests,
        Self::StreamBytesLimit,
        Self::StreamRecordsLimit,
        Self::StreamRequestsLimit,
    ];

    /// Returns how CloudWatch identifies the metric, or `None` if its resource is not known.
    pub(crate) fn definition(self, deployment: &Deployment) -> Option<MetricDefinition> {
        let (ingest, backfill) = (&deployment.ingest_function, &deployment.backfill_function);
        let (table, stream) = (&deployment.table, &deployment.stream);
        let lambda = "AWS/Lambda";
        let (namespace, name, dimension, statistic) = match self {
            Self::IngestInvocations => (lambda, "Invocations", ("FunctionName", ingest), "Sum"),
            Self::IngestErrors => (lambda, "Errors", ("FunctionName", ingest), "Sum"),
            Self::IngestThrottles => (lambda, "Throttles", ("FunctionName", ingest), "Sum"),
            Self::BackfillErrors => (lambda, "Errors", ("FunctionName", backfill), "Sum"),
            Self::BackfillThrottles => (lambda, "Throttles", ("FunctionName", backfill), "Sum"),
            Self::IngestConcurrency => (lambda, "ConcurrentExecutions", ("FunctionName", ingest), "Maximum"),
            // Without a dimension, this is the sum over all functions of the account in the region.
            Self::AccountConcurrency => {
                let (metric, namespace, name, statistic) = (self, lambda, "ConcurrentExecutions", "Maximum");
                return Some(MetricDefinition { metric, namespace, name, dimension: None, statistic });
            }
            Self::EventsDelivered => (NAMESPACE, "EventsDelivered", ("Function", ingest), "Sum"),
            // The minimum, as in `LagAlarm`: a single object can contain old events.
            Self::Lag => (NAMESPACE, "Lag", ("Function", ingest), "Minimum"),
            Self::BreakerOpen => (NAMESPACE, "BreakerOpen", ("Function", ingest), "Maximum"),
            Self::TableWriteThrottles => ("AWS/DynamoDB", "WriteThrottleEvents", ("TableName", table), "Sum"),
            Self::TableReadThrottles => ("AWS/DynamoDB", "ReadThrottleEvents", ("TableName", table), "Sum"),
            Self::TableWriteUnits => ("AWS/DynamoDB", "ConsumedWriteCapacityUnits", ("TableName", table), "Sum"),
            Self::StreamBytes => (FIREHOSE, "IncomingBytes", (STREAM, stream), "Sum"),
            Self::StreamRecords => (FIREHOSE, "IncomingRecords", (STREAM, stream), "Sum"),
            Self::StreamRequests => (FIREHOSE, "IncomingPutRequests", (STREAM, stream), "Sum"),
            Self::StreamBytesLimit => (FIREHOSE, "BytesPerSecondLimit", (STREAM, stream), "Minimum"),
            Self::StreamRecordsLimit => (FIREHOSE, "RecordsPerSecondLimit", (STREAM, stream), "Minimum"),
            Self::StreamRequestsLimit => (FIREHOSE, "PutRequestsPerSecondLimit", (STREAM, stream), "Minimum"),
            Self::StreamThrottledRecords => (FIREHOSE, "ThrottledRecords", (STREAM, stream), "Sum"),
            Self::DestinationsUnusable => {
                (NAMESPACE, "DestinationsUnusable", ("Function", &deployment.detect_function), "Maximum")
            }
            Self::StreamFreshness => (FIREHOSE, "DeliveryToS3.DataFreshness", (STREAM, stream), "Maximum"),
        };
        let dimension = Some((dimension.0, dimension.1.clone()?));
        Some(MetricDefinition { metric: self, namespace, name, dimension, statistic })
    }
}

const NAMESPACE: &str = crate::telemetry::NAMESPACE;
const FIREHOSE: &str = "AWS/Firehose";
const STREAM: &str = "DeliveryStreamName";

/// A range of time for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricSpan {
    /// Start in seconds since 1970.
    pub from: i64,
    /// End in seconds since 1970.
    pub to: i64,
    /// Length of a data point in seconds.
    pub period: i32,
}

/// Reads metrics.
#[async_trait]
pub trait MetricReader: Send + Sync {
    /// Returns the data points of metrics, the latest first. Metrics without data points are omitted.
    async fn metrics(&self, definitions: &[MetricDefinition], span: MetricSpan) -> Fact<Metrics>;
}

/// Data points of metrics, the latest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metrics(BTreeMap<MetricName, Vec<f64>>);

impl<const N: usize> From<[(MetricName, Vec<f64>); N]> for Metrics {
    fn from(points: [(MetricName, Vec<f64>); N]) -> Self {
        Self(points.into())
    }
}

impl FromIterator<(MetricName, Vec<f64>)> for Metrics {
    fn from_iter<I: IntoIterator<Item = (MetricName, Vec<f64>)>>(points: I) -> Self {
        let mut all: BTreeMap<_, Vec<f64>> = BTreeMap::new();
        for (metric, values) in points {
            all.entry(metric).or_default().extend(values);
        }
        all.retain(|_, values| !values.is_empty());
        Self(all)
    }
}

impl Metrics {
    /// Returns the sum of all data points, or `None` without data points.
    pub(crate) fn sum(&self, metric: MetricName) -> Option<f64> {
        Some(self.0.get(&metric)?.iter().sum())
    }

    /// Returns the largest data point.
    pub(crate) fn max(&self, metric: MetricName) -> Option<f64> {
        self.0.get(&metric)?.iter().copied().reduce(f64::max)
    }

    /// Returns the smallest data point.
    pub(crate) fn min(&self, metric: MetricName) -> Option<f64> {
        self.0.get(&metric)?.iter().copied().reduce(f64::min)
    }

    /// Returns the latest data point.
    pub(crate) fn latest(&self, metric: MetricName) -> Option<f64> {
        self.0.get(&metric)?.first().copied()
    }
}
