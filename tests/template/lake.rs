//! The last step from an object of the log bucket to an answer: a user with the policy for readers queries the lake with
//! Athena.
//!
//! The emulator enforces IAM policies. It runs SQL with DuckDB, over the table's files and without its columns: it infers
//! types, and knows no function that reads JSON. So the plan uses only columns of texts. It stores no managed results, so the
//! test names a location for them. AWS finds the workgroup of a query by the query's ID. The emulator compares requests that
//! name only a query with policies for all resources, so the test allows these two.

use crate::bed::stack::Stack;
use serde_json::json;
use trailhose::plan::Plan;
use trailhose::plan::sql::AthenaTables;
use trailhose::query::{AthenaEngine, QueryControl, QueryEngine};

pub async fn reader_can_query(stack: &Stack) {
    let by_query = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Action": ["athena:GetQueryExecution", "athena:GetQueryResults"],
            "Resource": "*",
        }],
    });
    let config = stack.user_with_policy("reader", stack.output("LakeReaderPolicyArn"), &by_query.to_string()).await;
    let client = aws_sdk_athena::Client::new(&config);
    let tables = AthenaTables::of_database(stack.output("LakeDatabaseName"));
    let engine = AthenaEngine::new(client, tables, stack.output("LakeWorkGroupName"));
    let engine = engine.result_location(Some("s3://artifacts/results/".to_owned()));
    let plan = json!({
        "time": {"since": "2026-11-20T00:00:00Z", "until": "2026-11-21T00:00:00Z"},
        "where": {"field": "recipientAccountId", "equals": ["111122223333"]},
        "groups": {"by": ["awsRegion"], "aggregates": ["count", {"count_distinct": "eventID"}]},
    });
    let plan: Plan = serde_json::from_value(plan).unwrap();
    let answer = engine.answer(&plan, &QueryControl::default()).await.unwrap_or_else(|error| panic!("{error}"));
    let row = ["eu-west-1", "3", "3"].map(|value| Some(value.to_owned()));
    assert_eq!((answer.columns[0].as_str(), &*answer.rows), ("awsRegion", &[row.to_vec()][..]));
}
