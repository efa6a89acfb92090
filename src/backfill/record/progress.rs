//! Progress: the progress of a run, computed from the records of its parts.

use super::{DiscoveryRecord, PartOutcome, RunPart};
use crate::backfill::run::{Run, SourceRoot};
use crate::listing::ListingCounts;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// The progress of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunProgress {
    /// The stage of the run.
    pub stage: Stage,
    /// Number of sources.
    pub sources: u64,
    /// Sources whose units are all known.
    pub discovered: u64,
    /// Sources without units: a prefix or an account may be misspelled.
    pub empty: Vec<SourceRoot>,
    /// Folders that discovery did not list.
    pub unvisited: u64,
    /// The first of their names, each with its bucket.
    pub unvisited_names: Vec<String>,
    /// Folders whose listing is denied. Their units are not known, so the run cannot be done.
    pub denied: u64,
    /// The first of their names, each with its bucket.
    pub denied_names: Vec<String>,
    /// Units found so far.
    pub units: u64,
    /// Units that are completely processed.
    pub done: u64,
    /// Units whose last attempt failed.
    pub failed: u64,
    /// The counts of all recorded attempts.
    pub counts: ListingCounts,
    /// Progress by account. The empty name is used for folders without an account.
    pub accounts: BTreeMap<String, AccountProgress>,
    /// The reasons of failed parts, which may be retried.
    pub failures: Vec<String>,
}

/// The progress of an account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct AccountProgress {
    /// Units found so far.
    pub units: u64,
    /// Units that are completely processed.
    pub done: u64,
    /// Units whose last attempt failed.
    pub failed: u64,
    /// The counts of the account.
    pub counts: ListingCounts,
}

/// The stage of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Some sources are not discovered yet.
    Discovering,
    /// Every source is discovered, and some units are not finished.
    Working,
    /// Every unit is processed.
    Done,
    /// Every part ended, and some failed. Failed parts are retried until they are in the dead-letter queue.
    Failed,
}

impl RunProgress {
    /// Computes the progress of a run from its parts.
    pub fn of(run: &Run, parts: &[RunPart]) -> Self {
        let mut progress = Self {
            stage: Stage::Discovering,
            sources: run.sources.len() as u64,
            discovered: 0,
            empty: Vec::new(),
            unvisited: 0,
            unvisited_names: Vec::new(),
            denied: 0,
            denied_names: Vec::new(),
            units: 0,
            done: 0,
            failed: 0,
            counts: ListingCounts::default(),
            accounts: BTreeMap::new(),
            failures: Vec::new(),
        };
        let mut broken = 0;
        let mut sources: BTreeMap<&SourceRoot, SourceParts<'_>> = BTreeMap::new();
        for part in parts {
            match part {
                RunPart::Discovered(found) => {
                    sources.entry(&found.root).or_default().insert(found.part.as_deref(), found);
                }
                RunPart::Worked(worked) => {
                    let account = progress.accounts.entry(worked.account().to_owned()).or_default();
                    for counts in [&mut progress.counts, &mut account.counts] {
                        counts.merge(&worked.counts);
                    }
                    match worked.outcome {
                        PartOutcome::Done => (progress.done, account.done) = (progress.done + 1, account.done + 1),
                        PartOutcome::Failed(ref reason) => {
                            progress.failures.push(reason.clone());
                            (progress.failed, account.failed) = (progress.failed + 1, account.failed + 1);
                        }
                        PartOutcome::Requeued => {}
                    }
                }
            }
        }
        for (root, parts) in sources {
            match progress.add_source(root, &parts) {
                PartOutcome::Done => progress.discovered += 1,
                PartOutcome::Failed(_) => broken += 1,
                PartOutcome::Requeued => {}
            }
        }
        // A unit's record can be saved before the record of the discovery that found it.
        let ended = progress.done + progress.failed >= progress.units;
        progress.stage = match progress.discovered + broken < progress.sources {
            true => Stage::Discovering,
            false if !ended => Stage::Working,
            false if broken + progress.failed > 0 => Stage::Failed,
            false => Stage::Done,
        };
        progress.failures.sort();
        progress
    }

