//! `trailhose lake compact`: the Parquet files contain every line of the lake once, also after interruptions.
//!
//! DuckDB reads the files, so that the program is not compared with itself.

mod bed;
mod laptop;

use bed::config;
use bed::emulator::Emulator;
use laptop::{Ran, files, gzip, run, text, trailhose, trailhose_at};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Events of real shapes that arrive on two days: most events of the sample bucket, and lines that are hard to store.
struct Lake {
    folder: tempfile::TempDir,
    dest: tempfile::TempDir,
}

const HARD_LINES: [&str; 6] = [
    r#"{"eventID":"no-time","userIdentity":{"arn":"a"}}"#,
    r#"{"eventTime":"yesterday","eventID":"no-valid-time","userIdentity":null}"#,
    r#"{"eventTime":"2026-01-05T01:02:03Z","userIdentity":{"type":"Root","sessionContext":{}},"userIdentity":{"type":"AWSService","invokedBy":"x"},"apiVersion":1.50,"requestParameters":{"tags":{"Name":1,"name":2}, "a": "\u0022é"}}"#,
    r#"{"eventTime":"2026-01-05T23:59:59.999Z","userAgent":"é\u2028\"","tlsDetails":{"tlsVersion":"TLSv1.3"},"resources":[{"ARN":"x"}],"readOnly":false,"errorCode":null}"#,
    r#"{"eventTime":"2026-01-05T01:02:03Z","userIdentity":"text","requestParameters":"text"}"#,
    "[not an object",
];

impl Lake {
    fn new() -> Self {
        let synced = tempfile::tempdir().unwrap();
        let sample = bed::root().join("events/bucket");
        assert_eq!(run(&["sync", text(&sample), text(synced.path()), "--quiet"]).code(), 0);
        let paths = files(synced.path()).into_iter().filter(|path| path.extension().is_some_and(|end| end == "jsonl"));
        let mut lines: Vec<String> = paths
            .flat_map(|path| {
                let content = std::fs::read_to_string(path).unwrap();
                content.split_terminator('\n').map(str::to_owned).collect::<Vec<_>>()
            })
            .collect();
        lines.sort();
        assert_eq!(lines.len(), 379);
        let lake = Self { folder: tempfile::tempdir().unwrap(), dest: tempfile::tempdir().unwrap() };
        lake.put("2026-03-01", "one", &lines[..100]);
        lake.put("2026-03-01", "two", &lines[100..250]);
        lake.put("2026-03-02", "one", &lines[250..]);
        lake.put("2026-03-02", "two", &HARD_LINES.map(str::to_owned));
        lake
    }

    fn path(&self, day: &str, name: &str) -> PathBuf {
        self.folder.path().join(format!("events/dt={day}/{name}.jsonl.gz"))
    }

    fn put(&self, day: &str, name: &str, lines: &[String]) {
        let path = self.path(day, name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, gzip(&(lines.join("\n") + "\n"))).unwrap();
    }

    fn compact(&self, more: &[&str]) -> Ran {
        let args = ["lake", "compact", text(self.folder.path()), text(self.dest.path()), "--json"];
        run(&[&args[..], more].concat())
    }

    fn parquet(&self) -> Vec<PathBuf> {
        let paths = files(self.dest.path());
        paths.into_iter().filter(|path| path.extension().is_some_and(|end| end == "parquet")).collect()
    }

    fn record(&self, day: &str) -> PathBuf {
        self.dest.path().join(format!("_compacted/dt={day}.json"))
    }

    /// Compares the Parquet files with the lake and returns the number of rows.
    fn compare(&self) -> usize {
        let python = bed::root().join(".tools/ministack/bin/python");
        let script = bed::root().join("tests/lake_compact/compare.py");
        let template = bed::root().join("template.yaml");
        let mut command = Command::new(python);
        command.arg(script).args([text(self.folder.path()), text(self.dest.path()), text(&template)]);
        let ran = Ran(command.output().unwrap());
        assert_eq!(ran.code(), 0, "{}", ran.err());
        ran.out().trim().parse().unwrap()
    }
}

