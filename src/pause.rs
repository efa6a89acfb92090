//! Pause and resume: stops and starts the functions of a deployed stack without losing a notification.
//!
//! # Mechanism
//!
//! The parameter `PausedSince` of the stack is empty, or contains the time at which ingestion was paused. While it has
//! a value, the template disables every event source mapping and the schedule of the backfill. `pause` first disables
//! the mappings through Lambda, which takes effect within a minute, and then sets the parameter with a stack update that
//! keeps the template and all other parameters. `resume` removes the value, and enables what is still disabled.
//!
//! A deployment keeps the value of a parameter that it does not set, so a deployment between the two commands does not
//! start ingestion. Three alternatives were rejected:
//!
//! - *Only disabling the mappings through Lambda.* A stack update that changes a property of a mapping, for example its
//!   concurrency, writes the mapping again. CloudFormation does not document whether the mapping then stays disabled.
//! - *Reserved concurrency 0.* Lambda still receives messages. Each throttled invocation increases the receive count, so
//!   messages go to the dead-letter queue.
//! - *Removing the notification of the bucket.* Objects of this time are never announced. Only a backfill finds them.

mod mapping;
mod stack_parameter;

pub use mapping::{Mapping, MappingState};

use crate::aws::{AwsFailure, FailureKind, failure};
use crate::aws::{DeployedStack, StackError, StackResources};
use aws_sdk_sqs::types::QueueAttributeName;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// The parameter of the template.
pub const PARAMETER: &str = "PausedSince";

/// The outputs with the URLs of the queues that fill up while ingestion is paused, and the name of each queue in the
/// result.
const QUEUES: [(&str, &str); 4] = [
    ("ingest", "IngestQueueUrl"),
    ("deferred", "DeferredQueueUrl"),
    ("backfill_ingest", "BackfillIngestQueueUrl"),
    ("backfill", "BackfillQueueUrl"),
];

/// The default of the template's `MaxDeferredDays`.
const MAX_DEFERRED_DAYS: i64 = 4;

/// Clients of the stack's account and region.
#[derive(Debug, Clone)]
pub struct Clients {
    /// Reads and updates the stack.
    pub cloudformation: aws_sdk_cloudformation::Client,
    /// Reads and changes the event source mappings.
    pub lambda: aws_sdk_lambda::Client,
    /// Reads the queues.
    pub sqs: aws_sdk_sqs::Client,
    /// Interval between two requests for a state that is expected to change.
    pub poll: Duration,
}

/// Whether the stack ingests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ingestion {
    /// All event source mappings are enabled.
    Running,
    /// All event source mappings are disabled, and a deployment keeps them disabled.
    Paused,
    /// The parameter of the stack and the mappings differ: a part of ingestion runs, or the next deployment changes it.
    Inconsistent,
}

/// The state of a stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PauseState {
    /// Name of the stack.
    pub stack: String,
    /// Whether it ingests.
    pub ingestion: Ingestion,
    /// The time at which it was paused.
    #[serde(serialize_with = "as_text")]
    pub paused_since: Option<Timestamp>,
    /// The time at which SQS starts to delete notifications if ingestion is not resumed.
    #[serde(serialize_with = "as_text")]
    pub resume_before: Option<Timestamp>,
    /// The event source mappings of the functions.
    pub mappings: Vec<Mapping>,
    /// Whether the schedule of the backfill is enabled.
    pub schedule_enabled: bool,
    /// Approximate number of messages in each queue.
    pub waiting: BTreeMap<&'static str, u64>,
}

/// A change of the ingestion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PauseChange {
    /// Stop ingestion at this time.
    Pause(Timestamp),
    /// Start it again.
    Resume,
}

/// A step of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// Disable a mapping through Lambda.
    Disable(Mapping),
    /// Enable a mapping through Lambda.
    Enable(Mapping),
    /// Update the stack so that [`PARAMETER`] has this value.
    UpdateStack {
        /// The value, or an empty text.
        paused_since: String,
    },
}

