//! Opens sources, destinations and ledgers. AWS clients are created only when a component needs them.

use crate::args::{CompressMode, Dest, EventsPerRecord, LedgerLocation, Location};
use crate::startup_check;
use crate::sync::plan;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use tokio::sync::OnceCell;
use trailhose::aws::{self, BucketAccess};
use trailhose::ledger::inspect::scan::LedgerScan;
use trailhose::ledger::model::row::Seconds;
#[cfg(feature = "dynamodb")]
use trailhose::ledger::store::dynamodb::DynamoDb;
use trailhose::ledger::store::sqlite::{CommitMode, Sqlite};
use trailhose::ledger::{self, Ledger, cost};
use trailhose::pack::LinesPerRecord;
use trailhose::sink::cost::SinkCounters;
#[cfg(feature = "firehose")]
use trailhose::sink::firehose::Firehose;
use trailhose::sink::jsonl::{Compression, Jsonl, MinFree, Options};
use trailhose::sink::metered::MeteredSink;
use trailhose::sink::{Sink, oversize::OversizeStore};
use trailhose::source::{Source, directory::Directory, s3::S3};

/// Retention of an SQLite ledger. It never expires, because a local run may cover a whole bucket.
const UNLIMITED_RETENTION: Seconds = 200 * 365 * 86_400;

/// The retention in days that commands assume if they do not ingest. Nothing that they write expires. A dry run counts
/// the objects that are older than this.
pub(crate) const INSPECTION_DAYS: u32 = 90;

/// The error if no region is configured.
const NO_REGION: &str = "no AWS region is configured: set AWS_REGION, or `region` in the AWS profile";

/// The profile that `--profile` names. It applies to every request of the program, except to sources with a profile of
/// their own.
static PROFILE: OnceLock<String> = OnceLock::new();

/// Selects the profile for all requests. Only the first call has an effect.
pub(crate) fn use_profile(name: String) {
    let _ = PROFILE.set(name);
}

/// The AWS configuration, loaded on first use.
#[derive(Default)]
pub(crate) struct Aws(OnceCell<aws_config::SdkConfig>);

impl Aws {
    /// Returns an S3 client.
    pub(crate) async fn s3(&self) -> Result<aws_sdk_s3::Client, String> {
        Ok(aws::s3(self.config().await?))
    }

    /// Returns an SQS client.
    #[cfg(feature = "sqs")]
    pub(crate) async fn sqs(&self) -> Result<aws_sdk_sqs::Client, String> {
        Ok(aws_sdk_sqs::Client::new(self.config().await?))
    }

    /// Returns a DynamoDB client that retries requests automatically. Not for a ledger, which must decide about retries
    /// itself.
    #[cfg(feature = "dynamodb")]
    pub(crate) async fn dynamodb(&self) -> Result<aws_sdk_dynamodb::Client, String> {
        Ok(aws_sdk_dynamodb::Client::new(self.config().await?))
    }

    /// Returns the AWS configuration, whose credentials are loaded.
    ///
    /// # Errors
    /// There are no credentials or there is no region. The message is one line with the next step.
    pub(crate) async fn config(&self) -> Result<&aws_config::SdkConfig, String> {
        let config = self.loaded().await?;
        match config.region() {
            Some(_) => Ok(config),
            None => Err(NO_REGION.into()),
        }
    }

    /// Returns the AWS configuration for another region.
    ///
    /// # Errors
    /// There are no credentials.
    pub(crate) async fn config_in(&self, region: &str) -> Result<aws_config::SdkConfig, String> {
        let region = aws_config::Region::new(region.to_owned());
        Ok(self.loaded().await?.to_builder().region(region).build())
    }

    /// Returns the region of the configuration, if there is one.
    #[cfg(feature = "init")]
    pub(crate) async fn region(&self) -> Result<Option<String>, String> {
        Ok(self.loaded().await?.region().map(ToString::to_string))
    }

    async fn loaded(&self) -> Result<&aws_config::SdkConfig, String> {
        let load = async || {
            let access = BucketAccess { profile: PROFILE.get().cloned(), ..BucketAccess::default() };
            let config = aws::config(&access).await;
            aws::check_credentials(&config).await.map(|()| config)
        };
        self.0.get_or_try_init(load).await
    }
}

/// Returns the default concurrency. Reading a folder is limited by the CPU, reading a bucket by the network.
pub(crate) fn jobs(source: &Location) -> usize {
    let cores = std::thread::available_parallelism().map_or(2, Into::into);
    match source {
        Location::Path(_) => cores,
        Location::S3 { .. } => (2 * cores).min(16),
    }
}

/// An opened source.
pub(crate) struct OpenedSource {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) bucket: String,
    pub(crate) prefix: String,
    /// The canonical path, if the source is a folder.
    pub(crate) folder: Option<PathBuf>,
}

