//! The ingest function under AWS's runtime interface emulator returns the documented response to each payload of
//! `events/`.

mod bed;
mod sample;

use bed::emulator::Emulator;
use bed::runtime::Runtime;
use bed::{bucket, stream, table};
use serde_json::Value;
use std::collections::BTreeMap;

/// Creates the sample bucket, a ledger table and a stream.
async fn services(emulator: &Emulator) {
    let config = emulator.config();
    let s3 = aws_sdk_s3::Client::new(&config);
    bucket::create(&s3, sample::BUCKET, sample::objects()).await;
    bucket::create(&s3, "lake", []).await;
    table::create(&aws_sdk_dynamodb::Client::new(&config), "ledger", &[]).await;
    stream::create(&aws_sdk_firehose::Client::new(&config), "events", "lake").await;
}

/// Returns the number of failed messages of each file, from the table of `events/README.md`.
fn refusals() -> BTreeMap<String, usize> {
    let readme = std::fs::read_to_string(sample::events().join("README.md")).unwrap();
    let rows = readme.lines().filter(|line| line.starts_with("| `") && line.contains(".json`"));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        (cells[0].trim_matches('`').to_owned(), cells[4].parse().unwrap())
    })
    .collect()
}

#[tokio::test]
async fn each_sample_payload_has_the_documented_response() {
    let emulator = Emulator::shared_ministack();
    services(emulator).await;
    let variables = [("TRAILHOSE_TABLE", "ledger"), ("TRAILHOSE_STREAM", "events")];
    let ingest = &bed::lambda_program("ingest");
    let function = Runtime::start(ingest, &emulator.endpoint(), &variables);

    let (payloads, refusals) = (sample::payloads(&sample::events()), refusals());
    assert!(payloads.keys().eq(refusals.keys()), "{refusals:?}");
    for (file, payload) in payloads {
        let refused = refusals[&file];
        let answer = function.invoke(&payload).await;
        let said = || format!("{file}: {answer}\n{}", function.log());
        if file.starts_with("sqs-") {
            let failures = answer["batchItemFailures"].as_array().unwrap_or_else(|| panic!("{}", said()));
            assert_eq!(failures.len(), refused, "{}", said());
            let known = |failure: &Value| payload.contains(failure["itemIdentifier"].as_str().unwrap());
            assert!(failures.iter().all(known), "{}", said());
        } else {
            assert_eq!(answer.get("errorType").is_some(), refused > 0, "{}", said());
        }
    }
}
