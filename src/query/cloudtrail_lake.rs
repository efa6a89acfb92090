//! The engine that runs plans with CloudTrail Lake, over an existing event data store.

use super::remote::{Polling, cloudtrail_lake_dollars, request_error};
use super::{QueryControl, QueryEngine, QueryError, QuerySummary, RowSink, ScanReport, SkippedFile};
use crate::aws::{AwsFailure, failure};
use crate::plan::Plan;
use crate::plan::sql::{EventDataStore, SqlStatement};
use async_trait::async_trait;
use aws_sdk_cloudtrail::Client;
use aws_sdk_cloudtrail::operation::describe_query::DescribeQueryOutput;
use aws_sdk_cloudtrail::types::{EventDataStoreStatus, QueryStatus};
use tokio::time::Instant;

/// Rows of a page of results: the maximum of CloudTrail Lake.
/// <https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_GetQueryResults.html>
const PAGE_ROWS: i32 = 1_000;

/// Runs plans with CloudTrail Lake.
#[derive(Debug, Clone)]
pub struct CloudTrailLakeEngine {
    client: Client,
    store: EventDataStore,
}

impl CloudTrailLakeEngine {
    /// Creates an engine for an event data store in the client's region.
    ///
    /// # Errors
    /// The ARN of the event data store names another region.
    pub fn new(client: Client, store: EventDataStore) -> Result<Self, QueryError> {
        let own = client.config().region().map(ToString::to_string);
        match (store.region(), own) {
            (Some(region), Some(own)) if region != own => Err(QueryError::Engine(format!(
                "the event data store {} is in the region {region}, and the request would go to {own}: use AWS_REGION={region}",
                store.id()
            ))),
            _ => Ok(Self { client, store }),
        }
    }

    /// Returns the statement of a plan.
    ///
    /// # Errors
    /// The plan cannot be rendered.
    pub fn statement(&self, plan: &Plan) -> Result<SqlStatement, QueryError> {
        self.store.statement(plan).map_err(|error| QueryError::Engine(error.to_string()))
    }

    fn failed(&self, what: &str, action: &str, failure: &AwsFailure) -> QueryError {
        let mut text = request_error(what, action, &format!("the event data store {}", self.store.id()), failure);
        if failure.code.contains("EventDataStoreNotFound") {
            let region = self.client.config().region().map_or("the region", |region| region.as_ref());
            text = format!(
                "{text}. There is no such event data store in {region}: use its region (AWS_REGION), or the account that owns it"
            );
        }
        QueryError::Engine(text)
    }

    /// Checks that the event data store contains CloudTrail events and can be queried. Returns a warning if it does not
    /// receive events.
    async fn check(&self) -> Result<Option<String>, QueryError> {
        let id = self.store.id();
        let what = format!("cannot read the event data store {id}");
        let store = self.client.get_event_data_store().event_data_store(&id).send().await;
        let store = store.map_err(|error| self.failed(&what, "cloudtrail:GetEventDataStore", &failure(&error)))?;
        let selectors = store.advanced_event_selectors().iter().flat_map(|selector| selector.field_selectors());
        let categories = selectors.filter(|field| field.field() == "eventCategory").flat_map(|field| field.equals());
        let categories: Vec<_> = categories.map(String::as_str).collect();
        let contains_events = |category: &&str| matches!(*category, "Management" | "Data" | "NetworkActivity");
        if !categories.is_empty() && !categories.iter().any(contains_events) {
            return Err(QueryError::Engine(format!(
                "the event data store {id} contains {} and no CloudTrail events: use an event data store of management or \
                 data events",
                categories.join(", ")
            )));
        }
        match store.status() {
            Some(EventDataStoreStatus::PendingDeletion) => Err(QueryError::Engine(format!(
                "the event data store {id} is being deleted: restore it (cloudtrail:RestoreEventDataStore) to query it"
            ))),
            Some(EventDataStoreStatus::StoppedIngestion | EventDataStoreStatus::StoppingIngestion) => {
                Ok(Some("it receives no events: its ingestion is stopped, so newer events are missing".to_owned()))
            }
            _ => Ok(None),
        }
    }

    async fn describe(&self, query: &str) -> Result<DescribeQueryOutput, QueryError> {
        let response = self.client.describe_query().query_id(query).send().await;
        let what = format!("cannot read the state of the query {query}");
        response.map_err(|error| self.failed(&what, "cloudtrail:DescribeQuery", &failure(&error)))
    }

