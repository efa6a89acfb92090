//! Telemetry: structured logs on standard error, and one line of metrics per invocation on standard output.

use crate::backfill::tally::BackfillTally;
use crate::batch::BatchReport;
#[cfg(all(feature = "detection", feature = "dynamodb"))]
use crate::detect::LakeTally;
use crate::ledger::cost::LedgerUsage;
use crate::ledger::model::quarantine::QuarantineKind;
use crate::listing::ListingCounts;
use crate::sink::cost::SinkUsage;
use serde_json::{Map, Value, json};
use tracing_subscriber::filter::{LevelFilter, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The CloudWatch namespace of all metrics.
pub const NAMESPACE: &str = "trailhose";

/// The only dimension of all metrics. Its value is the name of the function.
pub const DIMENSION: &str = "Function";

/// A metric: name, unit and value.
type Metric = (&'static str, &'static str, u64);

/// Starts structured logs on standard error at the levels in `RUST_LOG` (default: `info`, and `warn` for the AWS SDK).
/// Logs contain object names and counts, never events. The `trace` level of other crates, which prints whole requests
/// and responses, is always disabled.
pub fn start() {
    let sdk_levels = ["aws_config", "aws_smithy_runtime", "hyper"].map(|name| (name, LevelFilter::WARN));
    let targets = levels(Targets::new().with_default(LevelFilter::INFO).with_targets(sdk_levels));
    let not_foreign_trace =
        filter_fn(|metadata| *metadata.level() <= LevelFilter::DEBUG || metadata.target().starts_with("trailhose"));
    let logs = tracing_subscriber::fmt::layer().json().flatten_event(true).with_current_span(false);
    // A second start, as in tests, keeps the first logger.
    let _ = tracing_subscriber::registry()
        .with(logs.with_writer(std::io::stderr))
        .with(targets)
        .with(not_foreign_trace)
        .try_init();
}

/// Returns the levels in `RUST_LOG`, for all targets or for one (`warn,trailhose=debug`), or `default` if the variable
/// is unset or invalid. Spans and fields cannot be selected: that needs `EnvFilter`, whose regular expression engine
/// would add 440 KB to each function.
pub fn levels(default: Targets) -> Targets {
    std::env::var("RUST_LOG").ok().and_then(|directives| targets(&directives)).unwrap_or(default)
}

fn targets(directives: &str) -> Option<Targets> {
    // An empty directive, for example after a trailing comma, would be parsed as `error`.
    let directives: Vec<_> = directives.split(',').map(str::trim).filter(|directive| !directive.is_empty()).collect();
    directives.join(",").parse().ok()
}

/// What one ingest invocation used of the ledger and the sink.
#[derive(Debug, Clone, Copy, Default)]
pub struct IngestUsage {
    /// Requests to the ledger.
    pub ledger: LedgerUsage,
    /// Requests to the sink.
    pub sink: SinkUsage,
}

/// Returns the names of all metrics that the ingest function can write. `template.yaml` uses them in alarms and in the
/// dashboard.
pub fn ingest_metric_names() -> Vec<&'static str> {
    let mut report = BatchReport { oldest_unfinished: Some(0), ..BatchReport::default() };
    report.tally.done.newest = Some(0);
    ingest_metrics(&report, &IngestUsage::default(), 0).into_iter().map(|(name, ..)| name).collect()
}

/// Returns the names of all metrics that the backfill function can write.
pub fn backfill_metric_names() -> Vec<&'static str> {
    backfill_metrics_of(&BackfillTally::default(), 0).into_iter().map(|(name, ..)| name).collect()
}

