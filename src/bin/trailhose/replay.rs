//! `trailhose replay`: delivers the events of some days again, although they were delivered.
//!
//! A replay is a sync with a ledger of its own. The ledger of the stack is neither read nor changed, so a replay cannot
//! affect what the stack delivers.
//!
//! Resetting the rows of the stack's ledger was rejected for two reasons. A page records an event that was delivered on
//! behalf of its owner as delivered, so it would not be delivered again; objects that help each other after the reset
//! would create more of these records. And an interruption would leave open rows, which only a backfill finishes.

use crate::args::{BackfillArgs, Cli, Command, Dest, LedgerLocation, ReplayArgs, SyncArgs};
use crate::backfill::local::{LocalBackfillError, LocalTotals, totals};
use crate::backfill::plan::BackfillPlan;
use crate::components::{self, Aws};
use crate::ledger::confirm::confirmed;
use crate::print::{print, print_json};
use crate::table::Table;
use crate::text::{counted, dollars};
use clap::Parser;
use indicatif::{DecimalBytes, HumanCount};
use jiff::civil::Date;
use serde::Serialize;
use std::sync::Arc;
use tokio::sync::watch::Receiver;
use trailhose::aws::DeployedStack;
use trailhose::backfill::estimate::Estimate;
use trailhose::billing::price::{AS_OF, BilledUnits, REGION};
use trailhose::ledger::store::memory::Memory;
use trailhose::ledger::{Ledger, system_clock};

/// Exit code: failed after objects were listed, or the answer was no.
const INCOMPLETE: u8 = 1;

/// Retention of the empty ledger that is used before the file exists. Nothing is written to it.
const NO_RETENTION: i64 = 0;

pub(crate) async fn run(args: ReplayArgs, halt: Receiver<bool>) -> Result<u8, String> {
    let (Some(since), Some(until)) = (args.selection.since, args.selection.until) else {
        return Err("a replay requires both --since and --until, because it delivers events again".into());
    };
    let aws = Aws::default();
    let client = aws_sdk_cloudformation::Client::new(aws.config().await?);
    let stack = DeployedStack::describe(&client, &args.stack).await.map_err(|error| error.to_string())?;
    let replay = Replay::new(&args, &stack, since, until)?;

    let plan = BackfillPlan::new(replay.preview()?)?;
    let LocalTotals { counts, unlisted, empty } =
        match totals(&plan, &replay.ledger(&aws).await?, &aws, halt.clone()).await {
            Ok(totals) => totals,
            Err(LocalBackfillError::Halted) => return Ok(crate::interrupt::exit_code()),
            Err(LocalBackfillError::NothingDone(reason)) => return Err(reason),
            Err(LocalBackfillError::PartlyDone(reason)) => {
                return Ok(crate::report_failure("aborted", &reason, INCOMPLETE));
            }
        };
    unlisted.print();
    let left = Remaining::new(&replay, &counts);
    if args.dry_run {
        match args.json {
            true => print_json(&left),
            false => print(&left.table()),
        }
        empty.iter().for_each(|warning| anstream::eprintln!("{warning}"));
        return Ok(match (unlisted.denied.is_empty(), empty.is_empty()) {
            (false, _) => INCOMPLETE,
            (true, false) => crate::NOTHING_MATCHED,
            (true, true) => 0,
        });
    }
    if !empty.is_empty() {
        empty.iter().for_each(|warning| anstream::eprintln!("{warning}"));
        return Ok(crate::NOTHING_MATCHED);
    }
    if left.objects == 0 {
        let file = &replay.ledger_file;
        anstream::eprintln!(
            "nothing is left: {file} records that all selected objects were delivered. To deliver them once more, use \
                             another --ledger"
        );
        if args.json {
            print_json(&left);
        }
        return Ok(0);
    }
    let question = format!("Deliver the events of {} to {}?", counted(left.objects, "object"), replay.dest);
    let effect = format!(
        "About {} ({}) are delivered again, for about {}.",
        counted(left.events, "event"),
        DecimalBytes(left.event_bytes),
        dollars(left.dollars, 4)
    );
    if !confirmed(&question, &effect, args.yes)? {
        anstream::eprintln!("no changes made");
        return Ok(INCOMPLETE);
    }
    crate::sync::run(replay.sync(&args)?, halt).await
}

/// A replay, with the values of the stack.
struct Replay {
    source: String,
    dest: Dest,
    ledger_file: String,
    /// The days and the selection, as arguments.
    selection: Vec<String>,
    /// The filter, the events per record and the oversize bucket of the stack, as arguments.
    delivery: Vec<String>,
}

