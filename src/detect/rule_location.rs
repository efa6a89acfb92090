//! A published rule set: rule files in a bucket, and the manifest that lists them.
//!
//! ```text
//! PREFIX/manifest.json          the set in use
//! PREFIX/manifests/SHA256.json  every published manifest
//! PREFIX/files/SHA256.yml       every published rule file
//! ```
//!
//! Files and manifests are named by the SHA-256 hash of their content, so no publication replaces the files of an earlier
//! set. `manifest.json` is written last. A set is complete only if each file of its manifest exists and has the stated hash.

use crate::aws::{self, AwsFailure, FailureKind};
use aws_sdk_s3::Client;
#[cfg(feature = "cli")]
use aws_sdk_s3::primitives::ByteStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use trailhose_rules::{MAX_FILE_BYTES, RuleSet};

/// The version of the manifest's format.
const FORMAT: u32 = 1;

/// Maximum size of a manifest in bytes, which is enough for 20,000 files with long names.
const MAX_MANIFEST_BYTES: usize = 8 << 20;

/// The number of files that are read or written at the same time.
const CONCURRENT_FILES: usize = 16;

/// The files of a rule set.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleManifest {
    format: u32,
    /// The SHA-256 hash of each file, by its path in the folder.
    files: BTreeMap<String, String>,
}

/// A bucket and a prefix with a published rule set.
#[derive(Debug, Clone)]
pub struct RuleLocation {
    client: Client,
    bucket: String,
    prefix: String,
}

/// Why a rule set cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RuleLocationError {
    /// The location is not `s3://bucket/prefix`.
    #[error("{0}: expected s3://bucket/prefix")]
    Location(String),
    /// The set is incomplete or contains an invalid rule.
    #[error("the rule set {set} of {location} is invalid: {reason}")]
    Invalid {
        /// The location.
        location: String,
        /// The ID of the set.
        set: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// An object cannot be read or written.
    #[error("{what}: {reason}")]
    Request {
        /// The request and its object.
        what: String,
        /// Why it failed, and what to do.
        reason: String,
        /// What to do if access was denied.
        denied: Option<String>,
    },
}

/// A rule set that is complete and valid.
#[derive(Debug)]
pub struct PublishedRules {
    /// The ID of the set: the SHA-256 hash of its manifest.
    pub id: String,
    /// The rules.
    pub rules: RuleSet,
}

impl RuleLocation {
    /// Creates a location from `s3://bucket/prefix`.
    ///
    /// # Errors
    /// Returns [`RuleLocationError::Location`] for any other form.
    pub fn new(client: Client, location: &str) -> Result<Self, RuleLocationError> {
        let invalid = || RuleLocationError::Location(location.to_owned());
        let path = location.strip_prefix("s3://").ok_or_else(invalid)?;
        let (bucket, prefix) = aws::split_location(path).map_err(|_| invalid())?;
        let prefix = prefix.trim_matches('/');
        if prefix.is_empty() {
            return Err(invalid());
        }
        Ok(Self { client, bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }

    /// Writes rule files, each with its path in the folder, and then the manifest. Returns the ID of the set.
    ///
    /// # Errors
    /// A rule is invalid, or an object cannot be written. Then the set in use is unchanged.
    #[cfg(feature = "cli")]
    pub async fn publish(&self, files: Vec<(String, Vec<u8>)>) -> Result<PublishedRules, RuleLocationError> {
        let hashes = files.iter().map(|(name, bytes)| (name.clone(), hash(bytes))).collect();
        let manifest = serde_json::to_vec_pretty(&RuleManifest { format: FORMAT, files: hashes })
            .map_err(|error| self.invalid("", error.to_string()))?;
        let id = hash(&manifest);
        let rules = self.valid_rules(&id, files.clone())?;
        let writes = files.into_iter().map(|(_, bytes)| self.write(self.file_key(&hash(&bytes)), bytes));
        stream::iter(writes.collect::<Vec<_>>()).buffer_unordered(CONCURRENT_FILES).try_collect::<()>().await?;
        self.write(self.manifest_key(&id), manifest.clone()).await?;
        self.write(format!("{}/manifest.json", self.prefix), manifest).await?;
        Ok(PublishedRules { id, rules })
    }

    /// Reads the published set.
    ///
    /// # Errors
    /// The set is incomplete, a rule is invalid, or an object cannot be read.
    #[cfg(feature = "operate")]
    pub(crate) async fn published(&self) -> Result<PublishedRules, RuleLocationError> {
        self.rules(&self.current_manifest().await?).await
    }

    /// Reads the manifest of the set in use.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) async fn current_manifest(&self) -> Result<Vec<u8>, RuleLocationError> {
        self.read(format!("{}/manifest.json", self.prefix), MAX_MANIFEST_BYTES).await
    }

    /// Reads the manifest of an earlier set.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) async fn manifest(&self, id: &str) -> Result<Vec<u8>, RuleLocationError> {
        self.read(self.manifest_key(id), MAX_MANIFEST_BYTES).await
    }

