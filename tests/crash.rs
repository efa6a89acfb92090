//! A worker that fails at any call, or at any two calls, loses no event and repeats at most the interrupted call.
//!
//! Every call of a worker goes over a wire. Each scenario runs with a fault at each call, then with two faults at pairs
//! of calls, in the same attempt or in later ones, then with random series of faults. The ledger invariants must hold
//! after each attempt, and in the end every event must be delivered. The single faults and some series run again with
//! SQLite next to the in-memory store: both must return the same results. A sample of the pairs is tested;
//! `TRAILHOSE_EXPLORE=all` tests all of them.

mod world;

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;
use trailhose::event::filter::Filter;
use trailhose::ingest::{Deferred, Outcome};
#[cfg(feature = "cli")]
use trailhose::ledger::store::sqlite::CommitMode;
use trailhose::object::ObjectRef;
use world::check::{Watch, check_report};
use world::{Fault, Wire, World, apart, event, long_event, plain_log};

const FAULTS: [Fault; 3] = [Fault::Refuse, Fault::LoseReply, Fault::Die];

/// Number of tested pairs of faults per scenario, and of random series.
const PAIRS: usize = 600;
const STORMS: u64 = 100;

/// Number of random series per scenario that run with SQLite, too.
#[cfg(feature = "cli")]
const STORMS_ON_SQLITE: u64 = 20;

/// Limit of attempts. A scenario that exceeds it counts as endless.
const ATTEMPTS: usize = 120;

/// The state before the first notification, and what happens in a run.
struct Scenario {
    world: World,
    objects: Vec<ObjectRef>,
    /// Objects that end in quarantine.
    quarantined: Vec<ObjectRef>,
    /// If set, a worker of the first quarantined object crashes at this call before all others.
    dies_at: Option<usize>,
    /// Seconds that pass after the first attempt with a fault, or after each if `items_expire` is set.
    pause: i64,
    /// Whether rows and pages expire in that time. Then repeats are not limited.
    items_expire: bool,
}

impl Scenario {
    fn new(world: World, files: &[&[String]]) -> Self {
        let objects =
            files.iter().enumerate().map(|(number, events)| world.put(&format!("object{number}"), &plain_log(events)));
        let objects = objects.collect();
        Self { world, objects, quarantined: Vec::new(), dies_at: None, pause: 0, items_expire: false }
    }

    fn pausing(self, pause: i64, items_expire: bool) -> Self {
        Self { pause, items_expire, ..self }
    }
}

/// Whether a fault at this call may repeat a delivery, because the call is between a delivery and its cursor write.
fn may_repeat(call: &str, fault: Fault) -> bool {
    match call {
        "deliver" => fault != Fault::Refuse,
        // These writes record a delivery. If only the reply is lost, the write has taken effect.
        "advance" | "settle" | "complete" => fault == Fault::Refuse,
        // Reads between a delivery and its cursor write.
        "rows" | "pages" => true,
        // A helper records one call on several pages.
        "write_page" => fault == Fault::Die,
        _ => false,
    }
}

