//! An expired page counts as absent before it is deleted, and its events are claimed again.

mod world;

use async_trait::async_trait;
use std::sync::Arc;
use std::task::Poll;
use trailhose::ingest::{Deadline, Ingest, Outcome};
use trailhose::ledger::model::page::{Owner, Page, PageName, Version};
use trailhose::ledger::model::row::{Change, Guard, Row};
use trailhose::ledger::store::memory::Memory;
use trailhose::ledger::store::{Store, StoreError, WriteError};
use trailhose::ledger::{Ledger, PAGE_MARGIN, PAGE_SLACK};
use trailhose::object::{Object, ObjectId, ObjectRef};
use trailhose::pack::LinesPerRecord;
use world::{INVOCATION, Stepped, World, event, plain_log};

const DAY: i64 = 86_400;
const KEEP: i64 = 10 * DAY;

/// How long a page is kept.
const PAGE_LIFE: i64 = KEEP + PAGE_SLACK;

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
    world.pass(PAGE_LIFE + 1);
    assert!(matches!(world.ingest(&at).await, Outcome::Done(_)));
    assert!(world.delivered().contains(&event(1)), "{:?}", world.delivered());
}

#[tokio::test]
async fn expired_page_counts_as_absent() {
    let world = world();
    dies_at(&world, "never returns", [1], 3).await;
    world.pass(PAGE_LIFE + 1);
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
        world.pass(PAGE_LIFE - DAY - if earlier { 60 } else { -60 });
        let before = only_page(&world);
        let at = world.put("later", &plain_log(&[event(1), event(1)]));
        let Outcome::Done(report) = world.ingest(&at).await else { panic!("not done") };
        assert_eq!(report.counts.duplicate, 2);
        let after = only_page(&world);
        if earlier {
            assert_eq!(after, before, "nothing to write");
        } else {
            assert_eq!(after.expires, before.expires + PAGE_LIFE - DAY + 60);
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
    world.pass(PAGE_LIFE + 1);
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
                    false => world.pass(PAGE_LIFE + 1),
                }
            }
        };
        assert!(happened && matches!(outcome, Outcome::Done(_)), "{outcome:?}");
        assert!(world.delivered().contains(&event(1)), "{:?}", worker.calls());
        assert_eq!(owners(&world), [Owner::Object(at.object().unwrap().id()); 2]);
    }
}

/// A request of a worker takes effect a second time, after the worker has reset its cursor. It would state as delivered
/// what the worker claimed since, and a crash would lose these events.
#[tokio::test]
async fn late_write_from_before_a_reset_is_refused() {
    let world = world();
    dies_at(&world, "never returns", [1], 3).await;
    world.pass(2_000);
    let at = world.put("meets it", &plain_log(&[event(1), event(2)]));
    let id = at.object().unwrap().id();
    let mut worker = Stepped::start(&world, &at);
    let (mut token, mut late) = (None, None);
    while worker.step().is_pending() {
        if late.is_none() && worker.calls().contains(&"settle") && token.is_none() {
            token = world.store.contents().rows[&id].token;
            world.store.contents().pages.clear();
        }
        if late.is_none() && worker.calls().contains(&"reset_cursor") {
            let settle = world.store.change_row_by_id(id, Guard::HeldOpen(token.unwrap()), &Change::Settle);
            late = Some(settle.await.is_err());
        }
    }
    assert_eq!(late, Some(true), "the late write was refused, after {:?}", worker.calls());
    assert!(world.delivered().contains(&event(1)));
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
        world.pass(PAGE_LIFE + 1);
        world.store.contents().pages.clear();
        dies_at(&world, "claims it anew", [1], 3).await;
        let outcome = worker.finish();
        let arrived = world.delivered().contains(&event(1));
        assert!(arrived || !matches!(outcome, Outcome::Done(_)), "{outcome:?} after {:?}", worker.calls());
    }
}

