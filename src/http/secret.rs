//! Secrets of destinations. They are read from a file, an environment variable or a store of secrets, and never printed.

use std::fmt;
use std::path::{Path, PathBuf};

/// The maximum size of a file with secrets in bytes.
const MAX_FILE: u64 = 64 << 10;

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Creates a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text. It must not be printed or logged.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Where a secret is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// A file.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
    /// A text that was read before.
    Loaded {
        /// Where it was read from, for messages.
        origin: String,
        /// The text.
        text: Secret,
    },
}

/// Why a secret cannot be read. The messages do not contain it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("the secret in {0} cannot be read: {1}")]
    File(PathBuf, String),
    /// The environment variable is not set.
    #[error("the secret is not set: set the environment variable {0}")]
    Variable(String),
    /// There is no text.
    #[error("the secret in {0} is empty")]
    Empty(String),
    /// There is more than one secret.
    #[error("the secret in {0} has several lines or contains white space: write one secret without white space")]
    Several(String),
}

impl SecretSource {
    /// Returns the secret.
    ///
    /// # Errors
    /// It cannot be read, is empty, or contains white space.
    pub fn read(&self) -> Result<Secret, SecretError> {
        match &mut self.read_list()?[..] {
            [only] => Ok(only.clone()),
            _ => Err(SecretError::Several(self.to_string())),
        }
    }

    /// Returns secrets that are separated by white space, for example one on each line.
    ///
    /// # Errors
    /// They cannot be read, or there is none.
    pub fn read_list(&self) -> Result<Vec<Secret>, SecretError> {
        let text = match self {
            Self::File(path) => read_file(path).map_err(|reason| SecretError::File(path.clone(), reason))?,
            Self::Variable(name) => std::env::var(name).map_err(|_| SecretError::Variable(name.clone()))?,
            Self::Loaded { text, .. } => text.expose().to_owned(),
        };
        let secrets: Vec<Secret> = text.split_whitespace().map(Secret::new).collect();
        match secrets.is_empty() {
            true => Err(SecretError::Empty(self.to_string())),
            false => Ok(secrets),
        }
    }
}

fn read_file(path: &Path) -> Result<String, String> {
    let length = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > MAX_FILE {
        return Err(format!("the file has {length} bytes, and at most {MAX_FILE} are expected"));
    }
    // An error of the conversion to text must not quote the bytes.
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|_| "the file is not UTF-8 text".to_owned())
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Variable(name) => write!(f, "the environment variable {name}"),
            Self::Loaded { origin, .. } => f.write_str(origin),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_is_not_printed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, "hunter2\n").unwrap();
        let secret = SecretSource::File(path).read().unwrap();
        assert_eq!(secret.expose(), "hunter2");
        assert_eq!(format!("{secret:?}"), "Secret");
    }

    #[test]
    fn several_lines_are_several_secrets() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets");
        std::fs::write(&path, "one\r\n\n  two \n").unwrap();
        let source = SecretSource::File(path.clone());
        let texts: Vec<String> = source.read_list().unwrap().iter().map(|secret| secret.expose().to_owned()).collect();
        assert_eq!(texts, ["one", "two"]);
        let error = source.read().unwrap_err().to_string();
        assert!(error.contains("several lines") && !error.contains("one\""), "{error}");
        std::fs::write(&path, " \n").unwrap();
        assert!(matches!(source.read(), Err(SecretError::Empty(_))));
        let missing = SecretSource::Variable("TRAILHOSE_NO_SUCH_SECRET".into()).read().unwrap_err().to_string();
        assert!(missing.contains("TRAILHOSE_NO_SUCH_SECRET"), "{missing}");
    }
}
