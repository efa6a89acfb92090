//! Deployment: the resources that the checks examine, from a stack or from arguments.

use crate::aws::{DeployedStack, StackResources};
use crate::pause;

/// How notifications reach the ingest queue: the template's parameter `Wiring`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Wiring {
    /// The bucket notifies the queue.
    #[default]
    S3,
    /// The queue subscribes to a topic.
    Sns,
    /// A rule sends the bucket's events to the queue.
    EventBridge,
}

/// The resources of a deployment. A resource that is `None` is not known, and its checks do not apply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deployment {
    /// Name and status of the stack.
    pub stack: Option<StackState>,
    /// Region of the stack.
    pub region: String,
    /// Account of the stack.
    pub account: String,
    /// Partition, such as `aws`.
    pub partition: String,
    /// The CloudTrail bucket.
    pub bucket: Option<String>,
    /// Prefix before `AWSLogs/`.
    pub prefix: String,
    /// Account that owns the bucket, if it is another account.
    pub bucket_account: Option<String>,
    /// ARN of the KMS key that encrypts the objects of the bucket.
    pub bucket_key: Option<String>,
    /// How notifications reach the queue.
    pub wiring: Wiring,
    /// Topic of the notifications, for [`Wiring::Sns`].
    pub topic: Option<String>,
    /// Name of the rule, for [`Wiring::EventBridge`].
    pub rule: Option<String>,
    /// URLs of the queues.
    pub queues: Queues,
    /// Name of the ingest function.
    pub ingest_function: Option<String>,
    /// Name of the backfill function.
    pub backfill_function: Option<String>,
    /// Name of the detect function.
    pub detect_function: Option<String>,
    /// Location of the published detection rules, `s3://bucket/prefix`.
    pub rules_location: Option<String>,
    /// Name of the table of the findings.
    pub findings_table: Option<String>,
    /// Whether the URL and the keys of a destination of alerts are a secret.
    pub reads_secrets: bool,
    /// ARN of the role of the ingest function.
    pub ingest_role: Option<String>,
    /// ARN of the role of the backfill function.
    pub backfill_role: Option<String>,
    /// Name of the ledger table.
    pub table: Option<String>,
    /// Name of the Firehose stream.
    pub stream: Option<String>,
    /// ARN of the customer-managed key of queues, ledger and lake.
    pub encryption_key: Option<String>,
    /// Bucket of oversize events.
    pub oversize_bucket: Option<String>,
    /// Names of the alarms.
    pub alarms: Vec<String>,
    /// Maximum concurrent invocations of the ingest function: the sum over its queues.
    pub ingest_concurrency: Option<u64>,
    /// Whether runs are started on a schedule.
    pub scheduled: bool,
    /// Time at which `trailhose pause` stopped ingestion, while it is paused.
    pub paused_since: Option<String>,
}

/// A stack and its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackState {
    /// Name of the stack.
    pub name: String,
    /// Status, such as `UPDATE_COMPLETE`.
    pub status: String,
}

/// URLs of the queues.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Queues {
    /// Notifications of new objects.
    pub ingest: Option<String>,
    /// Objects that wait during an outage.
    pub deferred: Option<String>,
    /// Dead-letter queue of the ingest queue and the deferred queue.
    pub dead_letter: Option<String>,
    /// Objects that the backfill found missing.
    pub backfill_ingest: Option<String>,
    /// Dead-letter queue of the backfill ingest queue.
    pub backfill_ingest_dead_letter: Option<String>,
    /// Tasks of the backfill.
    pub backfill: Option<String>,
    /// Dead-letter queue of the backfill queue.
    pub backfill_dead_letter: Option<String>,
    /// Objects of the lake that wait for the evaluation of rules.
    pub detect: Option<String>,
    /// Dead-letter queue of the detect queue.
    pub detect_dead_letter: Option<String>,
}

impl Queues {
    /// Returns the known queues from which a function receives, each with its name in messages.
    pub(crate) fn with_consumers(&self) -> Vec<(&'static str, &str)> {
        let all = [
            ("ingest queue", &self.ingest),
            ("deferred queue", &self.deferred),
            ("backfill ingest queue", &self.backfill_ingest),
            ("backfill queue", &self.backfill),
            ("detect queue", &self.detect),
        ];
        all.into_iter().filter_map(|(name, url)| Some((name, url.as_deref()?))).collect()
    }

