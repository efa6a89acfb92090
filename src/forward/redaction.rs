//! Redaction: fields of an event that are removed, or replaced by a keyed hash, before it is sent. The delivered files keep
//! the original bytes.

use super::batch::hex;
use crate::event::field;
use crate::event::json::{RawValue, for_each_element, for_each_member};
use crate::http::SecretSource;
use ring::hmac;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The member that names the redacted fields of an event.
const NOTE: &str = "trailhoseRedacted";

/// The minimum length of a key in characters.
const MIN_KEY: usize = 32;

/// The fields that are removed or hashed before an event is sent. A field is a path such as
/// `userIdentity.userName`. A path continues in each element of an array.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RedactionConfig {
    /// The fields that are removed.
    pub remove: Vec<String>,
    /// The fields that are replaced by a hash.
    pub hash: Vec<String>,
    /// The key of the hash.
    pub key: Option<SecretSource>,
}

impl RedactionConfig {
    /// Checks the fields. Reads no key.
    ///
    /// # Errors
    /// No event of CloudTrail has the field, or it is invalid, named twice or part of another one. Or there is no key although
    /// there are fields to hash.
    pub fn check(&self) -> Result<(), String> {
        Redaction::new(self, None)?;
        for path in self.remove.iter().chain(&self.hash) {
            let names: Vec<String> = path.split('.').map(str::to_owned).collect();
            // A misspelled field would be sent as it is.
            field::check_presence(&names).map_err(|reason| format!("redact: {reason}"))?;
        }
        Ok(())
    }
}

/// What happens to a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Remove,
    Hash,
}

/// A member name of the redacted paths, with the names below it.
#[derive(Debug, Default)]
struct Node {
    /// At the end of a path: its action and its number.
    action: Option<(Action, usize)>,
    members: BTreeMap<Vec<u8>, Node>,
}

/// A redaction with its key.
pub(super) struct Redaction {
    root: Node,
    /// The paths, by their numbers.
    paths: Vec<(Action, String)>,
    key: Option<hmac::Key>,
}

impl std::fmt::Debug for Redaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redaction").field("paths", &self.paths).finish_non_exhaustive()
    }
}