/// Returns the metrics of one ingest invocation as a log line in CloudWatch's embedded metric format.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
pub fn embedded_metrics(function: &str, report: &BatchReport, usage: &IngestUsage, now_ms: u64) -> String {
    let tally = &report.tally;
    // The kinds are properties and not metrics. They are searchable and cost nothing.
    let kinds = [("Quarantined", &tally.quarantined), ("Skipped", &tally.skipped), ("Ignored", &tally.ignored)];
    let kinds = kinds.into_iter().filter(|(_, kinds)| !kinds.is_empty()).map(|(name, kinds)| (name, json!(kinds)));
    line(function, &ingest_metrics(report, usage, now_ms), kinds, now_ms)
}

fn ingest_metrics(report: &BatchReport, usage: &IngestUsage, now_ms: u64) -> Vec<Metric> {
    let tally = &report.tally;
    let done = &tally.done;
    let figures = [
        ("ObjectsDone", tally.objects),
        ("ObjectsAlreadyDone", tally.already_done),
        ("ObjectsSkipped", tally.skipped.values().sum()),
        ("ObjectsQuarantined", tally.quarantined_by_this_run()),
        ("ObjectsArchived", tally.waiting(QuarantineKind::ARCHIVED)),
        ("ObjectsKeyUnusable", tally.waiting(QuarantineKind::KMS)),
        ("ObjectsDeferred", tally.deferred),
        ("ObjectsFailed", tally.failed),
        ("ObjectsNotStarted", report.objects_not_started),
        ("MessagesInvalid", tally.invalid_messages),
        ("MessagesDeferred", report.messages_deferred),
        ("MessagesDeadLettered", report.messages_dead_lettered),
        ("BreakerOpen", u64::from(report.breaker_open)),
        ("NoticesIgnored", tally.ignored.values().sum()),
        ("EventsSeen", done.counts.seen),
        ("EventsDelivered", done.counts.delivered),
        ("EventsDuplicate", done.counts.duplicate),
        ("EventsFiltered", done.counts.filtered),
        ("EventsOversize", done.counts.oversize),
        ("EventsConflicting", done.conflicts),
        ("EventsHelped", done.helped),
        ("ObjectsOfUnknownKind", done.unknown_kinds),
        ("LedgerWriteUnits", usage.ledger.write_units),
        ("LedgerReadUnits", usage.ledger.read_units),
        ("LedgerRefusedWrites", usage.ledger.refused),
        ("SinkRecords", usage.sink.records),
        ("SinkRecordsRetried", usage.sink.retried),
        ("SinkBilledBytes", usage.sink.billed_bytes),
    ];
    let bytes = [("StoredBytes", done.stored_bytes), ("JsonBytes", done.json_bytes), ("SentBytes", done.sent_bytes)];
    let age = |since: i64| now_ms.saturating_sub(u64::try_from(since).unwrap_or(0) * 1000) / 1000;
    [
        figures.iter().map(|&(name, value)| (name, "Count", value)).collect::<Vec<_>>(),
        bytes.iter().map(|&(name, value)| (name, "Bytes", value)).collect(),
        // The age of the newest delivered event: how far the stream is behind.
        done.newest.map(|newest| ("Lag", "Seconds", age(newest))).into_iter().collect(),
        // SQS's own metric omits messages that were received three times or more, and a copy has a new age.
        report.oldest_unfinished.map(|first| ("OldestUnfinishedAge", "Seconds", age(first))).into_iter().collect(),
    ]
    .concat()
}

/// Returns the metrics of one backfill invocation in the same format.
pub fn backfill_metrics(function: &str, tally: &BackfillTally, ledger_read_units: u64, now_ms: u64) -> String {
    line(function, &backfill_metrics_of(tally, ledger_read_units), [], now_ms)
}

