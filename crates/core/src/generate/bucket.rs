//! A bucket full of log files, fed by one or two trails.

use super::content::mix;
use super::quantile::FILE_EVENTS;
use super::tables::REGIONS;
use super::{ACCOUNTS, ObjectSize, SyntheticObject, Variety, account};
use crate::object::key::{FileCompression, FileName, Kind, LogKey};
use fastrand::Rng;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// What a bucket holds. [`files`](Self::files) makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntheticBucket {
    /// What everything follows from.
    pub seed: u64,
    /// What precedes `AWSLogs/`: empty, or ending in a slash.
    pub prefix: String,
    /// The organisation's ID, `o-…`, if an organisation's trail writes the bucket.
    pub organization: Option<String>,
    /// How many accounts: 1 to [`ACCOUNTS`]. Fewer files than accounts leave some without any.
    pub accounts: u32,
    /// How many regions of each: 1 to [`REGIONS`](super::REGIONS).
    pub regions: u32,
    /// How many files, those of the second trail included.
    pub files: u32,
    /// How many events a file has.
    pub events: EventsPerFile,
    /// Of a hundred events, how many a second trail delivered as well: in files of other names and in the same folders,
    /// at once, five or ten minutes later. 27 in one real bucket, 0 to 100.
    pub overlap_percent: u32,
    /// How much of it is new.
    pub variety: Variety,
    /// The first delivery, in seconds since 1970.
    pub from: i64,
    /// Over how many days the deliveries are spread; at least 1.
    pub days: u32,
}

/// How many events a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EventsPerFile {
    /// As measured: 5 in the median, 8.6 on average, and up to 50,000.
    #[default]
    Measured,
    /// All the same.
    Exactly(u32),
}

impl SyntheticBucket {
    /// Three accounts of an organisation in four regions, delivered over three days of January 2026 by two trails that
    /// share 27 % of their events.
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

    /// The files, in the order of their delivery but for a second trail's copies: each its key and its bytes as they lie
    /// in the bucket. One file is in memory at a time.
    pub fn files(&self) -> Files<'_> {
        let rng = Rng::with_seed(mix(self.seed ^ u64::from(self.files)));
        Files { bucket: self, rng, made: 0, object: 0, events: 0, copied: 0, copy: None }
    }
}

/// The files of a [`SyntheticBucket`], one after the other.
#[derive(Debug)]
pub struct Files<'a> {
    bucket: &'a SyntheticBucket,
    rng: Rng,
    made: u32,
    /// The next file's number, copies not counted.
    object: u32,
    /// Events and copied events so far.
    events: u64,
    copied: u64,
    /// The second trail's copy of the last file, yet to come.
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
        // Writing into memory cannot fail.
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
