//! `trailhose serve`: runs every source at its own interval, and answers requests about what was delivered.
//!
//! ```text
//! trailhose.toml, API ─▶ scheduler ─▶ runs of sources ─▶ files, ledger
//!                                                          │
//! browser, program ─▶ guard ─▶ routes ─▶ index, state, ledger, files
//! ```
//!
//! The guard checks every request before a route sees it: the name of the server and the origin of the request, the token
//! or session, rate limits, the number of concurrent requests, and the time of each. The routes read the delivered files,
//! the index and the databases. They change only sources, and the states of findings and alerts.

mod access;
mod alerts;
mod audit;
mod billed;
mod certificate;
mod console;
mod days;
mod events;
mod extract;
mod findings;
mod folder;
mod followers;
mod guard;
mod health;
mod index_follower;
mod listen;
mod metrics;
mod openapi;
mod paging;
mod problem;
mod query;
mod rate_limit;
mod running;
mod runs;
mod scheduler;
mod session;
mod source_settings;
mod sources;
mod token;

pub use audit::AuditLog;
pub use certificate::ServerCertificate;
pub use folder::{IndexPool, ServedFolder};
pub use scheduler::{FinishedRun, LiveCounts, ScheduledSource, SourceOrigin, SourceRunner};
pub use source_settings::{AllowList, ApiSourceSettings, DEFAULT_INTERVAL, MIN_INTERVAL};
pub use token::{is_token, new_token, token_hash};

use crate::query::BilledEngine;
use access::AccessControl;
use certificate::UsedCertificate;
use days::LedgerDays;
use events::IndexProgress;
use folder::{TimedValue, size_with_log};
use metrics::ServeMetrics;
use openapi::{BodyRefusalResponses, RefusalResponses};
use problem::ApiProblem;
use scheduler::Scheduler;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

/// The maximum number of requests that are answered at the same time.
const MAX_REQUESTS: usize = 256;

/// The maximum number of queries that run at the same time. Each one uses half of the cores.
const MAX_QUERIES: usize = 2;

/// Settings of the server.
#[derive(Debug)]
pub struct ServeSettings {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The certificate; without one, the server speaks HTTP.
    pub tls: Option<ServerCertificate>,
    /// Names in `Host` that are allowed in addition to those of loopback.
    pub hosts: Vec<String>,
    /// What the API may name in a source.
    pub allow: AllowList,
    /// The engine of queries that AWS bills, with the database and the workgroup of the settings.
    pub athena: Option<Arc<dyn BilledEngine>>,
    /// URLs to which `[[forward]]` delivers.
    pub forward_urls: Vec<String>,
    /// Requests per second for each token and each address.
    pub requests_per_second: u32,
    /// The audit log.
    pub audit: AuditLog,
    /// The time for objects and requests in progress when the server stops.
    pub drain: Duration,
}

/// The state that all routes share.
#[derive(Debug)]
struct ApiState {
    settings: ServeSettings,
    folder: ServedFolder,
    scheduler: Arc<Scheduler>,
    access: AccessControl,
    metrics: Arc<ServeMetrics>,
    indexed: TimedValue<IndexProgress>,
    /// The counts of the ledger, and when they were read. The lock is held during a scan, so that there is only one scan.
    days: tokio::sync::Mutex<Option<(Instant, String, Arc<LedgerDays>)>>,
    requests: Semaphore,
    queries: Arc<Semaphore>,
    /// Locked while a source is added.
    adding: tokio::sync::Mutex<()>,
    is_stopping: AtomicBool,
}

impl ApiState {
    /// Returns the counts of the ledger, and when they were read.
    async fn ledger_days(&self) -> Result<(Arc<LedgerDays>, String), ApiProblem> {
        let mut days = self.days.lock().await;
        if let Some((read, time, value)) = &*days
            && read.elapsed() < value.valid_for()
        {
            return Ok((Arc::clone(value), time.clone()));
        }
        let value = Arc::new(LedgerDays::scan(&*self.folder.ledger).await?);
        let time = paging::rfc3339(jiff::Timestamp::now().as_second());
        *days = Some((Instant::now(), time.clone(), Arc::clone(&value)));
        Ok((value, time))
    }
}

/// Where a request came from.
#[derive(Debug, Clone, Copy)]
struct Peer {
    address: SocketAddr,
    is_tls: bool,
}

/// What a request changes, or `athena` for a billed query. For the audit log, if the path does not contain it.
#[derive(Debug, Clone, Default)]
struct AuditTarget(Arc<Mutex<Option<String>>>);

impl AuditTarget {
    fn set(&self, target: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(target.to_owned());
    }

    fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Waits until a value becomes true. Waits forever if the sender was dropped.
async fn becomes_true(receiver: &mut watch::Receiver<bool>) {
    if receiver.wait_for(|&value| value).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Runs work that reads files or databases on a thread for blocking work.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiProblem> + Send + 'static,
) -> Result<T, ApiProblem> {
    tokio::task::spawn_blocking(work).await.map_err(ApiProblem::internal)?
}

/// A server that listens and has not answered a request yet.
#[derive(Debug)]
pub struct Server {
    api: Arc<ApiState>,
    listener: TcpListener,
    tls: Option<UsedCertificate>,
}

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerEnd {
    /// Whether all objects and requests in progress were finished within the limit.
    pub is_drained: bool,
}

impl Server {
    /// Listens, and starts to read the sources: those of the settings, and those that the API added before.
    ///
    /// # Errors
    /// The address cannot be used; the server would listen beyond loopback without a valid token; the certificate or the
    /// state database cannot be read.
    pub async fn start(
        settings: ServeSettings,
        folder: ServedFolder,
        sources: Vec<ScheduledSource>,
        runner: Arc<dyn SourceRunner>,
    ) -> Result<Self, String> {
        let is_loopback = settings.listen.ip().is_loopback();
        let state = Arc::clone(&folder.state);
        let tokens = state.tokens().map_err(|error| error.to_string())?;
        if !is_loopback && tokens.iter().all(|token| token.revoked.is_some()) {
            return Err(format!(
                "{} is reachable from other computers, and there is no token: create one with `trailhose token create \
                 NAME`, or listen on 127.0.0.1",
                settings.listen
            ));
        }
        let tls = settings.tls.as_ref().map(ServerCertificate::open).transpose()?;
        let listener = TcpListener::bind(settings.listen).await;
        let listener = listener.map_err(|error| format!("cannot listen on {}: {error}", settings.listen))?;
        let metrics = Arc::new(ServeMetrics::new());
        let observer: Arc<dyn scheduler::RunObserver> = metrics.clone();
        let scheduler = Scheduler::new(Arc::clone(&state), runner, observer).map_err(|error| error.to_string())?;
        let hosts = settings.hosts.clone();
        let access = AccessControl::new(Arc::clone(&state), is_loopback, hosts, settings.requests_per_second);
        let api = Arc::new(ApiState {
            settings,
            folder,
            scheduler,
            access,
            metrics,
            indexed: TimedValue::new(Duration::from_millis(500)),
            days: tokio::sync::Mutex::default(),
            requests: Semaphore::new(MAX_REQUESTS),
            queries: Arc::new(Semaphore::new(MAX_QUERIES)),
            adding: tokio::sync::Mutex::default(),
            is_stopping: AtomicBool::new(false),
        });
        let all = sources.into_iter().chain(stored_sources(&state)?);
        for source in all {
            api.scheduler.add(source).map_err(|error| error.to_string())?;
        }
        Ok(Self { api, listener, tls })
    }

    /// Returns the address on which the server listens.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers requests until `halt` becomes true. Then no run of a source is started and no request is accepted. What is in
    /// progress is finished within the limit of the settings.
    pub async fn run(self, mut halt: watch::Receiver<bool>) -> ServerEnd {
        let Self { api, listener, tls } = self;
        let (stop, stops) = watch::channel(false);
        let (index_end, index_ends) = watch::channel(false);
        let index = {
            let (segments, state) = (Arc::clone(&api.folder.segments), Arc::clone(&api.folder.state));
            let path = api.folder.index.path().to_owned();
            tokio::spawn(async move { index_follower::follow_index(segments, state, &path, index_ends).await })
        };
        let config = tls.as_ref().map(UsedCertificate::config);
        if let Some(tls) = tls {
            tokio::spawn(tls.follow_files(stops.clone()));
        }
        let accepting = tokio::spawn(listen::accept(listener, config, guard::router(Arc::clone(&api)), stops));
        becomes_true(&mut halt).await;
        api.is_stopping.store(true, Ordering::Relaxed);
        let started = Instant::now();
        let limit = api.settings.drain;
        stop.send_replace(true);
        let is_drained = api.scheduler.drain(limit).await;
        index_end.send_replace(true);
        let left = limit.saturating_sub(started.elapsed());
        let ended = async {
            let _ = tokio::join!(accepting, index);
        };
        let is_ended = tokio::time::timeout(left, ended).await.is_ok();
        ServerEnd { is_drained: is_drained && is_ended }
    }
}

/// Returns the sources that the API added.
fn stored_sources(state: &crate::state::StateDatabase) -> Result<Vec<ScheduledSource>, String> {
    let stored = state.api_sources().map_err(|error| error.to_string())?;
    let source = |stored: crate::state::StoredSource| {
        let invalid = |error: String| format!("the stored source {} is invalid: {error}", stored.id);
        let settings: ApiSourceSettings =
            serde_json::from_str(&stored.settings).map_err(|error| invalid(error.to_string()))?;
        let interval = sources::interval(&settings).map_err(invalid)?;
        Ok(ScheduledSource { id: stored.id, origin: SourceOrigin::Api, settings, interval })
    };
    stored.into_iter().map(source).collect()
}
