//! Tests of the test environment: the emulators respond and end with their tests, and the proxy injects the named
//! faults.

mod bed;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_firehose::primitives::Blob;
use aws_sdk_firehose::types::Record;
use bed::emulator::{Emulator, LambdaEndpoint, Policies};
use bed::faults::{Fault, Faults};
use bed::{stream, table};
use std::net::TcpStream;
use std::time::Duration;

async fn stores_an_object(emulator: &Emulator) {
    let s3 = aws_sdk_s3::Client::new(&emulator.config());
    s3.create_bucket().bucket("kept").send().await.unwrap();
    s3.put_object().bucket("kept").key("a b/ü=1").body(b"bytes".to_vec().into()).send().await.unwrap();
    let got = s3.get_object().bucket("kept").key("a b/ü=1").send().await.unwrap();
    assert_eq!(got.body.collect().await.unwrap().to_vec(), b"bytes");
}

#[tokio::test]
async fn ministack_responds_and_ends_with_its_owner() {
    stores_an_object(Emulator::shared_ministack()).await;

    let own = Emulator::ministack(Policies::Enforced, LambdaEndpoint::Emulator);
    let address = own.endpoint().trim_start_matches("http://").to_owned();
    let folder = own.folder().to_path_buf();
    assert!(TcpStream::connect(&address).is_ok());
    drop(own);
    assert!(TcpStream::connect(&address).is_err(), "still listening on {address}");
    assert!(!folder.exists());
}

#[tokio::test]
async fn moto_responds() {
    stores_an_object(Emulator::shared_moto()).await;
}

#[tokio::test]
async fn only_a_lost_reply_leaves_an_effect() {
    let faults = Faults::before(Emulator::shared_ministack());
    let patient = aws_sdk_dynamodb::Client::new(&faults.config());
    let once = aws_sdk_dynamodb::Client::from_conf(
        aws_sdk_dynamodb::config::Builder::from(&faults.config())
            .retry_config(aws_sdk_dynamodb::config::retry::RetryConfig::disabled())
            .build(),
    );
    table::create(&patient, "faults", &[]).await;
    let put = |client: &aws_sdk_dynamodb::Client| {
        let key = AttributeValue::S("row".into());
        client.put_item().table_name("faults").item("pk", key).condition_expression("attribute_not_exists(pk)").send()
    };

    for (nth, fault) in [Fault::Throttle, Fault::Unavailable, Fault::Deny, Fault::Reset].into_iter().enumerate() {
        faults.on("PutItem", nth..nth + 1, fault);
        put(&once).await.unwrap_err();
    }
    // The fifth call took effect, so the condition of its repetition fails.
    faults.on("PutItem", 4..5, Fault::LoseReply);
    let refused = put(&patient).await.unwrap_err().into_service_error();
    assert!(refused.is_conditional_check_failed_exception(), "{refused:?}");
    assert_eq!(faults.count("PutItem"), 6);
    let statuses: Vec<_> = faults
        .exchanges()
        .into_iter()
        .filter(|exchange| exchange.call.operation == "PutItem")
        .map(|exchange| exchange.status)
        .collect();
    assert_eq!(statuses, [Some(400), Some(503), Some(400), None, Some(200), Some(400)]);
}

#[tokio::test]
async fn reply_can_be_truncated_or_delayed() {
    let faults = Faults::before(Emulator::shared_ministack());
    let s3 = aws_sdk_s3::Client::new(&faults.config());
    s3.create_bucket().bucket("cut").send().await.unwrap();
    // Longer than the size from which the client sends `Expect: 100-continue`.
    let body = vec![b'x'; 3 << 20];
    s3.put_object().bucket("cut").key("k").body(body.clone().into()).send().await.unwrap();

    faults.on("GetObject", 0..1, Fault::CutReply(1000));
    let got = s3.get_object().bucket("cut").key("k").send().await.unwrap();
    got.body.collect().await.unwrap_err();

    faults.on("GetObject", 1..2, Fault::Delay(Duration::from_millis(300)));
    let start = std::time::Instant::now();
    let got = s3.get_object().bucket("cut").key("k").send().await.unwrap();
    assert_eq!(got.body.collect().await.unwrap().to_vec(), body);
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn only_the_named_records_of_a_batch_fail() {
    let faults = Faults::before(Emulator::shared_ministack());
    let s3 = aws_sdk_s3::Client::new(&faults.config());
    let firehose = aws_sdk_firehose::Client::new(&faults.config());
    s3.create_bucket().bucket("lake").send().await.unwrap();
    stream::create(&firehose, "stream", "lake").await;

    faults.on("PutRecordBatch", 0..1, Fault::FailRecords(vec![0, 2]));
    let record = |text: &str| Record::builder().data(Blob::new(text)).build().unwrap();
    let sent = firehose
        .put_record_batch()
        .delivery_stream_name("stream")
        .set_records(Some(["a\n", "b\n", "c\n", "d\n"].map(record).to_vec()))
        .send()
        .await
        .unwrap();
    assert_eq!(sent.failed_put_count(), 2);
    let failed: Vec<_> = sent.request_responses().iter().map(|response| response.error_code().is_some()).collect();
    assert_eq!(failed, [true, false, true, false]);

    let mut lines = Vec::new();
    for object in s3.list_objects_v2().bucket("lake").send().await.unwrap().contents() {
        let got = s3.get_object().bucket("lake").key(object.key().unwrap()).send().await.unwrap();
        lines.push(got.body.collect().await.unwrap().to_vec());
    }
    lines.sort();
    assert_eq!(lines, [b"b\n", b"d\n"]);
}
