//! Evaluates a plan over the bytes of events, without building a tree of their values.
//!
//! ```text
//! event ─▶ fields ─▶ predicate ─▶ groups | newest or oldest events | rows as read
//! ```
//!
//! The bytes should be those of an event that the decoder accepted, because defects in values that the plan does not read are
//! not detected.

mod fields;
mod groups;
mod memory;
mod predicate;
mod top;

pub use memory::{MemoryBudget, MemoryExceeded};

use super::{Column, EventOrder, Plan, PlanOutput, Predicate, Scope, TimeSpan};
use crate::decode::time;
pub use fields::FieldSlots;
use fields::{FieldTree, FieldTreeBuilder, ValueSource};
use groups::{GroupTable, PreparedGroups};
use jiff::Timestamp;
use predicate::PreparedPredicate;
use std::sync::Arc;
use top::TopEvents;

/// The values of one row, in the order of [`PreparedPlan::columns`]. A missing value is `None`.
pub type QueryRow = Vec<Option<String>>;

/// The name of the only column if the rows are the events' own bytes.
pub const EVENT_COLUMN: &str = "event";

/// A plan that is ready to read events.
#[derive(Debug)]
pub struct PreparedPlan {
    span: Option<TimeSpan>,
    tree: FieldTree,
    time: usize,
    id: usize,
    predicate: PreparedPredicate,
    output: PreparedOutput,
    columns: Vec<String>,
    limit: Option<u64>,
}

#[derive(Debug)]
enum PreparedOutput {
    /// The events' own bytes, if there are no columns.
    Events {
        columns: Vec<ValueSource>,
        order: EventOrder,
    },
    Groups(PreparedGroups),
}

/// How a plan classifies an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventClass {
    /// The plan selects the event.
    Selected,
    /// The plan does not select the event.
    NotSelected,
    /// The event is in no time span, because it has no valid `eventTime`.
    WithoutTime,
    /// The bytes are not a JSON object, or are nested too deeply.
    Invalid,
}

impl PreparedPlan {
    /// Prepares a plan.
    pub fn new(plan: &Plan) -> Self {
        let mut fields = FieldTreeBuilder::default();
        let time = fields.slot(&Column::EventTime.into());
        let id = fields.slot(&Column::EventId.into());
        let (span, predicate) = match plan.scope() {
            Scope::Time(span) => (Some(*span), PreparedPredicate::new(plan.predicate(), &mut fields)),
            Scope::EventId(id) => {
                let both = Predicate::All(vec![Predicate::equals(Column::EventId, id), plan.predicate().clone()]);
                (None, PreparedPredicate::new(&both, &mut fields))
            }
        };
        let (output, columns) = match plan.output() {
            PlanOutput::Events { columns, order } => {
                let names = match columns.is_empty() {
                    true => vec![EVENT_COLUMN.to_owned()],
                    false => columns.iter().map(ToString::to_string).collect(),
                };
                let columns = columns.iter().map(|field| fields.source(field)).collect();
                (PreparedOutput::Events { columns, order: *order }, names)
            }
            PlanOutput::Groups(groups) => {
                (PreparedOutput::Groups(PreparedGroups::new(groups, &mut fields)), groups::column_names(groups))
            }
        };
        Self { span, tree: fields.build(), time, id, predicate, output, columns, limit: plan.limit() }
    }

    /// Returns the names of the columns of a row.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Classifies an event. If the plan selects it, `slots` contains its fields for [`RowCollector::add`].
    pub fn classify(&self, event: &[u8], slots: &mut FieldSlots) -> EventClass {
        if self.tree.read(event, slots).is_none() {
            return EventClass::Invalid;
        }
        slots.time = slots.text(self.time, event).and_then(|text| time::timestamp(&text));
        if let Some(span) = self.span {
            match slots.time {
                None => return EventClass::WithoutTime,
                Some(time) if !span.contains(time) => return EventClass::NotSelected,
                Some(_) => {}
            }
        }
        match self.predicate.holds(event, slots) {
            Some(true) => EventClass::Selected,
            Some(false) => EventClass::NotSelected,
            None => EventClass::Invalid,
        }
    }
}

/// Collects what a plan computes from selected events. Several collectors of the same plan, for example one for each thread,
/// are merged at the end.
#[derive(Debug)]
pub struct RowCollector {
    plan: Arc<PreparedPlan>,
    memory: Arc<MemoryBudget>,
    kind: CollectorKind,
    selected: u64,
}

