//! Task: a message on the backfill queue.
//!
//! ```text
//! start ─▶ discover, one per source ─▶ work, one per unit ─▶ work, the rest of a unit …
//!                      └─▶ discover, parts of the rest of a source …
//! ```
//!
//! A message contains everything that its worker needs, so that another worker can process it after a crash.

use super::run::{Request, RunId, RunOptions, SourceRoot};
use crate::listing::ListingCounts;
use crate::listing::discover::DiscoveryRest;
use crate::listing::unit::Unit;
use serde::{Deserialize, Serialize};

/// A task and the run that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[allow(clippy::large_enum_variant, reason = "almost every task is of the largest variant")]
pub enum Task {
    /// Starts a run.
    Start {
        /// The run's ID, chosen by the sender. Two tasks with the same ID start the same run.
        run: RunId,
        /// The request for the run.
        request: Request,
    },
    /// Discovers the units of one source of a run.
    Discover {
        /// The run.
        run: RunId,
        /// The source.
        root: SourceRoot,
        /// The run's options.
        options: RunOptions,
        /// The folders to continue with; absent for the whole source.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rest: Option<DiscoveryRest>,
    },
    /// Processes one unit of a run.
    Work(Work),
}

/// A unit to process, and the counts of the earlier attempts at it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Work {
    /// The run.
    pub run: RunId,
    /// The source that the unit was found in. If two sources overlap, both have this unit.
    pub root: SourceRoot,
    /// The unit.
    pub unit: Unit,
    /// The counts of the earlier attempts, up to the unit's cursor.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub so_far: ListingCounts,
    /// Maximum number of stored bytes that the run enqueues per second, over all workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
}

/// An error for a message that is not a valid task.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid backfill task: {0}")]
pub struct TaskError(String);

impl Task {
    /// Reads the body of a message.
    ///
    /// # Errors
    /// Names the field that is missing, unknown or contradictory. The message must not be acknowledged.
    pub fn parse(body: &str) -> Result<Self, TaskError> {
        let task: Self = serde_json::from_str(body).map_err(|error| TaskError(error.to_string()))?;
        if let Self::Work(work) = &task {
            work.unit.check().map_err(|error| TaskError(error.to_string()))?;
        }
        Ok(task)
    }

    /// Returns the body of the task's message.
    pub fn body(&self) -> String {
        // Strings, numbers, sets of strings and plain enums always serialize to JSON.
        serde_json::to_string(self).unwrap_or_default()
    }
}

fn is_nothing(counts: &ListingCounts) -> bool {
    *counts == ListingCounts::default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::day_range::DayRange;
    use crate::listing::folder_level::Filters;
    use crate::listing::unit::{BackfillMode, Layout, StateSelection};

    fn root() -> SourceRoot {
        SourceRoot::parse("s3://logs/p/").unwrap()
    }

    fn options() -> RunOptions {
        RunOptions {
            day_range: DayRange::parse("2026-11-01", "2026-11-04").unwrap(),
            filters: Filters { accounts: ["111122223333".to_owned()].into(), ..Filters::default() },
            states: StateSelection::UnfinishedAndQuarantined,
            mode: BackfillMode::Count,
            bytes_per_second: Some(1 << 20),
        }
    }

    fn work(prefix: &str, after: Option<&str>) -> Task {
        let RunOptions { day_range, filters, states, mode, bytes_per_second } = options();
        let after = after.map(str::to_owned);
        let unit = Unit {
            bucket: "logs".to_owned(),
            prefix: prefix.to_owned(),
            layout: Layout::Days,
            day_range,
            filters,
            states,
            mode,
            after,
        };
        let so_far = ListingCounts { listed: 9, done: 7, missing: 2, sent: 2, bytes: 700, ..ListingCounts::default() };
        Task::Work(Work { run: RunId::at(0, 1), root: root(), unit, so_far, bytes_per_second })
    }

    #[test]
    fn messages_round_trip() {
        let request = Request { sources: vec![root()], dry_run: true, ..Request::default() };
        for task in [
            Task::Start { run: RunId::at(0, 1), request },
            Task::Start { run: RunId::at(0, 1), request: Request::default() },
            Task::Discover { run: RunId::at(0, 1), root: root(), options: options(), rest: None },
            Task::Discover {
                run: RunId::at(0, 1),
                root: root(),
                options: options(),
                rest: Some(DiscoveryRest::default()),
            },
            work("p/", Some("p/2026")),
            work("", None),
        ] {
            assert_eq!(Task::parse(&task.body()).unwrap(), task);
        }
    }

    #[test]
    fn minimal_start_message_round_trips() {
        let start = r#"{"start":{"run":"monday","request":{"dry_run":true}}}"#;
        assert_eq!(Task::parse(start).unwrap().body(), start);
    }

    #[test]
    fn invalid_message_is_rejected_with_the_reason() {
        let no_slash = work("p", None).body();
        let wrong_cursor = work("p/", Some("q/1")).body();
        for (body, said) in [
            (r#"{"stop":{"run":"a"}}"#, "unknown variant `stop`"),
            (r#"{"start":{"run":"a","request":{},"now":true}}"#, "unknown field `now`"),
            (r#"{"start":{"run":"a"}}"#, "missing field `request`"),
            (r#"{"start":{"run":"a b","request":{}}}"#, "run: expected a name"),
            (r#"{"Records":[]}"#, "unknown variant `Records`"),
            (&no_slash, "does not end in a slash"),
            (&wrong_cursor, "is not under prefix"),
        ] {
            let error = Task::parse(body).unwrap_err().to_string();
            assert!(error.contains(said), "{body}: {error}");
        }
    }
}
