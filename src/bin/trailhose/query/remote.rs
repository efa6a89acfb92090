//! Runs a query with Athena or CloudTrail Lake.

use super::output::{OutputFormat, RowPrinter};
use crate::args::{Location, RemoteArgs};
use crate::components::Aws;
use crate::print::{print, print_json};
use crate::text::{counted, dollars, one_line};
use crate::{NOTHING_MATCHED, interrupt};
use indicatif::{HumanBytes, ProgressBar};
use jiff::civil::Date;
use serde::Serialize;
use trailhose::plan::sql::SqlStatement;
use trailhose::plan::{Plan, Scope};
#[cfg(feature = "athena")]
use trailhose::query::BilledEngine;
use trailhose::query::{QueryControl, QueryEngine, QuerySummary, ScanReport};

/// A service that runs queries.
#[derive(Debug)]
pub(crate) enum RemoteEngine {
    /// Athena, over the tables of a lake.
    #[cfg(feature = "athena")]
    Athena(trailhose::query::AthenaEngine),
    /// CloudTrail Lake.
    #[cfg(feature = "cloudtrail-lake")]
    CloudTrailLake(trailhose::query::CloudTrailLakeEngine),
}

/// Opens the service that the arguments name, if they name one.
///
/// # Errors
/// The arguments also name a source, or the service cannot be opened.
pub(crate) async fn engine(
    args: &RemoteArgs,
    source: Option<&Location>,
    delivered_until: Option<Date>,
    aws: &Aws,
) -> Result<Option<RemoteEngine>, String> {
    if let Some(source) = source
        && (args.athena.is_some() || args.event_data_store.is_some())
    {
        return Err(format!(
            "the source {source} cannot be used with --athena or --event-data-store: omit it, or omit the option"
        ));
    }
    match (&args.athena, &args.event_data_store) {
        (Some(location), _) => open_athena(location, args, delivered_until, aws).await.map(Some),
        (None, Some(store)) => open_cloudtrail_lake(store, aws).await.map(Some),
        (None, None) => Ok(None),
    }
}

#[cfg(feature = "athena")]
async fn open_athena(
    location: &str,
    args: &RemoteArgs,
    delivered_until: Option<Date>,
    aws: &Aws,
) -> Result<RemoteEngine, String> {
    use trailhose::plan::sql::AthenaTables;
    let (database, workgroup) = location.split_once('@').unwrap_or((location, location));
    if database.is_empty() || workgroup.is_empty() {
        return Err(format!("invalid --athena {location:?}: expected DATABASE or DATABASE@WORKGROUP"));
    }
    let by_day = args.by_day.then(|| trailhose::query::EVENTS_BY_DAY.to_owned());
    let tables = AthenaTables { only_lines: args.raw_lines, by_day, ..AthenaTables::of_database(database) };
    let client = aws_sdk_athena::Client::new(aws.config().await?);
    let engine = trailhose::query::AthenaEngine::new(client, tables, workgroup);
    let engine = engine.arrived_until(delivered_until).result_location(args.result_location.clone());
    Ok(RemoteEngine::Athena(engine))
}

#[cfg(not(feature = "athena"))]
async fn open_athena(_: &str, _: &RemoteArgs, _: Option<Date>, _: &Aws) -> Result<RemoteEngine, String> {
    Err(crate::components::missing_feature("Athena", "athena"))
}

#[cfg(feature = "cloudtrail-lake")]
async fn open_cloudtrail_lake(store: &str, aws: &Aws) -> Result<RemoteEngine, String> {
    use trailhose::plan::sql::EventDataStore;
    let store = EventDataStore::parse(store).map_err(|error| error.to_string())?;
    let client = aws_sdk_cloudtrail::Client::new(aws.config().await?);
    let engine = trailhose::query::CloudTrailLakeEngine::new(client, store).map_err(|error| error.to_string())?;
    Ok(RemoteEngine::CloudTrailLake(engine))
}

#[cfg(not(feature = "cloudtrail-lake"))]
async fn open_cloudtrail_lake(_: &str, _: &Aws) -> Result<RemoteEngine, String> {
    Err(crate::components::missing_feature("CloudTrail Lake", "cloudtrail-lake"))
}

/// What `--explain` prints.
#[derive(Debug, Serialize)]
struct RemoteExplanation<'a> {
    plan: &'a Plan,
    meaning: String,
    engine: &'static str,
    sql: String,
    /// The workgroup's limit on the bytes that the query may read.
    byte_limit: Option<u64>,
}

