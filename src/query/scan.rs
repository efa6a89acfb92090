//! The scan: passes every event of the listed files to visitors, on several threads and with bounded memory.

use super::layout::ScanLayout;
use super::listing::FileListing;
use super::partition_pruning::PartitionPruning;
use super::prefilter::Prefilter;
use super::report::ScanReport;
use super::seen::SeenEvents;
use super::{QueryControl, QueryError, ScanProgress, lines, object};
use crate::decode::{Event, EventOffsets, SelectedFields};
use crate::event::EventId;
use crate::object::ObjectRef;
use crate::plan::Plan;
use crate::sink::jsonl::CommittedSegments;
use crate::source::Source;
use jiff::civil::Date;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::watch;

/// The maximum number of listed files that wait for a thread.
const LISTED_FILES: usize = 4_096;

/// A folder or bucket of events.
#[derive(Debug)]
pub struct QueryScan {
    source: Arc<dyn Source>,
    bucket: String,
    prefix: String,
    /// The folder, if the source is not a bucket.
    folder: Option<PathBuf>,
    layout: ScanLayout,
    threads: usize,
    /// The record of the folder, if it is one of `trailhose sync`.
    record: Option<Arc<CommittedSegments>>,
}

/// Which events a scan reads.
#[derive(Debug, Clone, Default)]
pub struct ScanRequest {
    /// Which files are read.
    pub pruning: PartitionPruning,
    /// Which lines are not parsed.
    pub prefilter: Option<Prefilter>,
    /// The fields whose offsets [`ScannedEvent::offsets`] contains.
    pub fields: Option<Arc<SelectedFields>>,
}

impl ScanRequest {
    /// Returns the request for the events of a plan. `arrived_until` excludes what arrived after this day.
    pub fn of_plan(plan: &Plan, arrived_until: Option<Date>) -> Self {
        let pruning = PartitionPruning::of_plan(plan).arrived_until(arrived_until);
        Self { pruning, prefilter: Prefilter::of_plan(plan), fields: None }
    }
}

/// The files of a request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FileTotals {
    /// The number of files.
    pub files: u64,
    /// Their stored bytes.
    pub bytes: u64,
    /// What is not read.
    pub report: ScanReport,
}

/// An event that a scan found.
#[derive(Debug, Clone, Copy)]
pub struct ScannedEvent<'a> {
    /// The event's own bytes, without a line end.
    pub bytes: &'a [u8],
    /// The offsets of the requested fields, if the event is from one of CloudTrail's own objects.
    pub offsets: Option<EventOffsets<'a>>,
    copies: Option<(EventId, &'a SeenEvents)>,
}

impl<'a> ScannedEvent<'a> {
    pub(super) fn new(bytes: &'a [u8], copies: Option<(EventId, &'a SeenEvents)>) -> Self {
        Self { bytes, offsets: None, copies }
    }

    /// Returns true for the first copy of an event for which this function is called, and false for further copies. Only
    /// CloudTrail's own objects contain copies.
    pub fn is_first_copy(&self) -> bool {
        self.copies.is_none_or(|(id, seen)| seen.is_first(id))
    }
}

/// What a visitor did with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VisitOutcome {
    /// The event is selected.
    Selected,
    /// The event is selected, but it is a copy of an earlier one.
    Copy,
    /// The event is not selected.
    NotSelected,
    /// The event is in no time span.
    WithoutTime,
    /// The bytes are not an event.
    Invalid,
    /// The scan can end, because no further event is needed.
    Enough,
}

/// Receives the events of one thread of a scan.
pub trait ScanVisitor: Send {
    /// Receives an event.
    ///
    /// # Errors
    /// An error ends the scan.
    fn visit(&mut self, event: ScannedEvent<'_>) -> Result<VisitOutcome, QueryError>;
}

impl QueryScan {
    /// Opens a source. `folder` is its path if it is not a bucket. `threads` is the number of files that are read at once.
    ///
    /// # Errors
    /// The source cannot be listed.
    pub async fn open(
        source: Arc<dyn Source>,
        bucket: &str,
        prefix: &str,
        folder: Option<PathBuf>,
        threads: usize,
    ) -> Result<Self, QueryError> {
        let layout = ScanLayout::find(&*source, bucket, prefix).await?;
        let (bucket, prefix) = (bucket.to_owned(), prefix.to_owned());
        Ok(Self { source, bucket, prefix, folder, layout, threads: threads.max(1), record: None })
    }

    /// Reads exactly what is committed to the folder according to its record.
    #[must_use]
    pub fn with_record(self, record: Option<Arc<CommittedSegments>>) -> Self {
        Self { record, ..self }
    }

    /// Returns the layout.
    pub fn layout(&self) -> &ScanLayout {
        &self.layout
    }

