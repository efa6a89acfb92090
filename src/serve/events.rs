//! `/v1/events`: finds delivered events with the index, and returns their own bytes.

use super::extract::{NoParameters, Parameters};
use super::paging::{self, rfc3339};
use super::problem::ApiProblem;
use super::{ApiState, blocking};
use crate::event::EventId;
use crate::index::{FoundEvent, IndexError, IndexPosition, IndexQuery, IndexedFields};
use crate::sink::jsonl::{EventPosition, read_event, read_scattered_events};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::path::PathBuf;
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// An event, with the fields by which it can be found.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Event)]
pub(super) struct ListedEvent {
    /// `eventID`. An event without one has an ID that is derived from its content.
    id: String,
    /// The event time, if it is valid.
    time: Option<String>,
    name: Option<String>,
    service: Option<String>,
    account: Option<String>,
    region: Option<String>,
    principal: Option<String>,
    access_key: Option<String>,
    address: Option<String>,
    error: Option<String>,
    /// The event's own bytes.
    #[schema(value_type = Object)]
    event: Box<RawValue>,
}

/// How many events the index contains.
#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
pub(super) struct IndexProgress {
    /// The events that the index has read.
    events: u64,
    /// Delivered events that the index has not read yet.
    behind: u64,
    /// Segments of files that the index skipped, because a person decided so or because they were pruned.
    skipped_segments: u64,
    /// Events of these segments, as far as their number is known. No search of the index finds them.
    skipped_events: u64,
}

/// A page of events.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventList {
    events: Vec<ListedEvent>,
    next_cursor: Option<String>,
    indexed: IndexProgress,
    /// Found events of this page that cannot be read, because their file is missing, damaged or pruned.
    unreadable: u64,
}

/// Which events are found: those that match all conditions. Values are compared exactly.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EventParameters {
    /// The earliest event time.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<String>,
    /// The end of the event times, excluded.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<String>,
    /// `eventName`.
    name: Option<String>,
    /// `eventSource`.
    service: Option<String>,
    account: Option<String>,
    region: Option<String>,
    /// `userIdentity.arn`, or the value that identifies a principal without an ARN.
    principal: Option<String>,
    /// `userIdentity.accessKeyId`.
    access_key: Option<String>,
    /// `sourceIPAddress`.
    address: Option<String>,
    /// `errorCode`.
    error: Option<String>,
    /// The maximum number of events in a page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

const CURSOR_KIND: &str = "events";

/// The number of events that one lookup in the index returns in a search for an ID.
const ID_BATCH: u32 = 64;

/// The size of the events of a page in bytes after which the page ends, also if it has fewer events than `limit`. The last
/// event can exceed this size.
const MAX_PAGE_BYTES: usize = 8 << 20;

/// The number of events that are read at once. It bounds the memory.
const READ_AT_ONCE: usize = 64;

/// Lists events, the newest first. Events without a valid time are last.
#[utoipa::path(get, path = "/v1/events", operation_id = "events", tag = "events", params(EventParameters),
    responses((status = 200, body = EventList), super::RefusalResponses))]
pub(super) async fn list(
    State(api): State<Arc<ApiState>>,
    Parameters(parameters): Parameters<EventParameters>,
) -> Result<Json<EventList>, ApiProblem> {
    let limit = paging::limit(parameters.limit)?;
    let query = query(parameters)?;
    blocking(move || page(&api, &query, limit).map(Json)).await
}

fn query(parameters: EventParameters) -> Result<IndexQuery, ApiProblem> {
    let after = paging::position(CURSOR_KIND, parameters.cursor.as_deref())?.map(|text| position(&text)).transpose()?;
    Ok(IndexQuery {
        id: None,
        since: paging::start_second("since", parameters.since.as_deref())?,
        until: paging::end_second("until", parameters.until.as_deref())?,
        without_time: false,
        name: parameters.name,
        source: parameters.service,
        account: parameters.account,
        region: parameters.region,
        principal: parameters.principal,
        access_key: parameters.access_key,
        address: parameters.address,
        error: parameters.error,
        after,
    })
}

fn position(text: &str) -> Result<IndexPosition, ApiProblem> {
    let (time, row) = text.split_once(',').ok_or_else(paging::invalid_cursor)?;
    let number = |text: &str| text.parse().map_err(|_| paging::invalid_cursor());
    Ok(IndexPosition { time: if time.is_empty() { None } else { Some(number(time)?) }, row: number(row)? })
}

