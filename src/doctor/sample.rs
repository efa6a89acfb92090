//! The sample check: compares some of yesterday's objects with the ledger.

use super::catalog::DELIVERY_SAMPLE;
use super::facts::Fact;
use super::finding::{Finding, Verdict};
use super::text::counted;
use crate::ledger::{Ledger, ObjectState};
use crate::listing::day_range::DayRange;
use crate::listing::discover::{Discovery, DiscoveryRequest};
use crate::listing::reconcile::{KeyState, reconcile};
use crate::listing::unit::Unit;
use crate::object::ObjectRef;
use crate::source::{Listing, Source, SourceError};
use futures_util::{StreamExt, stream};
use jiff::civil::Date;
use std::sync::Arc;

/// The maximum number of folders (account, kind and region) from which the sample is drawn.
const MAX_FOLDERS: usize = 1_000;

/// The number of folders in the sample.
const FOLDERS: usize = 40;

/// The number of objects in the sample of each folder.
const OBJECTS_PER_FOLDER: usize = 10;

/// Concurrent list requests.
const CONCURRENCY: usize = 8;

/// The maximum number of objects that a finding names.
const NAMED: usize = 3;

/// The states of the objects of a sample.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SampleStates {
    /// Folders that were found. There may be more.
    pub folders: u64,
    /// Folders of the sample.
    pub sampled_folders: u64,
    /// Objects that are completely delivered.
    pub done: u64,
    /// Objects that are being processed or were started.
    pub in_progress: u64,
    /// Quarantined or archived objects.
    pub quarantined: u64,
    /// Objects without a row.
    pub missing: Vec<ObjectRef>,
}