    /// Returns the folder, if the source is not a bucket.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Counts the files of a request without reading them.
    ///
    /// # Errors
    /// The source cannot be listed.
    pub async fn totals(&self, request: &ScanRequest, control: &QueryControl) -> Result<FileTotals, QueryError> {
        let (sender, mut files) = mpsc::channel(LISTED_FILES);
        let control = QueryControl { progress: Arc::default(), ..control.clone() };
        let listing = self.listing(request, &control);
        let list = async move {
            let sender = sender;
            listing.run(&sender).await
        };
        let count = async {
            let mut totals = FileTotals::default();
            while let Some(file) = files.recv().await {
                let file: ObjectRef = file;
                totals.files += 1;
                totals.bytes += file.size.unwrap_or(0);
            }
            totals
        };
        let (report, totals) = futures_util::future::join(list, count).await;
        Ok(FileTotals { report: report?, ..totals })
    }

    fn listing<'a>(&'a self, request: &'a ScanRequest, control: &'a QueryControl) -> FileListing<'a> {
        FileListing {
            source: &self.source,
            bucket: &self.bucket,
            prefix: &self.prefix,
            layout: &self.layout,
            pruning: &request.pruning,
            record: self.record.as_ref(),
            control,
        }
    }

    /// Passes the events of a request to visitors, one for each thread, and returns them with what was read. Events are in
    /// no defined order.
    ///
    /// # Errors
    /// The source cannot be listed, or a visitor failed.
    pub async fn run<V: ScanVisitor + 'static>(
        &self,
        request: &ScanRequest,
        control: &QueryControl,
        new_visitor: impl FnMut() -> V,
    ) -> Result<(Vec<V>, ScanReport), QueryError> {
        let list = async |files: Sender<ObjectRef>| self.listing(request, control).run(&files).await;
        self.run_listing(list, request, control, new_visitor).await
    }

    /// Passes the events of given files of this source to visitors, as [`QueryScan::run`] does.
    ///
    /// # Errors
    /// A visitor failed.
    pub async fn run_files<V: ScanVisitor + 'static>(
        &self,
        files: Vec<ObjectRef>,
        request: &ScanRequest,
        control: &QueryControl,
        new_visitor: impl FnMut() -> V,
    ) -> Result<(Vec<V>, ScanReport), QueryError> {
        let progress = &control.progress;
        progress.found_files.fetch_add(files.len() as u64, Ordering::Relaxed);
        let bytes = files.iter().map(|file| file.size.unwrap_or(0)).sum();
        progress.found_bytes.fetch_add(bytes, Ordering::Relaxed);
        let list = async |sender: Sender<ObjectRef>| {
            for file in files {
                // The threads end early if no further event is needed.
                if sender.send(file).await.is_err() {
                    break;
                }
            }
            Ok(ScanReport::default())
        };
        self.run_listing(list, request, control, new_visitor).await
    }

    async fn run_listing<V: ScanVisitor + 'static>(
        &self,
        list: impl AsyncFnOnce(Sender<ObjectRef>) -> Result<ScanReport, QueryError>,
        request: &ScanRequest,
        control: &QueryControl,
        mut new_visitor: impl FnMut() -> V,
    ) -> Result<(Vec<V>, ScanReport), QueryError> {
        let started = Instant::now();
        let (sender, files) = mpsc::channel(LISTED_FILES);
        let files = Arc::new(Mutex::new(files));
        let shared = Arc::new(SharedScan {
            source: Arc::clone(&self.source),
            folder: self.folder.clone(),
            is_lines: matches!(self.layout, ScanLayout::Lines(_)),
            is_committed: self.record.is_some(),
            prefilter: request.prefilter.clone(),
            fields: request.fields.clone(),
            seen: SeenEvents::default(),
            halt: control.halt.clone(),
            progress: Arc::clone(&control.progress),
            is_done: AtomicBool::new(false),
            runtime: Handle::current(),
        });
        let threads: Vec<_> = (0..self.threads)
            .map(|_| {
                let (shared, files, visitor) = (Arc::clone(&shared), Arc::clone(&files), new_visitor());
                tokio::task::spawn_blocking(move || ScanThread::new(&shared, visitor).run(&files))
            })
            .collect();
        // Only the threads keep the receiver, so that the listing ends when all threads have ended.
        drop(files);
        let listed = list(sender).await;
        let mut visitors = Vec::new();
        let mut report = ScanReport::default();
        let mut failed = None;
        for thread in threads {
            match thread.await {
                Ok((Ok(()), visitor, part)) => {
                    visitors.push(visitor);
                    report.merge(part);
                }
                Ok((Err(error), ..)) => failed = failed.or(Some(error)),
                Err(error) => failed = failed.or(Some(QueryError::Thread(error.to_string()))),
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        report.merge(listed?);
        report.may_count_copies = shared.seen.is_full();
        report.duration = started.elapsed();
        Ok((visitors, report))
    }
}

/// What the threads of a scan share.
#[derive(Debug)]
pub(super) struct SharedScan {
    pub(super) source: Arc<dyn Source>,
    folder: Option<PathBuf>,
    is_lines: bool,
    /// Whether the sizes of the files are their committed lengths.
    is_committed: bool,
    pub(super) prefilter: Option<Prefilter>,
    pub(super) fields: Option<Arc<SelectedFields>>,
    pub(super) seen: SeenEvents,
    halt: watch::Receiver<bool>,
    pub(super) progress: Arc<ScanProgress>,
    /// Whether no further event is needed, or a thread failed.
    is_done: AtomicBool,
    pub(super) runtime: Handle,
}

/// One thread of a scan.
pub(super) struct ScanThread<'a, V> {
    pub(super) shared: &'a SharedScan,
    visitor: V,
    pub(super) report: ScanReport,
    /// Lines of the current file that are not events.
    invalid_lines: u64,
    /// The buffer for lines, reused for all files.
    pub(super) buffer: Vec<u8>,
}

