//! `reset` and `retry`: a reset object is delivered again, also while a worker uses it, and no event of it or of
//! objects that share its events is lost.

mod world;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use trailhose::ingest::{Deferred, Outcome};
use trailhose::ledger::{Ledger, ReopenOutcome};
use trailhose::object::ObjectRef;
use world::check::Watch;
use world::{Fault, Gate, Wire, World, event, plain_log};

const ROUNDS: usize = 40;

/// Longer than any lease.
const LEASE: i64 = 2_000;

/// Creates two objects that share events, with two calls each.
fn scene() -> (World, [ObjectRef; 2]) {
    let world = World::with_lines_per_call(2);
    let put = |name: &str, numbers: std::ops::Range<u32>| {
        world.put(name, &plain_log(&numbers.map(event).collect::<Vec<_>>()))
    };
    let objects = [put("first", 0..4), put("second", 2..6)];
    (world, objects)
}

fn ledger(world: &World) -> Ledger {
    world.worker(&Arc::default()).ledger
}

async fn reset(world: &World, at: &ObjectRef) -> ReopenOutcome {
    ledger(world).reset(at.object().unwrap().id()).await.unwrap()
}

/// Redelivers until every object is done.
async fn finish(world: &World, objects: &[ObjectRef], watch: &mut Watch) {
    for _ in 0..ROUNDS {
        let mut done = 0;
        for at in objects {
            let outcome = world.ingest(at).await;
            watch.check(world).unwrap();
            match outcome {
                Outcome::Done(_) | Outcome::AlreadyDone => done += 1,
                Outcome::Deferred(Deferred::Leased { until } | Deferred::OwnerInProgress { until }) => {
                    world.pass_until(until)
                }
                other => panic!("{at}: {other:?}"),
            }
        }
        if done == objects.len() {
            return watch.check_end(world, &[]).unwrap();
        }
    }
    panic!("not done after {ROUNDS} rounds");
}

#[tokio::test]
async fn reset_object_delivers_its_own_events_again() {
    let (world, objects) = scene();
    let mut watch = Watch::new(&world, &objects);
    finish(&world, &objects, &mut watch).await;
    assert_eq!(world.delivered().len(), 6);
    assert!(matches!(reset(&world, &objects[1]).await, ReopenOutcome::Reopened(_)));
    finish(&world, &objects, &mut watch).await;
    let again = world.delivered().split_off(6);
    assert_eq!(again, [event(4), event(5)], "only its own events; the first object owns the shared ones");
}

/// A worker crashes after a call, and the object is reset immediately or after the lease has expired.
#[tokio::test]
async fn reset_after_a_crash_at_any_call_loses_nothing() {
    let mut under_lease = 0;
    for pass in [0, LEASE] {
        for call in 0.. {
            let (world, objects) = scene();
            let mut watch = Watch::new(&world, &objects);
            world.ingest(&objects[1]).await;
            let wire = Arc::new(Wire::failing([(call, Fault::Die)]));
            world.ingest_over(&wire, &objects[0]).await;
            if !wire.is_dead() {
                break;
            }
            world.pass(pass);
            let before = world.store.contents().rows[&objects[0].object().unwrap().id()].clone();
            match reset(&world, &objects[0]).await {
                ReopenOutcome::Leased(_) => {
                    under_lease += 1;
                    assert_eq!(world.store.contents().rows[&objects[0].object().unwrap().id()], before, "unchanged");
                }
                ReopenOutcome::Reopened(row) => assert_eq!((row.cursor, row.token, row.expires), (0, None, None)),
                other => panic!("{other:?}"),
            }
            finish(&world, &objects, &mut watch).await;
        }
    }
    assert!(under_lease > 4, "{under_lease}");
}

/// A worker outlives its lease and continues with its old token after the reset.
#[tokio::test]
async fn worker_of_a_reset_object_writes_nothing_more() {
    let mut stopped = 0;
    for call in 1.. {
        let (world, objects) = scene();
        let mut watch = Watch::new(&world, &objects);
        let gate = Arc::<Gate>::default();
        let wire = Arc::new(Wire::behind(&gate, []));
        let mut run: Pin<Box<dyn Future<Output = Outcome> + '_>> = Box::pin(world.ingest_over(&wire, &objects[0]));
        let mut poll = || run.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let mut ended = false;
        while wire.calls().len() < call && !ended {
            gate.grant();
            while gate.is_granted() && !ended {
                ended = poll().is_ready();
            }
        }
        if ended {
            assert!(call > 6, "{:?}", wire.calls());
            break;
        }
        world.pass(LEASE);
        assert!(matches!(reset(&world, &objects[0]).await, ReopenOutcome::Reopened(_)));
        let outcome = loop {
            gate.grant();
            if let Poll::Ready(outcome) = poll() {
                break outcome;
            }
        };
        assert!(!matches!(outcome, Outcome::Done(_)), "call {call}: {outcome:?}");
        drop(run);
        let row = world.store.contents().rows[&objects[0].object().unwrap().id()].clone();
        assert_eq!((row.cursor, row.status.as_str()), (0, "open"), "call {call}");
        watch.check(&world).unwrap();
        stopped += 1;
        finish(&world, &objects, &mut watch).await;
    }
    assert!(stopped > 5, "{stopped}");
}

/// The object is quarantined after its claims and one delivered call, while another object waits for it.
#[tokio::test]
async fn retry_after_a_quarantine_at_any_call_loses_nothing() {
    let mut opened = 0;
    for call in 0.. {
        let (world, objects) = scene();
        let mut watch = Watch::new(&world, &objects);
        let wire = Arc::new(Wire::failing([(call, Fault::Die)]));
        world.ingest_over(&wire, &objects[0]).await;
        if !wire.is_dead() {
            break;
        }
        world.pass(LEASE);
        // The object is temporarily unreadable.
        let key = &objects[0].key;
        let sound = world.bucket.objects.lock().unwrap().remove(key).unwrap();
        let outcome = world.ingest(&objects[0]).await;
        let quarantined = matches!(outcome, Outcome::Quarantined(_));
        assert!(quarantined || matches!(outcome, Outcome::AlreadyDone), "{outcome:?}");
        world.ingest(&objects[1]).await;
        world.bucket.objects.lock().unwrap().insert(key.clone(), sound);
        let retried = ledger(&world).retry(&objects[0].object().unwrap()).await.unwrap();
        assert_eq!(retried, quarantined, "call {call}");
        opened += usize::from(retried);
        finish(&world, &objects, &mut watch).await;
    }
    assert!(opened > 5, "{opened}");
}
