//! Asks for confirmation before events are delivered again or skipped.

use std::io::{BufRead, IsTerminal, Write};

/// Returns whether to continue: with `--yes`, or after confirmation on the terminal. `question` names what is changed;
/// `effect` is a sentence about what is delivered again.
///
/// # Errors
/// There is no terminal.
pub(crate) fn confirmed(question: &str, effect: &str, yes: bool) -> Result<bool, String> {
    if yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(format!("{question} {effect} There is no terminal for the answer: use --yes"));
    }
    anstream::eprint!("{question} {effect} [y/N] ");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(|error| format!("cannot read the answer: {error}"))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
