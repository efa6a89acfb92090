//! Doctor: examines a deployment without changing it, and explains each problem with its next step.
//!
//! Each group of checks has a module: the facts that it needs, the trait of the service that provides them, and pure
//! functions from facts to findings. `aws` contains the adapters. The calls run concurrently and each has a time
//! limit, so a service that does not answer is a finding and does not delay the report.

mod alarm;
pub mod aws;
mod backfill_run;
mod bucket;
pub mod catalog;
mod delivery;
pub mod deployment;
mod detection;
mod facts;
mod finding;
mod function;
mod ledger_table;
mod metrics;
mod notification;
mod policy;
mod queue;
mod quota;
mod role;
mod sample;
mod stream;
mod text;
mod trail;

pub use alarm::{AlarmFacts, AlarmReader};
pub use backfill_run::LastRun;
pub use bucket::{BucketReader, KeyFacts, KeyReader};
pub use delivery::QuarantinedRows;
pub use deployment::Deployment;
pub use detection::{DetectionReader, OutboxFacts, PublishedSet};
pub use facts::{Fact, FactError};
pub use finding::{CheckStatus, Finding, MissingPermission, StatusCounts};
pub use function::{FunctionFacts, FunctionReader, MappingFacts};
pub use ledger_table::{TableFacts, TableReader, TimeToLive};
pub use metrics::{MetricDefinition, MetricName, MetricReader, MetricSpan, Metrics};
pub use notification::{
    EventRule, ObjectNotificationRule, ObjectNotifications, RuleReader, TopicReader, TopicSubscription,
};
pub use queue::{QueueFacts, QueueReader};
pub use quota::QuotaReader;
pub use role::{DenialCause, DeniedRequest, RoleRequest, RoleSimulator};
pub use sample::SampleStates;
pub use stream::{StreamFacts, StreamReader};
pub use trail::{EventSelection, TrailFacts, TrailReader, TrailStatus};

use async_trait::async_trait;
use catalog::CHECKS;
use finding::Verdict;
use jiff::civil::Date;
use jiff::{Timestamp, tz::TimeZone};

/// Reads the state of objects from the ledger and the bucket.
#[async_trait]
pub trait ObjectReader: Send + Sync {
    /// Returns the first quarantined objects. Stops after the batch in which their number reaches `limit`.
    async fn quarantined(&self, limit: usize) -> Fact<QuarantinedRows>;
    /// Returns the last run of the backfill.
    async fn last_run(&self) -> Fact<Option<LastRun>>;
    /// Compares a sample of the objects of a day with the ledger.
    async fn sample(&self, bucket: &str, prefix: &str, day: Date) -> Fact<SampleStates>;
}

/// The services that the checks read.
#[allow(missing_docs, reason = "the types describe the services")]
pub struct Services<'s> {
    pub trails: &'s dyn TrailReader,
    pub buckets: &'s dyn BucketReader,
    pub keys: &'s dyn KeyReader,
    pub topics: &'s dyn TopicReader,
    pub rules: &'s dyn RuleReader,
    pub queues: &'s dyn QueueReader,
    pub functions: &'s dyn FunctionReader,
    pub roles: &'s dyn RoleSimulator,
    pub tables: &'s dyn TableReader,
    pub streams: &'s dyn StreamReader,
    pub alarms: &'s dyn AlarmReader,
    pub metrics: &'s dyn MetricReader,
    pub quotas: &'s dyn QuotaReader,
    pub objects: &'s dyn ObjectReader,
    pub detection: &'s dyn DetectionReader,
}

impl std::fmt::Debug for Services<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Services").finish_non_exhaustive()
    }
}

/// Options of an examination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExamineOptions {
    /// Whether messages of dead-letter queues are received to read their reasons. This raises their receive count.
    pub peek: bool,
    /// Current time in seconds since 1970.
    pub now: i64,
}

