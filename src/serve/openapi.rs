//! The description of the API in OpenAPI 3.1, which is generated from the routes.

use super::problem::ApiProblem;
use super::{ApiState, alerts, days, events, findings, followers, health, metrics, query, runs, session, sources};
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "trailhose",
        description = "Sources, runs, events, findings and alerts of `trailhose serve`.",
        license(name = "Apache-2.0")
    ),
    components(schemas(ApiProblem))
)]
struct Description;

/// Returns the described routes, and their description.
pub(super) fn routes() -> (axum::Router<Arc<ApiState>>, utoipa::openapi::OpenApi) {
    let (router, mut description) = OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(sources::list, sources::add))
        .routes(routes!(sources::remove))
        .routes(routes!(sources::run))
        .routes(routes!(runs::list))
        .routes(routes!(events::list))
        .routes(routes!(events::show))
        .routes(routes!(days::list))
        .routes(routes!(findings::list))
        .routes(routes!(findings::show, findings::change))
        .routes(routes!(alerts::list))
        .routes(routes!(alerts::retry))
        .routes(routes!(followers::list))
        .routes(routes!(query::query))
        .routes(routes!(query::ask))
        .routes(routes!(session::start, session::end, session::show))
        .routes(routes!(metrics::show))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .split_for_parts();
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("A token")).build();
    description.components.get_or_insert_default().add_security_scheme("token", SecurityScheme::Http(token));
    let none: [&str; 0] = [];
    description.security = Some(vec![SecurityRequirement::new("token", none)]);
    (router, description)
}

/// The responses to refused requests, for routes without a body.
pub(super) struct RefusalResponses;

/// The responses to refused requests, for routes with a body.
pub(super) struct BodyRefusalResponses;

const REFUSALS: [(&str, &str); 7] = [
    ("400", "A parameter is invalid"),
    ("401", "A valid token is required"),
    ("403", "The token has no scope for this, or the request comes from a page of another site"),
    ("408", "The request was not complete in time: try again, and ask for less"),
    ("429", "Too many requests: wait for the seconds in Retry-After"),
    ("500", "A file or a database cannot be read"),
    ("503", "The server answers too many requests or queries, or it is stopping: try again"),
];

const BODY_REFUSALS: [(&str, &str); 3] =
    [("413", "The body is too large"), ("415", "The body is not application/json"), ("422", "The body is invalid")];

fn refusals<'a>(list: impl IntoIterator<Item = &'a (&'a str, &'a str)>) -> BTreeMap<String, RefOr<Response>> {
    let response = |(status, description): &(&str, &str)| {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        let response = ResponseBuilder::new().description(*description).content("application/problem+json", content);
        ((*status).to_owned(), RefOr::T(response.build()))
    };
    list.into_iter().map(response).collect()
}

impl IntoResponses for RefusalResponses {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        refusals(&REFUSALS)
    }
}

impl IntoResponses for BodyRefusalResponses {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        refusals(REFUSALS.iter().chain(&BODY_REFUSALS))
    }
}

#[cfg(test)]
mod tests {
    /// The guard can answer each request with one of these.
    #[test]
    fn every_operation_describes_the_refusals_of_the_guard() {
        let description = serde_json::to_value(super::routes().1).unwrap();
        let mut operations = 0;
        for (path, item) in description["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                for status in ["401", "403", "408", "429", "503"] {
                    assert!(operation["responses"][status].is_object(), "{method} {path}: {status} is missing");
                }
                operations += 1;
            }
        }
        assert_eq!(operations, 22);
    }
}
