//! Run: what a backfill is asked for, by a schedule or by hand. Pure.
//!
//! ```json
//! {"sources":[{"bucket":"logs","prefix":""}], "since":"2026-11-01", "until":"2026-11-20",
//!  "accounts":["111122223333"], "regions":["eu-west-1"], "kinds":["CloudTrail"],
//!  "quarantined":false, "dry_run":true, "bytes_per_second":10000000}
//! ```
//!
//! Everything may be left out, so `{}` is the run that the schedule asks for. What is unknown or contradictory is
//! refused: a misspelled field must not widen a run to everything.

use crate::ledger::model::row::Seconds;
use crate::listing::discover::DiscoveryRequest;
use crate::listing::folder_level::Filters;
use crate::listing::span::{Span, SpanError};
use crate::listing::unit::{Act, Pick};
use crate::object::key::Kind;
use jiff::civil::Date;
use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The fewest bytes a second a run may be held to. At less, a single busy file would keep a worker waiting for longer
/// than an invocation lasts.
pub const LEAST_BYTES_PER_SECOND: u64 = 64 * 1024;

/// What somebody asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Request {
    /// Where to look. None: everywhere the function is configured for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceRoot>,
    /// The first day, `YYYY-MM-DD`, UTC, of delivery to the bucket. Excludes `look_back_days`.
    #[serde(with = "day", skip_serializing_if = "Option::is_none")]
    pub since: Option<Date>,
    /// The last day. Default: today.
    #[serde(with = "day", skip_serializing_if = "Option::is_none")]
    pub until: Option<Date>,
    /// How many days before the last one to begin. Default: what the function is configured for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub look_back_days: Option<u32>,
    /// Accounts, 12 digits each. None: all.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub accounts: BTreeSet<String>,
    /// Regions. None: all.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub regions: BTreeSet<String>,
    /// Kinds, as their folders are named: `CloudTrail`, `CloudTrail-Insight`, … None: all that hold events.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub kinds: BTreeSet<String>,
    /// Whether quarantined objects are opened and handed in again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub quarantined: bool,
    /// Whether objects are only counted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// At most how many stored bytes a second are handed in, over all workers together. None: no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
}

/// What a request leaves open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    /// Where to look.
    pub sources: Vec<SourceRoot>,
    /// How many days before the last one to begin.
    pub look_back_days: u32,
}

/// A request with everything it left open filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its name.
    pub id: RunId,
    /// When it began, in seconds since 1970.
    pub started: Seconds,
    /// Where it looks: each once, at least one.
    pub sources: Vec<SourceRoot>,
    /// For what it looks, and what it does.
    pub terms: RunOptions,
}

/// For what a run looks, and what it does: the same for all its sources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunOptions {
    /// The days.
    pub span: Span,
    /// Accounts, kinds and regions.
    #[serde(default, skip_serializing_if = "Filters::is_all")]
    pub filters: Filters,
    /// Which objects are handed in.
    #[serde(default)]
    pub pick: Pick,
    /// What is done with them.
    #[serde(default)]
    pub act: Act,
    /// At most how many stored bytes a second are handed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
}

/// Where a run looks: a bucket and a prefix in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceRoot {
    /// The bucket's name.
    pub bucket: String,
    /// What precedes `AWSLogs/`, or any folder below; empty for the whole bucket.
    #[serde(default)]
    pub prefix: String,
}

/// A run's name: up to 64 letters, digits, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

