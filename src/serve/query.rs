//! `POST /v1/query` and `POST /v1/ask`: run a plan, or a question that becomes one, over the delivered files or with Athena.

use super::access::RequestCaller;
use super::billed::{BilledBytes, run_billed};
use super::extract::{JsonBody, NoParameters};
use super::problem::ApiProblem;
use super::running::run_within;
use super::{ApiState, AuditTarget, blocking};
use crate::plan::{Plan, PlanOutput};
use crate::query::{Answer, IndexLookup, LocalEngine, QueryControl, QueryEngine, QueryScan};
use crate::question;
use crate::source::directory::Directory;
use crate::state::TokenScope;
use axum::extract::State;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use utoipa::ToSchema;

/// The maximum number of rows of an answer.
const MAX_ROWS: u64 = 10_000;

/// The memory that the rows of a query may use, in bytes.
pub(super) const MAX_ROWS_BYTES: u64 = 64 << 20;

/// The duration after which a query is stopped. The answer then contains what was read, and is not complete.
pub(super) const QUERY_FOR: Duration = Duration::from_secs(25);

/// The engine that runs a plan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum EngineName {
    /// A scan of the delivered files, with the index.
    #[default]
    Files,
    /// Athena, with the database and the workgroup of the settings. Needs the scope `athena`, because AWS bills it.
    Athena,
}

/// A plan to run.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PlanBody {
    /// A plan as `trailhose query --plan` reads it.
    #[schema(value_type = Object)]
    plan: Value,
    #[serde(default)]
    engine: EngineName,
}

/// A question to answer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct QuestionBody {
    /// A question in English.
    #[schema(max_length = 1000)]
    question: String,
    #[serde(default)]
    engine: EngineName,
}

/// The rows of a plan.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PlanAnswer {
    columns: Vec<String>,
    /// The rows, each with a value for each column. A missing value is `null`.
    rows: Vec<Vec<Option<String>>>,
    /// Whether everything was read that the plan needs.
    complete: bool,
    /// What was not read, and why.
    not_read: Vec<String>,
    /// Whether there are more rows than the limit.
    limited: bool,
    /// What AWS bills; `null` for a query over the delivered files.
    billed: Option<BilledBytes>,
}

/// The answer to a question.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct QuestionAnswer {
    /// The plan that the question became.
    #[schema(value_type = Object)]
    plan: Plan,
    /// The question, restated from the plan.
    summary: String,
    #[serde(flatten)]
    answer: PlanAnswer,
}

impl PlanAnswer {
    /// Creates an answer. `is_cut` says that further rows were left out because of their size.
    fn new(answer: Answer, is_cut: bool, billed: Option<BilledBytes>) -> Self {
        let scanned = answer.scanned;
        let mut not_read: Vec<String> =
            scanned.skipped.iter().map(|file| format!("{}: {}", file.name, file.reason)).collect();
        let unnamed = scanned.skipped_files.saturating_sub(not_read.len() as u64);
        if unnamed > 0 {
            not_read.push(format!("{unnamed} further files"));
        }
        let unrecorded = [
            (scanned.foreign_files, &scanned.foreign_names, "files that the ledger does not record"),
            (scanned.longer_files, &scanned.longer_names, "files with bytes after their committed length"),
        ];
        not_read.extend(unrecorded.into_iter().filter(|(count, ..)| *count > 0).map(|(count, names, what)| {
            format!("{count} {what}, for example {}", names.first().map_or("", String::as_str))
        }));
        if scanned.stopped {
            let seconds = QUERY_FOR.as_secs();
            not_read.push(format!("the query was stopped after {seconds} seconds: name a shorter time span"));
        }
        if is_cut {
            not_read.push(format!("further rows: the rows of an answer exceed {MAX_ROWS_BYTES} bytes"));
        }
        Self {
            complete: scanned.is_complete() && !is_cut,
            billed,
            not_read,
            limited: answer.is_limited,
            columns: answer.columns,
            rows: answer.rows,
        }
    }
}

/// Runs a plan over the delivered files or with Athena.
#[utoipa::path(post, path = "/v1/query", operation_id = "query", tag = "queries", request_body = PlanBody,
    responses((status = 200, body = PlanAnswer), super::BodyRefusalResponses))]
pub(super) async fn query(
    State(api): State<Arc<ApiState>>,
    Extension(caller): Extension<RequestCaller>,
    Extension(target): Extension<AuditTarget>,
    _: NoParameters,
    JsonBody(body): JsonBody<PlanBody>,
) -> Result<Json<PlanAnswer>, ApiProblem> {
    check_scope(body.engine, &caller, &target)?;
    let plan: Plan =
        serde_json::from_value(body.plan).map_err(|error| ApiProblem::unprocessable(format!("plan: {error}")))?;
    let is_list = matches!(plan.output(), PlanOutput::Events { .. });
    if plan.limit().map_or(is_list, |limit| limit > MAX_ROWS) {
        return Err(ApiProblem::unprocessable(format!("plan: expected a limit of at most {MAX_ROWS}")));
    }
    Ok(Json(run(&api, plan, body.engine).await?))
}

