//! Trial of a filter: reads the objects of a source and counts what the filter drops. It delivers nothing and uses no
//! ledger, so an event is counted in each object that contains it.

use crate::decode::{DecodeLimits, EventReader};
use crate::event::filter::{Decision, Filter, Rule, RuleKind};
use crate::event::members::members;
use crate::listing::ListingError;
use crate::listing::discover::{Discovery, DiscoveryItem};
use crate::listing::folder_level::KeyClass;
use crate::listing::keys::{KeyListing, ObjectPages};
use crate::listing::reconcile::classify_object;
use crate::listing::unit::Unit;
use crate::object::{Object, ObjectRef};
use crate::source::{Source, SourceError};
use crate::sync::ObjectSelection;
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use std::sync::Arc;
use tokio::sync::watch::Receiver;

/// Maximum number of unreadable objects that are named. All are counted.
const MAX_NAMED: usize = 20;

/// A filter and the objects that it is tested with.
#[derive(Debug)]
pub struct FilterTrial {
    /// Where objects are read from.
    pub source: Arc<dyn Source>,
    /// Bucket name, or `file://` and the absolute path of a folder.
    pub bucket: String,
    /// The prefix of the keys.
    pub prefix: String,
    /// Which objects are read.
    pub selection: ObjectSelection,
    /// The filter.
    pub filter: Filter,
    /// The limits of an object's content.
    pub limits: DecodeLimits,
    /// Number of objects that are read at once.
    pub jobs: usize,
    /// Maximum number of sample events for each rule.
    pub samples: usize,
}

/// The result of a trial.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrialReport {
    /// Objects that were read completely.
    pub objects: u64,
    /// Objects and folders that could not be read. Their events are not counted.
    pub unread: u64,
    /// Name and reason of the first objects and folders that could not be read.
    pub unread_names: Vec<(String, String)>,
    /// Keys that are not logs.
    pub not_logs: u64,
    /// Logs that the selection excludes.
    pub excluded: u64,
    /// Folders that the selection excludes.
    pub excluded_folders: u64,
    /// Folders that are not listed because they are outside CloudTrail's layout.
    pub unvisited: u64,
    /// Events of the objects that were read.
    pub events: u64,
    /// Events that are dropped.
    pub dropped: u64,
    /// The events that each rule decided: kept by an include rule, dropped by an exclude rule. In the order of
    /// [`Filter::rules`].
    pub rules: Vec<RuleTally>,
    /// The dropped events that no include rule matches.
    pub not_included: RuleTally,
    /// Whether the trial was stopped before its end.
    pub stopped: bool,
}

/// The events that a rule decided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleTally {
    /// Number of these events.
    pub events: u64,
    /// The first of these events.
    pub samples: Vec<SampleEvent>,
}

/// What identifies an event, without its body.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct SampleEvent {
    /// `eventTime`; empty if it is missing.
    pub time: String,
    /// `eventSource`; empty if it is missing.
    pub source: String,
    /// `eventName`; empty if it is missing.
    pub name: String,
    /// The name of the object that contains the event.
    pub object: String,
    /// The index of the event in `Records`.
    pub ordinal: u32,
}

impl SampleEvent {
    fn of(line: &[u8], object: &ObjectRef, ordinal: u32) -> Self {
        let fields =
            members(line, |name| matches!(name, "eventTime" | "eventSource" | "eventName")).unwrap_or_default();
        let text = |name: &str| fields.get(name).and_then(|raw| String::deserialize(*raw).ok()).unwrap_or_default();
        Self {
            time: text("eventTime"),
            source: text("eventSource"),
            name: text("eventName"),
            object: object.to_string(),
            ordinal,
        }
    }
}

impl RuleTally {
    fn add(&mut self, sample: impl FnOnce() -> SampleEvent, max_samples: usize) {
        self.events += 1;
        if self.samples.len() < max_samples {
            self.samples.push(sample());
        }
    }

    fn merge(&mut self, other: Self, max_samples: usize) {
        self.events += other.events;
        let left = max_samples.saturating_sub(self.samples.len());
        self.samples.extend(other.samples.into_iter().take(left));
    }
}