/// A failed change or a state that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PauseError {
    /// The stack cannot be read.
    #[error(transparent)]
    Stack(#[from] StackError),
    /// The template of the stack has no such parameter.
    #[error(
        "stack {0} cannot be paused: its template has no parameter PausedSince. Deploy the current template.yaml first"
    )]
    NoParameter(String),
    /// The value of the parameter is not a time.
    #[error("stack {stack}: the parameter PausedSince is {value:?}; expected a time such as 2026-11-27T12:00:00Z")]
    InvalidTime {
        /// Name of the stack.
        stack: String,
        /// Value of the parameter.
        value: String,
    },
    /// CloudFormation changes the stack, or the last change failed.
    #[error("stack {stack} is in the state {status}: {advice}")]
    Busy {
        /// Name of the stack.
        stack: String,
        /// Status of the stack.
        status: String,
        /// The next step.
        advice: &'static str,
    },
    /// A request failed.
    #[error("{}", request_text(.action, .resource, .failure))]
    Request {
        /// Action, such as `lambda:UpdateEventSourceMapping`.
        action: &'static str,
        /// What the request concerned.
        resource: String,
        /// Failure of the request.
        failure: Box<AwsFailure>,
    },
    /// CloudFormation did not complete the update.
    #[error("the update of stack {stack} ended with {status}: {reason}")]
    UpdateFailed {
        /// Name of the stack.
        stack: String,
        /// Status of the stack.
        status: String,
        /// The first failure that CloudFormation reported.
        reason: String,
    },
    /// A state was not reached in time.
    #[error("{what} after {minutes} minutes: run the command again")]
    TimedOut {
        /// The state that did not end.
        what: String,
        /// Time limit.
        minutes: u64,
    },
}

fn request_text(action: &str, resource: &str, failure: &AwsFailure) -> String {
    if failure.concerns_credentials() {
        return failure.credentials_text();
    }
    match failure.kind {
        FailureKind::Denied => {
            let allow = || format!("allow {action} on {resource} for these credentials");
            format!("{}. {failure}", failure.denial_advice(allow))
        }
        _ => format!("{action} on {resource} failed: {failure}"),
    }
}

impl PauseState {
    /// Reads the state of a stack. It needs `cloudformation:DescribeStacks`, `cloudformation:ListStackResources`,
    /// `lambda:GetEventSourceMapping` and `sqs:GetQueueAttributes`.
    ///
    /// # Errors
    /// A request failed, or the stack cannot be paused.
    pub async fn read(clients: &Clients, stack: &str) -> Result<Self, PauseError> {
        let stack = DeployedStack::describe(&clients.cloudformation, stack).await?;
        if !stack.has_parameter(PARAMETER) {
            return Err(PauseError::NoParameter(stack.name));
        }
        let paused_since = match stack.parameter(PARAMETER) {
            None => None,
            Some(text) => Some(
                text.parse()
                    .map_err(|_| PauseError::InvalidTime { stack: stack.name.clone(), value: text.to_owned() })?,
            ),
        };
        let resources = StackResources::list(&clients.cloudformation, &stack.name).await?;
        let mut mappings = Vec::new();
        for resource in resources.iter().filter(|each| each.resource_type == "AWS::Lambda::EventSourceMapping") {
            let id = resources.physical_id(&resource.logical_id)?;
            mappings.push(Mapping::read(&clients.lambda, &resource.logical_id, id).await?);
        }
        let (mut waiting, mut retention) = (BTreeMap::new(), BTreeMap::new());
        for (name, output) in QUEUES {
            let (messages, seconds) = queue(&clients.sqs, stack.output(output)?).await?;
            waiting.insert(name, messages);
            retention.insert(name, seconds);
        }
        let max_deferred = stack.parameter("MaxDeferredDays").and_then(|days| days.parse().ok());
        let resume_before = paused_since
            .map(|since| resume_before(since, &retention, &waiting, max_deferred.unwrap_or(MAX_DEFERRED_DAYS)));
        Ok(Self {
            ingestion: ingestion(paused_since.is_some(), &mappings),
            stack: stack.name.clone(),
            paused_since,
            resume_before,
            mappings,
            schedule_enabled: paused_since.is_none() && stack.parameter("BackfillState") != Some("DISABLED"),
            waiting,
        })
    }

