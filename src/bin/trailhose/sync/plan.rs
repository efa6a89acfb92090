//! The plan of a sync, from the command line and `trailhose.toml`. Command-line options take precedence.

use crate::args::value::SETTINGS_FILE;
use crate::args::{CompressMode, Dest, EventsPerRecord, LedgerLocation, Location, SyncArgs, SyncDest};
use crate::settings::Settings;
use crate::webhook;
use jiff::civil::Date;
use std::time::Duration;
use trailhose::aws::BucketAccess;
use trailhose::event::filter::Filter;
use trailhose::listing::day_range::LOOK_BACK;
use trailhose::listing::folder_level::Filters;

/// Sources, destination and options of a sync.
#[derive(Debug)]
pub(crate) struct SyncPlan {
    /// Sources; at least one, except for `trailhose serve`, whose API can add sources.
    pub(crate) sources: Vec<PlannedSource>,
    pub(crate) delivery: DeliverySettings,
    pub(crate) filter: Filter,
    /// Rules of the filter that have no effect.
    pub(crate) filter_warnings: Vec<String>,
    /// Number of objects processed concurrently.
    pub(crate) jobs: Option<usize>,
    /// Maximum decompressed size of an object in bytes.
    pub(crate) max_object_bytes: Option<u64>,
    /// Whether the events of missing files are delivered again.
    pub(crate) rebuild: bool,
    /// Whether files with any name are read.
    pub(crate) all_files: bool,
    /// Manifest of the S3 Inventory report that replaces the listing of the only source.
    pub(crate) inventory: Option<Location>,
    /// Interval between two rounds; `None` for a single round.
    pub(crate) watch: Option<Duration>,
    /// Days before the newest listed log that each round after the first scans again.
    pub(crate) look_back: u32,
    /// Whether the destination is a spool folder, whose files are deleted after they are forwarded.
    pub(crate) is_spool: bool,
    /// Rules and destinations of alerts.
    #[cfg(feature = "detect")]
    pub(crate) detect: Option<crate::settings::detect::DetectSettings>,
    /// Destinations that delivered events are sent to.
    #[cfg(feature = "forward")]
    pub(crate) forwards: Vec<trailhose::forward::ForwardConfig>,
    /// The names of the followers that the settings configure.
    pub(crate) followers: Vec<String>,
}

/// A source and the selection of its objects.
#[derive(Debug, Clone)]
pub(crate) struct PlannedSource {
    pub(crate) location: Location,
    /// How its bucket is accessed.
    pub(crate) access: BucketAccess,
    pub(crate) filters: Filters,
    /// First day of delivery, UTC.
    pub(crate) since: Option<Date>,
    /// Last day of delivery, UTC.
    pub(crate) until: Option<Date>,
    /// Whether it is expected that no object matches.
    pub(crate) allow_empty: bool,
}

impl PlannedSource {
    /// Returns whether the user selects days, accounts, kinds or regions.
    pub(crate) fn selects(&self) -> bool {
        self.since.is_some() || self.until.is_some() || !self.filters.is_all()
    }
}

/// Destination and ledger, with their options.
#[derive(Debug)]
pub(crate) struct DeliverySettings {
    pub(crate) dest: Dest,
    pub(crate) ledger: LedgerLocation,
    /// Retention of a DynamoDB ledger in days.
    pub(crate) ledger_days: u32,
    pub(crate) compress: Option<CompressMode>,
    pub(crate) events_per_record: Option<EventsPerRecord>,
    pub(crate) oversize: Option<String>,
    pub(crate) checkpoint: Duration,
    /// Free bytes on the disk below which nothing is started.
    pub(crate) min_free: Option<u64>,
    /// Days for which delivered files are kept.
    pub(crate) keep_days: Option<u32>,
}

impl SyncPlan {
    /// Combines the command line with the settings file: `--config`, or `./trailhose.toml` if no source is named.
    ///
    /// # Errors
    /// A value is missing, or values contradict each other.
    pub(crate) fn new(args: SyncArgs) -> Result<Self, String> {
        let settings = match &args.source {
            Some(_) => None,
            None => Settings::find(args.config.as_deref())?,
        };
        if args.source.is_none() && settings.as_ref().is_none_or(|settings| settings.sources.is_empty()) {
            return Err(format!("no source: specify SOURCE and DEST, or create {SETTINGS_FILE} with `trailhose init`"));
        }
        Self::of_settings(args, settings)
    }

