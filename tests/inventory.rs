//! An S3 Inventory report instead of a listing: its objects, and the errors found before anything is started.

mod bed;
mod laptop;
mod report;

use aws_sdk_s3::Client;
use bed::emulator::Emulator;
use laptop::{Ran, assert_delivered, events, gzip, key, log, text, trailhose};
use report::{How, Report, Row, row};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use trailhose::listing::inventory::report_store::folder::FolderReportStore;
use trailhose::listing::inventory::{Inventory, InventoryError, RowCounts};
use trailhose::object::{ArchiveState, ObjectRef};

const ETAG: &str = "d41d8cd98f00b204e9800998ecf8427e";

async fn open(report: &Report) -> Result<Inventory, InventoryError> {
    let path = report.path();
    Inventory::open(&FolderReportStore::new(path.parent().unwrap()), "manifest.json", "logs").await
}

async fn all(inventory: Inventory, prefix: &str) -> Vec<ObjectRef> {
    let mut pages = inventory.pages(prefix);
    let mut found = Vec::new();
    while let Some(page) = pages.recv().await {
        let page = page.unwrap();
        assert!((1..=1000).contains(&page.len()), "{}", page.len());
        found.extend(page);
    }
    found
}

/// Returns rows for 2,345 objects, some with keys that need decoding, and for an old version and a delete marker.
fn rows() -> (Vec<Row>, BTreeSet<(String, u64)>) {
    let odd = ["a b", "a+b", "50%", "ü/🦀", "\"quoted\", with comma", "AWSLogs/x/y", "AWSLogs/xy/z"];
    let mut rows: Vec<Row> = (0..2345 - odd.len())
        .map(|number| row(format!("AWSLogs/111122223333/{:05}", number * 7919 % 100_000), ETAG, number as u64))
        .collect();
    rows.extend(odd.map(|key| row(key, "0123456789abcdef0123456789abcdef-12", 1 << 40)));
    let objects = rows.iter().map(|row| (row.key.clone(), row.size)).collect();
    rows.insert(7, Row { latest: false, ..row("AWSLogs/111122223333/00000", "old", 9) });
    rows.insert(900, Row { delete_marker: true, ..row("deleted", "", 0) });
    (rows, objects)
}

#[tokio::test]
async fn csv_and_parquet_list_the_latest_version_of_every_object_once() {
    let (rows, objects) = rows();
    for how in [How::Csv, How::Parquet] {
        for files in [1, 3] {
            let folder = tempfile::tempdir().unwrap();
            let report = Report::write(folder.path(), "logs", how, files, &rows);
            let inventory = open(&report).await.unwrap();
            let bytes = objects.iter().map(|(_, size)| size).sum();
            assert_eq!(inventory.counts, RowCounts { objects: 2345, bytes, excluded: 2 }, "{how:?}");
            assert_eq!(inventory.created(), Some(1_795_132_800));
            let found = all(inventory, "").await;
            assert_eq!(found.len(), 2345);
            let found: BTreeSet<_> = found.iter().map(|at| (at.key.clone(), at.size.unwrap())).collect();
            assert_eq!(found, objects, "{how:?}");
            let etag = "0123456789abcdef0123456789abcdef-12";
            for folder in ["AWSLogs/x", "AWSLogs/x/"] {
                let some = all(open(&report).await.unwrap(), folder).await;
                let expected = ObjectRef::new("logs", "AWSLogs/x/y").with_version(etag, 1 << 40);
                // The report contains the storage class.
                assert_eq!(some, [ObjectRef { archive: ArchiveState::Readable, ..expected }]);
            }
        }
    }
}

#[tokio::test]
async fn copied_report_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let report = Report::write(folder.path(), "logs", How::Csv, 2, &rows().0);
    // The folder of the inventory configuration, below other folders.
    let all = tempfile::tempdir().unwrap();
    let copy = |from: &Path, to: &str| {
        let to = all.path().join(to);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(from, to).unwrap();
    };
    copy(&report.path(), "config/2026/manifest.json");
    copy(&report.path(), "flat/manifest.json");
    for number in 0..2 {
        copy(&report.file(number), &format!("config/data/{number}.csv.gz"));
        copy(&report.file(number), &format!("flat/{number}.csv.gz"));
    }
    for folder in ["config/2026", "flat"] {
        let inventory =
            Inventory::open(&FolderReportStore::new(all.path().join(folder)), "manifest.json", "logs").await.unwrap();
        assert_eq!(inventory.counts.objects, 2345, "{folder}");
    }
    std::fs::remove_file(all.path().join("flat/1.csv.gz")).unwrap();
    let error =
        Inventory::open(&FolderReportStore::new(all.path().join("flat")), "manifest.json", "logs").await.unwrap_err();
    assert!(error.to_string().contains("data/1.csv.gz") && error.to_string().contains("does not exist"), "{error}");
}