/// Runs a scenario with a plan of faults. Returns the number of calls and of injected faults.
async fn run(scenario: &Scenario, plan: Vec<(usize, Fault)>) -> Result<(usize, usize), String> {
    let Scenario { world, objects, items_expire, .. } = scenario;
    let mut pause = scenario.pause;
    let wire = Arc::new(Wire::failing(plan));
    let mut watch = Watch::new(world, objects);
    watch.may_have_expired = *items_expire;
    if let Some(call) = scenario.dies_at {
        let wire = Arc::new(Wire::failing([(call, Fault::Die)]));
        let outcome = world.ingest_over(&wire, &scenario.quarantined[0]).await;
        assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
        world.pass(86_400);
    }
    for at in &scenario.quarantined {
        world.bucket.objects.lock().unwrap().remove(&at.key);
    }
    let mut queue: VecDeque<ObjectRef> = objects.iter().cloned().collect();
    let (mut idle, mut wake, mut attempts) = (0, i64::MAX, 0);
    while let Some(at) = queue.pop_front() {
        attempts += 1;
        if attempts > ATTEMPTS {
            return Err(format!("{at} is still not done after {ATTEMPTS} attempts, calls {:?}", wire.calls()));
        }
        let hits = wire.hit().len();
        let outcome = world.ingest_over(&wire, &at).await;
        let died = wire.revive();
        watch.check(world).map_err(|violation| format!("{violation}; calls {:?}", wire.calls()))?;
        if wire.hit().len() > hits {
            world.pass(pause);
            if *items_expire {
                delete_expired(world);
            } else {
                pause = 0;
            }
        }
        idle += 1;
        match outcome {
            Outcome::Done(report) => {
                check_report(&report)?;
                idle = 0;
            }
            Outcome::AlreadyDone | Outcome::Quarantined(_) => idle = 0,
            Outcome::Skipped(_) | Outcome::Deferred(Deferred::OutOfTime) => return Err(format!("{at}: {outcome:?}")),
            Outcome::Deferred(Deferred::Leased { until } | Deferred::OwnerInProgress { until }) => {
                wake = wake.min(until);
                queue.push_back(at);
                if idle >= queue.len() {
                    world.pass_until(wake);
                    (idle, wake) = (0, i64::MAX);
                }
                continue;
            }
            // Only a fault explains a failure.
            Outcome::Failed(_) if wire.hit().len() > hits => idle = 0,
            Outcome::Failed(failure) => return Err(format!("{at} failed without a fault: {failure}")),
        }
        // The message of a crashed worker becomes visible again.
        if died || matches!(outcome, Outcome::Failed(_)) {
            queue.push_back(at);
        }
    }
    let (calls, hits) = (wire.calls().len(), wire.hit().len());
    let quarantined: Vec<_> = scenario.quarantined.iter().map(|at| at.object().unwrap().id()).collect();
    watch.check_end(world, &quarantined)?;
    let delivered = world.delivered().len();
    if !items_expire {
        let bound: usize = wire.hit().iter().filter(|(call, fault)| may_repeat(call, *fault)).count();
        let line = event(1).len() + 1;
        let most = bound * (world.limits.call_bytes / line);
        if watch.repeats() > most {
            return Err(format!("{} repeats, at most {most} expected; hit {:?}", watch.repeats(), wire.hit()));
        }
        // A duplicate notification finds the object done.
        for at in objects {
            let outcome = world.ingest(at).await;
            if !matches!(outcome, Outcome::AlreadyDone | Outcome::Quarantined(_)) || world.delivered().len() > delivered
            {
                return Err(format!("{at} again: {outcome:?}"));
            }
        }
    }
    Ok((calls, hits))
}

/// Deletes the expired items of the store.
fn delete_expired(world: &World) {
    let now = world.now.load(std::sync::atomic::Ordering::SeqCst);
    let mut kept = world.store.contents();
    kept.rows.retain(|_, row| row.expires.is_none_or(|expires| expires > now));
    kept.pages.retain(|_, page| page.live(now));
}

