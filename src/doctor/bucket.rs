//! Checks of the CloudTrail bucket and its KMS key.

use super::catalog::{BUCKET_KEY, BUCKET_LOCK, BUCKET_POLICY, BUCKET_REGION, BUCKET_VERSIONING};
use super::deployment::Deployment;
use super::facts::Fact;
use super::finding::{Finding, Verdict};
use super::policy::{PolicyDecision, PolicyRequest, evaluate_policy};
use super::trail::TrailFacts;
use async_trait::async_trait;

/// Reads the configuration of a bucket.
#[async_trait]
pub trait BucketReader: Send + Sync {
    /// Returns the region of a bucket.
    async fn region(&self, bucket: &str) -> Fact<String>;
    /// Returns whether versioning is enabled.
    async fn versioning(&self, bucket: &str) -> Fact<bool>;
    /// Returns the default retention of object lock in words, or `None` without object lock.
    async fn object_lock(&self, bucket: &str) -> Fact<Option<String>>;
    /// Returns the bucket's policy document, if it has one.
    async fn policy(&self, bucket: &str) -> Fact<Option<String>>;
    /// Returns the KMS key of the bucket's default encryption, if it has one.
    async fn encryption_key(&self, bucket: &str) -> Fact<Option<String>>;
    /// Returns where the bucket sends notifications.
    async fn notifications(&self, bucket: &str) -> Fact<super::notification::ObjectNotifications>;
}

/// A KMS key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFacts {
    /// State, such as `Enabled` or `PendingDeletion`.
    pub state: String,
    /// Whether AWS manages the key, so that its policy cannot be changed.
    pub aws_managed: bool,
    /// Policy document.
    pub policy: Fact<String>,
    /// Principals that a grant allows to decrypt.
    pub grants: Fact<Vec<String>>,
}

/// Reads KMS keys.
#[async_trait]
pub trait KeyReader: Send + Sync {
    /// Returns a key by its ARN.
    async fn key(&self, arn: &str) -> Fact<KeyFacts>;
}

/// The key that AWS manages for S3 in each account.
const AWS_MANAGED_KEY: &str = "alias/aws/s3";

/// What is known of the bucket.
#[derive(Debug)]
pub(super) struct BucketFacts {
    pub(super) region: Fact<String>,
    pub(super) versioning: Fact<bool>,
    pub(super) object_lock: Fact<Option<String>>,
    pub(super) policy: Fact<Option<String>>,
    pub(super) encryption_key: Fact<Option<String>>,
    /// The key of the template's parameter `LogBucketKeyArn`.
    pub(super) key: Option<Fact<KeyFacts>>,
}

impl BucketFacts {
    pub(super) async fn gather(
        buckets: &dyn BucketReader,
        keys: &dyn KeyReader,
        bucket: &str,
        deployment: &Deployment,
    ) -> Self {
        let key = async {
            match &deployment.bucket_key {
                Some(arn) => Some(keys.key(arn).await),
                None => None,
            }
        };
        let (region, versioning, object_lock, policy, encryption_key, key) = tokio::join!(
            buckets.region(bucket),
            buckets.versioning(bucket),
            buckets.object_lock(bucket),
            buckets.policy(bucket),
            buckets.encryption_key(bucket),
            key,
        );
        Self { region, versioning, object_lock, policy, encryption_key, key }
    }

    pub(super) fn findings(
        &self,
        bucket: &str,
        deployment: &Deployment,
        trails: &Fact<Vec<TrailFacts>>,
    ) -> Vec<Finding> {
        vec![
            BUCKET_REGION.finding_of(&self.region, |region| same_region(region, deployment)),
            BUCKET_VERSIONING.finding_of(&self.versioning, |enabled| match enabled {
                true => Verdict::ok("enabled"),
                false => Verdict::warning(
                    "not enabled",
                    format!(
                        "aws s3api put-bucket-versioning --bucket {bucket} --versioning-configuration Status=Enabled"
                    ),
                ),
            }),
            BUCKET_LOCK.finding_of(&self.object_lock, |lock| match lock {
                Some(retention) => Verdict::ok(retention.clone()),
                None => Verdict::warning(
                    "not enabled",
                    "enable object lock with a default retention, or use --skip bucket.lock if it is not required",
                ),
            }),
            BUCKET_POLICY.finding_of(&self.policy, |policy| policy_allows(policy.as_deref(), bucket, deployment)),
            self.key_finding(deployment, trails),
        ]
    }

