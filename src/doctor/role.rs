//! Checks of the roles: simulates the requests that the functions make.

use super::catalog::{Check, ROLE_BACKFILL, ROLE_INGEST};
use super::deployment::Deployment;
use super::facts::Fact;
use super::finding::{Finding, Verdict};
use async_trait::async_trait;
use futures_util::future::join_all;

/// Actions that a role needs on resources, under conditions of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleRequest {
    /// Actions.
    pub actions: Vec<&'static str>,
    /// ARNs.
    pub resources: Vec<String>,
    /// Condition keys of the request and their values.
    pub context: Vec<(&'static str, String)>,
}

/// A simulated request that is denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeniedRequest {
    /// Action.
    pub action: String,
    /// ARN of the resource.
    pub resource: String,
    /// Why it is denied.
    pub cause: DenialCause,
}

/// Why a simulated request is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DenialCause {
    /// No policy of the role allows it.
    NotAllowed,
    /// A policy of the role denies it.
    ExplicitDeny,
    /// A service control policy of the organization does not allow it.
    Organization,
    /// The permissions boundary of the role does not allow it.
    Boundary,
}

/// Simulates requests of a role.
#[async_trait]
pub trait RoleSimulator: Send + Sync {
    /// Returns the requests that the policies of the role do not allow.
    async fn denied(&self, role: &str, request: &RoleRequest) -> Fact<Vec<DeniedRequest>>;
}

pub(super) async fn examine(roles: &dyn RoleSimulator, deployment: &Deployment) -> Vec<Finding> {
    let ingest = simulate(&ROLE_INGEST, roles, deployment.ingest_role.as_deref(), ingest_requests(deployment));
    let backfill = simulate(&ROLE_BACKFILL, roles, deployment.backfill_role.as_deref(), backfill_requests(deployment));
    let (ingest, backfill) = tokio::join!(ingest, backfill);
    vec![ingest, backfill]
}

async fn simulate(check: &Check, roles: &dyn RoleSimulator, role: Option<&str>, requests: Vec<RoleRequest>) -> Finding {
    let Some(role) = role else { return check.finding(Verdict::not_applicable("the role is not known")) };
    let answers = join_all(requests.iter().map(|request| roles.denied(role, request))).await;
    let denied = super::facts::all(answers).map(|denied| denied.concat());
    let count: usize = requests.iter().map(|request| request.actions.len() * request.resources.len()).sum();
    check.finding_of(&denied, |denied| evaluate(role, denied, count))
}

fn evaluate(role: &str, denied: &[DeniedRequest], count: usize) -> Verdict {
    let Some(first) = denied.first() else {
        return Verdict::ok(format!("{count} requests are allowed"));
    };
    let list: Vec<_> = denied.iter().map(|each| format!("{} on {}", each.action, each.resource)).collect();
    let next_step = match first.cause {
        DenialCause::NotAllowed => format!("deploy the stack again, which restores the policies of {role}"),
        DenialCause::ExplicitDeny => {
            format!("remove the statement that denies {} from the policies of {role}", first.action)
        }
        DenialCause::Organization => {
            format!("ask the organization's administrator: a service control policy does not allow {}", first.action)
        }
        DenialCause::Boundary => format!("add {} to the permissions boundary of {role}", first.action),
    };
    Verdict::failed(format!("denied: {}", list.join(", ")), next_step)
}

/// Collects requests whose resources are known.
#[derive(Default)]
struct RequestList(Vec<RoleRequest>);

impl RequestList {
    fn add(&mut self, actions: &[&'static str], resources: Vec<Option<String>>, context: Vec<(&'static str, String)>) {
        let resources: Vec<_> = resources.into_iter().flatten().collect();
        if !resources.is_empty() {
            self.0.push(RoleRequest { actions: actions.to_vec(), resources, context });
        }
    }
}

