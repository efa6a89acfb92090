//! `trailhose prune`: files of past days are deleted after every follower has read them, and no other command reports them as
//! missing.

mod collector;
mod laptop;

use collector::Collector;
use laptop::{Bucket, Ran, event, files, lines, run, text};
use std::path::Path;
use std::sync::Arc;
use trailhose::follow::follow;
use trailhose::sink::jsonl::CommittedSegments;
use trailhose::state::StateDatabase;

/// Returns an event of a day in November 2026.
fn event_on(day: u32, number: u32) -> String {
    event(number).replace("2026-11-01", &format!("2026-11-{day:02}"))
}

fn days(days: &[u32]) -> Vec<String> {
    days.iter().flat_map(|&day| (0..20).map(move |number| event_on(day, day * 100 + number))).collect()
}

struct Delivered {
    bucket: Bucket,
    out: tempfile::TempDir,
}

/// Delivers 20 events of each of the days 1 to 4, and one without a time.
fn delivered() -> Delivered {
    let (bucket, out) = (Bucket::new(), tempfile::tempdir().unwrap());
    bucket.put_log("a", &days(&[1, 2]));
    bucket.put_log("b", &days(&[3, 4]));
    bucket.put_log("c", &[event(9_999).replace("eventTime", "noTime")]);
    let delivered = Delivered { bucket, out };
    assert_eq!(delivered.sync(&["--compress", "zstd", "--jobs", "1"]).code(), 0);
    delivered
}

impl Delivered {
    fn out(&self) -> &str {
        text(self.out.path())
    }

    fn sync(&self, options: &[&str]) -> Ran {
        run(&[&["sync", text(self.bucket.path()), self.out(), "--json"], options].concat())
    }

    fn prune(&self, options: &[&str]) -> Ran {
        run(&[&["prune", self.out(), "--json"], options].concat())
    }

    fn segments(&self) -> Arc<CommittedSegments> {
        Arc::new(CommittedSegments::open(self.out.path(), &self.out.path().join(".trailhose/ledger.db")).unwrap())
    }

    fn state(&self) -> StateDatabase {
        StateDatabase::open(&self.out.path().join(".trailhose/state.db")).unwrap()
    }

    /// Runs a follower for at most this many batches, and returns its events.
    async fn follow(&self, batches: usize) -> Vec<String> {
        let mut collector = Collector::with_batches_of(7);
        let left = std::sync::atomic::AtomicUsize::new(batches);
        let stop = || left.load(std::sync::atomic::Ordering::Relaxed) == 0;
        let each = |_: &_| {
            left.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
        };
        follow(&mut collector, &self.segments(), &self.state(), &stop, &each).await.unwrap();
        collector.events
    }

    /// Asserts that the folder contains exactly these events.
    fn assert_contains(&self, events: &[String]) {
        let found = lines(self.out.path());
        assert!(found.values().all(|&copies| copies == 1), "{found:?}");
        let (mut found, mut expected): (Vec<_>, Vec<_>) = (found.into_keys().collect(), events.to_vec());
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
    }
}

fn kept() -> Vec<String> {
    [days(&[3, 4]), vec![event(9_999).replace("eventTime", "noTime")]].concat()
}

