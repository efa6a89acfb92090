//! The engines for Athena and CloudTrail Lake against a stand-in that validates each request with botocore's model of the
//! service: states, pages, cancellation, price, and what an error tells the user. The stand-in runs no SQL;
//! `tests/query_engines.rs` does.

mod bed;

use bed::stand_in::StandIn;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::watch;
use trailhose::plan::Plan;
use trailhose::plan::sql::{AthenaTables, EventDataStore};
use trailhose::query::{Answer, AthenaEngine, CloudTrailLakeEngine, QueryControl, QueryEngine, QueryError};

const STORE: &str = "00000000-0000-4000-8000-000000000000";
const QUERY: &str = "11111111-1111-4111-8111-111111111111";

fn plan(limit: u64) -> Plan {
    let plan = json!({
        "time": {"since": "2026-02-01T00:00:00Z", "until": "2026-03-01T00:00:00Z"},
        "events": {"columns": ["eventID", "errorCode"], "order": "newest"},
        "limit": limit,
    });
    serde_json::from_value(plan).unwrap()
}

fn denied(action: &str) -> Value {
    let message =
        format!("User: arn:aws:iam::111122223333:user/a is not authorized to perform: {action} on resource: r");
    json!({"Error": {"Code": "AccessDeniedException", "Message": message}})
}

fn lake_answers(changes: Value) -> Value {
    let row = |number: u32| json!([{"c1": format!("event-{number}")}, {"c2": "AccessDenied"}]);
    let store = format!("arn:aws:cloudtrail:us-east-1:111122223333:eventdatastore/{STORE}");
    let mut answers = json!({
        "GetEventDataStore": {"EventDataStoreArn": store, "Status": "ENABLED"},
        "StartQuery": {"QueryId": QUERY},
        "DescribeQuery": [
            {"QueryId": QUERY, "QueryStatus": "QUEUED"},
            {"QueryId": QUERY, "QueryStatus": "RUNNING"},
            {"QueryId": QUERY, "QueryStatus": "FINISHED", "QueryStatistics": {"BytesScanned": 2_147_483_648_u64, "EventsScanned": 9}},
        ],
        "GetQueryResults": [
            {"QueryStatus": "FINISHED", "QueryResultRows": [row(1), row(2)], "NextToken": "more"},
            {"QueryStatus": "FINISHED", "QueryResultRows": [row(3), [{"c1": "event-4"}]]},
        ],
        "CancelQuery": {"QueryId": QUERY, "QueryStatus": "CANCELLED"},
    });
    answers.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    json!({"cloudtrail": answers})
}

fn lake(stand_in: &StandIn) -> CloudTrailLakeEngine {
    let client = aws_sdk_cloudtrail::Client::new(&bed::config(&stand_in.endpoint()));
    CloudTrailLakeEngine::new(client, EventDataStore::parse(STORE).unwrap()).unwrap()
}

fn athena_answers(changes: Value) -> Value {
    let state = |state: &str| json!({"QueryExecution": {"QueryExecutionId": QUERY, "Status": {"State": state}}});
    let row = |values: [&str; 2]| json!({"Data": values.map(|value| json!({"VarCharValue": value}))});
    let mut succeeded = state("SUCCEEDED");
    succeeded["QueryExecution"]["Statistics"] = json!({"DataScannedInBytes": 1_099_511_627_776_u64});
    let mut answers = json!({
        "StartQueryExecution": {"QueryExecutionId": QUERY},
        "GetQueryExecution": [state("QUEUED"), state("RUNNING"), succeeded],
        "GetQueryResults": [
            {"ResultSet": {"Rows": [row(["eventID", "errorCode"]), row(["event-1", "x"])]}, "NextToken": "more"},
            {"ResultSet": {"Rows": [row(["event-2", "y"]), {"Data": [{"VarCharValue": "event-3"}, {}]}]}},
        ],
        "StopQueryExecution": {},
        "GetWorkGroup": {"WorkGroup": {"Name": "trailhose", "Configuration": {"BytesScannedCutoffPerQuery": 10_000_000}}},
    });
    answers.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    json!({"athena": answers})
}

