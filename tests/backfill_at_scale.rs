//! What the backfill costs on a bucket of many accounts: exactly what is missing is handed in, and hardly a list request is
//! made in vain. `benches/backfill.rs` does the same with a million objects, and measures.

mod synthetic_listing;

use std::sync::Arc;
use trailhose::listing::Span;

async fn of_a_vast_bucket_exactly_the_missing_are_handed_in(keys: usize) {
    let span = Span::parse("2026-11-18", "2026-11-20").unwrap();
    let bucket = Arc::new(synthetic_listing::SyntheticListing::of(keys, span));
    let expected = bucket.expected();
    let ran = synthetic_listing::run(&bucket).await;
    assert_eq!(ran.enqueued, expected.missing);
    assert_eq!((ran.counts.listed, ran.counts.forgotten), (expected.keys, 0));
    assert_eq!(ran.counts.missing + ran.counts.done, expected.keys);
    let bound = (expected.pages + expected.prefixes) as f64 * 1.05;
    assert!(ran.requests as f64 <= bound, "{} requests, {bound} allowed", ran.requests);
}

#[tokio::test]
async fn of_ten_thousand_objects_exactly_the_missing_are_handed_in() {
    of_a_vast_bucket_exactly_the_missing_are_handed_in(10_000).await;
}

#[tokio::test]
async fn of_a_hundred_thousand_objects_exactly_the_missing_are_handed_in() {
    of_a_vast_bucket_exactly_the_missing_are_handed_in(100_000).await;
}
