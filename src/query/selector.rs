//! Selects the events of a plan during a scan.

use super::scan::{ScannedEvent, VisitOutcome};
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

    /// Evaluates an event. Returns [`VisitOutcome::Selected`] if the plan selects it and no copy of it was selected before.
    /// Then [`EventSelector::slots`] contains its values.
    pub fn select(&mut self, event: ScannedEvent<'_>) -> VisitOutcome {
        match self.plan.classify(event.bytes, &mut self.slots) {
            EventClass::Selected if event.is_first_copy() => VisitOutcome::Selected,
            EventClass::Selected => VisitOutcome::Copy,
            EventClass::NotSelected => VisitOutcome::NotSelected,
            EventClass::WithoutTime => VisitOutcome::WithoutTime,
            EventClass::Invalid => VisitOutcome::Invalid,
        }
    }

    /// Returns the values of the fields of the last event.
    pub fn slots(&self) -> &FieldSlots {
        &self.slots
    }
}
