//! Asks for confirmation before events are delivered again.

use std::io::{BufRead, IsTerminal, Write};

/// Returns whether to continue: with `--yes`, or after confirmation on the terminal.
///
/// # Errors
/// There is no terminal.
pub(super) fn confirmed(what: &str, yes: bool) -> Result<bool, String> {
    if yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(format!("{what}: no terminal for confirmation; pass --yes"));
    }
    anstream::eprint!("{what}. Continue? [y/N] ");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(|error| format!("cannot read the answer: {error}"))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
