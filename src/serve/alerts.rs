//! `/v1/alerts`: the outbox of alerts.

use super::extract::{NoParameters, Parameters};
use super::paging::{self, rfc3339};
use super::problem::ApiProblem;
use super::{ApiState, blocking};
use crate::state::{AlertState, StoredAlert};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// An alert for one destination.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Alert)]
pub(super) struct ListedAlert {
    number: i64,
    /// The same for every destination and attempt.
    id: String,
    destination: String,
    /// `first`, `summary` or `overflow`.
    kind: &'static str,
    title: String,
    /// `pending`, `sent` or `failed`.
    state: String,
    attempts: u32,
    /// When the next attempt is due. `null` unless the alert waits for a further attempt.
    due: Option<String>,
    sent: Option<String>,
    /// Why the last attempt failed.
    error: Option<String>,
}

impl ListedAlert {
    fn new(stored: StoredAlert) -> Self {
        let is_due = stored.due > 0 && stored.state == AlertState::Pending.name();
        Self {
            number: stored.number,
            id: stored.alert.id(),
            destination: stored.destination,
            kind: stored.alert.kind.name(),
            title: stored.alert.title(),
            attempts: stored.attempts,
            due: is_due.then(|| rfc3339(stored.due.div_euclid(1_000))),
            state: stored.state,
            sent: stored.sent.map(rfc3339),
            error: stored.error,
        }
    }
}

/// A page of alerts.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AlertList {
    alerts: Vec<ListedAlert>,
    next_cursor: Option<String>,
}

/// The state of an alert.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum NamedAlertState {
    Pending,
    Sent,
    Failed,
}

impl From<NamedAlertState> for AlertState {
    fn from(state: NamedAlertState) -> Self {
        match state {
            NamedAlertState::Pending => Self::Pending,
            NamedAlertState::Sent => Self::Sent,
            NamedAlertState::Failed => Self::Failed,
        }
    }
}

/// Which alerts are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AlertParameters {
    #[param(inline)]
    state: Option<NamedAlertState>,
    /// The maximum number of alerts in a page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

const CURSOR_KIND: &str = "alerts";

/// Lists alerts, the newest first.
#[utoipa::path(get, path = "/v1/alerts", operation_id = "alerts", tag = "findings", params(AlertParameters),
    responses((status = 200, body = AlertList), super::RefusalResponses))]
pub(super) async fn list(
    State(api): State<Arc<ApiState>>,
    Parameters(parameters): Parameters<AlertParameters>,
) -> Result<Json<AlertList>, ApiProblem> {
    let limit = paging::limit(parameters.limit)?;
    let before = paging::number(CURSOR_KIND, parameters.cursor.as_deref())?.unwrap_or(i64::MAX);
    let state = parameters.state.map(Into::into);
    blocking(move || {
        let mut alerts = api.folder.state.alerts_before(state, before, limit + 1).map_err(ApiProblem::internal)?;
        alerts.reverse();
        let next_cursor = paging::next_cursor(CURSOR_KIND, &mut alerts, limit, |alert| alert.number.to_string());
        Ok(Json(AlertList { alerts: alerts.into_iter().map(ListedAlert::new).collect(), next_cursor }))
    })
    .await
}

/// Sends a failed alert again.
#[utoipa::path(post, path = "/v1/alerts/{number}/retry", operation_id = "retry_alert", tag = "findings",
    params(("number" = i64, Path, description = "The number of the alert")),
    responses(
        (status = 202, description = "The alert is pending"),
        (status = 404, body = ApiProblem, content_type = "application/problem+json"),
        super::RefusalResponses
    ))]
pub(super) async fn retry(
    State(api): State<Arc<ApiState>>,
    Path(number): Path<String>,
    _: NoParameters,
) -> Result<StatusCode, ApiProblem> {
    let number: i64 = number.parse().map_err(|_| ApiProblem::bad_request("the number of the alert is not a number"))?;
    blocking(move || {
        let now = jiff::Timestamp::now().as_second();
        match api.folder.state.retry_alerts(&[number], now).map_err(ApiProblem::internal)? {
            0 => Err(ApiProblem::not_found("there is no failed alert with this number")),
            _ => Ok(StatusCode::ACCEPTED),
        }
    })
    .await
}
