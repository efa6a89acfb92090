//! Checks of the notifications from the bucket to the ingest queue.

use super::bucket::BucketReader;
use super::catalog::{BUCKET_NOTIFICATION, BUCKET_OVERLAP};
use super::deployment::{Deployment, Wiring};
use super::facts::Fact;
use super::finding::{Finding, Verdict};
use super::trail::TrailFacts;
use async_trait::async_trait;

/// Where a bucket sends notifications of new objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectNotifications {
    /// Rules for queues, topics and functions whose events include created objects.
    pub rules: Vec<ObjectNotificationRule>,
    /// Whether all events are sent to EventBridge.
    pub event_bridge: bool,
}

/// One notification rule of a bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectNotificationRule {
    /// ID of the rule.
    pub id: String,
    /// ARN of a queue, topic or function.
    pub target: String,
    /// Only keys with this prefix.
    pub prefix: String,
    /// Only keys with this suffix.
    pub suffix: String,
    /// Whether the events include `s3:ObjectCreated:Put`, with which CloudTrail writes, or all `s3:ObjectCreated:*`.
    pub covers_put: bool,
}

/// A rule of EventBridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRule {
    /// Whether it is enabled.
    pub enabled: bool,
    /// ARNs of its targets.
    pub targets: Vec<String>,
}

/// A subscription of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSubscription {
    /// Protocol, such as `email` or `sqs`.
    pub protocol: String,
    /// Address or ARN.
    pub endpoint: String,
    /// Whether the receiver has not confirmed it yet.
    pub pending: bool,
}

/// Reads topics.
#[async_trait]
pub trait TopicReader: Send + Sync {
    /// Returns the subscriptions of a topic.
    async fn subscriptions(&self, topic: &str) -> Fact<Vec<TopicSubscription>>;
}

/// Reads rules of EventBridge.
#[async_trait]
pub trait RuleReader: Send + Sync {
    /// Returns a rule of the default event bus.
    async fn rule(&self, name: &str) -> Fact<EventRule>;
}

/// What is known of the notifications, from the bucket to the ingest queue.
#[derive(Debug)]
pub(super) struct NotificationFacts {
    bucket: Fact<ObjectNotifications>,
    subscriptions: Option<Fact<Vec<TopicSubscription>>>,
    rule: Option<Fact<EventRule>>,
}

impl NotificationFacts {
    pub(super) async fn gather(
        buckets: &dyn BucketReader,
        topics: &dyn TopicReader,
        rules: &dyn RuleReader,
        bucket: &str,
        deployment: &Deployment,
    ) -> Self {
        let subscriptions = async {
            match (deployment.wiring, &deployment.topic) {
                (Wiring::Sns, Some(topic)) => Some(topics.subscriptions(topic).await),
                _ => None,
            }
        };
        let rule = async {
            match (deployment.wiring, &deployment.rule) {
                (Wiring::EventBridge, Some(rule)) => Some(rules.rule(rule).await),
                _ => None,
            }
        };
        let (bucket, subscriptions, rule) = tokio::join!(buckets.notifications(bucket), subscriptions, rule);
        Self { bucket, subscriptions, rule }
    }

    pub(super) fn findings(
        &self,
        bucket: &str,
        deployment: &Deployment,
        trails: &Fact<Vec<TrailFacts>>,
        trail_topics: &[String],
    ) -> Vec<Finding> {
        let Some(queue) = deployment.queues.ingest.as_deref().map(|url| deployment.queue_arn(url)) else {
            let verdict = Verdict::not_applicable("the ingest queue is not known");
            return vec![BUCKET_NOTIFICATION.finding(verdict.clone()), BUCKET_OVERLAP.finding(verdict)];
        };
        let notification = match deployment.wiring {
            Wiring::S3 => BUCKET_NOTIFICATION
                .finding_of(&self.bucket, |found| s3_notifications(found, bucket, &queue, deployment, trails)),
            Wiring::Sns => match self.topic(&queue, bucket, deployment, trail_topics) {
                Ok(verdict) => BUCKET_NOTIFICATION.finding(verdict),
                Err(error) => BUCKET_NOTIFICATION.unknown(&error),
            },
            Wiring::EventBridge => match self.event_bridge(&queue, bucket, deployment) {
                Ok(verdict) => BUCKET_NOTIFICATION.finding(verdict),
                Err(error) => BUCKET_NOTIFICATION.unknown(&error),
            },
        };
        let overlap = BUCKET_OVERLAP.finding_of(&self.bucket, |found| overlap(found, &queue, deployment));
        vec![notification, overlap]
    }

