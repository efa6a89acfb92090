use super::*;
use crate::plan::{Having, Path, PlanOutput, ServiceField};
use proptest::prelude::*;

fn restate(rest: &str) -> String {
    let text = format!(r#"{{"time": {{"since": "2026-11-01T00:00:00Z", "until": "2026-11-08T00:00:00Z"}}, {rest}}}"#);
    serde_json::from_str::<Plan>(&text).unwrap().restate()
}

#[test]
fn plans_are_restated() {
    let events = r#""events": {"order": "newest"}, "limit": 100"#;
    let deleted = r#""where": {"all": [{"field": "eventName", "equals": ["DeleteBucket"]},
        {"field": "requestParameters.bucketName", "equals": ["reports"]}]}"#;
    let groups = r#""groups": {"by": ["principal"], "aggregates": ["count"], "having": [{"aggregate": 0, "is": "greater",
        "value": 5}], "order": [{"by": {"aggregate": 0}, "descending": true}]}, "limit": 10"#;
    for (rest, expected) in [
        (
            format!("{deleted}, {events}"),
            "The newest 100 events from 2026-11-01 through 2026-11-07 (UTC) where eventName is \"DeleteBucket\" and \
             requestParameters.bucketName is \"reports\", newest first.",
        ),
        (
            format!(
                r#""where": {{"any": [{{"not": {{"field": "errorCode", "null": true}}}}, {{"not": {{"anywhere": "x"}}}}]}}, {groups}"#
            ),
            "Number of the events from 2026-11-01 through 2026-11-07 (UTC) where errorCode is present or \"x\" does not \
             occur in the event, for each principal. Only rows where number is more than 5, ordered by number (largest \
             first), at most 10 rows.",
        ),
        (
            r#""events": {"columns": ["eventTime", "eventName"], "order": "as_read"}"#.into(),
            "All events from 2026-11-01 through 2026-11-07 (UTC). Columns: eventTime and eventName.",
        ),
    ] {
        assert_eq!(restate(&rest), expected);
    }
}

fn field() -> impl Strategy<Value = QueryField> {
    let path = Path::name(ServiceField::RequestParameters, "name").unwrap();
    prop::sample::select(vec![
        QueryField::Column(Column::EventName),
        QueryField::Column(Column::ErrorCode),
        QueryField::Column(Column::Principal),
        QueryField::Path(path),
    ])
}

fn values() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "\" or \"a", "c and d"]).prop_map(str::to_owned), 1..3)
}

fn test() -> impl Strategy<Value = ValueTest> {
    prop_oneof![
        values().prop_map(ValueTest::Equals),
        values().prop_map(ValueTest::Prefix),
        values().prop_map(ValueTest::Suffix),
        values().prop_map(ValueTest::Contains),
        Just(ValueTest::Cidr(vec!["10.0.0.0/8".parse().unwrap()])),
        Just(ValueTest::Null),
        field().prop_map(ValueTest::SameAs),
    ]
}

/// Generates predicates in normal form: connectives of at least two predicates, and no double negation.
fn predicate() -> impl Strategy<Value = Predicate> {
    let leaf = prop_oneof![
        4 => (field(), test()).prop_map(|(field, test)| Predicate::Field(field, test)),
        1 => values().prop_map(|values| Predicate::Anywhere(values.concat())),
    ];
    leaf.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..3).prop_map(Predicate::All),
            prop::collection::vec(inner.clone(), 2..3).prop_map(Predicate::Any),
            inner.prop_map(Predicate::negated),
        ]
    })
}

fn aggregate() -> impl Strategy<Value = Aggregate> {
    prop_oneof![
        Just(Aggregate::Count),
        field().prop_map(Aggregate::CountDistinct),
        field().prop_map(Aggregate::Min),
        field().prop_map(Aggregate::Max)
    ]
}

fn output() -> impl Strategy<Value = PlanOutput> {
    let order = prop::sample::select(vec![EventOrder::Newest, EventOrder::Oldest, EventOrder::AsRead]);
    let events = (prop::collection::vec(field(), 0..3), order)
        .prop_map(|(columns, order)| PlanOutput::Events { columns, order });
    let is = prop::sample::select(vec![
        Comparison::Equal,
        Comparison::Less,
        Comparison::AtMost,
        Comparison::Greater,
        Comparison::AtLeast,
    ]);
    let having = prop::option::of((is, 0..3_u64));
    let order = prop::option::of((any::<bool>(), any::<bool>()));
    let groups = (prop::collection::vec(field(), 1..3), aggregate(), having, order).prop_map(
        |(by, aggregate, having, order)| {
            PlanOutput::Groups(Groups {
                by,
                aggregates: vec![Aggregate::Count, aggregate],
                having: having.map(|(is, value)| Having { aggregate: 0, is, value }).into_iter().collect(),
                order: order
                    .map(|(first, descending)| SortKey {
                        by: if first { GroupColumn::Field(0) } else { GroupColumn::Aggregate(0) },
                        descending,
                    })
                    .into_iter()
                    .collect(),
            })
        },
    );
    prop_oneof![events, groups]
}

fn plan() -> impl Strategy<Value = Plan> {
    let time = prop::sample::select(vec![0_i64, 86_400, 86_401, 172_800]);
    (time.clone(), time, predicate(), output(), 1..4_u64).prop_map(|(since, length, predicate, output, limit)| {
        let time = |second| Timestamp::from_second(second).unwrap();
        let span = TimeSpan::new(time(since), time(since + length + 1)).unwrap();
        Plan::new(Scope::Time(span), predicate, output, Some(limit)).unwrap()
    })
}

proptest! {
    /// The two plans are often equal in most parts, because the generators have few values.
    #[test]
    fn different_plans_have_different_restatements(
        plan in plan(), other in plan(), same_predicate in any::<bool>(), same_output in any::<bool>(),
    ) {
        let predicate = if same_predicate { plan.predicate() } else { other.predicate() };
        let output = if same_output { plan.output() } else { other.output() };
        let other = Plan::new(other.scope().clone(), predicate.clone(), output.clone(), other.limit()).unwrap();
        prop_assert_eq!(plan == other, plan.restate() == other.restate(), "{}", plan.restate());
    }
}
