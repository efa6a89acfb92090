//! The settings of the Lambda functions, read from environment variables.

mod backfill;
#[cfg(feature = "detection")]
mod detect;

pub use backfill::BackfillConfig;
#[cfg(feature = "detection")]
pub use detect::DetectConfig;

use crate::batch::Deferral;
use crate::event::filter::Filter;
use crate::ledger::model::row::Seconds;
use crate::pack::LinesPerRecord;

/// The settings of the ingest function, one field per variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngestConfig {
    /// `TRAILHOSE_TABLE`: the ledger's DynamoDB table.
    pub table: String,
    /// `TRAILHOSE_STREAM`: the Firehose stream's name.
    pub stream: String,
    /// `TRAILHOSE_EVENTS_PER_RECORD`: `many` (default) or `one`.
    pub lines: LinesPerRecord,
    /// `TRAILHOSE_OVERSIZE`: `s3://bucket/prefix` for events longer than a Firehose record.
    pub oversize: Option<String>,
    /// `TRAILHOSE_QUEUE_URL`: the queue to which an object of a direct invocation is sent if it must wait. A message
    /// that must wait is sent to the queue that it came from, which is in the same account and region.
    pub requeue_url: Option<String>,
    /// `TRAILHOSE_DEFERRED_QUEUE_URL`, `TRAILHOSE_DEAD_LETTER_QUEUE_URL` and `TRAILHOSE_MAX_DEFERRED_DAYS` (default:
    /// 4): the queues to which messages are moved during an outage, and how long they wait.
    pub deferral: Option<Deferral>,
    /// `TRAILHOSE_CONCURRENCY`: the maximum number of objects processed concurrently in one invocation. Default: 16.
    pub concurrency: usize,
    /// `TRAILHOSE_MEMORY_MB`: the memory budget for all objects of an invocation, in MiB. Default: three quarters of
    /// the function's memory.
    pub memory_mib: u32,
    /// `TRAILHOSE_LEDGER_DAYS`: the retention of the ledger in days. Default: 90.
    pub retention: Seconds,
    /// `TRAILHOSE_FILTER`: the events to drop. See [`Filter::parse`].
    pub filter: Filter,
    /// `TRAILHOSE_MAX_OBJECT_BYTES`: the maximum decompressed size in bytes. A larger object is quarantined as a
    /// decompression bomb. Default: 2 GiB.
    pub object_bytes: u64,
    /// `TRAILHOSE_MAX_OBJECT_EVENTS`: the maximum number of events. An object with more events is quarantined. Default:
    /// one million.
    pub object_events: u32,
}

