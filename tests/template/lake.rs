//! The last step from an object of the log bucket to an answer: a user with the policy for readers queries the lake with
//! Athena.
//!
//! The emulator enforces IAM policies. It runs SQL with DuckDB, over the table's files and without its columns: it infers
//! types, and knows no function that reads JSON. So the plan uses only columns of texts. It stores no managed results, so the
//! test names a location for them. AWS finds the workgroup of a query by the query's ID. The emulator compares requests that
//! name only a query with policies for all resources, so the test allows these two.

use crate::bed::stack::{LOG_BUCKET, Stack};
use aws_sdk_s3::config::ProvideCredentials as _;
use aws_sdk_s3::error::ProvideErrorMetadata;
use serde_json::{Value, json};
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
    question_is_answered(stack, &config).await;
    reader_can_do_nothing_else(&config, stack).await;
}

/// The program answers a question with the reader's credentials: from an object of the log bucket through the function and
/// Firehose to the summary.
async fn question_is_answered(stack: &Stack, reader: &aws_config::SdkConfig) {
    let credentials = reader.credentials_provider().unwrap().provide_credentials().await.unwrap();
    let ask = |question: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_trailhose"));
        command
            .env_clear()
            .env("AWS_ENDPOINT_URL", reader.endpoint_url().unwrap())
            .env("AWS_REGION", crate::bed::REGION);
        command.env("AWS_ACCESS_KEY_ID", credentials.access_key_id());
        command.env("AWS_SECRET_ACCESS_KEY", credentials.secret_access_key());
        let lake = format!("{}@{}", stack.output("LakeDatabaseName"), stack.output("LakeWorkGroupName"));
        command.args(["ask", "--athena", &lake, "--result-location", "s3://artifacts/results/", "--json", question]);
        let output = command.output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {err}"));
        (output.status.code(), answer, err)
    };
    let (code, answer, err) = ask("how many calls by region in account 111122223333 on 2026-11-20");
    assert_eq!((code, &answer["rows"]), (Some(0), &json!([["eu-west-1", "3"]])), "{answer} {err}");
    assert!(err.contains("1 row; Athena read "), "{err}");
    let (code, answer, err) = ask("calls in us-west-2 by region on 2026-11-20");
    assert_eq!((code, &answer["rows"]), (Some(4), &json!([])), "{answer} {err}");
}

/// Requests that the policy for readers does not allow. The emulator does not enforce the policies of Glue and KMS.
async fn reader_can_do_nothing_else(reader: &aws_config::SdkConfig, stack: &Stack) {
    let code = |failed: Option<&str>| failed.map(str::to_owned);
    let s3 = aws_sdk_s3::config::Builder::from(reader).force_path_style(true).build();
    let s3 = aws_sdk_s3::Client::from_conf(s3);
    let lake = stack.output("LakeBucketName");
    let body = || aws_sdk_s3::primitives::ByteStream::from_static(b"x");
    let athena = aws_sdk_athena::Client::new(reader);
    let sql = "SELECT 1";
    let denials = [
        (
            "s3:PutObject",
            code(s3.put_object().bucket(lake).key("events/x").body(body()).send().await.unwrap_err().code()),
        ),
        ("s3:DeleteObject", code(s3.delete_object().bucket(lake).key("events/x").send().await.unwrap_err().code())),
        ("s3:GetObject failed/", code(s3.get_object().bucket(lake).key("failed/x").send().await.unwrap_err().code())),
        (
            "s3:ListBucket failed/",
            code(s3.list_objects_v2().bucket(lake).prefix("failed/").send().await.unwrap_err().code()),
        ),
        ("s3:ListBucket", code(s3.list_objects_v2().bucket(LOG_BUCKET).send().await.unwrap_err().code())),
        (
            "athena:StartQueryExecution",
            code(
                athena.start_query_execution().query_string(sql).work_group("primary").send().await.unwrap_err().code(),
            ),
        ),
        ("athena:ListWorkGroups", code(athena.list_work_groups().send().await.unwrap_err().code())),
        (
            "dynamodb:GetItem",
            code(
                aws_sdk_dynamodb::Client::new(reader)
                    .scan()
                    .table_name(stack.output("LedgerTableName"))
                    .send()
                    .await
                    .unwrap_err()
                    .code(),
            ),
        ),
        (
            "firehose:DescribeDeliveryStream",
            code(
                aws_sdk_firehose::Client::new(reader)
                    .describe_delivery_stream()
                    .delivery_stream_name(stack.output("DeliveryStreamName"))
                    .send()
                    .await
                    .unwrap_err()
                    .code(),
            ),
        ),
    ];
    for (action, code) in denials {
        assert!(code.as_deref().is_some_and(|code| code.starts_with("AccessDenied")), "{action}: {code:?}");
    }
    // The same objects can be read where the policy allows it.
    let listed = s3.list_objects_v2().bucket(lake).prefix("events/").send().await.unwrap();
    let key = listed.contents()[0].key().unwrap();
    s3.get_object().bucket(lake).key(key).send().await.unwrap();
}
