//! Compares the clock with known times before anything is deleted because of its age. A clock that is years ahead would otherwise
//! delete everything.

use crate::follow::FollowError;
use crate::sink::jsonl::CommittedSegments;
use crate::state::{StateDatabase, StateError};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::fmt;

/// The time in seconds by which the clock can be ahead of the last known time.
const MAX_AHEAD: i64 = 45 * 86_400;

/// The difference in seconds from which a time is stored again.
const STORED_EVERY: u64 = 3_600;

/// What a retention deletes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetentionTarget {
    /// Delivered files.
    Files,
    /// Findings and sent alerts.
    Findings,
}

impl RetentionTarget {
    /// Returns the name under which the time of its last run is stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Findings => "findings",
        }
    }
}

/// The clock is more than 45 days ahead of the last known time. Its text names both, and what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockAhead {
    target: RetentionTarget,
    now: i64,
    known: i64,
}

impl fmt::Display for ClockAhead {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |second| {
            jiff::Timestamp::from_second(second).map_or_else(|_| format!("second {second}"), |time| time.to_string())
        };
        write!(
            formatter,
            "the clock is at {}, more than 45 days after {}, which is the day of the newest delivered event or the last time at \
             which old {} were deleted. Nothing was deleted: correct the clock. If it is correct, the next run after newer events are \
             delivered deletes them",
            text(self.now),
            text(self.known),
            self.target.name()
        )?;
        match self.target {
            RetentionTarget::Files => formatter.write_str("; or use `trailhose prune`, which asks"),
            RetentionTarget::Findings => Ok(()),
        }
    }
}

/// Returns whether the clock is too far ahead to delete anything because of its age. If not, durably records `now` as the time of
/// this retention run. `now` is in seconds since 1970.
///
/// # Errors
/// Errors of the record and of the state database.
pub fn check_clock(
    target: RetentionTarget,
    segments: &CommittedSegments,
    state: &StateDatabase,
    now: i64,
) -> Result<Option<ClockAhead>, FollowError> {
    Ok(check(target, segments.newest_day()?, state, now)?)
}

fn check(
    target: RetentionTarget,
    newest: Option<Date>,
    state: &StateDatabase,
    now: i64,
) -> Result<Option<ClockAhead>, StateError> {
    let last = state.retention_run(target.name())?;
    let newest = newest.and_then(|day| day.to_zoned(TimeZone::UTC).ok()).map(|start| start.timestamp().as_second());
    // Without a known time, there is nothing to compare with, and the clock is not recorded: it can be wrong.
    let Some(known) = last.max(newest) else { return Ok(None) };
    if now.saturating_sub(known) > MAX_AHEAD {
        return Ok(Some(ClockAhead { target, now, known }));
    }
    if last.is_none_or(|last| now.abs_diff(last) >= STORED_EVERY) {
        state.record_retention_run(target.name(), now)?;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::STATE_FILE;
    use jiff::civil::date;

    const DAY: i64 = 86_400;

    fn second(day: Date) -> i64 {
        day.to_zoned(TimeZone::UTC).unwrap().timestamp().as_second()
    }

    #[test]
    fn clock_that_is_ahead_of_every_known_time_deletes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDatabase::open(&folder.path().join(STATE_FILE)).unwrap();
        let (newest, target) = (date(2026, 11, 27), RetentionTarget::Files);
        let now = second(newest) + DAY;
        let check = |newest, now| check(target, newest, &state, now).unwrap();
        // The first run of an empty folder has no known time, and does not trust its clock later.
        assert_eq!(check(None, now + 4_100 * DAY), None);
        assert_eq!(state.retention_run("files").unwrap(), None);
        let ahead = check(Some(newest), now + 4_100 * DAY).unwrap();
        let text = ahead.to_string();
        for part in ["2038-02-18T00:00:00Z", "2026-11-27T00:00:00Z", "Nothing was deleted", "trailhose prune"] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(state.retention_run("files").unwrap(), None, "a wrong clock is not recorded");
        assert_eq!(check(Some(newest), now), None);
        assert_eq!(state.retention_run("files").unwrap(), Some(now));
        assert!(check(Some(newest), now + 4_100 * DAY).is_some());
        // A run is known although no event is delivered any more.
        assert_eq!(check(Some(newest), now + 44 * DAY), None);
        assert_eq!(check(None, now + 88 * DAY), None);
        // The last run of files is not one of findings.
        assert!(super::check(RetentionTarget::Findings, Some(newest), &state, now + 88 * DAY).unwrap().is_some());
    }

    #[test]
    fn retention_continues_after_a_long_pause_when_newer_events_are_delivered() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDatabase::open(&folder.path().join(STATE_FILE)).unwrap();
        let before = date(2026, 9, 1);
        let check = |newest, now| check(RetentionTarget::Findings, Some(newest), &state, now).unwrap();
        assert_eq!(check(before, second(before)), None);
        let after = date(2026, 10, 31);
        assert!(check(before, second(after)).is_some(), "60 days later, before the first round");
        assert_eq!(check(after, second(after)), None);
        // A clock that is corrected is recorded, too.
        assert_eq!(check(after, second(after) - 3 * DAY), None);
        assert_eq!(state.retention_run("findings").unwrap(), Some(second(after) - 3 * DAY));
    }
}
