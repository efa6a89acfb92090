//! The engine that scans files on this computer or in a bucket.

use super::index::{IndexLookup, IndexedEvents};
use super::scan::{QueryScan, ScanRequest, ScanVisitor, ScannedEvent, VisitOutcome};
use super::selector::EventSelector;
use super::{QueryControl, QueryEngine, QueryError, QueryRow, QuerySummary, RowSink};
use crate::plan::{EventOrder, Plan, PlanOutput};
use async_trait::async_trait;
use jiff::civil::Date;
use std::sync::Arc;
use tokio::sync::mpsc::{self, Sender};
use trailhose_core::plan::evaluate::{MemoryBudget, PreparedPlan, RowCollector};

/// The memory that groups, distinct values and sorted events of a query may use, in bytes.
const MAX_ROWS_BYTES: u64 = 512 << 20;

/// The number of rows that wait for the consumer.
const WAITING_ROWS: usize = 256;

/// Runs plans with a scan.
#[derive(Debug, Clone)]
pub struct LocalEngine {
    scan: Arc<QueryScan>,
    max_bytes: u64,
    arrived_until: Option<Date>,
    index: Option<Arc<IndexLookup>>,
}

impl LocalEngine {
    /// Creates an engine.
    pub fn new(scan: Arc<QueryScan>) -> Self {
        Self { scan, max_bytes: MAX_ROWS_BYTES, arrived_until: None, index: None }
    }

    /// Excludes events that arrived or were delivered after this day. The result is complete only if no event of the plan
    /// arrived later. Only the user can know this.
    #[must_use]
    pub fn arrived_until(self, day: Option<Date>) -> Self {
        Self { arrived_until: day, ..self }
    }

    /// Uses the index of the folder for plans that select few events. The index must contain every delivered event.
    #[must_use]
    pub fn with_index(self, index: Option<IndexLookup>) -> Self {
        Self { index: index.map(Arc::new), ..self }
    }

    /// Limits the memory of the rows, in bytes.
    #[must_use]
    pub fn max_bytes(self, max_bytes: u64) -> Self {
        Self { max_bytes, ..self }
    }

    /// Returns the scan.
    pub fn scan(&self) -> &Arc<QueryScan> {
        &self.scan
    }

    /// Returns which events are read for a plan.
    pub fn request(&self, plan: &Plan) -> ScanRequest {
        ScanRequest::of_plan(plan, self.arrived_until)
    }

    /// Returns the positions of the events that can fulfill a plan, or `None` if the index cannot find them or if they are
    /// too many. Then all files are read.
    pub async fn indexed(&self, plan: &Plan) -> Option<IndexedEvents> {
        let (index, plan) = (Arc::clone(self.index.as_ref()?), plan.clone());
        tokio::task::spawn_blocking(move || index.find(&plan)).await.ok()?
    }

    /// Reads events that the index found. Returns `None` if one of them cannot be read: its file was replaced or removed after
    /// the index was built.
    async fn read_indexed(
        &self,
        prepared: &Arc<PreparedPlan>,
        found: IndexedEvents,
        control: &QueryControl,
        rows: &mut dyn RowSink,
    ) -> Result<Option<QuerySummary>, QueryError> {
        let (prepared, memory) = (Arc::clone(prepared), Arc::new(MemoryBudget::new(self.max_bytes)));
        let halt = control.halt.clone();
        let read = tokio::task::spawn_blocking(move || found.read(&prepared, &memory, &halt)).await;
        let Some((collected, mut scanned)) = read.map_err(|error| QueryError::Thread(error.to_string()))?? else {
            return Ok(None);
        };
        // Events of a folder of `trailhose sync` have no days of arrival.
        scanned.arrival_ignored = self.arrived_until.is_some();
        for row in collected.rows {
            if rows.row(row).is_break() {
                break;
            }
        }
        Ok(Some(QuerySummary { is_limited: collected.is_limited, scanned }))
    }

