//! Circuit breaker: while the ledger or the destination fails, objects are not started, except for one probe per
//! interval.
//!
//! Without it, every attempt during an outage takes until the invocation's deadline. Each of these attempts can repeat
//! a call, because a call can arrive although its reply is lost. Each instance of the function has a breaker of its
//! own: a shared state would need a store, which can fail too. So an outage causes one probe per interval and instance.

use crate::ingest::{Deadline, Deferred, IngestError, Outcome};
use crate::ledger::LedgerError;
use crate::ledger::model::row::Seconds;
use crate::sink::SinkError;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The number of consecutive failures of one service that opens the breaker. More than one, because a single failure
/// can be caused by its object.
const FAILURES_TO_OPEN: u32 = 3;

/// The time between two probes of an open breaker. It starts when the previous probe ends.
const PROBE_INTERVAL: Seconds = 60;

/// The time limit of a probe. Longer than one request to AWS (30 s), and much shorter than an invocation, because the
/// other messages of the invocation wait for the probe.
const PROBE_TIME: Seconds = 45;

/// The circuit breaker of one process.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Consecutive failures of the ledger.
    ledger_failures: u32,
    /// Consecutive failures of the sink.
    sink_failures: u32,
    /// The error of the last failure.
    last_error: String,
    /// When the next probe may start, in seconds since 1970. Only used while the breaker is open.
    next_probe: Seconds,
}

/// Whether an object may be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Admission {
    /// The object may be started.
    Admitted,
    /// The object may be started, as the probe of an open breaker.
    Probe,
    /// The object must not be started. Contains the last error of the service that fails.
    Rejected(String),
}

/// What an outcome shows about the ledger and the sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Evidence {
    /// The ledger failed. Nothing is known about the sink.
    LedgerFailed,
    /// The sink failed. The ledger worked, because the lease was granted.
    SinkFailed,
    /// The ledger worked. The sink was not called.
    LedgerWorked,
    /// Both worked.
    BothWorked,
    /// Nothing is known.
    Nothing,
}

impl State {
    fn is_open(&self) -> bool {
        self.ledger_failures.max(self.sink_failures) >= FAILURES_TO_OPEN
    }
}

impl Breaker {
    /// Decides whether an object may be started now.
    pub(super) fn admit(&self, now: Seconds) -> Admission {
        let mut state = self.state();
        if !state.is_open() {
            return Admission::Admitted;
        }
        let wait = state.next_probe - now;
        // A longer wait shows that the clock was set back.
        if (1..=PROBE_TIME + PROBE_INTERVAL).contains(&wait) {
            return Admission::Rejected(state.last_error.clone());
        }
        // Admit no other probe before this one ends or its time is over.
        state.next_probe = now + PROBE_TIME + PROBE_INTERVAL;
        Admission::Probe
    }

    /// Returns the deadline of a probe.
    pub(super) fn probe_deadline(deadline: Deadline) -> Deadline {
        Deadline {
            stop: deadline.stop.min(Instant::now() + Duration::from_secs(PROBE_TIME.unsigned_abs())),
            ..deadline
        }
    }

    /// Updates the breaker with the outcome of an object that was admitted.
    pub(super) fn record(&self, outcome: &Outcome, admission: &Admission, now: Seconds) {
        let evidence = evidence(outcome);
        let mut state = self.state();
        let was_open = state.is_open();
        match evidence {
            Evidence::LedgerFailed => state.ledger_failures = state.ledger_failures.saturating_add(1),
            Evidence::SinkFailed => {
                state.ledger_failures = 0;
                state.sink_failures = state.sink_failures.saturating_add(1);
            }
            Evidence::LedgerWorked => state.ledger_failures = 0,
            Evidence::BothWorked => (state.ledger_failures, state.sink_failures) = (0, 0),
            Evidence::Nothing => {}
        }
        if let (Evidence::LedgerFailed | Evidence::SinkFailed, Outcome::Failed(error)) = (evidence, outcome) {
            state.last_error = error.to_string();
        }
        match evidence {
            Evidence::LedgerFailed | Evidence::SinkFailed => state.next_probe = now + PROBE_INTERVAL,
            // A probe that does not show whether the service works, such as an object that is already done, is followed
            // by another one at once.
            _ if *admission == Admission::Probe => state.next_probe = now,
            _ => {}
        }
        match (was_open, state.is_open()) {
            (false, true) => {
                tracing::error!(error = state.last_error, "circuit breaker opened: objects wait in the deferred queue");
            }
            (true, false) => tracing::info!("circuit breaker closed: objects are processed again"),
            _ => {}
        }
    }

