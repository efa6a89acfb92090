//! Numbers distributed as they were measured.

use fastrand::Rng;

/// A distribution by its quantiles: of a million drawn, so many are below the value. Whole numbers throughout, for the
/// logarithm of one machine is not to the last bit that of another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quantiles(pub(super) &'static [(u64, u64)]);

impl Quantiles {
    /// Draws one, evenly between two quantiles.
    pub(super) fn draw(self, rng: &mut Rng) -> u64 {
        let rank = rng.u64(0..1_000_000);
        let above = self.0.partition_point(|&(part, _)| part <= rank).clamp(1, self.0.len() - 1);
        let ((from, low), (to, high)) = (self.0[above - 1], self.0[above]);
        low + (high - low) * (rank - from) / (to - from).max(1)
    }
}

/// Bytes of an event: median 1.2 kB, 90th percentile 1.7, 99th 2.4, and the documented maximum.
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

/// The most an event has, unless a trail is set to deliver enlarged ones: 256 kB.
pub(super) const MAX_EVENT_BYTES: u64 = 256_000;

/// Events of a file: median 5, 90th percentile 17, 99th 51, 8.6 on average, tens of thousands at most.
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

/// Seconds from an event to the delivery of its file: up to ten minutes, three in the median.
pub(super) const LATENCY: Quantiles = Quantiles(&[(0, 20), (500_000, 180), (950_000, 480), (1_000_000, 600)]);
