//! The S3 source: normal behavior with moto, and faults with a stub server.

mod common;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use common::moto::Moto;
use common::stub::{Reply, Stub};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use trailhose::aws;
use trailhose::object::{Object, ObjectRef};
use trailhose::source::s3::S3;
use trailhose::source::{ByteRange, ListPage, Listing, Source, SourceError};

/// Creates a separate bucket for a test.
async fn bucket(name: &str) -> (Arc<Moto>, Client, S3) {
    let moto = tokio::task::spawn_blocking(Moto::shared).await.unwrap();
    let client = aws::s3(&common::config(&moto.endpoint()).await);
    client.create_bucket().bucket(name).send().await.unwrap();
    (moto, client.clone(), S3::new(client))
}

async fn put(client: &Client, bucket: &str, key: &str, body: &[u8]) -> ObjectRef {
    let body = ByteStream::from(body.to_vec());
    let etag = client.put_object().bucket(bucket).key(key).body(body).send().await.unwrap().e_tag.unwrap();
    ObjectRef::new(bucket, key).with_version(&etag, 0)
}

fn all<'a>(bucket: &'a str, prefix: &'a str) -> Listing<'a> {
    Listing { bucket, prefix, delimiter: None, token: None, start_after: None }
}

fn keys(page: &ListPage) -> Vec<&str> {
    page.objects.iter().map(|object| object.key.as_str()).collect()
}

#[tokio::test]
async fn fetch_returns_the_version_of_stat() {
    let (_moto, client, source) = bucket("fetch").await;
    let body = vec![7; 3_000_000];
    for key in ["plain.json.gz", "with space+plus%25/é.json.gz"] {
        put(&client, "fetch", key, &body).await;
        let seen = source.stat(&ObjectRef::new("fetch", key)).await.unwrap();
        assert_eq!((seen.key.as_str(), seen.size), (key, Some(3_000_000)));
        assert!(!seen.etag.as_deref().unwrap().contains('"'));
        let bytes = source.fetch(&seen.object().unwrap()).await.unwrap();
        assert!(bytes == body && bytes.capacity() == body.len(), "one allocation of the content length");
    }
    let empty = put(&client, "fetch", "empty", b"").await;
    assert_eq!(source.fetch(&empty.object().unwrap()).await.unwrap(), b"");
}

#[tokio::test]
async fn parts_are_of_one_version() {
    let (_moto, client, source) = bucket("parts").await;
    let object = put(&client, "parts", "k", b"0123456789").await.object().unwrap();
    for (from, max_bytes, bytes) in [(0, 4, "0123"), (4, 4, "4567"), (8, 4, "89"), (0, 99, "0123456789"), (10, 4, "")] {
        let part = source.fetch_range(&object, from, max_bytes).await.unwrap();
        assert_eq!((part.bytes.as_slice(), part.size), (bytes.as_bytes(), 10), "{from}");
    }
    let empty = put(&client, "parts", "empty", b"").await.object().unwrap();
    assert_eq!(source.fetch_range(&empty, 0, 4).await.unwrap(), ByteRange::default());
    put(&client, "parts", "k", b"9876543210").await;
    let error = source.fetch_range(&object, 4, 4).await.unwrap_err();
    assert!(matches!(&error, SourceError::Changed(..)), "{error}");
}

#[tokio::test]
async fn overwritten_key_is_an_error() {
    let (_moto, client, source) = bucket("changed").await;
    let first = put(&client, "changed", "k", b"one").await.object().unwrap();
    let second = put(&client, "changed", "k", b"two").await.object().unwrap();
    let error = source.fetch(&first).await.unwrap_err();
    assert!(
        matches!(&error, SourceError::Changed(at, etag) if at == "s3://changed/k" && *etag == first.etag),
        "{error}"
    );
    assert_eq!(source.fetch(&second).await.unwrap(), b"two");
}

