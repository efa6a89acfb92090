//! `[detect]` beside a sync: evaluates rules over the delivered events and sends alerts, on a thread of its own, so that it
//! never delays the delivery.

use super::plan::SyncPlan;
use crate::args::Dest;
use crate::components::Aws;
use crate::detection_counts::DetectionCounts;
use crate::followers::FollowedFolder;
use crate::rules;
use crate::settings::detect::DetectSettings;
use crate::text::{counted, one_line};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::watch;
use trailhose::alert::{self, AlertDestination, AlertSender, SendPolicy, SendReport};
use trailhose::detect::{
    DetectFollower, Detection, DetectionReport, FilteredRule, RuleSet, filtered_rules, hide_messages_of_rule_panics,
};
use trailhose::event::filter::Filter;
use trailhose::finding_store::{RecordedFindings, Route};
use trailhose::state::StateDatabase;

/// What is opened before the first object is read, so that an error starts nothing.
pub(crate) struct PreparedDetection {
    rules: RuleSet,
    destinations: Vec<Arc<dyn AlertDestination>>,
    settings: DetectSettings,
}

/// A detection that runs.
pub(crate) struct RunningDetection {
    ends: watch::Sender<bool>,
    thread: JoinHandle<Result<DetectionReport, String>>,
    recorded: Arc<Mutex<RecordedFindings>>,
    alerts: Arc<Mutex<SendReport>>,
    state: Arc<StateDatabase>,
    routes: Vec<Route>,
}

/// Reads the rules, and prints each invalid one.
fn valid_rules(settings: &DetectSettings) -> Result<RuleSet, String> {
    let loaded = rules::read(&settings.rules)?;
    let invalid = counted(loaded.invalid.len() as u64, "rule document");
    rules::valid(loaded, &settings.rules, settings.skip_invalid)?.ok_or_else(|| {
        let folder = settings.rules.display();
        format!("{invalid} in {folder} cannot be used, see above: correct them, or set skip_invalid = true")
    })
}

/// Opens the destinations of alerts: reads their secrets. Sends nothing.
pub(crate) async fn destinations(
    settings: &DetectSettings,
    aws: &Aws,
) -> Result<Vec<Arc<dyn AlertDestination>>, String> {
    let needs_aws = settings.destinations.iter().any(|config| config.kind.needs_aws());
    let aws = if needs_aws { Some(aws.config().await?) } else { None };
    settings.destinations.iter().map(|config| alert::open(config, aws)).collect()
}

impl PreparedDetection {
    /// Reads the rules and the secrets of the destinations. Returns `None` if the settings have no detection.
    ///
    /// # Errors
    /// A rule is invalid, a secret cannot be read, or the destination of the events is not a folder.
    pub(crate) async fn new(plan: &SyncPlan) -> Result<Option<Self>, String> {
        let Some(settings) = &plan.detect else { return Ok(None) };
        if !matches!(plan.delivery.dest, Dest::Folder(_)) {
            return Err("[detect] reads delivered files, and a stream keeps none: use a folder as dest".into());
        }
        let rules = valid_rules(settings)?;
        let destinations = destinations(settings, &Aws::default()).await?;
        Ok(Some(Self { rules, destinations, settings: settings.clone() }))
    }

