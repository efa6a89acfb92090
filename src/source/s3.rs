//! The S3 source: `HeadObject`, `GetObject` and `ListObjectsV2`.

mod response;

use super::{ByteRange, ListPage, Listing, Source, SourceError};
use crate::aws::{self, AwsFailure, FailureKind};
use crate::object::{ArchiveState, Object, ObjectRef};
use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::get_object::builders::GetObjectFluentBuilder;
use aws_sdk_s3::types::{EncodingType, OptionalObjectAttributes, RequestPayer};
use percent_encoding::percent_decode_str;
use response::{ResponseChecks, content_range};

/// A source that reads any bucket the client's credentials can access.
#[derive(Debug, Clone)]
pub struct S3 {
    client: Client,
    /// Set if this account pays for the requests.
    payer: Option<RequestPayer>,
}

impl S3 {
    /// Creates a source that uses `client`; see [`aws::s3`].
    pub fn new(client: Client) -> Self {
        let config = client.config().to_builder().interceptor(ResponseChecks).build();
        Self { client: Client::from_conf(config), payer: None }
    }

    /// Sets whether this account pays for the requests. Buckets with *requester pays* refuse other requests.
    #[must_use]
    pub fn with_requester_pays(self, pays: bool) -> Self {
        Self { payer: pays.then_some(RequestPayer::Requester), ..self }
    }

    /// Sends one list request without retries. Programs call it at the start to check that the source answers. A
    /// missing permission is no error here, because the request that needs it reports it.
    ///
    /// # Errors
    /// The source is unreachable, rejects every request, or the bucket does not exist.
    pub async fn check(&self, bucket: &str, prefix: &str) -> Result<(), SourceError> {
        let no_retries = aws_sdk_s3::config::Builder::new().retry_config(RetryConfig::disabled());
        let list = self
            .client
            .list_objects_v2()
            .set_request_payer(self.payer.clone())
            .bucket(bucket)
            .prefix(prefix)
            .max_keys(1);
        let Err(error) = list.customize().config_override(no_retries).send().await else { return Ok(()) };
        let request = Listing { bucket, prefix, delimiter: None, token: None, start_after: None };
        match list_error(&request, &aws::failure(&error)) {
            SourceError::Denied(_) | SourceError::Unavailable(_) => Ok(()),
            error => Err(error),
        }
    }

    fn get(&self, object: &Object) -> GetObjectFluentBuilder {
        let get =
            self.client.get_object().set_request_payer(self.payer.clone()).bucket(&object.bucket).key(&object.key);
        get.if_match(format!("\"{}\"", object.etag))
    }
}

#[async_trait]
impl Source for S3 {
    async fn stat(&self, at: &ObjectRef) -> Result<ObjectRef, SourceError> {
        let head = self.client.head_object().set_request_payer(self.payer.clone());
        let answer = head.bucket(&at.bucket).key(&at.key).send().await;
        let head = answer.map_err(|error| read_error(at, &aws::failure(&error)))?;
        let etag = head.e_tag().ok_or_else(|| invalid_response(at, "the HeadObject response has no ETag"))?;
        let size = head.content_length().and_then(|bytes| u64::try_from(bytes).ok());
        let size = size.ok_or_else(|| invalid_response(at, "the HeadObject response has no Content-Length"))?;
        Ok(ObjectRef::new(&at.bucket, &at.key).with_version(etag, size))
    }

    async fn fetch(&self, object: &Object) -> Result<Vec<u8>, SourceError> {
        Ok(self.fetch_start(object, usize::MAX).await?.bytes)
    }

