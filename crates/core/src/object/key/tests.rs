use super::*;
use jiff::civil::{Time, date};
use proptest::prelude::*;

const LOG: &str = "AWSLogs/111122223333/CloudTrail/us-east-1/2026/03/02/111122223333_CloudTrail_us-east-1_20260302T0005Z_aBcDeFgH12345678.json.gz";
const DIGEST: &str = "AWSLogs/o-exampleorgid/111122223333/CloudTrail-Digest/eu-west-1/2026/03/02/111122223333_CloudTrail-Digest_eu-west-1_my_trail_us-east-1_20260302T010203Z.json.gz";
const FOLDER: &str = "AWSLogs/111122223333/CloudTrail/us-east-1/2026/03/02";

fn log<'k>(kind: Kind, account: &'k str, region: &'k str, date: Date) -> Recognized<'k> {
    Recognized::Log { kind, account, region, date }
}

#[test]
fn key_is_parsed() {
    let key = LogKey::parse(LOG).unwrap();
    assert_eq!((key.prefix.as_str(), key.organization.as_deref()), ("", None));
    assert_eq!((key.account.as_str(), key.kind, key.region.as_str()), ("111122223333", Kind::CloudTrail, "us-east-1"));
    assert_eq!(key.date, date(2026, 3, 2));
    let suffix = "aBcDeFgH12345678".to_owned();
    assert_eq!(
        key.file,
        FileName::Log { time: Time::constant(0, 5, 0, 0), suffix, compression: FileCompression::Gzip }
    );
}

#[test]
fn digest_with_underscores_and_backfill_is_parsed() {
    for (key, backfill) in [(DIGEST.to_owned(), false), (DIGEST.replace("Z.json", "Z_backfill.json"), true)] {
        let parsed = LogKey::parse(&key).unwrap();
        assert_eq!((parsed.kind, parsed.organization.as_deref()), (Kind::Digest, Some("o-exampleorgid")));
        let (trail, home_region, time) = ("my_trail".into(), "us-east-1".into(), Time::constant(1, 2, 3, 0));
        assert_eq!(parsed.file, FileName::Digest { trail, home_region, time, backfill });
        assert_eq!(parsed.to_string(), key);
    }
}

#[test]
fn prefix_may_contain_slashes_and_grammar_words() {
    for prefix in ["a/", "a/b/", "/", "//", "AWSLogs/", "x/AWSLogs/o-abc/", "AWSLogs/444455556666/CloudTrail/"] {
        let key = format!("{prefix}{LOG}");
        let parsed = LogKey::parse(&key).unwrap();
        assert_eq!((parsed.prefix.as_str(), parsed.account.as_str()), (prefix, "111122223333"));
        assert_eq!(parsed.to_string(), key);
    }
}

#[test]
fn key_that_violates_the_grammar_is_rejected() {
    let departures = [
        ("AWSLogs/", "xAWSLogs/"),
        ("AWSLogs/", "awslogs/"),
        ("AWSLogs/", ""),
        ("AWSLogs/", "AWSLogs/x-123/"),
        ("AWSLogs/", "AWSLogs/o-/"),
        ("AWSLogs/", "AWSLogs//"),
        ("AWSLogs/1111", "AWSLogs/9999"),
        ("/CloudTrail/", "/CloudTrail-Insight/"),
        ("/CloudTrail/", "/CloudTrail-New/"),
        ("/us-east-1/", "/us-east-2/"),
        ("/us-east-1/", "/../"),
        ("/03/02/", "/03/03/"),
        ("/03/02/", "/3/2/"),
        ("/2026/", "/+026/"),
        ("20260302T", "20260230T"),
        ("T0005Z", "T2405Z"),
        ("T0005Z", "T000500Z"),
        ("T0005Z", "T0005"),
        ("_aBcDeFgH12345678", ""),
        ("_aBcDeFgH12345678", "_"),
        (".json.gz", ".gz"),
        (".json.gz", ".json.zst"),
    ];
    for (from, to) in departures {
        let key = LOG.replacen(from, to, 1);
        assert_ne!(key, LOG);
        assert_eq!(LogKey::parse(&key), None, "{key}");
    }
    for account in ["11112222333", "1111222233334", "11112222333x", "١١١١٢٢"] {
        assert_eq!(LogKey::parse(&LOG.replace("111122223333", account)), None, "{account}");
    }
    for (from, to) in [("203Z", "2Z"), ("us-east-1_2026", "home_2026"), (".json.gz", ".json"), ("_my_trail_", "_")] {
        let key = DIGEST.replacen(from, to, 1);
        assert_ne!(key, DIGEST);
        assert_eq!(LogKey::parse(&key), None, "{key}");
    }
}

