//! The settings of the detect function.

use super::Variables;
use crate::alert::{DestinationConfig, DestinationKind, StoredDestination, StoredDestinationKind};
use crate::finding::parse_span;
use crate::finding_store::Route;
use crate::finding_store::dynamodb::finding_retention;
use std::time::Duration;
use trailhose_rules::RuleLevel;

/// The settings of the detect function, one field per variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetectConfig {
    /// `TRAILHOSE_FINDINGS_TABLE`: the DynamoDB table of the findings.
    pub table: String,
    /// `TRAILHOSE_RULES`: `s3://bucket/prefix` of the published rules.
    pub rules: String,
    /// `TRAILHOSE_FINDING_DAYS`: how long findings are kept, at least 30 days. 0: without a time limit. Default: 365 days.
    pub keep: Duration,
    /// `TRAILHOSE_ALERT_TOPICS` (ARNs of SNS topics, separated by commas) and `TRAILHOSE_ALERT_BUS` (the name or ARN of an
    /// EventBridge bus): the destinations of alerts. Their names are the ARNs.
    pub destinations: Vec<DestinationConfig>,
    /// `TRAILHOSE_ALERT_WEBHOOK_SECRET`, `TRAILHOSE_ALERT_SLACK_SECRET` and `TRAILHOSE_ALERT_PAGERDUTY_SECRET`: the ARNs of
    /// secrets of Secrets Manager or of parameters of Systems Manager. `TRAILHOSE_ALERT_PRIVATE_ADDRESSES` (`true` or
    /// `false`, the default): whether these destinations may have private addresses and unencrypted connections.
    pub stored: Vec<StoredDestination>,
    /// `TRAILHOSE_ALERT_LEVEL`: the lowest level of the rules that alert. Default: medium.
    pub routes: Vec<Route>,
    /// `TRAILHOSE_ALERT_WINDOW`: the length of a window, for example `15m`, `1h` or `1d`. Default: 1 hour.
    pub window: Duration,
    /// `TRAILHOSE_ALERT_CLOSE_AFTER`: the time after the end of a window at which it is closed. Default: 30 minutes,
    /// because CloudTrail delivers most events within 15 minutes and Firehose buffers them for 5.
    pub close_after: Duration,
}

