//! Tests of every order of the steps of three tasks that use one page, without a cancellation and with one task
//! cancelled at any step.

use super::*;
use crate::event::EventId;
use crate::ledger::model::ordinals::OrdinalSet;
use crate::ledger::model::page::{CAPACITY, Version};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

fn name() -> PageName {
    PageName("111122223333/eu-west-1/27999990".to_owned())
}

fn event(ordinal: u32) -> EventLookup {
    EventLookup { ordinal, id: EventId(u128::from(ordinal).to_le_bytes()), minute: None, fingerprint: 0 }
}

fn claim(owner: u8, leased: Tick, ordinals: std::ops::Range<u32>) -> Arc<PendingClaim> {
    let events = ordinals.map(event).collect();
    let (owner, progress) = (ObjectId([owner; 16]), DeliveryProgress::default());
    Arc::new(PendingClaim { owner, progress, leased, events, numbered: false })
}

/// Waits until a step is granted.
async fn granted(steps: &RefCell<usize>) {
    std::future::poll_fn(|_| match steps.replace_with(|steps| steps.saturating_sub(1)) {
        0 => Poll::Pending,
        _ => Poll::Ready(()),
    })
    .await;
}

/// What the tasks of one run have done.
#[derive(Debug, Default)]
struct Observed {
    holders: usize,
    /// The tasks that wait for the lock.
    waiting: BTreeSet<usize>,
    /// The view that the last holder passed to the lock, while the slot exists.
    released: Option<(Tick, Version)>,
    /// How many tasks continued from the view of another one.
    passed_on: usize,
    /// How many views were rejected because the lease is newer.
    rejected: usize,
}

/// A task that holds the lock. Dropping it decrements the number of holders, also if the task is cancelled.
struct Holding<'a>(&'a RefCell<Observed>);

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        self.0.borrow_mut().holders -= 1;
    }
}

