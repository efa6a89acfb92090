//! `SyncRun`: every object of a source is processed, and deferred objects are retried.

mod memory_source;
mod world;

use async_trait::async_trait;
use memory_source::MemorySource;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use trailhose::backoff::Pace;
use trailhose::ingest::{Ingest, Outcome};
use trailhose::object::{Object, ObjectRef};
use trailhose::source::{ListPage, Listing, Source, SourceError};
use trailhose::sync::{Completion, ObjectSelection, RetryPolicy, SyncEvent, SyncReport, SyncRun};
use world::{Fault, Wire, World, event, log};

/// A source with small listing pages whose listings and fetches can fail.
#[derive(Debug)]
struct Listed {
    inner: Arc<dyn Source>,
    memory_source: MemorySource,
    /// Number of list requests before the credentials expire.
    listings: usize,
    /// Listings of prefixes that contain this text are denied.
    denied: &'static str,
    /// Returns the failure of a fetch of this key.
    fault: fn(&str) -> Option<SourceError>,
    fetched: AtomicUsize,
    /// Number of fetches after which neither fetches nor listings are answered.
    lost_after: usize,
}

#[async_trait]
impl Source for Listed {
    async fn stat(&self, at: &ObjectRef) -> Result<ObjectRef, SourceError> {
        self.inner.stat(at).await
    }

    async fn fetch(&self, object: &Object) -> Result<Vec<u8>, SourceError> {
        if self.fetched.fetch_add(1, Ordering::SeqCst) >= self.lost_after {
            return Err(no_answer());
        }
        match (self.fault)(&object.key) {
            Some(error) => Err(error),
            None => self.inner.fetch(object).await,
        }
    }

    async fn list(&self, ask: &Listing<'_>) -> Result<ListPage, SourceError> {
        if self.fetched.load(Ordering::SeqCst) >= self.lost_after {
            return Err(no_answer());
        }
        if self.memory_source.requests() >= self.listings {
            return Err(SourceError::Unusable("the credentials are expired".into()));
        }
        if ask.prefix.contains(self.denied) {
            return Err(SourceError::Denied(format!("allow s3:ListBucket on {}", ask.prefix)));
        }
        self.memory_source.list(ask).await
    }
}

fn no_answer() -> SourceError {
    SourceError::Unreachable("connection refused".into())
}

/// Returns a source of these objects.
fn source(ingest: &Ingest, objects: Vec<ObjectRef>) -> Listed {
    let keys = objects.into_iter().map(|object| (object.key, object.etag.unwrap())).collect();
    Listed {
        inner: Arc::clone(&ingest.source),
        memory_source: MemorySource { keys: Mutex::new(keys), page: 3, ..MemorySource::default() },
        listings: usize::MAX,
        denied: "no prefix contains this",
        fault: |_| None,
        fetched: AtomicUsize::new(0),
        lost_after: usize::MAX,
    }
}

/// Returns a run over these objects with this worker.
fn walk(ingest: Ingest, objects: Vec<ObjectRef>, jobs: usize) -> SyncRun {
    let source = source(&ingest, objects);
    listed(ingest, source, jobs).0
}

fn listed(ingest: Ingest, source: Listed, jobs: usize) -> (SyncRun, Arc<Listed>) {
    let source = Arc::new(source);
    let short = Pace { base: Duration::from_millis(1), cap: Duration::from_millis(20) };
    let walk = SyncRun {
        ingest: Ingest { source: Arc::clone(&source) as Arc<dyn Source>, ..ingest },
        bucket: "logs".into(),
        prefix: String::new(),
        pages: None,
        selection: ObjectSelection::default(),
        jobs,
        retry_policy: RetryPolicy {
            failure_backoff: short,
            poll_backoff: short,
            max_wait: Duration::from_secs(5),
            ..RetryPolicy::default()
        },
    };
    (walk, source)
}

