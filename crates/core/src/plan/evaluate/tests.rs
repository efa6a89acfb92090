use super::naive::{self, SERVICE_FIELDS};
use super::*;
use crate::plan::{
    Aggregate, Comparison, GroupColumn, Groups, Having, Network, Path, PathStep, PlanOutput, QueryField, SortKey,
    ValueTest,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// Values of events and of plans, as JSON.
const VALUES: [&str; 17] = [
    r#""a""#,
    r#""A""#,
    r#""ab""#,
    r#""abc""#,
    r#""""#,
    r#""10.1.2.3""#,
    r#""2001:db8::1""#,
    r#""true""#,
    "true",
    "1.5",
    "12345",
    "null",
    r#"{"bucketName":"ab","list":[{"a":"b"},"abc"]}"#,
    r#"["a",{"bucketName":"abc"},null]"#,
    "{}",
    r#"{ "a\"b" : [ 1 , "x  y" ] }"#,
    r#""\u0061\/\"é\u00e9""#,
];

const TIMES: [&str; 9] = [
    r#""2026-02-01T00:00:00Z""#,
    r#""2026-02-01T23:59:59Z""#,
    r#""2026-02-02T00:00:00Z""#,
    r#""2026-02-02T01:30:00+02:00""#,
    r#""2026-02-01T12:00:00.25Z""#,
    r#""2026-02-01 12:00:00.000""#,
    r#""yesterday""#,
    "1769904000",
    "null",
];

/// Texts of plans.
const TEXTS: [&str; 12] =
    ["a", "A", "ab", "b", "abc", "10.1.2.3", "true", "1.5", "12345", "a/\"éé", "null", "2026-02-01"];

fn member() -> impl Strategy<Value = String> {
    let columns = ["eventName", "eventSource", "sourceIPAddress", "readOnly", "requestParameters", "responseElements"];
    let names = ["arn", "invokedBy", "principalId", "type", "accountId"];
    let value = || select(&VALUES[..]);
    prop_oneof![
        3 => select(&TIMES[..]).prop_map(|time| format!(r#""eventTime":{time}"#)),
        1 => "[0-3]".prop_map(|digit| format!(r#""eventID":"3270e016-59a1-4448-8dd1-d27a4796502{digit}""#)),
        6 => (select(columns.to_vec()), value()).prop_map(|(name, value)| format!("\"{name}\":{value}")),
        1 => value().prop_map(|value| format!(r#""event\u004eame" : {value}"#)),
        3 => vec((select(names.to_vec()), value()), 0..4).prop_map(|members| {
            let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            format!(r#""userIdentity":{{{}}}"#, members.join(" ,"))
        }),
        1 => value().prop_map(|value| format!(r#""userIdentity":{value}"#)),
    ]
}

/// Generates events with duplicate keys and escapes.
fn event() -> impl Strategy<Value = String> {
    vec(member(), 0..12).prop_map(|members| format!("{{{}}}", members.join(",")))
}

fn field() -> impl Strategy<Value = QueryField> {
    let columns = [
        Column::EventName,
        Column::EventSource,
        Column::SourceIpAddress,
        Column::ReadOnly,
        Column::Principal,
        Column::UserIdentityArn,
        Column::UserIdentityAccountId,
        Column::RequestParameters,
        Column::Day,
        Column::Hour,
        Column::EventId,
        Column::EventTime,
    ];
    let step = prop_oneof![
        select(vec!["bucketName", "list", "a", "nosuch"]).prop_map(|name| PathStep::Name(name.to_owned())),
        (0..3usize).prop_map(PathStep::Index),
    ];
    let path = (select(SERVICE_FIELDS.to_vec()), vec(step, 1..4))
        .prop_map(|(root, steps)| QueryField::Path(Path::new(root, steps).unwrap()));
    prop_oneof![3 => select(columns.to_vec()).prop_map(QueryField::from), 1 => path]
}

fn test() -> impl Strategy<Value = ValueTest> {
    let texts = || vec(select(TEXTS.to_vec()).prop_map(str::to_owned), 1..11);
    let network: Vec<Network> =
        ["10.0.0.0/8", "2001:db8::/32", "192.0.2.0/24"].iter().map(|text| text.parse().unwrap()).collect();
    prop_oneof![
        texts().prop_map(ValueTest::Equals),
        texts().prop_map(ValueTest::Prefix),
        texts().prop_map(ValueTest::Suffix),
        texts().prop_map(ValueTest::Contains),
        vec(select(network), 1..3).prop_map(ValueTest::Cidr),
        Just(ValueTest::Null),
        field().prop_map(ValueTest::SameAs),
    ]
}

fn predicate() -> impl Strategy<Value = Predicate> {
    let leaf = prop_oneof![
        6 => (field(), test()).prop_map(|(field, test)| Predicate::Field(field, test)),
        1 => select(TEXTS.to_vec()).prop_map(|text| Predicate::Anywhere(text.to_owned())),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Predicate::All),
            vec(inner.clone(), 0..3).prop_map(Predicate::Any),
            inner.prop_map(|inner| Predicate::Not(Box::new(inner))),
        ]
    })
}

fn groups() -> impl Strategy<Value = PlanOutput> {
    let aggregate = prop_oneof![
        Just(Aggregate::Count),
        field().prop_map(Aggregate::CountDistinct),
        field().prop_map(Aggregate::Min),
        field().prop_map(Aggregate::Max),
    ];
    let order = vec((any::<prop::sample::Index>(), any::<bool>(), any::<bool>()), 0..3);
    let comparison =
        select(vec![Comparison::Equal, Comparison::Less, Comparison::AtMost, Comparison::Greater, Comparison::AtLeast]);
    (vec(field(), 0..3), vec(aggregate, 1..4), order, option::of((comparison, 0..4u64))).prop_map(
        |(by, aggregates, order, having)| {
            let order = order.into_iter().map(|(index, is_field, descending)| {
                let by = match is_field && !by.is_empty() {
                    true => GroupColumn::Field(index.index(by.len())),
                    false => GroupColumn::Aggregate(index.index(aggregates.len())),
                };
                SortKey { by, descending }
            });
            let order = order.collect();
            let is_number = |aggregate: &Aggregate| matches!(aggregate, Aggregate::Count | Aggregate::CountDistinct(_));
            let having = having.and_then(|(is, value)| {
                aggregates.iter().position(is_number).map(|aggregate| Having { aggregate, is, value })
            });
            PlanOutput::Groups(Groups { by, aggregates, having: having.into_iter().collect(), order })
        },
    )
}

fn plan() -> impl Strategy<Value = Plan> {
    let order = select(vec![EventOrder::Newest, EventOrder::Oldest, EventOrder::AsRead]);
    let events = (vec(field(), 1..4), order).prop_map(|(columns, order)| PlanOutput::Events { columns, order });
    let span = TimeSpan::new("2026-02-01T00:00:00Z".parse().unwrap(), "2026-02-02T00:00:00Z".parse().unwrap());
    let scope = prop_oneof![
        4 => Just(Scope::Time(span.unwrap())),
        1 => Just(Scope::EventId("3270e016-59a1-4448-8dd1-d27a47965021".to_owned())),
    ];
    (scope, predicate(), prop_oneof![events, groups()], 1..6u64)
        .prop_map(|(scope, predicate, output, limit)| Plan::new(scope, predicate, output, Some(limit)).unwrap())
}

/// Runs a plan with several collectors, as threads do.
fn run(plan: &Plan, events: &[String]) -> (CollectedRows, u64) {
    let prepared = Arc::new(PreparedPlan::new(plan));
    let memory = Arc::new(MemoryBudget::new(1 << 20));
    let mut slots = FieldSlots::default();
    let mut collectors: Vec<_> = (0..3).map(|_| RowCollector::new(&prepared, &memory)).collect();
    let mut as_read = Vec::new();
    for (number, event) in events.iter().enumerate() {
        match prepared.classify(event.as_bytes(), &mut slots) {
            EventClass::Selected => as_read.extend(collectors[number % 3].add(event.as_bytes(), &slots).unwrap()),
            EventClass::NotSelected | EventClass::WithoutTime => {}
            EventClass::Invalid => panic!("{event}"),
        }
    }
    let mut all = RowCollector::new(&prepared, &memory);
    for collector in collectors {
        all.merge(collector).unwrap();
    }
    let selected = all.selected();
    (all.finish_with(as_read), selected)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn rows_equal_those_of_a_naive_evaluator(plan in plan(), events in vec(event(), 0..20)) {
        let values: Vec<_> = events.iter().map(|event| serde_json::from_str(event).unwrap()).collect();
        let (expected, expected_selected) = naive::run(&plan, &values);
        let (found, selected) = run(&plan, &events);
        prop_assert_eq!((&found.rows, selected as usize), (&expected, expected_selected), "{}", plan.restate());
    }
}

fn class(event: &str) -> EventClass {
    let plan = r#"{"time": {"since": "2026-02-01T00:00:00Z", "until": "2026-02-02T00:00:00Z"},
        "where": {"anywhere": "x"}, "events": {"order": "as_read"}}"#;
    let plan: Plan = serde_json::from_str(plan).unwrap();
    PreparedPlan::new(&plan).classify(event.as_bytes(), &mut FieldSlots::default())
}

#[test]
fn bytes_that_are_not_an_event_are_invalid() {
    let deep =
        |depth| format!(r#"{{"eventTime":"2026-02-01T00:00:00Z","a":{}"x"{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert_eq!(class(&deep(100)), EventClass::Selected);
    for event in ["", "x", "[]", "\"x\"", "{", r#"{"eventTime":"2026-02-01"#, "{}x", &deep(1000), &deep(1_000_000)] {
        assert_eq!(class(event), EventClass::Invalid, "{}", &event[..event.len().min(100)]);
    }
    assert_eq!(class(r#"{"a":"x"}"#), EventClass::WithoutTime);
}

#[test]
fn groups_that_exceed_the_memory_budget_are_an_error() {
    let plan = r#"{"time": {"since": "2026-02-01T00:00:00Z", "until": "2026-02-02T00:00:00Z"},
        "groups": {"by": ["eventName"], "aggregates": ["count"]}}"#;
    let prepared = Arc::new(PreparedPlan::new(&serde_json::from_str(plan).unwrap()));
    let memory = Arc::new(MemoryBudget::new(64 << 10));
    let mut collector = RowCollector::new(&prepared, &memory);
    let mut slots = FieldSlots::default();
    let error = (0..10_000).find_map(|number| {
        let event = format!(r#"{{"eventTime":"2026-02-01T00:00:00Z","eventName":"{number}"}}"#);
        assert_eq!(prepared.classify(event.as_bytes(), &mut slots), EventClass::Selected);
        collector.add(event.as_bytes(), &slots).err()
    });
    assert!(error.unwrap().to_string().contains("group by fields with fewer values"));
}
