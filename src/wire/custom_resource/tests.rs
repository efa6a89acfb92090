use super::*;
use crate::aws::AwsFailure;
use crate::aws::failure_of_code;
use async_trait::async_trait;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const QUEUE: &str = "arn:aws:sqs:eu-west-1:111122223333:trailhose-IngestQueue-1";
const EMPTY: &str = "<NotificationConfiguration/>";

/// The buckets of an account.
#[derive(Clone, Default)]
struct Buckets(Arc<Mutex<BTreeMap<String, String>>>);

struct Bucket(Buckets, String);

#[async_trait]
impl BucketNotifications for Bucket {
    fn bucket(&self) -> &str {
        &self.1
    }

    async fn read(&self) -> Result<String, AwsFailure> {
        match self.0.get(&self.1) {
            Some(stored) if stored == "slow" => std::future::pending().await,
            Some(stored) => Ok(stored),
            None => Err(failure_of_code("NoSuchBucket", "The specified bucket does not exist")),
        }
    }

    async fn replace(&self, document: &str, _: bool) -> Result<(), AwsFailure> {
        self.0.set(&self.1, document);
        Ok(())
    }
}

impl Buckets {
    fn get(&self, bucket: &str) -> Option<String> {
        self.0.lock().unwrap().get(bucket).cloned()
    }

    fn set(&self, bucket: &str, document: &str) {
        self.0.lock().unwrap().insert(bucket.to_owned(), document.to_owned());
    }

    /// Executes a request and returns the status, the reason and the physical ID.
    async fn answer(&self, kind: &str, id: Option<&str>, properties: Value) -> (bool, String, String) {
        let request = request(kind, id, properties);
        let open = |bucket: &str| Box::new(Bucket(self.clone(), bucket.into())) as Box<dyn BucketNotifications>;
        let answer = request.execute(&open, Duration::from_secs(1)).await;
        assert_eq!(
            (answer.stack_id.as_str(), answer.logical_resource_id.as_str()),
            ("arn:stack", "BucketNotification")
        );
        (answer.status == "SUCCESS", answer.reason, answer.physical_resource_id)
    }
}

fn request(kind: &str, id: Option<&str>, properties: Value) -> CustomResourceRequest {
    let mut event = json!({
        "RequestType": kind,
        "ResponseURL": "http://127.0.0.1:1/answer",
        "StackId": "arn:stack",
        "RequestId": "r1",
        "ResourceType": "Custom::BucketNotification",
        "LogicalResourceId": "BucketNotification",
        "ResourceProperties": properties,
        "OldResourceProperties": {},
    });
    if let Some(id) = id {
        event["PhysicalResourceId"] = json!(id);
    }
    serde_json::from_value(event).unwrap()
}

fn properties(bucket: &str, wiring: &str) -> Value {
    json!({"ServiceToken": "arn:f", "Bucket": bucket, "Wiring": wiring, "QueueArn": QUEUE, "NotificationId": "trailhose-t"})
}

#[tokio::test]
async fn update_of_the_bucket_moves_the_rule() {
    let buckets = Buckets::default();
    buckets.set("a", EMPTY);
    buckets.set("b", EMPTY);
    let (done, _, first) = buckets.answer("Create", None, properties("a", "S3")).await;
    assert_eq!((done, first.as_str()), (true, "rule:a:trailhose-t"));
    let (done, _, second) = buckets.answer("Update", Some(&first), properties("b", "S3")).await;
    assert_eq!((done, second.as_str()), (true, "rule:b:trailhose-t"));
    assert!(buckets.get("a").unwrap().contains("trailhose-t"), "CloudFormation deletes the old resource later");
    let (done, ..) = buckets.answer("Delete", Some(&first), properties("a", "S3")).await;
    assert!(done && !buckets.get("a").unwrap().contains("trailhose-t"));
    assert!(buckets.get("b").unwrap().contains("trailhose-t"));
    let (done, _, third) = buckets.answer("Update", Some(&second), properties("b", "EventBridge")).await;
    assert_eq!((done, third.as_str()), (true, "eventbridge:b"));
    assert!(buckets.answer("Delete", Some(&second), properties("b", "S3")).await.0);
    let left = buckets.get("b").unwrap();
    assert!(left.contains("EventBridgeConfiguration") && !left.contains("trailhose-t"), "{left}");
    assert!(buckets.answer("Delete", Some(&third), properties("b", "EventBridge")).await.0);
    assert_eq!(buckets.get("b").unwrap(), left, "EventBridge is never switched off");
}

