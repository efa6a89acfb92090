//! Parses and looks up an object argument: `s3://bucket/key` or a path, optionally followed by `#` and an `ETag`.

use super::open::{OpenedLedger, failed};
use crate::args::Location;
use crate::args::value::location;
use crate::components::{self, Aws};
use crate::explain::candidates;
use trailhose::aws::BucketAccess;
use trailhose::ledger::inspect::scan::ScanFilter;
use trailhose::ledger::model::row::Row;
use trailhose::object::{Object, ObjectRef};
use trailhose::source::SourceError;

/// An object argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ObjectSelector {
    /// Possible buckets and keys. For a path, every parent folder may be the bucket.
    names: Vec<(String, String)>,
    etag: Option<String>,
}

/// Rows found for an object argument.
#[derive(Debug)]
pub(super) struct LookupResult {
    /// One row for each version found.
    pub(super) rows: Vec<Row>,
    /// Whether the ledger may have rows of other versions, which were not searched.
    pub(super) other_versions_possible: bool,
}

impl ObjectSelector {
    /// Parses an argument of the command line.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (name, etag) = match text.rsplit_once('#') {
            // A key may contain `#`. The text after it is an ETag only if it has the form of one.
            Some((name, etag)) if is_etag(etag) => (name, Some(etag.to_owned())),
            _ => (text, None),
        };
        let names = match location(name)? {
            Location::S3 { bucket, key } if key.is_empty() => {
                return Err(format!("s3://{bucket} is not an object; expected s3://bucket/key"));
            }
            Location::S3 { bucket, key } => vec![(bucket, key)],
            Location::Path(path) => {
                let absolute = path.canonicalize().or_else(|_| std::path::absolute(&path));
                let absolute = absolute.map_err(|error| format!("{}: {error}", path.display()))?;
                let absolute = absolute.to_str().ok_or_else(|| format!("{} is not UTF-8", path.display()))?;
                let key = absolute.trim_start_matches('/').to_owned();
                let root = Object { bucket: "file:///".to_owned(), key, etag: String::new() };
                candidates(root).into_iter().map(|object| (object.bucket, object.key)).collect()
            }
        };
        Ok(Self { names, etag })
    }

    /// Looks up the rows. If a version is given, only that version is looked up. Otherwise all versions are searched in
    /// an SQLite ledger or with `scan`, and the current version in a DynamoDB ledger.
    pub(super) async fn find(&self, open: &OpenedLedger, aws: &Aws, scan: bool) -> Result<LookupResult, String> {
        let rows = match &self.etag {
            Some(etag) => self.rows_with_etag(open, etag).await?,
            None if scan || !open.is_billed() => {
                return Ok(LookupResult { rows: self.scan_rows(open).await?, other_versions_possible: false });
            }
            None => match self.current_etag(aws).await? {
                Some(etag) => self.rows_with_etag(open, &etag).await?,
                None => Vec::new(),
            },
        };
        Ok(LookupResult { rows, other_versions_possible: self.etag.is_none() })
    }

    async fn rows_with_etag(&self, open: &OpenedLedger, etag: &str) -> Result<Vec<Row>, String> {
        let object = |(bucket, key): &(String, String)| Object {
            bucket: bucket.clone(),
            key: key.clone(),
            etag: etag.to_owned(),
        };
        let ids: Vec<_> = self.names.iter().map(|name| object(name).id()).collect();
        Ok(open.ledger.rows(&ids).await.map_err(failed)?.into_iter().flatten().collect())
    }

    async fn scan_rows(&self, open: &OpenedLedger) -> Result<Vec<Row>, String> {
        let mut walk = open.walk(ScanFilter::Versions(self.names.clone()));
        let mut rows = Vec::new();
        while let Some(batch) = walk.next().await? {
            rows.extend(batch.rows);
        }
        open.reread(&rows).await
    }

    /// Returns the `ETag` of the current version, or `None` if the object does not exist.
    async fn current_etag(&self, aws: &Aws) -> Result<Option<String>, String> {
        let Some((bucket, key)) = self.names.first() else { return Ok(None) };
        let location = match bucket.strip_prefix("file://") {
            Some(folder) => Location::Path(folder.into()),
            None => Location::S3 { bucket: bucket.clone(), key: String::new() },
        };
        let source = components::source(&location, &BucketAccess::default(), aws).await?.source;
        match source.stat(&ObjectRef::new(bucket, key)).await {
            Ok(found) => Ok(found.etag),
            Err(SourceError::Missing(_)) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Whether the text has the form of an `ETag`. S3: 32 hexadecimal digits, and a hyphen and the number of parts for a
/// multipart upload. File: size, hyphen, modification time.
pub(crate) fn is_etag(text: &str) -> bool {
    let hex = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match text.split_once('-') {
        None => text.len() == 32 && hex(text),
        Some((first, rest)) => hex(first) && hex(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETAG: &str = "d41d8cd98f00b204e9800998ecf8427e";

    #[test]
    fn version_suffix_is_optional() {
        let names = vec![("b".to_owned(), "a#b/c.json.gz".to_owned())];
        for (suffix, etag) in [
            (String::new(), None),
            (format!("#{ETAG}"), Some(ETAG.to_owned())),
            (format!("#{ETAG}-12"), Some(format!("{ETAG}-12"))),
        ] {
            let selector = ObjectSelector::parse(&format!("s3://b/a#b/c.json.gz{suffix}")).unwrap();
            assert_eq!(selector, ObjectSelector { names: names.clone(), etag });
        }
        assert!(ObjectSelector::parse("s3://b").unwrap_err().contains("is not an object"));
    }

    #[test]
    fn path_need_not_exist_and_every_parent_folder_may_be_the_bucket() {
        let selector = ObjectSelector::parse("/no/such#file#2f-18a").unwrap();
        assert_eq!(selector.etag.as_deref(), Some("2f-18a"));
        let name = |bucket: &str, key: &str| (bucket.to_owned(), key.to_owned());
        assert_eq!(selector.names, [name("file:///no", "such#file"), name("file:///", "no/such#file")]);
    }
}