impl Redaction {
    /// Checks the paths and reads the key.
    pub(super) fn open(config: &RedactionConfig) -> Result<Self, String> {
        let key = match &config.key {
            None => None,
            Some(source) => {
                let secret = source.read().map_err(|error| format!("redact: {error}"))?;
                if secret.expose().len() < MIN_KEY {
                    return Err(format!(
                        "redact: the key in {source} is too short: expected at least {MIN_KEY} characters"
                    ));
                }
                Some(hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes()))
            }
        };
        Self::new(config, key)
    }

    fn new(config: &RedactionConfig, key: Option<hmac::Key>) -> Result<Self, String> {
        if config.key.is_none() && !config.hash.is_empty() {
            return Err("redact: hash needs key_file or key_env".into());
        }
        let mut redaction = Self { root: Node::default(), paths: Vec::new(), key };
        for path in &config.remove {
            redaction.add(Action::Remove, path)?;
        }
        for path in &config.hash {
            redaction.add(Action::Hash, path)?;
        }
        Ok(redaction)
    }

    fn add(&mut self, action: Action, path: &str) -> Result<(), String> {
        if path.is_empty() || path.split('.').any(str::is_empty) {
            return Err(format!("redact: {path:?}: expected a field such as userIdentity.userName"));
        }
        if matches!(path, "eventID" | "eventId") {
            return Err(format!(
                "redact: {path} cannot be redacted: receivers need it to recognize an event that is sent again"
            ));
        }
        let mut node = &mut self.root;
        for name in path.split('.') {
            if node.action.is_some() {
                return Err(format!("redact: {path} is part of another redacted field"));
            }
            node = node.members.entry(name.as_bytes().to_vec()).or_default();
        }
        if node.action.is_some() || !node.members.is_empty() {
            return Err(format!("redact: {path} is named twice, or contains another redacted field"));
        }
        node.action = Some((action, self.paths.len()));
        self.paths.push((action, path.to_owned()));
        Ok(())
    }

    /// Returns the event with its fields removed or hashed, and with a member that names them. Returns `None` if the event
    /// contains none of the fields.
    ///
    /// # Errors
    /// The event is not a JSON object, so its fields cannot be found.
    pub(super) fn apply(&self, event: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let mut found = vec![false; self.paths.len()];
        let mut out = Vec::with_capacity(event.len() + 128);
        self.object(&self.root, event, &mut out, &mut found)
            .ok_or("it is not a JSON object, so its fields cannot be redacted")?;
        if !found.contains(&true) {
            return Ok(None);
        }
        let named = |wanted: Action| -> Vec<&str> {
            let paths = self.paths.iter().zip(&found);
            paths
                .filter(|((action, _), found)| **found && *action == wanted)
                .map(|((_, path), _)| path.as_str())
                .collect()
        };
        let mut note = serde_json::Map::new();
        for (name, paths) in [("removed", named(Action::Remove)), ("hashed", named(Action::Hash))] {
            if !paths.is_empty() {
                note.insert(name.into(), paths.into());
            }
        }
        // The member is inserted before the closing brace.
        out.pop();
        if out.last() != Some(&b'{') {
            out.push(b',');
        }
        out.extend_from_slice(format!("\"{NOTE}\":{}}}", serde_json::Value::Object(note)).as_bytes());
        Ok(Some(out))
    }

    /// Appends an object with its members removed or hashed.
    fn object(&self, node: &Node, object: &[u8], out: &mut Vec<u8>, found: &mut [bool]) -> Option<()> {
        out.push(b'{');
        let mut is_first = true;
        let mut is_complete = true;
        for_each_member(object, |name, value, _| {
            let next = node.members.get(name.text().as_ref());
            if let Some((Action::Remove, number)) = next.and_then(|next| next.action) {
                found[number] = true;
                return;
            }
            if !std::mem::take(&mut is_first) {
                out.push(b',');
            }
            out.push(b'"');
            out.extend_from_slice(name.bytes);
            out.extend_from_slice(b"\":");
            match next {
                Some(next) => is_complete &= self.value(next, value, out, found).is_some(),
                None => out.extend_from_slice(value.bytes),
            }
        })?;
        out.push(b'}');
        is_complete.then_some(())
    }

    /// Appends a value with its members removed or hashed, or the hash of the value.
    fn value(&self, node: &Node, value: RawValue<'_>, out: &mut Vec<u8>, found: &mut [bool]) -> Option<()> {
        if let Some((_, number)) = node.action {
            found[number] = true;
            out.extend_from_slice(format!("\"{}\"", self.hash(value)?).as_bytes());
            return Some(());
        }
        match value.bytes {
            [b'{', ..] => self.object(node, value.bytes, out, found),
            [b'[', ..] => {
                out.push(b'[');
                let (mut is_first, mut is_complete) = (true, true);
                for_each_element(value.bytes, |element| {
                    if !std::mem::take(&mut is_first) {
                        out.push(b',');
                    }
                    is_complete &= self.value(node, element, out, found).is_some();
                })?;
                out.push(b']');
                is_complete.then_some(())
            }
            other => {
                out.extend_from_slice(other);
                Some(())
            }
        }
    }

    /// Returns the keyed hash of a value. The escapes of a string are decoded first, so that equal strings have equal
    /// hashes.
    fn hash(&self, value: RawValue<'_>) -> Option<String> {
        let content: Cow<'_, [u8]> = match value.bytes {
            [b'"', text @ .., b'"'] if !value.has_escape => Cow::Borrowed(text),
            [b'"', ..] => match serde_json::from_slice::<String>(value.bytes) {
                Ok(text) => Cow::Owned(text.into_bytes()),
                Err(_) => Cow::Borrowed(value.bytes),
            },
            other => Cow::Borrowed(other),
        };
        let signed = hmac::sign(self.key.as_ref()?, &content);
        Some(format!("hmac-sha256:{}", hex(signed.as_ref())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef0123456789abcdef";

    fn open(remove: &[&str], hash: &[&str]) -> Result<Redaction, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, KEY).unwrap();
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Redaction::open(&RedactionConfig {
            remove: texts(remove),
            hash: texts(hash),
            key: Some(SecretSource::File(path)),
        })
    }

    fn applied(redaction: &Redaction, event: &str) -> Option<String> {
        redaction.apply(event.as_bytes()).unwrap().map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn other_fields_keep_their_bytes_and_the_event_names_the_redacted_fields() {
        let redaction = open(&["a.b", "list.secret"], &["ip"]).unwrap();
        let event = r#"{"n":1.50e2,"a":{"b":{"x":1},"c":"\u00e9"},"ip":"198.51.100.7","list":[{"secret":1,"k":2},3]}"#;
        let hash = hex(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, KEY.as_bytes()), b"198.51.100.7").as_ref());
        let expected = format!(
            r#"{{"n":1.50e2,"a":{{"c":"\u00e9"}},"ip":"hmac-sha256:{hash}","list":[{{"k":2}},3],"trailhoseRedacted":{{"hashed":["ip"],"removed":["a.b","list.secret"]}}}}"#
        );
        assert_eq!(applied(&redaction, event).unwrap(), expected);
        assert_eq!(applied(&redaction, r#"{"a":{},"x":1}"#), None, "an event without these fields is unchanged");
    }

    #[test]
    fn escaped_names_are_redacted_and_escaped_values_have_the_same_hash() {
        let redaction = open(&["secret"], &["ip"]).unwrap();
        let event = applied(&redaction, r#"{"s\u0065cret":"hunter2","secret":"hunter2","ip":"a\u0062"}"#).unwrap();
        assert!(!event.contains("hunter2"), "{event}");
        let plain = applied(&redaction, r#"{"ip":"ab"}"#).unwrap();
        assert_eq!(event.split("\"trailhose").next(), plain.split("\"trailhose").next());
        assert_eq!(applied(&redaction, r#"{"secret":1}"#).unwrap(), r#"{"trailhoseRedacted":{"removed":["secret"]}}"#);
    }

    #[test]
    fn event_that_cannot_be_redacted_is_not_returned() {
        let redaction = open(&["a.b"], &[]).unwrap();
        for event in ["[]", "{\"a\":{\"b\":1}", ""] {
            assert!(redaction.apply(event.as_bytes()).is_err(), "{event}");
        }
    }

    #[test]
    fn misspelled_field_is_refused() {
        let check =
            |remove: &str| RedactionConfig { remove: vec![remove.into()], ..RedactionConfig::default() }.check();
        for field in ["requestParameters", "requestParameters.policy", "userIdentity.userName", "resources.ARN"] {
            assert_eq!(check(field), Ok(()), "{field}");
        }
        for (field, expected) in [
            ("requestParametrs", "did you mean requestParameters?"),
            ("requestparameters", "did you mean requestParameters?"),
            ("userIdentity.username", "did you mean userIdentity.userName?"),
        ] {
            let error = check(field).unwrap_err();
            assert!(error.starts_with("redact: ") && error.contains(expected), "{error}");
        }
    }

    #[test]
    fn invalid_paths_are_refused() {
        for (remove, hash, expected) in [
            (&["a..b"][..], &[][..], "expected a field"),
            (&["eventID"], &[], "cannot be redacted"),
            (&["a", "a.b"], &[], "part of another"),
            (&["a.b", "a"], &[], "contains another"),
            (&["a"], &["a"], "named twice"),
        ] {
            let error = open(remove, hash).unwrap_err();
            assert!(error.contains(expected), "{remove:?}: {error}");
        }
        let without_key = RedactionConfig { hash: vec!["a".into()], ..RedactionConfig::default() };
        assert!(Redaction::open(&without_key).unwrap_err().contains("key_file"));
    }
}
