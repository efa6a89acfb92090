#!/usr/bin/env python3
"""Generate the sample buckets: events/bucket and events/damaged.

events/bucket is a small CloudTrail bucket that contains every kind of file that was found in real buckets.
events/damaged has the same layout and contains one truncated log.

Requires only Python 3. The events are the same on every run. The gzip bytes are also the same if the zlib version is the
same. After a change, copy the printed table into README.md and run make_payloads.py, which reads sizes and ETags from the
files. Accounts, addresses and names are reserved for documentation.
"""

import gzip
import hashlib
import json
import pathlib
import random
import shutil
from datetime import datetime, timedelta

HERE = pathlib.Path(__file__).resolve().parent
BUCKET = HERE / "bucket"
DAMAGED = HERE / "damaged"
NAME = "trailhose-sample"
ORGANISATION = "o-exampleorgid"
A, B, C = "111122223333", "444455556666", "123456789012"
US, EU, AP = "us-east-1", "eu-west-1", "ap-southeast-2"
rng = random.Random(20260301)

# JSON that json.dumps would write differently. The pipeline must deliver these bytes unchanged.
AS_SPELLED = {
    "@size": "1.0e3", "@ratio": "-0.0", "@big": "12345678901234567890123", "@tenth": "0.10", "@hundred": "1E+2",
    "@path": '"arn:aws:s3:::example-logs\\/year=2026\\/\\u00e9t\\u00e9.json"',
    "@face": '"Zo\\u00eb \\ud83d\\ude00\\ttab \\"quoted\\" \\\\ back"',
    "@lines": '"first\\nsecond\\r\\nthird \\u2028 fourth"',
}
ADDRESSES = ["192.0.2.17", "198.51.100.204", "203.0.113.99", "2001:db8:85a3::8a2e:370:7334", "2001:db8::1"]
AGENTS = [
    "aws-cli/2.27.41 md/awscrt#0.26.1 ua/2.1 os/linux#6.8.0-1029-aws md/arch#x86_64 lang/python#3.13.4 md/pyimpl#CPython cfg/retry-mode#standard md/installer#exe md/prompt#off md/command#ec2.describe-instances",
    "Boto3/1.38.46 md/Botocore#1.38.46 ua/2.1 os/linux#5.10.237-230.949.amzn2.x86_64 md/arch#x86_64 lang/python#3.12.11 md/pyimpl#CPython exec-env/AWS_Lambda_python3.12 cfg/retry-mode#legacy Botocore/1.38.46",
    "APN/1.0 HashiCorp/1.0 Terraform/1.12.2 (+https://www.terraform.io) terraform-provider-aws/6.2.0 (+https://registry.terraform.io/providers/hashicorp/aws) aws-sdk-go-v2/1.36.5 ua/2.1 os/linux lang/go#1.24.4",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36",
]
USERS = ["alice", "Bob.Example", "Zoë", "李雷", "Søren Ærø", "deploy-bot"]


def uuid():
    digits = f"{rng.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def letters(count, alphabet="abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"):
    return "".join(rng.choice(alphabet) for _ in range(count))


