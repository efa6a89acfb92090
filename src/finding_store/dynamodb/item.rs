//! Keys and attributes of the items.

use super::Attributes;
use crate::finding::FindingId;
use crate::ledger::store::StoreError;
use aws_sdk_dynamodb::types::AttributeValue;

/// The key of an item.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) pk: String,
    pub(super) sk: String,
}

impl Key {
    fn new(pk: String, sk: impl Into<String>) -> Self {
        Self { pk, sk: sk.into() }
    }

    pub(super) fn finding(rule: &str, hour: i64, id: FindingId) -> Self {
        Self::new(format!("rule#{rule}#{hour}"), format!("finding#{id}"))
    }

    /// Returns the key of a finding by the text of its ID.
    #[cfg(feature = "operate")]
    pub(super) fn finding_by_id(rule: &str, hour: i64, id: &str) -> Self {
        Self::new(format!("rule#{rule}#{hour}"), format!("finding#{id}"))
    }

    /// Returns the key of the number of findings of a rule in an hour.
    pub(super) fn count(rule: &str, hour: i64) -> Self {
        Self::new(format!("rule#{rule}#{hour}"), "count")
    }

    pub(super) fn window(group: &str, start: i64) -> Self {
        Self::new(format!("window#{group}"), sortable(start))
    }

    /// Returns the key of the marker of a window that is not closed.
    pub(super) fn open_window(end: i64, group: &str, start: i64) -> Self {
        Self::new("open".into(), format!("{}#{group}#{}", sortable(end), sortable(start)))
    }

    pub(super) fn pending(destination: &str, number: i64) -> Self {
        Self::new(format!("pending#{destination}"), sortable(number))
    }

    pub(super) fn failed(destination: &str, number: i64) -> Self {
        Self::new(format!("failed#{destination}"), sortable(number))
    }

    pub(super) fn circuit(destination: &str) -> Self {
        Self::new(format!("destination#{destination}"), "circuit")
    }

    pub(super) fn lease(destination: &str) -> Self {
        Self::new(format!("destination#{destination}"), "lease")
    }

    pub(super) fn rules() -> Self {
        Self::new("rules".into(), "current")
    }

    pub(super) fn rule_change(time: i64) -> Self {
        Self::new("rules".into(), format!("change#{}", sortable(time)))
    }

    pub(super) fn of(item: &Attributes) -> Result<Self, StoreError> {
        Ok(Self::new(string(item, "pk")?.to_owned(), string(item, "sk")?))
    }

    pub(super) fn attributes(&self) -> Attributes {
        attributes([("pk", text(&self.pk)), ("sk", text(&self.sk))])
    }
}

/// Returns a number as text. The texts have the same order as the numbers, also for negative numbers.
pub(super) fn sortable(number: i64) -> String {
    format!("{:020}", number.cast_unsigned() ^ (1 << 63))
}

/// Returns the number of a text that [`sortable`] returned.
pub(super) fn sorted_number(text: &str) -> Result<i64, StoreError> {
    let number: u64 =
        text.parse().map_err(|_| StoreError::Unreadable(format!("{text} is not the number of an alert")))?;
    Ok((number ^ (1 << 63)).cast_signed())
}

pub(super) fn attributes<const N: usize>(values: [(&str, AttributeValue); N]) -> Attributes {
    values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

pub(super) fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

pub(super) fn number(value: impl Into<i128>) -> AttributeValue {
    AttributeValue::N(value.into().to_string())
}

pub(super) fn json(value: &impl serde::Serialize) -> Result<AttributeValue, StoreError> {
    let rendered = serde_json::to_string(value).map_err(|error| StoreError::Unreadable(error.to_string()))?;
    Ok(AttributeValue::S(rendered))
}

/// Returns a text attribute, which must exist.
pub(super) fn string<'a>(item: &'a Attributes, name: &str) -> Result<&'a str, StoreError> {
    let found = item.get(name).and_then(|value| value.as_s().ok());
    found.map(String::as_str).ok_or_else(|| unreadable(item, name))
}

/// Returns a number, if it exists.
pub(super) fn optional_integer(item: &Attributes, name: &str) -> Result<Option<i64>, StoreError> {
    let Some(value) = item.get(name) else { return Ok(None) };
    let parsed = value.as_n().ok().and_then(|number| number.parse().ok());
    parsed.map(Some).ok_or_else(|| unreadable(item, name))
}

/// Returns a number, or 0 if it does not exist.
pub(super) fn integer(item: &Attributes, name: &str) -> Result<i64, StoreError> {
    Ok(optional_integer(item, name)?.unwrap_or(0))
}

/// Returns a value that is stored as JSON.
pub(super) fn parsed<T: serde::de::DeserializeOwned>(item: &Attributes, name: &str) -> Result<T, StoreError> {
    serde_json::from_str(string(item, name)?).map_err(|_| unreadable(item, name))
}

fn unreadable(item: &Attributes, name: &str) -> StoreError {
    let key = |name| item.get(name).and_then(|value| value.as_s().ok()).map_or("?", String::as_str);
    let (pk, sk) = (key("pk"), key("sk"));
    StoreError::Unreadable(format!(
        "the item {pk} {sk} has no valid attribute {name}; check that this is the table of the findings"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_sorted_as_text() {
        let numbers = [i64::MIN, -7_200, -1, 0, 1, 1_793_530_800, i64::MAX];
        let texts = numbers.map(sortable);
        assert!(texts.is_sorted() && texts.iter().all(|text| text.len() == 20), "{texts:?}");
        assert_eq!(texts.map(|text| sorted_number(&text).unwrap()), numbers);
        assert!(sorted_number("x").is_err());
    }
}