/// Returns the requests of the ingest function, which `template.yaml` grants.
fn ingest_requests(deployment: &Deployment) -> Vec<RoleRequest> {
    let queue = |url: &Option<String>| url.as_deref().map(|url| deployment.queue_arn(url));
    let queues = &deployment.queues;
    let table = deployment.table.as_ref().map(|name| deployment.arn("dynamodb", &format!("table/{name}")));
    let stream = deployment.stream.as_ref().map(|name| deployment.arn("firehose", &format!("deliverystream/{name}")));
    let mut list = RequestList::default();
    list.add(
        &["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ChangeMessageVisibility"],
        vec![queue(&queues.ingest), queue(&queues.deferred), queue(&queues.backfill_ingest)],
        vec![],
    );
    let send_to = [&queues.ingest, &queues.backfill_ingest, &queues.deferred, &queues.dead_letter];
    list.add(&["sqs:SendMessage"], send_to.map(queue).to_vec(), vec![]);
    list.add(&["dynamodb:BatchGetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"], vec![table], vec![]);
    list.add(&["firehose:PutRecordBatch"], vec![stream], vec![]);
    let oversize =
        deployment.oversize_bucket.as_ref().map(|name| format!("{}/oversize/x", deployment.bucket_arn(name)));
    list.add(&["s3:PutObject"], vec![oversize], vec![]);
    use_key_through(&mut list, &["sqs", "dynamodb", "s3"], deployment);
    read_bucket(&mut list, deployment);
    list.0
}

/// Returns the requests of the backfill function.
fn backfill_requests(deployment: &Deployment) -> Vec<RoleRequest> {
    let queue = |url: &Option<String>| url.as_deref().map(|url| deployment.queue_arn(url));
    let queues = &deployment.queues;
    let table = deployment.table.as_ref().map(|name| deployment.arn("dynamodb", &format!("table/{name}")));
    let mut list = RequestList::default();
    list.add(
        &["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:SendMessage"],
        vec![queue(&queues.backfill)],
        vec![],
    );
    list.add(&["sqs:SendMessage"], vec![queue(&queues.backfill_ingest)], vec![]);
    list.add(&["dynamodb:BatchGetItem"], vec![table.clone()], vec![]);
    list.add(&["dynamodb:UpdateItem"], vec![table.clone()], vec![("dynamodb:LeadingKeys", "o#x".to_owned())]);
    list.add(&["dynamodb:PutItem"], vec![table], vec![("dynamodb:LeadingKeys", "r#x".to_owned())]);
    use_key_through(&mut list, &["sqs", "dynamodb"], deployment);
    match deployment.bucket_key.is_some() {
        true => read_bucket(&mut list, deployment),
        false => list.add(
            &["s3:ListBucket"],
            vec![deployment.bucket.as_ref().map(|name| deployment.bucket_arn(name))],
            vec![],
        ),
    }
    list.0
}

fn read_bucket(list: &mut RequestList, deployment: &Deployment) {
    let bucket = deployment.bucket.as_ref().map(|name| deployment.bucket_arn(name));
    list.add(&["s3:GetObject"], vec![bucket.as_ref().map(|arn| format!("{arn}/AWSLogs/x"))], vec![]);
    list.add(&["s3:ListBucket"], vec![bucket], vec![]);
    list.add(&["kms:Decrypt"], vec![deployment.bucket_key.clone()], via_service("s3", deployment));
}

/// Returns the condition key of a request to KMS that a service makes on behalf of the role.
fn via_service(service: &str, deployment: &Deployment) -> Vec<(&'static str, String)> {
    let suffix = if deployment.partition == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" };
    vec![("kms:ViaService", format!("{service}.{}.{suffix}", deployment.region))]
}

