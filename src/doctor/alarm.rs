//! Checks of the alarms and of the topics that they notify.

use super::catalog::{ALARM_ACTIONS, ALARM_STATE, ALARM_SUBSCRIPTIONS};
use super::deployment::Deployment;
use super::facts::{Fact, all};
use super::finding::{Finding, Verdict};
use super::notification::{TopicReader, TopicSubscription};
use super::text::{counted, short};
use async_trait::async_trait;
use futures_util::future::join_all;
use std::collections::BTreeSet;

/// An alarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlarmFacts {
    /// Name.
    pub name: String,
    /// State, such as `ALARM`.
    pub state: String,
    /// Description.
    pub description: String,
    /// Whether its actions are enabled.
    pub actions_enabled: bool,
    /// ARNs of the actions for the state `ALARM`.
    pub actions: Vec<String>,
}

/// Reads alarms.
#[async_trait]
pub trait AlarmReader: Send + Sync {
    /// Returns alarms by their names. Alarms that do not exist are omitted.
    async fn alarms(&self, names: &[String]) -> Fact<Vec<AlarmFacts>>;
}

pub(super) async fn examine(
    alarms: &dyn AlarmReader,
    topics: &dyn TopicReader,
    deployment: &Deployment,
) -> Vec<Finding> {
    if deployment.alarms.is_empty() {
        let checks = [&ALARM_ACTIONS, &ALARM_STATE, &ALARM_SUBSCRIPTIONS];
        return checks.map(|check| check.finding(Verdict::not_applicable("no alarm is known"))).to_vec();
    }
    let found = alarms.alarms(&deployment.alarms).await;
    let subscriptions = async |alarms: &[AlarmFacts]| {
        let targets: BTreeSet<&String> =
            alarms.iter().flat_map(|alarm| &alarm.actions).filter(|arn| is_topic(arn)).collect();
        let answers = join_all(targets.iter().map(|topic| topics.subscriptions(topic))).await;
        let named = targets.iter().zip(answers);
        all(named.map(|(topic, answer)| answer.map(|list| ((*topic).clone(), list))).collect())
    };
    let subscribed = match &found {
        Ok(alarms) => subscriptions(alarms).await,
        Err(error) => Err(error.clone()),
    };
    let other_actions =
        found.as_ref().is_ok_and(|alarms| alarms.iter().flat_map(|alarm| &alarm.actions).any(|arn| !is_topic(arn)));
    vec![
        ALARM_ACTIONS.finding_of(&found, |alarms| actions(alarms, &deployment.alarms)),
        ALARM_STATE.finding_of(&found, |alarms| state(alarms)),
        ALARM_SUBSCRIPTIONS.finding_of(&subscribed, |topics| receivers(topics, other_actions)),
    ]
}

fn is_topic(arn: &str) -> bool {
    arn.split(':').nth(2) == Some("sns")
}

fn actions(alarms: &[AlarmFacts], names: &[String]) -> Verdict {
    if let Some(missing) = names.iter().find(|name| alarms.iter().all(|alarm| alarm.name != **name)) {
        return Verdict::failed(
            format!("the alarm {missing} does not exist"),
            "deploy the stack again, which creates it",
        );
    }
    let silent: Vec<_> = alarms.iter().filter(|alarm| !alarm.actions_enabled || alarm.actions.is_empty()).collect();
    match silent.first() {
        None => Verdict::ok(format!("{} with actions", counted(alarms.len() as u64, "alarm"))),
        Some(first) => Verdict::warning(
            format!("{} of {} alarms have no enabled action, such as {}", silent.len(), alarms.len(), first.name),
            "deploy the stack with AlarmEmail, or with AlarmTopicArn for an existing topic",
        ),
    }
}

