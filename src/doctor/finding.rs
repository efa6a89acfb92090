//! Findings: the result of each check, and the report of all of them. Pure.

use super::catalog::Check;
use super::facts::{Fact, FactError};
use serde::Serialize;

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckStatus {
    /// No problem was found.
    Ok,
    /// Works, but should be changed or watched.
    Warning,
    /// Does not work, or events are not delivered.
    Failed,
    /// The credentials lack a permission, so nothing is known.
    NotPermitted,
    /// The check does not apply to this deployment.
    NotApplicable,
}

impl CheckStatus {
    /// Returns the status in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::NotPermitted => "not permitted",
            Self::NotApplicable => "not applicable",
        }
    }
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable ID of the check, such as `trail.logging`.
    pub id: &'static str,
    /// What the check examines.
    pub title: &'static str,
    /// The result.
    pub status: CheckStatus,
    /// The facts on which the status is based.
    pub found: String,
    /// What a warning or a failure means.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meaning: Option<&'static str>,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_step: Option<String>,
    /// The permission that is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permission: Option<MissingPermission>,
}

/// A permission that the credentials lack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MissingPermission {
    /// Action, such as `cloudtrail:GetTrailStatus`.
    pub action: String,
    /// ARN or name of the resource.
    pub resource: String,
}

/// The status of a check, with the facts and the next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    status: CheckStatus,
    found: String,
    next_step: Option<String>,
}

impl Verdict {
    pub(crate) fn ok(found: impl Into<String>) -> Self {
        Self { status: CheckStatus::Ok, found: found.into(), next_step: None }
    }

    pub(crate) fn not_applicable(found: impl Into<String>) -> Self {
        Self { status: CheckStatus::NotApplicable, found: found.into(), next_step: None }
    }

    pub(crate) fn warning(found: impl Into<String>, next_step: impl Into<String>) -> Self {
        Self { status: CheckStatus::Warning, found: found.into(), next_step: Some(next_step.into()) }
    }

    pub(crate) fn failed(found: impl Into<String>, next_step: impl Into<String>) -> Self {
        Self { status: CheckStatus::Failed, found: found.into(), next_step: Some(next_step.into()) }
    }
}

impl Check {
    /// Returns the finding of a verdict.
    pub(crate) fn finding(&self, verdict: Verdict) -> Finding {
        let Verdict { status, found, next_step } = verdict;
        let meaning = matches!(status, CheckStatus::Warning | CheckStatus::Failed).then_some(self.meaning);
        Finding { id: self.id, title: self.title, status, found, meaning, next_step, permission: None }
    }

    /// Returns the finding of a verdict about a fact, or the finding that the fact is not known.
    pub(crate) fn finding_of<T>(&self, fact: &Fact<T>, evaluate: impl FnOnce(&T) -> Verdict) -> Finding {
        match fact {
            Ok(fact) => self.finding(evaluate(fact)),
            Err(error) => self.unknown(error),
        }
    }

    /// Returns the finding of a fact that is not known.
    pub(crate) fn unknown(&self, error: &FactError) -> Finding {
        match error {
            FactError::Denied { action, resource, advice } => Finding {
                status: CheckStatus::NotPermitted,
                permission: Some(MissingPermission { action: action.clone(), resource: resource.clone() }),
                ..self.finding(Verdict::warning(format!("{action} on {resource} is denied"), advice.clone()))
            }
            .without_meaning(),
            FactError::Absent { action, resource, message } => self.finding(Verdict::failed(
                format!("{resource} does not exist ({action}: {message})"),
                "check that the stack is completely deployed, and that region and account are those of the stack",
            )),
            FactError::Unanswered { action, resource, message } => self
                .finding(Verdict::failed(
                    format!("not examined: {action} on {resource} failed: {message}"),
                    "check the network and the endpoint, and run trailhose doctor again; --timeout sets the time limit of a call",
                ))
                .without_meaning(),
        }
    }
}

impl Finding {
    fn without_meaning(self) -> Self {
        Self { meaning: None, ..self }
    }

    /// Returns the group of the check: the part of its ID before the dot.
    pub fn group(&self) -> &'static str {
        self.id.split_once('.').map_or(self.id, |(group, _)| group)
    }
}

/// Number of findings by status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct StatusCounts {
    /// Checks without a problem.
    pub ok: u64,
    /// Checks with a warning.
    pub warning: u64,
    /// Failed checks.
    pub failed: u64,
    /// Checks without permission.
    pub not_permitted: u64,
    /// Checks that do not apply.
    pub not_applicable: u64,
}

impl StatusCounts {
    /// Counts findings.
    pub fn of(findings: &[Finding]) -> Self {
        let count = |status| findings.iter().filter(|finding| finding.status == status).count() as u64;
        Self {
            ok: count(CheckStatus::Ok),
            warning: count(CheckStatus::Warning),
            failed: count(CheckStatus::Failed),
            not_permitted: count(CheckStatus::NotPermitted),
            not_applicable: count(CheckStatus::NotApplicable),
        }
    }
}
