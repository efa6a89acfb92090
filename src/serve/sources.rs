//! `/v1/sources`: lists, adds, removes and runs sources. `/sources` is the same for programs that were written for the
//! "AWS CloudTrail Log Forwarder", with its names of members.

use super::extract::{JsonBody, NoParameters};
use super::paging::rfc3339;
use super::problem::ApiProblem;
use super::runs::RunView;
use super::scheduler::{ScheduledSource, SourceOrigin, SourceSnapshot};
use super::source_settings::{ApiSourceSettings, DEFAULT_INTERVAL, MIN_INTERVAL};
use super::{ApiState, AuditTarget, blocking};
use crate::state::StoredSource;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;

/// The maximum number of sources, including those of the settings file. The API adds no further ones.
const MAX_SOURCES: usize = 500;

/// A source.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Source)]
pub(super) struct SourceView {
    id: String,
    /// `api` for a source that the API added. `settings` for a source in the settings file, which the API does not change.
    origin: &'static str,
    bucket: Option<String>,
    prefix: Option<String>,
    folder: Option<String>,
    interval_seconds: u64,
    accounts: Vec<String>,
    regions: Vec<String>,
    kinds: Vec<String>,
    since: Option<String>,
    until: Option<String>,
    role_arn: Option<String>,
    /// `waiting`, `running`, or `failed` if the last run failed.
    state: &'static str,
    last_run: Option<RunView>,
    /// When the next run starts. `null` while a run is in progress.
    next_run: Option<String>,
}

impl SourceView {
    fn new(snapshot: SourceSnapshot) -> Self {
        let SourceSnapshot { source, is_running, last, next } = snapshot;
        let is_failed = last.as_ref().is_some_and(|run| run.state == crate::state::RunState::Failed);
        let settings = source.settings;
        Self {
            id: source.id,
            origin: source.origin.name(),
            bucket: settings.bucket,
            prefix: settings.prefix,
            folder: settings.folder,
            interval_seconds: source.interval.as_secs(),
            accounts: settings.accounts,
            regions: settings.regions,
            kinds: settings.kinds,
            since: settings.since,
            until: settings.until,
            role_arn: settings.role_arn,
            state: match (is_running, is_failed) {
                (true, _) => "running",
                (false, true) => "failed",
                (false, false) => "waiting",
            },
            last_run: last.map(RunView::new),
            next_run: next.map(rfc3339),
        }
    }
}

/// All sources.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SourceList {
    sources: Vec<SourceView>,
}

/// A run that was requested.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RequestedRun {
    /// Its number in `/v1/runs`.
    run: i64,
}

/// Lists the sources.
#[utoipa::path(get, path = "/v1/sources", operation_id = "sources", tag = "sources",
    responses((status = 200, body = SourceList), super::RefusalResponses))]
pub(super) async fn list(State(api): State<Arc<ApiState>>, _: NoParameters) -> Json<SourceList> {
    Json(SourceList { sources: api.scheduler.snapshots().into_iter().map(SourceView::new).collect() })
}

/// Adds a source. It is durable before the answer.
#[utoipa::path(post, path = "/v1/sources", operation_id = "add_source", tag = "sources",
    request_body = ApiSourceSettings,
    responses(
        (status = 201, body = SourceView, headers(("Location" = String, description = "The path of the source"))),
        (status = 409, body = ApiProblem, content_type = "application/problem+json",
            description = "The ID exists, or another source contains the same objects"),
        super::BodyRefusalResponses
    ))]
pub(super) async fn add(
    State(api): State<Arc<ApiState>>,
    Extension(target): Extension<AuditTarget>,
    _: NoParameters,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, ApiProblem> {
    add_source(&api, &target, body, "/v1/sources").await
}

/// Removes a source that the API added. Its delivered events and the ledger are kept.
#[utoipa::path(delete, path = "/v1/sources/{id}", operation_id = "remove_source", tag = "sources",
    params(("id" = String, Path, description = "The ID of the source")),
    responses(
        (status = 204, description = "The source is removed"),
        (status = 404, body = ApiProblem, content_type = "application/problem+json"),
        (status = 409, body = ApiProblem, content_type = "application/problem+json",
            description = "The source is in the settings file"),
        super::RefusalResponses
    ))]
pub(super) async fn remove(
    State(api): State<Arc<ApiState>>,
    Path(id): Path<String>,
    _: NoParameters,
) -> Result<StatusCode, ApiProblem> {
    let Some(found) = api.scheduler.snapshot(&id) else { return Err(unknown_source(&id)) };
    if found.source.origin == SourceOrigin::Settings {
        return Err(ApiProblem::conflict(
            "the source is in trailhose.toml: remove it there and start the server again",
        ));
    }
    let (state, removed) = (Arc::clone(&api.folder.state), id.clone());
    blocking(move || state.remove_source(&removed).map_err(ApiProblem::internal)).await?;
    api.scheduler.remove(&id);
    Ok(StatusCode::NO_CONTENT)
}

