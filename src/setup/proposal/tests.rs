use super::*;
use crate::aws::{AwsFailure, FailureKind, failure_of_code};
use crate::setup::{AccountReader, BucketKey, CallerAccount, TrailSummary, inspect};
use async_trait::async_trait;

const KEY: &str = "arn:aws:kms:eu-west-1:111122223333:key/1";

/// A made-up account. The actions in `denied` are denied.
struct Account {
    denied: Vec<&'static str>,
    trails: Vec<TrailSummary>,
    notifications: String,
    is_own: bool,
}

impl Account {
    fn new() -> Self {
        let trails = vec![trail("plain", false, "plain-logs"), trail("org", true, "org-logs")];
        Self { denied: Vec::new(), trails, notifications: String::new(), is_own: true }
    }

    async fn answer<T: Send>(&self, action: &str, value: T) -> Result<T, AwsFailure> {
        match self.denied.iter().any(|denied| *denied == action || *denied == "*") {
            true => Err(failure_of_code("AccessDenied", "User: u is not authorized\nto do this")),
            false => Ok(value),
        }
    }

    /// Returns the proposal for the best bucket, and the notes.
    async fn proposal(&self) -> (Proposal, Vec<String>) {
        let found = inspect(self, None).await;
        (Proposal::new(&found, &found.buckets[0], "trailhose", "us-east-1"), found.notes)
    }
}

#[async_trait]
impl AccountReader for Account {
    async fn caller(&self) -> Result<CallerAccount, AwsFailure> {
        self.answer("GetCallerIdentity", CallerAccount { account: "111122223333".into(), partition: "aws".into() })
            .await
    }
    async fn trails(&self) -> Result<Vec<TrailSummary>, AwsFailure> {
        self.answer("DescribeTrails", self.trails.clone()).await
    }
    async fn is_logging(&self, trail: &TrailSummary) -> Result<bool, AwsFailure> {
        self.answer("GetTrailStatus", trail.name != "stopped").await
    }
    async fn organization(&self) -> Result<Option<String>, AwsFailure> {
        self.answer("DescribeOrganization", Some("o-exampleorgid".into())).await
    }
    async fn bucket_region(&self, _: &str) -> Result<Option<String>, AwsFailure> {
        self.answer("bucket_region", Some("eu-west-1".into())).await
    }
    async fn owns(&self, _: &str, _: &str, _: &str) -> Result<bool, AwsFailure> {
        self.answer("owns", self.is_own).await
    }
    async fn notifications(&self, _: &str, _: &str) -> Result<String, AwsFailure> {
        let children = &self.notifications;
        self.answer("notifications", format!("<NotificationConfiguration>{children}</NotificationConfiguration>")).await
    }
    async fn default_key(&self, _: &str, _: &str) -> Result<Option<String>, AwsFailure> {
        self.answer("default_key", None).await
    }
    async fn is_public(&self, _: &str, _: &str) -> Result<bool, AwsFailure> {
        self.answer("is_public", false).await
    }
    async fn key(&self, key: &str, _: &str) -> Result<BucketKey, AwsFailure> {
        self.answer("DescribeKey", BucketKey { arn: key.replace("alias/a", "key/1"), is_enabled: true }).await
    }
}

fn trail(name: &str, is_organization: bool, bucket: &str) -> TrailSummary {
    TrailSummary {
        arn: format!("arn:aws:cloudtrail:eu-west-1:444455556666:trail/{name}"),
        name: name.into(),
        home_region: "eu-west-1".into(),
        is_organization,
        is_multi_region: is_organization,
        bucket: bucket.into(),
        prefix: String::new(),
        key: None,
        topic: None,
        is_logging: None,
    }
}

fn rule(id: &str, event: &str) -> String {
    format!(
        "<QueueConfiguration><Id>{id}</Id><Queue>arn:aws:sqs:eu-west-1:111122223333:{id}</Queue><Event>{event}</Event>\
         </QueueConfiguration>"
    )
}

#[tokio::test]
async fn notifications_of_the_bucket_decide_the_wiring() {
    for (notifications, wiring, reason) in [
        (String::new(), ProposedWiring::S3, "no other notification"),
        (rule("audit", "s3:ObjectRemoved:*"), ProposedWiring::S3, "no other notification"),
        (rule("trailhose-trailhose", "s3:ObjectCreated:*"), ProposedWiring::S3, "already has the notification"),
        (rule("other", "s3:ObjectCreated:Put"), ProposedWiring::EventBridge, "rule other (s3:ObjectCreated:Put of all"),
        ("<EventBridgeConfiguration/>".into(), ProposedWiring::EventBridge, "already sends its events to EventBridge"),
    ] {
        let account = Account { notifications, ..Account::new() };
        let (proposal, notes) = account.proposal().await;
        assert_eq!((&proposal.wiring, proposal.wires_bucket, &notes[..]), (&wiring, true, &[][..]));
        assert!(proposal.wiring_reason.contains(reason), "{proposal:?}");
        assert_eq!((proposal.bucket.as_str(), proposal.region.as_str()), ("org-logs", "eu-west-1"));
        assert_eq!(proposal.bucket_reason, "organization trail org, home eu-west-1 (o-exampleorgid)");
    }
}

#[tokio::test]
async fn bucket_in_another_account_is_not_wired_by_the_stack() {
    let mut account = Account { is_own: false, ..Account::new() };
    let (proposal, _) = account.proposal().await;
    assert_eq!((&proposal.wiring, proposal.wires_bucket), (&ProposedWiring::S3, false));
    assert_eq!(proposal.bucket_account.as_deref(), Some("444455556666"));
    assert!(proposal.samconfig(&[]).contains("check that it owns the bucket\n  \"LogBucketAccountId=444455556666\""));
    for (topic, is_in_reach) in [("eu-west-1", true), ("us-east-1", false)] {
        let topic = format!("arn:aws:sns:{topic}:444455556666:logs");
        account.trails[1].topic = Some(topic.clone());
        let (proposal, _) = account.proposal().await;
        assert_eq!(proposal.wiring == ProposedWiring::Sns { topic }, is_in_reach, "{proposal:?}");
        assert!(!proposal.wires_bucket);
    }
}

