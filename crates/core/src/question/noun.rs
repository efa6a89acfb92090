//! Families of nouns: the resources that events are about, and event names that do not follow from verb and noun.

use crate::plan::ServiceField;
use std::collections::HashSet;
use std::sync::LazyLock;

/// What events are about, for example a bucket policy.
#[derive(Debug)]
pub(super) struct Family {
    /// Singular forms, separated by `|`. The plural is recognized too.
    pub(super) names: &'static str,
    /// The prefix of the event source. Empty for any service.
    pub(super) source: &'static str,
    /// Its names in the names of operations, separated by `|`, for example `BucketPolicy`.
    pub(super) objects: &'static str,
    /// Paths below `requestParameters` that contain its name.
    pub(super) paths: &'static [&'static str],
    /// Verbs with the event names that do not follow from verb and noun. `a|b` lists several verbs.
    pub(super) events: &'static [(&'static str, &'static [&'static str])],
}

macro_rules! families {
    ($($names:literal, $source:literal, $objects:literal, [$($path:literal),*], [$($verb:literal => [$($event:literal),+]),* $(,)?];)+) => {
        &[$(Family {
            names: $names,
            source: $source,
            objects: $objects,
            paths: &[$($path),*],
            events: &[$(($verb, &[$($event),+])),*],
        }),+]
    };
}

