//! Builds a plan from the options of `trailhose query`.

use super::condition;
use crate::args::{ConditionArgs, QueryArgs, ResultArgs};
use jiff::{SignedDuration, Timestamp};
use std::io::Read;
use std::path::Path;
use trailhose::plan::{
    Aggregate, Column, Comparison, EventOrder, GroupColumn, Groups, Having, Network, Plan, PlanError, PlanOutput,
    Predicate, QueryField, Scope, SortKey, TimeSpan, ValueTest, parse_end, parse_start,
};

/// The default number of rows.
const DEFAULT_LIMIT: u64 = 100;

/// The maximum size of a plan in bytes.
const MAX_PLAN_BYTES: u64 = 4 << 20;

/// The default length of the time span.
const DEFAULT_SPAN: SignedDuration = SignedDuration::from_hours(24);

/// The default columns of a list of events.
const DEFAULT_COLUMNS: [Column; 6] = [
    Column::EventTime,
    Column::EventSource,
    Column::EventName,
    Column::Principal,
    Column::SourceIpAddress,
    Column::ErrorCode,
];

/// Returns the plan that the options describe.
pub(super) fn of_args(args: &QueryArgs, now: Timestamp) -> Result<Plan, String> {
    if let Some(path) = &args.plan {
        return read(path);
    }
    let mut predicates = conditions(&args.conditions)?;
    let has_span = args.since.is_some() || args.until.is_some() || args.time.is_some();
    let scope = match &args.conditions.id {
        Some(id) if !has_span => Scope::EventId(id.clone()),
        Some(id) => {
            predicates.push(Predicate::equals(Column::EventId, id));
            Scope::Time(span(args, now)?)
        }
        None => Scope::Time(span(args, now)?),
    };
    let limit = match args.result.limit.as_deref() {
        None => Some(DEFAULT_LIMIT),
        Some("none") => None,
        Some(text) => match text.parse() {
            Ok(limit) if limit > 0 => Some(limit),
            _ => return Err(format!("invalid --limit {text:?}: expected a number of at least 1, or none")),
        },
    };
    let output = output(&args.result, limit)?;
    Plan::new(scope, Predicate::All(predicates), output, limit).map_err(|error| error.to_string())
}

/// Returns whether the rows of a plan are events.
pub(super) fn lists_events(plan: &Plan) -> bool {
    matches!(plan.output(), PlanOutput::Events { .. })
}

fn read(path: &Path) -> Result<Plan, String> {
    let failed = |error: &dyn std::fmt::Display| format!("cannot read the plan {}: {error}", path.display());
    let mut text = String::new();
    let read = match path.to_str() {
        Some("-") => std::io::stdin().take(MAX_PLAN_BYTES + 1).read_to_string(&mut text),
        _ => std::fs::File::open(path).and_then(|file| file.take(MAX_PLAN_BYTES + 1).read_to_string(&mut text)),
    };
    let length = read.map_err(|error| failed(&error))?;
    if length as u64 > MAX_PLAN_BYTES {
        return Err(failed(&format!("it exceeds {} MiB", MAX_PLAN_BYTES >> 20)));
    }
    serde_json::from_str(&text).map_err(|error| failed(&error))
}

fn span(args: &QueryArgs, now: Timestamp) -> Result<TimeSpan, String> {
    let named = |option: &str| {
        let option = option.to_owned();
        move |error: PlanError| format!("{option}: {error}")
    };
    if let Some(text) = &args.time {
        return TimeSpan::parse(text, now).map_err(named("--time"));
    }
    let until = match &args.until {
        Some(text) => parse_end(text, now).map_err(named("--until"))?,
        // The end of the span is excluded, so the next second includes the events of the current one.
        None => Timestamp::from_second(now.as_second() + 1).map_err(|error| error.to_string())?,
    };
    let since = match &args.since {
        Some(text) => parse_start(text, now).map_err(named("--since"))?,
        None => until.checked_sub(DEFAULT_SPAN).map_err(|error| error.to_string())?,
    };
    TimeSpan::new(since, until).map_err(named("--since and --until"))
}