/// Answers a question in English. A fixed grammar turns it into a plan, without a language model.
#[utoipa::path(post, path = "/v1/ask", operation_id = "ask", tag = "queries", request_body = QuestionBody,
    responses((status = 200, body = QuestionAnswer), super::BodyRefusalResponses))]
pub(super) async fn ask(
    State(api): State<Arc<ApiState>>,
    Extension(caller): Extension<RequestCaller>,
    Extension(target): Extension<AuditTarget>,
    _: NoParameters,
    JsonBody(body): JsonBody<QuestionBody>,
) -> Result<Json<QuestionAnswer>, ApiProblem> {
    check_scope(body.engine, &caller, &target)?;
    // The end of a time span is excluded. With the next second as the end, events of the current second are included.
    let now = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() + 1).map_err(ApiProblem::internal)?;
    let question = question::interpret(&body.question, now).map_err(|refusal| {
        let closest =
            refusal.closest.as_ref().map(|plan| format!("; without that, the question means: {}", plan.restate()));
        ApiProblem::unprocessable(format!("{}{}", refusal.reason, closest.unwrap_or_default()))
    })?;
    let summary = question.restate();
    let plan = question.plan;
    let answer = run(&api, plan.clone(), body.engine).await?;
    Ok(Json(QuestionAnswer { summary, plan, answer }))
}

/// Refuses a query with Athena without the scope `athena`, and marks the request for the audit log.
fn check_scope(engine: EngineName, caller: &RequestCaller, target: &AuditTarget) -> Result<(), ApiProblem> {
    if engine == EngineName::Files {
        return Ok(());
    }
    target.set(TokenScope::Athena.name());
    match caller.scopes.contains(&TokenScope::Athena) {
        true => Ok(()),
        false => Err(ApiProblem::forbidden(
            "AWS bills queries with Athena, so they need a token with the scope athena: `trailhose token create NAME --scope \
             read --scope athena`",
        )),
    }
}

async fn run(api: &Arc<ApiState>, plan: Plan, engine: EngineName) -> Result<PlanAnswer, ApiProblem> {
    let permit = Arc::clone(&api.queries).try_acquire_owned().map_err(|_| busy())?;
    if engine == EngineName::Athena {
        let Some(athena) = &api.settings.athena else {
            return Err(ApiProblem::unprocessable(
                "this server has no Athena: add [serve.athena] with a database to the settings, or omit engine",
            ));
        };
        let (answer, is_cut, billed) = run_billed(Arc::clone(athena), plan, permit).await?;
        return Ok(PlanAnswer::new(answer, is_cut, Some(billed)));
    }
    Ok(PlanAnswer::new(run_over_files(api, plan, permit).await?, false, None))
}

fn busy() -> ApiProblem {
    ApiProblem::unavailable("too many queries run at the same time: try again")
}

async fn run_over_files(api: &Arc<ApiState>, plan: Plan, permit: OwnedSemaphorePermit) -> Result<Answer, ApiProblem> {
    let api = Arc::clone(api);
    let query = async move |control: QueryControl| {
        let engine = open_engine(&api).await?;
        engine.answer(&plan, &control).await.map_err(|error| ApiProblem::unprocessable(error.to_string()))
    };
    run_within(QUERY_FOR, permit, query).await.map_err(ApiProblem::internal)?
}

/// Opens the delivered files, with the index if it contains every event.
async fn open_engine(api: &Arc<ApiState>) -> Result<LocalEngine, ApiProblem> {
    let opened = {
        let api = Arc::clone(api);
        blocking(move || {
            let root = api.folder.segments.root().to_owned();
            let source = Directory::open(&root).map_err(ApiProblem::internal)?;
            let progress = api.folder.index_progress().map_err(ApiProblem::internal)?;
            Ok((source, root, progress.backlog.events == 0))
        })
    };
    let (source, root, is_indexed) = opened.await?;
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2));
    let bucket = source.bucket().to_owned();
    let scan = QueryScan::open(Arc::new(source), &bucket, "", Some(root.clone()), threads);
    let scan = scan.await.map_err(ApiProblem::internal)?;
    let scan = Arc::new(scan.with_record(Some(Arc::clone(&api.folder.segments))));
    let index_path = api.folder.index.path().to_owned();
    let index = (is_indexed && index_path.exists()).then(|| IndexLookup::new(index_path, root));
    Ok(LocalEngine::new(scan).with_index(index).max_bytes(MAX_ROWS_BYTES))
}