fn backfill_metrics_of(tally: &BackfillTally, ledger_read_units: u64) -> Vec<Metric> {
    let ListingCounts {
        listed,
        not_logs,
        excluded,
        done,
        leased,
        quarantined,
        archived,
        kms,
        missing,
        past_retention,
        unfinished,
        ..
    } = tally.counts;
    let ListingCounts { sent, bytes, messages, list_requests, ledger_reads, key_probes, .. } = tally.counts;
    let counts = [
        ("RunsStarted", tally.runs),
        ("SourcesDiscovered", tally.discovered),
        ("SourcesEmpty", tally.empty),
        ("DiscoveriesContinued", tally.continued),
        ("FoldersUnvisited", tally.unvisited),
        ("FoldersDenied", tally.denied),
        ("UnitsFound", tally.units),
        ("UnitsDone", tally.done),
        ("UnitsRequeued", tally.requeued),
        ("UnitsAwaitingBudget", tally.awaiting_budget),
        ("TasksFailed", tally.failed),
        ("MessagesInvalid", tally.invalid_messages),
        ("KeysListed", listed),
        ("KeysNotLogs", not_logs),
        ("KeysExcluded", excluded),
        ("ObjectsFoundDone", done),
        ("ObjectsFoundLeased", leased),
        ("ObjectsFoundQuarantined", quarantined),
        ("ObjectsFoundArchived", archived),
        ("ObjectsFoundKeyUnusable", kms),
        ("ObjectsMissing", missing),
        ("ObjectsPastRetention", past_retention),
        ("ObjectsUnfinished", unfinished),
        ("ObjectsEnqueued", sent),
        ("MessagesEnqueued", messages),
        ("ListRequests", list_requests),
        ("LedgerRowsRead", ledger_reads),
        ("KeyProbes", key_probes),
        ("LedgerReadUnits", ledger_read_units),
    ];
    let counts = counts.into_iter().map(|(name, value)| (name, "Count", value));
    counts.chain([("BytesEnqueued", "Bytes", bytes)]).collect()
}

/// Returns the names of all metrics that the detect function can write.
#[cfg(all(feature = "detection", feature = "dynamodb"))]
pub fn detect_metric_names() -> Vec<&'static str> {
    detect_metrics_of(&LakeTally::default(), (0, 0)).into_iter().map(|(name, ..)| name).collect()
}

/// Returns the metrics of one invocation of the detect function in the same format. `units` are the read units and the write
/// units of the findings' table.
#[cfg(all(feature = "detection", feature = "dynamodb"))]
pub fn detect_metrics(function: &str, tally: &LakeTally, units: (u64, u64), now_ms: u64) -> String {
    line(function, &detect_metrics_of(tally, units), [], now_ms)
}

#[cfg(all(feature = "detection", feature = "dynamodb"))]
fn detect_metrics_of(tally: &LakeTally, (read_units, write_units): (u64, u64)) -> Vec<Metric> {
    let counts = [
        ("ObjectsEvaluated", tally.objects),
        ("EvaluationsFailed", tally.failed),
        ("MessagesInvalid", tally.invalid_messages),
        ("NoticesIgnored", tally.ignored),
        ("EventsEvaluated", tally.events),
        ("LinesInvalid", tally.invalid_lines),
        ("FindingsNew", tally.recorded.new),
        ("FindingsRepeated", tally.recorded.repeated),
        ("FindingsOverflow", tally.recorded.overflow),
        ("FindingsLate", tally.recorded.late),
        ("WindowsClosed", tally.windows_closed),
        ("AlertsSent", tally.alerts.sent),
        ("AlertsRetried", tally.alerts.retried),
        ("AlertsFailed", tally.alerts.failed),
        ("AlertsPending", tally.alerts.pending),
        ("DestinationsUnusable", tally.destinations_unusable),
        ("RulesChanged", tally.rules_changed),
        ("RulesUnusable", tally.rules_unusable),
        ("RulesFailed", tally.rules_failed),
        ("FindingsReadUnits", read_units),
        ("FindingsWriteUnits", write_units),
    ];
    counts.into_iter().map(|(name, value)| (name, "Count", value)).collect()
}

