//! An integration of PagerDuty with the Events API v2
//! (<https://developer.pagerduty.com/docs/events-api-v2/trigger-events/>).

use super::{AlertDestination, SendOutcome, http_outcome};
use crate::finding::{Alert, truncated};
use crate::http::{DestinationUrl, HttpClient, Secret};
use async_trait::async_trait;
use serde_json::{Value, json};

/// The URL of PagerDuty's default region.
pub(super) const URL: &str = "https://events.pagerduty.com/v2/enqueue";

/// The maximum length of a summary in bytes. PagerDuty accepts 1,024 characters.
const MAX_SUMMARY: usize = 1_024;

/// An integration of PagerDuty. The alerts of one window have the same `dedup_key`, so they update one incident.
#[derive(Debug)]
pub(super) struct PagerDuty {
    name: String,
    url: DestinationUrl,
    key: Secret,
    client: HttpClient,
}

impl PagerDuty {
    pub(super) fn new(name: String, url: DestinationUrl, key: Secret, allow_private: bool) -> Self {
        Self { name, url, key, client: HttpClient::new(allow_private) }
    }
}

#[async_trait]
impl AlertDestination for PagerDuty {
    fn name(&self) -> &str {
        &self.name
    }

    async fn send(&self, alert: &Alert, _: i64) -> SendOutcome {
        let headers = [("content-type", "application/json".to_owned())];
        let body = message(alert, self.key.expose()).to_string().into_bytes();
        let response = self.client.post(&self.url, &headers, body).await;
        http_outcome(response, |text| self.url.mask(&text.replace(self.key.expose(), "…")))
    }
}

fn message(alert: &Alert, key: &str) -> Value {
    let severity = match alert.rule().level.as_str() {
        "critical" => "critical",
        "high" => "error",
        "medium" => "warning",
        _ => "info",
    };
    let event = &alert.finding.event;
    let source = if event.account.is_empty() { "CloudTrail" } else { &event.account };
    let message = alert.message();
    json!({
        "routing_key": key,
        "event_action": "trigger",
        "dedup_key": alert.window_key(),
        "client": "trailhose",
        "payload": {
            "summary": truncated(&alert.title(), MAX_SUMMARY),
            "source": source,
            "severity": severity,
            "timestamp": message["timestamp"],
            "component": event.region,
            "group": alert.group,
            "class": alert.rule().id,
            "custom_details": message["data"],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::alert;
    use super::*;
    use crate::finding::AlertKind;

    #[test]
    fn alerts_of_a_window_have_one_key() {
        let mut first = alert(AlertKind::First, 1);
        first.finding.rule.title = "ü".repeat(5_000);
        let summary = Alert { kind: AlertKind::Summary, ..first.clone() };
        let (first, summary) = (message(&first, "k"), message(&summary, "k"));
        assert_eq!(first["dedup_key"], summary["dedup_key"]);
        assert!(first["dedup_key"].as_str().unwrap().len() <= 255);
        assert!(first["payload"]["summary"].as_str().unwrap().len() <= MAX_SUMMARY);
        assert_eq!(first["payload"]["severity"], "error");
        assert_ne!(message(&alert(AlertKind::First, 2), "k")["dedup_key"], first["dedup_key"]);
    }
}
