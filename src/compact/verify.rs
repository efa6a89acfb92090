//! Reads a Parquet file back and compares it with what was written.

use super::CompactError;
use super::columns::{COLUMNS, ColumnValue, EventColumns};
use super::day_files::{FinishedFile, LinesDigest};
use parquet::column::reader::ColumnReader;
use parquet::data_type::ByteArray;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use std::fs::File;

/// Reads every column of a file. Checks that the file contains exactly the lines that were written into it, and that each
/// column has the value that its line has.
///
/// # Errors
/// The file cannot be read, or it differs.
pub(super) fn verify(file: &FinishedFile) -> Result<(), CompactError> {
    let differs = |reason: String| CompactError::Differs { day: file.day, reason };
    let opened = File::open(&file.path).map_err(|error| CompactError::temporary(&file.path, &error))?;
    let reader = SerializedFileReader::new(opened).map_err(CompactError::parquet)?;
    let (mut events, mut digest, mut expected) = (0, LinesDigest::default(), EventColumns::default());
    for number in 0..reader.num_row_groups() {
        let group = reader.get_row_group(number).map_err(CompactError::parquet)?;
        let rows = usize::try_from(group.metadata().num_rows()).unwrap_or_default();
        let mut columns = Vec::with_capacity(COLUMNS);
        for column in 0..COLUMNS {
            columns.push(read_column(&*group, column, rows)?.into_iter());
        }
        let mut lines = columns.pop().unwrap_or_default();
        for row in 0..rows {
            let line = lines.next().and_then(|(_, line)| line).unwrap_or_default();
            digest.add(line.data());
            expected.read(line.data());
            for (column, expected) in columns.iter_mut().zip(expected.values()) {
                let (level, value) = column.next().unwrap_or_default();
                let text = value.as_ref().map(ByteArray::data);
                let ColumnValue { level: expected_level, text: expected_text } = expected;
                if level != *expected_level || text != expected_text.as_ref().map(String::as_bytes) {
                    return Err(differs(format!("a column of row {row} of row group {number}")));
                }
            }
        }
        events += rows as u64;
    }
    if events != file.events {
        return Err(differs(format!("the number of events: {events} instead of {}", file.events)));
    }
    if digest != file.digest {
        return Err(differs("the bytes of an event".into()));
    }
    Ok(())
}

/// Reads a column of a row group: a level for each row, with the value if it is present.
fn read_column(
    group: &dyn RowGroupReader,
    column: usize,
    rows: usize,
) -> Result<Vec<(i16, Option<ByteArray>)>, CompactError> {
    let full_level = group.metadata().column(column).column_descr().max_def_level();
    let reader = group.get_column_reader(column).map_err(CompactError::parquet)?;
    let ColumnReader::ByteArrayColumnReader(mut reader) = reader else {
        return Err(CompactError::Parquet("a column does not contain texts".into()));
    };
    let (mut levels, mut values) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    let mut read = 0;
    while read < rows {
        let wanted = (full_level > 0).then_some(&mut levels);
        let (records, ..) =
            reader.read_records(rows - read, wanted, None, &mut values).map_err(CompactError::parquet)?;
        if records == 0 {
            break;
        }
        read += records;
    }
    if full_level == 0 {
        levels.resize(values.len(), 0);
    }
    let mut values = values.into_iter();
    Ok(levels.into_iter().map(|level| (level, if level == full_level { values.next() } else { None })).collect())
}
