//! Writes S3 Inventory reports in the format of S3.
#![allow(dead_code)] // Each test file uses its part.

use md5::{Digest, Md5};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One row of a report.
#[derive(Debug, Clone)]
pub struct Row {
    pub key: String,
    pub etag: String,
    pub size: u64,
    pub latest: bool,
    pub delete_marker: bool,
}

pub fn row(key: impl Into<String>, etag: &str, size: u64) -> Row {
    Row { key: key.into(), etag: etag.to_owned(), size, latest: true, delete_marker: false }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Csv,
    Parquet,
}

pub const CSV: &str = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag, StorageClass";

pub const PARQUET: &str = "message s3.inventory { required binary bucket (UTF8); required binary key (UTF8); \
    optional binary version_id (UTF8); optional boolean is_latest; optional boolean is_delete_marker; \
    optional int64 size; optional int64 last_modified_date (TIMESTAMP_MILLIS); optional binary e_tag (UTF8); \
    optional binary storage_class (UTF8); }";

/// Bytes of a key that are percent-encoded: all except letters, digits and these.
const PLAIN: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'*').remove(b'/').remove(b' ');

/// A report in a folder.
pub struct Report {
    pub folder: PathBuf,
    pub manifest: serde_json::Value,
}

impl Report {
    /// Writes the rows to `files` files in turn, each row once.
    pub fn write(folder: &Path, bucket: &str, how: How, files: usize, rows: &[Row]) -> Self {
        let dealt = (0..files).map(|file| rows.iter().skip(file).step_by(files));
        Self::write_each(folder, bucket, how, dealt)
    }

    pub fn write_each<'a>(
        folder: &Path,
        bucket: &str,
        how: How,
        files: impl Iterator<Item = impl Iterator<Item = &'a Row>>,
    ) -> Self {
        let (format, schema, ending) = match how {
            How::Csv => ("CSV", CSV, "csv.gz"),
            How::Parquet => ("Parquet", PARQUET, "parquet"),
        };
        let mut listed = Vec::new();
        for (number, rows) in files.enumerate() {
            let bytes = match how {
                How::Csv => csv(bucket, rows),
                How::Parquet => parquet(bucket, rows),
            };
            let key = format!("reports/{bucket}/all/data/{number}.{ending}");
            let path = folder.join(&key);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, &bytes).unwrap();
            listed.push(serde_json::json!({ "key": key, "size": bytes.len(), "MD5checksum": md5(&bytes) }));
        }
        let manifest = serde_json::json!({
            "sourceBucket": bucket, "destinationBucket": "arn:aws:s3:::reports", "version": "2016-11-30",
            "creationTimestamp": "1795132800000", "fileFormat": format, "fileSchema": schema, "files": listed,
        });
        let report = Self { folder: folder.to_owned(), manifest };
        report.save();
        report
    }

    pub fn key(&self) -> String {
        format!("reports/{}/all/2026-11-20T00-00Z/manifest.json", self.manifest["sourceBucket"].as_str().unwrap())
    }

    pub fn path(&self) -> PathBuf {
        self.folder.join(self.key())
    }

    /// Writes the current manifest and its checksum.
    pub fn save(&self) {
        let (path, text) = (self.path(), self.manifest.to_string());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path.with_extension("checksum"), md5(text.as_bytes())).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Returns the path of a data file.
    pub fn file(&self, number: usize) -> PathBuf {
        self.folder.join(self.manifest["files"][number]["key"].as_str().unwrap())
    }

    /// Replaces the bytes of a data file, and its MD5 in the manifest.
    pub fn replace(&mut self, number: usize, bytes: &[u8]) {
        std::fs::write(self.file(number), bytes).unwrap();
        self.manifest["files"][number]["MD5checksum"] = md5(bytes).into();
        self.save();
    }
}

pub fn md5(bytes: &[u8]) -> String {
    Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns rows as gzipped CSV.
pub fn csv<'a>(bucket: &str, rows: impl Iterator<Item = &'a Row>) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for row in rows {
        let key = utf8_percent_encode(&row.key, PLAIN).to_string().replace(' ', "+");
        let Row { etag, size, latest, delete_marker, .. } = row;
        let (etag, size) =
            if *delete_marker { (String::new(), String::new()) } else { (etag.clone(), size.to_string()) };
        writeln!(
            gzip,
            r#""{bucket}","{key}","v1","{latest}","{delete_marker}","{size}","2026-11-19T00:00:00.000Z","{etag}","STANDARD""#
        )
        .unwrap();
    }
    gzip.finish().unwrap()
}

/// Returns rows as Parquet with row groups of at most 50,000.
pub fn parquet<'a>(bucket: &str, rows: impl Iterator<Item = &'a Row>) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(PARQUET).unwrap());
    let properties = WriterProperties::builder().set_compression(parquet::basic::Compression::SNAPPY).build();
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).unwrap();
    let mut rows = rows.peekable();
    while rows.peek().is_some() {
        let rows: Vec<&Row> = rows.by_ref().take(50_000).collect();
        let text = |of: &dyn Fn(&Row) -> String| rows.iter().map(|row| ByteArray::from(of(row).as_str())).collect();
        let there: Vec<i16> = rows.iter().map(|row| i16::from(!row.delete_marker)).collect();
        let all = vec![1; rows.len()];
        let kept = || rows.iter().filter(|row| !row.delete_marker);
        let mut group = writer.next_row_group().unwrap();
        let mut number = 0;
        while let Some(mut column) = group.next_column().unwrap() {
            let texts: Vec<ByteArray> = match number {
                0 => text(&|_| bucket.to_owned()),
                1 => text(&|row| row.key.clone()),
                2 => text(&|_| "v1".to_owned()),
                7 => kept().map(|row| ByteArray::from(row.etag.as_str())).collect(),
                _ => text(&|_| "STANDARD".to_owned()),
            };
            let flags: Vec<bool> =
                rows.iter().map(|row| if number == 3 { row.latest } else { row.delete_marker }).collect();
            let numbers: Vec<i64> = match number {
                5 => kept().map(|row| row.size as i64).collect(),
                _ => rows.iter().map(|_| 1_795_046_400_000).collect(),
            };
            let levels = match number {
                0 | 1 => None,
                5 | 7 => Some(&there[..]),
                _ => Some(&all[..]),
            };
            match number {
                3 | 4 => drop(column.typed::<BoolType>().write_batch(&flags, levels, None).unwrap()),
                5 | 6 => drop(column.typed::<Int64Type>().write_batch(&numbers, levels, None).unwrap()),
                _ => drop(column.typed::<ByteArrayType>().write_batch(&texts, levels, None).unwrap()),
            }
            column.close().unwrap();
            number += 1;
        }
        group.close().unwrap();
    }
    writer.into_inner().unwrap()
}