#[test]
fn every_kind_has_a_folder_and_only_digests_have_no_events() {
    for kind in Kind::ALL {
        assert_eq!(Kind::parse(kind.as_str()), Some(kind));
        assert_eq!(kind.is_log(), kind != Kind::Digest);
        if kind.is_log() {
            let key = LOG.replace("CloudTrail", kind.as_str());
            assert_eq!(recognize(&key), log(kind, "111122223333", "us-east-1", date(2026, 3, 2)));
            assert_eq!(LogKey::parse(&key).map(|key| key.kind), Some(kind));
        }
    }
    for other in ["", "cloudtrail", "CloudTrail-", "Config", "CloudTrail-Insights"] {
        assert_eq!(Kind::parse(other), None);
    }
}

#[test]
fn log_is_recognized_by_name_in_any_folder() {
    let name = LOG.rsplit('/').next().unwrap();
    let expected = log(Kind::CloudTrail, "111122223333", "us-east-1", date(2026, 3, 2));
    for key in [name.to_owned(), format!("copied/{name}"), format!("a//../{name}"), name.replace(".gz", "")] {
        assert_eq!(recognize(&key), expected, "{key}");
    }
    let renamed = name.replace(".json.gz", " (1).json");
    assert_eq!(recognize(&renamed), expected, "a copy named by a browser");
}

#[test]
fn case_of_the_extension_is_ignored() {
    let name = LOG.rsplit('/').next().unwrap();
    let expected = log(Kind::CloudTrail, "111122223333", "us-east-1", date(2026, 3, 2));
    for extension in [".JSON.GZ", ".json.GZ", ".Json.Gz", ".JSON"] {
        let key = LOG.replace(".json.gz", extension);
        assert_eq!(recognize(&key), expected, "{key}");
        assert_eq!(recognize(&name.replace(".json.gz", extension)), expected, "{key}");
        assert_eq!(recognize(&format!("{FOLDER}/x{extension}")), expected, "{key}");
        assert_eq!(recognize(&DIGEST.replace(".json.gz", extension)), Recognized::Digest, "{key}");
        // The grammar is exact, because a key must be rendered as it was parsed.
        assert_eq!(LogKey::parse(&key), None, "{key}");
    }
    // A name that is shorter than an extension or cut within a character.
    for name in ["gz", "", "éjson.gz", "é.json"] {
        recognize(name);
    }
}

#[test]
fn log_is_recognized_by_folders_with_any_name() {
    let expected = log(Kind::CloudTrail, "111122223333", "us-east-1", date(2026, 3, 2));
    for name in
        ["example_CloudTrail_us-east-1.json.gz", "111122223333_CloudTrail_us-east-1-20260302T2358.json", "x.json"]
    {
        assert_eq!(recognize(&format!("{FOLDER}/{name}")), expected, "{name}");
        assert_eq!(recognize(&format!("p/q/{FOLDER}/{name}")), expected, "{name}");
        assert_eq!(recognize(name), Recognized::NotALog(NotALog::Elsewhere), "{name}");
    }
}

#[test]
fn name_of_a_moved_file_decides() {
    let name = "444455556666_CloudTrail-Insight_eu-west-1_20250101T0000Z_x.json.gz";
    let expected = log(Kind::Insight, "444455556666", "eu-west-1", date(2025, 1, 1));
    assert_eq!(recognize(&format!("{FOLDER}/{name}")), expected);
    let digests = FOLDER.replace("CloudTrail", "CloudTrail-Digest");
    assert_eq!(recognize(&format!("{digests}/{name}")), expected, "a log that is skipped as a digest would be lost");
}

#[test]
fn digest_is_never_recognized_as_a_log() {
    let name = DIGEST.rsplit('/').next().unwrap();
    let digests = FOLDER.replace("CloudTrail", "CloudTrail-Digest");
    let keys = [
        DIGEST.to_owned(),
        DIGEST.replace("Z.json", "Z_backfill.json"),
        name.to_owned(),
        name.replace(".gz", ""),
        format!("{FOLDER}/{name}"),
        format!("{FOLDER}/111122223333_CloudTrail-Digest_odd.json.gz"),
        format!("{digests}/anything.json"),
    ];
    for key in keys {
        assert_eq!(recognize(&key), Recognized::Digest, "{key}");
    }
}

