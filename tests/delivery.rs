//! Every event is delivered once and unchanged.

mod world;

use std::collections::HashSet;
use std::sync::Arc;
use tokio::time::Instant;
use trailhose::ingest::{Deadline, Deferred, IngestError, Outcome};
use trailhose::ledger::model::row::Status;
use trailhose::pack::LinesPerRecord;
use trailhose::sink::SinkError;
use world::{Fault, INVOCATION, Wire, World, event, log, long_event, plain_log};

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

/// One record of a call is refused until the deadline, in every attempt.
#[tokio::test]
async fn refused_record_does_not_repeat_the_acknowledged_rest_of_its_call() {
    for refused in 1..=9 {
        let mut world = World::default();
        world.limits.lines = LinesPerRecord::One;
        let at = world.put("a", &log(&(1..=9).map(event).collect::<Vec<_>>()));
        world.sink.refused.lock().unwrap().insert(event(refused));
        let others: Vec<String> = (1..=9).filter(|number| *number != refused).map(event).collect();
        for attempt in 1..=8 {
            let outcome = world.ingest(&at).await;
            assert!(matches!(outcome, Outcome::Failed(IngestError::Sink(SinkError::OutOfTime { .. }))), "{outcome:?}");
            assert_eq!(world.delivered(), others, "after attempt {attempt}, without event {refused}");
        }
        // Another object contains the same events and helps. The same record is refused.
        let copy = world.put("copy", &log(&(1..=10).map(event).collect::<Vec<_>>()));
        for _ in 0..2 {
            assert!(matches!(world.ingest(&copy).await, Outcome::Failed(_)));
            assert_eq!(
                world.delivered(),
                [others.clone(), vec![event(10)]].concat(),
                "helped, without event {refused}"
            );
        }
        world.sink.refused.lock().unwrap().clear();
        let Outcome::Done(report) = world.ingest(&at).await else { panic!("not done") };
        assert_eq!((report.counts.seen, report.counts.delivered), (9, 9));
        assert!(matches!(world.ingest(&copy).await, Outcome::Done(_)));
        assert_eq!(world.delivered(), [others, vec![event(10), event(refused)]].concat());
        let row = world.store.contents().rows[&at.object().unwrap().id()].clone();
        assert!(row.status == Status::Done && row.acknowledged.is_empty());
    }
}

/// The same for an object of several calls. The second call is refused in part.
#[tokio::test]
async fn partial_call_of_a_large_object_is_resumed_and_helped() {
    for refused in 4..=6 {
        for helped in [false, true] {
            let mut world = World::with_lines_per_call(3);
            world.limits.lines = LinesPerRecord::One;
            let at = world.put("a", &log(&(1..=8).map(event).collect::<Vec<_>>()));
            world.sink.refused.lock().unwrap().insert(event(refused));
            let before: Vec<String> = (1..=6).filter(|number| *number != refused).map(event).collect();
            for _ in 0..3 {
                assert!(matches!(world.ingest(&at).await, Outcome::Failed(_)));
            }
            // The retries continue with the rest of the object only after the refused record.
            let delivered = world.delivered();
            assert_eq!(delivered[..5], before, "without event {refused}");
            world.sink.refused.lock().unwrap().clear();
            if helped {
                let copy = world.put("copy", &log(&(1..=8).rev().map(event).collect::<Vec<_>>()));
                assert!(matches!(world.ingest(&copy).await, Outcome::Done(_)));
            }
            assert!(matches!(world.ingest(&at).await, Outcome::Done(_)));
            let mut delivered = world.delivered();
            delivered.sort();
            assert_eq!(delivered, (1..=8).map(event).collect::<Vec<_>>(), "without event {refused}, helped: {helped}");
        }
    }
}

/// Seventy owners crashed after their claims. One object contains an event of each.
#[tokio::test]
async fn any_number_of_stalled_owners_is_helped_in_one_attempt() {
    const OWNERS: u32 = 70;
    let world = World::default();
    for number in 0..OWNERS {
        let owner = world.put(&format!("owner{number:03}"), &log(&[event(number)]));
        world.ingest_dying_at(3, &owner).await;
    }
    world.pass(2_000);
    let all: Vec<String> = (0..=OWNERS).map(event).collect();
    let (at, wire) = (world.put("meets them", &log(&all)), Arc::default());
    let outcome = world.ingest_over(&wire, &at).await;
    let Outcome::Done(report) = outcome else { panic!("{outcome:?}") };
    assert_eq!((report.counts.delivered, report.helped), (71, 70));
    let mut delivered = world.delivered();
    delivered.sort();
    assert_eq!(delivered, all);
    // Each owner is leased, its page is read under that lease and again before the mark, and it is released.
    let calls = wire.calls();
    let count = |name| calls.iter().filter(|call| **call == name).count();
    assert_eq!((count("pages"), count("lease"), count("fetch")), (2 * 70 + 3, 70 + 1, 1), "{calls:?}");
}

