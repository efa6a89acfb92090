use super::*;
use crate::plan::TimeSpan;
use crate::query::ScanLayout;
use crate::source::directory::Directory;
use std::path::Path;
use tokio::sync::watch;

/// Returns 600 events of 1 February 2026 with three names and six users. Six of the events are denied.
fn lines() -> String {
    (0..600)
        .map(|number| {
            let name = ["GetObject", "PutObject", "DeleteBucket"][number % 3];
            let (hour, user) = (number % 24, number % 6);
            let error = if number % 100 == 0 { r#""errorCode":"AccessDenied","# } else { "" };
            format!(
                r#"{{"eventTime":"2026-02-01T{hour:02}:00:00Z","eventName":"{name}","eventSource":"s3.amazonaws.com",{error}"readOnly":{},"eventID":"{number:08}-0000-4000-8000-000000000000","recipientAccountId":"111122223333","requestParameters":{{"bucketName":"bucket-{user}","n":{number}}},"userIdentity":{{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/u{user}"}}}}"#,
                name == "GetObject"
            ) + "\n"
        })
        .collect()
}

struct Events {
    folder: tempfile::TempDir,
}

impl Events {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let name = "account=111122223333/region=eu-west-1/date=2026-02-01";
        std::fs::create_dir_all(folder.path().join(name)).unwrap();
        std::fs::write(folder.path().join(name).join("events-1.jsonl"), lines()).unwrap();
        Self { folder }
    }
}

#[derive(Debug, Default)]
struct Collected {
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
}

impl SqlRowSink for Collected {
    fn columns(&mut self, names: &[String]) {
        self.columns = names.to_vec();
    }

    fn row(&mut self, row: Vec<Value>) -> ControlFlow<()> {
        self.rows.push(row);
        ControlFlow::Continue(())
    }
}

async fn scan(folder: &Path) -> Arc<QueryScan> {
    let source = Directory::open(folder).unwrap();
    let bucket = source.bucket().to_owned();
    let scan = QueryScan::open(Arc::new(source), &bucket, "", Some(folder.to_owned()), 2).await.unwrap();
    assert!(matches!(scan.layout(), ScanLayout::Lines(_)));
    Arc::new(scan)
}

fn february() -> SqlSpan {
    let at = |text: &str| text.parse().unwrap();
    SqlSpan::Given(TimeSpan::new(at("2026-02-01T00:00:00Z"), at("2026-03-01T00:00:00Z")).unwrap())
}

async fn run_with(
    events: &Events,
    statement: &str,
    limits: SqlLimits,
    control: QueryControl,
) -> (Result<SqlSummary, SqlError>, Collected) {
    let engine = SqlEngine::new(scan(events.folder.path()).await, february(), None, limits);
    let statement = statement.to_owned();
    let run = tokio::task::spawn_blocking(move || {
        let mut rows = Collected::default();
        let result = engine.run(&statement, &control, &mut rows);
        (result, rows)
    });
    run.await.unwrap()
}

async fn run(events: &Events, statement: &str) -> (SqlSummary, Vec<Vec<Value>>) {
    let (result, rows) = run_with(events, statement, SqlLimits::default(), QueryControl::default()).await;
    (result.unwrap_or_else(|error| panic!("{statement}: {error}")), rows.rows)
}