/// A request that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not the shape of a request.
    #[error("expected a backfill request: {0}")]
    Shape(String),
    /// The days contradict each other.
    #[error(transparent)]
    Span(#[from] SpanError),
    /// Two ways of saying the first day.
    #[error("since and look_back_days both say the first day: give one of them")]
    TwoStarts,
    /// Nowhere to look.
    #[error("no sources: name them in the request, or set TRAILHOSE_SOURCES to s3://bucket/prefix,…")]
    NoSources,
    /// A field does not hold what it should.
    #[error("{field}: expected {expected}, found {found:?}")]
    Field {
        /// Its name.
        field: &'static str,
        /// What it should hold.
        expected: &'static str,
        /// What it holds.
        found: String,
    },
}

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    /// Says what is unknown or cannot be read, and where.
    pub fn parse(text: &str) -> Result<Self, RequestError> {
        // serde takes an array for a struct, and an empty one for a run over everything.
        if !text.trim_start().starts_with('{') {
            return Err(RequestError::Shape("an object, {…}".to_owned()));
        }
        serde_json::from_str(text).map_err(|error| RequestError::Shape(error.to_string()))
    }

    /// The run that is asked for at `now`.
    ///
    /// # Errors
    /// Says which field cannot be meant. Nothing of the run may then be begun.
    pub fn resolve(self, id: RunId, defaults: &Defaults, now: Seconds) -> Result<Run, RequestError> {
        let span = self.span(defaults.look_back_days, now)?;
        for account in &self.accounts {
            let digits = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
            field("accounts", "12 digits", account, digits)?;
        }
        for kind in &self.kinds {
            let known = Kind::parse(kind).is_some_and(Kind::is_log);
            field("kinds", "a kind of CloudTrail log, such as CloudTrail or CloudTrail-Insight", kind, known)?;
        }
        for region in &self.regions {
            field("regions", "a region, such as eu-west-1", region, region.matches('-').count() >= 2)?;
        }
        if let Some(rate) = self.bytes_per_second {
            field("bytes_per_second", "at least 65536", &rate.to_string(), rate >= LEAST_BYTES_PER_SECOND)?;
        }
        let mut sources = if self.sources.is_empty() { defaults.sources.clone() } else { self.sources };
        for root in &sources {
            field("sources", "a bucket's name", &root.bucket, !root.bucket.is_empty())?;
        }
        // Named twice, it would be listed twice.
        sources.sort();
        sources.dedup();
        if sources.is_empty() {
            return Err(RequestError::NoSources);
        }
        let terms = RunOptions {
            span,
            filters: Filters { accounts: self.accounts, kinds: self.kinds, regions: self.regions },
            pick: if self.quarantined { Pick::UnfinishedAndQuarantined } else { Pick::Unfinished },
            act: if self.dry_run { Act::Count } else { Act::Enqueue },
            bytes_per_second: self.bytes_per_second,
        };
        Ok(Run { id, started: now, sources, terms })
    }

    fn span(&self, look_back_days: u32, now: Seconds) -> Result<Span, RequestError> {
        let today = || Timestamp::from_second(now).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(TimeZone::UTC).date();
        let last = self.until.unwrap_or_else(today);
        match (self.since, self.look_back_days) {
            (Some(_), Some(_)) => Err(RequestError::TwoStarts),
            (Some(since), None) => Ok(Span::new(since, last)?),
            // Looking back ends at the last day, never before it; a last day before there was an AWS is refused.
            (None, days) => {
                Span::new(last, last)?;
                Ok(Span::looking_back(last, days.unwrap_or(look_back_days)))
            }
        }
    }
}

fn field(field: &'static str, expected: &'static str, found: &str, holds: bool) -> Result<(), RequestError> {
    if holds { Ok(()) } else { Err(RequestError::Field { field, expected, found: found.to_owned() }) }
}

impl RunOptions {
    /// What discovery is asked of one source.
    pub fn ask(&self, root: &SourceRoot) -> DiscoveryRequest {
        DiscoveryRequest {
            filters: self.filters.clone(),
            pick: self.pick,
            act: self.act,
            ..DiscoveryRequest::new(&root.bucket, &root.prefix, self.span)
        }
    }
}

impl SourceRoot {
    /// Reads `s3://bucket` or `s3://bucket/prefix`.
    ///
    /// # Errors
    /// If it is neither.
    pub fn parse(text: &str) -> Result<Self, RequestError> {
        let path = text.trim().strip_prefix("s3://").unwrap_or_default();
        let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
        field("sources", "s3://bucket or s3://bucket/prefix", text, !bucket.is_empty())?;
        Ok(Self { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

impl std::fmt::Display for SourceRoot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.prefix)
    }
}

impl RunId {
    /// A name for a run that begins at `now`: names sort by their time, and `salt` keeps two of one second apart.
    pub fn at(now: Seconds, salt: u32) -> Self {
        let time = Timestamp::from_second(now).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(TimeZone::UTC);
        Self(format!("{}-{salt:08x}", time.strftime("%Y%m%dT%H%M%S")))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RunId {
    type Error = RequestError;

    fn try_from(text: String) -> Result<Self, RequestError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let holds = (1..=64).contains(&text.len()) && text.bytes().all(plain);
        field("run", "a name of 1 to 64 letters, digits, - and _", &text, holds)?;
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

/// A day that may be left out, as `YYYY-MM-DD`.
mod day {
    use super::SpanError;
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
        let day = |text: String| text.parse().map_err(|_| SpanError::InvalidDate { found: text });
        text.map(day).transpose().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
