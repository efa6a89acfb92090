//! Run: the request for a backfill, from a schedule or a user.
//!
//! ```json
//! {"sources":[{"bucket":"logs","prefix":""}], "since":"2026-11-01", "until":"2026-11-20",
//!  "accounts":["111122223333"], "regions":["eu-west-1"], "kinds":["CloudTrail"],
//!  "quarantined":false, "dry_run":true, "bytes_per_second":10000000}
//! ```
//!
//! All fields are optional; `{}` is the scheduled run. Unknown fields and contradictions are errors, because a
//! misspelled field must not extend a run to everything.

use crate::ledger::model::row::Seconds;
use crate::listing::day_range::{DayRange, DayRangeError};
use crate::listing::discover::DiscoveryRequest;
use crate::listing::folder_level::Filters;
use crate::listing::unit::{BackfillMode, StateSelection};
use crate::object::key::Kind;
use crate::object::region;
use jiff::civil::Date;
use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Minimum of `bytes_per_second`. With a lower rate, a worker could wait for a single large file longer than an
/// invocation lasts.
pub const MIN_BYTES_PER_SECOND: u64 = 64 * 1024;

/// A request for a backfill.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Request {
    /// Sources to search. Empty: the sources that the function is configured for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceRoot>,
    /// The first delivery day in UTC, `YYYY-MM-DD`. Cannot be combined with `look_back_days`.
    #[serde(with = "day", skip_serializing_if = "Option::is_none")]
    pub since: Option<Date>,
    /// The last delivery day. Default: today.
    #[serde(with = "day", skip_serializing_if = "Option::is_none")]
    pub until: Option<Date>,
    /// Number of days before the last day. Default: the function's configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub look_back_days: Option<u32>,
    /// Account IDs, 12 digits each. Empty: all.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub accounts: BTreeSet<String>,
    /// Regions. Empty: all.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub regions: BTreeSet<String>,
    /// Kinds, by the names of their folders: `CloudTrail`, `CloudTrail-Insight`, … Empty: all that contain events.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub kinds: BTreeSet<String>,
    /// Whether quarantined objects are released and enqueued again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub quarantined: bool,
    /// Whether objects are only counted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Maximum number of stored bytes enqueued per second, over all workers. Default: unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
}

/// Defaults for the fields that a request omits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    /// Sources to search.
    pub sources: Vec<SourceRoot>,
    /// Number of days before the last day.
    pub look_back_days: u32,
}

/// A request with all defaults applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The run's ID.
    pub id: RunId,
    /// The start time, in seconds since 1970.
    pub started: Seconds,
    /// The sources: at least one, without duplicates.
    pub sources: Vec<SourceRoot>,
    /// What the run selects and what it does.
    pub options: RunOptions,
}

/// What a run selects and what it does. The same for all of its sources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunOptions {
    /// The days to include.
    pub day_range: DayRange,
    /// The accounts, kinds and regions to include.
    #[serde(default, skip_serializing_if = "Filters::is_all")]
    pub filters: Filters,
    /// Which objects are selected for ingestion.
    #[serde(default)]
    pub states: StateSelection,
    /// What is done with the selected objects.
    #[serde(default)]
    pub mode: BackfillMode,
    /// Maximum number of stored bytes enqueued per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
}

/// A source of a run: a bucket and a prefix in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceRoot {
    /// The bucket's name.
    pub bucket: String,
    /// The prefix before `AWSLogs/`, or any folder below; empty for the whole bucket.
    #[serde(default)]
    pub prefix: String,
}

/// A run's ID: 1 to 64 letters, digits, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

/// An error for an invalid request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The text is not a request.
    #[error("invalid backfill request: {0}")]
    Invalid(String),
    /// The days are invalid.
    #[error(transparent)]
    DayRange(#[from] DayRangeError),
    /// `since` and `look_back_days` are both given.
    #[error("since and look_back_days both set the first day: give only one of them")]
    TwoStarts,
    /// There are no sources.
    #[error("no sources: add them to the request, or set TRAILHOSE_SOURCES to s3://bucket/prefix,…")]
    NoSources,
    /// A field has an invalid value.
    #[error("{field}: expected {expected}, found {found:?}")]
    Field {
        /// The name of the field.
        field: &'static str,
        /// The expected value.
        expected: &'static str,
        /// The value found.
        found: String,
    },
}

impl Request {
    /// Parses a request.
    ///
    /// # Errors
    /// Names the unknown or invalid field and its position.
    pub fn parse(text: &str) -> Result<Self, RequestError> {
        // serde accepts an array for a struct, and an empty array would start a run over everything.
        if !text.trim_start().starts_with('{') {
            return Err(RequestError::Invalid("expected an object, {…}".to_owned()));
        }
        serde_json::from_str(text).map_err(|error| RequestError::Invalid(error.to_string()))
    }

