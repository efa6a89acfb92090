//! The backfill function under AWS's runtime interface emulator returns the documented response to each payload of
//! `events/backfill/`.

mod bed;
mod sample;

use bed::emulator::Emulator;
use bed::runtime::Runtime;
use bed::{bucket, table};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Creates the sample bucket, a table and two queues, and returns the URLs of the queues.
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

/// Returns the numbers of started runs and failed messages of each file, from the table of `events/backfill/README.md`.
fn expected(folder: &Path) -> BTreeMap<String, [u64; 2]> {
    let readme = std::fs::read_to_string(folder.join("README.md")).unwrap();
    let rows = readme.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        (cells[0].trim_matches('`').to_owned(), [cells[2], cells[3]].map(|cell| cell.parse().unwrap()))
    })
    .collect()
}

/// Returns the sum of a metric over the log of the function.
fn metric(log: &str, name: &str) -> u64 {
    let lines = log.lines().filter(|line| line.contains("_aws"));
    lines.map(|line| serde_json::from_str::<Value>(line).unwrap()[name].as_u64().unwrap()).sum()
}

#[tokio::test]
async fn each_sample_payload_has_the_documented_response() {
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
        let [started, refused] = expected[&file];
        let before = ["RunsStarted", "MessagesInvalid"].map(|name| metric(&function.log(), name));
        let answer = function.invoke(&payload).await;
        let said = || format!("{file}: {answer}\n{}", function.log());
        if file.starts_with("sqs-") {
            let failures = answer["batchItemFailures"].as_array().unwrap_or_else(|| panic!("{}", said()));
            assert_eq!(failures.len() as u64, refused, "{}", said());
            assert!(failures.iter().all(|failure| payload.contains(failure["itemIdentifier"].as_str().unwrap())));
        } else {
            assert_eq!(
                [answer.get("run").is_some(), answer.get("errorType").is_some()],
                [started == 1, refused == 1],
                "{}",
                said()
            );
        }
        let after = ["RunsStarted", "MessagesInvalid"].map(|name| metric(&function.log(), name));
        assert_eq!([after[0] - before[0], after[1] - before[1]], [started, refused], "{}", said());
    }
    // The missing objects of the sample bucket were enqueued.
    assert!(
        metric(&function.log(), "ObjectsEnqueued") > 0 && metric(&function.log(), "UnitsFound") > 0,
        "{}",
        function.log()
    );
}