#[test]
fn every_line_is_in_one_row_of_its_event_day_with_its_columns() {
    let lake = Lake::new();
    let dry = lake.compact(&["--dry-run"]);
    assert_eq!((dry.code(), dry.json()["days"][1]["files"].as_u64()), (0, Some(2)), "{dry:?}");
    assert!(lake.parquet().is_empty());

    let ran = lake.compact(&[]);
    assert_eq!(ran.code(), 0, "{ran:?}");
    let report = ran.json();
    let [first, second] = [&report["days"][0], &report["days"][1]];
    assert_eq!([&first["arrived"], &second["arrived"]], ["2026-03-01", "2026-03-02"]);
    assert_eq!((first["events"].as_u64(), first["files"].as_u64()), (Some(250), Some(2)));
    assert_eq!((second["events"].as_u64(), second["without_time"].as_u64()), (Some(135), Some(2)));
    assert_eq!(second["not_objects"], 1);
    let parquet = lake.parquet();
    assert_eq!(
        parquet.len() as u64,
        first["parquet_files"].as_u64().unwrap() + second["parquet_files"].as_u64().unwrap()
    );
    assert_eq!(lake.compare(), 385);

    // A file that arrives later is in a batch of its own, and nothing else is written again.
    let again = lake.compact(&[]).json();
    assert_eq!((again["days"][0]["files"].as_u64(), again["days"][0]["earlier_files"].as_u64()), (Some(0), Some(2)));
    lake.put("2026-03-01", "late", &[r#"{"eventTime":"2026-01-05T00:00:00Z","eventID":"late"}"#.to_owned()]);
    let late = lake.compact(&[]);
    assert_eq!((late.code(), late.json()["days"][0]["events"].as_u64()), (0, Some(1)), "{late:?}");
    assert_eq!(lake.parquet().len(), parquet.len() + 1);
    assert_eq!(lake.compare(), 386);

    // The table has a column for each field.
    let ran = run(&["lake", "table", "s3://lake/compacted/", "--database", "trailhose"]);
    let statement = ran.out();
    assert!(statement.contains("\n  `eventtime` string,\n") && statement.contains("LOCATION 's3://lake/compacted/'"));
}

/// The columns of the statement are those of the table `events` in `template.yaml`, and the bytes.
#[test]
fn table_has_the_columns_of_the_table_of_events() {
    let statement = run(&["lake", "table", "s3://lake", "--database", "trailhose"]).out();
    let (_, columns) = statement.split_once("(\n").unwrap();
    let (columns, _) = columns.split_once("\n)").unwrap();
    let template = std::fs::read_to_string(bed::root().join("template.yaml")).unwrap();
    let (_, table) = template.split_once("        Name: events\n").unwrap();
    let (_, listed) = table.split_once("          Columns:\n").unwrap();
    let listed = listed.lines().map_while(|line| line.trim().strip_prefix("- { Name: "));
    let mut expected: Vec<String> = listed
        .map(|column| {
            let (name, kind) = column.trim_end_matches(" }").split_once(", Type: ").unwrap();
            format!("  `{name}` {}", kind.trim_matches('"'))
        })
        .collect();
    assert!(expected.len() > 30, "{expected:?}");
    expected.push("  `line` string".into());
    assert_eq!(columns, expected.join(",\n"));
}

#[test]
fn interrupted_compaction_is_repeated_without_duplicates() {
    let lake = Lake::new();
    let report = lake.compact(&[]).json();
    // The state after a kill between two files: some of the files in the record do not exist.
    let record = lake.record("2026-03-01");
    let mut content: Value = serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap();
    content["batches"][0]["state"] = "publishing".into();
    let missing = lake.dest.path().join(content["batches"][0]["outputs"][0]["key"].as_str().unwrap());
    std::fs::write(&record, content.to_string()).unwrap();
    std::fs::remove_file(missing).unwrap();
    // Meanwhile another file arrived, so the repeated files contain other events than before.
    lake.put("2026-03-01", "late", &[r#"{"eventTime":"2026-01-05T00:00:00Z","eventID":"late"}"#.to_owned()]);
    let again = lake.compact(&[]);
    assert_eq!(again.code(), 0, "{again:?}");
    let day = &again.json()["days"][0];
    assert_eq!((day["events"].as_u64(), day["files"].as_u64()), (Some(251), Some(3)));
    assert_eq!(day["removed_files"], report["days"][0]["parquet_files"]);
    assert_eq!(lake.compare(), 386);
}

/// The files of the lake expire. Then the Parquet files of an interrupted run are the only copy of the events.
#[test]
fn files_of_an_interrupted_run_are_kept_if_the_lake_has_lost_its_files() {
    let lake = Lake::new();
    assert_eq!(lake.compact(&[]).code(), 0);
    let record = lake.record("2026-03-01");
    let mut content: Value = serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap();
    content["batches"][0]["state"] = "publishing".into();
    std::fs::write(&record, content.to_string()).unwrap();
    let expired = lake.path("2026-03-01", "one");
    let kept = std::fs::read(&expired).unwrap();
    std::fs::remove_file(&expired).unwrap();
    let before = lake.parquet();
    // Not all files of the interrupted run exist: nothing is removed.
    let output = lake.dest.path().join(content["batches"][0]["outputs"][0]["key"].as_str().unwrap());
    let aside = lake.dest.path().join("aside");
    std::fs::rename(&output, &aside).unwrap();
    let refused = lake.compact(&[]);
    assert_eq!((refused.code(), lake.parquet().len()), (1, before.len() - 1), "{refused:?}");
    assert!(refused.err().contains("events/dt=2026-03-01/one.jsonl.gz is missing (1 in total)"), "{}", refused.err());
    // All exist: the interrupted run is completed.
    std::fs::rename(&aside, &output).unwrap();
    let completed = lake.compact(&[]);
    assert_eq!((completed.code(), lake.parquet()), (0, before), "{completed:?}");
    std::fs::write(&expired, kept).unwrap();
    assert_eq!(lake.compare(), 385);
}

#[test]
fn compaction_that_is_killed_anywhere_is_completed_by_the_next_one() {
    let lake = Lake::new();
    let args = ["lake", "compact", text(lake.folder.path()), text(lake.dest.path()), "--json"];
    let mut kills = 0;
    for milliseconds in (10..).step_by(10) {
        let mut child = trailhose().args(args).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        child.kill().unwrap();
        kills += u32::from(!child.wait().unwrap().success());
        if lake.record("2026-03-02").exists() {
            break;
        }
    }
    assert!(kills > 1, "nothing was interrupted");
    assert_eq!(lake.compact(&[]).code(), 0);
    assert_eq!(lake.compare(), 385);
}

#[test]
fn day_with_an_unreadable_file_is_not_compacted_and_others_are() {
    let lake = Lake::new();
    let path = lake.path("2026-03-01", "two");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 40]).unwrap();
    let ran = lake.compact(&[]);
    assert_eq!(ran.code(), 1, "{ran:?}");
    let report = ran.json();
    assert!(report["days"][0]["error"].as_str().unwrap().contains("nothing of this day is compacted"), "{report}");
    assert!(ran.err().contains("two.jsonl.gz"), "{}", ran.err());
    assert!(!lake.record("2026-03-01").exists());
    assert_eq!(report["days"][1]["events"], 135);
    assert!(lake.parquet().iter().all(|path| text(path).contains("/2026-03-02-")));

    std::fs::write(&path, whole).unwrap();
    assert_eq!(lake.compact(&[]).code(), 0);
    assert_eq!(lake.compare(), 385);
}

#[test]
fn replaced_file_and_invalid_record_are_errors_of_their_day() {
    let lake = Lake::new();
    assert_eq!(lake.compact(&[]).code(), 0);
    lake.put("2026-03-01", "one", &["{}".to_owned()]);
    std::fs::write(lake.record("2026-03-02"), "{").unwrap();
    let ran = lake.compact(&[]);
    assert_eq!((ran.code(), ran.json()["failed_days"].as_u64()), (1, Some(2)), "{ran:?}");
    let (_, errors) = ran.err().split_once("2026-03-01").map(|(_, errors)| ((), errors.to_owned())).unwrap();
    assert!(errors.contains("was replaced after it was compacted"), "{errors}");
    assert!(errors.contains("_compacted/dt=2026-03-02.json is invalid"), "{errors}");
}

#[test]
fn second_compaction_into_the_same_folder_is_refused() {
    let lake = Lake::new();
    assert_eq!(lake.compact(&[]).code(), 0);
    let lock = std::fs::File::open(lake.dest.path().join("_compacted/.lock")).unwrap();
    lock.lock().unwrap();
    let ran = lake.compact(&[]);
    assert_eq!(ran.code(), 2, "{ran:?}");
    assert!(ran.err().contains("another process compacts into"), "{}", ran.err());
}

#[test]
fn cloudtrail_objects_are_not_a_lake() {
    let dest = tempfile::tempdir().unwrap();
    let sample = bed::root().join("events/bucket");
    let ran = run(&["lake", "compact", text(&sample), text(dest.path())]);
    assert_eq!(ran.code(), 2, "{ran:?}");
    assert!(ran.err().contains("is not a lake"), "{}", ran.err());
    // Neither is a folder that `sync` delivered to.
    let synced = tempfile::tempdir().unwrap();
    assert_eq!(run(&["sync", text(&sample), text(synced.path())]).code(), 0);
    let ran = run(&["lake", "compact", text(synced.path()), text(dest.path())]);
    assert!(ran.code() == 2 && ran.err().contains("is not a lake"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bucket_is_compacted_like_a_folder() {
    let lake = Lake::new();
    let emulator = Emulator::shared_moto();
    let endpoint = emulator.endpoint();
    let client = aws_sdk_s3::config::Builder::from(&config(&endpoint)).force_path_style(true).build();
    let client = aws_sdk_s3::Client::from_conf(client);
    let key = |path: &Path| path.strip_prefix(lake.folder.path()).unwrap().to_str().unwrap().to_owned();
    let objects = files(lake.folder.path()).into_iter().map(|path| (key(&path), std::fs::read(&path).unwrap()));
    bed::bucket::create(&client, "lake-to-compact", objects).await;
    let compact = || {
        let args = ["lake", "compact", "s3://lake-to-compact", "s3://lake-to-compact/compacted", "--json"];
        Ran(trailhose_at(&endpoint).args(args).output().unwrap())
    };
    let ran = compact();
    assert_eq!(ran.code(), 0, "{ran:?}");
    assert_eq!(ran.json()["days"][0]["events"], 250);

    let listed = client.list_objects_v2().bucket("lake-to-compact").prefix("compacted/").send().await.unwrap();
    for object in listed.contents() {
        let key = object.key().unwrap();
        let content = client.get_object().bucket("lake-to-compact").key(key).send().await.unwrap();
        let path = lake.dest.path().join(key.strip_prefix("compacted/").unwrap());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content.body.collect().await.unwrap().to_vec()).unwrap();
    }
    assert_eq!(lake.compare(), 385);
    let again = compact().json();
    assert_eq!([&again["days"][0]["files"], &again["days"][1]["files"]], [&json!(0), &json!(0)]);
}
