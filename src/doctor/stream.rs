//! Checks of the Firehose stream.

use super::catalog::{STREAM_DELIVERY, STREAM_ENCRYPTION, STREAM_STATE};
use super::deployment::Deployment;
use super::facts::Fact;
use super::finding::{Finding, Verdict};
use super::metrics::{MetricName, Metrics};
use super::text::{counted, duration};
use async_trait::async_trait;

/// The check fails if the oldest data that is not delivered to S3 has at least this age, in seconds. `LakeAlarm` has the same
/// threshold.
const STALE: f64 = 1_800.0;

/// A Firehose stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamFacts {
    /// Status, such as `ACTIVE`.
    pub status: String,
    /// Why the last change of the stream failed.
    pub failure: Option<String>,
    /// Type, such as `DirectPut`.
    pub kind: String,
    /// Destinations: the ARN of a bucket, or a service such as `Splunk`.
    pub destinations: Vec<String>,
    /// Status of the encryption, such as `ENABLED`.
    pub encryption: Option<String>,
}

/// Reads streams.
#[async_trait]
pub trait StreamReader: Send + Sync {
    /// Returns a stream by its name.
    async fn stream(&self, name: &str) -> Fact<StreamFacts>;
}

pub(super) async fn examine(
    streams: &dyn StreamReader,
    deployment: &Deployment,
    metrics: &Fact<Metrics>,
) -> Vec<Finding> {
    let Some(name) = deployment.stream.as_deref() else {
        let checks = [&STREAM_STATE, &STREAM_ENCRYPTION, &STREAM_DELIVERY];
        return checks.map(|check| check.finding(Verdict::not_applicable("the stream is not known"))).to_vec();
    };
    let stream = streams.stream(name).await;
    vec![
        STREAM_STATE.finding_of(&stream, |stream| state(name, stream)),
        STREAM_ENCRYPTION.finding_of(&stream, |stream| encryption(name, stream)),
        STREAM_DELIVERY.finding_of(metrics, delivery),
    ]
}

fn state(name: &str, stream: &StreamFacts) -> Verdict {
    if stream.status != "ACTIVE" {
        let reason = stream.failure.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        return Verdict::failed(
            format!("{name} is {}{reason}", stream.status),
            "fix the cause, or create the stream again",
        );
    }
    if stream.kind != "DirectPut" {
        return Verdict::failed(
            format!("{name} reads from {}, so it accepts no records", stream.kind),
            "use a stream with the source Direct PUT",
        );
    }
    match stream.destinations.is_empty() {
        true => Verdict::failed(format!("{name} has no destination"), "add a destination to the stream"),
        false => Verdict::ok(format!("{name} is active and delivers to {}", stream.destinations.join(", "))),
    }
}

fn encryption(name: &str, stream: &StreamFacts) -> Verdict {
    match stream.encryption.as_deref() {
        Some("ENABLED" | "ENABLING") => Verdict::ok("enabled"),
        other => Verdict::warning(
            other.unwrap_or("not enabled").to_lowercase().replace('_', " "),
            format!("aws firehose start-delivery-stream-encryption --delivery-stream-name {name}"),
        ),
    }
}

fn delivery(metrics: &Metrics) -> Verdict {
    if let Some(age) = metrics.latest(MetricName::StreamFreshness).filter(|age| *age >= STALE) {
        return Verdict::failed(
            format!("the oldest data that is not delivered is {} old", duration(age as i64)),
            "read the error log of the stream; check its role, the destination bucket and its key",
        );
    }
    let throttled = metrics.sum(MetricName::StreamThrottledRecords).unwrap_or(0.0) as u64;
    if throttled > 0 {
        return Verdict::warning(
            counted(throttled, "throttled record"),
            "request a higher quota: see quota.stream-bytes, quota.stream-records and quota.stream-requests",
        );
    }
    match (metrics.latest(MetricName::StreamFreshness), metrics.sum(MetricName::StreamBytes)) {
        (Some(age), _) => Verdict::ok(format!("the oldest data that is not delivered is {} old", duration(age as i64))),
        (None, Some(bytes)) if bytes > 0.0 => {
            Verdict::ok(format!("{bytes:.0} bytes received; the destination reports no age"))
        }
        _ => Verdict::not_applicable("the stream received nothing"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::CheckStatus::{Failed, NotApplicable, Ok as Fine, Warning};

    fn stream() -> StreamFacts {
        StreamFacts {
            status: "ACTIVE".into(),
            failure: None,
            kind: "DirectPut".into(),
            destinations: vec!["S3 arn:aws:s3:::lake".into()],
            encryption: Some("ENABLED".into()),
        }
    }

    #[test]
    fn stream_must_accept_and_deliver() {
        let of = |stream: StreamFacts| STREAM_STATE.finding(state("s", &stream)).status;
        assert_eq!(of(stream()), Fine);
        assert_eq!(of(StreamFacts { status: "CREATING_FAILED".into(), ..stream() }), Failed);
        assert_eq!(of(StreamFacts { kind: "KinesisStreamAsSource".into(), ..stream() }), Failed);
        assert_eq!(of(StreamFacts { destinations: vec![], ..stream() }), Failed);
        let of = |encryption: Option<&str>| {
            let stream = StreamFacts { encryption: encryption.map(str::to_owned), ..stream() };
            STREAM_ENCRYPTION.finding(encryption_of(&stream)).status
        };
        assert_eq!((of(Some("ENABLED")), of(Some("DISABLED")), of(None)), (Fine, Warning, Warning));
    }

    fn encryption_of(stream: &StreamFacts) -> Verdict {
        encryption("s", stream)
    }

    #[test]
    fn stale_data_is_a_failure_and_throttling_a_warning() {
        let of = |metrics: Metrics| STREAM_DELIVERY.finding(delivery(&metrics)).status;
        assert_eq!(of(Metrics::default()), NotApplicable);
        assert_eq!(of(Metrics::from([(MetricName::StreamFreshness, vec![300.0, 9_000.0])])), Fine);
        assert_eq!(of(Metrics::from([(MetricName::StreamFreshness, vec![1_800.0])])), Failed);
        assert_eq!(of(Metrics::from([(MetricName::StreamThrottledRecords, vec![1.0])])), Warning);
    }
}
