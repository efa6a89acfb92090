//! `trailhose sync` from a bucket: delivers the same files as from a folder, and reports S3 errors in one line.

mod bed;
mod laptop;

use bed::config;
use bed::emulator::Emulator;
use bed::faults::{Fault, Faults};
use laptop::{Bucket, Ran, assert_delivered, events, files, gzip, lines, log, run, text, trailhose_at};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

async fn client(endpoint: &str) -> aws_sdk_s3::Client {
    let config = aws_sdk_s3::config::Builder::from(&config(endpoint)).force_path_style(true).build();
    aws_sdk_s3::Client::from_conf(config)
}

/// Puts every file of a folder into a bucket, each under its path.
async fn upload(endpoint: &str, bucket: &str, folder: &Path) {
    let key = |path: &Path| path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
    let objects = files(folder).into_iter().map(|path| (key(&path), std::fs::read(&path).unwrap()));
    bed::bucket::create(&client(endpoint).await, bucket, objects).await;
}

/// Returns every written file by its path without the ledger ID at the start of its name.
fn written(out: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let of = |path: &Path| {
        let name = path.file_name().unwrap().to_str().unwrap().split_once('-').unwrap().1;
        (path.strip_prefix(out).unwrap().with_file_name(name), std::fs::read(path).unwrap())
    };
    files(out).iter().map(|path| of(path)).collect()
}

/// With one job, the order of objects does not depend on the source, and with one checkpoint, files are numbered in the
/// same order. So all bytes must be equal.
async fn equals_the_folder(emulator: &Emulator) {
    let sample = bed::root().join("events/bucket");
    let from_folder = tempfile::tempdir().unwrap();
    let plain =
        run(&["sync", text(&sample), text(from_folder.path()), "--jobs", "1", "--checkpoint", "3600", "--json"]);
    assert_eq!(plain.code(), 0, "{plain:?}");
    upload(&emulator.endpoint(), "sample", &sample).await;
    let from_bucket = tempfile::tempdir().unwrap();
    let args = ["sync", "s3://sample", text(from_bucket.path()), "--jobs", "1", "--checkpoint", "3600", "--json"];
    let ran = Ran(trailhose_at(&emulator.endpoint()).args(args).output().unwrap());
    assert_eq!(ran.code(), 0, "{ran:?}");
    let (folder, bucket) = (plain.json(), ran.json());
    for figure in ["objects", "skipped", "quarantined", "seen", "delivered", "duplicate", "json_bytes", "sent_bytes"] {
        assert_eq!(bucket[figure], folder[figure], "{figure}");
    }
    assert_eq!(bucket["delivered"], 379);
    let expected = written(from_folder.path());
    assert!(expected.len() > 5);
    let found = written(from_bucket.path());
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    assert!(found == expected, "the same files, byte for byte");

    // With the default concurrency, the order may differ, but not the lines.
    let many = tempfile::tempdir().unwrap();
    let ran =
        Ran(trailhose_at(&emulator.endpoint()).args(["sync", "s3://sample", text(many.path())]).output().unwrap());
    assert_eq!(ran.code(), 0, "{ran:?}");
    assert_eq!(lines(many.path()), lines(from_folder.path()));
}

