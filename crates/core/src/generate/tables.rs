//! What events are made of: calls, principals, clients, texts.

/// What a call's parameters look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ParameterShape {
    /// Resources by their IDs, in items.
    Items,
    /// A filter and its values.
    Filters,
    /// Tags with names and values.
    Tags,
    /// A policy: JSON in a string.
    Policy,
    /// An object in a bucket, with headers.
    Object,
    /// ARNs in a list.
    Arns,
    /// A role that is assumed.
    Assume,
}

/// One kind of call.
#[derive(Debug, Clone, Copy)]
pub(super) struct ApiCall {
    /// The event source without `.amazonaws.com`.
    pub source: &'static str,
    pub name: &'static str,
    pub version: &'static str,
    pub read_only: bool,
    /// A data event, not one of management.
    pub data: bool,
    pub shape: ParameterShape,
    /// How often among all.
    pub weight: u32,
}

const fn reads(
    source: &'static str,
    name: &'static str,
    version: &'static str,
    shape: ParameterShape,
    weight: u32,
) -> ApiCall {
    ApiCall { source, name, version, read_only: true, data: false, shape, weight }
}

const fn writes(
    source: &'static str,
    name: &'static str,
    version: &'static str,
    shape: ParameterShape,
    weight: u32,
) -> ApiCall {
    ApiCall { source, name, version, read_only: false, data: false, shape, weight }
}

const fn touches(
    source: &'static str,
    name: &'static str,
    read_only: bool,
    shape: ParameterShape,
    weight: u32,
) -> ApiCall {
    ApiCall { source, name, version: "1.11", read_only, data: true, shape, weight }
}

