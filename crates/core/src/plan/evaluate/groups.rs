//! Groups of events and their aggregates.

use super::fields::{FieldSlots, FieldTreeBuilder, ValueSource};
use super::memory::{MemoryBudget, MemoryExceeded};
use super::{QueryRow, text};
use crate::plan::{Aggregate, GroupColumn, Groups, Having, SortKey};
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

/// The groups of a plan, with the sources of their values instead of fields.
#[derive(Debug)]
pub(super) struct PreparedGroups {
    by: Vec<ValueSource>,
    aggregates: Vec<PreparedAggregate>,
    having: Vec<Having>,
    order: Vec<SortKey>,
}

#[derive(Debug)]
enum PreparedAggregate {
    Count,
    CountDistinct(ValueSource),
    Min(ValueSource),
    Max(ValueSource),
}

/// The groups that are collected so far, by their encoded values.
#[derive(Debug)]
pub(super) struct GroupTable {
    groups: HashMap<Box<[u8]>, Vec<AggregateState>>,
    /// The encoded values of the current event.
    key: Vec<u8>,
}

#[derive(Debug)]
enum AggregateState {
    Count(u64),
    Distinct(HashSet<Box<[u8]>>),
    Min(Option<Box<[u8]>>),
    Max(Option<Box<[u8]>>),
}

/// Approximate bytes of a group and of a distinct value, in addition to their content.
const ENTRY_BYTES: usize = 64;

/// Returns the names of the columns: the fields, then the aggregates.
pub(super) fn column_names(groups: &Groups) -> Vec<String> {
    let aggregates = groups.aggregates.iter().map(Aggregate::column_name);
    groups.by.iter().map(ToString::to_string).chain(aggregates).collect()
}

impl Aggregate {
    /// Returns the name of its column, for example `max(eventTime)`.
    pub fn column_name(&self) -> String {
        match self {
            Self::Count => "count".to_owned(),
            Self::CountDistinct(field) => format!("count_distinct({field})"),
            Self::Min(field) => format!("min({field})"),
            Self::Max(field) => format!("max({field})"),
        }
    }
}

impl PreparedGroups {
    pub(super) fn new(groups: &Groups, fields: &mut FieldTreeBuilder) -> Self {
        let by = groups.by.iter().map(|field| fields.source(field)).collect();
        let aggregates = groups.aggregates.iter().map(|aggregate| match aggregate {
            Aggregate::Count => PreparedAggregate::Count,
            Aggregate::CountDistinct(field) => PreparedAggregate::CountDistinct(fields.source(field)),
            Aggregate::Min(field) => PreparedAggregate::Min(fields.source(field)),
            Aggregate::Max(field) => PreparedAggregate::Max(fields.source(field)),
        });
        Self { by, aggregates: aggregates.collect(), having: groups.having.clone(), order: groups.order.clone() }
    }

    fn new_states(&self) -> Vec<AggregateState> {
        let state = |aggregate: &PreparedAggregate| match aggregate {
            PreparedAggregate::Count => AggregateState::Count(0),
            PreparedAggregate::CountDistinct(_) => AggregateState::Distinct(HashSet::new()),
            PreparedAggregate::Min(_) => AggregateState::Min(None),
            PreparedAggregate::Max(_) => AggregateState::Max(None),
        };
        self.aggregates.iter().map(state).collect()
    }
}

impl GroupTable {
    pub(super) fn new(groups: &PreparedGroups) -> Self {
        let mut table = Self { groups: HashMap::new(), key: Vec::new() };
        if groups.by.is_empty() {
            // Without fields there is one row, even if no event is selected.
            table.groups.insert(Box::default(), groups.new_states());
        }
        table
    }

