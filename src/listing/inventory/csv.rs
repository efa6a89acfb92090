//! CSV report files: gzipped, without a header, with quoted fields and URL-encoded keys.

use super::manifest::CsvColumns;
use super::row::InventoryRow;
use ::csv::{ByteRecord, ReaderBuilder};
use flate2::read::MultiGzDecoder;
use percent_encoding::percent_decode;
use std::borrow::Cow;
use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};

/// Reads the rows of a file from its beginning until `visit_row` returns false.
pub(super) fn read(
    mut file: &File,
    columns: &CsvColumns,
    visit_row: &mut dyn FnMut(InventoryRow<'_>) -> Result<bool, String>,
) -> Result<(), String> {
    file.seek(SeekFrom::Start(0)).map_err(|error| error.to_string())?;
    // S3 may write a file as several gzip members. A missing or wrong trailer is an error.
    let text = MultiGzDecoder::new(BufReader::new(file));
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text);
    let mut record = ByteRecord::new();
    while reader.read_byte_record(&mut record).map_err(|error| format!("not gzipped CSV: {error}"))? {
        let line = || record.position().map_or(0, ::csv::Position::line);
        if record.len() != columns.count {
            let (expected, found) = (columns.count, record.len());
            return Err(format!("line {}: expected {expected} columns from the manifest, found {found}", line()));
        }
        let size = match std::str::from_utf8(&record[columns.size]) {
            Ok("") => None,
            text => Some(text.ok().and_then(|text| text.parse().ok()).ok_or_else(|| {
                format!("line {}: expected a size, found {:?}", line(), String::from_utf8_lossy(&record[columns.size]))
            })?),
        };
        let flag = |column: Option<usize>| match column.map(|column| &record[column]) {
            None => Ok(None),
            Some(text) if text.eq_ignore_ascii_case(b"true") => Ok(Some(true)),
            Some(text) if text.eq_ignore_ascii_case(b"false") => Ok(Some(false)),
            Some(text) => {
                Err(format!("line {}: expected true or false, found {:?}", line(), String::from_utf8_lossy(text)))
            }
        };
        let key = decode(&record[columns.key]);
        let row = InventoryRow {
            bucket: &record[columns.bucket],
            key: &key,
            etag: Some(&record[columns.etag]),
            size,
            storage_class: columns.storage_class.map(|column| &record[column]),
            access_tier: columns.access_tier.map(|column| &record[column]),
            latest: flag(columns.latest)?,
            delete_marker: flag(columns.delete_marker)?,
        };
        if !visit_row(row)? {
            return Ok(());
        }
    }
    Ok(())
}

/// Decodes a key. A literal plus is encoded as `%2B`, so a plus is an encoded space.
fn decode(key: &[u8]) -> Cow<'_, [u8]> {
    if !key.iter().any(|byte| matches!(byte, b'+' | b'%')) {
        return Cow::Borrowed(key);
    }
    let spaced: Vec<u8> = key.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
    Cow::Owned(percent_decode(&spaced).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_decoded_as_s3_encodes_it() {
        for (written, stored) in [
            ("AWSLogs/111122223333/a.json.gz", "AWSLogs/111122223333/a.json.gz"),
            ("a%20b+c%2Bd%25", "a b c+d%"),
            ("%C3%BC%F0%9F%A6%80", "ü🦀"),
        ] {
            assert_eq!(decode(written.as_bytes()), stored.as_bytes(), "{written}");
        }
    }
}