/// Name, format, a function that damages a report, and the expected error.
type Spoil = (&'static str, How, fn(&mut Report), &'static str);

#[tokio::test]
async fn invalid_report_is_rejected_in_one_line() {
    let spoils: [Spoil; 14] = [
        ("another bucket's", How::Csv, |r| set(r, "sourceBucket", "other"), "expected a report of the bucket logs"),
        ("ORC", How::Csv, |r| set(r, "fileFormat", "ORC"), "found ORC, which is not supported"),
        ("no ETag", How::Csv, |r| set(r, "fileSchema", "Bucket, Key, Size"), "found no ETag"),
        ("no manifest", How::Csv, |r| std::fs::remove_file(r.path()).unwrap(), "does not exist"),
        (
            "manifest replaced",
            How::Csv,
            |r| std::fs::write(r.path(), r.manifest.to_string() + " ").unwrap(),
            "expected MD5",
        ),
        ("damaged", How::Csv, |r| flip(&r.file(1)), "1.csv.gz: expected MD5"),
        ("damaged", How::Parquet, |r| flip(&r.file(1)), "1.parquet: expected MD5"),
        ("missing", How::Parquet, |r| std::fs::remove_file(r.file(0)).unwrap(), "0.parquet"),
        ("cut short", How::Csv, |r| cut(r, 9), "not gzipped CSV"),
        ("cut short", How::Parquet, |r| cut(r, 9), "cannot be read as Parquet"),
        (
            "other columns",
            How::Csv,
            |r| set(r, "fileSchema", &report::CSV.replace(", StorageClass", "")),
            "expected 8 columns",
        ),
        ("rows of others", How::Csv, |r| other(r, How::Csv), "row 1: expected an object of the bucket logs"),
        ("rows of others", How::Parquet, |r| other(r, How::Parquet), "row 1: expected an object of the bucket logs"),
        (
            "no versions",
            How::Parquet,
            |r| r.replace(0, &report::parquet("logs", [row("k", "", 1)].iter())),
            "expected an ETag of \"k\"",
        ),
    ];
    for (name, how, spoil, said) in spoils {
        let folder = tempfile::tempdir().unwrap();
        let mut report = Report::write(folder.path(), "logs", how, 2, &rows().0);
        spoil(&mut report);
        let path = folder.path().join("reports/logs/all/2026-11-20T00-00Z");
        let error =
            Inventory::open(&FolderReportStore::new(path), "manifest.json", "logs").await.expect_err(name).to_string();
        assert!(error.contains(said) && error.lines().count() == 1, "{name}, {how:?}: {error}");
    }
}

fn set(report: &mut Report, field: &str, value: &str) {
    let key = report.path();
    report.manifest[field] = value.into();
    std::fs::write(&key, report.manifest.to_string()).unwrap();
    std::fs::write(key.with_extension("checksum"), report::md5(report.manifest.to_string().as_bytes())).unwrap();
}

fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

fn cut(report: &mut Report, bytes: usize) {
    let whole = std::fs::read(report.file(0)).unwrap();
    report.replace(0, &whole[..whole.len() - bytes]);
}

fn other(report: &mut Report, how: How) {
    let rows = [row("k", ETAG, 1)];
    let bytes = match how {
        How::Csv => report::csv("other", rows.iter()),
        How::Parquet => report::parquet("other", rows.iter()),
    };
    report.replace(1, &bytes);
}

/// A bucket of three logs and its report in an emulator.
struct Stored {
    endpoint: String,
    bucket: String,
    manifest: String,
}

async fn put(client: &Client, bucket: &str, key: &str, bytes: Vec<u8>) {
    client.put_object().bucket(bucket).key(key).body(bytes.into()).send().await.unwrap();
}

