//! Where Parquet files are stored: a folder or a bucket.

use super::CompactError;
use crate::aws::{self, FailureKind};
use async_trait::async_trait;
use aws_sdk_s3::primitives::ByteStream;
use std::fmt::Debug;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// A stored record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its version, which [`CompactDestination::write_record`] compares.
    pub version: String,
}

/// Stores Parquet files and records.
#[async_trait]
pub trait CompactDestination: Send + Sync + Debug {
    /// Reads a record. `None` if it does not exist.
    ///
    /// # Errors
    /// It cannot be read.
    async fn read_record(&self, key: &str) -> Result<Option<StoredRecord>, CompactError>;

    /// Writes a record if its version is still `replaces`, where `None` means that it does not exist. Returns the new version.
    ///
    /// # Errors
    /// [`CompactError::Conflict`] if another process wrote it.
    async fn write_record(&self, key: &str, bytes: Vec<u8>, replaces: Option<&str>) -> Result<String, CompactError>;

    /// Stores a file under a key. Replaces an existing file.
    ///
    /// # Errors
    /// It cannot be written.
    async fn publish(&self, key: &str, file: &Path) -> Result<(), CompactError>;

    /// Returns the length of a file in bytes. `None` if it does not exist.
    ///
    /// # Errors
    /// It cannot be examined.
    async fn length(&self, key: &str) -> Result<Option<u64>, CompactError>;

    /// Removes a file if it exists.
    ///
    /// # Errors
    /// It cannot be removed.
    async fn remove(&self, key: &str) -> Result<(), CompactError>;
}

/// A folder. A lock excludes other processes.
#[derive(Debug)]
pub struct FolderDestination {
    root: PathBuf,
    _lock: File,
}

impl FolderDestination {
    /// Opens a folder, and creates it if it does not exist.
    ///
    /// # Errors
    /// It cannot be created, or another process compacts into it.
    pub fn open(root: &Path) -> Result<Self, CompactError> {
        let lock = root.join("_compacted").join(".lock");
        let failed = |error: std::io::Error| destination_error(&lock, &error);
        std::fs::create_dir_all(root.join("_compacted")).map_err(failed)?;
        let file = File::options().create(true).truncate(false).write(true).open(&lock).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { root: root.to_owned(), _lock: file }),
            Err(std::fs::TryLockError::WouldBlock) => Err(CompactError::Destination(format!(
                "another process compacts into {}: wait until it ends. The lock is {}",
                root.display(),
                lock.display()
            ))),
            Err(std::fs::TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// Writes a file under a temporary name, makes it durable, and renames it.
    fn store(&self, key: &str, write: impl FnOnce(&mut File) -> std::io::Result<()>) -> Result<(), CompactError> {
        let path = self.root.join(key);
        let store = || {
            let folder = path.parent().unwrap_or(&self.root);
            std::fs::create_dir_all(folder)?;
            // Readers ignore names that start with a dot.
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let temporary = folder.join(format!(".{name}.tmp"));
            let mut file = File::create(&temporary)?;
            write(&mut file)?;
            file.sync_all()?;
            std::fs::rename(&temporary, &path)?;
            File::open(folder)?.sync_all()
        };
        store().map_err(|error| destination_error(&path, &error))
    }
}

fn destination_error(path: &Path, error: &std::io::Error) -> CompactError {
    CompactError::Destination(format!("{}: {error}", path.display()))
}

#[async_trait]
impl CompactDestination for FolderDestination {
    async fn read_record(&self, key: &str) -> Result<Option<StoredRecord>, CompactError> {
        let path = self.root.join(key);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(StoredRecord { bytes, version: String::new() })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(destination_error(&path, &error)),
        }
    }

    async fn write_record(&self, key: &str, bytes: Vec<u8>, _: Option<&str>) -> Result<String, CompactError> {
        self.store(key, |file| file.write_all(&bytes)).map(|()| String::new())
    }

    async fn publish(&self, key: &str, file: &Path) -> Result<(), CompactError> {
        self.store(key, |to| std::io::copy(&mut File::open(file)?, to).map(drop))
    }