    /// Returns the known dead-letter queues, each with its name in messages.
    pub(crate) fn dead_letter(&self) -> Vec<(&'static str, &str)> {
        let all = [
            ("dead-letter queue", &self.dead_letter),
            ("backfill ingest dead-letter queue", &self.backfill_ingest_dead_letter),
            ("backfill dead-letter queue", &self.backfill_dead_letter),
            ("detect dead-letter queue", &self.detect_dead_letter),
        ];
        all.into_iter().filter_map(|(name, url)| Some((name, url.as_deref()?))).collect()
    }
}

impl Deployment {
    /// Returns the resources of a stack of `template.yaml`.
    pub fn of_stack(stack: &DeployedStack, resources: &StackResources) -> Self {
        let output = |name: &str| stack.optional_output(name).map(str::to_owned);
        let parameter = |name: &str| stack.parameter(name).map(str::to_owned);
        let resource = |name: &str| resources.get(name).and_then(|found| found.physical_id.clone());
        let number = |name: &str| stack.parameter(name).and_then(|value| value.parse::<u64>().ok());
        let alarms = resources.iter().filter(|each| each.resource_type == "AWS::CloudWatch::Alarm");
        let concurrency = ["MaximumConcurrency", "DeferredConcurrency", "BackfillIngestConcurrency"].map(number);
        let own_key = || {
            let (partition, region, account) = (stack.partition(), stack.region(), stack.account());
            resource("Key").map(|id| format!("arn:{partition}:kms:{region}:{account}:key/{id}"))
        };
        Self {
            stack: Some(StackState { name: stack.name.clone(), status: stack.status.as_str().to_owned() }),
            region: stack.region().to_owned(),
            account: stack.account().to_owned(),
            partition: stack.partition().to_owned(),
            bucket: parameter("LogBucketName"),
            prefix: parameter("LogPrefix").unwrap_or_default(),
            bucket_account: parameter("LogBucketAccountId").filter(|account| account != stack.account()),
            bucket_key: parameter("LogBucketKeyArn"),
            wiring: match stack.parameter("Wiring") {
                Some("SNS") => Wiring::Sns,
                Some("EventBridge") => Wiring::EventBridge,
                _ => Wiring::S3,
            },
            topic: parameter("SnsTopicArn"),
            rule: resource("ObjectCreatedRule"),
            queues: Queues {
                ingest: output("IngestQueueUrl"),
                deferred: output("DeferredQueueUrl"),
                dead_letter: output("DeadLetterQueueUrl"),
                backfill_ingest: output("BackfillIngestQueueUrl"),
                backfill_ingest_dead_letter: output("BackfillIngestDeadLetterQueueUrl"),
                backfill: output("BackfillQueueUrl"),
                backfill_dead_letter: output("BackfillDeadLetterQueueUrl"),
                detect: output("DetectQueueUrl"),
                detect_dead_letter: output("DetectDeadLetterQueueUrl"),
            },
            ingest_function: output("IngestFunctionName"),
            backfill_function: output("BackfillFunctionName"),
            detect_function: output("DetectFunctionName"),
            rules_location: parameter("RulesLocation").filter(|location| !location.is_empty()),
            findings_table: output("FindingsTableName"),
            reads_secrets: ["AlertWebhookSecretArn", "AlertSlackSecretArn", "AlertPagerDutySecretArn"]
                .iter()
                .any(|name| stack.parameter(name).is_some_and(|arn| !arn.is_empty())),
            ingest_role: output("IngestRoleArn"),
            backfill_role: output("BackfillRoleArn"),
            table: output("LedgerTableName"),
            stream: output("DeliveryStreamName"),
            encryption_key: match stack.parameter("EncryptionKey") {
                Some("create") => own_key(),
                other => other.map(str::to_owned),
            },
            oversize_bucket: parameter("OversizeBucketName").or(output("LakeBucketName")),
            alarms: alarms.filter_map(|alarm| alarm.physical_id.clone()).collect(),
            ingest_concurrency: concurrency.into_iter().sum::<Option<u64>>(),
            scheduled: stack.parameter("BackfillState") != Some("DISABLED")
                && stack.parameter(pause::PARAMETER).is_none(),
            paused_since: parameter(pause::PARAMETER),
        }
    }

    /// Returns the ARN of a resource in the account and region of the deployment.
    pub(crate) fn arn(&self, service: &str, resource: &str) -> String {
        format!("arn:{}:{service}:{}:{}:{resource}", self.partition, self.region, self.account)
    }

    /// Returns the ARN of a queue, from its URL.
    pub(crate) fn queue_arn(&self, url: &str) -> String {
        self.arn("sqs", url.rsplit('/').next().unwrap_or(url))
    }

    /// Returns the ARN of a bucket.
    pub(crate) fn bucket_arn(&self, bucket: &str) -> String {
        format!("arn:{}:s3:::{bucket}", self.partition)
    }
}
