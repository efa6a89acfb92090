//! The plan of a backfill, from the command line and `trailhose.toml`. Command-line options take precedence.

use crate::args::{BackfillArgs, LedgerLocation, Location};
use crate::settings::Settings;
use jiff::civil::Date;
use std::path::Path;
use trailhose::aws::BucketAccess;
use trailhose::backfill::run::{Defaults, Run, SourceRoot};
use trailhose::backfill::{Request, RunId};
use trailhose::ledger::system_clock;
use trailhose::listing::day_range::LOOK_BACK;
use trailhose::listing::folder_level::Filters;

/// Runs and options of a backfill.
#[derive(Debug)]
pub(crate) struct BackfillPlan {
    /// One run for each distinct selection.
    pub(super) runs: Vec<PlannedRun>,
    pub(super) queue: Option<String>,
    pub(super) name: Option<RunId>,
    pub(super) dry_run: bool,
    pub(super) ledger: Option<LedgerLocation>,
    pub(super) inventory: Option<Location>,
    pub(super) ingest_queue: Option<String>,
    pub(super) json: bool,
}

/// A request and the locations of its sources.
#[derive(Debug, Clone)]
pub(super) struct PlannedRun {
    pub(super) request: Request,
    pub(super) sources: Vec<SourceLocation>,
}

/// A source, and how its bucket is accessed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourceLocation {
    pub(super) location: Location,
    pub(super) access: BucketAccess,
    /// Whether it is expected that no object matches.
    pub(super) allow_empty: bool,
}

impl BackfillPlan {
    /// Combines the command line with the settings file.
    ///
    /// # Errors
    /// A value is missing, or values contradict each other.
    pub(crate) fn new(args: BackfillArgs) -> Result<Self, String> {
        let settings = Settings::find(args.config.as_deref())?;
        let Filters { accounts, kinds, regions } = args.selection.filters();
        let request = Request {
            since: args.selection.since,
            until: args.selection.until,
            accounts,
            regions,
            kinds,
            quarantined: args.quarantined,
            dry_run: args.dry_run,
            bytes_per_second: args.bytes_per_second,
            ..Request::default()
        };
        let allow_empty = args.selection.allow_empty;
        if allow_empty && !args.dry_run && args.inventory.is_none() {
            return Err(
                "--allow-empty requires --dry-run or --inventory: a run on AWS reports empty sources with the \
                        metric SourcesEmpty"
                    .into(),
            );
        }
        let mut runs: Vec<PlannedRun> = Vec::new();
        let mut add = |request: Request, at: SourceLocation| match runs.iter_mut().find(|run| run.request == request) {
            Some(run) => run.sources.push(at),
            None => runs.push(PlannedRun { request, sources: vec![at] }),
        };
        for location in &args.sources {
            add(
                request.clone(),
                SourceLocation { location: location.clone(), access: BucketAccess::default(), allow_empty },
            );
        }
        let listed = settings.iter().filter(|_| args.sources.is_empty()).flat_map(|settings| &settings.sources);
        for source in listed {
            let mut source_request = request.clone();
            let file = settings.as_ref();
            source_request.since = request.since.or(source.since).or(file.and_then(|file| file.since));
            source_request.until = request.until.or(source.until).or(file.and_then(|file| file.until));
            if request.accounts.is_empty() {
                source_request.accounts = source.accounts.iter().cloned().collect();
            }
            if request.regions.is_empty() {
                source_request.regions = source.regions.iter().cloned().collect();
            }
            if request.kinds.is_empty() {
                source_request.kinds = source.kinds.iter().map(ToString::to_string).collect();
            }
            let (location, access) = (source.location.clone(), source.access.clone());
            add(source_request, SourceLocation { location, access, allow_empty: allow_empty || source.allow_empty });
        }
        if runs.is_empty() {
            // No source is given: the stack uses its configured sources.
            runs.push(PlannedRun { request, sources: Vec::new() });
        }
        if args.name.is_some() && runs.len() > 1 {
            return Err(
                "--name requires a single run, but the sources of trailhose.toml have different selections: specify \
                        one source"
                    .into(),
            );
        }
        let file = settings.unwrap_or_default();
        let plan = Self {
            runs,
            queue: args.queue.or(file.backfill.and_then(|backfill| backfill.queue)),
            name: args.name,
            dry_run: args.dry_run,
            ledger: args.ledger.or(file.ledger),
            inventory: args.inventory,
            ingest_queue: args.ingest_queue,
            json: args.json,
        };
        plan.check()?;
        Ok(plan)
    }

