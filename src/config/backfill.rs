//! The settings of the backfill function.

use super::{EXPECTED_TABLE, Variables};
use crate::backfill::run::{Defaults, SourceRoot};
use crate::ledger::model::row::Seconds;
use crate::listing::day_range::LOOK_BACK;

/// The settings of the backfill function, one field per variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackfillConfig {
    /// `TRAILHOSE_TABLE`: the ledger's DynamoDB table, which also contains the records of runs.
    pub table: String,
    /// `TRAILHOSE_LEDGER_DAYS`: the retention of the ledger in days, the same as for ingest. Default: 90.
    pub retention: Seconds,
    /// `TRAILHOSE_BACKFILL_QUEUE_URL`: the queue of this function's tasks.
    pub task_queue: String,
    /// `TRAILHOSE_BACKFILL_INGEST_QUEUE_URL`: the queue to which missing objects are enqueued.
    pub ingest_queue: String,
    /// `TRAILHOSE_SOURCES` (`s3://bucket/prefix,…`) and `TRAILHOSE_LOOK_BACK_DAYS` (default: 3): the values that apply
    /// if a request does not contain them.
    pub defaults: Defaults,
    /// `TRAILHOSE_BACKFILL_WORKERS`: the maximum number of concurrent instances. Each instance uses an equal share of a
    /// run's limit in bytes per second. Default: 1.
    pub workers: u32,
}

impl BackfillConfig {
    /// Reads the settings from the process's environment.
    ///
    /// # Errors
    /// Returns a text that names the variable, its value and the expected value.
    pub fn from_env() -> Result<Self, String> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// Reads the settings from `get`, which returns the value of a variable.
    ///
    /// # Errors
    /// Returns the same errors as [`BackfillConfig::from_env`].
    pub(crate) fn from_variables(get: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let variables = Variables(get);
        let listed = variables.get("TRAILHOSE_SOURCES").unwrap_or_default();
        let sources = listed.split(',').filter(|text| !text.trim().is_empty()).map(SourceRoot::parse);
        let retention = variables.retention()?;
        let days = variables.number("TRAILHOSE_LOOK_BACK_DAYS", u64::from(LOOK_BACK), 0)?;
        // Rows that are older than the retention expire. Every run would enqueue the objects of such a day again.
        if days.saturating_mul(86_400) >= retention.unsigned_abs() {
            let kept = retention / 86_400;
            return Err(format!(
                "TRAILHOSE_LOOK_BACK_DAYS={days}: expected less than TRAILHOSE_LEDGER_DAYS ({kept}); otherwise every \
                 run delivers expired objects again"
            ));
        }
        Ok(Self {
            table: variables.required("TRAILHOSE_TABLE", EXPECTED_TABLE)?,
            retention,
            task_queue: variables.required("TRAILHOSE_BACKFILL_QUEUE_URL", "the URL of the backfill's task queue")?,
            ingest_queue: variables
                .required("TRAILHOSE_BACKFILL_INGEST_QUEUE_URL", "the URL of the ingest queue for missing objects")?,
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

    fn config(variables: &[(&str, &str)]) -> Result<BackfillConfig, String> {
        let required = [
            ("TRAILHOSE_TABLE", "ledger"),
            ("TRAILHOSE_BACKFILL_QUEUE_URL", "https://sqs/1/tasks"),
            ("TRAILHOSE_BACKFILL_INGEST_QUEUE_URL", "https://sqs/1/missing"),
        ];
        let all = [&required, variables].concat();
        BackfillConfig::from_variables(|name| {
            all.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn unset_variable_has_its_documented_default() {
        let config = config(&[]).unwrap();
        assert_eq!((config.retention, config.workers), (90 * 86_400, 1));
        assert_eq!(config.defaults, Defaults { sources: Vec::new(), look_back_days: 3 });
    }

    #[test]
    fn sources_are_separated_by_commas() {
        let config = config(&[("TRAILHOSE_SOURCES", "s3://a/p/, s3://b,")]).unwrap();
        let sources: Vec<String> = config.defaults.sources.iter().map(ToString::to_string).collect();
        assert_eq!(sources, ["s3://a/p/", "s3://b/"]);
    }

    #[test]
    fn error_for_an_invalid_value_names_the_variable() {
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