def upper(count):
    return letters(count, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")


def stamp(time):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def spell(value):
    """Returns a value as one line of minified JSON, as CloudTrail writes it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for mark, spelling in AS_SPELLED.items():
        text = text.replace(f'"{mark}"', spelling)
    return text


def identity(account, time):
    user, kind = rng.choice(USERS), rng.choice(["AssumedRole"] * 5 + ["IAMUser"] * 3 + ["Root", "AWSService"])
    if kind == "AWSService":
        return {"type": kind, "invokedBy": "autoscaling.amazonaws.com"}
    if kind == "Root":
        return {"type": kind, "principalId": account, "arn": f"arn:aws:iam::{account}:root", "accountId": account,
                "accessKeyId": ""}
    key = "ASIA" + upper(9) + "EXAMPLE"
    if kind == "IAMUser":
        return {"type": kind, "principalId": "AIDA" + upper(17), "arn": f"arn:aws:iam::{account}:user/{user}",
                "accountId": account, "accessKeyId": key, "userName": user}
    role = rng.choice(["OrganizationAccountAccessRole", "ci-deploy", "AWSReservedSSO_ReadOnlyAccess_0123456789abcdef"])
    principal = "AROA" + upper(17)
    issuer = {"type": "Role", "principalId": principal, "arn": f"arn:aws:iam::{account}:role/{role}",
              "accountId": account, "userName": role}
    attributes = {"creationDate": stamp(time - timedelta(minutes=rng.randrange(50))), "mfaAuthenticated": "false"}
    return {"type": kind, "principalId": f"{principal}:{user}",
            "arn": f"arn:aws:sts::{account}:assumed-role/{role}/{user}", "accountId": account, "accessKeyId": key,
            "sessionContext": {"sessionIssuer": issuer, "attributes": attributes}}


def call(account, region):
    """Returns the event source, event name, readOnly, request parameters, response elements and additional fields."""
    instance, number = "i-0" + letters(16, "0123456789abcdef"), rng.randrange(10**6)
    return rng.choice([
        ("ec2.amazonaws.com", "DescribeInstances", True,
         {"instancesSet": {"items": [{"instanceId": instance}]}, "filterSet": {}}, None, {}),
        ("ec2.amazonaws.com", "RunInstances", False,
         {"instancesSet": {"items": [{"imageId": "ami-0abcdef1234567890", "minCount": 1, "maxCount": 1}]},
          "instanceType": "m7g.large", "monitoring": {"enabled": False}, "userData": "<sensitiveDataRemoved>"},
         {"requestId": uuid(), "instancesSet": {"items": [{"instanceId": instance, "currentState": {"code": 0}}]}}, {}),
        ("s3.amazonaws.com", "GetObject", True,
         {"bucketName": "example-data", "Host": f"example-data.s3.{region}.amazonaws.com", "key": "@path"}, None,
         {"additionalEventData": {"CipherSuite": "TLS_AES_128_GCM_SHA256", "bytesTransferredIn": 0,
                                  "bytesTransferredOut": "@size", "x-amz-id-2": letters(64)}}),
        ("iam.amazonaws.com", "CreateUser", False, {"userName": "@face", "path": "/", "tags": []},
         {"user": {"path": "/", "userId": "AIDA" + upper(17), "createDate": "Mar 1, 2026, 12:00:00 AM"}}, {}),
        ("sts.amazonaws.com", "AssumeRole", True,
         {"roleArn": f"arn:aws:iam::{account}:role/ci-deploy", "roleSessionName": f"run-{number}",
          "durationSeconds": 3600, "policy": "@lines"},
         {"credentials": {"accessKeyId": "ASIA" + upper(9) + "EXAMPLE", "expiration": "Mar 1, 2026, 1:00:00 AM"}}, {}),
        ("kms.amazonaws.com", "Decrypt", True,
         {"encryptionContext": {"aws:cloudtrail:arn": f"arn:aws:cloudtrail:{region}:{account}:trail/all", "n": "@tenth"},
          "encryptionAlgorithm": "SYMMETRIC_DEFAULT"}, None,
         {"resources": [{"accountId": account, "type": "AWS::KMS::Key",
                         "ARN": f"arn:aws:kms:{region}:{account}:key/1234abcd-12ab-34cd-56ef-1234567890ab"}]}),
        ("lambda.amazonaws.com", "UpdateFunctionConfiguration20150331v2", False,
         {"functionName": f"orders-{number}", "timeout": "@hundred", "environment": {}},
         {"memorySize": 512, "codeSize": "@big", "offset": "@ratio", "lastUpdateStatus": "InProgress"}, {}),
        ("dynamodb.amazonaws.com", "PutItem", False,
         {"tableName": "orders", "key": {"pk": "****"}}, None,
         {"errorCode": "ConditionalCheckFailedException", "errorMessage": "The conditional request failed"}),
        ("signin.amazonaws.com", "ConsoleLogin", False, None, {"ConsoleLogin": "Success"},
         {"additionalEventData": {"MobileVersion": "No", "MFAUsed": "Yes",
                                  "LoginTo": "https://console.aws.amazon.com/console/home?state=hashArgs%23&isauthcode=true"}}),
    ])


def event(account, region, time, **changes):
    source, name, reads, parameters, response, more = call(account, region)
    made = {
        "eventVersion": "1.11", "userIdentity": identity(account, time), "eventTime": stamp(time),
        "eventSource": source, "eventName": name, "awsRegion": region, "sourceIPAddress": rng.choice(ADDRESSES),
        "userAgent": rng.choice(AGENTS), **more, "requestParameters": parameters, "responseElements": response,
        "requestID": uuid(), "eventID": uuid(), "readOnly": reads, "eventType": "AwsApiCall",
        "managementEvent": source != "s3.amazonaws.com", "recipientAccountId": account, "eventCategory": "Management",
        "tlsDetails": {"tlsVersion": "TLSv1.3", "cipherSuite": "TLS_AES_128_GCM_SHA256",
                       "clientProvidedHostHeader": f"{source.split('.')[0]}.{region}.amazonaws.com"},
    }
    made.update(changes)
    return {name: value for name, value in made.items() if value is not ...}


def batch(count, account, region, delivery):
    """Returns events of the ten minutes before a delivery. One event in twenty is three hours older."""
    def late():
        return timedelta(hours=3) if rng.random() < 0.05 else timedelta(0)
    return [spell(event(account, region, delivery - timedelta(seconds=rng.randrange(600)) - late()))
            for _ in range(count)]


def insights(account, region, time):
    shared, made = uuid(), []
    for state in ["Start", "End"]:
        made.append(spell({
            "eventVersion": "1.10", "eventTime": stamp(time), "awsRegion": region, "eventID": uuid(),
            "eventType": "AwsCloudTrailInsight", "recipientAccountId": account, "sharedEventID": shared,
            "insightDetails": {
                "state": state, "eventSource": "iam.amazonaws.com", "eventName": "CreateUser",
                "insightType": "ApiCallRateInsight",
                "insightContext": {"statistics": {"baseline": {"average": 0.0020833333}, "insight": {"average": 6.5},
                                                  "insightDuration": 1, "baselineDuration": 10080}}},
            "eventCategory": "Insight"}))
        time += timedelta(minutes=1)
    return made


def network(account, region, time):
    endpoint = "vpce-0" + letters(16, "0123456789abcdef")
    return spell(event(account, region, time, eventSource="kms.amazonaws.com", eventName="ListKeys",
                       eventType="AwsVpceEvent", managementEvent=..., eventCategory="NetworkActivity",
                       errorCode="VpceAccessDenied", errorMessage="The request was denied due to a VPC endpoint policy",
                       responseElements=..., tlsDetails=..., vpcEndpointId=endpoint, vpcEndpointAccountId=account))


def aggregated(account, region, start, name, count):
    """Returns an aggregated event: it has no eventTime and no recipientAccountId, and its ID is in eventId."""
    detail = {"dimension": "resourceARN", "aggregationType": "Count",
              "statistics": [{"name": "arn:aws:s3:::example-data", "value": count}]}
    return spell({
        "eventVersion": "1.0", "accountId": account, "eventId": uuid(), "eventCategory": "Aggregated",
        "eventType": "AwsAggregatedEvent", "awsRegion": region, "eventSource": "s3.amazonaws.com",
        "timeWindow": {"windowStart": stamp(start), "windowEnd": stamp(start + timedelta(minutes=5)),
                       "windowSize": "PT5M"},
        "summary": {"primaryDimension": {"dimension": "eventName", "aggregationType": "Count",
                                         "statistics": [{"name": name, "value": count}]}, "details": [detail]}})


def records(events):
    return '{"Records":[' + ",".join(events) + "]}"


def pack(text):
    return gzip.compress(text.encode(), compresslevel=9, mtime=0)


def folder(trail, account, kind, region, time):
    above = f"AWSLogs/{ORGANISATION}" if trail == "organisation" else "AWSLogs"
    return f"{above}/{account}/{kind}/{region}/{time:%Y/%m/%d}"


def put(key, data, bucket=BUCKET):
    path = bucket / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return key


def log(trail, account, region, time, events, kind="CloudTrail", data=None, bucket=BUCKET):
    name = f"{account}_{kind}_{region}_{time:%Y%m%dT%H%MZ}_{letters(16)}.json.gz"
    return put(f"{folder(trail, account, kind, region, time)}/{name}", data or pack(records(events)), bucket)


def digest(trail, account, region, end, keys, suffix=""):
    def entry(key):
        content = gzip.decompress((BUCKET / key).read_bytes())
        return {"s3Bucket": NAME, "s3Object": key, "hashValue": hashlib.sha256(content).hexdigest(),
                "hashAlgorithm": "SHA-256"}
    place = folder(trail, account, "CloudTrail-Digest", region, end)
    key = f"{place}/{account}_CloudTrail-Digest_{region}_all_events_{US}_{end:%Y%m%dT%H%M%SZ}{suffix}.json.gz"
    put(key, pack(spell({
        "awsAccountId": account, "digestStartTime": stamp(end - timedelta(hours=1)), "digestEndTime": stamp(end),
        "digestS3Bucket": NAME, "digestS3Object": key, "digestPublicKeyFingerprint": "0" * 32,
        "digestSignatureAlgorithm": "SHA256withRSA", "previousDigestS3Bucket": None, "previousDigestS3Object": None,
        "previousDigestHashValue": None, "previousDigestHashAlgorithm": None, "previousDigestSignature": None,
        "logFiles": [entry(key) for key in keys]})))


def minute(day, clock):
    return datetime.strptime(f"2026-{day} {clock}", "%Y-%m-%d %H:%M")


def make():
    first, second = "02-28", "03-01"
    # The organization's trail, around midnight.
    t = [minute(first, "23:50"), minute(first, "23:55"), minute(second, "00:00"), minute(second, "00:05")]
    us = [batch(count, A, US, time) for count, time in zip([25, 18, 40, 9], t)]
    shared = uuid()
    us[3].append(spell(event(A, US, t[3], eventName="AssumeRole", sharedEventID=shared)))
    # Two events without fields that newer events have: one without an ID, one with only the fields of 2014.
    us[3].append(spell(event(A, US, t[3], eventID=...)))
    old = {name: ... for name in ["eventType", "recipientAccountId", "readOnly", "managementEvent", "eventCategory",
                                  "tlsDetails"]}
    us[3].append(spell(event(A, US, t[3], eventVersion="1.01", **old)))
    eu, ap = batch(12, A, EU, t[1]), [batch(5, A, AP, t[1]), batch(3, A, AP, t[2])]
    in_a = [log("organisation", A, US, time, events) for time, events in zip(t, us)]
    log("organisation", A, EU, t[1], eu)
    for time, events in zip(t[1:], ap):
        log("organisation", A, AP, time, events)
    again = batch(14, B, US, t[0])
    log("organisation", B, US, t[0], again)
    log("organisation", B, US, t[2], again)  # CloudTrail delivers at least once: the same events again, ten minutes later.
    log("organisation", B, US, t[3], batch(130, B, US, t[3]))
    for region, count, time in [(EU, 7, t[0]), (EU, 21, t[2]), (AP, 2, t[1])]:
        log("organisation", B, region, time, batch(count, B, region, time))
    cross = batch(16, C, US, t[3]) + [spell(event(C, US, t[3], eventName="AssumeRole", sharedEventID=shared))]
    log("organisation", C, US, t[3], cross)
    log("organisation", C, EU, t[0], batch(1, C, EU, t[0]))
    parts = batch(22, C, EU, t[2])
    whole = records(parts)
    cut = whole.index('"eventID"', len(whole) // 2)  # In the middle of an event.
    log("organisation", C, EU, t[2], parts, data=pack(whole[:cut]) + pack(whole[cut:]))  # Two gzip members.
    log("organisation", C, AP, t[2], [])

    # The trail of a single account. It contains the same events, divided into different files.
    log("plain", A, US, t[1], us[0])
    log("plain", A, US, t[2], us[1][:9] + us[2][:10])
    log("plain", A, US, t[3], us[2][10:] + us[1][9:])
    log("plain", A, US, t[3] + timedelta(minutes=5), us[3] + batch(6, A, US, t[3]))
    log("plain", A, EU, t[2], batch(4, A, EU, t[1]) + eu)
    log("plain", A, AP, t[2], ap[0] + ap[1])

    # The other kinds of log.
    for account, region in [(A, US), (B, EU)]:
        log("organisation", account, region, t[3], insights(account, region, t[2]), "CloudTrail-Insight")
    activity = [network(A, US, t[2] + timedelta(seconds=second)) for second in range(0, 60, 5)]
    log("organisation", A, US, t[3], activity, "CloudTrail-NetworkActivity")
    sums = [aggregated(B, US, t[2], name, count) for name, count in [("PutObject", 1000), ("GetObject", 800)]]
    bare = "[" + ",".join(sums) + "]"
    log("organisation", B, US, t[3], sums, "CloudTrail-Aggregated", pack(bare))
    sums = [aggregated(B, EU, t[2], name, 7) for name in ["PutObject", "GetObject", "HeadObject"]]
    log("organisation", B, EU, t[3], sums, "CloudTrail-Aggregated")
    digest("organisation", A, US, t[3] + timedelta(minutes=50, seconds=3), in_a)
    digest("organisation", A, US, t[0] + timedelta(minutes=5, seconds=3), in_a[:1], "_backfill")

    # Irregular files. Their events are in no other file.
    broken = pack(records(batch(20, B, EU, t[3])))
    log("organisation", B, EU, t[3], [], data=broken[: len(broken) * 3 // 5], bucket=DAMAGED)
    pretty = json.dumps(json.loads(records(batch(11, A, EU, t[3]))), indent=2, ensure_ascii=False) + "\n"
    put(f"hand copied/case=42+notes/{A}_CloudTrail_{EU}_20260301T0005Z_{letters(16)}.json", pretty.encode())
    renamed = records(batch(8, B, AP, t[3]))
    put(f"{folder('plain', B, 'CloudTrail', AP, t[3])}/{B}_CloudTrail_{AP}-20260301T0005.json", renamed.encode())
    put("AWSLogs/README.txt", b"Logs of the example organisation. Ask the security team before you delete anything.\n")


def count(bucket):
    """Counts the contents of a bucket from its files."""
    digests, others, logs, broken, ids, events, sizes = 0, 0, 0, 0, set(), 0, []
    files = sorted(path for path in bucket.rglob("*") if path.is_file())
    for path in files:
        if "CloudTrail-Digest" in path.name:
            digests += 1
        elif path.suffix == ".txt":
            others += 1
        else:
            logs += 1
            data = path.read_bytes()
            try:
                data = gzip.decompress(data) if path.suffix == ".gz" else data
            except EOFError:
                broken += 1
                continue
            content = json.loads(data)
            for one in content if isinstance(content, list) else content["Records"]:
                events += 1
                text = json.dumps(one)
                sizes.append(len(text))
                ids.add(one.get("eventID") or one.get("eventId") or text)
    size = sum(path.stat().st_size for path in files)
    average = f", {sum(sizes) // len(sizes)} bytes per event on average" if sizes else ""
    print(f"{bucket.name}: {size} bytes{average}")
    return {"objects": len(files), "logs": logs, "digests": digests, "other files": others, "truncated logs": broken,
            "events": events, "unique events": len(ids), "duplicates": events - len(ids)}


if __name__ == "__main__":
    for bucket in [BUCKET, DAMAGED]:
        shutil.rmtree(bucket, ignore_errors=True)
    make()
    intact, damaged = count(BUCKET), count(DAMAGED)
    for name, number in intact.items():
        print(f"| {name} | {number} | {damaged[name]} |")
