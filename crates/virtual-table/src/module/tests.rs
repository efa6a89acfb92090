use super::*;
use crate::TableColumn;
use std::sync::Mutex;

/// Three rows of two columns and a hidden one. Records the requests.
#[derive(Default)]
struct Letters {
    requests: Mutex<Vec<TableRequest>>,
}

impl ReadOnlyTable for Letters {
    fn columns(&self) -> Vec<TableColumn> {
        let column = |name: &str, hidden| TableColumn { name: name.to_owned(), hidden };
        vec![column("letter", false), column("a \"b\".c", false), column("raw", true)]
    }

    fn scan(&self, request: &TableRequest) -> std::result::Result<Box<dyn Rows>, String> {
        self.requests.lock().unwrap().push(request.clone());
        Ok(Box::new(LetterRows(None)))
    }
}

struct LetterRows(Option<usize>);

const LETTERS: [[Option<&str>; 3]; 3] =
    [[Some("a"), Some("1"), Some("ra")], [Some("b"), None, Some("rb")], [Some("c"), Some("3"), Some("rc")]];

impl Rows for LetterRows {
    fn advance(&mut self) -> std::result::Result<bool, String> {
        self.0 = Some(self.0.map_or(0, |row| row + 1));
        Ok(self.0 < Some(LETTERS.len()))
    }

    fn value(&self, column: usize) -> Option<&str> {
        LETTERS[self.0?][column]
    }
}

type Row = Vec<Option<String>>;

fn query(statement: &str) -> (Vec<Row>, Vec<TableRequest>) {
    try_query(statement).unwrap()
}

fn try_query(statement: &str) -> Result<(Vec<Row>, Vec<TableRequest>)> {
    let connection = Connection::open_in_memory().unwrap();
    let table = Arc::new(Letters::default());
    register(&connection, "letters", Arc::<Letters>::clone(&table)).unwrap();
    let mut prepared = connection.prepare(statement).unwrap();
    let columns = prepared.column_count();
    let rows = prepared.query_map([], |row| (0..columns).map(|column| row.get(column)).collect()).unwrap();
    let rows = rows.collect::<Result<_>>()?;
    Ok((rows, std::mem::take(&mut *table.requests.lock().unwrap())))
}

fn text(value: &str) -> Option<String> {
    Some(value.to_owned())
}

#[test]
fn rows_have_their_values_and_hidden_columns_must_be_named() {
    let (rows, _) = query("SELECT * FROM letters");
    assert_eq!(rows, [[text("a"), text("1")], [text("b"), None], [text("c"), text("3")]]);
    let (rows, requests) = query(r#"SELECT raw FROM letters WHERE "a ""b"".c" IS NULL"#);
    assert_eq!(rows, [[text("rb")]]);
    assert_eq!(requests[0].used, [false, true, true]);
}

#[test]
fn conditions_are_passed_to_the_table_and_tested_again() {
    let (rows, requests) =
        query("SELECT letter FROM letters WHERE letter IN ('c', 'x') AND raw > 'ra' AND letter GLOB 'c*'");
    assert_eq!(rows, [[text("c")]], "the table ignores the conditions");
    let value = |text: &str| Value::Text(text.to_owned());
    let expected = [
        Constraint { column: 0, operator: Operator::Equal, values: vec![value("c"), value("x")] },
        Constraint { column: 2, operator: Operator::Greater, values: vec![value("ra")] },
        Constraint { column: 0, operator: Operator::Glob, values: vec![value("c*")] },
    ];
    assert_eq!(requests.len(), 1);
    assert!(expected.iter().all(|constraint| requests[0].constraints.contains(constraint)), "{requests:?}");
    let (rows, requests) = query("SELECT raw FROM letters WHERE letter = 'A' COLLATE NOCASE");
    assert_eq!(
        (rows, requests[0].constraints.len()),
        (vec![vec![text("ra")]], 0),
        "another comparison is not passed on"
    );
}

#[test]
fn alternatives_are_read_in_one_scan() {
    let (rows, requests) = query("SELECT letter FROM letters WHERE letter = 'a' OR raw = 'rc'");
    assert_eq!((rows, requests.len()), (vec![vec![text("a")], vec![text("c")]], 1));
}

#[test]
fn alternatives_are_read_in_one_scan_of_each_join() {
    // The other table has many rows, so that a plan that returns fewer rows of letters would be cheap.
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000), m AS MATERIALIZED (SELECT * FROM n)";
    for condition in [
        "l.letter = 'a' OR l.raw = 'rc'",
        "(l.letter = 'a' AND l.raw = 'ra') OR (l.letter = 'c' AND l.raw = 'rc')",
        "(l.letter = 'a' AND l.raw = 'ra' AND l.raw < 's' AND l.raw > 'r') OR (l.letter = 'c' AND l.raw > 'r' AND l.raw < 's')",
    ] {
        let (rows, requests) =
            query(&format!("{many} SELECT l.letter FROM letters l, m, m AS o WHERE o.i < 3 AND ({condition})"));
        assert_eq!((rows.len(), requests.len()), (4_000, 1), "{condition}");
    }
    let (rows, _) = query(
        "WITH v(a, b) AS (VALUES ('a', 'x'), ('b', 'rb'), ('x', 'y')) \
         SELECT v.a, l.letter FROM v LEFT JOIN letters l ON l.letter = v.a OR l.raw = v.b",
    );
    assert_eq!(rows, [[text("a"), text("a")], [text("b"), text("b")], [text("x"), None]]);
}

