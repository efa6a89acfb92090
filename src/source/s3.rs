//! S3 as a source: `HeadObject`, `GetObject` and `ListObjectsV2`.

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

/// How long the body of one answer may take. The SDK breaks a transfer off that stands still, and calls a byte a second
/// progress: with that, one object would keep a function's others waiting until it is stopped with all of them. The largest
/// body is 10 MiB, which at 45 kB/s takes no longer; the function has 300 s.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(240);

/// Any bucket that the client's credentials may read.
#[derive(Debug, Clone)]
pub struct S3 {
    client: Client,
    transfer_timeout: Duration,
}

impl S3 {
    /// Reads with `client`: take it from [`aws::s3`].
    pub fn new(client: Client) -> Self {
        Self { client, transfer_timeout: TRANSFER_TIMEOUT }
    }

    /// Waits so long for the body of one answer.
    pub fn with_transfer_timeout(self, transfer_timeout: Duration) -> Self {
        Self { transfer_timeout, ..self }
    }

    /// As [`collect`], within its time.
    async fn collect(
        &self,
        object: &Object,
        answer: GetObjectOutput,
        skip: u64,
        max_bytes: usize,
    ) -> Result<ByteRange, SourceError> {
        let late = |_| {
            SourceError::Unavailable(format!("{object}: the transfer took longer than {:?}", self.transfer_timeout))
        };
        timeout(self.transfer_timeout, collect(object, answer, skip, max_bytes)).await.map_err(late)?
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
        let head = answer.map_err(|error| reading(at, &aws::failure(&error)))?;
        let etag = head.e_tag().ok_or_else(|| unreadable(at, "HeadObject answered without an ETag"))?;
        let size = head.content_length().and_then(|bytes| u64::try_from(bytes).ok());
        let size = size.ok_or_else(|| unreadable(at, "HeadObject answered without a length"))?;
        Ok(ObjectRef::new(&at.bucket, &at.key).with_version(etag, size))
    }

    async fn fetch(&self, object: &Object) -> Result<Vec<u8>, SourceError> {
        match self.get(object).send().await {
            Ok(answer) => Ok(self.collect(object, answer, 0, usize::MAX).await?.bytes),
            Err(error) => Err(getting(object, &aws::failure(&error))),
        }
    }

    async fn fetch_range(&self, object: &Object, from: u64, max_bytes: usize) -> Result<ByteRange, SourceError> {
        let last = from.saturating_add(max_bytes as u64).saturating_sub(1);
        let answer = match self.get(object).range(format!("bytes={from}-{last}")).send().await {
            Ok(answer) => answer,
            // An object that ends before that, or is empty.
            Err(error) if aws::failure(&error).code == "InvalidRange" => {
                let size = self.stat(&ObjectRef::new(&object.bucket, &object.key)).await?.size.unwrap_or_default();
                return Ok(ByteRange { bytes: Vec::new(), size });
            }
            Err(error) => return Err(getting(object, &aws::failure(&error))),
        };
        // Without the header the answer is the whole object: a gateway that knows no ranges.
        let (start, size) = match answer.content_range() {
            None => (0, announced(&answer)),
            Some(range) => content_range(range),
        };
        match size {
            Some(size) if start == from => Ok(ByteRange { size, ..self.collect(object, answer, 0, max_bytes).await? }),
            _ if start == 0 && size == announced(&answer) => self.collect(object, answer, from, max_bytes).await,
            _ => Err(SourceError::Unavailable(format!(
                "{object}: asked for bytes {from} to {last}, was answered with {}",
                answer.content_range().unwrap_or("others")
            ))),
        }
    }