    /// Returns one warning for each rule that watches events that the filter drops before they are delivered.
    pub(crate) fn warnings(&self, filter: &Filter) -> Vec<String> {
        let warning = |found: FilteredRule<'_>| {
            let names = found.event_names.join(", ");
            one_line(&format!("warning: the filter drops events that the rule {:?} watches: {names}", found.rule.title))
        };
        filtered_rules(&self.rules, filter).into_iter().map(warning).collect()
    }

    /// Starts the detection. The ledger of the destination must exist.
    pub(crate) fn start(self, plan: &SyncPlan) -> Result<RunningDetection, String> {
        let Dest::Folder(dest) = &plan.delivery.dest else { return Err("the destination is not a folder".into()) };
        let followed = FollowedFolder::open_folder(dest, Some(&plan.delivery.ledger))?;
        let state = Arc::new(followed.state()?);
        let Self { rules, destinations, settings } = self;
        let follower = DetectFollower::new(
            Arc::new(rules),
            Arc::clone(&state),
            settings.grouping.clone(),
            settings.routes.clone(),
        );
        let sender = AlertSender::new(Arc::clone(&state), destinations, SendPolicy::default());
        let (recorded, alerts) = (follower.progress(), sender.progress());
        let segments = Arc::clone(&followed.segments);
        let DetectSettings { close_after, retention, .. } = settings;
        let running = Arc::clone(&state);
        let detection = Detection { follower, segments, state, sender, close_after, retention };
        let (ends, ended) = watch::channel(false);
        hide_messages_of_rule_panics();
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| error.to_string())?;
            Ok(runtime.block_on(detection.run(ended)))
        };
        let thread = std::thread::Builder::new().name("detect".into()).spawn(run);
        let thread = thread.map_err(|error| error.to_string())?;
        Ok(RunningDetection { ends, thread, recorded, alerts, state: running, routes: settings.routes })
    }
}

impl RunningDetection {
    /// Returns what was found and sent so far.
    pub(crate) fn counts(&self) -> DetectionCounts {
        let recorded = *self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        let mut alerts = *self.alerts.lock().unwrap_or_else(PoisonError::into_inner);
        // An error is reported by the detection itself, which reads the same file.
        let pending = |route: &Route| self.state.pending_alerts(&route.destination).map_or(0, |pending| pending.count);
        alerts.pending = self.routes.iter().map(pending).sum();
        counts(&recorded, &alerts)
    }

    /// Evaluates the rest of the delivered events, sends the alerts that can be sent, and ends.
    pub(crate) async fn end(self) -> Result<DetectionReport, String> {
        self.ends.send_replace(true);
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await;
        match joined {
            Ok(Ok(report)) => report,
            _ => Err("the thread of the detection ended unexpectedly".into()),
        }
    }
}

fn counts(recorded: &RecordedFindings, alerts: &SendReport) -> DetectionCounts {
    DetectionCounts {
        matched: recorded.new + recorded.repeated,
        recorded: recorded.new,
        overflow: recorded.overflow,
        late: recorded.late,
        alerts_sent: alerts.sent,
        alerts_retried: alerts.retried,
        alerts_failed: alerts.failed,
        alerts_pending: alerts.pending,
        is_incomplete: false,
    }
}

/// Returns the counts of a detection that has ended.
pub(crate) fn final_counts(report: &DetectionReport) -> DetectionCounts {
    DetectionCounts { is_incomplete: report.error.is_some(), ..counts(&report.recorded, &report.alerts) }
}

/// Returns lines about what was found, and about what needs attention.
pub(crate) fn lines(report: &DetectionReport) -> Vec<String> {
    let mut lines = Vec::new();
    let recorded = &report.recorded;
    if recorded.new > 0 {
        let mut line = format!("detect: {}", counted(recorded.new, "new finding"));
        if recorded.overflow > 0 {
            line += &format!(", {} over the limit of their rule and hour", recorded.overflow);
        }
        if recorded.late > 0 {
            line += &format!(", {} after the summary of their window", recorded.late);
        }
        line += &format!("; {} sent. See `trailhose findings list`", counted(report.alerts.sent, "alert"));
        lines.push(line);
    }
    if report.alerts.failed > 0 {
        let failed = counted(report.alerts.failed, "alert");
        lines.push(format!("warning: {failed} failed: see `trailhose alerts list --state failed`"));
    }
    if report.alerts.pending > 0 {
        let pending = counted(report.alerts.pending, "alert");
        lines.push(format!("warning: {pending} not sent yet; the next run sends them. See `trailhose alerts list`"));
    }
    for (rule, count) in &report.failed_rules {
        lines.push(format!("warning: the rule {rule:?} failed for {}: report this defect", counted(*count, "event")));
    }
    if let Some(error) = &report.error {
        let error = one_line(error);
        lines.push(format!("{}: detect: {error}; the next run continues", crate::summary::error_word()));
    }
    lines
}