    async fn collect(
        &self,
        prepared: &Arc<PreparedPlan>,
        request: &ScanRequest,
        control: &QueryControl,
        rows: &mut dyn RowSink,
    ) -> Result<QuerySummary, QueryError> {
        let memory = Arc::new(MemoryBudget::new(self.max_bytes));
        let new_visitor = || CollectingVisitor {
            selector: EventSelector::new(prepared),
            collector: RowCollector::new(prepared, &memory),
        };
        let (visitors, scanned) = self.scan.run(request, control, new_visitor).await?;
        let mut all = RowCollector::new(prepared, &memory);
        for visitor in visitors {
            all.merge(visitor.collector)?;
        }
        let collected = all.finish();
        for row in collected.rows {
            if rows.row(row).is_break() {
                break;
            }
        }
        Ok(QuerySummary { is_limited: collected.is_limited, scanned })
    }

    async fn pass_as_read(
        &self,
        plan: &Plan,
        prepared: &Arc<PreparedPlan>,
        request: &ScanRequest,
        control: &QueryControl,
        rows: &mut dyn RowSink,
    ) -> Result<QuerySummary, QueryError> {
        let (sender, mut passed) = mpsc::channel::<QueryRow>(WAITING_ROWS);
        let memory = Arc::new(MemoryBudget::new(self.max_bytes));
        let scan = async {
            let sender = sender;
            let new_visitor = || PassingVisitor {
                selector: EventSelector::new(prepared),
                collector: RowCollector::new(prepared, &memory),
                rows: sender.clone(),
            };
            self.scan.run(request, control, new_visitor).await.map(|(_, report)| report)
        };
        // The scan ends when it cannot pass on a row.
        let pass = async move {
            let mut left = plan.limit().unwrap_or(u64::MAX);
            while let Some(row) = passed.recv().await {
                if left == 0 {
                    return true;
                }
                left -= 1;
                if rows.row(row).is_break() {
                    return false;
                }
            }
            false
        };
        let (scanned, is_limited) = futures_util::future::join(scan, pass).await;
        Ok(QuerySummary { is_limited, scanned: scanned? })
    }
}

#[async_trait]
impl QueryEngine for LocalEngine {
    async fn run(
        &self,
        plan: &Plan,
        control: &QueryControl,
        rows: &mut dyn RowSink,
    ) -> Result<QuerySummary, QueryError> {
        let prepared = Arc::new(PreparedPlan::new(plan));
        let request = self.request(plan);
        rows.columns(prepared.columns());
        if let Some(found) = self.indexed(plan).await
            && let Some(summary) = self.read_indexed(&prepared, found, control, rows).await?
        {
            return Ok(summary);
        }
        match plan.output() {
            PlanOutput::Events { order: EventOrder::AsRead, .. } => {
                self.pass_as_read(plan, &prepared, &request, control, rows).await
            }
            PlanOutput::Events { .. } | PlanOutput::Groups(_) => self.collect(&prepared, &request, control, rows).await,
        }
    }
}

/// Collects the rows of one thread.
#[derive(Debug)]
struct CollectingVisitor {
    selector: EventSelector,
    collector: RowCollector,
}

impl ScanVisitor for CollectingVisitor {
    fn visit(&mut self, event: ScannedEvent<'_>) -> Result<VisitOutcome, QueryError> {
        let visited = self.selector.select(event);
        if visited == VisitOutcome::Selected {
            self.collector.add(event.bytes, self.selector.slots())?;
        }
        Ok(visited)
    }
}

/// Passes on the rows of one thread.
#[derive(Debug)]
struct PassingVisitor {
    selector: EventSelector,
    collector: RowCollector,
    rows: Sender<QueryRow>,
}

impl ScanVisitor for PassingVisitor {
    fn visit(&mut self, event: ScannedEvent<'_>) -> Result<VisitOutcome, QueryError> {
        let visited = self.selector.select(event);
        if visited == VisitOutcome::Selected
            && let Some(row) = self.collector.add(event.bytes, self.selector.slots())?
            && self.rows.blocking_send(row).is_err()
        {
            return Ok(VisitOutcome::Enough);
        }
        Ok(visited)
    }
}