    /// Combines the command line with the settings. The plan can have no source.
    ///
    /// # Errors
    /// A value is missing, or values contradict each other.
    pub(crate) fn of_settings(args: SyncArgs, settings: Option<Settings>) -> Result<Self, String> {
        let sources = sources(&args, settings.as_ref())?;
        if args.inventory.is_some() && sources.len() > 1 {
            return Err("--inventory: a report describes one bucket: specify it as SOURCE".into());
        }
        let file = settings.unwrap_or_default();
        let (named, url) = match args.dest {
            Some(SyncDest::Url(url)) => (Some(Dest::Folder(webhook::spool(args.spool.clone(), &url)?)), Some(url)),
            Some(SyncDest::Events(dest)) => (Some(dest), None),
            None => (None, None),
        };
        #[cfg(feature = "forward")]
        let file = match &url {
            Some(url) => Settings { forwards: vec![webhook::config(webhook::SYNC, url, &args.webhook)], ..file },
            None => file,
        };
        let followers = file.follower_names();
        let at = || file.path.display();
        if url.is_none() {
            webhook::check_unused(&args.webhook, args.spool.as_deref())?;
        }
        let dest = named.or(file.dest.clone()).ok_or_else(|| {
            format!("{}: no destination; expected dest = \"FOLDER\" or dest = \"firehose://STREAM\"", at())
        })?;
        // A filter on the command line replaces that of the settings file, regardless of their forms.
        let (one_line, path, [origin, file_origin]) = match (args.filter, args.filter_file) {
            (None, None) => {
                let file_origin = format!("{}:{}: filter_file: ", at(), file.filter_file_line);
                (file.filter, file.filter_file, [format!("{}: filter", at()), file_origin])
            }
            (one_line, path) => (one_line, path, ["--filter".to_owned(), String::new()]),
        };
        let (filter, filter_warnings) = match path {
            Some(path) => {
                let filter = crate::filter::read(&path).map_err(|error| format!("{file_origin}{error}"))?;
                let warnings = crate::filter::warnings(&path, &filter);
                (filter, warnings)
            }
            None => {
                let filter = one_line.unwrap_or_default();
                let warnings =
                    filter.findings().into_iter().map(|finding| format!("{origin}: {}", finding.text)).collect();
                (filter, warnings)
            }
        };
        Ok(Self {
            sources,
            delivery: DeliverySettings {
                ledger: ledger(args.ledger.or(file.ledger), &dest)?,
                dest,
                ledger_days: args.ledger_days.or(file.ledger_days).unwrap_or(90),
                compress: args.compress.or(file.compress),
                events_per_record: args.events_per_record.or(file.events_per_record),
                oversize: args.oversize.or(file.oversize),
                checkpoint: args.checkpoint.or(file.checkpoint).unwrap_or(Duration::from_secs(2)),
                min_free: args.min_free.or(file.min_free),
                keep_days: args.keep_days.or(file.keep_days),
            },
            filter,
            filter_warnings,
            jobs: args.jobs.or(file.jobs),
            max_object_bytes: args.max_object_bytes.or(file.max_object_bytes),
            rebuild: args.rebuild,
            all_files: args.all_files,
            inventory: args.inventory,
            watch: args.watch,
            look_back: args.look_back.or(file.look_back).unwrap_or(LOOK_BACK),
            #[cfg(feature = "detect")]
            detect: file.detect,
            #[cfg(feature = "forward")]
            forwards: file.forwards,
            followers,
            is_spool: url.is_some(),
        })
    }

    /// Returns ` --ledger …` for a command about the destination, unless the ledger is in it.
    #[cfg(feature = "forward")]
    pub(crate) fn ledger_option(&self) -> String {
        match (&self.delivery.ledger, &self.delivery.dest) {
            (LedgerLocation::File(file), Dest::Folder(dest)) if *file == dest.join(".trailhose/ledger.db") => {
                String::new()
            }
            (ledger, _) => format!(" --ledger {}", trailhose::shell::word(&ledger.to_string())),
        }
    }

    /// Returns the sources, separated by commas.
    pub(crate) fn source_names(&self) -> String {
        let names: Vec<String> = self.sources.iter().map(|source| source.location.to_string()).collect();
        names.join(", ")
    }
}

fn sources(args: &SyncArgs, settings: Option<&Settings>) -> Result<Vec<PlannedSource>, String> {
    let named = args.source.iter().map(|location| PlannedSource {
        location: location.clone(),
        access: BucketAccess::default(),
        filters: Filters::default(),
        since: None,
        until: None,
        allow_empty: false,
    });
    let listed = settings.iter().flat_map(|settings| &settings.sources).map(|source| PlannedSource {
        location: source.location.clone(),
        access: source.access.clone(),
        filters: Filters {
            accounts: source.accounts.iter().cloned().collect(),
            kinds: source.kinds.iter().map(ToString::to_string).collect(),
            regions: source.regions.iter().cloned().collect(),
        },
        since: source.since,
        until: source.until,
        allow_empty: source.allow_empty,
    });
    let mut sources: Vec<PlannedSource> = named.chain(listed).collect();
    let asked = args.selection.filters();
    for source in &mut sources {
        source.since = args.selection.since.or(source.since);
        source.until = args.selection.until.or(source.until);
        source.allow_empty |= args.selection.allow_empty;
        args.access.apply(&mut source.access);
        for (asked, filter) in [
            (&asked.accounts, &mut source.filters.accounts),
            (&asked.regions, &mut source.filters.regions),
            (&asked.kinds, &mut source.filters.kinds),
        ] {
            if !asked.is_empty() {
                filter.clone_from(asked);
            }
        }
        if args.all_files && (source.since.or(source.until).is_some() || !source.filters.is_all()) {
            return Err(format!(
                "{}: --all-files cannot be combined with a selection of days, accounts, regions or kinds, because \
                 other file names do not contain them",
                source.location
            ));
        }
        if let (Some(since), Some(until)) = (source.since, source.until)
            && until < since
        {
            return Err(format!("--since must not be after --until ({since} is after {until})"));
        }
    }
    Ok(sources)
}

/// Returns the location of the ledger: the given one, or the default of a folder destination.
fn ledger(named: Option<LedgerLocation>, dest: &Dest) -> Result<LedgerLocation, String> {
    match (named, dest) {
        (Some(at), _) => Ok(at),
        (None, Dest::Folder(folder)) => Ok(LedgerLocation::File(folder.join(".trailhose").join("ledger.db"))),
        (None, Dest::Firehose(_)) => {
            Err("--ledger is required with a Firehose destination: use --ledger FILE or --ledger dynamodb://TABLE"
                .into())
        }
    }
}
