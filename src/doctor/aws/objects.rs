//! Adapter for the ledger and the objects of the bucket: DynamoDB and S3.

use super::{AwsServices, OPERATION_LIMIT};
use crate::backfill::record::dynamodb::DynamoDbRunRecords;
use crate::backfill::record::{RecordError, RunProgress, RunRecords};
use crate::doctor::ObjectReader;
use crate::doctor::backfill_run::LastRun;
use crate::doctor::delivery::QuarantinedRows;
use crate::doctor::facts::{Fact, FactError, within};
use crate::doctor::sample::{self, SampleError, SampleStates};
use crate::ledger::inspect::scan::{LedgerScan, ScanFilter};
use crate::ledger::model::row::{Row, Status};
use crate::ledger::store::StoreError;
use crate::ledger::store::dynamodb::DynamoDb;
use crate::ledger::{Ledger, system_clock};
use crate::source::SourceError;
use crate::source::s3::S3;
use async_trait::async_trait;
use jiff::civil::Date;
use std::sync::Arc;

/// Rows in one request of a scan.
const BATCH: u32 = 100;

/// Retention of the ledger in seconds. It only determines which objects count as old, and no check reports these.
const RETENTION: i64 = 90 * 86_400;

#[async_trait]
impl ObjectReader for AwsServices {
    async fn quarantined(&self, limit: usize) -> Fact<QuarantinedRows> {
        let (store, table) = self.store();
        let ledger = Ledger::new(Arc::new(store.clone()), system_clock(), RETENTION);
        within(self.limit * OPERATION_LIMIT, SCAN, &table, async {
            quarantined(&store, &ledger, limit).await.map_err(|error| store_error(error, SCAN, &table))
        })
        .await
    }

    async fn last_run(&self) -> Fact<Option<LastRun>> {
        let table = self.table.clone().unwrap_or_default();
        let client = aws_sdk_dynamodb::Client::new(&self.config);
        let records = DynamoDbRunRecords::new(client, &table, system_clock());
        let index = format!("{table}/index/runs");
        within(self.limit * OPERATION_LIMIT, QUERY, &index, async {
            last_run(&records).await.map_err(|error| match error {
                RecordError::Denied(advice) => denied(advice, QUERY, &index),
                other => unanswered(&other, QUERY, &index),
            })
        })
        .await
    }

    async fn sample(&self, bucket: &str, prefix: &str, day: Date) -> Fact<SampleStates> {
        let (store, table) = self.store();
        let ledger = Ledger::new(Arc::new(store), system_clock(), RETENTION);
        let source = Arc::new(S3::new(self.s3(bucket).await.clone()));
        within(self.limit * OPERATION_LIMIT, LIST, bucket, async {
            sample::draw(source, &ledger, bucket, prefix, day).await.map_err(|error| match error {
                SampleError::Source(SourceError::Denied(advice)) => denied(advice, LIST, bucket),
                SampleError::Source(other) => unanswered(&other, LIST, bucket),
                SampleError::Store(error) => store_error(error, READ, &table),
            })
        })
        .await
    }
}

const SCAN: &str = "dynamodb:Scan";
const QUERY: &str = "dynamodb:Query";
const READ: &str = "dynamodb:BatchGetItem";
const LIST: &str = "s3:ListBucket";

pub(super) fn store_error(error: StoreError, action: &str, table: &str) -> FactError {
    match error {
        StoreError::Denied(advice) => denied(advice, action, table),
        other => unanswered(&other, action, table),
    }
}

fn denied(advice: String, action: &str, resource: &str) -> FactError {
    FactError::Denied { action: action.to_owned(), resource: resource.to_owned(), advice }
}

fn unanswered(error: &dyn std::error::Error, action: &str, resource: &str) -> FactError {
    FactError::Unanswered { action: action.to_owned(), resource: resource.to_owned(), message: error.to_string() }
}

impl AwsServices {
    fn store(&self) -> (DynamoDb, String) {
        let table = self.table.clone().unwrap_or_default();
        (DynamoDb::new(crate::aws::dynamodb(&self.config), &table), table)
    }
}

async fn quarantined(store: &DynamoDb, ledger: &Ledger, limit: usize) -> Result<QuarantinedRows, StoreError> {
    let mut found = QuarantinedRows::default();
    let mut token = None;
    loop {
        let batch = store.scan(&ScanFilter::Quarantined, token.as_ref(), BATCH).await?;
        // The index is not strongly consistent, so the rows are read again.
        let ids: Vec<_> = batch.rows.iter().map(|row| row.object.id()).collect();
        let rows = if ids.is_empty() { Vec::new() } else { ledger.rows(&ids).await? };
        let is_quarantined = |row: &Row| row.status == Status::Quarantined;
        found.rows.extend(rows.into_iter().flatten().filter(is_quarantined));
        token = batch.next;
        if token.is_none() || found.rows.len() >= limit {
            found.more = token.is_some();
            return Ok(found);
        }
    }
}

async fn last_run(records: &dyn RunRecords) -> Result<Option<LastRun>, RecordError> {
    let Some(run) = records.runs(1).await?.into_iter().next() else { return Ok(None) };
    let parts = records.parts(&run.id).await?;
    let progress = RunProgress::of(&run, &parts);
    Ok(Some(LastRun { id: run.id.to_string(), started: run.started, progress }))
}
