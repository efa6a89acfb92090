//! Manifest: the files of a report and their columns.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html>

use serde::Deserialize;

/// The content of `manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The bucket that the report describes.
    pub source_bucket: String,
    /// The bucket that contains the report.
    pub destination_bucket: String,
    /// The time at which S3 started to write the report, in seconds since 1970.
    pub created: Option<i64>,
    /// The format of the report's files.
    pub format: Format,
    /// The report's files, in no particular order.
    pub files: Vec<DataFile>,
}

/// The format of a report's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// Gzipped CSV files without a header, with these columns.
    Csv(CsvColumns),
    /// Parquet files, which contain their column names.
    Parquet,
}

/// The indices of the columns of a CSV row that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CsvColumns {
    pub(super) bucket: usize,
    pub(super) key: usize,
    pub(super) etag: usize,
    pub(super) size: usize,
    /// Only in a report with this optional field.
    pub(super) storage_class: Option<usize>,
    /// Only in a report with this optional field.
    pub(super) access_tier: Option<usize>,
    /// Only in a report of all versions.
    pub(super) latest: Option<usize>,
    /// Only in a report of all versions.
    pub(super) delete_marker: Option<usize>,
    /// The number of columns.
    pub(super) count: usize,
}

/// A file of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFile {
    /// The file's key in the destination bucket.
    pub key: String,
    /// The MD5 of its content, as 32 lowercase hexadecimal digits.
    pub md5: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManifestText {
    source_bucket: String,
    destination_bucket: String,
    creation_timestamp: Option<String>,
    file_format: String,
    file_schema: String,
    files: Vec<ManifestFile>,
}

#[derive(Deserialize)]
struct ManifestFile {
    key: String,
    #[serde(rename = "MD5checksum")]
    md5: String,
}

impl Manifest {
    /// Parses `manifest.json`.
    ///
    /// # Errors
    /// States what was expected, what was found, and how to fix it.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, String> {
        let text: ManifestText = serde_json::from_slice(text)
            .map_err(|error| format!("expected the manifest.json of an S3 Inventory report: {error}"))?;
        let destination_bucket = text.destination_bucket.rsplit(':').next().unwrap_or_default();
        let format = match text.file_format.as_str() {
            "CSV" => {
                let names: Vec<&str> = text.file_schema.split(',').map(str::trim).collect();
                Format::Csv(columns(&names, &CSV)?)
            }
            "Parquet" => {
                columns(&parquet_names(&text.file_schema), &PARQUET)?;
                Format::Parquet
            }
            "ORC" => {
                return Err(
                    "expected a report in CSV or Parquet, found ORC, which is not supported: configure the inventory \
                            to write CSV or Parquet"
                        .into(),
                );
            }
            other => return Err(format!("expected fileFormat CSV or Parquet, found {other:?}")),
        };
        let mut files = Vec::with_capacity(text.files.len());
        for ManifestFile { key, md5 } in text.files {
            let md5 = md5.to_ascii_lowercase();
            if md5.len() != 32 || !md5.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(format!("expected 32 hexadecimal digits as MD5checksum of {key}, found {md5:?}"));
            }
            files.push(DataFile { key, md5 });
        }
        Ok(Self {
            destination_bucket: destination_bucket.to_owned(),
            source_bucket: text.source_bucket,
            // Milliseconds.
            created: text.creation_timestamp.and_then(|time| time.parse::<i64>().ok()).map(|time| time / 1000),
            format,
            files,
        })
    }
}

/// The column names of a format.
struct ColumnNames {
    bucket: &'static str,
    key: &'static str,
    etag: &'static str,
    size: &'static str,
    storage_class: &'static str,
    access_tier: &'static str,
    version: &'static str,
    latest: &'static str,
    delete_marker: &'static str,
}

const CSV: ColumnNames = ColumnNames {
    bucket: "Bucket",
    key: "Key",
    etag: "ETag",
    size: "Size",
    storage_class: "StorageClass",
    access_tier: "IntelligentTieringAccessTier",
    version: "VersionId",
    latest: "IsLatest",
    delete_marker: "IsDeleteMarker",
};

pub(super) const BUCKET: &str = "bucket";
pub(super) const KEY: &str = "key";
pub(super) const ETAG: &str = "e_tag";
pub(super) const SIZE: &str = "size";
pub(super) const STORAGE_CLASS: &str = "storage_class";
pub(super) const ACCESS_TIER: &str = "intelligent_tiering_access_tier";
pub(super) const LATEST: &str = "is_latest";
pub(super) const DELETE_MARKER: &str = "is_delete_marker";

