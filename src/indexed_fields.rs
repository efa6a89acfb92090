//! The fields of an event that the index and findings contain.

use crate::event::EventId;
use crate::event::json::{Leaf, RawValue, for_each_member};
use std::borrow::Cow;

/// Selected fields of an event, with JSON escapes decoded. A field that is absent, not a text, or a text whose escapes are not
/// valid Unicode is `None`. On duplicate keys the last value wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexedFields<'a> {
    /// `eventID`, or `eventId` of an aggregated event.
    pub event_id: Option<Cow<'a, str>>,
    /// `eventTime`, or `timeWindow.windowStart` of an aggregated event.
    pub time: Option<Cow<'a, str>>,
    /// `eventName`.
    pub name: Option<Cow<'a, str>>,
    /// `eventSource`.
    pub source: Option<Cow<'a, str>>,
    /// `recipientAccountId`, or the first of `accountId` and `userIdentity.accountId` that is present.
    pub account: Option<Cow<'a, str>>,
    /// `awsRegion`.
    pub region: Option<Cow<'a, str>>,
    /// `userIdentity.arn`, or the first of `userIdentity.invokedBy`, `principalId` and `type` that is present.
    pub principal: Option<Cow<'a, str>>,
    /// `userIdentity.accessKeyId`.
    pub access_key: Option<Cow<'a, str>>,
    /// `sourceIPAddress`.
    pub address: Option<Cow<'a, str>>,
    /// `errorCode`.
    pub error: Option<Cow<'a, str>>,
}

impl<'a> IndexedFields<'a> {
    /// Reads the fields of an event that the decoder accepted. Bytes that are not a JSON object have none.
    pub fn read(event: &'a [u8]) -> Self {
        read_event(event).unwrap_or_default()
    }

    /// Returns the event ID as in the ledger. For an event without an ID, it is derived from the content. If an object has
    /// several such events with the same content, this is the ID of the first one; the others have other IDs in the ledger.
    pub fn id(&self, event: &[u8]) -> EventId {
        match self.event_id.as_deref() {
            Some(text) if !text.is_empty() => EventId::from_text(text.as_bytes()),
            _ => EventId::from_content(event),
        }
    }

    /// Returns the event time in seconds since 1970, if it is a valid RFC 3339 time with an offset.
    pub fn seconds(&self) -> Option<i64> {
        self.time.as_deref()?.parse::<jiff::Timestamp>().ok().map(|time| time.as_second())
    }
}

/// Reads the fields of an object, or `None` if the bytes are not one.
fn read_event(event: &[u8]) -> Option<IndexedFields<'_>> {
    let mut found = IndexedFields::default();
    let (mut identity, mut window) = (NestedFields::default(), NestedFields::default());
    let (mut aggregated_id, mut aggregated_account) = (None, None);
    for_each_member(event, |name, value, _| {
        let field = match &*name.text() {
            b"eventID" => &mut found.event_id,
            b"eventId" => &mut aggregated_id,
            b"accountId" => &mut aggregated_account,
            b"eventTime" => &mut found.time,
            b"eventName" => &mut found.name,
            b"eventSource" => &mut found.source,
            b"recipientAccountId" => &mut found.account,
            b"awsRegion" => &mut found.region,
            b"sourceIPAddress" => &mut found.address,
            b"errorCode" => &mut found.error,
            b"userIdentity" => {
                identity = NestedFields::read(value);
                return;
            }
            b"timeWindow" => {
                window = NestedFields::read(value);
                return;
            }
            _ => return,
        };
        *field = text(value);
    })?;
    if found.event_id.as_deref().is_none_or(str::is_empty) {
        found.event_id = aggregated_id;
    }
    found.time = found.time.take().or(window.start);
    found.account = found.account.take().or(aggregated_account).or(identity.account);
    found.principal = identity.arn.or(identity.invoked_by).or(identity.principal_id).or(identity.kind);
    found.access_key = identity.access_key;
    Some(found)
}

/// Fields of `userIdentity` and of `timeWindow`.
#[derive(Default)]
struct NestedFields<'a> {
    arn: Option<Cow<'a, str>>,
    invoked_by: Option<Cow<'a, str>>,
    principal_id: Option<Cow<'a, str>>,
    kind: Option<Cow<'a, str>>,
    account: Option<Cow<'a, str>>,
    access_key: Option<Cow<'a, str>>,
    start: Option<Cow<'a, str>>,
}

impl<'a> NestedFields<'a> {
    /// Reads the fields of an object. Another value has none.
    fn read(object: RawValue<'a>) -> Self {
        let mut found = Self::default();
        let read = for_each_member(object.bytes, |name, value, _| {
            let field = match &*name.text() {
                b"arn" => &mut found.arn,
                b"invokedBy" => &mut found.invoked_by,
                b"principalId" => &mut found.principal_id,
                b"type" => &mut found.kind,
                b"accountId" => &mut found.account,
                b"accessKeyId" => &mut found.access_key,
                b"windowStart" => &mut found.start,
                _ => return,
            };
            *field = text(value);
        });
        read.map(|()| found).unwrap_or_default()
    }
}

