//! The program under AWS's runtime interface: every payload of `events/` is answered as its table says.

mod bed;
mod sample;

use bed::emulator::Emulator;
use bed::runtime::Runtime;
use bed::{bucket, stream, table};
use serde_json::Value;
use std::collections::BTreeMap;

/// The sample bucket, a ledger and a stream, under which the function runs.
async fn services(emulator: &Emulator) {
    let config = emulator.config();
    let s3 = aws_sdk_s3::Client::new(&config);
    bucket::create(&s3, sample::BUCKET, sample::objects()).await;
    bucket::create(&s3, "lake", []).await;
    table::create(&aws_sdk_dynamodb::Client::new(&config), "ledger", &[]).await;
    stream::create(&aws_sdk_firehose::Client::new(&config), "events", "lake").await;
}

/// File and count of refused messages, from the table of `events/README.md`.
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
async fn every_sample_payload_is_answered_as_its_table_says() {
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