    fn key_finding(&self, deployment: &Deployment, trails: &Fact<Vec<TrailFacts>>) -> Finding {
        match (&deployment.bucket_key, &self.key) {
            (Some(arn), Some(key)) => match key_allows(arn, key, deployment) {
                Ok(verdict) => BUCKET_KEY.finding(verdict),
                Err(error) => BUCKET_KEY.unknown(&error),
            },
            _ => BUCKET_KEY.finding_of(&self.encryption_key, |default| {
                without_key_parameter(default.as_deref(), trails, deployment)
            }),
        }
    }
}

fn same_region(region: &str, deployment: &Deployment) -> Verdict {
    match region == deployment.region {
        true => Verdict::ok(region),
        false => Verdict::failed(
            format!("the bucket is in {region}, but the stack is in {}", deployment.region),
            format!("deploy the stack in {region}"),
        ),
    }
}

fn policy_allows(policy: Option<&str>, bucket: &str, deployment: &Deployment) -> Verdict {
    let list = deployment.bucket_arn(bucket);
    let prefix = match deployment.prefix.trim_matches('/') {
        "" => String::new(),
        prefix => format!("{prefix}/"),
    };
    let objects = format!("{list}/{prefix}AWSLogs/111122223333/CloudTrail/region/x.json.gz");
    let mut requests = vec![
        (&deployment.ingest_role, "s3:GetObject", &objects),
        (&deployment.ingest_role, "s3:ListBucket", &list),
        (&deployment.backfill_role, "s3:ListBucket", &list),
    ];
    // With a KMS key, the backfill reads one byte of an object to test whether the key can be used again.
    if deployment.bucket_key.is_some() {
        requests.push((&deployment.backfill_role, "s3:GetObject", &objects));
    }
    let foreign = deployment.bucket_account.is_some();
    for (role, action, resource) in requests {
        let Some(role) = role else { continue };
        let request = PolicyRequest { principal: role, action, resource, source: None };
        let next_step =
            format!("add the statements of infra/log-bucket-policy.json for {role} to the policy of {bucket}");
        match policy.map(|policy| evaluate_policy(policy, &request)).transpose() {
            Err(error) => return Verdict::failed(error, "correct the policy of the bucket"),
            Ok(Some(PolicyDecision::Denied { statement })) => {
                return Verdict::failed(
                    format!("{statement} denies {action} to {role}"),
                    format!("exclude {role} from this statement of the policy of {bucket}"),
                );
            }
            Ok(None | Some(PolicyDecision::NotMentioned | PolicyDecision::OtherSource { .. })) if foreign => {
                return Verdict::failed(format!("no statement allows {action} to {role}"), next_step);
            }
            Ok(_) => {}
        }
    }
    match foreign {
        true => Verdict::ok("allows both roles"),
        false => Verdict::ok(
            "denies nothing; the bucket is in the account of the stack, so the policies of the roles decide",
        ),
    }
}

fn key_allows(arn: &str, key: &Fact<KeyFacts>, deployment: &Deployment) -> Fact<Verdict> {
    let key = key.as_ref().map_err(Clone::clone)?;
    if key.state != "Enabled" {
        let next_step = match key.state.as_str() {
            "PendingDeletion" => format!("aws kms cancel-key-deletion --key-id {arn}, then enable the key"),
            _ => format!("aws kms enable-key --key-id {arn}"),
        };
        return Ok(Verdict::failed(format!("{arn} is {}", key.state), next_step));
    }
    if key.aws_managed {
        return Ok(Verdict::ok(format!("{arn} is enabled and managed by AWS")));
    }
    let policy = key.policy.as_ref().map_err(Clone::clone)?;
    let grants = key.grants.as_deref().unwrap_or_default();
    for role in [&deployment.ingest_role, &deployment.backfill_role].into_iter().flatten() {
        let request = PolicyRequest { principal: role, action: "kms:Decrypt", resource: arn, source: None };
        match evaluate_policy(policy, &request) {
            Err(error) => return Ok(Verdict::failed(error, "correct the policy of the key")),
            Ok(PolicyDecision::Denied { statement }) => {
                return Ok(Verdict::failed(
                    format!("{statement} of the key's policy denies kms:Decrypt to {role}"),
                    "exclude the role from this statement",
                ));
            }
            Ok(PolicyDecision::NotMentioned | PolicyDecision::OtherSource { .. })
                if !grants.iter().any(|grantee| grantee == role) =>
            {
                // Without the grants, it is not known whether one of them allows the role.
                if let Err(error) = &key.grants {
                    return Err(error.clone());
                }
                return Ok(Verdict::failed(
                    format!("neither the key's policy nor a grant allows kms:Decrypt to {role}"),
                    format!("add infra/log-key-policy.json to the policy of {arn}"),
                ));
            }
            Ok(_) => {}
        }
    }
    Ok(Verdict::ok(format!("{arn} is enabled and allows the roles")))
}

