//! Concurrency: workers that meet at the same events, in every order that matters.
//!
//! Each worker is a future, and each of its calls waits at a gate. A scheduler on one thread opens one gate at a time:
//! by trying every order where there are few, by a seeded choice where there are many. It may let a lease's time pass
//! in between, or let a worker die. After every call the ledger must hold what it always holds.

mod world;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use trailhose::ingest::{Deferred, Outcome};
use trailhose::object::ObjectRef;
use world::check::{Watch, check_report};
use world::{Fault, Gate, Wire, World, event, plain_log};

/// Rounds of redelivery after which a scene is taken to go on for ever.
const ROUNDS: usize = 60;

/// Longer than any lease.
const LEASE: i64 = 2_000;

/// A world, and one notification a worker.
struct Scene {
    world: World,
    notices: Vec<ObjectRef>,
    watch: Watch,
    /// Workers that died before the schedule begins.
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

    /// The first object's worker died at this call, and its lease has ended.
    fn after_a_death_at(mut self, call: usize) -> Self {
        let wire = Arc::new(Wire::failing([(call, Fault::Die)]));
        let first = alone(self.world.ingest_over(&wire, &self.notices[0]));
        assert!(matches!(first, Outcome::Failed(_)), "{first:?}");
        self.world.pass(LEASE);
        self.watch.check(&self.world).unwrap();
        self.deaths += 1;
        self
    }
}

/// What a schedule may do beside letting a worker make its next call.
#[derive(Debug, Clone, Copy, Default)]
struct Mischief {
    /// How often a lease's time may pass.
    jumps: usize,
    /// One call in so many fails; none if 0.
    fault_in: u8,
}

/// Runs a future to its end that waits for nothing.
fn alone(future: impl Future<Output = Outcome>) -> Outcome {
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
        match self.run.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => None,
        }
    }

    /// Makes the worker's next call, and all it does before the one after.
    fn step(&mut self) -> Option<Outcome> {
        self.gate.grant();
        let mut polls = 0;
        loop {
            match self.poll() {
                None if self.gate.is_granted() && polls < 4 => polls += 1,
                // It waits for another's turn to end, and makes no call before that.
                ended => {
                    self.gate.revoke();
                    return ended;
                }
            }
        }
    }
}

/// One schedule. `choose` picks one of so many ways to go on.
fn run(scene: &mut Scene, mischief: Mischief, choose: &mut dyn FnMut(usize) -> usize) -> Result<(), String> {
    let Scene { world, notices, watch, deaths } = scene;
    let (mut waiting, mut jumps, mut hits) = (notices.clone(), mischief.jumps, *deaths);
    for _ in 0..ROUNDS {
        let mut workers: Vec<_> =
            waiting.drain(..).map(|at| Worker::start(world, &at, plan(mischief, choose))).collect();
        let (mut wake, mut moved) = (i64::MAX, false);
        while !workers.is_empty() {
            let choice = choose(workers.len() + usize::from(jumps > 0));
            let Some(worker) = workers.get_mut(choice) else {
                jumps -= 1;
                world.pass(LEASE);
                continue;
            };
            let outcome = worker.step();
            // What only reads leaves nothing to check.
            if !matches!(worker.wire.calls().last(), Some(&"fetch" | &"pages" | &"rows")) {
                watch.check(world).map_err(|violation| format!("{violation}; {:?}", worker.wire.calls()))?;
            }
            let Some(outcome) = outcome else { continue };
            let worker = workers.remove(choice);
            let faults = worker.wire.hit().len();
            hits += faults;
            match outcome {
                Outcome::Deferred(Deferred::Leased { until } | Deferred::OwnerInProgress { until }) => {
                    wake = wake.min(until);
                    waiting.push(worker.at);
                    continue;
                }
                Outcome::Done(report) => check_report(&report)?,
                Outcome::AlreadyDone => {}
                Outcome::Failed(_) if faults > 0 || mischief.jumps > 0 => waiting.push(worker.at.clone()),
                other => return Err(format!("{}: {other:?} after {:?}", worker.at, worker.wire.calls())),
            }
            moved = true;
            // What a dead worker would have acknowledged comes back.
            if worker.wire.is_dead() && waiting.last() != Some(&worker.at) {
                waiting.push(worker.at);
            }
        }
        if waiting.is_empty() {
            watch.check_end(world, &[])?;
            let lines = world.limits.call_bytes / (event(1).len() + 1);
            let bounded = mischief.jumps == 0 && !watch.forgotten;
            if bounded && watch.repeats() > hits * lines {
                return Err(format!("{} repeats after {hits} faults", watch.repeats()));
            }
            return Ok(());
        }
        if !moved {
            world.pass_until(wake);
        }
    }
    Err(format!("no end: {waiting:?}"))
}

