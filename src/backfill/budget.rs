//! The budget: a limit on the stored bytes that are enqueued per second. All units of a run that one worker processes
//! share one budget.

use super::DispatchError;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// An optional limit on bytes per second.
///
/// The first batch is sent at once. Each later batch waits until the bytes of the earlier batches are used up at this
/// rate: after a batch of 300 MB, a budget of 1 MB/s permits the next batch 300 s later. So a batch of any size is sent,
/// and the rate is exceeded by at most one batch.
#[derive(Debug, Default)]
pub struct Budget {
    bytes_per_second: Option<u64>,
    /// The earliest time of the next batch.
    next: Mutex<Option<Instant>>,
}

impl Budget {
    /// Creates a budget of this many bytes per second. 0 is treated as 1.
    pub fn of(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: Some(bytes_per_second.max(1)), next: Mutex::default() }
    }

    /// Creates a budget without a limit.
    pub fn unlimited() -> Self {
        Self::default()
    }

    /// Reserves `bytes` and returns when they may be sent.
    ///
    /// # Errors
    /// Reserves nothing if `stop` has passed, or if other batches use the budget until after `stop`.
    pub(crate) fn reserve(&self, bytes: u64, now: Instant, stop: Instant) -> Result<Instant, DispatchError> {
        if now >= stop {
            return Err(DispatchError::OutOfTime);
        }
        let Some(rate) = self.bytes_per_second else { return Ok(now) };
        // The time is written in one assignment, so it is valid even if another thread panicked.
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let at = next.map_or(now, |next| next.max(now));
        if at >= stop {
            return Err(DispatchError::BudgetUsed { until: at });
        }
        let duration = Duration::try_from_secs_f64(bytes as f64 / rate as f64).unwrap_or(Duration::MAX);
        // If the delay is too long to be represented, one day is enough: the worker stops before that.
        *next = Some(at.checked_add(duration).unwrap_or(at + Duration::from_secs(86_400)));
        Ok(at)
    }

    /// Returns the time until which the budget is used by earlier batches, if that is not before `stop`.
    pub(crate) fn used_until(&self, stop: Instant) -> Option<Instant> {
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        next.filter(|&next| next >= stop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_interval_exceeds_the_rate_by_more_than_one_batch(
            rate in 1u64..10_000,
            batches in proptest::collection::vec((0u64..50_000, 0u64..3_000), 1..40),
        ) {
            let budget = Budget::of(rate);
            let start = Instant::now();
            // Later than the longest sequence: 40 batches of 50,000 bytes at one byte per second take 2,000,000 s.
            let stop = start + Duration::from_secs(1 << 22);
            let mut now = start;
            let mut sent: Vec<(Instant, u64)> = Vec::new();
            for (bytes, pause) in batches {
                now += Duration::from_millis(pause);
                let at = budget.reserve(bytes, now, stop).unwrap();
                sent.push((at, bytes));
                now = at;
            }
            for first in 0..sent.len() {
                for last in first..sent.len() {
                    let seconds = (sent[last].0 - sent[first].0).as_secs_f64();
                    let bytes: u64 = sent[first..last].iter().map(|batch| batch.1).sum();
                    prop_assert!(bytes as f64 <= rate as f64 * seconds + 1.0);
                }
            }
        }
    }

    #[test]
    fn late_batch_reserves_nothing() {
        let budget = Budget::of(10);
        let now = Instant::now();
        let stop = now + Duration::from_secs(5);
        let until = now + Duration::from_secs(10);
        assert_eq!(budget.reserve(100, now, stop), Ok(now));
        assert_eq!(budget.reserve(1, now, stop), Err(DispatchError::BudgetUsed { until }));
        assert_eq!((budget.used_until(stop), budget.used_until(until + Duration::from_secs(1))), (Some(until), None));
        assert_eq!(budget.reserve(1, now, now + Duration::from_secs(60)), Ok(until));
        assert_eq!(Budget::unlimited().reserve(u64::MAX, now, stop), Ok(now));
        assert_eq!(Budget::unlimited().reserve(1, stop, stop), Err(DispatchError::OutOfTime));
        assert_eq!(budget.reserve(1, stop, stop), Err(DispatchError::OutOfTime));
    }
}
