//! Reads the parameters and the body of a request. Unknown parameters and members are errors.

use super::problem::ApiProblem;
use axum::body::to_bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;

/// The maximum size of a body in bytes. A plan or a source takes a few kilobytes.
pub(super) const MAX_BODY: usize = 64 << 10;

/// The parameters of the query.
#[derive(Debug)]
pub(super) struct Parameters<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiProblem> {
        match Query::<T>::try_from_uri(&parts.uri) {
            Ok(Query(parameters)) => Ok(Self(parameters)),
            Err(error) => {
                let reason = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
                Err(ApiProblem::bad_request(format!("the query is invalid: {reason}")))
            }
        }
    }
}

/// A request without parameters in its query.
#[derive(Debug)]
pub(super) struct NoParameters;

impl<S: Sync> FromRequestParts<S> for NoParameters {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiProblem> {
        match parts.uri.query() {
            None | Some("") => Ok(Self),
            Some(_) => Err(ApiProblem::bad_request("the query is invalid: this route has no parameters")),
        }
    }
}

/// A body in JSON.
#[derive(Debug)]
pub(super) struct JsonBody<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiProblem;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiProblem> {
        let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        // A page of another site can send this type only after a CORS preflight request, which this server refuses.
        if !media_type.eq_ignore_ascii_case("application/json") {
            let detail = "the body must have the header Content-Type: application/json";
            return Err(ApiProblem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        let too_large = || {
            let detail = format!("the body exceeds {MAX_BODY} bytes");
            ApiProblem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
        };
        let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        if length.and_then(|length| length.parse::<u64>().ok()).is_some_and(|length| length > MAX_BODY as u64) {
            return Err(too_large());
        }
        let body = to_bytes(request.into_body(), MAX_BODY).await.map_err(|_| too_large())?;
        serde_json::from_slice(&body).map(Self).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => ApiProblem::unprocessable(format!("the body is invalid: {error}")),
            _ => ApiProblem::bad_request(format!("the body is not JSON: {error}")),
        })
    }
}
