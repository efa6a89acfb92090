#!/usr/bin/env python3
"""Generate events/*.json: one payload for every shape of notification with which the ingest function can be invoked.

Run make_bucket.py first. The payloads refer to objects of events/bucket and events/damaged. Sizes and ETags are read from
these files (the S3 ETag of an object is the MD5 of its bytes). Every identifier is a hash of the payload's text, so the
files are the same on every run.
"""

import hashlib
import json
import pathlib
import urllib.parse
import uuid

HERE = pathlib.Path(__file__).resolve().parent
# Both folders are uploaded into one bucket.
FOLDERS = [HERE / "bucket", HERE / "damaged"]
NAME = "trailhose-sample"
REGION, ACCOUNT = "us-east-1", "123456789012"
TIME = "2026-03-01T00:05:11.000Z"
QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:trailhose-ingest"
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:cloudtrail-objects"
VALIDATION = "CloudTrail validation message."


def files():
    """Returns the path of every object by its key."""
    return {path.relative_to(folder).as_posix(): path for folder in FOLDERS for path in folder.rglob("*") if path.is_file()}


def find(*parts):
    """Returns the keys that contain all of these texts, sorted."""
    return [key for key in sorted(files()) if all(part in key for part in parts)]


def identifier(text):
    return str(uuid.uuid5(uuid.NAMESPACE_URL, text))


def line(value):
    return json.dumps(value, separators=(",", ":"))


def version(key):
    data = files()[key].read_bytes()
    return {"size": len(data), "etag": hashlib.md5(data).hexdigest(), "sequencer": "0065" + hashlib.md5(key.encode()).hexdigest()[:14].upper()}


def s3_record(key, name="ObjectCreated:Put"):
    known = version(key)
    stored = {"key": urllib.parse.quote_plus(key, safe="/")}
    if name.startswith("ObjectCreated"):
        stored.update({"size": known["size"], "eTag": known["etag"]})
    stored["sequencer"] = known["sequencer"]
    return {
        "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": REGION, "eventTime": TIME, "eventName": name,
        "userIdentity": {"principalId": "AWS:AROAEXAMPLEEXAMPLE123:regionalDeliverySession"},
        "requestParameters": {"sourceIPAddress": "192.0.2.17"},
        "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810", "x-amz-id-2": "EXAMPLE123/5678abcdefghijklambdaisawesome"},
        "s3": {
            "s3SchemaVersion": "1.0", "configurationId": "trailhose",
            "bucket": {"name": NAME, "ownerIdentity": {"principalId": "A3NL1KOZZKExample"}, "arn": f"arn:aws:s3:::{NAME}"},
            "object": stored,
        },
    }


def s3_event(*keys):
    return {"Records": [s3_record(key) for key in keys]}


def eventbridge(key, kind="Object Created"):
    known = version(key)
    stored = {"key": key, "sequencer": known["sequencer"]}
    if kind == "Object Created":
        stored.update({"size": known["size"], "etag": known["etag"]})
    reason = "PutObject" if kind == "Object Created" else "DeleteObject"
    return {
        "version": "0", "id": identifier(kind + key), "detail-type": kind, "source": "aws.s3", "account": ACCOUNT,
        "time": TIME, "region": REGION, "resources": [f"arn:aws:s3:::{NAME}"],
        "detail": {"version": "0", "bucket": {"name": NAME}, "object": stored, "request-id": "N4N7GDK58NMKJ12R",
                   "requester": "cloudtrail.amazonaws.com", "source-ip-address": "192.0.2.17", "reason": reason},
    }


def cloudtrail(*keys):
    return {"s3Bucket": NAME, "s3ObjectKey": list(keys)}


TEST_EVENT = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": TIME, "Bucket": NAME,
              "RequestId": "5582815E1AEA5ADF", "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR+YstdA6Knx4Ip8EXAMPLE"}
UNKNOWN = {"hello": "world"}


def envelope(message, urls=("SigningCertURL", "UnsubscribeURL")):
    text = message if isinstance(message, str) else line(message)
    return {"Type": "Notification", "MessageId": identifier(text), "TopicArn": TOPIC, "Subject": "Amazon S3 Notification",
            "Message": text, "Timestamp": TIME, "SignatureVersion": "1", "Signature": "EXAMPLE",
            urls[0]: f"https://sns.{REGION}.amazonaws.com/SimpleNotificationService-0000.pem",
            urls[1]: f"https://sns.{REGION}.amazonaws.com/?Action=Unsubscribe&SubscriptionArn={TOPIC}:0000"}