/// Tests every single fault, pairs of faults, and random series.
async fn inject_faults(name: &str, make: impl Fn() -> Scenario) {
    let runs = Cell::new(0);
    let tried = async |scenario: Scenario, plan: Vec<(usize, Fault)>| {
        runs.set(runs.get() + 1);
        let ended = run(&scenario, plan.clone()).await;
        ended.unwrap_or_else(|violation| panic!("{name}, after {} runs, {plan:?}: {violation}", runs.get()))
    };
    // These plans have faults only at calls that an earlier run made. The order of pages varies between runs, so some
    // runs make fewer calls.
    let (planned, injected) = (Cell::new(0), Cell::new(0));
    let tried_all = async |scenario: Scenario, plan: Vec<(usize, Fault)>| {
        planned.set(planned.get() + plan.len());
        let (calls, hits) = tried(scenario, plan).await;
        injected.set(injected.get() + hits);
        calls
    };
    let assert_injected = || {
        let (planned, injected) = (planned.get(), injected.get());
        assert!(injected * 10 >= planned * 9, "{name}: only {injected} of {planned} planned faults were injected");
    };
    let calls = tried_all(make(), Vec::new()).await;
    let mut pairs = Vec::new();
    for first in 0..calls {
        for fault in FAULTS {
            let after = tried_all(make(), vec![(first, fault)]).await;
            let seconds = (first + 1..after).flat_map(|second| FAULTS.map(|other| (second, other)));
            pairs.extend(seconds.map(|second| vec![(first, fault), second]));
        }
    }
    let (points, all) = (calls * FAULTS.len(), pairs.len());
    let mut random = fastrand::Rng::with_seed(7);
    random.shuffle(&mut pairs);
    if !every_pair() {
        pairs.truncate(PAIRS);
    }
    let pairs_tried = pairs.len();
    for pair in pairs {
        tried_all(make(), pair).await;
    }
    let mut faults_in_storms = 0;
    for seed in 0..STORMS {
        let (_, hits) = tried(make(), storm(seed)).await;
        faults_in_storms += hits;
    }
    assert!(faults_in_storms > 0, "{name}: the random series injected no fault");
    assert_injected();
    println!("{name}: {calls} calls, {points} faults, {pairs_tried} of {all} pairs, {STORMS} random series");
    // SQLite keeps expired items, so its results would differ after the in-memory store deletes them.
    #[cfg(feature = "cli")]
    if !make().items_expire {
        let before = runs.get();
        let folder = tempfile::tempdir().unwrap();
        let beside = || {
            let file = folder.path().join(format!("{}.db", runs.get()));
            let mut scenario = make();
            let store = trailhose::ledger::store::sqlite::Sqlite::open(&file, CommitMode::Grouped).unwrap();
            scenario.world.beside = Some(Arc::new(store));
            scenario
        };
        for first in 0..calls {
            for fault in FAULTS {
                tried_all(beside(), vec![(first, fault)]).await;
            }
        }
        for seed in 0..STORMS_ON_SQLITE {
            tried(beside(), storm(seed)).await;
        }
        assert_injected();
        println!("{name}, with SQLite: {} runs", runs.get() - before);
    }
}

/// Returns a plan with a fault at about every sixth call.
fn storm(seed: u64) -> Vec<(usize, Fault)> {
    let mut random = fastrand::Rng::with_seed(seed);
    let stormy = (0..60).filter(|_| random.u8(..6) == 0).collect::<Vec<_>>();
    stormy.into_iter().map(|call| (call, FAULTS[random.usize(..3)])).collect()
}

/// Whether to test all pairs, which takes too long for CI.
fn every_pair() -> bool {
    match std::env::var_os("TRAILHOSE_EXPLORE") {
        None => false,
        Some(scope) if scope == "all" => true,
        // A misspelled value must not select the small exploration.
        Some(scope) => panic!("TRAILHOSE_EXPLORE={}: expected all", scope.display()),
    }
}

fn events(numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    numbers.into_iter().map(event).collect()
}

fn apart_all(numbers: &[u32]) -> Vec<String> {
    numbers.iter().map(|&number| apart(number)).collect()
}

#[tokio::test]
async fn an_object_of_one_call() {
    inject_faults("one call", || Scenario::new(World::with_lines_per_call(3), &[&events(1..=3)])).await;
}

#[tokio::test]
async fn an_object_of_several_calls() {
    inject_faults("several calls", || Scenario::new(World::with_lines_per_call(2), &[&events(1..=7)])).await;
}

#[tokio::test]
async fn an_object_decompressed_twice() {
    let world = || World { max_buffered_bytes: 0, ..World::with_lines_per_call(2) };
    inject_faults("decompressed twice", || Scenario::new(world(), &[&events(1..=5), &events(4..=8)])).await;
}

#[tokio::test]
async fn an_object_fetched_in_chunks() {
    let world = || World { chunk_bytes: 90, max_buffered_bytes: 0, ..World::with_lines_per_call(2) };
    inject_faults("in chunks", || Scenario::new(world(), &[&events(1..=5), &events(4..=8)])).await;
}

#[tokio::test]
async fn an_object_with_repeats() {
    inject_faults("repeats", || Scenario::new(World::with_lines_per_call(2), &[&events([1, 2, 1, 1, 3, 2, 4])])).await;
}

#[tokio::test]
async fn an_object_without_events() {
    inject_faults("empty", || Scenario::new(World::default(), &[&[]])).await;
}