async fn run(walk: SyncRun) -> SyncReport {
    walk.run(watch::channel(false).1, &mut |_| {}).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn objects_that_share_events_are_all_completed() {
    let world = World::default();
    let objects: Vec<_> =
        (0..40).map(|n| world.put(&format!("n{n:04}x"), &log(&[event(n), event(n + 1), event(n + 2)]))).collect();
    let ended = run(walk(world.worker(&Arc::default()), objects, 8)).await;
    assert_eq!((ended.completion, ended.tally.objects, ended.tally.deferred), (Completion::Complete, 40, 0));
    let mut lines = world.delivered();
    lines.sort();
    let mut all: Vec<_> = (0..42).map(event).collect();
    all.sort();
    assert_eq!(lines, all);
}

#[tokio::test]
async fn failed_object_is_retried_in_the_same_run() {
    let world = World::default();
    let objects = vec![world.put("a", &log(&[event(1)])), world.put("b", &log(&[event(2)]))];
    // Rows, lease and fetch: the first attempt fails at the fetch.
    let wire = Arc::new(Wire::failing([(2, Fault::Refuse)]));
    let mut deferred = 0;
    let on_event = &mut |event: SyncEvent<'_>| deferred += u32::from(matches!(event, SyncEvent::Deferred(..)));
    let ended = walk(world.worker(&wire), objects, 1).run(watch::channel(false).1, on_event).await;
    assert_eq!((ended.completion, ended.tally.objects, ended.tally.failed, deferred), (Completion::Complete, 2, 0, 1));
    assert_eq!(world.delivered().len(), 2);
}

#[tokio::test]
async fn unavailable_ledger_aborts_the_run() {
    let world = World::default();
    let objects = (0..100).map(|n| world.put(&format!("n{n:04}x"), &log(&[event(n)]))).collect();
    let wire = Arc::new(Wire::failing([(0, Fault::Die)]));
    let ended = run(walk(world.worker(&wire), objects, 2)).await;
    let Completion::Aborted(reason) = ended.completion else { panic!("{:?}", ended.completion) };
    assert!(reason.starts_with("ledger: "), "{reason}");
    assert!(ended.tally.failed + ended.tally.deferred < 10, "{:?}", ended.tally);
    assert!(world.delivered().is_empty());
}

#[tokio::test]
async fn failed_objects_never_stop_the_others_in_any_order() {
    // Failures of single objects: a denial, and an error that is retried.
    fn denied(key: &str) -> Option<SourceError> {
        key.contains("bad").then(|| SourceError::Denied("allow kms:Decrypt".into()))
    }
    fn broken(key: &str) -> Option<SourceError> {
        key.contains("bad").then(|| SourceError::Unavailable("the transfer failed".into()))
    }
    // No answer at all for some objects, for example because their prefix is throttled.
    fn throttled(key: &str) -> Option<SourceError> {
        key.contains("bad").then(no_answer)
    }
    type Naming = fn(u32) -> String;
    let orders: [(&str, Naming); 3] = [
        ("bad first", |n| if n < 70 { format!("a{n:04}bad") } else { format!("b{n:04}good") }),
        ("bad last", |n| if n < 70 { format!("z{n:04}bad") } else { format!("b{n:04}good") }),
        ("mixed", |n| format!("{n:04}{}", if n % 8 == 7 { "good" } else { "bad" })),
    ];
    for fault in [denied, broken, throttled] {
        for (order, name) in orders {
            for jobs in [1, 4] {
                let world = World::default();
                let objects: Vec<_> = (0..80).map(|n| world.put(&name(n), &log(&[event(n)]))).collect();
                let bad = objects.iter().filter(|at| at.key.contains("bad")).count();
                let ingest = world.worker(&Arc::default());
                let source = Listed { fault, ..source(&ingest, objects) };
                let ended = run(listed(ingest, source, jobs).0).await;
                let (failed, done) = (ended.tally.failed as usize, ended.tally.objects as usize);
                assert_eq!(
                    (ended.completion, failed, done, world.delivered().len()),
                    (Completion::Complete, bad, 80 - bad, 80 - bad),
                    "{order}, {jobs} jobs"
                );
            }
        }
    }
}

#[tokio::test]
async fn source_that_stops_answering_aborts_the_run() {
    let world = World::default();
    let objects: Vec<_> = (0..500).map(|n| world.put(&format!("n{n:04}x"), &log(&[event(n)]))).collect();
    let ingest = world.worker(&Arc::default());
    let mut source = Listed { lost_after: 3, ..source(&ingest, objects) };
    // All objects are listed before the first fetch, so that only fetches can notice the loss.
    source.memory_source.page = 1000;
    let (walk, source) = listed(ingest, source, 2);
    let ended = run(walk).await;
    let Completion::Aborted(reason) = &ended.completion else { panic!("{:?}", ended.completion) };
    assert!(reason.contains("connection refused"), "{reason}");
    assert_eq!(ended.tally.objects, 3);
    assert!(source.fetched.load(Ordering::SeqCst) < 200, "{}", source.fetched.load(Ordering::SeqCst));
}

#[tokio::test]
async fn expired_credentials_abort_the_run_at_the_first_object() {
    let world = World::default();
    let objects = (0..100).map(|n| world.put(&format!("n{n:04}x"), &log(&[event(n)]))).collect();
    let ingest = world.worker(&Arc::default());
    let fault = |_: &str| Some(SourceError::Unusable("the AWS credentials are not accepted".into()));
    let (walk, source) = listed(ingest.clone(), Listed { fault, ..source(&ingest, objects) }, 1);
    let ended = run(walk).await;
    assert!(
        matches!(&ended.completion, Completion::Aborted(reason) if reason.contains("credentials")),
        "{:?}",
        ended.completion
    );
    assert_eq!(source.fetched.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn failed_listing_aborts_the_run() {
    let world = World::default();
    let objects: Vec<_> = (0..9).map(|n| world.put(&format!("n{n:04}x"), &log(&[event(n)]))).collect();
    let ingest = world.worker(&Arc::default());
    let source = source(&ingest, objects);
    // One request for each folder level down to the region, then two pages of the region.
    let (walk, _) = listed(ingest, Listed { listings: 6, ..source }, 1);
    let ended = run(walk).await;
    assert!(
        matches!(&ended.completion, Completion::Aborted(reason) if reason.contains("expired")),
        "{:?}",
        ended.completion
    );
    assert!(ended.tally.objects > 0, "objects listed before the error are started: {ended:?}");
    assert_eq!(ended.tally.objects as usize, world.delivered().len(), "started objects are finished");
}

/// A role or a file mode can deny the listing of one account's folder. This does not stop the others.
#[tokio::test]
async fn denied_folder_is_reported_and_the_others_are_listed() {
    let world = World::default();
    let mut objects: Vec<_> = (0..4).map(|n| world.put(&format!("n{n:04}x"), &log(&[event(n)]))).collect();
    let denied_key = objects[0].key.replace("111122223333", "444455556666");
    objects.push(world.put_at(&denied_key, &log(&[event(9)])));
    let ingest = world.worker(&Arc::default());
    for (denied, folder) in [("444455556666/", "AWSLogs/444455556666/"), ("eu-west-1/", "/eu-west-1/")] {
        let (walk, _) = listed(ingest.clone(), Listed { denied, ..source(&ingest, objects.clone()) }, 1);
        let mut failed = Vec::new();
        let on_event = &mut |event: SyncEvent<'_>| {
            if let SyncEvent::Finished(at, Outcome::Failed(failure)) = event {
                failed.push(format!("{}: {failure}", at.key));
            }
        };
        let ended = walk.run(watch::channel(false).1, on_event).await;
        assert_eq!((ended.completion, ended.tally.failed as usize), (Completion::Complete, failed.len()));
        assert!(!failed.is_empty() && failed.iter().all(|line| line.contains(folder)), "{failed:?}");
        assert!(failed.iter().all(|line| line.contains("allow s3:ListBucket")), "{failed:?}");
    }
    assert_eq!(world.delivered().len(), 4, "the other account is delivered");
    // Without the root, nothing can be listed.
    let (walk, _) = listed(ingest.clone(), Listed { denied: "", ..source(&ingest, objects) }, 1);
    assert!(matches!(run(walk).await.completion, Completion::Aborted(reason) if reason.contains("s3:ListBucket")));
}

#[tokio::test]
async fn stop_finishes_objects_in_progress_and_starts_no_others() {
    let world = World::default();
    let objects = (0..500).map(|n| world.put(&format!("n{n:04}x"), &log(&[event(n)]))).collect();
    let (halt, halted) = watch::channel(false);
    let seen = Mutex::new(0);
    let mut in_flight = None;
    let on_event = &mut |event: SyncEvent<'_>| match event {
        SyncEvent::Finished(_, Outcome::Done(_)) => {
            *seen.lock().unwrap() += 1;
            if *seen.lock().unwrap() == 10 {
                halt.send_replace(true);
            }
        }
        SyncEvent::Stopping(Completion::Stopped, flying) => in_flight = Some(flying),
        _ => {}
    };
    let ended = walk(world.worker(&Arc::default()), objects, 4).run(halted, on_event).await;
    assert_eq!(ended.completion, Completion::Stopped);
    assert!((10..=14).contains(&ended.tally.objects), "{:?}", ended.tally);
    assert!(in_flight.is_some_and(|flying| flying <= 4), "{in_flight:?}");
    assert_eq!(world.delivered().len() as u64, ended.tally.objects);
}

#[tokio::test]
async fn stop_reports_deferred_objects_with_their_last_outcome() {
    let world = World::default();
    let objects = vec![world.put("a", &log(&[event(1)]))];
    let ingest = world.worker(&Arc::default());
    let fault = |_: &str| Some(SourceError::Unavailable("the transfer failed".into()));
    let (mut walk, _) = listed(ingest.clone(), Listed { fault, ..source(&ingest, objects) }, 1);
    let long = Duration::from_secs(3600);
    walk.retry_policy.failure_backoff = Pace { base: long, cap: long };
    let (halt, halted) = watch::channel(false);
    let mut finished = Vec::new();
    let on_event = &mut |event: SyncEvent<'_>| match event {
        SyncEvent::Deferred(..) => drop(halt.send_replace(true)),
        SyncEvent::Finished(at, Outcome::Failed(failure)) => finished.push(format!("{}: {failure}", at.key)),
        _ => {}
    };
    let ended = walk.run(halted, on_event).await;
    assert_eq!((ended.completion, ended.tally.failed, ended.tally.objects), (Completion::Stopped, 1, 0));
    let [object] = &finished[..] else { panic!("{finished:?}") };
    assert!(object.contains("_a0") && object.contains("the transfer failed"), "{object}");
}

