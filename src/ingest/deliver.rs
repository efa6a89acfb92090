//! Deliver: packs the events that an object owns into calls, and records each delivered call in the ledger.

use super::contents::Contents;
use super::outcome::IngestReport;
use super::{Deadline, Deferred, Ingest, IngestAbort};
use crate::event::members::members;
use crate::ledger::model::row::Counts;
use crate::ledger::{Claim, Claims, EventMeta, Help, Lease, LedgerError};
use crate::object::Object;
use crate::pack::{LinesPerRecord, Packer, SinkCall};
use crate::sink::{Oversize, SinkError, Transaction};
use std::collections::HashSet;
use std::sync::Arc;
use tokio::time::Instant;

/// The deliveries of one attempt at one object.
#[derive(Debug)]
pub(super) struct ObjectDelivery<'a> {
    ingest: &'a Ingest,
    contents: &'a Contents<'a>,
    deadline: Deadline,
    report: IngestReport,
    /// The latest claims, by the event's index in the file.
    claims: Vec<Claim>,
    /// Indices of the events that exceed the sink's record limit.
    oversize: HashSet<u32>,
    /// Indices of the events delivered and marked on behalf of another object. Kept across claim rounds, because a
    /// later claim finds them delivered and does not know by which object.
    helped: HashSet<u32>,
}

impl<'a> ObjectDelivery<'a> {
    pub(super) fn new(ingest: &'a Ingest, contents: &'a Contents<'a>, deadline: Deadline) -> Self {
        let (report, claims, oversize, helped) = Default::default();
        Self { ingest, contents, deadline, report, claims, oversize, helped }
    }

    /// Returns the time limits of the attempt.
    pub(super) fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// Returns whether the object needs more than one call. The result depends only on the object and the sink, so that
    /// it is the same in every attempt.
    pub(super) fn needs_several_calls(&self) -> bool {
        let limits = self.ingest.sink.limits();
        let lines = self.contents.events.len();
        self.contents.line_bytes > limits.call_bytes
            || limits.lines == LinesPerRecord::One && lines > limits.call_records
            // Lines longer than half a record leave records partly empty.
            || self.contents.longest_line_bytes >= limits.record_bytes / 2 && lines > limits.call_records
    }

    /// Stores the result of a claim.
    pub(super) fn set_claims(&mut self, claims: &Claims) {
        self.claims.clone_from(&claims.results);
        self.report.repeats = claims.results.iter().filter(|&&claim| claim == Claim::Repeat).count() as u64;
        self.report.conflicts = claims.conflicts;
    }

