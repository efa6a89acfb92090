//! The settings of a source as the API accepts and stores them, and the allow list for them.

use crate::source::check_source_id;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;
use utoipa::ToSchema;

/// The time between two runs of a source without `interval`.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(60);

/// The shortest time between two runs of a source.
pub const MIN_INTERVAL: Duration = Duration::from_secs(10);

/// A bucket or a folder, and the selection of its objects. Dates are days in UTC.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ApiSourceSettings {
    /// The ID. Without it, one is made of the name of the bucket or folder.
    #[schema(max_length = 64, pattern = "^[a-z0-9][a-z0-9._-]*$")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The bucket, or the ARN of an access point. Either `bucket` or `folder` is required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// The folder of the bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// The absolute path of a folder on the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// The time between two runs: `30s`, `5m`, `1h`. At least 10 seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<String>,
    /// The accounts to read; empty for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<String>,
    /// The regions to read; empty for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<String>,
    /// The kinds of files to read; empty for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<String>,
    /// The first day of delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The last day of delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// The region of the bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket_region: Option<String>,
    /// A role to assume for reading the bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role_arn: Option<String>,
    /// The external ID that the role requires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// The endpoint of S3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint_url: Option<String>,
    /// A profile of the AWS configuration of the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
}

/// The maximum length of a text in the settings of a source, in bytes.
const MAX_TEXT: usize = 1_024;

/// The maximum number of accounts, regions or kinds.
const MAX_LIST: usize = 1_000;

impl ApiSourceSettings {
    /// Checks lengths, the ID, and that there is one location. `SourceRunner::check` checks the rest.
    ///
    /// # Errors
    /// What is invalid.
    pub(super) fn check(&self) -> Result<(), String> {
        let texts = [
            ("bucket", &self.bucket),
            ("prefix", &self.prefix),
            ("folder", &self.folder),
            ("interval", &self.interval),
            ("since", &self.since),
            ("until", &self.until),
            ("bucket_region", &self.bucket_region),
            ("role_arn", &self.role_arn),
            ("external_id", &self.external_id),
            ("endpoint_url", &self.endpoint_url),
            ("profile", &self.profile),
        ];
        for (name, text) in texts {
            let Some(text) = text else { continue };
            if text.len() > MAX_TEXT || text.chars().any(char::is_control) {
                return Err(format!("{name}: expected at most {MAX_TEXT} bytes without control characters"));
            }
        }
        for (name, list) in [("accounts", &self.accounts), ("regions", &self.regions), ("kinds", &self.kinds)] {
            if list.len() > MAX_LIST {
                return Err(format!("{name}: expected at most {MAX_LIST} values"));
            }
        }
        if let Some(id) = &self.id {
            check_source_id(id).map_err(|expected| format!("id: {expected}"))?;
        }
        match (&self.bucket, &self.folder) {
            (None, None) => Err("a source needs a bucket or a folder".into()),
            (Some(_), Some(_)) => Err("a source has either a bucket or a folder, not both".into()),
            (None, Some(_)) if self.prefix.is_some() => Err("prefix applies to a bucket only".into()),
            (None, Some(folder)) => check_path(folder),
            (Some(bucket), None) if bucket.is_empty() => Err("bucket: expected a name".into()),
            (Some(_), None) => Ok(()),
        }
    }

    /// Returns an ID for this source that is not in use.
    pub fn new_id(&self, is_used: impl Fn(&str) -> bool) -> String {
        let name = match (&self.bucket, &self.folder) {
            (Some(bucket), _) => {
                format!(
                    "{}-{}",
                    bucket.rsplit([':', '/']).next().unwrap_or_default(),
                    self.prefix.as_deref().unwrap_or("")
                )
            }
            (None, folder) => {
                let folder = Path::new(folder.as_deref().unwrap_or_default());
                folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
            }
        };
        let slug_char = |char: char| if char.is_ascii_alphanumeric() { char.to_ascii_lowercase() } else { '-' };
        let slug: String = name.chars().map(slug_char).collect();
        let parts: Vec<&str> = slug.split('-').filter(|part| !part.is_empty()).collect();
        let mut slug = parts.join("-");
        slug.truncate(48);
        let slug = if slug.is_empty() { "source".to_owned() } else { slug };
        let numbered = (2..).map(|number| format!("{slug}-{number}"));
        std::iter::once(slug.clone()).chain(numbered).find(|id| !is_used(id)).unwrap_or(slug)
    }

    /// Returns whether one source contains the other. Compares only buckets with prefixes, and folders.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        match (&self.bucket, &other.bucket, &self.folder, &other.folder) {
            (Some(one), Some(two), ..) => {
                let (one_prefix, two_prefix) = (self.key_prefix(), other.key_prefix());
                one == two && (one_prefix.starts_with(&two_prefix) || two_prefix.starts_with(&one_prefix))
            }
            (None, None, Some(one), Some(two)) => {
                let (one, two) = (resolved(Path::new(one)), resolved(Path::new(two)));
                one.starts_with(&two) || two.starts_with(&one)
            }
            _ => false,
        }
    }

    /// Returns the prefix with one slash at its end, or nothing for the whole bucket.
    fn key_prefix(&self) -> String {
        match self.prefix.as_deref().unwrap_or_default().trim_matches('/') {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        }
    }
}

