//! The parts, opened as the command line asks. No AWS client is made unless one of them needs it.

use crate::args::{Compress, Dest, LedgerAt, Lines, Place};
use crate::sync::plan;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::OnceCell;
use trailhose::aws;
use trailhose::ledger::inspect::scan::Survey;
use trailhose::ledger::model::row::Seconds;
use trailhose::ledger::store::dynamodb::DynamoDb;
use trailhose::ledger::store::sqlite::{CommitMode, Sqlite};
use trailhose::ledger::{self, Ledger, cost};
use trailhose::pack::LinesPerRecord;
use trailhose::sink::firehose::{self, Firehose};
use trailhose::sink::jsonl::{Compression, Jsonl, Options};
use trailhose::sink::metered::Metered;
use trailhose::sink::{Sink, oversize::Aside};
use trailhose::source::{Source, directory::Directory, s3::S3};

/// A ledger in a file never forgets: a laptop may look back over a whole bucket.
const FOR_EVER: Seconds = 200 * 365 * 86_400;

/// AWS's configuration, read when it is first needed.
#[derive(Default)]
pub(crate) struct Aws(OnceCell<aws_config::SdkConfig>);

impl Aws {
    /// A client of S3.
    pub(crate) async fn s3(&self) -> aws_sdk_s3::Client {
        aws::s3(self.config().await)
    }

    /// A client of SQS.
    pub(crate) async fn sqs(&self) -> aws_sdk_sqs::Client {
        aws_sdk_sqs::Client::new(self.config().await)
    }

    /// A client of DynamoDB that repeats by itself what may be repeated: not for a ledger.
    pub(crate) async fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(self.config().await)
    }

    pub(crate) async fn config(&self) -> &aws_config::SdkConfig {
        self.0.get_or_init(aws::config).await
    }

    /// The same in another region.
    pub(crate) async fn config_in(&self, region: &str) -> aws_config::SdkConfig {
        self.config().await.to_builder().region(aws_config::Region::new(region.to_owned())).build()
    }
}

/// Where objects are read.
pub(crate) struct Opened {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) bucket: String,
    pub(crate) prefix: String,
    /// The folder, where it is one.
    pub(crate) folder: Option<PathBuf>,
}

/// Opens a source; a bucket in `region`, if it is not the configured one.
pub(crate) async fn source(place: &Place, region: Option<&str>, aws: &Aws) -> Result<Opened, String> {
    match place {
        Place::Path(path) => {
            let source = Directory::open(path).map_err(|error| format!("SOURCE: {error}"))?;
            let folder = path.canonicalize().map_err(|error| format!("SOURCE: {}: {error}", path.display()))?;
            let bucket = source.bucket().to_owned();
            Ok(Opened { source: Arc::new(source), bucket, prefix: String::new(), folder: Some(folder) })
        }
        Place::S3 { bucket, key } => {
            let config = match region {
                Some(region) => aws.config_in(region).await,
                None => aws.config().await.clone(),
            };
            let source = Arc::new(S3::new(aws::s3(&config)));
            Ok(Opened { source, bucket: bucket.clone(), prefix: key.clone(), folder: None })
        }
    }
}

/// What has been delivered, where events go, and what both cost.
pub(crate) struct Delivery {
    pub(crate) ledger: Ledger,
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) ledger_usage: Arc<cost::Usage>,
    pub(crate) firehose_usage: Option<Arc<firehose::Usage>>,
    /// What Firehose would bill for what is given to `sink`, whatever that is.
    pub(crate) sent: Arc<firehose::Usage>,
}

impl Delivery {
    fn new(
        ledger: Ledger,
        ledger_usage: Arc<cost::Usage>,
        sink: Arc<dyn Sink>,
        firehose_usage: Option<Arc<firehose::Usage>>,
    ) -> Self {
        let sink = Metered::new(sink);
        Self { ledger, ledger_usage, firehose_usage, sent: sink.usage(), sink: Arc::new(sink) }
    }
}

/// Opens ledger and destination.
pub(crate) async fn delivery(plan: &plan::Delivery, aws: &Aws) -> Result<Delivery, String> {
    match &plan.dest {
        Dest::Folder(folder) => to_folder(folder, plan, aws).await,
        Dest::Firehose(stream) => to_stream(stream, plan, aws).await,
    }
}