    /// Returns the number of events by outcome. Events that were delivered on behalf of another object count as
    /// delivered; events that were stored separately count as oversize.
    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts { seen: self.claims.len() as u64, ..Counts::default() };
        for (ordinal, claim) in (0u32..).zip(&self.claims) {
            let count = match claim {
                Claim::Filtered => &mut counts.filtered,
                Claim::Mine if self.oversize.contains(&ordinal) => &mut counts.oversize,
                Claim::Mine => &mut counts.delivered,
                _ if !self.helped.contains(&ordinal) => &mut counts.duplicate,
                _ if self.oversize.contains(&ordinal) => &mut counts.oversize,
                _ => &mut counts.delivered,
            };
            *count += 1;
        }
        counts
    }

    /// Records which checkpoint makes the completion durable.
    pub(super) fn completed_in(&mut self, checkpoint: u64) {
        self.report.checkpoint = checkpoint;
    }

    pub(super) fn report(&self) -> IngestReport {
        let stored_bytes = self.contents.stored_bytes();
        let Contents { size, newest, .. } = *self.contents;
        let (counts, helped) = (self.counts(), self.helped.len() as u64);
        IngestReport { counts, helped, stored_bytes, json_bytes: size, newest, ..self.report }
    }

    /// Delivers the events that this object owns and that its row does not state as delivered, in file order. Records
    /// the cursor after each call except the last. The last call's transaction is returned open, because the next
    /// ledger write records that call. Records the acknowledged part of a call that fails.
    pub(super) async fn deliver_own(&mut self, lease: &mut Lease, claims: &Claims) -> Result<Transaction, IngestAbort> {
        let mut packer = Packer::new(self.ingest.sink.limits(), Arc::clone(&self.contents.sink_scopes));
        let mut lines = self.contents.lines().await?;
        let start = lease.progress.clone();
        while let Some((ordinal, line)) = lines.next().await? {
            if !claims.mine(ordinal) {
                continue;
            }
            let scope = self.scope(ordinal);
            let oversize = self.check_oversize(ordinal, line);
            if start.delivered(ordinal) {
                continue;
            }
            let pointer = if oversize { Some(self.store_oversize(&lease.object, ordinal, line).await?) } else { None };
            if let Some(call) = packer.push(pointer.as_deref().unwrap_or(line), ordinal, scope)? {
                let transaction = self.send_own(lease, claims, &call).await?;
                let next = call.last_ordinal().map_or(0, |last| last + 1);
                self.ingest.ledger.advance(lease, next).await?;
                transaction.commit();
                packer.recycle(call);
            }
        }
        match packer.finish() {
            Some(call) => self.send_own(lease, claims, &call).await,
            None => Ok(self.ingest.sink.begin().await?),
        }
    }

    /// Sends a call of events that this object owns. If only a part is acknowledged, records that part before it
    /// returns the error, so that the next attempt sends only the rest.
    async fn send_own(
        &mut self,
        lease: &mut Lease,
        claims: &Claims,
        call: &SinkCall,
    ) -> Result<Transaction, IngestAbort> {
        let part = match self.send(call).await? {
            Sent::All(transaction) => return Ok(transaction),
            Sent::Part(part) => part,
        };
        match self.record_part(lease, claims, call, &part).await {
            Ok(()) => part.transaction.commit(),
            Err(LedgerError::LeaseLost) => return Err(LedgerError::LeaseLost.into()),
            Err(error) => {
                let (object, records) = (&lease.object, call.records.len() - part.unacknowledged.len());
                tracing::warn!(%object, records, %error, "could not record the acknowledged records of a call; the next attempt repeats them");
            }
        }
        Err(part.error.into())
    }

    /// Records the acknowledged part of a call of events that this object owns.
    async fn record_part(
        &self,
        lease: &mut Lease,
        claims: &Claims,
        call: &SinkCall,
        part: &SentPart,
    ) -> Result<(), LedgerError> {
        let acknowledged = acknowledged(call, &part.unacknowledged);
        let Some(cursor) = first_unacknowledged(call, &acknowledged) else { return Ok(()) };
        // Write the row before the page: the row prevents the most frequent repeat, which is by the next attempt at
        // this object.
        self.ingest.ledger.acknowledge(lease, cursor, acknowledged_ranges(call, &acknowledged)).await?;
        // The entries of an object that needs one call have no ordinals. Without them a helper could not recognize the
        // acknowledged events.
        if self.needs_several_calls() {
            return Ok(());
        }
        let ordinals: Vec<u32> = acknowledged.into_iter().filter(|ordinal| claims.mine(*ordinal)).collect();
        let Contents { events, scopes, .. } = self.contents;
        match self.ingest.ledger.record_ordinals(lease, &ordinals, events, scopes).await {
            // The page expired meanwhile, so its events will be claimed again.
            Err(LedgerError::Gone) => Ok(()),
            other => other,
        }
    }

    /// Delivers events on behalf of their owner, and marks each call's events before the next call.
    pub(super) async fn deliver_for_owner(
        &mut self,
        help: &Help,
        object: &Object,
        ordinals: &[u32],
    ) -> Result<(), IngestAbort> {
        let wanted: HashSet<u32> = ordinals.iter().copied().collect();
        let mut packer = Packer::new(self.ingest.sink.limits(), Arc::clone(&self.contents.sink_scopes));
        let mut lines = self.contents.lines().await?;
        while let Some((ordinal, line)) = lines.next().await? {
            if !wanted.contains(&ordinal) {
                continue;
            }
            let scope = self.scope(ordinal);
            let oversize = self.check_oversize(ordinal, line);
            let pointer = if oversize { Some(self.store_oversize(object, ordinal, line).await?) } else { None };
            if let Some(call) = packer.push(pointer.as_deref().unwrap_or(line), ordinal, scope)? {
                self.send_for_owner(help, &call).await?;
                packer.recycle(call);
            }
        }
        match packer.finish() {
            Some(call) => self.send_for_owner(help, &call).await,
            None => Ok(()),
        }
    }

    async fn send_for_owner(&mut self, help: &Help, call: &SinkCall) -> Result<(), IngestAbort> {
        let (transaction, ordinals, failure) = match self.send(call).await? {
            Sent::All(transaction) => (transaction, call.lines.iter().map(|line| line.ordinal).collect(), None),
            Sent::Part(part) => (part.transaction, acknowledged(call, &part.unacknowledged), Some(part.error)),
        };
        let Contents { events, scopes, .. } = self.contents;
        self.ingest.ledger.mark_delivered(help, &ordinals, events, scopes).await?;
        transaction.commit();
        self.helped.extend(ordinals);
        failure.map_or(Ok(()), |error| Err(error.into()))
    }

    fn scope(&self, ordinal: u32) -> u32 {
        self.contents.events[ordinal as usize].scope
    }

    /// Returns whether the event exceeds the sink's record limit, and records its index in this case.
    fn check_oversize(&mut self, ordinal: u32, line: &[u8]) -> bool {
        let oversize = line.len() > self.ingest.sink.limits().max_line_bytes();
        if oversize {
            self.oversize.insert(ordinal);
        }
        oversize
    }

    /// Stores an oversize event separately and returns the pointer line that is delivered instead. The pointer has the
    /// event's identifying fields in their usual places, and the location of the whole event.
    async fn store_oversize(&self, object: &Object, ordinal: u32, line: &[u8]) -> Result<Vec<u8>, IngestAbort> {
        let EventMeta { id, scope, .. } = self.contents.events[ordinal as usize];
        let scope = &self.contents.sink_scopes[scope as usize];
        let location = self.ingest.sink.store_oversize(&Oversize { object, ordinal, id, scope, line }).await?;
        let mut pointer = pointer_fields(line);
        let pointer_info = serde_json::json!({ "oversize": {
            "location": location, "bytes": line.len(), "object": object.to_string(), "index": ordinal,
        }});
        pointer.insert("trailhose".to_owned(), pointer_info);
        Ok(serde_json::Value::Object(pointer).to_string().into_bytes())
    }

    async fn send(&mut self, call: &SinkCall) -> Result<Sent, IngestAbort> {
        if Instant::now() >= self.deadline.stop {
            return Err(IngestAbort::Deferred(Deferred::OutOfTime));
        }
        let transaction = self.ingest.sink.begin().await?;
        match self.ingest.sink.deliver(call, self.deadline.stop).await {
            Ok(()) => {}
            Err(SinkError::Partial { unacknowledged, error }) => {
                return Ok(Sent::Part(SentPart { transaction, unacknowledged, error: *error }));
            }
            Err(error) => return Err(error.into()),
        }
        self.report.calls += 1;
        self.report.sent_bytes += call.body.len() as u64;
        Ok(Sent::All(transaction))
    }
}

