//! The state of a forward, for people and programs.

use crate::table::Table;
use serde::Serialize;

/// What a forward does, what it sent, and what its destination refused.
#[derive(Debug, Serialize)]
pub(crate) struct ForwardView {
    /// The name in the settings.
    pub(crate) name: String,
    /// active, waiting or paused.
    pub(crate) condition: &'static str,
    /// The number of consecutive failures.
    pub(crate) failures: u32,
    /// The time of the next attempt after a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_attempt: Option<String>,
    /// Why the last request failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// The number of requests, including failed ones.
    pub(crate) requests: u64,
    /// The number of requests that repeated the request before.
    pub(crate) repeated_requests: u64,
    pub(crate) accepted_requests: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_accepted: Option<String>,
    pub(crate) refused_events: u64,
    pub(crate) refused: Vec<RefusedByStatus>,
}

/// The number of refused events with one status.
#[derive(Debug, Serialize)]
pub(crate) struct RefusedByStatus {
    pub(crate) status: u16,
    pub(crate) events: u64,
}

#[cfg(feature = "forward")]
impl ForwardView {
    /// Reads the state of a forward, if there is one.
    pub(crate) fn read(name: &str, state: &trailhose::state::StateDatabase) -> Result<Option<Self>, String> {
        use trailhose::state::ForwardCondition;

        let failed = |error: trailhose::state::StateError| error.to_string();
        let Some(stored) = state.forward(name).map_err(failed)? else { return Ok(None) };
        let now = jiff::Timestamp::now().as_millisecond();
        let condition = stored.condition(now);
        let time = |at: jiff::Timestamp| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let next = (condition == ForwardCondition::Waiting)
            .then(|| jiff::Timestamp::from_millisecond(stored.wait_until).ok())
            .flatten();
        let refused: Vec<RefusedByStatus> = state
            .refused_by_status(name)
            .map_err(failed)?
            .into_iter()
            .map(|(status, events)| RefusedByStatus { status, events })
            .collect();
        Ok(Some(Self {
            name: name.to_owned(),
            condition: condition.name(),
            failures: stored.failures,
            next_attempt: next.map(time),
            error: stored.error,
            requests: stored.requests,
            repeated_requests: stored.repeats,
            accepted_requests: stored.accepted,
            last_accepted: stored.last_accepted.and_then(|at| jiff::Timestamp::from_second(at).ok()).map(time),
            refused_events: refused.iter().map(|refused| refused.events).sum(),
            refused,
        }))
    }
}

impl ForwardView {
    /// Adds the rows of the forward to a table.
    pub(crate) fn add_to(&self, table: &mut Table) {
        let next = self.next_attempt.as_ref().map(|at| format!(", next attempt at {at}")).unwrap_or_default();
        table.line(&format!("  {:<16}{}{next}", "condition", self.condition));
        table.row("requests", self.requests, &format!("{} accepted", self.accepted_requests));
        table.row_if("repeats", self.repeated_requests, "requests with the same ID as the request before");
        let statuses: Vec<String> =
            self.refused.iter().map(|refused| format!("{} with status {}", refused.events, refused.status)).collect();
        table.bad("refused events", self.refused_events, &statuses.join(", "));
        if let Some(error) = &self.error {
            table.line(&format!("  last failure: {}", crate::text::one_line(error)));
        }
    }
}