#[tokio::test]
async fn key_of_the_trail_is_resolved() {
    let mut account = Account::new();
    account.trails[1].key = Some("arn:aws:kms:eu-west-1:111122223333:alias/a".into());
    assert_eq!(account.proposal().await.0.key_arn.as_deref(), Some(KEY));
    account.denied = vec!["DescribeKey"];
    assert_eq!(account.proposal().await.0.key_arn, None, "the template requires the ARN of a key");
    account.trails[1].key = Some(KEY.into());
    let (proposal, notes) = account.proposal().await;
    assert_eq!(proposal.key_arn.as_deref(), Some(KEY));
    assert!(notes[0].starts_with(&format!("allow kms:DescribeKey on key {KEY}. ")), "{notes:?}");
}

#[tokio::test]
async fn each_missing_permission_is_named_in_one_line() {
    let permissions = [
        ("GetCallerIdentity", "sts:GetCallerIdentity"),
        ("GetTrailStatus", "cloudtrail:GetTrailStatus"),
        ("DescribeOrganization", "organizations:DescribeOrganization"),
        ("owns", "s3:ListBucket"),
        ("notifications", "s3:GetBucketNotification"),
        ("default_key", "s3:GetEncryptionConfiguration"),
        ("is_public", "s3:GetBucketPolicyStatus"),
    ];
    for (denied, permission) in permissions {
        let account = Account { denied: vec![denied], ..Account::new() };
        let (proposal, notes) = account.proposal().await;
        assert!(
            !notes.is_empty() && notes.iter().all(|note| note.starts_with(&format!("allow {permission} on "))),
            "{notes:?}"
        );
        assert!(notes.iter().all(|note| !note.contains('\n') && note.contains("Not known: ")), "{notes:?}");
        assert_eq!(proposal.bucket, "org-logs");
    }
    let account = Account { denied: vec!["*"], ..Account::new() };
    let found = inspect(&account, Some(("org-logs", "p"))).await;
    let proposal = Proposal::new(&found, &found.buckets[0], "trailhose", "us-east-1");
    assert_eq!(
        (proposal.region.as_str(), proposal.prefix.as_str(), &proposal.wiring),
        ("us-east-1", "p", &ProposedWiring::S3)
    );
    assert_eq!((proposal.bucket_reason.as_str(), proposal.wires_bucket), ("named on the command line", false));
    let unavailable = AwsFailure { kind: FailureKind::Unknown, ..failure_of_code("Timeout", "no response") };
    assert!(unavailable.is_transient());
}

#[tokio::test]
async fn trails_that_record_and_cover_more_come_first() {
    let mut account = Account::new();
    account.trails.push(trail("stopped", true, "old-logs"));
    let found = inspect(&account, None).await;
    let names: Vec<_> = found.buckets.iter().map(|bucket| bucket.name.as_str()).collect();
    assert_eq!(names, ["org-logs", "plain-logs", "old-logs"]);
    assert!(found.notes[0].contains("trail stopped does not record events"), "{:?}", found.notes);
}

#[tokio::test]
async fn samconfig_is_toml_with_a_reason_for_each_choice() {
    let mut account = Account { notifications: rule("o\"ther", "s3:ObjectCreated:Put"), ..Account::new() };
    account.trails[1].prefix = "a \"b\"".into();
    let (mut proposal, _) = account.proposal().await;
    proposal.alarm_email = Some("ops@example.com".into());
    let text = proposal.samconfig(&["a note".into()]);
    let parsed: toml::Table = text.parse().unwrap_or_else(|error| panic!("{error}: {text}"));
    let deploy = &parsed["default"]["deploy"]["parameters"];
    assert_eq!(parsed["version"].as_float(), Some(0.1));
    assert_eq!((deploy["stack_name"].as_str(), deploy["region"].as_str()), (Some("trailhose"), Some("eu-west-1")));
    assert_eq!((deploy["resolve_s3"].as_bool(), deploy["confirm_changeset"].as_bool()), (Some(true), Some(false)));
    let overrides: Vec<_> =
        deploy["parameter_overrides"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    let expected = [
        "LogBucketName=org-logs",
        "LogPrefix=a \"b\"",
        "Wiring=EventBridge",
        "WireBucket=true",
        "AlarmEmail=ops@example.com",
    ];
    assert_eq!(overrides, expected);
    assert!(
        text.contains("# a note\n") && text.contains("  # rule o\"ther (s3:ObjectCreated:Put of all keys"),
        "{text}"
    );
}

#[tokio::test]
async fn every_parameter_of_the_file_exists_in_the_template() {
    let (mut proposal, _) = Account::new().proposal().await;
    proposal.wiring = ProposedWiring::Sns { topic: "arn:aws:sns:eu-west-1:111122223333:logs".into() };
    proposal.bucket_account = Some("444455556666".into());
    proposal.key_arn = Some(KEY.into());
    proposal.prefix = "p".into();
    proposal.alarm_email = Some("ops@example.com".into());
    let text = proposal.samconfig(&[]);
    let parameters: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("  \"")?.split_once('=')).collect();
    assert_eq!(parameters.len(), 8, "{text}");
    for (name, _) in parameters {
        let declaration = format!("\n  {name}:\n    Type: String\n");
        assert!(include_str!("../../../template.yaml").contains(&declaration), "{name}");
    }
}
