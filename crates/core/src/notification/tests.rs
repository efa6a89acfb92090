use super::*;
use proptest::prelude::*;
use serde_json::json;

const KEY: &str =
    "AWSLogs/111122223333/CloudTrail/us-east-1/2026/03/02/111122223333_CloudTrail_us-east-1_20260302T0000Z_aB.json.gz";

fn s3_record(name: &str, key: &str) -> Value {
    json!({
        "eventVersion": "2.1", "eventSource": "aws:s3", "eventName": name,
        "s3": { "bucket": { "name": "b" }, "object": { "key": key, "size": 7, "eTag": "e" } },
    })
}

fn s3_event(keys: &[&str]) -> Value {
    json!({ "Records": keys.iter().map(|key| s3_record("ObjectCreated:Put", key)).collect::<Vec<_>>() })
}

fn eventbridge(kind: &str, key: &str) -> Value {
    json!({
        "version": "0", "source": "aws.s3", "detail-type": kind,
        "detail": { "bucket": { "name": "b" }, "object": { "key": key, "size": 7, "etag": "e" } },
    })
}

fn envelope(message: &str) -> Value {
    json!({ "Type": "Notification", "TopicArn": "arn:aws:sns:us-east-1:111122223333:t", "Message": message })
}

fn sns_event(messages: &[&str]) -> Value {
    let record = |message: &&str| json!({ "EventSource": "aws:sns", "EventVersion": "1.0", "Sns": envelope(message) });
    json!({ "Records": messages.iter().map(record).collect::<Vec<_>>() })
}

fn sqs_event(bodies: &[&str]) -> Value {
    let record = |(index, body): (usize, &&str)| {
        json!({
            "messageId": format!("m{index}"), "receiptHandle": "r", "body": body, "eventSource": "aws:sqs",
            "attributes": { "ApproximateReceiveCount": "3" }, "eventSourceARN": "arn:aws:sqs:us-east-1:111122223333:q",
        })
    };
    json!({ "Records": bodies.iter().enumerate().map(record).collect::<Vec<_>>() })
}

fn object(key: &str) -> Notice {
    Notice::Object(ObjectRef::new("b", key).with_version("e", 7))
}

fn parse_error(message: &Value) -> String {
    parse(&message.to_string()).expect_err("this message must be an error").to_string()
}

#[test]
fn every_envelope_yields_the_same_object() {
    let event = s3_event(&[KEY]).to_string();
    let bridge = eventbridge("Object Created", KEY).to_string();
    let envelopes = [
        event.clone(),
        envelope(&event).to_string(),
        sns_event(&[&event]).to_string(),
        bridge.clone(),
        envelope(&bridge).to_string(),
        sns_event(&[&bridge]).to_string(),
    ];
    for text in envelopes {
        assert_eq!(parse(&text), Ok(vec![object(KEY)]), "{text}");
        assert_eq!(invocation(&text), Ok(Invocation::Direct(vec![object(KEY)])), "{text}");
    }
}

#[test]
fn every_record_is_parsed() {
    let event = s3_event(&["a", "b", "c"]);
    let expected = vec![object("a"), object("b"), object("c")];
    assert_eq!(parse(&event.to_string()), Ok(expected));
    let (first, second) = (s3_event(&["a", "b"]).to_string(), s3_event(&["c"]).to_string());
    let sns = sns_event(&[&first, &second]).to_string();
    assert_eq!(parse(&sns), Ok(vec![object("a"), object("b"), object("c")]));
}

#[test]
fn only_keys_of_s3_notifications_are_decoded() {
    let (encoded, decoded) = ("a+b/dt%3D1/%C3%A9%2B%25.json.gz", "a b/dt=1/é+%.json.gz");
    assert_eq!(parse(&s3_event(&[encoded]).to_string()), Ok(vec![object(decoded)]));
    assert_eq!(parse(&eventbridge("Object Created", encoded).to_string()), Ok(vec![object(encoded)]));
    let topic = json!({ "s3Bucket": "b", "s3ObjectKey": [encoded, "x"] });
    let expected = vec![Notice::Object(ObjectRef::new("b", encoded)), Notice::Object(ObjectRef::new("b", "x"))];
    assert_eq!(parse(&envelope(&topic.to_string()).to_string()), Ok(expected.clone()));
    assert_eq!(parse(&topic.to_string()), Ok(expected));
}