#[tokio::test]
async fn missing_object_and_missing_bucket_are_distinguished() {
    let (_moto, _, source) = bucket("gone").await;
    let gone = ObjectRef::new("gone", "nothing/here").with_version("e", 1);
    let error = source.stat(&gone).await.unwrap_err();
    assert!(matches!(&error, SourceError::Missing(what) if what == "s3://gone/nothing/here"), "{error}");
    let error = source.fetch(&gone.object().unwrap()).await.unwrap_err();
    assert!(matches!(&error, SourceError::Missing(what) if what == "s3://gone/nothing/here"), "{error}");

    let nowhere = Object { bucket: "no-such-bucket".into(), key: "k".into(), etag: "e".into() };
    let error = source.fetch(&nowhere).await.unwrap_err();
    assert!(matches!(&error, SourceError::NoBucket(name) if name == "no-such-bucket"), "{error}");
    let error = source.list(&all("no-such-bucket", "")).await.unwrap_err();
    assert!(matches!(&error, SourceError::NoBucket(name) if name == "no-such-bucket"), "{error}");
}

#[tokio::test]
async fn pages_are_listed_in_byte_order_with_versions() {
    let (_moto, client, source) = bucket("pages").await;
    let mut expected: Vec<String> = (0..1_050).map(|i| format!("p/{:04}", i * 7919 % 1_050)).collect();
    for key in &expected {
        put(&client, "pages", key, b"x").await;
    }
    put(&client, "pages", "q/other", b"x").await;
    expected.sort();

    let first = source.list(&all("pages", "p/")).await.unwrap();
    assert_eq!(first.objects.len(), 1_000);
    let token = first.next.clone().unwrap();
    let second = source.list(&Listing { token: Some(&token), ..all("pages", "p/") }).await.unwrap();
    assert_eq!(second.next, None);
    assert_eq!([keys(&first), keys(&second)].concat(), expected);
    let seen = &first.objects[0];
    assert_eq!((seen.etag.as_deref(), seen.size), (Some("9dd4e461268c8034f5c8564e155c67a6"), Some(1)));
}

#[tokio::test]
async fn delimiter_and_start_after_are_applied() {
    let (_moto, client, source) = bucket("roll").await;
    for key in ["AWSLogs/1/a", "AWSLogs/1/b", "AWSLogs/2/c", "AWSLogs/file"] {
        put(&client, "roll", key, b"x").await;
    }
    let page = source.list(&Listing { delimiter: Some('/'), ..all("roll", "AWSLogs/") }).await.unwrap();
    assert_eq!(page.prefixes, ["AWSLogs/1/", "AWSLogs/2/"]);
    assert_eq!(keys(&page), ["AWSLogs/file"]);
    let page = source.list(&Listing { start_after: Some("AWSLogs/1/b"), ..all("roll", "") }).await.unwrap();
    assert_eq!(keys(&page), ["AWSLogs/2/c", "AWSLogs/file"]);
    assert_eq!(source.list(&all("roll", "none/")).await.unwrap(), ListPage::default());
}

#[tokio::test]
async fn key_with_special_characters_is_listed_unchanged() {
    let (_moto, client, source) = bucket("strange").await;
    let strange = ["a b/c+d%25e", "a b/é=&<>", "a b/ü/x"];
    for key in strange {
        put(&client, "strange", key, b"x").await;
    }
    let page = source.list(&all("strange", "a b/")).await.unwrap();
    assert_eq!(keys(&page), strange);
    let page = source.list(&Listing { delimiter: Some('/'), ..all("strange", "a b/") }).await.unwrap();
    assert_eq!(page.prefixes, ["a b/ü/"]);
}

async fn stub_source(reply: impl Fn(usize) -> Reply + Send + Sync + 'static) -> S3 {
    let asked = AtomicUsize::new(0);
    let stub = Stub::start(move |_| reply(asked.fetch_add(1, Ordering::SeqCst)));
    S3::new(aws::s3(&common::config(&stub.endpoint()).await))
}

