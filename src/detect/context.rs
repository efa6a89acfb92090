//! The fields of an event that describe a match.

use crate::index::IndexedFields;
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use std::borrow::Cow;

/// Who did what, where and when, according to an event. A field that the event does not have is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct EventContext {
    /// `eventTime`, or the start of the time window of an aggregated event, if it is valid.
    #[serde(serialize_with = "time")]
    pub time: Option<Timestamp>,
    /// `eventID`.
    pub event_id: String,
    /// `eventSource`.
    pub event_source: String,
    /// `eventName`.
    pub event_name: String,
    /// `recipientAccountId`, or the first of `accountId` and `userIdentity.accountId` that is present.
    pub account: String,
    /// `awsRegion`.
    pub region: String,
    /// `userIdentity.arn`, or the first of `userIdentity.invokedBy`, `principalId` and `type` that is present.
    pub principal: String,
    /// `sourceIPAddress`.
    pub source_ip: String,
    /// `errorCode`.
    pub error_code: String,
}

impl EventContext {
    /// Reads the fields of an event.
    pub fn read(event: &[u8]) -> Self {
        let fields = IndexedFields::read(event);
        let owned = |text: Option<Cow<'_, str>>| text.map(Cow::into_owned).unwrap_or_default();
        Self {
            time: fields.time.as_deref().and_then(|time| time.parse().ok()),
            event_id: owned(fields.event_id),
            event_source: owned(fields.source),
            event_name: owned(fields.name),
            account: owned(fields.account),
            region: owned(fields.region),
            principal: owned(fields.principal),
            source_ip: owned(fields.address),
            error_code: owned(fields.error),
        }
    }
}

fn time<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.collect_str(time),
        None => serializer.serialize_none(),
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
