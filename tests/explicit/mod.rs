//! A model of several workers and one ledger that `stateright` explores: every order of their calls, and every fault,
//! crash, time jump and manual reset that a scenario allows.
//!
//! The transitions run the real code. A worker is `Ingest::object`, replayed with the replies that it has received so
//! far (`attempt`). The in-memory store applies its next call (`ledger`). A state consists of the ledger, the delivered
//! events, the replies of each worker, and the time. Equal states on different paths are explored once.

pub mod attempt;
pub mod ledger_state;
mod scene;
mod state;
pub mod wire;

use crate::world::check::{View, end_of};
use attempt::{Attempt, AttemptProgress, Attempts};
use ledger_state::{LedgerState, at_once, ended, is_token_of};
pub use scene::{Goal, LEASE, Scene, all};
use state::{State, Worker};
use stateright::{Checker, HasDiscoveries, Model, Property};
use std::sync::Arc;
use std::time::Instant;
use trailhose::event::EventId;
use trailhose::ingest::LEASE_MARGIN;
use trailhose::ledger::model::page::Owner;
use trailhose::ledger::model::row::Status;
use trailhose::ledger::store::memory::{Memory, MemoryState};
use trailhose::ledger::{Ledger, ReopenOutcome};
use wire::{Reply, SinkCall};

/// The time at which a scenario starts.
const BEGIN: i64 = 1_700_000_000;

/// Limit of redeliveries over all workers. A scenario that exceeds it counts as endless.
const RETURNS: u8 = 40;

