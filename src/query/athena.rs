//! The engine that runs plans with Athena, over the tables of `template.yaml`.

use super::remote::{Polling, athena_dollars, request_error};
use super::{BilledEngine, QueryControl, QueryEngine, QueryError, QuerySummary, RowSink, ScanReport};
use crate::aws::failure;
use crate::plan::Plan;
use crate::plan::sql::{AthenaTables, SqlStatement};
use async_trait::async_trait;
use aws_sdk_athena::Client;
use aws_sdk_athena::types::{QueryExecution, QueryExecutionContext, QueryExecutionState, ResultConfiguration};
use jiff::civil::Date;
use tokio::time::Instant;

/// Rows of a page of results: the maximum of Athena.
/// <https://docs.aws.amazon.com/athena/latest/APIReference/API_GetQueryResults.html>
const PAGE_ROWS: i32 = 1_000;

/// The name of the table of the events that `trailhose lake compact` rewrote, by event day.
pub const EVENTS_BY_DAY: &str = "events_by_day";

/// Runs plans with Athena.
#[derive(Debug, Clone)]
pub struct AthenaEngine {
    client: Client,
    tables: AthenaTables,
    workgroup: String,
    arrived_until: Option<Date>,
    result_location: Option<String>,
}

impl AthenaEngine {
    /// Creates an engine for the tables of a database, whose queries run in a workgroup.
    pub fn new(client: Client, tables: AthenaTables, workgroup: impl Into<String>) -> Self {
        Self { client, tables, workgroup: workgroup.into(), arrived_until: None, result_location: None }
    }

    /// Excludes events that arrived after this day. The result is complete only if no event of the plan arrived later. Only
    /// the user can know this.
    #[must_use]
    pub fn arrived_until(self, day: Option<Date>) -> Self {
        Self { arrived_until: day, ..self }
    }

    /// Stores results below this `s3://` location. Workgroups that neither manage results nor name a location need it.
    #[must_use]
    pub fn result_location(self, location: Option<String>) -> Self {
        Self { result_location: location, ..self }
    }

    /// Returns the statement of a plan.
    ///
    /// # Errors
    /// The plan cannot be rendered.
    pub fn statement(&self, plan: &Plan) -> Result<SqlStatement, QueryError> {
        self.tables.statement(plan, self.arrived_until).map_err(|error| QueryError::Engine(error.to_string()))
    }

    fn failed(&self, what: &str, action: &str, failure: &crate::aws::AwsFailure) -> QueryError {
        let resource = format!("the workgroup {}", self.workgroup);
        let mut text = request_error(what, action, &resource, failure);
        if failure.message.contains("No output location") {
            text.push_str(
                ". Use the workgroup of the stack (output LakeWorkGroupName), which manages results, or --result-location",
            );
        }
        QueryError::Engine(text)
    }

    async fn start(&self, statement: &SqlStatement) -> Result<String, QueryError> {
        let context = QueryExecutionContext::builder().database(&self.tables.database).build();
        let results = self
            .result_location
            .as_ref()
            .map(|location| ResultConfiguration::builder().output_location(location).build());
        let request = self.client.start_query_execution().query_string(&statement.sql).work_group(&self.workgroup);
        let response = request.query_execution_context(context).set_result_configuration(results).send().await;
        let what = format!("cannot start the query in the workgroup {}", self.workgroup);
        let response = response.map_err(|error| self.failed(&what, "athena:StartQueryExecution", &failure(&error)))?;
        response.query_execution_id.ok_or_else(|| QueryError::Engine(format!("{what}: the response has no query ID")))
    }

    async fn execution(&self, id: &str) -> Result<QueryExecution, QueryError> {
        let response = self.client.get_query_execution().query_execution_id(id).send().await;
        let what = format!("cannot read the state of the query {id}");
        let response = response.map_err(|error| self.failed(&what, "athena:GetQueryExecution", &failure(&error)))?;
        response.query_execution.ok_or_else(|| QueryError::Engine(format!("{what}: the response is empty")))
    }

    async fn stop(&self, id: &str) -> Result<(), QueryError> {
        let response = self.client.stop_query_execution().query_execution_id(id).send().await;
        let what = format!("cannot stop the query {id}, which continues");
        response.map(|_| ()).map_err(|error| self.failed(&what, "athena:StopQueryExecution", &failure(&error)))
    }

