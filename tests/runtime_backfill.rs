//! The backfill program under AWS's runtime interface: every payload of `events/backfill/` is answered as its table says.

mod bed;
mod sample;

use bed::emulator::Emulator;
use bed::runtime::Runtime;
use bed::{bucket, table};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// The sample bucket, a table and two queues, whose URLs are returned.
async fn services(emulator: &Emulator) -> [String; 2] {
    let config = emulator.config();
    bucket::create(&aws_sdk_s3::Client::new(&config), sample::BUCKET, sample::objects()).await;
    table::create(&aws_sdk_dynamodb::Client::new(&config), "ledger", &[]).await;
    let sqs = aws_sdk_sqs::Client::new(&config);
    let mut urls = ["tasks", "missing"].map(str::to_owned);
    for url in &mut urls {
        *url = sqs.create_queue().queue_name(&*url).send().await.unwrap().queue_url().unwrap().to_owned();
    }
    urls
}

/// File, runs begun and messages refused, from the table of `events/backfill/README.md`.
fn expected(folder: &Path) -> BTreeMap<String, [u64; 2]> {
    let readme = std::fs::read_to_string(folder.join("README.md")).unwrap();
    let rows = readme.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        (cells[0].trim_matches('`').to_owned(), [cells[2], cells[3]].map(|cell| cell.parse().unwrap()))
    })
    .collect()
}

/// The value of a metric, summed over the lines that the function has printed so far.
fn metric(log: &str, name: &str) -> u64 {
    let lines = log.lines().filter(|line| line.contains("_aws"));
    lines.map(|line| serde_json::from_str::<Value>(line).unwrap()[name].as_u64().unwrap()).sum()
}

#[tokio::test]
async fn every_sample_payload_is_answered_as_its_table_says() {
    let emulator = Emulator::shared_ministack();
    let [tasks, missing] = services(emulator).await;
    let variables = [
        ("TRAILHOSE_TABLE", "ledger"),
        ("TRAILHOSE_BACKFILL_QUEUE_URL", tasks.as_str()),
        ("TRAILHOSE_BACKFILL_INGEST_QUEUE_URL", missing.as_str()),
        ("TRAILHOSE_SOURCES", "s3://trailhose-sample"),
    ];
    let function = Runtime::start(&bed::lambda_program("backfill"), &emulator.endpoint(), &variables);
    let folder = sample::events().join("backfill");
    let (payloads, expected) = (sample::payloads(&folder), expected(&folder));
    assert!(payloads.keys().eq(expected.keys()), "{expected:?}");
    for (file, payload) in payloads {
        let [begun, refused] = expected[&file];
        let before = ["RunsBegun", "MessagesNotUnderstood"].map(|name| metric(&function.log(), name));
        let answer = function.invoke(&payload).await;
        let said = || format!("{file}: {answer}\n{}", function.log());
        if file.starts_with("sqs-") {
            let failures = answer["batchItemFailures"].as_array().unwrap_or_else(|| panic!("{}", said()));
            assert_eq!(failures.len() as u64, refused, "{}", said());
            assert!(failures.iter().all(|failure| payload.contains(failure["itemIdentifier"].as_str().unwrap())));
        } else {
            assert_eq!(
                [answer.get("run").is_some(), answer.get("errorType").is_some()],
                [begun == 1, refused == 1],
                "{}",
                said()
            );
        }
        let after = ["RunsBegun", "MessagesNotUnderstood"].map(|name| metric(&function.log(), name));
        assert_eq!([after[0] - before[0], after[1] - before[1]], [begun, refused], "{}", said());
    }
    // What was found of the sample bucket was handed in.
    assert!(
        metric(&function.log(), "ObjectsHandedIn") > 0 && metric(&function.log(), "UnitsFound") > 0,
        "{}",
        function.log()
    );
}