async fn stored(emulator: &Emulator, bucket: &str, how: How) -> Stored {
    let client = trailhose::aws::s3(&emulator.config());
    for name in [bucket, "reports"] {
        let _ = client.create_bucket().bucket(name).send().await;
    }
    let mut rows = Vec::new();
    for number in 0..3u32 {
        let key = key("111122223333", "CloudTrail", "eu-west-1", "2026-11-01", &format!("n{number}"));
        let bytes = gzip(&log(&events(number * 3..number * 3 + 4)));
        rows.push(row(&key, &report::md5(&bytes), bytes.len() as u64));
        put(&client, bucket, &key, bytes).await;
    }
    // Put after the report was written, so not in the report.
    let late = key("111122223333", "CloudTrail", "eu-west-1", "2026-11-02", "late");
    put(&client, bucket, &late, gzip(&log(&events(20..22)))).await;
    let folder = tempfile::tempdir().unwrap();
    let report = Report::write(folder.path(), bucket, how, 2, &rows);
    for path in [report.path(), report.path().with_extension("checksum"), report.file(0), report.file(1)] {
        let key = path.strip_prefix(folder.path()).unwrap().to_str().unwrap();
        put(&client, "reports", key, std::fs::read(&path).unwrap()).await;
    }
    Stored {
        endpoint: emulator.endpoint(),
        bucket: bucket.to_owned(),
        manifest: format!("s3://reports/{}", report.key()),
    }
}

impl Stored {
    fn sync(&self, out: &Path, manifest: Option<&str>) -> Ran {
        let mut command = trailhose();
        command.env_remove("AWS_PROFILE").env("AWS_ENDPOINT_URL", &self.endpoint).env("AWS_REGION", bed::REGION);
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test").stdin(Stdio::null());
        command.args(["sync", &format!("s3://{}", self.bucket), text(out), "--json"]);
        command.args(manifest.iter().flat_map(|manifest| ["--inventory", manifest]));
        Ran(command.output().unwrap())
    }
}

async fn sync_from_inventory(emulator: &Emulator, how: How, bucket: &str) {
    let stored = stored(emulator, bucket, how).await;
    let out = tempfile::tempdir().unwrap();
    let first = stored.sync(out.path(), Some(&stored.manifest));
    assert_eq!((first.code(), &first.json()["delivered"]), (0, &10.into()), "{first:?}");
    assert!(first.err().contains("the inventory was created at 2026-11-20T00:00:00Z"), "{first:?}");
    assert_delivered(out.path(), &events(0..10));
    let second = stored.sync(out.path(), Some(&stored.manifest));
    assert_eq!((&second.json()["already_done"], &second.json()["delivered"]), (&3.into(), &0.into()), "{second:?}");
    assert_eq!(second.json()["ledger_requests"]["writes"], 0, "completed objects cost no write");
    // The later object is found by a listing.
    assert_eq!(stored.sync(out.path(), None).json()["delivered"], 2);

    let elsewhere = tempfile::tempdir().unwrap();
    let out = elsewhere.path().join("out");
    for (manifest, said) in [
        ("s3://reports/reports/none/manifest.json", "does not exist"),
        ("s3://no-such-bucket-at-all/manifest.json", "no-such-bucket-at-all"),
        ("none/manifest.json", "does not exist"),
    ] {
        let refused = stored.sync(&out, Some(manifest));
        assert!(refused.code() == 2 && refused.err().contains(said), "{refused:?}");
        assert_eq!(refused.err().lines().count(), 1, "{refused:?}");
    }
    let other = Stored { bucket: "reports".into(), ..stored };
    let refused = other.sync(&out, Some(&other.manifest));
    assert!(refused.code() == 2 && refused.err().contains("expected a report of the bucket reports"), "{refused:?}");
    assert!(!out.exists(), "nothing is created before the report is checked");
}

#[tokio::test]
async fn bucket_is_synced_from_its_inventory_on_ministack() {
    sync_from_inventory(Emulator::shared_ministack(), How::Csv, "csv").await;
    sync_from_inventory(Emulator::shared_ministack(), How::Parquet, "parquet").await;
}

#[tokio::test]
async fn bucket_is_synced_from_its_inventory_on_moto() {
    sync_from_inventory(Emulator::shared_moto(), How::Parquet, "parquet").await;
}
