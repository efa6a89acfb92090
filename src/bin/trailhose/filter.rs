//! `trailhose filter`: checks a filter file, and tests it with the events of a source.

mod check;
mod test;

use crate::args::{FilterArgs, FilterCommand};
use std::path::Path;
use tokio::sync::watch::Receiver;
use trailhose::event::filter::{Filter, FilterFileError};

/// Maximum size of a filter file in bytes: 10,000 rules of 1.6 kB.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// Runs the command and returns the exit code.
pub(crate) async fn run(args: FilterArgs, halt: Receiver<bool>) -> Result<u8, String> {
    match args.command {
        FilterCommand::Check(args) => check::run(&args),
        FilterCommand::Test(args) => test::run(*args, &halt).await,
    }
}

/// Reads a filter file.
///
/// # Errors
/// The file cannot be read, is too large or is invalid. The message is one line and starts with the path.
pub(crate) fn read(path: &Path) -> Result<Filter, String> {
    parse(path, &read_text(path)?).map_err(|error| error.to_string())
}

/// Returns one warning for each rule without effect. Each starts with the path and the line.
pub(crate) fn warnings(path: &Path, filter: &Filter) -> Vec<String> {
    let warning = |line: usize, text: &str| format!("{}:{line}: {text}", path.display());
    filter.findings().iter().map(|finding| warning(finding.line, &finding.text)).collect()
}

fn parse(path: &Path, text: &str) -> Result<Filter, FilterFileError> {
    Filter::from_toml(&path.display().to_string(), text)
}

fn read_text(path: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("filter file {} cannot be read: {error}", path.display());
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > MAX_FILE_BYTES {
        return Err(format!(
            "filter file {} has {size} bytes and may have at most {MAX_FILE_BYTES}: use fewer or shorter rules",
            path.display()
        ));
    }
    std::fs::read_to_string(path).map_err(failed)
}