/// Returns the text of a string, or `None` for another value and for a string whose escapes are not valid Unicode.
fn text(value: RawValue<'_>) -> Option<Cow<'_, str>> {
    if value.bytes.first() != Some(&b'"') {
        return None;
    }
    match value.leaf() {
        Leaf::Text(Cow::Borrowed(text)) => std::str::from_utf8(text).ok().map(Cow::Borrowed),
        Leaf::Text(Cow::Owned(text)) => String::from_utf8(text).ok().map(Cow::Owned),
        Leaf::Null | Leaf::Other => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_an_event_are_found() {
        let event = br#"{"eventID":"11111111-2222-4333-8444-555555555555","eventTime":"2026-11-01T10:00:00Z",
            "eventName":"GetOb\u006aect","eventSource":"s3.amazonaws.com","awsRegion":"eu-west-1",
            "sourceIPAddress":"192.0.2.1","errorCode":"AccessDenied","requestParameters":{"arn":"no"},
            "userIdentity":{"type":"AssumedRole","arn":"arn:aws:sts::111122223333:assumed-role/r/s",
            "accountId":"111122223333","accessKeyId":"ASIAEXAMPLE","sessionContext":{"arn":"no"}}}"#;
        let found = IndexedFields::read(event);
        assert_eq!(found.name.as_deref(), Some("GetObject"));
        assert_eq!(found.account.as_deref(), Some("111122223333"));
        assert_eq!(found.principal.as_deref(), Some("arn:aws:sts::111122223333:assumed-role/r/s"));
        assert_eq!(found.access_key.as_deref(), Some("ASIAEXAMPLE"));
        assert_eq!(found.seconds(), Some(1_793_527_200));
        assert_eq!(found.id(event).to_string(), "11111111-2222-4333-8444-555555555555");
    }

    #[test]
    fn aggregated_event_has_its_id_time_and_account() {
        let event = br#"{"eventId":"11111111-2222-4333-8444-555555555555","accountId":"111122223333",
            "timeWindow":{"windowStart":"2026-11-01T10:00:00Z","windowEnd":"2026-11-01T10:05:00Z"}}"#;
        let found = IndexedFields::read(event);
        assert_eq!(found.id(event).to_string(), "11111111-2222-4333-8444-555555555555");
        assert_eq!((found.seconds(), found.account.as_deref()), (Some(1_793_527_200), Some("111122223333")));
    }

    #[test]
    fn values_of_unexpected_types_are_absent_and_do_not_hide_other_fields() {
        for odd in ["1", "-1", "1.5", "true", "null", "[1,{\"a\":[]}]", "{\"a\":1}"] {
            let event = format!(
                r#"{{"eventName":{odd},"eventTime":{odd},"eventID":{odd},"userIdentity":{odd},"awsRegion":"eu-west-1"}}"#
            );
            let found = IndexedFields::read(event.as_bytes());
            let expected = IndexedFields { region: Some("eu-west-1".into()), ..IndexedFields::default() };
            assert_eq!(found, expected, "{odd}");
            assert_eq!(found.seconds(), None);
            assert_eq!(found.id(event.as_bytes()), EventId::from_content(event.as_bytes()));
        }
        let event = r#"{"userIdentity":{"arn":5,"invokedBy":"ec2.amazonaws.com"},"eventName":"a","eventName":"b"}"#;
        let found = IndexedFields::read(event.as_bytes());
        assert_eq!(found.principal.as_deref(), Some("ec2.amazonaws.com"));
        assert_eq!(found.name.as_deref(), Some("b"), "on duplicate keys the last value wins");
        assert_eq!(IndexedFields::read(b"no json"), IndexedFields::default());
        assert_eq!(IndexedFields::read(br#"{"eventName":"a""#), IndexedFields::default());
    }

    /// The decoder accepts these values, and none of them may hide the others.
    #[test]
    fn unreadable_value_alone_is_absent() {
        for odd in [
            r#""errorCode":"Bad\ud800Code""#,
            r#""x":1e999"#,
            r#""errorCode":1e999"#,
            r#""a":"\udc00""#,
            r#""\udc00":1"#,
        ] {
            let event = format!(
                r#"{{{odd},"eventID":"11111111-2222-4333-8444-555555555555","eventName":"A","userIdentity":
                {{"principalId":"x\udc00","\ud800":[{{"\udc00":1e999}}],"type":"IAMUser","accessKeyId":"AKIAEXAMPLE"}}}}"#
            );
            let found = IndexedFields::read(event.as_bytes());
            let expected = IndexedFields {
                event_id: Some("11111111-2222-4333-8444-555555555555".into()),
                name: Some("A".into()),
                principal: Some("IAMUser".into()),
                access_key: Some("AKIAEXAMPLE".into()),
                ..IndexedFields::default()
            };
            assert_eq!(found, expected, "{odd}");
        }
    }
}
