//! `trailhose serve`: opens the components, and runs the server until it is stopped.

mod runner;
mod sources;

use crate::args::{Dest, LedgerLocation, ServeArgs, SyncArgs};
use crate::components;
use crate::followers::FollowedFolder;
use crate::interrupt;
use crate::progress::Progress;
use crate::settings::Settings;
use crate::settings::serve::ServeAthenaSettings;
use crate::sync::detection::{self, PreparedDetection};
use crate::sync::forwarding::{self, PreparedForwards};
use crate::sync::plan::SyncPlan;
use crate::text::one_line;
use runner::SyncRunner;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch::Receiver;
use trailhose::query::BilledEngine;
use trailhose::serve::{AuditLog, IndexPool, ServeSettings, ServedFolder, Server};

/// The default address.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// The default time for what is in progress when the server stops.
const DEFAULT_DRAIN: Duration = Duration::from_secs(30);

/// The default number of requests per second for each token and each address.
const DEFAULT_RATE: u32 = 50;

/// Exit code: something was not finished within the limit, or the detection stopped before the last event.
const NOT_FINISHED: u8 = 1;

/// Opens the engine of queries that AWS bills.
#[cfg(feature = "athena")]
async fn open_athena(settings: &ServeAthenaSettings) -> Result<Arc<dyn BilledEngine>, String> {
    use trailhose::plan::sql::AthenaTables;
    let ServeAthenaSettings { database, workgroup, by_day, result_location } = settings;
    let by_day = by_day.then(|| trailhose::query::EVENTS_BY_DAY.to_owned());
    let tables = AthenaTables { by_day, ..AthenaTables::of_database(database) };
    let aws = components::Aws::default();
    let client = aws_sdk_athena::Client::new(aws.config().await?);
    let engine = trailhose::query::AthenaEngine::new(client, tables, workgroup);
    Ok(Arc::new(engine.result_location(result_location.clone())))
}

#[cfg(not(feature = "athena"))]
async fn open_athena(_: &ServeAthenaSettings) -> Result<Arc<dyn BilledEngine>, String> {
    Err(components::missing_feature("[serve.athena]", "athena"))
}

/// Runs the command and returns the exit code.
pub(crate) async fn run(args: ServeArgs, halt: Receiver<bool>) -> Result<u8, String> {
    let progress = Progress::new(true, false);
    progress.start_logging();
    let settings = Settings::read(&args.config)?;
    let table = settings.serve.clone().unwrap_or_default();
    let listed = settings.sources.clone();
    let plan = Arc::new(SyncPlan::of_settings(SyncArgs::default(), Some(settings))?);
    let Dest::Folder(dest) = &plan.delivery.dest else {
        return Err("serve reads delivered files, and a stream keeps none: use a folder as dest".into());
    };
    let LedgerLocation::File(ledger_path) = &plan.delivery.ledger else {
        return Err("serve requires a ledger in SQLite: remove `ledger` from the settings, or name a file".into());
    };
    plan.filter_warnings.iter().for_each(|warning| progress.line(&format!("warning: {}", one_line(warning))));
    let (scheduled, planned) = sources::of_settings(&listed, &plan)?;
    let prepared = PreparedDetection::new(&plan).await?;
    if let Some(prepared) = &prepared {
        prepared.warnings(&plan.filter).iter().for_each(|warning| progress.line(warning));
    }
    let prepared_forwards = PreparedForwards::new(&plan)?;
    let runner = Arc::new(SyncRunner::open(Arc::clone(&plan), planned).await?);
    let followed = FollowedFolder::open_folder(dest, Some(&plan.delivery.ledger))?;
    let folder = ServedFolder {
        segments: Arc::clone(&followed.segments),
        state: Arc::new(followed.state()?),
        ledger: components::open_file(ledger_path)?.1,
        ledger_path: ledger_path.clone(),
        index: IndexPool::new(followed.index_path()),
    };
    let settings = ServeSettings {
        listen: args.listen.or(table.listen).unwrap_or(DEFAULT_LISTEN),
        tls: table.tls,
        hosts: table.hosts,
        allow: table.allow,
        athena: match &table.athena {
            Some(athena) => Some(open_athena(athena).await?),
            None => None,
        },
        forward_urls: plan.forwards.iter().map(|forward| forward.url.clone()).collect(),
        requests_per_second: table.requests_per_second.unwrap_or(DEFAULT_RATE),
        audit: AuditLog::open(table.audit_file.as_deref())?,
        drain: args.drain.or(table.drain).unwrap_or(DEFAULT_DRAIN),
    };
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    let server = Server::start(settings, folder, scheduled, runner).await?;
    let address = server.address().map_err(|error| error.to_string())?;
    let detection = prepared.map(|prepared| prepared.start(&plan)).transpose()?;
    let forwards = prepared_forwards.start(&plan)?;
    progress.line(&format!("listening on {scheme}://{address}"));
    let ended = server.run(halt.clone()).await;
    let mut is_finished = ended.is_drained;
    if let Some(detection) = detection {
        let report = detection.end().await?;
        detection::lines(&report).iter().for_each(|line| progress.line(line));
        is_finished &= report.error.is_none();
    }
    if let Some(forwards) = forwards {
        // The server was halted, so only the responses to the last requests are awaited.
        let reports = forwards.end(halt).await?;
        reports.iter().flat_map(|report| forwarding::lines(report, &plan)).for_each(|line| progress.line(&line));
    }
    if !ended.is_drained {
        progress.line("warning: not everything was finished within --drain; the next start continues");
    }
    Ok(match is_finished {
        true => interrupt::watch_exit_code(false),
        false => NOT_FINISHED,
    })
}
