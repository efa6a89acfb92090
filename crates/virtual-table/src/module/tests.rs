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

fn query(statement: &str) -> (Vec<Vec<Option<String>>>, Vec<TableRequest>) {
    let connection = Connection::open_in_memory().unwrap();
    let table = Arc::new(Letters::default());
    register(&connection, "letters", Arc::<Letters>::clone(&table)).unwrap();
    let mut prepared = connection.prepare(statement).unwrap();
    let columns = prepared.column_count();
    let rows = prepared.query_map([], |row| (0..columns).map(|column| row.get(column)).collect()).unwrap();
    let rows = rows.collect::<Result<_>>().unwrap();
    (rows, std::mem::take(&mut *table.requests.lock().unwrap()))
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
fn plan_of_a_scan_is_read_back_from_its_text() {
    let accepted =
        OPERATORS.map(|operator| AcceptedConstraint { column: 7, operator, list: operator == Operator::Equal });
    let plan = ScanPlan { used: u64::MAX, accepted: accepted.into() };
    assert_eq!(ScanPlan::from_text(&plan.to_text()), Some(plan));
    for invalid in ["", "x", "1 2", "1 2,eq", "1 2,other,0"] {
        assert_eq!(ScanPlan::from_text(invalid), None, "{invalid}");
    }
}