    fn topic(&self, queue: &str, bucket: &str, deployment: &Deployment, trail_topics: &[String]) -> Fact<Verdict> {
        let Some(topic) = &deployment.topic else {
            return Ok(Verdict::not_applicable("the topic is not known"));
        };
        let Some(subscriptions) = &self.subscriptions else {
            return Ok(Verdict::not_applicable("the subscriptions are not known"));
        };
        let subscriptions = subscriptions.as_ref().map_err(Clone::clone)?;
        if !subscriptions.iter().any(|each| each.endpoint == queue && !each.pending) {
            return Ok(Verdict::failed(
                format!("{queue} is not subscribed to {topic}"),
                "deploy the stack again with Wiring=SNS, which subscribes the queue",
            ));
        }
        if trail_topics.contains(topic) {
            return Ok(Verdict::ok(format!("CloudTrail publishes to {topic}, to which the queue is subscribed")));
        }
        let found = self.bucket.as_ref().map_err(Clone::clone)?;
        Ok(match found.rules.iter().find(|rule| rule.target == *topic) {
            Some(rule) if rule.covers_put => {
                Verdict::ok(format!("{} publishes to {topic}, to which the queue is subscribed", rule.id))
            }
            _ => Verdict::failed(
                format!("neither {bucket} nor a trail publishes to {topic}"),
                format!(
                    "add a notification of created objects from {bucket} to {topic}, or set SnsTopicArn to the topic that is used"
                ),
            ),
        })
    }

    fn event_bridge(&self, queue: &str, bucket: &str, deployment: &Deployment) -> Fact<Verdict> {
        let found = self.bucket.as_ref().map_err(Clone::clone)?;
        if !found.event_bridge {
            return Ok(Verdict::failed(
                format!("{bucket} does not send events to EventBridge"),
                wire_command(bucket, queue, deployment),
            ));
        }
        let Some(rule) = &self.rule else {
            return Ok(Verdict::not_applicable("the rule is not known"));
        };
        let rule = rule.as_ref().map_err(Clone::clone)?;
        let name = deployment.rule.as_deref().unwrap_or_default();
        Ok(match (rule.enabled, rule.targets.iter().any(|target| target == queue)) {
            (true, true) => {
                Verdict::ok(format!("{bucket} sends events to EventBridge, and the rule {name} to the queue"))
            }
            (false, _) => {
                Verdict::failed(format!("the rule {name} is disabled"), format!("aws events enable-rule --name {name}"))
            }
            (true, false) => Verdict::failed(
                format!("the rule {name} does not send to {queue}"),
                "deploy the stack again with Wiring=EventBridge",
            ),
        })
    }
}

/// Returns the command that connects the bucket.
fn wire_command(bucket: &str, queue: &str, deployment: &Deployment) -> String {
    match &deployment.stack {
        Some(stack) => format!("trailhose wire --stack {}", stack.name),
        None => format!("trailhose wire --bucket {bucket} --queue-arn {queue}"),
    }
}

