//! Who may do what: tokens, sessions, and the origin of a request.
//!
//! A server that listens beyond loopback requires a token. On loopback, every request is admitted until a token is created.
//! `Host` and `Origin` are checked there too: a page of another site can send requests to this computer through a browser,
//! and the name of that site can resolve to 127.0.0.1 (DNS rebinding).

use super::problem::ApiProblem;
use super::rate_limit::{RateKey, RateLimiter};
use super::session::{SESSION_COOKIE, Sessions};
use super::token::token_hash;
use crate::state::{ApiToken, StateDatabase, TokenScope};
use axum::http::{HeaderMap, Method, header};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The time for which the tokens are kept in memory. A new or revoked token takes effect within this time.
const TOKENS_FOR: Duration = Duration::from_secs(1);

/// The header that the console sends with every request. For a page of another site, the browser first asks this server
/// whether it may send the header (a CORS preflight request), and the server refuses.
const CONSOLE_HEADER: &str = "x-trailhose-console";

/// What a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Requirement {
    /// Nothing, and any `Host` is allowed: `/healthz` and `/readyz`. A probe of Kubernetes sends the address of the pod.
    Probe,
    /// Nothing: the console's files and the description of the API.
    Nothing,
    /// No token, because the request starts or ends a session.
    SignIn,
    /// A scope.
    Scope(TokenScope),
}

impl Requirement {
    /// Returns what a request needs. A route that is not listed here needs a scope, so none is open by mistake.
    pub(super) fn of(method: &Method, path: &str, is_console_file: bool) -> Self {
        let is_read = matches!(*method, Method::GET | Method::HEAD);
        match path {
            "/healthz" | "/readyz" => Self::Probe,
            "/v1/openapi.json" => Self::Nothing,
            _ if is_read && is_console_file => Self::Nothing,
            "/v1/session" if !is_read => Self::SignIn,
            "/v1/query" | "/v1/ask" => Self::Scope(TokenScope::Read),
            _ if is_read => Self::Scope(TokenScope::Read),
            _ => Self::Scope(TokenScope::Write),
        }
    }
}

/// Who sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RequestCaller {
    /// The name of the token; `None` on loopback without tokens, and for requests that need no token.
    pub(super) token: Option<String>,
    pub(super) scopes: Vec<TokenScope>,
}

/// The tokens as they were read last.
#[derive(Debug, Default)]
struct KnownTokens {
    read: Option<Instant>,
    by_hash: HashMap<String, ApiToken>,
    /// Whether a token was ever created. Then requests on loopback need one too, also after it was revoked.
    is_any_created: bool,
}

/// Admits or refuses requests.
#[derive(Debug)]
pub(super) struct AccessControl {
    state: Arc<StateDatabase>,
    tokens: Mutex<Arc<KnownTokens>>,
    pub(super) sessions: Sessions,
    limiter: RateLimiter,
    /// Whether the server listens on a loopback address only.
    is_loopback: bool,
    /// The allowed names in `Host`, in addition to the names of loopback. Beyond loopback, an empty list allows every name.
    hosts: Vec<String>,
}

impl AccessControl {
    pub(super) fn new(state: Arc<StateDatabase>, is_loopback: bool, hosts: Vec<String>, per_second: u32) -> Self {
        let (tokens, sessions) = (Mutex::default(), Sessions::default());
        Self { state, tokens, sessions, limiter: RateLimiter::new(per_second), is_loopback, hosts }
    }

    /// Returns whether requests need a token.
    pub(super) fn is_token_required(&self) -> Result<bool, ApiProblem> {
        Ok(!self.is_loopback || self.known_tokens()?.is_any_created)
    }

    /// Returns the valid token with this text.
    pub(super) fn token(&self, text: &str) -> Result<Option<ApiToken>, ApiProblem> {
        Ok(self.known_tokens()?.by_hash.get(&token_hash(text)).cloned())
    }

