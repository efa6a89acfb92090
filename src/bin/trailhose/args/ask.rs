//! Arguments of `trailhose ask`.

use super::query::EventSourceArgs;
use clap::Args;

pub(super) const EXAMPLES: &str = "\
Examples:
  trailhose ask ./events \"who deleted the bucket reports-prod last week?\"
  trailhose ask ./events \"top 10 source IPs of access key AKIAIOSFODNN7EXAMPLE in the last 30 days\"
  trailhose ask s3://my-trail-bucket \"failed console logins yesterday\" --show-plan";

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0    success
  1    some files or lines could not be read: the messages name them
  2    the question was not understood, invalid arguments, or the source cannot be opened or listed
  4    no event matches
  130  interrupted by Ctrl-C (143: by SIGTERM): the answer covers what was read until then";

#[derive(Debug, Args)]
#[command(allow_missing_positional = true)]
pub(crate) struct AskArgs {
    #[command(flatten)]
    pub(crate) from: EventSourceArgs,

    /// Question in English, in quotation marks. Without a time, the last 24 hours are searched (UTC)
    #[arg(value_name = "QUESTION")]
    pub(crate) question: String,

    /// Print the plan of the question as JSON, and run nothing
    #[arg(long)]
    pub(crate) show_plan: bool,

    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
