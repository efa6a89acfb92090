//! What is noted of a run is noted alike in memory and in a table of two emulators that were written by different people.

mod bed;
mod noted;

use bed::emulator::Emulator;
use bed::table;
use noted::Noted;
use trailhose::backfill::record::dynamodb::DynamoDb;
use trailhose::backfill::record::{Discovered, Outcome, Part, RecordError, Records, Worked};
use trailhose::backfill::run::{Defaults, Request, Root};
use trailhose::backfill::{Run, RunId};
use trailhose::ledger::system_clock;
use trailhose::listing::Counts;
use trailhose::listing::discover::Shape;
use trailhose::listing::unit::{Layout, Unit};

const NOW: i64 = 1_795_132_800; // 2026-11-20T00:00:00Z

fn run(started: i64, salt: u32) -> Run {
    let defaults = Defaults { sources: vec![Root::parse("s3://logs/p").unwrap()], look_back_days: 3 };
    Request::default().resolve(RunId::at(NOW, salt), &defaults, started).unwrap()
}

fn worked(run: &Run, region: &str, outcome: Outcome, listed: u64) -> Part {
    let unit = Unit {
        bucket: "logs".to_owned(),
        prefix: format!("p/AWSLogs/111122223333/CloudTrail/{region}/"),
        layout: Layout::Days,
        span: run.terms.span,
        filters: run.terms.filters.clone(),
        pick: run.terms.pick,
        act: run.terms.act,
        after: (outcome == Outcome::PutBack).then(|| format!("p/AWSLogs/111122223333/CloudTrail/{region}/2026/")),
    };
    let counts = Counts { listed, sent: listed / 2, ..Counts::default() };
    Part::Worked(Box::new(Worked { root: run.sources[0].clone(), unit, outcome, counts }))
}

fn discovered(run: &Run, outcome: Outcome) -> Part {
    let mut found = Discovered { outcome, shape: Shape::CloudTrail, ..Discovered::of(run.sources[0].clone()) };
    let Part::Worked(one) = worked(run, "eu-west-1", Outcome::Done, 0) else { panic!("not a unit") };
    found.add(&one.unit);
    Part::Discovered(found)
}

/// The promises of [`Records`].
async fn keeps_every_promise(records: &dyn Records) {
    a_run_that_is_begun_twice_stays_as_it_was(records).await;
    a_part_is_replaced_until_it_is_done(records).await;
    many_large_parts_are_all_read_and_those_of_others_are_not(records).await;
    runs_are_listed_the_newest_first(records).await;
}

async fn a_run_that_is_begun_twice_stays_as_it_was(records: &dyn Records) {
    let first = run(NOW, 1);
    assert_eq!(records.run(&first.id).await, Ok(None));
    assert_eq!(records.begin(&first).await, Ok(first.clone()));
    // A start that comes back after midnight asks for other days.
    assert_eq!(records.begin(&run(NOW + 86_400, 1)).await, Ok(first.clone()));
    assert_eq!(records.run(&first.id).await, Ok(Some(first)));
}

async fn a_part_is_replaced_until_it_is_done(records: &dyn Records) {
    let run = run(NOW, 2);
    let failed = || Outcome::Failed("SlowDown".to_owned());
    assert_eq!(records.parts(&run.id).await, Ok(Vec::new()));
    for (part, stands) in [
        (worked(&run, "eu-west-1", failed(), 1), worked(&run, "eu-west-1", failed(), 1)),
        (worked(&run, "eu-west-1", Outcome::PutBack, 6), worked(&run, "eu-west-1", Outcome::PutBack, 6)),
        (worked(&run, "eu-west-1", Outcome::PutBack, 4), worked(&run, "eu-west-1", Outcome::PutBack, 4)),
        (worked(&run, "eu-west-1", Outcome::Done, 9), worked(&run, "eu-west-1", Outcome::Done, 9)),
        (worked(&run, "eu-west-1", Outcome::Done, 7), worked(&run, "eu-west-1", Outcome::Done, 9)),
        (worked(&run, "eu-west-1", failed(), 2), worked(&run, "eu-west-1", Outcome::Done, 9)),
    ] {
        records.note(&run.id, &part).await.unwrap();
        assert_eq!(records.parts(&run.id).await.unwrap(), [stands]);
    }
    for outcome in [failed(), Outcome::Done, failed()] {
        records.note(&run.id, &discovered(&run, outcome)).await.unwrap();
    }
    let parts = records.parts(&run.id).await.unwrap();
    assert_eq!(parts.len(), 2);
    assert!(parts.contains(&discovered(&run, Outcome::Done)));
}

async fn many_large_parts_are_all_read_and_those_of_others_are_not(records: &dyn Records) {
    let (mine, other) = (run(NOW, 3), run(NOW, 4));
    // More than the megabyte that a page of a query holds.
    let reason = Outcome::Failed("x".repeat(30_000));
    for number in 0..45 {
        records.note(&mine.id, &worked(&mine, &format!("region-{number}"), reason.clone(), number)).await.unwrap();
    }
    records.note(&other.id, &worked(&other, "region-1", Outcome::Done, 1000)).await.unwrap();
    let parts = records.parts(&mine.id).await.unwrap();
    let mut listed: Vec<u64> =
        parts.iter().map(|part| if let Part::Worked(worked) = part { worked.counts.listed } else { 0 }).collect();
    listed.sort_unstable();
    assert!(listed.into_iter().eq(0..45));
}

async fn runs_are_listed_the_newest_first(records: &dyn Records) {
    // Older than those of the other promises.
    let old: Vec<Run> = [3, 1, 2].into_iter().map(|day| run(NOW + day * 86_400, 10 + day as u32)).collect();
    for run in &old {
        records.begin(run).await.unwrap();
    }
    let names = |runs: Vec<Run>| runs.into_iter().map(|run| run.id).collect::<Vec<_>>();
    let expected = [&old[0], &old[2], &old[1]].map(|run| run.id.clone());
    assert_eq!(names(records.runs(3).await.unwrap()), expected);
    assert_eq!(names(records.runs(2).await.unwrap()), expected[..2]);
    assert_eq!(names(records.runs(0).await.unwrap()), []);
    assert_eq!(records.runs(100).await.unwrap().len(), 4);
}

async fn table(emulator: &Emulator) -> DynamoDb {
    let client = aws_sdk_dynamodb::Client::new(&emulator.config());
    table::create(&client, "noted", &[table::RUNS]).await;
    DynamoDb::new(client, "noted", system_clock())
}

#[tokio::test]
async fn memory_keeps_every_promise() {
    keeps_every_promise(&Noted::default()).await;
}

#[tokio::test]
async fn a_table_on_ministack_keeps_every_promise() {
    keeps_every_promise(&table(Emulator::shared_ministack()).await).await;
}

#[tokio::test]
async fn a_table_on_moto_keeps_every_promise() {
    keeps_every_promise(&table(Emulator::shared_moto()).await).await;
}

#[tokio::test]
async fn a_table_that_is_not_there_is_named_with_what_to_do() {
    let client = aws_sdk_dynamodb::Client::new(&Emulator::shared_ministack().config());
    let records = DynamoDb::new(client, "nowhere", system_clock());
    let Err(RecordError::Unreadable(said)) = records.runs(1).await else { panic!("no error") };
    assert!(said.contains("dynamodb:Query on table nowhere") && said.contains("index runs"), "{said}");
}
