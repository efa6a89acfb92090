//! The destinations of the function `detect` over HTTP. Their URL and keys are a secret in AWS.
//!
//! The secret is read before the first alert, again every five minutes, and when the destination refuses everything, because
//! it may have been changed. While it cannot be read, nothing is sent, and alerts stay in the outbox.

use super::{AlertDestination, DestinationConfig, DestinationKind, SendOutcome};
use crate::finding::Alert;
use crate::http::{Secret, SecretSource};
use async_trait::async_trait;
use serde::Deserialize;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// How long a secret is used before it is read again.
const MAX_AGE: Duration = Duration::from_secs(300);

/// Reads secrets.
#[async_trait]
pub trait SecretStore: Send + Sync + Debug {
    /// Returns the text of a secret.
    ///
    /// # Errors
    /// Returns a text with the ARN, the reason and the next step, without the secret.
    async fn read(&self, arn: &str) -> Result<Secret, String>;
}

/// A destination whose settings are a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDestination {
    /// The type.
    pub kind: StoredDestinationKind,
    /// The ARN of the secret.
    pub arn: String,
    /// Whether unencrypted requests and addresses that are not public are allowed.
    pub allow_private: bool,
}

/// The type of a destination, which is also its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredDestinationKind {
    /// A webhook that is signed as Standard Webhooks specifies. The secret has the members `url` and `keys`.
    Webhook,
    /// An incoming webhook of Slack. The secret is its URL, or has the member `url`.
    Slack,
    /// An integration of PagerDuty. The secret is its key, or has the members `key` and `url`; `url` is optional.
    PagerDuty,
}

impl StoredDestinationKind {
    /// Returns the name of the destination in the outbox.
    pub fn name(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Slack => "slack",
            Self::PagerDuty => "pagerduty",
        }
    }

    /// Returns the form of the secret, for messages.
    fn form(self) -> &'static str {
        match self {
            Self::Webhook => r#"{"url": "https://HOST/PATH", "keys": "whsec_BASE64"}"#,
            Self::Slack => r#"the URL of the incoming webhook, or {"url": "https://hooks.slack.com/services/…"}"#,
            Self::PagerDuty => r#"the integration key, or {"key": "KEY", "url": "https://HOST/v2/enqueue"}"#,
        }
    }
}

/// The members of a secret in JSON. Others are ignored.
#[derive(Deserialize, Default)]
struct SecretMembers {
    url: Option<String>,
    key: Option<String>,
    keys: Option<String>,
}

impl StoredDestination {
    /// Returns the settings in a secret. An error contains neither the secret nor the message of the parser, which quotes it.
    fn settings(&self, secret: &Secret) -> Result<DestinationConfig, String> {
        let invalid = || format!("the secret {} is invalid: expected {}", self.arn, self.kind.form());
        let text = secret.expose().trim();
        let members: SecretMembers = match (text.starts_with('{'), self.kind) {
            (true, _) => serde_json::from_str(text).map_err(|_| invalid())?,
            (false, StoredDestinationKind::Webhook) => return Err(invalid()),
            (false, StoredDestinationKind::Slack) => {
                SecretMembers { url: Some(text.to_owned()), ..SecretMembers::default() }
            }
            (false, StoredDestinationKind::PagerDuty) => {
                SecretMembers { key: Some(text.to_owned()), ..SecretMembers::default() }
            }
        };
        let required = |member: Option<String>| member.filter(|text| !text.trim().is_empty()).ok_or_else(invalid);
        let source = |text: String| SecretSource::Loaded { origin: self.arn.clone(), text: Secret::new(text) };
        let kind = match self.kind {
            StoredDestinationKind::Webhook => {
                DestinationKind::Webhook { url: required(members.url)?, keys: source(required(members.keys)?) }
            }
            StoredDestinationKind::Slack => DestinationKind::Slack { url: source(required(members.url)?) },
            StoredDestinationKind::PagerDuty => {
                DestinationKind::PagerDuty { key: source(required(members.key)?), url: members.url }
            }
        };
        Ok(DestinationConfig { name: self.kind.name().into(), kind, allow_private: self.allow_private })
    }

