//! Converts rows and pages to items and back.

use super::Attributes;
use crate::ledger::cost;
use crate::ledger::model::ordinals::OrdinalSet;
use crate::ledger::model::page::{Page, PageName, Version};
use crate::ledger::model::row::{Counts, Row, Seconds, Status, Token};
use crate::ledger::store::StoreError;
use crate::object::{Object, ObjectId};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use std::str::FromStr;

pub(super) fn row_key_text(id: ObjectId) -> String {
    format!("o#{id}")
}

pub(super) fn row_key(id: ObjectId) -> AttributeValue {
    AttributeValue::S(row_key_text(id))
}

pub(super) fn page_key_text(name: &PageName) -> String {
    format!("p#{name}")
}

pub(super) fn key(item: &Attributes) -> Result<&str, StoreError> {
    text(item, "pk")?
        .ok_or_else(|| StoreError::Unreadable("an item has no attribute pk; is this the ledger's table?".to_owned()))
}

pub(super) fn row(item: &Attributes) -> Result<Row, StoreError> {
    let pk = key(item)?;
    let required = |name: &'static str| text(item, name)?.ok_or_else(|| unreadable(pk, name, "a string"));
    let status = required("status")?;
    let token = text(item, "token")?.map(|token| {
        u128::from_str_radix(token, 16).map(Token).map_err(|_| unreadable(pk, "token", "32 hexadecimal digits"))
    });
    let counts = match number(item, "seen")? {
        None => None,
        Some(seen) => Some(Counts {
            seen,
            delivered: number(item, "delivered")?.unwrap_or_default(),
            duplicate: number(item, "duplicate")?.unwrap_or_default(),
            filtered: number(item, "filtered")?.unwrap_or_default(),
            oversize: number(item, "oversize")?.unwrap_or_default(),
        }),
    };
    Ok(Row {
        object: Object {
            bucket: required("bucket")?.to_owned(),
            key: required("key")?.to_owned(),
            etag: required("etag")?.to_owned(),
        },
        status: Status::parse(status).ok_or_else(|| unreadable(pk, "status", "a known status"))?,
        token: token.transpose()?,
        until: number(item, "until")?.unwrap_or_default(),
        cursor: number(item, "cursor")?.unwrap_or_default(),
        acknowledged: match item.get("acknowledged") {
            None => OrdinalSet::default(),
            Some(AttributeValue::B(bytes)) => OrdinalSet::decode(bytes.as_ref())
                .map_err(|error| StoreError::Unreadable(format!("item {pk}: attribute acknowledged: {error}")))?,
            Some(_) => return Err(unreadable(pk, "acknowledged", "bytes")),
        },
        counts,
        reason: text(item, "reason")?.map(str::to_owned),
        quarantined_at: text(item, "quarantined_at")?.map(|text| parse_time(pk, text)).transpose()?,
        accepted: text(item, "accepted")?.map(str::to_owned),
        expires: number(item, "expires")?,
    })
}

pub(super) fn page_item(name: &PageName, page: &Page) -> Attributes {
    let mut item = Attributes::from([
        ("pk".to_owned(), AttributeValue::S(page_key_text(name))),
        ("v".to_owned(), AttributeValue::N(page.version.0.to_string())),
        ("expires".to_owned(), AttributeValue::N(page.expires.to_string())),
        ("e".to_owned(), AttributeValue::B(Blob::new(page.encode()))),
    ]);
    if page.full {
        item.insert("f".to_owned(), AttributeValue::Bool(true));
    }
    item
}

pub(super) fn page(item: &Attributes) -> Result<Page, StoreError> {
    let pk = key(item)?;
    let version = number(item, "v")?.ok_or_else(|| unreadable(pk, "v", "a number"))?;
    let expires = number(item, "expires")?.ok_or_else(|| unreadable(pk, "expires", "a number"))?;
    let full = matches!(item.get("f"), Some(AttributeValue::Bool(true)));
    let Some(AttributeValue::B(entries)) = item.get("e") else { return Err(unreadable(pk, "e", "bytes")) };
    Page::decode(Version(version), full, expires, entries.as_ref())
        .map_err(|error| StoreError::Unreadable(format!("item {pk}: {error}")))
}

/// Returns the version in the item with the schema version.
pub(super) fn schema_version(item: &Attributes) -> Result<u32, StoreError> {
    number(item, "version")?.ok_or_else(|| unreadable(super::schema::KEY, "version", "a number"))
}

/// Returns a time as it is stored in `quarantined_at`. A text, because the console shows the attribute to people.
pub(super) fn time_text(seconds: Seconds) -> String {
    let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX);
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Parses the result of [`time_text`].
fn parse_time(pk: &str, text: &str) -> Result<Seconds, StoreError> {
    let time: Result<jiff::Timestamp, _> = text.parse();
    time.map(jiff::Timestamp::as_second).map_err(|_| unreadable(pk, "quarantined_at", "a time"))
}

/// Returns the billed size of an item in bytes.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html>
pub(super) fn bytes(item: &Attributes) -> usize {
    let value = |value: &AttributeValue| match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(number) => number.parse().map_or(21, cost::number_bytes),
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        // Booleans take one byte. No other type is written.
        _ => 1,
    };
    item.iter().map(|(name, attribute)| name.len() + value(attribute)).sum()
}

fn text<'a>(item: &'a Attributes, name: &'static str) -> Result<Option<&'a str>, StoreError> {
    match item.get(name) {
        None => Ok(None),
        Some(AttributeValue::S(text)) => Ok(Some(text)),
        Some(_) => Err(unreadable("?", name, "a string")),
    }
}

fn number<T: FromStr>(item: &Attributes, name: &'static str) -> Result<Option<T>, StoreError> {
    match item.get(name) {
        None => Ok(None),
        Some(AttributeValue::N(text)) => text.parse().map(Some).map_err(|_| unreadable("?", name, "a number in range")),
        Some(_) => Err(unreadable("?", name, "a number")),
    }
}

fn unreadable(pk: &str, name: &str, expected: &str) -> StoreError {
    StoreError::Unreadable(format!("item {pk}: expected {expected} in attribute {name}; is this the ledger's table?"))
}
