//! The fields of an event that the index and findings contain.

use crate::event::EventId;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// Selected fields of an event, with JSON escapes decoded. A field that is absent or not a text is `None`. On duplicate
/// keys the last value wins.
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
    /// Reads the fields of an event. An event that is not a JSON object has none.
    pub fn read(event: &'a [u8]) -> Self {
        let mut found = IndexedFields::default();
        let mut from = serde_json::Deserializer::from_slice(event);
        match EventVisitor(&mut found).deserialize(&mut from) {
            Ok(()) => found,
            Err(_) => IndexedFields::default(),
        }
    }

    /// Returns the event ID as in the ledger. For an event without an ID: the ID of the first event with this content.
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

struct EventVisitor<'f, 'a>(&'f mut IndexedFields<'a>);

impl<'a> DeserializeSeed<'a> for EventVisitor<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for EventVisitor<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        let found = self.0;
        let (mut identity, mut window) = (NestedFields::default(), NestedFields::default());
        let (mut aggregated_id, mut aggregated_account) = (None, None);
        while let Some(OptionalText(key)) = map.next_key()? {
            let field = match key.as_deref() {
                Some("eventID") => &mut found.event_id,
                Some("eventId") => &mut aggregated_id,
                Some("accountId") => &mut aggregated_account,
                Some("eventTime") => &mut found.time,
                Some("eventName") => &mut found.name,
                Some("eventSource") => &mut found.source,
                Some("recipientAccountId") => &mut found.account,
                Some("awsRegion") => &mut found.region,
                Some("sourceIPAddress") => &mut found.address,
                Some("errorCode") => &mut found.error,
                Some("userIdentity") => {
                    identity = map.next_value()?;
                    continue;
                }
                Some("timeWindow") => {
                    window = map.next_value()?;
                    continue;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *field = map.next_value::<OptionalText<'a>>()?.0;
        }
        if found.event_id.as_deref().is_none_or(str::is_empty) {
            found.event_id = aggregated_id;
        }
        found.time = found.time.take().or(window.start);
        found.account = found.account.take().or(aggregated_account).or(identity.account);
        found.principal = identity.arn.or(identity.invoked_by).or(identity.principal_id).or(identity.kind);
        found.access_key = identity.access_key;
        Ok(())
    }
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

impl<'a> serde::Deserialize<'a> for NestedFields<'a> {
    fn deserialize<D: Deserializer<'a>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(NestedVisitor)
    }
}

struct NestedVisitor;

impl<'a> Visitor<'a> for NestedVisitor {
    type Value = NestedFields<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("userIdentity or timeWindow")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<NestedFields<'a>, A::Error> {
        let mut found = NestedFields::default();
        while let Some(OptionalText(key)) = map.next_key()? {
            let field = match key.as_deref() {
                Some("arn") => &mut found.arn,
                Some("invokedBy") => &mut found.invoked_by,
                Some("principalId") => &mut found.principal_id,
                Some("type") => &mut found.kind,
                Some("accountId") => &mut found.account,
                Some("accessKeyId") => &mut found.access_key,
                Some("windowStart") => &mut found.start,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *field = map.next_value::<OptionalText<'a>>()?.0;
        }
        Ok(found)
    }

    fn visit_unit<E>(self) -> Result<NestedFields<'a>, E> {
        Ok(NestedFields::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<NestedFields<'a>, E> {
        Ok(NestedFields::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<NestedFields<'a>, E> {
        Ok(NestedFields::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<NestedFields<'a>, E> {
        Ok(NestedFields::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<NestedFields<'a>, E> {
        Ok(NestedFields::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<NestedFields<'a>, E> {
        Ok(NestedFields::default())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut items: A) -> Result<NestedFields<'a>, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(NestedFields::default())
    }
}

/// A text. Any other value is `None`.
struct OptionalText<'a>(Option<Cow<'a, str>>);

impl<'a> serde::Deserialize<'a> for OptionalText<'a> {
    fn deserialize<D: Deserializer<'a>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'a> Visitor<'a> for TextVisitor {
    type Value = OptionalText<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E>(self, text: &'a str) -> Result<OptionalText<'a>, E> {
        Ok(OptionalText(Some(Cow::Borrowed(text))))
    }

    fn visit_str<E>(self, text: &str) -> Result<OptionalText<'a>, E> {
        Ok(OptionalText(Some(Cow::Owned(text.to_owned()))))
    }

    fn visit_unit<E>(self) -> Result<OptionalText<'a>, E> {
        Ok(OptionalText(None))
    }

    fn visit_bool<E>(self, _: bool) -> Result<OptionalText<'a>, E> {
        Ok(OptionalText(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<OptionalText<'a>, E> {
        Ok(OptionalText(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<OptionalText<'a>, E> {
        Ok(OptionalText(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<OptionalText<'a>, E> {
        Ok(OptionalText(None))
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut items: A) -> Result<OptionalText<'a>, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(OptionalText(None))
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<OptionalText<'a>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(OptionalText(None))
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
    }
}
