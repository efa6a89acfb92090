//! The backfill program under AWS's runtime interface: every payload of `events/backfill/` is answered as its table says.

mod bed;

use aws_sdk_dynamodb::types::{AttributeDefinition, BillingMode, KeySchemaElement, KeyType};
use bed::emulator::Emulator;
use bed::runtime::Runtime;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const SAMPLE: &str = "trailhose-sample";

/// The sample bucket, a table and two queues, whose URLs are returned.
async fn services(emulator: &Emulator) -> [String; 2] {
    let s3 = aws_sdk_s3::Client::new(&emulator.config());
    s3.create_bucket().bucket(SAMPLE).send().await.unwrap();
    let top = bed::root().join("events/bucket");
    for file in files(&top) {
        let key = file.strip_prefix(&top).unwrap().to_str().unwrap().to_owned();
        s3.put_object().bucket(SAMPLE).key(key).body(std::fs::read(&file).unwrap().into()).send().await.unwrap();
    }
    let key = KeySchemaElement::builder().attribute_name("pk").key_type(KeyType::Hash).build().unwrap();
    let pk = AttributeDefinition::builder().attribute_name("pk").attribute_type("S".into()).build().unwrap();
    let table = aws_sdk_dynamodb::Client::new(&emulator.config()).create_table().table_name("ledger");
    let table = table.key_schema(key).attribute_definitions(pk).billing_mode(BillingMode::PayPerRequest);
    table.send().await.unwrap();
    let sqs = aws_sdk_sqs::Client::new(&emulator.config());
    let mut urls = ["tasks", "missing"].map(str::to_owned);
    for url in &mut urls {
        *url = sqs.create_queue().queue_name(&*url).send().await.unwrap().queue_url().unwrap().to_owned();
    }
    urls
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// File, runs begun and messages refused, from the table of `events/backfill/README.md`.
fn payloads(folder: &Path) -> BTreeMap<String, [u64; 2]> {
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
    let function = Runtime::start(Path::new(env!("CARGO_BIN_EXE_backfill")), &emulator.endpoint(), &variables);
    let folder = bed::root().join("events/backfill");
    let payloads = payloads(&folder);
    assert!(payloads.keys().map(|name| folder.join(name)).eq({
        let mut files = files(&folder);
        files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
        files.sort();
        files
    }));
    for (file, [begun, refused]) in payloads {
        let before = ["RunsBegun", "MessagesNotUnderstood"].map(|name| metric(&function.log(), name));
        let payload = std::fs::read_to_string(folder.join(&file)).unwrap();
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