fn athena(stand_in: &StandIn) -> AthenaEngine {
    let client = aws_sdk_athena::Client::new(&bed::config(&stand_in.endpoint()));
    AthenaEngine::new(client, AthenaTables::of_database("trailhose"), "trailhose")
}

/// Runs a plan, stops it after `stop`, and returns the answer and the operations that were called.
async fn run(
    stand_in: &StandIn,
    engine: &dyn QueryEngine,
    limit: u64,
    stop: Option<Duration>,
) -> (Result<Answer, QueryError>, Vec<(String, Value)>) {
    let (sender, halt) = watch::channel(false);
    let control = QueryControl { halt, ..QueryControl::default() };
    if let Some(after) = stop {
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            sender.send(true).unwrap();
        });
    }
    let answer = engine.answer(&plan(limit), &control).await;
    assert_eq!(stand_in.violations().await, json!([]));
    (answer, stand_in.requests().await)
}

fn names(requests: &[(String, Value)]) -> Vec<&str> {
    requests.iter().map(|(name, _)| name.as_str()).collect()
}

fn first_column(answer: &Answer) -> Vec<&str> {
    answer.rows.iter().map(|row| row[0].as_deref().unwrap()).collect()
}

#[tokio::test]
async fn cloudtrail_lake_is_polled_and_all_pages_are_read() {
    let stand_in = StandIn::start(&lake_answers(json!({})));
    let (answer, requests) = run(&stand_in, &lake(&stand_in), 10, None).await;
    let answer = answer.unwrap();
    assert_eq!(answer.columns, ["eventID", "errorCode"]);
    assert_eq!(first_column(&answer), ["event-1", "event-2", "event-3", "event-4"]);
    assert_eq!((answer.rows[3][1].as_deref(), answer.is_limited), (None, false));
    assert_eq!((answer.scanned.bytes, answer.scanned.events, answer.scanned.dollars), (2 << 30, 9, Some(0.01)));
    let expected = ["GetEventDataStore", "StartQuery", "DescribeQuery", "DescribeQuery", "DescribeQuery"];
    assert_eq!(names(&requests), [&expected[..], &["GetQueryResults"; 2]].concat());
    let sql = requests[1].1["QueryStatement"].as_str().unwrap();
    assert!(sql.contains(&format!("\nFROM {STORE}\n")), "{sql}");
    assert_eq!(requests[6].1["NextToken"], "more");
}

#[tokio::test]
async fn cloudtrail_lake_query_is_cancelled_and_rows_beyond_the_limit_are_not_returned() {
    let running = json!({"QueryId": QUERY, "QueryStatus": "RUNNING"});
    let stand_in = StandIn::start(&lake_answers(json!({"DescribeQuery": running})));
    let (answer, requests) = run(&stand_in, &lake(&stand_in), 10, Some(Duration::from_millis(300))).await;
    let answer = answer.unwrap();
    assert!(answer.scanned.stopped && answer.rows.is_empty(), "{answer:?}");
    assert!(names(&requests).contains(&"CancelQuery"), "{requests:?}");

    let stand_in = StandIn::start(&lake_answers(json!({})));
    let answer = run(&stand_in, &lake(&stand_in), 3, None).await.0.unwrap();
    assert_eq!((first_column(&answer), answer.is_limited), (vec!["event-1", "event-2", "event-3"], true));
}

