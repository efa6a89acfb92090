//! Compares the filter with a naive evaluation over parsed JSON, for random filters and events.

use crate::decode::{DecodeLimits, EventReader};
use crate::event::filter::{Decision, Filter, MAX_RULES, RuleKind};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;

/// Fields. A value in an array counts everywhere except at the top level.
const FIELDS: [&str; 12] = [
    "eventSource",
    "eventName",
    "sourceIPAddress",
    "userAgent",
    "readOnly",
    "errorCode",
    "userIdentity.arn",
    "userIdentity.sessionContext.sessionIssuer.type",
    "userIdentity.sessionContext.sessionIssuer.arn",
    "requestParameters.list.name",
    r"requestParameters.dotted\.name",
    "resources.ARN",
];

const TEXTS: [&str; 12] = [
    "Decrypt",
    "Encrypt",
    "De",
    "t",
    "",
    "kms.amazonaws.com",
    "10.1.2.3",
    "10.200.0.1",
    "::ffff:10.1.2.3",
    "true",
    "é\"\\\n",
    "7",
];

/// Networks, each with its first address and its number of leading bits.
const NETWORKS: [(&str, [u8; 4], u32); 4] = [
    ("10.1.0.0/16", [10, 1, 0, 0], 16),
    ("10.200.0.1", [10, 200, 0, 1], 32),
    ("10.1.2.0/24", [10, 1, 2, 0], 24),
    ("0.0.0.0/0", [0; 4], 0),
];

/// Regular expressions, each with an equivalent function. The first [`ANCHORED`] ones match at the start of a text only.
type Expression = (&'static str, fn(&str) -> bool);
const EXPRESSIONS: [Expression; 6] = [
    ("^De.*t$", |text| text.starts_with("De") && text.ends_with('t') && !text.contains('\n')),
    ("^(Encr|kms)", |text| text.starts_with("Encr") || text.starts_with("kms")),
    ("^10\\.[0-9]+", |text| {
        text.strip_prefix("10.").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    }),
    ("(?i)DECRYPT", |text| text.to_lowercase().contains("decrypt")),
    ("crypt|kms", |text| text.contains("crypt") || text.contains("kms")),
    ("^[0-9]+$", |text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())),
];
const ANCHORED: usize = 3;

