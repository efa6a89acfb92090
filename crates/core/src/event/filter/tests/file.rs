//! Tests of filter files: errors, limits and findings.

use crate::event::filter::{Decision, Filter, MAX_PATTERNS, MAX_RULES};

fn errors(text: &str) -> Vec<String> {
    Filter::from_toml("filter.toml", text).unwrap_err().all().to_vec()
}

/// An exclude rule with these conditions.
fn rule(conditions: &str) -> String {
    format!("[[exclude]]\nname = \"test\"\nwhen = [\n{conditions}\n]\n")
}

#[test]
fn example_of_the_documentation_drops_and_keeps_events() {
    let text = include_str!("../../../../../../docs/filter.md");
    let example = text.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let filter = Filter::from_toml("filter.toml", example).unwrap();
    assert_eq!(filter.findings(), []);
    let decision = |line: &str| match filter.decide(line.as_bytes()) {
        Decision::Kept(rule) => ("kept", rule.map(|rule| rule.name())),
        Decision::Dropped(rule) => ("dropped", rule.map(|rule| rule.name())),
    };
    let issuer =
        r#""userIdentity":{"sessionContext":{"sessionIssuer":{"arn":"arn:aws:iam::111122223333:role/eks-node"}}}"#;
    let kms = format!(r#"{{"eventSource":"kms.amazonaws.com","eventName":"Decrypt",{issuer}}}"#);
    assert_eq!(decision(&kms), ("dropped", Some("KMS calls of the EKS nodes")));
    assert_eq!(decision(r#"{"eventSource":"kms.amazonaws.com","eventName":"Decrypt"}"#), ("kept", None));
}

#[test]
fn each_error_names_file_line_and_rule() {
    for (text, expected) in [
        (
            rule("{ field = \"evntName\", equals = \"x\" }"),
            "filter.toml:4: exclude rule \"test\": unknown field \"evntName\": expected a field of CloudTrail events, such as eventName; did you mean eventName?",
        ),
        (rule("{ field = \"userIdentity.arm\", equals = \"x\" }"), "did you mean userIdentity.arn?"),
        (
            rule("{ field = \"userIdentity\", equals = \"x\" }"),
            "filter.toml:4: exclude rule \"test\": userIdentity contains other fields",
        ),
        (
            rule("{ field = \"eventName\", equal = \"x\" }"),
            "filter.toml:4: exclude rule \"test\": unknown key \"equal\" of a condition: expected field, not, or one of any_of, cidr, equals, exists, null, prefix, regex, suffix; did you mean equals?",
        ),
        (rule("{ field = \"eventName\" }"), "the condition on eventName has no test: expected exactly one of any_of"),
        (
            rule("{ field = \"eventName\", equals = \"x\", prefix = \"y\" }"),
            "has equals and prefix: expected exactly one of",
        ),
        (rule("{ equals = \"x\" }"), "a condition has no field"),
        (rule("{ field = 1, equals = \"x\" }"), "field is an integer: expected a text"),
        (rule("\"eventName\""), "a condition is a text: expected {"),
        (
            rule("{ field = \"sourceIPAddress\", cidr = \"10.0.0.0/33\" }"),
            "cidr of sourceIPAddress: \"10.0.0.0/33\" is not a network",
        ),
        (rule("{ field = \"sourceIPAddress\", cidr = \"10.0.0.1/8\" }"), "did you mean 10.0.0.0/8?"),
        (
            rule("{ field = \"eventName\", regex = \"(a\" }"),
            "regex of eventName: invalid regular expression \"(a\": unclosed group",
        ),
        (
            rule("{ field = \"eventName\", regex = \"((a{100}){100}){100}\" }"),
            "filter.toml:4: exclude rule \"test\": regex of eventName: the regular expression \"((a{100}){100}){100}\" needs more than 1048576 bytes",
        ),
        (rule("{ field = \"eventName\", regex = 5 }"), "regex of eventName is an integer: expected a text"),
        (
            rule("{ field = \"eventName\", equals = 1.5 }"),
            "equals of eventName is a number with a decimal point: expected a text, a decimal integer or a boolean",
        ),
        (rule("{ field = \"eventName\", equals = [\"x\"] }"), "equals of eventName is a list: use any_of"),
        (
            rule("{ field = \"eventName\", any_of = \"x\" }"),
            "any_of of eventName is a text: expected a list, or use equals",
        ),
        (rule("{ field = \"eventName\", prefix = [] }"), "prefix of eventName is an empty list"),
        (
            rule("{ field = \"readOnly\", equals = \"yes\" }"),
            "equals of readOnly is \"yes\": the field is true or false",
        ),
        (rule("{ field = \"errorCode\", exists = \"no\" }"), "exists of errorCode is a text: expected true or false"),
        (
            rule("{ field = \"errorCode\", exists = true, not = 1 }"),
            "not of errorCode is an integer: expected true or false",
        ),
        (rule("{ field = \"a..b\", exists = true }"), "expected names separated by dots"),
        (
            rule("{ field = 'requestParameters.a\\b', equals = \"x\" }"),
            "a backslash is only valid before a dot or a backslash",
        ),
        (
            rule("{ field = \"eventName\", equals = \"x\", equals = \"y\" }"),
            "filter.toml:4: exclude rule 1: duplicate key",
        ),
        (
            "[[exclude]]\nname = \"a\"\n\n[[exclude]]\nname = \"b\"\nname = \"c\"\n".into(),
            "filter.toml:6: exclude rule 2: duplicate key",
        ),
        ("[[exclude]]\nwhen = []\n".into(), "filter.toml:2: exclude rule 1: when is empty"),
        ("[[exclude]]\nname = \"a\"\n".into(), "filter.toml:1: exclude rule \"a\": when is missing"),
        (
            "[[exclude]]\nname = 7\nwhen = [{ field = \"eventName\", equals = \"x\" }]\n".into(),
            "exclude rule 1: name is an integer",
        ),
        ("[[exclude]]\nwhen = \"x\"\n".into(), "exclude rule 1: when is a text: expected a list of conditions"),
        ("[[exclude]]\nwhn = []\n".into(), "unknown key \"whn\": a rule has name and when; did you mean when?"),
        (
            "[[exlude]]\nname = \"a\"\n".into(),
            "filter.toml:1: unknown key \"exlude\": expected [[include]] or [[exclude]]; did you mean exclude?",
        ),
        ("exclude = 5\n".into(), "filter.toml:1: exclude is an integer: expected one [[exclude]] section per rule"),
        (
            rule("{ field = \"eventName\", equals = \"x\" }").repeat(2),
            "filter.toml:6: exclude rule \"test\": the rule on line 1 has the same name",
        ),
    ] {
        let found = errors(&text);
        assert!(found.iter().any(|error| error.contains(expected)), "{text}\nexpected: {expected}\nfound: {found:#?}");
    }
}

#[test]
fn all_invalid_rules_are_reported_in_the_order_of_their_lines() {
    let text = "[[exclude]]\nwhen = [{ field = \"x\", equals = \"a\" }]\n[[include]]\nwhen = [{ field = \"y\", equals = \"a\" }]\n";
    let error = Filter::from_toml("f", text).unwrap_err();
    let starts = ["f:2: exclude rule 1: ", "f:4: include rule 1: "];
    assert_eq!(error.all().len(), 2);
    assert!(error.all().iter().zip(starts).all(|(error, start)| error.starts_with(start)), "{error:?}");
    assert!(error.to_string().ends_with("(1 more; `trailhose filter check` shows all)"), "{error}");
}

#[test]
fn limits_of_rules_and_regular_expressions_are_reported() {
    let rule = |number: usize| format!("[[exclude]]\nwhen = [{{ field = \"eventName\", equals = \"e{number}\" }}]\n");
    let most: String = (0..MAX_RULES).map(rule).collect();
    let filter = Filter::from_toml("f", &most).unwrap();
    assert_eq!(filter.rules().count(), MAX_RULES);
    assert!(filter.drops(br#"{"eventName":"e9999"}"#) && !filter.drops(br#"{"eventName":"e10000"}"#));
    assert_eq!(filter.findings(), []);
    assert!(errors(&(most + &rule(MAX_RULES)))[0].contains("more than 10000 rules"));
    let patterns: String = (0..=MAX_PATTERNS).map(|number| format!("\"a{number}\",")).collect();
    let too_many = format!("[[exclude]]\nwhen = [{{ field = \"eventName\", regex = [{patterns}] }}]\n");
    assert!(errors(&too_many)[0].contains("more than 1000 regular expressions"));
}

#[test]
fn rules_without_effect_and_filters_that_drop_everything_are_found() {
    let conditions = |list: &[&str]| {
        let rules = list.iter().map(|conditions| {
            let (kind, conditions) = conditions.split_once(' ').unwrap();
            format!("[[{kind}]]\nwhen = [{conditions}]\n")
        });
        let filter = Filter::from_toml("f", &rules.collect::<String>()).unwrap();
        filter.findings().into_iter().map(|finding| format!("{}: {}", finding.line, finding.text)).collect::<Vec<_>>()
    };
    let name = |test: &str| format!("{{ field = \"eventName\", {test} }}");
    let both = |first: &str, second: &str| format!("exclude {}, {}", name(first), name(second));
    for (rules, expected) in [
        (vec![both("equals = \"a\"", "equals = \"b\"")], "1: exclude rule \"exclude rule 1\" cannot match: its conditions on eventName contradict each other"),
        (vec![both("prefix = \"Get\"", "any_of = [\"PutX\"]")], "contradict each other"),
        (vec![both("prefix = \"Get\"", "prefix = [\"Put\", \"List\"]")], "contradict each other"),
        (vec![both("exists = false", "equals = \"a\"")], "contradict each other"),
        (vec![both("null = true", "equals = \"a\"")], "contradict each other"),
        (vec![both("equals = \"a\"", "any_of = [\"a\", \"b\"], not = true")], "contradict each other"),
        (vec![both("any_of = [\"Get\", \"Put\"]", "regex = \"^L\"")], "contradict each other"),
        (vec![format!("exclude {}, {}, {}", name("any_of = [\"a\", \"b\"]"), name("equals = \"a\", not = true"), name("equals = \"b\", not = true"))], "no value of eventName fulfills all of its conditions"),
        (vec!["exclude { field = \"sourceIPAddress\", cidr = \"10.0.0.0/8\" }, { field = \"sourceIPAddress\", cidr = \"192.168.0.0/16\" }".into()], "contradict each other"),
        (vec![format!("exclude {}", name("prefix = \"De\"")), format!("exclude {}, {{ field = \"readOnly\", equals = true }}", name("equals = \"Decrypt\""))], "3: exclude rule \"exclude rule 2\" has no effect: rule \"exclude rule 1\" on line 1 matches the same events"),
        (vec![format!("include {}", name("equals = \"a\"")), format!("exclude {}", name("any_of = [\"a\", \"b\"]"))], "1: the filter drops every event: no include rule keeps any"),
        (vec![format!("exclude {}", name("regex = \".*\""))], "drops every event that has eventName, which nearly all events have"),
        (vec![format!("exclude {}", name("equals = \"a\"")), format!("exclude {}", name("equals = \"a\", not = true"))], "together match all events"),
    ] {
        let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        let found = conditions(&rules);
        assert!(found.iter().any(|finding| finding.contains(expected)), "{rules:?}: {found:?}");
    }
    for rules in [
        vec![both("prefix = \"Get\"", "suffix = \"x\"")],
        vec![
            "exclude { field = \"resources.ARN\", equals = \"a\" }, { field = \"resources.ARN\", equals = \"b\" }"
                .into(),
        ],
        vec!["exclude { field = \"errorCode\", exists = true }".into()],
        vec![
            format!("exclude {}, {{ field = \"readOnly\", equals = true }}", name("equals = \"a\"")),
            format!("exclude {}", name("equals = \"a\"")),
        ],
        vec![format!("include {}", name("prefix = \"a\"")), format!("exclude {}", name("equals = \"a\""))],
    ] {
        let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        assert_eq!(conditions(&rules), [""; 0], "{rules:?}");
    }
}

#[test]
fn missing_null_and_empty_values_are_distinguished() {
    let test = |test: &str, line: &str| {
        let text = rule(&format!("{{ field = \"errorCode\", {test} }}"));
        Filter::from_toml("f", &text).unwrap().drops(line.as_bytes())
    };
    for (name, missing, null, empty, text) in [
        ("exists = true", false, true, true, true),
        ("exists = false", true, false, false, false),
        ("null = true", false, true, false, false),
        ("null = false", true, false, true, true),
        ("equals = \"\"", false, false, true, false),
        ("prefix = \"\"", false, false, true, true),
        ("equals = \"null\"", false, false, false, false),
        ("equals = \"E\", not = true", true, true, true, false),
    ] {
        let found =
            ["{}", r#"{"errorCode":null}"#, r#"{"errorCode":""}"#, r#"{"errorCode":"E"}"#].map(|line| test(name, line));
        assert_eq!(found, [missing, null, empty, text], "{name}");
    }
}
