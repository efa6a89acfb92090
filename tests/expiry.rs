//! An expired page counts as absent before it is deleted, and its events are claimed again.

mod world;

use async_trait::async_trait;
use std::sync::Arc;
use std::task::Poll;
use trailhose::ingest::{Deadline, Ingest, Outcome};
use trailhose::ledger::Ledger;
use trailhose::ledger::model::page::{Owner, Page, PageName, Version};
use trailhose::ledger::model::row::{Change, Guard, Row};
use trailhose::ledger::store::memory::Memory;
use trailhose::ledger::store::{Store, StoreError, WriteError};
use trailhose::object::{Object, ObjectId, ObjectRef};
use world::{INVOCATION, Stepped, World, event, plain_log};

const DAY: i64 = 86_400;
const KEEP: i64 = 10 * DAY;

fn world() -> World {
    World { keep: KEEP, ..World::with_lines_per_call(1) }
}

/// Stores an object of these events, whose worker crashes at this call.
async fn dies_at(world: &World, name: &str, numbers: impl IntoIterator<Item = u32>, call: usize) -> ObjectRef {
    let at = world.put(name, &plain_log(&numbers.into_iter().map(event).collect::<Vec<_>>()));
    world.ingest_dying_at(call, &at).await;
    at
}

fn only_page(world: &World) -> Page {
    let kept = world.store.contents();
    assert_eq!(kept.pages.len(), 1);
    kept.pages.values().next().unwrap().clone()
}

fn owners(world: &World) -> Vec<Owner> {
    only_page(world).entries.values().map(|entry| entry.owner).collect()
}

#[tokio::test]
async fn event_granted_below_the_cursor_moves_the_cursor_back() {
    let world = world();
    // The owner of the first event crashes and is never retried. Two other events are delivered before the second
    // crash.
    dies_at(&world, "never returns", [1], 3).await;
    let at = dies_at(&world, "returns", 1..=4, 7).await;
    assert_eq!(world.delivered(), [event(2), event(3)]);
    assert_eq!(world.store.contents().rows[&at.object().unwrap().id()].cursor, 3);
    world.pass(KEEP + 1);
    assert!(matches!(world.ingest(&at).await, Outcome::Done(_)));
    assert!(world.delivered().contains(&event(1)), "{:?}", world.delivered());
}

#[tokio::test]
async fn expired_page_counts_as_absent() {
    let world = world();
    dies_at(&world, "never returns", [1], 3).await;
    world.pass(KEEP + 1);
    let at = world.put("later", &plain_log(&[event(1)]));
    let Outcome::Done(report) = world.ingest(&at).await else { panic!("not done") };
    assert_eq!((report.counts.delivered, report.helped), (1, 0), "claimed again, not helped");
    assert_eq!(owners(&world), [Owner::Object(at.object().unwrap().id())]);
}

#[tokio::test]
async fn page_that_expires_soon_is_extended() {
    for earlier in [false, true] {
        let world = world();
        let at = world.put("earlier", &plain_log(&[event(1)]));
        assert!(matches!(world.ingest(&at).await, Outcome::Done(_)));
        // Slightly more and slightly less than a day before the expiry.
        world.pass(KEEP - DAY - if earlier { 60 } else { -60 });
        let before = only_page(&world);
        let at = world.put("later", &plain_log(&[event(1), event(1)]));
        let Outcome::Done(report) = world.ingest(&at).await else { panic!("not done") };
        assert_eq!(report.counts.duplicate, 2);
        let after = only_page(&world);
        if earlier {
            assert_eq!(after, before, "nothing to write");
        } else {
            assert_eq!(after.expires, before.expires + KEEP - DAY + 60);
        }
    }
}

#[tokio::test]
async fn helper_does_not_mark_an_expired_page() {
    let world = world();
    let owner = dies_at(&world, "owner", [1], 3).await;
    world.pass(2_000);
    // The helper delivers and crashes before its mark. Its own claim had nothing to add.
    let at = dies_at(&world, "helper", [1, 2], 10).await;
    world.pass(KEEP + 1);
    for at in [&owner, &at] {
        assert!(matches!(world.ingest(at).await, Outcome::Done(_)));
    }
    for number in [1, 2] {
        assert!(world.delivered().contains(&event(number)));
    }
    let owners = owners(&world);
    assert!(!owners.is_empty() && !owners.contains(&Owner::Delivered), "an expired page is not marked: {owners:?}");
}

