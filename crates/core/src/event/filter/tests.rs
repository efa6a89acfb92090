//! Tests of the one-line syntax and of decisions.

use super::*;

fn drops(rules: &str, line: &str) -> bool {
    Filter::parse(rules).unwrap().drops(line.as_bytes())
}

#[test]
fn rule_matches_if_all_fields_match_and_one_rule_suffices() {
    let decrypt = r#"{"eventSource":"kms.amazonaws.com","eventName":"Decrypt","readOnly":true}"#;
    let rules = "eventSource=kms.amazonaws.com,eventName=Encrypt|Decrypt; eventName=Noise";
    assert!(drops(rules, decrypt));
    assert!(drops("readOnly=true", decrypt));
    assert!(!drops("eventSource=kms.amazonaws.com,eventName=Encrypt", decrypt));
    assert!(drops(rules, r#"{"eventName":"Noise"}"#));
    assert!(!drops(rules, r#"{"requestParameters":{"eventName":"Noise"}}"#));
}

#[test]
fn empty_filter_and_invalid_line_drop_nothing() {
    assert!(!drops("", "{}"));
    assert!(!drops("eventName=b", "not json"));
    assert!(!drops("eventName=b", r#"{"eventName":["b"]}"#));
    for line in
        ["", "{", "[]", r#"{"eventName":"b""#, r#"{"eventName":"b"}x"#, r#"{"eventName" "b"}"#, r#"{eventName:"b"}"#]
    {
        assert!(!drops("eventName=b", line), "{line}");
    }
}

#[test]
fn null_numbers_and_escapes_are_compared_by_their_text() {
    assert!(drops("errorCode=null", r#"{"errorCode":null}"#));
    assert!(drops("errorCode=null", r#"{"errorCode":"null"}"#));
    assert!(!drops("errorCode=null", "{}"));
    assert!(drops("apiVersion=1.50", r#"{ "apiVersion" : 1.50 }"#));
    assert!(drops("eventName=Decrypt", r#"{"event\u004eame":"\u0044ecrypt"}"#));
    assert!(!drops("userAgent=Root", r#"{"userAgent":{"a":"Root"}}"#));
}

#[test]
fn last_of_duplicate_fields_decides() {
    assert!(drops("eventName=b", r#"{"eventName":"a","eventName":"b"}"#));
    assert!(!drops("eventName=a", r#"{"eventName":"a","eventName":"b"}"#));
}

#[test]
fn first_matching_rule_decides() {
    let filter = Filter::parse("readOnly=true; eventName=a; eventSource=s; eventName=a,eventSource=s").unwrap();
    for (line, rule) in [
        (r#"{"eventName":"a","readOnly":true,"eventSource":"s"}"#, Some(0)),
        (r#"{"eventName":"a","eventSource":"s"}"#, Some(1)),
        (r#"{"eventName":"b","eventSource":"s"}"#, Some(2)),
        (r#"{"eventName":"b"}"#, None),
    ] {
        let expected = match rule {
            Some(number) => Decision::Dropped(filter.rules().nth(number)),
            None => Decision::Kept(None),
        };
        assert_eq!(filter.decide(line.as_bytes()), expected, "{line}");
    }
}

#[test]
fn rule_that_is_tested_for_every_event_does_not_decide_before_an_earlier_rule() {
    let filter = Filter::parse("eventSource=s; eventName=a; readOnly=true").unwrap();
    for (line, rule) in [
        (r#"{"eventSource":"s","eventName":"a","readOnly":true}"#, 0),
        (r#"{"eventSource":"t","eventName":"a","readOnly":true}"#, 1),
        (r#"{"eventSource":"t","eventName":"b","readOnly":true}"#, 2),
    ] {
        assert_eq!(filter.decide(line.as_bytes()), Decision::Dropped(filter.rules().nth(rule)), "{line}");
    }
}

#[test]
fn unknown_and_nested_fields_and_values_that_never_occur_are_rejected() {
    for (text, expected) in [
        ("eventsource=kms.amazonaws.com", "did you mean eventSource?"),
        ("readOnly=true; evntName=x", "did you mean eventName?"),
        ("nosuchField=x", "unknown field \"nosuchField\": expected a top-level field"),
        ("userIdentity=Root", "userIdentity contains other fields"),
        ("userIdentity.type=Root", "unknown field"),
        ("readOnly=yes", "readOnly is never \"yes\": the field is true or false"),
        ("eventName=a; managementEvent=true|False", "managementEvent is never \"False\""),
    ] {
        let error = Filter::parse(text).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn rule_without_value_is_rejected() {
    for text in ["readOnly", "=x", "eventName=", "eventName=b,c"] {
        assert!(Filter::parse(text).unwrap_err().contains("field=value"), "{text}");
    }
}

#[cfg(feature = "filter-file")]
mod file;
#[cfg(feature = "filter-file")]
mod naive;
