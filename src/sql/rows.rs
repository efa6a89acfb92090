//! The rows of one read of the events. Several threads read them, and the statement receives them in pages.

use super::TableRead;
use super::guard::StopCheck;
use super::table::STOPPED;
use crate::plan::{Plan, TimeSpan};
use crate::query::{
    EventSelector, QueryControl, QueryError, QueryRow, QueryScan, ScanReport, ScanRequest, ScanVisitor, ScannedEvent,
    VisitOutcome,
};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use trailhose_core::plan::evaluate::{MemoryBudget, PreparedPlan, RowCollector};
use trailhose_virtual_table::Rows;

/// The size of a page in bytes. A longer row has a page of its own.
const PAGE_BYTES: usize = 128 << 10;

/// The maximum number of pages that wait for the statement.
const WAITING_PAGES: usize = 8;

/// While the statement waits for rows, the time between two checks whether it must stop.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// Rows that contain only the used columns.
type RowPage = Vec<QueryRow>;

/// What all reads of a statement share.
#[derive(Debug, Clone)]
pub(super) struct ReadContext {
    pub(super) scan: Arc<QueryScan>,
    pub(super) control: QueryControl,
    pub(super) stop_check: StopCheck,
    /// What was read so far.
    pub(super) reads: Arc<Mutex<Vec<TableRead>>>,
    pub(super) runtime: Handle,
}

/// The rows of a running scan.
pub(super) struct EventRows {
    /// `None` after the last page.
    pages: Option<Receiver<RowPage>>,
    page: std::vec::IntoIter<QueryRow>,
    row: QueryRow,
    /// For each column of the table, its index in a row if it is used.
    columns: Vec<Option<usize>>,
    scan: Option<JoinHandle<Result<ScanReport, QueryError>>>,
    span: TimeSpan,
    context: ReadContext,
}

impl EventRows {
    /// Starts a scan of the events that a plan selects in this span. `used` are the used columns of the table: those of the
    /// plan, and the event itself as the last one.
    pub(super) fn start(context: ReadContext, plan: &Plan, span: TimeSpan, files: ScanRequest, used: &[bool]) -> Self {
        let uses_event = used.last() == Some(&true);
        let prepared = Arc::new(PreparedPlan::new(plan));
        let event_index = prepared.columns().len();
        let mut next = 0;
        let mut columns: Vec<Option<usize>> = used
            .iter()
            .map(|used| {
                let index = used.then_some(next);
                next += usize::from(*used);
                index
            })
            .collect();
        if let Some(event) = columns.last_mut() {
            *event = uses_event.then_some(event_index);
        }
        let (sender, pages) = sync_channel(WAITING_PAGES);
        let (scan, control) = (Arc::clone(&context.scan), context.control.clone());
        let scan = context.runtime.spawn(async move {
            let memory = Arc::new(MemoryBudget::new(u64::MAX));
            let new_visitor = || RowVisitor {
                selector: EventSelector::new(&prepared),
                collector: RowCollector::new(&prepared, &memory),
                uses_event,
                page: RowPage::new(),
                bytes: 0,
                pages: sender.clone(),
            };
            let (visitors, report) = scan.run(&files, &control, new_visitor).await?;
            let last = tokio::task::spawn_blocking(move || visitors.into_iter().for_each(RowVisitor::finish));
            last.await.map_err(|error| QueryError::Thread(error.to_string()))?;
            Ok(report)
        });
        Self {
            pages: Some(pages),
            page: RowPage::new().into_iter(),
            row: QueryRow::new(),
            columns,
            scan: Some(scan),
            span,
            context,
        }
    }

    /// Returns the next page, or `None` after the last one.
    fn next_page(&mut self) -> Result<Option<RowPage>, String> {
        loop {
            let Some(pages) = &self.pages else { return Ok(None) };
            match pages.recv_timeout(CHECK_INTERVAL) {
                Ok(page) => return Ok(Some(page)),
                Err(RecvTimeoutError::Timeout) if self.context.stop_check.reason().is_some() => {
                    return Err(STOPPED.to_owned());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.end()?;
                    // The rows of a stopped scan are incomplete.
                    return match self.context.stop_check.reason() {
                        Some(_) => Err(STOPPED.to_owned()),
                        None => Ok(None),
                    };
                }
            }
        }
    }

    /// Ends the scan if it still runs, and records what was read.
    fn end(&mut self) -> Result<(), String> {
        self.pages = None;
        let Some(scan) = self.scan.take() else { return Ok(()) };
        let result = self.context.runtime.block_on(scan).map_err(|error| error.to_string())?;
        let scanned = result.map_err(|error| error.to_string())?;
        let read = TableRead { span: self.span, scanned };
        self.context.reads.lock().unwrap_or_else(PoisonError::into_inner).push(read);
        Ok(())
    }
}

impl Rows for EventRows {
    fn advance(&mut self) -> Result<bool, String> {
        loop {
            if let Some(row) = self.page.next() {
                self.row = row;
                return Ok(true);
            }
            match self.next_page()? {
                Some(page) => self.page = page.into_iter(),
                None => return Ok(false),
            }
        }
    }

    fn value(&self, column: usize) -> Option<&str> {
        let index = (*self.columns.get(column)?)?;
        self.row.get(index)?.as_deref()
    }
}

impl Drop for EventRows {
    fn drop(&mut self) {
        // The statement needs no further row, so an error is ignored.
        let _ = self.end();
    }
}

/// Converts the selected events of one thread into rows.
#[derive(Debug)]
struct RowVisitor {
    selector: EventSelector,
    collector: RowCollector,
    uses_event: bool,
    page: RowPage,
    /// The size of the page.
    bytes: usize,
    pages: SyncSender<RowPage>,
}

impl RowVisitor {
    fn finish(self) {
        if !self.page.is_empty() {
            // If the receiver was dropped, the statement needs no further row.
            let _ = self.pages.send(self.page);
        }
    }
}

impl ScanVisitor for RowVisitor {
    fn visit(&mut self, event: ScannedEvent<'_>) -> Result<VisitOutcome, QueryError> {
        let visited = self.selector.select(event);
        if visited != VisitOutcome::Selected {
            return Ok(visited);
        }
        let Some(mut row) = self.collector.add(event.bytes, self.selector.slots())? else {
            return Ok(VisitOutcome::NotSelected);
        };
        if self.uses_event {
            row.push(Some(String::from_utf8_lossy(event.bytes).into_owned()));
        }
        let size = row.iter().map(|value| size_of_val(value) + value.as_ref().map_or(0, String::len)).sum::<usize>();
        if !self.page.is_empty() && self.bytes + size > PAGE_BYTES {
            self.bytes = 0;
            if self.pages.send(std::mem::take(&mut self.page)).is_err() {
                return Ok(VisitOutcome::Enough);
            }
        }
        self.bytes += size;
        self.page.push(row);
        Ok(VisitOutcome::Selected)
    }
}
