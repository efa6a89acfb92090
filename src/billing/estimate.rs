//! Estimate: what so many events cost on AWS, by the requests that the real pipeline makes for a sample of them.
//!
//! There is no second formula for what an object asks for: made-up files of the given size go through [`Ingest`] over a
//! ledger, a source and a sink in memory that count as DynamoDB, S3 and Firehose bill, and the counts are scaled. What
//! surrounds an object (its messages, its invocation) follows from the template and is said where it is reckoned.

mod in_memory;

use crate::billing::price::{BilledUnits, GB};
use crate::decode;
use crate::event::filter::Filter;
use crate::generate::{ObjectSize, SyntheticObject, account};
use crate::ingest::{CHUNK_BYTES, Deadline, Ingest, KeyPolicy, MAX_BUFFERED_BYTES, Outcome};
use crate::ledger::metered::MeteredStore;
use crate::ledger::store::memory::Memory;
use crate::ledger::{Ledger, cost as ledger_cost};
use crate::sink::cost as sink_cost;
use crate::sink::metered::MeteredSink;
use crate::source::metered::{MeteredSource, SourceCounters, SourceUsage};
use in_memory::{DiscardingSink, InMemorySource};
use std::sync::Arc;
use std::time::Duration;

/// Messages of one invocation: the template's `BatchSize`.
pub const BATCH: f64 = 10.0;

/// SQS requests of one object: one for the message that S3 sends, and its part of a receive and of a delete of
/// [`BATCH`] messages. Empty receives of an idle queue are not in it.
pub const SQS_REQUESTS: f64 = 1.0 + 2.0 / BATCH;

/// How long the ledger keeps a page or a row, in months: the template's 90 days.
pub const MONTHS: f64 = 3.0;

/// Bytes that DynamoDB counts for an item beside its attributes.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html>
const ITEM_BYTES: usize = 100;

/// Seconds between two files of one account and region: "about every 5 minutes".
/// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/how-cloudtrail-works.html>
const DELIVERY: i64 = 300;

/// Events of a sample, if a file has fewer: two hours of an account with small files, or two files of one with large ones.
const SAMPLE_EVENTS: u64 = 20_000;
const SAMPLE_FILES: u64 = 24;

/// A sample, as it was counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Files.
    pub objects: u64,
    /// Events in them.
    pub events: u64,
    /// Bytes of their JSON.
    pub json_bytes: u64,
    /// Bytes as they lie in the bucket.
    pub stored_bytes: u64,
    /// What the bucket was asked for.
    pub source: SourceUsage,
    /// What the ledger was asked for.
    pub ledger: ledger_cost::LedgerUsage,
    /// What Firehose was given.
    pub sink: sink_cost::SinkUsage,
    /// Bytes of what the ledger keeps.
    pub kept_bytes: u64,
}

impl Sample {
    /// Ingests files of this size, of one account and region, one every five minutes.
    ///
    /// # Errors
    /// Says which file was not done: a defect of this program.
    pub async fn of(size: ObjectSize) -> Result<Self, String> {
        Self::held(size, MAX_BUFFERED_BYTES, CHUNK_BYTES).await
    }

    /// The same, with a bound of one's own to what is held of an object, and to a piece of what is not.
    async fn held(size: ObjectSize, max_buffered_bytes: usize, chunk_bytes: usize) -> Result<Self, String> {
        let source = Arc::new(InMemorySource::default());
        let (mut objects, mut events, mut refs) = (0, 0, Vec::new());
        while objects < 2 || (objects < SAMPLE_FILES && events < SAMPLE_EVENTS) {
            let number = u32::try_from(objects).unwrap_or(u32::MAX);
            let object = SyntheticObject {
                number,
                delivered: 1_768_478_400 + DELIVERY * i64::from(number),
                ..SyntheticObject::new(1, size)
            };
            let mut stored = Vec::new();
            let written = object.write_gzip(&mut stored).map_err(|error| error.to_string())?;
            events += u64::from(written.events);
            objects += 1;
            refs.push(source.put(&key(number), stored));
        }
        let memory = Arc::new(Memory::default());
        let store = MeteredStore::new(Arc::clone(&memory));
        let sink = MeteredSink::new(Arc::new(DiscardingSink));
        let (source_usage, ledger_usage, sink_usage) = (Arc::<SourceCounters>::default(), store.usage(), sink.usage());
        let ingest = Ingest {
            source: Arc::new(MeteredSource::new(source, Arc::clone(&source_usage))),
            ledger: Ledger::new(Arc::new(store), crate::ledger::system_clock(), 90 * 86_400),
            sink: Arc::new(sink),
            limits: decode::DecodeLimits::default(),
            filter: Filter::default(),
            max_buffered_bytes,
            chunk_bytes,
            key_policy: KeyPolicy::CloudTrailLogs,
        };
        let mut sample = Self {
            objects,
            events,
            json_bytes: 0,
            stored_bytes: 0,
            source: SourceUsage::default(),
            ledger: ledger_cost::LedgerUsage::default(),
            sink: sink_cost::SinkUsage::default(),
            kept_bytes: 0,
        };
        for at in refs {
            match ingest.object(&at, Deadline::within(Duration::from_secs(900))).await {
                Outcome::Done(report) => {
                    sample.json_bytes += report.json_bytes;
                    sample.stored_bytes += report.stored_bytes;
                }
                other => return Err(format!("{at} of the sample was not delivered: {other:?}")),
            }
        }
        sample.source = source_usage.spent();
        (sample.ledger, sample.sink) = (ledger_usage.spent(), sink_usage.spent());
        sample.kept_bytes = kept_bytes(&memory);
        Ok(sample)
    }

