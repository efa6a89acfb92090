//! The program under AWS's runtime interface: every payload of `events/` is answered as its table says.

mod bed;

use aws_sdk_dynamodb::types::{AttributeDefinition, BillingMode, KeySchemaElement, KeyType};
use aws_sdk_firehose::types::ExtendedS3DestinationConfiguration;
use bed::emulator::Emulator;
use bed::runtime::Runtime;
use serde_json::Value;
use std::path::{Path, PathBuf};

const SAMPLE: &str = "trailhose-sample";

/// The sample bucket, a ledger and a stream, under which the function runs.
async fn services(emulator: &Emulator) {
    let s3 = aws_sdk_s3::Client::new(&emulator.config());
    for bucket in [SAMPLE, "lake"] {
        s3.create_bucket().bucket(bucket).send().await.unwrap();
    }
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
    let lake = ExtendedS3DestinationConfiguration::builder();
    let lake = lake.role_arn("arn:aws:iam::000000000000:role/any").bucket_arn("arn:aws:s3:::lake").build().unwrap();
    let stream = aws_sdk_firehose::Client::new(&emulator.config()).create_delivery_stream();
    stream.delivery_stream_name("events").extended_s3_destination_configuration(lake).send().await.unwrap();
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// File and count of refused messages, from the table of `events/README.md`.
fn payloads() -> Vec<(String, usize)> {
    let readme = std::fs::read_to_string(bed::root().join("events/README.md")).unwrap();
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
    let ingest = Path::new(env!("CARGO_BIN_EXE_ingest"));
    let function = Runtime::start(ingest, &emulator.endpoint(), &variables);

    let payloads = payloads();
    let on_disk = files(&bed::root().join("events")).into_iter();
    let on_disk = on_disk
        .filter(|file| file.parent().unwrap().ends_with("events") && file.extension().is_some_and(|e| e == "json"));
    assert_eq!(payloads.len(), on_disk.count());

    for (file, refused) in payloads {
        let payload = std::fs::read_to_string(bed::root().join("events").join(&file)).unwrap();
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
