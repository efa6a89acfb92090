//! How fields are compared.

use super::{ids, matches, rule, selection, valid};
use crate::rule_event::RuleEvent;
use crate::{RuleMatch, RuleSet};

/// Returns the matched fields of the only rule that matches.
fn matched_fields(rules: &RuleSet, event: &str) -> Vec<(String, String)> {
    let found = rules.evaluate(event.as_bytes());
    let [RuleMatch { matched_fields, .. }] = &found[..] else { panic!("{found:?}") };
    matched_fields.iter().map(|field| (field.path.clone(), field.value.clone())).collect()
}

#[test]
fn object_is_compared_as_compact_json() {
    let event = r#"{"eventName":"X","requestParameters":{"bucketName":"b","VersioningConfiguration":{"Status":"Suspended","a": [1, "x y"]}}}"#;
    assert!(matches("requestParameters|contains: Suspended", event));
    assert!(matches(r#"requestParameters|contains|all: ['"Status":"Suspended"', '"bucketName":"b"']"#, event));
    // White space between tokens is removed, and white space in strings is not.
    assert!(matches(r#"requestParameters|contains: '"a":[1,"x y"]'"#, event));
    assert!(!matches("requestParameters|contains: Enabled", event));
    assert!(matches("requestParameters.VersioningConfiguration|contains: Suspended", event));
}

#[test]
fn quoted_part_of_a_policy_matches_the_policy_and_not_the_object_around_it() {
    let event = r#"{"requestParameters":{"bucketPolicy":{"Effect":"Allow"},"policyDocument":"{\"Effect\":\"Deny\"}"}}"#;
    // A policy that is an object has plain quotes in the text of the object.
    assert!(matches(r#"requestParameters|contains: '"Effect":"Allow"'"#, event));
    // A policy that is a string has escaped quotes there.
    assert!(!matches(r#"requestParameters|contains: '"Effect":"Deny"'"#, event));
    // Each backslash is `\\` in a rule.
    assert!(matches(r#"requestParameters|contains: '\\"Effect\\":\\"Deny\\"'"#, event));
    // The string itself is compared without its escapes.
    assert!(matches(r#"requestParameters.policyDocument|contains: '"Effect":"Deny"'"#, event));
}

#[test]
fn text_matches_booleans_and_numbers() {
    let event =
        r#"{"requestParameters":{"enable":false,"publiclyAccessible":true,"port":22,"big":12345678901234567890}}"#;
    assert!(matches("requestParameters.publiclyAccessible: 'true'", event));
    assert!(matches("requestParameters.publiclyAccessible: true", event));
    assert!(matches("requestParameters.enable: 'false'", event));
    assert!(!matches("requestParameters.enable: 'true'", event));
    assert!(matches("requestParameters.port: 22", event));
    assert!(matches("requestParameters.port: '22'", event));
    assert!(matches("requestParameters.port|gte: 22", event));
    assert!(!matches("requestParameters.port|lt: 22", event));
    assert!(matches("requestParameters.big: '12345678901234567890'", event));
}

#[test]
fn path_through_arrays_matches_any_element() {
    let event = r#"{"requestParameters":{"containerDefinitions":[{"name":"a"},{"command":["sh","-c","curl 169.254.170.2"]},{"command":"other"}]}}"#;
    assert!(matches("requestParameters.containerDefinitions.command|contains: 169.254.170.2", event));
    assert!(matches("requestParameters.containerDefinitions.command: other", event));
    assert!(!matches("requestParameters.containerDefinitions.command: another", event));
    assert!(matches("requestParameters.containerDefinitions.nosuch: null", event));
    // The elements of an array that are objects are compared as text.
    assert!(matches(r#"requestParameters.containerDefinitions|contains: '"name":"a"'"#, event));
}

#[test]
fn null_equals_missing() {
    for event in [r#"{"eventName":"X"}"#, r#"{"eventName":"X","errorCode":null}"#] {
        assert!(matches("errorCode: null", event), "{event}");
        assert!(matches("errorCode: [null, AccessDenied]", event), "{event}");
        assert!(matches("errorCode|exists: false", event), "{event}");
        assert!(!matches("errorCode|exists: true", event), "{event}");
        assert!(!matches("errorCode|contains: '*'", event), "{event}");
        assert!(!matches("errorCode: ''", event), "{event}");
        // `neq` does not match a missing field: only null and exists do.
        assert!(!matches("errorCode|neq: AccessDenied", event), "{event}");
    }
    let failed = r#"{"eventName":"X","errorCode":"AccessDenied"}"#;
    assert!(!matches("errorCode: null", failed));
    assert!(matches("errorCode: [null, AccessDenied]", failed));
    assert!(matches("errorCode|exists: true", failed));
    assert!(matches("errorCode|contains: '*'", failed));
    // Empty arrays and objects are present.
    let empty = r#"{"requestParameters":{"a":[],"b":{}}}"#;
    assert!(!matches("requestParameters.a: null", empty));
    assert!(!matches("requestParameters.b: null", empty));
}

#[test]
fn missing_field_does_not_fulfill_a_filter() {
    let rules = valid(&rule(
        "x",
        "    selection:\n        eventName: X\n    filter_agent:\n        userAgent: ci\n    filter_error:\n        \
         errorCode: null\n    condition: selection and not 1 of filter_*",
    ));
    assert_eq!(ids(&rules.evaluate(br#"{"eventName":"X","errorCode":"Denied"}"#)), ["x"]);
    assert_eq!(ids(&rules.evaluate(br#"{"eventName":"X"}"#)), [""; 0]);
    assert_eq!(ids(&rules.evaluate(br#"{"eventName":"X","errorCode":"Denied","userAgent":"CI"}"#)), [""; 0]);
}

#[test]
fn fieldref_compares_two_fields() {
    let lines = "userIdentity.userName|fieldref: requestParameters.userName";
    assert!(matches(lines, r#"{"userIdentity":{"userName":"Alice"},"requestParameters":{"userName":"alice"}}"#));
    assert!(!matches(lines, r#"{"userIdentity":{"userName":"alice"},"requestParameters":{"userName":"bob"}}"#));
    // Two missing fields are not equal.
    assert!(!matches(lines, "{}"));
    assert!(!matches(lines, r#"{"userIdentity":{"userName":null},"requestParameters":{"userName":null}}"#));
    let part = "userIdentity.arn|fieldref|endswith: requestParameters.userName";
    assert!(matches(
        part,
        r#"{"userIdentity":{"arn":"arn:aws:iam::1:user/bob"},"requestParameters":{"userName":"bob"}}"#
    ));
}

#[test]
fn equality_ignores_case_and_regular_expressions_do_not() {
    let event = r#"{"eventName":"StopLogging","userAgent":"S3 Browser/10.2"}"#;
    assert!(matches("eventName: stoplogging", event));
    assert!(matches("eventName|contains: LOGG", event));
    assert!(matches("userAgent|re: '^S3 Browser/\\d+'", event));
    assert!(!matches("userAgent|re: '^s3 browser'", event));
    assert!(matches("userAgent|re|i: '^s3 browser'", event));
    assert!(!matches("eventName|cased: stoplogging", event));
    // Names of fields are exact.
    assert!(!matches("requestParameters.Name: x", r#"{"requestParameters":{"name":"x"}}"#));
}

#[test]
fn versioned_names_match_a_prefix() {
    let event = r#"{"eventName":"UpdateFunctionConfiguration20150331v2"}"#;
    assert!(matches("eventName|startswith: UpdateFunctionConfiguration", event));
    assert!(matches("eventName: UpdateFunctionConfiguration*", event));
    assert!(matches("eventName: '*v2'", event));
    assert!(!matches("eventName: UpdateFunctionConfiguration", event));
}

#[test]
fn escapes_and_duplicate_names_are_read_as_the_decoder_reads_them() {
    // A substring search on the bytes would find neither of the first two.
    assert!(matches("eventName: StopLogging", r#"{"eventName":"Stop\u004cogging"}"#));
    assert!(matches("eventName: StopLogging", r#"{"event\u004eame":"STOPLOGGING"}"#));
    assert!(matches("requestParameters.name|contains: 'a\"b'", r#"{"requestParameters":{"n\u0061me":"xa\"by"}}"#));
    assert!(matches("eventName: B", r#"{"eventName":"A","eventName":"B"}"#));
    assert!(!matches("eventName: A", r#"{"eventName":"A","eventName":"B"}"#));
    assert!(matches("requestParameters.n: '2'", r#"{"requestParameters":{"n":1,"n":2}}"#));
    // Escapes that are not valid Unicode are compared as they are written.
    assert!(matches(r"userAgent|contains: '\ud800'", r#"{"userAgent":"x\ud800"}"#));
}

#[test]
fn unusual_event_names_reach_all_rules_that_can_match() {
    for (event, expected) in [
        (r#"{"eventName":["Other","StopLogging"]}"#, true),
        (r#"{"eventName":"\u212aeys"}"#, false),
        (r#"{"eventName":null}"#, false),
        (r#"{}"#, false),
        (r#"{"eventName": "stoplogging" }"#, true),
    ] {
        assert_eq!(matches("eventName: StopLogging", event), expected, "{event}");
    }
    // The lower case of the Kelvin sign is `k`.
    assert!(matches("eventName: KEYS", r#"{"eventName":"\u212aeys"}"#));
    assert!(matches("eventName: KEYS", "{\"eventName\":\"\u{212a}eys\"}"));
    let long = format!("{}Z", "a".repeat(500));
    assert!(matches(&format!("eventName: {long}"), &format!("{{\"eventName\":\"{}\"}}", long.to_uppercase())));
}

#[test]
fn identity_is_compared_like_other_objects() {
    let nested = r#"{"userIdentity": {"type":"A","arn":"x","type" : "Root","sessionContext":{"a":[{"b":"c"}]}}, "userAgent":"y"}"#;
    assert!(matches("userIdentity.type: Root\nuserAgent: y", nested));
    assert!(!matches("userIdentity.type: A", nested));
    assert!(matches("userIdentity.invokedBy: null\nuserIdentity.userAgent|exists: false", nested));
    assert!(matches("userIdentity.sessionContext|contains: '\"b\":\"c\"'", nested));
    assert!(matches("userIdentity.sessionContext.a.b: c", nested));
    assert!(matches("userIdentity|contains: '\"arn\":\"x\"'", nested));
    // Members of other objects, and of objects within `userIdentity`, are not those of `userIdentity`.
    assert!(!matches("userIdentity.type: Root", r#"{"userIdentity":{"a":{"type":"Root"}},"b":{"type":"Root"}}"#));
    // Unusual types of the object.
    assert!(matches("userIdentity.type: Root", r#"{"userIdentity":[{"type":"A"},{"type":"Root"}]}"#));
    for event in
        [r#"{"userIdentity":null,"type":"Root"}"#, r#"{"userIdentity":"Root"}"#, "{}", r#"{"userIdentity":{}}"#]
    {
        assert!(!matches("userIdentity.type: Root", event), "{event}");
    }
    // On duplicate names the last object wins as a whole.
    assert!(matches("userIdentity.type: Root", r#"{"userIdentity":{"type":"A"},"userIdentity":{"type":"Root"}}"#));
    assert!(!matches("userIdentity.type: Root", r#"{"userIdentity":{"type":"Root"},"userIdentity":{"arn":"x"}}"#));
}

#[test]
fn rules_that_compare_more_fields_than_are_noted_match() {
    let fields: String = (0..100).map(|number| format!("zz{number}zz: x\n")).collect();
    let members: String = (0..100).map(|number| format!(",\"zz{number}zz\":\"x\"")).collect();
    assert!(matches(&format!("eventName: A\n{fields}"), &format!("{{\"eventName\":\"A\"{members}}}")));
    assert!(!matches(&format!("eventName: A\n{fields}"), "{\"eventName\":\"A\"}"));
}

#[test]
fn keywords_match_any_string_of_the_event() {
    let rules = valid(&rule("x", "    keywords:\n        - pacu\n        - trufflehog\n    condition: keywords"));
    assert_eq!(ids(&rules.evaluate(br#"{"requestParameters":{"a":[{"b":"x TruffleHog y"}]}}"#)), ["x"]);
    assert_eq!(ids(&rules.evaluate(br#"{"requestParameters":{"pacu":1}}"#)), [""; 0]);
}

#[test]
fn matched_fields_contain_path_and_value() {
    let rules = valid(&selection("x", "eventName: StopLogging\nrequestParameters|contains: trail\nreadOnly: false"));
    let event = r#"{"eventName":"StopLogging","readOnly":false,"requestParameters":{"name":"trail/a"}}"#;
    let mut fields = matched_fields(&rules, event);
    fields.sort();
    let expected =
        [("eventName", "StopLogging"), ("readOnly", "false"), ("requestParameters", r#"{"name":"trail/a"}"#)];
    assert_eq!(fields, expected.map(|(path, value)| (path.to_owned(), value.to_owned())));
}

#[test]
fn matched_value_is_shortened_at_a_character() {
    let rules = valid(&selection("x", "userAgent|startswith: a"));
    let fields = matched_fields(&rules, &format!("{{\"userAgent\":\"a{}\"}}", "é".repeat(1000)));
    assert_eq!(fields[0].1.len(), 1023);
}

#[test]
fn candidates_match_as_if_every_rule_were_evaluated() {
    let selections = [
        "eventName: A",
        "eventName: [A, B]",
        "eventName|startswith: A",
        "eventName: a*",
        "eventName|contains: B",
        "eventName: null",
        "userAgent: x",
        "eventName|contains: ['a', 'b']",
        "eventName|startswith|cased: A",
        "userIdentity.type: Root",
        "userIdentity.type: [Root, 'true', Role*]\nuserAgent|contains: X",
        "userIdentity.arn|startswith: Root",
    ];
    let mut text: Vec<String> =
        selections.iter().enumerate().map(|(n, lines)| selection(&n.to_string(), lines)).collect();
    text.push(rule("or", "    a:\n        eventName: A\n    b:\n        userAgent: x\n    condition: a or b"));
    text.push(rule("not", "    a:\n        eventName: A\n    condition: not a"));
    text.push(rule("of", "    s_a:\n        eventName: A\n    s_b:\n        eventName: B\n    condition: 1 of s_*"));
    text.push(rule(
        "all",
        "    s_a:\n        eventName: A\n    s_b:\n        userAgent: x\n    condition: all of them",
    ));
    text.push(rule("list", "    s:\n        - eventName: A\n        - eventName: Ab\n    condition: s"));
    let rules = valid(&text.join("---\n"));
    let all: Vec<u32> = (0..rules.rules().len() as u32).collect();
    for name in ["\"A\"", "\"a\"", "\"B\"", "\"AB\"", "\"Ab\"", "\"c\"", "null", "\"\"", "[\"A\",\"B\"]", "1"] {
        for agent in ["\"x\"", "\"y\"", "\"\\u0058\"", "1", "[\"x\"]"] {
            for identity in [
                r#"{"type":"root"}"#,
                r#"{"type":"Role x","arn":"ROOT/a"}"#,
                r#"{"type":"Root","type":true}"#,
                r#"[{"type":"a"},{"arn":"Root","type":"Root"}]"#,
                r#"{"t\u0079pe":"R\u006fot"}"#,
                "null",
            ] {
                let event = format!("{{\"eventName\":{name},\"userAgent\":{agent},\"userIdentity\":{identity}}}");
                let offsets = rules.selected_fields().offsets(event.as_bytes()).unwrap();
                let selected = rules.selected_fields();
                let fields = RuleEvent::new(event.as_bytes(), &selected, &offsets);
                assert_eq!(ids(&rules.evaluate(event.as_bytes())), ids(&rules.matches(&all, &fields)), "{event}");
            }
        }
    }
}

#[test]
fn watched_names_are_those_of_the_rule() {
    let names = |text: &str| valid(text).rules().next().unwrap().event_names.clone();
    assert_eq!(names(&selection("x", "eventName: [StopLogging, DeleteTrail]")), ["DeleteTrail", "StopLogging"]);
    assert_eq!(names(&selection("x", "eventName|startswith: Update")), ["Update*"]);
    assert_eq!(names(&selection("x", "userAgent: x")), [""; 0]);
    assert_eq!(names(&rule("x", "    a:\n        eventName: A\n    condition: not a")), [""; 0]);
    let sources =
        valid(&selection("x", "eventSource: kms.amazonaws.com")).rules().next().unwrap().event_sources.clone();
    assert_eq!(sources, ["kms.amazonaws.com"]);
}