    /// Returns the steps of a change, in their order. An empty list means that the stack is in the requested state.
    pub fn steps(&self, change: PauseChange) -> Vec<Step> {
        let differing =
            |enabled: bool| self.mappings.iter().filter(move |mapping| mapping.state.is_enabled() != enabled);
        let update = |paused_since: String| Step::UpdateStack { paused_since };
        match change {
            PauseChange::Pause(now) => {
                let update =
                    self.paused_since.is_none().then(|| update(now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()));
                differing(false).cloned().map(Step::Disable).chain(update).collect()
            }
            PauseChange::Resume => {
                let update = self.paused_since.is_some().then(|| update(String::new()));
                // The update enables the mappings. Those that differ from the parameter are enabled through Lambda.
                update.into_iter().chain(differing(true).cloned().map(Step::Enable)).collect()
            }
        }
    }
}

/// Executes a change, and returns the state afterwards. `report` receives each step before it is executed. A repeated
/// call executes the remaining steps. In addition to the permissions of [`PauseState::read`] it needs
/// `lambda:UpdateEventSourceMapping`, `cloudformation:UpdateStack` and, if the stack has no role of its own, the
/// permissions to change the mappings and the schedule.
///
/// # Errors
/// A step failed. The steps before it have taken effect.
pub async fn change(
    clients: &Clients,
    stack: &str,
    change: PauseChange,
    report: impl Fn(&Step),
) -> Result<PauseState, PauseError> {
    stack_parameter::check_ready(&clients.cloudformation, stack).await?;
    let before = PauseState::read(clients, stack).await?;
    for step in before.steps(change) {
        report(&step);
        match &step {
            Step::Disable(mapping) => mapping.set_enabled(&clients.lambda, false).await?,
            Step::Enable(mapping) => {
                // The stack update may have enabled it.
                let mapping = Mapping::wait_until_final(clients, mapping).await?;
                if !mapping.state.is_enabled() {
                    mapping.set_enabled(&clients.lambda, true).await?;
                }
            }
            Step::UpdateStack { paused_since } => {
                // Lambda refuses a change of a mapping while an earlier change takes effect.
                for mapping in &before.mappings {
                    Mapping::wait_until_final(clients, mapping).await?;
                }
                stack_parameter::set(clients, &before.stack, PARAMETER, paused_since).await?;
            }
        }
    }
    for mapping in &before.mappings {
        Mapping::wait_until_final(clients, mapping).await?;
    }
    PauseState::read(clients, stack).await
}

fn as_text<S: serde::Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.to_string()).serialize(serializer)
}

fn ingestion(paused: bool, mappings: &[Mapping]) -> Ingestion {
    let enabled = mappings.iter().filter(|mapping| mapping.state.is_enabled()).count();
    match (paused, enabled) {
        (true, 0) => Ingestion::Paused,
        (false, enabled) if enabled == mappings.len() => Ingestion::Running,
        _ => Ingestion::Inconsistent,
    }
}

/// Returns the time at which SQS starts to delete messages. A notification that arrives after the pause is kept for the
/// retention of its queue. A message in the deferred queue can have been there for `max_deferred_days` and a day.
fn resume_before(
    since: Timestamp,
    retention: &BTreeMap<&'static str, i64>,
    waiting: &BTreeMap<&'static str, u64>,
    max_deferred_days: i64,
) -> Timestamp {
    let kept_for = retention.iter().filter_map(|(name, seconds)| match *name {
        "deferred" if waiting.get(name) == Some(&0) => None,
        "deferred" => Some(seconds - (max_deferred_days + 1) * 86_400),
        _ => Some(*seconds),
    });
    since.saturating_add(SignedDuration::from_secs(kept_for.min().unwrap_or_default().max(0))).unwrap_or(Timestamp::MAX)
}