    async fn list(&self, ask: &Listing<'_>) -> Result<ListPage, SourceError> {
        let answer = self
            .client
            .list_objects_v2()
            .bucket(ask.bucket)
            .prefix(ask.prefix)
            .set_delimiter(ask.delimiter.map(String::from))
            .set_continuation_token(ask.token.map(str::to_owned))
            .set_start_after(ask.start_after.map(str::to_owned))
            // A key may hold characters that XML cannot: one such key would make its whole page unreadable.
            .encoding_type(EncodingType::Url)
            .send()
            .await
            .map_err(|error| listing(ask, &aws::failure(&error)))?;

        let decode = |text: Option<&str>| match (text, answer.encoding_type()) {
            (None, _) => Err(garbled(ask, "an entry has no name")),
            (Some(text), Some(EncodingType::Url)) => {
                url_decode(text).ok_or_else(|| garbled(ask, &format!("{text:?} is not UTF-8 when decoded")))
            }
            (Some(text), _) => Ok(text.to_owned()),
        };
        let mut page = ListPage::default();
        for entry in answer.contents() {
            let mut object = ObjectRef::new(ask.bucket, decode(entry.key())?);
            object.size = entry.size().and_then(|bytes| u64::try_from(bytes).ok());
            object.etag = entry.e_tag().map(|etag| etag.trim_matches('"').to_owned());
            page.objects.push(object);
        }
        for entry in answer.common_prefixes() {
            page.prefixes.push(decode(entry.prefix())?);
        }
        page.next = answer.next_continuation_token().map(str::to_owned);
        if answer.is_truncated() == Some(true) && page.next.is_none() {
            // Taken for the last page, the rest of the bucket would be missed in silence.
            return Err(garbled(ask, "the page is said to be truncated, and names no next one"));
        }
        Ok(page)
    }
}

/// How many bytes the body is said to have.
fn announced(answer: &GetObjectOutput) -> Option<u64> {
    answer.content_length().and_then(|bytes| u64::try_from(bytes).ok())
}

/// Of the body `max_bytes` bytes behind the first `skip`, in one piece of memory, and how many the whole of it has. The SDK
/// checks S3's checksum on the way. What follows them is not waited for where its length was announced.
async fn collect(
    object: &Object,
    answer: GetObjectOutput,
    skip: u64,
    max_bytes: usize,
) -> Result<ByteRange, SourceError> {
    let unavailable = |what: String| SourceError::Unavailable(format!("{object}: {what}"));
    let announced = announced(&answer);
    let wanted = announced.unwrap_or(0).saturating_sub(skip).min(max_bytes as u64);
    let mut bytes = Vec::new();
    usize::try_from(wanted)
        .ok()
        .and_then(|wanted| bytes.try_reserve_exact(wanted).ok())
        .ok_or_else(|| unavailable(format!("its {wanted} bytes do not fit into memory")))?;
    let (mut body, mut received) = (answer.body, 0);
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| {
            let causes: Vec<String> = aws::causes(&error).map(ToString::to_string).collect();
            unavailable(format!("the transfer broke off after {received} bytes: {}", causes.join(": ")))
        })?;
        let start = usize::try_from(skip.saturating_sub(received)).unwrap_or(usize::MAX).min(chunk.len());
        let end = start.saturating_add(max_bytes - bytes.len()).min(chunk.len());
        bytes.extend_from_slice(&chunk[start..end]);
        received += chunk.len() as u64;
        // Else to the very end: there the checksum is compared.
        if let Some(size) = announced.filter(|&size| received < size && bytes.len() == max_bytes) {
            return Ok(ByteRange { bytes, size });
        }
    }
    match announced {
        Some(announced) if announced != received => {
            Err(unavailable(format!("expected {announced} bytes, received {received}")))
        }
        _ => Ok(ByteRange { bytes, size: received }),
    }
}

/// First byte and size of the object, of a `Content-Range` such as `bytes 0-99/1234`.
fn content_range(text: &str) -> (u64, Option<u64>) {
    let parts = text.strip_prefix("bytes ").and_then(|text| text.split_once('/'));
    let Some((range, size)) = parts else { return (u64::MAX, None) };
    let first = range.split_once('-').and_then(|(first, _)| first.parse().ok());
    (first.unwrap_or(u64::MAX), size.parse().ok())
}

/// What a failed GET of one version means.
fn getting(object: &Object, failure: &AwsFailure) -> SourceError {
    match failure.kind {
        FailureKind::Refused => SourceError::Changed(object.to_string(), object.etag.clone()),
        _ => reading(&ObjectRef::new(&object.bucket, &object.key), failure),
    }
}