#[tokio::test]
async fn an_object_with_filtered_events() {
    let filter = Filter::parse("eventTime=2026-11-01T02:00:00Z|2026-11-01T03:00:00Z").unwrap();
    let world = || World { filter: filter.clone(), ..World::with_lines_per_call(1) };
    inject_faults("filtered", || Scenario::new(world(), &[&apart_all(&[1, 2, 4, 3]), &apart_all(&[3, 4, 5, 2])])).await;
}

#[tokio::test]
async fn two_objects_that_share_all() {
    inject_faults("share all", || Scenario::new(World::with_lines_per_call(4), &[&events(1..=4), &events(1..=4)]))
        .await;
}

#[tokio::test]
async fn two_objects_that_share_all_in_several_calls() {
    inject_faults("share all, several calls", || {
        Scenario::new(World::with_lines_per_call(2), &[&events(1..=5), &events((1..=5).rev())])
    })
    .await;
}

#[tokio::test]
async fn two_objects_that_share_one() {
    inject_faults("share one", || Scenario::new(World::with_lines_per_call(2), &[&events(1..=3), &events(3..=6)]))
        .await;
}

#[tokio::test]
async fn two_objects_that_own_each_others_events() {
    inject_faults("crosswise", || {
        Scenario::new(World::with_lines_per_call(2), &[&apart_all(&[1, 2, 3]), &apart_all(&[3, 2, 1])])
    })
    .await;
}

#[tokio::test]
async fn three_objects_in_a_ring() {
    inject_faults("ring", || {
        let files = [apart_all(&[1, 2, 4]), apart_all(&[2, 3, 5]), apart_all(&[3, 1, 6])];
        Scenario::new(World::with_lines_per_call(2), &files.each_ref().map(Vec::as_slice))
    })
    .await;
}

#[tokio::test]
async fn the_same_events_in_other_formatting() {
    let pretty: Vec<_> = events(1..=3)
        .iter()
        .map(|event| event.replace(':', " : ").replace(',', ",\n\t").replace(" : 00", ":00"))
        .collect();
    inject_faults("pretty", || Scenario::new(World::with_lines_per_call(2), &[&events(1..=3), &pretty])).await;
}

#[tokio::test]
async fn pages_that_spill_into_shards() {
    // A page takes about nine events, so the shards are split, too.
    let world = || World { page_bytes: 200, ..World::with_lines_per_call(6) };
    inject_faults("spill", || {
        let files = [events(1..=7), events(5..=14), events((0..30).map(|number| number * 16)), events(1..=20)];
        Scenario::new(world(), &files.each_ref().map(Vec::as_slice))
    })
    .await;
}

#[tokio::test]
async fn pages_that_expire_while_their_object_waits() {
    const KEEP: i64 = 10 * 86_400;
    const PAGE_LIFE: i64 = KEEP + trailhose::ledger::PAGE_SLACK;
    let world = || World { keep: KEEP, page_bytes: 200, ..World::with_lines_per_call(2) };
    let files = [events(1..=5), events((3..=9).rev()), events(1..=12)];
    let files = files.each_ref().map(Vec::as_slice);
    inject_faults("expired", || Scenario::new(world(), &files).pausing(PAGE_LIFE + 1, true)).await;
    inject_faults("nearly expired", || Scenario::new(world(), &files).pausing(PAGE_LIFE - 7_200, false)).await;
}

#[tokio::test]
async fn an_owner_whose_object_is_gone() {
    for (name, dies_at) in [("gone after its claims", 3), ("gone after a call", 5)] {
        inject_faults(name, || {
            let world = World::with_lines_per_call(2);
            let gone = world.put("gone", &plain_log(&events(1..=5)));
            let others = [world.put("b", &plain_log(&events(2..=6))), world.put("c", &plain_log(&events(4..=8)))];
            let mut objects = others.to_vec();
            objects.insert(1, gone.clone());
            Scenario { world, objects, quarantined: vec![gone], dies_at: Some(dies_at), pause: 0, items_expire: false }
        })
        .await;
    }
}

#[tokio::test]
async fn events_too_long_for_a_record() {
    inject_faults("oversize", || {
        let files = [
            vec![event(1), long_event(2), event(3), long_event(5)],
            vec![long_event(2), long_event(4), long_event(5), long_event(2)],
        ];
        Scenario::new(World::with_short_records(), &files.each_ref().map(Vec::as_slice))
    })
    .await;
}