    /// Checks a secret. Sends nothing.
    ///
    /// # Errors
    /// A member is missing or invalid. The message contains the ARN and the expected form, and not the secret.
    pub fn check(&self, secret: &Secret) -> Result<(), String> {
        super::open(&self.settings(secret)?, None).map(drop)
    }
}

/// Returns a destination that reads its secret from a store before it sends.
pub fn open_stored(settings: StoredDestination, secrets: Arc<dyn SecretStore>) -> Arc<dyn AlertDestination> {
    Arc::new(SecretDestination { settings, secrets, opened: Mutex::new(None) })
}

#[derive(Debug)]
struct SecretDestination {
    settings: StoredDestination,
    secrets: Arc<dyn SecretStore>,
    opened: Mutex<Option<OpenedDestination>>,
}

/// A destination with a secret that was read.
#[derive(Debug)]
struct OpenedDestination {
    secret: Secret,
    read: Instant,
    destination: Arc<dyn AlertDestination>,
}

impl SecretDestination {
    /// Returns the destination with a secret that was read within `max_age`.
    async fn opened(&self, max_age: Duration) -> Result<Arc<dyn AlertDestination>, String> {
        let mut opened = self.opened.lock().await;
        if let Some(opened) = opened.as_ref().filter(|opened| opened.read.elapsed() < max_age) {
            return Ok(Arc::clone(&opened.destination));
        }
        let before = opened.take();
        let secret = self.secrets.read(&self.settings.arn).await?;
        let destination = match before.filter(|before| before.secret == secret) {
            // Keeps the connections.
            Some(before) => before.destination,
            None => super::open(&self.settings.settings(&secret)?, None)?,
        };
        *opened = Some(OpenedDestination { secret, read: Instant::now(), destination: Arc::clone(&destination) });
        Ok(destination)
    }
}

#[async_trait]
impl AlertDestination for SecretDestination {
    fn name(&self) -> &str {
        self.settings.kind.name()
    }

    fn interval(&self) -> Duration {
        match self.settings.kind {
            StoredDestinationKind::Slack => super::slack::INTERVAL,
            StoredDestinationKind::Webhook | StoredDestinationKind::PagerDuty => Duration::ZERO,
        }
    }

    async fn prepare(&self) -> Result<(), String> {
        self.opened(MAX_AGE).await.map(drop)
    }

