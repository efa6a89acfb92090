//! The calls, principals, clients and texts of synthetic events.

/// The form of a call's parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ParameterShape {
    /// Items with resource IDs.
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
    /// A role to assume.
    Assume,
}

/// An API call.
#[derive(Debug, Clone, Copy)]
pub(super) struct ApiCall {
    /// The event source without `.amazonaws.com`.
    pub source: &'static str,
    pub name: &'static str,
    pub version: &'static str,
    pub read_only: bool,
    /// Whether the event is a data event instead of a management event.
    pub data: bool,
    pub shape: ParameterShape,
    /// Relative frequency.
    pub weight: u32,
}

const fn read_call(
    source: &'static str,
    name: &'static str,
    version: &'static str,
    shape: ParameterShape,
    weight: u32,
) -> ApiCall {
    ApiCall { source, name, version, read_only: true, data: false, shape, weight }
}

const fn write_call(
    source: &'static str,
    name: &'static str,
    version: &'static str,
    shape: ParameterShape,
    weight: u32,
) -> ApiCall {
    ApiCall { source, name, version, read_only: false, data: false, shape, weight }
}

const fn data_call(
    source: &'static str,
    name: &'static str,
    read_only: bool,
    shape: ParameterShape,
    weight: u32,
) -> ApiCall {
    ApiCall { source, name, version: "1.11", read_only, data: true, shape, weight }
}

