//! The newest or the oldest events. Each collector keeps at most as many rows as the limit in memory.

use super::QueryRow;
use super::memory::{MemoryBudget, MemoryExceeded};
use crate::plan::EventOrder;
use jiff::Timestamp;
use std::collections::BinaryHeap;

/// The first rows in the order of the events' time.
#[derive(Debug)]
pub(super) struct TopEvents {
    order: EventOrder,
    limit: usize,
    /// The top of the heap is the last row of the order, which is removed first.
    heap: BinaryHeap<RankedRow>,
}

/// A row with its rank. The smallest rank is the first row. Rows with the same time and ID are sorted by their values, so that
/// the result does not depend on the order in which events are read.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct RankedRow {
    rank: EventRank,
    row: QueryRow,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct EventRank {
    /// Nanoseconds, negative if the newest events are first. Events without a valid time are last.
    time: i128,
    is_without_id: bool,
    id: Box<[u8]>,
}

/// Approximate bytes of a row and of each of its values, in addition to their content.
const ROW_BYTES: usize = 96;
const VALUE_BYTES: usize = 24;

impl RankedRow {
    fn bytes(&self) -> usize {
        let values: usize = self.row.iter().map(|value| VALUE_BYTES + value.as_ref().map_or(0, String::len)).sum();
        ROW_BYTES + self.rank.id.len() + values
    }
}

impl TopEvents {
    pub(super) fn new(order: EventOrder, limit: u64) -> Self {
        Self { order, limit: usize::try_from(limit).unwrap_or(usize::MAX), heap: BinaryHeap::new() }
    }

    pub(super) fn add(
        &mut self,
        time: Option<Timestamp>,
        id: Option<&[u8]>,
        row: impl FnOnce() -> QueryRow,
        memory: &MemoryBudget,
    ) -> Result<(), MemoryExceeded> {
        let time = time.map_or(i128::MAX, |time| match self.order {
            EventOrder::Newest => -time.as_nanosecond(),
            EventOrder::Oldest | EventOrder::AsRead => time.as_nanosecond(),
        });
        let is_full = self.heap.len() >= self.limit;
        if is_full && self.heap.peek().is_some_and(|last| time > last.rank.time) {
            return Ok(());
        }
        let rank = EventRank { time, is_without_id: id.is_none(), id: id.unwrap_or_default().into() };
        if is_full && self.heap.peek().is_some_and(|last| rank > last.rank) {
            return Ok(());
        }
        let row = RankedRow { rank, row: row() };
        memory.take(row.bytes())?;
        self.heap.push(row);
        if self.heap.len() > self.limit
            && let Some(last) = self.heap.pop()
        {
            memory.release(last.bytes());
        }
        Ok(())
    }

    pub(super) fn merge(&mut self, other: Self) {
        for row in other.heap {
            self.heap.push(row);
            if self.heap.len() > self.limit {
                self.heap.pop();
            }
        }
    }

    /// Returns the rows in their order.
    pub(super) fn into_rows(self) -> Vec<QueryRow> {
        self.heap.into_sorted_vec().into_iter().map(|ranked| ranked.row).collect()
    }
}
