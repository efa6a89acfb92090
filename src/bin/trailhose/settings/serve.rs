//! `[serve]` in the settings file: the address, what the API may name, and limits.
//!
//! ```toml
//! [serve]
//! listen = "127.0.0.1:8080"             # beyond loopback, a token is required
//! hosts = ["trails.example.com"]        # names in the Host header, in addition to localhost
//! tls_certificate = "tls/server.pem"    # PEM, with its chain
//! tls_key = "tls/server.key"
//! allow_buckets = ["my-trail-*"]        # what sources of the API may name; by default nothing
//! allow_folders = ["/var/lib/trails"]
//! allow_roles = ["arn:aws:iam::*:role/trailhose-*"]
//! allow_endpoints = []
//! allow_profiles = []
//! requests_per_second = 50              # for each token and each address
//! audit_file = "/var/log/trailhose/audit.jsonl"
//! drain = "30s"
//!
//! [serve.athena]                        # queries that AWS bills, for tokens with the scope athena
//! database = "trailhose"
//! workgroup = "trailhose"
//! ```

use super::read::{ParseResult, SettingError, SpannedInteger, SpannedString, number, parsed, resolve};
use crate::args::value;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use trailhose::serve::{AllowList, ServerCertificate};

/// The settings of the server. A missing one has its default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ServeTableSettings {
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) hosts: Vec<String>,
    pub(crate) tls: Option<ServerCertificate>,
    pub(crate) allow: AllowList,
    pub(crate) requests_per_second: Option<u32>,
    pub(crate) audit_file: Option<PathBuf>,
    pub(crate) drain: Option<Duration>,
    pub(crate) athena: Option<ServeAthenaSettings>,
}

/// Where queries with Athena run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServeAthenaSettings {
    pub(crate) database: String,
    pub(crate) workgroup: String,
    /// Whether queries read the table of compacted days.
    pub(crate) by_day: bool,
    /// The location of results, for workgroups that neither manage results nor have one.
    pub(crate) result_location: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AthenaTable {
    database: SpannedString,
    workgroup: Option<String>,
    #[serde(default)]
    by_day: bool,
    result_location: Option<String>,
}

impl AthenaTable {
    /// Checks the settings. The default workgroup has the name of the database, as in the stack.
    fn settings(self) -> ParseResult<ServeAthenaSettings> {
        let span = self.database.span();
        let database = self.database.into_inner();
        let workgroup = self.workgroup.unwrap_or_else(|| database.clone());
        if database.is_empty() || workgroup.is_empty() {
            return Err(SettingError(span, "athena: expected names of a database and a workgroup".into()));
        }
        Ok(ServeAthenaSettings { database, workgroup, by_day: self.by_day, result_location: self.result_location })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServeTable {
    listen: Option<SpannedString>,
    #[serde(default)]
    hosts: Vec<String>,
    tls_certificate: Option<SpannedString>,
    tls_key: Option<SpannedString>,
    #[serde(default)]
    allow_buckets: Vec<String>,
    #[serde(default)]
    allow_folders: Vec<SpannedString>,
    #[serde(default)]
    allow_roles: Vec<String>,
    #[serde(default)]
    allow_endpoints: Vec<String>,
    #[serde(default)]
    allow_profiles: Vec<String>,
    requests_per_second: Option<SpannedInteger>,
    audit_file: Option<SpannedString>,
    drain: Option<SpannedString>,
    athena: Option<AthenaTable>,
}

impl ServeTable {
    /// Checks the settings. Relative paths are resolved against `folder`.
    pub(super) fn settings(self, folder: &Path) -> ParseResult<ServeTableSettings> {
        let tls = match (self.tls_certificate, self.tls_key) {
            (Some(certificate), Some(key)) => Some(ServerCertificate {
                certificate: resolve(folder, certificate.into_inner().into()),
                key: resolve(folder, key.into_inner().into()),
            }),
            (Some(one), None) | (None, Some(one)) => {
                return Err(SettingError(one.span(), "tls_certificate and tls_key are needed together".into()));
            }
            (None, None) => None,
        };
        Ok(ServeTableSettings {
            listen: parsed("listen", self.listen.as_ref(), value::listen_address)?,
            hosts: self.hosts,
            tls,
            allow: AllowList {
                buckets: self.allow_buckets,
                folders: self
                    .allow_folders
                    .into_iter()
                    .map(|path| resolve(folder, PathBuf::from(path.into_inner())))
                    .collect(),
                roles: self.allow_roles,
                endpoints: self.allow_endpoints,
                profiles: self.allow_profiles,
            },
            requests_per_second: number("requests_per_second", self.requests_per_second.as_ref(), 1..=1_000_000)?,
            audit_file: parsed("audit_file", self.audit_file.as_ref(), value::path)?.map(|path| resolve(folder, path)),
            drain: parsed("drain", self.drain.as_ref(), value::pause)?,
            athena: self.athena.map(AthenaTable::settings).transpose()?,
        })
    }
}
