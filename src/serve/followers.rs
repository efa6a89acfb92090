//! `GET /v1/followers`: the consumers of the delivered files, and how far they have read.

use super::extract::NoParameters;
use super::problem::ApiProblem;
use super::{ApiState, blocking};
use crate::follow;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// A follower.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Follower)]
pub(super) struct ListedFollower {
    name: String,
    /// Events that it acknowledged.
    events: u64,
    /// Delivered events that it has not acknowledged.
    events_behind: u64,
    segments_behind: u64,
    /// Segments that it skipped, because a person decided so or because they were pruned.
    skipped_segments: u64,
    /// Events of these segments, as far as their number is known.
    skipped_events: u64,
    /// `current`, `behind`, or `failed` if its position does not belong to the folder.
    state: &'static str,
    error: Option<String>,
}

/// All followers.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FollowerList {
    followers: Vec<ListedFollower>,
}

/// Lists the followers.
#[utoipa::path(get, path = "/v1/followers", operation_id = "followers", tag = "operation",
    responses((status = 200, body = FollowerList), super::RefusalResponses))]
pub(super) async fn list(State(api): State<Arc<ApiState>>, _: NoParameters) -> Result<Json<FollowerList>, ApiProblem> {
    blocking(move || Ok(Json(FollowerList { followers: followers(&api)? }))).await
}

fn followers(api: &ApiState) -> Result<Vec<ListedFollower>, ApiProblem> {
    let folder = &api.folder;
    let names = folder.state.followers().map_err(ApiProblem::internal)?;
    let listed = |(name, _): (String, _)| {
        let progress = folder.progress(&name).map_err(ApiProblem::internal)?;
        let error = follow::position(&name, &folder.segments, &folder.state).err().map(|error| error.to_string());
        Ok(ListedFollower {
            events: progress.acknowledged,
            events_behind: progress.backlog.events,
            segments_behind: progress.backlog.segments,
            skipped_segments: progress.skipped_segments,
            skipped_events: progress.skipped_events,
            state: match (&error, progress.backlog.segments) {
                (Some(_), _) => "failed",
                (None, 0) => "current",
                (None, _) => "behind",
            },
            error,
            name,
        })
    };
    names.into_iter().map(listed).collect()
}