impl RemoteEngine {
    fn name(&self) -> &'static str {
        match *self {
            #[cfg(feature = "athena")]
            Self::Athena(_) => "Athena",
            #[cfg(feature = "cloudtrail-lake")]
            Self::CloudTrailLake(_) => "CloudTrail Lake",
        }
    }

    pub(crate) fn as_engine(&self) -> &dyn QueryEngine {
        match *self {
            #[cfg(feature = "athena")]
            Self::Athena(ref engine) => engine,
            #[cfg(feature = "cloudtrail-lake")]
            Self::CloudTrailLake(ref engine) => engine,
        }
    }

    // Without either feature, there is no variant.
    #[cfg_attr(not(any(feature = "athena", feature = "cloudtrail-lake")), allow(unused_variables))]
    fn statement(&self, plan: &Plan) -> Result<SqlStatement, String> {
        match *self {
            #[cfg(feature = "athena")]
            Self::Athena(ref engine) => engine.statement(plan).map_err(|error| error.to_string()),
            #[cfg(feature = "cloudtrail-lake")]
            Self::CloudTrailLake(ref engine) => engine.statement(plan).map_err(|error| error.to_string()),
        }
    }

    async fn byte_limit(&self) -> Result<Option<u64>, String> {
        match *self {
            #[cfg(feature = "athena")]
            Self::Athena(ref engine) => engine.byte_limit().await.map_err(|error| error.to_string()),
            #[cfg(feature = "cloudtrail-lake")]
            Self::CloudTrailLake(_) => Ok(None),
        }
    }

    /// Prints the statement and the limit, without running it.
    pub(crate) async fn explain(&self, plan: &Plan, json: bool) -> Result<(), String> {
        let explanation = RemoteExplanation {
            plan,
            meaning: plan.restate(),
            engine: self.name(),
            sql: self.statement(plan)?.sql,
            byte_limit: self.byte_limit().await?,
        };
        if json {
            print_json(&explanation);
            return Ok(());
        }
        let limit = match explanation.byte_limit {
            Some(bytes) => format!("The workgroup stops the query if it reads more than {}.", HumanBytes(bytes)),
            None => "No limit on the bytes that the query reads.".to_owned(),
        };
        print(&format!("{}\n\n{}\n\n{limit}\n", one_line(&explanation.meaning), explanation.sql));
        Ok(())
    }

    /// Runs a plan, prints its rows and what was read, and returns the exit code.
    pub(crate) async fn run(&self, plan: &Plan, control: QueryControl, format: OutputFormat) -> Result<u8, String> {
        self.warn_of_cost(plan).await;
        let mut rows = RowPrinter::new(format, ProgressBar::hidden());
        let summary = self.as_engine().run(plan, &control, &mut rows).await.map_err(|error| error.to_string())?;
        if let Some(stopped) = rows.finish() {
            anstream::eprintln!("{stopped}");
        }
        anstream::eprint!("{}", self.summary(&summary));
        Ok(match &summary.scanned {
            scanned if scanned.stopped => interrupt::exit_code(),
            scanned if scanned.selected == 0 => NOTHING_MATCHED,
            _ => 0,
        })
    }

    /// Prints what a search for an event ID without a time span costs. It reads everything.
    pub(crate) async fn warn_of_cost(&self, plan: &Plan) {
        let Scope::EventId(id) = plan.scope() else { return };
        let (name, cost) = (self.name(), self.cost_of_everything().await);
        anstream::eprintln!("searching the event {id}: {name} {cost}; a time span reads less");
    }

    async fn cost_of_everything(&self) -> String {
        match *self {
            #[cfg(feature = "athena")]
            Self::Athena(ref engine) => {
                let limit = match engine.byte_limit().await {
                    Ok(Some(bytes)) => {
                        let most = dollars(trailhose::query::athena_dollars(bytes), 4);
                        format!("up to the workgroup's limit of {} ({most})", HumanBytes(bytes))
                    }
                    Ok(None) => "without a limit".to_owned(),
                    // A user may have no permission to read the workgroup.
                    Err(_) => "up to the workgroup's limit, which cannot be read".to_owned(),
                };
                format!("reads the whole lake, at $5.00 per TB and {limit}")
            }
            #[cfg(feature = "cloudtrail-lake")]
            Self::CloudTrailLake(_) => "reads the whole event data store, at $0.005 per GB".to_owned(),
        }
    }

    /// Returns what was read and its price.
    pub(crate) fn read(&self, scanned: &ScanReport) -> String {
        let mut text = String::new();
        for skipped in &scanned.skipped {
            text.push_str(&format!("warning: {}: {}\n", skipped.name, skipped.reason));
        }
        let price = scanned.dollars.map(|amount| format!(", list price {}", dollars(amount, 4))).unwrap_or_default();
        let rows = counted(scanned.selected, "row");
        text.push_str(&format!("{rows}; {} read {}{price}\n", self.name(), HumanBytes(scanned.bytes)));
        if scanned.stopped {
            text.push_str("interrupted: the query was stopped. What it read until then is billed\n");
        }
        text
    }

    fn summary(&self, summary: &QuerySummary) -> String {
        let mut text = self.read(&summary.scanned);
        if summary.is_limited {
            text.push_str("there are more rows than the limit: raise --limit to see them\n");
        }
        text
    }
}