/// Opens a source. `access` applies to a bucket.
pub(crate) async fn source(location: &Location, access: &BucketAccess, aws: &Aws) -> Result<OpenedSource, String> {
    match location {
        Location::Path(path) => {
            let source = Directory::open(path).map_err(|error| format!("SOURCE: {error}"))?;
            let folder = path.canonicalize().map_err(|error| format!("SOURCE: {}: {error}", path.display()))?;
            let bucket = source.bucket().to_owned();
            Ok(OpenedSource { source: Arc::new(source), bucket, prefix: String::new(), folder: Some(folder) })
        }
        Location::S3 { bucket, key } => {
            let region = access.region.as_deref().or(aws::arn_region(bucket));
            let profile = access.profile.clone().or(PROFILE.get().cloned());
            let access = BucketAccess { region: region.map(str::to_owned), profile, ..access.clone() };
            let config = match access.needs_own_config() {
                true => access.load().await.map_err(|error| format!("SOURCE: {error}"))?,
                false => aws.loaded().await?.clone(),
            };
            if access.region.is_none() && config.region().is_none() {
                return Err(NO_REGION.into());
            }
            let source = Arc::new(S3::new(access.client(bucket, &config)).with_requester_pays(access.requester_pays));
            startup_check::s3(&source, bucket, key, access.endpoint_url.as_deref(), &config).await?;
            Ok(OpenedSource { source, bucket: bucket.clone(), prefix: key.clone(), folder: None })
        }
    }
}

/// An opened ledger and destination, with their usage counters.
pub(crate) struct Delivery {
    pub(crate) ledger: Ledger,
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) ledger_usage: Arc<cost::LedgerCounters>,
    pub(crate) firehose_usage: Option<Arc<SinkCounters>>,
    /// The JSON Lines files, if the destination is a folder.
    pub(crate) files: Option<Arc<Jsonl>>,
    /// What Firehose would bill for everything that is written to `sink`, which can be of any type.
    pub(crate) sent: Arc<SinkCounters>,
}

impl Delivery {
    fn new(
        ledger: Ledger,
        ledger_usage: Arc<cost::LedgerCounters>,
        sink: Arc<dyn Sink>,
        firehose_usage: Option<Arc<SinkCounters>>,
    ) -> Self {
        let sink = MeteredSink::new(sink);
        Self { ledger, ledger_usage, firehose_usage, files: None, sent: sink.counters(), sink: Arc::new(sink) }
    }

    fn with_files(self, files: Arc<Jsonl>) -> Self {
        Self { files: Some(files), ..self }
    }
}

/// Opens the ledger and the destination.
pub(crate) async fn delivery(plan: &plan::DeliverySettings, aws: &Aws) -> Result<Delivery, String> {
    match &plan.dest {
        Dest::Folder(folder) => folder_delivery(folder, plan, aws).await,
        Dest::Firehose(stream) => stream_delivery(stream, plan, aws).await,
    }
}

async fn folder_delivery(folder: &Path, plan: &plan::DeliverySettings, aws: &Aws) -> Result<Delivery, String> {
    if plan.events_per_record.is_some() {
        return Err("--events-per-record requires a Firehose destination, but DEST is a folder".into());
    }
    if folder.exists() && !folder.is_dir() {
        let kind = if folder.is_file() { "a file" } else { "a device or a pipe" };
        return Err(format!("DEST: {} is {kind}; expected a folder", folder.display()));
    }
    let compression = match plan.compress {
        None | Some(CompressMode::None) => Compression::None,
        Some(CompressMode::Gzip) => Compression::Gzip,
        #[cfg(feature = "zstd")]
        Some(CompressMode::Zstd) => Compression::Zstd,
        #[cfg(not(feature = "zstd"))]
        Some(CompressMode::Zstd) => return Err(missing_feature("--compress zstd", "zstd")),
    };
    let min_free = plan.min_free.map_or(MinFree::Default, MinFree::Bytes);
    let options = Options { compression, checkpoint_every: plan.checkpoint, min_free, ..Options::default() };
    let failed = |error| format!("DEST: {error}");
    match &plan.ledger {
        LedgerLocation::File(file) => {
            let store = sqlite(file, CommitMode::Grouped)?;
            let sink = Arc::new(Jsonl::with_ledger(folder, options, &store).await.map_err(failed)?);
            Ok(sqlite_delivery(store, sink.clone(), None).with_files(sink))
        }
        LedgerLocation::DynamoDb(table) => {
            let (ledger, _, ledger_usage) = open_table(table, plan.ledger_days, aws).await?;
            let sink = Arc::new(Jsonl::standalone(folder, options).await.map_err(failed)?);
            Ok(Delivery::new(ledger, ledger_usage, sink.clone(), None).with_files(sink))
        }
    }
}

#[cfg(not(feature = "firehose"))]
async fn stream_delivery(stream: &str, _: &plan::DeliverySettings, _: &Aws) -> Result<Delivery, String> {
    Err(missing_feature(&format!("a Firehose stream as destination (firehose://{stream})"), "firehose"))
}