#[test]
fn invalid_key_encoding_is_an_error() {
    for key in ["a%FF", "100%", "a%2", "a%zz", "%C3%28", "%+1"] {
        let message = parse_error(&s3_event(&["fine", key]));
        assert!(message.starts_with("message.Records[1].s3.object.key: expected a form-encoded"), "{message}");
    }
}

#[test]
fn etag_and_size_are_optional() {
    let mut record = s3_record("ObjectCreated:Put", "k");
    let read = |record: &Value| match parse(&json!({ "Records": [record] }).to_string()).unwrap().remove(0) {
        Notice::Object(object) => (object.etag, object.size),
        other => panic!("{other:?}"),
    };
    record["s3"]["object"]["eTag"] = json!("\"quoted\"");
    assert_eq!(read(&record), (Some("quoted".to_owned()), Some(7)));
    record["s3"]["object"]["size"] = Value::Null;
    assert_eq!(read(&record), (Some("quoted".to_owned()), None));
    record["s3"]["object"] = json!({ "key": "k", "size": 9 });
    assert_eq!(read(&record), (None, Some(9)));
    record["s3"]["object"] = json!({ "key": "k" });
    assert_eq!(read(&record), (None, None));
}

#[test]
fn empty_etag_counts_as_missing() {
    let mut record = s3_record("ObjectCreated:Put", "k");
    record["s3"]["object"]["eTag"] = json!("");
    let notices = parse(&json!({ "Records": [record] }).to_string()).unwrap();
    let [Notice::Object(object)] = &notices[..] else { panic!("{notices:?}") };
    // A version with an empty ETag would never match the stored object.
    assert_eq!((object.etag.as_deref(), object.object()), (None, None));
}

#[test]
fn other_events_are_ignored_with_their_reason() {
    let by_name = [
        ("ObjectRemoved:Delete", "removed"),
        ("ObjectRemoved:DeleteMarkerCreated", "removed"),
        ("LifecycleExpiration:Delete", "removed"),
        ("LifecycleTransition", "moved"),
        ("IntelligentTiering", "moved"),
        ("ObjectRestore:Post", "restored"),
        ("ObjectRestore:Completed", "restored"),
        ("ObjectRestore:Delete", "restored"),
        ("ObjectTagging:Put", "annotated"),
        ("ObjectAcl:Put", "annotated"),
        ("Replication:OperationFailedReplication", "replication"),
        ("ReducedRedundancyLostObject", "lost"),
    ];
    let by_detail_type = [
        ("Object Deleted", "removed"),
        ("Object Restore Initiated", "restored"),
        ("Object Restore Completed", "restored"),
        ("Object Restore Expired", "restored"),
        ("Object Storage Class Changed", "moved"),
        ("Object Access Tier Changed", "moved"),
        ("Object Tags Added", "annotated"),
        ("Object Tags Deleted", "annotated"),
        ("Object ACL Updated", "annotated"),
    ];
    let from_s3 = by_name.map(|(name, kind)| (json!({ "Records": [s3_record(name, KEY)] }), kind));
    let from_bridge = by_detail_type.map(|(name, kind)| (eventbridge(name, KEY), kind));
    let test = json!({ "Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b" });
    let others = [(test, "test_event"), (envelope("CloudTrail validation message."), "validation_message")];
    for (message, kind) in from_s3.into_iter().chain(from_bridge).chain(others) {
        match parse(&message.to_string()).unwrap().as_slice() {
            [Notice::Ignored(ignored)] => assert_eq!(ignored.name(), kind, "{message}"),
            other => panic!("{message}: {other:?}"),
        }
    }
    let ignored = |text: &str| parse(text).map(|notices| notices.len());
    assert_eq!(ignored("CloudTrail validation message.\n"), Ok(1));
}

#[test]
fn message_may_contain_objects_and_ignored_events() {
    let records = [s3_record("ObjectRemoved:Delete", "a"), s3_record("s3:ObjectCreated:Copy", "b")];
    let notices = parse(&json!({ "Records": records }).to_string()).unwrap();
    assert!(matches!(&notices[0], Notice::Ignored(Ignored::Removed(at)) if at.key == "a"));
    assert_eq!(notices[1], object("b"));
}

