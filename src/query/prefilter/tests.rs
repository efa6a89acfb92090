use super::*;
use proptest::prelude::*;

fn plan(predicate: &str) -> Plan {
    let time = r#""time": {"since": "2026-02-01T12:00:00Z", "until": "2026-02-03T00:00:00Z"}"#;
    serde_json::from_str(&format!(r#"{{{time}, "where": {predicate}, "events": {{"order": "as_read"}}}}"#)).unwrap()
}

fn texts(predicate: &str) -> Option<Vec<String>> {
    let mut texts = Prefilter::of_plan(&plan(predicate))?.texts();
    assert_eq!(texts.pop().as_deref(), Some("\\u00"));
    Some(texts)
}

#[test]
fn searched_texts_are_required_by_the_predicate() {
    let key = r#"{"field": "userIdentity.accessKeyId", "equals": ["AKIAIOSFODNN7EXAMPLE"]}"#;
    let name = r#"{"field": "eventName", "equals": ["GetObject", "PutObject"]}"#;
    let null = r#"{"field": "errorCode", "null": true}"#;
    let some = |texts: &[&str]| Some(texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>());
    for (predicate, expected) in [
        (key.to_owned(), some(&["AKIAIOSFODNN7EXAMPLE"])),
        (format!(r#"{{"all": [{name}, {key}, {null}]}}"#), some(&["AKIAIOSFODNN7EXAMPLE"])),
        (format!(r#"{{"any": [{name}, {key}]}}"#), some(&["GetObject", "PutObject", "AKIAIOSFODNN7EXAMPLE"])),
        (format!(r#"{{"any": [{name}, {null}]}}"#), None),
        (format!(r#"{{"not": {key}}}"#), None),
        (r#"{"any": []}"#.to_owned(), None),
        (r#"{"anywhere": "reports-prod/a"}"#.to_owned(), some(&["reports-prod"])),
        (r#"{"anywhere": "é"}"#.to_owned(), None),
        (
            r#"{"field": "userIdentity.arn", "prefix": ["arn:aws:iam::111122223333:user/x"]}"#.to_owned(),
            some(&["arn:aws:iam::111122223333:user"]),
        ),
        (r#"{"field": "userAgent", "contains": ["Boto3/1.34.51"]}"#.to_owned(), some(&["1.34.51"])),
        (r#"{"field": "day", "equals": ["2026-02-01"]}"#.to_owned(), None),
        (r#"{"field": "eventName", "equals": ["abc"]}"#.to_owned(), None),
    ] {
        assert_eq!(texts(&predicate), expected, "{predicate}");
    }
}

/// Writes a JSON string with another form for some of its characters.
fn escaped(text: &str, forms: &[u8]) -> String {
    let mut json = String::from("\"");
    for (index, c) in text.chars().enumerate() {
        match (c, forms.get(index).copied().unwrap_or_default() % 8) {
            ('/', 0..=3) => json.push_str("\\/"),
            ('"' | '\\', _) => json.extend(['\\', c]),
            (_, 0) if (c as u32) < 0x1_0000 => json.push_str(&format!("\\u{:04x}", c as u32)),
            (_, 1) if (c as u32) < 0x1_0000 => json.push_str(&format!("\\u{:04X}", c as u32)),
            _ => json.push(c),
        }
    }
    json.push('"');
    json
}

proptest! {
    #[test]
    fn line_with_the_value_is_found_in_every_form(
        value in "[a-zA-Z0-9:/\"\\\\é-]{0,30}",
        forms in proptest::collection::vec(any::<u8>(), 30),
        before in 0..3usize,
        after in 0..3usize,
    ) {
        let predicate = serde_json::json!({"any": [
            {"field": "eventName", "equals": [value.clone()]},
            {"all": [{"anywhere": format!("{value}x")}, {"field": "eventSource", "prefix": [format!("{value}y")]}]},
        ]});
        let line = format!(r#"{{"eventName":{}}}"#, escaped(&value, &forms));
        let other = r#"{"eventName":"other"}"#;
        let lines: Vec<&str> = [vec![other; before], vec![&*line], vec![other; after]].concat();
        let block = lines.join("\n") + "\n";
        if let Some(prefilter) = Prefilter::of_plan(&plan(&predicate.to_string())) {
            prop_assert!(prefilter.admits(line.as_bytes()));
            let mut search = prefilter.search(block.as_bytes());
            let mut found = Vec::new();
            while let Some(found_line) = search.next_line() {
                found.push(found_line);
            }
            prop_assert!(found.contains(&line.as_bytes()), "{found:?}");
            prop_assert!(found.iter().filter(|found| **found == line.as_bytes()).count() == 1);
        }
    }
}