/// Result of sending a call. The ledger must record what was acknowledged before the transaction is committed.
enum Sent {
    /// All records are acknowledged.
    All(Transaction),
    /// Some records are acknowledged.
    Part(SentPart),
}

/// The part of a call that was acknowledged.
struct SentPart {
    transaction: Transaction,
    /// Indices of the records that are not acknowledged, in ascending order.
    unacknowledged: Vec<usize>,
    error: SinkError,
}

/// Returns the ordinals of the lines in the acknowledged records of a call, in ascending order.
fn acknowledged(call: &SinkCall, unacknowledged: &[usize]) -> Vec<u32> {
    let record_of = |end: usize| call.records.partition_point(|&record_end| record_end < end);
    let lines = call.lines.iter().filter(|line| unacknowledged.binary_search(&record_of(line.end)).is_err());
    lines.map(|line| line.ordinal).collect()
}

/// Returns the ordinal of the first line of a call that is not in `acknowledged`, which is in ascending order.
fn first_unacknowledged(call: &SinkCall, acknowledged: &[u32]) -> Option<u32> {
    call.lines.iter().map(|line| line.ordinal).find(|ordinal| acknowledged.binary_search(ordinal).is_err())
}

/// Returns the acknowledged lines of a call as half-open ranges of ordinals: successive acknowledged lines form one
/// range. A range includes the ordinals between two of its lines: events that the object does not own or that it
/// delivered before. If the object claims one of these events later, its progress is reset first.
fn acknowledged_ranges(call: &SinkCall, acknowledged: &[u32]) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    let mut extends = false;
    for ordinal in call.lines.iter().map(|line| line.ordinal) {
        let is_acknowledged = acknowledged.binary_search(&ordinal).is_ok();
        match ranges.last_mut() {
            Some(last) if is_acknowledged && extends => last.1 = ordinal + 1,
            _ if is_acknowledged => ranges.push((ordinal, ordinal + 1)),
            _ => {}
        }
        extends = is_acknowledged;
    }
    ranges
}

/// Returns the short top-level fields that identify an event.
fn pointer_fields(line: &[u8]) -> serde_json::Map<String, serde_json::Value> {
    const POINTER_FIELDS: [&str; 8] = [
        "eventID",
        "eventId",
        "eventTime",
        "eventSource",
        "eventName",
        "awsRegion",
        "recipientAccountId",
        "eventCategory",
    ];
    const MAX_FIELD_BYTES: usize = 1024;
    let Ok(all) = members(line, |name| POINTER_FIELDS.contains(&name)) else { return Default::default() };
    let kept = POINTER_FIELDS.into_iter().filter_map(|name| {
        let raw = all.get(name).filter(|raw| raw.get().len() <= MAX_FIELD_BYTES)?;
        Some((name.to_owned(), serde_json::from_str(raw.get()).ok()?))
    });
    kept.collect()
}
