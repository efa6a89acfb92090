//! The columns of a compacted event: the fields of the lake's table `events`, and the event's own bytes.

use super::CompactError;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::TypePtr;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt::{self, Write as _};
use std::sync::{Arc, LazyLock};

/// The fields that have columns, in the order of the columns. The name of a column is that of the field in lower case, as
/// Glue and Athena require. Fields of objects are columns of a struct. A test compares the columns with those of the table
/// `events` in `template.yaml`.
const FIELDS: [&str; 55] = [
    "eventTime",
    "eventSource",
    "eventName",
    "sourceIPAddress",
    "errorCode",
    "errorMessage",
    "recipientAccountId",
    "awsRegion",
    "readOnly",
    "userAgent",
    "userIdentity.type",
    "userIdentity.arn",
    "userIdentity.principalId",
    "userIdentity.userName",
    "userIdentity.accountId",
    "userIdentity.accessKeyId",
    "userIdentity.invokedBy",
    "userIdentity.identityProvider",
    "userIdentity.onBehalfOf.userId",
    "userIdentity.onBehalfOf.identityStoreArn",
    "userIdentity.sessionContext.sessionIssuer.type",
    "userIdentity.sessionContext.sessionIssuer.arn",
    "userIdentity.sessionContext.sessionIssuer.userName",
    "userIdentity.sessionContext.sessionIssuer.principalId",
    "userIdentity.sessionContext.sessionIssuer.accountId",
    "userIdentity.sessionContext.attributes.mfaAuthenticated",
    "userIdentity.sessionContext.attributes.creationDate",
    "userIdentity.sessionContext.sourceIdentity",
    "userIdentity.sessionContext.webIdFederationData.federatedProvider",
    "userIdentity.sessionContext.ec2RoleDelivery",
    "userIdentity.credentialId",
    "sessionCredentialFromConsole",
    "eventID",
    "eventType",
    "eventCategory",
    "managementEvent",
    "apiVersion",
    "eventVersion",
    "requestID",
    "sharedEventID",
    "vpcEndpointId",
    "vpcEndpointAccountId",
    "tlsDetails.tlsVersion",
    "tlsDetails.cipherSuite",
    "tlsDetails.clientProvidedHostHeader",
    "requestParameters",
    "responseElements",
    "additionalEventData",
    "resources",
    "serviceEventDetails",
    "eventContext",
    "addendum",
    "edgeDeviceDetails",
    "insightDetails",
    "trailhose.oversize.location",
];

/// The column of the event time.
const TIME: usize = 0;

/// The column of the event's own bytes, which is the last one.
pub(super) const LINE: &str = "line";

/// Columns whose values rarely repeat. A dictionary would only cost time and memory.
pub(super) const DISTINCT: [&str; 4] = ["eventid", "requestid", "eventtime", LINE];

/// The number of columns.
pub(super) const COLUMNS: usize = FIELDS.len() + 1;

/// A field of an event: a column, or an object with further fields.
struct ColumnField {
    name: &'static str,
    /// The number of objects around the field, including the event.
    depth: i16,
    /// The columns of the field, as a range.
    first: usize,
    end: usize,
    /// The fields of the object. Empty for a column.
    fields: Vec<ColumnField>,
}

static EVENT: LazyLock<ColumnField> = LazyLock::new(|| {
    let mut event = ColumnField { name: "", depth: 0, first: 0, end: FIELDS.len(), fields: Vec::new() };
    for (column, path) in FIELDS.iter().enumerate() {
        let mut parent = &mut event;
        for (depth, name) in (1..).zip(path.split('.')) {
            // Columns of one struct are adjacent in the list.
            if parent.fields.last().is_none_or(|field| field.name != name) {
                parent.fields.push(ColumnField { name, depth, first: column, end: column, fields: Vec::new() });
            }
            let last = parent.fields.len() - 1;
            parent = &mut parent.fields[last];
            parent.end = column + 1;
        }
    }
    event
});

/// The schema of a file.
static SCHEMA: LazyLock<Result<TypePtr, String>> = LazyLock::new(|| {
    let mut message = String::from("message event {\n");
    write_message(&EVENT.fields, &mut message);
    let _ = write!(message, "required binary {LINE} (STRING);\n}}");
    parse_message_type(&message).map(Arc::new).map_err(|error| error.to_string())
});

fn write_message(fields: &[ColumnField], message: &mut String) {
    for field in fields {
        let name = field.name.to_lowercase();
        if field.fields.is_empty() {
            let _ = writeln!(message, "optional binary {name} (STRING);");
        } else {
            let _ = writeln!(message, "optional group {name} {{");
            write_message(&field.fields, message);
            message.push_str("}\n");
        }
    }
}

/// Returns the schema of a file.
pub(super) fn schema() -> Result<TypePtr, CompactError> {
    SCHEMA.clone().map_err(CompactError::Parquet)
}

/// Returns the names and types of the columns for a `CREATE TABLE` statement, one on each line.
pub(super) fn definitions() -> String {
    let mut text = String::new();
    for field in &EVENT.fields {
        let _ = writeln!(text, "  `{}` {},", field.name.to_lowercase(), sql_type(field));
    }
    let _ = write!(text, "  `{LINE}` string");
    text
}

fn sql_type(field: &ColumnField) -> String {
    if field.fields.is_empty() {
        return "string".into();
    }
    let fields = field.fields.iter().map(|field| format!("{}:{}", field.name.to_lowercase(), sql_type(field)));
    format!("struct<{}>", fields.collect::<Vec<_>>().join(","))
}

