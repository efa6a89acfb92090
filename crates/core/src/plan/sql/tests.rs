use super::*;
use crate::plan::{Groups, Having};
use jiff::civil::date;

fn plan(rest: &str) -> Plan {
    let time = r#""time": {"since": "2026-02-01T00:00:00Z", "until": "2026-03-01T12:00:00.5Z"}"#;
    serde_json::from_str(&format!("{{{time}, {rest}}}")).unwrap()
}

fn athena(rest: &str) -> String {
    AthenaTables::of_database("lake").statement(&plan(rest), None).unwrap().sql
}

/// Returns only the condition of a predicate.
fn condition(predicate: &str) -> String {
    let sql = athena(&format!(r#""where": {predicate}, "events": {{"columns": ["eventID"], "order": "as_read"}}"#));
    sql.split_once("eventtime < '2026-03-01T12:00:01'\n  AND ").unwrap().1.to_owned()
}

#[test]
fn statement_for_athena_bounds_arrival_from_below_and_time_on_both_sides() {
    let rest = r#""where": {"field": "errorCode", "prefix": ["AccessDenied"]},
        "groups": {"by": ["principal", "day"], "aggregates": ["count", {"max": "eventTime"}],
        "having": [{"aggregate": 0, "is": "greater", "value": 5}], "order": [{"by": {"aggregate": 0}, "descending": true}]},
        "limit": 10"#;
    let expected = "SELECT coalesce(useridentity.arn, useridentity.invokedby, useridentity.principalid, useridentity.type) \
                    AS \"principal\",\n    substr(eventtime, 1, 10) AS \"day\",\n    count(*) AS \"count\",\n    \
                    max(eventtime) AS \"max(eventTime)\"\nFROM \"lake\".\"events\"\nWHERE dt >= '2026-02-01'\n  AND \
                    eventtime >= '2026-02-01T00:00:00'\n  AND eventtime < '2026-03-01T12:00:01'\n  AND errorcode LIKE \
                    'AccessDenied%'\nGROUP BY 1, 2\nHAVING count(*) > 5\nORDER BY 3 DESC NULLS LAST, 1 ASC NULLS LAST, 2 \
                    ASC NULLS LAST\nLIMIT 11";
    assert_eq!(athena(rest), expected);
    let tables = AthenaTables::of_database("lake");
    let narrowed = tables.statement(&plan(rest), Some(date(2026, 3, 2))).unwrap();
    assert!(narrowed.sql.contains("WHERE dt >= '2026-02-01'\n  AND dt <= '2026-03-02'\n"), "{}", narrowed.sql);
    assert_eq!((narrowed.columns.len(), narrowed.limit), (4, Some(10)));
}

#[test]
fn bytes_and_texts_anywhere_come_from_the_table_of_lines() {
    let sql = athena(r#""events": {"order": "newest"}, "limit": 1"#);
    assert!(sql.starts_with("SELECT line AS \"event\"\nFROM \"lake\".\"lines\""), "{sql}");
    assert!(sql.contains("AND json_extract_scalar(line, '$.eventTime') >= '2026-02-01T00:00:00'"), "{sql}");
    let sql =
        athena(r#""where": {"not": {"anywhere": "x"}}, "events": {"columns": ["awsRegion"], "order": "as_read"}"#);
    assert!(sql.contains("FROM \"lake\".\"lines\"") && sql.contains("AND NOT regexp_like(line, "), "{sql}");
    let only_lines = AthenaTables { only_lines: true, ..AthenaTables::of_database("lake") };
    let sql =
        only_lines.statement(&plan(r#""events": {"columns": ["awsRegion"], "order": "as_read"}"#), None).unwrap().sql;
    assert!(sql.contains("FROM \"lake\".\"lines\"") && !sql.contains("awsregion"), "{sql}");
}

#[test]
fn table_by_event_day_bounds_the_day_on_both_sides_and_contains_the_bytes() {
    let by_day = AthenaTables { by_day: Some("events_by_day".into()), ..AthenaTables::of_database("lake") };
    let sql = by_day.statement(&plan(r#""events": {"order": "newest"}, "limit": 1"#), None).unwrap().sql;
    let start = "SELECT line AS \"event\"\nFROM \"lake\".\"events_by_day\"\nWHERE day >= '2026-02-01'\n  AND day <= \
                 '2026-03-01'\n  AND eventtime >= '2026-02-01T00:00:00'\n  AND eventtime < '2026-03-01T12:00:01'";
    assert!(sql.starts_with(start), "{sql}");
    let sql = by_day.statement(
        &plan(r#""where": {"anywhere": "x"}, "groups": {"by": ["principal"], "aggregates": ["count"]}"#),
        None,
    );
    let sql = sql.unwrap().sql;
    assert!(sql.contains("coalesce(useridentity.arn, ") && sql.contains("regexp_like(line, "), "{sql}");
}

#[test]
fn comparison_without_a_value_is_false_and_its_negation_true() {
    for (predicate, expected) in [
        (r#"{"field": "eventName", "equals": ["a"]}"#, "eventname = 'a'"),
        (r#"{"not": {"field": "eventName", "equals": ["a"]}}"#, "(eventname IS NULL OR eventname <> 'a')"),
        (
            r#"{"not": {"field": "eventName", "equals": ["a", "b"]}}"#,
            "(eventname IS NULL OR eventname NOT IN ('a', 'b'))",
        ),
        (r#"{"not": {"field": "eventName", "prefix": ["a"]}}"#, "(eventname IS NULL OR NOT (eventname LIKE 'a%'))"),
        (r#"{"not": {"not": {"field": "eventName", "equals": ["a"]}}}"#, "eventname = 'a'"),
        (
            r#"{"not": {"all": [{"field": "eventName", "equals": ["a"]}, {"field": "errorCode", "null": true}]}}"#,
            "((eventname IS NULL OR eventname <> 'a') OR errorcode IS NOT NULL)",
        ),
        (
            r#"{"not": {"field": "userIdentity.accountId", "same_as": "recipientAccountId"}}"#,
            "(useridentity.accountid IS NULL OR recipientaccountid IS NULL OR useridentity.accountid <> recipientaccountid)",
        ),
        (r#"{"any": []}"#, "FALSE"),
        (r#"{"not": {"any": []}}"#, "TRUE"),
        (
            r#"{"field": "requestParameters.a.b c[2]", "null": true}"#,
            "coalesce(json_format(json_extract(requestparameters, '$.a[\"b c\"][2]')), 'null') = 'null'",
        ),
    ] {
        assert_eq!(condition(predicate), expected, "{predicate}");
    }
}

#[test]
fn values_are_escaped_and_cannot_change_the_statement() {
    for (predicate, expected) in [
        (r#"{"field": "eventName", "equals": ["a' OR '1'='1"]}"#, "eventname = 'a'' OR ''1''=''1'"),
        (r#"{"field": "eventName", "contains": ["50%_A!"]}"#, "lower(eventname) LIKE '%50!%!_a!!%' ESCAPE '!'"),
        (
            r#"{"field": "requestParameters.x'\"y", "equals": ["a"]}"#,
            "json_extract_scalar(requestparameters, '$[\"x''\\\"y\"]') = 'a'",
        ),
    ] {
        assert_eq!(condition(predicate), expected, "{predicate}");
    }
    let tables = AthenaTables { events: "e\"; DROP".into(), ..AthenaTables::of_database("lake") };
    let ids = r#""events": {"columns": ["eventID"], "order": "as_read"}"#;
    let sql = tables.statement(&plan(ids), None).unwrap().sql;
    assert!(sql.contains("FROM \"lake\".\"e\"\"; DROP\""), "{sql}");
    let control = plan(&format!(r#""where": {{"field": "eventName", "equals": ["a\u0000"]}}, {ids}"#));
    let error = AthenaTables::of_database("lake").statement(&control, None).unwrap_err();
    assert_eq!(error, RenderError::ControlCharacter("a\0".into()));
}

#[test]
fn networks_are_patterns_of_whole_addresses() {
    let expected = r"regexp_like(sourceipaddress, '^10\.1\.(?:16|17|18|19|20|21|22|23)\.(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])$')";
    assert_eq!(condition(r#"{"field": "sourceIPAddress", "cidr": ["10.1.20.7/21"]}"#), expected);
    let expected = "(strpos(sourceipaddress, ':') > 0 AND coalesce(contains('2001:db8::/32', try_cast(sourceipaddress AS \
                    ipaddress)), FALSE))";
    assert_eq!(condition(r#"{"field": "sourceIPAddress", "cidr": ["2001:db8::/32"]}"#), expected);
}

#[test]
fn statement_for_cloudtrail_lake_reads_the_whole_event_only_for_fields_without_a_column() {
    let store = EventDataStore::parse(
        "arn:aws:cloudtrail:eu-west-1:111122223333:eventdatastore/00000000-0000-4000-8000-000000000000",
    );
    let store = store.unwrap();
    let nested = plan(
        r#""where": {"all": [{"field": "requestParameters.bucketName", "equals": ["b"]},
            {"not": {"field": "requestParameters.a.b", "equals": ["c"]}}, {"field": "readOnly", "equals": ["false"]}]},
        "events": {"columns": ["eventTime", "userIdentity.arn"], "order": "newest"}, "limit": 2"#,
    );
    let expected = "SELECT date_format(eventTime, '%Y-%m-%dT%H:%i:%sZ') AS \"c1\",\n    userIdentity.arn AS \"c2\"\nFROM \
                    00000000-0000-4000-8000-000000000000\nWHERE eventTime >= timestamp '2026-02-01 00:00:00'\n  AND \
                    eventTime < timestamp '2026-03-01 12:00:01'\n  AND element_at(requestParameters, 'bucketName') = \
                    'b'\n  AND (json_extract_scalar(eventJson, '$.requestParameters.a.b') IS NULL OR \
                    json_extract_scalar(eventJson, '$.requestParameters.a.b') <> 'c')\n  AND CAST(readOnly AS varchar) = \
                    'false'\nORDER BY eventTime DESC NULLS LAST, eventID ASC NULLS LAST\nLIMIT 3";
    assert_eq!(store.statement(&nested).unwrap().sql, expected);

    let values: Vec<_> = (0..400).map(|number| format!("\"AROAEXAMPLEEXAMPLE{number:03}\"")).collect();
    let long = plan(&format!(
        r#""where": {{"field": "userIdentity.principalId", "equals": [{}]}}, "events": {{"order": "as_read"}}"#,
        values.join(",")
    ));
    let error = store.statement(&long).unwrap_err();
    assert!(matches!(error, RenderError::TooLong { max: 10_000, .. }), "{error}");
}

#[test]
fn invalid_event_data_stores_are_refused() {
    for text in [
        "",
        "x",
        "00000000000040008000000000000000",
        "arn:aws:cloudtrail:eu-west-1:111122223333:trail/org",
        "arn:aws:s3:::eventdatastore/00000000-0000-4000-8000-000000000000",
        "00000000-0000-4000-8000-000000000000; DROP TABLE x",
    ] {
        let error = EventDataStore::parse(text).unwrap_err().to_string();
        assert!(error.contains("is not an event data store"), "{error}");
    }
}

#[test]
fn groups_without_fields_are_one_row() {
    let groups = Groups {
        by: Vec::new(),
        aggregates: vec![Aggregate::CountDistinct(Column::AwsRegion.into())],
        having: vec![Having { aggregate: 0, is: Comparison::AtLeast, value: 1 }],
        order: Vec::new(),
    };
    let id = "3270e016-59a1-4448-8dd1-d27a4796502d";
    let plan = Plan::new(Scope::EventId(id.into()), Predicate::always(), PlanOutput::Groups(groups), None).unwrap();
    let sql = AthenaTables::of_database("lake").statement(&plan, None).unwrap().sql;
    let expected = format!(
        "SELECT count(DISTINCT awsregion) AS \"count_distinct(awsRegion)\"\nFROM \"lake\".\"events\"\nWHERE eventid = \
         '{id}'\nHAVING count(DISTINCT awsregion) >= 1"
    );
    assert_eq!(sql, expected);
}

#[test]
fn plan_over_five_years_is_bounded_like_any_other() {
    let rest = r#""time": {"since": "2021-11-01T00:00:00Z", "until": "2026-11-01T00:00:00Z"},
        "groups": {"by": ["awsRegion"], "aggregates": ["count"]}"#;
    let plan: Plan = serde_json::from_str(&format!("{{{rest}}}")).unwrap();
    let sql = AthenaTables::of_database("lake").statement(&plan, None).unwrap().sql;
    let bounds =
        "WHERE dt >= '2021-11-01'\n  AND eventtime >= '2021-11-01T00:00:00'\n  AND eventtime < '2026-11-01T00:00:00'\n";
    assert!(sql.contains(bounds), "{sql}");
}
