use super::*;
use proptest::prelude::*;

const NOW: Seconds = 1_795_132_800; // 2026-11-20T00:00:00Z

fn defaults() -> Defaults {
    Defaults { sources: vec![SourceRoot::parse("s3://logs").unwrap()], look_back_days: 3 }
}

fn resolve(text: &str) -> Result<Run, RequestError> {
    Request::parse(text)?.resolve(RunId::at(NOW, 7), &defaults(), NOW)
}

proptest! {
    #[test]
    fn request_round_trips(
        sources in proptest::collection::vec(("[a-z]{3,9}", "\\PC{0,9}"), 0..3),
        days in proptest::option::of((0i32..9000, 0i32..9000)),
        look_back_days: Option<u32>,
        accounts in proptest::collection::btree_set("[0-9]{12}", 0..3),
        quarantined: bool,
        dry_run: bool,
        bytes_per_second: Option<u64>,
    ) {
        let day = |number: i32| jiff::civil::date(2001, 1, 1).checked_add(jiff::Span::new().days(number)).unwrap();
        let request = Request {
            sources: sources.into_iter().map(|(bucket, prefix)| SourceRoot { bucket, prefix }).collect(),
            since: days.map(|(since, _)| day(since)),
            until: days.map(|(_, until)| day(until)),
            look_back_days,
            accounts,
            regions: BTreeSet::from(["eu-west-1".to_owned()]),
            kinds: BTreeSet::new(),
            quarantined,
            dry_run,
            bytes_per_second,
        };
        let text = serde_json::to_string(&request).unwrap();
        prop_assert_eq!(Request::parse(&text).unwrap(), request);
    }
}

#[test]
fn empty_request_uses_the_defaults() {
    let run = resolve("{}").unwrap();
    assert_eq!(run.sources, defaults().sources);
    assert_eq!(run.options.day_range.to_string(), "2026-11-17 to 2026-11-20");
    assert_eq!((run.options.states, run.options.mode), (StateSelection::Unfinished, BackfillMode::Enqueue));
    assert_eq!(serde_json::to_string(&Request::default()).unwrap(), "{}");
}

#[test]
fn request_fields_are_applied_to_the_run() {
    let run = resolve(
        r#"{"sources":[{"bucket":"b","prefix":"p"},{"bucket":"a"},{"bucket":"b","prefix":"p"}],
            "since":"2026-11-01","until":"2026-11-02","accounts":["111122223333"],"kinds":["CloudTrail"],
            "regions":["eu-west-1"],"quarantined":true,"dry_run":true,"bytes_per_second":65536}"#,
    )
    .unwrap();
    assert_eq!(run.sources.iter().map(SourceRoot::to_string).collect::<Vec<_>>(), ["s3://a/", "s3://b/p"]);
    assert_eq!(run.options.day_range.to_string(), "2026-11-01 to 2026-11-02");
    assert_eq!((run.options.states, run.options.mode), (StateSelection::UnfinishedAndQuarantined, BackfillMode::Count));
    let ask = run.options.discovery_request(&run.sources[1]);
    assert_eq!((ask.bucket.as_str(), ask.prefix.as_str(), ask.day_range), ("b", "p", run.options.day_range));
    assert_eq!(ask.filters, run.options.filters);
    assert_eq!(run.options.filters.accounts.len(), 1);
    assert_eq!(
        resolve(r#"{"until":"2026-11-05","look_back_days":1}"#).unwrap().options.day_range.to_string(),
        "2026-11-04 to 2026-11-05"
    );
}

#[test]
fn invalid_request_is_rejected_with_the_reason() {
    for (request, said) in [
        (r#"{"dryrun":true}"#, "unknown field `dryrun`"),
        (r#"{"bytes_per_second":-1}"#, "invalid value"),
        (r#"{"bytes_per_second":1000}"#, "bytes_per_second: expected at least 65536, found \"1000\""),
        (r#"{"since":"yesterday"}"#, "expected a day as YYYY-MM-DD, found \"yesterday\""),
        (
            r#"{"since":"2026-11-02","until":"2026-11-01"}"#,
            "since must not be after until (2026-11-02 is after 2026-11-01)",
        ),
        (r#"{"since":"2026-11-22"}"#, "since must not be after until (2026-11-22 is after 2026-11-20)"),
        (r#"{"since":"2026-11-02","look_back_days":3}"#, "give only one of them"),
        (r#"{"until":"1999-11-02"}"#, "from the year 2000 on"),
        (r#"{"accounts":["1111-2222-3333"]}"#, "accounts: expected 12 digits"),
        (r#"{"kinds":["CloudTrail-Digest"]}"#, "kinds: expected a kind"),
        (r#"{"regions":["Ireland"]}"#, "regions: expected a region"),
        (r#"{"sources":[{"bucket":""}]}"#, "sources: expected a bucket's name"),
        (r#"{"sources":[{"bucket":"b","key":"k"}]}"#, "unknown field `key`"),
        ("[]", "invalid backfill request: expected an object"),
    ] {
        let error = resolve(request).unwrap_err().to_string();
        assert!(error.contains(said), "{request}: {error}");
    }
    let nowhere = Defaults { sources: Vec::new(), look_back_days: 3 };
    let error = Request::default().resolve(RunId::at(NOW, 7), &nowhere, NOW).unwrap_err();
    assert_eq!(error, RequestError::NoSources);
}

#[test]
fn source_is_parsed_from_an_s3_url() {
    for (text, bucket, prefix) in [("s3://b", "b", ""), (" s3://b/", "b", ""), ("s3://b/p/q/", "b", "p/q/")] {
        assert_eq!(
            SourceRoot::parse(text).unwrap(),
            SourceRoot { bucket: bucket.to_owned(), prefix: prefix.to_owned() }
        );
    }
    for text in ["", "b", "s3://", "s3:///p", "https://b"] {
        assert!(SourceRoot::parse(text).is_err(), "{text}");
    }
}

#[test]
fn run_ids_sort_by_time_and_contain_only_allowed_characters() {
    assert_eq!(RunId::at(NOW, 0x2a).as_str(), "20261120T000000-0000002a");
    assert!(RunId::at(NOW, u32::MAX) < RunId::at(NOW + 1, 0));
    assert!(RunId::try_from("8f3b5c1e-0000-4000-8000-000000000000".to_owned()).is_ok());
    for name in ["", "a b", "a#b", &"x".repeat(65)] {
        assert!(RunId::try_from(name.to_owned()).is_err(), "{name}");
    }
}
