//! `trailhose sql`: rows in each format, limits, exit codes, and the view for DuckDB with the real DuckDB.

mod laptop;

use laptop::{Ran, run, text};
use std::path::Path;
use std::process::Command;

/// Writes 240 events of two days, half of them denied, into a folder with the layout of `trailhose sync`.
fn events() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for day in 1..=2 {
        let name = format!("account=111122223333/region=eu-west-1/date=2026-02-0{day}");
        std::fs::create_dir_all(folder.path().join(&name)).unwrap();
        let lines: String = (0..120).map(|number| event(day, number) + "\n").collect();
        std::fs::write(folder.path().join(&name).join("events-1.jsonl"), lines).unwrap();
    }
    folder
}

fn event(day: u32, number: u32) -> String {
    let error = if number.is_multiple_of(2) { r#""errorCode":"AccessDenied","# } else { "" };
    let (hour, name, user) = (number % 24, ["GetObject", "PutObject", "DeleteBucket"][number as usize % 3], number % 5);
    format!(
        r#"{{"eventTime":"2026-02-0{day}T{hour:02}:00:00Z","eventSource":"s3.amazonaws.com","eventName":"{name}",{error}"readOnly":{},"recipientAccountId":"111122223333","eventID":"0000000{day}-0000-4000-8000-{number:012}","userIdentity":{{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/u{user}"}},"requestParameters":{{"bucketName":"b{user}","tags":[{{"Name":"a","name":"b"}}]}}}}"#,
        name == "GetObject"
    )
}

fn sql(folder: &Path, args: &[&str]) -> Ran {
    let span = ["--since", "2026-02-01", "--until", "2026-02-28"];
    run(&[&["sql", text(folder)], args, &span].concat())
}

const BY_USER: &str = "SELECT userIdentity.arn AS arn, count(*) AS n FROM events WHERE errorCode = 'AccessDenied' \
    GROUP BY 1 ORDER BY 1";

#[test]
fn rows_are_printed_in_each_format_with_a_summary() {
    let folder = events();
    let json = sql(folder.path(), &[BY_USER, "--json"]);
    let lines: Vec<String> =
        (0..5).map(|user| format!(r#"{{"arn":"arn:aws:iam::111122223333:user/u{user}","n":24}}"#)).collect();
    assert_eq!((json.code(), json.out()), (0, lines.join("\n") + "\n"));
    assert!(json.err().contains("searched 240 events in 2 files"), "{}", json.err());
    let csv = sql(folder.path(), &[BY_USER, "--csv"]);
    assert_eq!(csv.out().lines().next(), Some("arn,n"));
    assert_eq!(csv.out().lines().nth(1), Some("arn:aws:iam::111122223333:user/u0,24"));
    let table = sql(folder.path(), &["SELECT eventName, errorCode FROM events ORDER BY eventID LIMIT 2"]);
    let table = table.out();
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows, [["eventName", "errorCode"], ["GetObject", "AccessDenied"], ["PutObject", "-"]]);
    let limited = sql(folder.path(), &["SELECT eventID FROM events", "--limit", "10", "--csv"]);
    assert_eq!((limited.code(), limited.out().lines().count()), (0, 11));
    assert!(limited.err().contains("more than 10 rows"), "{}", limited.err());
}

#[test]
fn condition_on_the_time_selects_the_span() {
    let folder = events();
    let statement = "SELECT count(*) FROM events WHERE eventTime >= '2026-02-01' AND eventTime < '2026-02-02'";
    let ran = run(&["sql", text(folder.path()), statement, "--csv"]);
    assert_eq!((ran.code(), ran.out().as_str()), (0, "count(*)\n120\n"));
    let none = run(&["sql", text(folder.path()), "SELECT eventID FROM events"]);
    assert_eq!((none.code(), none.out().as_str()), (4, ""), "the default span is the last 24 hours");
    assert!(none.err().contains("searched 0 events in 0 files"), "{}", none.err());
}

/// SQLite treats a text as 0 where it expects a truth value, so the documented form is a comparison.
#[test]
fn truth_values_are_compared_with_texts() {
    let folder = events();
    let count = |expression: &str| {
        let statement = format!("SELECT {expression} AS n FROM events");
        sql(folder.path(), &[&statement, "--json"]).out()
    };
    assert_eq!(count("sum(readOnly = 'true')"), "{\"n\":80}\n");
    assert_eq!(count("sum(readOnly)"), "{\"n\":0.0}\n");
    let found = sql(folder.path(), &["SELECT count(*) AS n FROM events WHERE readOnly = 'true'", "--json"]);
    assert_eq!(found.out(), "{\"n\":80}\n", "{found:?}");
}

#[test]
fn errors_have_their_exit_codes() {
    let folder = events();
    for (args, code, expected) in [
        (&["ATTACH '/tmp/x' AS x"][..], 2, "tries to attach a database"),
        (&["SELECT evntName FROM events"], 2, "did you mean eventName?"),
        (&["SELECT 1; SELECT 2"], 2, "several SQL statements"),
        (&[], 2, "the SQL statement is missing"),
        (&["SELECT 1", "--limit", "0"], 2, "--limit"),
        (
            &["WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n", "--timeout", "1"],
            1,
            "stopped after 1 second:",
        ),
        (&["SELECT a.event, b.value FROM events a, json_each('[1,2,3]') b WHERE readOnly = 1"], 1, "single quotes"),
    ] {
        let ran = sql(folder.path(), args);
        assert_eq!(ran.code(), code, "{args:?}: {}", ran.err());
        assert!(ran.err().contains(expected), "{args:?}: {}", ran.err());
    }
}

#[test]
fn duckdb_reads_the_view_with_the_same_result() {
    let folder = events();
    let view = run(&["sql", "--duckdb-view", text(folder.path())]);
    assert_eq!(view.code(), 0);
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/lake/bin/python");
    assert!(python.exists(), "{} is missing: run ./test --setup", python.display());
    let script = "import duckdb, sys\n\
        database = duckdb.connect()\n\
        database.execute(sys.argv[1])\n\
        for statement in sys.argv[2:]:\n\
        \x20   for row in database.execute(statement).fetchall():\n\
        \x20       print(*row, sep=',')\n";
    let paths = "SELECT requestParameters->>'$.bucketName', requestParameters->>'$.tags[0].Name', date, typeof(eventTime), \
        readOnly FROM events WHERE eventID = '00000002-0000-4000-8000-000000000003' AND date = '2026-02-02'";
    let output = Command::new(python).args(["-c", script, &view.out(), BY_USER, paths]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows = sql(folder.path(), &[BY_USER, "--csv"]);
    let expected = rows.out().lines().skip(1).map(|row| format!("{row}\n")).collect::<String>();
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected + "b3,a,2026-02-02,VARCHAR,true\n");
}