/// One owner is in progress, and another one is stalled: the stalled one is helped before the object is deferred.
#[tokio::test]
async fn stalled_owner_is_helped_while_another_owner_is_in_progress() {
    let mut stalled_is_first = HashSet::new();
    for number in 0..8 {
        let world = World::default();
        let stalled = world.put(&format!("stalled{number}"), &log(&[event(2)]));
        world.ingest_dying_at(3, &stalled).await;
        world.pass(2_000);
        let in_progress = world.put(&format!("in progress{number}"), &log(&[event(1)]));
        world.ingest_dying_at(3, &in_progress).await;
        let at = world.put("meets both", &log(&[event(1), event(2), event(3)]));
        assert!(matches!(world.ingest(&at).await, Outcome::Deferred(Deferred::OwnerInProgress { .. })));
        assert_eq!(world.delivered(), [event(3), event(2)]);
        stalled_is_first.insert(stalled.object().unwrap().id() < in_progress.object().unwrap().id());
    }
    assert_eq!(stalled_is_first.len(), 2, "owners are visited in the order of their IDs, and both orders occur");
}

/// A helper whose own call is acknowledged in part marks that part, so that no other attempt repeats it.
#[tokio::test]
async fn acknowledged_part_of_a_helpers_call_is_marked() {
    let mut world = World::default();
    world.limits.lines = LinesPerRecord::One;
    let owner = world.put("owner", &log(&(1..=3).map(event).collect::<Vec<_>>()));
    world.ingest_dying_at(3, &owner).await;
    world.pass(2_000);
    world.sink.refused.lock().unwrap().insert(event(1));
    let helper = world.put("helper", &log(&(1..=3).map(event).collect::<Vec<_>>()));
    for _ in 0..3 {
        assert!(matches!(world.ingest(&helper).await, Outcome::Failed(_)));
        assert_eq!(world.delivered(), [event(2), event(3)]);
    }
    world.sink.refused.lock().unwrap().clear();
    let Outcome::Done(report) = world.ingest(&owner).await else { panic!("not done") };
    assert_eq!((report.counts.delivered, report.counts.duplicate), (1, 2));
    assert!(matches!(world.ingest(&helper).await, Outcome::Done(_)));
    assert_eq!(world.delivered(), [event(2), event(3), event(1)]);
}

/// An attempt stores an oversize event and crashes. The next attempt does not deliver the event again, and still counts it
/// as oversize.
#[tokio::test]
async fn oversize_event_of_an_earlier_attempt_is_counted() {
    let mut world = World::with_short_records();
    world.limits.call_records = 1;
    world.limits.lines = LinesPerRecord::One;
    let at = world.put("a", &log(&[long_event(1), event(2), event(3)]));
    // The first attempt crashes after the cursor write of its first call.
    let wire = Arc::new(Wire::failing([(6, Fault::Die)]));
    assert!(matches!(world.ingest_over(&wire, &at).await, Outcome::Failed(_)));
    assert_eq!(wire.calls().last(), Some(&"advance"), "{:?}", wire.calls());
    world.pass(2_000);
    let Outcome::Done(report) = world.ingest(&at).await else { panic!("not done") };
    assert_eq!((report.counts.seen, report.counts.oversize, report.counts.delivered), (3, 1, 2));
    assert_eq!((world.delivered().len(), world.sink.oversize.lock().unwrap().len()), (3, 1));
}

/// A helper delivers an oversize event and another event of a stalled owner.
#[tokio::test]
async fn oversize_event_that_a_helper_delivers_is_counted() {
    let world = World::with_short_records();
    let owner = world.put("owner", &log(&[long_event(1), event(2)]));
    world.ingest_dying_at(3, &owner).await;
    world.pass(2_000);
    let helper = world.put("helper", &log(&[long_event(1), event(2), event(3)]));
    let Outcome::Done(report) = world.ingest(&helper).await else { panic!("not done") };
    assert_eq!((report.counts.oversize, report.counts.delivered, report.counts.duplicate), (1, 2, 0));
    assert_eq!(report.helped, 2);
}
