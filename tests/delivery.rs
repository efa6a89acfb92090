//! Every event is delivered once and unchanged.

mod world;

use std::sync::Arc;
use tokio::time::Instant;
use trailhose::ingest::{Deadline, Deferred, Outcome};
use trailhose::ledger::model::row::Status;
use world::{Fault, INVOCATION, Wire, World, event, log, plain_log};

#[tokio::test]
async fn duplicate_notification_delivers_nothing() {
    let world = World::default();
    let at = world.put("a", &log(&[event(1), event(2), event(3)]));
    let Outcome::Done(report) = world.ingest(&at).await else { panic!("not done") };
    assert_eq!((report.counts.seen, report.counts.delivered), (3, 3));
    assert_eq!(world.delivered(), [event(1), event(2), event(3)]);
    assert!(matches!(world.ingest(&at).await, Outcome::AlreadyDone));
    assert_eq!(world.delivered().len(), 3);
}

#[tokio::test]
async fn event_in_several_objects_is_delivered_once() {
    let world = World::default();
    let a = world.put("a", &log(&[event(1), event(2)]));
    let b = world.put("b", &log(&[event(2), event(3), event(2)]));
    world.ingest(&a).await;
    let Outcome::Done(report) = world.ingest(&b).await else { panic!("not done") };
    assert_eq!((report.counts.delivered, report.counts.duplicate, report.repeats), (1, 2, 1));
    assert_eq!(world.delivered(), [event(1), event(2), event(3)]);
}

#[tokio::test]
async fn owner_in_progress_is_awaited_and_a_stalled_owner_is_helped() {
    let world = World::default();
    let a = world.put("a", &log(&[event(1), event(2)]));
    let b = world.put("b", &log(&[event(2), event(3)]));
    // A crashes after its claim: lease, fetch, pages, write_page.
    let wire = Arc::new(Wire::failing([(3, Fault::Die)]));
    assert!(matches!(world.ingest_over(&wire, &a).await, Outcome::Failed(_)));
    assert_eq!(wire.calls(), ["lease", "fetch", "pages", "write_page"]);
    let Outcome::Deferred(Deferred::OwnerInProgress { until }) = world.ingest(&b).await else { panic!("not deferred") };
    assert_eq!(world.delivered(), [event(3)]);
    world.pass_until(until);
    let Outcome::Done(report) = world.ingest(&b).await else { panic!("not done") };
    assert_eq!(report.helped, 1);
    assert_eq!(world.delivered(), [event(3), event(2)]);
    // A is retried: the helper has delivered one of its events, and it delivers the other.
    let Outcome::Done(report) = world.ingest(&a).await else { panic!("not done") };
    assert_eq!((report.counts.delivered, report.counts.duplicate), (1, 1));
    assert_eq!(world.delivered(), [event(3), event(2), event(1)]);
}

#[tokio::test]
async fn worker_out_of_time_releases_its_lease_and_the_next_resumes() {
    let world = World::with_lines_per_call(1);
    let at = world.put("a", &log(&[event(1), event(2), event(3)]));
    // The first worker crashes after the cursor write of its first call.
    let wire = Arc::new(Wire::failing([(5, Fault::Die)]));
    assert!(matches!(world.ingest_over(&wire, &at).await, Outcome::Failed(_)));
    assert_eq!(wire.calls().last(), Some(&"advance"));
    world.pass(INVOCATION.as_secs() as i64 + 61);

    let over = Deadline { stop: Instant::now(), end: Instant::now() + INVOCATION };
    let outcome = world.worker(&Arc::default()).object(&at, over).await;
    assert!(matches!(outcome, Outcome::Deferred(Deferred::OutOfTime)), "{outcome:?}");
    let row = world.store.contents().rows[&at.object().unwrap().id()].clone();
    assert_eq!((row.status, row.cursor, row.until, row.token), (Status::Open, 1, 0, None));
    assert_eq!(world.delivered(), [event(1)]);

    assert!(matches!(world.ingest(&at).await, Outcome::Done(_)));
    assert_eq!(world.delivered(), [event(1), event(2), event(3)]);
}

#[tokio::test]
async fn worker_out_of_time_fetches_no_further_chunk() {
    let events: Vec<_> = (0..50).map(event).collect();
    let bytes = plain_log(&events);
    let world = World { chunk_bytes: bytes.len() / 8, max_buffered_bytes: 0, ..World::default() };
    let (at, wire) = (world.put("a", &bytes), Arc::default());
    let over = Deadline { stop: Instant::now(), end: Instant::now() + INVOCATION };
    let outcome = world.worker(&wire).object(&at, over).await;
    assert!(matches!(outcome, Outcome::Deferred(Deferred::OutOfTime)), "{outcome:?}");
    assert_eq!(wire.calls(), ["lease", "fetch", "release"]);

    assert!(matches!(world.ingest(&at).await, Outcome::Done(_)));
    assert_eq!(world.delivered(), events);
}