/// Runs a source now. If a run is in progress, returns its number.
#[utoipa::path(post, path = "/v1/sources/{id}/run", operation_id = "run_source", tag = "sources",
    params(("id" = String, Path, description = "The ID of the source")),
    responses(
        (status = 202, body = RequestedRun),
        (status = 404, body = ApiProblem, content_type = "application/problem+json"),
        super::RefusalResponses
    ))]
pub(super) async fn run(
    State(api): State<Arc<ApiState>>,
    Path(id): Path<String>,
    _: NoParameters,
) -> Result<Response, ApiProblem> {
    let (scheduler, requested) = (Arc::clone(&api.scheduler), id.clone());
    let run = blocking(move || scheduler.run_now(&requested).map_err(ApiProblem::internal)).await?;
    let run = run.ok_or_else(|| unknown_source(&id))?;
    Ok((StatusCode::ACCEPTED, Json(RequestedRun { run })).into_response())
}

/// Adds a source with the members of the AWS CloudTrail Log Forwarder.
pub(super) async fn add_from_log_forwarder(
    State(api): State<Arc<ApiState>>,
    Extension(target): Extension<AuditTarget>,
    _: NoParameters,
    JsonBody(body): JsonBody<Value>,
) -> Result<Response, ApiProblem> {
    let is_of_log_forwarder = body.get("sourceType").is_some() || body.get("s3Bucket").is_some();
    let body = if is_of_log_forwarder { convert_log_forwarder(&api, body)? } else { body };
    add_source(&api, &target, body, "/sources").await
}

/// The members in which programs send access keys, without underscores and in lower case.
const KEY_NAMES: [&str; 4] = ["accesskeyid", "secretaccesskey", "sessiontoken", "secretkey"];

/// Refuses settings with access keys. The error does not contain their values.
fn refuse_keys(body: &Value) -> Result<(), ApiProblem> {
    let Value::Object(members) = body else { return Ok(()) };
    let plain = |name: &str| name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let is_key = |name: &str| KEY_NAMES.iter().any(|key| plain(name).ends_with(key));
    match members.keys().find(|name| is_key(name)) {
        None => Ok(()),
        Some(_) => Err(ApiProblem::unprocessable(
            "access keys are not stored: name a role with role_arn and external_id, or a profile of the server, or use the \
             server's own credentials (a role for the service account, or an instance profile)",
        )),
    }
}

/// Converts the members of the AWS CloudTrail Log Forwarder. `logFetchInterval` is in seconds.
fn convert_log_forwarder(api: &ApiState, body: Value) -> Result<Value, ApiProblem> {
    refuse_keys(&body)?;
    let Value::Object(members) = body else { return Err(not_an_object()) };
    let mut converted = serde_json::Map::new();
    for (name, value) in members {
        match (name.as_str(), &value) {
            ("sourceType", Value::String(kind)) if kind.eq_ignore_ascii_case("cloudtrail") => {}
            ("sourceType", _) => return Err(ApiProblem::unprocessable("sourceType: expected \"cloudtrail\"")),
            ("s3Bucket", _) => drop(converted.insert("bucket".into(), value)),
            ("s3Prefix", _) => drop(converted.insert("prefix".into(), value)),
            ("region", _) => drop(converted.insert("bucket_region".into(), value)),
            ("logFetchInterval", Value::Number(seconds)) if seconds.as_u64().is_some() => {
                converted.insert("interval".into(), format!("{seconds}s").into());
            }
            ("logFetchInterval", _) => {
                return Err(ApiProblem::unprocessable("logFetchInterval: expected a whole number of seconds"));
            }
            ("callbackUrl", Value::String(url)) if api.settings.forward_urls.contains(url) => {}
            ("callbackUrl", _) => {
                return Err(ApiProblem::unprocessable(
                    "callbackUrl: no [[forward]] in the settings delivers to this URL, and the API adds none: add it to \
                     trailhose.toml, or omit callbackUrl",
                ));
            }
            _ => drop(converted.insert(name, value)),
        }
    }
    Ok(Value::Object(converted))
}

fn not_an_object() -> ApiProblem {
    ApiProblem::unprocessable("the body is invalid: expected an object")
}

fn unknown_source(id: &str) -> ApiProblem {
    let id: String = id.chars().take(64).collect();
    ApiProblem::not_found(format!("there is no source {id:?}"))
}

