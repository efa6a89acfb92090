//! The detection of the stack.

use super::Stack;
use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::Value;

impl Stack {
    /// Calls the detect function as its schedule does.
    pub async fn run_detect_schedule(&self) {
        let what = format!("POST /2015-03-31/functions/{}/invocations", self.output("DetectFunctionName"));
        let (status, body) = self.ask("lambda", &what, "application/json", br#"{"scheduled":true}"#.to_vec()).await;
        assert_eq!(status, 200, "{body}");
        let response: Value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error} in {body}"));
        assert!(response.get("errorMessage").is_none(), "{response}");
    }

    /// Makes objects whose evaluation failed visible again after this number of seconds.
    pub async fn set_detect_visibility(&self, seconds: u32) {
        let set = self.sqs.set_queue_attributes().queue_url(self.output("DetectQueueUrl"));
        set.attributes(QueueAttributeName::VisibilityTimeout, seconds.to_string()).send().await.unwrap();
    }

    /// Returns the names of the policies of the detect function.
    pub async fn detect_policies(&self) -> Vec<String> {
        let call = [("Action", "ListRolePolicies"), ("RoleName", self.role("DetectRoleArn"))];
        let got = self.iam(&call).await;
        got.split("<member>").skip(1).map(|name| name.split_once('<').unwrap().0.to_owned()).collect()
    }

    /// Removes a policy of the detect function, and returns its document.
    pub async fn take_detect_policy(&self, policy: &str) -> String {
        self.take_policy_of("DetectRoleArn", policy).await
    }

    /// Adds a policy to the detect function.
    pub async fn give_detect_policy(&self, policy: &str, document: &str) {
        self.give_policy_to("DetectRoleArn", policy, document).await;
    }
}
