//! `trailhose completions` and `trailhose man`: what packages install beside the program. Both are generated from the
//! definition of the command line, so they are never out of date.

use crate::args::{Cli, CompletionsArgs, ManArgs};
use clap::CommandFactory;

/// Prints the completion script of a shell.
pub(crate) fn completions(args: &CompletionsArgs) -> Result<u8, String> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "trailhose", &mut script);
    crate::print::print_bytes(&script);
    Ok(0)
}

/// Writes one manual page per command: `trailhose.1`, `trailhose-sync.1` and so on.
pub(crate) fn man(args: &ManArgs) -> Result<u8, String> {
    let result = clap_mangen::generate_to(Cli::command(), &args.dir);
    result.map_err(|error| format!("cannot write the manual pages to {}: {error}", args.dir.display()))?;
    Ok(0)
}