/// The calls, with the frequencies of a mixed account: role sessions, polling and encryption keys make most of it.
pub(super) const CALLS: &[ApiCall] = &[
    reads("sts", "AssumeRole", "1.08", ParameterShape::Assume, 140),
    reads("sts", "GetCallerIdentity", "1.08", ParameterShape::Items, 10),
    writes("sts", "AssumeRoleWithWebIdentity", "1.08", ParameterShape::Assume, 15),
    reads("ec2", "DescribeInstances", "1.11", ParameterShape::Filters, 70),
    reads("ec2", "DescribeNetworkInterfaces", "1.11", ParameterShape::Filters, 40),
    reads("ec2", "DescribeVolumes", "1.11", ParameterShape::Items, 25),
    writes("ec2", "RunInstances", "1.11", ParameterShape::Items, 4),
    writes("ec2", "CreateTags", "1.11", ParameterShape::Tags, 6),
    writes("ec2", "AuthorizeSecurityGroupIngress", "1.11", ParameterShape::Items, 2),
    reads("kms", "Decrypt", "1.11", ParameterShape::Arns, 90),
    reads("kms", "GenerateDataKey", "1.11", ParameterShape::Arns, 60),
    reads("kms", "DescribeKey", "1.11", ParameterShape::Arns, 10),
    touches("s3", "GetObject", true, ParameterShape::Object, 60),
    touches("s3", "PutObject", false, ParameterShape::Object, 45),
    touches("s3", "HeadObject", true, ParameterShape::Object, 15),
    reads("s3", "GetBucketAcl", "1.11", ParameterShape::Object, 40),
    writes("s3", "PutBucketPolicy", "1.11", ParameterShape::Policy, 2),
    touches("lambda", "Invoke", false, ParameterShape::Arns, 20),
    reads("lambda", "GetFunction20150331v2", "1.11", ParameterShape::Arns, 12),
    writes("lambda", "UpdateFunctionConfiguration20150331v2", "1.11", ParameterShape::Tags, 3),
    writes("logs", "CreateLogStream", "1.11", ParameterShape::Items, 60),
    reads("logs", "DescribeLogGroups", "1.11", ParameterShape::Filters, 14),
    touches("dynamodb", "GetItem", true, ParameterShape::Items, 18),
    reads("dynamodb", "DescribeTable", "1.11", ParameterShape::Arns, 18),
    writes("dynamodb", "UpdateTable", "1.11", ParameterShape::Tags, 2),
    reads("iam", "GetRole", "1.11", ParameterShape::Items, 14),
    reads("iam", "ListAttachedRolePolicies", "1.11", ParameterShape::Items, 10),
    writes("iam", "CreatePolicyVersion", "1.11", ParameterShape::Policy, 3),
    writes("iam", "PutRolePolicy", "1.11", ParameterShape::Policy, 3),
    reads("monitoring", "DescribeAlarms", "1.11", ParameterShape::Filters, 18),
    reads("ssm", "GetParametersByPath", "1.11", ParameterShape::Filters, 12),
    writes("ssm", "UpdateInstanceInformation", "1.11", ParameterShape::Items, 24),
    reads("secretsmanager", "GetSecretValue", "1.11", ParameterShape::Arns, 18),
    touches("sqs", "SendMessage", false, ParameterShape::Arns, 6),
    writes("sns", "Subscribe", "1.11", ParameterShape::Arns, 1),
    reads("rds", "DescribeDBInstances", "1.11", ParameterShape::Filters, 10),
    reads("eks", "DescribeCluster", "1.11", ParameterShape::Arns, 8),
    reads("ecs", "DescribeTasks", "1.11", ParameterShape::Arns, 14),
    writes("ecs", "SubmitTaskStateChange", "1.11", ParameterShape::Items, 6),
    reads("ecr", "BatchGetImage", "1.11", ParameterShape::Items, 10),
    reads("elasticloadbalancing", "DescribeTargetHealth", "1.11", ParameterShape::Arns, 16),
    reads("autoscaling", "DescribeAutoScalingGroups", "1.11", ParameterShape::Filters, 12),
    writes("cloudformation", "CreateChangeSet", "1.11", ParameterShape::Tags, 2),
    reads("cloudtrail", "LookupEvents", "1.11", ParameterShape::Filters, 4),
    reads("config", "SelectResourceConfig", "1.11", ParameterShape::Filters, 6),
    reads("glue", "GetPartitions", "1.11", ParameterShape::Filters, 8),
    reads("athena", "GetQueryExecution", "1.11", ParameterShape::Items, 6),
    writes("states", "StartExecution", "1.11", ParameterShape::Arns, 4),
    reads("route53", "ListResourceRecordSets", "1.11", ParameterShape::Filters, 4),
    reads("acm", "DescribeCertificate", "1.11", ParameterShape::Arns, 4),
    reads("guardduty", "ListFindings", "1.11", ParameterShape::Filters, 4),
    reads("securityhub", "GetFindings", "1.11", ParameterShape::Filters, 4),
    reads("organizations", "ListAccounts", "1.11", ParameterShape::Items, 3),
    writes("backup", "StartBackupJob", "1.11", ParameterShape::Arns, 2),
    writes("signin", "ConsoleLogin", "1.11", ParameterShape::Items, 3),
];

/// Roles that machines and people work in.
pub(super) const ROLES: &[&str] = &[
    "AWSServiceRoleForConfig",
    "AWSReservedSSO_AdministratorAccess_0123456789abcdef",
    "AWSReservedSSO_ReadOnly_fedcba9876543210",
    "ecsTaskExecutionRole",
    "eks-node-group",
    "GitHubActionsDeploy",
    "lambda-orders-prod",
    "lambda-thumbnails-prod",
    "MonitoringReadOnly",
    "OrganizationAccountAccessRole",
    "SecurityAudit",
    "terraform-plan",
    "vendor-cspm-scanner",
    "web-frontend",
];

/// Users, some of whose names are not ASCII. Two are written with escapes, as some services do.
pub(super) const USERS: &[&str] =
    &["alice", "backup-bot", "bob", "ci-deployer", "jürgen", "josé.garcía", "mail-relay", "渋谷", "M\\u00fcller"];

/// Who makes calls on others' behalf.
pub(super) const SERVICES: &[&str] = &[
    "autoscaling",
    "cloudtrail",
    "config",
    "ec2",
    "ecs-tasks",
    "elasticloadbalancing",
    "lambda",
    "resource-explorer-2",
    "ssm",
    "vpc-flow-logs",
];