def sns(*messages):
    def record(message):
        inner = envelope(message, ("SigningCertUrl", "UnsubscribeUrl")) | {"MessageAttributes": {}}
        return {"EventSource": "aws:sns", "EventVersion": "1.0", "EventSubscriptionArn": f"{TOPIC}:0000", "Sns": inner}
    return {"Records": [record(message) for message in messages]}


def sqs(*bodies):
    def record(index, body):
        text = body if isinstance(body, str) else line(body)
        return {
            "messageId": identifier(f"{index} {text}"), "receiptHandle": "AQEBexample" + str(index), "body": text,
            "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1772323511000", "SenderId": "AIDAEXAMPLE",
                           "ApproximateFirstReceiveTimestamp": "1772323511007"},
            "messageAttributes": {}, "md5OfBody": hashlib.md5(text.encode()).hexdigest(), "eventSource": "aws:sqs",
            "eventSourceARN": QUEUE, "awsRegion": REGION,
        }
    return {"Records": [record(index, body) for index, body in enumerate(bodies)]}


def payloads():
    ours = find("o-exampleorgid/111122223333/CloudTrail/us-east-1/")
    plain = find("AWSLogs/111122223333/CloudTrail/us-east-1/")
    one, two, three = ours[:3]
    copied, digest, text = find("hand copied/")[0], find("_CloudTrail-Digest_")[0], "AWSLogs/README.txt"
    broken = find("o-exampleorgid/444455556666/CloudTrail/eu-west-1/2026/03/01/", "T0005Z")[0]
    later = envelope(VALIDATION) | {"Subject": None}
    del later["Subject"]
    return {
        "s3": s3_event(one),
        "s3-several": s3_event(one, two, three),
        "s3-unknown": {"Records": [s3_record(one), s3_record(two, "ObjectForgotten:Put")]},
        "s3-test-event": TEST_EVENT,
        "sns-s3": sns(s3_event(one)),
        "sns-cloudtrail": sns(cloudtrail(*plain)),
        "sns-cloudtrail-validation": sns(VALIDATION),
        "eventbridge": eventbridge(copied),
        "eventbridge-object-deleted": eventbridge(one, "Object Deleted"),
        "sqs-s3": sqs(s3_event(one)),
        "sqs-s3-encoded-key": sqs(s3_event(copied)),
        "sqs-sns-s3": sqs(envelope(s3_event(one))),
        "sqs-sns-raw": sqs(s3_event(one), cloudtrail(two)),
        "sqs-eventbridge": sqs(eventbridge(copied)),
        "sqs-sns-eventbridge": sqs(envelope(eventbridge(one))),
        "sqs-cloudtrail-sns": sqs(envelope(cloudtrail(*plain))),
        "sqs-cloudtrail-sns-validation": sqs(later, VALIDATION),
        "sqs-several": sqs(s3_event(*ours), envelope(s3_event(*plain)), eventbridge(one), envelope(cloudtrail(two, three))),
        "sqs-test-event": sqs(TEST_EVENT, envelope(TEST_EVENT)),
        "sqs-object-removed": sqs({"Records": [s3_record(one, "ObjectRemoved:Delete")]}),
        "sqs-not-a-log": sqs(s3_event(digest), s3_event(text)),
        "sqs-truncated": sqs(s3_event(broken), s3_event(one)),
        "sqs-missing-object": sqs({"Records": [missing(one)]}),
        "sqs-unknown": sqs(UNKNOWN, s3_event(one)),
    }


def missing(key):
    """Returns the S3 record of an object that was deleted before it was read."""
    record = s3_record(key)
    record["s3"]["object"]["key"] = record["s3"]["object"]["key"].replace(".json.gz", "-gone.json.gz")
    return record


if __name__ == "__main__":
    for name, payload in payloads().items():
        (HERE / f"{name}.json").write_text(json.dumps(payload, indent=2, ensure_ascii=False) + "\n")
        print(f"{name}.json")
