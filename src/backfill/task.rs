//! Task: what a message on the backfill queue asks for. Pure.
//!
//! ```text
//! start ─▶ discover, one for each source ─▶ work, one for each unit ─▶ work, what was left …
//! ```
//!
//! A message says everything its worker needs, so that it can be lost with a worker and come back to another.

use super::run::{Request, Root, RunId, Terms};
use crate::listing::Counts;
use crate::listing::unit::Unit;
use serde::{Deserialize, Serialize};

/// What is to be done, and for which run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Task {
    /// A run is to begin.
    Start {
        /// Its name, which its sender chose. The same name twice is the same run.
        run: RunId,
        /// What is asked for.
        request: Request,
    },
    /// One source of a run is to be made into units.
    Discover {
        /// The run.
        run: RunId,
        /// The source.
        root: Root,
        /// For what to look.
        terms: Terms,
    },
    /// One unit of a run is to be worked.
    Work(Work),
}

/// One unit, and what of it is worked off already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Work {
    /// The run.
    pub run: RunId,
    /// The source it was found under: of two sources that overlap, both have this unit.
    pub root: Root,
    /// The unit.
    pub unit: Unit,
    /// What the attempts before this one did, up to the unit's cursor.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub so_far: Counts,
    /// At most how many stored bytes a second the run hands in, over all workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
}

/// A message that is no task.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a task of the backfill (start, discover or work): {0}")]
pub struct TaskError(String);

impl Task {
    /// Reads the body of a message.
    ///
    /// # Errors
    /// Says what is missing, unknown or contradictory, and where. The message must then not be acknowledged.
    pub fn parse(body: &str) -> Result<Self, TaskError> {
        let task: Self = serde_json::from_str(body).map_err(|error| TaskError(error.to_string()))?;
        if let Self::Work(work) = &task {
            work.unit.check().map_err(|error| TaskError(error.to_string()))?;
        }
        Ok(task)
    }

    /// The body of its message.
    pub fn body(&self) -> String {
        // Strings, numbers, sets of strings and plain enums: there is nothing in it that JSON could not hold.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The run it belongs to.
    pub fn run(&self) -> &RunId {
        match self {
            Self::Start { run, .. } | Self::Discover { run, .. } | Self::Work(Work { run, .. }) => run,
        }
    }
}

fn is_nothing(counts: &Counts) -> bool {
    *counts == Counts::default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::folder_level::Filters;
    use crate::listing::span::Span;
    use crate::listing::unit::{Act, Layout, Pick};

    fn root() -> Root {
        Root::parse("s3://logs/p/").unwrap()
    }

    fn terms() -> Terms {
        Terms {
            span: Span::parse("2026-11-01", "2026-11-04").unwrap(),
            filters: Filters { accounts: ["111122223333".to_owned()].into(), ..Filters::default() },
            pick: Pick::UnfinishedAndQuarantined,
            act: Act::Count,
            bytes_per_second: Some(1 << 20),
        }
    }

    fn work(prefix: &str, after: Option<&str>) -> Task {
        let Terms { span, filters, pick, act, bytes_per_second } = terms();
        let after = after.map(str::to_owned);
        let unit = Unit {
            bucket: "logs".to_owned(),
            prefix: prefix.to_owned(),
            layout: Layout::Days,
            span,
            filters,
            pick,
            act,
            after,
        };
        let so_far = Counts { listed: 9, done: 7, missing: 2, sent: 2, bytes: 700, ..Counts::default() };
        Task::Work(Work { run: RunId::at(0, 1), root: root(), unit, so_far, bytes_per_second })
    }

    #[test]
    fn every_task_is_read_back_from_its_message_the_same() {
        let request = Request { sources: vec![root()], dry_run: true, ..Request::default() };
        for task in [
            Task::Start { run: RunId::at(0, 1), request },
            Task::Start { run: RunId::at(0, 1), request: Request::default() },
            Task::Discover { run: RunId::at(0, 1), root: root(), terms: terms() },
            work("p/", Some("p/2026")),
            work("", None),
        ] {
            assert_eq!(Task::parse(&task.body()).unwrap(), task);
            assert_eq!(task.run(), &RunId::at(0, 1));
        }
    }

    #[test]
    fn a_start_is_as_short_as_a_person_would_write_it() {
        let start = r#"{"start":{"run":"monday","request":{"dry_run":true}}}"#;
        assert_eq!(Task::parse(start).unwrap().body(), start);
    }

    #[test]
    fn a_message_that_is_no_task_is_refused_with_the_reason() {
        let wrong = work("p", None).body();
        let astray = work("p/", Some("q/1")).body();
        for (body, said) in [
            (r#"{"stop":{"run":"a"}}"#, "unknown variant `stop`"),
            (r#"{"start":{"run":"a","request":{},"now":true}}"#, "unknown field `now`"),
            (r#"{"start":{"run":"a"}}"#, "missing field `request`"),
            (r#"{"start":{"run":"a b","request":{}}}"#, "run: expected a name"),
            (r#"{"Records":[]}"#, "unknown variant `Records`"),
            (&wrong, "does not end in a slash"),
            (&astray, "does not lie under prefix"),
        ] {
            let error = Task::parse(body).unwrap_err().to_string();
            assert!(error.contains(said), "{body}: {error}");
        }
    }
}