/// Returns the number of messages of a queue in any state, and its retention in seconds.
async fn queue(sqs: &aws_sdk_sqs::Client, url: &str) -> Result<(u64, i64), PauseError> {
    let names = [
        QueueAttributeName::ApproximateNumberOfMessages,
        QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        QueueAttributeName::MessageRetentionPeriod,
    ];
    let request = sqs.get_queue_attributes().queue_url(url).set_attribute_names(Some(names.to_vec()));
    let answer = request.send().await.map_err(|error| PauseError::Request {
        action: "sqs:GetQueueAttributes",
        resource: format!("the queue {url}"),
        failure: Box::new(failure(&error)),
    })?;
    let number = |name: &QueueAttributeName| -> i64 {
        answer.attributes().and_then(|all| all.get(name)?.parse().ok()).unwrap_or_default()
    };
    let messages: i64 = names[..3].iter().map(number).sum();
    Ok((messages.max(0).cast_unsigned(), number(&names[3])))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SINCE: &str = "2026-11-27T12:00:00Z";

    fn mapping(state: MappingState) -> Mapping {
        Mapping { name: "IngestFunctionQueue".into(), id: "1".into(), state }
    }

    fn state(paused: bool, mappings: [MappingState; 2]) -> PauseState {
        let mappings: Vec<_> = mappings.into_iter().map(mapping).collect();
        PauseState {
            stack: "trailhose".into(),
            ingestion: ingestion(paused, &mappings),
            paused_since: paused.then(|| SINCE.parse().unwrap()),
            resume_before: None,
            mappings,
            schedule_enabled: !paused,
            waiting: BTreeMap::new(),
        }
    }

    #[test]
    fn every_state_has_the_steps_that_lead_to_the_requested_one() {
        use MappingState::{Disabled, Enabled};
        let names = |steps: Vec<Step>| {
            steps
                .iter()
                .map(|step| match step {
                    Step::Disable(_) => "disable".to_owned(),
                    Step::Enable(_) => "enable".to_owned(),
                    Step::UpdateStack { paused_since } => format!("update={paused_since}"),
                })
                .collect::<Vec<_>>()
                .join(" ")
        };
        let pause = PauseChange::Pause(SINCE.parse().unwrap());
        for (paused, mappings, ingestion, to_pause, to_resume) in [
            (false, [Enabled, Enabled], Ingestion::Running, "disable disable update=2026-11-27T12:00:00Z", ""),
            (true, [Disabled, Disabled], Ingestion::Paused, "", "update= enable enable"),
            // A pause that was interrupted between its steps.
            (false, [Disabled, Enabled], Ingestion::Inconsistent, "disable update=2026-11-27T12:00:00Z", "enable"),
            (false, [Disabled, Disabled], Ingestion::Inconsistent, "update=2026-11-27T12:00:00Z", "enable enable"),
            // A person enabled a mapping in the console.
            (true, [Enabled, Disabled], Ingestion::Inconsistent, "disable", "update= enable"),
        ] {
            let state = state(paused, mappings);
            assert_eq!(state.ingestion, ingestion, "{state:?}");
            assert_eq!(names(state.steps(pause)), to_pause, "{state:?}");
            assert_eq!(names(state.steps(PauseChange::Resume)), to_resume, "{state:?}");
        }
    }

    #[test]
    fn shortest_retention_decides_when_to_resume() {
        let days = |days: i64| days * 86_400;
        let retention =
            [("ingest", days(8)), ("deferred", days(10)), ("backfill_ingest", days(8)), ("backfill", days(10))].into();
        let since: Timestamp = SINCE.parse().unwrap();
        let before = |deferred, max_deferred_days| {
            resume_before(since, &retention, &[("deferred", deferred)].into(), max_deferred_days).to_string()
        };
        assert_eq!(before(0, 4), "2026-12-05T12:00:00Z", "eight days of the ingest queue");
        assert_eq!(before(1, 4), "2026-12-02T12:00:00Z", "a deferred message can be five days old");
        assert_eq!(before(1, 7), "2026-11-29T12:00:00Z");
        assert_eq!(before(1, 12), SINCE, "never before the pause");
    }
}