async fn to_folder(folder: &Path, plan: &plan::Delivery, aws: &Aws) -> Result<Delivery, String> {
    if plan.destination.is_some() {
        return Err("--destination says how a Firehose stream takes events; DEST is a folder".into());
    }
    if folder.exists() && !folder.is_dir() {
        return Err(format!("DEST: {} is a file, expected a folder", folder.display()));
    }
    let compression = match plan.compress {
        None | Some(Compress::None) => Compression::None,
        Some(Compress::Gzip) => Compression::Gzip,
        Some(Compress::Zstd) => Compression::Zstd,
    };
    let options = Options { compression, checkpoint_every: plan.checkpoint, ..Options::default() };
    let failed = |error| format!("DEST: {error}");
    match &plan.ledger {
        LedgerAt::File(file) => {
            let store = sqlite(file, CommitMode::Grouped)?;
            let sink = Jsonl::with_ledger(folder, options, &store).await.map_err(failed)?;
            Ok(over_sqlite(store, Arc::new(sink), None))
        }
        LedgerAt::DynamoDb(table) => {
            let (ledger, ledger_usage) = dynamodb(table, plan.ledger_days, aws).await;
            let sink = Jsonl::alone(folder, options).await.map_err(failed)?;
            Ok(Delivery::new(ledger, ledger_usage, Arc::new(sink), None))
        }
    }
}

async fn to_stream(stream: &str, plan: &plan::Delivery, aws: &Aws) -> Result<Delivery, String> {
    if plan.compress.is_some() {
        return Err("--compress is for JSON Lines files; a Firehose stream compresses as it is configured to".into());
    }
    let lines = match plan.destination {
        None | Some(Lines::Packed) => LinesPerRecord::Packed,
        Some(Lines::OnePerRecord) => LinesPerRecord::One,
    };
    let config = aws.config().await;
    let mut sink = Firehose::new(aws::firehose(config), stream, lines);
    if let Some(location) = &plan.oversize {
        sink = sink.with_aside(Aside::new(aws::s3(config), location).map_err(|error| error.to_string())?);
    }
    let usage = Some(sink.usage());
    match &plan.ledger {
        LedgerAt::File(file) => Ok(over_sqlite(sqlite(file, CommitMode::Durable)?, Arc::new(sink), usage)),
        LedgerAt::DynamoDb(table) => {
            let (ledger, ledger_usage) = dynamodb(table, plan.ledger_days, aws).await;
            Ok(Delivery::new(ledger, ledger_usage, Arc::new(sink), usage))
        }
    }
}

fn sqlite(file: &Path, mode: CommitMode) -> Result<Sqlite, String> {
    Sqlite::open(file, mode).map_err(|error| format!("ledger: {error}"))
}

fn over_sqlite(store: Sqlite, sink: Arc<dyn Sink>, firehose_usage: Option<Arc<firehose::Usage>>) -> Delivery {
    let ledger_usage = Arc::clone(store.usage());
    let ledger = Ledger::new(Arc::new(store), ledger::system_clock(), FOR_EVER);
    Delivery::new(ledger, ledger_usage, sink, firehose_usage)
}

async fn dynamodb(table: &str, days: u32, aws: &Aws) -> (Ledger, Arc<cost::Usage>) {
    let store = DynamoDb::new(aws::dynamodb(aws.config().await), table);
    let usage = store.usage();
    (Ledger::new(Arc::new(store), ledger::system_clock(), Seconds::from(days) * 86_400), usage)
}

/// Opens a ledger to look into it.
pub(crate) async fn look(at: &LedgerAt, aws: &Aws) -> Result<Ledger, String> {
    match at {
        LedgerAt::DynamoDb(table) => Ok(dynamodb(table, 90, aws).await.0),
        LedgerAt::File(file) => {
            let store = Sqlite::look(file).map_err(|error| format!("ledger: {error}"))?;
            Ok(Ledger::new(Arc::new(store), ledger::system_clock(), FOR_EVER))
        }
    }
}

/// A ledger, for a person too, and what is read of it.
pub(crate) type Surveyed = (Ledger, Arc<dyn Survey>, Arc<cost::Usage>);

/// Opens a table's ledger for a person.
pub(crate) async fn survey_table(table: &str, aws: &Aws) -> Surveyed {
    let store = DynamoDb::new(aws::dynamodb(aws.config().await), table);
    let usage = store.usage();
    let ledger = Ledger::new(Arc::new(store.clone()), ledger::system_clock(), FOR_EVER);
    (ledger, Arc::new(store), usage)
}

/// Opens a file's ledger for a person, who only looks.
pub(crate) fn survey_file(file: &Path) -> Result<Surveyed, String> {
    Ok(surveyed(Sqlite::look(file).map_err(|error| format!("ledger: {error}"))?))
}

/// Opens a file's ledger for a person who changes it. None is made where there is none.
pub(crate) fn change_file(file: &Path) -> Result<Surveyed, String> {
    survey_file(file)?;
    Ok(surveyed(sqlite(file, CommitMode::Durable)?))
}

fn surveyed(store: Sqlite) -> Surveyed {
    let usage = Arc::clone(store.usage());
    let ledger = Ledger::new(Arc::new(store.clone()), ledger::system_clock(), FOR_EVER);
    (ledger, Arc::new(store), usage)
}