#[tokio::test]
async fn event_granted_between_acknowledged_events_is_delivered() {
    let mut world = World { keep: KEEP, ..World::with_lines_per_call(4) };
    world.limits.lines = LinesPerRecord::One;
    dies_at(&world, "never returns", [3], 3).await;
    let at = world.put("returns", &plain_log(&(1..=4).map(event).collect::<Vec<_>>()));
    world.sink.refused.lock().unwrap().insert(event(1));
    // Events 2 and 4 are acknowledged. Event 3, between them, belongs to the object that never returns.
    assert!(matches!(world.ingest(&at).await, Outcome::Failed(_)));
    assert_eq!(world.delivered(), [event(2), event(4)]);
    let row = world.store.contents().rows[&at.object().unwrap().id()].clone();
    assert_eq!((row.cursor, row.acknowledged.contains(2)), (0, true));
    world.sink.refused.lock().unwrap().clear();
    world.pass(PAGE_LIFE + 1);
    assert!(matches!(world.ingest(&at).await, Outcome::Done(_)));
    for number in [1, 3] {
        assert!(world.delivered().contains(&event(number)), "{:?}", world.delivered());
    }
}

/// Deletes expired items, as DynamoDB does some time after their expiry.
fn sweep(world: &World) {
    let now = world.now.load(std::sync::atomic::Ordering::SeqCst);
    let mut kept = world.store.contents();
    kept.rows.retain(|_, row| row.expires.is_none_or(|expires| expires > now));
    kept.pages.retain(|_, page| page.live(now));
}

/// Copies of an event keep its page alive. The row of the event's owner must not expire before the page.
#[tokio::test]
async fn done_object_that_is_announced_again_repeats_nothing_while_its_page_lives() {
    for days_between in 1..=20 {
        let world = world();
        let object = world.put("object", &plain_log(&[event(1)]));
        assert!(matches!(world.ingest(&object).await, Outcome::Done(_)));
        let mut announced_again = 0;
        for copy in 0..200 / days_between {
            world.pass(days_between * DAY);
            sweep(&world);
            // A copy of the event, with a new event of the same minutes.
            let copy = world.put(&format!("copy{copy}"), &plain_log(&[event(1), event(100 + copy as u32)]));
            assert!(matches!(world.ingest(&copy).await, Outcome::Done(_)));
            if world.delivered().iter().filter(|line| **line == event(1)).count() > 1 {
                // The page has expired: no copy arrived for the whole retention.
                assert!(days_between * DAY > KEEP, "repeated after {days_between} days without a copy");
                break;
            }
            assert!(matches!(world.ingest(&object).await, Outcome::Done(_) | Outcome::AlreadyDone));
            let copies = world.delivered().iter().filter(|line| **line == event(1)).count();
            assert_eq!(copies, 1, "announced again on day {}", copy_day(&world));
            announced_again += 1;
        }
        assert!(announced_again > 8 || days_between * DAY > KEEP, "{announced_again}");
    }
}

fn copy_day(world: &World) -> i64 {
    (world.now.load(std::sync::atomic::Ordering::SeqCst) - 1_700_000_000) / DAY
}

/// The retention is raised or lowered while rows and pages of the earlier retention exist.
#[tokio::test]
async fn changed_retention_leaves_no_page_of_a_deleted_row() {
    for (before, after) in [(KEEP, 3 * KEEP), (3 * KEEP, KEEP)] {
        for changed_on in 0..20 {
            let mut world = World { keep: before, ..world() };
            let object = world.put("object", &plain_log(&[event(1)]));
            assert!(matches!(world.ingest(&object).await, Outcome::Done(_)));
            for day in 0..120 {
                if day == changed_on {
                    world.keep = after;
                    let claims_in_an_older_page = world.put("second", &plain_log(&[event(2)]));
                    assert!(matches!(world.ingest(&claims_in_an_older_page).await, Outcome::Done(_)));
                }
                world.pass(DAY);
                sweep(&world);
                if day % 5 == 0 {
                    let copy = world.put(&format!("copy{day}"), &plain_log(&[event(1), event(100 + day)]));
                    assert!(matches!(world.ingest(&copy).await, Outcome::Done(_)));
                }
                let kept = world.store.contents();
                for entry in kept.pages.values().flat_map(|page| page.entries.values()) {
                    let Owner::Object(owner) = entry.owner else { continue };
                    assert!(kept.rows.contains_key(&owner), "{before} to {after} on day {changed_on}: day {day}");
                }
            }
            assert_eq!(world.delivered().iter().filter(|line| **line == event(1)).count(), 1);
        }
    }
    const { assert!(PAGE_MARGIN > 3600, "workers' clocks differ by less than the margin") };
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
    world.pass(PAGE_LIFE + 1);
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
