//! Exponential backoff with full jitter.
//!
//! The formula is "full jitter" of Marc Brooker's *Exponential Backoff And Jitter*, AWS Architecture Blog, 2015
//! (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>): `random(0, min(cap, base * 2^n))`.
//! Of the variants compared there, it needs the fewest calls when many clients use one throttled service, such as a
//! hundred Lambda instances and one stream.

use std::time::Duration;

/// The limits of the waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The maximum of the first wait. The maximum doubles with each further wait, up to `cap`.
    pub base: Duration,
    /// The maximum of every wait.
    pub cap: Duration,
}

impl Pace {
    /// Returns the wait before retry number `retry`, which starts at 0. `random` is a number from 0 to 1.
    pub(crate) fn wait(self, retry: u32, random: f64) -> Duration {
        let doubled = 1u32.checked_shl(retry).and_then(|times| self.base.checked_mul(times));
        doubled.map_or(self.cap, |wait| wait.min(self.cap)).mul_f64(random.clamp(0.0, 1.0))
    }
}

/// Returns how long a stored wait continues. `until` and `now` are in milliseconds since 1970. A wait that would continue
/// for more than `longest` counts as over: it was stored while the clock was ahead.
#[cfg(any(feature = "detection", feature = "forward"))]
pub(crate) fn remaining_wait(until: i64, now: i64, longest: Duration) -> Duration {
    let remaining = Duration::from_millis(u64::try_from(until.saturating_sub(now)).unwrap_or(0));
    if remaining > longest { Duration::ZERO } else { remaining }
}

/// The sequence of waits between the retries of one operation.
pub(crate) struct Backoff<R> {
    pace: Pace,
    waits: u32,
    random: R,
}

impl<R: FnMut() -> f64> Backoff<R> {
    /// Creates a sequence within `pace`. `random` returns numbers from 0 (inclusive) to 1 (exclusive).
    pub(crate) fn new(pace: Pace, random: R) -> Self {
        Self { pace, waits: 0, random }
    }

    /// Returns the next wait.
    pub(crate) fn wait(&mut self) -> Duration {
        let wait = self.pace.wait(self.waits, (self.random)());
        self.waits += 1;
        wait
    }
}

impl<R> std::fmt::Debug for Backoff<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backoff").field("pace", &self.pace).field("waits", &self.waits).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { base: Duration::from_millis(100), cap: Duration::from_millis(5_000) };

    #[test]
    fn maximum_wait_doubles_up_to_the_cap() {
        let mut backoff = Backoff::new(PACE, || 1.0);
        let waits: Vec<u128> = (0..8).map(|_| backoff.wait().as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    }

    #[test]
    fn jitter_ranges_from_zero_to_the_maximum_wait() {
        let mut numbers = [0.0, 0.5, 0.25].into_iter();
        let mut backoff = Backoff::new(PACE, || numbers.next().unwrap_or_default());
        let waits: Vec<u128> = (0..3).map(|_| backoff.wait().as_millis()).collect();
        assert_eq!(waits, [0, 100, 100]);
    }

    #[cfg(any(feature = "detection", feature = "forward"))]
    #[test]
    fn stored_wait_beyond_the_longest_one_is_over() {
        let (hour, longest) = (3_600_000, Duration::from_secs(3_600));
        for (until, now, remaining) in
            [(0, 5, 0), (5, 5, 0), (7, 5, 2), (5 + hour, 5, 3_600_000), (6 + hour, 5, 0), (i64::MAX, i64::MIN, 0)]
        {
            assert_eq!(remaining_wait(until, now, longest).as_millis(), remaining, "{until} {now}");
        }
    }

    #[test]
    fn many_waits_do_not_overflow() {
        let mut backoff = Backoff::new(PACE, || 1.0);
        assert!((0..100).all(|_| backoff.wait() <= PACE.cap));
        assert_eq!(backoff.wait(), PACE.cap);
    }
}
