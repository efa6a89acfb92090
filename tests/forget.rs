//! Forget and retry: an object whose notes are taken back is delivered once more, whoever is or was at work on it, and
//! nothing of it or of those that rely on it is lost.

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

/// Two objects that share events, of two calls each.
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

async fn forget(world: &World, at: &ObjectRef) -> ReopenOutcome {
    ledger(world).forget(at.object().unwrap().id()).await.unwrap()
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
    panic!("no end");
}

#[tokio::test]
async fn a_forgotten_object_is_delivered_again_as_far_as_it_owns_its_events() {
    let (world, objects) = scene();
    let mut watch = Watch::new(&world, &objects);
    finish(&world, &objects, &mut watch).await;
    assert_eq!(world.delivered().len(), 6);
    assert!(matches!(forget(&world, &objects[1]).await, ReopenOutcome::Reopened(_)));
    finish(&world, &objects, &mut watch).await;
    let again = world.delivered().split_off(6);
    assert_eq!(again, [event(4), event(5)], "its own; what it shares is the first object's");
}

/// A worker that dies after its call, and a person who forgets the object then, at once or when the lease is over.
#[tokio::test]
async fn forgetting_what_a_dead_worker_left_loses_nothing_at_any_call() {
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
            match forget(&world, &objects[0]).await {
                ReopenOutcome::Leased(_) => {
                    under_lease += 1;
                    assert_eq!(world.store.contents().rows[&objects[0].object().unwrap().id()], before, "left as it was");
                }
                ReopenOutcome::Reopened(row) => assert_eq!((row.cursor, row.token, row.expires), (0, None, None)),
                other => panic!("{other:?}"),
            }
            finish(&world, &objects, &mut watch).await;
        }
    }
    assert!(under_lease > 4, "{under_lease}");
}

/// The worker is alive, and outlives its lease: it goes on with the token that was taken from it.
#[tokio::test]
async fn a_worker_that_goes_on_after_its_object_was_forgotten_notes_nothing_more() {
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
        assert!(matches!(forget(&world, &objects[0]).await, ReopenOutcome::Reopened(_)));
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

/// The object is quarantined, with events of it claimed, one call of it delivered, and another object waiting for it.
#[tokio::test]
async fn retry_after_a_quarantine_halfway_loses_nothing_whatever_the_first_worker_had_done() {
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
        // It cannot be read for a while.
        let key = &objects[0].key;
        let sound = world.bucket.objects.lock().unwrap().remove(key).unwrap();
        let outcome = world.ingest(&objects[0]).await;
        let aside = matches!(outcome, Outcome::Quarantined(_));
        assert!(aside || matches!(outcome, Outcome::AlreadyDone), "{outcome:?}");
        world.ingest(&objects[1]).await;
        world.bucket.objects.lock().unwrap().insert(key.clone(), sound);
        let retried = ledger(&world).retry(&objects[0].object().unwrap()).await.unwrap();
        assert_eq!(retried, aside, "call {call}");
        opened += usize::from(retried);
        finish(&world, &objects, &mut watch).await;
    }
    assert!(opened > 5, "{opened}");
}