    pub(super) fn add(
        &mut self,
        groups: &PreparedGroups,
        event: &[u8],
        slots: &FieldSlots,
        memory: &MemoryBudget,
    ) -> Result<(), MemoryExceeded> {
        self.key.clear();
        for source in &groups.by {
            encode(source.column(event, slots).as_deref(), &mut self.key);
        }
        let states = match self.groups.get_mut(&*self.key) {
            Some(states) => states,
            None => {
                memory.take(self.key.len() + ENTRY_BYTES + size_of::<AggregateState>() * groups.aggregates.len())?;
                self.groups.entry(self.key.as_slice().into()).or_insert_with(|| groups.new_states())
            }
        };
        for (state, aggregate) in states.iter_mut().zip(&groups.aggregates) {
            match (state, aggregate) {
                (AggregateState::Count(count), _) => *count += 1,
                (AggregateState::Distinct(known), PreparedAggregate::CountDistinct(source)) => {
                    if let Some(value) = source.column(event, slots)
                        && !known.contains(&*value)
                    {
                        memory.take(value.len() + ENTRY_BYTES)?;
                        known.insert(value.as_ref().into());
                    }
                }
                (AggregateState::Min(least), PreparedAggregate::Min(source)) => {
                    if let Some(value) = source.column(event, slots) {
                        keep_extreme(least, &value, Ordering::Less, memory)?;
                    }
                }
                (AggregateState::Max(greatest), PreparedAggregate::Max(source)) => {
                    if let Some(value) = source.column(event, slots) {
                        keep_extreme(greatest, &value, Ordering::Greater, memory)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn merge(&mut self, other: Self, memory: &MemoryBudget) -> Result<(), MemoryExceeded> {
        for (key, states) in other.groups {
            let Some(own) = self.groups.get_mut(&key) else {
                self.groups.insert(key, states);
                continue;
            };
            for (own, other) in own.iter_mut().zip(states) {
                match (own, other) {
                    (AggregateState::Count(own), AggregateState::Count(other)) => *own += other,
                    (AggregateState::Distinct(own), AggregateState::Distinct(other)) => own.extend(other),
                    (AggregateState::Min(own), AggregateState::Min(Some(other))) => {
                        keep_extreme(own, &other, Ordering::Less, memory)?;
                    }
                    (AggregateState::Max(own), AggregateState::Max(Some(other))) => {
                        keep_extreme(own, &other, Ordering::Greater, memory)?;
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Returns the rows in their order, without a limit.
    pub(super) fn into_rows(self, groups: &PreparedGroups) -> Vec<QueryRow> {
        let fulfills = |states: &[AggregateState]| {
            groups.having.iter().all(|having| having.is.holds(states[having.aggregate].number(), having.value))
        };
        let mut found: Vec<_> = self
            .groups
            .into_iter()
            .filter(|(_, states)| fulfills(states))
            .map(|(key, states)| (decode(&key), states))
            .collect();
        found.sort_unstable_by(|(left, left_states), (right, right_states)| {
            for order in &groups.order {
                let by_key = match order.by {
                    GroupColumn::Field(index) => {
                        missing_last(left[index].as_deref(), right[index].as_deref(), order.descending)
                    }
                    GroupColumn::Aggregate(index) => left_states[index].compare(&right_states[index], order.descending),
                };
                if by_key.is_ne() {
                    return by_key;
                }
            }
            let pairs = left.iter().zip(right);
            pairs.fold(Ordering::Equal, |so_far, (left, right)| {
                so_far.then_with(|| missing_last(left.as_deref(), right.as_deref(), false))
            })
        });
        let row = |(key, states): (Vec<Option<Vec<u8>>>, Vec<AggregateState>)| {
            let fields = key.into_iter().map(|value| value.map(|value| text(&value)));
            fields.chain(states.into_iter().map(AggregateState::into_value)).collect()
        };
        found.into_iter().map(row).collect()
    }
}

impl AggregateState {
    fn number(&self) -> u64 {
        match self {
            Self::Count(count) => *count,
            Self::Distinct(known) => known.len() as u64,
            Self::Min(_) | Self::Max(_) => 0,
        }
    }

    fn compare(&self, other: &Self, descending: bool) -> Ordering {
        match (self, other) {
            (Self::Min(left) | Self::Max(left), Self::Min(right) | Self::Max(right)) => {
                missing_last(left.as_deref(), right.as_deref(), descending)
            }
            _ if descending => other.number().cmp(&self.number()),
            _ => self.number().cmp(&other.number()),
        }
    }

    fn into_value(self) -> Option<String> {
        match self {
            Self::Count(_) | Self::Distinct(_) => Some(self.number().to_string()),
            Self::Min(value) | Self::Max(value) => value.map(|value| text(&value)),
        }
    }
}

/// Keeps the smaller (`wanted` is `Less`) or the larger (`Greater`) of two values.
fn keep_extreme(
    kept: &mut Option<Box<[u8]>>,
    value: &[u8],
    wanted: Ordering,
    memory: &MemoryBudget,
) -> Result<(), MemoryExceeded> {
    if kept.as_deref().is_none_or(|kept| value.cmp(kept) == wanted) {
        memory.release(kept.as_ref().map_or(0, |kept| kept.len()));
        memory.take(value.len())?;
        *kept = Some(value.into());
    }
    Ok(())
}

/// Compares two values. A missing value is last, also in descending order.
fn missing_last(left: Option<&[u8]>, right: Option<&[u8]>, descending: bool) -> Ordering {
    match (left, right) {
        (Some(left), Some(right)) if descending => right.cmp(left),
        (Some(left), Some(right)) => left.cmp(right),
        (left, right) => left.is_none().cmp(&right.is_none()),
    }
}

/// Appends a value to the key of a group: 0 for a missing value; 1, the length and the bytes for any other.
fn encode(value: Option<&[u8]>, key: &mut Vec<u8>) {
    match value {
        None => key.push(0),
        Some(value) => {
            key.push(1);
            key.extend_from_slice(&(value.len() as u64).to_le_bytes());
            key.extend_from_slice(value);
        }
    }
}

fn decode(mut key: &[u8]) -> Vec<Option<Vec<u8>>> {
    let mut values = Vec::new();
    while let Some((kind, rest)) = key.split_first() {
        if *kind == 0 {
            values.push(None);
            key = rest;
            continue;
        }
        let Some((length, rest)) = rest.split_first_chunk() else { break };
        let (value, rest) = rest.split_at((u64::from_le_bytes(*length) as usize).min(rest.len()));
        values.push(Some(value.to_vec()));
        key = rest;
    }
    values
}
