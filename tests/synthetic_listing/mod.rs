//! A bucket and a ledger of any size that take no memory: keys are generated while they are listed, and an object's ID
//! determines whether it is missing from the ledger.

use async_trait::async_trait;
use jiff::civil::Date;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::time::Instant;
use trailhose::backfill::{Dispatcher, Submitted, UnitEnd, UnitProcessor};
use trailhose::ledger::Ledger;
use trailhose::ledger::model::page::{Page, PageName, Version};
use trailhose::ledger::model::row::{CURSOR_END, Change, Guard, Row, Status};
use trailhose::ledger::store::{Store, StoreError, WriteError};
use trailhose::listing::discover::{Discovery, DiscoveryRequest};
use trailhose::listing::{DayRange, ListingCounts};
use trailhose::object::{Object, ObjectId, ObjectRef};
use trailhose::source::{ListPage, Listing, Source, SourceError};

const ACCOUNTS: usize = 200;
const REGIONS: [&str; 17] = [
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ca-central-1",
    "eu-central-1",
    "eu-north-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
];

/// Entries per page, as in S3.
const PAGE: usize = 1000;

/// Every 50th combination of account and region has this many times more files.
const BUSY: usize = 20;

/// A bucket of 200 accounts with 17 regions each, for the days of a day range, the day before and the day after.
#[derive(Debug)]
pub struct SyntheticListing {
    day_range: DayRange,
    days: Vec<Date>,
    /// Files per day in a region that is not busy.
    daily: usize,
    pub requests: AtomicU64,
}

impl SyntheticListing {
    /// Returns a bucket with about `keys` objects within the day range.
    pub fn of(keys: usize, day_range: DayRange) -> Self {
        let mut days = vec![day_range.from().yesterday().unwrap()];
        days.extend(day_range.days());
        days.push(day_range.to().tomorrow().unwrap());
        let weight = (0..ACCOUNTS * REGIONS.len()).map(busyness).sum::<usize>() * day_range.days().count();
        Self { day_range, days, daily: (keys / weight).max(1), requests: AtomicU64::new(0) }
    }

    fn region_keys(&self, combination: usize) -> usize {
        self.days.len() * self.daily * busyness(combination)
    }

    /// Returns the object at an index of a region, in key order.
    fn object(&self, combination: usize, index: usize) -> ObjectRef {
        let (account, region) = (combination / REGIONS.len(), REGIONS[combination % REGIONS.len()]);
        let daily = self.daily * busyness(combination);
        let (day, number) = (self.days[index / daily], index % daily);
        let (year, month, date) = (day.year(), day.month(), day.day());
        let key = format!(
            "AWSLogs/{account:012}/CloudTrail/{region}/{year}/{month:02}/{date:02}/\
             {account:012}_CloudTrail_{region}_{year}{month:02}{date:02}T0000Z_{number:016}.json.gz"
        );
        let etag = format!("{:016x}{index:016x}", combination);
        ObjectRef::new("synthetic", key).with_version(&etag, 10_000)
    }

    /// Returns the objects that must be enqueued, and the pages and prefixes that listing them requires.
    pub fn expected(&self) -> Expected {
        // AWSLogs/, each account, and its kind.
        let mut expected = Expected { prefixes: 2 + 2 * ACCOUNTS as u64, ..Expected::default() };
        for combination in 0..ACCOUNTS * REGIONS.len() {
            let daily = self.daily * busyness(combination);
            let within = daily..daily * (1 + self.day_range.days().count());
            expected.prefixes += 1;
            expected.pages += within.len().div_ceil(PAGE) as u64;
            expected.keys += within.len() as u64;
            for index in within {
                let id = self.object(combination, index).object().unwrap().id();
                if is_missing(id) {
                    expected.missing.add(id);
                }
            }
        }
        expected
    }
}

#[derive(Debug, Default)]
pub struct Expected {
    pub keys: u64,
    pub missing: Sum,
    pub pages: u64,
    pub prefixes: u64,
}

/// A set of objects as a count and a sum of IDs. Two different sets have the same sum with a probability of 2^-128.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Sum {
    pub objects: u64,
    sum: u128,
}

impl Sum {
    pub fn add(&mut self, id: ObjectId) {
        self.objects += 1;
        self.sum = self.sum.wrapping_add(u128::from_le_bytes(id.0));
    }
}

fn busyness(combination: usize) -> usize {
    if combination.is_multiple_of(50) { BUSY } else { 1 }
}

/// Whether the ledger has no row for an object: one in twenty.
fn is_missing(id: ObjectId) -> bool {
    id.0[0] < 13
}

#[async_trait]
impl Source for SyntheticListing {
    async fn stat(&self, at: &ObjectRef) -> Result<ObjectRef, SourceError> {
        Err(SourceError::Missing(at.to_string()))
    }

    async fn fetch(&self, object: &Object) -> Result<Vec<u8>, SourceError> {
        Err(SourceError::Missing(object.to_string()))
    }