#[tokio::test]
async fn errors_of_cloudtrail_lake_say_what_to_do() {
    let store = format!("arn:aws:cloudtrail:us-east-1:111122223333:eventdatastore/{STORE}");
    let state = |status: &str| json!({"EventDataStoreArn": store, "Status": status});
    let mut config = state("ENABLED");
    config["AdvancedEventSelectors"] =
        json!([{"FieldSelectors": [{"Field": "eventCategory", "Equals": ["ConfigurationItem"]}]}]);
    let missing = json!({"Error": {"Code": "EventDataStoreNotFoundException", "Message": "not found"}});
    let failed = json!({"QueryId": QUERY, "QueryStatus": "FAILED", "ErrorMessage": "line 1:8: no column"});
    let expired = json!({"Error": {"Code": "ExpiredTokenException", "Message": "The security token is expired"}});
    let expected = [
        "contains ConfigurationItem and no CloudTrail events",
        "is being deleted: restore it",
        "no such event data store in us-east-1: use its region",
        "allow cloudtrail:GetEventDataStore on the event data store",
        "cannot start the query: allow cloudtrail:StartQuery on",
        "the session has expired: renew it",
        "failed: line 1:8: no column",
        "use a shorter time span",
    ];
    // Each query gets the next answer. The last one is repeated.
    let stand_in = StandIn::start(&lake_answers(json!({
        "GetEventDataStore": [
            config,
            state("PENDING_DELETION"),
            missing,
            denied("cloudtrail:GetEventDataStore"),
            state("ENABLED"),
        ],
        "StartQuery": [denied("cloudtrail:StartQuery"), expired, {"QueryId": QUERY}],
        "DescribeQuery": [failed, {"QueryId": QUERY, "QueryStatus": "TIMED_OUT"}],
    })));
    for expected in expected {
        let error = run(&stand_in, &lake(&stand_in), 10, None).await.0.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    let stand_in = StandIn::start(&lake_answers(json!({"GetEventDataStore": state("STOPPED_INGESTION")})));
    let answer = run(&stand_in, &lake(&stand_in), 10, None).await.0.unwrap();
    let [warning] = answer.scanned.skipped.as_slice() else { panic!("{:?}", answer.scanned) };
    assert!(warning.reason.contains("its ingestion is stopped"), "{warning:?}");

    let client = aws_sdk_cloudtrail::Client::new(&bed::config(&stand_in.endpoint()));
    let other = EventDataStore::parse(&store.replace("us-east-1", "eu-west-1")).unwrap();
    let error = CloudTrailLakeEngine::new(client, other).unwrap_err().to_string();
    assert!(error.contains("is in the region eu-west-1") && error.ends_with("use AWS_REGION=eu-west-1"), "{error}");
}

#[tokio::test]
async fn athena_is_polled_and_all_pages_are_read() {
    let stand_in = StandIn::start(&athena_answers(json!({})));
    let (answer, requests) = run(&stand_in, &athena(&stand_in), 10, None).await;
    let answer = answer.unwrap();
    assert_eq!((first_column(&answer), answer.is_limited), (vec!["event-1", "event-2", "event-3"], false));
    assert_eq!((answer.rows[2][1].as_deref(), answer.scanned.dollars), (None, Some(5.0)));
    let started = &requests[0].1;
    assert_eq!(
        (&started["WorkGroup"], &started["QueryExecutionContext"]["Database"]),
        (&json!("trailhose"), &json!("trailhose"))
    );
    assert_eq!(names(&requests)[4..], ["GetQueryResults"; 2]);

    let stand_in = StandIn::start(&athena_answers(json!({})));
    let answer = run(&stand_in, &athena(&stand_in), 2, None).await.0.unwrap();
    assert_eq!((first_column(&answer), answer.is_limited), (vec!["event-1", "event-2"], true));
}

#[tokio::test]
async fn athena_query_is_stopped_by_an_interrupt() {
    let state = |state: &str| json!({"QueryExecution": {"QueryExecutionId": QUERY, "Status": {"State": state}}});
    let states = json!([state("RUNNING"), state("RUNNING"), state("RUNNING"), state("CANCELLED")]);
    let stand_in = StandIn::start(&athena_answers(json!({"GetQueryExecution": states})));
    let (answer, requests) = run(&stand_in, &athena(&stand_in), 10, Some(Duration::from_millis(50))).await;
    let answer = answer.unwrap();
    assert!(answer.scanned.stopped && answer.rows.is_empty(), "{answer:?}");
    assert_eq!(names(&requests).iter().filter(|name| **name == "StopQueryExecution").count(), 1, "{requests:?}");
}

#[tokio::test]
async fn errors_of_athena_say_what_to_do() {
    let expired = json!({"Error": {"Code": "ExpiredTokenException", "Message": "The security token is expired"}});
    // Reasons of Athena for a failed query, and what the user is told.
    let reasons = [
        ("Bytes scanned limit was exceeded", "reads more than 10000000 bytes: use a shorter time span"),
        ("TABLE_NOT_FOUND: line 1:15: Table 'x' does not exist", "deploy it with LakeTables=true"),
        (
            "COLUMN_NOT_FOUND: line 1:8: Column 'x' cannot be resolved",
            "is older than this program: deploy the current template.yaml",
        ),
        (
            "HIVE_CURSOR_ERROR: Row is not a valid JSON Object - JSONException: Duplicate key \"name\"",
            "use --raw-lines",
        ),
        (
            "User: arn:aws:iam::111122223333:user/a is not authorized to perform: glue:GetTable on resource: r",
            "allow glue:GetTable;",
        ),
        ("Access Denied (Service: Amazon S3; Status Code: 403)", "allow s3:GetObject and s3:ListBucket on the lake"),
        ("Query exhausted resources at this scale factor", "failed: Query exhausted resources"),
    ];
    let failed = reasons.map(|(reason, _)| {
        let status = json!({"State": "FAILED", "StateChangeReason": reason});
        json!({"QueryExecution": {"QueryExecutionId": QUERY, "Status": status}})
    });
    // Each query gets the next answer. The last one is repeated.
    let stand_in = StandIn::start(&athena_answers(json!({
        "StartQueryExecution": [denied("athena:StartQueryExecution"), expired, {"QueryExecutionId": QUERY}],
        "GetQueryExecution": failed,
    })));
    let first = ["allow athena:StartQueryExecution on the workgroup trailhose", "the session has expired: renew it"];
    for expected in first.into_iter().chain(reasons.map(|(_, expected)| expected)) {
        let error = run(&stand_in, &athena(&stand_in), 10, None).await.0.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

/// Runs the program, and returns its exit code, output and messages.
fn program(stand_in: &StandIn, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_trailhose"));
    command.env_clear().env("AWS_ENDPOINT_URL", stand_in.endpoint()).env("AWS_REGION", bed::REGION);
    command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
    let output = command.args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn question_is_answered_by_athena_and_by_cloudtrail_lake() {
    let event = |number: usize| {
        let time = format!("2026-02-01T10:{number:02}:00Z");
        let arn = format!("arn:aws:iam::111122223333:user/u{}", number % 2);
        let error = (number == 3).then(|| "AccessDenied".to_owned());
        let texts = ["s3.amazonaws.com", "GetObject"].map(|text| Some(text.to_owned()));
        let [source, name] = texts;
        let [account, region, address] = ["111122223333", "eu-west-1", "192.0.2.1"].map(|text| Some(text.to_owned()));
        [Some(time), source, name, Some(arn), account, region, address, error, Some(format!("id{number}"))]
    };
    let athena_row = |row: &[Option<String>]| json!({"Data": row.iter().map(|value| value.as_ref().map_or(json!({}), |text| json!({"VarCharValue": text}))).collect::<Vec<_>>()});
    let header = vec![Some("h".to_owned()); 9];
    let rows: Vec<Value> = [athena_row(&header), athena_row(&event(3)), athena_row(&event(2))].into();
    let stand_in = StandIn::start(&athena_answers(json!({"GetQueryResults": {"ResultSet": {"Rows": rows}}})));
    let question = "GetObject events in February 2026";
    let (code, out, err) = program(&stand_in, &["ask", "--athena", "lake@trailhose", question]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(
        out.contains("\n2 events from 2026-02-01T10:02:00Z to 2026-02-01T10:03:00Z: 2 principals, 1 account"),
        "{out}"
    );
    assert!(err.contains("2 rows; Athena read 1.00 TiB, list price $5.00"), "{err}");
    let (_, request) = stand_in.requests().await.into_iter().find(|(name, _)| name == "StartQueryExecution").unwrap();
    let sql = request["QueryString"].as_str().unwrap();
    assert!(sql.contains("eventname = 'GetObject'") && sql.ends_with("\nLIMIT 1001"), "{sql}");

    // More events than the statement returns.
    let lake_row = |row: &[Option<String>]| -> Vec<Value> {
        let columns = row.iter().enumerate();
        columns.filter_map(|(at, value)| value.as_ref().map(|text| json!({format!("c{}", at + 1): text}))).collect()
    };
    let rows: Vec<_> = (0..1001).map(|number| lake_row(&event(number % 60))).collect();
    let stand_in =
        StandIn::start(&lake_answers(json!({"GetQueryResults": {"QueryStatus": "FINISHED", "QueryResultRows": rows}})));
    let (code, out, err) = program(&stand_in, &["ask", "--event-data-store", STORE, question]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("\nAt least 1,000 events from "), "{out}");
    assert!(out.contains("There are more events, which the summary does not contain."), "{out}");
    assert!(err.contains("1,000 rows; CloudTrail Lake read 2.00 GiB, list price $0.01"), "{err}");
    let (code, out, _) = program(&stand_in, &["ask", "--event-data-store", STORE, question, "--json"]);
    let answer: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &answer["events"], &answer["has_more_events"]), (Some(0), &json!(1000), &json!(true)));
    assert_eq!(answer["rows"].as_array().unwrap().len(), 100);
    assert_eq!(stand_in.violations().await, json!([]));

    // A group of no events.
    let none = json!({"QueryStatus": "FINISHED", "QueryResultRows": [[{"c1": "0"}]]});
    let stand_in = StandIn::start(&lake_answers(json!({"GetQueryResults": none})));
    let question = "how many GetObject events in February 2026";
    let (code, out, err) = program(&stand_in, &["ask", "--event-data-store", STORE, question]);
    assert_eq!(code, Some(4), "{out}{err}");
    assert!(out.contains("No event matches."), "{out}");
}

#[tokio::test]
async fn search_for_an_event_id_says_what_it_costs() {
    let id = "3270e016-59a1-4448-8dd1-d27a4796502d";
    let stand_in = StandIn::start(&athena_answers(json!({})));
    let (_, _, err) = program(&stand_in, &["query", "--athena", "lake@trailhose", "--id", id]);
    let cost = "Athena reads the whole lake, at $5.00 per TB and up to the workgroup's limit of 9.54 MiB ($0.0000); a time \
                span reads less\n";
    assert!(err.contains(&format!("searching the event {id}: {cost}")), "{err}");
    let stand_in = StandIn::start(&lake_answers(json!({})));
    let (_, _, err) = program(&stand_in, &["ask", "--event-data-store", STORE, &format!("event {id}")]);
    assert!(err.contains("CloudTrail Lake reads the whole event data store, at $0.005 per GB"), "{err}");
}

#[tokio::test]
async fn command_prints_rows_and_price_or_the_statement_and_the_limit() {
    let stand_in = StandIn::start(&athena_answers(json!({})));
    let run = |arguments: &[&str]| {
        program(&stand_in, &[&["query", "--since", "2026-02-01", "--until", "2026-02-28"][..], arguments].concat())
    };
    let (code, out, err) = run(&["--athena", "lake@trailhose", "--explain"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("FROM \"lake\".\"events\"\nWHERE dt >= '2026-02-01'\n"), "{out}");
    assert!(out.contains("The workgroup stops the query if it reads more than 9.54 MiB."), "{out}");
    let (code, out, err) = run(&["--athena", "lake@trailhose", "--columns", "eventID,errorCode", "--json"]);
    assert_eq!((code, out.lines().count()), (Some(0), 3), "{err}");
    assert!(err.contains("3 rows; Athena read 1.00 TiB, list price $5.00"), "{err}");
    assert_eq!(stand_in.violations().await, json!([]));

    for (arguments, expected) in [
        (["--athena", "lake@"], "expected DATABASE or DATABASE@WORKGROUP"),
        (["--event-data-store", "x"], "\"x\" is not an event data store"),
        (["events", "--athena=lake"], "cannot be used with"),
    ] {
        let (code, _, err) = run(&arguments);
        assert_eq!(code, Some(2), "{err}");
        assert!(err.contains(expected), "{err}");
    }
}
