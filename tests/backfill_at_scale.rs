//! On a bucket of many accounts, the backfill enqueues exactly the missing objects with few unnecessary list requests.
//! `benches/backfill.rs` does the same with a million objects and measures it.

mod synthetic_listing;

use std::sync::Arc;
use trailhose::listing::DayRange;

async fn assert_missing_objects_are_enqueued(keys: usize) {
    let day_range = DayRange::parse("2026-11-18", "2026-11-20").unwrap();
    let bucket = Arc::new(synthetic_listing::SyntheticListing::of(keys, day_range));
    let expected = bucket.expected();
    let ran = synthetic_listing::run(&bucket).await;
    assert_eq!(ran.enqueued, expected.missing);
    assert_eq!((ran.counts.listed, ran.counts.past_retention), (expected.keys, 0));
    assert_eq!(ran.counts.missing + ran.counts.done, expected.keys);
    let bound = (expected.pages + expected.prefixes) as f64 * 1.05;
    assert!(ran.requests as f64 <= bound, "{} requests, {bound} allowed", ran.requests);
}

#[tokio::test]
async fn missing_objects_of_10_000_are_enqueued() {
    assert_missing_objects_are_enqueued(10_000).await;
}

#[tokio::test]
async fn missing_objects_of_100_000_are_enqueued() {
    assert_missing_objects_are_enqueued(100_000).await;
}
