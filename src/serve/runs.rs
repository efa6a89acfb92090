//! `GET /v1/runs`: the runs of sources, the newest first.

use super::extract::Parameters;
use super::paging::{self, rfc3339};
use super::problem::ApiProblem;
use super::{ApiState, blocking};
use crate::state::StoredRun;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// A run of a source.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Run)]
pub(super) struct RunView {
    /// Later runs have higher numbers.
    number: i64,
    /// The ID of the source.
    source: String,
    started: String,
    ended: Option<String>,
    /// `running`, `succeeded`, `failed` or `stopped`.
    state: &'static str,
    /// Objects that it completed.
    objects: u64,
    /// Events in these objects.
    events: u64,
    delivered: u64,
    duplicates: u64,
    filtered: u64,
    /// Objects that it quarantined.
    quarantined: u64,
    error: Option<String>,
}

impl RunView {
    pub(super) fn new(run: StoredRun) -> Self {
        let counts = run.counts;
        Self {
            number: run.number,
            source: run.source,
            started: rfc3339(run.started),
            ended: run.ended.map(rfc3339),
            state: run.state.name(),
            objects: counts.objects,
            events: counts.events,
            delivered: counts.delivered,
            duplicates: counts.duplicates,
            filtered: counts.filtered,
            quarantined: counts.quarantined,
            error: run.error,
        }
    }
}

/// A page of runs.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RunList {
    runs: Vec<RunView>,
    next_cursor: Option<String>,
}

/// Which runs are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RunParameters {
    /// The ID of a source.
    source: Option<String>,
    /// The maximum number of runs in a page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

const CURSOR_KIND: &str = "runs";

/// Lists runs.
#[utoipa::path(get, path = "/v1/runs", operation_id = "runs", tag = "sources", params(RunParameters),
    responses((status = 200, body = RunList), super::RefusalResponses))]
pub(super) async fn list(
    State(api): State<Arc<ApiState>>,
    Parameters(parameters): Parameters<RunParameters>,
) -> Result<Json<RunList>, ApiProblem> {
    let limit = paging::limit(parameters.limit)?;
    let before = paging::number(CURSOR_KIND, parameters.cursor.as_deref())?.unwrap_or(i64::MAX);
    blocking(move || {
        let source = parameters.source.as_deref();
        let mut runs = api.folder.state.runs(source, before, limit + 1).map_err(ApiProblem::internal)?;
        let next_cursor = paging::next_cursor(CURSOR_KIND, &mut runs, limit, |run| run.number.to_string());
        let runs = runs.into_iter().map(|run| RunView::new(api.scheduler.with_live_counts(run))).collect();
        Ok(Json(RunList { runs, next_cursor }))
    })
    .await
}