/// The calls with the frequencies of a mixed account. Most calls are role sessions, polling and uses of encryption
/// keys.
pub(super) const CALLS: &[ApiCall] = &[
    read_call("sts", "AssumeRole", "1.08", ParameterShape::Assume, 140),
    read_call("sts", "GetCallerIdentity", "1.08", ParameterShape::Items, 10),
    write_call("sts", "AssumeRoleWithWebIdentity", "1.08", ParameterShape::Assume, 15),
    read_call("ec2", "DescribeInstances", "1.11", ParameterShape::Filters, 70),
    read_call("ec2", "DescribeNetworkInterfaces", "1.11", ParameterShape::Filters, 40),
    read_call("ec2", "DescribeVolumes", "1.11", ParameterShape::Items, 25),
    write_call("ec2", "RunInstances", "1.11", ParameterShape::Items, 4),
    write_call("ec2", "CreateTags", "1.11", ParameterShape::Tags, 6),
    write_call("ec2", "AuthorizeSecurityGroupIngress", "1.11", ParameterShape::Items, 2),
    read_call("kms", "Decrypt", "1.11", ParameterShape::Arns, 90),
    read_call("kms", "GenerateDataKey", "1.11", ParameterShape::Arns, 60),
    read_call("kms", "DescribeKey", "1.11", ParameterShape::Arns, 10),
    data_call("s3", "GetObject", true, ParameterShape::Object, 60),
    data_call("s3", "PutObject", false, ParameterShape::Object, 45),
    data_call("s3", "HeadObject", true, ParameterShape::Object, 15),
    read_call("s3", "GetBucketAcl", "1.11", ParameterShape::Object, 40),
    write_call("s3", "PutBucketPolicy", "1.11", ParameterShape::Policy, 2),
    data_call("lambda", "Invoke", false, ParameterShape::Arns, 20),
    read_call("lambda", "GetFunction20150331v2", "1.11", ParameterShape::Arns, 12),
    write_call("lambda", "UpdateFunctionConfiguration20150331v2", "1.11", ParameterShape::Tags, 3),
    write_call("logs", "CreateLogStream", "1.11", ParameterShape::Items, 60),
    read_call("logs", "DescribeLogGroups", "1.11", ParameterShape::Filters, 14),
    data_call("dynamodb", "GetItem", true, ParameterShape::Items, 18),
    read_call("dynamodb", "DescribeTable", "1.11", ParameterShape::Arns, 18),
    write_call("dynamodb", "UpdateTable", "1.11", ParameterShape::Tags, 2),
    read_call("iam", "GetRole", "1.11", ParameterShape::Items, 14),
    read_call("iam", "ListAttachedRolePolicies", "1.11", ParameterShape::Items, 10),
    write_call("iam", "CreatePolicyVersion", "1.11", ParameterShape::Policy, 3),
    write_call("iam", "PutRolePolicy", "1.11", ParameterShape::Policy, 3),
    read_call("monitoring", "DescribeAlarms", "1.11", ParameterShape::Filters, 18),
    read_call("ssm", "GetParametersByPath", "1.11", ParameterShape::Filters, 12),
    write_call("ssm", "UpdateInstanceInformation", "1.11", ParameterShape::Items, 24),
    read_call("secretsmanager", "GetSecretValue", "1.11", ParameterShape::Arns, 18),
    data_call("sqs", "SendMessage", false, ParameterShape::Arns, 6),
    write_call("sns", "Subscribe", "1.11", ParameterShape::Arns, 1),
    read_call("rds", "DescribeDBInstances", "1.11", ParameterShape::Filters, 10),
    read_call("eks", "DescribeCluster", "1.11", ParameterShape::Arns, 8),
    read_call("ecs", "DescribeTasks", "1.11", ParameterShape::Arns, 14),
    write_call("ecs", "SubmitTaskStateChange", "1.11", ParameterShape::Items, 6),
    read_call("ecr", "BatchGetImage", "1.11", ParameterShape::Items, 10),
    read_call("elasticloadbalancing", "DescribeTargetHealth", "1.11", ParameterShape::Arns, 16),
    read_call("autoscaling", "DescribeAutoScalingGroups", "1.11", ParameterShape::Filters, 12),
    write_call("cloudformation", "CreateChangeSet", "1.11", ParameterShape::Tags, 2),
    read_call("cloudtrail", "LookupEvents", "1.11", ParameterShape::Filters, 4),
    read_call("config", "SelectResourceConfig", "1.11", ParameterShape::Filters, 6),
    read_call("glue", "GetPartitions", "1.11", ParameterShape::Filters, 8),
    read_call("athena", "GetQueryExecution", "1.11", ParameterShape::Items, 6),
    write_call("states", "StartExecution", "1.11", ParameterShape::Arns, 4),
    read_call("route53", "ListResourceRecordSets", "1.11", ParameterShape::Filters, 4),
    read_call("acm", "DescribeCertificate", "1.11", ParameterShape::Arns, 4),
    read_call("guardduty", "ListFindings", "1.11", ParameterShape::Filters, 4),
    read_call("securityhub", "GetFindings", "1.11", ParameterShape::Filters, 4),
    read_call("organizations", "ListAccounts", "1.11", ParameterShape::Items, 3),
    write_call("backup", "StartBackupJob", "1.11", ParameterShape::Arns, 2),
    write_call("signin", "ConsoleLogin", "1.11", ParameterShape::Items, 3),
];

/// Role names of machines and users.
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

/// User names. Some are not ASCII, and one has an escape, as some services write them.
pub(super) const USERS: &[&str] =
    &["alice", "backup-bot", "bob", "ci-deployer", "jürgen", "josé.garcía", "mail-relay", "渋谷", "M\\u00fcller"];

/// Services that make calls on behalf of others.
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

/// User agents.
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

/// Error codes and messages.
pub(super) const ERRORS: &[(&str, &str)] = &[
    ("AccessDenied", "User is not authorized to perform this action because no identity-based policy allows it"),
    ("Client.UnauthorizedOperation", "You are not authorized to perform this operation."),
    ("ThrottlingException", "Rate exceeded"),
    ("ResourceNotFoundException", "Requested resource not found"),
    ("NoSuchEntityException", "The Role with name retired-scanner cannot be found."),
];

/// Keys and values of tags.
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

/// Regions that are enabled in an account by default.
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
