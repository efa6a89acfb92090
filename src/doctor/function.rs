//! Checks of the functions and their event source mappings.

use super::catalog::{FUNCTION_CONCURRENCY, FUNCTION_ERRORS, FUNCTION_MAPPINGS, FUNCTION_STATE};
use super::deployment::Deployment;
use super::facts::{Fact, all};
use super::finding::{Finding, Verdict};
use super::metrics::{MetricName, Metrics};
use async_trait::async_trait;
use futures_util::future::join_all;

/// A function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionFacts {
    /// State, such as `Active`.
    pub state: String,
    /// Status of the last update, such as `Successful`.
    pub last_update: String,
    /// Reason of the state or of the last update.
    pub reason: Option<String>,
}

/// An event source mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingFacts {
    /// UUID.
    pub id: String,
    /// ARN of the queue.
    pub source: String,
    /// State, such as `Enabled`.
    pub state: String,
}

/// Reads functions.
#[async_trait]
pub trait FunctionReader: Send + Sync {
    /// Returns a function by its name.
    async fn function(&self, name: &str) -> Fact<FunctionFacts>;
    /// Returns the event source mappings of a function.
    async fn mappings(&self, name: &str) -> Fact<Vec<MappingFacts>>;
    /// Returns the reserved concurrency of a function, if it has one.
    async fn reserved_concurrency(&self, name: &str) -> Fact<Option<u64>>;
    /// Returns the quota of concurrent executions of the account.
    async fn concurrency_quota(&self) -> Fact<u64>;
}

/// What is known of the functions.
#[derive(Debug)]
pub(super) struct AllFunctionFacts {
    functions: Vec<(String, Fact<FunctionFacts>)>,
    mappings: Vec<(String, Fact<Vec<MappingFacts>>)>,
    reserved: Vec<(String, Fact<Option<u64>>)>,
    pub(super) quota: Fact<u64>,
}

impl AllFunctionFacts {
    pub(super) async fn gather(functions: &dyn FunctionReader, deployment: &Deployment) -> Self {
        let names: Vec<&str> =
            [&deployment.ingest_function, &deployment.backfill_function, &deployment.detect_function]
                .into_iter()
                .flatten()
                .map(String::as_str)
                .collect();
        let states = join_all(names.iter().map(|name| functions.function(name)));
        let mappings = join_all(names.iter().map(|name| functions.mappings(name)));
        let reserved = join_all(names.iter().map(|name| functions.reserved_concurrency(name)));
        let (states, mappings, reserved, quota) =
            tokio::join!(states, mappings, reserved, functions.concurrency_quota());
        let named = || names.iter().map(|name| (*name).to_owned());
        Self {
            functions: named().zip(states).collect(),
            mappings: named().zip(mappings).collect(),
            reserved: named().zip(reserved).collect(),
            quota,
        }
    }

    /// Returns the reserved concurrency of the ingest function.
    pub(super) fn ingest_reserved(&self, deployment: &Deployment) -> Option<u64> {
        let ingest = deployment.ingest_function.as_ref()?;
        let (_, reserved) = self.reserved.iter().find(|(name, _)| name == ingest)?;
        reserved.clone().ok().flatten()
    }

    pub(super) fn findings(&self, deployment: &Deployment, metrics: &Fact<Metrics>) -> Vec<Finding> {
        if self.functions.is_empty() {
            let checks = [&FUNCTION_STATE, &FUNCTION_MAPPINGS, &FUNCTION_CONCURRENCY, &FUNCTION_ERRORS];
            return checks.map(|check| check.finding(Verdict::not_applicable("no function is known"))).to_vec();
        }
        vec![
            FUNCTION_STATE.finding_of(&named(&self.functions), |functions| state(functions)),
            FUNCTION_MAPPINGS.finding_of(&named(&self.mappings), |mappings| mappings_enabled(mappings, deployment)),
            FUNCTION_CONCURRENCY.finding_of(&named(&self.reserved), |reserved| concurrency(reserved, deployment)),
            FUNCTION_ERRORS.finding_of(metrics, errors),
        ]
    }
}

fn named<T: Clone>(facts: &[(String, Fact<T>)]) -> Fact<Vec<(String, T)>> {
    all(facts.iter().map(|(name, fact)| fact.clone().map(|fact| (name.clone(), fact))).collect())
}

fn state(functions: &[(String, FunctionFacts)]) -> Verdict {
    for (name, facts) in functions {
        // Lambda sets an idle function with a VPC to Inactive. The next invocation activates it.
        let runs = matches!(facts.state.as_str(), "Active" | "Inactive");
        if !runs || facts.last_update == "Failed" {
            let reason = facts.reason.as_deref().unwrap_or("no reason given");
            return Verdict::failed(
                format!("{name} is {}, its last update {}: {reason}", facts.state, facts.last_update),
                "fix the cause and deploy the stack again",
            );
        }
    }
    Verdict::ok(format!("{} active", functions.len()))
}