#[test]
fn aborted_run_outweighs_later_runs() {
    let aborted = |reason: &str| Completion::Aborted(reason.to_owned());
    for (first, second, expected) in [
        (aborted("a"), Completion::Complete, aborted("a")),
        (Completion::Complete, aborted("a"), aborted("a")),
        (aborted("a"), Completion::Stopped, aborted("a")),
        (Completion::Stopped, aborted("a"), aborted("a")),
        (aborted("a"), aborted("b"), aborted("a; b")),
        (Completion::Stopped, Completion::Complete, Completion::Stopped),
        (Completion::Complete, Completion::Stopped, Completion::Stopped),
        (Completion::Complete, Completion::Complete, Completion::Complete),
    ] {
        let of = |completion: &Completion| SyncReport { completion: completion.clone(), ..SyncReport::default() };
        let mut report = of(&first);
        report.merge(of(&second));
        assert_eq!(report.completion, expected, "{first:?}, then {second:?}");
    }
}

#[tokio::test]
async fn completed_objects_are_neither_leased_nor_fetched_again() {
    let world = World::default();
    let objects: Vec<_> = (0..9).map(|n| world.put(&format!("n{n:04}x"), &log(&[event(n)]))).collect();
    run(walk(world.worker(&Arc::default()), objects.clone(), 2)).await;
    let wire = Arc::new(Wire::default());
    let ended = run(walk(world.worker(&wire), objects, 2)).await;
    assert_eq!((ended.completion, ended.tally.already_done, ended.tally.objects), (Completion::Complete, 9, 0));
    let calls = wire.calls();
    assert!(!calls.is_empty() && calls.iter().all(|call| *call == "rows"), "{calls:?}");
    assert_eq!(world.delivered().len(), 9);
}

