//! Arguments of `trailhose doctor`.

use super::value;
use clap::Args;

pub(super) const EXAMPLES: &str = "\
Examples:
  trailhose doctor --stack trailhose                                    examine a stack
  trailhose doctor --stack trailhose --strict --skip bucket.lock        for scheduled runs: warnings also fail
  trailhose doctor --bucket my-trail-bucket --table trailhose-Ledger    examine resources that are not in a stack";

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  no check failed; with --strict, also no warning and no missing permission
  1  a check failed
  2  nothing was examined: invalid arguments, no credentials, or the stack cannot be read

All checks, with their meaning and the permissions that they need: docs/doctor.md";

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
pub(crate) struct DoctorArgs {
    /// Name of the stack; its outputs, parameters and resources determine what is examined
    #[arg(long, value_name = "NAME", group = "what")]
    #[arg(conflicts_with_all = ["bucket", "prefix", "table", "stream", "queue_url", "dead_letter_queue_url", "function", "key"])]
    pub(crate) stack: Option<String>,

    /// CloudTrail bucket
    #[arg(long, value_name = "NAME", group = "what", help_heading = "Without a stack")]
    pub(crate) bucket: Option<String>,

    /// Prefix before AWSLogs/
    #[arg(long, value_name = "PREFIX", requires = "bucket", help_heading = "Without a stack")]
    pub(crate) prefix: Option<String>,

    /// Ledger table
    #[arg(long, value_name = "NAME", group = "what", help_heading = "Without a stack")]
    pub(crate) table: Option<String>,

    /// Firehose stream
    #[arg(long, value_name = "NAME", group = "what", help_heading = "Without a stack")]
    pub(crate) stream: Option<String>,

    /// URL of the ingest queue
    #[arg(long, value_name = "URL", group = "what", help_heading = "Without a stack")]
    pub(crate) queue_url: Option<String>,

    /// URL of the dead-letter queue
    #[arg(long, value_name = "URL", group = "what", help_heading = "Without a stack")]
    pub(crate) dead_letter_queue_url: Option<String>,

    /// Name of the ingest function
    #[arg(long, value_name = "NAME", group = "what", help_heading = "Without a stack")]
    pub(crate) function: Option<String>,

    /// ARN of the KMS key that encrypts the objects
    #[arg(long, value_name = "ARN", requires = "bucket", help_heading = "Without a stack")]
    pub(crate) key: Option<String>,

    /// Leave this check out of the result (repeatable); the result names it as skipped
    #[arg(long, value_name = "ID")]
    pub(crate) skip: Vec<String>,

    /// Exit with 1 also for warnings and missing permissions
    #[arg(long)]
    pub(crate) strict: bool,

    /// Do not receive messages of dead-letter queues. By default, up to 10 messages of each are received to read their
    /// reasons: they stay visible and are not deleted, but their receive count increases
    #[arg(long)]
    pub(crate) no_peek: bool,

    /// Time limit of each call in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = value::whole::<u64>(1..=300))]
    pub(crate) timeout: u64,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