    /// What so many events like these ask for. Lambda's time is not in it: see docs/cost.md.
    pub fn billed_units(&self, events: u64) -> BilledUnits {
        let objects = self.objects as f64;
        let sample = BilledUnits {
            firehose_bytes: self.sink.billed_bytes as f64,
            ledger_gb_months: self.kept_bytes as f64 / GB * MONTHS,
            s3_gets: self.source.gets as f64,
            sqs_requests: objects * SQS_REQUESTS,
            lambda_requests: objects / BATCH,
            ..BilledUnits::ledger(self.ledger)
        };
        sample * (events as f64 / self.events.max(1) as f64)
    }
}

fn kept_bytes(memory: &Memory) -> u64 {
    let kept = memory.contents();
    let pages = kept.pages.iter().map(|(name, page)| ledger_cost::page_bytes(name, page));
    let rows = kept.rows.values().map(ledger_cost::row_bytes);
    pages.chain(rows).map(|bytes| (bytes + ITEM_BYTES) as u64).sum()
}

/// A key of the length and shape that CloudTrail gives.
fn key(number: u32) -> String {
    let account = account(0);
    format!(
        "AWSLogs/o-exampleorgid/{account}/CloudTrail/us-east-1/2026/01/15/\
         {account}_CloudTrail_us-east-1_20260115T1200Z_{number:016}.json.gz"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row's two writes, a page's one, and a GET: what a quiet object is said to cost is what it asked for.
    #[tokio::test]
    async fn an_estimate_is_the_counted_requests_of_a_real_run_scaled() {
        let sample = Sample::of(ObjectSize::Events(8)).await.unwrap();
        assert_eq!((sample.objects, sample.events), (24, 192));
        assert_eq!(sample.sink.calls, 24);
        assert!(sample.ledger.write_units >= 3 * 24, "{:?}", sample.ledger);
        let billed_units = sample.billed_units(1_920);
        assert_eq!(billed_units.write_units, 10.0 * sample.ledger.write_units as f64);
        assert_eq!(billed_units.read_units, 10.0 * sample.ledger.read_units as f64);
        assert_eq!(billed_units.firehose_bytes, 10.0 * sample.sink.billed_bytes as f64);
        assert_eq!((billed_units.s3_gets, billed_units.lambda_requests), (240.0, 24.0));
        assert!(
            sample.sink.bytes < sample.sink.billed_bytes && sample.sink.billed_bytes < sample.sink.bytes + 24 * 5_120
        );
    }

    /// The promise to a quiet account: two writes, one for each page, and no more than one unit beyond.
    #[tokio::test]
    async fn a_quiet_object_pays_at_most_three_units_and_its_pages() {
        let sample = Sample::of(ObjectSize::Events(8)).await.unwrap();
        let Sample { objects, ledger, .. } = sample;
        let pages = ledger.writes - 2 * objects;
        assert!(ledger.write_units <= 3 * objects + pages, "{ledger:?}");
        assert_eq!(ledger.refused, 0);
    }

    #[tokio::test]
    async fn each_piece_of_a_large_object_is_a_request_and_each_is_read_twice() {
        let sample = Sample::held(ObjectSize::Bytes(600_000), 50_000, 20_000).await.unwrap();
        let each = sample.stored_bytes.div_ceil(sample.objects);
        assert!(each > 60_000, "{sample:?}");
        let pieces = 2 * sample.objects * each.div_ceil(20_000);
        assert!((pieces - 2 * sample.objects..=pieces).contains(&sample.source.gets), "{sample:?}");
    }

    #[tokio::test]
    async fn firehose_bills_a_large_object_little_more_than_its_payload() {
        let sample = Sample::of(ObjectSize::Bytes(1_100_000)).await.unwrap();
        assert!(sample.sink.billed_bytes * 100 <= sample.sink.bytes * 102, "{:?}", sample.sink);
    }
}