#[tokio::test]
async fn failed_ledger_lookup_is_retried() {
    let world = World::default();
    let objects = vec![world.put("a", &log(&[event(1)]))];
    let wire = Arc::new(Wire::failing([(0, Fault::Refuse)]));
    let ended = run(walk(world.worker(&wire), objects, 1)).await;
    assert_eq!((ended.completion, ended.tally.objects), (Completion::Complete, 1));
}

#[tokio::test]
async fn replaced_object_is_quarantined_and_its_new_version_delivered_in_the_same_run() {
    let world = World::default();
    let old = world.put("a", &log(&[event(1)]));
    world.put("a", &log(&[event(1), event(2)]));
    let ended = run(walk(world.worker(&Arc::default()), vec![old], 1)).await;
    assert_eq!(
        (ended.completion, ended.tally.objects, ended.tally.quarantined["changed"]),
        (Completion::Complete, 1, 1)
    );
    assert_eq!(world.delivered(), [event(1), event(2)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listing_that_changes_loses_and_repeats_no_object() {
    for seed in 0..20 {
        let world = World::default();
        let stay: Vec<_> = (0..40).map(|n| world.put(&format!("n{n:04}x"), &log(&[event(n)]))).collect();
        // Next to every object that stays, another one is added or removed before every page. These are not logs, so they
        // are never fetched.
        let between: Vec<String> = stay.iter().map(|at| format!("{}.swp", at.key)).collect();
        let ingest = world.worker(&Arc::default());
        let mut source = source(&ingest, stay);
        source.memory_source.before = Some(Box::new(move |number, keys| {
            let mut random = fastrand::Rng::with_seed(seed * 1000 + number as u64);
            for key in &between {
                match random.bool() {
                    true => keys.insert(key.clone(), "e".into()),
                    false => keys.remove(key),
                };
            }
        }));
        let ended = run(listed(ingest, source, 2).0).await;
        assert_eq!(
            (&ended.completion, ended.tally.objects, ended.tally.already_done),
            (&Completion::Complete, 40, 0),
            "seed {seed}"
        );
        assert!(ended.tally.skipped["other_extension"] > 0, "seed {seed}: nothing changed");
        assert_eq!(world.delivered().len(), 40, "seed {seed}");
    }
}
