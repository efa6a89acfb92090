//! The fields of an event that describe a match.

use crate::event::json::{Leaf, RawValue, for_each_member};
use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// Who did what, where and when, according to an event. A field that the event does not have is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct EventContext {
    /// `eventTime`, if it is valid.
    #[serde(serialize_with = "time")]
    pub time: Option<Timestamp>,
    /// `eventID`.
    pub event_id: String,
    /// `eventSource`.
    pub event_source: String,
    /// `eventName`.
    pub event_name: String,
    /// `recipientAccountId`, or else `userIdentity.accountId`.
    pub account: String,
    /// `awsRegion`.
    pub region: String,
    /// `userIdentity.arn`, or else `invokedBy`, `principalId` or `type` of `userIdentity`.
    pub principal: String,
    /// `sourceIPAddress`.
    pub source_ip: String,
    /// `errorCode`.
    pub error_code: String,
}

impl EventContext {
    /// Reads the fields of an event.
    pub fn read(event: &[u8]) -> Self {
        let mut context = Self::default();
        let mut identity = Identity::default();
        for_each_member(event, |name, value, _| match &*name.text() {
            b"eventTime" => context.time = text(value).parse().ok(),
            b"eventID" => context.event_id = text(value),
            b"eventId" if context.event_id.is_empty() => context.event_id = text(value),
            b"eventSource" => context.event_source = text(value),
            b"eventName" => context.event_name = text(value),
            b"recipientAccountId" => context.account = text(value),
            b"awsRegion" => context.region = text(value),
            b"sourceIPAddress" => context.source_ip = text(value),
            b"errorCode" => context.error_code = text(value),
            b"userIdentity" => identity = Identity::read(value),
            _ => {}
        });
        if context.account.is_empty() {
            context.account = identity.account;
        }
        context.principal = identity.names.into_iter().find(|name| !name.is_empty()).unwrap_or_default();
        context
    }
}

fn time<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.collect_str(time),
        None => serializer.serialize_none(),
    }
}

/// The members of `userIdentity`.
#[derive(Debug, Default)]
struct Identity {
    account: String,
    /// `arn`, `invokedBy`, `principalId` and `type`.
    names: [String; 4],
}

impl Identity {
    fn read(value: RawValue<'_>) -> Self {
        let mut identity = Self::default();
        for_each_member(value.bytes, |name, value, _| match &*name.text() {
            b"accountId" => identity.account = text(value),
            b"arn" => identity.names[0] = text(value),
            b"invokedBy" => identity.names[1] = text(value),
            b"principalId" => identity.names[2] = text(value),
            b"type" => identity.names[3] = text(value),
            _ => {}
        });
        identity
    }
}

/// Returns a value without other values in it as text, or nothing.
fn text(value: RawValue<'_>) -> String {
    match value.leaf() {
        Leaf::Text(text) => String::from_utf8_lossy(&text).into_owned(),
        Leaf::Null | Leaf::Other => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_fallbacks_and_unusual_types_are_empty() {
        let context = EventContext::read(
            br#"{"eventTime":"2026-02-28T12:00:00Z","eventID":"a","eventName":["x"],"userIdentity":{"type":"AWSService","invokedBy":"s3.amazonaws.com","accountId":"111122223333"}}"#,
        );
        assert_eq!(
            (&*context.principal, &*context.account, &*context.event_name),
            ("s3.amazonaws.com", "111122223333", "")
        );
        assert_eq!(context.time.unwrap().to_string(), "2026-02-28T12:00:00Z");
        assert_eq!(EventContext::read(b"[]"), EventContext::default());
    }
}