#[tokio::test]
async fn deletion_after_a_failed_creation_changes_nothing() {
    let buckets = Buckets::default();
    let other = "<NotificationConfiguration><QueueConfiguration><Id>trailhose-x</Id>\
                 <Queue>arn:aws:sqs:eu-west-1:111122223333:x</Queue><Event>s3:ObjectCreated:*</Event></QueueConfiguration>\
                 </NotificationConfiguration>";
    buckets.set("a", other);
    let (done, reason, id) = buckets.answer("Create", None, properties("a", "S3")).await;
    assert_eq!((done, id.as_str()), (false, "nothing:r1"));
    assert!(reason.contains("rule trailhose-x (s3:ObjectCreated:* of all keys"), "{reason}");
    assert!(buckets.answer("Delete", Some(&id), properties("a", "S3")).await.0);
    assert_eq!(buckets.get("a").unwrap(), other);
    let (done, reason, id) = buckets.answer("Create", None, json!({"Bucket": "a"})).await;
    assert_eq!((done, id.as_str()), (false, "nothing:r1"));
    assert!(reason.contains("invalid properties of BucketNotification"), "{reason}");
    assert!(buckets.answer("Delete", Some("stack-BucketNotification-ABC"), json!({})).await.0);
}

#[tokio::test]
async fn deletion_after_a_creation_without_a_response_removes_only_its_rule() {
    let buckets = Buckets::default();
    buckets.set("a", EMPTY);
    buckets.answer("Create", None, properties("a", "S3")).await;
    assert!(buckets.answer("Delete", Some("stack-BucketNotification-ABC"), properties("a", "S3")).await.0);
    assert!(!buckets.get("a").unwrap().contains("trailhose-t"));
    let (done, reason, _) =
        buckets.answer("Delete", Some("rule:missing:trailhose-t"), properties("missing", "S3")).await;
    assert!(done, "a bucket that does not exist: {reason}");
}

#[tokio::test]
async fn creation_that_takes_too_long_fails_and_is_removed_later() {
    let buckets = Buckets::default();
    buckets.set("a", "slow");
    let (done, reason, id) = buckets.answer("Create", None, properties("a", "S3")).await;
    assert_eq!((done, id.as_str(), reason.as_str()), (false, "rule:a:trailhose-t", "no result after 1 s"));
    let long = "é".repeat(3000);
    let answer = request("Create", None, json!({})).failed("i".into(), long);
    assert!(serde_json::to_string(&answer).unwrap().len() < 4096);
}

#[tokio::test(flavor = "multi_thread")]
async fn panic_is_answered() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut request = request("Create", None, properties("a", "S3"));
    request.response_url = format!("http://{}/answer?secret", listener.local_addr().unwrap());
    let received = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut text = String::new();
        while !text.ends_with('}') {
            let mut part = [0; 4096];
            let length = stream.read(&mut part).await.unwrap();
            text.push_str(std::str::from_utf8(&part[..length]).unwrap());
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        text
    });
    let pending = PendingRequest::default();
    let before = std::panic::take_hook();
    pending.answer_after_panics();
    pending.set(&request);
    let panicked = std::thread::spawn(|| panic!("a bug")).join();
    std::panic::set_hook(before);
    assert!(panicked.is_err() && pending.take().is_none());
    let text = received.await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("PUT /answer?secret HTTP/1.1") && !head.to_lowercase().contains("content-type"), "{head}");
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!((&body["Status"], &body["PhysicalResourceId"]), (&json!("FAILED"), &json!("rule:a:trailhose-t")));
    assert!(body["Reason"].as_str().unwrap().contains("a bug"));
}
