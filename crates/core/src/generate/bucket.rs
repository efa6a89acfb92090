//! Generates a bucket of log files that one or two trails deliver.

use super::content::mix;
use super::quantile::FILE_EVENTS;
use super::tables::REGIONS;
use super::{ACCOUNTS, ObjectSize, SyntheticObject, Variety, account};
use crate::object::key::{FileCompression, FileName, Kind, LogKey};
use fastrand::Rng;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The description of a synthetic bucket. [`files`](Self::files) generates its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntheticBucket {
    /// The seed of the random numbers.
    pub seed: u64,
    /// The prefix before `AWSLogs/`: empty, or ending in a slash.
    pub prefix: String,
    /// The organization ID, `o-…`, if the trails are organization trails.
    pub organization: Option<String>,
    /// Number of accounts: 1 to [`ACCOUNTS`]. With fewer files than accounts, some accounts have no file.
    pub accounts: u32,
    /// Number of regions per account: 1 to [`REGIONS`](super::REGIONS).
    pub regions: u32,
    /// Number of files, including those of the second trail.
    pub files: u32,
    /// Number of events per file.
    pub events: EventsPerFile,
    /// Percentage of events that a second trail also delivers, 0 to 100. Its files have other names and are in the same
    /// folders, and are delivered at the same time or five or ten minutes later. One real bucket has 27 %.
    pub overlap_percent: u32,
    /// The share of new values.
    pub variety: Variety,
    /// The time of the first delivery in seconds since 1970.
    pub from: i64,
    /// Number of days over which the deliveries are spread; at least 1.
    pub days: u32,
}

/// The number of events per file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EventsPerFile {
    /// The measured distribution: 5 in the median, 8.6 on average, at most 50,000.
    #[default]
    Measured,
    /// The same number in each file.
    Exactly(u32),
}

impl SyntheticBucket {
    /// Describes three accounts of an organization in four regions. The files are delivered over three days of January
    /// 2026. A second trail delivers 27 % of the events again.
    pub fn new(seed: u64, files: u32) -> Self {
        Self {
            seed,
            prefix: String::new(),
            organization: Some("o-exampleorgid".to_owned()),
            accounts: 3,
            regions: 4,
            files,
            events: EventsPerFile::default(),
            overlap_percent: 27,
            variety: Variety::default(),
            from: 1_768_435_200,
            days: 3,
        }
    }

    /// Returns the files as pairs of key and stored bytes, in the order of delivery except for the copies of the second
    /// trail. Keeps one file and its copy in memory.
    pub fn files(&self) -> Files<'_> {
        let rng = Rng::with_seed(mix(self.seed ^ u64::from(self.files)));
        Files { bucket: self, rng, made: 0, object: 0, events: 0, copied: 0, copy: None }
    }
}

/// An iterator over the files of a [`SyntheticBucket`].
#[derive(Debug)]
pub struct Files<'a> {
    bucket: &'a SyntheticBucket,
    rng: Rng,
    made: u32,
    /// The number of the next file, not counting copies.
    object: u32,
    /// Number of events and of copied events so far.
    events: u64,
    copied: u64,
    /// The second trail's copy of the last file, if it is not returned yet.
    copy: Option<(LogKey, Vec<u8>)>,
}

impl Files<'_> {
    fn key(&mut self, object: &SyntheticObject, seconds: i64) -> LogKey {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let suffix = (0..16).map(|_| char::from(LETTERS[self.rng.usize(0..LETTERS.len())])).collect();
        let delivered = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
        let delivered = TimeZone::UTC.to_datetime(delivered);
        LogKey {
            prefix: self.bucket.prefix.clone(),
            organization: self.bucket.organization.clone(),
            account: object.account.clone(),
            kind: Kind::CloudTrail,
            region: object.region.clone(),
            date: delivered.date(),
            file: FileName::Log { time: delivered.time(), suffix, compression: FileCompression::Gzip },
        }
    }

    fn next_object(&mut self) -> SyntheticObject {
        let SyntheticBucket { seed, accounts, regions, files, days, from, variety, events, .. } = *self.bucket;
        let number = self.object;
        self.object += 1;
        let span = i64::from(days.max(1)) * 86_400;
        let events = match events {
            EventsPerFile::Exactly(events) => events,
            EventsPerFile::Measured => FILE_EVENTS.draw(&mut self.rng) as u32,
        };
        SyntheticObject {
            seed,
            account: account(self.rng.u32(0..accounts.clamp(1, ACCOUNTS))),
            region: REGIONS[self.rng.usize(0..(regions.max(1) as usize).min(REGIONS.len()))].to_owned(),
            delivered: from + span * i64::from(self.made) / i64::from(files.max(1)),
            size: ObjectSize::Events(events),
            variety,
            number,
        }
    }
}

impl Iterator for Files<'_> {
    type Item = (String, Vec<u8>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.made == self.bucket.files {
            return None;
        }
        self.made += 1;
        if let Some((key, bytes)) = self.copy.take() {
            return Some((key.to_string(), bytes));
        }
        let object = self.next_object();
        let mut bytes = Vec::new();
        // Writing to memory cannot fail.
        let written = object.write_gzip(&mut bytes).unwrap_or_default();
        let key = self.key(&object, object.delivered);
        self.events += u64::from(written.events);
        let due = self.events * u64::from(self.bucket.overlap_percent.min(100)) / 100;
        if self.copied + u64::from(written.events) <= due {
            self.copied += u64::from(written.events);
            let later = self.rng.i64(0..3) * 300;
            self.copy = Some((self.key(&object, object.delivered + later), bytes.clone()));
        }
        Some((key.to_string(), bytes))
    }
}