    /// Applies the defaults and returns the run that starts at `now`.
    ///
    /// # Errors
    /// Names the invalid field. The run must then not be started.
    pub fn resolve(self, id: RunId, defaults: &Defaults, now: Seconds) -> Result<Run, RequestError> {
        let day_range = self.day_range(defaults.look_back_days, now)?;
        for account in &self.accounts {
            let digits = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
            check_field("accounts", "12 digits", account, digits)?;
        }
        for kind in &self.kinds {
            let known = Kind::parse(kind).is_some_and(Kind::is_log);
            check_field("kinds", "a kind of CloudTrail log, such as CloudTrail or CloudTrail-Insight", kind, known)?;
        }
        for region in &self.regions {
            check_field("regions", "a region, such as eu-west-1", region, region::check(region).is_ok())?;
        }
        if let Some(rate) = self.bytes_per_second {
            check_field("bytes_per_second", "at least 65536", &rate.to_string(), rate >= MIN_BYTES_PER_SECOND)?;
        }
        let mut sources = if self.sources.is_empty() { defaults.sources.clone() } else { self.sources };
        for root in &sources {
            check_field("sources", "a bucket's name", &root.bucket, !root.bucket.is_empty())?;
        }
        // A duplicate source would be listed twice.
        sources.sort();
        sources.dedup();
        if sources.is_empty() {
            return Err(RequestError::NoSources);
        }
        let options = RunOptions {
            day_range,
            filters: Filters { accounts: self.accounts, kinds: self.kinds, regions: self.regions },
            states: if self.quarantined {
                StateSelection::UnfinishedAndQuarantined
            } else {
                StateSelection::Unfinished
            },
            mode: if self.dry_run { BackfillMode::Count } else { BackfillMode::Enqueue },
            bytes_per_second: self.bytes_per_second,
        };
        Ok(Run { id, started: now, sources, options })
    }

    fn day_range(&self, look_back_days: u32, now: Seconds) -> Result<DayRange, RequestError> {
        let today = || Timestamp::from_second(now).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(TimeZone::UTC).date();
        let last = self.until.unwrap_or_else(today);
        match (self.since, self.look_back_days) {
            (Some(_), Some(_)) => Err(RequestError::TwoStarts),
            (Some(since), None) => Ok(DayRange::new(since, last)?),
            // `looking_back` does not reject a last day before the year 2000, but `DayRange::new` does.
            (None, days) => {
                DayRange::new(last, last)?;
                Ok(DayRange::looking_back(last, days.unwrap_or(look_back_days)))
            }
        }
    }
}

fn check_field(field: &'static str, expected: &'static str, found: &str, holds: bool) -> Result<(), RequestError> {
    if holds { Ok(()) } else { Err(RequestError::Field { field, expected, found: found.to_owned() }) }
}

impl RunOptions {
    /// Returns the discovery request for one source.
    pub fn discovery_request(&self, root: &SourceRoot) -> DiscoveryRequest {
        DiscoveryRequest {
            filters: self.filters.clone(),
            states: self.states,
            mode: self.mode,
            ..DiscoveryRequest::new(&root.bucket, &root.prefix, self.day_range)
        }
    }
}

impl SourceRoot {
    /// Parses `s3://bucket` or `s3://bucket/prefix`.
    ///
    /// # Errors
    /// Fails if the text has neither form.
    pub fn parse(text: &str) -> Result<Self, RequestError> {
        let path = text.trim().strip_prefix("s3://").unwrap_or_default();
        let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
        check_field("sources", "s3://bucket or s3://bucket/prefix", text, !bucket.is_empty())?;
        Ok(Self { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

impl std::fmt::Display for SourceRoot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.prefix)
    }
}

impl RunId {
    /// Creates the ID of a run that starts at `now`. IDs sort by time; `salt` distinguishes runs of the same second.
    pub fn at(now: Seconds, salt: u32) -> Self {
        let time = Timestamp::from_second(now).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(TimeZone::UTC);
        Self(format!("{}-{salt:08x}", time.strftime("%Y%m%dT%H%M%S")))
    }

    /// Returns the ID as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RunId {
    type Error = RequestError;

    fn try_from(text: String) -> Result<Self, RequestError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let holds = (1..=64).contains(&text.len()) && text.bytes().all(plain);
        check_field("run", "a name of 1 to 64 letters, digits, - and _", &text, holds)?;
        Ok(Self(text))
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.0
    }
}

impl std::fmt::Display for RunId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

/// Serializes an optional day as `YYYY-MM-DD`.
mod day {
    use super::DayRangeError;
    use jiff::civil::Date;
    use serde::{Deserialize, Deserializer, Serializer};

    #[allow(clippy::ref_option, reason = "the signature serde calls")]
    pub(super) fn serialize<S: Serializer>(day: &Option<Date>, to: S) -> Result<S::Ok, S::Error> {
        match day {
            Some(day) => to.collect_str(day),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Date>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        let day = |text: String| text.parse().map_err(|_| DayRangeError::InvalidDate { found: text });
        text.map(day).transpose().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