    /// Reads the files of a manifest.
    ///
    /// # Errors
    /// The set is incomplete, a rule is invalid, or a file cannot be read.
    pub(super) async fn rules(&self, manifest: &[u8]) -> Result<PublishedRules, RuleLocationError> {
        let id = hash(manifest);
        let parsed: RuleManifest = serde_json::from_slice(manifest).map_err(|error| {
            self.invalid(
                &id,
                format!("its manifest cannot be read: {error}; publish it with `trailhose rules publish`"),
            )
        })?;
        if parsed.format != FORMAT {
            let format = parsed.format;
            return Err(
                self.invalid(&id, format!("its manifest has format {format}, but this version reads format {FORMAT}"))
            );
        }
        let reads = parsed.files.into_iter().map(|(name, expected)| {
            let id = &id;
            async move {
                // The hash is part of a key.
                if expected.len() != 64 || !expected.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    return Err(self.invalid(id, format!("{name} has no valid SHA-256 hash")));
                }
                let key = self.file_key(&expected);
                let bytes = self.read(key.clone(), MAX_FILE_BYTES + 1).await.map_err(|error| {
                    self.invalid(id, format!("{name} cannot be read: {error}; publish the set again"))
                })?;
                match hash(&bytes) == expected {
                    true => Ok((name, bytes)),
                    false => Err(self.invalid(id, format!("{name} ({key}) has another hash; publish the set again"))),
                }
            }
        });
        let files: Vec<_> = stream::iter(reads.collect::<Vec<_>>()).buffered(CONCURRENT_FILES).try_collect().await?;
        let rules = self.valid_rules(&id, files)?;
        Ok(PublishedRules { id, rules })
    }

    fn valid_rules(&self, id: &str, files: Vec<(String, Vec<u8>)>) -> Result<RuleSet, RuleLocationError> {
        let loaded = RuleSet::load(files);
        match loaded.invalid.first() {
            Some(first) => {
                let count = loaded.invalid.len();
                Err(self.invalid(id, format!("{count} of its rules are invalid, the first one is {first}")))
            }
            None if loaded.rules.rules().len() == 0 => Err(self.invalid(id, "it contains no rule".into())),
            None => Ok(loaded.rules),
        }
    }

    fn invalid(&self, id: &str, reason: String) -> RuleLocationError {
        RuleLocationError::Invalid { location: self.to_string(), set: id.get(..12).unwrap_or(id).to_owned(), reason }
    }

    fn file_key(&self, hash: &str) -> String {
        format!("{}/files/{hash}.yml", self.prefix)
    }

    fn manifest_key(&self, id: &str) -> String {
        format!("{}/manifests/{id}.json", self.prefix)
    }

    #[cfg(feature = "cli")]
    async fn write(&self, key: String, bytes: Vec<u8>) -> Result<(), RuleLocationError> {
        let put = self.client.put_object().bucket(&self.bucket).key(&key).body(ByteStream::from(bytes)).send().await;
        put.map(drop).map_err(|error| self.request_error("write", "s3:PutObject", &key, &aws::failure(&error)))
    }

    async fn read(&self, key: String, max_bytes: usize) -> Result<Vec<u8>, RuleLocationError> {
        let failed = |failure: &AwsFailure| self.request_error("read", "s3:GetObject", &key, failure);
        let answer = self.client.get_object().bucket(&self.bucket).key(&key).send().await;
        let mut body = answer.map_err(|error| failed(&aws::failure(&error)))?.body;
        let mut bytes = Vec::new();
        while let Some(part) = body.next().await {
            bytes.extend_from_slice(
                &part.map_err(|error| failed(&aws::failure_of_code("Response", &error.to_string())))?,
            );
            if bytes.len() > max_bytes {
                let message = format!("it has more than {max_bytes} bytes");
                return Err(failed(&aws::failure_of_code("TooLarge", &message)));
            }
        }
        Ok(bytes)
    }

    fn request_error(&self, verb: &str, action: &str, key: &str, failure: &AwsFailure) -> RuleLocationError {
        let what = format!("cannot {verb} s3://{}/{key}", self.bucket);
        let mut denied = None;
        let reason = match failure.kind {
            _ if failure.concerns_credentials() => failure.credentials_text(),
            FailureKind::Denied => {
                let place = format!("{}/{}/*", self.bucket, self.prefix);
                let advice = failure.denial_advice(|| {
                    format!(
                        "allow {action} on {place}, and check that the object exists: without s3:ListBucket, S3 denies \
                             access to missing objects"
                    )
                });
                denied = Some(advice.clone());
                format!("{failure}; {advice}")
            }
            FailureKind::NotFound => format!("{failure}; publish rules with `trailhose rules publish`"),
            _ => failure.to_string(),
        };
        RuleLocationError::Request { what, reason, denied }
    }
}

impl std::fmt::Display for RuleLocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.prefix)
    }
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn location_needs_a_bucket_and_a_prefix() {
        let config = aws_sdk_s3::Config::builder().behavior_version(aws_sdk_s3::config::BehaviorVersion::latest());
        let client = Client::from_conf(config.build());
        for (location, expected) in [
            ("s3://b/rules", Some("s3://b/rules")),
            ("s3://b/a/rules/", Some("s3://b/a/rules")),
            ("s3://b", None),
            ("s3:///rules", None),
            ("b/rules", None),
        ] {
            let parsed = RuleLocation::new(client.clone(), location);
            assert_eq!(parsed.ok().map(|parsed| parsed.to_string()).as_deref(), expected, "{location}");
        }
    }
}
