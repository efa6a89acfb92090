//! Names of services.

use super::vocabulary::Vocabulary;
use super::words::Words;

/// Names that are not in the service models, and those whose name has another meaning there.
const ALIASES: &[(&str, &str)] = &[
    ("s3", "s3"),
    ("cloudwatch logs", "logs"),
    ("cloudwatch", "monitoring"),
    ("eventbridge", "events"),
    ("cloudwatch events", "events"),
    ("identity center", "sso"),
    ("iam identity center", "sso"),
    ("sso", "sso"),
    ("identity store", "identitystore"),
    ("systems manager", "ssm"),
    ("parameter store", "ssm"),
    ("session manager", "ssm"),
    ("secrets manager", "secretsmanager"),
    ("secret manager", "secretsmanager"),
    ("load balancer", "elasticloadbalancing"),
    ("load balancing", "elasticloadbalancing"),
    ("elb", "elasticloadbalancing"),
    ("alb", "elasticloadbalancing"),
    ("step functions", "states"),
    ("stepfunctions", "states"),
    ("step function", "states"),
    ("elastic container registry", "ecr"),
    ("elastic container service", "ecs"),
    ("kubernetes", "eks"),
    ("cloud formation", "cloudformation"),
    ("cloud trail", "cloudtrail"),
    ("api gateway", "apigateway"),
    ("route53", "route53"),
    ("route 53", "route53"),
    ("dynamo", "dynamodb"),
    ("dynamo db", "dynamodb"),
    ("security hub", "securityhub"),
    ("guard duty", "guardduty"),
    ("config", "config"),
    ("aws config", "config"),
    ("kms", "kms"),
    ("key management service", "kms"),
    ("sts", "sts"),
    ("token service", "sts"),
    ("security token service", "sts"),
    ("ebs", "ec2"),
    ("aurora", "rds"),
    ("sign-in", "signin"),
    ("organizations", "organizations"),
    ("certificate manager", "acm"),
    ("emr", "elasticmapreduce"),
    ("efs", "elasticfilesystem"),
    ("elasticsearch", "es"),
    ("opensearch", "es"),
    ("kinesis firehose", "firehose"),
    ("ses", "ses"),
    ("access analyzer", "access-analyzer"),
    ("network firewall", "network-firewall"),
    ("waf", "wafv2"),
    ("resource access manager", "ram"),
    ("ram", "ram"),
    ("trusted advisor", "trustedadvisor"),
    ("control tower", "controltower"),
    ("cognito", "cognito-idp"),
    ("bedrock", "bedrock"),
    ("sagemaker", "sagemaker"),
];

/// Names of services that are ordinary words. They are services only with `AWS` before them or `service` after them.
const COMMON_WORDS: &[&str] = &[
    "account",
    "application discovery",
    "artifact",
    "backup",
    "batch",
    "billing",
    "budgets",
    "cases",
    "clean rooms",
    "connect",
    "deadline",
    "email",
    "events",
    "evs",
    "forecast",
    "glue",
    "health",
    "import",
    "inspector",
    "invoicing",
    "location",
    "logs",
    "notifications",
    "odb",
    "outposts",
    "personalize",
    "pi",
    "pipes",
    "polly",
    "pricing",
    "profile",
    "resource groups",
    "scheduler",
    "schemas",
    "shield",
    "signer",
    "states",
    "support",
    "tagging",
    "tax",
    "transfer",
    "uxc",
    "sign-in",
    "signin",
    "agreement",
    "wisdom",
    "q",
    "dms",
    "repostspace",
    "osis",
    "interconnect",
    "iot",
    "identity",
    "geo",
    "user notifications",
];

/// Longest name in words.
const MAX_WORDS: usize = 6;

/// Returns the prefix of the event source of the service that is named at this position, and the number of words.
pub(super) fn at(words: &Words, at: usize) -> Option<(String, usize)> {
    let has_brand = ["aws", "amazon"].contains(&words.lower(at));
    let start = at + usize::from(has_brand);
    for length in (1..=MAX_WORDS).rev() {
        if !(start..start + length).all(|at| words.is_free(at)) {
            continue;
        }
        let name: Vec<&str> = (start..start + length).map(|at| words.lower(at)).collect();
        if name.contains(&"") {
            continue;
        }
        let name = name.join(" ");
        let is_common = COMMON_WORDS.contains(&name.as_str());
        let has_label = words.lower(start + length) == "service";
        if is_common && !has_brand && !has_label && !is_listed_alias(&name) {
            continue;
        }
        if let Some(source) = by_name(&name) {
            return Some((source, start + length - at));
        }
    }
    None
}

fn is_listed_alias(name: &str) -> bool {
    ALIASES.iter().any(|(alias, _)| *alias == name)
}

/// The service with this name, also `s3.amazonaws.com`.
fn by_name(name: &str) -> Option<String> {
    let name = name.strip_suffix(".amazonaws.com").unwrap_or(name);
    let alias = ALIASES.iter().find(|(alias, _)| *alias == name).map(|(_, source)| *source);
    alias.or_else(|| Vocabulary::get().service(name)).map(str::to_owned)
}

/// Returns whether a word alone is the name of a service.
pub(super) fn is_alias(word: &str) -> bool {
    is_listed_alias(word) || (!COMMON_WORDS.contains(&word) && by_name(word).is_some())
}