const PARQUET: ColumnNames = ColumnNames {
    bucket: BUCKET,
    key: KEY,
    etag: ETAG,
    size: SIZE,
    storage_class: STORAGE_CLASS,
    access_tier: ACCESS_TIER,
    version: "version_id",
    latest: LATEST,
    delete_marker: DELETE_MARKER,
};

/// Finds the columns that are read in `names`.
fn columns(names: &[&str], wanted: &ColumnNames) -> Result<CsvColumns, String> {
    let find = |name: &str| names.iter().position(|found| *found == name);
    let missing: Vec<&str> =
        [wanted.bucket, wanted.key, wanted.size, wanted.etag].into_iter().filter(|name| find(name).is_none()).collect();
    if !missing.is_empty() {
        return Err(format!(
            "expected the columns {}, {}, {} and {}, found no {} in {:?}: add Size and ETag to the inventory's optional \
             fields, and use the next report",
            wanted.bucket,
            wanted.key,
            wanted.size,
            wanted.etag,
            missing.join(" and no "),
            names.join(", ")
        ));
    }
    let (latest, delete_marker) = (find(wanted.latest), find(wanted.delete_marker));
    // Without these columns, an older version could be mistaken for the current object.
    if find(wanted.version).is_some() && (latest.is_none() || delete_marker.is_none()) {
        return Err(format!(
            "expected {} and {} beside {}, found {:?}: cannot determine which versions are the latest",
            wanted.latest,
            wanted.delete_marker,
            wanted.version,
            names.join(", ")
        ));
    }
    let at = |name: &str| find(name).unwrap_or_default();
    Ok(CsvColumns {
        bucket: at(wanted.bucket),
        key: at(wanted.key),
        etag: at(wanted.etag),
        size: at(wanted.size),
        storage_class: find(wanted.storage_class),
        access_tier: find(wanted.access_tier),
        latest,
        delete_marker,
        count: names.len(),
    })
}

/// The fields of `message s3.inventory { required binary bucket (UTF8); … }`.
fn parquet_names(schema: &str) -> Vec<&str> {
    let fields = schema.split_once('{').map_or("", |(_, fields)| fields).split(';');
    fields.filter_map(|field| field.split_whitespace().nth(2)).map(|name| name.trim_matches('(')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(format: &str, schema: &str) -> Result<Manifest, String> {
        let text = serde_json::json!({
            "sourceBucket": "logs", "destinationBucket": "arn:aws:s3:::reports", "version": "2016-11-30",
            "creationTimestamp": "1795132800000", "fileFormat": format, "fileSchema": schema,
            "files": [{"key": "r/data/a.csv.gz", "size": 3, "MD5checksum": "F11166069F1990ABEB9C97ACE9CDFABC"}],
        });
        Manifest::parse(text.to_string().as_bytes())
    }

    #[test]
    fn columns_are_found_in_any_order() {
        let schema = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag, StorageClass";
        let read = manifest("CSV", schema).unwrap();
        assert_eq!((read.source_bucket.as_str(), read.destination_bucket.as_str()), ("logs", "reports"));
        assert_eq!(
            (read.created, read.files[0].md5.as_str()),
            (Some(1_795_132_800), "f11166069f1990abeb9c97ace9cdfabc")
        );
        let (latest, delete_marker) = (Some(3), Some(4));
        let (storage_class, access_tier) = (Some(8), None);
        let columns = CsvColumns {
            bucket: 0,
            key: 1,
            etag: 7,
            size: 5,
            storage_class,
            access_tier,
            latest,
            delete_marker,
            count: 9,
        };
        assert_eq!(read.format, Format::Csv(columns));
    }

    #[test]
    fn unusable_report_is_rejected_with_a_fix() {
        let parquet = "message s3.inventory { required binary bucket (STRING); required binary key (STRING); \
                       optional int64 size; optional int64 last_modified_date (TIMESTAMP(MILLIS,true));}";
        for (format, schema, error_text) in [
            ("ORC", "struct<bucket:string>", "found ORC, which is not supported"),
            ("Avro", "", "found \"Avro\""),
            ("CSV", "Bucket, Key, Size", "found no ETag in"),
            ("CSV", "Bucket, Key", "found no Size and no ETag in"),
            ("CSV", "Bucket, Key, VersionId, Size, ETag", "which versions are the latest"),
            ("Parquet", parquet, "found no e_tag in"),
        ] {
            let error = manifest(format, schema).unwrap_err();
            assert!(error.contains(error_text) && error.lines().count() == 1, "{error}");
        }
        assert!(Manifest::parse(b"[]").unwrap_err().contains("expected the manifest.json"));
        assert!(manifest("Parquet", &parquet.replace('}', " optional binary e_tag (UTF8); }")).is_ok());
    }
}
