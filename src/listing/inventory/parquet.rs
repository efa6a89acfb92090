//! Parquet report files: reads only the required columns, one batch of rows at a time.

use super::manifest::{ACCESS_TIER, BUCKET, DELETE_MARKER, ETAG, KEY, LATEST, SIZE, STORAGE_CLASS};
use super::row::InventoryRow;
use ::parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use ::parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, Int64Type};
use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use std::fs::File;

/// Number of rows decoded at a time.
const BATCH: usize = 1000;

/// Reads the rows of a file from its beginning until `visit_row` returns false.
pub(super) fn read(
    file: &File,
    visit_row: &mut dyn FnMut(InventoryRow<'_>) -> Result<bool, String>,
) -> Result<(), String> {
    let file = file.try_clone().map_err(|error| error.to_string())?;
    let reader = SerializedFileReader::new(file).map_err(parquet_error)?;
    for number in 0..reader.num_row_groups() {
        let group = reader.get_row_group(number).map_err(parquet_error)?;
        let columns = ParquetColumns {
            bucket: text(&*group, BUCKET)?,
            key: text(&*group, KEY)?,
            etag: text(&*group, ETAG)?,
            size: match column(&*group, SIZE)? {
                Some((ColumnReader::Int64ColumnReader(column), levels)) => ParquetColumn { column, levels },
                Some(_) => return Err(format!("expected 64-bit numbers in the column {SIZE}")),
                None => return Err(missing(SIZE)),
            },
            storage_class: optional_text(&*group, STORAGE_CLASS)?,
            access_tier: optional_text(&*group, ACCESS_TIER)?,
            latest: flag(&*group, LATEST)?,
            delete_marker: flag(&*group, DELETE_MARKER)?,
        };
        if !columns.read(group.metadata().num_rows(), visit_row)? {
            return Ok(());
        }
    }
    Ok(())
}

fn parquet_error(error: ParquetError) -> String {
    format!("cannot be read as Parquet: {error}")
}

/// A column reader. `levels` is 0 for a required column and 1 for an optional one.
struct ParquetColumn<T: DataType> {
    column: ColumnReaderImpl<T>,
    levels: i16,
}

impl<T: DataType> ParquetColumn<T> {
    /// Returns the next `count` values.
    fn next(&mut self, count: usize) -> Result<Vec<Option<T::T>>, String> {
        let (mut values, mut present) = (Vec::with_capacity(count), Vec::with_capacity(count));
        while present.len() < count {
            let before = (present.len(), values.len());
            let levels = (self.levels > 0).then_some(&mut present);
            let (records, ..) =
                self.column.read_records(count - before.0, levels, None, &mut values).map_err(parquet_error)?;
            if self.levels == 0 {
                present.resize(values.len(), 0);
            }
            if records == 0 {
                return Err(format!("expected {count} more rows in each column, found {}", before.0));
            }
        }
        let mut values = values.into_iter();
        let levels = self.levels;
        Ok(present.into_iter().map(|level| if level == levels { values.next() } else { None }).collect())
    }
}

fn column(group: &dyn RowGroupReader, name: &str) -> Result<Option<(ColumnReader, i16)>, String> {
    let schema = group.metadata().schema_descr();
    let Some(at) = schema.columns().iter().position(|column| column.path().string() == name) else { return Ok(None) };
    let column = schema.column(at);
    if column.max_rep_level() > 0 || column.max_def_level() > 1 {
        return Err(format!("expected one value per row in the column {name}, found a nested column"));
    }
    Ok(Some((group.get_column_reader(at).map_err(parquet_error)?, column.max_def_level())))
}

fn missing(name: &str) -> String {
    format!("expected a column {name} from the manifest, found none")
}

fn text(group: &dyn RowGroupReader, name: &str) -> Result<ParquetColumn<ByteArrayType>, String> {
    optional_text(group, name)?.ok_or_else(|| missing(name))
}

fn optional_text(group: &dyn RowGroupReader, name: &str) -> Result<Option<ParquetColumn<ByteArrayType>>, String> {
    match column(group, name)? {
        Some((ColumnReader::ByteArrayColumnReader(column), levels)) => Ok(Some(ParquetColumn { column, levels })),
        Some(_) => Err(format!("expected text in the column {name}")),
        None => Ok(None),
    }
}

fn flag(group: &dyn RowGroupReader, name: &str) -> Result<Option<ParquetColumn<BoolType>>, String> {
    match column(group, name)? {
        Some((ColumnReader::BoolColumnReader(column), levels)) => Ok(Some(ParquetColumn { column, levels })),
        Some(_) => Err(format!("expected true and false in the column {name}")),
        None => Ok(None),
    }
}

/// The column readers of a row group.
struct ParquetColumns {
    bucket: ParquetColumn<ByteArrayType>,
    key: ParquetColumn<ByteArrayType>,
    etag: ParquetColumn<ByteArrayType>,
    size: ParquetColumn<Int64Type>,
    storage_class: Option<ParquetColumn<ByteArrayType>>,
    access_tier: Option<ParquetColumn<ByteArrayType>>,
    latest: Option<ParquetColumn<BoolType>>,
    delete_marker: Option<ParquetColumn<BoolType>>,
}

impl ParquetColumns {
    /// Reads all rows of the group. Returns false if `visit_row` stopped the reading.
    fn read(
        mut self,
        rows: i64,
        visit_row: &mut dyn FnMut(InventoryRow<'_>) -> Result<bool, String>,
    ) -> Result<bool, String> {
        let mut left = usize::try_from(rows).map_err(|_| format!("expected a number of rows, found {rows}"))?;
        while left > 0 {
            let count = left.min(BATCH);
            left -= count;
            let (buckets, keys) = (self.bucket.next(count)?, self.key.next(count)?);
            let (etags, sizes) = (self.etag.next(count)?, self.size.next(count)?);
            let classes = self.storage_class.as_mut().map(|column| column.next(count)).transpose()?;
            let tiers = self.access_tier.as_mut().map(|column| column.next(count)).transpose()?;
            let latest = self.latest.as_mut().map(|column| column.next(count)).transpose()?;
            let markers = self.delete_marker.as_mut().map(|column| column.next(count)).transpose()?;
            for at in 0..count {
                let text = |texts: &Option<Vec<Option<ByteArray>>>| texts.as_ref().and_then(|texts| texts[at].clone());
                let (class, tier) = (text(&classes), text(&tiers));
                let flag = |flags: &Option<Vec<Option<bool>>>| flags.as_ref().and_then(|flags| flags[at]);
                let row = InventoryRow {
                    bucket: buckets[at].as_ref().map_or(&[], ByteArray::data),
                    key: keys[at].as_ref().map_or(&[], ByteArray::data),
                    etag: etags[at].as_ref().map(ByteArray::data),
                    size: sizes[at].and_then(|size| u64::try_from(size).ok()),
                    storage_class: class.as_ref().map(ByteArray::data),
                    access_tier: tier.as_ref().map(ByteArray::data),
                    latest: flag(&latest),
                    delete_marker: flag(&markers),
                };
                if !visit_row(row)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}