/// What a failed HEAD or GET means.
fn reading(at: &ObjectRef, failure: &AwsFailure) -> SourceError {
    let bucket = &at.bucket;
    match failure.kind {
        FailureKind::NotFound if failure.code == "NoSuchBucket" => SourceError::NoBucket(bucket.clone()),
        // A 404 that is not S3's own (a proxy's, say) is no proof that the object is gone.
        FailureKind::NotFound if failure.code != "HTTP 404" => SourceError::Missing(at.to_string()),
        FailureKind::Denied => SourceError::Denied(match failure.action.as_deref() {
            Some(action) if action.starts_with("kms:") => format!(
                "{at} is encrypted with a KMS key that this role may not use: allow {action} in the role and in the \
                 key's policy. {failure}"
            ),
            Some(action) if action != "s3:GetObject" => {
                format!("{at} cannot be read: allow {action} for this role. {failure}")
            }
            _ if failure.code == "Credentials" => {
                format!("{at} cannot be read without AWS credentials: give this program a role or a profile. {failure}")
            }
            _ => format!(
                "{at} cannot be read: allow s3:GetObject on arn:aws:s3:::{bucket}/* (and kms:Decrypt, if its key is \
                 your own), and s3:ListBucket on arn:aws:s3:::{bucket}, without which S3 answers 403 also for an \
                 object that is gone. {failure}"
            ),
        }),
        _ if failure.code == "InvalidObjectState" => SourceError::Unavailable(format!(
            "{at} lies in an archive (Glacier): restore it, then try again. {failure}"
        )),
        _ => SourceError::Unavailable(format!("{at} could not be read: {}", elsewhere(failure))),
    }
}

/// What a failed listing means.
fn listing(ask: &Listing<'_>, failure: &AwsFailure) -> SourceError {
    let Listing { bucket, prefix, .. } = ask;
    match failure.kind {
        FailureKind::NotFound => SourceError::NoBucket((*bucket).to_owned()),
        FailureKind::Denied if failure.code == "Credentials" => SourceError::Denied(format!(
            "s3://{bucket}/{prefix} cannot be listed without AWS credentials: give this program a role or a profile. \
             {failure}"
        )),
        FailureKind::Denied => SourceError::Denied(format!(
            "s3://{bucket}/{prefix} cannot be listed: allow {} on arn:aws:s3:::{bucket} for this role. {failure}",
            failure.action.as_deref().unwrap_or("s3:ListBucket")
        )),
        _ => SourceError::Unavailable(format!("s3://{bucket}/{prefix} could not be listed: {}", elsewhere(failure))),
    }
}

fn elsewhere(failure: &AwsFailure) -> String {
    match failure.code.as_str() {
        "PermanentRedirect" | "AuthorizationHeaderMalformed" | "HTTP 301" => {
            format!("the bucket lies in another region than this program was told (AWS_REGION). {failure}")
        }
        _ => failure.to_string(),
    }
}

fn unreadable(at: &ObjectRef, what: &str) -> SourceError {
    SourceError::Unavailable(format!("{at}: {what}"))
}

fn garbled(ask: &Listing<'_>, what: &str) -> SourceError {
    SourceError::Unavailable(format!("the listing of s3://{}/{} cannot be understood: {what}", ask.bucket, ask.prefix))
}

/// S3's `encoding-type=url`: percent signs, and `+` for a space.
fn url_decode(text: &str) -> Option<String> {
    percent_decode_str(&text.replace('+', " ")).decode_utf8().ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listed_name_is_decoded_once() {
        assert_eq!(url_decode("a+b%2Bc%25d/%C3%A9%01").as_deref(), Some("a b+c%d/é\u{1}"));
        assert_eq!(url_decode("%FF"), None);
    }

    #[test]
    fn a_denial_names_the_permission_that_is_missing() {
        let at = ObjectRef::new("logs", "k");
        let said = |code: &str, message: &str| reading(&at, &aws::failure_of_code(code, message)).to_string();
        let bare = said("AccessDenied", "Access Denied");
        for part in ["s3://logs/k", "s3:GetObject", "s3:ListBucket", "kms:Decrypt"] {
            assert!(bare.contains(part), "{bare}");
        }
        let kms = said("AccessDenied", "User: u is not authorized to perform: kms:Decrypt on the resource");
        assert!(kms.contains("allow kms:Decrypt in the role and in the key's policy"), "{kms}");
        let ask = Listing { bucket: "logs", prefix: "p/", delimiter: None, token: None, start_after: None };
        let list = listing(&ask, &aws::failure_of_code("AccessDenied", "Access Denied")).to_string();
        assert!(list.contains("s3:ListBucket on arn:aws:s3:::logs"), "{list}");
    }

    #[test]
    fn an_archived_object_is_neither_gone_nor_denied() {
        let at = ObjectRef::new("logs", "k");
        let error = reading(&at, &aws::failure_of_code("InvalidObjectState", "the storage class"));
        assert!(matches!(&error, SourceError::Unavailable(what) if what.contains("restore")), "{error}");
    }
}
