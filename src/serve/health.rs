//! `/healthz` and `/readyz`: the state of the process, for an orchestrator.

use super::extract::NoParameters;
use super::problem::ApiProblem;
use super::{ApiState, blocking};
use axum::extract::State;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Answers `ok` while the process runs.
#[utoipa::path(get, path = "/healthz", operation_id = "healthz", tag = "operation", security(()),
    responses((status = 200, body = String, content_type = "text/plain"), super::RefusalResponses))]
pub(super) async fn healthz(_: NoParameters) -> &'static str {
    "ok\n"
}

/// Answers `ok` while the server can read its databases and is not stopping.
#[utoipa::path(get, path = "/readyz", operation_id = "readyz", tag = "operation", security(()),
    responses((status = 200, body = String, content_type = "text/plain"), super::RefusalResponses))]
pub(super) async fn readyz(State(api): State<Arc<ApiState>>, _: NoParameters) -> Result<&'static str, ApiProblem> {
    if api.is_stopping.load(Ordering::Relaxed) {
        return Err(ApiProblem::unavailable("the server is stopping"));
    }
    blocking(move || {
        let folder = &api.folder;
        folder.state.tokens().map_err(|error| ApiProblem::unavailable(error.to_string()))?;
        folder.segments.last_id().map_err(|error| ApiProblem::unavailable(error.to_string()))?;
        Ok("ok\n")
    })
    .await
}