/// Adds requests that use the customer-managed key through these services.
fn use_key_through(list: &mut RequestList, services: &[&str], deployment: &Deployment) {
    for service in services {
        let key = vec![deployment.encryption_key.clone()];
        list.add(&["kms:Decrypt", "kms:GenerateDataKey"], key, via_service(service, deployment));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::deployment::Queues;
    use crate::doctor::finding::CheckStatus;
    use std::collections::BTreeSet;

    fn deployment() -> Deployment {
        let url = |name: &str| Some(format!("https://x/{name}"));
        Deployment {
            region: "eu-west-1".into(),
            account: "111122223333".into(),
            partition: "aws".into(),
            bucket: Some("logs".into()),
            bucket_key: Some("arn:aws:kms:eu-west-1:111122223333:key/1".into()),
            queues: Queues {
                ingest: url("i"),
                deferred: url("d"),
                dead_letter: url("x"),
                backfill: url("b"),
                backfill_ingest: url("bi"),
                ..Queues::default()
            },
            table: Some("ledger".into()),
            stream: Some("stream".into()),
            oversize_bucket: Some("lake".into()),
            ingest_role: Some("arn:aws:iam::111122223333:role/ingest".into()),
            ..Deployment::default()
        }
    }

    fn template() -> String {
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/template.yaml")).unwrap()
    }

    /// Returns the actions that a role of the template grants, apart from the log and the network.
    fn granted(role: &str) -> BTreeSet<String> {
        let template = template();
        let (_, rest) = template.split_once(&format!("\n  {role}:\n")).unwrap();
        // The next resource starts with two spaces and a name.
        let end =
            rest.match_indices("\n  ").find(|(at, _)| rest[at + 3..].starts_with(|c: char| c.is_ascii_uppercase()));
        let text = &rest[..end.map_or(rest.len(), |(at, _)| at)];
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == ':'));
        let services = ["sqs:", "s3:", "kms:", "dynamodb:", "firehose:"];
        let is_action = |word: &&str| {
            services.iter().any(|service| {
                word.strip_prefix(service).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
            })
        };
        let conditions = ["kms:ViaService", "dynamodb:LeadingKeys"];
        words.filter(is_action).filter(|word| !conditions.contains(word)).map(str::to_owned).collect()
    }

    #[test]
    fn simulated_actions_are_those_of_the_template() {
        let has_key = template().contains("\n  EncryptionKey:\n");
        let encryption_key = has_key.then(|| "arn:aws:kms:eu-west-1:111122223333:key/2".to_owned());
        let deployment = Deployment { encryption_key, ..deployment() };
        for (role, requests) in
            [("IngestRole", ingest_requests(&deployment)), ("BackfillRole", backfill_requests(&deployment))]
        {
            let simulated: BTreeSet<String> =
                requests.iter().flat_map(|request| &request.actions).map(|action| (*action).to_owned()).collect();
            assert_eq!(simulated, granted(role), "{role}");
        }
    }

    #[test]
    fn unknown_resources_are_not_simulated() {
        assert_eq!(ingest_requests(&Deployment::default()), []);
    }

    /// Denies one action for this cause.
    struct DenyOne(&'static str, DenialCause);

    #[async_trait]
    impl RoleSimulator for DenyOne {
        async fn denied(&self, _: &str, request: &RoleRequest) -> Fact<Vec<DeniedRequest>> {
            let hit = request.actions.contains(&self.0);
            let denied =
                || DeniedRequest { action: self.0.into(), resource: request.resources[0].clone(), cause: self.1 };
            Ok(hit.then(denied).into_iter().collect())
        }
    }

    #[tokio::test]
    async fn denied_action_is_named_with_its_cause() {
        for (cause, step) in [
            (DenialCause::NotAllowed, "deploy the stack again"),
            (DenialCause::ExplicitDeny, "remove the statement"),
            (DenialCause::Organization, "service control policy"),
            (DenialCause::Boundary, "permissions boundary"),
        ] {
            let findings = examine(&DenyOne("firehose:PutRecordBatch", cause), &deployment()).await;
            assert_eq!(findings[0].status, CheckStatus::Failed);
            assert!(
                findings[0].found.contains(
                    "firehose:PutRecordBatch on arn:aws:firehose:eu-west-1:111122223333:deliverystream/stream"
                )
            );
            assert!(findings[0].next_step.as_ref().unwrap().contains(step), "{findings:?}");
            assert_eq!(findings[1].status, CheckStatus::NotApplicable, "the backfill role is not known");
        }
        let findings = examine(&DenyOne("none", DenialCause::NotAllowed), &deployment()).await;
        assert_eq!((findings[0].status, findings[0].found.as_str()), (CheckStatus::Ok, "24 requests are allowed"));
    }
}