fn error(status: u16, code: &str, message: &str) -> Reply {
    let body = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
    Reply::Answer(status, vec![], body.into_bytes())
}

fn object() -> Object {
    Object { bucket: "logs".into(), key: "k".into(), etag: "e".into() }
}

#[tokio::test]
async fn truncated_body_is_an_error() {
    let source = stub_source(|_| Reply::Cut(vec![("etag", "\"e\"".into())], 1_000, vec![1; 400])).await;
    let error = source.fetch(&object()).await.unwrap_err();
    assert!(
        matches!(&error, SourceError::Unavailable(what) if what.contains("the transfer failed after 400 bytes")),
        "{error}"
    );
}

#[tokio::test]
async fn composite_checksum_is_not_compared_with_bytes() {
    let part = async |status, range: &'static str, kind: &'static str| {
        let checksum = [("x-amz-checksum-crc32", "AAAAAA==".to_owned()), ("x-amz-checksum-type", kind.to_owned())];
        let headers =
            checksum.into_iter().chain([("content-range", range.to_owned())]).filter(|(_, value)| !value.is_empty());
        let headers: Vec<_> = headers.collect();
        let source = stub_source(move |_| Reply::Answer(status, headers.clone(), b"0123456789".to_vec())).await;
        match status {
            206 => source.fetch_range(&object(), 0, 10).await,
            _ => source.fetch_start(&object(), 10).await,
        }
    };
    for (status, range) in [(206, "bytes 0-9/10"), (206, "bytes 0-9/99"), (200, "")] {
        assert_eq!(part(status, range, "COMPOSITE").await.unwrap().bytes, b"0123456789", "{status} {range}");
    }
    // The checksum of an object says nothing about a part of it.
    assert_eq!(part(206, "bytes 0-9/99", "FULL_OBJECT").await.unwrap().size, 99);
    // A checksum of exactly these bytes is still compared.
    for (status, range) in [(206, "bytes 0-9/10"), (200, "")] {
        let error = part(status, range, "FULL_OBJECT").await.unwrap_err();
        assert!(matches!(&error, SourceError::Unavailable(what) if what.contains("checksum")), "{error}");
    }
}

