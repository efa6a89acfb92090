//! `trailhose explain` on the command line.

use super::value::{self, LedgerAt, Place};
use clap::Args;

pub(super) const EXAMPLES: &str = "\
Examples:
  trailhose explain ./bucket/AWSLogs/…/x.json.gz
  trailhose explain s3://my-trail-bucket/AWSLogs/…/x.json.gz --ledger ./events/.trailhose/ledger.db";

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0    the object is read whole, or is no log
  1    it could not be fetched
  2    the command line cannot be meant, or the ledger cannot be opened
  3    it cannot be read, and would be quarantined";

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// A file, or s3://bucket/key
    #[arg(value_parser = value::place)]
    pub(crate) object: Place,

    /// Also say what this ledger knows of it: an SQLite file, or dynamodb://table
    #[arg(long, value_name = "FILE|dynamodb://TABLE", value_parser = value::ledger)]
    pub(crate) ledger: Option<LedgerAt>,

    /// Decompressed bytes at which an object is taken for a decompression bomb [default: 2 GiB]
    #[arg(long, value_name = "BYTES", env = "TRAILHOSE_MAX_OBJECT_BYTES", hide_env_values = true)]
    pub(crate) max_object_bytes: Option<u64>,

    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