fn plan(mischief: Mischief, choose: &mut dyn FnMut(usize) -> usize) -> Vec<(usize, Fault)> {
    if mischief.fault_in == 0 {
        return Vec::new();
    }
    let calls = (0..40).filter(|_| choose(usize::from(mischief.fault_in)) == 0).collect::<Vec<_>>();
    calls.into_iter().map(|call| (call, [Fault::Refuse, Fault::LoseReply, Fault::Die][choose(3)])).collect()
}

/// Every order of the workers' calls, if they are no more than `most`.
fn in_every_order(name: &str, most: usize, mischief: Mischief, make: impl Fn() -> Scene) {
    let mut path: Vec<(usize, usize)> = Vec::new();
    for tried in 1..=most {
        let mut at = 0;
        let mut choose = |ways| {
            if at == path.len() {
                path.push((0, ways));
            }
            at += 1;
            path[at - 1].0
        };
        let ended = run(&mut make(), mischief, &mut choose);
        if let Err(violation) = ended {
            panic!(
                "{name}, after {tried} schedules, {:?}: {violation}",
                path.iter().map(|(choice, _)| choice).collect::<Vec<_>>()
            );
        }
        while path.pop_if(|(choice, ways)| *choice + 1 == *ways).is_some() {}
        match path.last_mut() {
            Some((choice, _)) => *choice += 1,
            None => return println!("{name}: all {tried} schedules"),
        }
    }
    panic!("{name}: more than {most} schedules");
}

/// So many seeded schedules of each kind: sound, with leases that end, with faults, with both.
fn in_some_orders(name: &str, schedules: u64, make: impl Fn() -> Scene) {
    let kinds = [(0, 0), (1, 0), (3, 0), (0, 12), (2, 12)];
    let mut tried = 0;
    for seed in 0..schedules {
        for (jumps, fault_in) in kinds {
            let mut random = fastrand::Rng::with_seed(seed);
            let mischief = Mischief { jumps, fault_in };
            // Long turns by one worker are as telling as quick changes: half of the sound seeds favour them.
            let (sticky, mut last) = (fault_in == 0 && seed % 2 == 0, 0);
            let mut choose = |ways| {
                if !sticky || last >= ways || random.u8(..4) == 0 {
                    last = random.usize(..ways);
                }
                last
            };
            let ended = run(&mut make(), mischief, &mut choose);
            tried += 1;
            ended.unwrap_or_else(|violation| {
                panic!("{name}, after {tried} schedules, seed {seed}, {mischief:?}: {violation}")
            });
        }
    }
    println!("{name}: {tried} schedules");
}

fn events(numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    numbers.into_iter().map(event).collect()
}

/// Events of pages of their own.
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
    in_every_order("announced twice", 20_000, Mischief::default(), make);
    in_every_order("announced twice, a lease ends", 20_000, Mischief { jumps: 1, fault_in: 0 }, make);
    in_some_orders("announced twice", 150, make);
}

#[test]
fn two_objects_that_share_events() {
    let make = || Scene::new(World::with_lines_per_call(3), &[&events([1]), &events([1])]);
    in_every_order("share", 20_000, Mischief::default(), make);
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
    in_every_order("owner returns", 60_000, Mischief::default(), || make(3, 3));
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
            scene.world.pass(10 * 86_400 - LEASE + age);
            scene.watch.forgotten = age > 0;
            scene
        });
    }
}