fn page(api: &ApiState, query: &IndexQuery, limit: u32) -> Result<EventList, ApiProblem> {
    let indexed = indexed(api)?;
    let found = find(api, query, limit + 1)?;
    let (mut events, mut unreadable, mut bytes, mut read) = (Vec::new(), 0, 0, 0);
    'page: for found in found[..found.len().min(limit as usize)].chunks(READ_AT_ONCE) {
        let positions: Vec<_> = found.iter().map(|event| position_of(api, event)).collect();
        for (content, found) in read_scattered_events(&positions).into_iter().zip(found) {
            read += 1;
            match content.ok().and_then(|content| Some((content.len(), listed_event(&content, found.time)?))) {
                Some((length, view)) => {
                    bytes += length;
                    events.push(view);
                }
                None => unreadable += 1,
            }
            if bytes > MAX_PAGE_BYTES {
                break 'page;
            }
        }
    }
    let last = found[..read].last().filter(|_| found.len() > read);
    let next_cursor = last.map(|event| {
        let time = event.time.map(|time| time.to_string()).unwrap_or_default();
        paging::cursor(CURSOR_KIND, &format!("{time},{}", event.row))
    });
    Ok(EventList { events, next_cursor, indexed, unreadable })
}

/// Returns events of the index. Before the index exists, there are none.
fn find(api: &ApiState, query: &IndexQuery, limit: u32) -> Result<Vec<FoundEvent>, ApiProblem> {
    match api.folder.index.with(|index| index.find(query, limit)) {
        Err(IndexError::Missing(_)) => Ok(Vec::new()),
        found => found.map_err(ApiProblem::internal),
    }
}

/// Returns the bytes of an event, or `None` if they cannot be read.
fn read_found(api: &ApiState, found: &FoundEvent) -> Option<Vec<u8>> {
    let (path, position) = position_of(api, found);
    read_event(&path, position).ok()
}

fn position_of(api: &ApiState, found: &FoundEvent) -> (PathBuf, EventPosition) {
    (api.folder.segments.root().join(&found.path), found.position)
}

fn listed_event(content: &[u8], time: Option<i64>) -> Option<ListedEvent> {
    let fields = IndexedFields::read(content);
    let text = |field: &Option<std::borrow::Cow<'_, str>>| field.as_deref().map(str::to_owned);
    let id = text(&fields.event_id).filter(|id| !id.is_empty()).unwrap_or_else(|| fields.id(content).to_string());
    Some(ListedEvent {
        id,
        time: time.map(rfc3339),
        name: text(&fields.name),
        service: text(&fields.source),
        account: text(&fields.account),
        region: text(&fields.region),
        principal: text(&fields.principal),
        access_key: text(&fields.access_key),
        address: text(&fields.address),
        error: text(&fields.error),
        event: RawValue::from_string(String::from_utf8(content.to_vec()).ok()?).ok()?,
    })
}

fn indexed(api: &ApiState) -> Result<IndexProgress, ApiProblem> {
    api.indexed.get_or_update(|| {
        let progress = api.folder.index_progress().map_err(ApiProblem::internal)?;
        Ok(IndexProgress {
            events: progress.acknowledged,
            behind: progress.backlog.events,
            skipped_segments: progress.skipped_segments,
            skipped_events: progress.skipped_events,
        })
    })
}

/// Returns an event's own bytes.
#[utoipa::path(get, path = "/v1/events/{id}", operation_id = "event", tag = "events",
    params(("id" = String, Path, description = "`id` of the event in the list, or `event_id` of a finding")),
    responses(
        (status = 200, body = Object, content_type = "application/json"),
        (status = 404, body = ApiProblem, content_type = "application/problem+json"),
        super::RefusalResponses
    ))]
pub(super) async fn show(
    State(api): State<Arc<ApiState>>,
    Path(id): Path<String>,
    _: NoParameters,
) -> Result<Response, ApiProblem> {
    blocking(move || {
        let content = event_by_id(&api, id)?;
        let content =
            content.ok_or_else(|| ApiProblem::not_found("the index contains no readable event with this ID"))?;
        Ok(([(header::CONTENT_TYPE, "application/json")], content).into_response())
    })
    .await
}

/// Returns the bytes of an event. The index contains only the first 8 bytes of an ID, so it can also find events with other
/// IDs. After a rebuild, it finds an event twice until it is updated, and one of the two files is missing.
fn event_by_id(api: &ApiState, id: String) -> Result<Option<Vec<u8>>, ApiProblem> {
    let searched = EventId::from_text(id.as_bytes());
    let mut query = IndexQuery { id: Some(id), ..IndexQuery::default() };
    loop {
        let found = find(api, &query, ID_BATCH)?;
        let mut events = found.iter().filter_map(|found| read_found(api, found));
        if let Some(content) = events.find(|content| IndexedFields::read(content).id(content) == searched) {
            return Ok(Some(content));
        }
        let Some(last) = found.last().filter(|_| found.len() == ID_BATCH as usize) else { return Ok(None) };
        query.after = Some(IndexPosition { time: last.time, row: last.row });
    }
}
