//! The rules in `rules/`: each matches the first line of its example and not the second, its text is complete, and it is
//! rarely wrong on ordinary data.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use trailhose_core::decode::{DecodeLimits, EventReader};
use trailhose_core::generate::SyntheticBucket;
use trailhose_rules::{RuleLevel, RuleSet};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../rules")
}

/// Returns the names of the rule files without extension, and their bytes.
fn files() -> BTreeMap<String, Vec<u8>> {
    let paths = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let rules = paths.filter(|path| path.extension().is_some_and(|extension| extension == "yml"));
    rules.map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap())).collect()
}

fn all() -> RuleSet {
    let loaded = RuleSet::load(files());
    assert_eq!(loaded.invalid, []);
    loaded.rules
}

/// Returns the names of the files of the rules that match an event.
fn matching(rules: &RuleSet, event: &str) -> BTreeSet<String> {
    rules.evaluate(event.as_bytes()).into_iter().map(|found| found.rule.file.clone()).collect()
}

#[test]
fn each_rule_matches_its_first_example_and_not_its_second() {
    let rules = all();
    let files = files();
    assert!(files.len() >= 25, "{} rules", files.len());
    for name in files.keys() {
        let path = folder().join("examples").join(format!("{name}.jsonl"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let lines: Vec<&str> = text.lines().collect();
        let [first, second] = lines[..] else { panic!("{} has {} lines", path.display(), lines.len()) };
        assert_eq!(matching(&rules, first), BTreeSet::from([name.clone()]), "first line of {name}");
        assert_eq!(matching(&rules, second), BTreeSet::new(), "second line of {name}");
    }
    let examples = std::fs::read_dir(folder().join("examples")).unwrap().count();
    assert_eq!(examples, files.len(), "examples without a rule");
}

#[test]
fn text_of_each_rule_is_complete() {
    for rule in all().rules() {
        let name = &rule.file;
        assert_eq!(
            (rule.author.as_deref(), rule.license.as_deref()),
            (Some("trailhose contributors"), Some("Apache-2.0")),
            "{name}"
        );
        assert!(rule.description.as_ref().is_some_and(|text| text.ends_with('.')), "{name}: description");
        assert!(rule.tags.iter().any(|tag| tag.starts_with("attack.t")), "{name}: no technique");
        assert!(
            rule.tags.iter().any(|tag| tag.starts_with("attack.") && !tag.starts_with("attack.t")),
            "{name}: no tactic"
        );
        assert!(!rule.false_positives.is_empty(), "{name}: false positives");
        assert!(rule.id.len() == 36, "{name}: the id is not a UUID");
    }
}

#[test]
fn a_harmless_part_of_a_call_does_not_hide_the_rest() {
    let rules = all();
    let item = |from: i32, to: i32, network: &str| {
        format!(
            r#"{{"ipProtocol":"tcp","fromPort":{from},"toPort":{to},"groups":{{}},"ipRanges":{{"items":[{{"cidrIp":"{network}"}}]}}}}"#
        )
    };
    let ingress = |items: &[String]| {
        format!(
            r#"{{"eventSource":"ec2.amazonaws.com","eventName":"AuthorizeSecurityGroupIngress","requestParameters":{{"groupId":"sg-1","ipPermissions":{{"items":[{}]}}}}}}"#,
            items.join(",")
        )
    };
    let (web, ssh, inner) = (item(443, 443, "0.0.0.0/0"), item(22, 22, "0.0.0.0/0"), item(22, 22, "10.0.0.0/8"));
    let all_protocols = r#"{"ipProtocol":"-1","ipv6Ranges":{"items":[{"cidrIpv6":"::/0"}]}}"#.to_owned();
    for (items, is_match) in [
        (vec![web.clone()], false),
        (vec![web.clone(), inner.clone()], false),
        (vec![web.clone(), ssh.clone()], true),
        (vec![inner, ssh], true),
        (vec![item(80, 65535, "0.0.0.0/0")], true),
        (vec![item(0, 443, "0.0.0.0/0")], true),
        (vec![all_protocols], true),
    ] {
        let event = ingress(&items);
        assert_eq!(matching(&rules, &event).contains("security-group-open-to-internet"), is_match, "{event}");
    }

    let policy = |statements: &str| {
        let document = serde_json::to_string(&format!("{{\"Statement\": [{statements}]}}")).unwrap();
        format!(
            r#"{{"eventSource":"iam.amazonaws.com","eventName":"PutRolePolicy","requestParameters":{{"policyDocument":{document}}}}}"#
        )
    };
    let deny = r#"{"Effect": "Deny", "Action": "*", "Resource": "*"}"#;
    let allow = r#"{"Sid": "a", "Effect": "Allow", "Resource": "*", "Action": ["s3:GetObject", "*"]}"#;
    let condition = r#"{"Action": "*", "Condition": {"Bool": {"aws:SecureTransport": "true"}}, "Effect": "Allow"}"#;
    let narrow = r#"{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}"#;
    for (statements, is_match) in [
        (deny.to_owned(), false),
        (format!("{narrow}, {deny}"), false),
        (format!("{deny}, {allow}"), true),
        (format!("{allow}, {deny}"), true),
        (condition.to_owned(), true),
    ] {
        let event = policy(&statements);
        assert_eq!(matching(&rules, &event).contains("inline-policy-permits-everything"), is_match, "{event}");
    }
}

#[test]
fn generated_data_has_few_matches() {
    let rules = all();
    let (mut events, mut matches) = (0_u64, BTreeMap::<String, u64>::new());
    for (_, stored) in SyntheticBucket::new(1, 1_000).files() {
        let mut reader = EventReader::new(&stored, DecodeLimits::default()).noting(Some(rules.selected_fields()));
        while let Some(event) = reader.next().unwrap() {
            events += 1;
            for found in rules.evaluate_decoded(event.line, event.offsets.unwrap()) {
                assert!(found.rule.level < RuleLevel::Critical);
                *matches.entry(found.rule.file.clone()).or_default() += 1;
            }
        }
    }
    assert!(events > 5_000, "{events}");
    // The generated accounts use the root user for one event in 200, which is what this rule is about.
    let root = matches.remove("root-activity").unwrap_or_default();
    assert!(root <= events / 100, "{root} of {events}");
    // One match in a thousand events.
    assert!(matches.values().sum::<u64>() <= events / 1_000, "of {events} events: {matches:?}");
}