#[test]
fn unknown_shape_is_an_error() {
    let log_file =
        json!({ "Records": [{ "eventVersion": "1.11", "eventSource": "iam.amazonaws.com", "eventName": "x" }] });
    let mut elsewhere = eventbridge("Object Created", "k");
    elsewhere["source"] = json!("my.app");
    let unknown = [
        json!({}),
        json!([]),
        json!(null),
        json!(7),
        json!("text"),
        json!([s3_event(&["k"])]),
        json!({ "Records": [] }),
        json!({ "Records": null }),
        json!({ "Records": [{}] }),
        json!({ "Records": [7] }),
        json!({ "records": [s3_record("ObjectCreated:Put", "k")] }),
        json!({ "Records": [s3_record("ObjectForgotten:Put", "k")] }),
        json!({ "Records": [s3_record("ObjectCreated", "k")] }),
        json!({ "Records": [s3_record("ObjectCreated:Put", "")] }),
        json!({ "Event": "s3:OtherEvent" }),
        json!({ "Type": "SubscriptionConfirmation", "Message": "You have chosen", "SubscribeURL": "https://x" }),
        json!({ "s3Bucket": "b", "s3ObjectKey": [] }),
        json!({ "s3Bucket": "b", "s3ObjectKey": "k" }),
        json!({ "s3Bucket": "", "s3ObjectKey": ["k"] }),
        json!({ "s3Bucket": "b", "s3ObjectKey": ["k", 7] }),
        eventbridge("Object Frobbed", "k"),
        eventbridge("AWS API Call via CloudTrail", "k"),
        elsewhere,
        envelope("hello"),
        envelope(""),
        envelope("{}"),
        sns_event(&["hello"]),
        log_file,
        sqs_event(&[&s3_event(&["k"]).to_string()]),
    ];
    for message in unknown {
        parse_error(&message);
    }
    for text in ["", "hello", "{", "{}{}", "CloudTrail validation message. More"] {
        assert!(matches!(parse(text), Err(NotificationError::NotJson { .. })), "{text}");
    }
}

#[test]
fn envelope_of_another_type_is_an_error() {
    let mut message = envelope(&s3_event(&[KEY]).to_string());
    message["Type"] = json!("UnsubscribeConfirmation");
    assert!(parse_error(&message).starts_with("message.Type: expected an SNS `Notification`"));
}

#[test]
fn unknown_major_version_is_an_error() {
    for (version, known) in [("2.0", true), ("2.9", true), ("2", true), ("3.0", false), ("20.1", false), ("", false)] {
        let mut record = s3_record("ObjectCreated:Put", "k");
        record["eventVersion"] = json!(version);
        assert_eq!(parse(&json!({ "Records": [record] }).to_string()).is_ok(), known, "{version}");
    }
}

#[test]
fn unknown_major_version_of_an_eventbridge_event_is_an_error() {
    let versions = |name: &str| match name {
        "/version" | "/detail/version" => [("0", true), ("0.1", true), ("1", false), ("2", false), ("", false)],
        _ => [("1.0", true), ("1.9", true), ("1", true), ("2.0", false), ("10.0", false)],
    };
    for name in ["/version", "/detail/version", "/detail/event-version"] {
        for (version, known) in versions(name) {
            let mut event = eventbridge("Object Created", "k");
            event["detail"]["version"] = json!("0");
            event["detail"]["event-version"] = json!("1.1");
            *event.pointer_mut(name).unwrap() = json!(version);
            let parsed = parse(&event.to_string());
            assert_eq!(parsed.is_ok(), known, "{name} {version}");
            if let Err(error) = parsed {
                assert!(error.to_string().starts_with(&format!("message{}: expected version", name.replace('/', "."))));
            }
        }
    }
    let mut event = eventbridge("Object Created", "k");
    event["version"] = Value::Null;
    assert!(parse_error(&event).starts_with("message.version: expected a string"));
}

#[test]
fn invalid_record_fails_its_message_and_error_contains_its_path() {
    let mut records = s3_event(&["a", "b", "c"]);
    records["Records"][2]["eventName"] = json!("ObjectForgotten:Put");
    let message = parse_error(&records);
    assert!(message.starts_with("message.Records[2].eventName: "), "{message}");
    assert!(message.ends_with("found `ObjectForgotten:Put`"), "{message}");
    let text = sns_event(&[&s3_event(&["a"]).to_string(), &records.to_string()]).to_string();
    let message = invocation(&text).unwrap_err().to_string();
    assert!(message.starts_with("event.Records[1].Sns.Message.Records[2].eventName: "), "{message}");
}

