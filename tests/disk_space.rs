//! `--min-free`: `sync` starts nothing while the disk has less free space, says why, and continues when there is enough.

mod laptop;

use laptop::{Bucket, assert_delivered, events, run, text};

#[test]
fn low_disk_space_stops_the_run_and_nothing_is_lost() {
    let (bucket, out) = (Bucket::new(), tempfile::tempdir().unwrap());
    bucket.put_log("a", &events(0..10));
    let sync = |options: &[&str]| run(&[&["sync", text(bucket.path()), text(out.path())], options].concat());
    let stopped = sync(&["--min-free", "9999TiB"]);
    assert_eq!(stopped.code(), 1, "{stopped:?}");
    for part in ["the file system", text(out.path()), "bytes) free", "trailhose prune", "--min-free"] {
        assert!(stopped.err().contains(part), "{part}: {stopped:?}");
    }
    assert_eq!(sync(&["--min-free", "0"]).code(), 0);
    assert_delivered(out.path(), &events(0..10));
    // A run that has nothing to deliver needs no space.
    assert_eq!(sync(&["--min-free", "9999TiB"]).code(), 0);
    let invalid = sync(&["--min-free", "5%"]);
    assert!(invalid.code() == 2 && invalid.err().contains("500MB or 1GiB"), "{invalid:?}");
}
