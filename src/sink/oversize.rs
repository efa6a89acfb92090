//! Storage for events that exceed a sink's record limit: one S3 object per event, under a name that a retry reuses.

use super::{Oversize, SinkError};
use crate::aws::{self, FailureKind};
use crate::object::Object;
use aws_sdk_s3::primitives::ByteStream;

/// The setting that contains the location of the store. Error messages name it.
pub(crate) const SETTING: &str = "TRAILHOSE_OVERSIZE";

/// A bucket and a prefix in which oversize events are stored.
#[derive(Debug, Clone)]
pub struct OversizeStore {
    client: aws_sdk_s3::Client,
    bucket: String,
    prefix: String,
}

/// The error for a location that is not `s3://bucket` or `s3://bucket/prefix`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {SETTING} {0:?}: expected s3://bucket or s3://bucket/prefix")]
pub struct InvalidOversizeLocation(String);

impl OversizeStore {
    /// Creates a store at `location`: `s3://bucket` or `s3://bucket/prefix`, with or without a trailing slash.
    ///
    /// # Errors
    /// Returns [`InvalidOversizeLocation`] for any other form. The existence of the bucket is not checked before the
    /// first event is stored.
    pub fn new(client: aws_sdk_s3::Client, location: &str) -> Result<Self, InvalidOversizeLocation> {
        let bad = || InvalidOversizeLocation(location.to_owned());
        let path = location.strip_prefix("s3://").ok_or_else(bad)?;
        let (bucket, prefix) = aws::split_location(path).map_err(|_| bad())?;
        let prefix = prefix.trim_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Self { client, bucket: bucket.to_owned(), prefix })
    }

    /// Stores the event and returns its `s3://` location. A retry overwrites the object with the same bytes.
    ///
    /// # Errors
    /// Returns [`SinkError::Denied`] with the missing permission, or [`SinkError::Unavailable`] for any other failure.
    pub async fn store(&self, event: &Oversize<'_>) -> Result<String, SinkError> {
        let key = format!("{}{}", self.prefix, name(event.object, event.ordinal));
        let location = format!("s3://{}/{key}", self.bucket);
        let put = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(&key)
            .content_type("application/json")
            .body(ByteStream::from(event.line.to_vec()));
        let Err(error) = put.send().await else { return Ok(location) };

        let failure = aws::failure(&error);
        let what = format!("cannot store oversize event {} of {} at {location}", event.ordinal, event.object);
        Err(match failure.kind {
            _ if failure.concerns_credentials() => SinkError::Denied(format!("{what}: {}", failure.credentials_text())),
            FailureKind::Denied => {
                let advice = failure.denial_advice(|| {
                    format!(
                        "allow {} (and, for a bucket with its own KMS key, kms:GenerateDataKey) on {}/{}*",
                        failure.action.as_deref().unwrap_or("s3:PutObject"),
                        self.bucket,
                        self.prefix,
                    )
                });
                SinkError::Denied(format!("{what}: {advice}. {failure}"))
            }
            FailureKind::NotFound => SinkError::Unavailable(format!(
                "{what}: the bucket does not exist; create it or correct {SETTING}. {failure}"
            )),
            _ => SinkError::Unavailable(format!("{what}: {failure}")),
        })
    }
}

/// Returns the error of a sink that has no oversize store.
pub fn no_oversize_store(event: &Oversize<'_>, limit: usize) -> SinkError {
    SinkError::NoOversizeStore(format!(
        "event {} ({}) of {} is {} bytes long and exceeds the sink's limit of {limit} bytes, and no oversize store is \
         configured: set {SETTING} to s3://bucket/prefix",
        event.ordinal,
        event.id,
        event.object,
        event.line.len(),
    ))
}

/// Returns the object's name below the prefix. It contains only the object ID and the event's index, so that a key of
/// the source bucket cannot inject characters.
fn name(object: &Object, ordinal: u32) -> String {
    format!("oversize/{}-{ordinal}.json", object.id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventId, EventScope};

    fn store_at(location: &str) -> Result<OversizeStore, InvalidOversizeLocation> {
        let config =
            aws_sdk_s3::Config::builder().behavior_version(aws_sdk_s3::config::BehaviorVersion::latest()).build();
        OversizeStore::new(aws_sdk_s3::Client::from_conf(config), location)
    }

    #[test]
    fn location_is_parsed_with_and_without_prefix_and_slashes() {
        for (location, bucket, prefix) in [
            ("s3://b", "b", ""),
            ("s3://b/", "b", ""),
            ("s3://b/p", "b", "p/"),
            ("s3://b/p/q/", "b", "p/q/"),
            ("s3://b//p/", "b", "p/"),
        ] {
            let store = store_at(location).unwrap();
            assert_eq!((store.bucket.as_str(), store.prefix.as_str()), (bucket, prefix), "{location}");
        }
        for location in ["", "b/p", "s3:/b", "s3://", "s3:///p", "https://b"] {
            let error = store_at(location).unwrap_err().to_string();
            assert!(error.contains(SETTING) && error.contains("s3://bucket"), "{error}");
        }
    }

    #[test]
    fn name_is_stable_and_contains_nothing_of_the_key() {
        let object = Object { bucket: "b".into(), key: "../../a b?#/\u{1}".into(), etag: "e".into() };
        assert_eq!(name(&object, 7), name(&object.clone(), 7));
        assert_ne!(name(&object, 7), name(&object, 8));
        let stem = name(&object, 7).replace("oversize/", "").replace("-7.json", "");
        assert!(stem.len() == 32 && stem.bytes().all(|b| b.is_ascii_hexdigit()), "{stem}");
    }

    #[test]
    fn missing_store_error_names_the_setting_the_event_and_both_lengths() {
        let object = Object { bucket: "b".into(), key: "k".into(), etag: "e".into() };
        let event = Oversize {
            object: &object,
            ordinal: 3,
            id: EventId([0; 16]),
            scope: &EventScope::default(),
            line: b"12345",
        };
        let error = no_oversize_store(&event, 4).to_string();
        for part in [SETTING, "event 3", "s3://b/k", "5 bytes", "limit of 4"] {
            assert!(error.contains(part), "{error}");
        }
    }
}