#[test]
fn statements_that_need_row_numbers_are_refused_and_others_have_the_right_rows() {
    let values = "WITH v(n) AS (VALUES ('b'))";
    for refused in [
        "SELECT l.letter FROM v RIGHT JOIN letters l ON l.letter = v.n",
        "SELECT l.letter FROM v FULL JOIN letters l ON l.letter = v.n",
        "SELECT l.letter FROM letters l FULL JOIN letters v ON l.letter = v.letter",
        "SELECT letter FROM letters WHERE rowid IN (SELECT rowid FROM letters WHERE letter = 'b')",
        "SELECT _rowid_ FROM letters",
        "SELECT letter FROM letters ORDER BY oid",
    ] {
        let error = try_query(&format!("{values} {refused}")).unwrap_err().to_string();
        assert!(error.contains("have no rowid") && error.contains("MATERIALIZED"), "{refused}: {error}");
    }
    let letters = |names: &[&str]| names.iter().map(|name| vec![text(name)]).collect::<Vec<_>>();
    for (statement, expected) in [
        ("SELECT l.letter FROM v LEFT JOIN letters l ON l.letter = v.n", &["b"][..]),
        ("SELECT l.letter FROM letters l LEFT JOIN v ON l.letter = v.n", &["a", "b", "c"]),
        ("SELECT l.letter FROM letters l FULL JOIN v ON l.letter = v.n", &["a", "b", "c"]),
        ("SELECT l.letter FROM letters l RIGHT JOIN v ON l.letter = v.n", &["b"]),
        (
            "SELECT e.letter FROM v RIGHT JOIN (WITH e AS MATERIALIZED (SELECT * FROM letters) SELECT * FROM e) e \
             ON e.letter = v.n ORDER BY 1",
            &["a", "b", "c"],
        ),
        ("SELECT DISTINCT letter FROM letters ORDER BY raw DESC", &["c", "b", "a"]),
        ("SELECT count(*) FROM letters", &["3"]),
        ("SELECT count(DISTINCT letter) || max(raw) FROM letters GROUP BY letter > 'a' HAVING count(*) > 1", &["2rc"]),
        ("SELECT sum(1) OVER (ORDER BY raw) FROM letters", &["1", "2", "3"]),
        ("SELECT letter FROM letters WHERE letter IN (SELECT n FROM v)", &["b"]),
        ("SELECT letter FROM letters l WHERE EXISTS (SELECT 1 FROM v WHERE n = l.letter)", &["b"]),
        ("SELECT letter FROM letters EXCEPT SELECT n FROM v", &["a", "c"]),
    ] {
        let cast = format!(
            "{values} SELECT CAST(x AS TEXT) FROM (SELECT NULL AS x WHERE 0 UNION ALL SELECT * FROM ({statement}))"
        );
        assert_eq!(query(&cast).0, letters(expected), "{statement}");
    }
}

#[test]
fn plan_of_a_scan_is_read_back_from_its_text() {
    let accepted =
        OPERATORS.map(|operator| AcceptedConstraint { column: 7, operator, list: operator == Operator::Equal });
    let plan = ScanPlan { used: u64::MAX, accepted: accepted.into() };
    assert_eq!(ScanPlan::from_text(&plan.to_text()), Some(plan));
    for invalid in ["", "x", "1 2", "1 2,eq", "1 2,other,0"] {
        assert_eq!(ScanPlan::from_text(invalid), None, "{invalid}");
    }
}