#[test]
fn errors_contain_field_names_and_no_values() {
    let secret = "s3cr3t&value";
    let mut shown = vec![parse_error(&json!({ "password": secret, "Records2": [secret] }))];
    assert!(shown[0].contains("an object with `Records2`, `password`"), "{}", shown[0]);
    shown.push(parse(&format!("{{\"a\": {secret}")).unwrap_err().to_string());
    shown.push(parse_error(&envelope(secret)));
    for (from, to) in [("eventName", "/eventName"), ("eTag", "/s3/object/eTag"), ("size", "/s3/object/size")] {
        let mut record = s3_record("ObjectCreated:Put", "k");
        *record.pointer_mut(to).unwrap() = json!({ "x": secret });
        shown.push(parse_error(&json!({ "Records": [record] })));
        assert!(shown.last().unwrap().contains(from));
    }
    shown.push(parse_error(&json!({ "Records": [s3_record(secret, "k")] })));
    shown.push(parse_error(&eventbridge(secret, "k")));
    for message in shown {
        assert!(!message.contains("s3cr3t"), "{message}");
    }
}

#[test]
fn messages_of_a_batch_fail_individually() {
    let good = s3_event(&[KEY]).to_string();
    let Ok(Invocation::Queue(messages)) = invocation(&sqs_event(&["nonsense", &good]).to_string()) else {
        panic!("expected a batch of queue messages");
    };
    assert!(parse(&messages[0].body).is_err());
    assert_eq!(parse(&messages[1].body), Ok(vec![object(KEY)]));
    let expected = Message {
        id: "m1".to_owned(),
        receipt_handle: "r".to_owned(),
        body: good,
        receive_count: 3,
        queue_arn: "arn:aws:sqs:us-east-1:111122223333:q".to_owned(),
        ..Message::default()
    };
    assert_eq!(Message { sent_at: None, ..messages[1].clone() }, expected);
}

#[test]
fn invalid_batch_fails_as_a_whole() {
    for broken in ["messageId", "receiptHandle", "body", "eventSourceARN", "eventSource"] {
        let mut event = sqs_event(&["a", "b"]);
        event["Records"][1][broken] = Value::Null;
        let message = invocation(&event.to_string()).unwrap_err().to_string();
        assert!(message.starts_with(&format!("event.Records[1].{broken}: ")), "{message}");
    }
    let mixed = json!({ "Records": [s3_record("ObjectCreated:Put", "k"), sqs_event(&["a"])["Records"][0]] });
    assert!(invocation(&mixed.to_string()).is_err());
}

#[test]
fn direct_invocation_with_validation_message_is_ignored() {
    let expected = Ok(Invocation::Direct(vec![Notice::Ignored(Ignored::ValidationMessage)]));
    assert_eq!(invocation("\"CloudTrail validation message.\""), expected);
    assert_eq!(invocation(&sns_event(&[VALIDATION_MESSAGE]).to_string()), expected);
    assert!(invocation("\"hello\"").is_err());
    assert!(invocation("{}").is_err());
    assert!(invocation("").is_err());
}

proptest! {
    #[test]
    fn rendered_object_parses_to_the_same_object(
        bucket in "[a-z0-9.-]{3,63}",
        key in "([ +%=&é𝄞/~*'\"\\\\a-zA-Z0-9._:?#-]|%[0-9A-F]{2}|\\PC|\n){1,60}",
        etag in proptest::option::of("[a-z0-9-]{1,40}"),
        size in proptest::option::of(any::<u64>()),
    ) {
        let object = ObjectRef { etag, size, ..ObjectRef::new(bucket, key) };
        prop_assert_eq!(parse(&render(&object)), Ok(vec![Notice::Object(object)]));
    }

    #[test]
    fn result_is_never_empty(text in "\\PC{0,80}") {
        for notices in [parse(&text), parse(&envelope(&text).to_string())].into_iter().flatten() {
            prop_assert!(!notices.is_empty());
        }
        if let Ok(Invocation::Direct(notices)) = invocation(&text) {
            prop_assert!(!notices.is_empty());
        }
    }
}