fn conditions(args: &ConditionArgs) -> Result<Vec<Predicate>, String> {
    let mut predicates = Vec::new();
    for (values, column) in [
        (&args.name, Column::EventName),
        (&args.event_source, Column::EventSource),
        (&args.account, Column::RecipientAccountId),
        (&args.region, Column::AwsRegion),
        (&args.principal, Column::Principal),
        (&args.access_key, Column::UserIdentityAccessKeyId),
        (&args.error, Column::ErrorCode),
    ] {
        if !values.is_empty() {
            predicates.push(Predicate::Field(column.into(), ValueTest::Equals(values.clone())));
        }
    }
    if !args.address.is_empty() {
        let (networks, texts): (Vec<_>, Vec<_>) = args.address.iter().cloned().partition(|text| text.contains('/'));
        let networks: Result<Vec<Network>, _> = networks.iter().map(|text| text.parse()).collect();
        let networks = networks.map_err(|error| format!("--address: {error}"))?;
        let mut either = Vec::new();
        if !networks.is_empty() {
            either.push(Predicate::Field(Column::SourceIpAddress.into(), ValueTest::Cidr(networks)));
        }
        if !texts.is_empty() {
            either.push(Predicate::Field(Column::SourceIpAddress.into(), ValueTest::Equals(texts)));
        }
        match (either.pop(), either.is_empty()) {
            (Some(only), true) => predicates.push(only),
            (Some(last), false) => predicates.push(Predicate::Any(vec![either.remove(0), last])),
            (None, _) => {}
        }
    }
    predicates.extend(args.anywhere.iter().cloned().map(Predicate::Anywhere));
    for text in &args.conditions {
        predicates.push(condition::parse(text)?);
    }
    for text in &args.not {
        predicates.push(condition::parse(text)?.negated());
    }
    Ok(predicates)
}

fn fields(names: &[String]) -> Result<Vec<QueryField>, String> {
    names.iter().map(|name| name.parse().map_err(|error: PlanError| error.to_string())).collect()
}

fn output(args: &ResultArgs, limit: Option<u64>) -> Result<PlanOutput, String> {
    let mut aggregates = Vec::new();
    if args.count {
        aggregates.push(Aggregate::Count);
    }
    aggregates.extend(fields(&args.count_distinct)?.into_iter().map(Aggregate::CountDistinct));
    aggregates.extend(fields(&args.min)?.into_iter().map(Aggregate::Min));
    aggregates.extend(fields(&args.max)?.into_iter().map(Aggregate::Max));
    if aggregates.is_empty() && args.group_by.is_empty() {
        if !args.having.is_empty() {
            return Err("--having requires groups: use --group-by".into());
        }
        return events(args, limit);
    }
    if aggregates.is_empty() {
        aggregates.push(Aggregate::Count);
    }
    let by = fields(&args.group_by)?;
    let having = args.having.iter().map(|text| having(text, &aggregates)).collect::<Result<_, _>>()?;
    let order = match args.order.as_slice() {
        [] => vec![SortKey { by: GroupColumn::Aggregate(0), descending: true }],
        order => order.iter().map(|text| group_order(text, &by, &aggregates)).collect::<Result<_, _>>()?,
    };
    Ok(PlanOutput::Groups(Groups { by, aggregates, having, order }))
}

fn events(args: &ResultArgs, limit: Option<u64>) -> Result<PlanOutput, String> {
    let order = match args.order.as_slice() {
        [] if limit.is_none() => EventOrder::AsRead,
        [] => EventOrder::Newest,
        [order] => match order.as_str() {
            "newest" => EventOrder::Newest,
            "oldest" => EventOrder::Oldest,
            "as-read" => EventOrder::AsRead,
            other => return Err(format!("invalid --order {other:?}: expected newest, oldest or as-read")),
        },
        _ => return Err("events have one --order: newest, oldest or as-read".into()),
    };
    let columns = match (args.raw, args.columns.is_empty()) {
        (true, _) => Vec::new(),
        (false, true) => DEFAULT_COLUMNS.map(QueryField::from).to_vec(),
        (false, false) => fields(&args.columns)?,
    };
    Ok(PlanOutput::Events { columns, order })
}

/// Parses a condition on an aggregate, such as `count>=10`.
fn having(text: &str, aggregates: &[Aggregate]) -> Result<Having, String> {
    let invalid = || format!("invalid --having {text:?}: expected for example count>=10");
    let at = text.find(['<', '>', '=']).ok_or_else(invalid)?;
    let (name, rest) = text.split_at(at);
    let (is, number) = match rest {
        _ if rest.starts_with(">=") => (Comparison::AtLeast, &rest[2..]),
        _ if rest.starts_with("<=") => (Comparison::AtMost, &rest[2..]),
        _ if rest.starts_with('>') => (Comparison::Greater, &rest[1..]),
        _ if rest.starts_with('<') => (Comparison::Less, &rest[1..]),
        _ => (Comparison::Equal, &rest[1..]),
    };
    let value = number.trim().parse().map_err(|_| invalid())?;
    let aggregate = position(name.trim(), aggregates).ok_or_else(|| unknown_column(name, &[], aggregates))?;
    Ok(Having { aggregate, is, value })
}