/// Evaluates the notifications from the bucket to the queue. Several rules can cover the trails together.
fn s3_notifications(
    found: &ObjectNotifications,
    bucket: &str,
    queue: &str,
    deployment: &Deployment,
    trails: &Fact<Vec<TrailFacts>>,
) -> Verdict {
    let rules: Vec<_> = found.rules.iter().filter(|rule| rule.target == queue).collect();
    let Some(first) = rules.first() else {
        let others: Vec<_> = found.rules.iter().map(|rule| format!("{} to {}", rule.id, rule.target)).collect();
        let others = if others.is_empty() { "none".to_owned() } else { others.join(", ") };
        return Verdict::failed(
            format!("no notification of {bucket} goes to {queue}; others: {others}"),
            wire_command(bucket, queue, deployment),
        );
    };
    let rules: Vec<_> = rules.iter().filter(|rule| rule.covers_put).collect();
    if rules.is_empty() {
        return Verdict::failed(
            format!("the notification {} does not include s3:ObjectCreated:Put", first.id),
            wire_command(bucket, queue, deployment),
        );
    }
    let rules: Vec<_> = rules.into_iter().filter(|rule| ".json.gz".ends_with(&rule.suffix)).collect();
    if rules.is_empty() {
        return Verdict::failed(
            format!("the notification {} covers only keys that end in {:?}", first.id, first.suffix),
            "remove the suffix of the notification, or set it to .json.gz",
        );
    }
    let covers =
        |rule: &ObjectNotificationRule, logs: &str| logs.starts_with(&rule.prefix) || rule.prefix.starts_with(logs);
    for trail in trails.iter().flatten() {
        let prefix = trail.prefix.trim_matches('/');
        let logs = if prefix.is_empty() { "AWSLogs/".to_owned() } else { format!("{prefix}/AWSLogs/") };
        if !rules.iter().any(|rule| covers(rule, &logs)) {
            let covered: Vec<_> = rules.iter().map(|rule| format!("{:?}", rule.prefix)).collect();
            return Verdict::failed(
                format!(
                    "notifications cover only keys that start with {}, but {} writes to {logs:?}",
                    covered.join(" or "),
                    trail.arn
                ),
                "remove the prefix of the notification, or set it to the prefix of the trail",
            );
        }
    }
    let ids: Vec<_> = rules.iter().map(|rule| rule.id.as_str()).collect();
    Verdict::ok(format!("new objects are announced to the ingest queue by {}", ids.join(", ")))
}