#[derive(Debug)]
enum CollectorKind {
    AsRead,
    Top(TopEvents),
    Groups(GroupTable),
}

/// The rows of a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CollectedRows {
    /// The rows in their order, at most as many as the plan's limit.
    pub rows: Vec<QueryRow>,
    /// Whether the limit removed rows.
    pub is_limited: bool,
}

impl RowCollector {
    /// Creates a collector. All collectors of a query share its memory.
    pub fn new(plan: &Arc<PreparedPlan>, memory: &Arc<MemoryBudget>) -> Self {
        let kind = match &plan.output {
            PreparedOutput::Events { order: EventOrder::AsRead, .. } => CollectorKind::AsRead,
            PreparedOutput::Events { order, .. } => {
                CollectorKind::Top(TopEvents::new(*order, plan.limit.unwrap_or(u64::MAX)))
            }
            PreparedOutput::Groups(groups) => CollectorKind::Groups(GroupTable::new(groups)),
        };
        Self { plan: Arc::clone(plan), memory: Arc::clone(memory), kind, selected: 0 }
    }

    /// Adds an event that the plan selects, with the slots that [`PreparedPlan::classify`] filled for it. Returns its row
    /// if the plan lists events in the order in which they are read.
    ///
    /// # Errors
    /// The rows need more memory than the query may use.
    pub fn add(&mut self, event: &[u8], slots: &FieldSlots) -> Result<Option<QueryRow>, MemoryExceeded> {
        let plan = Arc::clone(&self.plan);
        self.selected += 1;
        match (&mut self.kind, &plan.output) {
            (CollectorKind::AsRead, _) => return Ok(Some(plan.row(event, slots))),
            (CollectorKind::Top(top), _) => {
                let id = slots.text(plan.id, event);
                top.add(slots.time, id.as_deref(), || plan.row(event, slots), &self.memory)?;
            }
            (CollectorKind::Groups(table), PreparedOutput::Groups(groups)) => {
                table.add(groups, event, slots, &self.memory)?;
            }
            (CollectorKind::Groups(_), PreparedOutput::Events { .. }) => {}
        }
        Ok(None)
    }

    /// Adds what another collector of the same plan collected.
    ///
    /// # Errors
    /// The rows need more memory than the query may use.
    pub fn merge(&mut self, other: Self) -> Result<(), MemoryExceeded> {
        self.selected += other.selected;
        match (&mut self.kind, other.kind) {
            (CollectorKind::Top(own), CollectorKind::Top(other)) => own.merge(other),
            (CollectorKind::Groups(own), CollectorKind::Groups(other)) => own.merge(other, &self.memory)?,
            _ => {}
        }
        Ok(())
    }

    /// Returns the number of selected events.
    pub fn selected(&self) -> u64 {
        self.selected
    }

    /// Returns the rows, without those that [`RowCollector::add`] returned.
    pub fn finish(self) -> CollectedRows {
        self.finish_with(Vec::new())
    }

    /// Returns the rows. `as_read` are those that [`RowCollector::add`] returned.
    pub fn finish_with(self, as_read: Vec<QueryRow>) -> CollectedRows {
        let limit = self.plan.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let (mut rows, number) = match (self.kind, &self.plan.output) {
            (CollectorKind::Top(top), _) => (top.into_rows(), self.selected),
            (CollectorKind::Groups(table), PreparedOutput::Groups(groups)) => {
                let rows = table.into_rows(groups);
                let number = rows.len() as u64;
                (rows, number)
            }
            _ => {
                let number = as_read.len() as u64;
                (as_read, number)
            }
        };
        rows.truncate(limit);
        CollectedRows { is_limited: number > rows.len() as u64, rows }
    }
}

impl PreparedPlan {
    fn row(&self, event: &[u8], slots: &FieldSlots) -> QueryRow {
        match &self.output {
            PreparedOutput::Events { columns, .. } if !columns.is_empty() => {
                columns.iter().map(|source| source.column(event, slots).map(|bytes| text(&bytes))).collect()
            }
            _ => vec![Some(text(event))],
        }
    }
}

/// Returns bytes of an event as text. Bytes that are not UTF-8 are replaced. Only invalid events contain such bytes.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns the day of a time, such as `2026-02-28`.
fn day(time: Timestamp) -> String {
    time.to_string().get(..10).unwrap_or_default().to_owned()
}

/// Returns the day and the hour of a time, such as `2026-02-28T12`.
fn hour(time: Timestamp) -> String {
    time.to_string().get(..13).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod naive;
#[cfg(test)]
mod tests;