/// Programs that make calls.
pub(super) const AGENTS: &[&str] = &[
    "aws-cli/2.22.7 md/awscrt#0.23.4 ua/2.0 os/linux#6.8.0-1021-aws md/arch#x86_64 lang/python#3.12.6 md/pyimpl#CPython exec-env/EC2 cfg/retry-mode#standard md/installer#exe md/prompt#off md/command#s3.ls",
    "aws-sdk-go-v2/1.32.7 ua/2.1 os/linux lang/go#1.23.4 md/GOOS#linux md/GOARCH#arm64 api/sts#1.33.3 m/E,g",
    "aws-sdk-java/2.29.43 md/io#async md/http#NettyNio ua/2.1 os/Linux#5.10.230 lang/java#21.0.5 md/OpenJDK_64-Bit_Server_VM#21.0.5+11-LTS md/vendor#Amazon.com_Inc. md/en_US exec-env/AWS_Lambda_java21 m/D,N",
    "Boto3/1.35.90 md/Botocore#1.35.90 ua/2.0 os/linux#5.10.228-219.884.amzn2.x86_64 md/arch#x86_64 lang/python#3.11.10 md/pyimpl#CPython exec-env/AWS_Lambda_python3.11 cfg/retry-mode#legacy Botocore/1.35.90",
    "APN/1.0 HashiCorp/1.0 Terraform/1.10.3 (+https://www.terraform.io) terraform-provider-aws/5.82.2 (+https://registry.terraform.io/providers/hashicorp/aws) aws-sdk-go-v2/1.32.7 ua/2.1 os/linux lang/go#1.23.3 md/GOOS#linux md/GOARCH#amd64 api/ec2#1.198.1",
    "kubernetes/v1.31.3 aws-sdk-go/1.55.5 (go1.22.9; linux; amd64) karpenter",
    "amazon-ssm-agent/3.3.1345.0 aws-sdk-go/1.55.5 (go1.22.7; linux; amd64)",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
    "[S3Console/0.4, aws-internal/3 aws-sdk-java/1.12.750 Linux/5.10.228 OpenJDK_64-Bit_Server_VM/25.432-b06 java/1.8.0_432 vendor/Oracle_Corporation cfg/retry-mode/standard]",
];

/// Refusals and failures.
pub(super) const ERRORS: &[(&str, &str)] = &[
    ("AccessDenied", "User is not authorized to perform this action because no identity-based policy allows it"),
    ("Client.UnauthorizedOperation", "You are not authorized to perform this operation."),
    ("ThrottlingException", "Rate exceeded"),
    ("ResourceNotFoundException", "Requested resource not found"),
    ("NoSuchEntityException", "The Role with name retired-scanner cannot be found."),
];

/// Names and values of tags.
pub(super) const TAGS: &[(&str, &str)] = &[
    ("Name", "orders-prod-blue"),
    ("environment", "production"),
    ("cost-center", "4711"),
    ("owner", "zespół-płatności"),
    ("team", "Zahlungsverkehr Köln"),
    ("beschreibung", "Größe: 5 µm, „geprüft“ ✓"),
    ("説明", "注文サービス（本番）"),
    ("note", "quote \\\" backslash \\\\ tab \\t newline \\n slash \\/ caf\\u00e9 \\ud83d\\ude80"),
    ("aws:cloudformation:stack-name", "orders-prod"),
    ("kubernetes.io/cluster/prod-a", "owned"),
];

/// Regions that are on in an account of its own accord, and what their addresses are made of.
/// <https://docs.aws.amazon.com/global-infrastructure/latest/regions/aws-regions.html>
pub(super) const REGIONS: &[&str] = &[
    "us-east-1",
    "eu-central-1",
    "us-west-2",
    "eu-west-1",
    "ap-northeast-1",
    "us-east-2",
    "ap-southeast-2",
    "eu-west-2",
    "ap-south-1",
    "sa-east-1",
    "ca-central-1",
    "ap-southeast-1",
    "eu-north-1",
    "eu-west-3",
    "ap-northeast-2",
    "ap-northeast-3",
    "us-west-1",
];
