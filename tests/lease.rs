//! A worker that has lost its lease stops and writes nothing more.

mod world;

use std::sync::Arc;
use std::task::Poll;
use trailhose::ingest::{Deferred, IngestError, LEASE_MARGIN, Outcome};
use trailhose::ledger::LedgerError;
use world::{Fault, INVOCATION, Stepped, Wire, World, event, plain_log};

/// The calls after the lease by which a worker changes its row.
const NOTES: [&str; 5] = ["advance", "advance", "settle", "release", "complete"];

#[tokio::test]
async fn worker_with_a_lost_lease_does_not_change_the_row() {
    let mut refused = 0;
    for calls in 1.. {
        let world = World::with_lines_per_call(1);
        let at = world.put("a", &plain_log(&(1..=3).map(event).collect::<Vec<_>>()));
        let id = at.object().unwrap().id();
        let mut worker = Stepped::start(&world, &at);
        if worker.ends_by(calls) {
            break;
        }
        // The lease expires, and another worker takes it.
        world.pass(2_000);
        world.ingest_dying_at(1, &at).await;
        let row = world.store.contents().rows[&id].clone();
        let outcome = loop {
            if let Poll::Ready(outcome) = worker.step() {
                break outcome;
            }
            assert_eq!(world.store.contents().rows[&id], row, "after {:?}", worker.calls());
        };
        assert_eq!(world.store.contents().rows[&id], row, "after {:?}", worker.calls());
        assert!(matches!(outcome, Outcome::Failed(IngestError::Ledger(LedgerError::LeaseLost))), "{outcome:?}");
        // The refused call was the last.
        assert!(NOTES.contains(worker.calls().last().unwrap()), "{:?}", worker.calls());
        refused += 1;
    }
    assert!(refused > 5);
}

#[tokio::test]
async fn leased_object_is_deferred_until_the_lease_expires() {
    let world = World::default();
    let at = world.put("a", &plain_log(&[event(1)]));
    world.ingest_dying_at(1, &at).await;
    let Outcome::Deferred(Deferred::Leased { until }) = world.ingest(&at).await else { panic!("not deferred") };
    let now = world.now.load(std::sync::atomic::Ordering::SeqCst);
    world.pass(until - now);
    assert!(
        matches!(world.ingest(&at).await, Outcome::Deferred(Deferred::Leased { .. })),
        "in the last second of the lease"
    );
    world.pass(1);
    assert!(matches!(world.ingest(&at).await, Outcome::Done(_)));
}

#[tokio::test]
async fn lease_expires_a_minute_after_the_time_limit() {
    let world = World::default();
    let at = world.put("a", &plain_log(&[event(1)]));
    let now = world.now.load(std::sync::atomic::Ordering::SeqCst);
    world.ingest_dying_at(1, &at).await;
    let left = world.store.contents().rows[&at.object().unwrap().id()].until - now - LEASE_MARGIN;
    let invocation = i64::try_from(INVOCATION.as_secs()).unwrap();
    // The clock of the deadline runs, while the clock of the ledger is fixed.
    assert!((invocation - 30..=invocation).contains(&left), "{left} of {invocation} s");
    const { assert!(LEASE_MARGIN >= 60) };
}

#[tokio::test]
async fn owner_that_resumes_before_help_delivers_its_events() {
    for calls in 0.. {
        let world = World::default();
        let owner = world.put("owner", &plain_log(&[event(1)]));
        world.ingest_dying_at(3, &owner).await;
        world.pass(2_000);
        let at = world.put("meets it", &plain_log(&[event(1), event(2)]));
        let mut worker = Stepped::start(&world, &at);
        if worker.ends_by(calls) || worker.calls()[1..].contains(&"lease") {
            assert!(calls > 5, "the owner resumed at each of its helper's calls");
            break;
        }
        world.ingest_dying_at(1, &owner).await;
        let outcome = worker.finish();
        assert!(
            matches!(outcome, Outcome::Deferred(Deferred::OwnerInProgress { .. })),
            "{outcome:?} after {:?}",
            worker.calls()
        );
        assert_eq!(world.delivered(), [event(2)]);
    }
}

/// An event between two calls of a helper.
#[derive(Debug, Clone, Copy)]
enum Meanwhile {
    /// The owner resumes, records one of two calls, and fails.
    OwnerGoesOn,
    /// The owner resumes and finishes.
    OwnerIsDone,
    /// Another helper is first.
    AnotherHelps,
}

#[tokio::test]
async fn helper_delivers_only_pending_events_under_the_owners_lease() {
    use Meanwhile::{AnotherHelps, OwnerGoesOn, OwnerIsDone};
    let put = |world: &World, name: &str, numbers: &[u32]| {
        world.put(name, &plain_log(&numbers.iter().copied().map(event).collect::<Vec<_>>()))
    };
    for meanwhile in [OwnerGoesOn, OwnerIsDone, AnotherHelps] {
        for calls in 0.. {
            let world = World::with_lines_per_call(1);
            let owner = put(&world, "owner", &[1, 2]);
            world.ingest_dying_at(3, &owner).await;
            world.pass(2_000);
            let (at, other) = (put(&world, "helper", &[1, 2, 3]), put(&world, "other", &[1, 2, 4]));
            let mut worker = Stepped::start(&world, &at);
            if worker.ends_by(calls) || worker.calls()[1..].contains(&"lease") {
                assert!(calls > 5, "the event was tested at each of the helper's calls");
                break;
            }
            match meanwhile {
                OwnerGoesOn => {
                    let fails = Arc::new(Wire::failing([(5, Fault::Refuse)]));
                    world.ingest_over(&fails, &owner).await;
                    assert_eq!(fails.calls()[3..], ["deliver", "advance", "deliver", "release"]);
                }
                OwnerIsDone => assert!(matches!(world.ingest(&owner).await, Outcome::Done(_))),
                AnotherHelps => assert!(matches!(world.ingest(&other).await, Outcome::Done(_))),
            }
            worker.finish();
            let mut delivered = world.delivered();
            let all = delivered.len();
            delivered.sort();
            delivered.dedup();
            assert_eq!(delivered.len(), all, "{meanwhile:?}: repeated after {:?}", worker.calls());
            assert!([1, 2, 3].iter().all(|number| delivered.contains(&event(*number))), "{meanwhile:?}: lost");
        }
    }
}
