//! Telemetry: structured logs on standard error, and one line of metrics an invocation on standard output.

use crate::backfill::tally::BackfillTally;
use crate::listing::Counts;
use crate::tally::Tally;
use serde_json::{Map, Value, json};
use tracing_subscriber::filter::{LevelFilter, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The CloudWatch namespace of all metrics.
pub const NAMESPACE: &str = "trailhose";

/// Sends structured logs to standard error, as much of them as `RUST_LOG` asks for (default `info`, the SDK's own
/// `warn`). Logs name objects and counts, never events: of other crates' `trace`, which prints requests and answers as they
/// are, nothing is taken, whatever `RUST_LOG` says.
pub fn start() {
    let theirs = ["aws_config", "aws_smithy_runtime", "hyper"].map(|name| (name, LevelFilter::WARN));
    let asked = levels(Targets::new().with_default(LevelFilter::INFO).with_targets(theirs));
    let kept = filter_fn(|said| *said.level() <= LevelFilter::DEBUG || said.target().starts_with("trailhose"));
    let logs = tracing_subscriber::fmt::layer().json().flatten_event(true).with_current_span(false);
    // A second start, in a test, finds the first one's logger in place.
    let _ = tracing_subscriber::registry().with(logs.with_writer(std::io::stderr)).with(asked).with(kept).try_init();
}

/// What `RUST_LOG` asks for, a level by itself or for a target (`warn,trailhose=debug`); `usual` where it is not set or
/// not understood. It selects by neither span nor field: what does, `EnvFilter`, brings an engine of regular
/// expressions, 440 KB of a function's program.
pub fn levels(usual: Targets) -> Targets {
    std::env::var("RUST_LOG").ok().and_then(|asked| targets(&asked)).unwrap_or(usual)
}

fn targets(asked: &str) -> Option<Targets> {
    // An empty directive, as after a last comma, would be read as `error`.
    let asked: Vec<_> = asked.split(',').map(str::trim).filter(|directive| !directive.is_empty()).collect();
    asked.join(",").parse().ok()
}

/// One invocation's numbers in CloudWatch's embedded metric format: a log line from which CloudWatch makes metrics.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
pub fn embedded_metrics(function: &str, tally: &Tally, costs: &[(&str, u64)], now_ms: u64) -> String {
    let done = &tally.done;
    let figures = [
        ("ObjectsDone", tally.objects),
        ("ObjectsAlreadyDone", tally.already),
        ("ObjectsSkipped", tally.skipped.values().sum()),
        ("ObjectsQuarantined", tally.quarantined_by_this_run()),
        ("ObjectsPutOff", tally.later),
        ("ObjectsFailed", tally.failed),
        ("MessagesNotUnderstood", tally.not_understood),
        ("NoticesIgnored", tally.ignored.values().sum()),
        ("EventsSeen", done.counts.seen),
        ("EventsDelivered", done.counts.delivered),
        ("EventsDuplicate", done.counts.duplicate),
        ("EventsFiltered", done.counts.filtered),
        ("EventsOversize", done.counts.oversize),
        ("EventsConflicting", done.conflicts),
        ("EventsHelped", done.helped),
    ];
    let bytes = [("StoredBytes", done.stored_bytes), ("JsonBytes", done.json_bytes), ("SentBytes", done.sent_bytes)];
    let lag = done.newest.map(|newest| now_ms.saturating_sub(u64::try_from(newest).unwrap_or(0) * 1000) / 1000);
    let units = [
        figures.iter().map(|&(name, value)| (name, "Count", value)).collect::<Vec<_>>(),
        costs.iter().map(|&(name, value)| (name, "Count", value)).collect(),
        bytes.iter().map(|&(name, value)| (name, "Bytes", value)).collect(),
        // From the newest event delivered to now: how far the stream is behind.
        lag.map(|lag| ("Lag", "Seconds", lag)).into_iter().collect(),
    ]
    .concat();
    // The kinds are properties, not metrics: they can be searched for, and cost nothing.
    let kinds = [("Quarantined", &tally.quarantined), ("Skipped", &tally.skipped), ("Ignored", &tally.ignored)];
    let kinds = kinds.into_iter().filter(|(_, kinds)| !kinds.is_empty()).map(|(name, kinds)| (name, json!(kinds)));
    line(function, &units, kinds, now_ms)
}

/// The same for one invocation of the backfill.
pub fn backfill_metrics(function: &str, tally: &BackfillTally, costs: &[(&str, u64)], now_ms: u64) -> String {
    let Counts { listed, no_logs, not_asked, done, leased, quarantined, missing, forgotten, unfinished, .. } =
        tally.counts;
    let Counts { sent, bytes, messages, list_requests, ledger_reads, .. } = tally.counts;
    let counts = [
        ("RunsBegun", tally.runs),
        ("SourcesDiscovered", tally.discovered),
        ("SourcesEmpty", tally.empty),
        ("UnitsFound", tally.units),
        ("UnitsDone", tally.done),
        ("UnitsPutBack", tally.requeued),
        ("TasksFailed", tally.failed),
        ("MessagesNotUnderstood", tally.not_understood),
        ("KeysListed", listed),
        ("KeysNoLogs", no_logs),
        ("KeysNotAsked", not_asked),
        ("ObjectsFoundDone", done),
        ("ObjectsFoundLeased", leased),
        ("ObjectsFoundQuarantined", quarantined),
        ("ObjectsMissing", missing),
        ("ObjectsForgotten", forgotten),
        ("ObjectsUnfinished", unfinished),
        ("ObjectsHandedIn", sent),
        ("MessagesHandedIn", messages),
        ("ListRequests", list_requests),
        ("LedgerRowsRead", ledger_reads),
    ];
    let units: Vec<_> = counts
        .iter()
        .chain(costs)
        .map(|&(name, value)| (name, "Count", value))
        .chain([("BytesHandedIn", "Bytes", bytes)])
        .collect();
    line(function, &units, [], now_ms)
}

/// A line of metrics, each a name, a unit and a value, and of properties.
fn line<'p>(
    function: &str,
    metrics: &[(&str, &str, u64)],
    properties: impl IntoIterator<Item = (&'p str, Value)>,
    now_ms: u64,
) -> String {
    let definitions: Vec<_> = metrics.iter().map(|(name, unit, _)| json!({ "Name": name, "Unit": unit })).collect();
    let mut line = Map::new();
    line.insert(
        "_aws".into(),
        json!({ "Timestamp": now_ms, "CloudWatchMetrics": [
            { "Namespace": NAMESPACE, "Dimensions": [["Function"]], "Metrics": definitions }
        ]}),
    );
    line.insert("Function".into(), function.into());
    line.extend(metrics.iter().map(|(name, _, value)| ((*name).to_owned(), Value::from(*value))));
    line.extend(properties.into_iter().map(|(name, value)| (name.to_owned(), value)));
    Value::Object(line).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::IngestReport;
    use crate::ledger::model::row;
    use tracing::Level;

    #[test]
    fn a_level_is_asked_for_by_itself_and_for_a_target() {
        let asked = targets("warn, trailhose=debug,hyper=off,").unwrap();
        assert!(asked.would_enable("aws_config", &Level::WARN) && !asked.would_enable("aws_config", &Level::INFO));
        assert!(asked.would_enable("trailhose::batch", &Level::DEBUG));
        assert!(!asked.would_enable("hyper", &Level::ERROR));
        assert!(targets("").unwrap().would_enable("trailhose", &Level::ERROR));
        assert!(targets("trailhose=loud").is_none());
    }

    #[test]
    fn every_metric_that_is_defined_has_a_value() {
        let events = row::Counts { seen: 3, delivered: 1, duplicate: 2, ..row::Counts::default() };
        let done = IngestReport { counts: events, newest: Some(100), ..IngestReport::default() };
        let tally = Tally { done, ..Tally::default() };
        let line: Value =
            serde_json::from_str(&embedded_metrics("ingest", &tally, &[("WriteUnits", 7)], 160_000)).unwrap();
        let defined = line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap();
        for metric in defined {
            assert!(line[metric["Name"].as_str().unwrap()].is_u64(), "{metric}");
        }
        assert!(defined.len() <= 100, "more metrics than one line may define");
        assert_eq!(line["Lag"], 60);
        assert_eq!(line["WriteUnits"], 7);
    }

    #[test]
    fn every_metric_of_a_backfill_has_the_value_of_its_name() {
        let counts = Counts { missing: 3, sent: 2, bytes: 700, ..Counts::default() };
        let tally = BackfillTally { empty: 1, counts, ..BackfillTally::default() };
        let line: Value =
            serde_json::from_str(&backfill_metrics("backfill", &tally, &[("LedgerReadUnits", 7)], 1)).unwrap();
        let defined = line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap();
        assert!(defined.iter().all(|metric| line[metric["Name"].as_str().unwrap()].is_u64()), "{line}");
        let names = ["SourcesEmpty", "ObjectsMissing", "ObjectsHandedIn", "BytesHandedIn", "LedgerReadUnits"];
        assert_eq!(names.map(|name| line[name].as_u64().unwrap()), [1, 3, 2, 700, 7]);
    }
}
