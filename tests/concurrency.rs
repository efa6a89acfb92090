//! Concurrent workers that share events, in many orders of their calls.
//!
//! Each worker is a future, and each of its calls waits at a gate. A scheduler on one thread opens one gate at a time.
//! It tests every order if there are few, and orders from a seeded generator otherwise. It may let leases expire or
//! workers crash. The ledger invariants must hold after every call.

mod world;

use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};
use tokio::runtime::{Builder, Runtime};
use trailhose::ingest::{Deferred, Outcome};
use trailhose::object::ObjectRef;
use world::check::{Watch, check_report};
use world::{Fault, Gate, Wire, World, event, plain_log};

/// Limit of redelivery rounds. A scenario that exceeds it counts as endless.
const ROUNDS: usize = 60;

/// Longer than any lease.
const LEASE: i64 = 2_000;

/// A world, and one notification per worker.
struct Scene {
    world: World,
    notices: Vec<ObjectRef>,
    watch: Watch,
    /// Workers that crashed before the schedule starts.
    deaths: usize,
}

impl Scene {
    fn new(world: World, files: &[&[String]]) -> Self {
        let notices =
            files.iter().enumerate().map(|(number, events)| world.put(&format!("object{number}"), &plain_log(events)));
        let notices: Vec<_> = notices.collect();
        let watch = Watch::new(&world, &notices);
        Self { world, notices, watch, deaths: 0 }
    }

    /// Lets the first object's worker crash at this call and its lease expire.
    fn after_a_death_at(mut self, call: usize) -> Self {
        let wire = Arc::new(Wire::failing([(call, Fault::Die)]));
        let first = alone(self.world.ingest_over(&wire, &self.notices[0]));
        assert!(matches!(first, Outcome::Failed(_)) && wire.is_dead(), "{first:?} after {:?}", wire.calls());
        self.world.pass(LEASE);
        self.watch.check(&self.world).unwrap();
        self.deaths += 1;
        self
    }
}

/// The faults of a schedule.
#[derive(Debug, Clone, Copy, Default)]
struct Faults {
    /// How often leases may expire.
    jumps: usize,
    /// One in this many calls fails; none if 0.
    fault_in: u8,
}

/// The runtime of the workers' timers. No timer expires, because no test waits.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Builder::new_current_thread().enable_time().build().unwrap());

/// The faults of a schedule that took effect.
#[derive(Debug, Clone, Copy, Default)]
struct Effects {
    jumps: usize,
    faults: usize,
}

/// Polls a future that never waits.
fn alone(future: impl Future<Output = Outcome>) -> Outcome {
    let _inside = RUNTIME.enter();
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(outcome) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return outcome;
        }
    }
}

struct Worker<'a> {
    at: ObjectRef,
    gate: Arc<Gate>,
    wire: Arc<Wire>,
    run: Pin<Box<dyn Future<Output = Outcome> + 'a>>,
}

impl<'a> Worker<'a> {
    fn start(world: &'a World, at: &ObjectRef, plan: Vec<(usize, Fault)>) -> Self {
        let gate = Arc::<Gate>::default();
        let wire = Arc::new(Wire::behind(&gate, plan));
        let (mine, over) = (at.clone(), Arc::clone(&wire));
        let run = Box::pin(async move { world.ingest_over(&over, &mine).await });
        let mut worker = Self { at: at.clone(), gate, wire, run };
        assert!(worker.poll().is_none(), "ended before its first call");
        worker
    }

    fn poll(&mut self) -> Option<Outcome> {
        let _inside = RUNTIME.enter();
        match self.run.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => None,
        }
    }

    /// Runs the worker's next call and the code up to the one after.
    fn step(&mut self) -> Option<Outcome> {
        self.gate.grant();
        let mut polls = 0;
        loop {
            match self.poll() {
                None if self.gate.is_granted() && polls < 4 => polls += 1,
                // It waits for a page lock of another worker and makes no call.
                ended => {
                    self.gate.revoke();
                    return ended;
                }
            }
        }
    }
}

