//! The newest or the oldest rows of a list.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use trailhose::plan::EventOrder;
use trailhose::query::QueryRow;

/// Keeps the newest or the oldest rows. Rows of the same time are in the order of their event IDs.
#[derive(Debug)]
pub(super) struct OrderedRows {
    is_newest_first: bool,
    limit: usize,
    rows: BTreeMap<RowKey, QueryRow>,
    /// The number of added rows, also of those that are not kept. Distinguishes rows of the same time and ID.
    count: u64,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum RowKey {
    Newest(Reverse<Option<String>>, Option<String>, u64),
    Oldest(Option<String>, Option<String>, u64),
}

impl OrderedRows {
    pub(super) fn new(order: EventOrder, limit: u64) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Self { is_newest_first: order == EventOrder::Newest, limit, rows: BTreeMap::new(), count: 0 }
    }

    /// Adds a row. Its first value is the time and its last the event ID, which is removed.
    pub(super) fn add(&mut self, mut row: QueryRow) {
        let id = row.pop().flatten();
        let time = row.first().cloned().flatten();
        self.count += 1;
        let key = match self.is_newest_first {
            true => RowKey::Newest(Reverse(time), id, self.count),
            false => RowKey::Oldest(time, id, self.count),
        };
        let is_after_all = self.rows.last_key_value().is_some_and(|(last, _)| key > *last);
        if self.rows.len() == self.limit && is_after_all {
            return;
        }
        self.rows.insert(key, row);
        if self.rows.len() > self.limit {
            self.rows.pop_last();
        }
    }

    /// Returns whether there were more rows than the limit.
    pub(super) fn is_limited(&self) -> bool {
        self.count > self.limit as u64
    }

    pub(super) fn finish(self) -> Vec<QueryRow> {
        self.rows.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(order: EventOrder, limit: u64) -> Vec<String> {
        let mut rows = OrderedRows::new(order, limit);
        for (time, id) in [("2", "b"), ("1", "x"), ("3", "y"), ("2", "a")] {
            rows.add(vec![Some(time.into()), Some(format!("{time}{id}")), Some(id.into())]);
        }
        assert_eq!(rows.is_limited(), limit < 4);
        rows.finish().into_iter().map(|row| row[1].clone().unwrap()).collect()
    }

    #[test]
    fn first_rows_are_kept_in_their_order() {
        assert_eq!(times(EventOrder::Newest, 3), ["3y", "2a", "2b"]);
        assert_eq!(times(EventOrder::Oldest, 2), ["1x", "2a"]);
        assert_eq!(times(EventOrder::Oldest, 9), ["1x", "2a", "2b", "3y"]);
    }
}