    async fn fetch_start(&self, object: &Object, max_bytes: usize) -> Result<ByteRange, SourceError> {
        let answer = self.get(object).send().await.map_err(|error| get_error(object, &aws::failure(&error)))?;
        match answer.content_range() {
            None => collect(object, answer, 0, max_bytes).await,
            Some(range) => Err(SourceError::Unavailable(format!(
                "cannot read {object}: requested the whole object, but the response contains {range}"
            ))),
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
        // Without this header the response has the status 200 and is the whole object. Some gateways do not support
        // ranges.
        let (start, size) = match answer.content_range() {
            None => (0, content_length(&answer)),
            Some(range) => content_range(range),
        };
        match size {
            Some(size) if start == from => Ok(ByteRange { size, ..collect(object, answer, 0, max_bytes).await? }),
            _ if start == 0 && size == content_length(&answer) => collect(object, answer, from, max_bytes).await,
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
            .set_request_payer(self.payer.clone())
            .bucket(request.bucket)
            .prefix(request.prefix)
            .set_delimiter(request.delimiter.map(String::from))
            .set_continuation_token(request.token.map(str::to_owned))
            .set_start_after(request.start_after.map(str::to_owned))
            // A restored object keeps its storage class.
            .optional_object_attributes(OptionalObjectAttributes::RestoreStatus)
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
            let restore = entry.restore_status();
            let is_restored = restore.is_some_and(|restore| restore.is_restore_in_progress() == Some(false));
            let class = entry.storage_class().map_or("", |class| class.as_str());
            object.archive = ArchiveState::of_storage_class(class, is_restored);
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
    if is_kms_key_unusable(&failure.code) {
        return SourceError::KmsKey(format!(
            "cannot read {at}: its KMS key cannot be used. Enable the key or cancel its deletion. {failure}"
        ));
    }
    match failure.kind {
        _ if failure.concerns_credentials() => {
            SourceError::Unusable(format!("cannot read {at}: {}", failure.credentials_text()))
        }
        FailureKind::NotFound if failure.code == "NoSuchBucket" => SourceError::NoBucket(bucket.clone()),
        // A 404 that does not come from S3, for example from a proxy, does not prove that the object is missing.
        FailureKind::NotFound if failure.code != "HTTP 404" => SourceError::Missing(at.to_string()),
        FailureKind::Denied => {
            let advice = failure.denial_advice(|| match failure.action.as_deref() {
                Some(action) if action.starts_with("kms:") => {
                    format!(
                        "the object is encrypted with a KMS key: allow {action} in the role and in the key's policy"
                    )
                }
                Some(action) if action != "s3:GetObject" => format!("allow {action} for this role"),
                _ => format!(
                    "allow s3:GetObject on the objects of {bucket} (and kms:Decrypt for a customer-managed key), and \
                     s3:ListBucket on {bucket}. Without s3:ListBucket, S3 also returns 403 for an object that does not \
                     exist"
                ),
            });
            SourceError::Denied(format!("access denied to {at}: {advice}. {failure}"))
        }
        _ if failure.code == "InvalidObjectState" => {
            SourceError::Archived(format!("{at} is archived: restore it. {failure}"))
        }
        _ => other_error(format!("cannot read {at}"), failure),
    }
}

/// Maps a failed listing to a source error.
fn list_error(request: &Listing<'_>, failure: &AwsFailure) -> SourceError {
    let Listing { bucket, prefix, .. } = request;
    match failure.kind {
        FailureKind::NotFound => SourceError::NoBucket((*bucket).to_owned()),
        _ if failure.concerns_credentials() => {
            SourceError::Unusable(format!("cannot list s3://{bucket}/{prefix}: {}", failure.credentials_text()))
        }
        FailureKind::Denied => {
            let action = failure.action.as_deref().unwrap_or("s3:ListBucket");
            let advice = failure.denial_advice(|| format!("allow {action} on {bucket} for this role"));
            SourceError::Denied(format!("access denied to list s3://{bucket}/{prefix}: {advice}. {failure}"))
        }
        _ => other_error(format!("cannot list s3://{bucket}/{prefix}"), failure),
    }
}

/// Returns whether the code means that the object's KMS key is disabled, pending deletion or deleted. S3 passes on the
/// codes of KMS with a prefix. A key whose permission is missing is `AccessDenied`, which a permission can fix.
fn is_kms_key_unusable(code: &str) -> bool {
    matches!(
        code,
        "KMS.DisabledException"
            | "KMS.KMSInvalidStateException"
            | "KMS.NotFoundException"
            | "KMS.InvalidKeyUsageException"
            | "KMS.KMSInvalidKeyUsageException"
    )
}

/// Maps a failure that says nothing about the object or folder.
fn other_error(what: String, failure: &AwsFailure) -> SourceError {
    match failure.region_advice() {
        Some(advice) => SourceError::Unusable(format!("{what}: {advice}. {failure}")),
        None if failure.is_unanswered() => SourceError::Unreachable(format!("{what}: {failure}")),
        None => SourceError::Unavailable(format!("{what}: {failure}")),
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
        let error_text = |code: &str, message: &str| read_error(&at, &aws::failure_of_code(code, message)).to_string();
        let bare = error_text("AccessDenied", "Access Denied");
        for part in ["s3://logs/k", "s3:GetObject", "s3:ListBucket", "kms:Decrypt"] {
            assert!(bare.contains(part), "{bare}");
        }
        let kms = error_text("AccessDenied", "User: u is not authorized to perform: kms:Decrypt on the resource");
        assert!(kms.contains("allow kms:Decrypt in the role and in the key's policy"), "{kms}");
        let request = Listing { bucket: "logs", prefix: "p/", delimiter: None, token: None, start_after: None };
        let list = list_error(&request, &aws::failure_of_code("AccessDenied", "Access Denied")).to_string();
        assert!(list.contains("s3:ListBucket on logs"), "{list}");
    }

    #[test]
    fn archived_object_is_neither_missing_nor_denied() {
        let at = ObjectRef::new("logs", "k");
        let error = read_error(&at, &aws::failure_of_code("InvalidObjectState", "the storage class"));
        assert!(matches!(&error, SourceError::Archived(what) if what.contains("restore")), "{error}");
    }

    #[test]
    fn failures_of_one_object_and_of_the_whole_source_are_distinguished() {
        let at = ObjectRef::new("logs", "k");
        let request = Listing { bucket: "logs", prefix: "p/", delimiter: None, token: None, start_after: None };
        let kms_denied = "User: u is not authorized to perform: kms:Decrypt on the resource";
        for (code, message, is_expected) in [
            ("AccessDenied", kms_denied, (|error| matches!(error, SourceError::Denied(_))) as fn(&SourceError) -> bool),
            ("AccessDenied", "Access Denied", |error| matches!(error, SourceError::Denied(_))),
            ("KMS.DisabledException", "arn:aws:kms:x is disabled.", |error| matches!(error, SourceError::KmsKey(_))),
            ("KMS.KMSInvalidStateException", "pending deletion", |error| matches!(error, SourceError::KmsKey(_))),
            ("KMS.NotFoundException", "does not exist", |error| matches!(error, SourceError::KmsKey(_))),
            ("KMS.ThrottlingException", "Rate exceeded", |error| matches!(error, SourceError::Unreachable(_))),
            ("SlowDown", "Reduce your rate", |error| matches!(error, SourceError::Unreachable(_))),
            ("Timeout", "", |error| matches!(error, SourceError::Unreachable(_))),
            ("ExpiredToken", "expired", |error| matches!(error, SourceError::Unusable(_))),
            ("RequestTimeTooSkewed", "skew", |error| matches!(error, SourceError::Unusable(_))),
            ("InvalidAccessKeyId", "no such key", |error| matches!(error, SourceError::Unusable(_))),
            ("PermanentRedirect", "elsewhere", |error| matches!(error, SourceError::Unusable(_))),
            ("InternalError", "try again", |error| matches!(error, SourceError::Unavailable(_))),
        ] {
            let error = read_error(&at, &aws::failure_of_code(code, message));
            assert!(is_expected(&error), "{code}: {error:?}");
            let listed = list_error(&request, &aws::failure_of_code(code, message));
            assert_eq!(listed.concerns_source(), error.concerns_source(), "{code}: {listed:?}");
        }
    }
}
