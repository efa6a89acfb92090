//! An EventBridge bus.

use super::{AlertDestination, SendOutcome, aws_message, aws_outcome, region_of};
use crate::aws::failure;
use crate::finding::Alert;
use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;

/// The source of the events.
const SOURCE: &str = "trailhose";

/// An EventBridge bus. The source of an event is `trailhose`, its detail type is the type of the message.
#[derive(Debug)]
pub(super) struct EventBridge {
    name: String,
    bus: String,
    client: aws_sdk_eventbridge::Client,
}

impl EventBridge {
    pub(super) fn new(name: String, bus: &str, aws: &SdkConfig) -> Self {
        let mut config = aws_sdk_eventbridge::config::Builder::from(aws).retry_config(RetryConfig::disabled());
        if let Some(region) = region_of(bus) {
            config = config.region(region);
        }
        Self { name, bus: bus.to_owned(), client: aws_sdk_eventbridge::Client::from_conf(config.build()) }
    }
}

#[async_trait]
impl AlertDestination for EventBridge {
    fn name(&self) -> &str {
        &self.name
    }

    async fn send(&self, alert: &Alert, _: i64) -> SendOutcome {
        let entry = PutEventsRequestEntry::builder()
            .source(SOURCE)
            .detail_type(alert.kind.message_type())
            .detail(aws_message(alert))
            .event_bus_name(&self.bus)
            .build();
        let response = match self.client.put_events().entries(entry).send().await {
            Ok(response) => response,
            Err(error) => return aws_outcome(&failure(&error)),
        };
        // A response with status 200 can contain the error of an entry.
        let failed = response.entries().iter().find_map(|entry| Some((entry.error_code()?, entry.error_message())));
        match failed {
            None => SendOutcome::Delivered,
            Some((code, message)) => entry_outcome(code, message.unwrap_or("no message")),
        }
    }
}

/// Classifies the error of an entry
/// (<https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEventsResultEntry.html>).
fn entry_outcome(code: &str, message: &str) -> SendOutcome {
    let reason = format!("{code}: {message}");
    match code {
        "InternalFailure" | "InternalException" | "ThrottlingException" => SendOutcome::Retry { after: None, reason },
        "InvalidArgument" | "MalformedDetail" => SendOutcome::AlertRefused { reason },
        // Other errors concern the bus, its key or the permissions.
        _ => SendOutcome::DestinationUnusable { reason },
    }
}
