//! Budget: how many stored bytes a second are handed in, over every unit that shares it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A bound on bytes a second; or none.
///
/// What is handed in is paid for afterwards: the first batch goes at once, whatever its size, and the next one waits as
/// long as the first should have taken. A batch larger than a second's worth is thus late, not refused.
#[derive(Debug, Default)]
pub struct Budget {
    bytes_per_second: Option<u64>,
    /// When the next batch may go.
    next: Mutex<Option<Instant>>,
}

impl Budget {
    /// At most so many bytes a second; 0 counts as 1.
    pub fn of(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: Some(bytes_per_second.max(1)), next: Mutex::default() }
    }

    /// No bound.
    pub fn unlimited() -> Self {
        Self::default()
    }

    /// When `bytes` may go; nothing if that is not before `stop`, and then nothing is spent.
    pub fn reserve(&self, bytes: u64, now: Instant, stop: Instant) -> Option<Instant> {
        let Some(rate) = self.bytes_per_second else { return (now < stop).then_some(now) };
        // Written in one assignment: a panic elsewhere leaves a sound time behind.
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let at = next.map_or(now, |next| next.max(now));
        if at >= stop {
            return None;
        }
        let takes = Duration::try_from_secs_f64(bytes as f64 / rate as f64).unwrap_or(Duration::MAX);
        // A pause of centuries is one until the worker stops.
        *next = Some(at.checked_add(takes).unwrap_or(at + Duration::from_secs(86_400)));
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_stretch_of_time_sees_more_than_the_rate_and_one_batch(
            rate in 1u64..10_000,
            batches in proptest::collection::vec((0u64..50_000, 0u64..3_000), 1..40),
        ) {
            let budget = Budget::of(rate);
            let start = Instant::now();
            let stop = start + Duration::from_secs(1 << 20);
            let mut now = start;
            let mut gone: Vec<(Instant, u64)> = Vec::new();
            for (bytes, pause) in batches {
                now += Duration::from_millis(pause);
                let at = budget.reserve(bytes, now, stop).unwrap();
                gone.push((at, bytes));
                now = at;
            }
            for first in 0..gone.len() {
                for last in first..gone.len() {
                    let seconds = (gone[last].0 - gone[first].0).as_secs_f64();
                    let bytes: u64 = gone[first..last].iter().map(|batch| batch.1).sum();
                    prop_assert!(bytes as f64 <= rate as f64 * seconds + 1.0);
                }
            }
        }
    }

    #[test]
    fn what_would_go_too_late_spends_nothing() {
        let budget = Budget::of(10);
        let now = Instant::now();
        let stop = now + Duration::from_secs(5);
        assert_eq!(budget.reserve(100, now, stop), Some(now));
        assert_eq!(budget.reserve(1, now, stop), None);
        assert_eq!(budget.reserve(1, now, now + Duration::from_secs(60)), Some(now + Duration::from_secs(10)));
        assert_eq!(Budget::unlimited().reserve(u64::MAX, now, stop), Some(now));
        assert_eq!(Budget::unlimited().reserve(1, stop, stop), None);
    }
}
