//! Checks of the detection: the rules in use, the outbox of alerts, and the secrets of destinations. The checks of queues and
//! functions include those of the detection, except `function.errors`.

use super::catalog::{DETECTION_ALERTS, DETECTION_DESTINATIONS, DETECTION_RULES};
use super::deployment::Deployment;
use super::facts::Fact;
use super::finding::{Finding, Verdict};
use super::metrics::{MetricName, Metrics};
use super::text::{counted, short};
use async_trait::async_trait;

/// The age in seconds above which a pending alert is a problem: as in `AlertsPendingAlarm`.
const MAX_PENDING: i64 = 1_800;

/// The published rule set: its ID, or why it cannot be used.
pub type PublishedSet = Result<String, String>;

/// What is known of the outbox.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutboxFacts {
    /// Alerts that wait.
    pub pending: u64,
    /// Alerts that are not sent again.
    pub failed: u64,
    /// When the oldest alert that waits was recorded, in seconds since 1970.
    pub oldest: Option<i64>,
    /// The destination of a failed or waiting alert, and the error of its last attempt.
    pub error: Option<(String, String)>,
}

/// Reads the published rules, and the table of the findings.
#[async_trait]
pub trait DetectionReader: Send + Sync {
    /// Reads the published rule set with all of its files.
    async fn published_rules(&self, location: &str) -> Fact<PublishedSet>;
    /// Returns the ID of the rule set in use.
    async fn rules_in_use(&self, table: &str) -> Fact<Option<String>>;
    /// Reads the outbox.
    async fn outbox(&self, table: &str) -> Fact<OutboxFacts>;
}

pub(super) async fn examine(
    detection: &dyn DetectionReader,
    deployment: &Deployment,
    metrics: &Fact<Metrics>,
    now: i64,
) -> Vec<Finding> {
    let (Some(location), Some(table)) = (&deployment.rules_location, &deployment.findings_table) else {
        let checks = [&DETECTION_RULES, &DETECTION_ALERTS, &DETECTION_DESTINATIONS];
        return checks.map(|check| check.finding(Verdict::not_applicable("the stack has no detection"))).to_vec();
    };
    let (published, in_use, outbox) =
        tokio::join!(detection.published_rules(location), detection.rules_in_use(table), detection.outbox(table));
    let sets = published.and_then(|published| Ok((published, in_use?)));
    vec![
        DETECTION_RULES.finding_of(&sets, |(published, in_use)| rules(published, in_use.as_deref(), location)),
        DETECTION_ALERTS.finding_of(&outbox, |outbox| alerts(outbox, deployment, now)),
        match deployment.reads_secrets {
            true => DETECTION_DESTINATIONS.finding_of(metrics, destinations),
            false => DETECTION_DESTINATIONS.finding(Verdict::not_applicable("no destination has a secret")),
        },
    ]
}

fn rules(published: &PublishedSet, in_use: Option<&str>, location: &str) -> Verdict {
    // A short form that is unique enough for people.
    let name = |id: &str| id.chars().take(12).collect::<String>();
    let published = match published {
        Ok(id) => id,
        Err(reason) => return Verdict::failed(reason.clone(), format!("trailhose rules publish DIR {location}")),
    };
    match in_use {
        Some(id) if id == published => Verdict::ok(format!("the published set {} is complete and in use", name(id))),
        other => {
            let other = other.map_or_else(|| "none".to_owned(), name);
            Verdict::warning(
                format!("the published set {} is not in use; in use: {other}", name(published)),
                "the function reads it within a minute; if not, read the log of the detect function",
            )
        }
    }
}

fn alerts(outbox: &OutboxFacts, deployment: &Deployment, now: i64) -> Verdict {
    let error = outbox.error.as_ref().map_or_else(String::new, |(destination, error)| {
        format!("; the last error of {}: {}", short(destination, 80), short(error, 160))
    });
    let age = outbox.oldest.map_or(0, |oldest| now.saturating_sub(oldest));
    if outbox.failed > 0 {
        let stack = deployment.stack.as_ref().map_or_else(String::new, |stack| format!(" --stack {}", stack.name));
        return Verdict::failed(
            format!("{} failed, {} pending{error}", counted(outbox.failed, "alert"), outbox.pending),
            format!("correct the cause, then: trailhose alerts retry{stack}"),
        );
    }
    if age > MAX_PENDING {
        return Verdict::warning(
            format!("{} pending, the oldest for {} min{error}", counted(outbox.pending, "alert"), age / 60),
            "read the log of the detect function; alerts are sent when the destination works again",
        );
    }
    Verdict::ok(format!("{} pending, none failed", counted(outbox.pending, "alert")))
}

