//! The backfill function's settings.

use super::{TABLE, Variables};
use crate::backfill::run::{Defaults, Root};
use crate::ledger::model::row::Seconds;
use crate::listing::span::LOOK_BACK;

/// The backfill function's settings, one field a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backfill {
    /// `TRAILHOSE_TABLE`: the ledger's DynamoDB table, in which runs are noted too.
    pub table: String,
    /// `TRAILHOSE_LEDGER_DAYS`: how long the ledger remembers. Default 90; the same as for ingest.
    pub keep: Seconds,
    /// `TRAILHOSE_BACKFILL_QUEUE_URL`: the queue of this function's own tasks.
    pub tasks: String,
    /// `TRAILHOSE_BACKFILL_INGEST_QUEUE_URL`: the queue into which missing objects are handed.
    pub ingest: String,
    /// `TRAILHOSE_SOURCES`, `s3://bucket/prefix,…`, and `TRAILHOSE_LOOK_BACK_DAYS`, default 3: what a request leaves
    /// open.
    pub defaults: Defaults,
    /// `TRAILHOSE_BACKFILL_WORKERS`: how many instances there may be at once, for each to take its share of a run's
    /// bytes a second. Default 1.
    pub workers: u32,
}

impl Backfill {
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
    /// As [`Backfill::from_env`].
    pub fn from(get: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let variables = Variables(get);
        let listed = variables.get("TRAILHOSE_SOURCES").unwrap_or_default();
        let sources = listed.split(',').filter(|text| !text.trim().is_empty()).map(Root::parse);
        let keep = variables.keep()?;
        let days = variables.number("TRAILHOSE_LOOK_BACK_DAYS", u64::from(LOOK_BACK), 0)?;
        // A day beyond the ledger's memory would be handed in again by every run.
        if days.saturating_mul(86_400) >= keep.unsigned_abs() {
            let kept = keep / 86_400;
            return Err(format!(
                "TRAILHOSE_LOOK_BACK_DAYS={days}: expected fewer than TRAILHOSE_LEDGER_DAYS, {kept}, or the ledger \
                 forgets what every run finds again"
            ));
        }
        Ok(Self {
            table: variables.must("TRAILHOSE_TABLE", TABLE)?,
            keep,
            tasks: variables.must("TRAILHOSE_BACKFILL_QUEUE_URL", "the URL of the queue of the backfill's tasks")?,
            ingest: variables
                .must("TRAILHOSE_BACKFILL_INGEST_QUEUE_URL", "the URL of the ingest queue for what is missing")?,
            defaults: Defaults {
                sources: sources.collect::<Result<_, _>>().map_err(|error| format!("TRAILHOSE_SOURCES: {error}"))?,
                look_back_days: u32::try_from(days).unwrap_or(u32::MAX),
            },
            workers: u32::try_from(variables.number("TRAILHOSE_BACKFILL_WORKERS", 1, 1)?).unwrap_or(u32::MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(variables: &[(&str, &str)]) -> Result<Backfill, String> {
        let must = [
            ("TRAILHOSE_TABLE", "ledger"),
            ("TRAILHOSE_BACKFILL_QUEUE_URL", "https://sqs/1/tasks"),
            ("TRAILHOSE_BACKFILL_INGEST_QUEUE_URL", "https://sqs/1/missing"),
        ];
        let all = [&must, variables].concat();
        Backfill::from(|name| all.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn what_is_not_set_has_its_documented_default() {
        let config = config(&[]).unwrap();
        assert_eq!((config.keep, config.workers), (90 * 86_400, 1));
        assert_eq!(config.defaults, Defaults { sources: Vec::new(), look_back_days: 3 });
    }

    #[test]
    fn sources_are_listed_with_commas() {
        let config = config(&[("TRAILHOSE_SOURCES", "s3://a/p/, s3://b,")]).unwrap();
        let sources: Vec<String> = config.defaults.sources.iter().map(ToString::to_string).collect();
        assert_eq!(sources, ["s3://a/p/", "s3://b/"]);
    }

    #[test]
    fn what_cannot_be_meant_names_the_variable() {
        for (name, value) in [
            ("TRAILHOSE_TABLE", ""),
            ("TRAILHOSE_BACKFILL_QUEUE_URL", ""),
            ("TRAILHOSE_BACKFILL_INGEST_QUEUE_URL", ""),
            ("TRAILHOSE_SOURCES", "s3://a,b"),
            ("TRAILHOSE_LOOK_BACK_DAYS", "-1"),
            ("TRAILHOSE_LOOK_BACK_DAYS", "90"),
            ("TRAILHOSE_LEDGER_DAYS", "14"),
            ("TRAILHOSE_BACKFILL_WORKERS", "0"),
        ] {
            let error = config(&[(name, value)]).unwrap_err();
            assert!(error.starts_with(name), "{error}");
        }
    }
}