async fn add_source(
    api: &Arc<ApiState>,
    target: &AuditTarget,
    body: Value,
    path: &str,
) -> Result<Response, ApiProblem> {
    if !body.is_object() {
        return Err(not_an_object());
    }
    refuse_keys(&body)?;
    let settings: ApiSourceSettings = serde_json::from_value(body)
        .map_err(|error| ApiProblem::unprocessable(format!("the body is invalid: {error}")))?;
    settings.check().map_err(ApiProblem::unprocessable)?;
    api.settings.allow.check(&settings).map_err(ApiProblem::forbidden)?;
    api.scheduler.runner().check(&settings).map_err(ApiProblem::unprocessable)?;
    let interval = interval(&settings).map_err(ApiProblem::unprocessable)?;
    let api = Arc::clone(api);
    // One source is added at a time, so that two requests cannot add the same one.
    let _adding = api.adding.lock().await;
    let others = api.scheduler.snapshots();
    if others.len() >= MAX_SOURCES {
        return Err(ApiProblem::conflict(format!("there are {MAX_SOURCES} sources already: remove some")));
    }
    let is_used = |id: &str| others.iter().any(|other| other.source.id == id);
    let id = settings.id.clone().unwrap_or_else(|| settings.new_id(is_used));
    if is_used(&id) {
        return Err(ApiProblem::conflict(format!("the source {id} exists already")));
    }
    if let Some(other) = others.iter().find(|other| other.source.settings.overlaps(&settings)) {
        let detail = format!("the source {} contains the same objects: remove it first", other.source.id);
        return Err(ApiProblem::conflict(detail));
    }
    target.set(&id);
    let stored = StoredSource {
        id: id.clone(),
        settings: serde_json::to_string(&settings).map_err(ApiProblem::internal)?,
        created: jiff::Timestamp::now().as_second(),
    };
    let state = Arc::clone(&api.folder.state);
    let is_new = blocking(move || state.add_source(&stored).map_err(ApiProblem::internal)).await?;
    if !is_new {
        return Err(ApiProblem::conflict(format!("the source {id} exists already")));
    }
    let source = ScheduledSource { id: id.clone(), origin: SourceOrigin::Api, settings, interval };
    api.scheduler.add(source).map_err(ApiProblem::internal)?;
    let added = api.scheduler.snapshot(&id).ok_or_else(|| unknown_source(&id))?;
    let location = format!("{path}/{id}");
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(SourceView::new(added))).into_response())
}

/// Returns the interval of a source.
pub(super) fn interval(settings: &ApiSourceSettings) -> Result<Duration, String> {
    let Some(text) = &settings.interval else { return Ok(DEFAULT_INTERVAL) };
    let expected = || {
        let seconds = MIN_INTERVAL.as_secs();
        format!("interval: expected a number with s, m or h, at least {seconds}s and at most 24h, for example 5m")
    };
    let units = [("s", 1), ("m", 60), ("h", 3_600)];
    let found = units.into_iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)));
    let (count, unit) = found.ok_or_else(expected)?;
    let is_number = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = count.parse::<u64>().ok().filter(|_| is_number).and_then(|count| count.checked_mul(unit));
    let interval = Duration::from_secs(seconds.ok_or_else(expected)?);
    let is_valid = interval >= MIN_INTERVAL && interval <= Duration::from_secs(86_400);
    if is_valid { Ok(interval) } else { Err(expected()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_between_ten_seconds_and_a_day() {
        let of = |text: &str| interval(&ApiSourceSettings { interval: Some(text.into()), ..Default::default() });
        assert_eq!(of("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(of("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(of("24h"), Ok(Duration::from_secs(86_400)));
        for text in ["", "0", "0s", "9s", "10", "-5m", "+5m", "1d", "25h", "99999999999999999999h", "5 m", "m"] {
            assert!(of(text).is_err(), "{text:?}");
        }
        assert_eq!(interval(&ApiSourceSettings::default()), Ok(DEFAULT_INTERVAL));
    }

    #[test]
    fn access_keys_are_refused_under_every_name() {
        for name in ["accessKeyId", "secret_access_key", "aws_session_token", "SecretAccessKey", "awsSecretKey"] {
            let body = serde_json::json!({"bucket": "b", name: "value of the key"});
            let problem = format!("{:?}", refuse_keys(&body).unwrap_err());
            assert!(problem.contains("role_arn") && !problem.contains("value of the key"), "{problem}");
        }
        refuse_keys(&serde_json::json!({"bucket": "b", "external_id": "x"})).unwrap();
    }
}
