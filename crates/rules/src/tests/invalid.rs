//! Invalid files, filter documents, suppressions and panics.

use super::{ids, load, rule, selection, valid};
use crate::RuleSet;
use std::time::Instant;

/// Loads one file in which everything is invalid. Returns the line and the reason of its only defect.
fn defect(text: &str) -> (usize, String) {
    let loaded = load([("a.yml", text)]);
    assert_eq!(loaded.invalid.len(), 1, "{text}: {:?}", loaded.invalid);
    (loaded.invalid[0].line, loaded.invalid[0].reason.clone())
}

#[test]
fn invalid_documents_are_named_with_line_and_reason() {
    let good = selection("x", "eventName: A");
    for (text, line, reason) in [
        (selection("x", "eventName|containz: A"), 8, "Unknown modifier 'containz'"),
        (selection("x", "evntName: A"), 8, "did you mean eventName?"),
        (selection("x", "userIdentity.arnn: A"), 8, "did you mean userIdentity.arn?"),
        (selection("x", "userIdentity.arn|fieldref: requestParameter.a"), 8, "did you mean requestParameters.a?"),
        (selection("x", "userAgent|re: 'a('"), 8, "invalid regular expression \"a(\""),
        (selection("x", "userAgent|re: '(a{1000}){1000}'"), 8, "size limit"),
        (selection("x", "userAgent|expand: '%agents%'"), 8, "`expand` is not supported"),
        (selection("x", "sourceIPAddress|cidr: 10.0.0.0/99"), 6, "invalid detection"),
        (selection("x", "userAgent|contains|gt: 1"), 6, "invalid detection"),
        (selection("x", "resources[0].ARN: a"), 8, "brackets are not supported"),
        (good.replace("condition: selection", "condition: selektion"), 9, "did you mean selection?"),
        (good.replace("condition: selection", "condition: 1 of filter_*"), 9, "no selection matches `filter_*`"),
        (
            good.replace("condition: selection", "condition: selection | count() > 5"),
            9,
            "aggregations such as count() and near",
        ),
        (
            good.replace("condition: selection", "timeframe: 5m\n    condition: selection"),
            9,
            "timeframe is not supported",
        ),
        (good.replace("level: high", "level: highest"), 10, "invalid level"),
        (good.replace("level: high", "levle: high"), 10, "did you mean level?"),
        (good.replace("id: 'x'\n", ""), 1, "the rule has no id"),
        (good.replace("service: cloudtrail", "service: guardduty"), 3, "the rule is not for CloudTrail"),
        (good.replace("product: aws", "product: windows"), 3, "the rule is not for CloudTrail"),
        (format!("sigma-version: 3\n{good}"), 1, "version 3 of Sigma is not supported"),
        (format!("title: x\n{good}"), 1, "invalid YAML: duplicate entry"),
        (good.replace("title:", "title: ["), 2, "invalid YAML"),
        ("- a\n- b\n".to_owned(), 1, "not a rule"),
        ("# nothing\n".to_owned(), 1, "contains no document"),
        ("title: x\ncorrelation:\n    type: event_count\n".to_owned(), 2, "correlation rules are not supported"),
        (format!("action: global\n{good}"), 1, "collections of rules"),
        (format!("{good}---\n{good}"), 13, "has the same id"),
    ] {
        let found = defect(&text);
        assert!(found.1.contains(reason), "{text}: {found:?}");
        assert_eq!(found.0, line, "{text}: {found:?}");
    }
}