fn mappings_enabled(functions: &[(String, Vec<MappingFacts>)], deployment: &Deployment) -> Verdict {
    let mappings: Vec<&MappingFacts> = functions.iter().flat_map(|(_, mappings)| mappings).collect();
    if let Some(off) = mappings
        .iter()
        .find(|mapping| !matches!(mapping.state.as_str(), "Enabled" | "Enabling" | "Updating" | "Creating"))
    {
        if let (Some(since), Some(stack)) = (&deployment.paused_since, &deployment.stack) {
            return Verdict::failed(
                format!("ingestion has been paused since {since}, and messages wait in the queues"),
                format!("trailhose resume --stack {}", stack.name),
            );
        }
        let queue = off.source.rsplit(':').next().unwrap_or(&off.source);
        return Verdict::failed(
            format!("the event source mapping of {queue} is {}", off.state),
            format!("aws lambda update-event-source-mapping --uuid {} --enabled", off.id),
        );
    }
    for (name, url) in deployment.queues.with_consumers() {
        let arn = deployment.queue_arn(url);
        if !mappings.iter().any(|mapping| mapping.source == arn) {
            return Verdict::failed(
                format!("no function receives from the {name}, {arn}"),
                "deploy the stack again, which creates the event source mapping",
            );
        }
    }
    Verdict::ok(format!("{} enabled", mappings.len()))
}

fn concurrency(functions: &[(String, Option<u64>)], deployment: &Deployment) -> Verdict {
    for (name, reserved) in functions {
        match (*reserved, deployment.ingest_concurrency) {
            (Some(0), _) => {
                return Verdict::failed(
                    format!("{name} may not run: its reserved concurrency is 0"),
                    format!("aws lambda delete-function-concurrency --function-name {name}"),
                );
            }
            (Some(reserved), Some(needed))
                if deployment.ingest_function.as_ref() == Some(name) && reserved < needed =>
            {
                return Verdict::warning(
                    format!("{name} reserves {reserved} concurrent executions, but its queues start up to {needed}"),
                    format!(
                        "reserve at least {needed}, or lower MaximumConcurrency, DeferredConcurrency and BackfillIngestConcurrency"
                    ),
                );
            }
            _ => {}
        }
    }
    match functions.iter().find_map(|(name, reserved)| Some((name, (*reserved)?))) {
        Some((name, reserved)) => Verdict::ok(format!("{name} reserves {reserved}")),
        None => Verdict::ok("none is reserved; the functions share the quota of the account"),
    }
}

fn errors(metrics: &Metrics) -> Verdict {
    let sum = |name| metrics.sum(name).unwrap_or(0.0) as u64;
    let ingest = (sum(MetricName::IngestErrors), sum(MetricName::IngestThrottles));
    let backfill = (sum(MetricName::BackfillErrors), sum(MetricName::BackfillThrottles));
    if ingest == (0, 0) && backfill == (0, 0) {
        return Verdict::ok("none");
    }
    let text = |name: &str, (errors, throttles): (u64, u64)| format!("{name}: {errors} errors, {throttles} throttles");
    Verdict::warning(
        format!("{}; {}", text("ingest function", ingest), text("backfill function", backfill)),
        "read the log of the function; for throttles, see quota.lambda-concurrency",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::deployment::Queues;
    use crate::doctor::finding::CheckStatus;

    fn deployment() -> Deployment {
        Deployment {
            region: "eu-west-1".into(),
            account: "111122223333".into(),
            partition: "aws".into(),
            ingest_function: Some("ingest".into()),
            ingest_concurrency: Some(44),
            queues: Queues { ingest: Some("https://x/i".into()), ..Queues::default() },
            ..Deployment::default()
        }
    }

    fn facts(state: &str, mapping: Option<&str>, reserved: Option<u64>) -> AllFunctionFacts {
        let mapping = mapping.map(|state| MappingFacts {
            id: "1-2".into(),
            source: "arn:aws:sqs:eu-west-1:111122223333:i".into(),
            state: state.into(),
        });
        let function = FunctionFacts { state: state.into(), last_update: "Successful".into(), reason: None };
        AllFunctionFacts {
            functions: vec![("ingest".into(), Ok(function))],
            mappings: vec![("ingest".into(), Ok(mapping.into_iter().collect()))],
            reserved: vec![("ingest".into(), Ok(reserved))],
            quota: Ok(1_000),
        }
    }

    fn status(facts: &AllFunctionFacts, id: &str) -> CheckStatus {
        let found = facts.findings(&deployment(), &Ok(Metrics::default()));
        found.into_iter().find(|finding| finding.id == id).unwrap().status
    }

    #[test]
    fn functions_must_run_and_receive() {
        use CheckStatus::{Failed, Ok};
        let sound = facts("Active", Some("Enabled"), None);
        for id in ["function.state", "function.mappings", "function.concurrency", "function.errors"] {
            assert_eq!(status(&sound, id), Ok, "{id}");
        }
        assert_eq!(status(&facts("Failed", Some("Enabled"), None), "function.state"), Failed);
        assert_eq!(status(&facts("Active", Some("Disabled"), None), "function.mappings"), Failed);
        assert_eq!(status(&facts("Active", None, None), "function.mappings"), Failed);
    }

    #[test]
    fn reserved_concurrency_must_cover_the_queues() {
        let of = |reserved| status(&facts("Active", Some("Enabled"), Some(reserved)), "function.concurrency");
        assert_eq!((of(0), of(43), of(44)), (CheckStatus::Failed, CheckStatus::Warning, CheckStatus::Ok));
    }

    #[test]
    fn errors_are_a_warning() {
        let metrics = Metrics::from([(MetricName::IngestThrottles, vec![1.0, 2.0])]);
        let found = facts("Active", Some("Enabled"), None).findings(&deployment(), &Ok(metrics));
        assert!(
            found[3].status == CheckStatus::Warning && found[3].found.contains("0 errors, 3 throttles"),
            "{found:?}"
        );
    }
}