impl FilterTrial {
    /// Reads the selected objects until their end or until `halt` becomes true. `progress` receives the report after
    /// each object. The samples are those of the first objects in the order of the listing.
    ///
    /// # Errors
    /// The source cannot be listed. An object that cannot be read is not an error: it is counted and named.
    pub async fn run(
        self: &Arc<Self>,
        halt: &Receiver<bool>,
        progress: &mut (dyn FnMut(&TrialReport) + Send),
    ) -> Result<TrialReport, ListingError> {
        let request = self.selection.discovery_request(&self.bucket, &self.prefix, self.jobs);
        let request = request.map_err(|error| SourceError::Unavailable(error.to_string()))?;
        let mut report = self.new_report();
        let mut discovery = Discovery::new(Arc::clone(&self.source), request);
        while let Some(item) = discovery.next_item().await? {
            match item {
                DiscoveryItem::Objects(unit, objects) => self.page(&unit, objects, halt, &mut report, progress).await,
                DiscoveryItem::Unit(unit) => {
                    let mut keys = KeyListing::new(&*self.source, &unit).collecting_unlisted(&self.prefix);
                    while let Some(objects) = keys.next().await? {
                        self.page(&unit, objects, halt, &mut report, progress).await;
                        if report.stopped {
                            break;
                        }
                    }
                    keys.unlisted().for_each(|entry| report.name_unread(entry.key.clone(), entry.reason.clone()));
                }
            }
            if report.stopped {
                break;
            }
        }
        let found = discovery.progress();
        found.denied.iter().for_each(|entry| report.name_unread(entry.key.clone(), entry.reason.clone()));
        (report.excluded_folders, report.unvisited) = (found.excluded, found.unvisited_count);
        Ok(report)
    }

    fn new_report(&self) -> TrialReport {
        TrialReport { rules: self.filter.rules().map(|_| RuleTally::default()).collect(), ..TrialReport::default() }
    }

    /// Reads the logs of one page of a listing.
    async fn page(
        self: &Arc<Self>,
        unit: &Unit,
        objects: Vec<ObjectRef>,
        halt: &Receiver<bool>,
        report: &mut TrialReport,
        progress: &mut (dyn FnMut(&TrialReport) + Send),
    ) {
        let mut logs = Vec::new();
        for at in objects {
            match classify_object(&at, unit) {
                KeyClass::NotALog => report.not_logs += 1,
                KeyClass::Excluded => report.excluded += 1,
                KeyClass::Selected(_) => logs.push(at),
            }
        }
        let read = |at: ObjectRef| {
            let trial = Arc::clone(self);
            async move {
                if *halt.borrow() {
                    return None;
                }
                let name = at.to_string();
                // A task of its own, so that several objects are decoded in parallel.
                let result = tokio::spawn(async move { trial.object(&at).await }).await;
                Some((name, result.unwrap_or_else(|error| Err(format!("the task failed: {error}")))))
            }
        };
        let mut results = stream::iter(logs.into_iter().map(read)).buffered(self.jobs.max(1));
        while let Some(result) = results.next().await {
            match result {
                None => report.stopped = true,
                Some((_, Ok(part))) => report.merge(part, self.samples),
                Some((name, Err(reason))) => report.name_unread(name, reason),
            }
            progress(report);
        }
    }

    /// Reads one object. Returns the counts of its events.
    async fn object(&self, at: &ObjectRef) -> Result<TrialReport, String> {
        let version = match at.object() {
            Some(object) => object,
            None => self.version(at).await?,
        };
        let stored = self.source.fetch(&version).await.map_err(|error| error.to_string())?;
        let mut report = TrialReport { objects: 1, ..self.new_report() };
        let include_rules = self.filter.rules().filter(|rule| rule.kind() == RuleKind::Include).count();
        let position = |rule: &Rule| match rule.kind() {
            RuleKind::Include => rule.number(),
            RuleKind::Exclude => include_rules + rule.number(),
        };
        let mut reader = EventReader::new(&stored, self.limits);
        while let Some(event) = reader.next().map_err(|error| error.to_string())? {
            report.events += 1;
            let sample = || SampleEvent::of(event.line, at, event.ordinal);
            match self.filter.decide(event.line) {
                Decision::Kept(None) => {}
                Decision::Kept(Some(rule)) => report.rules[position(rule)].add(sample, self.samples),
                Decision::Dropped(rule) => {
                    report.dropped += 1;
                    match rule {
                        Some(rule) => report.rules[position(rule)].add(sample, self.samples),
                        None => report.not_included.add(sample, self.samples),
                    }
                }
            }
        }
        Ok(report)
    }

    async fn version(&self, at: &ObjectRef) -> Result<Object, String> {
        let found = self.source.stat(at).await.map_err(|error| error.to_string())?;
        found.object().ok_or_else(|| format!("{at} has no ETag"))
    }
}

impl TrialReport {
    /// Counts an object or a folder that could not be read, and names it.
    fn name_unread(&mut self, name: String, reason: String) {
        self.unread += 1;
        if self.unread_names.len() < MAX_NAMED {
            self.unread_names.push((name, reason));
        }
    }

    /// Adds the counts of one object.
    fn merge(&mut self, part: Self, max_samples: usize) {
        self.objects += part.objects;
        self.events += part.events;
        self.dropped += part.dropped;
        self.not_included.merge(part.not_included, max_samples);
        for (all, one) in self.rules.iter_mut().zip(part.rules) {
            all.merge(one, max_samples);
        }
    }
}
