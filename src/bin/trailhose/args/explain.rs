//! Arguments of `trailhose explain`.

use super::value::{self, LedgerLocation, Location};
use clap::Args;

pub(super) const EXAMPLES: &str = "\
Examples:
  trailhose explain ./bucket/AWSLogs/…/x.json.gz
  trailhose explain s3://my-trail-bucket/AWSLogs/…/x.json.gz --ledger ./events/.trailhose/ledger.db";

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0    the object can be read, or is not a log
  1    the object cannot be fetched
  2    invalid arguments, or the ledger cannot be opened
  3    the object is unreadable, so sync quarantines it";

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// A file, or s3://bucket/key; #ETAG at the end is compared with the present version
    #[arg(value_parser = value::location)]
    pub(crate) object: Location,

    /// Also show what this ledger records about the object: an SQLite file, or dynamodb://table
    #[arg(long, value_name = "FILE|dynamodb://TABLE", value_parser = value::ledger)]
    pub(crate) ledger: Option<LedgerLocation>,

    /// Report an object that is larger than this when decompressed as unreadable [default: 2 GiB]
    #[arg(long, value_name = "BYTES", env = "TRAILHOSE_MAX_OBJECT_BYTES", hide_env_values = true)]
    #[arg(value_parser = value::whole::<u64>(1..=u64::MAX))]
    pub(crate) max_object_bytes: Option<u64>,

    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
