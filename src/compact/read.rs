//! Passes the events of the lake's files to the Parquet files.

use super::CompactError;
use super::columns::EventColumns;
use super::day_files::{DayFiles, StoredUnder};
use crate::object::ObjectRef;
use crate::query::{
    QueryControl, QueryError, QueryScan, ScanReport, ScanRequest, ScanVisitor, ScannedEvent, VisitOutcome,
};
use jiff::civil::Date;
use std::sync::{Arc, Mutex, PoisonError};

/// What was read.
#[derive(Debug, Default)]
pub(super) struct ReadReport {
    pub(super) scanned: ScanReport,
    /// Events without a valid event time.
    pub(super) without_time: u64,
    /// Lines that are not JSON objects.
    pub(super) not_objects: u64,
}

/// Writes each line into the files, which the threads share.
struct LineVisitor {
    files: Arc<Mutex<DayFiles>>,
    arrived: Date,
    columns: EventColumns,
    without_time: u64,
    not_objects: u64,
}

impl ScanVisitor for LineVisitor {
    fn visit(&mut self, event: ScannedEvent<'_>) -> Result<VisitOutcome, QueryError> {
        // The column contains text, so bytes that are not valid UTF-8 would be lost.
        if std::str::from_utf8(event.bytes).is_err() {
            return Ok(VisitOutcome::Invalid);
        }
        let is_object = self.columns.read(event.bytes);
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let stored = files.add(&self.columns, event.bytes, self.arrived);
        match stored.map_err(|error| QueryError::Consumer(error.to_string()))? {
            _ if !is_object => self.not_objects += 1,
            StoredUnder::ArrivedDay => self.without_time += 1,
            StoredUnder::EventDay => {}
        }
        Ok(VisitOutcome::Selected)
    }
}

/// Reads the files of an arrived day, and returns the Parquet files with what was read.
pub(super) async fn run(
    scan: &QueryScan,
    files: Vec<ObjectRef>,
    written: DayFiles,
    arrived: Date,
    control: &QueryControl,
) -> Result<(DayFiles, ReadReport), CompactError> {
    let written = Arc::new(Mutex::new(written));
    let new_visitor = || LineVisitor {
        files: Arc::clone(&written),
        arrived,
        columns: EventColumns::default(),
        without_time: 0,
        not_objects: 0,
    };
    let (visitors, scanned) = scan.run_files(files, &ScanRequest::default(), control, new_visitor).await?;
    let mut report = ReadReport { scanned, ..ReadReport::default() };
    for visitor in &visitors {
        report.without_time += visitor.without_time;
        report.not_objects += visitor.not_objects;
    }
    drop(visitors);
    match Arc::into_inner(written) {
        Some(written) => Ok((written.into_inner().unwrap_or_else(PoisonError::into_inner), report)),
        None => Err(CompactError::Unfinished),
    }
}