/// Error of a sample.
#[derive(Debug, thiserror::Error)]
pub(super) enum SampleError {
    /// The bucket cannot be listed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The ledger cannot be read.
    #[error(transparent)]
    Store(#[from] crate::ledger::store::StoreError),
}

/// Draws a sample of the objects that CloudTrail delivered on `day`, from the first page of each folder's listing, and
/// looks them up in the ledger.
///
/// # Errors
/// The bucket or the ledger cannot be read.
pub(super) async fn draw(
    source: Arc<dyn Source>,
    ledger: &Ledger,
    bucket: &str,
    prefix: &str,
    day: Date,
) -> Result<SampleStates, SampleError> {
    // Only days before the year 2000 are refused.
    let Ok(span) = DayRange::new(day, day) else { return Ok(SampleStates::default()) };
    let mut discovery = Discovery::new(Arc::clone(&source), DiscoveryRequest::new(bucket, prefix, span));
    let mut units = Vec::new();
    while units.len() < MAX_FOLDERS
        && let Some(unit) = discovery.next().await?
    {
        units.push(unit);
    }
    if let Some(denied) = discovery.progress().denied.first() {
        return Err(SourceError::Denied(denied.reason.clone()).into());
    }
    let mut states = SampleStates { folders: units.len() as u64, ..SampleStates::default() };
    fastrand::shuffle(&mut units);
    units.truncate(FOLDERS);
    states.sampled_folders = units.len() as u64;
    let pages = units.into_iter().map(|unit| first_page(&*source, unit));
    let mut pages = stream::iter(pages.collect::<Vec<_>>()).buffer_unordered(CONCURRENCY);
    while let Some(page) = pages.next().await {
        let (unit, mut objects) = page?;
        fastrand::shuffle(&mut objects);
        objects.truncate(OBJECTS_PER_FOLDER);
        for key in reconcile(ledger, &unit, objects).await? {
            match key.state {
                KeyState::NotALog | KeyState::Excluded => {}
                KeyState::Log { state, .. } => states.count(state, key.at),
            }
        }
    }
    states.missing.sort_by(|one, other| one.key.cmp(&other.key));
    Ok(states)
}

async fn first_page(source: &dyn Source, unit: Unit) -> Result<(Unit, Vec<ObjectRef>), SourceError> {
    let (after, end) = unit.key_range();
    let request = Listing {
        bucket: &unit.bucket,
        prefix: &unit.prefix,
        delimiter: None,
        token: None,
        start_after: after.as_deref(),
    };
    let mut objects = source.list(&request).await?.objects;
    objects.retain(|object| end.as_ref().is_none_or(|end| object.key < *end));
    Ok((unit, objects))
}

impl SampleStates {
    fn count(&mut self, state: ObjectState, at: ObjectRef) {
        match state {
            ObjectState::Done => self.done += 1,
            ObjectState::Leased { .. } | ObjectState::Unfinished => self.in_progress += 1,
            ObjectState::Quarantined(_) | ObjectState::QuarantineAccepted => self.quarantined += 1,
            ObjectState::Absent => self.missing.push(at),
        }
    }
}

pub(super) fn finding(sample: Option<&Fact<SampleStates>>, day: Date) -> Finding {
    match sample {
        None => DELIVERY_SAMPLE.finding(Verdict::not_applicable("the bucket or the table is not known")),
        Some(sample) => DELIVERY_SAMPLE.finding_of(sample, |sample| evaluate(sample, day)),
    }
}

fn evaluate(sample: &SampleStates, day: Date) -> Verdict {
    let SampleStates { folders, sampled_folders, done, in_progress, quarantined, missing } = sample;
    let total = done + in_progress + quarantined + missing.len() as u64;
    let of = format!("{} of {day} in {sampled_folders} of {}", counted(total, "object"), counted(*folders, "folder"));
    if total == 0 {
        return Verdict::not_applicable(format!("no object of {day} was found in {}", counted(*folders, "folder")));
    }
    if let Some(first) = missing.first() {
        let named: Vec<_> = missing.iter().take(NAMED).map(|object| object.to_string()).collect();
        // After a deployment, older objects are delivered by the first backfill that covers them.
        let next_step = format!(
            "trailhose backfill --since {day}, or wait for the scheduled backfill; see trailhose explain {first}"
        );
        return Verdict::failed(
            format!("{} missing in the ledger ({of}): {}", missing.len(), named.join(", ")),
            next_step,
        );
    }
    match *in_progress {
        0 => Verdict::ok(format!("{of}: {done} done, {quarantined} quarantined")),
        in_progress => Verdict::warning(
            format!("{in_progress} of {of} are not finished"),
            "run trailhose doctor again later; see delivery.deferred and delivery.dead-letters",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::CheckStatus::{Failed, NotApplicable, Ok as Fine, Warning};
    use crate::ledger::store::memory::Memory;
    use crate::ledger::{LeaseOutcome, system_clock};
    use crate::source::directory::Directory;
    use jiff::civil::date;

    const DAY: Date = date(2026, 11, 26);

    #[test]
    fn missing_objects_are_a_failure_and_unfinished_ones_a_warning() {
        let of = |states: SampleStates| finding(Some(&Ok(states)), DAY).status;
        let done = SampleStates { folders: 2, sampled_folders: 2, done: 3, ..SampleStates::default() };
        assert_eq!(of(done.clone()), Fine);
        assert_eq!(of(SampleStates { in_progress: 1, ..done.clone() }), Warning);
        assert_eq!(of(SampleStates { missing: vec![ObjectRef::new("logs", "k")], ..done }), Failed);
        assert_eq!(of(SampleStates::default()), NotApplicable);
    }

    #[tokio::test]
    async fn sample_covers_the_day_and_distinguishes_the_states() {
        let folder = tempfile::tempdir().unwrap();
        let key = |day: u32, number: u32| {
            format!(
                "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/11/{day}/\
                 111122223333_CloudTrail_eu-west-1_202611{day}T1000Z_{number:016}.json.gz"
            )
        };
        for (day, number) in [(25, 0), (26, 1), (26, 2), (26, 3), (27, 4)] {
            let path = folder.path().join(key(day, number));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        let source = Arc::new(Directory::open(folder.path()).unwrap());
        let bucket = source.bucket().to_owned();
        let ledger = Ledger::new(Arc::new(Memory::default()), system_clock(), 90 * 86_400);
        let lease = async |number| {
            let at = source.stat(&ObjectRef::new(&bucket, key(26, number))).await.unwrap();
            match ledger.lease(&at.object().unwrap(), ledger.now() + 60).await.unwrap() {
                LeaseOutcome::Granted(lease) => lease,
                other => panic!("not granted: {other:?}"),
            }
        };
        ledger.complete(&lease(1).await, Default::default()).await.unwrap();
        ledger.quarantine(&lease(2).await, "gzip: damaged").await.unwrap();
        let states = draw(source.clone(), &ledger, &bucket, "", DAY).await.unwrap();
        assert_eq!((states.folders, states.sampled_folders), (1, 1));
        assert_eq!((states.done, states.quarantined, states.in_progress), (1, 1, 0));
        assert_eq!(states.missing.iter().map(|at| at.key.clone()).collect::<Vec<_>>(), [key(26, 3)]);
    }
}
