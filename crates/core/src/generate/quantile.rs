//! Random numbers with measured distributions.

use fastrand::Rng;

/// A distribution, as pairs of rank (0 to 1,000,000) and value: `rank` of a million random numbers are less than the
/// value. Uses only integers, because the last bit of a logarithm differs between machines.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quantiles(pub(super) &'static [(u64, u64)]);

impl Quantiles {
    /// Returns a random number. It is uniform between two quantiles.
    pub(super) fn draw(self, rng: &mut Rng) -> u64 {
        let rank = rng.u64(0..1_000_000);
        let above = self.0.partition_point(|&(part, _)| part <= rank).clamp(1, self.0.len() - 1);
        let ((from, low), (to, high)) = (self.0[above - 1], self.0[above]);
        low + (high - low) * (rank - from) / (to - from).max(1)
    }
}

/// Bytes of an event: 1.2 kB in the median, 1.7 kB at the 90th and 2.4 kB at the 99th percentile, at most 256 kB.
/// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/WhatIsCloudTrail-Limits.html>
pub(super) const EVENT_BYTES: Quantiles = Quantiles(&[
    (0, 640),
    (100_000, 900),
    (500_000, 1_200),
    (900_000, 1_700),
    (990_000, 2_400),
    (998_500, 6_000),
    (999_500, 24_000),
    (1_000_000, MAX_EVENT_BYTES),
]);

/// Maximum bytes of an event, unless a trail is configured for larger events.
pub(super) const MAX_EVENT_BYTES: u64 = 256_000;

/// Events per file: 5 in the median, 17 at the 90th and 51 at the 99th percentile, 8.6 on average, at most 50,000.
pub(super) const FILE_EVENTS: Quantiles = Quantiles(&[
    (0, 1),
    (250_000, 2),
    (500_000, 5),
    (750_000, 10),
    (900_000, 17),
    (950_000, 27),
    (990_000, 51),
    (999_000, 80),
    (999_900, 300),
    (999_990, 3_000),
    (1_000_000, 50_000),
]);

/// Seconds from an event to the delivery of its file: three minutes in the median, at most ten minutes.
pub(super) const LATENCY: Quantiles = Quantiles(&[(0, 20), (500_000, 180), (950_000, 480), (1_000_000, 600)]);