impl Scene {
    /// Explores every state and prints their number.
    pub fn explore(self, name: &str) {
        let began = Instant::now();
        let model = InterleavingModel { scene: self, attempts: Arc::default() };
        let attempts = Arc::clone(&model.attempts);
        let checker = model.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        for property in checker.model().properties() {
            let found = checker.discovery(property.name);
            if property.expectation.discovery_is_failure() {
                if let Some(path) = found {
                    let (last, broken) = (path.last_state().clone(), path.last_state().broken.clone());
                    let way: Vec<_> = path.into_actions().iter().map(|action| format!("{action:?}")).collect();
                    let states = checker.unique_state_count();
                    panic!("{name}, after {states} states: {broken:?}, by {}; {last:?}", way.join(", "));
                }
            } else {
                assert!(found.is_some(), "{name}: never {}", property.name);
            }
        }
        println!(
            "{name}: {} states, {} transitions, at most {} deep; {} states of a worker; {:.1} s",
            checker.unique_state_count(),
            checker.state_count(),
            checker.max_depth(),
            attempts.len(),
            began.elapsed().as_secs_f64()
        );
    }
}

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A worker's call takes effect and returns.
    Answer(u8, usize, &'static str),
    /// The call fails without effect.
    Refuse(u8, usize, &'static str),
    /// The call takes effect, but its reply is lost.
    LoseReply(u8, usize, &'static str),
    /// The call takes effect, then the worker crashes.
    Die(u8, usize, &'static str),
    /// The sink acknowledges the lines of a call except those in this bit set.
    Part(u8, usize, u8),
    /// The call seems to fail, but it takes effect later.
    Delay(u8, usize, &'static str),
    /// The call takes effect and returns, and takes effect again later.
    Double(u8, usize, &'static str),
    /// The late write takes effect, if its condition holds.
    Arrive,
    /// Time advances by the jump with this index.
    JumpClock(usize),
    /// No worker is active: time advances to the next visible message.
    Wait,
    /// The store deletes expired items.
    Sweep,
    /// An object is deleted from its bucket.
    DeleteObject(usize),
    /// The user resets an object and sends its notification.
    ResetObject(usize),
}

/// The invariants. Their indices are the numbers in [`State::broken`].
const INVARIANTS: [&str; 11] = [
    "rows are well formed",
    "1 done: every ID of the object was delivered",
    "2 and 5 settled, or below the cursor: delivered",
    "3 an owner changes only to delivered",
    "4 marked: delivered",
    "6 a claimed ID's owner has a row, or was done",
    "7 one owner an ID over a page and its shards",
    "8 each fault repeats at most one call of each active object",
    "counts add up, and nothing fails without a fault",
    "in the end every event is delivered",
    "every path ends",
];

struct InterleavingModel {
    scene: Scene,
    attempts: Arc<Attempts>,
}

impl Model for InterleavingModel {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let workers = (0..self.scene.notices.len() as u8).map(|worker| self.start(worker, BEGIN)).collect();
        let Scene { faults, partials, lates, sweeps, deletions, resets, .. } = self.scene;
        vec![State {
            ledger: Arc::new(LedgerState::new(MemoryState::default())),
            arrived: vec![0; self.scene.lines.len()],
            workers,
            now: BEGIN,
            faults,
            partials,
            lates,
            late: None,
            jumped: 0,
            sweeps,
            deletions,
            resets,
            deleted: 0,
            returns: 0,
            unbounded: false,
            may_have_expired: false,
            broken: None,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.broken.is_some() {
            return;
        }
        if state.late.is_some() {
            actions.push(Action::Arrive);
        }
        let (mut at_work, mut hidden) = (false, false);
        for (worker, standing) in (0u8..).zip(&state.workers) {
            hidden |= matches!(standing, Worker::Hidden(_));
            let Worker::At(attempt) = standing else { continue };
            at_work = true;
            let at_once = if self.scene.in_order { 1 } else { usize::MAX };
            for (slot, call) in attempt.waits().iter().take(at_once) {
                let name = call.name();
                actions.push(Action::Answer(worker, *slot, name));
                if state.faults > 0 {
                    actions.push(Action::Refuse(worker, *slot, name));
                    actions.push(Action::LoseReply(worker, *slot, name));
                    actions.push(Action::Die(worker, *slot, name));
                }
                if let (true, SinkCall::Deliver(lines)) = (state.partials > 0, call) {
                    let all = (1 << lines.len()) - 1;
                    actions.extend((1..all).map(|refused| Action::Part(worker, *slot, refused)));
                }
                if state.lates > 0 && call.is_write() {
                    actions.push(Action::Delay(worker, *slot, name));
                    actions.push(Action::Double(worker, *slot, name));
                }
            }
        }
        if state.resets > 0 {
            actions.extend((0..self.scene.objects.len()).map(Action::ResetObject));
        }
        if !at_work && hidden {
            actions.push(Action::Wait);
        }
        if !at_work && !hidden {
            return;
        }
        let in_progress = |worker: &Worker| {
            matches!(worker, Worker::At(attempt) if !attempt.is_fresh()) && self.scene.jumps_only_when_idle
        };
        let clock_jumps = 0..if state.workers.iter().any(in_progress) { 0 } else { self.scene.clock_jumps.len() };
        actions.extend(clock_jumps.filter(|jump| state.jumped & 1 << jump == 0).map(Action::JumpClock));
        if state.sweeps > 0 && state.may_have_expired {
            actions.push(Action::Sweep);
        }
        if state.deletions > 0 {
            actions.push(Action::DeleteObject(0));
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Answer(worker, slot, _) => {
                let (attempt, call) = state.call(worker, slot);
                let reply = self.effect(&mut next, call);
                self.process_reply(&mut next, worker, attempt, slot, reply);
            }
            Action::Refuse(worker, slot, _) => {
                next.faults -= 1;
                self.process_reply(&mut next, worker, state.call(worker, slot).0, slot, Reply::Lost);
            }
            Action::LoseReply(worker, slot, _) => {
                next.faults -= 1;
                let (attempt, call) = state.call(worker, slot);
                self.effect(&mut next, call);
                self.process_reply(&mut next, worker, attempt, slot, Reply::Lost);
            }
            Action::Die(worker, slot, _) => {
                next.faults -= 1;
                self.effect(&mut next, state.call(worker, slot).1);
                self.returned(&mut next, worker, Worker::Hidden(i64::MIN));
            }
            Action::Part(worker, slot, refused) => {
                next.partials -= 1;
                let (attempt, call) = state.call(worker, slot);
                let SinkCall::Deliver(lines) = call else { unreachable!("only deliveries are partial") };
                let (refused, taken): (Vec<usize>, Vec<usize>) =
                    (0..lines.len()).partition(|line| refused & 1 << line != 0);
                self.effect(&mut next, &SinkCall::Deliver(taken.into_iter().map(|line| lines[line].clone()).collect()));
                self.process_reply(&mut next, worker, attempt, slot, Reply::DeliveredExcept(refused));
            }
            Action::Delay(worker, slot, _) => {
                next.lates -= 1;
                let (attempt, call) = state.call(worker, slot);
                next.late = Some(Arc::new(call.clone()));
                self.process_reply(&mut next, worker, attempt, slot, Reply::Lost);
            }
            Action::Double(worker, slot, _) => {
                next.lates -= 1;
                let (attempt, call) = state.call(worker, slot);
                next.late = Some(Arc::new(call.clone()));
                let reply = self.effect(&mut next, call);
                self.process_reply(&mut next, worker, attempt, slot, reply);
            }
            Action::Arrive => {
                let call = next.late.take()?;
                self.effect(&mut next, &call);
            }
            Action::JumpClock(jump) => {
                next.jumped |= 1 << jump;
                // Active workers outlive their leases.
                next.unbounded |= state.workers.iter().any(|worker| match worker {
                    Worker::At(attempt) => !attempt.is_fresh(),
                    _ => false,
                });
                self.pass(&mut next, state.now + self.scene.clock_jumps[jump]);
            }
            Action::Wait => {
                let wake = state.workers.iter().filter_map(|worker| match worker {
                    Worker::Hidden(until) => Some(*until),
                    _ => None,
                });
                self.pass(&mut next, wake.min()? + 1);
            }
            Action::Sweep => {
                next.sweeps -= 1;
                let mut kept = state.ledger.contents().clone();
                kept.rows.retain(|_, row| row.expires.is_none_or(|expires| expires > state.now));
                kept.pages.retain(|_, page| page.live(state.now));
                next.ledger = Arc::new(LedgerState::new(kept));
            }
            Action::DeleteObject(object) => {
                next.deletions -= 1;
                next.deleted |= 1 << object;
            }
            Action::ResetObject(object) => {
                next.resets -= 1;
                let store = Arc::new(Memory::default());
                store.contents().clone_from(&state.ledger.contents());
                let now = state.now;
                let ledger = Ledger::new(Arc::clone(&store) as _, Arc::new(move || now), self.scene.keep);
                let opened =
                    matches!(at_once(ledger.reset(self.scene.ids[object])).unwrap(), ReopenOutcome::Reopened(_));
                next.unbounded |= opened;
                next.ledger = Arc::new(LedgerState::new(std::mem::take(&mut *store.contents())));
                let worker = self.scene.notices.iter().position(|objects| objects.contains(&object))?;
                if !opened || !matches!(state.workers[worker], Worker::Acknowledged) {
                    return opened.then_some(next).map(|next| self.checked(state, next));
                }
                next.workers[worker] = self.start(worker as u8, now);
            }
        }
        Some(self.checked(state, next))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        fn holds<const INVARIANT: u8>(_: &InterleavingModel, state: &State) -> bool {
            state.broken.as_ref().is_none_or(|(number, _)| *number != INVARIANT)
        }
        fn reached(model: &InterleavingModel, goal: Goal, seen: bool) -> bool {
            seen || !model.scene.goals.contains(&goal)
        }
        vec![
            Property::always(INVARIANTS[0], holds::<0>),
            Property::always(INVARIANTS[1], holds::<1>),
            Property::always(INVARIANTS[2], holds::<2>),
            Property::always(INVARIANTS[3], holds::<3>),
            Property::always(INVARIANTS[4], holds::<4>),
            Property::always(INVARIANTS[5], holds::<5>),
            Property::always(INVARIANTS[6], holds::<6>),
            Property::always(INVARIANTS[7], holds::<7>),
            Property::always(INVARIANTS[8], holds::<8>),
            Property::always(INVARIANTS[9], holds::<9>),
            Property::always(INVARIANTS[10], holds::<10>),
            Property::sometimes("deferred", |model: &InterleavingModel, state: &State| {
                let hidden = |worker: &Worker| matches!(worker, Worker::Hidden(_));
                reached(model, Goal::Deferred, state.workers.iter().any(hidden))
            }),
            Property::sometimes("marked", |model: &InterleavingModel, state: &State| {
                let kept = state.ledger.contents();
                let mut entries = kept.pages.values().flat_map(|page| page.entries.values());
                reached(model, Goal::Marked, entries.any(|entry| entry.owner == Owner::Delivered))
            }),
            Property::sometimes("spilled", |model: &InterleavingModel, state: &State| {
                reached(model, Goal::Spilled, state.ledger.contents().pages.values().any(|page| page.full))
            }),
            Property::sometimes("claims merged", |model: &InterleavingModel, state: &State| {
                let mut calls = state.workers.iter().flat_map(Worker::waits);
                reached(model, Goal::ClaimsMerged, calls.any(|(_, call)| call.newcomers(&state.ledger.contents()) > 1))
            }),
            Property::sometimes("reopened", |model: &InterleavingModel, state: &State| {
                let mut calls = state.workers.iter().flat_map(Worker::waits);
                reached(model, Goal::CursorReset, calls.any(|(_, call)| call.name() == "reset_cursor"))
            }),
            Property::sometimes("settled", |model: &InterleavingModel, state: &State| {
                reached(model, Goal::Settled, state.has(Status::Settled))
            }),
            Property::sometimes("quarantined", |model: &InterleavingModel, state: &State| {
                reached(model, Goal::Quarantined, state.has(Status::Quarantined))
            }),
            Property::sometimes("acknowledged in part", |model: &InterleavingModel, state: &State| {
                let kept = state.ledger.contents();
                let mut rows = kept.rows.values();
                reached(model, Goal::Acknowledged, rows.any(|row| !row.acknowledged.is_empty()))
            }),
            Property::sometimes("numbered", |model: &InterleavingModel, state: &State| {
                let kept = state.ledger.contents();
                let mut entries = kept.pages.values().flat_map(|page| page.entries.values());
                reached(model, Goal::Numbered, entries.any(|entry| entry.ordinal.is_some()))
            }),
            Property::sometimes("repeated", |model: &InterleavingModel, state: &State| {
                reached(model, Goal::Repeated, state.repeats() > 0)
            }),
        ]
    }
}

impl InterleavingModel {
    fn start(&self, worker: u8, now: i64) -> Worker {
        Worker::At(self.attempts.start(&self.scene, worker, now))
    }

    /// Applies a call and returns its reply.
    fn effect(&self, state: &mut State, call: &SinkCall) -> Reply {
        match call {
            SinkCall::Deliver(lines) => {
                for line in lines {
                    let known = self.scene.lines.iter().position(|(known, _)| known == line);
                    state.arrived[known.expect("a line of some object")] += 1;
                }
                Reply::Delivered
            }
            SinkCall::Fetch(object) => {
                let number = self.scene.objects.iter().position(|at| at.key == object.key);
                Reply::Fetched(state.deleted & 1 << number.expect("an object of the scene") == 0)
            }
            call => {
                let (after, reply) = state.ledger.after(call);
                state.ledger = after.map_or_else(|| Arc::clone(&state.ledger), Arc::new);
                reply
            }
        }
    }

    fn process_reply(&self, state: &mut State, worker: u8, attempt: &Attempt, slot: usize, reply: Reply) {
        let attempt = self.attempts.answer(&self.scene, attempt, slot, reply, state.now);
        match &attempt.progress {
            AttemptProgress::Waits(_) => state.workers[worker as usize] = Worker::At(attempt),
            AttemptProgress::Acknowledged => self.over(state, worker, Worker::Acknowledged),
            AttemptProgress::Deferred(until) => self.returned(state, worker, Worker::Hidden(*until)),
            AttemptProgress::Failed => {
                let Scene { faults, partials, lates, deletions, sweeps, resets, .. } = self.scene;
                let quiet = state.jumped == 0
                    && (state.faults, state.partials, state.lates, state.deletions, state.sweeps, state.resets)
                        == (faults, partials, lates, deletions, sweeps, resets);
                if quiet {
                    state.broken = Some((8, Arc::from(format!("worker {worker} failed without a fault"))));
                }
                self.returned(state, worker, Worker::Hidden(i64::MIN));
            }
            AttemptProgress::Invalid(violation) => state.broken = Some((8, Arc::from(violation.as_str()))),
        }
    }

    /// Ends an attempt whose message becomes visible again.
    fn returned(&self, state: &mut State, worker: u8, hidden: Worker) {
        self.over(state, worker, hidden);
        state.returns += 1;
        if state.returns > RETURNS {
            state.broken = Some((10, Arc::from(format!("{RETURNS} messages came back"))));
        }
        self.pass(state, state.now);
    }

    fn over(&self, state: &mut State, worker: u8, then: Worker) {
        state.workers[worker as usize] = then;
        let late = state.late.as_ref().map_or(Vec::new(), |call| call.tokens());
        if let Some(ledger) = state.ledger.without_tokens_of(worker, &late) {
            state.ledger = Arc::new(ledger);
        }
        state.late = state.late.take().map(|call| {
            let rename = |token| if is_token_of(token, worker) { ended(token, &late) } else { token };
            Arc::new(call.with_tokens(&mut { rename }))
        });
    }

    /// Sets the time. Messages that became visible are received, and attempts without a reply start at this time.
    fn pass(&self, state: &mut State, now: i64) {
        state.may_have_expired |= now - BEGIN >= self.scene.keep;
        state.unbounded |= state.may_have_expired;
        state.now = now;
        for (worker, standing) in (0u8..).zip(&mut state.workers) {
            let begins = match standing {
                Worker::At(attempt) => attempt.is_fresh(),
                Worker::Hidden(until) => *until < now,
                Worker::Acknowledged => false,
            };
            if begins {
                *standing = self.start(worker, now);
            }
        }
    }

    /// Returns the state with the invariant that it violates, if any.
    fn checked(&self, before: &State, mut state: State) -> State {
        // A read changes nothing.
        let same = Arc::ptr_eq(&before.ledger, &state.ledger) && before.arrived == state.arrived;
        if state.broken.is_none() && !(same && before.now == state.now && !state.is_over()) {
            state.broken = self.verdict(before, &state).err();
        }
        state
    }

    fn verdict(&self, before: &State, state: &State) -> Result<(), (u8, Arc<str>)> {
        let Scene { lines, events, ids, lines_per_call, .. } = &self.scene;
        let arrived =
            |id: &EventId| lines.iter().zip(&state.arrived).any(|((_, event), copies)| event == id && *copies > 0);
        let view = View {
            objects: events,
            arrived: &arrived,
            now: state.now,
            longest: LEASE_MARGIN,
            may_have_expired: state.may_have_expired,
            filtered: false,
        };
        let kept = state.ledger.contents();
        let result = match Arc::ptr_eq(&before.ledger, &state.ledger) {
            true => view.check(&kept, &kept),
            false => view.check(&before.ledger.contents(), &kept),
        };
        result.map_err(|text| {
            // The text starts with the numbers of the invariants.
            let number = ["1:", "2, 5:", "3:", "4:", "6:", "7:"].iter().position(|start| text.starts_with(start));
            (number.map_or(0, |number| number as u8 + 1), Arc::from(text))
        })?;
        // A partial acknowledgement is no fault: it must not repeat anything.
        let spent = usize::from(self.scene.faults - state.faults + self.scene.lates - state.lates);
        // A crash may occur between the delivery and the cursor write of each object of the process.
        let at_once = self.scene.notices.iter().map(Vec::len).max().unwrap_or(1);
        if !state.unbounded && state.repeats() > spent * lines_per_call * at_once {
            return Err((7, Arc::from(format!("{} repeats after {spent} faults", state.repeats()))));
        }
        if state.is_over() {
            for (object, id) in ids.iter().enumerate() {
                let row = kept.rows.get(id);
                let quarantined =
                    state.deleted & 1 << object != 0 && row.is_some_and(|row| row.status == Status::Quarantined);
                let expected = if quarantined { Status::Quarantined } else { Status::Done };
                end_of(*id, &events[id], row, expected, state.may_have_expired, &arrived)
                    .map_err(|text| (9, Arc::from(text)))?;
            }
        }
        Ok(())
    }
}