    /// Waits for the end of a query. Stops the query in Athena when the user interrupts the program.
    async fn wait_for_end(&self, id: &str, polling: &mut Polling) -> Result<QueryExecution, QueryError> {
        let mut is_stopped = false;
        loop {
            let execution = self.execution(id).await?;
            let state = execution.status().and_then(|status| status.state());
            match state {
                Some(QueryExecutionState::Queued | QueryExecutionState::Running) => {}
                _ => return Ok(execution),
            }
            if polling.wait().await && !is_stopped {
                self.stop(id).await?;
                is_stopped = true;
            }
            if is_stopped {
                // `wait` returns at once from now on.
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
        }
    }

    /// Passes on the rows of a finished query. Returns whether there are more rows than the plan's limit, and the number of
    /// rows that were passed on.
    async fn pass_rows(
        &self,
        id: &str,
        statement: &SqlStatement,
        polling: &Polling,
        rows: &mut dyn RowSink,
    ) -> Result<(bool, u64), QueryError> {
        let (mut token, mut number, mut is_header) = (None, 0, true);
        loop {
            let request = self.client.get_query_results().query_execution_id(id).max_results(PAGE_ROWS);
            let response = request.set_next_token(token).send().await;
            let what = format!("cannot read the results of the query {id}");
            let response = response.map_err(|error| self.failed(&what, "athena:GetQueryResults", &failure(&error)))?;
            for row in response.result_set().map(|set| set.rows()).unwrap_or_default() {
                // The first row of the first page contains the names of the columns.
                if std::mem::take(&mut is_header) {
                    continue;
                }
                if statement.limit.is_some_and(|limit| number >= limit) {
                    return Ok((true, number));
                }
                number += 1;
                let row = row.data().iter().map(|value| value.var_char_value().map(str::to_owned)).collect();
                if rows.row(row).is_break() {
                    return Ok((false, number));
                }
            }
            token = response.next_token;
            if token.is_none() || polling.is_stopped() {
                return Ok((false, number));
            }
        }
    }

    /// Returns why a query failed, and what to do.
    async fn failure_text(&self, id: &str, reason: &str) -> String {
        let is = |texts: &[&str]| texts.iter().any(|text| reason.contains(text));
        let tables = &self.tables;
        let advice = if is(&["Bytes scanned limit"]) {
            let limit = match self.byte_limit().await {
                Ok(Some(limit)) => format!("{limit} bytes"),
                Ok(None) | Err(_) => "a number of bytes".to_owned(),
            };
            format!(
                "the workgroup {} stops a query that reads more than {limit}: use a shorter time span, or raise the stack's \
                 parameter LakeQueryMaxBytes",
                self.workgroup
            )
        } else if is(&["COLUMN_NOT_FOUND", "cannot be resolved"]) {
            format!(
                "the table {}.{} is older than this program: deploy the current template.yaml, or use --raw-lines, which \
                 needs no columns",
                tables.database, tables.events
            )
        } else if is(&["TABLE_NOT_FOUND", "SCHEMA_NOT_FOUND", "does not exist"]) {
            format!(
                "the database {} or its tables {} and {} do not exist: use the stack's output LakeDatabaseName, and deploy \
                 it with LakeTables=true",
                tables.database, tables.events, tables.lines
            )
        } else if is(&["Duplicate key", "HIVE_CURSOR_ERROR", "HIVE_BAD_DATA"]) {
            "the SerDe cannot read an event, for example because of keys that differ only in case: use --raw-lines"
                .to_owned()
        } else if let Some((_, action)) = reason.split_once("not authorized to perform: ") {
            let action = action.split(|end: char| end.is_whitespace() || end == ';').next().unwrap_or(action);
            format!("allow {action}; the policy of the stack's output LakeReaderPolicyArn allows it")
        } else if is(&["Access Denied", "AccessDenied"]) {
            "allow s3:GetObject and s3:ListBucket on the lake and, with EncryptionKey, kms:Decrypt; the policy of \
             the stack's output LakeReaderPolicyArn allows it"
                .to_owned()
        } else {
            return format!("the query {id} failed: {reason}");
        };
        format!("the query {id} failed: {advice}. {reason}")
    }
}

#[async_trait]
impl BilledEngine for AthenaEngine {
    /// Returns the limit of the workgroup.
    async fn byte_limit(&self) -> Result<Option<u64>, QueryError> {
        let response = self.client.get_work_group().work_group(&self.workgroup).send().await;
        let response = response.map_err(|error| {
            let what = format!("cannot read the workgroup {}", self.workgroup);
            self.failed(&what, "athena:GetWorkGroup", &failure(&error))
        })?;
        let limit = response.work_group().and_then(|group| group.configuration()?.bytes_scanned_cutoff_per_query());
        Ok(limit.and_then(|bytes| u64::try_from(bytes).ok()))
    }
}

#[async_trait]
impl QueryEngine for AthenaEngine {
    async fn run(
        &self,
        plan: &Plan,
        control: &QueryControl,
        rows: &mut dyn RowSink,
    ) -> Result<QuerySummary, QueryError> {
        let started = Instant::now();
        let statement = self.statement(plan)?;
        let mut polling = Polling::new(control);
        let id = self.start(&statement).await?;
        rows.columns(&statement.columns);
        let execution = self.wait_for_end(&id, &mut polling).await?;
        let bytes = execution.statistics().and_then(|statistics| statistics.data_scanned_in_bytes()).unwrap_or(0);
        let bytes = u64::try_from(bytes).unwrap_or(0);
        let mut scanned = ScanReport { bytes, dollars: Some(athena_dollars(bytes)), ..ScanReport::default() };
        let status = execution.status();
        let mut is_limited = false;
        match status.and_then(|status| status.state()) {
            Some(QueryExecutionState::Succeeded) => {
                (is_limited, scanned.selected) = self.pass_rows(&id, &statement, &polling, rows).await?;
                scanned.stopped = polling.is_stopped();
            }
            Some(QueryExecutionState::Cancelled) if polling.is_stopped() => scanned.stopped = true,
            state => {
                let state = state.map_or("unknown", |state| state.as_str());
                let reason = status.and_then(|status| status.state_change_reason()).unwrap_or(state);
                return Err(QueryError::Engine(self.failure_text(&id, reason).await));
            }
        }
        scanned.duration = started.elapsed();
        Ok(QuerySummary { is_limited, scanned })
    }
}
