//! Checks of the queues: their policies, redrive policies and encryption, and the messages that wait or failed.

use super::catalog::{DELIVERY_DEAD_LETTERS, DELIVERY_DEFERRED, QUEUE_ENCRYPTION, QUEUE_POLICY, QUEUE_REDRIVE};
use super::deployment::{Deployment, Wiring};
use super::facts::{Fact, all};
use super::finding::{Finding, Verdict};
use super::policy::{PolicyDecision, PolicyRequest, evaluate_policy};
use super::text::{counted, short};
use async_trait::async_trait;
use futures_util::future::join_all;
use std::collections::BTreeMap;

/// The maximum number of reasons in a finding.
const MAX_REASONS: usize = 3;

/// A queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueFacts {
    /// Policy document.
    pub policy: Option<String>,
    /// ARN of the dead-letter queue of the redrive policy.
    pub dead_letter_arn: Option<String>,
    /// Whether messages are encrypted, by SQS or with a KMS key.
    pub encrypted: bool,
    /// Visible messages.
    pub visible: u64,
    /// Messages that are delayed or being processed.
    pub hidden: u64,
}

/// Reads queues.
#[async_trait]
pub trait QueueReader: Send + Sync {
    /// Returns the attributes of a queue by its URL.
    async fn queue(&self, url: &str) -> Fact<QueueFacts>;

    /// Returns why the first messages of a dead-letter queue are there. The messages stay visible and are not deleted;
    /// their receive count increases.
    async fn dead_letter_reasons(&self, url: &str) -> Fact<Vec<String>>;
}

/// What is known of the queues.
#[derive(Debug)]
pub(super) struct AllQueueFacts<'d> {
    with_consumers: Vec<(&'static str, &'d str, Fact<QueueFacts>)>,
    dead_letter: Vec<DeadLetterFacts>,
}

/// What is known of a dead-letter queue.
#[derive(Debug)]
struct DeadLetterFacts {
    name: &'static str,
    facts: Fact<QueueFacts>,
    /// The reasons of the first messages, if they were read.
    reasons: Option<Fact<Vec<String>>>,
}

impl DeadLetterFacts {
    fn named(&self) -> Fact<(&'static str, QueueFacts)> {
        self.facts.clone().map(|facts| (self.name, facts))
    }
}

impl<'d> AllQueueFacts<'d> {
    pub(super) async fn gather(queues: &dyn QueueReader, deployment: &'d Deployment, peek: bool) -> Self {
        let with_consumers = join_all(
            deployment
                .queues
                .with_consumers()
                .into_iter()
                .map(|(name, url)| async move { (name, url, queues.queue(url).await) }),
        );
        let dead_letter = join_all(deployment.queues.dead_letter().into_iter().map(|(name, url)| async move {
            let facts = queues.queue(url).await;
            // A queue with a redrive policy of its own could move a message that is received again.
            let readable = facts.as_ref().is_ok_and(|facts| facts.visible > 0 && facts.dead_letter_arn.is_none());
            let reasons = if peek && readable { Some(queues.dead_letter_reasons(url).await) } else { None };
            DeadLetterFacts { name, facts, reasons }
        }));
        let (with_consumers, dead_letter) = tokio::join!(with_consumers, dead_letter);
        Self { with_consumers, dead_letter }
    }

