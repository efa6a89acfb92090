//! Asking before something is delivered again.

use std::io::{BufRead, IsTerminal, Write};

/// Whether to go on: with `--yes`, or when a person at a terminal says so. Where nobody can be asked, nothing is begun.
pub(super) fn confirmed(what: &str, yes: bool) -> Result<bool, String> {
    if yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(format!("{what}: add --yes to do so where nobody can be asked"));
    }
    anstream::eprint!("{what}. Go on? [y/N] ");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(|error| format!("no answer could be read: {error}"))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
