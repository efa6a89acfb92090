//! `trailhose init` on the command line.

use clap::Args;
use std::path::PathBuf;

pub(super) const EXAMPLES: &str = "\
Examples:
  trailhose init
  trailhose init --region eu-west-1 --region us-east-1 --print";

pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0    the settings are written or printed
  2    nothing is written: there is no trail, a permission is missing, or the file is there already";

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Where to ask for trails; may be given several times. A trail of one region is seen only there [default: the
    /// configured region]
    #[arg(long = "region", value_name = "REGION")]
    pub(crate) regions: Vec<String>,

    /// The file that is written
    #[arg(long, value_name = "FILE", default_value = super::value::SETTINGS_FILE)]
    pub(crate) config: PathBuf,

    /// Write over a file that is there
    #[arg(long)]
    pub(crate) force: bool,

    /// Print the settings to standard output, and what else there is to say to standard error; write nothing
    #[arg(long, conflicts_with_all = ["force", "json"])]
    pub(crate) print: bool,

    /// Print what was found as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
