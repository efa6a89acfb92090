//! Plan: what a sync is to do, from the command line and `trailhose.toml`; an option counts more than the file.

use crate::args::value::SETTINGS_FILE;
use crate::args::{Compress, Dest, LedgerAt, Lines, Place, SyncArgs};
use crate::settings::Settings;
use jiff::civil::Date;
use std::time::Duration;
use trailhose::event::filter::Filter;
use trailhose::listing::folder_level::Filters;
use trailhose::listing::span::LOOK_BACK;

/// What is done.
#[derive(Debug)]
pub(crate) struct Plan {
    /// At least one.
    pub(crate) sources: Vec<Planned>,
    pub(crate) delivery: Delivery,
    pub(crate) filter: Filter,
    /// Objects at once.
    pub(crate) jobs: Option<usize>,
    /// Decompressed bytes at which an object is taken for a decompression bomb.
    pub(crate) max_object_bytes: Option<u64>,
    /// Files of any name are read.
    pub(crate) all_files: bool,
    /// The manifest of an S3 Inventory report that stands for the listing of the only source.
    pub(crate) inventory: Option<Place>,
    /// The pause between two rounds, if there is to be more than one.
    pub(crate) watch: Option<Duration>,
    /// Days before today at which a round that is not the first begins.
    pub(crate) look_back: u32,
}

/// One source, and what of it is meant.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    pub(crate) place: Place,
    /// The bucket's region, where it is not the configured one.
    pub(crate) bucket_region: Option<String>,
    pub(crate) filters: Filters,
    /// First day of delivery.
    pub(crate) since: Option<Date>,
    /// Last day of delivery.
    pub(crate) until: Option<Date>,
}

/// Where events go and how, and where it is noted.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) dest: Dest,
    pub(crate) ledger: LedgerAt,
    /// Days for which a DynamoDB ledger remembers.
    pub(crate) ledger_days: u32,
    pub(crate) compress: Option<Compress>,
    pub(crate) destination: Option<Lines>,
    pub(crate) oversize: Option<String>,
    pub(crate) checkpoint: Duration,
}

impl Plan {
    /// Reads what the command line leaves open from its `--config`, or from `./trailhose.toml` if it names no source.
    ///
    /// # Errors
    /// Says what is missing or contradictory.
    pub(crate) fn new(args: SyncArgs) -> Result<Self, String> {
        let settings = match &args.source {
            Some(_) => None,
            None => Settings::find(args.config.as_deref())?,
        };
        let sources = sources(&args, settings.as_ref())?;
        if args.inventory.is_some() && sources.len() > 1 {
            return Err("--inventory: a report is of one bucket: name it as SOURCE".into());
        }
        let file = settings.unwrap_or_default();
        let at = || file.path.display();
        let dest = args.dest.or(file.dest.clone()).ok_or_else(|| {
            format!("{}: no destination: expected dest = \"FOLDER\" or dest = \"firehose://STREAM\"", at())
        })?;
        Ok(Self {
            sources,
            delivery: Delivery {
                ledger: ledger(args.ledger.or(file.ledger), &dest)?,
                dest,
                ledger_days: args.ledger_days.or(file.ledger_days).unwrap_or(90),
                compress: args.compress.or(file.compress),
                destination: args.destination.or(file.destination),
                oversize: args.oversize.or(file.oversize),
                checkpoint: args.checkpoint.or(file.checkpoint).unwrap_or(Duration::from_secs(2)),
            },
            filter: args.filter.or(file.filter).unwrap_or_default(),
            jobs: args.jobs.map(Into::into).or(file.jobs),
            max_object_bytes: args.max_object_bytes.or(file.max_object_bytes),
            all_files: args.all_files,
            inventory: args.inventory,
            watch: args.watch,
            look_back: args.look_back.or(file.look_back).unwrap_or(LOOK_BACK),
        })
    }

    /// The sources, in one line.
    pub(crate) fn source_names(&self) -> String {
        let names: Vec<String> = self.sources.iter().map(|source| source.place.to_string()).collect();
        names.join(", ")
    }
}

fn sources(args: &SyncArgs, settings: Option<&Settings>) -> Result<Vec<Planned>, String> {
    let named = args.source.iter().map(|place| Planned {
        place: place.clone(),
        bucket_region: None,
        filters: Filters::default(),
        since: None,
        until: None,
    });
    let listed = settings.iter().flat_map(|settings| &settings.sources).map(|source| Planned {
        place: source.place.clone(),
        bucket_region: source.bucket_region.clone(),
        filters: Filters {
            accounts: source.accounts.iter().cloned().collect(),
            kinds: source.kinds.iter().map(ToString::to_string).collect(),
            regions: source.regions.iter().cloned().collect(),
        },
        since: source.since,
        until: source.until,
    });
    let mut sources: Vec<Planned> = named.chain(listed).collect();
    if sources.is_empty() {
        return Err(format!(
            "no source: name SOURCE and DEST, or write a {} (trailhose init, with AWS credentials)",
            SETTINGS_FILE
        ));
    }
    let asked = args.selection.filters();
    for source in &mut sources {
        source.since = args.selection.since.or(source.since);
        source.until = args.selection.until.or(source.until);
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
                "{}: --all-files reads files whose names say neither day, account, region nor kind; take the selection away",
                source.place
            ));
        }
        if let (Some(since), Some(until)) = (source.since, source.until)
            && until < since
        {
            return Err(format!("--since {since} is after --until {until}: no day is both; exchange the two"));
        }
    }
    Ok(sources)
}

/// Where the ledger of a run is, by its setting or by default.
fn ledger(named: Option<LedgerAt>, dest: &Dest) -> Result<LedgerAt, String> {
    match (named, dest) {
        (Some(at), _) => Ok(at),
        (None, Dest::Folder(folder)) => Ok(LedgerAt::File(folder.join(".trailhose").join("ledger.db"))),
        (None, Dest::Firehose(_)) => {
            Err("a stream has no room for a ledger, which says what was delivered to it: name \
                                          one with --ledger FILE or --ledger dynamodb://TABLE"
                .into())
        }
    }
}