    async fn send(&self, alert: &Alert, now: i64) -> SendOutcome {
        let destination = match self.opened(MAX_AGE).await {
            Ok(destination) => destination,
            Err(reason) => return SendOutcome::Retry { after: None, reason },
        };
        let outcome = destination.send(alert, now).await;
        if !matches!(outcome, SendOutcome::DestinationUnusable { .. }) {
            return outcome;
        }
        // The secret may have been changed since it was read.
        match self.opened(Duration::ZERO).await {
            Ok(changed) if !Arc::ptr_eq(&changed, &destination) => changed.send(alert, now).await,
            Ok(_) => outcome,
            Err(reason) => SendOutcome::DestinationUnusable { reason },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:trailhose/alerts-AbCdEf";

    fn stored(kind: StoredDestinationKind) -> StoredDestination {
        StoredDestination { kind, arn: ARN.into(), allow_private: false }
    }

    #[test]
    fn secret_is_text_or_json() {
        const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        for (kind, secret) in [
            (StoredDestinationKind::Slack, "https://hooks.slack.com/services/T0/B0/x\n".to_owned()),
            (StoredDestinationKind::Slack, r#"{"url": "https://hooks.slack.com/services/T0/B0/x", "owner": 1}"#.into()),
            (StoredDestinationKind::PagerDuty, "R0123456789".into()),
            (
                StoredDestinationKind::PagerDuty,
                r#"{"key": "R0", "url": "https://events.eu.pagerduty.com/v2/enqueue"}"#.into(),
            ),
            (
                StoredDestinationKind::Webhook,
                format!(r#"{{"url": "https://alerts.example.com/hook", "keys": "{KEY} {KEY}"}}"#),
            ),
        ] {
            stored(kind).check(&Secret::new(secret.clone())).unwrap_or_else(|error| panic!("{secret}: {error}"));
        }
    }

    #[test]
    fn invalid_secret_is_refused_without_printing_it() {
        for (kind, secret, expected) in [
            (StoredDestinationKind::Webhook, "hunter2", r#""keys""#),
            (StoredDestinationKind::Webhook, r#"{"url": "https://hunter2.example.com"}"#, r#""keys""#),
            (
                StoredDestinationKind::Webhook,
                r#"{"url": "https://a.example.com", "keys": "hunter2"}"#,
                "24 to 64 random bytes",
            ),
            (StoredDestinationKind::Webhook, r#"{"url": 2, "keys": "hunter2"}"#, "is invalid"),
            (StoredDestinationKind::Slack, "hunter2", "https://"),
            (StoredDestinationKind::Slack, "http://hunter2.example.com", "unencrypted"),
            (StoredDestinationKind::Slack, r#"{"uri": "hunter2"}"#, r#""url""#),
            (StoredDestinationKind::PagerDuty, r#"{"key": "hunter2 hunter2"}"#, "several lines"),
            (StoredDestinationKind::PagerDuty, r#"{"key": " "}"#, r#""key""#),
            (StoredDestinationKind::PagerDuty, r#"{"key": "hunter2""#, r#""key""#),
        ] {
            let error = stored(kind).check(&Secret::new(secret)).unwrap_err();
            assert!(error.contains(expected) && !error.contains("hunter2"), "{secret}: {error}");
        }
    }

    /// A store that returns these texts, one on each read.
    #[derive(Debug, Default)]
    struct FixedSecrets {
        reads: std::sync::Mutex<Vec<Result<Secret, String>>>,
    }

    #[async_trait]
    impl SecretStore for FixedSecrets {
        async fn read(&self, _: &str) -> Result<Secret, String> {
            let mut reads = self.reads.lock().unwrap();
            if reads.is_empty() { Err("no further read is expected".into()) } else { reads.remove(0) }
        }
    }

    fn url(name: &str) -> Result<Secret, String> {
        Ok(Secret::new(format!("https://hooks.slack.com/{name}")))
    }

    #[tokio::test]
    async fn secret_is_read_again_when_it_is_old() {
        let store = FixedSecrets {
            reads: std::sync::Mutex::new(vec![url("a"), url("a"), url("b"), Err("denied".into()), url("b")]),
        };
        let destination = SecretDestination {
            settings: stored(StoredDestinationKind::Slack),
            secrets: Arc::new(store),
            opened: Mutex::new(None),
        };
        let first = destination.opened(MAX_AGE).await.unwrap();
        destination.prepare().await.unwrap();
        let same = destination.opened(Duration::ZERO).await.unwrap();
        assert!(Arc::ptr_eq(&first, &same), "an unchanged secret keeps the connections");
        let changed = destination.opened(Duration::ZERO).await.unwrap();
        assert!(!Arc::ptr_eq(&first, &changed));
        assert_eq!(destination.opened(Duration::ZERO).await.unwrap_err(), "denied");
        // A secret that cannot be read is not used any longer.
        destination.opened(MAX_AGE).await.unwrap();
        destination.prepare().await.unwrap();
    }

    /// Starts a server that accepts requests whose path is `/new`, and returns its URL.
    async fn server() -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut start = [0; 10];
                stream.read_exact(&mut start).await.unwrap();
                let status = if &start == b"POST /new " { "200 OK" } else { "401 Unauthorized" };
                let response = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                let _ = stream.write_all(response.as_bytes()).await;
                // Reads the rest, so that the client does not lose the response.
                let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
            }
        });
        url
    }

    #[tokio::test]
    async fn secret_is_read_again_when_the_destination_refuses_everything() {
        let server = server().await;
        let secret = |path: &str| Ok(Secret::new(format!("{server}{path}")));
        let reads = vec![secret("/old"), secret("/old"), secret("/new")];
        let settings = StoredDestination { allow_private: true, ..stored(StoredDestinationKind::Slack) };
        let destination = open_stored(settings, Arc::new(FixedSecrets { reads: std::sync::Mutex::new(reads) }));
        let alert = crate::alert::tests::alert(crate::finding::AlertKind::First, 1);
        let refused = destination.send(&alert, 0).await;
        assert_eq!(refused, SendOutcome::DestinationUnusable { reason: "status 401".into() });
        assert_eq!(destination.send(&alert, 0).await, SendOutcome::Delivered);
    }
}
