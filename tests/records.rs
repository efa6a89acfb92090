//! The conformance suite of run records: in memory, and in DynamoDB tables of two independent emulators.

mod bed;
mod run_records;

use bed::emulator::Emulator;
use bed::table;
use run_records::MemoryRunRecords;
use trailhose::backfill::record::dynamodb::DynamoDbRunRecords;
use trailhose::backfill::record::{DiscoveryRecord, PartOutcome, RecordError, RunPart, RunRecords, UnitRecord};
use trailhose::backfill::run::{Defaults, Request, SourceRoot};
use trailhose::backfill::{Run, RunId};
use trailhose::ledger::system_clock;
use trailhose::listing::ListingCounts;
use trailhose::listing::discover::DetectedLayout;
use trailhose::listing::unit::{Layout, Unit};

const NOW: i64 = 1_795_132_800; // 2026-11-20T00:00:00Z

fn run(started: i64, salt: u32) -> Run {
    let defaults = Defaults { sources: vec![SourceRoot::parse("s3://logs/p").unwrap()], look_back_days: 3 };
    Request::default().resolve(RunId::at(NOW, salt), &defaults, started).unwrap()
}

fn worked(run: &Run, region: &str, outcome: PartOutcome, listed: u64) -> RunPart {
    let unit = Unit {
        bucket: "logs".to_owned(),
        prefix: format!("p/AWSLogs/111122223333/CloudTrail/{region}/"),
        layout: Layout::Days,
        day_range: run.options.day_range,
        filters: run.options.filters.clone(),
        states: run.options.states,
        mode: run.options.mode,
        after: (outcome == PartOutcome::Requeued).then(|| format!("p/AWSLogs/111122223333/CloudTrail/{region}/2026/")),
    };
    let counts = ListingCounts { listed, sent: listed / 2, ..ListingCounts::default() };
    RunPart::Worked(Box::new(UnitRecord { root: run.sources[0].clone(), unit, outcome, counts }))
}

fn discovered(run: &Run, outcome: PartOutcome) -> RunPart {
    let mut found =
        DiscoveryRecord { outcome, shape: DetectedLayout::CloudTrail, ..DiscoveryRecord::of(run.sources[0].clone()) };
    let RunPart::Worked(one) = worked(run, "eu-west-1", PartOutcome::Done, 0) else { panic!("not a unit") };
    found.add(&one.unit);
    RunPart::Discovered(Box::new(found))
}

/// Checks the guarantees of [`RunRecords`].
async fn conforms(records: &dyn RunRecords) {
    second_start_does_not_change_a_run(records).await;
    part_is_replaced_until_it_is_done(records).await;
    many_large_parts_of_one_run_are_read(records).await;
    runs_are_listed_newest_first(records).await;
}

async fn second_start_does_not_change_a_run(records: &dyn RunRecords) {
    let first = run(NOW, 1);
    assert_eq!(records.run(&first.id).await, Ok(None));
    assert_eq!(records.start(&first).await, Ok(first.clone()));
    // A redelivered start has another day range after midnight.
    assert_eq!(records.start(&run(NOW + 86_400, 1)).await, Ok(first.clone()));
    assert_eq!(records.run(&first.id).await, Ok(Some(first)));
}

async fn part_is_replaced_until_it_is_done(records: &dyn RunRecords) {
    let run = run(NOW, 2);
    let failed = || PartOutcome::Failed("SlowDown".to_owned());
    assert_eq!(records.parts(&run.id).await, Ok(Vec::new()));
    for (part, saved) in [
        (worked(&run, "eu-west-1", failed(), 1), worked(&run, "eu-west-1", failed(), 1)),
        (worked(&run, "eu-west-1", PartOutcome::Requeued, 6), worked(&run, "eu-west-1", PartOutcome::Requeued, 6)),
        (worked(&run, "eu-west-1", PartOutcome::Requeued, 4), worked(&run, "eu-west-1", PartOutcome::Requeued, 4)),
        (worked(&run, "eu-west-1", PartOutcome::Done, 9), worked(&run, "eu-west-1", PartOutcome::Done, 9)),
        (worked(&run, "eu-west-1", PartOutcome::Done, 7), worked(&run, "eu-west-1", PartOutcome::Done, 9)),
        (worked(&run, "eu-west-1", failed(), 2), worked(&run, "eu-west-1", PartOutcome::Done, 9)),
    ] {
        records.save(&run.id, &part).await.unwrap();
        assert_eq!(records.parts(&run.id).await.unwrap(), [saved]);
    }
    for outcome in [failed(), PartOutcome::Done, failed()] {
        records.save(&run.id, &discovered(&run, outcome)).await.unwrap();
    }
    let parts = records.parts(&run.id).await.unwrap();
    assert_eq!(parts.len(), 2);
    assert!(parts.contains(&discovered(&run, PartOutcome::Done)));
}

async fn many_large_parts_of_one_run_are_read(records: &dyn RunRecords) {
    let (mine, other) = (run(NOW, 3), run(NOW, 4));
    // More than 1 MB, the limit of a query page.
    let reason = PartOutcome::Failed("x".repeat(30_000));
    for number in 0..45 {
        records.save(&mine.id, &worked(&mine, &format!("region-{number}"), reason.clone(), number)).await.unwrap();
    }
    records.save(&other.id, &worked(&other, "region-1", PartOutcome::Done, 1000)).await.unwrap();
    let parts = records.parts(&mine.id).await.unwrap();
    let mut listed: Vec<u64> =
        parts.iter().map(|part| if let RunPart::Worked(worked) = part { worked.counts.listed } else { 0 }).collect();
    listed.sort_unstable();
    assert!(listed.into_iter().eq(0..45));
}

async fn runs_are_listed_newest_first(records: &dyn RunRecords) {
    // Older than the runs of the other checks.
    let old: Vec<Run> = [3, 1, 2].into_iter().map(|day| run(NOW + day * 86_400, 10 + day as u32)).collect();
    for run in &old {
        records.start(run).await.unwrap();
    }
    let names = |runs: Vec<Run>| runs.into_iter().map(|run| run.id).collect::<Vec<_>>();
    let expected = [&old[0], &old[2], &old[1]].map(|run| run.id.clone());
    assert_eq!(names(records.runs(3).await.unwrap()), expected);
    assert_eq!(names(records.runs(2).await.unwrap()), expected[..2]);
    assert_eq!(names(records.runs(0).await.unwrap()), []);
    assert_eq!(records.runs(100).await.unwrap().len(), 4);
}

async fn table(emulator: &Emulator) -> DynamoDbRunRecords {
    let client = aws_sdk_dynamodb::Client::new(&emulator.config());
    table::create(&client, "recorded", &[table::RUNS]).await;
    DynamoDbRunRecords::new(client, "recorded", system_clock())
}

#[tokio::test]
async fn memory_conforms() {
    conforms(&MemoryRunRecords::default()).await;
}

#[tokio::test]
async fn dynamodb_on_ministack_conforms() {
    conforms(&table(Emulator::shared_ministack()).await).await;
}

#[tokio::test]
async fn dynamodb_on_moto_conforms() {
    conforms(&table(Emulator::shared_moto()).await).await;
}

#[tokio::test]
async fn missing_table_is_a_clear_error() {
    let client = aws_sdk_dynamodb::Client::new(&Emulator::shared_ministack().config());
    let records = DynamoDbRunRecords::new(client, "nowhere", system_clock());
    let Err(RecordError::Unreadable(said)) = records.runs(1).await else { panic!("no error") };
    assert!(said.contains("dynamodb:Query on table nowhere") && said.contains("index runs"), "{said}");
}
