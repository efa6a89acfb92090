//! The S3 source: `HeadObject`, `GetObject` and `ListObjectsV2`.

use super::{ByteRange, ListPage, Listing, Source, SourceError};
use crate::aws::{self, AwsFailure, FailureKind};
use crate::object::{Object, ObjectRef};
use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::get_object::builders::GetObjectFluentBuilder;
use aws_sdk_s3::types::EncodingType;
use percent_encoding::percent_decode_str;
use std::time::Duration;
use tokio::time::timeout;

/// The time limit for the body of one response. The SDK aborts a stalled transfer, but it accepts one byte per second
/// as progress. Such a slow object would delay the other objects of a Lambda invocation until the function times out.
/// The largest body is 10 MiB, which needs 45 kB/s; the function's timeout is 300 s.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(240);

/// A source that reads any bucket the client's credentials can access.
#[derive(Debug, Clone)]
pub struct S3 {
    client: Client,
    transfer_timeout: Duration,
}

impl S3 {
    /// Creates a source that uses `client`; see [`aws::s3`].
    pub fn new(client: Client) -> Self {
        Self { client, transfer_timeout: TRANSFER_TIMEOUT }
    }

    /// Sets the time limit for the body of one response.
    pub fn with_transfer_timeout(self, transfer_timeout: Duration) -> Self {
        Self { transfer_timeout, ..self }
    }

    /// Calls [`collect`] with the transfer timeout.
    async fn collect(
        &self,
        object: &Object,
        answer: GetObjectOutput,
        skip: u64,
        max_bytes: usize,
    ) -> Result<ByteRange, SourceError> {
        let timed_out = |_| {
            SourceError::Unavailable(format!(
                "cannot read {object}: the transfer took longer than {:?}",
                self.transfer_timeout
            ))
        };
        timeout(self.transfer_timeout, collect(object, answer, skip, max_bytes)).await.map_err(timed_out)?
    }

    fn get(&self, object: &Object) -> GetObjectFluentBuilder {
        let get = self.client.get_object().bucket(&object.bucket).key(&object.key);
        get.if_match(format!("\"{}\"", object.etag))
    }
}

#[async_trait]
impl Source for S3 {
    async fn stat(&self, at: &ObjectRef) -> Result<ObjectRef, SourceError> {
        let answer = self.client.head_object().bucket(&at.bucket).key(&at.key).send().await;
        let head = answer.map_err(|error| read_error(at, &aws::failure(&error)))?;
        let etag = head.e_tag().ok_or_else(|| invalid_response(at, "the HeadObject response has no ETag"))?;
        let size = head.content_length().and_then(|bytes| u64::try_from(bytes).ok());
        let size = size.ok_or_else(|| invalid_response(at, "the HeadObject response has no Content-Length"))?;
        Ok(ObjectRef::new(&at.bucket, &at.key).with_version(etag, size))
    }

    async fn fetch(&self, object: &Object) -> Result<Vec<u8>, SourceError> {
        match self.get(object).send().await {
            Ok(answer) => Ok(self.collect(object, answer, 0, usize::MAX).await?.bytes),
            Err(error) => Err(get_error(object, &aws::failure(&error))),
        }
    }

    async fn fetch_range(&self, object: &Object, from: u64, max_bytes: usize) -> Result<ByteRange, SourceError> {
        let last = from.saturating_add(max_bytes as u64).saturating_sub(1);
        let answer = match self.get(object).range(format!("bytes={from}-{last}")).send().await {
            Ok(answer) => answer,
            // The range starts past the end of the object, or the object is empty.
            Err(error) if aws::failure(&error).code == "InvalidRange" => {
                let size = self.stat(&ObjectRef::new(&object.bucket, &object.key)).await?.size.unwrap_or_default();
                return Ok(ByteRange { bytes: Vec::new(), size });
            }
            Err(error) => return Err(get_error(object, &aws::failure(&error))),
        };
        // Without this header the response is the whole object. Some gateways do not support ranges.
        let (start, size) = match answer.content_range() {
            None => (0, content_length(&answer)),
            Some(range) => content_range(range),
        };
        match size {
            Some(size) if start == from => Ok(ByteRange { size, ..self.collect(object, answer, 0, max_bytes).await? }),
            _ if start == 0 && size == content_length(&answer) => self.collect(object, answer, from, max_bytes).await,
            _ => Err(SourceError::Unavailable(format!(
                "cannot read {object}: requested bytes {from} to {last}, but the response contains {}",
                answer.content_range().unwrap_or("another range")
            ))),
        }
    }

