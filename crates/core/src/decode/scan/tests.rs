//! Compares the scanner with `serde_json` on valid and nearly valid values.

use super::*;
use proptest::prelude::*;

fn end(text: &str) -> Result<usize, Fault> {
    value(text.as_bytes(), 0).map(|found| found.end)
}

/// Generates JSON and nearly valid JSON.
fn nearly_json() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        Just(b"{".to_vec()),
        Just(b"}".to_vec()),
        Just(b"[".to_vec()),
        Just(b"]".to_vec()),
        Just(b",".to_vec()),
        Just(b":".to_vec()),
        Just(b" ".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\"a\"".to_vec()),
        Just(b"\"a\":".to_vec()),
        Just(b"\"\\u00e9\\n\\\"\"".to_vec()),
        Just(b"-0.5e+3".to_vec()),
        Just(b"01".to_vec()),
        Just(b"true".to_vec()),
        Just(b"null".to_vec()),
        Just(b"\"eventID\":\"x\"".to_vec()),
        proptest::collection::vec(any::<u8>(), 1..3),
    ];
    proptest::collection::vec(token, 0..14).prop_map(|tokens| tokens.concat())
}

/// Generates valid JSON values with all kinds of white space.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<f64>().prop_filter_map("finite", |value| serde_json::to_string(&value).ok()),
        ".{0,12}".prop_map(|text| serde_json::Value::from(text).to_string()),
    ];
    leaf.prop_recursive(6, 40, 5, |inner| {
        let space = "[ \t\r\n]{0,2}";
        prop_oneof![
            proptest::collection::vec((inner.clone(), space), 0..5).prop_map(|items| {
                let items: Vec<_> = items.into_iter().map(|(item, space)| format!("{space}{item}")).collect();
                format!("[{}]", items.join(","))
            }),
            proptest::collection::vec((".{0,6}", inner, space), 0..5).prop_map(|items| {
                let items: Vec<_> = items
                    .into_iter()
                    .map(|(name, item, space)| format!("{space}{}:{space}{item}", serde_json::Value::from(name)))
                    .collect();
                format!("{{{}}}", items.join(","))
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn scanner_accepts_exactly_what_serde_json_accepts(bytes in nearly_json()) {
        let ours = value(&bytes, bytes.iter().take_while(|byte| b" \n\t\r".contains(byte)).count());
        let complete = ours.as_ref().is_ok_and(|found| {
            bytes[found.end..].iter().all(|byte| b" \n\t\r".contains(byte)) && std::str::from_utf8(&bytes).is_ok()
        });
        let theirs = serde_json::from_slice::<&serde_json::value::RawValue>(&bytes).is_ok();
        prop_assert_eq!(complete, theirs, "{:?} {:?}", String::from_utf8_lossy(&bytes), ours);
    }

    #[test]
    fn prefix_of_a_container_is_incomplete(text in json()) {
        prop_assume!(text.starts_with(['{', '[']));
        for cut in 0..text.len() {
            prop_assert_eq!(value(&text.as_bytes()[..cut], 0).map(|found| found.end), Err(Fault::Incomplete));
        }
        prop_assert_eq!(end(&text), Ok(text.len()));
    }

    #[test]
    fn stripping_preserves_the_value_and_leaves_one_line(text in json()) {
        let (mut line, mut compact) = (Vec::new(), Vec::new());
        strip(text.as_bytes(), Strip::Breaks, &mut line);
        strip(text.as_bytes(), Strip::All, &mut compact);
        let before: serde_json::Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&serde_json::from_slice::<serde_json::Value>(&line).unwrap(), &before);
        prop_assert_eq!(&serde_json::from_slice::<serde_json::Value>(&compact).unwrap(), &before);
        prop_assert!(!line.contains(&b'\n') && !line.contains(&b'\r'));
        prop_assert!(compact.len() <= line.len() && line.len() <= text.len());
    }
}

#[test]
fn only_top_level_members_are_fields() {
    let text = br#"{"a":{"eventID":"no"},"eventID":"first","eventI\u0044":"last","awsRegion":{"x":"y"},"b":["eventTime"],"eventTime":null}"#;
    let found = value(text, 0).unwrap();
    let id = found.field(Field::Id).unwrap();
    assert_eq!(&text[id.range.clone()], b"last");
    assert_eq!(found.field(Field::Region), None);
    assert_eq!(found.field(Field::Time), None);
}

#[test]
fn nesting_beyond_the_limit_is_invalid() {
    assert_eq!(end(&format!("{}{}", "[".repeat(128), "]".repeat(128))), Ok(256));
    let deep = end(&format!("{}{}", "[".repeat(129), "]".repeat(129)));
    assert!(matches!(deep, Err(Fault::Invalid { at: 128, .. })), "{deep:?}");
}
