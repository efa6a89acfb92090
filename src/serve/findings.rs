//! `/v1/findings`: lists findings, shows one in OCSF, and changes its state.

use super::extract::{JsonBody, NoParameters, Parameters};
use super::paging::{self, rfc3339};
use super::problem::ApiProblem;
use super::{ApiState, blocking};
use crate::finding::ocsf;
use crate::state::{FindingFilter, FindingState, StoredFinding};
use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// The maximum length of a note in bytes.
const MAX_NOTE: usize = 2_000;

/// A finding.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Finding)]
pub(super) struct ListedFinding {
    id: String,
    /// The ID of the rule.
    rule: String,
    /// The title of the rule. `null` if the rule exceeded `findings_per_hour`, because then the details of the finding are not
    /// stored.
    title: Option<String>,
    level: Option<String>,
    /// `open`, `acknowledged`, `closed` or `suppressed`.
    state: String,
    note: Option<String>,
    /// The event time, if it is valid.
    time: Option<String>,
    recorded: String,
    account: Option<String>,
    principal: Option<String>,
    /// The ID of the event in `/v1/events/{id}`.
    event_id: Option<String>,
    event_name: Option<String>,
}

impl ListedFinding {
    fn new(stored: StoredFinding) -> Self {
        let (rule, event) = stored.finding.map(|finding| (finding.rule, finding.event)).unzip();
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Self {
            id: stored.id,
            rule: stored.rule,
            title: rule.as_ref().map(|rule| rule.title.clone()),
            level: rule.map(|rule| rule.level),
            state: stored.state,
            note: stored.note,
            time: stored.time.map(rfc3339),
            recorded: rfc3339(stored.recorded),
            account: event.as_ref().and_then(|event| text(&event.account)),
            principal: event.as_ref().and_then(|event| text(&event.principal)),
            event_id: event.as_ref().map(|event| event.id.clone()),
            event_name: event.as_ref().and_then(|event| text(&event.name)),
        }
    }
}

/// A page of findings.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FindingList {
    findings: Vec<ListedFinding>,
    next_cursor: Option<String>,
}

/// The state of a finding.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum NamedFindingState {
    Open,
    Acknowledged,
    Closed,
    Suppressed,
}

impl From<NamedFindingState> for FindingState {
    fn from(state: NamedFindingState) -> Self {
        match state {
            NamedFindingState::Open => Self::Open,
            NamedFindingState::Acknowledged => Self::Acknowledged,
            NamedFindingState::Closed => Self::Closed,
            NamedFindingState::Suppressed => Self::Suppressed,
        }
    }
}

/// Which findings are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct FindingParameters {
    #[param(inline)]
    state: Option<NamedFindingState>,
    /// The ID of a rule.
    rule: Option<String>,
    /// The earliest event time.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<String>,
    /// The maximum number of findings in a page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// The change of a finding.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FindingChange {
    state: NamedFindingState,
    /// The new note. Without one, the last note is kept.
    #[schema(max_length = 2000)]
    note: Option<String>,
}

const CURSOR_KIND: &str = "findings";

/// Lists findings, the newest first.
#[utoipa::path(get, path = "/v1/findings", operation_id = "findings", tag = "findings", params(FindingParameters),
    responses((status = 200, body = FindingList), super::RefusalResponses))]
pub(super) async fn list(
    State(api): State<Arc<ApiState>>,
    Parameters(parameters): Parameters<FindingParameters>,
) -> Result<Json<FindingList>, ApiProblem> {
    let limit = paging::limit(parameters.limit)?;
    let after = paging::position(CURSOR_KIND, parameters.cursor.as_deref())?.map(|text| {
        let (time, id) = text.split_once(',').ok_or_else(paging::invalid_cursor)?;
        Ok((time.parse().map_err(|_| paging::invalid_cursor())?, id.to_owned()))
    });
    let filter = FindingFilter {
        state: parameters.state.map(Into::into),
        rule: parameters.rule,
        since: paging::start_second("since", parameters.since.as_deref())?,
        limit: limit + 1,
        after: after.transpose()?,
    };
    blocking(move || {
        let mut found = api.folder.state.findings(&filter).map_err(ApiProblem::internal)?;
        let next_cursor = paging::next_cursor(CURSOR_KIND, &mut found, limit, |finding| {
            format!("{},{}", finding.time.unwrap_or(finding.recorded), finding.id)
        });
        Ok(Json(FindingList { findings: found.into_iter().map(ListedFinding::new).collect(), next_cursor }))
    })
    .await
}

fn unknown_finding() -> ApiProblem {
    ApiProblem::not_found("there is no finding with this ID")
}

fn find(api: &ApiState, id: &str) -> Result<StoredFinding, ApiProblem> {
    let found = api.folder.state.findings_by_id(id).map_err(ApiProblem::internal)?;
    found.into_iter().find(|finding| finding.id == id).ok_or_else(unknown_finding)
}

/// Returns a finding as a Detection Finding of OCSF.
#[utoipa::path(get, path = "/v1/findings/{id}", operation_id = "finding", tag = "findings",
    params(("id" = String, Path, description = "The ID of the finding")),
    responses(
        (status = 200, body = Object),
        (status = 404, body = ApiProblem, content_type = "application/problem+json"),
        super::RefusalResponses
    ))]
pub(super) async fn show(
    State(api): State<Arc<ApiState>>,
    Path(id): Path<String>,
    _: NoParameters,
) -> Result<Json<Value>, ApiProblem> {
    blocking(move || {
        let stored = find(&api, &id)?;
        let only_id = || {
            ApiProblem::not_found(
                "the details of this finding are not stored: its rule had more findings in that hour than findings_per_hour. \
                 Raise findings_per_hour in [detect] to store the details of later findings",
            )
        };
        let finding = stored.finding.as_ref().ok_or_else(only_id)?;
        Ok(Json(ocsf(finding, &stored.state, stored.recorded)))
    })
    .await
}

/// Changes the state of a finding.
#[utoipa::path(patch, path = "/v1/findings/{id}", operation_id = "change_finding", tag = "findings",
    params(("id" = String, Path, description = "The ID of the finding")), request_body = FindingChange,
    responses(
        (status = 200, body = ListedFinding),
        (status = 404, body = ApiProblem, content_type = "application/problem+json"),
        super::BodyRefusalResponses
    ))]
pub(super) async fn change(
    State(api): State<Arc<ApiState>>,
    Path(id): Path<String>,
    _: NoParameters,
    JsonBody(body): JsonBody<FindingChange>,
) -> Result<Json<ListedFinding>, ApiProblem> {
    if body.note.as_ref().is_some_and(|note| note.len() > MAX_NOTE) {
        return Err(ApiProblem::unprocessable(format!("note: expected at most {MAX_NOTE} bytes")));
    }
    blocking(move || {
        let state = &api.folder.state;
        let is_known = state.set_finding_state(&id, body.state.into(), body.note.as_deref());
        if !is_known.map_err(ApiProblem::internal)? {
            return Err(unknown_finding());
        }
        find(&api, &id).map(|stored| Json(ListedFinding::new(stored)))
    })
    .await
}