/// Runs one schedule. `choose` returns one of this many choices. Returns the faults that took effect.
fn run(scene: &mut Scene, faults: Faults, choose: &mut dyn FnMut(usize) -> usize) -> Result<Effects, String> {
    let Scene { world, notices, watch, deaths } = scene;
    let (mut waiting, mut jumps, mut hits) = (notices.clone(), faults.jumps, *deaths);
    for _ in 0..ROUNDS {
        let mut workers: Vec<_> = waiting.drain(..).map(|at| Worker::start(world, &at, plan(faults, choose))).collect();
        let (mut wake, mut moved) = (i64::MAX, false);
        while !workers.is_empty() {
            let choice = choose(workers.len() + usize::from(jumps > 0));
            let Some(worker) = workers.get_mut(choice) else {
                jumps -= 1;
                world.pass(LEASE);
                continue;
            };
            let outcome = worker.step();
            // Reads change nothing.
            if !matches!(worker.wire.calls().last(), Some(&"fetch" | &"pages" | &"rows")) {
                watch.check(world).map_err(|violation| format!("{violation}; {:?}", worker.wire.calls()))?;
            }
            let Some(outcome) = outcome else { continue };
            let worker = workers.remove(choice);
            let injected = worker.wire.hit().len();
            hits += injected;
            match outcome {
                Outcome::Deferred(Deferred::Leased { until } | Deferred::OwnerInProgress { until }) => {
                    wake = wake.min(until);
                    waiting.push(worker.at);
                    continue;
                }
                Outcome::Done(report) => check_report(&report)?,
                Outcome::AlreadyDone => {}
                Outcome::Failed(_) if injected > 0 || faults.jumps > 0 => waiting.push(worker.at.clone()),
                other => return Err(format!("{}: {other:?} after {:?}", worker.at, worker.wire.calls())),
            }
            moved = true;
            // The message of a crashed worker becomes visible again.
            if worker.wire.is_dead() && waiting.last() != Some(&worker.at) {
                waiting.push(worker.at);
            }
        }
        if waiting.is_empty() {
            watch.check_end(world, &[])?;
            let lines = world.limits.call_bytes / (event(1).len() + 1);
            let bounded = faults.jumps == 0 && !watch.may_have_expired;
            if bounded && watch.repeats() > hits * lines {
                return Err(format!("{} repeats after {hits} faults", watch.repeats()));
            }
            return Ok(Effects { jumps: faults.jumps - jumps, faults: hits - *deaths });
        }
        if !moved {
            world.pass_until(wake);
        }
    }
    Err(format!("not done: {waiting:?}"))
}

fn plan(faults: Faults, choose: &mut dyn FnMut(usize) -> usize) -> Vec<(usize, Fault)> {
    if faults.fault_in == 0 {
        return Vec::new();
    }
    let calls = (0..40).filter(|_| choose(usize::from(faults.fault_in)) == 0).collect::<Vec<_>>();
    calls.into_iter().map(|call| (call, [Fault::Refuse, Fault::LoseReply, Fault::Die][choose(3)])).collect()
}

/// Tests every order of the workers' calls. Fails if there are more than `most`.
fn in_every_order(name: &str, most: usize, faults: Faults, make: impl Fn() -> Scene) {
    let mut path: Vec<(usize, usize)> = Vec::new();
    let mut jumps = 0;
    for tried in 1..=most {
        let mut at = 0;
        let mut choose = |ways| {
            if at == path.len() {
                path.push((0, ways));
            }
            at += 1;
            path[at - 1].0
        };
        let ended = run(&mut make(), faults, &mut choose);
        if let Err(violation) = &ended {
            panic!(
                "{name}, after {tried} schedules, {:?}: {violation}",
                path.iter().map(|(choice, _)| choice).collect::<Vec<_>>()
            );
        }
        jumps += ended.map_or(0, |effects| effects.jumps);
        while path.pop_if(|(choice, ways)| *choice + 1 == *ways).is_some() {}
        match path.last_mut() {
            Some((choice, _)) => *choice += 1,
            None => {
                assert!(faults.jumps == 0 || jumps > 0, "{name}: no lease ended early");
                return println!("{name}: all {tried} schedules");
            }
        }
    }
    panic!("{name}: more than {most} schedules");
}

/// Tests this many seeded schedules without faults, with expired leases, with faults, and with both.
fn in_some_orders(name: &str, schedules: u64, make: impl Fn() -> Scene) {
    let kinds = [(0, 0), (1, 0), (3, 0), (0, 12), (2, 12)];
    let (mut tried, mut effects) = (0, [Effects::default(); 5]);
    for seed in 0..schedules {
        for ((jumps, fault_in), effects) in kinds.into_iter().zip(&mut effects) {
            let mut random = fastrand::Rng::with_seed(seed);
            let faults = Faults { jumps, fault_in };
            // Long runs of one worker find as many defects as quick changes, so half of the seeds prefer them.
            let (sticky, mut last) = (fault_in == 0 && seed % 2 == 0, 0);
            let mut choose = |ways| {
                if !sticky || last >= ways || random.u8(..4) == 0 {
                    last = random.usize(..ways);
                }
                last
            };
            let ended = run(&mut make(), faults, &mut choose);
            tried += 1;
            let ended = ended.unwrap_or_else(|violation| {
                panic!("{name}, after {tried} schedules, seed {seed}, {faults:?}: {violation}")
            });
            effects.jumps += ended.jumps;
            effects.faults += ended.faults;
        }
    }
    for ((jumps, fault_in), effects) in kinds.into_iter().zip(effects) {
        let all = (jumps == 0 || effects.jumps > 0) && (fault_in == 0 || effects.faults > 0);
        assert!(all, "{name}: of {jumps} jumps and one fault in {fault_in} calls only {effects:?} took effect");
    }
    println!("{name}: {tried} schedules");
}