    async fn length(&self, key: &str) -> Result<Option<u64>, CompactError> {
        let path = self.root.join(key);
        match std::fs::metadata(&path) {
            Ok(file) => Ok(Some(file.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(destination_error(&path, &error)),
        }
    }

    async fn remove(&self, key: &str) -> Result<(), CompactError> {
        let path = self.root.join(key);
        match std::fs::remove_file(&path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(destination_error(&path, &error)),
        }
    }
}

/// A bucket and a prefix. Conditional writes of the record exclude other processes.
#[derive(Debug)]
pub struct BucketDestination {
    client: aws_sdk_s3::Client,
    bucket: String,
    prefix: String,
}

impl BucketDestination {
    /// Creates a destination. `prefix` is empty or a folder, with or without a final slash.
    pub fn new(client: aws_sdk_s3::Client, bucket: &str, prefix: &str) -> Self {
        let prefix = prefix.trim_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Self { client, bucket: bucket.to_owned(), prefix }
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn error(&self, verb: &str, key: &str, failure: &aws::AwsFailure, action: &str) -> CompactError {
        let what = format!("cannot {verb} s3://{}/{}{key}", self.bucket, self.prefix);
        CompactError::Destination(match failure.kind {
            _ if failure.concerns_credentials() => format!("{what}: {}", failure.credentials_text()),
            FailureKind::Denied => {
                let advice = failure.denial_advice(|| format!("allow {action} on {}/{}*", self.bucket, self.prefix));
                format!("{what}: {advice}. {failure}")
            }
            _ => format!("{what}: {failure}"),
        })
    }
}

#[async_trait]
impl CompactDestination for BucketDestination {
    async fn read_record(&self, key: &str) -> Result<Option<StoredRecord>, CompactError> {
        let response = self.client.get_object().bucket(&self.bucket).key(self.key(key)).send().await;
        let object = match response {
            Ok(object) => object,
            Err(error) if error.as_service_error().is_some_and(|error| error.is_no_such_key()) => return Ok(None),
            Err(error) => return Err(self.error("read", key, &aws::failure(&error), "s3:GetObject and s3:ListBucket")),
        };
        let version = object.e_tag().unwrap_or_default().to_owned();
        let bytes = object.body.collect().await;
        let bytes = bytes.map_err(|error| CompactError::Destination(format!("cannot read {key}: {error}")))?;
        Ok(Some(StoredRecord { bytes: bytes.to_vec(), version }))
    }

    async fn write_record(&self, key: &str, bytes: Vec<u8>, replaces: Option<&str>) -> Result<String, CompactError> {
        let put = self.client.put_object().bucket(&self.bucket).key(self.key(key)).content_type("application/json");
        let put = match replaces {
            Some(version) => put.if_match(version),
            None => put.if_none_match("*"),
        };
        match put.body(ByteStream::from(bytes)).send().await {
            Ok(stored) => Ok(stored.e_tag().unwrap_or_default().to_owned()),
            Err(error) => {
                let status = error.raw_response().map(|response| response.status().as_u16());
                match status {
                    Some(409 | 412) => Err(CompactError::Conflict(self.key(key))),
                    _ => Err(self.error("write", key, &aws::failure(&error), "s3:PutObject")),
                }
            }
        }
    }

    async fn publish(&self, key: &str, file: &Path) -> Result<(), CompactError> {
        let body = ByteStream::from_path(file).await;
        let body = body.map_err(|error| CompactError::Temporary(file.display().to_string(), error.to_string()))?;
        let put = self.client.put_object().bucket(&self.bucket).key(self.key(key));
        match put.content_type("application/vnd.apache.parquet").body(body).send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.error("write", key, &aws::failure(&error), "s3:PutObject")),
        }
    }

    async fn length(&self, key: &str) -> Result<Option<u64>, CompactError> {
        match self.client.head_object().bucket(&self.bucket).key(self.key(key)).send().await {
            Ok(head) => Ok(head.content_length().and_then(|length| u64::try_from(length).ok())),
            Err(error) if error.as_service_error().is_some_and(|error| error.is_not_found()) => Ok(None),
            Err(error) => Err(self.error("examine", key, &aws::failure(&error), "s3:GetObject and s3:ListBucket")),
        }
    }

    async fn remove(&self, key: &str) -> Result<(), CompactError> {
        match self.client.delete_object().bucket(&self.bucket).key(self.key(key)).send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.error("delete", key, &aws::failure(&error), "s3:DeleteObject")),
        }
    }
}
