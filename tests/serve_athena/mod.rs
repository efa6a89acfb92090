//! Queries of the API with Athena, against a stand-in that validates each request with botocore's model of the service.

use crate::bed::stand_in::StandIn;
use crate::serve_client::{Reply, Server, Site};
use serde_json::{Value, json};
use std::time::Duration;

const QUERY: &str = "11111111-1111-4111-8111-111111111111";

fn answers(workgroup: Value) -> Value {
    let state = |state: &str| json!({"QueryExecution": {"QueryExecutionId": QUERY, "Status": {"State": state}}});
    let row = |values: [&str; 2]| json!({"Data": values.map(|value| json!({"VarCharValue": value}))});
    let mut succeeded = state("SUCCEEDED");
    succeeded["QueryExecution"]["Statistics"] = json!({"DataScannedInBytes": 1_099_511_627_776_u64});
    let rows = [row(["eventID", "errorCode"]), row(["event-1", "x"]), row(["event-2", "y"])];
    json!({"athena": {
        "StartQueryExecution": {"QueryExecutionId": QUERY},
        "GetQueryExecution": [state("QUEUED"), state("RUNNING"), succeeded],
        "GetQueryResults": {"ResultSet": {"Rows": rows}},
        "StopQueryExecution": {},
        "GetWorkGroup": {"WorkGroup": {"Name": "analysts", "Configuration": workgroup}},
    }})
}

/// Starts a server whose AWS services are the stand-in.
fn start(site: &Site, stand_in: &StandIn) -> Server {
    let mut command = site.command();
    command.env_remove("AWS_PROFILE").env("AWS_ENDPOINT_URL", stand_in.endpoint()).env("AWS_REGION", "us-east-1");
    command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test").env_remove("AWS_SESSION_TOKEN");
    Server::start(command)
}

fn requests(stand_in: &StandIn) -> Vec<(String, Value)> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    assert_eq!(runtime.block_on(stand_in.violations()), json!([]));
    runtime.block_on(stand_in.requests())
}

fn query(engine: Option<&str>) -> Value {
    let mut body = json!({"plan": {
        "time": {"since": "2026-02-01T00:00:00Z", "until": "2026-03-01T00:00:00Z"},
        "events": {"columns": ["eventID", "errorCode"], "order": "newest"},
        "limit": 10,
    }});
    if let Some(engine) = engine {
        body["engine"] = json!(engine);
    }
    body
}

#[test]
fn athena_needs_its_scope_and_the_answer_says_what_is_billed() {
    let stand_in = StandIn::start(&answers(json!({"BytesScannedCutoffPerQuery": 10_000_000})));
    let site = Site::new("[serve.athena]\ndatabase = \"lake\"\nworkgroup = \"analysts\"");
    let server = start(&site, &stand_in);
    let question = json!({"question": "top 10 principals in February 2026", "engine": "athena"});
    for (path, body) in [("/v1/query", &query(Some("athena"))), ("/v1/ask", &question)] {
        let refused = server.post(path, body);
        assert!(refused.status == 403 && refused.text().contains("scope athena"), "without tokens: {refused:?}");
    }
    let reader = site.new_token(&["reader", "--scope", "read", "--scope", "write"]);
    let analyst = site.new_token(&["analyst", "--scope", "read", "--scope", "athena"]);
    std::thread::sleep(Duration::from_millis(1_100));
    let post = |path: &str, token: &str, body: &Value| -> Reply {
        server.request("POST", path).token(token).json_body(body).send()
    };
    for (path, body) in [("/v1/query", &query(Some("athena"))), ("/v1/ask", &question)] {
        let refused = post(path, &reader, body);
        assert!(refused.status == 403 && refused.text().contains("scope athena"), "{refused:?}");
    }
    // A query that does not name Athena reads the files, also with the scope.
    let files = post("/v1/query", &analyst, &query(None));
    assert_eq!((files.status, &files.json()["billed"]), (200, &Value::Null), "{files:?}");
    assert_eq!(requests(&stand_in), [], "nothing was sent to Athena");

    let answered = post("/v1/query", &analyst, &query(Some("athena")));
    let answer = answered.json();
    assert_eq!(answered.status, 200, "{answer}");
    assert_eq!(answer["rows"], json!([["event-1", "x"], ["event-2", "y"]]));
    assert_eq!(answer["billed"], json!({"bytes": 1_099_511_627_776_u64, "dollars": 5.0, "byte_limit": 10_000_000}));
    assert_eq!((&answer["complete"], &answer["limited"]), (&json!(true), &json!(false)));
    let sent = requests(&stand_in);
    let started = &sent.iter().find(|(name, _)| name == "StartQueryExecution").unwrap().1;
    assert_eq!(
        (&started["WorkGroup"], &started["QueryExecutionContext"]["Database"]),
        (&json!("analysts"), &json!("lake"))
    );
    let asked = post("/v1/ask", &analyst, &question);
    assert_eq!((asked.status, &asked.json()["billed"]["byte_limit"]), (200, &json!(10_000_000)), "{asked:?}");

    // Only the settings name the workgroup and the tables.
    for (name, value) in [("workgroup", "primary"), ("database", "other"), ("engine", "cloudtrail_lake")] {
        let mut body = query(Some("athena"));
        body[name] = json!(value);
        assert_eq!(post("/v1/query", &analyst, &body).status, 422, "{name}");
    }
    let lines = server.end("-TERM").1.join("\n");
    for (token, status) in [("reader", 403), ("analyst", 200)] {
        let entries = lines.lines().filter(|line| {
            line.contains(&format!("\"token\":\"{token}\"")) && line.contains(&format!("\"status\":{status}"))
        });
        assert!(entries.clone().any(|line| line.contains("\"target\":\"athena\"")), "{token}: {lines}");
    }
}

#[test]
fn athena_without_settings_or_without_a_limit_is_refused_with_the_reason() {
    let stand_in = StandIn::start(&answers(json!({})));
    let site = Site::new("[serve.athena]\ndatabase = \"lake\"");
    let analyst = site.new_token(&["analyst", "--scope", "read", "--scope", "athena"]);
    let ask =
        |server: &Server| server.request("POST", "/v1/query").token(&analyst).json_body(&query(Some("athena"))).send();
    let refused = ask(&start(&site, &stand_in));
    assert!(refused.status == 422 && refused.text().contains("BytesScannedCutoffPerQuery"), "{refused:?}");
    assert!(requests(&stand_in).iter().all(|(name, _)| name == "GetWorkGroup"), "no query is started");

    let other = Site::new("");
    std::fs::copy(other.settings(), site.settings()).unwrap();
    let refused = ask(&site.start());
    assert!(refused.status == 422 && refused.text().contains("[serve.athena]"), "{refused:?}");
}