    /// Adds the discovery of a source and returns its state: it is done when its record and the records of all parts
    /// that continue it are done. A part that no record names is ignored: it was sent by an attempt that crashed before
    /// its record was saved.
    fn add_source(&mut self, root: &SourceRoot, parts: &SourceParts<'_>) -> PartOutcome {
        let mut state = PartOutcome::Done;
        let (mut units, mut counted) = (0, BTreeSet::new());
        let mut names = vec![None];
        while let Some(name) = names.pop() {
            if !counted.insert(name) {
                continue;
            }
            let Some(found) = parts.get(&name) else {
                state = if state == PartOutcome::Done { PartOutcome::Requeued } else { state };
                continue;
            };
            match &found.outcome {
                PartOutcome::Done => {}
                PartOutcome::Requeued => state = if state == PartOutcome::Done { PartOutcome::Requeued } else { state },
                PartOutcome::Failed(reason) => {
                    self.failures.push(reason.clone());
                    state = found.outcome.clone();
                    // A part that ended otherwise named its denied folders in the parts that continue it.
                    self.denied += found.denied;
                    add_names(&mut self.denied_names, root, &found.denied_names);
                }
            }
            names.extend(found.continued_by.iter().map(|name| Some(name.as_str())));
            for (account, count) in &found.units {
                units += count;
                self.accounts.entry(account.clone()).or_default().units += count;
            }
            self.unvisited += found.unvisited;
            add_names(&mut self.unvisited_names, root, &found.unvisited_names);
        }
        self.units += units;
        if state == PartOutcome::Done && units == 0 {
            self.empty.push(root.clone());
        }
        state
    }
}

/// The parts of one source by name; `None` is the part that starts at the source.
type SourceParts<'r> = BTreeMap<Option<&'r str>, &'r DiscoveryRecord>;

/// Maximum number of names in [`RunProgress::unvisited_names`], and in [`RunProgress::denied_names`].
const MAX_NAMES: usize = 20;

/// Adds folders of a source with their bucket.
fn add_names(names: &mut Vec<String>, root: &SourceRoot, folders: &[String]) {
    let folders = folders.iter().map(|folder| format!("s3://{}/{folder}", root.bucket));
    names.extend(folders.take(MAX_NAMES.saturating_sub(names.len())));
}

#[cfg(test)]
mod tests {
    use super::super::{DiscoveryRecord, UnitRecord};
    use super::*;
    use crate::backfill::run::{Defaults, Request, RunId};
    use crate::listing::discover::DetectedLayout;
    use crate::listing::unit::{Layout, Unit};

    const A: &str = "111122223333";
    const B: &str = "444455556666";

    fn run() -> Run {
        let defaults = Defaults { sources: vec![SourceRoot::parse("s3://logs").unwrap()], look_back_days: 3 };
        Request::default().resolve(RunId::at(0, 0), &defaults, 1_795_132_800).unwrap()
    }

    fn unit(account: &str, region: &str) -> Unit {
        let run = run();
        Unit {
            bucket: "logs".to_owned(),
            prefix: format!("AWSLogs/{account}/CloudTrail/{region}/"),
            layout: Layout::Days,
            day_range: run.options.day_range,
            filters: run.options.filters,
            states: run.options.states,
            mode: run.options.mode,
            after: None,
        }
    }

    fn found(outcome: PartOutcome, units: &[Unit]) -> RunPart {
        let mut found = DiscoveryRecord {
            outcome,
            shape: DetectedLayout::CloudTrail,
            ..DiscoveryRecord::of(run().sources[0].clone())
        };
        units.iter().for_each(|unit| found.add(unit));
        RunPart::Discovered(Box::new(found))
    }

    fn worked(unit: &Unit, outcome: PartOutcome, listed: u64) -> RunPart {
        let counts = ListingCounts { listed, ..ListingCounts::default() };
        RunPart::Worked(Box::new(UnitRecord { root: run().sources[0].clone(), unit: unit.clone(), outcome, counts }))
    }