fn overlap(found: &ObjectNotifications, queue: &str, deployment: &Deployment) -> Verdict {
    let to_queue: Vec<_> = found.rules.iter().filter(|rule| rule.target == queue).collect();
    let topic = deployment.topic.as_deref().filter(|_| deployment.wiring == Wiring::Sns);
    let also = match deployment.wiring {
        Wiring::S3 => None,
        Wiring::Sns if !to_queue.is_empty() => topic.map(str::to_owned),
        Wiring::EventBridge if !to_queue.is_empty() => Some("EventBridge".to_owned()),
        Wiring::Sns | Wiring::EventBridge => None,
    };
    let named =
        |rules: &[&ObjectNotificationRule]| rules.iter().map(|rule| rule.id.clone()).collect::<Vec<_>>().join(", ");
    match (also, to_queue.as_slice()) {
        (Some(also), rules) => Verdict::warning(
            format!("the queue is notified by {also} and by {}", named(rules)),
            format!("remove the notification {} from the bucket", named(rules)),
        ),
        // S3 refuses rules for the same events and keys. Rules for different prefixes are valid.
        (None, _) => Verdict::ok("no overlap"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::deployment::Queues;
    use crate::doctor::finding::CheckStatus;

    const QUEUE: &str = "arn:aws:sqs:eu-west-1:111122223333:ingest";
    const TOPIC: &str = "arn:aws:sns:eu-west-1:111122223333:new-objects";

    fn deployment(wiring: Wiring) -> Deployment {
        Deployment {
            wiring,
            region: "eu-west-1".into(),
            account: "111122223333".into(),
            partition: "aws".into(),
            topic: Some(TOPIC.into()),
            rule: Some("rule".into()),
            queues: Queues { ingest: Some("https://sqs/111122223333/ingest".into()), ..Queues::default() },
            ..Deployment::default()
        }
    }

    fn rule(target: &str) -> ObjectNotificationRule {
        ObjectNotificationRule {
            id: "trailhose".into(),
            target: target.into(),
            covers_put: true,
            ..ObjectNotificationRule::default()
        }
    }

    fn status(facts: &NotificationFacts, wiring: Wiring, topics: &[String]) -> (CheckStatus, CheckStatus) {
        let trails = Ok(vec![]);
        let found = facts.findings("logs", &deployment(wiring), &trails, topics);
        (found[0].status, found[1].status)
    }

    fn facts(rules: Vec<ObjectNotificationRule>) -> NotificationFacts {
        let subscription = TopicSubscription { protocol: "sqs".into(), endpoint: QUEUE.into(), pending: false };
        NotificationFacts {
            bucket: Ok(ObjectNotifications { rules, event_bridge: true }),
            subscriptions: Some(Ok(vec![subscription])),
            rule: Some(Ok(EventRule { enabled: true, targets: vec![QUEUE.into()] })),
        }
    }

    #[test]
    fn bucket_must_notify_exactly_this_queue() {
        use CheckStatus::{Failed, Ok};
        assert_eq!(status(&facts(vec![rule(QUEUE)]), Wiring::S3, &[]), (Ok, Ok));
        assert_eq!(
            status(&facts(vec![rule("arn:aws:sqs:eu-west-1:111122223333:deleted")]), Wiring::S3, &[]),
            (Failed, Ok)
        );
        assert_eq!(
            status(&facts(vec![ObjectNotificationRule { covers_put: false, ..rule(QUEUE) }]), Wiring::S3, &[]).0,
            Failed
        );
        assert_eq!(
            status(&facts(vec![ObjectNotificationRule { suffix: ".csv".into(), ..rule(QUEUE) }]), Wiring::S3, &[]).0,
            Failed
        );
        assert_eq!(
            status(&facts(vec![ObjectNotificationRule { suffix: ".gz".into(), ..rule(QUEUE) }]), Wiring::S3, &[]).0,
            Ok
        );
    }

    #[test]
    fn prefix_of_the_notification_must_include_the_trail() {
        let trail = |prefix: &str| crate::doctor::trail::TrailFacts {
            arn: "t".into(),
            bucket: "logs".into(),
            prefix: prefix.into(),
            organization: true,
            all_regions: true,
            global_services: true,
            validation: true,
            key: None,
            topic: None,
            status: Ok(Default::default()),
            selection: Ok(Default::default()),
        };
        let of_rules = |prefixes: &[&str], rules: &[&str]| {
            let rules = rules.iter().map(|prefix| ObjectNotificationRule { prefix: (*prefix).into(), ..rule(QUEUE) });
            let found = ObjectNotifications { rules: rules.collect(), event_bridge: false };
            let trails = Ok(prefixes.iter().map(|prefix| trail(prefix)).collect());
            BUCKET_NOTIFICATION
                .finding(s3_notifications(&found, "logs", QUEUE, &deployment(Wiring::S3), &trails))
                .status
        };
        let of = |prefix: &str, rule_prefix: &str| of_rules(&[prefix], &[rule_prefix]);
        assert_eq!(of_rules(&["a", "b"], &["a/", "b/"]), CheckStatus::Ok, "two rules cover two trails");
        assert_eq!(of_rules(&["a", "b"], &["a/"]), CheckStatus::Failed);
        assert_eq!(
            (of("", ""), of("", "AWSLogs/"), of("a", "a/")),
            (CheckStatus::Ok, CheckStatus::Ok, CheckStatus::Ok)
        );
        assert_eq!((of("a", "AWSLogs/"), of("", "b/")), (CheckStatus::Failed, CheckStatus::Failed));
    }

    #[test]
    fn topic_needs_a_publisher_and_a_subscription() {
        use CheckStatus::{Failed, Ok, Warning};
        assert_eq!(status(&facts(vec![rule(TOPIC)]), Wiring::Sns, &[]), (Ok, Ok));
        assert_eq!(status(&facts(vec![]), Wiring::Sns, &[TOPIC.into()]), (Ok, Ok));
        assert_eq!(status(&facts(vec![]), Wiring::Sns, &[]).0, Failed);
        assert_eq!(status(&facts(vec![rule(TOPIC), rule(QUEUE)]), Wiring::Sns, &[]).1, Warning);
        let unsubscribed = NotificationFacts { subscriptions: Some(Result::Ok(vec![])), ..facts(vec![rule(TOPIC)]) };
        assert_eq!(status(&unsubscribed, Wiring::Sns, &[]).0, Failed);
    }

    #[test]
    fn event_bridge_needs_the_bucket_and_the_rule() {
        use CheckStatus::{Failed, Ok};
        assert_eq!(status(&facts(vec![]), Wiring::EventBridge, &[]), (Ok, Ok));
        let bucket = Result::Ok(ObjectNotifications::default());
        assert_eq!(status(&NotificationFacts { bucket, ..facts(vec![]) }, Wiring::EventBridge, &[]).0, Failed);
        let off = Some(Result::Ok(EventRule { enabled: false, targets: vec![QUEUE.into()] }));
        assert_eq!(status(&NotificationFacts { rule: off, ..facts(vec![]) }, Wiring::EventBridge, &[]).0, Failed);
    }
}
