//! Prints results to standard output. A closed pipe, as after `head`, is not an error. Any other error is printed to
//! standard error and changes the exit code of the program.

use crate::summary::error_word;
use serde::Serialize;
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// Exit code: a result could not be printed.
const NOT_PRINTED: u8 = 1;

/// Whether a result could not be printed.
static FAILED: AtomicBool = AtomicBool::new(false);

/// Prints text, with colors only on a terminal.
pub(crate) fn print(text: &str) {
    print_to(&mut anstream::stdout(), text.as_bytes());
}

/// Prints one JSON object on one line.
pub(crate) fn print_json(object: &impl Serialize) {
    let text = serde_json::to_string(object).unwrap_or_else(|error| format!("{{\"error\":{:?}}}", error.to_string()));
    print_bytes(format!("{text}\n").as_bytes());
}

/// Prints bytes unchanged.
pub(crate) fn print_bytes(bytes: &[u8]) {
    print_to(&mut io::stdout(), bytes);
}

fn print_to(out: &mut dyn Write, bytes: &[u8]) {
    check(out.write_all(bytes).and_then(|()| out.flush()));
}

/// Reports an error of writing to standard output, except a closed pipe. Only the first one is printed.
pub(crate) fn check(written: io::Result<()>) {
    let Err(error) = written else { return };
    if error.kind() != ErrorKind::BrokenPipe && !FAILED.swap(true, Ordering::Relaxed) {
        anstream::eprintln!("{}: cannot write the result to standard output: {error}", error_word());
    }
}

/// Reports an error of writing to standard output as [`check`] does, and returns why the command stops.
pub(crate) fn stopped(error: io::Error) -> &'static str {
    let reason = match error.kind() {
        ErrorKind::BrokenPipe => "stopped, because the output was closed",
        _ => "stopped, because the result could not be written",
    };
    check(Err(error));
    reason
}

/// Returns the exit code of a command that ended with `code`: 1 if a result could not be printed, unless the command
/// failed, was interrupted or started nothing.
pub(crate) fn exit_code(code: u8) -> u8 {
    match FAILED.load(Ordering::Relaxed) {
        true if matches!(code, 0 | crate::summary::QUARANTINED | crate::NOTHING_MATCHED) => NOT_PRINTED,
        _ => code,
    }
}