fn count(folder: &Path, sql: &str) -> i64 {
    let ledger = rusqlite::Connection::open(folder.join(".trailhose/ledger.db")).unwrap();
    ledger.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn pruned_files_are_not_missing_and_their_events_are_not_delivered_again() {
    let delivered = delivered();
    assert_eq!(run(&["index", "build", delivered.out()]).code(), 0);
    // Three batches of 7 events are read, of 40 events of the days to prune.
    assert_eq!(delivered.follow(3).await.len(), 21);

    // A dry run, a refusal and a missing answer delete nothing.
    let before = files(delivered.out.path());
    let refused = delivered.prune(&["--before", "2026-11-03", "--yes"]);
    let report = refused.json();
    assert_eq!((refused.code(), &report["files"], &report["events"]), (1, &2.into(), &40.into()), "{refused:?}");
    assert_eq!((&report["unread"][0]["follower"], &report["unread"][0]["events"]), (&"collector".into(), &19.into()));
    assert_eq!(delivered.prune(&["--before", "2026-11-03", "--dry-run"]).code(), 1);
    delivered.follow(usize::MAX).await;
    let shown = delivered.prune(&["--before", "2026-11-03", "--dry-run"]);
    assert_eq!((shown.code(), &shown.json()["undated_files"]), (0, &1.into()), "{shown:?}");
    let unanswered = delivered.prune(&["--before", "2026-11-03"]);
    assert!(unanswered.code() == 2 && unanswered.err().contains("--yes"), "{unanswered:?}");
    assert_eq!(files(delivered.out.path()), before);

    let pruned = delivered.prune(&["--before", "2026-11-03", "--yes"]);
    assert_eq!((pruned.code(), &pruned.json()["deleted"]), (0, &2.into()), "{pruned:?}");
    delivered.assert_contains(&kept());
    let again = delivered.prune(&["--before", "2026-11-03", "--yes"]);
    assert_eq!((again.code(), &again.json()["files"]), (0, &0.into()), "{again:?}");

    // No command reports the files as missing, and no event is delivered again, not even from a copy in another object.
    delivered.bucket.put_log("copy", &days(&[1, 2]));
    for options in [&[][..], &["--rebuild"]] {
        let synced = delivered.sync(options);
        let report = synced.json();
        assert_eq!((synced.code(), &report["missing_files"]), (0, &0.into()), "{synced:?}");
        assert_eq!(report["done"]["delivered"].as_u64().unwrap_or(0), 0, "{synced:?}");
        delivered.assert_contains(&kept());
    }
    let verified = run(&["ledger", "verify", delivered.out(), "--json"]);
    assert_eq!((verified.code(), &verified.json()["events"]), (0, &41.into()), "{verified:?}");
    assert!(delivered.follow(usize::MAX).await.is_empty());

    // The index and the record of segments do not keep what is pruned. One segment remains: it is the position of a
    // follower.
    let status = run(&["index", "status", delivered.out(), "--json"]).json();
    assert_eq!((&status["events"], &status["backlog_events"]), (&41.into(), &0.into()));
    let id = "00000000-0000-4000-8000-000000000064";
    assert_eq!(run(&["events", delivered.out(), "--id", id]).code(), 4);
    let pruned = "SELECT count(*) FROM segments JOIN segment_files ON number = file WHERE removed = 'pruned'";
    assert!(count(delivered.out.path(), pruned) <= 1);

    // A late event of a pruned day is delivered, and pruned by the next run.
    let late = event_on(1, 5_000);
    delivered.bucket.put_log("late", std::slice::from_ref(&late));
    assert_eq!(delivered.sync(&[]).code(), 0);
    delivered.assert_contains(&[kept(), vec![late.clone()]].concat());
    assert_eq!(delivered.prune(&["--before", "2026-11-03", "--yes"]).code(), 1, "no follower has read the late event");
    assert_eq!(delivered.follow(usize::MAX).await, [late]);
    assert_eq!(run(&["index", "build", delivered.out()]).code(), 0);
    assert_eq!(delivered.prune(&["--before", "2026-11-03", "--yes"]).code(), 0);
    delivered.assert_contains(&kept());
    assert_eq!(run(&["ledger", "verify", delivered.out()]).code(), 0);
}

#[tokio::test]
async fn ignored_follower_skips_pruned_events_and_counts_them() {
    let delivered = delivered();
    assert_eq!(delivered.follow(3).await.len(), 21);
    let unknown = delivered.prune(&["--before", "2026-11-03", "--yes", "--ignore-follower", "colector"]);
    assert!(unknown.code() == 2 && unknown.err().contains("are: collector"), "{unknown:?}");
    let pruned = delivered.prune(&["--before", "2026-11-03", "--yes", "--ignore-follower", "collector"]);
    assert_eq!((pruned.code(), &pruned.json()["deleted"]), (0, &2.into()), "{pruned:?}");
    // The follower continues with the first event that exists, and its record contains the number of skipped events.
    assert_eq!(delivered.follow(usize::MAX).await.len(), 41);
    let skipped = delivered.state().follower("collector").unwrap().unwrap();
    assert_eq!((skipped.events, skipped.skipped_events), (62, 19));
    // Now no follower needs the segments.
    assert_eq!(delivered.prune(&["--before", "2026-11-03", "--yes"]).code(), 0);
    let pruned = "SELECT count(*) FROM segment_files WHERE removed = 'pruned'";
    assert_eq!(count(delivered.out.path(), pruned), 0);
}

#[tokio::test]
async fn sync_deletes_files_after_their_retention() {
    let (bucket, out) = (Bucket::new(), tempfile::tempdir().unwrap());
    bucket.put_log("a", &[event(1).replace("2026-11-01", "2001-11-01"), event(2).replace("eventTime", "noTime")]);
    let delivered = Delivered { bucket, out };
    assert_eq!(delivered.sync(&[]).json()["pruned_files"], 0);
    assert_eq!(delivered.follow(0).await.len(), 0);
    // A follower exists and has not read the file: the run delivers, warns, and keeps it.
    let mut state = delivered.state().follower("collector").unwrap().unwrap_or_default();
    state.folder = delivered.segments().folder_id().to_owned();
    delivered.state().put_follower("collector", &state).unwrap();
    // The newest event is of 2001, so the clock seems to be ahead.
    let ahead = delivered.sync(&["--keep-days", "30"]);
    let warning = "more than 45 days after 2001-11-01T00:00:00Z";
    assert!(ahead.err().contains(warning) && ahead.err().contains("trailhose prune"), "{ahead:?}");
    assert_eq!((ahead.code(), files(delivered.out.path()).len()), (0, 2));
    let days_ago = |days: i64| jiff::Timestamp::now().as_second() - days * 86_400;
    delivered.state().record_retention_run("files", days_ago(46)).unwrap();
    assert!(delivered.sync(&["--keep-days", "30"]).err().contains("more than 45 days after"));
    delivered.state().record_retention_run("files", days_ago(44)).unwrap();
    let kept = delivered.sync(&["--keep-days", "30"]);
    assert!(kept.err().contains("collector has not read these files (unread events: 1)"), "{kept:?}");
    assert_eq!((kept.code(), files(delivered.out.path()).len()), (0, 2));
    assert_eq!(delivered.follow(usize::MAX).await.len(), 2);
    let pruned = delivered.sync(&["--keep-days", "30"]);
    assert_eq!(
        (pruned.code(), &pruned.json()["pruned_files"], &pruned.json()["pruned_events"]),
        (0, &1.into(), &1.into())
    );
    assert_eq!(files(delivered.out.path()).len(), 1);
}

/// After a reset, an event is in the files twice. A file that cannot be deleted is a folder here.
#[test]
fn dry_run_and_prune_count_the_same_and_undeleted_files_are_said() {
    let delivered = delivered();
    let object = delivered.bucket.put_log("again", &days(&[1]));
    assert_eq!(delivered.sync(&[]).code(), 0);
    let ledger = delivered.out.path().join(".trailhose/ledger.db");
    let owner = files(delivered.bucket.path()).into_iter().find(|file| *file != object).unwrap();
    let reset = run(&["ledger", "reset", text(&owner), "--ledger", text(&ledger), "--yes"]);
    assert_eq!((reset.code(), delivered.sync(&[]).code()), (0, 0), "{reset:?}");
    let shown = delivered.prune(&["--before", "2026-11-03", "--dry-run"]).json();
    let file = files(delivered.out.path()).into_iter().find(|file| text(file).contains("date=2026-11-01")).unwrap();
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    let table = run(&["prune", delivered.out(), "--before", "2026-11-03", "--yes"]);
    let printed = table.out();
    assert!(
        table.code() == 1 && printed.contains("not deleted: ") && !printed.contains("The files are deleted"),
        "{printed}"
    );
    assert!(printed.contains("Some files could not be deleted. The others are deleted."), "{printed}");
    assert!(!printed.contains("interrupted prune"), "{printed}");
    let row = format!("events {:>25}", shown["events"].as_u64().unwrap());
    assert!(printed.contains(row.trim_end()), "{row:?}: {printed}");
}

#[test]
fn day_and_age_are_checked() {
    let delivered = delivered();
    for (options, message) in [
        (&["--yes"][..], "--before <DAY>|--older-than <AGE>"),
        (&["--before", "2026-11-03", "--older-than", "90d"], "cannot be used with"),
        (&["--older-than", "2026-11-03"], "use 90d or 12w"),
        (&["--before", "yesterday"], "use YYYY-MM-DD"),
    ] {
        let ran = delivered.prune(options);
        assert!(ran.code() == 2 && ran.err().contains(message), "{options:?}: {ran:?}");
    }
    let kept = delivered.prune(&["--older-than", "9999w", "--yes"]);
    assert_eq!((kept.code(), &kept.json()["files"]), (0, &0.into()), "{kept:?}");
}

/// A forward that was added to the settings, or whose position was lost, has read nothing.
#[test]
fn files_are_kept_for_a_forward_of_the_settings_that_has_not_run() {
    let delivered = delivered();
    let home = tempfile::tempdir().unwrap();
    let settings = format!(
        "dest = {:?}\n[[source]]\nfolder = {:?}\n[[forward]]\nname = \"siem\"\nurl = \"https://siem.example/\"\n",
        delivered.out.path(),
        delivered.bucket.path()
    );
    std::fs::write(home.path().join("trailhose.toml"), settings).unwrap();
    let mut prune = laptop::trailhose();
    let prune = prune.current_dir(home.path()).args(["prune", text(delivered.out.path())]);
    let refused = Ran(prune.args(["--before", "2026-11-03", "--yes"]).output().unwrap());
    assert_eq!(refused.code(), 1, "{refused:?}");
    let said = refused.out() + &refused.err();
    assert!(said.contains("forward-siem has not read"), "{said}");
    assert_eq!(delivered.prune(&["--before", "2026-11-03", "--yes", "--ignore-follower", "forward-siem"]).code(), 0);
}
