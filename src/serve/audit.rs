//! The audit log: one line of JSON for each change through the API, each sign-in and sign-out, and each query with Athena. It
//! contains neither tokens nor bodies.

use super::paging::rfc3339;
use serde::Serialize;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Where the lines are written.
#[derive(Debug)]
pub struct AuditLog {
    /// Standard error if there is no file.
    file: Option<Mutex<File>>,
}

/// A change, a sign-in or sign-out, or a query with Athena, also a refused one.
#[derive(Debug, Serialize)]
pub(super) struct AuditEntry<'a> {
    /// When the response was sent, in RFC 3339.
    time: String,
    /// Always `request`. It identifies the line in a log with other lines.
    audit: &'static str,
    /// The name of the token. `null` for requests on loopback without one, for sign-in and sign-out, and for requests that the
    /// guard refused.
    pub(super) token: Option<&'a str>,
    pub(super) address: String,
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) status: u16,
    /// What was changed, if the path does not contain it, or `athena`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) target: Option<&'a str>,
}

impl<'a> AuditEntry<'a> {
    /// Creates an entry with the current time.
    pub(super) fn new(method: &'a str, path: &'a str, address: String, status: u16) -> Self {
        let time = rfc3339(jiff::Timestamp::now().as_second());
        Self { time, audit: "request", token: None, address, method, path, status, target: None }
    }
}

impl AuditLog {
    /// Opens the file at `path` for appending. Without a path, the lines are written to standard error.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: Option<&Path>) -> Result<Self, String> {
        let open = |path: &Path| {
            let file = File::options().create(true).append(true).open(path);
            file.map(Mutex::new).map_err(|error| format!("audit_file {}: {error}", path.display()))
        };
        Ok(Self { file: path.map(open).transpose()? })
    }

    /// Writes a line. A failure is logged, because the change has happened.
    pub(super) fn write(&self, entry: &AuditEntry<'_>) {
        let Ok(mut line) = serde_json::to_vec(entry) else { return };
        line.push(b'\n');
        let written = match &self.file {
            Some(file) => file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line),
            None => std::io::stderr().lock().write_all(&line),
        };
        if let Err(error) = written {
            tracing::error!("the audit log cannot be written: {error}");
        }
    }
}
