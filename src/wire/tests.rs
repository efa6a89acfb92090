use super::*;
use crate::aws::failure_of_code;
use std::sync::Mutex;

const QUEUE: &str = "arn:aws:sqs:eu-west-1:111122223333:trailhose-IngestQueue-1";

/// What a bucket stores after a write, if it changes, and the failure of the write.
type Interference = fn(String) -> (Option<String>, Option<AwsFailure>);

/// A bucket in memory. `interfere` changes what is stored after a write, as another program or S3 would.
struct MemoryBucket {
    stored: Mutex<String>,
    writes: Mutex<Vec<bool>>,
    interfere: Interference,
}

impl MemoryBucket {
    fn with(children: &str) -> Self {
        let stored = format!("<NotificationConfiguration>{children}</NotificationConfiguration>");
        Self { stored: Mutex::new(stored), writes: Mutex::default(), interfere: |written| (Some(written), None) }
    }

    fn stored(&self) -> String {
        self.stored.lock().unwrap().clone()
    }

    fn rules(&self) -> Vec<String> {
        let document = NotificationDocument::parse(self.stored()).unwrap();
        document.rules().map(|rule| format!("{} {}", rule.id, rule.target)).collect()
    }
}

#[async_trait]
impl BucketNotifications for MemoryBucket {
    fn bucket(&self) -> &str {
        "logs"
    }

    async fn read(&self) -> Result<String, AwsFailure> {
        Ok(self.stored())
    }

    async fn replace(&self, document: &str, validate: bool) -> Result<(), AwsFailure> {
        self.writes.lock().unwrap().push(validate);
        let (stored, failure) = (self.interfere)(document.to_owned());
        if let Some(stored) = stored {
            *self.stored.lock().unwrap() = stored;
        }
        failure.map_or(Ok(()), Err)
    }
}

fn rule() -> QueueRule {
    QueueRule { id: QueueRule::id_of_stack("trailhose"), queue_arn: QUEUE.into(), prefix: String::new() }
}

fn queue(id: &str, queue: &str, event: &str, prefix: &str) -> String {
    format!(
        "<QueueConfiguration><Id>{id}</Id><Queue>{queue}</Queue><Event>{event}</Event><Filter><S3Key><FilterRule>\
         <Name>Prefix</Name><Value>{prefix}</Value></FilterRule></S3Key></Filter></QueueConfiguration>"
    )
}

#[tokio::test]
async fn rule_is_added_once_and_removed_alone() {
    let bucket = MemoryBucket::with(&queue("other", "arn:aws:sqs:eu-west-1:111122223333:x", "s3:ObjectRemoved:*", ""));
    let before = bucket.stored();
    assert_eq!(wire_queue(&bucket, &rule(), true).await.unwrap(), WireOutcome::Added);
    assert_eq!(bucket.stored(), before, "a dry run writes nothing");
    assert_eq!(wire_queue(&bucket, &rule(), false).await.unwrap(), WireOutcome::Added);
    assert_eq!(bucket.rules().len(), 2);
    let again = WireOutcome::AlreadyWired { id: "trailhose-trailhose".into() };
    assert_eq!(wire_queue(&bucket, &rule(), false).await.unwrap(), again);
    assert_eq!(unwire_queue(&bucket, &rule(), true).await.unwrap(), WireOutcome::Removed);
    assert_eq!(unwire_queue(&bucket, &rule(), false).await.unwrap(), WireOutcome::Removed);
    assert_eq!(bucket.stored(), before);
    assert_eq!(unwire_queue(&bucket, &rule(), false).await.unwrap(), WireOutcome::NothingToRemove);
    // Removal does not depend on the targets of others.
    assert_eq!(*bucket.writes.lock().unwrap(), [true, false]);
}