/// All families. If several names match, the longest one counts.
pub(super) const FAMILIES: &[Family] = families! {
    // S3
    "s3 bucket|bucket", "s3", "Bucket", ["bucketName"], [
        "publicize" => ["PutBucketAcl", "PutBucketPolicy", "PutPublicAccessBlock", "PutBucketPublicAccessBlock", "PutAccountPublicAccessBlock",
            "DeletePublicAccessBlock", "DeleteBucketPublicAccessBlock", "DeleteAccountPublicAccessBlock"],
        "share" => ["PutBucketAcl", "PutBucketPolicy"]];
    "s3 bucket policy|bucket policy", "s3", "BucketPolicy", ["bucketName"], [];
    "s3 bucket acl|bucket acl", "s3", "BucketAcl", ["bucketName"], [];
    "bucket encryption|default encryption", "s3", "BucketEncryption", ["bucketName"], ["disable" => ["DeleteBucketEncryption"], "enable" => ["PutBucketEncryption"]];
    "bucket versioning|versioning", "s3", "BucketVersioning", ["bucketName"], [
        "change|enable|disable|suspend|turn on|turn off" => ["PutBucketVersioning"]];
    "bucket lifecycle|lifecycle configuration|lifecycle rule|lifecycle policy|bucket lifecycle configuration", "s3", "", ["bucketName"], [
        "change|update" => ["PutBucketLifecycle", "PutBucketLifecycleConfiguration", "DeleteBucketLifecycle"],
        "delete|remove" => ["DeleteBucketLifecycle"], "add|put|create" => ["PutBucketLifecycle", "PutBucketLifecycleConfiguration"]];
    "bucket logging|access logging|server access logging", "s3", "BucketLogging", ["bucketName"], [];
    "bucket replication|replication configuration", "s3", "BucketReplication", ["bucketName"], [];
    "bucket website|website configuration", "s3", "BucketWebsite", ["bucketName"], [];
    "bucket cors|cors configuration", "s3", "BucketCors", ["bucketName"], [];
    "bucket notification|event notification", "s3", "BucketNotification", ["bucketName"], [];
    "public access block|block public access|public access block configuration|public access setting", "s3", "", ["bucketName"], [
        "change|put|disable|enable" => ["PutBucketPublicAccessBlock", "DeleteBucketPublicAccessBlock", "PutAccountPublicAccessBlock", "DeleteAccountPublicAccessBlock"],
        "delete|remove" => ["DeleteBucketPublicAccessBlock", "DeleteAccountPublicAccessBlock"]];
    "s3 object|object|s3 file", "s3", "Object", ["bucketName", "key"], [
        "delete|remove" => ["DeleteObject", "DeleteObjects"], "read" => ["GetObject"], "upload|put|create|change" => ["PutObject", "CompleteMultipartUpload"]];
    // IAM and STS
    "iam user|user", "iam", "User", ["userName"], [
        "change" => ["UpdateUser", "AttachUserPolicy", "DetachUserPolicy", "PutUserPolicy", "DeleteUserPolicy", "AddUserToGroup",
            "RemoveUserFromGroup", "PutUserPermissionsBoundary", "DeleteUserPermissionsBoundary", "TagUser", "UntagUser"]];
    "iam role|role", "iam", "Role", ["roleName"], [
        "switch" => ["SwitchRole"],
        "change" => ["UpdateRole", "UpdateRoleDescription", "UpdateAssumeRolePolicy", "AttachRolePolicy", "DetachRolePolicy",
            "PutRolePolicy", "DeleteRolePolicy", "PutRolePermissionsBoundary", "DeleteRolePermissionsBoundary", "TagRole", "UntagRole"]];
    "iam group|user group|group", "iam", "Group", ["groupName"], [
        "add" => ["AddUserToGroup"], "remove" => ["RemoveUserFromGroup"]];
    "access key|iam access key", "iam", "AccessKey", ["userName"], [
        "deactivate|disable|activate|enable|change" => ["UpdateAccessKey"], "rotate" => ["CreateAccessKey", "UpdateAccessKey", "DeleteAccessKey"]];
    "login profile|console password", "iam", "LoginProfile", ["userName"], [];
    "password", "iam", "", ["userName"], [
        "change|update|reset|set" => ["ChangePassword", "UpdateLoginProfile", "CreateLoginProfile"]];
    "password policy|account password policy", "iam", "AccountPasswordPolicy", [], [];
    "mfa device|mfa|virtual mfa device|mfa token", "iam", "", ["userName"], [
        "deactivate|disable|remove" => ["DeactivateMFADevice"], "enable|activate|add|register" => ["EnableMFADevice"],
        "delete" => ["DeactivateMFADevice", "DeleteVirtualMFADevice"], "create" => ["CreateVirtualMFADevice"],
        "change" => ["EnableMFADevice", "DeactivateMFADevice", "ResyncMFADevice", "CreateVirtualMFADevice", "DeleteVirtualMFADevice"]];
    "iam policy|managed policy|policy", "iam", "", ["policyArn", "policyName"], [
        "create" => ["CreatePolicy", "CreatePolicyVersion"], "delete" => ["DeletePolicy", "DeletePolicyVersion"],
        "remove" => ["DeletePolicy", "DetachRolePolicy", "DetachUserPolicy", "DetachGroupPolicy"],
        "change" => ["CreatePolicy", "DeletePolicy", "CreatePolicyVersion", "DeletePolicyVersion", "SetDefaultPolicyVersion",
            "AttachRolePolicy", "AttachUserPolicy", "AttachGroupPolicy", "DetachRolePolicy", "DetachUserPolicy", "DetachGroupPolicy",
            "PutRolePolicy", "PutUserPolicy", "PutGroupPolicy", "DeleteRolePolicy", "DeleteUserPolicy", "DeleteGroupPolicy"],
        "attach|add" => ["AttachRolePolicy", "AttachUserPolicy", "AttachGroupPolicy"],
        "detach" => ["DetachRolePolicy", "DetachUserPolicy", "DetachGroupPolicy"]];
    "inline policy", "iam", "", ["policyName"], [
        "put|create|add|attach|update" => ["PutRolePolicy", "PutUserPolicy", "PutGroupPolicy"],
        "delete|remove|detach" => ["DeleteRolePolicy", "DeleteUserPolicy", "DeleteGroupPolicy"],
        "change" => ["PutRolePolicy", "PutUserPolicy", "PutGroupPolicy", "DeleteRolePolicy", "DeleteUserPolicy", "DeleteGroupPolicy"]];
    "trust policy|assume role policy|trust relationship", "iam", "", ["roleName"], ["change|put|update" => ["UpdateAssumeRolePolicy"]];
    "permission boundary|permissions boundary", "iam", "", ["roleName", "userName"], [
        "delete|remove" => ["DeleteRolePermissionsBoundary", "DeleteUserPermissionsBoundary"],
        "put|add|attach|create" => ["PutRolePermissionsBoundary", "PutUserPermissionsBoundary"],
        "change" => ["PutRolePermissionsBoundary", "PutUserPermissionsBoundary", "DeleteRolePermissionsBoundary", "DeleteUserPermissionsBoundary"]];
    "identity provider", "iam", "SAMLProvider|OpenIDConnectProvider", [], [];
    "permission set", "sso", "PermissionSet", ["permissionSetArn", "name"], [];
    // CloudTrail, Config, GuardDuty
    "cloudtrail trail|trail", "cloudtrail", "Trail", ["name", "trailName"], [
        "stop|disable|turn off|suspend" => ["StopLogging"], "start|enable|turn on" => ["StartLogging"],
        "change" => ["UpdateTrail", "PutEventSelectors", "PutInsightSelectors"]];
    "event selector", "cloudtrail", "EventSelectors", ["trailName"], [];
    "cloudtrail logging|logging|log collection", "cloudtrail", "Logging", ["name"], [
        "stop|disable|turn off|suspend" => ["StopLogging"], "enable|start|turn on" => ["StartLogging"]];
    "configuration recorder|config recorder", "config", "ConfigurationRecorder", [], ["disable" => ["StopConfigurationRecorder", "DeleteConfigurationRecorder"]];
    "config rule", "config", "ConfigRule", ["configRuleName"], ["create|change|update" => ["PutConfigRule"]];
    "guardduty finding", "guardduty", "Findings", [], [];
    "guardduty detector|detector", "guardduty", "Detector", ["detectorId"], ["disable" => ["UpdateDetector", "DeleteDetector"]];
    // EC2
    "ec2 instance|instance|virtual machine|server", "ec2", "Instances|Instance", ["instanceId"], [
        "launch|create" => ["RunInstances"], "delete|remove" => ["TerminateInstances"],
        "change" => ["ModifyInstanceAttribute", "ModifyInstanceMetadataOptions", "ModifyInstanceCreditSpecification", "ModifyInstancePlacement"]];
    "security group", "ec2", "SecurityGroup", ["groupId", "groupName"], [
        "change" => ["AuthorizeSecurityGroupIngress", "AuthorizeSecurityGroupEgress", "RevokeSecurityGroupIngress", "RevokeSecurityGroupEgress",
            "ModifySecurityGroupRules", "UpdateSecurityGroupRuleDescriptionsIngress", "UpdateSecurityGroupRuleDescriptionsEgress",
            "CreateSecurityGroup", "DeleteSecurityGroup"],
        "authorize" => ["AuthorizeSecurityGroupIngress", "AuthorizeSecurityGroupEgress"],
        "revoke" => ["RevokeSecurityGroupIngress", "RevokeSecurityGroupEgress"]];
    "security group rule|ingress rule|egress rule|inbound rule|outbound rule|firewall rule", "ec2", "", ["groupId"], [
        "change" => ["AuthorizeSecurityGroupIngress", "AuthorizeSecurityGroupEgress", "RevokeSecurityGroupIngress", "RevokeSecurityGroupEgress", "ModifySecurityGroupRules"],
        "add|create|authorize" => ["AuthorizeSecurityGroupIngress", "AuthorizeSecurityGroupEgress"],
        "delete|remove|revoke" => ["RevokeSecurityGroupIngress", "RevokeSecurityGroupEgress"]];
    "snapshot", "", "", ["snapshotId", "dBSnapshotIdentifier", "dBClusterSnapshotIdentifier"], [
        "publicize|share" => ["ModifySnapshotAttribute", "ModifyDBSnapshotAttribute", "ModifyDBClusterSnapshotAttribute"],
        "create" => ["CreateSnapshot", "CreateSnapshots", "CreateDBSnapshot", "CreateDBClusterSnapshot"],
        "delete|remove" => ["DeleteSnapshot", "DeleteDBSnapshot", "DeleteDBClusterSnapshot"],
        "copy" => ["CopySnapshot", "CopyDBSnapshot", "CopyDBClusterSnapshot"],
        "change" => ["ModifySnapshotAttribute", "ModifyDBSnapshotAttribute", "ModifyDBClusterSnapshotAttribute"]];
    "ebs snapshot|ec2 snapshot", "ec2", "Snapshot", ["snapshotId"], [
        "publicize|share" => ["ModifySnapshotAttribute"], "change" => ["ModifySnapshotAttribute", "ResetSnapshotAttribute"],
        "create" => ["CreateSnapshot", "CreateSnapshots"]];
    "ami|machine image|image", "ec2", "Image", ["imageId"], [
        "publicize|share" => ["ModifyImageAttribute"], "delete|remove" => ["DeregisterImage"], "create" => ["CreateImage", "RegisterImage"],
        "change" => ["ModifyImageAttribute", "ResetImageAttribute"]];
    "ebs volume|volume", "ec2", "Volume", ["volumeId"], [];
    "vpc", "ec2", "Vpc", ["vpcId"], [
        "change" => ["CreateVpc", "DeleteVpc", "ModifyVpcAttribute", "ModifyVpcTenancy", "AssociateVpcCidrBlock", "DisassociateVpcCidrBlock",
            "AcceptVpcPeeringConnection", "CreateVpcPeeringConnection", "DeleteVpcPeeringConnection", "RejectVpcPeeringConnection"]];
    "network gateway|gateway", "ec2", "", [], [
        "change" => ["CreateCustomerGateway", "DeleteCustomerGateway", "CreateInternetGateway", "DeleteInternetGateway",
            "AttachInternetGateway", "DetachInternetGateway", "CreateNatGateway", "DeleteNatGateway"]];
    "ebs encryption|ebs encryption by default|ebs default encryption", "ec2", "EbsEncryptionByDefault", [], [];
    "subnet", "ec2", "Subnet", ["subnetId"], ["change" => ["ModifySubnetAttribute"]];
    "route table", "ec2", "RouteTable", ["routeTableId"], [
        "change" => ["CreateRoute", "DeleteRoute", "ReplaceRoute", "CreateRouteTable", "DeleteRouteTable", "AssociateRouteTable",
            "DisassociateRouteTable", "ReplaceRouteTableAssociation"]];
    "network acl|nacl", "ec2", "NetworkAcl", ["networkAclId"], [
        "change" => ["CreateNetworkAcl", "DeleteNetworkAcl", "CreateNetworkAclEntry", "DeleteNetworkAclEntry", "ReplaceNetworkAclEntry", "ReplaceNetworkAclAssociation"]];
    "elastic ip|elastic ip address", "ec2", "Address", ["allocationId"], [];
    "flow log|vpc flow log", "ec2", "FlowLogs", [], [];
    "key pair|ssh key", "ec2", "KeyPair", ["keyName"], [];
    "user data", "ec2", "", ["instanceId"], ["change" => ["ModifyInstanceAttribute"]];
    "imdsv2|instance metadata option|metadata option", "ec2", "InstanceMetadataOptions", ["instanceId"], [];
    "vpn connection", "ec2", "VpnConnection", ["vpnConnectionId"], [];
    // KMS and secrets
    "kms key|encryption key|customer managed key", "kms", "Key", ["keyId"], [
        "delete|schedule" => ["ScheduleKeyDeletion"], "cancel" => ["CancelKeyDeletion"]];
    "key policy|kms key policy", "kms", "KeyPolicy", ["keyId"], [];
    "key rotation|kms key rotation", "kms", "KeyRotation", ["keyId"], [];
    "kms grant|grant", "kms", "Grant", ["keyId"], ["delete" => ["RetireGrant", "RevokeGrant"]];
    "secret|secret value|secrets manager secret", "secretsmanager", "Secret", ["secretId", "name"], [
        "read" => ["GetSecretValue"], "change|put" => ["PutSecretValue", "UpdateSecret", "UpdateSecretVersionStage"],
        "create" => ["CreateSecret"]];
    "ssm parameter|parameter", "ssm", "Parameter", ["name"], [
        "read" => ["GetParameter", "GetParameters", "GetParametersByPath"], "create|change|update" => ["PutParameter"],
        "delete" => ["DeleteParameter", "DeleteParameters"]];
    "ssm session|session manager session", "ssm", "Session", ["target"], [];
    // Databases
    "rds instance|db instance|database instance|rds db instance|rds database instance", "rds", "DBInstance", ["dBInstanceIdentifier"], ["publicize" => ["CreateDBInstance", "ModifyDBInstance"]];
    "rds cluster|db cluster|database cluster|aurora cluster", "rds", "DBCluster", ["dBClusterIdentifier"], [];
    "rds database|database", "rds", "DBInstance|DBCluster", ["dBInstanceIdentifier", "dBClusterIdentifier"], [];
    "rds snapshot|db snapshot|database snapshot", "rds", "DBSnapshot|DBClusterSnapshot", ["dBSnapshotIdentifier", "dBClusterSnapshotIdentifier"], [
        "publicize|share" => ["ModifyDBSnapshotAttribute", "ModifyDBClusterSnapshotAttribute"]];
    "dynamodb table|table", "dynamodb", "Table", ["tableName"], [];
    // Computing
    "lambda function|function", "lambda", "Function", ["functionName"], [
        "change" => ["UpdateFunctionCode", "UpdateFunctionConfiguration"], "invoke" => ["Invoke"]];
    "function code|code|lambda code|lambda function code", "lambda", "FunctionCode", ["functionName"], [];
    "function configuration", "lambda", "FunctionConfiguration", ["functionName"], [];
    "permission|lambda permission|function permission", "lambda", "Permission", ["functionName"], [];
    "layer|lambda layer", "lambda", "LayerVersion", ["layerName"], [];
    "cloudformation stack|stack", "cloudformation", "Stack", ["stackName"], [];
    "stack set|stackset", "cloudformation", "StackSet", ["stackSetName"], [];
    "eks cluster|kubernetes cluster", "eks", "Cluster", ["name"], ["change" => ["UpdateClusterConfig", "UpdateClusterVersion"]];
    "ecs cluster", "ecs", "Cluster", ["clusterName", "cluster"], [];
    "ecs service", "ecs", "Service", ["service", "serviceName"], [];
    "ecs task|task", "ecs", "Task", ["taskDefinition", "task"], ["launch|start" => ["RunTask", "StartTask"]];
    "task definition", "ecs", "TaskDefinition", ["family", "taskDefinition"], [];
    "ecr repository|repository", "ecr", "Repository", ["repositoryName"], [];
    "container image|ecr image", "ecr", "Image", ["repositoryName"], ["delete" => ["BatchDeleteImage"], "upload|put" => ["PutImage"]];
    // Others
    "resource|something|anything", "", "*", [], [];
    "sns topic|topic", "sns", "Topic", ["topicArn", "name"], ["change" => ["SetTopicAttributes"]];
    "sqs queue|queue", "sqs", "Queue", ["queueUrl", "queueName"], ["change" => ["SetQueueAttributes"]];
    "log group|cloudwatch log group", "logs", "LogGroup", ["logGroupName"], [];
    "log stream", "logs", "LogStream", ["logStreamName"], [];
    "cloudwatch alarm|alarm|metric alarm", "monitoring", "Alarms|MetricAlarm", ["alarmName"], [
        "create|change|put" => ["PutMetricAlarm", "PutCompositeAlarm"], "disable" => ["DisableAlarmActions"], "enable" => ["EnableAlarmActions"]];
    "eventbridge rule|event rule", "events", "Rule", ["name"], ["create|change" => ["PutRule"]];
    "route 53 record|dns record|record set|resource record", "route53", "", ["hostedZoneId"], ["change|create|delete|add|remove" => ["ChangeResourceRecordSets"]];
    "hosted zone|dns zone", "route53", "HostedZone", ["hostedZoneId", "id"], [];
    "load balancer", "elasticloadbalancing", "LoadBalancer", ["loadBalancerArn", "loadBalancerName", "name"], [];
    "auto scaling group|autoscaling group", "autoscaling", "AutoScalingGroup", ["autoScalingGroupName"], [];
    "service control policy|scp", "organizations", "", ["policyId", "name"], [
        "attach" => ["AttachPolicy"], "detach|remove" => ["DetachPolicy"], "create" => ["CreatePolicy"], "delete" => ["DeletePolicy"],
        "change" => ["UpdatePolicy", "AttachPolicy", "DetachPolicy", "CreatePolicy", "DeletePolicy"]];
    "organization account|account", "organizations", "Account", ["accountId"], [
        "leave" => ["LeaveOrganization", "RemoveAccountFromOrganization"], "remove" => ["RemoveAccountFromOrganization"],
        "invite" => ["InviteAccountToOrganization"]];
    "organization|aws organization", "organizations", "Organization", [], [
        "leave" => ["LeaveOrganization", "RemoveAccountFromOrganization"]];
    "certificate", "acm", "Certificate", ["certificateArn"], [];
    "web acl|firewall acl", "wafv2", "WebACL", ["name"], [];
};

