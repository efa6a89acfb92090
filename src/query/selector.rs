//! Selects the events of a plan during a scan.

use super::scan::{ScannedEvent, Visited};
use std::sync::Arc;
use trailhose_core::plan::evaluate::{EventClass, FieldSlots, PreparedPlan};

/// Evaluates a plan for the events of one thread.
#[derive(Debug)]
pub struct EventSelector {
    plan: Arc<PreparedPlan>,
    slots: FieldSlots,
}

impl EventSelector {
    /// Creates a selector.
    pub fn new(plan: &Arc<PreparedPlan>) -> Self {
        Self { plan: Arc::clone(plan), slots: FieldSlots::default() }
    }

    /// Evaluates an event. Returns [`Visited::Selected`] if the plan selects it and no copy of it was selected before. Then
    /// [`EventSelector::slots`] contains its values.
    pub fn select(&mut self, event: ScannedEvent<'_>) -> Visited {
        match self.plan.classify(event.bytes, &mut self.slots) {
            EventClass::Selected if event.is_first_copy() => Visited::Selected,
            EventClass::Selected => Visited::Copy,
            EventClass::NotSelected => Visited::NotSelected,
            EventClass::WithoutTime => Visited::WithoutTime,
            EventClass::Invalid => Visited::Invalid,
        }
    }

    /// Returns the values of the fields of the last event.
    pub fn slots(&self) -> &FieldSlots {
        &self.slots
    }
}