fn check_path(folder: &str) -> Result<(), String> {
    let path = Path::new(folder);
    let is_plain = path.components().all(|part| !matches!(part, std::path::Component::ParentDir));
    if !path.is_absolute() || !is_plain {
        return Err("folder: expected an absolute path without `..`".into());
    }
    Ok(())
}

/// Returns the path without symbolic links, or the path itself if it does not exist.
fn resolved(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// What the API may name in a source. Everything else is refused. `*` in a pattern matches any text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowList {
    /// Patterns of buckets.
    pub buckets: Vec<String>,
    /// Folders: these and their subfolders are allowed.
    pub folders: Vec<PathBuf>,
    /// Patterns of ARNs of roles.
    pub roles: Vec<String>,
    /// Patterns of endpoints.
    pub endpoints: Vec<String>,
    /// Patterns of profiles.
    pub profiles: Vec<String>,
}

impl AllowList {
    /// Checks the settings of a source.
    ///
    /// # Errors
    /// What is not allowed, and the setting that allows it.
    pub(super) fn check(&self, settings: &ApiSourceSettings) -> Result<(), String> {
        for (name, value, allowed, setting) in [
            ("bucket", &settings.bucket, &self.buckets, "allow_buckets"),
            ("role_arn", &settings.role_arn, &self.roles, "allow_roles"),
            ("endpoint_url", &settings.endpoint_url, &self.endpoints, "allow_endpoints"),
            ("profile", &settings.profile, &self.profiles, "allow_profiles"),
        ] {
            if let Some(value) = value
                && !allowed.iter().any(|pattern| matches_pattern(pattern, value))
            {
                return Err(format!("{name}: this value is not in {setting} of [serve] in the settings"));
            }
        }
        if let Some(folder) = &settings.folder {
            // Symbolic links are followed before the comparison. A path that does not exist is compared as it is written, so
            // that the answer does not say which paths outside of the list exist.
            let folder = resolved(Path::new(folder));
            if !self.folders.iter().any(|allowed| folder.starts_with(resolved(allowed))) {
                return Err("folder: this folder is not in allow_folders of [serve] in the settings".into());
            }
        }
        Ok(())
    }
}

/// Returns whether a text matches a pattern in which `*` matches any text.
fn matches_pattern(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(bucket: &str, prefix: &str) -> ApiSourceSettings {
        let text = |text: &str| Some(text.to_owned());
        ApiSourceSettings { bucket: text(bucket), prefix: text(prefix), ..ApiSourceSettings::default() }
    }

    #[test]
    fn patterns_match_whole_texts() {
        for (pattern, text, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "ab", true),
            ("*", "", true),
            ("a*c", "abc", true),
            ("a*c", "acb", false),
            ("a*c", "a", false),
            ("aa*a", "aa", false),
            ("arn:aws:iam::*:role/trailhose-*", "arn:aws:iam::111122223333:role/trailhose-reader", true),
            ("arn:aws:iam::*:role/trailhose-*", "arn:aws:iam::111122223333:role/admin", false),
            ("a*b*b", "ab", false),
        ] {
            assert_eq!(matches_pattern(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn sources_overlap_if_the_prefix_of_one_contains_the_other() {
        for (one, two, expected) in [
            ("", "logs", true),
            ("logs", "logs/", true),
            ("logs", "logs/a", true),
            ("logs", "logs2", false),
            ("logs/a", "logs/b", false),
        ] {
            assert_eq!(bucket("b", one).overlaps(&bucket("b", two)), expected, "{one} {two}");
            assert_eq!(bucket("b", two).overlaps(&bucket("b", one)), expected, "{two} {one}");
        }
        assert!(!bucket("b", "").overlaps(&bucket("c", "")));
    }

    #[test]
    fn folders_outside_of_the_list_are_refused_also_through_links_and_parents() {
        let root = tempfile::tempdir().unwrap();
        let (allowed, other) = (root.path().join("allowed"), root.path().join("other"));
        std::fs::create_dir_all(allowed.join("sub")).unwrap();
        std::fs::create_dir_all(&other).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(&other, allowed.join("link")).unwrap();
        let list = AllowList { folders: vec![allowed.clone()], ..AllowList::default() };
        let folder = |path: PathBuf| ApiSourceSettings {
            folder: Some(path.to_str().unwrap().to_owned()),
            ..ApiSourceSettings::default()
        };
        assert_eq!(list.check(&folder(allowed.join("sub"))), Ok(()));
        assert!(list.check(&folder(other.clone())).is_err());
        #[cfg(unix)]
        assert!(list.check(&folder(allowed.join("link"))).is_err(), "a link out of the folder");
        assert!(folder(allowed.join("../other")).check().is_err());
        assert!(folder(PathBuf::from("sub")).check().is_err());
    }

    #[test]
    fn new_ids_are_valid_and_unused() {
        let id = bucket("My.Trail_Bucket", "a/b/").new_id(|id| id == "my-trail-bucket-a-b");
        assert_eq!(id, "my-trail-bucket-a-b-2");
        let is_id = |text: &str| check_source_id(text).is_ok();
        assert!(is_id(&id) && is_id("a") && !is_id("") && !is_id("-a") && !is_id("A") && !is_id("a/b"));
        assert!(is_id(&bucket("%%%", "").new_id(|_| false)));
    }
}