fn events(numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    numbers.into_iter().map(event).collect()
}

/// Returns events that are on separate pages.
fn apart(numbers: &[u32]) -> Vec<String> {
    numbers.iter().copied().map(world::apart).collect()
}

fn twice(scene: Scene) -> Scene {
    let notices = scene.notices.iter().flat_map(|at| [at.clone(), at.clone()]).collect();
    Scene { notices, ..scene }
}

#[test]
fn one_object_announced_twice() {
    let make = || twice(Scene::new(World::with_lines_per_call(1), &[&events(1..=2)]));
    in_every_order("announced twice", 20_000, Faults::default(), make);
    in_every_order("announced twice, a lease ends", 20_000, Faults { jumps: 1, fault_in: 0 }, make);
    in_some_orders("announced twice", 150, make);
}

#[test]
fn two_objects_that_share_events() {
    let make = || Scene::new(World::with_lines_per_call(3), &[&events([1]), &events([1])]);
    in_every_order("share", 20_000, Faults::default(), make);
    in_some_orders("share, in several calls", 300, || {
        Scene::new(World::with_lines_per_call(2), &[&events(1..=5), &events((3..=8).rev())])
    });
}

#[test]
fn two_objects_that_own_each_others_events() {
    let make = || Scene::new(World::with_lines_per_call(1), &[&apart(&[1, 2]), &apart(&[2, 1])]);
    in_some_orders("crosswise", 400, make);
    in_some_orders("crosswise, each announced twice", 200, || twice(make()));
}

#[test]
fn three_objects_in_a_ring() {
    in_some_orders("ring", 250, || {
        let files = [apart(&[1, 2, 4]), apart(&[2, 3, 5]), apart(&[3, 1, 6])];
        Scene::new(World::with_lines_per_call(2), &files.each_ref().map(Vec::as_slice))
    });
}

#[test]
fn an_owner_that_returns_while_it_is_helped() {
    let make = |lines, call| {
        Scene::new(World::with_lines_per_call(lines), &[&events(1..=2), &events(2..=3)]).after_a_death_at(call)
    };
    in_every_order("owner returns", 60_000, Faults::default(), || make(3, 3));
    in_some_orders("owner returns after a call", 150, || make(1, 4));
    in_some_orders("two helpers and the owner", 200, || {
        let files = [events(1..=5), events(2..=4), events((3..=6).rev())];
        Scene::new(World::with_lines_per_call(2), &files.each_ref().map(Vec::as_slice)).after_a_death_at(5)
    });
}

#[test]
fn workers_that_fill_the_same_page() {
    in_some_orders("spill", 100, || {
        let world = World { page_bytes: 200, ..World::with_lines_per_call(6) };
        let files = [events(1..=6), events((4..=12).rev()), events((0..12).map(|number| number * 16))];
        Scene::new(world, &files.each_ref().map(Vec::as_slice))
    });
}

#[test]
fn objects_of_one_process_that_take_turns_at_a_page() {
    for (name, page_bytes) in [("turns", 32 << 10), ("turns at pages that fill", 200)] {
        in_some_orders(name, 80, || {
            let world = World { page_bytes, ..World::with_lines_per_call(2) }.in_one_process();
            let files = [events(1..=5), events((3..=8).rev()), events(6..=9)];
            Scene::new(world, &files.each_ref().map(Vec::as_slice))
        });
    }
    in_some_orders("turns after a death", 80, || {
        let world = World::with_lines_per_call(1).in_one_process();
        let files = [events(1..=3), events(2..=4), events((3..=5).rev())];
        Scene::new(world, &files.each_ref().map(Vec::as_slice)).after_a_death_at(5)
    });
}

#[test]
fn workers_that_meet_at_an_old_page() {
    for (name, age) in [("nearly expired", -7_200), ("expired", 1)] {
        in_some_orders(name, 120, || {
            let world = World { keep: 10 * 86_400, ..World::with_lines_per_call(2) };
            let files = [events(1..=4), events(2..=5), events((3..=6).rev())];
            let mut scene = Scene::new(world, &files.each_ref().map(Vec::as_slice)).after_a_death_at(5);
            scene.world.pass(10 * 86_400 + trailhose::ledger::PAGE_SLACK - LEASE + age);
            scene.watch.may_have_expired = age > 0;
            scene
        });
    }
}