/// Evaluates a deployment without `LogBucketKeyArn`: no policy of its roles allows them to use a key.
fn without_key_parameter(default: Option<&str>, trails: &Fact<Vec<TrailFacts>>, deployment: &Deployment) -> Verdict {
    let trail_key = trails.as_ref().ok().and_then(|trails| trails.iter().find_map(|trail| trail.key.as_deref()));
    match trail_key.or(default) {
        // The policy of this key allows every principal of its account that may read the object.
        // <https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html>
        Some(key) if key.ends_with(AWS_MANAGED_KEY) && deployment.bucket_account.is_none() => {
            Verdict::ok(format!("objects are encrypted with {key}, which needs no permission in this account"))
        }
        Some(key) if key.ends_with(AWS_MANAGED_KEY) => Verdict::failed(
            format!("objects are encrypted with {key}, which cannot be used from another account"),
            "encrypt new objects with a customer-managed key, and deploy the stack with its ARN as LogBucketKeyArn",
        ),
        Some(key) => Verdict::failed(
            format!("objects are encrypted with {key}, but LogBucketKeyArn is empty"),
            format!("deploy the stack with the ARN of this key as LogBucketKeyArn: {key}"),
        ),
        None => Verdict::ok("objects are encrypted without a KMS key"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::CheckStatus;
    use serde_json::json;

    const KEY: &str = "arn:aws:kms:eu-west-1:444455556666:key/1";
    const INGEST: &str = "arn:aws:iam::111122223333:role/ingest";

    fn deployment() -> Deployment {
        Deployment {
            region: "eu-west-1".into(),
            partition: "aws".into(),
            bucket: Some("logs".into()),
            bucket_account: Some("444455556666".into()),
            bucket_key: Some(KEY.into()),
            ingest_role: Some(INGEST.into()),
            backfill_role: Some("arn:aws:iam::111122223333:role/backfill".into()),
            ..Deployment::default()
        }
    }

    fn key(statement: serde_json::Value) -> KeyFacts {
        let policy = json!({ "Statement": [statement] }).to_string();
        KeyFacts { state: "Enabled".into(), aws_managed: false, policy: Ok(policy), grants: Ok(vec![]) }
    }

    fn facts(policy: Option<String>, key: KeyFacts) -> BucketFacts {
        BucketFacts {
            region: Ok("eu-west-1".into()),
            versioning: Ok(true),
            object_lock: Ok(Some("COMPLIANCE, 365 days".into())),
            policy: Ok(policy),
            encryption_key: Ok(None),
            key: Some(Ok(key)),
        }
    }

    fn finding(facts: &BucketFacts, deployment: &Deployment, id: &str) -> Finding {
        facts.findings("logs", deployment, &Ok(vec![])).into_iter().find(|finding| finding.id == id).unwrap()
    }

    fn open_policy() -> serde_json::Value {
        json!({ "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::111122223333:root" }, "Action": "*", "Resource": "*" })
    }

    #[test]
    fn policy_of_a_bucket_in_another_account_must_allow_the_roles() {
        let allows = json!({ "Statement": [open_policy()] }).to_string();
        let read = |actions: &[&str]| {
            json!({ "Statement": [{ "Effect": "Allow", "Principal": { "AWS": INGEST }, "Action": actions, "Resource": "arn:aws:s3:::logs*" }] })
                .to_string()
        };
        let lists = json!({ "Effect": "Allow", "Principal": { "AWS": "111122223333" }, "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::logs" });
        let reads = json!({ "Effect": "Allow", "Principal": { "AWS": INGEST }, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::logs/*" });
        let without_backfill_reads = json!({ "Statement": [lists, reads] }).to_string();
        for (policy, status, text) in [
            (Some(allows), CheckStatus::Ok, "allows both roles"),
            (None, CheckStatus::Failed, "no statement allows s3:GetObject to arn:aws:iam::111122223333:role/ingest"),
            (
                Some(read(&["s3:GetObject"])),
                CheckStatus::Failed,
                "no statement allows s3:ListBucket to arn:aws:iam::111122223333:role/ingest",
            ),
            (Some(read(&["s3:GetObject", "s3:ListBucket"])), CheckStatus::Failed, "role/backfill"),
            (
                Some(without_backfill_reads),
                CheckStatus::Failed,
                "no statement allows s3:GetObject to arn:aws:iam::111122223333:role/backfill",
            ),
        ] {
            let finding = finding(&facts(policy, key(open_policy())), &deployment(), "bucket.policy");
            assert_eq!(finding.status, status, "{finding:?}");
            assert!(finding.found.contains(text), "{finding:?}");
        }
    }

    #[test]
    fn policy_may_be_limited_to_the_prefix() {
        let deployment = Deployment { prefix: "org/".into(), ..deployment() };
        let of = |objects: &str| {
            let policy = json!({ "Statement": [{
                "Effect": "Allow", "Principal": { "AWS": "111122223333" }, "Action": ["s3:GetObject", "s3:ListBucket"],
                "Resource": ["arn:aws:s3:::logs", format!("arn:aws:s3:::logs/{objects}")]
            }] });
            finding(&facts(Some(policy.to_string()), key(open_policy())), &deployment, "bucket.policy").status
        };
        assert_eq!((of("org/AWSLogs/*"), of("AWSLogs/*")), (CheckStatus::Ok, CheckStatus::Failed));
    }

    #[test]
    fn policy_of_a_bucket_in_the_same_account_must_not_deny() {
        let deployment = Deployment { bucket_account: None, ..deployment() };
        let deny = json!({ "Statement": [{ "Sid": "Closed", "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*" }] });
        let of = |policy: Option<String>| finding(&facts(policy, key(open_policy())), &deployment, "bucket.policy");
        assert_eq!(of(None).status, CheckStatus::Ok);
        assert!(of(Some(deny.to_string())).found.starts_with("Closed denies s3:GetObject"));
    }

    #[test]
    fn key_must_be_enabled_and_allow_the_roles() {
        let other = json!({ "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::444455556666:root" }, "Action": "kms:*", "Resource": "*" });
        let of = |key: KeyFacts| finding(&facts(None, key), &deployment(), "bucket.key");
        assert_eq!(of(key(open_policy())).status, CheckStatus::Ok);
        let off = of(KeyFacts { state: "PendingDeletion".into(), ..key(open_policy()) });
        assert!(off.status == CheckStatus::Failed && off.next_step.unwrap().contains("cancel-key-deletion"));
        let closed = of(key(other.clone()));
        assert!(closed.status == CheckStatus::Failed && closed.next_step.unwrap().contains("log-key-policy.json"));
        let granted = [&deployment().ingest_role, &deployment().backfill_role].map(|role| role.clone().unwrap());
        assert_eq!(of(KeyFacts { grants: Ok(granted.to_vec()), ..key(other) }).status, CheckStatus::Ok);
    }

    #[test]
    fn key_without_parameter_is_a_failure() {
        let foreign = Deployment { bucket_key: None, ..deployment() };
        let of = |deployment: &Deployment, default: Option<&str>| {
            let facts = BucketFacts {
                key: None,
                encryption_key: Ok(default.map(str::to_owned)),
                ..facts(None, key(open_policy()))
            };
            finding(&facts, deployment, "bucket.key").status
        };
        assert_eq!((of(&foreign, None), of(&foreign, Some(KEY))), (CheckStatus::Ok, CheckStatus::Failed));
        let own = Deployment { bucket_account: None, ..foreign.clone() };
        let managed = Some(AWS_MANAGED_KEY);
        assert_eq!((of(&own, managed), of(&foreign, managed)), (CheckStatus::Ok, CheckStatus::Failed));
    }

    #[test]
    fn other_region_is_a_failure_and_missing_protection_a_warning() {
        let facts = BucketFacts {
            region: Ok("us-east-1".into()),
            versioning: Ok(false),
            object_lock: Ok(None),
            ..facts(None, key(open_policy()))
        };
        let of = |id| finding(&facts, &deployment(), id).status;
        assert_eq!(of("bucket.region"), CheckStatus::Failed);
        assert_eq!((of("bucket.versioning"), of("bucket.lock")), (CheckStatus::Warning, CheckStatus::Warning));
    }
}
