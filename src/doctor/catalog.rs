//! Catalog of the checks: stable IDs, what each check examines, what it needs, and what a problem means.
//!
//! `docs/doctor.md` lists the same checks. A test compares both.

/// A check.
#[derive(Debug, PartialEq, Eq)]
pub struct Check {
    /// Stable ID: the group, a dot, and the name.
    pub id: &'static str,
    /// What the check examines, in a few words.
    pub title: &'static str,
    /// The actions that the check calls.
    pub actions: &'static [&'static str],
    /// What a warning or a failure means.
    pub meaning: &'static str,
}

/// Groups of checks and their titles, in the order of the output.
pub const GROUPS: [(&str, &str); 13] = [
    ("stack", "Stack"),
    ("trail", "Trails"),
    ("bucket", "CloudTrail bucket"),
    ("queue", "Queues"),
    ("function", "Functions"),
    ("role", "Roles"),
    ("ledger", "Ledger"),
    ("stream", "Firehose stream"),
    ("alarm", "Alarms"),
    ("delivery", "Delivery"),
    ("backfill", "Backfill"),
    ("detection", "Detection"),
    ("quota", "Quotas, for yesterday's volume"),
];

macro_rules! checks {
    ($($name:ident = $id:literal, $title:literal, [$($action:literal),*], $meaning:literal;)*) => {
        $(pub(crate) const $name: Check =
            Check { id: $id, title: $title, actions: &[$($action),*], meaning: $meaning };)*
        /// All checks, in the order of the output.
        pub const CHECKS: &[&Check] = &[$(&$name),*];
    };
}