fn group_order(text: &str, by: &[QueryField], aggregates: &[Aggregate]) -> Result<SortKey, String> {
    let (name, direction) = match text.rsplit_once(':') {
        Some((name, direction @ ("asc" | "desc"))) => (name, Some(direction)),
        _ => (text, None),
    };
    let field = by.iter().position(|field| field.to_string() == name).map(GroupColumn::Field);
    let key = field.or_else(|| position(name, aggregates).map(GroupColumn::Aggregate));
    let key = key.ok_or_else(|| unknown_column(name, by, aggregates))?;
    // By default, aggregates are sorted with the largest first, and fields in ascending order.
    let descending = direction.map_or(matches!(key, GroupColumn::Aggregate(_)), |direction| direction == "desc");
    Ok(SortKey { by: key, descending })
}

fn position(name: &str, aggregates: &[Aggregate]) -> Option<usize> {
    aggregates.iter().position(|aggregate| aggregate.column_name() == name)
}

fn unknown_column(name: &str, by: &[QueryField], aggregates: &[Aggregate]) -> String {
    let columns = by.iter().map(ToString::to_string).chain(aggregates.iter().map(Aggregate::column_name));
    format!("the groups have no column {name:?}: the columns are {}", columns.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser;

    fn plan(options: &[&str]) -> Result<String, String> {
        let args = ["trailhose", "query", "./events"].iter().chain(options);
        let Command::Query(args) = Cli::try_parse_from(args).map_err(|error| error.to_string())?.command else {
            panic!("another command");
        };
        let plan = of_args(&args, "2026-03-02T00:00:00Z".parse().unwrap())?;
        Ok(serde_json::to_string(&plan).unwrap())
    }

    #[test]
    fn options_become_a_plan() {
        for (options, parts) in [
            (
                &["--name", "A", "--name", "B", "--not", "errorCode"][..],
                &[
                    r#"{"field":"eventName","equals":["A","B"]}"#,
                    r#"{"field":"errorCode","null":true}"#,
                    r#""since":"2026-03-01T00:00:01Z","until":"2026-03-02T00:00:01Z""#,
                    r#""order":"newest""#,
                    r#""limit":100"#,
                ][..],
            ),
            (
                &["--group-by", "principal,eventName", "--max", "eventTime", "--count", "--having", "count>=5"],
                &[
                    r#""by":["principal","eventName"],"aggregates":["count",{"max":"eventTime"}]"#,
                    r#""having":[{"aggregate":0,"is":"at_least","value":5}]"#,
                    r#""order":[{"by":{"aggregate":0},"descending":true}]"#,
                ],
            ),
            (&["--address", "10.0.0.0/8", "--address", "ec2.amazonaws.com"], &[r#"{"any":[{"field":"#]),
            (&["--id", "3270e016-59a1-4448-8dd1-d27a4796502d"], &[r#""event_id":"3270e016"#]),
            (&["--id", "3270e016-59a1-4448-8dd1-d27a4796502d", "--since", "7d"], &[r#""field":"eventID""#]),
            (&["--limit", "none", "--raw", "--time", "last 7 days"], &[r#""order":"as_read""#, "2026-02-23"]),
        ] {
            let plan = plan(options).unwrap();
            for part in parts {
                assert!(plan.contains(part), "{options:?}: {part} is not in {plan}");
            }
        }
    }

    #[test]
    fn invalid_options_are_explained() {
        for (options, expected) in [
            (&["--columns", "eventname"][..], "did you mean eventName?"),
            (&["--having", "count>5"], "requires groups"),
            (&["--group-by", "eventName", "--having", "max(x)>5"], "the columns are count"),
            (&["--group-by", "eventName", "--order", "nosuch"], "the columns are eventName, count"),
            (&["--limit", "0"], "at least 1, or none"),
            (&["--id", "x' OR 1=1"], "is not an event ID"),
            (&["--since", "nosuch"], "--since"),
            (&["--plan", "p.json", "--name", "x"], "cannot be used with"),
            (&["--order", "newest", "--order", "oldest"], "one --order"),
        ] {
            let error = plan(options).unwrap_err();
            assert!(error.contains(expected), "{options:?}: {error}");
        }
    }
}