fn state(alarms: &[AlarmFacts]) -> Verdict {
    let raised: Vec<_> = alarms.iter().filter(|alarm| alarm.state == "ALARM").collect();
    match raised.is_empty() {
        true => Verdict::ok("none is raised"),
        false => {
            let list: Vec<_> =
                raised.iter().map(|alarm| format!("{} ({})", alarm.name, short(&alarm.description, 120))).collect();
            Verdict::warning(
                format!("raised: {}", list.join("; ")),
                "follow the section of the alarm in docs/operations.md",
            )
        }
    }
}

fn receivers(topics: &[(String, Vec<TopicSubscription>)], other_actions: bool) -> Verdict {
    if topics.is_empty() {
        return match other_actions {
            true => Verdict::not_applicable("the actions of the alarms are not topics"),
            false => Verdict::warning(
                "no alarm notifies a topic",
                "deploy the stack with AlarmEmail, or with AlarmTopicArn for an existing topic",
            ),
        };
    }
    for (topic, subscriptions) in topics {
        if subscriptions.is_empty() {
            return Verdict::warning(
                format!("{topic} has no subscription"),
                format!("aws sns subscribe --topic-arn {topic} --protocol email --notification-endpoint ADDRESS"),
            );
        }
        if let Some(pending) = subscriptions.iter().find(|subscription| subscription.pending) {
            return Verdict::warning(
                format!("the subscription of {topic} by {} is not confirmed", pending.protocol),
                "open the link in the message that SNS sent to the receiver",
            );
        }
    }
    let count: usize = topics.iter().map(|(_, subscriptions)| subscriptions.len()).sum();
    Verdict::ok(counted(count as u64, "subscription"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::CheckStatus::{NotApplicable, Ok as Fine, Warning};

    const TOPIC: &str = "arn:aws:sns:eu-west-1:111122223333:alarms";

    struct Fixed(Vec<AlarmFacts>, Vec<TopicSubscription>);

    #[async_trait]
    impl AlarmReader for Fixed {
        async fn alarms(&self, _: &[String]) -> Fact<Vec<AlarmFacts>> {
            Ok(self.0.clone())
        }
    }

    #[async_trait]
    impl TopicReader for Fixed {
        async fn subscriptions(&self, topic: &str) -> Fact<Vec<TopicSubscription>> {
            assert_eq!(topic, TOPIC);
            Ok(self.1.clone())
        }
    }

    fn alarm(state: &str, actions: &[&str]) -> AlarmFacts {
        AlarmFacts {
            name: "dead-letters".into(),
            state: state.into(),
            description: "A message is in the dead-letter queue.".into(),
            actions_enabled: true,
            actions: actions.iter().map(|arn| (*arn).to_owned()).collect(),
        }
    }

    async fn statuses(fixed: Fixed) -> [crate::doctor::finding::CheckStatus; 3] {
        let deployment = Deployment { alarms: vec!["dead-letters".into()], ..Deployment::default() };
        let findings = examine(&fixed, &fixed, &deployment).await;
        [findings[0].status, findings[1].status, findings[2].status]
    }

    fn subscription(pending: bool) -> TopicSubscription {
        TopicSubscription { protocol: "email".into(), endpoint: "a@example.com".into(), pending }
    }

    #[tokio::test]
    async fn alarm_must_reach_someone() {
        let of = |actions: &[&str], subscriptions| statuses(Fixed(vec![alarm("OK", actions)], subscriptions));
        assert_eq!(of(&[TOPIC], vec![subscription(false)]).await, [Fine, Fine, Fine]);
        assert_eq!(of(&[TOPIC], vec![subscription(true)]).await, [Fine, Fine, Warning]);
        assert_eq!(of(&[TOPIC], vec![]).await, [Fine, Fine, Warning]);
        assert_eq!(of(&[], vec![]).await, [Warning, Fine, Warning]);
        assert_eq!(
            of(&["arn:aws:lambda:eu-west-1:111122223333:function:f"], vec![]).await,
            [Fine, Fine, NotApplicable]
        );
        let raised = statuses(Fixed(vec![alarm("ALARM", &[TOPIC])], vec![subscription(false)])).await;
        assert_eq!(raised, [Fine, Warning, Fine]);
    }
}