#[cfg(feature = "firehose")]
async fn stream_delivery(stream: &str, plan: &plan::DeliverySettings, aws: &Aws) -> Result<Delivery, String> {
    if plan.compress.is_some() {
        return Err("--compress applies to JSON Lines files only; compression of a Firehose stream is part of its \
                    configuration"
            .into());
    }
    if plan.min_free.is_some() || plan.keep_days.is_some() {
        return Err("--min-free and --keep-days apply to a folder as DEST only: a stream keeps no files".into());
    }
    let lines = match plan.events_per_record {
        None | Some(EventsPerRecord::Many) => LinesPerRecord::Many,
        Some(EventsPerRecord::One) => LinesPerRecord::One,
    };
    let config = aws.config().await?;
    let mut sink = Firehose::new(aws::firehose(config), stream, lines);
    if let Some(location) = &plan.oversize {
        sink =
            sink.with_oversize_store(OversizeStore::new(aws::s3(config), location).map_err(|error| error.to_string())?);
    }
    startup_check::firehose(&sink, config).await?;
    let usage = Some(sink.counters());
    match &plan.ledger {
        LedgerLocation::File(file) => Ok(sqlite_delivery(sqlite(file, CommitMode::Durable)?, Arc::new(sink), usage)),
        LedgerLocation::DynamoDb(table) => {
            let (ledger, _, ledger_usage) = open_table(table, plan.ledger_days, aws).await?;
            Ok(Delivery::new(ledger, ledger_usage, Arc::new(sink), usage))
        }
    }
}

fn sqlite(file: &Path, mode: CommitMode) -> Result<Sqlite, String> {
    Sqlite::open(file, mode).map_err(|error| format!("ledger: {error}"))
}

fn sqlite_delivery(store: Sqlite, sink: Arc<dyn Sink>, firehose_usage: Option<Arc<SinkCounters>>) -> Delivery {
    let ledger_usage = Arc::clone(store.counters());
    let ledger = Ledger::new(Arc::new(store), ledger::system_clock(), UNLIMITED_RETENTION);
    Delivery::new(ledger, ledger_usage, sink, firehose_usage)
}

/// Returns the error for something that this build does not contain.
#[cfg(not(feature = "full"))]
pub(crate) fn missing_feature(what: &str, feature: &str) -> String {
    format!(
        "this build of trailhose does not support {what}: install it with the feature {feature:?}, or with everything: \
         cargo install --path . --features full"
    )
}

/// Opens a ledger for reading.
pub(crate) async fn open_read_only(at: &LedgerLocation, aws: &Aws) -> Result<Ledger, String> {
    match at {
        LedgerLocation::DynamoDb(table) => Ok(open_table(table, INSPECTION_DAYS, aws).await?.0),
        LedgerLocation::File(file) => {
            let store = Sqlite::open_read_only(file).map_err(|error| format!("ledger: {error}"))?;
            Ok(Ledger::new(Arc::new(store), ledger::system_clock(), UNLIMITED_RETENTION))
        }
    }
}

/// A ledger with its scanner and its usage counters.
pub(crate) type ScannableLedger = (Ledger, Arc<dyn LedgerScan>, Arc<cost::LedgerCounters>);

/// Opens a DynamoDB ledger with a retention of `days`.
#[cfg(feature = "dynamodb")]
pub(crate) async fn open_table(table: &str, days: u32, aws: &Aws) -> Result<ScannableLedger, String> {
    let config = aws.config().await?;
    let store = DynamoDb::new(aws::dynamodb(config), table);
    startup_check::dynamodb(&store, config).await?;
    let usage = store.counters();
    let ledger = Ledger::new(Arc::new(store.clone()), ledger::system_clock(), Seconds::from(days) * 86_400);
    Ok((ledger, Arc::new(store), usage))
}

#[cfg(not(feature = "dynamodb"))]
pub(crate) async fn open_table(table: &str, _: u32, _: &Aws) -> Result<ScannableLedger, String> {
    Err(missing_feature(&format!("a ledger in DynamoDB (dynamodb://{table})"), "dynamodb"))
}

/// Opens an SQLite ledger for inspection, read-only.
pub(crate) fn open_file(file: &Path) -> Result<ScannableLedger, String> {
    Ok(scannable(Sqlite::open_read_only(file).map_err(|error| format!("ledger: {error}"))?))
}

/// Opens an SQLite ledger for changes. Fails if the file does not exist.
pub(crate) fn open_file_for_update(file: &Path) -> Result<ScannableLedger, String> {
    open_file(file)?;
    Ok(scannable(sqlite(file, CommitMode::Durable)?))
}

fn scannable(store: Sqlite) -> ScannableLedger {
    let usage = Arc::clone(store.counters());
    let ledger = Ledger::new(Arc::new(store.clone()), ledger::system_clock(), UNLIMITED_RETENTION);
    (ledger, Arc::new(store), usage)
}
