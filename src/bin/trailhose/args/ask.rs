//! Arguments of `trailhose ask`.

use super::query::{ReadingArgs, RemoteArgs};
use super::value::{Location, location};
use clap::Args;
use std::path::PathBuf;

pub(super) const EXAMPLES: &str = "\
Examples:
  trailhose ask ./events \"who deleted the bucket reports-prod last week?\"
  trailhose ask ./events \"top 10 source IPs of access key AKIAIOSFODNN7EXAMPLE in the last 30 days\"
  trailhose ask s3://my-trail-bucket \"failed console logins yesterday\" --show-plan
  trailhose ask --athena trailhose \"denied requests by user in the last 7 days\"
  trailhose ask ./events \"who removed a bucket yesterday?\" --model http://localhost:11434/v1 --model-name llama3.2";

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0    success
  1    some files or lines could not be read: the messages name them
  2    the question was not understood, the model did not answer with a valid plan, invalid arguments, or the source
       cannot be opened or listed
  4    no event matches
  130  interrupted by Ctrl-C (143: by SIGTERM): the answer covers what was read until then";

#[derive(Debug, Args)]
#[command(override_usage = "trailhose ask [OPTIONS] [SOURCE] <QUESTION>")]
pub(crate) struct AskArgs {
    /// Folder of `trailhose sync`, downloaded lake, or CloudTrail folder or bucket (s3://bucket[/prefix]) [default: dest in
    /// ./trailhose.toml]
    #[arg(value_name = "SOURCE")]
    source_or_question: Option<String>,

    /// Question in English, in quotation marks. Without a time, the last 24 hours are searched (UTC)
    #[arg(value_name = "QUESTION")]
    question: Option<String>,

    #[command(flatten)]
    pub(crate) reading: ReadingArgs,

    #[command(flatten)]
    pub(crate) remote: RemoteArgs,

    #[command(flatten)]
    pub(crate) model: ModelArgs,

    /// Print the plan of the question as JSON, and run nothing
    #[arg(long)]
    pub(crate) show_plan: bool,

    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

impl AskArgs {
    /// Returns the source, if the arguments name one, and the question. Without a source, the question is the only argument.
    ///
    /// `allow_missing_positional` of clap would refuse options between the two.
    ///
    /// # Errors
    /// There is no question, or the source is invalid.
    pub(crate) fn source_and_question(&self) -> Result<(Option<Location>, &str), String> {
        match (&self.source_or_question, &self.question) {
            (Some(source), Some(question)) => {
                let source = location(source).map_err(|error| format!("invalid source {source:?}: {error}"))?;
                Ok((Some(source), question))
            }
            (Some(question), None) => Ok((None, question)),
            (None, _) => Err("the question is missing: trailhose ask SOURCE \"who deleted buckets yesterday?\"".into()),
        }
    }
}

/// The language model that reads the question.
#[derive(Debug, Args)]
#[command(next_help_heading = "Language model")]
pub(crate) struct ModelArgs {
    /// Let a language model read the question instead of the fixed grammar: a model or an inference profile of Amazon Bedrock,
    /// or an endpoint that is compatible with OpenAI's chat completions. It receives the question and the names of fields, and
    /// no events
    #[arg(long, value_name = "bedrock:ID|URL")]
    pub(crate) model: Option<String>,

    /// Name of the model at the URL
    #[arg(long, value_name = "NAME", requires = "model")]
    pub(crate) model_name: Option<String>,

    /// File with the API key of the URL [default: the key in the environment variable TRAILHOSE_MODEL_KEY, or none]
    #[arg(long, value_name = "FILE", requires = "model")]
    pub(crate) model_key_file: Option<PathBuf>,
}
