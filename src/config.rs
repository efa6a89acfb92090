//! Config: what the Lambda programs are told by their environment.

mod backfill;

pub use backfill::Backfill;

use crate::event::filter::Filter;
use crate::ledger::model::row::Seconds;
use crate::pack::LinesPerRecord;

/// The ingest function's settings, one field a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `TRAILHOSE_TABLE`: the ledger's DynamoDB table.
    pub table: String,
    /// `TRAILHOSE_STREAM`: the Firehose stream's name.
    pub stream: String,
    /// `TRAILHOSE_DESTINATION`: `packed` (default) or `one-per-record`.
    pub lines: LinesPerRecord,
    /// `TRAILHOSE_OVERSIZE`: `s3://bucket/prefix` for events longer than a Firehose record.
    pub oversize: Option<String>,
    /// `TRAILHOSE_QUEUE_URL`: where a deferred object is sent again.
    pub queue: Option<String>,
    /// `TRAILHOSE_CONCURRENCY`: objects at once in one invocation. Default 16.
    pub concurrency: usize,
    /// `TRAILHOSE_MEMORY_MB`: what the objects of an invocation may take together, in MiB. Default three quarters of
    /// the function's memory.
    pub memory_mib: u32,
    /// `TRAILHOSE_LEDGER_DAYS`: how long a delivered event is remembered. Default 90.
    pub keep: Seconds,
    /// `TRAILHOSE_FILTER`: events to drop, see [`Filter::parse`].
    pub filter: Filter,
    /// `TRAILHOSE_MAX_OBJECT_BYTES`: decompressed bytes at which an object is a bomb. Default 2 GiB.
    pub object_bytes: u64,
    /// `TRAILHOSE_MAX_OBJECT_EVENTS`: events at which an object is one too. Default a million.
    pub object_events: u32,
}

impl Config {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// Names the variable, what it holds and what it should.
    pub fn from_env() -> Result<Self, String> {
        Self::from(|name| std::env::var(name).ok())
    }

    /// Reads variables from `get`.
    ///
    /// # Errors
    /// As [`Config::from_env`].
    pub fn from(get: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let variables = Variables(get);
        let get = |name| variables.get(name);
        let number = |name, default, least| variables.number(name, default, least);
        let function_mib = number("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", 512, 1)?;
        Ok(Self {
            table: variables.must("TRAILHOSE_TABLE", TABLE)?,
            stream: variables.must("TRAILHOSE_STREAM", "the name of a Firehose stream")?,
            lines: match get("TRAILHOSE_DESTINATION").as_deref() {
                None | Some("packed") => LinesPerRecord::Packed,
                Some("one-per-record") => LinesPerRecord::One,
                Some(other) => return Err(format!("TRAILHOSE_DESTINATION={other}: expected packed or one-per-record")),
            },
            oversize: get("TRAILHOSE_OVERSIZE"),
            queue: get("TRAILHOSE_QUEUE_URL"),
            concurrency: usize::try_from(number("TRAILHOSE_CONCURRENCY", 16, 1)?).unwrap_or(usize::MAX),
            memory_mib: u32::try_from(number("TRAILHOSE_MEMORY_MB", function_mib * 3 / 4, 1)?).unwrap_or(u32::MAX),
            keep: variables.keep()?,
            filter: Filter::parse(&get("TRAILHOSE_FILTER").unwrap_or_default())
                .map_err(|error| format!("TRAILHOSE_FILTER: {error}"))?,
            object_bytes: number("TRAILHOSE_MAX_OBJECT_BYTES", crate::decode::DecodeLimits::default().object_bytes, 1)?,
            object_events: u32::try_from(number(
                "TRAILHOSE_MAX_OBJECT_EVENTS",
                crate::decode::DecodeLimits::default().events.into(),
                1,
            )?)
            .unwrap_or(u32::MAX),
        })
    }
}

/// What `TRAILHOSE_TABLE` should hold.
const TABLE: &str = "the name of the ledger's DynamoDB table";

/// Variables by name; one that is set to nothing is not set.
struct Variables<G>(G);

impl<G: Fn(&str) -> Option<String>> Variables<G> {
    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    fn must(&self, name: &str, what: &str) -> Result<String, String> {
        self.get(name).ok_or_else(|| format!("{name} is not set; expected {what}"))
    }

    fn number(&self, name: &str, default: u64, least: u64) -> Result<u64, String> {
        match self.get(name) {
            None => Ok(default),
            Some(text) => match text.parse() {
                Ok(value) if value >= least => Ok(value),
                _ => Err(format!("{name}={text}: expected a whole number of at least {least}")),
            },
        }
    }

    /// How long the ledger remembers: the same for all programs on one table.
    fn keep(&self) -> Result<Seconds, String> {
        let days = self.number("TRAILHOSE_LEDGER_DAYS", 90, 15)?;
        Ok(Seconds::try_from(days.saturating_mul(86_400)).unwrap_or(Seconds::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(variables: &[(&str, &str)]) -> Result<Config, String> {
        let all = [&[("TRAILHOSE_TABLE", "ledger"), ("TRAILHOSE_STREAM", "events")], variables].concat();
        Config::from(|name| all.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn what_is_not_set_has_its_documented_default() {
        let config = config(&[("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1024")]).unwrap();
        assert_eq!((config.concurrency, config.memory_mib, config.keep), (16, 768, 90 * 86_400));
        assert_eq!(config.lines, LinesPerRecord::Packed);
    }

    #[test]
    fn what_cannot_be_meant_names_the_variable() {
        for (name, value) in [
            ("TRAILHOSE_TABLE", ""),
            ("TRAILHOSE_STREAM", ""),
            ("TRAILHOSE_DESTINATION", "splunk"),
            ("TRAILHOSE_CONCURRENCY", "0"),
            ("TRAILHOSE_MEMORY_MB", "-1"),
            ("TRAILHOSE_LEDGER_DAYS", "14"),
            ("TRAILHOSE_FILTER", "readOnly"),
            ("TRAILHOSE_MAX_OBJECT_BYTES", "2 GiB"),
            ("TRAILHOSE_MAX_OBJECT_EVENTS", "0"),
        ] {
            let error = config(&[(name, value)]).unwrap_err();
            assert!(error.starts_with(name), "{error}");
        }
    }
}