/// Families whose paths name the owner, with the paths that name the resource itself: `which access keys were deleted`.
pub(super) const ASKED: &[(&str, &[&str])] = &[
    ("access key|iam access key", &["userName", "accessKeyId"]),
    ("mfa device|mfa|virtual mfa device|mfa token", &["userName", "serialNumber"]),
    ("kms grant|grant", &["keyId", "grantId"]),
    ("permission|lambda permission|function permission", &["functionName", "statementId"]),
    ("container image|ecr image", &["imageIds"]),
    ("security group rule|ingress rule|egress rule|inbound rule|outbound rule|firewall rule", &["ipPermissions"]),
    ("route 53 record|dns record|record set|resource record", &["changeBatch"]),
    ("log stream", &["logGroupName", "logStreamName"]),
];

/// The event names of verbs whose object is a whole service: its source, the verbs, the event names.
pub(super) const SERVICE_EVENTS: &[(&str, &str, &[&str])] = &[
    (
        "guardduty",
        "disable|delete|suspend|stop|turn off|remove",
        &[
            "DeleteDetector",
            "UpdateDetector",
            "StopMonitoringMembers",
            "DisassociateMembers",
            "DisassociateFromMasterAccount",
            "DisassociateFromAdministratorAccount",
        ],
    ),
    ("guardduty", "enable|start|turn on|create", &["CreateDetector", "UpdateDetector"]),
    ("cloudtrail", "disable|stop|turn off|suspend|delete", &["StopLogging", "DeleteTrail"]),
    ("cloudtrail", "enable|start|turn on", &["StartLogging", "CreateTrail"]),
    (
        "config",
        "disable|stop|turn off|delete",
        &["StopConfigurationRecorder", "DeleteConfigurationRecorder", "DeleteDeliveryChannel"],
    ),
    ("config", "enable|start|turn on", &["StartConfigurationRecorder", "PutConfigurationRecorder"]),
];