    /// Whether the backfill runs in this process.
    pub(super) fn runs_locally(&self) -> bool {
        self.dry_run || self.inventory.is_some()
    }

    fn check(&self) -> Result<(), String> {
        for run in &self.runs {
            // Report an invalid request here instead of in the dead-letter queue.
            run.resolve(RunId::at(0, 0), None)?;
        }
        let sources = self.runs.iter().map(|run| run.sources.len()).sum::<usize>();
        if !self.runs_locally() {
            return Ok(());
        }
        if sources == 0 {
            return Err("no source: specify s3://bucket[/prefix], or add a source to trailhose.toml".into());
        }
        if self.inventory.is_some() && sources > 1 {
            return Err("--inventory: a report describes one bucket: specify it as SOURCE".into());
        }
        if self.inventory.is_some() && !self.dry_run && self.ingest_queue.is_none() {
            return Err("--inventory requires --ingest-queue URL (stack output BackfillIngestQueueUrl) or \
                        --dry-run"
                .into());
        }
        match &self.ledger {
            None if self.dry_run => Err(
                "--ledger is required: use --ledger dynamodb://TABLE, or --ledger FILE with an SQLite ledger, such as \
                     DEST/.trailhose/ledger.db of `trailhose sync`"
                    .into(),
            ),
            None => Err("--ledger is required: use --ledger dynamodb://TABLE".into()),
            Some(LedgerLocation::File(_)) if !self.dry_run => {
                Err("--inventory requires the ledger of the AWS stack: use --ledger dynamodb://TABLE".into())
            }
            Some(_) => Ok(()),
        }
    }
}

impl PlannedRun {
    /// Returns the request to send to AWS.
    ///
    /// # Errors
    /// A source is a folder.
    pub(super) fn request(&self) -> Result<Request, String> {
        let root = |at: &SourceLocation| match &at.location {
            Location::S3 { bucket, key } => Ok(SourceRoot { bucket: bucket.clone(), prefix: key.clone() }),
            Location::Path(path) => Err(format!(
                "{} is a folder, which AWS cannot read: use `trailhose sync`, or --dry-run to compare it with a ledger",
                path.display()
            )),
        };
        let sources = self.sources.iter().map(root).collect::<Result<Vec<_>, _>>()?;
        Ok(Request { sources, ..self.request.clone() })
    }

    /// Resolves the request with a placeholder source, to check it and to get its options. `since` is the default of
    /// the first day.
    ///
    /// # Errors
    /// The request is invalid.
    pub(super) fn resolve(&self, id: RunId, since: Option<Date>) -> Result<Run, String> {
        let placeholder = vec![SourceRoot { bucket: "any".to_owned(), prefix: String::new() }];
        let defaults = Defaults { sources: placeholder, look_back_days: LOOK_BACK };
        let request = Request { since: self.request.since.or(since), ..self.request.clone() };
        request.resolve(id, &defaults, system_clock()()).map_err(|error| error.to_string())
    }
}

/// Returns the given ledger, or the ledger of the settings file.
pub(super) fn ledger(named: Option<LedgerLocation>, config: Option<&Path>) -> Result<LedgerLocation, String> {
    let settings = if named.is_none() { Settings::find(config)? } else { None };
    named
        .or(settings.and_then(|settings| settings.ledger))
        .ok_or_else(|| "--ledger is required: use --ledger dynamodb://TABLE".to_owned())
}