    /// Waits for the end of a query. Cancels the query in CloudTrail Lake when the user interrupts the program.
    async fn wait_for_end(&self, query: &str, polling: &mut Polling) -> Result<DescribeQueryOutput, QueryError> {
        loop {
            let described = self.describe(query).await?;
            match described.query_status() {
                Some(QueryStatus::Queued | QueryStatus::Running) => {}
                _ => return Ok(described),
            }
            if polling.wait().await {
                let response = self.client.cancel_query().query_id(query).send().await;
                let what = format!("cannot stop the query {query}, which continues");
                response.map_err(|error| self.failed(&what, "cloudtrail:CancelQuery", &failure(&error)))?;
                return self.describe(query).await;
            }
        }
    }

    /// Passes on the rows of a finished query. Returns whether there are more rows than the plan's limit, and the number of
    /// rows that were passed on.
    async fn pass_rows(
        &self,
        query: &str,
        statement: &SqlStatement,
        polling: &Polling,
        rows: &mut dyn RowSink,
    ) -> Result<(bool, u64), QueryError> {
        let (mut token, mut number) = (None, 0);
        loop {
            let request = self.client.get_query_results().query_id(query).max_query_results(PAGE_ROWS);
            let response = request.set_next_token(token).send().await;
            let what = format!("cannot read the results of the query {query}");
            let response =
                response.map_err(|error| self.failed(&what, "cloudtrail:GetQueryResults", &failure(&error)))?;
            for row in response.query_result_rows() {
                if statement.limit.is_some_and(|limit| number >= limit) {
                    return Ok((true, number));
                }
                number += 1;
                // A row is a list of maps with one column each. A column without a value is missing.
                let value = |name: &String| row.iter().find_map(|column| column.get(name)).cloned();
                if rows.row(statement.aliases.iter().map(value).collect()).is_break() {
                    return Ok((false, number));
                }
            }
            token = response.next_token;
            if token.is_none() || polling.is_stopped() {
                return Ok((false, number));
            }
        }
    }
}

#[async_trait]
impl QueryEngine for CloudTrailLakeEngine {
    async fn run(
        &self,
        plan: &Plan,
        control: &QueryControl,
        rows: &mut dyn RowSink,
    ) -> Result<QuerySummary, QueryError> {
        let started = Instant::now();
        let statement = self.statement(plan)?;
        let warning = self.check().await?;
        let response = self.client.start_query().query_statement(&statement.sql).send().await;
        let response = response
            .map_err(|error| self.failed("cannot start the query", "cloudtrail:StartQuery", &failure(&error)))?;
        let query = response
            .query_id
            .ok_or_else(|| QueryError::Engine("cannot start the query: the response has no query ID".into()))?;
        rows.columns(&statement.columns);
        let mut polling = Polling::new(control);
        let described = self.wait_for_end(&query, &mut polling).await?;
        let statistics = described.query_statistics();
        let number = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok()).unwrap_or(0);
        let bytes = number(statistics.and_then(|statistics| statistics.bytes_scanned()));
        let mut scanned = ScanReport {
            bytes,
            events: number(statistics.and_then(|statistics| statistics.events_scanned())),
            dollars: Some(cloudtrail_lake_dollars(bytes)),
            ..ScanReport::default()
        };
        let name = format!("event data store {}", self.store.id());
        scanned.skipped.extend(warning.map(|reason| SkippedFile { name, reason }));
        let mut is_limited = false;
        match described.query_status() {
            Some(QueryStatus::Finished) => {
                (is_limited, scanned.selected) = self.pass_rows(&query, &statement, &polling, rows).await?;
                scanned.stopped = polling.is_stopped();
            }
            _ if polling.is_stopped() => scanned.stopped = true,
            Some(QueryStatus::TimedOut) => {
                return Err(QueryError::Engine(format!(
                    "the query {query} exceeded CloudTrail Lake's time limit of one hour: use a shorter time span"
                )));
            }
            status => {
                let status = status.map_or("unknown", QueryStatus::as_str);
                let reason = described.error_message().unwrap_or(status);
                return Err(QueryError::Engine(format!("the query {query} failed: {reason}")));
            }
        }
        scanned.duration = started.elapsed();
        Ok(QuerySummary { is_limited, scanned })
    }
}