    async fn list(&self, ask: &Listing<'_>) -> Result<ListPage, SourceError> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let parts: Vec<&str> = ask.prefix.split_terminator('/').collect();
        let below = |names: Vec<String>| {
            let prefixes = names.into_iter().map(|name| format!("{}{name}/", ask.prefix)).collect();
            Ok(ListPage { prefixes, ..ListPage::default() })
        };
        match (&parts[..], ask.delimiter) {
            ([], Some('/')) => below(vec!["AWSLogs".to_owned()]),
            (["AWSLogs"], Some('/')) => below((0..ACCOUNTS).map(|account| format!("{account:012}")).collect()),
            (["AWSLogs", _], Some('/')) => below(vec!["CloudTrail".to_owned(), "CloudTrail-Digest".to_owned()]),
            (["AWSLogs", _, "CloudTrail"], Some('/')) => below(REGIONS.map(str::to_owned).to_vec()),
            (["AWSLogs", account, "CloudTrail", region], None) => {
                let region = REGIONS.iter().position(|known| known == region).unwrap();
                let combination = account.parse::<usize>().unwrap() * REGIONS.len() + region;
                let after = ask.token.or(ask.start_after).unwrap_or("");
                let (mut low, mut high) = (0, self.region_keys(combination));
                let end = high;
                while low < high {
                    let middle = usize::midpoint(low, high);
                    if self.object(combination, middle).key.as_str() <= after {
                        low = middle + 1
                    } else {
                        high = middle
                    }
                }
                let objects: Vec<_> = (low..end.min(low + PAGE)).map(|index| self.object(combination, index)).collect();
                let next = objects.last().filter(|_| low + PAGE < end).map(|last| last.key.clone());
                Ok(ListPage { objects, next, ..ListPage::default() })
            }
            _ => Err(SourceError::Unavailable(format!("unexpected listing of {}", ask.prefix))),
        }
    }
}

/// A ledger in which every object is done unless it is missing.
#[derive(Debug)]
pub struct AllButMissing;

fn read_only() -> StoreError {
    StoreError::Denied("reconcile is read-only".to_owned())
}

#[async_trait]
impl Store for AllButMissing {
    async fn rows(&self, ids: &[ObjectId]) -> Result<Vec<Option<Row>>, StoreError> {
        assert!(ids.len() <= 100, "more keys than BatchGetItem allows");
        let object = Object { bucket: String::new(), key: String::new(), etag: String::new() };
        let row = Row {
            object,
            status: Status::Done,
            token: None,
            until: 0,
            cursor: CURSOR_END,
            acknowledged: Default::default(),
            counts: None,
            reason: None,
            quarantined_at: None,
            accepted: None,
            expires: Some(i64::MAX),
        };
        Ok(ids.iter().map(|&id| (!is_missing(id)).then(|| row.clone())).collect())
    }

    async fn change_row(&self, _: &Object, _: Guard, _: &Change) -> Result<Row, WriteError<Row>> {
        Err(read_only().into())
    }

    async fn change_row_by_id(&self, _: ObjectId, _: Guard, _: &Change) -> Result<Row, WriteError<Row>> {
        Err(read_only().into())
    }

    async fn pages(&self, _: &[PageName]) -> Result<Vec<Option<Page>>, StoreError> {
        Err(read_only())
    }

    async fn write_page(&self, _: &PageName, _: Option<Version>, _: &Page) -> Result<(), WriteError<Page>> {
        Err(read_only().into())
    }
}

/// Sums the objects that it receives.
#[derive(Debug, Default)]
pub struct Summing(Mutex<Sum>);

#[async_trait]
impl Dispatcher for Summing {
    async fn submit(&self, objects: &[ObjectRef], _stop: Instant) -> Submitted {
        let mut sum = self.0.lock().unwrap();
        objects.iter().for_each(|object| sum.add(object.object().unwrap().id()));
        Submitted { accepted: objects.len(), messages: 1, error: None }
    }
}

/// The result of a whole run.
#[derive(Debug)]
pub struct Ran {
    pub counts: ListingCounts,
    pub enqueued: Sum,
    /// List requests of discovery and of the units.
    pub requests: u64,
}

/// Runs discovery and every unit that it finds.
pub async fn run(bucket: &Arc<SyntheticListing>) -> Ran {
    let now = bucket.day_range.to().to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_second();
    let ledger = Ledger::new(Arc::new(AllButMissing), Arc::new(move || now), 90 * 86_400);
    let processor = UnitProcessor { source: bucket.clone(), ledger };
    let intake = Summing::default();
    let mut discovery = Discovery::new(bucket.clone(), DiscoveryRequest::new("synthetic", "", bucket.day_range));
    let mut counts = ListingCounts::default();
    let stop = Instant::now() + std::time::Duration::from_secs(3600);
    while let Some(unit) = discovery.next().await.unwrap() {
        let ended = processor.run(unit, &intake, stop).await;
        assert!(matches!(ended.end, UnitEnd::Done), "{:?}", ended.end);
        counts.merge(&ended.counts);
    }
    assert_eq!(counts.list_requests + discovery.progress().requests, bucket.requests.load(Ordering::SeqCst));
    Ran { counts, enqueued: *intake.0.lock().unwrap(), requests: bucket.requests.load(Ordering::SeqCst) }
}
