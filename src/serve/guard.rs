//! The guard in front of every route, and the routes that the description of the API does not contain.

use super::access::Requirement;
use super::audit::AuditEntry;
use super::console::{CONTENT_SECURITY_POLICY, FILES};
use super::extract::NoParameters;
use super::problem::ApiProblem;
use super::{ApiState, AuditTarget, Peer, openapi, sources};
use crate::state::TokenScope;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The time limit of a request.
const REQUEST_WITHIN: Duration = Duration::from_secs(30);

/// Headers of every response. API responses are never shown as a page, so they may load nothing.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
];

/// Returns all routes.
pub(super) fn router(api: Arc<ApiState>) -> Router {
    let (described, description) = openapi::routes();
    let description = Arc::new(description);
    let mut router = described
        .route("/v1/openapi.json", get(async move |_: NoParameters| Json(Arc::clone(&description))))
        .route("/sources", get(sources::list).post(sources::add_from_log_forwarder))
        .route("/sources/{id}", delete(sources::remove))
        .route("/sources/{id}/run", post(sources::run));
    for file in &FILES {
        let headers = [
            (header::CONTENT_TYPE, file.content_type),
            (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
            (header::CACHE_CONTROL, "no-cache"),
        ];
        router = router.route(file.path, get(async move || (headers, file.body)));
    }
    let unknown = async || ApiProblem::not_found("there is nothing at this path: see /v1/openapi.json");
    let method = async || {
        ApiProblem::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not support this method: see the header Allow")
    };
    router
        .fallback(unknown)
        .method_not_allowed_fallback(method)
        .layer(from_fn_with_state(Arc::clone(&api), guard))
        .layer(tower_http::catch_panic::CatchPanicLayer::custom(panicked))
        .with_state(api)
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    ApiProblem::internal("the server has a defect: its log contains the message of a panic").into_response()
}

/// Admits or refuses a request, limits its time, and records it.
async fn guard(State(api): State<Arc<ApiState>>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let Some(peer) = request.extensions().get::<Peer>().copied() else {
        return ApiProblem::internal("the connection has no address").into_response();
    };
    let route = request.extensions().get::<MatchedPath>().map_or("other", |route| route.as_str()).to_owned();
    let is_file = FILES.iter().any(|file| file.path == path);
    let requirement = Requirement::of(&method, &path, is_file);
    let target = AuditTarget::default();
    let mut token = None;
    let mut response = match api.access.admit(requirement, &method, request.headers(), peer.address.ip()) {
        Err(problem) => problem.into_response(),
        Ok(caller) => {
            token.clone_from(&caller.token);
            request.extensions_mut().insert(caller);
            request.extensions_mut().insert(target.clone());
            answer(&api, &path, request, next).await
        }
    };
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    let status = response.status();
    // The body was not read to its end, and the client may continue to send it, so the connection cannot be used again.
    if status == StatusCode::PAYLOAD_TOO_LARGE || status == StatusCode::REQUEST_TIMEOUT {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let target = target.take();
    // A query that AWS bills has a target too.
    if matches!(requirement, Requirement::Scope(TokenScope::Write) | Requirement::SignIn) || target.is_some() {
        let address = peer.address.ip().to_canonical().to_string();
        let mut entry = AuditEntry::new(method.as_str(), &path, address, status.as_u16());
        (entry.token, entry.target) = (token.as_deref(), target.as_deref());
        api.settings.audit.write(&entry);
    }
    api.metrics.request(known_method(&method), &route, status.as_u16(), started.elapsed());
    response
}

async fn answer(api: &ApiState, path: &str, request: Request, next: Next) -> Response {
    // The orchestrator must not restart a server that is busy.
    let _permit = match api.requests.try_acquire() {
        Ok(permit) => Some(permit),
        Err(_) if path == "/healthz" => None,
        Err(_) => {
            return ApiProblem::unavailable("the server answers too many requests: try again").into_response();
        }
    };
    match tokio::time::timeout(REQUEST_WITHIN, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = format!("the request was not complete within {} seconds", REQUEST_WITHIN.as_secs());
            ApiProblem::new(StatusCode::REQUEST_TIMEOUT, detail).into_response()
        }
    }
}

/// Returns the name of a method for the metrics. Unknown methods share one name, because a client can invent methods.
fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::PUT => "PUT",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