impl IngestConfig {
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
    /// Returns the same errors as [`IngestConfig::from_env`].
    pub(crate) fn from_variables(get: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let variables = Variables(get);
        let get = |name| variables.get(name);
        let number = |name, default, min| variables.number(name, default, min);
        let function_mib = number("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", 512, 1)?;
        Ok(Self {
            table: variables.required("TRAILHOSE_TABLE", EXPECTED_TABLE)?,
            stream: variables.required("TRAILHOSE_STREAM", "the name of a Firehose stream")?,
            lines: match get("TRAILHOSE_EVENTS_PER_RECORD").as_deref() {
                None | Some("many") => LinesPerRecord::Many,
                Some("one") => LinesPerRecord::One,
                Some(other) => return Err(format!("TRAILHOSE_EVENTS_PER_RECORD={other}: expected many or one")),
            },
            oversize: get("TRAILHOSE_OVERSIZE"),
            requeue_url: variables.queue_url("TRAILHOSE_QUEUE_URL")?,
            deferral: variables.deferral()?,
            concurrency: usize::try_from(number("TRAILHOSE_CONCURRENCY", 16, 1)?).unwrap_or(usize::MAX),
            memory_mib: u32::try_from(number("TRAILHOSE_MEMORY_MB", function_mib * 3 / 4, 1)?).unwrap_or(u32::MAX),
            retention: variables.retention()?,
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

/// The expected value of `TRAILHOSE_TABLE`, for error messages.
const EXPECTED_TABLE: &str = "the name of the ledger's DynamoDB table";

/// The maximum of `TRAILHOSE_MAX_DEFERRED_DAYS`. In the deferred queue, the wait between two receives of a message
/// increases to 15 minutes, so a message is received up to 676 times in seven days. SQS permits at most 1,000 receives
/// (`maxReceiveCount`).
const MAX_DEFERRED_DAYS: u64 = 7;

/// Environment variables by name. An empty variable counts as unset.
struct Variables<G>(G);

impl<G: Fn(&str) -> Option<String>> Variables<G> {
    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    fn required(&self, name: &str, expected: &str) -> Result<String, String> {
        self.get(name).ok_or_else(|| format!("{name} is not set; expected {expected}"))
    }

    fn number(&self, name: &str, default: u64, min: u64) -> Result<u64, String> {
        match self.get(name) {
            None => Ok(default),
            Some(text) => match text.parse() {
                Ok(value) if value >= min => Ok(value),
                _ => Err(format!("{name}={text}: expected a whole number of at least {min}")),
            },
        }
    }

    /// Returns the URL of a standard queue.
    fn queue_url(&self, name: &str) -> Result<Option<String>, String> {
        match self.get(name) {
            // The name of every FIFO queue has this suffix.
            Some(url) if url.ends_with(".fifo") => Err(format!(
                "{name}={url}: expected the URL of a standard queue; a FIFO queue accepts no message with a delay"
            )),
            url => Ok(url),
        }
    }

    /// Returns the queues to which the ingest function moves messages.
    fn deferral(&self) -> Result<Option<Deferral>, String> {
        const DEFERRED: &str = "TRAILHOSE_DEFERRED_QUEUE_URL";
        const DEAD_LETTER: &str = "TRAILHOSE_DEAD_LETTER_QUEUE_URL";
        let days = self.number("TRAILHOSE_MAX_DEFERRED_DAYS", 4, 1)?;
        if days > MAX_DEFERRED_DAYS {
            return Err(format!(
                "TRAILHOSE_MAX_DEFERRED_DAYS={days}: expected at most {MAX_DEFERRED_DAYS}, because the deferred queue \
                 permits 1,000 receives and retains a message for ten days"
            ));
        }
        let max_age = Seconds::try_from(days * 86_400).unwrap_or(Seconds::MAX);
        match (self.queue_url(DEFERRED)?, self.queue_url(DEAD_LETTER)?) {
            (Some(deferred_url), Some(dead_letter_url)) => {
                Ok(Some(Deferral { deferred_url, dead_letter_url, max_age }))
            }
            (None, None) => Ok(None),
            (Some(_), None) => {
                Err(format!("{DEAD_LETTER} is not set; expected a queue URL, because {DEFERRED} is set"))
            }
            (None, Some(_)) => {
                Err(format!("{DEFERRED} is not set; expected a queue URL, because {DEAD_LETTER} is set"))
            }
        }
    }

    /// Returns the ledger's retention in seconds. All programs that use a table at the same time must have the same.
    fn retention(&self) -> Result<Seconds, String> {
        let days = self.number("TRAILHOSE_LEDGER_DAYS", 90, 30)?;
        Ok(Seconds::try_from(days.saturating_mul(86_400)).unwrap_or(Seconds::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(variables: &[(&str, &str)]) -> Result<IngestConfig, String> {
        let all = [&[("TRAILHOSE_TABLE", "ledger"), ("TRAILHOSE_STREAM", "events")], variables].concat();
        IngestConfig::from_variables(|name| {
            all.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn unset_variable_has_its_documented_default() {
        let config = config(&[("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1024")]).unwrap();
        assert_eq!((config.concurrency, config.memory_mib, config.retention), (16, 768, 90 * 86_400));
        assert_eq!(config.lines, LinesPerRecord::Many);
    }

    #[test]
    fn error_for_an_invalid_value_names_the_variable() {
        for (name, value) in [
            ("TRAILHOSE_TABLE", ""),
            ("TRAILHOSE_STREAM", ""),
            ("TRAILHOSE_EVENTS_PER_RECORD", "splunk"),
            ("TRAILHOSE_CONCURRENCY", "0"),
            ("TRAILHOSE_MEMORY_MB", "-1"),
            ("TRAILHOSE_LEDGER_DAYS", "14"),
            ("TRAILHOSE_FILTER", "readOnly"),
            ("TRAILHOSE_MAX_OBJECT_BYTES", "2 GiB"),
            ("TRAILHOSE_MAX_OBJECT_EVENTS", "0"),
            ("TRAILHOSE_QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/111122223333/ingest.fifo"),
            ("TRAILHOSE_DEFERRED_QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/111122223333/deferred.fifo"),
            ("TRAILHOSE_MAX_DEFERRED_DAYS", "0"),
            ("TRAILHOSE_MAX_DEFERRED_DAYS", "8"),
        ] {
            let error = config(&[(name, value)]).unwrap_err();
            assert!(error.starts_with(name), "{error}");
        }
    }

    #[test]
    fn deferred_queue_requires_a_dead_letter_queue() {
        let (deferred, dead) = ("TRAILHOSE_DEFERRED_QUEUE_URL", "TRAILHOSE_DEAD_LETTER_QUEUE_URL");
        assert_eq!(config(&[]).unwrap().deferral, None);
        for (set, unset) in [(deferred, dead), (dead, deferred)] {
            let error = config(&[(set, "https://sqs/1/q")]).unwrap_err();
            assert!(error.starts_with(&format!("{unset} is not set")), "{error}");
        }
        let both = config(&[(deferred, "https://sqs/1/deferred"), (dead, "https://sqs/1/dead")]).unwrap();
        assert_eq!(both.deferral.unwrap().max_age, 4 * 86_400);
    }
}