#[derive(Debug, Clone)]
enum NaiveTest {
    Equals(&'static str),
    AnyOf(Vec<&'static str>),
    Prefix(Vec<&'static str>),
    Suffix(Vec<&'static str>),
    Cidr(Vec<usize>),
    Regex(Vec<usize>),
    Exists(bool),
    Null(bool),
}

#[derive(Debug, Clone)]
struct NaiveCondition {
    field: &'static str,
    test: NaiveTest,
    not: Option<bool>,
}

#[derive(Debug, Clone)]
struct NaiveRule {
    kind: RuleKind,
    conditions: Vec<NaiveCondition>,
}

fn condition() -> impl Strategy<Value = NaiveCondition> {
    let texts = || proptest::collection::vec(select(&TEXTS[..]), 1..4);
    let test = prop_oneof![
        3 => select(&TEXTS[..]).prop_map(NaiveTest::Equals),
        3 => texts().prop_map(NaiveTest::AnyOf),
        1 => texts().prop_map(NaiveTest::Prefix),
        1 => texts().prop_map(NaiveTest::Suffix),
        1 => proptest::collection::vec(0..NETWORKS.len(), 1..3).prop_map(NaiveTest::Cidr),
        1 => proptest::collection::vec(0..EXPRESSIONS.len(), 1..3).prop_map(NaiveTest::Regex),
        1 => any::<bool>().prop_map(NaiveTest::Exists),
        1 => any::<bool>().prop_map(NaiveTest::Null),
    ];
    (select(&FIELDS[..]), test, proptest::option::of(any::<bool>())).prop_map(|(field, test, not)| {
        let test = match (field, test) {
            // Other values are rejected, because the field is a boolean.
            ("readOnly", NaiveTest::Equals(_) | NaiveTest::AnyOf(_)) => NaiveTest::Equals("true"),
            (_, test) => test,
        };
        NaiveCondition { field, test, not }
    })
}

fn rule_of(conditions: impl Strategy<Value = Vec<NaiveCondition>>) -> impl Strategy<Value = NaiveRule> {
    let kind = select(&[RuleKind::Include, RuleKind::Exclude, RuleKind::Exclude][..]);
    (kind, conditions).prop_map(|(kind, conditions)| NaiveRule { kind, conditions })
}

fn rule() -> impl Strategy<Value = NaiveRule> {
    rule_of(proptest::collection::vec(condition(), 1..4))
}

/// A rule that requires texts of `eventSource` and `eventName`: of few pairs, or of more than those by which it is listed.
fn paired_rule() -> impl Strategy<Value = NaiveRule> {
    let required = |field| {
        let texts = prop_oneof![
            4 => proptest::collection::vec(select(&TEXTS[..]), 1..4),
            1 => Just(TEXTS.to_vec()),
        ];
        texts.prop_map(move |texts| NaiveCondition { field, test: NaiveTest::AnyOf(texts), not: None })
    };
    let others = proptest::collection::vec(condition(), 0..3);
    rule_of((required("eventName"), others, required("eventSource"), any::<bool>()).prop_map(
        |(name, mut conditions, source, is_first)| {
            conditions.insert(0, name);
            conditions.insert(if is_first { 0 } else { conditions.len() }, source);
            conditions
        },
    ))
}

/// A rule that requires a network or a regular expression of a field that other rules also have.
fn gated_rule(expressions: usize) -> impl Strategy<Value = NaiveRule> {
    let pattern = (select(&["userAgent", "eventName"][..]), proptest::collection::vec(0..expressions, 1..3))
        .prop_map(|(field, at)| NaiveCondition { field, test: NaiveTest::Regex(at), not: None });
    let network = proptest::collection::vec(0..NETWORKS.len() - 1, 1..3).prop_map(|at| NaiveCondition {
        field: "sourceIPAddress",
        test: NaiveTest::Cidr(at),
        not: None,
    });
    let others = proptest::collection::vec(condition(), 0..2);
    rule_of((prop_oneof![pattern, network], others).prop_map(|(first, mut conditions)| {
        conditions.push(first);
        conditions
    }))
}

fn rules() -> impl Strategy<Value = Vec<NaiveRule>> {
    let shared = |expressions| {
        let rule = prop_oneof![2 => rule(), 2 => paired_rule(), 3 => gated_rule(expressions)];
        proptest::collection::vec(rule, 1..10)
    };
    // With several expressions that all match at the start only, texts are compared before they are searched.
    let gated = proptest::collection::vec(gated_rule(ANCHORED), 2..6);
    prop_oneof![proptest::collection::vec(rule(), 1..6), shared(ANCHORED), shared(EXPRESSIONS.len()), gated]
}

/// Returns the rules as a filter file.
fn toml(rules: &[NaiveRule]) -> String {
    let text = |text: &str| serde_json::to_string(text).unwrap();
    let list = |texts: &[&str]| format!("[{}]", texts.iter().map(|one| text(one)).collect::<Vec<_>>().join(", "));
    let condition = |condition: &NaiveCondition| {
        let test = match &condition.test {
            NaiveTest::Equals(one) => format!("equals = {}", text(one)),
            NaiveTest::AnyOf(texts) => format!("any_of = {}", list(texts)),
            NaiveTest::Prefix(texts) => format!("prefix = {}", list(texts)),
            NaiveTest::Suffix(texts) => format!("suffix = {}", list(texts)),
            NaiveTest::Cidr(at) => format!("cidr = {}", list(&at.iter().map(|&at| NETWORKS[at].0).collect::<Vec<_>>())),
            NaiveTest::Regex(at) => {
                format!("regex = {}", list(&at.iter().map(|&at| EXPRESSIONS[at].0).collect::<Vec<_>>()))
            }
            NaiveTest::Exists(is) => format!("exists = {is}"),
            NaiveTest::Null(is) => format!("null = {is}"),
        };
        let not = condition.not.map(|not| format!(", not = {not}")).unwrap_or_default();
        format!("{{ field = {}, {test}{not} }}", text(condition.field))
    };
    let rule = |rule: &NaiveRule| {
        let conditions: Vec<String> = rule.conditions.iter().map(condition).collect();
        format!("[[{}]]\nwhen = [\n  {}\n]\n", rule.kind.as_str(), conditions.join(",\n  "))
    };
    rules.iter().map(rule).collect()
}

/// The JSON text of a value.
fn value() -> impl Strategy<Value = String> {
    let text = || select(&TEXTS[..]).prop_map(|text| serde_json::to_string(text).unwrap());
    prop_oneof![
        8 => text(),
        1 => Just("null".to_owned()),
        1 => Just("7".to_owned()),
        1 => Just("true".to_owned()),
        2 => select(&TEXTS[..]).prop_map(|text| format!("\"{}\"", escaped(text))),
        1 => Just("[]".to_owned()),
        1 => Just("{}".to_owned()),
        1 => text().prop_map(|text| format!("[{text}, [null], {text}]")),
    ]
}

/// Returns a text with its first character as an escape.
fn escaped(text: &str) -> String {
    let json = serde_json::to_string(text).unwrap();
    match text.chars().next() {
        Some(first @ '!'..='~') if first != '"' && first != '\\' => {
            format!("\\u{:04x}{}", first as u32, &json[2..json.len() - 1])
        }
        _ => json[1..json.len() - 1].to_owned(),
    }
}

/// An object with one member of this name, which can be preceded by a duplicate and have escapes, or an array of such an object.
fn object(name: &'static str, inner: impl Strategy<Value = String> + 'static) -> BoxedStrategy<String> {
    let form = prop_oneof![6 => Just(0), 1 => Just(1), 1 => Just(2), 1 => Just(3)];
    (inner, form, value())
        .prop_map(move |(inner, form, other)| match form {
            0 => format!("{{\"x\":1,{name:?}: {inner}}}"),
            1 => format!("{{{name:?}:{other},\"{}\": {inner} ,\"x\":[{{{name:?}:2}}]}}", escaped(name)),
            2 => format!("{{\"{}\":{{}},{name:?}:{inner}}}", escaped(name)),
            _ => format!("[{{{name:?}:{inner}}},{other}]"),
        })
        .boxed()
}

/// An event as JSON text: members in any order, with duplicates, white space and escapes.
fn event() -> impl Strategy<Value = String> {
    let issuer = |name| object("sessionContext", object("sessionIssuer", object(name, value())));
    let member = prop_oneof![
        6 => (select(&["eventSource", "eventName", "sourceIPAddress", "userAgent", "readOnly", "errorCode", "other"][..]), value())
            .prop_map(|(name, value)| format!("{name:?}:{value}")),
        1 => (select(&["eventSource", "eventName", "userAgent"][..]), value())
            .prop_map(|(name, value)| format!("\"{}\" : {value}", escaped(name))),
        1 => object("arn", value()).prop_map(|value| format!("\"userIdentity\":{value}")),
        1 => issuer("arn").prop_map(|value| format!("\"userIdentity\" :{value}")),
        1 => issuer("type").prop_map(|value| format!("\"user\\u0049dentity\": {value}")),
        1 => value().prop_map(|value| format!("\"userIdentity\":{value}")),
        1 => proptest::collection::vec(object("name", value()), 0..3)
            .prop_map(|list| format!("\"requestParameters\":{{\"list\":[{}]}}", list.join(" ,"))),
        1 => value().prop_map(|value| format!("\"requestParameters\":{{\"dotted.name\":{value},\"dotted\":{{\"name\":\"no\"}}}}")),
        1 => proptest::collection::vec(object("ARN", value()), 0..3)
            .prop_map(|list| format!("\"resources\":[{}]", list.join(","))),
        1 => Just("\"requestParameters\":null".to_owned()),
    ];
    (proptest::collection::vec(member, 0..10), select(&[",", " ,\n\t"][..]))
        .prop_map(|(members, comma)| format!("{{{}}}", members.join(comma)))
}

fn values<'v>(value: &'v Value, names: &[&str], found: &mut Vec<&'v Value>) {
    match (value, names) {
        (Value::Array(elements), []) if elements.is_empty() => found.push(value),
        (Value::Array(elements), _) => elements.iter().for_each(|element| values(element, names, found)),
        (_, []) => found.push(value),
        (Value::Object(members), [name, rest @ ..]) => {
            if let Some(inner) = members.get(*name) {
                values(inner, rest, found);
            }
        }
        _ => {}
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn is_in_network(text: &str, (_, first, bits): (&str, [u8; 4], u32)) -> bool {
    let text = text.strip_prefix("::ffff:").unwrap_or(text);
    let Ok(bytes) = text.split('.').map(str::parse::<u8>).collect::<Result<Vec<_>, _>>() else { return false };
    let Ok(bytes) = <[u8; 4]>::try_from(bytes) else { return false };
    let differing = u32::from_be_bytes(bytes) ^ u32::from_be_bytes(first);
    differing.leading_zeros() >= bits
}

fn fulfills(event: &Value, condition: &NaiveCondition) -> bool {
    let names: Vec<&str> = match condition.field {
        r"requestParameters.dotted\.name" => vec!["requestParameters", "dotted.name"],
        field => field.split('.').collect(),
    };
    let mut found = Vec::new();
    match &names[..] {
        [name] => found.extend(event.get(name)),
        names => values(event, names, &mut found),
    }
    let any_text =
        |passes: &dyn Fn(&str) -> bool| found.iter().filter_map(|value| text(value)).any(|text| passes(&text));
    let passes = match &condition.test {
        NaiveTest::Equals(one) => any_text(&|text| text == *one),
        NaiveTest::AnyOf(texts) => any_text(&|text| texts.contains(&text)),
        NaiveTest::Prefix(texts) => any_text(&|text| texts.iter().any(|prefix| text.starts_with(prefix))),
        NaiveTest::Suffix(texts) => any_text(&|text| texts.iter().any(|suffix| text.ends_with(suffix))),
        NaiveTest::Cidr(at) => any_text(&|text| at.iter().any(|&at| is_in_network(text, NETWORKS[at]))),
        NaiveTest::Regex(at) => any_text(&|text| at.iter().any(|&at| EXPRESSIONS[at].1(text))),
        NaiveTest::Exists(is) => found.is_empty() != *is,
        NaiveTest::Null(is) => found.iter().any(|value| value.is_null()) == *is,
    };
    passes != condition.not.unwrap_or(false)
}

/// Returns whether the event is dropped, and the number of the deciding rule among those of its kind.
fn naive(rules: &[NaiveRule], event: &Value) -> (bool, Option<usize>) {
    let of_kind = |kind| rules.iter().filter(move |rule| rule.kind == kind);
    let first =
        |kind| of_kind(kind).position(|rule| rule.conditions.iter().all(|condition| fulfills(event, condition)));
    let included = first(RuleKind::Include);
    if of_kind(RuleKind::Include).count() > 0 && included.is_none() {
        return (true, None);
    }
    match first(RuleKind::Exclude) {
        Some(number) => (true, Some(number)),
        None => (false, included),
    }
}

fn decided(filter: &Filter, line: &str) -> (bool, Option<usize>) {
    match filter.decide(line.as_bytes()) {
        Decision::Kept(rule) => (false, rule.map(|rule| rule.number())),
        Decision::Dropped(rule) => (true, rule.map(|rule| rule.number())),
    }
}

/// A rule of a large filter. Few rules match a given event.
fn rule_of_many(number: usize, texts: &[&'static str]) -> NaiveRule {
    let condition = |field, test| NaiveCondition { field, test, not: None };
    let text = texts[number];
    let conditions = match number % 10 {
        0..6 => vec![
            condition("eventSource", NaiveTest::AnyOf(vec![texts[number % 7], texts[number % 11]])),
            condition("eventName", NaiveTest::AnyOf(vec![text, texts[number % 500]])),
            condition("userIdentity.arn", NaiveTest::Prefix(vec![texts[number % 3]])),
        ],
        6 => vec![
            condition("eventSource", NaiveTest::Equals(texts[number % 7])),
            condition(
                "eventName",
                NaiveTest::AnyOf(texts[number - number % 10..][..40.min(texts.len() - number)].to_vec()),
            ),
        ],
        7 => vec![condition("eventName", NaiveTest::Equals(text))],
        8 => vec![
            condition("sourceIPAddress", NaiveTest::Cidr(vec![number % 2])),
            condition("errorCode", NaiveTest::Equals(text)),
        ],
        _ => vec![condition("userAgent", NaiveTest::Equals(text))],
    };
    NaiveRule { kind: RuleKind::Exclude, conditions }
}

#[test]
fn ten_thousand_rules_agree_with_a_naive_evaluation() {
    let texts: Vec<&'static str> = (0..MAX_RULES).map(|number| &*format!("text number {number}").leak()).collect();
    let rules: Vec<NaiveRule> = (0..MAX_RULES).map(|number| rule_of_many(number, &texts)).collect();
    let filter = Filter::from_toml("filter.toml", &toml(&rules)).unwrap();
    let mut dropped = 0;
    for number in (0..MAX_RULES).step_by(97) {
        let [source, name, other] = [number % 7, number % 500 + number % 3 * 3000, number].map(|at| texts[at]);
        let event = format!(
            r#"{{"eventSource":"{source}","eventName":"{name}","userAgent":"{}","errorCode":"{other}","sourceIPAddress":"10.1.2.3","userIdentity":{{"arn":"{}"}}}}"#,
            texts[(number * 7) % MAX_RULES],
            texts[number % 5],
        );
        let expected = naive(&rules, &serde_json::from_str(&event).unwrap());
        assert_eq!(decided(&filter, &event), expected, "{event}");
        dropped += usize::from(expected.0);
    }
    assert!((10..90).contains(&dropped), "{dropped}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn decisions_agree_with_a_naive_evaluation(
        rules in rules(),
        events in proptest::collection::vec(event(), 1..10),
    ) {
        let file = toml(&rules);
        let filter = Filter::from_toml("filter.toml", &file).unwrap();
        for event in events {
            let parsed: Value = serde_json::from_str(&event).unwrap();
            let expected = naive(&rules, &parsed);
            prop_assert_eq!(decided(&filter, &event), expected, "{}\n{}", file, event);
            prop_assert_eq!(filter.drops(event.as_bytes()), expected.0);
            let log = format!("{{\"Records\":[{event}]}}");
            let mut reader = EventReader::new(log.as_bytes(), DecodeLimits::default()).noting(filter.selected_fields());
            let decoded = reader.next().unwrap().unwrap();
            // A line without line breaks is stored as it is, so the offsets of its fields are noted.
            prop_assert_eq!(decoded.offsets.is_some(), !event.contains('\n'));
            prop_assert_eq!(filter.drops_event(&decoded), expected.0, "noted offsets: {}\n{}", file, event);
        }
    }

    #[test]
    fn findings_are_true_for_random_events(
        rules in proptest::collection::vec(rule(), 1..4),
        events in proptest::collection::vec(event(), 1..40),
    ) {
        // Findings rely on CloudTrail's documentation: a field such as `eventName` has one value.
        let events: Vec<String> = events.into_iter().filter(|event| !event.contains("[null]")).collect();
        let filter = Filter::from_toml("filter.toml", &toml(&rules)).unwrap();
        let findings = filter.findings();
        for rule in filter.rules() {
            let said = |what: &str| {
                let start = format!("{} rule {:?} {what}", rule.kind().as_str(), rule.name());
                findings.iter().any(|finding| finding.text.starts_with(&start))
            };
            let is_useless = said("cannot match") || said("has no effect") || said("keeps no event");
            for event in &events {
                // A rule without effect decides about no event. A rule that only repeats an earlier one never comes first.
                if let Decision::Kept(Some(by)) | Decision::Dropped(Some(by)) = filter.decide(event.as_bytes()) {
                    prop_assert!(!is_useless || by != rule, "{}: {event}", rule.name());
                }
            }
        }
        if findings.iter().any(|finding| finding.text.starts_with("the filter drops every event")) {
            for event in &events {
                prop_assert!(filter.drops(event.as_bytes()), "{event}");
            }
        }
    }

    #[test]
    fn invalid_bytes_never_panic(bytes in proptest::collection::vec(prop_oneof![
        any::<u8>(), select(&br#"{}[]",:\0n"#[..])], 0..60)) {
        let rule = |field| format!("[[exclude]]\nwhen = [{{ field = \"{field}\", exists = false }}]\n");
        let fields = ["resources.ARN", "userIdentity.arn", "userIdentity.sessionContext.sessionIssuer.arn"];
        for field in fields {
            let filter = Filter::from_toml("filter.toml", &rule(field)).unwrap();
            filter.drops(&bytes);
            filter.drops(&[b"{\"resources\":", &bytes[..], b"}"].concat());
            filter.drops(&[b"{\"userIdentity\":", &bytes[..], b"}"].concat());
            filter.drops(&[b"{\"userIdentity\":{\"sessionContext\":", &bytes[..], b"}}"].concat());
        }
    }
}
