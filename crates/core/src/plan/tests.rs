use super::*;

fn plan(text: &str) -> Result<Plan, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

const TIME: &str = r#""time": {"since": "2026-02-01T00:00:00Z", "until": "2026-03-01T00:00:00Z"}"#;

#[test]
fn json_form_is_read_and_written_without_a_difference() {
    for rest in [
        r#""where": {"all": [{"field": "eventName", "equals": ["DeleteBucket", "CreateBucket"]},
            {"not": {"field": "errorCode", "null": true}}, {"anywhere": "reports-prod"},
            {"any": [{"field": "sourceIPAddress", "cidr": ["10.0.0.0/8", "2001:db8::/32"]},
                {"field": "requestParameters.tags.aws\\.cost[2].x", "prefix": ["a"]},
                {"field": "userIdentity.accountId", "same_as": "recipientAccountId"},
                {"field": "userAgent", "contains": ["x"]}, {"field": "eventSource", "suffix": ["y"]}]}]},
            "groups": {"by": ["principal", "day"], "aggregates": ["count", {"max": "eventTime"}, {"count_distinct": "awsRegion"}],
            "having": [{"aggregate": 0, "is": "greater", "value": 5}],
            "order": [{"by": {"aggregate": 0}, "descending": true}, {"by": {"field": 1}}]}, "limit": 10"#,
        r#""events": {"columns": ["eventTime", "userIdentity.sessionContext.sessionIssuer.arn"], "order": "newest"}, "limit": 5"#,
        r#""events": {"order": "as_read"}"#,
    ] {
        let read = plan(&format!("{{{TIME}, {rest}}}")).unwrap();
        let written = serde_json::to_string(&read).unwrap();
        assert_eq!(plan(&written), Ok(read), "{written}");
    }
}

#[test]
fn invalid_plans_are_rejected_with_the_reason() {
    let events = r#""events": {"order": "as_read"}"#;
    for (text, expected) in [
        (format!("{{{events}}}"), "a plan needs time with since and until, or event_id"),
        (format!("{{{TIME}}}"), "a plan needs events or groups"),
        (format!("{{{TIME}, {events}, \"sql\": \"DROP TABLE x\"}}"), "unknown field `sql`"),
        (
            format!("{{{TIME}, {events}, \"where\": {{\"field\": \"useridentity.arn\", \"null\": true}}}}"),
            "did you mean userIdentity.arn?",
        ),
        (
            format!("{{{TIME}, {events}, \"where\": {{\"field\": \"eventName\"}}}}"),
            "the predicate of eventName has 0 tests",
        ),
        (
            format!("{{{TIME}, {events}, \"where\": {{\"field\": \"eventName\", \"equals\": []}}}}"),
            "eventName: a test needs at least one value",
        ),
        (
            format!("{{{TIME}, {events}, \"where\": {{\"field\": \"sourceIPAddress\", \"cidr\": [\"10.0.0.0/40\"]}}}}"),
            "\"10.0.0.0/40\" is not a network",
        ),
        (format!("{{{TIME}, \"events\": {{\"order\": \"newest\"}}}}"), "need a limit"),
        (
            format!("{{{TIME}, \"groups\": {{\"by\": [], \"aggregates\": [\"count\"], \"order\": [{{\"by\": {{\"field\": 0}}}}]}}}}"),
            "field 0 does not exist",
        ),
        (format!("{{\"event_id\": \"x' OR 1=1\", {events}}}"), "is not an event ID"),
        (
            r#"{"time": {"since": "last week", "until": "2026-03-01T00:00:00Z"}, "events": {"order": "as_read"}}"#.into(),
            "\"last week\" is not a time",
        ),
        (
            r#"{"time": {"since": "2026-03-01T00:00:00Z", "until": "2026-03-01T00:00:00Z"}, "events": {"order": "as_read"}}"#
                .into(),
            "the time span is empty",
        ),
    ] {
        let error = plan(&text).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn deep_nesting_is_rejected() {
    let mut predicate = r#"{"anywhere": "x"}"#.to_owned();
    for _ in 0..100 {
        predicate = format!(r#"{{"not": {predicate}}}"#);
    }
    let text = format!(r#"{{{TIME}, "where": {predicate}, "events": {{"order": "as_read"}}}}"#);
    let error = plan(&text).unwrap_err();
    assert!(error.contains("nested") || error.contains("recursion"), "{error}");
}

#[test]
fn names_of_fields_are_parsed_and_written_without_a_difference() {
    for column in Column::ALL {
        assert_eq!(column.name().parse(), Ok(QueryField::Column(*column)));
    }
    for text in ["requestParameters.a\\.b.c\\[d", "responseElements[0].x[12]", "additionalEventData.\\\\"] {
        assert_eq!(text.parse::<QueryField>().unwrap().to_string(), text);
    }
    for text in [
        "requestParameters.",
        "requestParameters[x]",
        "requestParameters[1]x",
        "resources.ARN",
        "requestParameters.a\0",
        "nosuch",
        "",
    ] {
        assert!(text.parse::<QueryField>().is_err(), "{text}");
    }
}

#[test]
fn networks_contain_the_addresses_with_their_prefix() {
    for (network, inside, outside) in [
        ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
        ("0.0.0.0/0", "255.255.255.255", "::1"),
        ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
        ("2001:db8::/32", "2001:db8:ffff::", "2001:db9::"),
    ] {
        let network: Network = network.parse().unwrap();
        assert!(network.contains(inside.parse().unwrap()), "{network} {inside}");
        assert!(!network.contains(outside.parse().unwrap()), "{network} {outside}");
    }
    assert_eq!("10.1.2.3/8".parse::<Network>().unwrap().first().to_string(), "10.0.0.0");
}