fn destinations(metrics: &Metrics) -> Verdict {
    match metrics.latest(MetricName::DestinationsUnusable) {
        None => Verdict::not_applicable("the detect function has not run in the last 24 hours"),
        Some(0.0) => Verdict::ok("all secrets were read"),
        Some(count) => Verdict::failed(
            format!("the secrets of {} cannot be used", counted(count as u64, "destination")),
            "read the log of the detect function, which names the secret and the action that is denied",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::deployment::StackState;
    use super::super::facts::FactError;
    use super::super::finding::CheckStatus;
    use super::*;

    const NOW: i64 = 1_793_530_800;

    struct FixedDetection {
        published: Fact<PublishedSet>,
        in_use: Fact<Option<String>>,
        outbox: Fact<OutboxFacts>,
    }

    #[async_trait]
    impl DetectionReader for FixedDetection {
        async fn published_rules(&self, _: &str) -> Fact<PublishedSet> {
            self.published.clone()
        }

        async fn rules_in_use(&self, _: &str) -> Fact<Option<String>> {
            self.in_use.clone()
        }

        async fn outbox(&self, _: &str) -> Fact<OutboxFacts> {
            self.outbox.clone()
        }
    }

    fn sound() -> FixedDetection {
        FixedDetection {
            published: Ok(Ok("a".repeat(64))),
            in_use: Ok(Some("a".repeat(64))),
            outbox: Ok(OutboxFacts { pending: 1, oldest: Some(NOW - MAX_PENDING), ..OutboxFacts::default() }),
        }
    }

    fn deployment() -> Deployment {
        Deployment {
            stack: Some(StackState { name: "logs".into(), status: "CREATE_COMPLETE".into() }),
            rules_location: Some("s3://rules/set".into()),
            findings_table: Some("findings".into()),
            reads_secrets: true,
            ..Deployment::default()
        }
    }

    async fn findings(fixed: FixedDetection, unusable: f64) -> [Finding; 3] {
        let metrics = Ok(Metrics::from([(MetricName::DestinationsUnusable, vec![unusable, 1.0 - unusable])]));
        examine(&fixed, &deployment(), &metrics, NOW).await.try_into().unwrap()
    }

    #[tokio::test]
    async fn sound_detection_is_ok() {
        for finding in findings(sound(), 0.0).await {
            assert_eq!(finding.status, CheckStatus::Ok, "{finding:?}");
        }
        let none = examine(&sound(), &Deployment::default(), &Ok(Metrics::default()), NOW).await;
        assert!(none.iter().all(|finding| finding.status == CheckStatus::NotApplicable), "{none:?}");
    }

    #[tokio::test]
    async fn each_problem_is_named() {
        let broken = FixedDetection { published: Ok(Err("a.yml cannot be read".into())), ..sound() };
        let [rules, ..] = findings(broken, 0.0).await;
        assert_eq!((rules.status, rules.found.as_str()), (CheckStatus::Failed, "a.yml cannot be read"));
        assert_eq!(rules.next_step.unwrap(), "trailhose rules publish DIR s3://rules/set");
        for in_use in [None, Some("b".repeat(64))] {
            let [rules, ..] = findings(FixedDetection { in_use: Ok(in_use), ..sound() }, 0.0).await;
            assert_eq!(rules.status, CheckStatus::Warning, "{rules:?}");
        }
        let old = OutboxFacts { pending: 2, oldest: Some(NOW - MAX_PENDING - 60), ..OutboxFacts::default() };
        let [_, alerts, _] = findings(FixedDetection { outbox: Ok(old), ..sound() }, 0.0).await;
        assert_eq!(
            (alerts.status, alerts.found.as_str()),
            (CheckStatus::Warning, "2 alerts pending, the oldest for 31 min")
        );
        let error = Some(("webhook".to_owned(), "status 400".to_owned()));
        let failed = OutboxFacts { failed: 1, error, ..OutboxFacts::default() };
        let [_, alerts, _] = findings(FixedDetection { outbox: Ok(failed), ..sound() }, 0.0).await;
        assert_eq!(alerts.status, CheckStatus::Failed);
        assert!(alerts.found.contains("1 alert failed") && alerts.found.contains("webhook: status 400"), "{alerts:?}");
        assert!(alerts.next_step.unwrap().ends_with("trailhose alerts retry --stack logs"));
        let [.., destinations] = findings(sound(), 1.0).await;
        assert_eq!(destinations.status, CheckStatus::Failed, "{destinations:?}");
        let denied = FactError::Denied {
            action: "s3:GetObject".into(),
            resource: "s3://rules/set".into(),
            advice: "allow it".into(),
        };
        let [rules, ..] = findings(FixedDetection { published: Err(denied), ..sound() }, 0.0).await;
        assert_eq!(rules.status, CheckStatus::NotPermitted, "{rules:?}");
    }
}
