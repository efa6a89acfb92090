//! The selected events of a plan as a stream of pages, for consumers that evaluate them further.

use super::scan::{QueryScan, ScanRequest, ScanVisitor, ScannedEvent, Visited};
use super::{QueryControl, QueryError, ScanReport};
use crate::plan::Plan;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use tokio::task::JoinHandle;
use trailhose_core::plan::evaluate::{EventClass, FieldSlots, PreparedPlan};

/// The size of a page in bytes. A longer event has a page of its own.
const PAGE_BYTES: usize = 256 << 10;

/// The maximum number of pages that wait for the consumer.
const WAITING_PAGES: usize = 8;

/// Some events of a stream.
#[derive(Debug, Clone, Default)]
pub struct EventPage {
    bytes: Vec<u8>,
    /// The end of each event in `bytes`.
    ends: Vec<usize>,
}

impl EventPage {
    /// Returns the number of events.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns whether the page contains no event.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns the bytes of the event with this index, without a line end.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(&self.bytes[start..end])
    }

    /// Returns the bytes of each event.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    fn push(&mut self, event: &[u8]) {
        self.bytes.extend_from_slice(event);
        self.ends.push(self.bytes.len());
    }
}

/// A running scan whose events are pulled by one consumer, on a thread that may block.
#[derive(Debug)]
pub struct EventStream {
    pages: Receiver<EventPage>,
    scan: Option<JoinHandle<Result<ScanReport, QueryError>>>,
}

impl QueryScan {
    /// Starts a scan of the events that a plan selects. Order, columns, groups and limit of the plan are not used. Must be
    /// called within a runtime with several threads.
    pub fn stream(self: &Arc<Self>, plan: &Plan, request: ScanRequest, control: QueryControl) -> EventStream {
        let (sender, pages) = sync_channel(WAITING_PAGES);
        let (scan, plan) = (Arc::clone(self), Arc::new(PreparedPlan::new(plan)));
        let scan = tokio::spawn(async move {
            let new_visitor = || PageVisitor {
                plan: Arc::clone(&plan),
                slots: FieldSlots::default(),
                page: EventPage::default(),
                pages: sender.clone(),
            };
            let (visitors, report) = scan.run(&request, &control, new_visitor).await?;
            let last = tokio::task::spawn_blocking(move || visitors.into_iter().for_each(PageVisitor::finish));
            last.await.map_err(|error| QueryError::Thread(error.to_string()))?;
            Ok(report)
        });
        EventStream { pages, scan: Some(scan) }
    }
}

impl EventStream {
    /// Waits for the next page. Returns `None` after the last one, or after an error that [`EventStream::finish`] returns.
    pub fn next_page(&mut self) -> Option<EventPage> {
        self.pages.recv().ok()
    }

    /// Stops the scan if it still runs, and returns what was read.
    ///
    /// # Errors
    /// The errors of [`QueryScan::run`].
    pub async fn finish(mut self) -> Result<ScanReport, QueryError> {
        let scan = self.scan.take();
        drop(self);
        match scan {
            Some(scan) => scan.await.map_err(|error| QueryError::Thread(error.to_string()))?,
            None => Ok(ScanReport::default()),
        }
    }
}

/// Collects the selected events of one thread.
#[derive(Debug)]
struct PageVisitor {
    plan: Arc<PreparedPlan>,
    slots: FieldSlots,
    page: EventPage,
    pages: SyncSender<EventPage>,
}

impl PageVisitor {
    fn finish(self) {
        if !self.page.is_empty() {
            // The consumer may need no further page.
            let _ = self.pages.send(self.page);
        }
    }
}

impl ScanVisitor for PageVisitor {
    fn visit(&mut self, event: ScannedEvent<'_>) -> Result<Visited, QueryError> {
        let class = self.plan.classify(event.bytes, &mut self.slots);
        if class != EventClass::Selected {
            return Ok(class.into());
        }
        if !event.is_first_copy() {
            return Ok(Visited::Copy);
        }
        if !self.page.is_empty() && self.page.bytes.len() + event.bytes.len() > PAGE_BYTES {
            let page = std::mem::take(&mut self.page);
            if self.pages.send(page).is_err() {
                return Ok(Visited::Enough);
            }
        }
        self.page.push(event.bytes);
        Ok(Visited::Selected)
    }
}

impl From<EventClass> for Visited {
    fn from(class: EventClass) -> Self {
        match class {
            EventClass::Selected => Self::Selected,
            EventClass::NotSelected => Self::NotSelected,
            EventClass::WithoutTime => Self::WithoutTime,
            EventClass::Invalid => Self::Invalid,
        }
    }
}