async fn error(events: &Events, statement: &str) -> String {
    let limits = SqlLimits { timeout: Duration::from_secs(20), ..SqlLimits::default() };
    let (result, _) = run_with(events, statement, limits, QueryControl::default()).await;
    match result {
        Err(error) => error.to_string(),
        Ok(summary) => panic!("{statement}: {summary:?}"),
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_paths_and_the_event_itself_are_read() {
    let events = Events::new();
    let (summary, rows) =
        run(&events, "SELECT eventName, count(*) AS n, min(eventTime) FROM events GROUP BY 1 ORDER BY 1").await;
    let first = |time: &str| text(&format!("2026-02-01T{time}:00:00Z"));
    let row = |name: &str, time: &str| vec![text(name), Value::Integer(200), first(time)];
    assert_eq!(rows, [row("DeleteBucket", "02"), row("GetObject", "00"), row("PutObject", "01")]);
    assert_eq!((summary.reads.len(), summary.reads[0].scanned.selected), (1, 600));
    let statement = "SELECT e.userIdentity.arn, requestParameters->>'n', json_extract(event, '$.userIdentity.type'), \
        principal, day, errorCode FROM events AS e WHERE eventID = '00000007-0000-4000-8000-000000000000'";
    let (_, rows) = run(&events, statement).await;
    let arn = text("arn:aws:iam::111122223333:user/u1");
    assert_eq!(rows, [vec![arn.clone(), Value::Integer(7), text("IAMUser"), arn, text("2026-02-01"), Value::Null]]);
    let (_, rows) = run(&events, "SELECT event FROM events WHERE requestParameters->>'n' = 599").await;
    assert_eq!(rows, [vec![text(lines().lines().last().unwrap())]], "the event's own bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_select_events_and_alternatives_need_one_read() {
    let events = Events::new();
    let count = vec![vec![Value::Integer(200)]];
    let (summary, rows) = run(&events, "SELECT count(*) FROM events WHERE eventName = 'DeleteBucket'").await;
    assert_eq!((rows, summary.reads[0].scanned.selected), (count, 200));
    for (statement, expected) in [
        ("SELECT count(*) FROM events WHERE eventName IN ('DeleteBucket', 'PutObject', 'None')", 400),
        ("SELECT count(*) FROM events WHERE eventName = 'DeleteBucket' OR userIdentity.arn GLOB '*/u0'", 300),
        ("SELECT count(*) FROM events WHERE eventName GLOB 'Delete*' AND errorCode IS NULL", 198),
        ("SELECT count(*) FROM events WHERE eventTime >= '2026-02-01T12' AND eventTime < '2026-02-01T13'", 25),
        ("SELECT count(*) FROM events WHERE readOnly = 'true' AND NOT eventName = 'PutObject'", 200),
        ("SELECT count(*) FROM events WHERE eventTime > '2027'", 0),
    ] {
        let (summary, rows) = run(&events, statement).await;
        assert_eq!(rows, [[Value::Integer(expected)]], "{statement}");
        assert!(summary.reads.len() <= 1, "{statement}: {summary:?}");
    }
    let (summary, rows) = run(&events, "SELECT 1 WHERE 'x' < 'y'").await;
    assert_eq!((rows, summary.reads.len()), (vec![vec![Value::Integer(1)]], 0), "a statement without events");
}

#[tokio::test(flavor = "multi_thread")]
async fn joins_read_the_events_once_if_they_are_materialized() {
    let events = Events::new();
    let (summary, rows) = run(
        &events,
        "WITH e AS MATERIALIZED (SELECT eventName, userIdentity.arn AS arn, eventTime FROM events) \
         SELECT count(*) FROM e AS a JOIN e AS b ON a.arn = b.arn AND a.eventTime < b.eventTime",
    )
    .await;
    assert_eq!(summary.reads.len(), 1);
    assert!(matches!(rows[0][0], Value::Integer(pairs) if pairs > 1_000), "{rows:?}");
    let message =
        error(&events, "SELECT count(*) FROM events AS a JOIN events AS b ON a.eventID = b.sharedEventID").await;
    assert!(message.contains("more than 16 times") && message.contains("AS MATERIALIZED"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn join_that_needs_row_numbers_is_refused_and_its_alternative_is_right() {
    let events = Events::new();
    let values = "WITH v(n) AS (VALUES ('PutObject'))";
    for join in ["RIGHT", "FULL"] {
        let statement = format!("{values} SELECT e.eventID FROM v {join} JOIN events e ON e.eventName = v.n");
        let message = error(&events, &statement).await;
        assert!(message.contains("no rowid") && message.contains("AS MATERIALIZED"), "{message}");
    }
    let materialized = "e AS MATERIALIZED (SELECT eventName AS name FROM events)";
    let statement = format!("{values}, {materialized} SELECT count(*), count(v.n) FROM v RIGHT JOIN e ON e.name = v.n");
    let (_, rows) = run(&events, &statement).await;
    assert_eq!(rows, [[Value::Integer(600), Value::Integer(200)]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_that_do_not_only_read_are_refused() {
    let events = Events::new();
    let mut unexpected = Vec::new();
    for (statement, expected) in [
        ("ATTACH '/tmp/other.db' AS other", "tries to attach a database"),
        ("DETACH main", "tries to detach a database"),
        ("SELECT load_extension('/tmp/x.so')", "tries to load an extension"),
        ("PRAGMA query_only = 0", "tries to use PRAGMA query_only"),
        ("SELECT * FROM pragma_database_list", "tries to use PRAGMA database_list"),
        ("INSERT INTO events (eventName) VALUES ('x')", "tries to write"),
        ("DELETE FROM events", "tries to write"),
        ("UPDATE events SET eventName = 'x'", "tries to write"),
        ("CREATE TABLE t (x)", "tries to"),
        ("CREATE TEMP TABLE t AS SELECT * FROM events", "tries to"),
        ("CREATE VIRTUAL TABLE t USING fts5(x)", "tries to"),
        ("DROP TABLE events", "tries to"),
        ("BEGIN", "tries to control a transaction"),
        ("VACUUM INTO '/tmp/copy.db'", "there is no SELECT statement"),
        ("SELECT writefile('/tmp/x', 'y')", "no such function: writefile"),
        ("SELECT readfile('/etc/passwd')", "no such function: readfile"),
    ] {
        let message = error(&events, statement).await;
        if !message.contains(expected) {
            unexpected.push(format!("{statement}: {message}"));
        }
    }
    assert_eq!(unexpected, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_statements_are_explained_with_their_position() {
    let events = Events::new();
    let mut unexpected = Vec::new();
    for (statement, expected) in [
        ("SELECT 1; SELECT 2", "there are several SQL statements"),
        ("", "there is no SELECT statement"),
        (" -- nothing", "there is no SELECT statement"),
        ("SELECT 1\0; DROP TABLE x", "NUL byte at offset 8"),
        ("SELECT * FORM events", r#"invalid SQL at line 1, column 10: near "FORM": syntax error"#),
        ("SELECT userIdentity.arn,\n  é, FROM events", r#"invalid SQL at line 2, column 6: near "FROM": syntax error"#),
        ("SELECT evntName FROM events", "column 8: no such column: evntName; did you mean eventName?"),
        ("SELECT e.evntName FROM events e", "did you mean eventName?"),
        ("SELECT userIdentity.arm FROM events", "did you mean userIdentity.arn?"),
        ("SELECT requestParameters.bucketName FROM events", "did you mean requestParameters->>'$.bucketName'?"),
        (r#"SELECT * FROM events WHERE eventName = "PutObject""#, "a text needs single quotes"),
        ("SELECT * FROM event", "no such table: event; the only table is events"),
        ("SELECT * FROM events WHERE eventName = ?", "contains a parameter"),
        ("SELECT * FROM events WHERE readOnly = 1", "readOnly is a text and is compared with the number 1"),
        ("SELECT 1; ATTACH 'x' AS y", "tries to attach"),
        ("SELECT 1; SELECT * FORM events", "invalid SQL at line 1, column 20"),
    ] {
        let message = error(&events, statement).await;
        if !message.contains(expected) {
            unexpected.push(format!("{statement}: {message}"));
        }
    }
    assert_eq!(unexpected, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_and_large_statements_are_stopped_by_limits() {
    let events = Events::new();
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)";
    let quick = SqlLimits { timeout: Duration::from_secs(1), ..SqlLimits::default() };
    let (result, _) =
        run_with(&events, &format!("{endless} SELECT max(i) FROM n"), quick, QueryControl::default()).await;
    assert!(result.unwrap_err().to_string().contains("stopped after 1 second:"), "recursion without an end");

    let (result, rows) = run_with(&events, &format!("{endless} SELECT i FROM n"), quick, QueryControl::default()).await;
    let summary = result.unwrap();
    assert!(summary.is_limited && summary.rows == 1_000 && rows.rows.len() == 1_000, "rows without an end");

    let message = error(&events, "SELECT length(zeroblob(1000000000))").await;
    assert!(message.contains("exceeds 64 MiB"), "{message}");
    let message = error(&events, &format!("SELECT {}1", "1+".repeat(300))).await;
    assert!(message.contains("maximum depth"), "{message}");
}

/// The limit of the memory applies to every SQLite database of a process, so this test has a process of its own.
#[test]
fn sorted_rows_that_need_too_much_memory_end_a_statement() {
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    let child = child.args(["--ignored", "--exact", "sql::tests::child_with_little_memory"]).output().unwrap();
    let printed = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && printed.contains("1 passed"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "is started by another test"]
async fn child_with_little_memory() {
    let events = Events::new();
    let large_sort = "SELECT a.event FROM events a, json_each('[1,2,3,4,5,6,7,8,9,10]') b ORDER BY a.event";
    let small = SqlLimits { memory: 1 << 20, ..SqlLimits::default() };
    let (result, _) = run_with(&events, large_sort, small, QueryControl::default()).await;
    assert!(result.unwrap_err().to_string().contains("more than 1 MiB of memory"), "sorted rows in memory");
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupt_ends_a_statement_without_a_result() {
    let events = Events::new();
    let (halt, halted) = watch::channel(false);
    let control = QueryControl { halt: halted, ..QueryControl::default() };
    let stop = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        halt.send_replace(true);
        // The channel stays open until the statement ends.
        tokio::time::sleep(Duration::from_secs(20)).await;
    });
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
    let (result, rows) = run_with(&events, endless, SqlLimits::default(), control).await;
    assert!(matches!(result, Err(SqlError::Interrupted)), "{result:?}");
    assert_eq!(rows.rows, Vec::<Vec<Value>>::new());
    stop.abort();
}
