//! Where events lie that are too long for any record: one S3 object each, under a name that is the same each time.

use super::{Oversize, SinkError};
use crate::aws::{self, Kind};
use crate::object::Object;
use aws_sdk_s3::primitives::ByteStream;

/// The setting that names the place, as errors spell it.
pub const SETTING: &str = "TRAILHOSE_OVERSIZE";

/// A bucket and a prefix for events set aside.
#[derive(Debug, Clone)]
pub struct OversizeStore {
    client: aws_sdk_s3::Client,
    bucket: String,
    prefix: String,
}

/// A location that is not `s3://bucket/prefix`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{SETTING} is {0:?}: expected s3://bucket or s3://bucket/prefix")]
pub struct InvalidOversizeLocation(String);

impl OversizeStore {
    /// The place that `location` names: `s3://bucket` or `s3://bucket/prefix`, with or without a slash at its end.
    ///
    /// # Errors
    /// [`InvalidOversizeLocation`] if it reads otherwise. Whether the bucket exists shows with the first event set aside.
    pub fn new(client: aws_sdk_s3::Client, location: &str) -> Result<Self, InvalidOversizeLocation> {
        let bad = || InvalidOversizeLocation(location.to_owned());
        let path = location.strip_prefix("s3://").ok_or_else(bad)?;
        let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
        if bucket.is_empty() {
            return Err(bad());
        }
        let prefix = prefix.trim_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Self { client, bucket: bucket.to_owned(), prefix })
    }

    /// Writes the event and returns its `s3://` location. A repeat overwrites the object with the same bytes.
    ///
    /// # Errors
    /// [`SinkError::Denied`] names the permission; anything else is [`SinkError::Unavailable`].
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
        let what = format!("event {} of {} could not be set aside at {location}", event.ordinal, event.object);
        Err(match failure.kind {
            Kind::Denied => SinkError::Denied(format!(
                "{what}: allow {} (and, for a bucket with its own KMS key, kms:GenerateDataKey) on \
                 arn:aws:s3:::{}/{}*. {failure}",
                failure.action.as_deref().unwrap_or("s3:PutObject"),
                self.bucket,
                self.prefix,
            )),
            Kind::NotFound => {
                SinkError::Unavailable(format!("{what}: create the bucket or correct {SETTING}. {failure}"))
            }
            _ => SinkError::Unavailable(format!("{what}: {failure}")),
        })
    }
}

/// The error of a sink that has no such place.
pub fn no_oversize_store(event: &Oversize<'_>, limit: usize) -> SinkError {
    SinkError::NoOversizeStore(format!(
        "event {} ({}) of {} is {} bytes long, over the sink's limit of {limit}, and there is no place to set it aside: \
         set {SETTING} to s3://bucket/prefix",
        event.ordinal,
        event.id,
        event.object,
        event.line.len(),
    ))
}

/// Only hexadecimal digits and numbers go into the name: nothing that a key of the source bucket could smuggle in.
fn name(object: &Object, ordinal: u32) -> String {
    format!("oversize/{}-{ordinal}.json", object.id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventId, EventScope};

    fn aside(location: &str) -> Result<OversizeStore, InvalidOversizeLocation> {
        let config =
            aws_sdk_s3::Config::builder().behavior_version(aws_sdk_s3::config::BehaviorVersion::latest()).build();
        OversizeStore::new(aws_sdk_s3::Client::from_conf(config), location)
    }

    #[test]
    fn a_location_is_read_with_and_without_prefix_and_slashes() {
        for (location, bucket, prefix) in [
            ("s3://b", "b", ""),
            ("s3://b/", "b", ""),
            ("s3://b/p", "b", "p/"),
            ("s3://b/p/q/", "b", "p/q/"),
            ("s3://b//p/", "b", "p/"),
        ] {
            let aside = aside(location).unwrap();
            assert_eq!((aside.bucket.as_str(), aside.prefix.as_str()), (bucket, prefix), "{location}");
        }
        for location in ["", "b/p", "s3:/b", "s3://", "s3:///p", "https://b"] {
            let error = aside(location).unwrap_err().to_string();
            assert!(error.contains(SETTING) && error.contains("s3://bucket"), "{error}");
        }
    }

    #[test]
    fn a_name_is_the_same_each_time_and_holds_nothing_of_the_key() {
        let object = Object { bucket: "b".into(), key: "../../a b?#/\u{1}".into(), etag: "e".into() };
        assert_eq!(name(&object, 7), name(&object.clone(), 7));
        assert_ne!(name(&object, 7), name(&object, 8));
        let stem = name(&object, 7).replace("oversize/", "").replace("-7.json", "");
        assert!(stem.len() == 32 && stem.bytes().all(|b| b.is_ascii_hexdigit()), "{stem}");
    }

    #[test]
    fn without_a_place_the_error_names_the_setting_the_event_and_both_lengths() {
        let object = Object { bucket: "b".into(), key: "k".into(), etag: "e".into() };
        let event =
            Oversize { object: &object, ordinal: 3, id: EventId([0; 16]), scope: &EventScope::default(), line: b"12345" };
        let error = no_oversize_store(&event, 4).to_string();
        for part in [SETTING, "event 3", "s3://b/k", "5 bytes", "limit of 4"] {
            assert!(error.contains(part), "{error}");
        }
    }
}
