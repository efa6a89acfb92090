//! A hunt: evaluates rules over the events of a bucket, a folder or output files, without a ledger.

use super::context::EventContext;
use crate::plan::TimeSpan;
use crate::query::{
    PartitionPruning, QueryControl, QueryError, QueryScan, ScanReport, ScanRequest, ScanVisitor, ScannedEvent,
    VisitOutcome,
};
use jiff::Timestamp;
use jiff::civil::Date;
use std::ops::ControlFlow;
use std::sync::Arc;
use tokio::sync::mpsc::{self, Sender};
use trailhose_rules::{DetectionRule, MatchedField, RuleMatch, RuleSet};

/// The number of matches that wait for the consumer.
const WAITING_MATCHES: usize = 256;

/// Which events are evaluated with which rules.
#[derive(Debug)]
pub struct Hunt {
    /// The events.
    pub scan: Arc<QueryScan>,
    /// The rules.
    pub rules: Arc<RuleSet>,
    /// The span of the event times. `None` selects all events, also those without a valid time.
    pub span: Option<TimeSpan>,
    /// Excludes what arrived after this day. Only the user can know that no event of the span arrived later.
    pub arrived_until: Option<Date>,
}

/// A rule that matches an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HuntMatch {
    /// The index of the rule in [`RuleSet::rules`].
    pub rule_index: usize,
    /// The event.
    pub event: EventContext,
    /// The fields by which it matches.
    pub matched_fields: Vec<MatchedField>,
    /// The title of the suppression that applies.
    pub suppressed_by: Option<String>,
}

/// Receives the matches of a hunt.
pub trait HuntSink: Send {
    /// Receives a match. `Break` ends the hunt.
    fn found(&mut self, found: HuntMatch) -> ControlFlow<()>;
}

/// The matches of one rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleHits {
    /// Events that match, without those that a suppression excludes.
    pub events: u64,
    /// Events that match and that a suppression excludes.
    pub suppressed: u64,
    /// The earliest and the latest time of the events that match.
    pub times: Option<(Timestamp, Timestamp)>,
    /// Events for which the rule could not be evaluated.
    pub failed: u64,
}

/// The result of a hunt without its matches.
#[derive(Debug, Clone, PartialEq)]
pub struct HuntReport {
    /// The matches of each rule, in the order of [`RuleSet::rules`].
    pub rules: Vec<RuleHits>,
    /// What was read. An event that several rules match is selected once.
    pub scanned: ScanReport,
}

impl HuntReport {
    /// Returns whether everything was read and evaluated.
    pub fn is_complete(&self) -> bool {
        self.scanned.is_complete() && self.rules.iter().all(|hits| hits.failed == 0)
    }
}

impl Hunt {
    /// Returns which files are read, and the fields whose offsets the decoder notes.
    pub fn request(&self) -> ScanRequest {
        let pruning = PartitionPruning::of_span(self.span).arrived_until(self.arrived_until);
        ScanRequest { pruning, prefilter: None, fields: Some(self.rules.selected_fields()) }
    }

    /// Evaluates the rules and passes the matches to `sink`, in any order.
    ///
    /// # Errors
    /// The events cannot be listed. A file that cannot be read is not an error: it is counted and named in the report.
    pub async fn run(&self, control: &QueryControl, sink: &mut dyn HuntSink) -> Result<HuntReport, QueryError> {
        let rules = self.rules.rules();
        let failed_before = self.failed();
        let (sender, mut found) = mpsc::channel::<HuntMatch>(WAITING_MATCHES);
        let scan = async {
            let sender = sender;
            let new_visitor = || HuntVisitor {
                rules: Arc::clone(&self.rules),
                span: self.span,
                hits: vec![RuleHits::default(); rules.len()],
                found: sender.clone(),
            };
            let (visitors, scanned) = self.scan.run(&self.request(), control, new_visitor).await?;
            let mut all = vec![RuleHits::default(); rules.len()];
            // The consumer waits until the last visitor is dropped.
            for visitor in visitors {
                all.iter_mut().zip(visitor.hits).for_each(|(all, hits)| all.merge(hits));
            }
            Ok::<_, QueryError>((all, scanned))
        };
        // The scan ends when it cannot pass on a match.
        let pass = async move {
            while let Some(found) = found.recv().await {
                if sink.found(found).is_break() {
                    return;
                }
            }
        };
        let (scanned, ()) = futures_util::future::join(scan, pass).await;
        let (mut all, scanned) = scanned?;
        for ((hits, after), before) in all.iter_mut().zip(self.failed()).zip(failed_before) {
            hits.failed = after - before;
        }
        Ok(HuntReport { rules: all, scanned })
    }

    /// Returns how often the evaluation of each rule failed so far.
    fn failed(&self) -> Vec<u64> {
        let failed = self.rules.failed_rules();
        let count = |rule: &DetectionRule| failed.iter().find(|(found, _)| found.id == rule.id).map_or(0, |(_, n)| *n);
        self.rules.rules().map(count).collect()
    }
}

impl RuleHits {
    fn add(&mut self, is_suppressed: bool, time: Option<Timestamp>) {
        match is_suppressed {
            true => self.suppressed += 1,
            false => self.events += 1,
        }
        self.include(time.map(|time| (time, time)));
    }

    fn include(&mut self, times: Option<(Timestamp, Timestamp)>) {
        self.times = match (self.times, times) {
            (Some((from, to)), Some((first, last))) => Some((from.min(first), to.max(last))),
            (known, new) => known.or(new),
        };
    }

    fn merge(&mut self, other: Self) {
        self.events += other.events;
        self.suppressed += other.suppressed;
        self.include(other.times);
    }
}

/// Evaluates the events of one thread.
#[derive(Debug)]
struct HuntVisitor {
    rules: Arc<RuleSet>,
    span: Option<TimeSpan>,
    hits: Vec<RuleHits>,
    found: Sender<HuntMatch>,
}

impl ScanVisitor for HuntVisitor {
    fn visit(&mut self, event: ScannedEvent<'_>) -> Result<VisitOutcome, QueryError> {
        let rules = Arc::clone(&self.rules);
        let matches = match event.offsets {
            Some(offsets) => Some(rules.evaluate_decoded(event.bytes, offsets)),
            None => rules.try_evaluate(event.bytes),
        };
        match matches {
            None => Ok(VisitOutcome::Invalid),
            Some(matches) if matches.is_empty() => Ok(VisitOutcome::NotSelected),
            Some(matches) => Ok(self.found(event, matches)),
        }
    }
}

impl HuntVisitor {
    fn found(&mut self, event: ScannedEvent<'_>, matches: Vec<RuleMatch<'_>>) -> VisitOutcome {
        let context = EventContext::read(event.bytes);
        match (self.span, context.time) {
            (Some(_), None) => return VisitOutcome::WithoutTime,
            (Some(span), Some(time)) if !span.contains(time) => return VisitOutcome::NotSelected,
            _ => {}
        }
        if !event.is_first_copy() {
            return VisitOutcome::Copy;
        }
        for RuleMatch { rule: _, rule_index, matched_fields, suppression } in matches {
            self.hits[rule_index].add(suppression.is_some(), context.time);
            let suppressed_by = suppression.map(|suppression| suppression.title.clone());
            let found = HuntMatch { rule_index, event: context.clone(), matched_fields, suppressed_by };
            if self.found.blocking_send(found).is_err() {
                return VisitOutcome::Enough;
            }
        }
        VisitOutcome::Selected
    }
}

#[cfg(test)]
mod tests;
