//! `/metrics`: figures for Prometheus.

use super::extract::NoParameters;
use super::problem::ApiProblem;
use super::scheduler::{FinishedRun, RunObserver};
use super::{ApiState, blocking, size_with_log};
use crate::state::{RunState, StateError};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceResult {
    source: String,
    result: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceLabel {
    source: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FollowerLabel {
    follower: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AlertLabels {
    destination: String,
    state: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: String,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
}

/// The results of objects, events and runs, as in the labels.
const OBJECT_RESULTS: [&str; 3] = ["done", "quarantined", "failed"];
const EVENT_RESULTS: [&str; 3] = ["delivered", "duplicate", "filtered"];
const RUN_RESULTS: [&str; 3] = ["succeeded", "failed", "stopped"];

type FloatGauge = Gauge<f64, AtomicU64>;

/// The metrics of the process. Counters start at 0 when the process starts.
#[derive(Debug)]
pub(super) struct ServeMetrics {
    registry: Registry,
    objects: Family<SourceResult, Counter>,
    events: Family<SourceResult, Counter>,
    runs: Family<SourceResult, Counter>,
    errors: Family<KindLabel, Counter>,
    last_success: Family<SourceLabel, Gauge>,
    lag: Family<SourceLabel, Gauge>,
    interval: Family<SourceLabel, Gauge>,
    /// The sources that have figures, to remove the figures of sources that are removed.
    sources: Mutex<BTreeSet<String>>,
    /// Held while the figures are updated and printed, because figures from the databases are removed and set again.
    update: tokio::sync::Mutex<()>,
    follower_backlog: Family<FollowerLabel, Gauge>,
    follower_lag: Family<FollowerLabel, Gauge>,
    follower_failed: Family<FollowerLabel, Gauge>,
    alerts: Family<AlertLabels, Gauge>,
    findings: Family<StateLabel, Gauge>,
    ledger_objects: Family<StateLabel, Gauge>,
    ledger_bytes: Gauge,
    index_bytes: Gauge,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Histogram,
    request_limits: Family<KindLabel, Counter>,
}

impl ServeMetrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("trailhose");
        let build: Family<BuildLabels, Gauge> = Family::default();
        build.get_or_create(&BuildLabels { version: env!("CARGO_PKG_VERSION") }).set(1);
        registry.register("build_info", "The version of the program", build);
        let started = FloatGauge::default();
        started.set(jiff::Timestamp::now().as_millisecond() as f64 / 1_000.0);
        registry.register("start_time_seconds", "When the process started, in seconds since 1970", started);
        macro_rules! family {
            ($name:literal, $help:literal) => {{
                let metric = Family::default();
                registry.register($name, $help, Clone::clone(&metric));
                metric
            }};
        }
        macro_rules! single {
            ($name:literal, $help:literal, $metric:expr) => {{
                let metric = $metric;
                registry.register($name, $help, Clone::clone(&metric));
                metric
            }};
        }
        let buckets = [0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0];
        Self {
            objects: family!("objects", "Objects by result: done, quarantined, failed"),
            events: family!("events", "Events of completed objects by result: delivered, duplicate, filtered"),
            runs: family!("runs", "Finished runs by result: succeeded, failed, stopped"),
            errors: family!("errors", "Errors by kind: run, object, request, or the reason of a quarantine"),
            last_success: family!(
                "last_success_timestamp_seconds",
                "When the last run without failures ended, in seconds since 1970"
            ),
            lag: family!("lag_seconds", "Seconds since the end of the last run without failures"),
            interval: family!("source_interval_seconds", "The time between two runs of the source"),
            sources: Mutex::default(),
            update: tokio::sync::Mutex::default(),
            follower_backlog: family!("follower_backlog_events", "Delivered events that the follower has not read"),
            follower_lag: family!(
                "follower_lag_seconds",
                "Seconds since the oldest event that the follower has not read was delivered"
            ),
            follower_failed: family!("follower_failed", "1 if the follower cannot continue without a person"),
            alerts: family!("alerts", "Alerts in the outbox by destination and state"),
            findings: family!("findings", "Findings by state"),
            ledger_objects: family!("ledger_objects", "Objects in the ledger by state"),
            ledger_bytes: single!("ledger_bytes", "The size of the ledger on the disk", Gauge::default()),
            index_bytes: single!("index_bytes", "The size of the index on the disk", Gauge::default()),
            requests: family!("http_requests", "Requests by method, route and status"),
            request_seconds: single!("http_request_seconds", "Durations of requests", Histogram::new(buckets)),
            request_limits: family!(
                "http_refused",
                "Requests that exceeded a limit, by kind: rate (status 429), concurrency (503, also during a stop), time (408)"
            ),
            registry,
        }
    }

    /// Counts a request.
    pub(super) fn request(&self, method: &str, route: &str, status: u16, took: Duration) {
        let labels = RequestLabels { method: method.to_owned(), route: route.to_owned(), status };
        self.requests.get_or_create(&labels).inc();
        self.request_seconds.observe(took.as_secs_f64());
        let refused = match status {
            429 => "rate",
            503 => "concurrency",
            408 => "time",
            500 => {
                self.errors.get_or_create(&KindLabel { kind: "request".into() }).inc();
                return;
            }
            _ => return,
        };
        self.request_limits.get_or_create(&KindLabel { kind: refused.into() }).inc();
    }

    /// Updates the figures that are read from the databases, and returns all figures in the text format of OpenMetrics.
    async fn text(&self, api: &Arc<ApiState>) -> Result<String, ApiProblem> {
        let _update = self.update.lock().await;
        let now = jiff::Timestamp::now().as_second();
        let snapshots = api.scheduler.snapshots();
        self.update_intervals(snapshots.iter().map(|found| (found.source.id.as_str(), found.source.interval)));
        for snapshot in snapshots {
            let label = SourceLabel { source: snapshot.source.id };
            let last = self.last_success.get_or_create(&label).get();
            if last > 0 {
                self.lag.get_or_create(&label).set(now - last);
            }
        }
        let read = Arc::clone(api);
        blocking(move || read.metrics.update_from_state(&read, now).map_err(ApiProblem::internal)).await?;
        let (ledger, _) = api.ledger_days().await?;
        self.ledger_objects.clear();
        for (state, objects) in &ledger.objects {
            let label = StateLabel { state: (*state).to_owned() };
            self.ledger_objects.get_or_create(&label).set(objects.cast_signed());
        }
        let mut text = String::new();
        encode(&mut text, &self.registry).map_err(ApiProblem::internal)?;
        Ok(text)
    }

    /// Sets the intervals of the sources, and removes all figures of sources that are removed.
    fn update_intervals<'a>(&self, sources: impl Iterator<Item = (&'a str, Duration)>) {
        let mut known = self.sources();
        let mut removed = std::mem::take(&mut *known);
        for (id, interval) in sources {
            let label = SourceLabel { source: id.to_owned() };
            self.interval.get_or_create(&label).set(interval.as_secs().cast_signed());
            removed.remove(id);
            known.insert(id.to_owned());
        }
        for source in removed {
            for (results, figures) in
                [(&OBJECT_RESULTS, &self.objects), (&EVENT_RESULTS, &self.events), (&RUN_RESULTS, &self.runs)]
            {
                for result in results {
                    figures.remove(&SourceResult { source: source.clone(), result: (*result).to_owned() });
                }
            }
            let label = SourceLabel { source };
            for figures in [&self.interval, &self.last_success, &self.lag] {
                figures.remove(&label);
            }
        }
    }

    fn sources(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update_from_state(&self, api: &ApiState, now: i64) -> Result<(), StateError> {
        let folder = &api.folder;
        // Removes all figures first. Otherwise a follower, a destination or a state without a row would keep its last figure.
        for figures in [&self.follower_backlog, &self.follower_lag, &self.follower_failed] {
            figures.clear();
        }
        self.alerts.clear();
        self.findings.clear();
        for (name, _) in folder.state.followers()? {
            let label = FollowerLabel { follower: name };
            if let Ok(progress) = folder.progress(&label.follower) {
                let backlog = progress.backlog;
                self.follower_backlog.get_or_create(&label).set(backlog.events.cast_signed());
                let lag = if backlog.oldest == 0 { 0 } else { now - backlog.oldest };
                self.follower_lag.get_or_create(&label).set(lag.max(0));
            }
            let is_failed = crate::follow::position(&label.follower, &folder.segments, &folder.state).is_err();
            self.follower_failed.get_or_create(&label).set(is_failed.into());
        }
        for (destination, state, count) in folder.state.alert_counts()? {
            self.alerts.get_or_create(&AlertLabels { destination, state }).set(count.cast_signed());
        }
        for (state, count) in folder.state.finding_counts()? {
            self.findings.get_or_create(&StateLabel { state }).set(count.cast_signed());
        }
        self.ledger_bytes.set(size_with_log(&folder.ledger_path).cast_signed());
        self.index_bytes.set(size_with_log(folder.index.path()).cast_signed());
        Ok(())
    }
}