#[test]
fn field_that_resembles_no_known_one_is_named_and_the_rule_is_loaded() {
    let rules = valid(&selection("x", "eventName: A\nstatus: success\nuserIdentity.arn.x: y"));
    let unknown = &rules.rules().next().unwrap().unknown_fields;
    assert!(unknown.len() == 2 && unknown[0].contains("\"status\"") && unknown[1].contains("remove .x"), "{unknown:?}");
    assert_eq!(ids(&rules.evaluate(br#"{"eventName":"A"}"#)), [""; 0]);
    // In a filter document it would exclude every event of the rule, or none.
    let found = defect(&filter(
        "filter:\n    rules: any\n    selection:\n        status: success\n    condition: not selection\n",
    ));
    assert!(found.1.contains("unknown field \"status\""), "{found:?}");
}

#[test]
fn valid_documents_of_a_file_are_loaded_if_others_are_invalid() {
    let text =
        format!("{}---\n{}---\n{}", selection("a", "eventName: A"), "title: [\n", selection("c", "eventName: A"));
    let loaded = load([("one.yml", &text), ("two.yml", "\n")]);
    assert_eq!(ids(&loaded.rules.evaluate(br#"{"eventName":"A"}"#)), ["a", "c"]);
    let places: Vec<_> = loaded.invalid.iter().map(|invalid| (&*invalid.file, invalid.line)).collect();
    assert_eq!(places, [("one.yml", 13), ("two.yml", 1)]);
}

#[test]
fn version_is_the_hash_of_the_file() {
    let text = selection("a", "eventName: A");
    let version = |text: &str| valid(text).rules().next().unwrap().version.clone();
    assert_eq!(version(&text).len(), 64);
    assert_eq!(version(&text), version(&text));
    assert_ne!(version(&text), version(&format!("{text}\n")));
}

#[test]
fn yaml_bombs_are_rejected_before_they_expand() {
    let mut aliases = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let references = vec![format!("*a{}", level - 1); 9].join(", ");
        aliases += &format!("a{level}: &a{level} [{references}]\n");
    }
    let deep = format!("title: {}{}\n", "[".repeat(1000), "]".repeat(1000));
    let wide = format!("title: x\ntags: [{}]\n", "x, ".repeat(25_000));
    let large = format!("{}\n{}", selection("x", "eventName: A"), "# comment\n".repeat(20_000));
    for (text, reason) in [
        (&aliases, "counting those behind aliases"),
        (&deep, "nested deeper than"),
        (&wide, "more than 20000 values"),
        (&large, "the maximum is 131072"),
    ] {
        let start = Instant::now();
        let found = defect(text);
        assert!(found.1.contains(reason), "{found:?}");
        assert!(start.elapsed().as_secs() < 5, "{reason} took {:?}", start.elapsed());
    }
    // An alias that refers to a few values is accepted.
    valid(&selection("x", "eventName: &names [A, B]\nuserAgent: *names"));
}

#[test]
fn file_that_is_not_utf8_is_invalid() {
    let loaded = RuleSet::load([("a.yml".to_owned(), b"title: x\nid: \xff\n".to_vec())]);
    assert_eq!((loaded.invalid[0].line, &*loaded.invalid[0].reason), (2, "the file is not UTF-8"));
}

fn filter(text: &str) -> String {
    format!("title: CI role\nlogsource:\n    product: aws\n    service: cloudtrail\n{text}")
}

const NOT_CI: &str = "    selection:\n        userIdentity.arn|contains: ci\n    condition: not selection\n";

#[test]
fn filter_document_excludes_events_of_its_rules() {
    let rules = format!("{}---\n{}", selection("a", "eventName: A"), selection("b", "eventName: A"));
    for (targets, expected) in [("[a]", &["b"][..]), ("any", &[]), ("Rule b", &["a"]), ("[a, b]", &[])] {
        let loaded = load([("r.yml", &rules), ("f.yml", &filter(&format!("filter:\n    rules: {targets}\n{NOT_CI}")))]);
        assert_eq!(loaded.invalid, [], "{targets}");
        let found = loaded.rules.evaluate(br#"{"eventName":"A","userIdentity":{"arn":"ci/x"}}"#);
        assert_eq!(ids(&found), expected, "{targets}");
        assert_eq!(ids(&loaded.rules.evaluate(br#"{"eventName":"A","userIdentity":{"arn":"y"}}"#)), ["a", "b"]);
        assert_eq!(loaded.rules.filter_counts(), (1, 0));
    }
}

#[test]
fn filter_document_without_valid_rules_is_invalid() {
    for (targets, reason) in [
        ("    rules: []\n", "must be a list of rule IDs"),
        ("", "must be a list of rule IDs"),
        ("    rules: [a, 1]\n", "must be a list of rule IDs"),
        ("    rules: [nosuch]\n", "rules that are not loaded: nosuch"),
    ] {
        let found = defect(&filter(&format!("filter:\n{targets}{NOT_CI}")));
        assert!(found.1.contains(reason), "{targets}: {found:?}");
    }
    let found = defect(&filter(&format!("suppress_untill: 2027-01-01\nfilter:\n    rules: any\n{NOT_CI}")));
    assert_eq!(found, (5, "unknown member \"suppress_untill\"; did you mean suppress_until?".to_owned()));
    let found = defect(&filter(&format!("suppress_until: soon\nfilter:\n    rules: any\n{NOT_CI}")));
    assert!(found.0 == 5 && found.1.contains("must be a date"), "{found:?}");
}

#[test]
fn suppression_ends_at_its_date_in_event_time() {
    for until in ["2027-02-01", "'2027-02-01T00:00:00Z'"] {
        let text = filter(&format!("suppress_until: {until}\nfilter:\n    rules: any\n{NOT_CI}"));
        let loaded = load([("r.yml", &selection("a", "eventName: A")), ("f.yml", &text)]);
        assert_eq!(loaded.invalid, []);
        for (time, arn, expected) in [
            ("\"2027-01-31T23:59:59Z\"", "ci", true),
            ("\"2027-02-01T00:00:00Z\"", "ci", false),
            ("\"2027-01-01T00:00:00Z\"", "x", false),
            ("null", "ci", false),
        ] {
            let event = format!(r#"{{"eventName":"A","eventTime":{time},"userIdentity":{{"arn":"{arn}"}}}}"#);
            let found = loaded.rules.evaluate(event.as_bytes());
            assert_eq!(found.len(), 1, "{event}");
            assert_eq!(found[0].suppression.is_some(), expected, "{event}");
        }
        assert_eq!(loaded.rules.filter_counts(), (0, 1));
    }
}

#[test]
fn rule_that_panics_is_counted_and_the_others_are_evaluated() {
    use rsigma_eval::CompiledMatcher;
    use rsigma_eval::compiler::CompiledDetection;
    use rsigma_eval::matcher::GroupMode;

    let text = ["a", "b", "c"].map(|id| selection(id, "userAgent: x")).join("---\n");
    let mut rules = valid(&text);
    // rsigma asserts that such a group contains only texts.
    let CompiledDetection::AllOf(items) = rules.rules[1].compiled.detections.get_mut("selection").unwrap() else {
        panic!()
    };
    items[0].matcher =
        CompiledMatcher::CaseInsensitiveGroup { children: vec![CompiledMatcher::NumericEq(1.0)], mode: GroupMode::Any };
    for _ in 0..3 {
        assert_eq!(ids(&rules.evaluate(br#"{"userAgent":"x"}"#)), ["a", "c"]);
    }
    let failed: Vec<_> = rules.failed_rules().into_iter().map(|(rule, count)| (&*rule.id, count)).collect();
    assert_eq!(failed, [("b", 3)]);
}

#[test]
fn event_with_a_megabyte_of_nested_parameters_is_evaluated() {
    let wide: Vec<String> =
        (0..22_000).map(|n| format!(r#"{{"name":"n{n}","values":[{{"a":"b"}},{{"a":"c"}}]}}"#)).collect();
    let deep = format!("{}{}", r#"{"a":["#.repeat(60), r#""x""#) + &"]}".repeat(60);
    let event = format!(r#"{{"eventName":"A","requestParameters":{{"wide":[{}],"deep":{deep}}}}}"#, wide.join(","));
    assert!(event.len() > 1_000_000, "{}", event.len());
    let path = vec!["a"; 60].join(".");
    let rules = valid(
        &[
            selection("last", "eventName: A\nrequestParameters.wide.name: n21999"),
            selection("deep", &format!("eventName: A\nrequestParameters.deep.{path}: x")),
            selection("text", "eventName: A\nrequestParameters|contains: n21999"),
            selection("regex", "eventName: A\nrequestParameters|re: '(n[12]+9+)+\"'"),
            selection("none", "eventName: A\nrequestParameters.wide.values.a: d"),
            rule("keyword", "    keywords: [n21999]\n    condition: keywords"),
        ]
        .join("---\n"),
    );
    let start = Instant::now();
    let found = rules.evaluate(event.as_bytes());
    assert_eq!(ids(&found), ["last", "deep", "text", "regex", "keyword"]);
    assert!(found.iter().all(|found| found.matched_fields.iter().all(|field| field.value.len() <= 1024)));
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}
