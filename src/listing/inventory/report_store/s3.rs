//! A report in an S3 bucket.

use super::{DownloadedFile, Md5Counter, ReportStore};
use crate::aws::{self, AwsFailure, FailureKind};
use crate::backoff::{Backoff, Pace};
use crate::listing::inventory::Manifest;
use crate::source::SourceError;
use async_trait::async_trait;
use aws_sdk_s3::Client;
use std::io::Write;
use std::time::Duration;

/// Maximum number of attempts to download a file. An interrupted download starts again from the beginning.
const MAX_ATTEMPTS: u32 = 4;

/// Delays between the attempts.
const PACE: Pace = Pace { base: Duration::from_millis(500), cap: Duration::from_secs(10) };

/// The bucket of the manifest. The data files are in the bucket that the manifest names, which is the same unless the
/// manifest was copied.
#[derive(Debug, Clone)]
pub struct S3ReportStore {
    client: Client,
    bucket: String,
}

impl S3ReportStore {
    /// Creates a store that reads with `client`, which should come from [`aws::s3`].
    pub fn new(client: Client, bucket: impl Into<String>) -> Self {
        Self { client, bucket: bucket.into() }
    }

    async fn attempt(&self, bucket: &str, key: &str) -> Result<DownloadedFile, SourceError> {
        let at = format!("s3://{bucket}/{key}");
        let answer = self.client.get_object().bucket(bucket).key(key).send().await;
        let answer = answer.map_err(|error| source_error(&at, &aws::failure(&error)))?;
        // An unnamed temporary file: it is deleted when it is dropped and also when the process crashes.
        let disk_error = |error: std::io::Error| {
            let folder = std::env::temp_dir();
            SourceError::Denied(format!(
                "cannot store {at} in {}: {error}; set TMPDIR to a folder with enough space",
                folder.display()
            ))
        };
        let mut file = tempfile::tempfile().map_err(disk_error)?;
        let (mut sum, mut body) = (Md5Counter::default(), answer.body);
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| {
                let causes: Vec<String> = aws::causes(&error).map(ToString::to_string).collect();
                SourceError::Unavailable(format!(
                    "{at}: download interrupted after {} bytes: {}",
                    sum.bytes,
                    causes.join(": ")
                ))
            })?;
            sum.add(&chunk);
            file.write_all(&chunk).map_err(disk_error)?;
        }
        Ok(sum.finish(file))
    }
}

#[async_trait]
impl ReportStore for S3ReportStore {
    fn name(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.bucket)
    }

    async fn read(&self, key: &str) -> Result<Option<Vec<u8>>, SourceError> {
        let at = self.name(key);
        let answer = match self.client.get_object().bucket(&self.bucket).key(key).send().await {
            Ok(answer) => answer,
            Err(error) => match source_error(&at, &aws::failure(&error)) {
                SourceError::Missing(_) => return Ok(None),
                other => return Err(other),
            },
        };
        let bytes = answer.body.collect().await.map_err(|error| SourceError::Unavailable(format!("{at}: {error}")))?;
        Ok(Some(bytes.to_vec()))
    }

    fn data_name(&self, manifest: &Manifest, key: &str) -> String {
        format!("s3://{}/{key}", manifest.destination_bucket)
    }

    async fn download(&self, manifest: &Manifest, key: &str) -> Result<DownloadedFile, SourceError> {
        let mut backoff = Backoff::new(PACE, fastrand::f64);
        let mut attempt = 1;
        loop {
            match self.attempt(&manifest.destination_bucket, key).await {
                Err(SourceError::Unavailable(error)) if attempt < MAX_ATTEMPTS => {
                    tracing::debug!(error, attempt, "retrying the download of an inventory file");
                    tokio::time::sleep(backoff.wait()).await;
                    attempt += 1;
                }
                answer => return answer,
            }
        }
    }
}

/// Maps a failed GET request to a source error.
fn source_error(at: &str, failure: &AwsFailure) -> SourceError {
    match failure.kind {
        FailureKind::NotFound => SourceError::Missing(at.to_owned()),
        FailureKind::Denied => SourceError::Denied(format!(
            "s3:GetObject on {at} is denied ({failure}): allow it, and kms:Decrypt on the report's key, for the role that \
             runs this"
        )),
        _ => SourceError::Unavailable(format!("{at}: {failure}")),
    }
}