    /// Returns whether objects are rejected.
    pub(super) fn is_open(&self) -> bool {
        self.state().is_open()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn evidence(outcome: &Outcome) -> Evidence {
    match outcome {
        Outcome::Failed(error) if is_ledger_outage(error) => Evidence::LedgerFailed,
        Outcome::Failed(error) if is_sink_outage(error) => Evidence::SinkFailed,
        Outcome::Done(report) if report.calls > 0 => Evidence::BothWorked,
        Outcome::Done(_) | Outcome::AlreadyDone | Outcome::Quarantined(_) => Evidence::LedgerWorked,
        Outcome::Deferred(Deferred::Leased { .. } | Deferred::OwnerInProgress { .. }) => Evidence::LedgerWorked,
        Outcome::Deferred(Deferred::OutOfTime) | Outcome::Skipped(_) | Outcome::Failed(_) => Evidence::Nothing,
    }
}

/// Returns whether the ledger's store failed, and not a condition of the protocol.
pub(super) fn is_ledger_outage(error: &IngestError) -> bool {
    matches!(error, IngestError::Ledger(LedgerError::Store(_)))
}

/// Returns whether the destination failed. A missing oversize store is a setting that concerns single objects.
pub(super) fn is_sink_outage(error: &IngestError) -> bool {
    use SinkError::{Denied, NotFound, OutOfTime, Unavailable};
    matches!(error, IngestError::Sink(OutOfTime { .. } | Denied(_) | NotFound(_) | Unavailable(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::IngestReport;
    use crate::ledger::store::StoreError;

    const NOW: Seconds = 1_000;

    fn ledger_failure() -> Outcome {
        Outcome::Failed(IngestError::Ledger(StoreError::Unknown("no answer".to_owned()).into()))
    }

    fn sink_failure() -> Outcome {
        Outcome::Failed(IngestError::Sink(SinkError::Unavailable("no answer".to_owned())))
    }

    fn done(calls: u64) -> Outcome {
        Outcome::Done(IngestReport { calls, ..IngestReport::default() })
    }

    fn record(breaker: &Breaker, outcome: &Outcome) {
        breaker.record(outcome, &Admission::Admitted, NOW);
    }

    /// A breaker that was opened at `NOW`.
    fn opened_by(outcome: &Outcome) -> Breaker {
        let breaker = Breaker::default();
        for _ in 0..FAILURES_TO_OPEN {
            assert_eq!(breaker.admit(NOW), Admission::Admitted);
            record(&breaker, outcome);
        }
        assert!(breaker.is_open());
        breaker
    }

    #[test]
    fn three_consecutive_failures_open_the_breaker() {
        let breaker = Breaker::default();
        for outcome in [sink_failure(), sink_failure(), done(1), sink_failure(), sink_failure()] {
            record(&breaker, &outcome);
            assert_eq!(breaker.admit(NOW), Admission::Admitted);
        }
        record(&breaker, &sink_failure());
        assert_eq!(breaker.admit(NOW), Admission::Rejected("deliver: no answer".to_owned()));
    }

    #[test]
    fn one_probe_per_interval_is_admitted() {
        let breaker = opened_by(&ledger_failure());
        let rejected = Admission::Rejected("ledger: no answer".to_owned());
        assert_eq!(breaker.admit(NOW + PROBE_INTERVAL - 1), rejected);
        let probe = NOW + PROBE_INTERVAL;
        assert_eq!(breaker.admit(probe), Admission::Probe);
        assert_eq!(breaker.admit(probe), rejected, "a second probe next to the first");
        breaker.record(&ledger_failure(), &Admission::Probe, probe + 30);
        assert_eq!(breaker.admit(probe + 30 + PROBE_INTERVAL - 1), rejected);
        assert_eq!(breaker.admit(probe + 30 + PROBE_INTERVAL), Admission::Probe);
        breaker.record(&done(0), &Admission::Probe, probe + 100);
        assert_eq!(breaker.admit(probe + 100), Admission::Admitted);
    }

    #[test]
    fn object_without_calls_does_not_show_that_the_destination_works() {
        let breaker = opened_by(&sink_failure());
        for outcome in [done(0), Outcome::AlreadyDone, Outcome::Skipped("digest")] {
            record(&breaker, &outcome);
            assert!(breaker.is_open(), "{outcome:?}");
        }
        record(&breaker, &done(1));
        assert!(!breaker.is_open());
    }

    #[test]
    fn probe_that_never_ends_does_not_block_the_next_one() {
        let breaker = opened_by(&sink_failure());
        assert_eq!(breaker.admit(NOW + PROBE_INTERVAL), Admission::Probe);
        let over = NOW + PROBE_INTERVAL + PROBE_TIME + PROBE_INTERVAL;
        assert!(matches!(breaker.admit(over - 1), Admission::Rejected(_)));
        assert_eq!(breaker.admit(over), Admission::Probe);
    }

    #[test]
    fn probe_without_a_result_is_followed_by_another_one() {
        let breaker = opened_by(&sink_failure());
        assert_eq!(breaker.admit(NOW + PROBE_INTERVAL), Admission::Probe);
        breaker.record(&Outcome::AlreadyDone, &Admission::Probe, NOW + PROBE_INTERVAL);
        assert_eq!(breaker.admit(NOW + PROBE_INTERVAL), Admission::Probe);
    }

    #[test]
    fn clock_that_is_set_back_does_not_stop_the_probes() {
        let breaker = opened_by(&sink_failure());
        assert_eq!(breaker.admit(NOW - 500), Admission::Probe);
    }

    #[test]
    fn every_failure_of_the_destination_is_an_outage() {
        let text = || "the stream".to_owned();
        for error in [
            SinkError::OutOfTime { failed: 1, records: 1, code: text() },
            SinkError::Denied(text()),
            SinkError::NotFound(text()),
            SinkError::Unavailable(text()),
        ] {
            let error = IngestError::Sink(error);
            assert!(is_sink_outage(&error), "{error}");
        }
    }

    #[test]
    fn failures_of_single_objects_are_no_outage() {
        for error in [
            IngestError::Ledger(LedgerError::LeaseLost),
            IngestError::Ledger(LedgerError::Gone),
            IngestError::Sink(SinkError::NoOversizeStore("too long".to_owned())),
        ] {
            assert_eq!(evidence(&Outcome::Failed(error)), Evidence::Nothing);
        }
    }
}