#[test]
fn other_keys_report_the_reason() {
    let cases = [
        ("", NotALog::FolderMarker),
        ("AWSLogs/", NotALog::FolderMarker),
        (&format!("{FOLDER}/"), NotALog::FolderMarker),
        (&format!("{FOLDER}/README.txt"), NotALog::OtherExtension),
        (&LOG.replace(".json.gz", ".csv.gz"), NotALog::OtherExtension),
        ("json", NotALog::OtherExtension),
        ("x.json", NotALog::Elsewhere),
        ("AWSLogs/111122223333/Config/us-east-1/2026/3/2/ConfigHistory/x.json.gz", NotALog::Elsewhere),
        ("AWSLogs/111122223333/vpcflowlogs/us-east-1/2026/03/02/x.json.gz", NotALog::Elsewhere),
        ("AWSLogs/111122223333/CloudTrail/us-east-1/2026/13/02/x.json", NotALog::Elsewhere),
        ("AWSLogs/111122223333/CloudTrail/us-east-1/2026/03/x.json", NotALog::Elsewhere),
        ("AWSLogs/111122223333/CloudTrail-Lake/Query/2026/03/02/result_1.json.gz", NotALog::Elsewhere),
        (&LOG.replace("CloudTrail", "CloudTrail-New"), NotALog::UnknownKind),
        ("111122223333_CloudTrail-New_us-east-1_20260302T0005Z_x.json.gz", NotALog::UnknownKind),
        (&FOLDER.replace("CloudTrail", "CloudTrail-New/x"), NotALog::OtherExtension),
    ];
    for (key, reason) in cases {
        assert_eq!(recognize(key), Recognized::NotALog(reason), "{key}");
        assert!(!reason.to_string().is_empty() && !reason.name().contains(' '));
    }
}

fn region() -> impl Strategy<Value = String> {
    "[a-z]{1,4}(-[a-z]{1,6}){0,2}-[0-9]{1,2}"
}

fn keys() -> impl Strategy<Value = LogKey> {
    let day = (0i16..=9999, 1i8..=12, 1i8..=28).prop_map(|(year, month, day)| date(year, month, day));
    let clock = (0i8..24, 0i8..60, 0i8..60).prop_map(|(hour, minute, second)| Time::constant(hour, minute, second, 0));
    let log = ("[^/]{1,20}", any::<bool>(), 0usize..4).prop_map(|(suffix, gzip, kind)| {
        let compression = if gzip { FileCompression::Gzip } else { FileCompression::None };
        (Kind::ALL[kind], FileName::Log { time: Time::midnight(), suffix, compression })
    });
    let digest = ("[a-zA-Z0-9._-]{1,20}", region(), any::<bool>()).prop_map(|(trail, home_region, backfill)| {
        (Kind::Digest, FileName::Digest { trail, home_region, time: Time::midnight(), backfill })
    });
    let prefix = "(([^/]{0,5}|AWSLogs|o-abc|111122223333)/){0,3}";
    let organization = proptest::option::of("o-[a-z0-9]{1,32}");
    (prefix, organization, "[0-9]{12}", region(), day, clock, prop_oneof![log, digest]).prop_map(
        |(prefix, organization, account, region, date, clock, (kind, mut file))| {
            match &mut file {
                FileName::Log { time, .. } => *time = Time::constant(clock.hour(), clock.minute(), 0, 0),
                FileName::Digest { time, .. } => *time = clock,
            }
            LogKey { prefix, organization, account, kind, region, date, file }
        },
    )
}

proptest! {
    #[test]
    fn rendered_key_parses_to_the_same_key(key in keys()) {
        let text = key.to_string();
        prop_assert_eq!(LogKey::parse(&text), Some(key.clone()), "{}", text);
        let expected = match key.kind {
            Kind::Digest => Recognized::Digest,
            kind => log(kind, &key.account, &key.region, key.date),
        };
        prop_assert_eq!(recognize(&text), expected);
    }

    #[test]
    fn parsed_key_renders_to_the_same_bytes(
        key in keys(), at in any::<proptest::sample::Index>(), other in "[-_/.Z0a]?",
    ) {
        let mut text = key.to_string();
        let at = at.index(text.len());
        if text.is_char_boundary(at) && text.is_char_boundary(at + 1) {
            text.replace_range(at..at + 1, &other);
        }
        if let Some(parsed) = LogKey::parse(&text) {
            prop_assert_eq!(parsed.to_string(), text);
        }
    }

    #[test]
    fn key_parser_never_panics(
        text in "(AWSLogs|o-a|[0-9]{12}|CloudTrail(-Digest)?|us-east-1|2026|02|[0-9]{8}T[0-9é]{3,6}Z|_backfill|[_/.]|\\.json|\\.gz|\\PC){0,24}",
    ) {
        if let Some(parsed) = LogKey::parse(&text) {
            prop_assert_eq!(parsed.to_string(), text.clone());
        }
        let _ = recognize(&text);
    }
}
