//! Queries that AWS bills. They run in the background, so that a query is also stopped at its time limit if the client
//! disconnects. They run only in a workgroup that limits the bytes that a query may read.

use super::problem::ApiProblem;
use super::query::{MAX_ROWS_BYTES, QUERY_FOR};
use crate::plan::Plan;
use crate::query::{Answer, BilledEngine, QueryControl, QueryError, QueryRow, QuerySummary, RowSink};
use serde::Serialize;
use std::ops::ControlFlow;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, watch};
use utoipa::ToSchema;

/// What AWS bills for a query.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub(super) struct BilledBytes {
    /// The bytes that the query read.
    bytes: u64,
    /// Their list price in us-east-1 in dollars.
    dollars: f64,
    /// The limit of the workgroup on the bytes of one query.
    byte_limit: u64,
}

/// Collects rows up to [`MAX_ROWS_BYTES`].
#[derive(Debug, Default)]
struct LimitedRows {
    columns: Vec<String>,
    rows: Vec<QueryRow>,
    bytes: u64,
    is_cut: bool,
}

impl RowSink for LimitedRows {
    fn columns(&mut self, names: &[String]) {
        self.columns = names.to_vec();
    }

    fn row(&mut self, row: QueryRow) -> ControlFlow<()> {
        // The 24 bytes are the address, the length and the capacity of a value.
        self.bytes += row.iter().map(|value| value.as_ref().map_or(0, String::len) as u64 + 24).sum::<u64>();
        if self.bytes > MAX_ROWS_BYTES {
            self.is_cut = true;
            return ControlFlow::Break(());
        }
        self.rows.push(row);
        ControlFlow::Continue(())
    }
}

/// Runs a plan for up to [`QUERY_FOR`]. Returns the answer, whether further rows were left out because of their size, and what
/// AWS bills.
pub(super) async fn run_billed(
    engine: Arc<dyn BilledEngine>,
    plan: Plan,
    permit: OwnedSemaphorePermit,
) -> Result<(Answer, bool, BilledBytes), ApiProblem> {
    let refused = |error: QueryError| ApiProblem::unprocessable(error.to_string());
    let byte_limit = engine.byte_limit().await.map_err(refused)?.ok_or_else(|| {
        ApiProblem::unprocessable(
            "the workgroup has no limit on the bytes that a query reads (BytesScannedCutoffPerQuery): set one, or use the \
             workgroup of the stack, which has one",
        )
    })?;
    let (stop, halt) = watch::channel(false);
    let running = tokio::spawn(async move {
        let _permit = permit;
        let mut rows = LimitedRows::default();
        let control = QueryControl { halt, ..QueryControl::default() };
        let timer = async {
            tokio::time::sleep(QUERY_FOR).await;
            // The engine stops the query, and returns.
            stop.send_replace(true);
            std::future::pending::<()>().await;
        };
        let ran = tokio::select! {
            ran = engine.run(&plan, &control, &mut rows) => ran,
            () = timer => Err(QueryError::Engine("the query cannot be stopped".into())),
        };
        (ran, rows)
    });
    let (ran, LimitedRows { columns, rows, is_cut, .. }) = running.await.map_err(ApiProblem::internal)?;
    let QuerySummary { is_limited, scanned } = ran.map_err(refused)?;
    let billed = BilledBytes { bytes: scanned.bytes, dollars: scanned.dollars.unwrap_or(0.0), byte_limit };
    Ok((Answer { columns, rows, is_limited, scanned }, is_cut, billed))
}