    async fn list(&self, request: &Listing<'_>) -> Result<ListPage, SourceError> {
        let answer = self
            .client
            .list_objects_v2()
            .bucket(request.bucket)
            .prefix(request.prefix)
            .set_delimiter(request.delimiter.map(String::from))
            .set_continuation_token(request.token.map(str::to_owned))
            .set_start_after(request.start_after.map(str::to_owned))
            // A key may contain characters that are invalid in XML. One such key would make its page unreadable.
            .encoding_type(EncodingType::Url)
            .send()
            .await
            .map_err(|error| list_error(request, &aws::failure(&error)))?;

        let decode = |text: Option<&str>| match (text, answer.encoding_type()) {
            (None, _) => Err(invalid_listing(request, "an entry has no key")),
            (Some(text), Some(EncodingType::Url)) => {
                url_decode(text).ok_or_else(|| invalid_listing(request, &format!("{text:?} is not UTF-8 when decoded")))
            }
            (Some(text), _) => Ok(text.to_owned()),
        };
        let mut page = ListPage::default();
        for entry in answer.contents() {
            let mut object = ObjectRef::new(request.bucket, decode(entry.key())?);
            object.size = entry.size().and_then(|bytes| u64::try_from(bytes).ok());
            object.etag = entry.e_tag().map(|etag| etag.trim_matches('"').to_owned());
            page.objects.push(object);
        }
        for entry in answer.common_prefixes() {
            page.prefixes.push(decode(entry.prefix())?);
        }
        page.next = answer.next_continuation_token().map(str::to_owned);
        if answer.is_truncated() == Some(true) && page.next.is_none() {
            // If this counted as the last page, the rest of the bucket would be skipped silently.
            return Err(invalid_listing(request, "the page is truncated but has no continuation token"));
        }
        Ok(page)
    }
}

/// Returns the `Content-Length` of a response.
fn content_length(answer: &GetObjectOutput) -> Option<u64> {
    answer.content_length().and_then(|bytes| u64::try_from(bytes).ok())
}

/// Skips `skip` bytes of the body and collects at most `max_bytes` bytes in one buffer. The size is that of the whole
/// body.
///
/// The SDK verifies S3's checksum during the transfer. If the response has a `Content-Length`, the rest of the body is
/// not read.
async fn collect(
    object: &Object,
    answer: GetObjectOutput,
    skip: u64,
    max_bytes: usize,
) -> Result<ByteRange, SourceError> {
    let unavailable = |what: String| SourceError::Unavailable(format!("cannot read {object}: {what}"));
    let content_length = content_length(&answer);
    let expected = content_length.unwrap_or(0).saturating_sub(skip).min(max_bytes as u64);
    let mut bytes = Vec::new();
    usize::try_from(expected)
        .ok()
        .and_then(|expected| bytes.try_reserve_exact(expected).ok())
        .ok_or_else(|| unavailable(format!("cannot allocate {expected} bytes of memory")))?;
    let (mut body, mut received) = (answer.body, 0);
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| {
            let causes: Vec<String> = aws::causes(&error).map(ToString::to_string).collect();
            unavailable(format!("the transfer failed after {received} bytes: {}", causes.join(": ")))
        })?;
        let start = usize::try_from(skip.saturating_sub(received)).unwrap_or(usize::MAX).min(chunk.len());
        let end = start.saturating_add(max_bytes - bytes.len()).min(chunk.len());
        bytes.extend_from_slice(&chunk[start..end]);
        received += chunk.len() as u64;
        // A complete read continues to the end of the body, where the SDK compares the checksum.
        if let Some(size) = content_length.filter(|&size| received < size && bytes.len() == max_bytes) {
            return Ok(ByteRange { bytes, size });
        }
    }
    match content_length {
        Some(content_length) if content_length != received => {
            Err(unavailable(format!("expected {content_length} bytes but received {received}")))
        }
        _ => Ok(ByteRange { bytes, size: received }),
    }
}

/// Parses the first byte and the object's size from a `Content-Range` header such as `bytes 0-99/1234`.
fn content_range(text: &str) -> (u64, Option<u64>) {
    let parts = text.strip_prefix("bytes ").and_then(|text| text.split_once('/'));
    let Some((range, size)) = parts else { return (u64::MAX, None) };
    let first = range.split_once('-').and_then(|(first, _)| first.parse().ok());
    (first.unwrap_or(u64::MAX), size.parse().ok())
}

/// Maps a failed GET of one version to a source error.
fn get_error(object: &Object, failure: &AwsFailure) -> SourceError {
    match failure.kind {
        FailureKind::Refused => SourceError::Changed(object.to_string(), object.etag.clone()),
        _ => read_error(&ObjectRef::new(&object.bucket, &object.key), failure),
    }
}