/// The values of one event, in the order of the columns, without its bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct EventColumns {
    values: Vec<ColumnValue>,
}

/// A value with its definition level: the number of objects around it that are present, plus 1 if the value is present.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ColumnValue {
    pub(super) level: i16,
    pub(super) text: Option<String>,
}

impl EventColumns {
    /// Reads an event. Returns whether it is a JSON object; if not, no column has a value. On duplicate keys the last value
    /// wins.
    pub(super) fn read(&mut self, event: &[u8]) -> bool {
        self.values.clear();
        self.values.resize(FIELDS.len(), ColumnValue::default());
        let mut from = serde_json::Deserializer::from_slice(event);
        let read = ObjectSeed { object: &EVENT, values: &mut self.values }.deserialize(&mut from);
        let is_object = read.and_then(|()| from.end()).is_ok();
        if !is_object {
            self.values.fill(ColumnValue::default());
        }
        is_object
    }

    /// Returns the values.
    pub(super) fn values(&self) -> &[ColumnValue] {
        &self.values
    }

    /// Returns the text of `eventTime`.
    pub(super) fn time(&self) -> Option<&str> {
        self.values.get(TIME)?.text.as_deref()
    }
}

/// Reads an object whose fields are known.
struct ObjectSeed<'f> {
    object: &'static ColumnField,
    values: &'f mut [ColumnValue],
}

impl<'de> DeserializeSeed<'de> for ObjectSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ObjectSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(field) = map.next_key_seed(KeySeed(&self.object.fields))? {
            let Some(field) = field else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let raw: &RawValue = map.next_value()?;
            let values = &mut self.values[field.first..field.end];
            // An earlier value of the same key is replaced.
            values.fill(ColumnValue { level: self.object.depth, text: None });
            if field.fields.is_empty() {
                if let Some(text) = column_text(raw) {
                    values[0] = ColumnValue { level: field.depth, text: Some(text) };
                }
            } else if raw.get().starts_with('{') {
                values.fill(ColumnValue { level: field.depth, text: None });
                let mut from = serde_json::Deserializer::from_str(raw.get());
                let values = &mut *self.values;
                ObjectSeed { object: field, values }.deserialize(&mut from).map_err(serde::de::Error::custom)?;
            }
        }
        Ok(())
    }
}

/// Returns the field with the name of a key, if there is one.
struct KeySeed(&'static [ColumnField]);

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Option<&'static ColumnField>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed {
    type Value = Option<&'static ColumnField>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().find(|field| field.name == key))
    }
}

/// Returns the text of a column as the table `events` shows it: a text without quotes, and the JSON of anything else.
fn column_text(raw: &RawValue) -> Option<String> {
    match raw.get() {
        "null" => None,
        text if text.starts_with('"') => serde_json::from_str(text).ok(),
        json => Some(json.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the columns whose level is above 0, with their names.
    fn present(event: &str) -> Vec<(&'static str, ColumnValue)> {
        let mut columns = EventColumns::default();
        columns.read(event.as_bytes());
        FIELDS.into_iter().zip(columns.values).filter(|(_, value)| value.level > 0).collect()
    }

    #[test]
    fn text_object_and_number_have_the_value_of_the_table_events() {
        let event = r#"{"eventTime":"2026-11-01T00:00:00Z","readOnly":true,"requestParameters":{"a": [1, 2]},"apiVersion":1.50,
            "userAgent":"a\u0022b","errorCode":null,"unknown":{"eventName":"x"}}"#;
        let values = present(event);
        let texts: Vec<_> =
            values.iter().map(|(name, value)| (*name, value.level, value.text.as_deref().unwrap())).collect();
        assert_eq!(
            texts,
            [
                ("eventTime", 1, "2026-11-01T00:00:00Z"),
                ("readOnly", 1, "true"),
                ("userAgent", 1, "a\"b"),
                ("apiVersion", 1, "1.50"),
                ("requestParameters", 1, "{\"a\": [1, 2]}"),
            ]
        );
    }

    #[test]
    fn struct_with_missing_fields_is_not_a_missing_struct() {
        let values = present(r#"{"userIdentity":{"sessionContext":{}}}"#);
        let level = |name: &str| values.iter().find(|(field, _)| *field == name).map(|(_, value)| value.level);
        assert_eq!(level("userIdentity.arn"), Some(1));
        assert_eq!(level("userIdentity.sessionContext.attributes.creationDate"), Some(2));
        assert_eq!(level("tlsDetails.tlsVersion"), None);
    }

    #[test]
    fn last_of_two_keys_is_used() {
        let values = present(
            r#"{"userIdentity":{"arn":"a","type":"x"},"userIdentity":{"arn":"b"},"eventID":"1","eventID":null}"#,
        );
        let texts: Vec<_> =
            values.into_iter().filter_map(|(name, value)| value.text.map(|text| (name, text))).collect();
        assert_eq!(texts, [("userIdentity.arn", "b".to_owned())]);
    }

    #[test]
    fn bytes_that_are_not_an_object_have_no_values() {
        for bytes in ["[]", "{\"eventTime\":\"2026\"", "", "{} {}", "\"eventTime\""] {
            assert!(!EventColumns::default().read(bytes.as_bytes()) && present(bytes).is_empty(), "{bytes}");
        }
    }
}