/// Why the rest of the current file is not read.
#[derive(Debug)]
pub(super) enum FileStop {
    /// The scan was stopped, or no further event is needed.
    Scan,
    /// The file is not JSON Lines but one of CloudTrail's logs. Nothing of it was visited.
    Log,
    /// The file cannot be read. The text says why.
    File(String),
    /// A visitor failed.
    Query(QueryError),
}

impl<'a, V: ScanVisitor> ScanThread<'a, V> {
    fn new(shared: &'a SharedScan, visitor: V) -> Self {
        Self { shared, visitor, report: ScanReport::default(), invalid_lines: 0, buffer: Vec::new() }
    }

    fn run(mut self, files: &Mutex<Receiver<ObjectRef>>) -> (Result<(), QueryError>, V, ScanReport) {
        let result = loop {
            let next = files.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
            let Some(file) = next else { break Ok(()) };
            if self.is_stopped() {
                break Ok(());
            }
            if let Err(error) = self.file(&file) {
                self.shared.is_done.store(true, Ordering::Relaxed);
                break Err(error);
            }
        };
        (result, self.visitor, self.report)
    }

    /// Returns whether the scan must end, and records if the user stopped it.
    pub(super) fn is_stopped(&mut self) -> bool {
        if self.shared.is_done.load(Ordering::Relaxed) {
            return true;
        }
        let is_halted = *self.shared.halt.borrow();
        self.report.stopped |= is_halted;
        is_halted
    }

    fn file(&mut self, file: &ObjectRef) -> Result<(), QueryError> {
        let (before, bytes) = (self.report.events, self.report.bytes);
        let result = match (&self.shared.folder, self.shared.is_lines) {
            (Some(folder), true) => {
                let is_committed = self.shared.is_committed;
                lines::read_path(self, &folder.join(&file.key), file.size.unwrap_or(0), is_committed)
            }
            (None, true) => lines::read_object(self, file),
            (_, false) => object::read(self, file),
        };
        let result = match result {
            Err(FileStop::Log) => {
                self.report.bytes = bytes;
                object::read(self, file)
            }
            read => read,
        };
        let name = match &self.shared.folder {
            Some(folder) => folder.join(&file.key).display().to_string(),
            None => file.to_string(),
        };
        self.shared.progress.read_files.fetch_add(1, Ordering::Relaxed);
        let invalid_lines = std::mem::take(&mut self.invalid_lines);
        if invalid_lines > 0 {
            self.report.invalid(&name, invalid_lines, "not a JSON object in UTF-8, too long, or nested too deeply");
        }
        match result {
            Ok(()) => self.report.files += 1,
            Err(FileStop::Scan | FileStop::Log) => {}
            Err(FileStop::File(reason)) => match self.report.events - before {
                0 => self.report.skip(&name, reason),
                events => self.report.skip(&name, format!("{reason}; the {events} events before are included")),
            },
            Err(FileStop::Query(error)) => return Err(error),
        }
        Ok(())
    }

    /// Passes a line of a file to the visitor.
    pub(super) fn visit_line(&mut self, line: &[u8]) -> Result<(), FileStop> {
        self.visit(ScannedEvent::new(line, None))
    }

    /// Passes a decoded event to the visitor.
    pub(super) fn visit_event(&mut self, event: &Event<'_>) -> Result<(), FileStop> {
        let copies = Some((event.id, &self.shared.seen));
        self.visit(ScannedEvent { offsets: event.offsets, ..ScannedEvent::new(event.line, copies) })
    }

    fn visit(&mut self, event: ScannedEvent<'_>) -> Result<(), FileStop> {
        match self.visitor.visit(event).map_err(FileStop::Query)? {
            VisitOutcome::Selected => self.report.selected += 1,
            VisitOutcome::Copy => self.report.copies += 1,
            VisitOutcome::NotSelected => {}
            VisitOutcome::WithoutTime => self.report.without_time += 1,
            VisitOutcome::Invalid => self.invalid_lines += 1,
            VisitOutcome::Enough => {
                self.shared.is_done.store(true, Ordering::Relaxed);
                return Err(FileStop::Scan);
            }
        }
        Ok(())
    }

    /// Counts a line that is too long to be an event.
    pub(super) fn too_long(&mut self) {
        self.invalid_lines += 1;
    }

    /// Counts events that were read.
    pub(super) fn count(&mut self, events: u64) {
        self.report.events += events;
        self.shared.progress.events.fetch_add(events, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
