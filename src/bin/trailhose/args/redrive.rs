//! Arguments of `trailhose redrive`.

use clap::Args;

pub(super) const EXAMPLES: &str = "\
Examples:
  trailhose redrive https://sqs.eu-west-1.amazonaws.com/111122223333/trailhose-DeadLetterQueue --dry-run
  trailhose redrive https://sqs.eu-west-1.amazonaws.com/111122223333/trailhose-DeadLetterQueue";

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  success
  1  the source of some messages is not known; they stay in the dead-letter queue
  2  a queue request failed, or the arguments are invalid";

#[derive(Debug, Args)]
pub(crate) struct RedriveArgs {
    /// URL of the dead-letter queue (stack outputs DeadLetterQueueUrl, BackfillIngestDeadLetterQueueUrl and
    /// BackfillDeadLetterQueueUrl)
    #[arg(value_name = "QUEUE_URL")]
    pub(crate) queue: String,

    /// Send all messages to this queue instead of the queue that each of them came from
    #[arg(long, value_name = "QUEUE_URL")]
    pub(crate) to: Option<String>,

    /// Return at most this many messages
    #[arg(long, value_name = "COUNT", default_value_t = u64::MAX, hide_default_value = true)]
    pub(crate) max: u64,

    /// Only count the messages, by reason and queue (at most 10,000)
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
