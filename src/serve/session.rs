//! Sessions of the console: a cookie that is sent instead of a token. Sessions are in memory, so a restart ends them.

use super::access::{RequestCaller, cookie};
use super::extract::{JsonBody, NoParameters};
use super::problem::ApiProblem;
use super::token::{new_token, token_hash};
use super::{ApiState, Peer};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use utoipa::ToSchema;

/// The name of the cookie.
pub(super) const SESSION_COOKIE: &str = "trailhose_session";

/// The duration of a session.
const SESSION_FOR: Duration = Duration::from_secs(12 * 3_600);

/// The maximum number of sessions. A further session ends the oldest one.
const MAX_SESSIONS: usize = 1_000;

/// The sessions, by the hash of their secret.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<String, ConsoleSession>>);

#[derive(Debug)]
struct ConsoleSession {
    token_name: String,
    started: Instant,
}

impl Sessions {
    /// Starts a session and returns its secret.
    fn start(&self, token_name: String, now: Instant) -> Result<String, ApiProblem> {
        let secret = new_token().map_err(ApiProblem::internal)?;
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, session| now.saturating_duration_since(session.started) < SESSION_FOR);
        if sessions.len() >= MAX_SESSIONS {
            let oldest = sessions.iter().min_by_key(|(_, session)| session.started).map(|(hash, _)| hash.clone());
            oldest.and_then(|hash| sessions.remove(&hash));
        }
        sessions.insert(token_hash(&secret), ConsoleSession { token_name, started: now });
        Ok(secret)
    }

    /// Returns the name of the token with which a session was started.
    pub(super) fn token_name(&self, secret: &str, now: Instant) -> Option<String> {
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let session = sessions.get(&token_hash(secret))?;
        (now.saturating_duration_since(session.started) < SESSION_FOR).then(|| session.token_name.clone())
    }

    fn end(&self, secret: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&token_hash(secret));
    }
}

/// The body of a sign-in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SignIn {
    /// A token of `trailhose token create`.
    token: String,
}

/// Who is signed in.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SessionView {
    /// What the session allows.
    scopes: Vec<&'static str>,
    /// The name of the token. `null` on loopback without tokens.
    name: Option<String>,
    /// The version of the server.
    version: &'static str,
    /// Whether requests need a token.
    token_required: bool,
}

/// Starts a session.
#[utoipa::path(post, path = "/v1/session", operation_id = "start_session", tag = "session", security(()), request_body = SignIn,
    responses((status = 204, description = "The session is in the cookie `trailhose_session`"), super::BodyRefusalResponses))]
pub(super) async fn start(
    State(api): State<Arc<ApiState>>,
    Extension(peer): Extension<Peer>,
    _: NoParameters,
    JsonBody(body): JsonBody<SignIn>,
) -> Result<Response, ApiProblem> {
    let Some(token) = api.access.token(&body.token)? else {
        return Err(ApiProblem::unauthorized("the token is not valid: it is misspelled, or it was revoked"));
    };
    let secret = api.access.sessions.start(token.name, Instant::now())?;
    let seconds = SESSION_FOR.as_secs();
    Ok(with_cookie(&secret, seconds, peer.is_tls))
}

/// Ends the session.
#[utoipa::path(delete, path = "/v1/session", operation_id = "end_session", tag = "session", security(()),
    responses((status = 204, description = "There is no session any more"), super::RefusalResponses))]
pub(super) async fn end(
    State(api): State<Arc<ApiState>>,
    Extension(peer): Extension<Peer>,
    _: NoParameters,
    headers: HeaderMap,
) -> Response {
    if let Some(secret) = cookie(&headers, SESSION_COOKIE) {
        api.access.sessions.end(secret);
    }
    with_cookie("", 0, peer.is_tls)
}

fn with_cookie(secret: &str, seconds: u64, is_tls: bool) -> Response {
    let secure = if is_tls { "; Secure" } else { "" };
    let cookie = format!("{SESSION_COOKIE}={secret}; HttpOnly; SameSite=Strict; Path=/; Max-Age={seconds}{secure}");
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Ok(value) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response
}

/// Returns who is signed in.
#[utoipa::path(get, path = "/v1/session", operation_id = "session", tag = "session",
    responses((status = 200, body = SessionView), super::RefusalResponses))]
pub(super) async fn show(
    State(api): State<Arc<ApiState>>,
    Extension(caller): Extension<RequestCaller>,
    _: NoParameters,
) -> Result<Json<SessionView>, ApiProblem> {
    Ok(Json(SessionView {
        scopes: caller.scopes.iter().map(|scope| scope.name()).collect(),
        name: caller.token,
        version: env!("CARGO_PKG_VERSION"),
        token_required: api.access.is_token_required()?,
    }))
}
