//! What is delivered: everything, once, as it came.

mod world;

use std::sync::Arc;
use tokio::time::Instant;
use trailhose::ingest::{Deadline, Deferred, Outcome};
use trailhose::ledger::model::row::Status;
use world::{Fault, INVOCATION, Wire, World, event, log, plain_log};

#[tokio::test]
async fn every_event_of_an_object_is_delivered_once_and_a_second_notice_delivers_nothing() {
    let world = World::default();
    let at = world.put("a", &log(&[event(1), event(2), event(3)]));
    let Outcome::Done(report) = world.ingest(&at).await else { panic!("not done") };
    assert_eq!((report.counts.seen, report.counts.delivered), (3, 3));
    assert_eq!(world.delivered(), [event(1), event(2), event(3)]);
    assert!(matches!(world.ingest(&at).await, Outcome::AlreadyDone));
    assert_eq!(world.delivered().len(), 3);
}

#[tokio::test]
async fn the_same_event_in_other_objects_is_delivered_once() {
    let world = World::default();
    let a = world.put("a", &log(&[event(1), event(2)]));
    let b = world.put("b", &log(&[event(2), event(3), event(2)]));
    world.ingest(&a).await;
    let Outcome::Done(report) = world.ingest(&b).await else { panic!("not done") };
    assert_eq!((report.counts.delivered, report.counts.duplicate, report.repeats), (1, 2, 1));
    assert_eq!(world.delivered(), [event(1), event(2), event(3)]);
}

#[tokio::test]
async fn an_event_owned_by_a_worker_in_flight_is_waited_for_and_one_owned_by_a_dead_one_is_helped() {
    let world = World::default();
    let a = world.put("a", &log(&[event(1), event(2)]));
    let b = world.put("b", &log(&[event(2), event(3)]));
    // A dies behind its claim: lease, fetch, pages, write_page.
    let wire = Arc::new(Wire::failing([(3, Fault::Die)]));
    assert!(matches!(world.ingest_over(&wire, &a).await, Outcome::Failed(_)));
    assert_eq!(wire.calls(), ["lease", "fetch", "pages", "write_page"]);
    let Outcome::Deferred(Deferred::OwnerInProgress { until }) = world.ingest(&b).await else { panic!("not put off") };
    assert_eq!(world.delivered(), [event(3)]);
    world.pass_until(until);
    let Outcome::Done(report) = world.ingest(&b).await else { panic!("not done") };
    assert_eq!(report.helped, 1);
    assert_eq!(world.delivered(), [event(3), event(2)]);
    // A comes back: its claim on the helped event is void, the other is still its to deliver.
    let Outcome::Done(report) = world.ingest(&a).await else { panic!("not done") };
    assert_eq!((report.counts.delivered, report.counts.duplicate), (1, 1));
    assert_eq!(world.delivered(), [event(3), event(2), event(1)]);
}

#[tokio::test]
async fn a_worker_whose_time_is_over_keeps_its_cursor_gives_its_lease_back_and_the_next_goes_on_there() {
    let world = World::with_lines_per_call(1);
    let at = world.put("a", &log(&[event(1), event(2), event(3)]));
    // The first dies behind the note of its first call.
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
async fn a_worker_whose_time_is_over_asks_for_no_further_piece() {
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