impl Replay {
    fn new(args: &ReplayArgs, stack: &DeployedStack, since: Date, until: Date) -> Result<Self, String> {
        let output = |name| stack.output(name).map_err(|error| error.to_string());
        let bucket = stack.parameter("LogBucketName").ok_or_else(|| {
            format!("stack {} has no parameter LogBucketName: it is not a trailhose stack", stack.name)
        })?;
        let dest = match &args.to {
            Some(dest) => dest.clone(),
            None => Dest::Firehose(output("DeliveryStreamName")?.to_owned()),
        };
        let ledger_file = match &args.ledger {
            Some(file) => file.to_str().ok_or("--ledger: the path is not valid UTF-8")?.to_owned(),
            None => {
                let name = dest.to_string().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
                format!("replay-{}-{since}-{until}.db", name.trim_matches('-'))
            }
        };
        let option = |name: &str, value: &str| [format!("--{name}"), value.to_owned()];
        let selection = &args.selection;
        let mut selected = [option("since", &since.to_string()), option("until", &until.to_string())].concat();
        selected.extend(selection.accounts.iter().flat_map(|account| option("account", account)));
        selected.extend(selection.regions.iter().flat_map(|region| option("region", region)));
        selected.extend(selection.kinds.iter().flat_map(|kind| option("kind", kind.as_str())));
        selected.extend(selection.allow_empty.then(|| "--allow-empty".to_owned()));
        let mut delivery = Vec::new();
        if let Some(filter) = stack.parameter("EventFilter") {
            delivery.extend(option("filter", filter));
        }
        if matches!(dest, Dest::Firehose(_)) {
            delivery.extend(option("events-per-record", stack.parameter("EventsPerRecord").unwrap_or("many")));
            let oversize = stack.optional_output("LakeBucketName").or(stack.parameter("OversizeBucketName"));
            delivery.extend(oversize.into_iter().flat_map(|bucket| option("oversize", &format!("s3://{bucket}"))));
        }
        let source = format!("s3://{bucket}/{}", stack.parameter("LogPrefix").unwrap_or_default());
        Ok(Self { source, dest, ledger_file, selection: selected, delivery })
    }

    /// Returns the arguments of the backfill that counts what is left.
    fn preview(&self) -> Result<BackfillArgs, String> {
        let words = ["trailhose", "backfill", &self.source, "--dry-run", "--ledger", &self.ledger_file];
        let words = words.map(str::to_owned);
        match Cli::try_parse_from(words.iter().chain(&self.selection)).map_err(|error| error.to_string())?.command {
            Command::Backfill(args) => Ok(*args),
            _ => Err("the arguments of the preview are not those of a backfill".into()),
        }
    }

    /// Returns the arguments of the sync that delivers.
    fn sync(&self, args: &ReplayArgs) -> Result<SyncArgs, String> {
        let dest = self.dest.to_string();
        let words = ["trailhose", "sync", &self.source, &dest, "--ledger", &self.ledger_file].map(str::to_owned);
        let jobs = args.jobs.map(|jobs| format!("--jobs={jobs}"));
        let json = args.json.then(|| "--json".to_owned());
        let words = words.iter().chain(&self.selection).chain(&self.delivery).chain(&jobs).chain(&json);
        match Cli::try_parse_from(words).map_err(|error| error.to_string())?.command {
            Command::Sync(args) => Ok(*args),
            _ => Err("the arguments of the replay are not those of a sync".into()),
        }
    }

    /// Opens the ledger of the replay for reading. Before the first run there is no file, and nothing is delivered.
    async fn ledger(&self, aws: &Aws) -> Result<Ledger, String> {
        let file = std::path::PathBuf::from(&self.ledger_file);
        match file.exists() {
            true => components::open_read_only(&LedgerLocation::File(file), aws).await,
            false => Ok(Ledger::new(Arc::new(Memory::default()), system_clock(), NO_RETENTION)),
        }
    }
}

/// What a replay has not delivered yet.
#[derive(Debug, Serialize)]
struct Remaining {
    source: String,
    dest: String,
    ledger: String,
    /// Objects that this replay has delivered.
    done: u64,
    /// Objects that it has not delivered.
    objects: u64,
    stored_bytes: u64,
    events: u64,
    event_bytes: u64,
    seconds: f64,
    dollars: f64,
    prices_of: &'static str,
    prices_as_of: &'static str,
}

impl Remaining {
    fn new(replay: &Replay, counts: &trailhose::listing::ListingCounts) -> Self {
        let estimate = Estimate::of(counts, None);
        let firehose_bytes = match replay.dest {
            Dest::Firehose(_) => estimate.counted.firehose_bytes,
            Dest::Folder(_) => 0.0,
        };
        // The ledger is a file, and no function and no queue is involved.
        let BilledUnits { s3_gets, s3_lists, .. } = estimate.counted;
        let billed = BilledUnits { firehose_bytes, s3_gets, s3_lists, ..BilledUnits::default() };
        Self {
            source: replay.source.clone(),
            dest: replay.dest.to_string(),
            ledger: replay.ledger_file.clone(),
            done: counts.done,
            objects: counts.sent,
            stored_bytes: counts.bytes,
            events: estimate.events,
            event_bytes: estimate.event_bytes,
            seconds: estimate.time.as_secs_f64(),
            dollars: billed.dollars(),
            prices_of: REGION,
            prices_as_of: AS_OF,
        }
    }

    fn table(&self) -> String {
        let mut table = Table::new(22, 14);
        table.head(&format!("{} to {}", self.source, self.dest));
        table.row("delivered again", self.done, &format!("objects, recorded in {}", self.ledger));
        table.row("left", self.objects, &format!("objects, {} as stored", DecimalBytes(self.stored_bytes)));
        let events = format!("~{}", HumanCount(self.events));
        table.text("events", &events, &DecimalBytes(self.event_bytes).to_string());
        let time = indicatif::HumanDuration(std::time::Duration::try_from_secs_f64(self.seconds).unwrap_or_default());
        table.text("time", &format!("~{time}"), "at a stream's default quota of 5 MiB/s, which new events share");
        let list =
            format!("list prices of {} ({}), without data transfer out of AWS", self.prices_of, self.prices_as_of);
        table.text("price", &format!("~{}", dollars(self.dollars, 4)), &list);
        table.into_text()
    }
}
