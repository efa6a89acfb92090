//! Arguments of `trailhose init`.

use clap::Args;
use std::path::PathBuf;

pub(super) const EXAMPLES: &str = "\
Examples:
  trailhose init
  trailhose init --region eu-west-1 --region us-east-1 --print";

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0    the settings were written or printed
  2    nothing was written: no trail was found, a permission is missing, or the file already exists";

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Region to search for trails (repeatable). Single-region trails are visible only in their home region [default:
    /// the configured region]
    #[arg(long = "region", value_name = "REGION", value_parser = super::value::region)]
    pub(crate) regions: Vec<String>,

    /// Settings file to write
    #[arg(long, value_name = "FILE", default_value = super::value::SETTINGS_FILE)]
    pub(crate) config: PathBuf,

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