impl RunObserver for ServeMetrics {
    fn run_ended(&self, source: &str, state: RunState, finished: &FinishedRun) {
        let result = |result: &str| SourceResult { source: source.to_owned(), result: result.to_owned() };
        let error = |kind: &str| self.errors.get_or_create(&KindLabel { kind: kind.to_owned() }).clone();
        self.runs.get_or_create(&result(state.name())).inc();
        let counts = finished.counts;
        // A run can end after its source was removed.
        self.sources().insert(source.to_owned());
        for (name, objects) in
            OBJECT_RESULTS.into_iter().zip([counts.objects, counts.quarantined, finished.failed_objects])
        {
            self.objects.get_or_create(&result(name)).inc_by(objects);
        }
        for (name, events) in EVENT_RESULTS.into_iter().zip([counts.delivered, counts.duplicates, counts.filtered]) {
            self.events.get_or_create(&result(name)).inc_by(events);
        }
        if finished.error.is_some() {
            error("run").inc();
        }
        error("object").inc_by(finished.failed_objects);
        finished.quarantined.iter().for_each(|(kind, objects)| {
            error(kind).inc_by(*objects);
        });
        if state == RunState::Succeeded {
            let label = SourceLabel { source: source.to_owned() };
            self.last_success.get_or_create(&label).set(jiff::Timestamp::now().as_second());
            self.lag.get_or_create(&label).set(0);
        }
    }
}

/// Returns the figures in the text format of OpenMetrics, which Prometheus reads.
#[utoipa::path(get, path = "/metrics", operation_id = "metrics", tag = "operation",
    responses((status = 200, body = String, content_type = "application/openmetrics-text"), super::RefusalResponses))]
pub(super) async fn show(State(api): State<Arc<ApiState>>, _: NoParameters) -> Result<Response, ApiProblem> {
    let text = api.metrics.text(&api).await?;
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, content_type)], text).into_response())
}