    /// Admits a request, or returns why it is refused.
    pub(super) fn admit(
        &self,
        requirement: Requirement,
        method: &Method,
        headers: &HeaderMap,
        address: IpAddr,
    ) -> Result<RequestCaller, ApiProblem> {
        if requirement != Requirement::Probe {
            self.check_host(headers)?;
        }
        let now = Instant::now();
        if matches!(requirement, Requirement::Probe | Requirement::Nothing) {
            self.limit(RateKey::of(address), now)?;
            return Ok(RequestCaller { token: None, scopes: Vec::new() });
        }
        check_origin(headers)?;
        if requirement == Requirement::SignIn {
            self.limit(RateKey::of(address), now)?;
            if cookie(headers, SESSION_COOKIE).is_some() && headers.get(CONSOLE_HEADER).is_none() {
                return Err(missing_console_header());
            }
            return Ok(RequestCaller { token: None, scopes: Vec::new() });
        }
        let found = self.authenticate(method, headers, now);
        // A request without a valid token counts for its address, so that guesses of tokens are limited too.
        let (caller, is_unlimited) = match found {
            Ok(found) => found,
            Err(problem) => {
                self.limit(RateKey::of(address), now)?;
                return Err(problem);
            }
        };
        if !is_unlimited {
            self.limit(RateKey::of(address), now)?;
            if let Some(token) = &caller.token {
                self.limit(RateKey::Token(token.clone()), now)?;
            }
        }
        match requirement {
            Requirement::Scope(scope) if !caller.scopes.contains(&scope) => {
                Err(ApiProblem::forbidden(format!("the token has no scope {}", scope.name())))
            }
            _ => Ok(caller),
        }
    }

    /// Returns who sent the request, and whether rate limits do not apply.
    fn authenticate(
        &self,
        method: &Method,
        headers: &HeaderMap,
        now: Instant,
    ) -> Result<(RequestCaller, bool), ApiProblem> {
        let caller_of =
            |token: ApiToken| (RequestCaller { token: Some(token.name), scopes: token.scopes }, token.is_unlimited);
        if let Some(value) = headers.get(header::AUTHORIZATION) {
            let text = value.to_str().unwrap_or_default();
            let token = match text.split_once(' ') {
                Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => self.token(token.trim())?,
                _ => None,
            };
            let invalid = || ApiProblem::unauthorized("the token is not valid: it is misspelled, or it was revoked");
            return token.map(caller_of).ok_or_else(invalid);
        }
        if let Some(session) = cookie(headers, SESSION_COOKIE) {
            let name = self.sessions.token_name(session, now);
            let known = self.known_tokens()?;
            let token = name.and_then(|name| known.by_hash.values().find(|token| token.name == name).cloned());
            let Some(token) = token else {
                return Err(ApiProblem::unauthorized("the session ended: sign in again"));
            };
            if !matches!(*method, Method::GET | Method::HEAD) && headers.get(CONSOLE_HEADER).is_none() {
                return Err(missing_console_header());
            }
            return Ok(caller_of(token));
        }
        if self.is_token_required()? {
            return Err(ApiProblem::unauthorized("a token is required: send Authorization: Bearer TOKEN"));
        }
        Ok((RequestCaller { token: None, scopes: vec![TokenScope::Read, TokenScope::Write] }, false))
    }

    fn limit(&self, key: RateKey, now: Instant) -> Result<(), ApiProblem> {
        self.limiter.admit(key, now).map_err(|seconds| {
            ApiProblem::too_many("too many requests: wait, or use a token that was created with --unlimited", seconds)
        })
    }

    /// Refuses a request whose `Host` is not a name of this server.
    fn check_host(&self, headers: &HeaderMap) -> Result<(), ApiProblem> {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let name = host_name(host);
        let is_known = match (self.is_loopback, self.hosts.is_empty()) {
            (false, true) => !name.is_empty(),
            _ => is_loopback_name(name) || self.is_named(name),
        };
        if is_known {
            return Ok(());
        }
        Err(ApiProblem::forbidden(
            "the Host header is not a name of this server: use localhost, or add the name to hosts in [serve]",
        ))
    }

    fn is_named(&self, name: &str) -> bool {
        self.hosts.iter().any(|host| host.eq_ignore_ascii_case(name))
    }

    fn known_tokens(&self) -> Result<Arc<KnownTokens>, ApiProblem> {
        let mut known = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if known.read.is_none_or(|read| read.elapsed() >= TOKENS_FOR) {
            let tokens = self.state.tokens().map_err(ApiProblem::internal)?;
            let is_any_created = !tokens.is_empty();
            let valid = tokens.into_iter().filter(|token| token.revoked.is_none());
            let by_hash = valid.map(|token| (token.hash.clone(), token)).collect();
            *known = Arc::new(KnownTokens { read: Some(Instant::now()), by_hash, is_any_created });
        }
        Ok(Arc::clone(&known))
    }
}

fn missing_console_header() -> ApiProblem {
    ApiProblem::forbidden("a change with a session needs the header X-Trailhose-Console: 1")
}

