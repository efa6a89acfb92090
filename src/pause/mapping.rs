//! Event source mappings: the part of Lambda that receives messages and invokes a function.

use super::{Clients, PauseError};
use crate::aws::failure;
use aws_sdk_lambda::Client;
use serde::Serialize;
use tokio::time::{Duration, Instant, sleep};

/// Time limit for a change of a mapping. It usually takes less than a minute.
const TIME_LIMIT: Duration = Duration::from_secs(300);

/// An event source mapping of a stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mapping {
    /// Name in the template, such as `IngestFunctionQueue`.
    pub name: String,
    /// UUID.
    pub id: String,
    /// State in Lambda.
    pub state: MappingState,
}

/// State of a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MappingState {
    /// Receives messages.
    Enabled,
    /// Receives messages soon.
    Enabling,
    /// Receives no messages.
    Disabled,
    /// Stops receiving messages soon.
    Disabling,
    /// Is created, updated or deleted, so that its state is not known.
    Changing,
}

impl MappingState {
    /// Returns whether the mapping receives messages, now or soon. A mapping that changes counts as enabled.
    pub fn is_enabled(self) -> bool {
        !matches!(self, Self::Disabled | Self::Disabling)
    }

    /// Returns whether no change is in progress.
    fn is_final(self) -> bool {
        matches!(self, Self::Enabled | Self::Disabled)
    }

    /// Returns the name of the state.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Enabling => "enabling",
            Self::Disabled => "disabled",
            Self::Disabling => "disabling",
            Self::Changing => "changing",
        }
    }

    /// Parses a state of Lambda. An unknown one counts as changing.
    /// <https://docs.aws.amazon.com/lambda/latest/api/API_GetEventSourceMapping.html>
    fn parse(text: Option<&str>) -> Self {
        match text {
            Some("Enabled") => Self::Enabled,
            Some("Enabling") => Self::Enabling,
            Some("Disabled") => Self::Disabled,
            Some("Disabling") => Self::Disabling,
            _ => Self::Changing,
        }
    }
}

impl Mapping {
    /// Reads the mapping with this UUID.
    pub(super) async fn read(lambda: &Client, name: &str, id: &str) -> Result<Self, PauseError> {
        let answer = lambda.get_event_source_mapping().uuid(id).send().await;
        let answer = answer.map_err(|error| failed("lambda:GetEventSourceMapping", name, id, failure(&error)))?;
        Ok(Self { name: name.to_owned(), id: id.to_owned(), state: MappingState::parse(answer.state()) })
    }

    /// Enables or disables the mapping. The change takes effect later: see [`Mapping::wait_until_final`].
    pub(super) async fn set_enabled(&self, lambda: &Client, enabled: bool) -> Result<(), PauseError> {
        let answer = lambda.update_event_source_mapping().uuid(&self.id).enabled(enabled).send().await;
        let action = "lambda:UpdateEventSourceMapping";
        answer.map(drop).map_err(|error| failed(action, &self.name, &self.id, failure(&error)))
    }

    /// Waits until no change of the mapping is in progress, and returns it.
    pub(super) async fn wait_until_final(clients: &Clients, mapping: &Self) -> Result<Self, PauseError> {
        let end = Instant::now() + TIME_LIMIT;
        loop {
            let current = Self::read(&clients.lambda, &mapping.name, &mapping.id).await?;
            if current.state.is_final() {
                return Ok(current);
            }
            if Instant::now() >= end {
                let what = format!("the mapping {} is still {}", mapping.name, current.state.as_str());
                return Err(PauseError::TimedOut { what, minutes: TIME_LIMIT.as_secs() / 60 });
            }
            sleep(clients.poll).await;
        }
    }
}

fn failed(action: &'static str, name: &str, id: &str, failure: crate::aws::AwsFailure) -> PauseError {
    PauseError::Request {
        action,
        resource: format!("the event source mapping {name} ({id})"),
        failure: Box::new(failure),
    }
}