/// Renders a line from metrics (name, unit, value) and properties.
fn line<'p>(
    function: &str,
    metrics: &[Metric],
    properties: impl IntoIterator<Item = (&'p str, Value)>,
    now_ms: u64,
) -> String {
    let definitions: Vec<_> = metrics.iter().map(|(name, unit, _)| json!({ "Name": name, "Unit": unit })).collect();
    let mut line = Map::new();
    line.insert(
        "_aws".into(),
        json!({ "Timestamp": now_ms, "CloudWatchMetrics": [
            { "Namespace": NAMESPACE, "Dimensions": [[DIMENSION]], "Metrics": definitions }
        ]}),
    );
    line.insert(DIMENSION.into(), function.into());
    line.extend(metrics.iter().map(|(name, _, value)| ((*name).to_owned(), Value::from(*value))));
    line.extend(properties.into_iter().map(|(name, value)| (name.to_owned(), value)));
    Value::Object(line).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::IngestReport;
    use crate::ledger::model::row;
    use crate::tally::Tally;
    use tracing::Level;

    #[test]
    fn levels_are_parsed_for_all_targets_and_for_one() {
        let levels_set = targets("warn, trailhose=debug,hyper=off,").unwrap();
        assert!(
            levels_set.would_enable("aws_config", &Level::WARN) && !levels_set.would_enable("aws_config", &Level::INFO)
        );
        assert!(levels_set.would_enable("trailhose::batch", &Level::DEBUG));
        assert!(!levels_set.would_enable("hyper", &Level::ERROR));
        assert!(targets("").unwrap().would_enable("trailhose", &Level::ERROR));
        assert!(targets("trailhose=loud").is_none());
    }

    #[test]
    fn every_defined_metric_has_a_value() {
        let events = row::Counts { seen: 3, delivered: 1, duplicate: 2, ..row::Counts::default() };
        let done = IngestReport { counts: events, newest: Some(100), ..IngestReport::default() };
        let report = BatchReport {
            tally: Tally { done, ..Tally::default() },
            messages_deferred: 2,
            oldest_unfinished: Some(40),
            breaker_open: true,
            ..BatchReport::default()
        };
        let ledger = LedgerUsage { write_units: 7, ..LedgerUsage::default() };
        let usage = IngestUsage { ledger, ..IngestUsage::default() };
        let line: Value = serde_json::from_str(&embedded_metrics("ingest", &report, &usage, 160_000)).unwrap();
        let defined = line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap();
        for metric in defined {
            assert!(line[metric["Name"].as_str().unwrap()].is_u64(), "{metric}");
        }
        assert!(defined.len() <= 100, "more metrics than one line may define");
        assert_eq!(line["Lag"], 60);
        assert_eq!([&line["OldestUnfinishedAge"], &line["BreakerOpen"], &line["MessagesDeferred"]], [120, 1, 2]);
        assert_eq!(line["LedgerWriteUnits"], 7);
    }

    #[test]
    fn every_backfill_metric_has_its_value() {
        let counts = ListingCounts { missing: 3, sent: 2, bytes: 700, ..ListingCounts::default() };
        let tally = BackfillTally {
            empty: 1,
            continued: 4,
            unvisited: 5,
            denied: 8,
            awaiting_budget: 6,
            counts,
            ..BackfillTally::default()
        };
        let line: Value = serde_json::from_str(&backfill_metrics("backfill", &tally, 7, 1)).unwrap();
        let defined = line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap();
        assert!(defined.iter().all(|metric| line[metric["Name"].as_str().unwrap()].is_u64()), "{line}");
        assert!(defined.len() > 20, "{line}");
        let names = ["SourcesEmpty", "ObjectsMissing", "ObjectsEnqueued", "BytesEnqueued", "LedgerReadUnits"];
        assert_eq!(names.map(|name| line[name].as_u64().unwrap()), [1, 3, 2, 700, 7]);
        let names = ["DiscoveriesContinued", "FoldersUnvisited", "FoldersDenied", "UnitsAwaitingBudget"];
        assert_eq!(names.map(|name| line[name].as_u64().unwrap()), [4, 5, 8, 6]);
    }
}