/// Refuses a request from a page of another site.
fn check_origin(headers: &HeaderMap) -> Result<(), ApiProblem> {
    let text = |name: header::HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let refused = || Err(ApiProblem::forbidden("requests from pages of other sites are refused"));
    if let Some(origin) = text(header::ORIGIN) {
        let authority = origin.split_once("://").map_or("", |(_, authority)| authority);
        let host = text(header::HOST).unwrap_or_default();
        if authority.is_empty() || !authority.eq_ignore_ascii_case(host) {
            return refused();
        }
    }
    match headers.get("sec-fetch-site").and_then(|site| site.to_str().ok()) {
        None | Some("same-origin" | "none") => Ok(()),
        Some(_) => refused(),
    }
}

/// Returns the name or the address in the value of `Host`, without the port.
fn host_name(host: &str) -> &str {
    match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    }
}

fn is_loopback_name(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Returns the value of a cookie.
pub(super) fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|value| value.split(';')).find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn only_own_pages_and_programs_are_admitted() {
        for (list, is_admitted) in [
            (&[("host", "localhost:8080")][..], true),
            (&[("host", "localhost:8080"), ("origin", "http://localhost:8080")], true),
            (&[("host", "a.example"), ("origin", "https://a.example")], true),
            (&[("host", "localhost:8080"), ("origin", "http://localhost:9090")], false),
            (&[("host", "localhost:8080"), ("origin", "https://evil.example")], false),
            (&[("host", "localhost:8080"), ("origin", "null")], false),
            (&[("host", "localhost:8080"), ("sec-fetch-site", "cross-site")], false),
            (&[("host", "localhost:8080"), ("sec-fetch-site", "same-site")], false),
            (&[("host", "localhost:8080"), ("sec-fetch-site", "same-origin")], true),
        ] {
            assert_eq!(check_origin(&headers(list)).is_ok(), is_admitted, "{list:?}");
        }
    }

    #[test]
    fn host_is_read_without_its_port() {
        for (host, name) in [("localhost:8080", "localhost"), ("[::1]:80", "::1"), ("a.example", "a.example"), ("", "")]
        {
            assert_eq!(host_name(host), name);
        }
        assert!(is_loopback_name("127.0.0.1") && is_loopback_name("::1") && is_loopback_name("LOCALHOST"));
        assert!(!is_loopback_name("localhost.evil.example") && !is_loopback_name("192.0.2.1") && !is_loopback_name(""));
    }

    #[test]
    fn probes_are_admitted_with_any_host_and_other_requests_with_a_name_of_the_server() {
        let folder = tempfile::tempdir().unwrap();
        let state = Arc::new(StateDatabase::open(&folder.path().join("state.db")).unwrap());
        let address = IpAddr::from([192, 0, 2, 1]);
        let hosts = || vec!["trails.example.com".to_owned()];
        for (is_loopback, hosts, host, is_admitted) in [
            (false, hosts(), "trails.example.com", true),
            (false, hosts(), "localhost:8080", true),
            (false, hosts(), "127.0.0.1:8080", true),
            (false, hosts(), "192.0.2.7:8080", false),
            (false, Vec::new(), "192.0.2.7:8080", true),
            (true, Vec::new(), "192.0.2.7:8080", false),
            (true, hosts(), "trails.example.com", true),
        ] {
            let access = AccessControl::new(Arc::clone(&state), is_loopback, hosts, 100);
            let list = headers(&[("host", host)]);
            let admit = |path: &str| {
                let requirement = Requirement::of(&Method::GET, path, path == "/");
                access.admit(requirement, &Method::GET, &list, address).is_ok()
            };
            assert!(admit("/healthz") && admit("/readyz"), "{host}");
            assert_eq!((admit("/"), admit("/v1/openapi.json")), (is_admitted, is_admitted), "{host}");
        }
    }

    #[test]
    fn every_route_needs_a_scope_except_the_listed_ones() {
        let of = |method: Method, path: &str| Requirement::of(&method, path, path == "/");
        assert_eq!(of(Method::GET, "/"), Requirement::Nothing);
        assert_eq!(of(Method::POST, "/"), Requirement::Scope(TokenScope::Write));
        assert_eq!(of(Method::GET, "/healthz"), Requirement::Probe);
        assert_eq!(of(Method::GET, "/v1/openapi.json"), Requirement::Nothing);
        assert_eq!(of(Method::GET, "/metrics"), Requirement::Scope(TokenScope::Read));
        assert_eq!(of(Method::GET, "/v1/new"), Requirement::Scope(TokenScope::Read));
        assert_eq!(of(Method::PATCH, "/v1/new"), Requirement::Scope(TokenScope::Write));
        assert_eq!(of(Method::POST, "/v1/session"), Requirement::SignIn);
        assert_eq!(of(Method::GET, "/v1/session"), Requirement::Scope(TokenScope::Read));
    }
}