/// Maps a failed HEAD or GET to a source error.
fn read_error(at: &ObjectRef, failure: &AwsFailure) -> SourceError {
    let bucket = &at.bucket;
    match failure.kind {
        FailureKind::NotFound if failure.code == "NoSuchBucket" => SourceError::NoBucket(bucket.clone()),
        // A 404 that does not come from S3, for example from a proxy, does not prove that the object is missing.
        FailureKind::NotFound if failure.code != "HTTP 404" => SourceError::Missing(at.to_string()),
        FailureKind::Denied => SourceError::Denied(match failure.action.as_deref() {
            Some(action) if action.starts_with("kms:") => format!(
                "access denied to {at}, which is encrypted with a KMS key: allow {action} in the role and in the key's \
                 policy. {failure}"
            ),
            Some(action) if action != "s3:GetObject" => {
                format!("access denied to {at}: allow {action} for this role. {failure}")
            }
            _ if failure.code == "Credentials" => {
                format!(
                    "no AWS credentials found to read {at}: set AWS_PROFILE, run `aws sso login`, or attach a role. \
                     {failure}"
                )
            }
            _ => format!(
                "access denied to {at}: allow s3:GetObject on arn:aws:s3:::{bucket}/* (and kms:Decrypt for a \
                 customer-managed key), and s3:ListBucket on arn:aws:s3:::{bucket}. Without s3:ListBucket, S3 also \
                 returns 403 for an object that does not exist. {failure}"
            ),
        }),
        _ if failure.code == "InvalidObjectState" => {
            SourceError::Unavailable(format!("{at} is archived (Glacier): restore it, then try again. {failure}"))
        }
        _ => SourceError::Unavailable(format!("cannot read {at}: {}", failure_text(failure))),
    }
}

/// Maps a failed listing to a source error.
fn list_error(request: &Listing<'_>, failure: &AwsFailure) -> SourceError {
    let Listing { bucket, prefix, .. } = request;
    match failure.kind {
        FailureKind::NotFound => SourceError::NoBucket((*bucket).to_owned()),
        FailureKind::Denied if failure.code == "Credentials" => SourceError::Denied(format!(
            "no AWS credentials found to list s3://{bucket}/{prefix}: set AWS_PROFILE, run `aws sso login`, or attach \
             a role. {failure}"
        )),
        FailureKind::Denied => SourceError::Denied(format!(
            "access denied to list s3://{bucket}/{prefix}: allow {} on arn:aws:s3:::{bucket} for this role. {failure}",
            failure.action.as_deref().unwrap_or("s3:ListBucket")
        )),
        _ => SourceError::Unavailable(format!("cannot list s3://{bucket}/{prefix}: {}", failure_text(failure))),
    }
}

fn failure_text(failure: &AwsFailure) -> String {
    match failure.code.as_str() {
        "PermanentRedirect" | "AuthorizationHeaderMalformed" | "HTTP 301" => {
            format!("the bucket is in another region: set AWS_REGION to the bucket's region. {failure}")
        }
        _ => failure.to_string(),
    }
}

fn invalid_response(at: &ObjectRef, what: &str) -> SourceError {
    SourceError::Unavailable(format!("cannot read {at}: {what}"))
}

fn invalid_listing(request: &Listing<'_>, what: &str) -> SourceError {
    SourceError::Unavailable(format!("invalid listing of s3://{}/{}: {what}", request.bucket, request.prefix))
}

/// Decodes S3's `encoding-type=url`: percent encoding, with `+` for a space.
fn url_decode(text: &str) -> Option<String> {
    percent_decode_str(&text.replace('+', " ")).decode_utf8().ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listed_key_is_decoded_once() {
        assert_eq!(url_decode("a+b%2Bc%25d/%C3%A9%01").as_deref(), Some("a b+c%d/é\u{1}"));
        assert_eq!(url_decode("%FF"), None);
    }

    #[test]
    fn denial_names_the_missing_permission() {
        let at = ObjectRef::new("logs", "k");
        let said = |code: &str, message: &str| read_error(&at, &aws::failure_of_code(code, message)).to_string();
        let bare = said("AccessDenied", "Access Denied");
        for part in ["s3://logs/k", "s3:GetObject", "s3:ListBucket", "kms:Decrypt"] {
            assert!(bare.contains(part), "{bare}");
        }
        let kms = said("AccessDenied", "User: u is not authorized to perform: kms:Decrypt on the resource");
        assert!(kms.contains("allow kms:Decrypt in the role and in the key's policy"), "{kms}");
        let request = Listing { bucket: "logs", prefix: "p/", delimiter: None, token: None, start_after: None };
        let list = list_error(&request, &aws::failure_of_code("AccessDenied", "Access Denied")).to_string();
        assert!(list.contains("s3:ListBucket on arn:aws:s3:::logs"), "{list}");
    }

    #[test]
    fn archived_object_is_neither_missing_nor_denied() {
        let at = ObjectRef::new("logs", "k");
        let error = read_error(&at, &aws::failure_of_code("InvalidObjectState", "the storage class"));
        assert!(matches!(&error, SourceError::Unavailable(what) if what.contains("restore")), "{error}");
    }
}