#[tokio::test]
async fn part_without_a_range_is_not_the_whole_object() {
    for status in [200, 206] {
        let part = async |object: Object| {
            let source = stub_source(move |_| Reply::Answer(status, vec![], b"01234".to_vec())).await;
            (source.fetch_range(&object, 0, 5).await, source.fetch_start(&object, 5).await)
        };
        match (status, part(object()).await) {
            (200, (Ok(range), Ok(start))) => assert_eq!((range.size, start.size), (5, 5)),
            (206, (Err(range), Err(start))) => {
                for error in [range, start] {
                    let unknown = matches!(&error, SourceError::Unavailable(what) if what.contains("an unknown range"));
                    assert!(unknown, "{error}");
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn start_of_an_object_ends_at_its_limit() {
    let source = stub_source(|_| Reply::Cut(vec![("etag", "\"e\"".into())], 1 << 50, b"0123456789".to_vec())).await;
    let start = source.fetch_start(&object(), 4).await.unwrap();
    assert_eq!(start, ByteRange { bytes: b"0123".to_vec(), size: 1 << 50 });
}

#[tokio::test]
async fn ignored_range_is_accepted_and_a_wrong_range_is_an_error() {
    let all = |range: Option<&'static str>| {
        move |_| {
            let headers = range.map(|range| ("content-range", range.to_owned())).into_iter().collect();
            Reply::Answer(if range.is_some() { 206 } else { 200 }, headers, b"0123456789".to_vec())
        }
    };
    let part = stub_source(all(None)).await.fetch_range(&object(), 4, 4).await.unwrap();
    assert_eq!(part, ByteRange { bytes: b"4567".to_vec(), size: 10 });
    let part = stub_source(all(Some("bytes 4-13/99"))).await.fetch_range(&object(), 4, 10).await.unwrap();
    assert_eq!(part.size, 99);
    for other in ["bytes 5-14/99", "bytes 4-13/*", "items 4-13/99", "bytes 0-9/99"] {
        let error = stub_source(all(Some(other))).await.fetch_range(&object(), 4, 10).await.unwrap_err();
        assert!(
            matches!(&error, SourceError::Unavailable(what) if what.contains("requested bytes 4 to 13")),
            "{error}"
        );
    }
}

#[tokio::test]
async fn only_the_requested_part_is_read_if_the_range_is_ignored() {
    let source = stub_source(|_| Reply::Cut(vec![("etag", "\"e\"".into())], 1 << 50, b"0123456789".to_vec())).await;
    let part = source.fetch_range(&object(), 4, 4).await.unwrap();
    assert_eq!(part, ByteRange { bytes: b"4567".to_vec(), size: 1 << 50 });
}

#[tokio::test]
async fn foreign_404_does_not_mean_missing() {
    let source = stub_source(|_| Reply::Answer(404, vec![], b"<html>no such page</html>".to_vec())).await;
    let said = source.fetch(&object()).await.unwrap_err();
    assert!(matches!(&said, SourceError::Unavailable(what) if what.contains("HTTP 404")), "{said}");
}

#[tokio::test]
async fn denial_names_the_permission() {
    let source = stub_source(|_| Reply::Answer(403, vec![], vec![])).await;
    let said = source.stat(&ObjectRef::new("logs", "k")).await.unwrap_err();
    assert!(
        matches!(&said, SourceError::Denied(what) if what.contains("s3:GetObject") && what.contains("s3:ListBucket")),
        "{said}"
    );

    let kms = "User: arn:aws:sts::1:assumed-role/r/s is not authorized to perform: kms:Decrypt on this resource";
    let source = stub_source(move |_| error(403, "AccessDenied", kms)).await;
    let said = source.fetch(&object()).await.unwrap_err();
    assert!(matches!(&said, SourceError::Denied(what) if what.contains("allow kms:Decrypt")), "{said}");

    let source = stub_source(|_| error(403, "AccessDenied", "Access Denied")).await;
    let said = source.list(&all("logs", "p/")).await.unwrap_err();
    assert!(matches!(&said, SourceError::Denied(what) if what.contains("s3:ListBucket")), "{said}");
}

#[tokio::test]
async fn throttled_request_is_retried_and_then_unavailable() {
    let source = stub_source(|asked| match asked {
        0 => error(503, "SlowDown", "Please reduce your request rate."),
        1 => Reply::Reset,
        _ => Reply::Answer(200, vec![("etag", "\"e\"".into())], b"body".to_vec()),
    })
    .await;
    assert_eq!(source.fetch(&object()).await.unwrap(), b"body");

    let source = stub_source(|_| error(503, "SlowDown", "Please reduce your request rate.")).await;
    let said = source.fetch(&object()).await.unwrap_err();
    assert!(matches!(&said, SourceError::Unreachable(what) if what.contains("SlowDown")), "{said}");
}

#[tokio::test]
async fn truncated_listing_without_token_is_an_error() {
    let source = stub_source(|_| {
        let body = "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>";
        Reply::Answer(200, vec![], body.into())
    })
    .await;
    let said = source.list(&all("logs", "")).await.unwrap_err();
    assert!(matches!(&said, SourceError::Unavailable(what) if what.contains("truncated")), "{said}");
}

#[tokio::test]
async fn bucket_in_another_region_is_a_clear_error() {
    let source = stub_source(|_| error(301, "PermanentRedirect", "use the endpoint")).await;
    let said = source.fetch(&object()).await.unwrap_err();
    assert!(matches!(&said, SourceError::Unusable(what) if what.contains("another region")), "{said}");
}
