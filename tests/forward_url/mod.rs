//! A URL as the destination of `trailhose sync` and of `trailhose generate`.

use super::{KEY, assert_forwarded, assert_signed, lines};
use crate::laptop::{self, Bucket, Ran, assert_delivered, events, run, text, trailhose};
use crate::receiver::{Answer, Receiver};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Returns the spool folder of the only URL.
fn spool(folder: &Path) -> PathBuf {
    let entries: Vec<_> = std::fs::read_dir(folder.join("trailhose-spool")).unwrap().collect();
    assert_eq!(entries.len(), 1);
    entries[0].as_ref().unwrap().path()
}

#[tokio::test(flavor = "multi_thread")]
async fn url_as_the_destination_gets_every_event_and_files_are_released() {
    let receiver = Receiver::start(Answer::status(500)).await;
    let (bucket, folder) = (Bucket::new(), tempfile::tempdir().unwrap());
    bucket.put_log("a", &events(0..500));
    std::fs::write(folder.path().join("keys"), KEY).unwrap();
    let sync = async |options: &[&str]| {
        let mut command = trailhose();
        command.current_dir(folder.path()).args(["sync", text(bucket.path()), &receiver.url]).args(options);
        Ran(tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap())
    };
    let refused = sync(&[]).await;
    assert!(refused.code() == 2 && refused.err().contains("does not start with https"), "{refused:?}");
    let failing = sync(&["--allow-private", "--keys-file", "keys"]).await;
    assert_eq!(failing.code(), 1, "{failing:?}");
    assert!(failing.err().contains("forward sync has not sent everything: status 500"), "{}", failing.err());
    let spool = spool(folder.path());
    assert_delivered(&spool, &events(0..500));

    receiver.set(Answer::status(200));
    bucket.put_log("b", &events(500..900));
    let retried = run(&["forward", "retry", "--dest", text(&spool)]);
    assert_eq!(retried.code(), 0, "{retried:?}");
    let sent = sync(&["--allow-private", "--keys-file", "keys"]).await;
    assert_eq!(sent.code(), 0, "{sent:?}");
    assert_forwarded(&receiver.requests(), &events(0..900));
    receiver.requests().iter().for_each(|request| assert_signed(request, KEY));
    assert!(laptop::files(&spool).is_empty(), "files are deleted after their events are accepted");

    let before = receiver.requests().len();
    bucket.put_log("c", &events(900..950));
    assert_eq!(sync(&["--allow-private"]).await.code(), 0);
    assert_forwarded(&receiver.requests()[before..], &events(900..950));
    let misplaced = run(&["sync", text(bucket.path()), text(&folder.path().join("out")), "--allow-private"]);
    assert!(misplaced.code() == 2 && misplaced.err().contains("--allow-private needs a URL"), "{misplaced:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_events_are_sent_as_a_forward_sends_them() {
    let receiver = Receiver::start(Answer::status(200)).await;
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    std::fs::write(&keys, KEY).unwrap();
    let generate = async |options: &[&str]| {
        let arguments = [&["generate", "--to", &receiver.url, "--files", "20"], options].concat();
        let mut command = trailhose();
        command.args(arguments);
        Ran(tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap())
    };
    let ran = generate(&["--allow-private", "--keys-file", text(&keys)]).await;
    assert_eq!(ran.code(), 0, "{ran:?}");
    let requests = receiver.requests();
    let sent: Vec<String> = requests.iter().flat_map(lines).collect();
    assert!(sent.len() > 50 && sent.iter().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{}", sent.len());
    assert!(ran.err().contains(&format!("sent {} events in {} request", sent.len(), requests.len())), "{}", ran.err());
    requests.iter().for_each(|request| assert_signed(request, KEY));
    assert_eq!(generate(&[]).await.code(), 2, "http:// needs --allow-private");
    receiver.set(Answer::status(403));
    let ran = generate(&["--allow-private"]).await;
    assert!(ran.code() == 1 && ran.err().contains("not accepted: status 403"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn spool_is_sent_before_its_files_are_deleted_also_after_its_state_was_lost() {
    let receiver = Receiver::start(Answer::status(200)).await;
    let (bucket, folder) = (Bucket::new(), tempfile::tempdir().unwrap());
    let spool = folder.path().join("out");
    bucket.put_log("a", &events(0..200));
    // A folder that a sync without a forward filled.
    assert_eq!(run(&["sync", text(bucket.path()), text(&spool)]).code(), 0);
    let sync = async || {
        let mut command = trailhose();
        command.args(["sync", text(bucket.path()), &receiver.url, "--allow-private", "--spool", text(&spool)]);
        Ran(tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap())
    };
    let sent = sync().await;
    assert_eq!(sent.code(), 0, "{sent:?}");
    assert_forwarded(&receiver.requests(), &events(0..200));

    receiver.set(Answer::status(500));
    bucket.put_log("b", &events(200..300));
    assert_eq!(sync().await.code(), 1);
    for file in ["state.db", "state.db-wal", "state.db-shm"] {
        let _ = std::fs::remove_file(spool.join(".trailhose").join(file));
    }
    let before = receiver.requests().len();
    receiver.set(Answer::status(200));
    let sent = sync().await;
    assert_eq!(sent.code(), 0, "{sent:?}");
    assert_forwarded(&receiver.requests()[before..], &events(200..300));
}

#[tokio::test(flavor = "multi_thread")]
async fn new_forward_keeps_the_files_that_a_retention_would_delete() {
    let receiver = Receiver::start(Answer::status(500)).await;
    let (bucket, folder) = (Bucket::new(), tempfile::tempdir().unwrap());
    bucket.put_log("a", &events(0..200));
    let out = folder.path().join("out");
    assert_eq!(run(&["sync", text(bucket.path()), text(&out)]).code(), 0);
    let settings = folder.path().join("trailhose.toml");
    let source = format!("dest = \"out\"\nkeep_days = 1\n[[source]]\nfolder = {:?}\n", bucket.path());
    let forward = format!("[[forward]]\nname = \"siem\"\nurl = {:?}\nallow_private = true\n", receiver.url);
    std::fs::write(&settings, source + &forward).unwrap();
    let sync = async || laptop::run_blocking(laptop::sync_arguments(&settings)).await;
    let failing = sync().await;
    assert!(failing.err().contains("old files are kept: ") && failing.err().contains("forward-siem"), "{failing:?}");
    receiver.set(Answer::status(200));
    assert_eq!(run(&["forward", "retry", "--dest", text(&out)]).code(), 0);
    assert_eq!(sync().await.code(), 0);
    assert_forwarded(&receiver.requests(), &events(0..200));
    assert_eq!(sync().await.code(), 0);
    assert!(laptop::files(&out).is_empty(), "files are deleted after every follower has read them");
}