checks! {
    STACK_STATUS = "stack.status", "status of the stack",
        ["cloudformation:DescribeStacks", "cloudformation:ListStackResources"],
        "The last change of the stack did not complete, so its resources may differ from the template.";

    TRAIL_FOUND = "trail.found", "a trail writes to the bucket", ["cloudtrail:DescribeTrails"],
        "CloudTrail may not write to the bucket. A trail of another account is not visible here.";
    TRAIL_LOGGING = "trail.logging", "the trail records events", ["cloudtrail:GetTrailStatus"],
        "CloudTrail records no events, so none can be delivered. Events that occur meanwhile are lost.";
    TRAIL_DELIVERY = "trail.delivery", "CloudTrail delivers to the bucket", ["cloudtrail:GetTrailStatus"],
        "CloudTrail cannot write to the bucket. It repeats a failed delivery for 30 days.";
    TRAIL_ORGANIZATION = "trail.organization", "events of all accounts", ["cloudtrail:DescribeTrails"],
        "The trail records only the events of its own account.";
    TRAIL_REGIONS = "trail.regions", "events of all regions", ["cloudtrail:DescribeTrails"],
        "Events of other regions, or of global services such as IAM, are not recorded.";
    TRAIL_VALIDATION = "trail.validation", "log file validation", ["cloudtrail:DescribeTrails"],
        "CloudTrail writes no digest files, so a deleted or changed log file cannot be detected.";
    TRAIL_EVENTS = "trail.events", "management and data events", ["cloudtrail:GetEventSelectors"],
        "Events that the event selectors exclude are not recorded.";

    BUCKET_REGION = "bucket.region", "region of the bucket", ["s3:ListBucket"],
        "A bucket notifies only queues of its own region.";
    BUCKET_VERSIONING = "bucket.versioning", "versioning", ["s3:GetBucketVersioning"],
        "An object that is deleted or overwritten before it was ingested is lost.";
    BUCKET_LOCK = "bucket.lock", "object lock", ["s3:GetBucketObjectLockConfiguration"],
        "Log files can be deleted before their retention ends.";
    BUCKET_POLICY = "bucket.policy", "the bucket's policy allows the roles", ["s3:GetBucketPolicy"],
        "The functions cannot read the bucket. Objects wait and then go to the dead-letter queue.";
    BUCKET_KEY = "bucket.key", "the KMS key of the objects",
        ["kms:DescribeKey", "kms:GetKeyPolicy", "kms:ListGrants", "s3:GetEncryptionConfiguration"],
        "The functions cannot decrypt the objects. If the key is disabled, objects are quarantined. If a permission is missing, they wait and then go to the dead-letter queue.";
    BUCKET_NOTIFICATION = "bucket.notification", "notifications reach the ingest queue",
        ["s3:GetBucketNotification", "sns:ListSubscriptionsByTopic", "events:DescribeRule", "events:ListTargetsByRule"],
        "New objects are not announced. Only the scheduled backfill finds them, hours later.";
    BUCKET_OVERLAP = "bucket.overlap", "each object is announced once", ["s3:GetBucketNotification"],
        "Objects are announced twice. Nothing is delivered twice, but each extra message costs a ledger write.";

    QUEUE_POLICY = "queue.policy", "the source of notifications may send", ["sqs:GetQueueAttributes"],
        "The ingest queue refuses notifications of new objects. Only the scheduled backfill finds the objects.";
    QUEUE_REDRIVE = "queue.redrive", "dead-letter queues", ["sqs:GetQueueAttributes"],
        "A message that fails repeatedly is not moved to a dead-letter queue, so no alarm reports it.";
    QUEUE_ENCRYPTION = "queue.encryption", "encryption of the queues", ["sqs:GetQueueAttributes"],
        "Messages, which contain names of objects, are stored unencrypted.";

    FUNCTION_STATE = "function.state", "the functions can run", ["lambda:GetFunctionConfiguration"],
        "Lambda does not run the function, or runs an earlier version of it.";
    FUNCTION_MAPPINGS = "function.mappings", "the functions receive messages", ["lambda:ListEventSourceMappings"],
        "Messages wait in the queue. SQS deletes them after its retention: eight days for new objects.";
    FUNCTION_CONCURRENCY = "function.concurrency", "reserved concurrency", ["lambda:GetFunctionConcurrency"],
        "Lambda throttles the function. Each throttled attempt raises the receive count of its messages.";
    FUNCTION_ERRORS = "function.errors", "errors and throttles of the last 24 hours", ["cloudwatch:GetMetricData"],
        "Invocations crashed, timed out, could not start, or were throttled. Their messages are received again.";

    ROLE_INGEST = "role.ingest", "permissions of the ingest function", ["iam:SimulatePrincipalPolicy"],
        "The ingest function lacks a permission. Objects wait and then go to the dead-letter queue.";
    ROLE_BACKFILL = "role.backfill", "permissions of the backfill function", ["iam:SimulatePrincipalPolicy"],
        "The backfill function lacks a permission, so missing objects are not found.";

    LEDGER_TABLE = "ledger.table", "the table", ["dynamodb:DescribeTable"],
        "Without its table, nothing is delivered.";
    LEDGER_SCHEMA = "ledger.schema", "schema version", ["dynamodb:BatchGetItem"],
        "A newer version of trailhose wrote the ledger. Older functions deliver nothing: messages wait in the deferred queue.";
    LEDGER_TTL = "ledger.ttl", "time to live", ["dynamodb:DescribeTimeToLive"],
        "Expired items are not deleted, so the table grows without limit.";
    LEDGER_RECOVERY = "ledger.recovery", "point-in-time recovery", ["dynamodb:DescribeContinuousBackups"],
        "If the table is lost, every event of the bucket that is ingested again is delivered again.";
    LEDGER_THROTTLING = "ledger.throttling", "throttled requests of the last 24 hours", ["cloudwatch:GetMetricData"],
        "The table refused requests. Objects are deferred and delivered later.";

    STREAM_STATE = "stream.state", "the stream", ["firehose:DescribeDeliveryStream"],
        "Events cannot be delivered. Objects wait in the deferred queue for up to MaxDeferredDays.";
    STREAM_ENCRYPTION = "stream.encryption", "encryption of the stream", ["firehose:DescribeDeliveryStream"],
        "Firehose stores events unencrypted until it delivers them.";
    STREAM_DELIVERY = "stream.delivery", "delivery by Firehose in the last 24 hours", ["cloudwatch:GetMetricData"],
        "Firehose does not deliver in time. It drops data that it could not deliver to S3 for 24 hours.";

    ALARM_ACTIONS = "alarm.actions", "actions of the alarms", ["cloudwatch:DescribeAlarms"],
        "A raised alarm sends no notification.";
    ALARM_STATE = "alarm.state", "alarms that are raised", ["cloudwatch:DescribeAlarms"],
        "The condition of an alarm is met.";
    ALARM_SUBSCRIPTIONS = "alarm.subscriptions", "subscriptions of the alarm topic", ["sns:ListSubscriptionsByTopic"],
        "Notifications of alarms have no receiver.";

    DELIVERY_DEAD_LETTERS = "delivery.dead-letters", "messages in dead-letter queues",
        ["sqs:GetQueueAttributes", "sqs:ReceiveMessage"],
        "The objects of these messages are not delivered. SQS deletes the messages after 14 days.";
    DELIVERY_DEFERRED = "delivery.deferred", "objects that wait in the deferred queue", ["sqs:GetQueueAttributes"],
        "The destination, the ledger or S3 fails, or failed recently. The objects are delivered when it works again.";
    DELIVERY_QUARANTINE = "delivery.quarantine", "quarantined objects", ["dynamodb:Scan", "dynamodb:BatchGetItem"],
        "The events of these objects are not delivered until a person decides.";
    DELIVERY_ACTIVITY = "delivery.activity", "the ingest function ran in the last 24 hours", ["cloudwatch:GetMetricData"],
        "No object is announced, or the function delivers nothing. In an account that is in use, CloudTrail writes objects every day.";
    DELIVERY_LAG = "delivery.lag", "age of the newest delivered event", ["cloudwatch:GetMetricData"],
        "Events are delivered late.";
    DELIVERY_SAMPLE = "delivery.sample", "a sample of yesterday's objects is in the ledger",
        ["s3:ListBucket", "dynamodb:BatchGetItem"],
        "Objects of yesterday are not delivered.";

    BACKFILL_SCHEDULE = "backfill.schedule", "the schedule of the backfill", ["cloudformation:DescribeStacks"],
        "No backfill starts by itself, so objects whose notification was lost are not delivered.";
    BACKFILL_RUN = "backfill.run", "the last backfill", ["dynamodb:Query"],
        "Objects whose notification was lost are found only by a backfill.";

    DETECTION_RULES = "detection.rules", "the published rules are complete and in use",
        ["s3:GetObject", "dynamodb:BatchGetItem"],
        "Changes of the rules have no effect. Without a valid set, no event is evaluated.";
    DETECTION_ALERTS = "detection.alerts", "alerts that wait or failed", ["dynamodb:Scan"],
        "A destination does not accept alerts. Failed alerts are not sent again by themselves.";
    DETECTION_DESTINATIONS = "detection.destinations", "secrets of the destinations of alerts", ["cloudwatch:GetMetricData"],
        "A destination gets no alerts, because its secret cannot be read or is invalid. The alerts wait.";

    QUOTA_STREAM_BYTES = "quota.stream-bytes", "bytes per second to Firehose", ["cloudwatch:GetMetricData"],
        "Firehose throttles calls above the quota. Objects then wait, and recovery from an outage takes longer.";
    QUOTA_STREAM_RECORDS = "quota.stream-records", "records per second to Firehose", ["cloudwatch:GetMetricData"],
        "Firehose throttles calls above the quota. Objects then wait, and recovery from an outage takes longer.";
    QUOTA_STREAM_REQUESTS = "quota.stream-requests", "requests per second to Firehose", ["cloudwatch:GetMetricData"],
        "Firehose throttles calls above the quota. Objects then wait, and recovery from an outage takes longer.";
    QUOTA_CONCURRENCY = "quota.lambda-concurrency", "concurrent executions of Lambda",
        ["cloudwatch:GetMetricData", "lambda:GetAccountSettings", "lambda:GetFunctionConcurrency"],
        "Lambda throttles the functions when all functions of the account together reach the quota.";
    QUOTA_TABLE_WRITES = "quota.table-writes", "write units per second of the table",
        ["cloudwatch:GetMetricData", "servicequotas:ListServiceQuotas"],
        "DynamoDB throttles writes above the quota. Objects are then deferred.";
}

/// Returns the title of a group.
pub fn group_title(group: &str) -> &str {
    GROUPS.iter().find(|(name, _)| *name == group).map_or(group, |(_, title)| title)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ids_are_unique_and_ordered_by_group() {
        let ids: BTreeSet<_> = CHECKS.iter().map(|check| check.id).collect();
        assert_eq!(ids.len(), CHECKS.len());
        let mut groups: Vec<_> = CHECKS.iter().map(|check| check.id.split_once('.').unwrap().0).collect();
        groups.dedup();
        assert_eq!(groups, GROUPS.map(|(group, _)| group), "each group is contiguous and has a title");
    }
}