impl DetectConfig {
    /// Reads the settings from the process's environment.
    ///
    /// # Errors
    /// Returns a text that names the variable, its value and the expected value.
    pub fn from_env() -> Result<Self, String> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// Reads the settings from `get`, which returns the value of a variable.
    ///
    /// # Errors
    /// Returns the same errors as [`DetectConfig::from_env`].
    pub(crate) fn from_variables(get: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let variables = Variables(get);
        let topics = variables.get("TRAILHOSE_ALERT_TOPICS").unwrap_or_default();
        let mut kinds = Vec::new();
        for topic in topics.split(',').map(str::trim).filter(|topic| !topic.is_empty()) {
            if !topic.starts_with("arn:") || topic.split(':').count() != 6 || topic.split(':').nth(2) != Some("sns") {
                return Err(format!(
                    "TRAILHOSE_ALERT_TOPICS: {topic}: expected ARNs of SNS topics, separated by commas"
                ));
            }
            kinds.push((topic.to_owned(), DestinationKind::Sns { topic: topic.to_owned() }));
        }
        if let Some(bus) = variables.get("TRAILHOSE_ALERT_BUS") {
            kinds.push((bus.clone(), DestinationKind::EventBridge { bus }));
        }
        let allow_private = match variables.get("TRAILHOSE_ALERT_PRIVATE_ADDRESSES").as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(other) => return Err(format!("TRAILHOSE_ALERT_PRIVATE_ADDRESSES={other}: expected true or false")),
        };
        let mut stored = Vec::new();
        for (name, kind) in [
            ("TRAILHOSE_ALERT_WEBHOOK_SECRET", StoredDestinationKind::Webhook),
            ("TRAILHOSE_ALERT_SLACK_SECRET", StoredDestinationKind::Slack),
            ("TRAILHOSE_ALERT_PAGERDUTY_SECRET", StoredDestinationKind::PagerDuty),
        ] {
            let Some(arn) = variables.get(name) else { continue };
            let parts: Vec<&str> = arn.splitn(6, ':').collect();
            if !matches!(parts[..], ["arn", _, "secretsmanager", _, _, secret] if secret.starts_with("secret:"))
                && !matches!(parts[..], ["arn", _, "ssm", _, _, parameter] if parameter.starts_with("parameter/"))
            {
                return Err(format!(
                    "{name}: expected the ARN of a secret or of a parameter, and not the secret itself"
                ));
            }
            stored.push(StoredDestination { kind, arn, allow_private });
        }
        let level = variables.get("TRAILHOSE_ALERT_LEVEL").unwrap_or_else(|| "medium".into());
        let min_level = RuleLevel::parse(&level).ok_or_else(|| {
            format!("TRAILHOSE_ALERT_LEVEL={level}: expected informational, low, medium, high or critical")
        })?;
        let names = kinds.iter().map(|(name, _)| name.as_str()).chain(stored.iter().map(|stored| stored.kind.name()));
        let routes = names.map(|name| Route { destination: name.to_owned(), min_level }).collect();
        let destination = |(name, kind)| DestinationConfig { name, kind, allow_private: false };
        let days = match variables.number("TRAILHOSE_FINDING_DAYS", 365, 0)? {
            days @ 1..30 => return Err(format!("TRAILHOSE_FINDING_DAYS={days}: expected 0 or at least 30")),
            days => days,
        };
        let span = |name: &str, default| match variables.get(name) {
            None => Ok(default),
            Some(text) => parse_span(&text).map_err(|error| format!("{name}: {error}")),
        };
        Ok(Self {
            table: variables.required("TRAILHOSE_FINDINGS_TABLE", "the name of the findings' DynamoDB table")?,
            rules: variables.required("TRAILHOSE_RULES", "s3://bucket/prefix of published rules")?,
            keep: finding_retention(days),
            destinations: kinds.into_iter().map(destination).collect(),
            stored,
            routes,
            window: span("TRAILHOSE_ALERT_WINDOW", Duration::from_secs(3_600))?,
            close_after: span("TRAILHOSE_ALERT_CLOSE_AFTER", Duration::from_secs(1_800))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: &str = "arn:aws:sns:eu-west-1:111122223333:alerts";

    fn config(variables: &[(&str, &str)]) -> Result<DetectConfig, String> {
        let required = [("TRAILHOSE_FINDINGS_TABLE", "findings"), ("TRAILHOSE_RULES", "s3://rules/set")];
        let all = [&required, variables].concat();
        DetectConfig::from_variables(|name| {
            all.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn unset_variable_has_its_documented_default() {
        let config = config(&[]).unwrap();
        let spans = [config.keep, config.window, config.close_after].map(|span| span.as_secs());
        assert_eq!(spans, [365 * 86_400, 3_600, 1_800]);
        assert_eq!((config.destinations.len(), config.routes.len()), (0, 0));
    }

    #[test]
    fn windows_and_the_retention_are_read() {
        let config = config(&[
            ("TRAILHOSE_ALERT_WINDOW", "1d"),
            ("TRAILHOSE_ALERT_CLOSE_AFTER", "90s"),
            ("TRAILHOSE_FINDING_DAYS", "0"),
        ])
        .unwrap();
        let expected = (Duration::from_secs(86_400), Duration::from_secs(90), Duration::MAX);
        assert_eq!((config.window, config.close_after, config.keep), expected);
    }

    #[test]
    fn topics_and_the_bus_are_destinations() {
        let config = config(&[("TRAILHOSE_ALERT_TOPICS", &format!("{TOPIC}, ")), ("TRAILHOSE_ALERT_BUS", "security")]);
        let config = config.unwrap();
        let names: Vec<_> = config.routes.iter().map(|route| (&*route.destination, route.min_level)).collect();
        assert_eq!(names, [(TOPIC, RuleLevel::Medium), ("security", RuleLevel::Medium)]);
        assert_eq!(config.destinations[0].kind, DestinationKind::Sns { topic: TOPIC.into() });
    }

    #[test]
    fn error_for_an_invalid_value_names_the_variable() {
        for (name, value) in [
            ("TRAILHOSE_FINDINGS_TABLE", ""),
            ("TRAILHOSE_RULES", ""),
            ("TRAILHOSE_ALERT_TOPICS", "alerts"),
            ("TRAILHOSE_ALERT_TOPICS", "arn:aws:sqs:eu-west-1:111122223333:alerts"),
            ("TRAILHOSE_ALERT_LEVEL", "urgent"),
            ("TRAILHOSE_FINDING_DAYS", "29"),
            ("TRAILHOSE_FINDING_DAYS", "1"),
            ("TRAILHOSE_ALERT_WINDOW", "0s"),
            ("TRAILHOSE_ALERT_WINDOW", "1 hour"),
            ("TRAILHOSE_ALERT_CLOSE_AFTER", "367d"),
            ("TRAILHOSE_ALERT_SLACK_SECRET", "https://hooks.slack.com/hunter2"),
            ("TRAILHOSE_ALERT_WEBHOOK_SECRET", TOPIC),
            ("TRAILHOSE_ALERT_PRIVATE_ADDRESSES", "yes"),
        ] {
            let error = config(&[(name, value)]).unwrap_err();
            assert!(error.starts_with(name) && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn secrets_are_destinations() {
        let secret = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:hook-AbCdEf";
        let parameter = "arn:aws-us-gov:ssm:us-gov-west-1:111122223333:parameter/trailhose/pagerduty";
        let variables = [
            ("TRAILHOSE_ALERT_WEBHOOK_SECRET", secret),
            ("TRAILHOSE_ALERT_PAGERDUTY_SECRET", parameter),
            ("TRAILHOSE_ALERT_PRIVATE_ADDRESSES", "true"),
        ];
        let config = config(&variables).unwrap();
        let stored = |kind, arn: &str| StoredDestination { kind, arn: arn.into(), allow_private: true };
        assert_eq!(
            config.stored,
            [stored(StoredDestinationKind::Webhook, secret), stored(StoredDestinationKind::PagerDuty, parameter)]
        );
        let names: Vec<_> = config.routes.iter().map(|route| route.destination.as_str()).collect();
        assert_eq!(names, ["webhook", "pagerduty"]);
    }
}
