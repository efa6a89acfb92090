//! Arguments of `trailhose completions` and `trailhose man`.

use clap::Args;
use clap_complete::Shell;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// Shell that reads the script
    #[arg(value_name = "SHELL")]
    pub(crate) shell: Shell,
}

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Existing folder for the pages
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
}
