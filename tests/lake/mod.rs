//! The lake's tables as the template defines them, and SQL of Athena over files, with sqlglot and DuckDB.

#![allow(dead_code, unreachable_pub)] // Each test program uses a part of this module.

use crate::resolve::Resolved;
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns `template.yaml` as JSON.
pub fn template() -> Value {
    let (script, template) = (root().join("tests/lake/template.py"), root().join("template.yaml"));
    let output = python().args([script, template]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn python() -> Command {
    let python = root().join(".tools/lake/bin/python");
    assert!(python.exists(), "{} is missing: run ./test --setup", python.display());
    Command::new(python)
}

/// Files of the lake, in folders as Firehose writes them.
#[derive(Debug)]
pub struct LakeFiles {
    pub events: Vec<PathBuf>,
    pub oversize: Vec<PathBuf>,
}

/// A query in SQL of Athena. Other files than those of the lake replace the files of the tables.
#[derive(Debug)]
pub struct AthenaQuery {
    pub sql: String,
    pub files: Option<LakeFiles>,
}

/// Runs queries and returns the rows of each. A null is `None`.
///
/// # Panics
/// Panics if a query fails.
pub fn run(template: &Value, lake: &LakeFiles, queries: &[AthenaQuery]) -> Vec<Vec<Vec<Option<String>>>> {
    let tables = Resolved::new(template, &[]).resources("AWS::Glue::Table");
    let events = &tables["EventsTable"]["TableInput"]["StorageDescriptor"];
    let columns: Vec<_> =
        events["Columns"].as_array().unwrap().iter().map(|column| json!([column["Name"], column["Type"]])).collect();
    let files = |files: &LakeFiles| json!({"events": files.events, "lines": files.events, "oversize": files.oversize});
    let all = files(lake);
    let tables = json!({
        "events": {"files": all["events"], "columns": columns, "mappings": mappings(template)},
        "lines": {"files": all["lines"]},
        "oversize": {"files": all["oversize"]},
    });
    let own = |query: &AthenaQuery| match &query.files {
        Some(own) => json!({"sql": query.sql, "tables": files(own)}),
        None => json!({"sql": query.sql}),
    };
    let request = json!({"tables": tables, "queries": queries.iter().map(own).collect::<Vec<_>>()});
    let mut child = python();
    child.arg(root().join("tests/lake/athena.py")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = child.spawn().unwrap();
    child.stdin.take().unwrap().write_all(request.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    let results: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(results.len(), queries.len());
    let rows = results.into_iter().map(|result| {
        assert_eq!(result.get("error"), None, "{}", result["error"].as_str().unwrap_or_default());
        serde_json::from_value(result["rows"].clone()).unwrap()
    });
    rows.collect()
}

/// Returns the mappings of the SerDe: column or field → name in an event.
pub fn mappings(template: &Value) -> Value {
    let parameters = Resolved::new(template, &[]).resources("AWS::Glue::Table")["EventsTable"]["TableInput"]
        ["StorageDescriptor"]["SerdeInfo"]["Parameters"]
        .clone();
    let parameters = parameters.as_object().unwrap().iter();
    parameters.filter_map(|(name, value)| Some((name.strip_prefix("mapping.")?.to_owned(), value.clone()))).collect()
}
