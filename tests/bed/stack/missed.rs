//! The backfill of the stack.

use super::Stack;
use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::Value;
use std::time::{Duration, Instant};
use trailhose::backfill::RunId;
use trailhose::backfill::record::dynamodb::DynamoDbRunRecords;
use trailhose::backfill::record::{RunProgress, RunRecords};
use trailhose::ledger::system_clock;

const JSON: &str = "application/json";

impl Stack {
    /// Removes the bucket's notifications, so that new objects are not ingested.
    pub async fn unwire(&self) {
        let none = aws_sdk_s3::types::NotificationConfiguration::builder().build();
        let put = self.s3.put_bucket_notification_configuration().bucket(super::LOG_BUCKET);
        put.notification_configuration(none).send().await.unwrap();
    }

    /// Makes EventBridge Scheduler fire the stack's schedule once. The emulator checks schedules every 10 s.
    pub async fn fire_schedule(&self) {
        let (status, listed) = self.ask("scheduler", "GET /schedules", JSON, Vec::new()).await;
        assert_eq!(status, 200, "{listed}");
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let [schedule] = &listed["Schedules"].as_array().unwrap()[..] else { panic!("one schedule: {listed}") };
        let path = format!("/schedules/{}", schedule["Name"].as_str().unwrap());
        let (status, schedule) = self.ask("scheduler", &format!("GET {path}"), JSON, Vec::new()).await;
        assert_eq!(status, 200, "{schedule}");
        let mut schedule: Value = serde_json::from_str(&schedule).unwrap();
        schedule["State"] = "ENABLED".into();
        let (status, said) = self.ask("scheduler", &format!("PUT {path}"), JSON, schedule.to_string().into()).await;
        assert_eq!(status, 200, "{said}");
    }

    /// Calls the backfill function and returns its response.
    pub async fn invoke_backfill(&self, payload: &str) -> Value {
        let what = format!("POST /2015-03-31/functions/{}/invocations", self.output("BackfillFunctionName"));
        let (status, body) = self.ask("lambda", &what, JSON, payload.into()).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error} in {body}"))
    }

    /// Sends a task to the backfill queue.
    pub async fn send_task(&self, body: &str) {
        let queue = self.output("BackfillQueueUrl");
        self.sqs.send_message().queue_url(queue).message_body(body).send().await.unwrap();
    }

    /// Sets the visibility timeout of the queues of tasks and of missing objects.
    pub async fn set_backfill_visibility(&self, time: Duration) {
        for queue in ["BackfillQueueUrl", "BackfillIngestQueueUrl"] {
            let sent = self.sqs.set_queue_attributes().queue_url(self.output(queue));
            sent.attributes(QueueAttributeName::VisibilityTimeout, time.as_secs().to_string()).send().await.unwrap();
        }
    }

    /// Waits until a run is done and the queues are empty.
    pub async fn run_ended(&self, run: &RunId, patience: Duration) -> RunProgress {
        let start = Instant::now();
        loop {
            let record = self.records().run(run).await.unwrap();
            if let Some(record) = record {
                let progress = RunProgress::of(&record, &self.records().parts(run).await.unwrap());
                let mut left = self.messages().await;
                for queue in ["BackfillQueueUrl", "BackfillIngestQueueUrl"] {
                    left += self.messages_in(queue).await;
                }
                if progress.stage == trailhose::backfill::record::Stage::Done && left == 0 {
                    return progress;
                }
            }
            assert!(start.elapsed() < patience, "{run} is not done after {patience:?}:\n{}", self.log_tail());
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    }

    /// Returns the run records.
    pub fn records(&self) -> DynamoDbRunRecords {
        DynamoDbRunRecords::new(self.dynamodb.clone(), self.output("LedgerTableName"), system_clock())
    }

    /// Returns the tasks in the dead-letter queue.
    pub async fn dead_tasks(&self) -> Vec<String> {
        self.bodies_in("BackfillDeadLetterQueueUrl").await
    }

    /// Returns the messages of missing objects in the dead-letter queue.
    pub async fn dead_missed(&self) -> Vec<String> {
        self.bodies_in("BackfillIngestDeadLetterQueueUrl").await
    }

    /// [`Stack::take_policy`] for the backfill function.
    pub async fn take_backfill_policy(&self, policy: &str) -> String {
        self.take_policy_of("BackfillRoleArn", policy).await
    }

    /// [`Stack::give_policy`] for the backfill function.
    pub async fn give_backfill_policy(&self, policy: &str, document: &str) {
        self.give_policy_to("BackfillRoleArn", policy, document).await;
    }
}
