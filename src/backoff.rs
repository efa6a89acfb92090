//! How long to wait before a call is made again: exponential, with full jitter. Pure.
//!
//! The formula is "full jitter" of Marc Brooker's *Exponential Backoff And Jitter*, AWS Architecture Blog, 2015
//! (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>): `random(0, min(cap, base * 2^n))`.
//! Of the variants compared there it needs the fewest calls when many clients meet at one throttled service, which is
//! what a hundred Lambda instances in front of one stream are.

use std::time::Duration;

/// Between which waits to choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The longest first wait; doubles each time.
    pub base: Duration,
    /// What no wait exceeds.
    pub cap: Duration,
}

/// The waits of one delivery.
pub struct Backoff<R> {
    pace: Pace,
    waits: u32,
    random: R,
}

impl<R: FnMut() -> f64> Backoff<R> {
    /// Waits at `pace`; `random` gives numbers from 0 to below 1.
    pub fn new(pace: Pace, random: R) -> Self {
        Self { pace, waits: 0, random }
    }

    /// The next wait.
    pub fn wait(&mut self) -> Duration {
        let doubled = 1u32.checked_shl(self.waits).and_then(|times| self.pace.base.checked_mul(times));
        self.waits += 1;
        doubled.map_or(self.pace.cap, |wait| wait.min(self.pace.cap)).mul_f64((self.random)().clamp(0.0, 1.0))
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
    fn the_longest_wait_doubles_up_to_the_cap() {
        let mut backoff = Backoff::new(PACE, || 1.0);
        let waits: Vec<u128> = (0..8).map(|_| backoff.wait().as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    }

    #[test]
    fn the_jitter_is_full_from_nothing_to_the_longest_wait() {
        let mut numbers = [0.0, 0.5, 0.25].into_iter();
        let mut backoff = Backoff::new(PACE, || numbers.next().unwrap_or_default());
        let waits: Vec<u128> = (0..3).map(|_| backoff.wait().as_millis()).collect();
        assert_eq!(waits, [0, 100, 100]);
    }

    #[test]
    fn no_number_of_waits_overflows() {
        let mut backoff = Backoff::new(PACE, || 1.0);
        assert!((0..100).all(|_| backoff.wait() <= PACE.cap));
        assert_eq!(backoff.wait(), PACE.cap);
    }
}
