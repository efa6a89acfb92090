//! Arguments of `trailhose wire`.

use clap::{ArgGroup, Args};

pub(super) const EXAMPLES: &str = "\
Examples:
  trailhose wire --stack trailhose --dry-run
  trailhose wire --stack trailhose
  trailhose wire --bucket org-logs --queue-arn arn:aws:sqs:eu-west-1:111122223333:trailhose-IngestQueue";

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  the bucket notifies the queue, or no longer does with --remove; or, for a bucket in another account, the required
     policies were printed
  1  the bucket's notifications differ from what was written, so another program changed them at the same time
  2  nothing was changed: another notification conflicts, a request failed, or the arguments are invalid";

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("target").required(true).args(["stack", "bucket"]))]
pub(crate) struct WireArgs {
    /// Stack that determines the bucket, the queue and the wiring
    #[arg(long, value_name = "NAME")]
    pub(crate) stack: Option<String>,

    /// Region of the stack [default: the configured region]
    #[arg(long, value_name = "REGION", value_parser = super::value::region, requires = "stack")]
    pub(crate) region: Option<String>,

    /// Bucket to connect, with credentials of the account that owns it
    #[arg(long, value_name = "BUCKET", requires = "queue_arn")]
    pub(crate) bucket: Option<String>,

    /// ARN of the ingest queue (stack output IngestQueueArn)
    #[arg(long, value_name = "ARN", requires = "bucket", value_parser = queue_arn)]
    pub(crate) queue_arn: Option<String>,

    /// ID of the notification [default: trailhose-STACK, or trailhose-QUEUE with --queue-arn]
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,

    /// Notify only of keys with this prefix
    #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true)]
    pub(crate) prefix: String,

    /// Remove the notification. All others, and the delivery to EventBridge, are kept
    #[arg(long)]
    pub(crate) remove: bool,

    /// Show what would be changed, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

fn queue_arn(text: &str) -> Result<String, String> {
    match text.split(':').collect::<Vec<_>>()[..] {
        ["arn", partition, "sqs", region, account, name]
            if [partition, region, account, name].iter().all(|part| !part.is_empty()) =>
        {
            Ok(text.to_owned())
        }
        _ => Err("expected arn:aws:sqs:REGION:ACCOUNT:NAME".into()),
    }
}
