//! Decides whether S3 accepts two notification rules on one bucket.
//!
//! S3 refuses two rules if both apply to the same event of the same key, and its error does not name them.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-how-to-filtering.html>

/// The keys that a rule applies to: those with this prefix and this suffix. Both can be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyFilter {
    /// Start of the key.
    pub prefix: String,
    /// End of the key.
    pub suffix: String,
}

impl KeyFilter {
    /// Returns whether a key can exist that both filters accept. For two filters whose prefixes and suffixes fit, such a
    /// key always exists: the longer prefix followed by the longer suffix.
    pub fn overlaps(&self, other: &Self) -> bool {
        let (a, b) = (&self.prefix, &other.prefix);
        let prefixes = a.starts_with(b.as_str()) || b.starts_with(a.as_str());
        let (a, b) = (&self.suffix, &other.suffix);
        prefixes && (a.ends_with(b.as_str()) || b.ends_with(a.as_str()))
    }
}

impl std::fmt::Display for KeyFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.prefix.as_str(), self.suffix.as_str()) {
            ("", "") => f.write_str("all keys"),
            (prefix, "") => write!(f, "keys with the prefix {prefix}"),
            ("", suffix) => write!(f, "keys with the suffix {suffix}"),
            (prefix, suffix) => write!(f, "keys with the prefix {prefix} and the suffix {suffix}"),
        }
    }
}

/// Returns whether two event types of S3 have an event in common. `s3:ObjectCreated:*` contains `s3:ObjectCreated:Put`.
pub(super) fn event_types_overlap(a: &str, b: &str) -> bool {
    a == b || contains(a, b) || contains(b, a)
}

fn contains(all: &str, one: &str) -> bool {
    let stem = all.strip_suffix('*').filter(|stem| stem.ends_with(':'));
    stem.is_some_and(|stem| one.starts_with(stem))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn event_types_overlap_if_they_have_an_event_in_common() {
        for (a, b, overlap) in [
            ("s3:ObjectCreated:*", "s3:ObjectCreated:*", true),
            ("s3:ObjectCreated:*", "s3:ObjectCreated:Put", true),
            ("s3:ObjectCreated:Copy", "s3:ObjectCreated:*", true),
            ("s3:ObjectCreated:Put", "s3:ObjectCreated:Post", false),
            ("s3:ObjectCreated:*", "s3:ObjectRemoved:*", false),
            ("s3:ObjectRestore:*", "s3:ObjectRestore:Completed", true),
            ("s3:ObjectAcl:Put", "s3:ObjectCreated:Put", false),
            ("s3:ReducedRedundancyLostObject", "s3:ReducedRedundancyLostObject", true),
            ("s3:LifecycleTransition", "s3:LifecycleExpiration:*", false),
            ("s3:ObjectCreated*", "s3:ObjectCreated:Put", false),
        ] {
            assert_eq!(event_types_overlap(a, b), overlap, "{a} {b}");
        }
    }

    fn filter(prefix: &str, suffix: &str) -> KeyFilter {
        KeyFilter { prefix: prefix.into(), suffix: suffix.into() }
    }

    #[test]
    fn filters_overlap_if_one_key_can_match_both() {
        for (a, b, overlap) in [
            (("", ""), ("", ""), true),
            (("", ""), ("config/", ""), true),
            (("AWSLogs/", ""), ("AWSLogs/111122223333/", ".json.gz"), true),
            (("AWSLogs/", ""), ("config/", ""), false),
            (("", ".json.gz"), ("", ".gz"), true),
            (("", ".json.gz"), ("", ".jpg"), false),
            (("a", ".gz"), ("b", ".gz"), false),
            (("a", ".gz"), ("a", ".jpg"), false),
        ] {
            let (a, b) = (filter(a.0, a.1), filter(b.0, b.1));
            assert_eq!((a.overlaps(&b), b.overlaps(&a)), (overlap, overlap), "{a} {b}");
        }
    }

    /// Returns all keys of at most four characters, which is the longest prefix and the longest suffix of the test.
    fn keys() -> Vec<String> {
        let mut all = vec![String::new()];
        let mut last = all.clone();
        for _ in 0..4 {
            last = last.iter().flat_map(|key| ["a", "b"].map(|c| format!("{key}{c}"))).collect();
            all.extend(last.iter().cloned());
        }
        all
    }

    /// Event types and the events that each contains.
    const EVENT_TYPES: [(&str, &[&str]); 6] = [
        ("s3:ObjectCreated:*", &["created put", "created post", "created copy"]),
        ("s3:ObjectCreated:Put", &["created put"]),
        ("s3:ObjectCreated:Copy", &["created copy"]),
        ("s3:ObjectRemoved:*", &["removed delete", "removed marker"]),
        ("s3:ObjectRemoved:Delete", &["removed delete"]),
        ("s3:LifecycleTransition", &["transition"]),
    ];

    proptest! {
        #[test]
        fn overlap_equals_a_search_over_keys_and_events(
            prefixes in ["[ab]{0,2}", "[ab]{0,2}"],
            suffixes in ["[ab]{0,2}", "[ab]{0,2}"],
            types in [0..EVENT_TYPES.len(), 0..EVENT_TYPES.len()],
        ) {
            let filters = [0, 1].map(|at| filter(&prefixes[at], &suffixes[at]));
            let matches = |filter: &KeyFilter, key: &String| key.starts_with(&filter.prefix) && key.ends_with(&filter.suffix);
            let expected = keys().iter().any(|key| filters.iter().all(|filter| matches(filter, key)));
            prop_assert_eq!(filters[0].overlaps(&filters[1]), expected);
            let [(a, events), (b, others)] = types.map(|at| EVENT_TYPES[at]);
            prop_assert_eq!(event_types_overlap(a, b), events.iter().any(|event| others.contains(event)));
        }
    }
}
