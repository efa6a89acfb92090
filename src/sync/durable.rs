//! Counts of the objects whose outcome is durable.

use crate::ingest::Outcome;
use crate::tally::Tally;
use std::collections::VecDeque;

/// A tally of the durable outcomes, and tallies of the outcomes whose ledger writes become durable with a later
/// checkpoint of the sink.
#[derive(Debug, Default)]
pub(super) struct DurableTally {
    durable: Tally,
    /// Tallies by the number of the checkpoint that makes them durable, in ascending order.
    pending: VecDeque<(u64, Tally)>,
}

impl DurableTally {
    /// Counts an outcome. `complete` is the result of [`Sink::checkpoints`](crate::sink::Sink::checkpoints).
    pub(super) fn add(&mut self, outcome: &Outcome, complete: Option<u64>) {
        let Some(complete) = complete else { return self.durable.add(outcome) };
        let checkpoint = match outcome {
            Outcome::Done(report) => report.checkpoint,
            // The row was written before this call, so the next checkpoint contains it.
            Outcome::Quarantined(quarantined) if !quarantined.by_earlier_attempt => complete + 1,
            _ => 0,
        };
        self.checkpointed(complete);
        if checkpoint <= complete {
            return self.durable.add(outcome);
        }
        let at = self.pending.partition_point(|(number, _)| *number < checkpoint);
        if self.pending.get(at).is_none_or(|(number, _)| *number != checkpoint) {
            self.pending.insert(at, (checkpoint, Tally::default()));
        }
        self.pending[at].1.add(outcome);
    }

    /// Counts objects that an earlier run completed.
    pub(super) fn already_done(&mut self, objects: u64) {
        self.durable.already_done += objects;
    }

    /// Records that this many checkpoints are complete.
    fn checkpointed(&mut self, complete: u64) {
        while let Some((_, tally)) = self.pending.pop_front_if(|(number, _)| *number <= complete) {
            self.durable.merge(&tally);
        }
    }

    /// Returns the counts of the durable outcomes, and the number of objects whose outcome is not durable.
    pub(super) fn finish(mut self, complete: Option<u64>) -> (Tally, u64) {
        self.checkpointed(complete.unwrap_or(u64::MAX));
        let objects = |tally: &Tally| tally.objects + tally.quarantined_by_this_run();
        (self.durable, self.pending.iter().map(|(_, tally)| objects(tally)).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::{IngestReport, Quarantined};
    use crate::ledger::model::row::Counts;

    fn done(checkpoint: u64) -> Outcome {
        let counts = Counts { seen: 10, delivered: 10, ..Counts::default() };
        Outcome::Done(IngestReport { counts, checkpoint, ..IngestReport::default() })
    }

    fn quarantined() -> Outcome {
        Outcome::Quarantined(Quarantined {
            kind: "corrupt".into(),
            reason: "r".into(),
            by_earlier_attempt: false,
            accepted: None,
        })
    }

    #[test]
    fn only_outcomes_of_complete_checkpoints_are_counted() {
        let tally = || {
            let mut tally = DurableTally::default();
            tally.already_done(5);
            tally.add(&done(1), Some(0));
            // This object was completed before the checkpoint, and counted after it.
            tally.add(&done(1), Some(1));
            tally.add(&done(2), Some(1));
            tally.add(&quarantined(), Some(1));
            tally.add(&Outcome::AlreadyDone, Some(1));
            tally
        };
        let (durable, lost) = tally().finish(Some(1));
        assert_eq!((durable.objects, durable.done.counts.delivered, durable.quarantined_by_this_run()), (2, 20, 0));
        assert_eq!((durable.already_done, lost), (6, 2));
        let (durable, lost) = tally().finish(Some(2));
        assert_eq!((durable.objects, durable.done.counts.delivered, durable.quarantined_by_this_run()), (3, 30, 1));
        assert_eq!((durable.already_done, lost), (6, 0));
    }

    #[test]
    fn every_outcome_is_durable_at_once_without_checkpoints() {
        let mut tally = DurableTally::default();
        tally.add(&done(0), None);
        tally.add(&quarantined(), None);
        let (durable, lost) = tally.finish(None);
        assert_eq!((durable.objects, durable.quarantined_by_this_run(), lost), (1, 1, 0));
    }
}
