//! Reads selected top-level members of an event and skips the others.

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::HashMap;

/// Returns the members whose names `selected` accepts. On duplicate keys the last value wins. Other members are not
/// kept in memory, because an event may have millions of them.
///
/// # Errors
/// The error of the JSON parser if `line` is not exactly one JSON object.
pub fn members(line: &[u8], selected: impl Fn(&str) -> bool) -> serde_json::Result<HashMap<String, &RawValue>> {
    let mut from = serde_json::Deserializer::from_slice(line);
    let members = MemberVisitor(selected).deserialize(&mut from)?;
    from.end()?;
    Ok(members)
}

struct MemberVisitor<F>(F);

impl<'de, F: Fn(&str) -> bool> DeserializeSeed<'de> for MemberVisitor<F> {
    type Value = HashMap<String, &'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de, F: Fn(&str) -> bool> Visitor<'de> for MemberVisitor<F> {
    type Value = HashMap<String, &'de RawValue>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = HashMap::new();
        while let Some(name) = map.next_key::<String>()? {
            if (self.0)(&name) {
                members.insert(name, map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(members)
    }
}
