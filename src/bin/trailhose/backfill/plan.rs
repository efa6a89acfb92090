//! Plan: what is asked for, from the command line and `trailhose.toml`; an option counts more than the file.

use crate::args::{BackfillArgs, LedgerLocation, Location};
use crate::settings::Settings;
use jiff::civil::Date;
use std::path::Path;
use trailhose::backfill::run::{Defaults, SourceRoot, Run};
use trailhose::backfill::{Request, RunId};
use trailhose::ledger::system_clock;
use trailhose::listing::folder_level::Filters;
use trailhose::listing::span::LOOK_BACK;

/// What is asked for.
#[derive(Debug)]
pub(super) struct BackfillPlan {
    /// One for each selection; of several, each is a run.
    pub(super) runs: Vec<PlannedRun>,
    pub(super) queue: Option<String>,
    pub(super) name: Option<RunId>,
    pub(super) dry_run: bool,
    pub(super) ledger: Option<LedgerLocation>,
    pub(super) inventory: Option<Location>,
    pub(super) ingest_queue: Option<String>,
    pub(super) json: bool,
}

/// A request, and where its sources lie.
#[derive(Debug, Clone)]
pub(super) struct PlannedRun {
    pub(super) request: Request,
    pub(super) places: Vec<SourceLocation>,
}

/// A source, and the region of its bucket where it is not the configured one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourceLocation {
    pub(super) location: Location,
    pub(super) region: Option<String>,
}

impl BackfillPlan {
    /// # Errors
    /// Says what is missing or contradictory.
    pub(super) fn new(args: BackfillArgs) -> Result<Self, String> {
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
        let mut runs: Vec<PlannedRun> = Vec::new();
        let mut add = |request: Request, at: SourceLocation| match runs.iter_mut().find(|runs| runs.request == request) {
            Some(runs) => runs.places.push(at),
            None => runs.push(PlannedRun { request, places: vec![at] }),
        };
        for location in &args.sources {
            add(request.clone(), SourceLocation { location: location.clone(), region: None });
        }
        let listed = settings.iter().filter(|_| args.sources.is_empty()).flat_map(|settings| &settings.sources);
        for source in listed {
            let mut of_source = request.clone();
            let file = settings.as_ref();
            of_source.since = request.since.or(source.since).or(file.and_then(|file| file.since));
            of_source.until = request.until.or(source.until).or(file.and_then(|file| file.until));
            if request.accounts.is_empty() {
                of_source.accounts = source.accounts.iter().cloned().collect();
            }
            if request.regions.is_empty() {
                of_source.regions = source.regions.iter().cloned().collect();
            }
            if request.kinds.is_empty() {
                of_source.kinds = source.kinds.iter().map(ToString::to_string).collect();
            }
            add(of_source, SourceLocation { location: source.location.clone(), region: source.bucket_region.clone() });
        }
        if runs.is_empty() {
            // Everywhere the stack is configured for.
            runs.push(PlannedRun { request, places: Vec::new() });
        }
        if args.name.is_some() && runs.len() > 1 {
            return Err(
                "--name: the sources of trailhose.toml differ in what is selected, so each is a run: name one \
                        source"
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

    /// Whether the work is done in this process.
    pub(super) fn runs_locally(&self) -> bool {
        self.dry_run || self.inventory.is_some()
    }

    fn check(&self) -> Result<(), String> {
        for runs in &self.runs {
            // What cannot be meant is said here, and not by a dead letter.
            runs.run(RunId::at(0, 0), None)?;
        }
        let places = self.runs.iter().map(|runs| runs.places.len()).sum::<usize>();
        if !self.runs_locally() {
            return Ok(());
        }
        if places == 0 {
            return Err("no source: name s3://bucket[/prefix], or write it into trailhose.toml".into());
        }
        if self.inventory.is_some() && places > 1 {
            return Err("--inventory: a report is of one bucket: name it as SOURCE".into());
        }
        if self.inventory.is_some() && !self.dry_run && self.ingest_queue.is_none() {
            return Err("--inventory: name the queue to hand in to with --ingest-queue (the stack's output \
                        BackfillIngestQueueUrl), or add --dry-run"
                .into());
        }
        match &self.ledger {
            None => Err("no ledger is named: add --ledger dynamodb://TABLE".into()),
            Some(LedgerLocation::File(_)) if !self.dry_run => {
                Err("--inventory: what is handed in on AWS is noted in its table: name --ledger dynamodb://TABLE"
                    .into())
            }
            Some(_) => Ok(()),
        }
    }
}

impl PlannedRun {
    /// The request as it goes to AWS.
    ///
    /// # Errors
    /// A source is a folder.
    pub(super) fn request(&self) -> Result<Request, String> {
        let root = |at: &SourceLocation| match &at.location {
            Location::S3 { bucket, key } => Ok(SourceRoot { bucket: bucket.clone(), prefix: key.clone() }),
            Location::Path(path) => {
                Err(format!("{} is a folder, which AWS cannot read: use trailhose sync, or --dry-run", path.display()))
            }
        };
        let sources = self.places.iter().map(root).collect::<Result<Vec<_>, _>>()?;
        Ok(Request { sources, ..self.request.clone() })
    }

    /// The run over one bucket that it asks for; `since` where it leaves the first day open.
    ///
    /// # Errors
    /// It cannot be meant.
    pub(super) fn run(&self, id: RunId, since: Option<Date>) -> Result<Run, String> {
        let anywhere = vec![SourceRoot { bucket: "any".to_owned(), prefix: String::new() }];
        let defaults = Defaults { sources: anywhere, look_back_days: LOOK_BACK };
        let request = Request { since: self.request.since.or(since), ..self.request.clone() };
        request.resolve(id, &defaults, system_clock()()).map_err(|error| error.to_string())
    }
}

/// The ledger that is named, or the settings'.
pub(super) fn ledger(named: Option<LedgerLocation>, config: Option<&Path>) -> Result<LedgerLocation, String> {
    let settings = if named.is_none() { Settings::find(config)? } else { None };
    named
        .or(settings.and_then(|settings| settings.ledger))
        .ok_or_else(|| "no ledger is named: add --ledger dynamodb://TABLE".to_owned())
}
