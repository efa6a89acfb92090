use super::*;
use proptest::prelude::*;

fn plan(predicate: &str) -> Plan {
    let time = r#""time": {"since": "2026-02-01T12:00:00Z", "until": "2026-02-03T00:00:00Z"}"#;
    serde_json::from_str(&format!(r#"{{{time}, "where": {predicate}, "events": {{"order": "as_read"}}}}"#)).unwrap()
}

fn admitted<'n>(pruning: &PartitionPruning, names: &[&'n str]) -> Vec<&'n str> {
    names.iter().copied().filter(|name| pruning.admits_folder(name)).collect()
}

#[test]
fn days_of_events_are_those_of_the_span_and_unknown() {
    let pruning = PartitionPruning::of_plan(&plan(r#"{"all": []}"#));
    let names = ["date=2026-01-31", "date=2026-02-01", "date=2026-02-02", "date=2026-02-03", "date=unknown", "x"];
    assert_eq!(admitted(&pruning, &names), ["date=2026-02-01", "date=2026-02-02", "date=unknown", "x"]);
}

#[test]
fn arrival_has_no_upper_limit_unless_the_user_sets_one() {
    let pruning = PartitionPruning::of_plan(&plan(r#"{"all": []}"#));
    let names = ["dt=2026-01-31", "dt=2026-02-01", "dt=2026-02-03", "dt=2031-01-01", "dt=x"];
    assert_eq!(admitted(&pruning, &names), ["dt=2026-02-01", "dt=2026-02-03", "dt=2031-01-01", "dt=x"]);
    let limited = pruning.arrived_until(Some(jiff::civil::date(2026, 2, 3)));
    assert_eq!(admitted(&limited, &names), ["dt=2026-02-01", "dt=2026-02-03", "dt=x"]);
}

/// The clock of the destination can be behind that of CloudTrail.
#[test]
fn event_just_after_midnight_can_have_arrived_on_the_day_before() {
    let span = |since: &str| {
        let time = format!(r#""time": {{"since": "{since}", "until": "2026-02-03T00:00:00Z"}}"#);
        let plan = format!(r#"{{{time}, "events": {{"order": "as_read"}}}}"#);
        PartitionPruning::of_plan(&serde_json::from_str(&plan).unwrap())
    };
    let names = ["dt=2026-01-30", "dt=2026-01-31", "dt=2026-02-01"];
    assert_eq!(admitted(&span("2026-02-01T00:59:59Z"), &names), names[1..]);
    assert_eq!(admitted(&span("2026-02-01T01:00:00Z"), &names), names[2..]);
}

#[test]
fn only_accounts_and_regions_that_the_predicate_requires_are_read() {
    let account = r#"{"field": "recipientAccountId", "equals": ["111122223333", "444455556666"]}"#;
    let name = r#"{"field": "eventName", "equals": ["x"]}"#;
    let names = ["account=111122223333", "account=444455556666", "account=777788889999", "account=unknown"];
    let only = &names[..2];
    for (predicate, expected) in [
        (account.to_owned(), only),
        (format!(r#"{{"all": [{name}, {account}]}}"#), only),
        (format!(r#"{{"any": [{account}, {{"all": [{account}, {name}]}}]}}"#), only),
        (format!(r#"{{"any": [{account}, {name}]}}"#), &names[..]),
        (format!(r#"{{"not": {account}}}"#), &names[..]),
        (r#"{"field": "userIdentity.accountId", "equals": ["111122223333"]}"#.to_owned(), &names[..]),
        (r#"{"field": "recipientAccountId", "prefix": ["111122223333"]}"#.to_owned(), &names[..]),
        // `trailhose sync` names the folders of these values differently.
        (r#"{"field": "recipientAccountId", "equals": ["Unknown Account"]}"#.to_owned(), &names[..]),
        (r#"{"field": "recipientAccountId", "equals": ["unknown"]}"#.to_owned(), &names[..]),
    ] {
        assert_eq!(admitted(&PartitionPruning::of_plan(&plan(&predicate)), &names), expected, "{predicate}");
    }
    let region = PartitionPruning::of_plan(&plan(r#"{"field": "awsRegion", "equals": ["eu-west-1"]}"#));
    assert_eq!(admitted(&region, &["region=eu-west-1", "region=us-east-1"]), ["region=eu-west-1"]);
}

proptest! {
    #[test]
    fn late_event_is_never_excluded(
        since in 1_700_000_000_000i64..1_800_000_000_000,
        length in 1i64..100_000_000_000,
        position in 0.0..1.0f64,
        delay in -3_600_000i64..100_000_000_000,
    ) {
        let at = |milliseconds| Timestamp::from_millisecond(milliseconds).unwrap();
        let pruning = PartitionPruning::of_span(Some(TimeSpan::new(at(since), at(since + length)).unwrap()));
        let event = since + ((length - 1) as f64 * position) as i64;
        let day = |milliseconds| at(milliseconds).to_zoned(TimeZone::UTC).date();
        let event_folder = format!("date={}", day(event));
        prop_assert!(pruning.admits_folder(&event_folder));
        let arrival_folder = format!("dt={}", day(event + delay));
        prop_assert!(pruning.admits_folder(&arrival_folder));
        let (arrived_since, arrived_until) = pruning.arrival();
        prop_assert!(arrived_since.unwrap() <= day(event + delay) && arrived_until.is_none());
    }
}