    #[test]
    fn stage_and_account_progress_follow_the_parts() {
        let units = [unit(A, "eu-west-1"), unit(A, "us-east-1"), unit(B, "eu-west-1")];
        let stage = |parts: &[RunPart]| RunProgress::of(&run(), parts).stage;
        assert_eq!(stage(&[]), Stage::Discovering);
        let mut parts = vec![worked(&units[0], PartOutcome::Done, 10)];
        assert_eq!(stage(&parts), Stage::Discovering, "a unit is quicker than the rest of its discovery");
        parts.push(found(PartOutcome::Done, &units));
        assert_eq!(stage(&parts), Stage::Working);
        parts.push(worked(&units[1], PartOutcome::Requeued, 5));
        parts.push(worked(&units[2], PartOutcome::Failed("SlowDown".to_owned()), 1));
        let progress = RunProgress::of(&run(), &parts);
        assert_eq!(progress.stage, Stage::Working);
        assert_eq!((progress.units, progress.done, progress.failed, progress.counts.listed), (3, 1, 1, 16));
        let a = progress.accounts[A];
        assert_eq!((a.units, a.done, a.failed, a.counts.listed), (2, 1, 0, 15));
        assert_eq!((progress.accounts[B].units, progress.accounts[B].failed), (1, 1));
        assert_eq!(progress.failures, ["SlowDown"]);
        parts[2] = worked(&units[1], PartOutcome::Done, 12);
        assert_eq!(stage(&parts), Stage::Failed);
        parts[3] = worked(&units[2], PartOutcome::Done, 2);
        let progress = RunProgress::of(&run(), &parts);
        assert_eq!((progress.stage, progress.done, progress.counts.listed), (Stage::Done, 3, 24));
        assert!(progress.failures.is_empty() && progress.empty.is_empty());
    }

    #[test]
    fn source_is_discovered_when_all_its_parts_are() {
        let part = |name: Option<&str>, continued_by: &[&str], units: &[Unit]| {
            let RunPart::Discovered(found) = found(PartOutcome::Done, units) else { panic!("not a discovery") };
            RunPart::Discovered(Box::new(DiscoveryRecord {
                part: name.map(str::to_owned),
                continued_by: continued_by.iter().map(|&name| name.to_owned()).collect(),
                unvisited: 1,
                unvisited_names: vec!["copies/".to_owned()],
                ..*found
            }))
        };
        let done = |region| worked(&unit(A, region), PartOutcome::Done, 1);
        let mut parts = vec![part(None, &["x", "y"], &[unit(A, "eu-west-1")]), done("eu-west-1")];
        // Sent by an attempt that crashed before its record was saved.
        parts.push(part(Some("orphan"), &[], &[unit(A, "eu-west-1")]));
        let of = |parts: &[RunPart]| {
            let progress = RunProgress::of(&run(), parts);
            (progress.stage, progress.discovered, progress.units, progress.unvisited)
        };
        assert_eq!(of(&parts), (Stage::Discovering, 0, 1, 1));
        parts.push(part(Some("x"), &["z"], &[unit(A, "us-east-1")]));
        parts.push(part(Some("y"), &[], &[]));
        assert_eq!(of(&parts), (Stage::Discovering, 0, 2, 3));
        parts.push(part(Some("z"), &[], &[]));
        assert_eq!(of(&parts), (Stage::Working, 1, 2, 4));
        parts.push(done("us-east-1"));
        assert_eq!(of(&parts), (Stage::Done, 1, 2, 4));
        assert_eq!(RunProgress::of(&run(), &parts).unvisited_names, ["s3://logs/copies/"; 4]);
    }

    #[test]
    fn failed_and_empty_sources_are_reported() {
        let progress =
            RunProgress::of(&run(), &[found(PartOutcome::Failed("s3:ListBucket is denied".to_owned()), &[])]);
        assert_eq!((progress.stage, progress.failures), (Stage::Failed, vec!["s3:ListBucket is denied".to_owned()]));
        let progress = RunProgress::of(&run(), &[found(PartOutcome::Done, &[])]);
        assert_eq!((progress.stage, progress.empty), (Stage::Done, run().sources));
    }
}
