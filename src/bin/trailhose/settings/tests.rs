use super::*;
use jiff::civil::date;

fn parse(text: &str) -> Result<Settings, String> {
    Settings::parse(Path::new("conf/trailhose.toml"), text)
}

#[test]
fn every_setting_is_read() {
    let settings = parse(
        r#"
        dest = "events"
        ledger = "dynamodb://trailhose"
        ledger_days = 30
        look_back = 2
        since = "2026-11-01"
        filter = "readOnly=true"
        compress = "zstd"
        jobs = 8
        checkpoint = 0.5
        max_object_bytes = 1000000
        min_free = "2GiB"
        keep_days = 90

        [backfill]
        queue = "https://sqs.eu-west-1.amazonaws.com/111122223333/backfill"

        [[source]]
        bucket = "my-trail-bucket"
        prefix = "logs/a"
        bucket_region = "eu-central-1"
        accounts = ["111122223333"]
        regions = ["eu-west-1"]
        kinds = ["insight"]
        until = "2026-11-02"
        trails = ["arn:aws:cloudtrail:eu-west-1:111122223333:trail/all"]
        organization = "o-exampleorgid"
        kms_key = "arn:aws:kms:eu-west-1:111122223333:key/a"
        sns_topic = "arn:aws:sns:eu-west-1:111122223333:trail"

        [[source]]
        folder = "../bucket"
        since = "2026-10-01"
        "#,
    )
    .unwrap();
    assert_eq!(settings.dest, Some(Dest::Folder("conf/events".into())), "paths are relative to the folder of the file");
    assert_eq!(settings.ledger, Some(LedgerLocation::DynamoDb("trailhose".into())));
    assert_eq!((settings.ledger_days, settings.look_back, settings.jobs), (Some(30), Some(2), Some(8)));
    assert_eq!((settings.compress, settings.checkpoint), (Some(CompressMode::Zstd), Some(Duration::from_millis(500))));
    assert_eq!((settings.filter.is_some(), settings.max_object_bytes), (true, Some(1_000_000)));
    assert_eq!((settings.min_free, settings.keep_days), (Some(2 << 30), Some(90)));
    assert!(settings.backfill.unwrap().queue.unwrap().ends_with("/backfill"));
    let [bucket, folder] = &settings.sources[..] else { panic!("two sources") };
    assert_eq!(bucket.location.to_string(), "s3://my-trail-bucket/logs/a");
    assert_eq!((&bucket.access.region, &bucket.kinds[..]), (&Some("eu-central-1".into()), &[Kind::Insight][..]));
    assert_eq!((&bucket.accounts[..], &bucket.regions[..]), (&["111122223333".into()][..], &["eu-west-1".into()][..]));
    assert_eq!((bucket.since, bucket.until), (Some(date(2026, 11, 1)), Some(date(2026, 11, 2))));
    let trail = &bucket.trail;
    assert_eq!(trail.organization.as_deref(), Some("o-exampleorgid"));
    assert_eq!(trail.trails.len(), 1);
    assert!(trail.kms_key.is_some() && trail.sns_topic.is_some());
    assert_eq!(folder.location, Location::Path("conf/../bucket".into()));
    assert_eq!((folder.since, folder.until), (Some(date(2026, 10, 1)), None));
}

#[test]
fn invalid_settings_are_reported_with_file_and_line() {
    let source = "[[source]]\nbucket = \"b\"\n";
    for (text, line, expected) in [
        (format!("dets = \"x\"\n{source}"), 1, "unknown field `dets`"),
        (format!("{source}buckt = \"b\"\n"), 3, "unknown field `buckt`"),
        (format!("\nlook_back = -3\n{source}"), 2, "look_back = -3: expected 0 to 36500"),
        (format!("jobs = 0\n{source}"), 1, "expected 1 to 10000"),
        (format!("jobs = \"many\"\n{source}"), 1, "invalid type"),
        (format!("max_object_bytes = -1\n{source}"), 1, "expected a number of at least 1"),
        (format!("checkpoint = -2.0\n{source}"), 1, "expected seconds from 0.01"),
        (format!("since = \"2026-11-02\"\nuntil = \"2026-11-01\"\n{source}"), 2, "must not be after"),
        (format!("since = \"2026-11-02\"\n{source}until = \"2026-11-01\"\n"), 4, "must not be after"),
        (format!("since = \"yesterday\"\n{source}"), 1, "use YYYY-MM-DD"),
        (format!("{source}accounts = [\n\"111122223333\",\n\"12\"]\n"), 5, "12 digits"),
        (format!("{source}kinds = [\"Digest\"]\n"), 3, "verification"),
        (format!("{source}folder = \"f\"\n"), 3, "either a bucket or a folder"),
        ("[[source]]\nfolder = \"f\"\nprefix = \"p\"\n".into(), 3, "prefix applies to a bucket"),
        ("[[source]]\nbucket = \"s3://b\"\n".into(), 2, "expected a bucket name"),
        ("\n[[source]]\nprefix = \"p\"\n".into(), 2, "a source needs bucket"),
        ("dest = \"x\"\n".into(), 1, "no source: expected"),
        (format!("dest = \"gs://x\"\n{source}"), 1, "unknown scheme gs://"),
        (format!("compress = \"lzma\"\n{source}"), 1, "expected one of none, gzip, zstd"),
        (format!("filter = \"readOnly\"\n{source}"), 1, "field=value"),
        (format!("{source}dest = \n"), 3, "string"),
    ] {
        let message = parse(&text).unwrap_err();
        assert!(message.starts_with(&format!("conf/trailhose.toml:{line}: ")), "{text}: {message}");
        assert!(message.contains(expected) && message.lines().count() == 1, "{text}: {message}");
    }
}

/// Returns the page that documents the format, and its example.
fn documented() -> (&'static str, &'static str) {
    let page = include_str!("../../../../docs/configuration.md");
    let example = page.split_once("```toml\n").unwrap().1.split_once("```").unwrap().0;
    (page, example)
}

#[test]
fn documented_example_is_valid() {
    let settings = parse(documented().1).unwrap();
    assert_eq!((settings.sources.len(), settings.ledger_days), (1, Some(90)));
}

#[test]
fn every_setting_is_documented() {
    for (text, least) in [
        ("nothing = 1".to_owned(), 15),
        ("[backfill]\nnothing = 1".to_owned(), 1),
        ("[[source]]\nnothing = 1".to_owned(), 13),
    ] {
        let message = parse(&text).unwrap_err();
        let (_, expected) = message.split_once("expected ").unwrap();
        let names: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
        assert!(names.len() >= least, "{message}");
        for name in names {
            let setting = format!("{name} = ");
            let table = format!("[{name}]");
            assert!([setting, table].iter().any(|text| documented().1.contains(text)), "{name} is not documented");
        }
    }
}