/// Lease, ticket, request to the store, release: one step each.
async fn task(locks: &PageLocks, owner: u8, steps: &RefCell<usize>, observed: &RefCell<Observed>) {
    granted(steps).await;
    let leased = locks.tick();
    granted(steps).await;
    let ticket = locks.enqueue(&name(), claim(owner, leased, 0..1));
    observed.borrow_mut().waiting.insert(usize::from(owner) - 1);
    let lock = ticket.acquire().await;
    observed.borrow_mut().waiting.remove(&(usize::from(owner) - 1));
    {
        let mut observed = observed.borrow_mut();
        observed.holders += 1;
        assert_eq!(observed.holders, 1, "two tasks hold the lock");
        let released = observed.released.take();
        let usable = released.filter(|(as_of, _)| *as_of > leased);
        let previous = lock.previous.as_ref().map(|view| (view.as_of, view.page.as_ref().unwrap().version));
        assert_eq!(previous, usable, "lease at {leased:?}");
        observed.passed_on += usize::from(usable.is_some());
        observed.rejected += usize::from(released.is_some() && usable.is_none());
    }
    let holding = Holding(observed);
    granted(steps).await;
    let (as_of, page) = (locks.tick(), Page::new(0));
    granted(steps).await;
    observed.borrow_mut().released = Some((as_of, page.version));
    drop(holding);
    lock.release(PageView { as_of, page: Some(page) });
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LockStep {
    Run(usize),
    Cancel(usize),
}

const TASKS: usize = 3;

/// Runs these steps from the start. Returns the active tasks that do not wait for the lock, the tasks that wait for it,
/// and the counters `passed_on` and `rejected`.
fn run(path: &[LockStep]) -> (Vec<usize>, Vec<usize>, usize, usize) {
    let (locks, observed) = (PageLocks::default(), RefCell::new(Observed::default()));
    let steps: Vec<RefCell<usize>> = (0..TASKS).map(|_| RefCell::new(0)).collect();
    let new_task = |number: usize| {
        let future = task(&locks, number as u8 + 1, &steps[number], &observed);
        Some(Box::pin(future) as Pin<Box<dyn Future<Output = ()> + '_>>)
    };
    let mut tasks: Vec<Option<_>> = (0..TASKS).map(new_task).collect();
    for step in path {
        match *step {
            LockStep::Run(number) => *steps[number].borrow_mut() = 1,
            LockStep::Cancel(number) => tasks[number] = None,
        }
        // Poll each task twice: a task that ends releases the lock, and the task that waits for it may have been polled
        // already. The waiting task then runs up to its next step.
        for _ in 0..2 {
            for task in &mut tasks {
                let Some(future) = task else { continue };
                if future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                    *task = None;
                }
            }
        }
        steps.iter().for_each(|granted| *granted.borrow_mut() = 0);
        let slots = lock_unpoisoned(&locks.slots);
        let tickets = slots.get(&name()).map_or(0, |counted| counted.tickets);
        assert_eq!(slots.len(), usize::from(tickets > 0), "{path:?}: a slot without a ticket stays");
        if slots.is_empty() {
            observed.borrow_mut().released = None;
        }
    }
    let active = (0..TASKS).filter(|number| tasks[*number].is_some());
    let (waiting, active) = active.partition(|number| observed.borrow().waiting.contains(number));
    drop(tasks);
    assert!(lock_unpoisoned(&locks.slots).is_empty(), "{path:?}: a slot stays after its last ticket");
    let observed = observed.borrow();
    (active, waiting, observed.passed_on, observed.rejected)
}

/// Runs every continuation of `path` with at most `cancellations` further cancellations.
fn explore(path: &mut Vec<LockStep>, cancellations: usize, totals: &mut (usize, usize, usize)) {
    let (active, waiting, passed_on, rejected) = run(path);
    totals.0 += 1;
    totals.1 += passed_on;
    totals.2 += rejected;
    // The tasks are equal, so one order of their starts is enough.
    let is_started = |number: usize| path.contains(&LockStep::Run(number));
    let next = (0..TASKS).find(|number| !is_started(*number));
    let run_steps: Vec<LockStep> = active
        .iter()
        .filter(|number| is_started(**number) || Some(**number) == next)
        .map(|number| LockStep::Run(*number))
        .collect();
    let cancelled = active.iter().chain(&waiting).filter(|number| cancellations > 0 && is_started(**number));
    let cancelled = cancelled.map(|number| LockStep::Cancel(*number));
    for step in run_steps.into_iter().chain(cancelled.collect::<Vec<_>>()) {
        path.push(step);
        explore(path, cancellations - usize::from(matches!(step, LockStep::Cancel(_))), totals);
        path.pop();
    }
}

#[test]
fn view_is_passed_on_only_while_it_is_newer_than_the_lease() {
    let mut totals = (0, 0, 0);
    explore(&mut Vec::new(), 1, &mut totals);
    println!("{} paths, {} views passed on, {} rejected", totals.0, totals.1, totals.2);
    assert!(totals.0 > 10_000 && totals.1 > 100 && totals.2 > 100, "{totals:?}");
}

/// A ticket leaves the map first and drops its reference to the slot afterwards. Another ticket may be dropped between
/// these two steps, so the references do not show whether a ticket is left.
#[test]
fn slot_is_removed_with_its_last_ticket_also_while_a_dropped_ticket_still_refers_to_it() {
    let locks = PageLocks::default();
    let tickets = [1, 2].map(|owner| locks.enqueue(&name(), claim(owner, locks.tick(), 0..1)));
    let [first, second] = tickets;
    let reference_of_first = Arc::clone(&first.slot);
    drop(first);
    assert_eq!(lock_unpoisoned(&locks.slots)[&name()].tickets, 1, "one ticket is left");
    drop(second);
    assert!(lock_unpoisoned(&locks.slots).is_empty());
    drop(reference_of_first);

    // The first ticket of a new slot has no view of the page.
    let third = locks.enqueue(&name(), claim(3, Tick(0), 0..1));
    let mut acquire = Box::pin(third.acquire());
    let Poll::Ready(lock) = acquire.as_mut().poll(&mut Context::from_waker(Waker::noop())) else { panic!("waits") };
    assert!(lock.previous.is_none());
}

#[test]
fn merged_claims_do_not_exceed_the_capacity() {
    let locks = PageLocks::default();
    let tickets: Vec<_> = (1..=4u8)
        .map(|owner| locks.enqueue(&name(), claim(owner, Tick(0), u32::from(owner) * 10..u32::from(owner) * 10 + 5)))
        .collect();
    let each = 5 * 18 + 21;
    for (capacity, merged) in [(0, 0), (each, 0), (1 + each, 1), (1 + 3 * each - 1, 2), (CAPACITY, 3)] {
        let ticket = locks.enqueue(&name(), claim(9, Tick(0), 0..1));
        let mut acquire = Box::pin(tickets[0].acquire());
        let Poll::Ready(lock) = acquire.as_mut().poll(&mut Context::from_waker(Waker::noop())) else { panic!("waits") };
        drop(ticket);
        let mut page = Page::new(0);
        lock.merge_waiting(&mut page, capacity);
        let owners: BTreeSet<u8> = page
            .entries
            .values()
            .map(|entry| match entry.owner {
                Owner::Object(id) => id.0[0],
                Owner::Delivered => 0,
            })
            .collect();
        assert!(page.encoded_len() <= capacity.max(1), "{} of {capacity} bytes", page.encoded_len());
        assert_eq!((owners.len(), page.entries.len()), (merged, 5 * merged), "at {capacity} bytes");
    }
}

#[test]
fn acknowledged_event_is_not_merged() {
    let locks = PageLocks::default();
    let first = locks.enqueue(&name(), claim(1, Tick(0), 0..1));
    let mut acknowledged = OrdinalSet::default();
    acknowledged.insert(7, 8);
    let progress = DeliveryProgress { cursor: 5, acknowledged };
    let pending =
        |ordinals| PendingClaim { progress: progress.clone(), ..Arc::into_inner(claim(2, Tick(0), ordinals)).unwrap() };
    for (ordinals, merged) in [(4..6, 0), (5..7, 2), (6..8, 0), (8..9, 1)] {
        let _waits = locks.enqueue(&name(), Arc::new(pending(ordinals.clone())));
        let mut acquire = Box::pin(first.acquire());
        let Poll::Ready(lock) = acquire.as_mut().poll(&mut Context::from_waker(Waker::noop())) else { panic!("waits") };
        let mut page = Page::new(0);
        lock.merge_waiting(&mut page, CAPACITY);
        assert_eq!(page.entries.len(), merged, "{ordinals:?}");
    }
}