#[tokio::test(flavor = "multi_thread")]
async fn sample_bucket_in_ministack_is_delivered_like_the_folder() {
    equals_the_folder(Emulator::shared_ministack()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sample_bucket_in_moto_is_delivered_like_the_folder() {
    equals_the_folder(Emulator::shared_moto()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn query_and_question_read_a_bucket_like_the_folder() {
    let emulator = Emulator::shared_moto();
    let sample = bed::root().join("events/bucket");
    upload(&emulator.endpoint(), "queried", &sample).await;
    for args in [
        &[
            "query",
            "SOURCE",
            "--since",
            "2026-02-01",
            "--group-by",
            "eventSource,eventName",
            "--limit",
            "none",
            "--json",
        ][..],
        &["ask", "SOURCE", "failed requests by user in 2026"],
        &["sql", "SOURCE", "SELECT count(*), max(eventTime) FROM events WHERE eventTime >= '2026-01-01'", "--json"],
    ] {
        let at = |source: &str| {
            let args = args.iter().map(|arg| if *arg == "SOURCE" { source } else { arg });
            let ran = Ran(trailhose_at(&emulator.endpoint()).args(args).output().unwrap());
            assert_eq!(ran.code(), 0, "{ran:?}");
            assert!(ran.err().contains("in 29 files"), "{ran:?}");
            ran.out()
        };
        let (of_folder, of_bucket) = (at(text(&sample)), at("s3://queried"));
        assert!(!of_folder.is_empty());
        assert_eq!(of_bucket, of_folder, "{args:?}");
    }
    let denied = Ran(trailhose_at(&emulator.endpoint()).args(["query", "s3://no-such-bucket"]).output().unwrap());
    assert_eq!(denied.code(), 2, "{denied:?}");
    assert!(denied.err().contains("no-such-bucket"), "{denied:?}");
}

/// Returns a proxy for a bucket of two logs.
async fn small(bucket: &str) -> Faults {
    let emulator = Emulator::shared_moto();
    let folder = Bucket::new();
    folder.put_log("a", &events(0..3));
    folder.put_log("b", &events(3..6));
    upload(&emulator.endpoint(), bucket, folder.path()).await;
    Faults::before(emulator)
}

fn sync(faults: &Faults, bucket: &str, out: &Path) -> Ran {
    Ran(trailhose_at(&faults.endpoint()).args(["sync", &format!("s3://{bucket}"), text(out)]).output().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_bucket_and_denied_listing_are_one_line_and_start_nothing() {
    let faults = small("listing-denied").await;
    let out = tempfile::tempdir().unwrap();
    let ran = sync(&faults, "there-is-no-such-bucket", out.path());
    assert_eq!((ran.code(), ran.err().lines().count(), ran.out().as_str()), (2, 1, ""), "{ran:?}");
    assert!(ran.err().contains("bucket there-is-no-such-bucket does not exist"), "{ran:?}");

    faults.on("ListObjectsV2", 0..usize::MAX, Fault::Deny);
    let ran = sync(&faults, "listing-denied", out.path());
    assert_eq!((ran.code(), ran.err().lines().count(), ran.out().as_str()), (2, 1, ""), "{ran:?}");
    assert!(ran.err().contains("allow s3:ListBucket on listing-denied"), "{ran:?}");
    assert!(lines(out.path()).is_empty());
    faults.heal();
    assert_eq!(sync(&faults, "listing-denied", out.path()).code(), 0);
    assert_delivered(out.path(), &events(0..6));
}

#[tokio::test(flavor = "multi_thread")]
async fn denied_decryption_is_one_line_and_other_objects_are_delivered() {
    let faults = small("decryption-denied").await;
    let out = tempfile::tempdir().unwrap();
    faults.when(|call| (call.operation == "GetObject" && call.path.contains("a000")).then_some(Fault::Deny));
    let ran = sync(&faults, "decryption-denied", out.path());
    let denied: Vec<String> =
        ran.err().lines().filter(|line| line.starts_with("failed: ")).map(str::to_owned).collect();
    assert_eq!((ran.code(), denied.len()), (1, 1), "{ran:?}");
    assert!(denied[0].contains("kms:Decrypt"), "{denied:?}");
    assert!(ran.err().contains("not delivered yet; fix the causes of the failures above and rerun"), "{ran:?}");
    assert_delivered(out.path(), &events(3..6));
    faults.heal();
    assert_eq!(sync(&faults, "decryption-denied", out.path()).code(), 0);
    assert_delivered(out.path(), &events(0..6));
}

/// An account whose key denies decryption has more objects than any limit, and they are listed first.
#[tokio::test(flavor = "multi_thread")]
async fn denied_objects_of_one_account_do_not_stop_the_other_accounts() {
    let emulator = Emulator::shared_moto();
    let folder = Bucket::new();
    for number in 0..45 {
        let account = if number < 40 { "111122223333" } else { "444455556666" };
        let name = format!("{number:03}");
        let key = laptop::key(account, "CloudTrail", "eu-west-1", "2026-11-01", &name);
        folder.put(&key, &gzip(&log(&events(number..number + 1))));
    }
    upload(&emulator.endpoint(), "one-account-denied", folder.path()).await;
    let faults = Faults::before(emulator);
    faults.when(|call| (call.operation == "GetObject" && call.path.contains("111122223333_")).then_some(Fault::Deny));
    let out = tempfile::tempdir().unwrap();
    let args = ["sync", "s3://one-account-denied", text(out.path()), "--json"];
    let ran = Ran(trailhose_at(&faults.endpoint()).args(args).output().unwrap());
    let said = ran.json();
    assert_eq!((ran.code(), &said["failed"], &said["delivered"]), (1, &40.into(), &5.into()), "{said}");
    assert_eq!((&said["result"], said["not_ingested"].as_array().unwrap().len()), (&"complete".into(), 40), "{said}");
    assert_delivered(out.path(), &events(40..45));
    assert_eq!(faults.count("GetObject"), 45, "a denied object is fetched once");
}

#[tokio::test(flavor = "multi_thread")]
async fn listing_that_fails_on_a_later_page_is_completed_by_the_next_run() {
    let emulator = Emulator::shared_moto();
    let folder = Bucket::new();
    let body = gzip(&log(&events(0..2)));
    for account in 0..30 {
        let account = format!("{:012}", 111_122_223_333u64 + account);
        folder.put(&laptop::key(&account, "CloudTrail", "eu-west-1", "2026-11-01", "x"), &body);
    }
    upload(&emulator.endpoint(), "breaks-off", folder.path()).await;
    let faults = Faults::before(emulator);
    faults.on("ListObjectsV2", 40..usize::MAX, Fault::Deny);
    let out = tempfile::tempdir().unwrap();
    let ran = sync(&faults, "breaks-off", out.path());
    assert!(ran.code() != 0 && ran.err().contains("s3:ListBucket"), "{ran:?}");
    faults.heal();
    let rest = Ran(trailhose_at(&faults.endpoint())
        .args(["sync", "s3://breaks-off", text(out.path()), "--json"])
        .output()
        .unwrap());
    let said = rest.json();
    assert_eq!(
        (rest.code(), said["objects"].as_u64().unwrap() + said["already_done"].as_u64().unwrap()),
        (0, 30),
        "{said}"
    );
    assert_delivered(out.path(), &events(0..2));
}

#[tokio::test]
async fn misspelled_stream_is_reported_once_and_nothing_is_leased() {
    let emulator = Emulator::shared_ministack();
    let (bucket, home) = (Bucket::new(), tempfile::tempdir().unwrap());
    for object in 0..8 {
        bucket.put_log(&format!("{object}"), &events(object * 3..object * 3 + 3));
    }
    let ledger = home.path().join("ledger.db");
    let args = ["sync", text(bucket.path()), "firehose://no-such-stream", "--ledger", text(&ledger)];
    let ran = Ran(trailhose_at(&emulator.endpoint()).args(args).output().unwrap());
    assert_eq!((ran.code(), ran.err().lines().count(), ran.out().as_str()), (2, 1, ""), "{ran:?}");
    assert!(ran.err().contains("Firehose stream no-such-stream does not exist"), "{ran:?}");
    assert!(!ledger.exists(), "no object was leased");
}