/// Examines a deployment. Returns the findings in the order of [`CHECKS`], one for each check.
///
/// `progress` is called with the title of each group when it is finished, except for the groups of the stack, the delivery
/// and the backfill.
pub async fn examine(
    services: &Services<'_>,
    deployment: &Deployment,
    options: ExamineOptions,
    progress: &(dyn Fn(&'static str) + Sync),
) -> Vec<Finding> {
    let done = |group: &'static str, findings: Vec<Finding>| {
        progress(catalog::group_title(group));
        findings
    };
    let now = options.now;
    let today = Timestamp::from_second(now).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(TimeZone::UTC).date();
    let yesterday = today.yesterday().unwrap_or(today);
    let midnight = now - now.rem_euclid(86_400);
    let metrics = async {
        let last_day = MetricSpan { from: now - 86_400, to: now, period: 300 };
        let by_minute = MetricSpan { from: midnight - 86_400, to: midnight, period: quota::PERIOD };
        let of = |names: &[MetricName]| names.iter().filter_map(|name| name.definition(deployment)).collect::<Vec<_>>();
        let (state, volume) = (of(&MetricName::STATE), of(&MetricName::VOLUME));
        tokio::join!(services.metrics.metrics(&state, last_day), services.metrics.metrics(&volume, by_minute))
    };
    let bucket = async {
        let Some(bucket) = deployment.bucket.as_deref() else { return Vec::new() };
        let (trails, facts, notifications) = tokio::join!(
            services.trails.trails(bucket),
            bucket::BucketFacts::gather(services.buckets, services.keys, bucket, deployment),
            notification::NotificationFacts::gather(
                services.buckets,
                services.topics,
                services.rules,
                bucket,
                deployment
            ),
        );
        let topics: Vec<String> = trails.iter().flatten().filter_map(|trail| trail.topic.clone()).collect();
        let mut findings = done("trail", trail::examine(&trails, deployment, now));
        findings.extend(facts.findings(bucket, deployment, &trails));
        findings.extend(notifications.findings(bucket, deployment, &trails, &topics));
        done("bucket", findings)
    };
    let queues = async {
        let facts = queue::AllQueueFacts::gather(services.queues, deployment, options.peek).await;
        done("queue", [facts.findings(deployment), facts.message_findings(deployment)].concat())
    };
    let roles = async { done("role", role::examine(services.roles, deployment).await) };
    let alarms = async { done("alarm", alarm::examine(services.alarms, services.topics, deployment).await) };
    let functions = function::AllFunctionFacts::gather(services.functions, deployment);
    let ledger = async {
        match deployment.table {
            Some(_) => {
                let (rows, run) =
                    tokio::join!(services.objects.quarantined(delivery::MAX_QUARANTINED), services.objects.last_run());
                (Some(rows), Some(run))
            }
            None => (None, None),
        }
    };
    let sample = async {
        match (&deployment.bucket, &deployment.table) {
            (Some(bucket), Some(_)) => Some(services.objects.sample(bucket, &deployment.prefix, yesterday).await),
            _ => None,
        }
    };
    let table_quota = services.quotas.quota("dynamodb", quota::TABLE_WRITES_QUOTA);
    let with_metrics = async {
        let ((state, volume), functions, table_writes) = tokio::join!(metrics, functions, table_quota);
        let (ledger, stream, detection) = tokio::join!(
            ledger_table::examine(services.tables, deployment, &state),
            stream::examine(services.streams, deployment, &state),
            detection::examine(services.detection, deployment, &state, now),
        );
        let reserved = functions.ingest_reserved(deployment);
        let quotas = quota::Quotas { concurrency: functions.quota.clone(), reserved, table_writes };
        [
            done("function", functions.findings(deployment, &state)),
            done("ledger", ledger),
            done("stream", stream),
            done("detection", detection),
            delivery::metric_findings(&state, deployment.ingest_function.is_some()),
            done("quota", quota::findings(&volume, &quotas, deployment)),
        ]
        .concat()
    };
    let (bucket, queues, roles, alarms, with_metrics, (rows, run), sample) =
        tokio::join!(bucket, queues, roles, alarms, with_metrics, ledger, sample);
    let mut findings = [vec![stack_status(deployment)], bucket, queues, roles, alarms, with_metrics].concat();
    findings.push(delivery::quarantine(rows.as_ref()));
    findings.push(sample::finding(sample.as_ref(), yesterday));
    findings.push(backfill_run::schedule(deployment));
    findings.push(backfill_run::finding(run.as_ref(), deployment, now));
    in_order(findings)
}

fn stack_status(deployment: &Deployment) -> Finding {
    let check = &catalog::STACK_STATUS;
    let Some(stack) = &deployment.stack else {
        return check.finding(Verdict::not_applicable("the resources were given as arguments"));
    };
    let found = format!("{} is {}", stack.name, stack.status);
    let events = format!("aws cloudformation describe-stack-events --stack-name {}", stack.name);
    check.finding(match stack.status.as_str() {
        "CREATE_COMPLETE" | "UPDATE_COMPLETE" | "IMPORT_COMPLETE" => Verdict::ok(found),
        status if status.ends_with("_IN_PROGRESS") => {
            Verdict::warning(found, "wait until the change is complete, then run trailhose doctor again")
        }
        // The resources are those before the failed update.
        "UPDATE_ROLLBACK_COMPLETE" => Verdict::warning(found, format!("find the reason: {events}; then deploy again")),
        _ => Verdict::failed(found, format!("find the reason: {events}; then deploy again")),
    })
}

/// Returns the findings in the order of the catalog. A check without a finding does not apply, because its resource is
/// not known.
fn in_order(mut findings: Vec<Finding>) -> Vec<Finding> {
    let take = |check: &&catalog::Check| {
        let found = findings.iter().position(|finding| finding.id == check.id);
        match found {
            Some(index) => findings.swap_remove(index),
            None => check.finding(Verdict::not_applicable("the resource is not known")),
        }
    };
    CHECKS.iter().map(take).collect()
}