#[tokio::test]
async fn existing_rules_decide_what_is_changed() {
    const OTHER: &str = "arn:aws:sqs:eu-west-1:111122223333:other";
    const ABROAD: &str = "arn:aws:sqs:eu-west-1:444455556666:trailhose-IngestQueue-9";
    const CREATED_PUT: &str = "s3:ObjectCreated:Put";
    for (existing, expected) in [
        (queue("trailhose", QUEUE, CREATED, ""), "Replaced"),
        // The queue of an earlier stack of the same name.
        (queue("trailhose-trailhose", &format!("{QUEUE}0"), CREATED, ""), "Replaced"),
        (queue("trailhose-trailhose", QUEUE, CREATED, "part/"), "Replaced"),
        (queue("by-hand", QUEUE, CREATED, ""), "AlreadyWired { id: \"by-hand\" }"),
        (queue("elsewhere", OTHER, "s3:ObjectRemoved:*", ""), "Added"),
        (queue("stack-two", OTHER, CREATED, ""), "rule stack-two (s3:ObjectCreated:* of all keys, target arn"),
        (
            queue("put", OTHER, CREATED_PUT, "AWSLogs/"),
            "rule put (s3:ObjectCreated:Put of keys with the prefix AWSLogs/",
        ),
        (queue("by-hand", QUEUE, CREATED, "part/"), "rule by-hand (s3:ObjectCreated:* of keys with the prefix part/"),
        // A stack of the same name in another account.
        (queue("trailhose-trailhose", ABROAD, CREATED, ""), "another rule with the ID trailhose-trailhose"),
    ] {
        let bucket = MemoryBucket::with(&existing);
        let before = bucket.stored();
        match wire_queue(&bucket, &rule(), false).await {
            Ok(outcome) => assert_eq!(format!("{outcome:?}"), expected, "{existing}"),
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains(expected) && text.contains("Nothing was changed"), "{existing}: {text}");
                assert!(!error.may_have_taken_effect());
                assert_eq!(bucket.stored(), before);
            }
        }
    }
    let bucket = MemoryBucket::with(&queue("trailhose-trailhose", ABROAD, CREATED, ""));
    assert_eq!(unwire_queue(&bucket, &rule(), false).await.unwrap(), WireOutcome::NothingToRemove);
    let separate = QueueRule { prefix: "trail/".into(), ..rule() };
    let bucket = MemoryBucket::with(&queue("config", OTHER, CREATED, "config/"));
    assert_eq!(wire_queue(&bucket, &separate, false).await.unwrap(), WireOutcome::Added);
}

#[tokio::test]
async fn event_bridge_is_enabled_beside_every_rule() {
    let bucket = MemoryBucket::with(&queue("other", "arn:x", CREATED, ""));
    assert_eq!(wire_event_bridge(&bucket, false).await.unwrap(), WireOutcome::EventBridgeEnabled);
    assert_eq!(wire_event_bridge(&bucket, false).await.unwrap(), WireOutcome::EventBridgeAlreadyEnabled);
    assert_eq!(unwire_queue(&bucket, &rule(), false).await.unwrap(), WireOutcome::NothingToRemove);
    assert!(bucket.stored().contains("<EventBridgeConfiguration/>"));
}

#[tokio::test]
async fn configuration_that_differs_from_the_written_one_is_an_error() {
    let interferences: [Interference; 3] = [
        |written| (Some(written.replace("<Id>other</Id>", "<Id>others</Id>")), None),
        |written| (Some(written.replace("<Later>x</Later>", "")), None),
        |_| (Some("<NotificationConfiguration/>".into()), None),
    ];
    for interfere in interferences {
        let other = queue("other", "arn:x", "s3:ObjectRemoved:*", "").replace("<Filter>", "<Later>x</Later><Filter>");
        let bucket = MemoryBucket { interfere, ..MemoryBucket::with(&other) };
        let error = wire_queue(&bucket, &rule(), false).await.unwrap_err();
        assert!(matches!(&error, WireError::ReadBackDiffers { .. }) && error.may_have_taken_effect(), "{error}");
        assert!(error.to_string().contains("rule other (s3:ObjectRemoved:* of all keys"), "{error}");
    }
}

#[tokio::test]
async fn written_configuration_that_cannot_be_read_back_may_have_taken_effect() {
    let bucket =
        MemoryBucket { interfere: |_| (Some("<NotificationConfiguration>".into()), None), ..MemoryBucket::with("") };
    let error = wire_queue(&bucket, &rule(), false).await.unwrap_err();
    assert!(matches!(&error, WireError::ReadBackUnreadable { .. }) && error.may_have_taken_effect(), "{error}");
    assert!(error.to_string().starts_with("the notifications of bucket logs were written"), "{error}");
}

#[tokio::test]
async fn write_with_an_unknown_result_is_checked() {
    let bucket = |interfere: Interference| MemoryBucket { interfere, ..MemoryBucket::with("") };
    let effective = bucket(|written| (Some(written), Some(failure_of_code("Timeout", "no response"))));
    assert_eq!(wire_queue(&effective, &rule(), false).await.unwrap(), WireOutcome::Added);
    let lost = bucket(|_| (None, Some(failure_of_code("Timeout", "no response"))));
    let error = wire_queue(&lost, &rule(), false).await.unwrap_err();
    assert!(error.may_have_taken_effect() && error.to_string().contains("s3:PutBucketNotification on"), "{error}");
    let denied = bucket(|_| (None, Some(failure_of_code("AccessDenied", "no"))));
    let error = wire_queue(&denied, &rule(), false).await.unwrap_err();
    assert!(!error.may_have_taken_effect(), "{error}");
    assert!(error.to_string().starts_with("allow s3:PutBucketNotification on bucket logs. "), "{error}");
    let invalid = bucket(|_| {
        let text = "Unable to validate the following destination configurations";
        (None, Some(AwsFailure { kind: FailureKind::Invalid, ..failure_of_code("InvalidArgument", text) }))
    });
    let error = wire_queue(&invalid, &rule(), false).await.unwrap_err();
    assert!(error.to_string().contains(QUEUE), "the targets are named: {error}");
}
