//! A view for users of DuckDB.

use super::TABLE;
use crate::plan::Column;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The fields that are read as JSON, because their content depends on the service.
const JSON_COLUMNS: [&str; 4] = ["requestParameters", "responseElements", "additionalEventData", "resources"];

/// Returns a `CREATE VIEW` statement for the JSON Lines files of a folder or `s3://bucket/prefix`. The view has the members
/// of events as columns, `userIdentity` and `tlsDetails` as structs, and the folders `date=`, `account=` and `region=` as
/// columns.
///
/// Without the list of columns, DuckDB examines every member of many events to infer the types.
pub fn duckdb_view(location: &str) -> String {
    let mut root = StructType::default();
    for column in Column::ALL.iter().filter(|column| !column.is_computed()) {
        root.insert(column.path());
    }
    let files = format!("{}/**/*.jsonl*", location.trim_end_matches('/'));
    let mut columns = String::new();
    for (name, member) in &root.0 {
        let separator = if columns.is_empty() { "" } else { "," };
        let _ = write!(columns, "{separator}\n    {}: {}", quote(name), quote(&member.sql(name)));
    }
    format!(
        "CREATE OR REPLACE VIEW {TABLE} AS SELECT * FROM read_json({},\n  format = 'newline_delimited', compression = \
         'auto_detect', maximum_object_size = 67108864,\n  hive_partitioning = true, hive_types_autocast = false,\n  \
         columns = {{{columns}\n  }});\n",
        quote(&files)
    )
}

/// The members of an object. One without members is a text or JSON.
#[derive(Debug, Default)]
struct StructType(BTreeMap<&'static str, Self>);

impl StructType {
    fn insert(&mut self, path: &[&'static str]) {
        if let Some((first, rest)) = path.split_first() {
            self.0.entry(*first).or_default().insert(rest);
        }
    }

    fn sql(&self, name: &str) -> String {
        if JSON_COLUMNS.contains(&name) {
            return "JSON".to_owned();
        }
        if self.0.is_empty() {
            return "VARCHAR".to_owned();
        }
        let members: Vec<String> =
            self.0.iter().map(|(name, member)| format!("\"{name}\" {}", member.sql(name))).collect();
        format!("STRUCT({})", members.join(", "))
    }
}

/// Returns a text in single quotes.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
