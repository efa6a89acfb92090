//! An incoming webhook of Slack (<https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>).

use super::{AlertDestination, SendOutcome, http_outcome};
use crate::finding::{Alert, AlertKind};
use crate::http::{DestinationUrl, HttpClient};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::time::Duration;

/// Slack accepts one message each second (<https://docs.slack.dev/apis/web-api/rate-limits>).
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// The maximum length of a header in characters (<https://docs.slack.dev/reference/block-kit/blocks/header-block>).
const MAX_HEADER: usize = 150;

/// The maximum length of an escaped value in characters. A section of [`MAX_LINES`] lines then has fewer than the 3,000
/// characters that Slack accepts (<https://docs.slack.dev/reference/block-kit/blocks/section-block>).
const MAX_VALUE: usize = 250;

/// The maximum number of lines of a section.
const MAX_LINES: usize = 9;

/// An incoming webhook of Slack.
#[derive(Debug)]
pub(super) struct Slack {
    name: String,
    url: DestinationUrl,
    client: HttpClient,
}

impl Slack {
    pub(super) fn new(name: String, url: DestinationUrl, allow_private: bool) -> Self {
        Self { name, url, client: HttpClient::new(allow_private) }
    }
}

#[async_trait]
impl AlertDestination for Slack {
    fn name(&self) -> &str {
        &self.name
    }

    fn interval(&self) -> Duration {
        INTERVAL
    }

    async fn send(&self, alert: &Alert, _: i64) -> SendOutcome {
        let headers = [("content-type", "application/json".to_owned())];
        let body = message(alert).to_string().into_bytes();
        http_outcome(self.client.post(&self.url, &headers, body).await, |text| self.url.mask(text))
    }
}

/// Returns the message. Texts from the event are escaped and formatted as code, so that they are neither links nor
/// mentions.
fn message(alert: &Alert) -> Value {
    let (event, rule) = (&alert.finding.event, alert.rule());
    let title: String = one_line(&alert.title()).chars().take(MAX_HEADER).collect();
    let time = |seconds: i64| jiff::Timestamp::from_second(seconds).map_or_else(|_| "?".into(), |at| at.to_string());
    let window = format!("{} to {}", time(alert.window.start), time(alert.window.end));
    let event_time = event.time.map_or_else(|| "unknown".to_owned(), time);
    let count = alert.count.to_string();
    let mut facts = vec![
        ("Account", event.account.as_str()),
        ("Region", &event.region),
        ("Principal", &event.principal),
        ("Event", &event.name),
        ("Time", &event_time),
        ("Source address", &event.address),
        ("Error", &event.error),
    ];
    if alert.kind != AlertKind::First {
        facts.push(("Window", &window));
        facts.push(("Findings", &count));
    }
    let fields: Vec<(&str, &str)> =
        alert.finding.fields.iter().map(|field| (field.path.as_str(), field.value.as_str())).collect();
    let id = alert.finding.id().to_string();
    let origin = [
        ("Rule", rule.id.as_str()),
        ("Author", rule.author.as_deref().unwrap_or_default()),
        ("License", rule.license.as_deref().unwrap_or_default()),
        ("Finding", &id),
    ];
    let mut blocks = vec![json!({"type": "header", "text": {"type": "plain_text", "text": title, "emoji": false}})];
    for lines in [&facts[..], &fields[..], &origin[..]] {
        let text = section(lines);
        if !text.is_empty() {
            blocks.push(json!({"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": true}}));
        }
    }
    json!({"text": escaped(&alert.title(), MAX_VALUE), "blocks": blocks, "unfurl_links": false})
}

fn section(facts: &[(&str, &str)]) -> String {
    let present: Vec<_> = facts.iter().filter(|(_, value)| !value.is_empty()).collect();
    let lines = present.iter().take(MAX_LINES);
    let lines = lines.map(|(name, value)| format!("{}: `{}`", escaped(name, 60), escaped(value, MAX_VALUE)));
    let mut lines: Vec<String> = lines.collect();
    if present.len() > MAX_LINES {
        lines.push(format!("{} more", present.len() - MAX_LINES));
    }
    lines.join("\n")
}

/// Escapes a text for Slack, and cuts it to `limit` characters. Control characters become spaces. A backtick, which would end
/// the code format, becomes an apostrophe.
fn escaped(text: &str, limit: usize) -> String {
    let (mut escaped, mut length) = (String::new(), 0);
    for c in one_line(text).chars() {
        let part = match c {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '`' => "'".to_owned(),
            c => c.to_string(),
        };
        length += part.chars().count();
        if length > limit - 1 {
            escaped.push('…');
            return escaped;
        }
        escaped.push_str(&part);
    }
    escaped
}

/// Replaces control characters, line breaks and marks of the text direction by spaces.
fn one_line(text: &str) -> String {
    let is_mark = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if c.is_control() || is_mark(c) { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::alert;
    use super::*;
    use crate::finding::MatchedField;

    #[test]
    fn texts_of_an_attacker_are_neither_links_nor_mentions() {
        let mut alert = alert(AlertKind::First, 1);
        alert.finding.event.principal = "<!channel> <https://evil.example|click> & `*bold*`\n> quote\u{202e}".into();
        let text = message(&alert).to_string();
        assert!(!text.contains("<!channel>") && !text.contains("<https"), "{text}");
        let expected = "Principal: `&lt;!channel&gt; &lt;https://evil.example|click&gt; &amp; '*bold*' &gt; quote `";
        let message = message(&alert);
        assert!(message["blocks"][1]["text"]["text"].as_str().unwrap().contains(expected), "{message}");
    }

    #[test]
    fn message_is_within_the_limits() {
        let mut alert = alert(AlertKind::Summary, 1);
        alert.finding.rule.title = "T".repeat(5_000);
        let event = &mut alert.finding.event;
        for text in [&mut event.account, &mut event.region, &mut event.principal, &mut event.name, &mut event.address] {
            *text = "&<>".repeat(1_000);
        }
        alert.finding.fields =
            (0..100).map(|_| MatchedField { path: "&".repeat(999), value: "<".repeat(999) }).collect();
        let message = message(&alert);
        let blocks = message["blocks"].as_array().unwrap();
        assert!(blocks.len() <= 50);
        assert_eq!(blocks[0]["text"]["text"].as_str().unwrap().chars().count(), MAX_HEADER);
        for block in &blocks[1..] {
            let length = block["text"]["text"].as_str().unwrap().chars().count();
            assert!((1..=3_000).contains(&length), "{length}");
        }
        assert!(blocks[2]["text"]["text"].as_str().unwrap().ends_with("\n91 more"));
    }
}