    pub(super) fn findings(&self, deployment: &Deployment) -> Vec<Finding> {
        let with_consumers =
            all(self.with_consumers.iter().map(|(name, _, facts)| facts.clone().map(|facts| (*name, facts))).collect());
        let dead = all(self.dead_letter.iter().map(DeadLetterFacts::named).collect());
        let both = with_consumers.clone().and_then(|queues| Ok([queues, dead.clone()?].concat()));
        let unknown = self.with_consumers.is_empty();
        let of = |check: &super::catalog::Check,
                  fact: &Fact<Vec<(&'static str, QueueFacts)>>,
                  evaluate: fn(&[(&str, QueueFacts)]) -> Verdict| {
            match unknown {
                true => check.finding(Verdict::not_applicable("no queue is known")),
                false => check.finding_of(fact, |queues| evaluate(queues)),
            }
        };
        vec![
            self.policy(deployment),
            of(&QUEUE_REDRIVE, &with_consumers, redrive),
            of(&QUEUE_ENCRYPTION, &both, encryption),
        ]
    }

    /// Returns the findings about the messages of the queues.
    pub(super) fn message_findings(&self, deployment: &Deployment) -> Vec<Finding> {
        vec![self.dead_letters(deployment), self.deferred()]
    }

    fn policy(&self, deployment: &Deployment) -> Finding {
        let Some((_, url, facts)) = self.with_consumers.iter().find(|(name, ..)| *name == "ingest queue") else {
            return QUEUE_POLICY.finding(Verdict::not_applicable("the ingest queue is not known"));
        };
        QUEUE_POLICY.finding_of(facts, |facts| sender(facts, url, deployment))
    }

    fn dead_letters(&self, deployment: &Deployment) -> Finding {
        let counts = all(self.dead_letter.iter().map(DeadLetterFacts::named).collect());
        if self.dead_letter.is_empty() {
            return DELIVERY_DEAD_LETTERS.finding(Verdict::not_applicable("no dead-letter queue is known"));
        }
        DELIVERY_DEAD_LETTERS.finding_of(&counts, |counts| {
            let total: u64 = counts.iter().map(|(_, facts)| facts.visible + facts.hidden).sum();
            if total == 0 {
                return Verdict::ok("none");
            }
            let parts: Vec<_> = counts
                .iter()
                .filter(|(_, facts)| facts.visible + facts.hidden > 0)
                .map(|(name, facts)| format!("{} in the {name}", counted(facts.visible + facts.hidden, "message")))
                .collect();
            let found = format!("{}{}", parts.join(", "), self.reasons());
            let first = deployment.queues.dead_letter().into_iter().zip(counts);
            let url = first
                .into_iter()
                .find(|(_, (_, facts))| facts.visible + facts.hidden > 0)
                .map_or("", |((_, url), _)| url);
            Verdict::failed(found, format!("correct the cause, then: trailhose redrive {url}"))
        })
    }

    /// Returns the first reasons in words, or why they are not known.
    fn reasons(&self) -> String {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        let mut unknown = None;
        for reasons in self.dead_letter.iter().filter_map(|queue| queue.reasons.as_ref()) {
            match reasons {
                Ok(reasons) => reasons.iter().for_each(|reason| *counts.entry(short(reason, 160)).or_default() += 1),
                Err(super::facts::FactError::Denied { action, .. }) => unknown = Some(format!("{action} is denied")),
                Err(_) => unknown = Some("the messages could not be read".to_owned()),
            }
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(reason, count)| (usize::MAX - count, reason.clone()));
        let shown: Vec<_> =
            counts.iter().take(MAX_REASONS).map(|(reason, count)| format!("{count}× {reason}")).collect();
        match (shown.is_empty(), unknown) {
            (false, _) => format!("; first reasons: {}", shown.join("; ")),
            (true, Some(why)) => format!("; reasons not known: {why}"),
            (true, None) => String::new(),
        }
    }

    fn deferred(&self) -> Finding {
        let Some((_, _, facts)) = self.with_consumers.iter().find(|(name, ..)| *name == "deferred queue") else {
            return DELIVERY_DEFERRED.finding(Verdict::not_applicable("the deferred queue is not known"));
        };
        DELIVERY_DEFERRED.finding_of(facts, |facts| match facts.visible + facts.hidden {
            0 => Verdict::ok("none"),
            waiting => Verdict::warning(
                format!("{} waiting", counted(waiting, "message")),
                "find the error in the log of the ingest function; role.ingest shows denied permissions",
            ),
        })
    }
}

fn sender(facts: &QueueFacts, url: &str, deployment: &Deployment) -> Verdict {
    let queue = deployment.queue_arn(url);
    let bucket = deployment.bucket.as_deref().map(|bucket| deployment.bucket_arn(bucket));
    let rule = deployment.rule.as_deref().map(|rule| deployment.arn("events", &format!("rule/{rule}")));
    let (principal, source) = match deployment.wiring {
        Wiring::S3 => ("s3.amazonaws.com", bucket),
        Wiring::Sns => ("sns.amazonaws.com", deployment.topic.clone()),
        Wiring::EventBridge => ("events.amazonaws.com", rule),
    };
    let request = PolicyRequest { principal, action: "sqs:SendMessage", resource: &queue, source: source.as_deref() };
    let name = source.as_deref().unwrap_or(principal);
    let next_step = "deploy the stack again, which restores the policy of the queue";
    let Some(policy) = &facts.policy else {
        return Verdict::failed("the ingest queue has no policy", next_step);
    };
    match evaluate_policy(policy, &request) {
        Err(error) => Verdict::failed(error, next_step),
        Ok(PolicyDecision::Allowed { .. }) => Verdict::ok(format!("{name} may send")),
        Ok(PolicyDecision::Denied { statement }) => {
            Verdict::failed(format!("{statement} denies sqs:SendMessage to {principal}"), next_step)
        }
        Ok(PolicyDecision::OtherSource { sources }) => {
            Verdict::failed(format!("only {} may send, not {name}", sources.join(", ")), next_step)
        }
        Ok(PolicyDecision::NotMentioned) => Verdict::failed(format!("{name} may not send"), next_step),
    }
}

fn redrive(queues: &[(&str, QueueFacts)]) -> Verdict {
    let without: Vec<_> =
        queues.iter().filter(|(_, facts)| facts.dead_letter_arn.is_none()).map(|(name, _)| *name).collect();
    match without.is_empty() {
        true => Verdict::ok(format!("{} with a dead-letter queue", counted(queues.len() as u64, "queue"))),
        false => Verdict::failed(
            format!("without a redrive policy: {}", without.join(", ")),
            "deploy the stack again, which restores the redrive policies",
        ),
    }
}

fn encryption(queues: &[(&str, QueueFacts)]) -> Verdict {
    let without: Vec<_> = queues.iter().filter(|(_, facts)| !facts.encrypted).map(|(name, _)| *name).collect();
    match without.is_empty() {
        true => Verdict::ok("all queues are encrypted"),
        false => Verdict::warning(
            format!("not encrypted: {}", without.join(", ")),
            "deploy the stack again, which restores the encryption",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::deployment::Queues;
    use crate::doctor::facts::FactError;
    use crate::doctor::finding::CheckStatus;
    use serde_json::json;

    fn deployment() -> Deployment {
        let url = |name: &str| Some(format!("https://sqs.eu-west-1.amazonaws.com/111122223333/{name}"));
        Deployment {
            region: "eu-west-1".into(),
            account: "111122223333".into(),
            partition: "aws".into(),
            bucket: Some("logs".into()),
            queues: Queues { ingest: url("i"), deferred: url("d"), dead_letter: url("x"), ..Queues::default() },
            ..Deployment::default()
        }
    }

    fn queue() -> QueueFacts {
        let policy = json!({ "Statement": [{
            "Effect": "Allow", "Principal": { "Service": "s3.amazonaws.com" }, "Action": "sqs:SendMessage",
            "Resource": "arn:aws:sqs:eu-west-1:111122223333:i",
            "Condition": { "ArnEquals": { "aws:SourceArn": "arn:aws:s3:::logs" } }
        }] });
        QueueFacts {
            policy: Some(policy.to_string()),
            dead_letter_arn: Some("arn:x".into()),
            encrypted: true,
            ..QueueFacts::default()
        }
    }

    /// Queues with these facts, by the last part of their URL.
    struct FixedQueues(fn(&str) -> Fact<QueueFacts>, Fact<Vec<String>>);

    #[async_trait]
    impl QueueReader for FixedQueues {
        async fn queue(&self, url: &str) -> Fact<QueueFacts> {
            (self.0)(url.rsplit('/').next().unwrap())
        }

        async fn dead_letter_reasons(&self, _: &str) -> Fact<Vec<String>> {
            self.1.clone()
        }
    }

    async fn finding(queues: FixedQueues, id: &str) -> Finding {
        let deployment = deployment();
        let facts = AllQueueFacts::gather(&queues, &deployment, true).await;
        let found = [facts.findings(&deployment), facts.message_findings(&deployment)].concat();
        found.into_iter().find(|finding| finding.id == id).unwrap()
    }

    fn complete(name: &str) -> Fact<QueueFacts> {
        Ok(if name == "x" { QueueFacts { dead_letter_arn: None, ..queue() } } else { queue() })
    }

    #[tokio::test]
    async fn complete_queues_are_ok() {
        for id in ["queue.policy", "queue.redrive", "queue.encryption", "delivery.dead-letters", "delivery.deferred"] {
            let finding = finding(FixedQueues(complete, Ok(vec![])), id).await;
            assert_eq!(finding.status, CheckStatus::Ok, "{finding:?}");
        }
    }

    #[tokio::test]
    async fn missing_settings_are_named() {
        let without = FixedQueues(|_| Ok(QueueFacts::default()), Ok(vec![]));
        assert_eq!(finding(without, "queue.policy").await.found, "the ingest queue has no policy");
        let without = FixedQueues(|name| Ok(if name == "d" { QueueFacts::default() } else { queue() }), Ok(vec![]));
        assert_eq!(finding(without, "queue.redrive").await.found, "without a redrive policy: deferred queue");
        let without = FixedQueues(|name| Ok(if name == "d" { QueueFacts::default() } else { queue() }), Ok(vec![]));
        assert_eq!(finding(without, "queue.encryption").await.status, CheckStatus::Warning);
    }

    #[tokio::test]
    async fn dead_letters_are_counted_with_their_reasons() {
        let filled =
            |name: &str| Ok(QueueFacts { visible: 2, hidden: 1, dead_letter_arn: None, ..queue() }).filter_name(name);
        let reasons = ["invalid", "denied", "denied"].map(str::to_owned).to_vec();
        let finding_of = finding(FixedQueues(filled, Ok(reasons)), "delivery.dead-letters").await;
        assert_eq!(finding_of.status, CheckStatus::Failed);
        assert_eq!(finding_of.found, "3 messages in the dead-letter queue; first reasons: 2× denied; 1× invalid");
        assert!(
            finding_of
                .next_step
                .unwrap()
                .ends_with("trailhose redrive https://sqs.eu-west-1.amazonaws.com/111122223333/x")
        );
        let denied =
            FactError::Denied { action: "sqs:ReceiveMessage".into(), resource: "x".into(), advice: String::new() };
        let finding = finding(FixedQueues(filled, Err(denied)), "delivery.dead-letters").await;
        assert!(finding.found.ends_with("reasons not known: sqs:ReceiveMessage is denied"), "{finding:?}");
    }

    /// Each read counts as a receive, so SQS could move the messages to that other queue.
    #[tokio::test]
    async fn dead_letter_queue_with_a_redrive_policy_is_not_read() {
        let filled = |name: &str| Ok(QueueFacts { visible: 2, ..queue() }).filter_name(name);
        let finding = finding(FixedQueues(filled, Ok(vec!["invalid".to_owned()])), "delivery.dead-letters").await;
        assert_eq!(finding.found, "2 messages in the dead-letter queue");
    }

    trait OnlyDeadLetters {
        fn filter_name(self, name: &str) -> Self;
    }

    impl OnlyDeadLetters for Fact<QueueFacts> {
        fn filter_name(self, name: &str) -> Self {
            if name == "x" { self } else { Ok(queue()) }
        }
    }

    #[tokio::test]
    async fn queue_that_does_not_exist_is_a_failure() {
        let absent = FixedQueues(
            |name| {
                Err(FactError::Absent {
                    action: "sqs:GetQueueAttributes".into(),
                    resource: name.into(),
                    message: "no".into(),
                })
            },
            Ok(vec![]),
        );
        let finding = finding(absent, "queue.redrive").await;
        assert_eq!(
            (finding.status, finding.found.as_str()),
            (CheckStatus::Failed, "i does not exist (sqs:GetQueueAttributes: no)")
        );
    }

    #[test]
    fn sender_depends_on_the_wiring() {
        let of = |wiring| {
            let deployment = Deployment { wiring, topic: Some("arn:t".into()), rule: Some("r".into()), ..deployment() };
            QUEUE_POLICY.finding(sender(&queue(), "https://x/i", &deployment)).found
        };
        assert_eq!(of(Wiring::S3), "arn:aws:s3:::logs may send");
        assert_eq!(of(Wiring::Sns), "arn:t may not send");
        assert_eq!(of(Wiring::EventBridge), "arn:aws:events:eu-west-1:111122223333:rule/r may not send");
        let other = Deployment { bucket: Some("other".into()), ..deployment() };
        let found = QUEUE_POLICY.finding(sender(&queue(), "https://x/i", &other)).found;
        assert_eq!(found, "only arn:aws:s3:::logs may send, not arn:aws:s3:::other");
    }
}
