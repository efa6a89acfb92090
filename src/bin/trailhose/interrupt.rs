//! Stops the program on Ctrl-C (SIGINT) or SIGTERM.

use std::sync::atomic::{AtomicU8, Ordering};
use tokio::sync::watch;

/// Number of SIGINT, which Ctrl-C sends.
const SIGINT: u8 = 2;

/// Number of SIGTERM, with which service managers and `kill` stop a program.
const SIGTERM: u8 = 15;

/// The last signal that was received; 0 before the first.
static RECEIVED: AtomicU8 = AtomicU8::new(0);

/// Returns the exit code of a run that a signal interrupted: 128 plus the number of the signal, as a shell reports it.
/// 130 for Ctrl-C, 143 for SIGTERM.
pub(crate) fn exit_code() -> u8 {
    128 + received().unwrap_or(SIGINT)
}

/// Returns the exit code of a watch that a signal stopped and that finished its objects in progress. SIGTERM is the
/// normal end of a service, so the code is 0, or 1 if the last round was aborted. Ctrl-C keeps 130, so that a shell
/// script around the watch stops too.
pub(crate) fn watch_exit_code(aborted: bool) -> u8 {
    match received() {
        Some(SIGTERM) => aborted.into(),
        _ => exit_code(),
    }
}

fn received() -> Option<u8> {
    Some(RECEIVED.load(Ordering::Relaxed)).filter(|&signal| signal != 0)
}

/// Returns a receiver that becomes true on the first signal; the second signal ends the program.
///
/// Signals are handled on a separate thread, because all worker threads may be busy decompressing.
pub(crate) fn receiver() -> watch::Receiver<bool> {
    let (halt, halted) = watch::channel(false);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        // Without a handler the signal ends the program immediately, which loses no events either.
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            for is_second in [false, true] {
                let Ok(signal) = wait_for_signal().await else { return };
                RECEIVED.store(signal, Ordering::Relaxed);
                if is_second {
                    std::process::exit(exit_code().into());
                }
                halt.send_replace(true);
            }
        });
    });
    halted
}

#[cfg(unix)]
async fn wait_for_signal() -> std::io::Result<u8> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result.map(|()| SIGINT),
        _ = terminate.recv() => Ok(SIGTERM),
    }
}

#[cfg(not(unix))]
async fn wait_for_signal() -> std::io::Result<u8> {
    tokio::signal::ctrl_c().await.map(|()| SIGINT)
}