/// A name of a family, split into words.
#[derive(Debug)]
pub(super) struct FamilyName {
    pub(super) family: &'static Family,
    /// The words before the last one.
    pub(super) first: Vec<&'static str>,
    /// The last word and its plural.
    pub(super) last: [String; 2],
}

/// The names of all families.
pub(super) static NAMES: LazyLock<Vec<FamilyName>> = LazyLock::new(|| {
    let names = FAMILIES.iter().flat_map(|family| family.names.split('|').map(move |name| (family, name)));
    names
        .map(|(family, name)| {
            let (first, last) =
                name.rsplit_once(' ').map_or((Vec::new(), name), |(first, last)| (first.split(' ').collect(), last));
            FamilyName { family, first, last: [last.to_owned(), plural(last)] }
        })
        .collect()
});

static PARTS: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let names = FAMILIES.iter().flat_map(|family| family.names.split(['|', ' '])).filter(|name| name.len() >= 3);
    names.flat_map(|name| [name.to_owned(), plural(name)]).collect()
});

/// Returns whether a word is part of a family's name.
pub(super) fn is_part(word: &str) -> bool {
    PARTS.contains(word)
}

/// The plural of a word.
pub(super) fn plural(word: &str) -> String {
    match word.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ies"),
        _ if word.ends_with(['s', 'x']) || word.ends_with("ch") => format!("{word}es"),
        _ => format!("{word}s"),
    }
}

/// A path below `requestParameters`.
pub(super) fn request_parameter(name: &str) -> crate::plan::QueryField {
    parameter(ServiceField::RequestParameters, name)
}

/// A path of one name.
pub(super) fn parameter(root: ServiceField, name: &str) -> crate::plan::QueryField {
    // A constant name is not empty, so the path is valid.
    let path = crate::plan::Path::name(root, name);
    path.map_or_else(|_| crate::plan::Column::RequestParameters.into(), crate::plan::QueryField::Path)
}
