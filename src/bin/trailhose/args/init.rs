//! Arguments of `trailhose init`.

use clap::Args;
use std::path::PathBuf;

pub(super) const EXAMPLES: &str = "\
Examples:
  trailhose init
  trailhose init --region eu-west-1 --region us-east-1 --print
  trailhose init --sam && sam build && sam deploy";

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0    the settings were written or printed. With --sam, each missing permission is named on standard error
  2    nothing was written: no trail was found, a permission is missing, the file already exists, or --sam cannot ask its
       questions because standard input is not a terminal";

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Region to search for trails (repeatable). Single-region trails are visible only in their home region [default:
    /// the configured region]
    #[arg(long = "region", value_name = "REGION", value_parser = super::value::region)]
    pub(crate) regions: Vec<String>,

    /// Write samconfig.toml, from which sam build and sam deploy take the parameters of a stack
    #[arg(long)]
    pub(crate) sam: bool,

    /// CloudTrail bucket, with --sam [default: the bucket of the most suitable trail]
    #[arg(long, value_name = "BUCKET[/PREFIX]", requires = "sam")]
    pub(crate) bucket: Option<String>,

    /// Accept the proposal without questions, with --sam
    #[arg(long, requires = "sam")]
    pub(crate) yes: bool,

    /// File to write [default: trailhose.toml, or samconfig.toml with --sam]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Overwrite an existing file
    #[arg(long)]
    pub(crate) force: bool,

    /// Print the settings to standard output and the findings to standard error; write no file
    #[arg(long, conflicts_with_all = ["force", "json"])]
    pub(crate) print: bool,

    /// Print the findings as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