#[tokio::test]
async fn entry_deleted_or_expired_during_work_is_claimed_again() {
    for vanishes in [true, false] {
        let world = world();
        dies_at(&world, "never returns", [1], 3).await;
        world.pass(2_000);
        let at = world.put("meets it", &plain_log(&[event(1), event(2)]));
        let mut worker = Stepped::start(&world, &at);
        let mut happened = false;
        let outcome = loop {
            if let Poll::Ready(outcome) = worker.step() {
                break outcome;
            }
            if !happened && worker.calls().contains(&"settle") {
                happened = true;
                match vanishes {
                    true => world.store.contents().pages.clear(),
                    false => world.pass(KEEP + 1),
                }
            }
        };
        assert!(happened && matches!(outcome, Outcome::Done(_)), "{outcome:?}");
        assert!(world.delivered().contains(&event(1)), "{:?}", worker.calls());
        assert_eq!(owners(&world), [Owner::Object(at.object().unwrap().id()); 2]);
    }
}

#[tokio::test]
async fn entry_claimed_by_another_during_work_is_not_a_duplicate() {
    for calls in 0.. {
        let world = world();
        dies_at(&world, "never returns", [1], 3).await;
        world.pass(2_000);
        let at = world.put("meets it", &plain_log(&[event(1), event(2)]));
        let mut worker = Stepped::start(&world, &at);
        if worker.ends_by(calls) {
            assert!(calls > 8, "the change was tested at each of the worker's calls");
            break;
        }
        // The page expires, and a worker claims its events and crashes like the first owner.
        world.pass(KEEP + 1);
        world.store.contents().pages.clear();
        dies_at(&world, "claims it anew", [1], 3).await;
        let outcome = worker.finish();
        let arrived = world.delivered().contains(&event(1));
        assert!(arrived || !matches!(outcome, Outcome::Done(_)), "{outcome:?} after {:?}", worker.calls());
    }
}

/// A store with slow page writes, so that other objects wait for the same page.
#[derive(Debug)]
struct Slow(Arc<Memory>);

#[async_trait]
impl Store for Slow {
    async fn change_row(&self, object: &Object, guard: Guard, change: &Change) -> Result<Row, WriteError<Row>> {
        self.0.change_row(object, guard, change).await
    }

    async fn change_row_by_id(&self, id: ObjectId, guard: Guard, change: &Change) -> Result<Row, WriteError<Row>> {
        self.0.change_row_by_id(id, guard, change).await
    }

    async fn rows(&self, ids: &[ObjectId]) -> Result<Vec<Option<Row>>, StoreError> {
        self.0.rows(ids).await
    }

    async fn pages(&self, names: &[PageName]) -> Result<Vec<Option<Page>>, StoreError> {
        self.0.pages(names).await
    }

    async fn write_page(
        &self,
        name: &PageName,
        expected_version: Option<Version>,
        page: &Page,
    ) -> Result<(), WriteError<Page>> {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        self.0.write_page(name, expected_version, page).await
    }
}

#[tokio::test]
async fn event_below_the_cursor_is_not_granted_by_another_object_of_the_process() {
    let world = world();
    dies_at(&world, "never returns", [1], 3).await;
    let at = dies_at(&world, "returns", 1..=4, 7).await;
    assert_eq!(world.store.contents().rows[&at.object().unwrap().id()].cursor, 3);
    world.pass(KEEP + 1);
    // While the first writes the page, the second and the third wait, and the second writes what the third may be
    // granted.
    let others = ["first", "second"].map(|name| world.put(name, &plain_log(&[event(10 + name.len() as u32)])));
    let now = Arc::clone(&world.now);
    let clock = Arc::new(move || now.load(std::sync::atomic::Ordering::SeqCst));
    let ledger = Ledger::new(Arc::new(Slow(Arc::clone(&world.store))), clock, KEEP);
    let process = Ingest { ledger, ..world.worker(&Arc::default()) };
    let run = |at| process.object(at, Deadline::within(INVOCATION));
    let (first, second, third) = futures_util::join!(run(&others[0]), run(&others[1]), run(&at));
    for outcome in [first, second, third] {
        assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    }
    assert!(world.delivered().contains(&event(1)), "{:?}", world.delivered());
}
