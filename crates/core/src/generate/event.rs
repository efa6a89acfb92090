//! Generates events with their members in CloudTrail's order.
//! <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html>

use super::content::{Content, event_id, mix, time};
use super::quantile::{EVENT_BYTES, LATENCY, MAX_EVENT_BYTES};
use super::tables::{AGENTS, ApiCall, CALLS, ERRORS, ParameterShape, ROLES, SERVICES, TAGS, USERS};
use super::{SyntheticObject, account};
use fastrand::Rng;
use std::fmt::Write;

/// Generates the events of one object.
#[derive(Debug)]
pub(super) struct EventGenerator<'a> {
    object: &'a SyntheticObject,
    content: Content,
    total_weight: u32,
    ordinal: u32,
    /// Latest time of an event in seconds since 1970.
    last: i64,
    /// Number of seconds over which the events are spread.
    spread: i64,
    out: String,
    /// The members after the parameters. They are generated first, so that the parameters fill the remaining bytes.
    tail: String,
}

/// The type of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caller {
    Role,
    Service,
    User,
    Account,
    Root,
    Federated,
    WebIdentity,
    IdentityCenter,
}

impl<'a> EventGenerator<'a> {
    pub(super) fn new(object: &'a SyntheticObject) -> Self {
        let scope = object
            .account
            .bytes()
            .chain(object.region.bytes())
            .fold(object.seed, |sum, byte| mix(sum ^ u64::from(byte)));
        let mut rng = Rng::with_seed(mix(scope ^ u64::from(object.number)));
        let mut latency = LATENCY.draw(&mut rng) as i64;
        if rng.u32(0..500) == 0 {
            // A delivery that was retried, hours or days late.
            latency += rng.i64(3_600..3 * 86_400);
        }
        Self {
            object,
            spread: rng.i64(10..240).min(latency),
            last: object.delivered - latency,
            content: Content::new(scope, rng, object.variety),
            total_weight: CALLS.iter().map(|call| call.weight).sum(),
            ordinal: 0,
            out: String::new(),
            tail: String::new(),
        }
    }

    /// Returns the next event. It is overwritten by the next call.
    pub(super) fn event(&mut self) -> &str {
        self.out.clear();
        self.tail.clear();
        let call = self.call();
        let bytes = EVENT_BYTES.draw(&mut self.content.rng) as usize;
        // Old buckets contain events from before 2014, which have fewer members.
        let old = self.content.rng.u32(0..400) == 0;
        self.head(call, bytes, old);
        self.end(call, old);
        // The last item may exceed the limit by less than 1,000 bytes.
        let max_bytes = MAX_EVENT_BYTES as usize - 1_000;
        let bytes_left = bytes.min(max_bytes).saturating_sub(self.out.len() + self.tail.len());
        self.parameters(call, bytes_left);
        self.out.push_str(&self.tail);
        self.ordinal += 1;
        &self.out
    }

    fn call(&mut self) -> &'static ApiCall {
        let mut left = self.content.rng.u32(0..self.total_weight);
        let found = CALLS.iter().find(|call| match left.checked_sub(call.weight) {
            Some(rest) => {
                left = rest;
                false
            }
            None => true,
        });
        found.unwrap_or(&CALLS[0])
    }

    /// Writes the members before the parameters.
    fn head(&mut self, call: &ApiCall, bytes: usize, old: bool) {
        self.out.push_str("{\"eventVersion\":\"");
        self.out.push_str(if old { "1.01" } else { call.version });
        self.out.push_str("\",\"userIdentity\":{");
        let caller = self.caller(call, bytes);
        let agent = self.identity(caller);
        self.out.push_str(",\"eventTime\":\"");
        let back = self.content.rng.i64(0..=self.spread);
        time(self.last - back, &mut self.out);
        let _ = write!(
            self.out,
            "\",\"eventSource\":\"{}.amazonaws.com\",\"eventName\":\"{}\",\"awsRegion\":\"{}\",\"sourceIPAddress\":\"",
            call.source, call.name, self.object.region
        );
        match agent {
            Some(service) => {
                let _ = write!(self.out, "{service}.amazonaws.com\",\"userAgent\":\"{service}.amazonaws.com\"");
            }
            None => {
                self.content.address(&mut self.out);
                let agent = self.content.one(AGENTS);
                let _ = write!(self.out, "\",\"userAgent\":\"{agent}\"");
            }
        }
        if self.content.percent(4) {
            let (code, message) = self.content.one(ERRORS);
            let _ = write!(self.out, ",\"errorCode\":\"{code}\",\"errorMessage\":\"{message}\"");
        }
    }

    /// Selects the caller. Most small events have a service as their caller, because a session alone takes 700 bytes.
    fn caller(&mut self, call: &ApiCall, bytes: usize) -> Caller {
        let service = if bytes < 1_250 { 80 } else { 6 };
        if call.name == "ConsoleLogin" {
            return if self.content.percent(20) { Caller::Root } else { Caller::User };
        }
        if self.content.percent(service) {
            return Caller::Service;
        }
        match self.content.rng.u32(0..100) {
            0..=77 => Caller::Role,
            78..=87 => Caller::User,
            88..=92 => Caller::Account,
            93 => Caller::Root,
            94 => Caller::Federated,
            95..=97 => Caller::WebIdentity,
            _ => Caller::IdentityCenter,
        }
    }

    /// Writes the rest of `userIdentity`. Returns the service if the caller is a service.
    fn identity(&mut self, caller: Caller) -> Option<&'static str> {
        let Self { object: SyntheticObject { account: owner, .. }, content, out, .. } = self;
        match caller {
            Caller::Service => {
                let service = content.one(SERVICES);
                let _ = write!(out, "\"type\":\"AWSService\",\"invokedBy\":\"{service}.amazonaws.com\"}}");
                return Some(service);
            }
            Caller::Role => {
                let role = content.one(ROLES);
                // The unique ID of a role is derived from its name. The session name is an instance or a user.
                let id = mix(role.bytes().fold(account_seed(owner), |sum, byte| mix(sum ^ u64::from(byte))));
                let mut session = String::new();
                if content.percent(50) {
                    session.push_str("i-");
                    content.hex(&mut session);
                } else {
                    session.push_str(content.one(USERS));
                }
                let _ = write!(out, "\"type\":\"AssumedRole\",\"principalId\":\"AROA{id:016X}:{session}\",");
                let _ = write!(out, "\"arn\":\"arn:aws:sts::{owner}:assumed-role/{role}/{session}\",");
                let _ = write!(out, "\"accountId\":\"{owner}\",\"accessKeyId\":\"");
                content.key(out);
                let _ = write!(
                    out,
                    "\",\"sessionContext\":{{\"sessionIssuer\":{{\"type\":\"Role\",\"principalId\":\"AROA{id:016X}\",\"arn\":\"arn:aws:iam::{owner}:role/{role}\",\"accountId\":\"{owner}\",\"userName\":\"{role}\"}},\"attributes\":{{\"creationDate\":\""
                );
                time(self.last - content.rng.i64(0..48) * 75, out);
                out.push_str("\",\"mfaAuthenticated\":\"");
                out.push_str(if content.percent(10) { "true\"}" } else { "false\"}" });
                out.push_str(if session.starts_with("i-") { ",\"ec2RoleDelivery\":\"2.0\"}}" } else { "}}" });
            }
            Caller::User => {
                let user = content.one(USERS);
                let _ = write!(
                    out,
                    "\"type\":\"IAMUser\",\"principalId\":\"AIDAEXAMPLE{:08X}\",",
                    mix(user.len() as u64) as u32
                );
                let _ = write!(
                    out,
                    "\"arn\":\"arn:aws:iam::{owner}:user/{user}\",\"accountId\":\"{owner}\",\"accessKeyId\":\""
                );
                content.key(out);
                let _ = write!(out, "\",\"userName\":\"{user}\"}}");
            }
            Caller::Account => {
                let other = account(content.rng.u32(0..40));
                let _ = write!(
                    out,
                    "\"type\":\"AWSAccount\",\"principalId\":\"AIDAEXAMPLE{other}\",\"accountId\":\"{other}\"}}"
                );
            }
            Caller::Root => {
                let _ = write!(
                    out,
                    "\"type\":\"Root\",\"principalId\":\"{owner}\",\"arn\":\"arn:aws:iam::{owner}:root\",\"accountId\":\"{owner}\",\"accessKeyId\":\"\"}}"
                );
            }
            Caller::Federated => {
                let user = content.one(USERS);
                let _ = write!(
                    out,
                    "\"type\":\"FederatedUser\",\"principalId\":\"{owner}:{user}\",\"arn\":\"arn:aws:sts::{owner}:federated-user/{user}\",\"accountId\":\"{owner}\",\"accessKeyId\":\""
                );
                content.key(out);
                let _ = write!(
                    out,
                    "\",\"sessionContext\":{{\"sessionIssuer\":{{\"type\":\"IAMUser\",\"principalId\":\"AIDAEXAMPLEFEDERATOR\",\"arn\":\"arn:aws:iam::{owner}:user/federator\",\"accountId\":\"{owner}\",\"userName\":\"federator\"}}}}}}"
                );
            }
            Caller::WebIdentity => {
                let name = content.rng.u32(0..60);
                let _ = write!(
                    out,
                    "\"type\":\"WebIdentityUser\",\"principalId\":\"arn:aws:iam::{owner}:oidc-provider/token.actions.githubusercontent.com:sts.amazonaws.com:repo:example/service-{name}:ref:refs/heads/main\",\"userName\":\"repo:example/service-{name}:ref:refs/heads/main\",\"identityProvider\":\"arn:aws:iam::{owner}:oidc-provider/token.actions.githubusercontent.com\"}}"
                );
            }
            Caller::IdentityCenter => {
                let _ = write!(
                    out,
                    "\"type\":\"IdentityCenterUser\",\"accountId\":\"{owner}\",\"onBehalfOf\":{{\"userId\":\""
                );
                content.uuid(out);
                let _ = write!(
                    out,
                    "\",\"identityStoreArn\":\"arn:aws:identitystore::{owner}:identitystore/d-0123456789\"}},\"credentialId\":\""
                );
                content.uuid(out);
                out.push_str("\"}");
            }
        }
        None
    }

    /// Writes the members after the parameters into `tail`.
    fn end(&mut self, call: &ApiCall, old: bool) {
        let Self { object, content, tail: out, .. } = self;
        let owner = &object.account;
        out.push_str(",\"responseElements\":null");
        if call.shape == ParameterShape::Object {
            let _ = write!(
                out,
                ",\"additionalEventData\":{{\"SignatureVersion\":\"SigV4\",\"CipherSuite\":\"TLS_AES_128_GCM_SHA256\",\"bytesTransferredIn\":{},\"AuthenticationMethod\":\"AuthHeader\",\"x-amz-id-2\":\"",
                content.rng.u32(0..90_000)
            );
            content.base64(64, out);
            let _ = write!(out, "\",\"bytesTransferredOut\":{}.0}}", content.rng.u32(0..9_000));
        }
        out.push_str(",\"requestID\":\"");
        content.uuid(out);
        out.push_str("\",\"eventID\":\"");
        event_id(object.seed, object.number, self.ordinal, &mut content.rng, out);
        if old {
            out.push_str("\"}");
            return;
        }
        let read_only = call.read_only;
        let _ = write!(out, "\",\"readOnly\":{read_only},");
        if call.shape == ParameterShape::Arns {
            let _ = write!(
                out,
                "\"resources\":[{{\"accountId\":\"{owner}\",\"type\":\"AWS::KMS::Key\",\"ARN\":\"arn:aws:{}:{}:{owner}:key/",
                call.source, object.region
            );
            content.hex(out);
            out.push_str("\"}],");
        }
        let (kind, management) =
            (if call.name == "ConsoleLogin" { "AwsConsoleSignIn" } else { "AwsApiCall" }, !call.data);
        let _ = write!(
            out,
            "\"eventType\":\"{kind}\",\"managementEvent\":{management},\"recipientAccountId\":\"{owner}\","
        );
        if call.shape == ParameterShape::Assume && content.percent(30) {
            out.push_str("\"sharedEventID\":\"");
            content.uuid(out);
            out.push_str("\",");
        }
        if content.percent(12) {
            out.push_str("\"vpcEndpointId\":\"vpce-");
            content.hex(out);
            let _ = write!(out, "\",\"vpcEndpointAccountId\":\"{owner}\",");
        }
        let _ = write!(out, "\"eventCategory\":\"{}\"", if call.data { "Data" } else { "Management" });
        if content.percent(55) {
            let _ = write!(
                out,
                ",\"tlsDetails\":{{\"tlsVersion\":\"TLSv1.3\",\"cipherSuite\":\"TLS_AES_128_GCM_SHA256\",\"clientProvidedHostHeader\":\"{}.{}.amazonaws.com\"}}",
                call.source, object.region
            );
        }
        out.push('}');
    }

    /// Writes `requestParameters` of about `bytes_left` bytes.
    fn parameters(&mut self, call: &ApiCall, bytes_left: usize) {
        if bytes_left < 60 {
            self.out.push_str(",\"requestParameters\":null");
            return;
        }
        let Self { object, content, out, .. } = self;
        let SyntheticObject { account: owner, region, .. } = object;
        let (open, close) = match call.shape {
            ParameterShape::Items => ("{\"instancesSet\":{\"items\":[", "]}}"),
            ParameterShape::Filters => ("{\"maxResults\":1000,\"filterSet\":{\"items\":[", "]}}"),
            ParameterShape::Tags => ("{\"dryRun\":false,\"tagSet\":{\"items\":[", "]}}"),
            ParameterShape::Policy => {
                ("{\"policyDocument\":\"{\\\"Version\\\":\\\"2012-10-17\\\",\\\"Statement\\\":[", "]}\"}")
            }
            ParameterShape::Object => {
                ("{\"X-Amz-Date\":\"20260115T115500Z\",\"x-amz-acl\":[", "],\"Host\":\"s3.amazonaws.com\"}")
            }
            ParameterShape::Arns => ("{\"encryptionAlgorithm\":\"SYMMETRIC_DEFAULT\",\"resourceArns\":[", "]}"),
            ParameterShape::Assume => ("{\"durationSeconds\":3600,\"policyArns\":[", "]}"),
        };
        // On average, the last item exceeds the limit by half of its length.
        let end = (out.len() + bytes_left).saturating_sub(close.len() + 40);
        out.push_str(",\"requestParameters\":");
        out.push_str(open);
        let first = out.len();
        while out.len() < end {
            if out.len() > first {
                out.push(',');
            }
            item(call.shape, owner, region, content, out);
        }
        out.push_str(close);
    }
}

/// Writes one item of the parameters.
fn item(shape: ParameterShape, owner: &str, region: &str, content: &mut Content, out: &mut String) {
    match shape {
        ParameterShape::Items => {
            out.push_str("{\"instanceId\":\"i-");
            content.hex(out);
            out.push_str("\"}");
        }
        ParameterShape::Filters => {
            out.push_str("{\"name\":\"private-ip-address\",\"valueSet\":{\"items\":[{\"value\":\"");
            content.address(out);
            out.push_str("\"}]}}");
        }
        ParameterShape::Tags => {
            let (key, value) = content.one(TAGS);
            let _ = write!(out, "{{\"key\":\"{key}\",\"value\":\"{value}\"}}");
        }
        ParameterShape::Policy => {
            out.push_str("{\\\"Effect\\\":\\\"Allow\\\",\\\"Action\\\":[\\\"s3:GetObject\\\",\\\"s3:ListBucket\\\"],\\\"Resource\\\":\\\"arn:aws:s3:::");
            content.name(out);
            out.push_str("/*\\\"}");
        }
        ParameterShape::Object => {
            out.push_str("{\"bucketName\":\"");
            content.name(out);
            out.push_str("\",\"key\":\"year=2026/month=01/day=15/");
            content.name(out);
            out.push_str(".parquet\"}");
        }
        ParameterShape::Arns => {
            let _ = write!(out, "\"arn:aws:ecs:{region}:{owner}:task/prod/");
            content.hex(out);
            out.push('"');
        }
        ParameterShape::Assume => {
            let role = content.one(ROLES);
            let _ = write!(out, "{{\"roleArn\":\"arn:aws:iam::{owner}:role/{role}\",\"roleSessionName\":\"");
            content.name(out);
            out.push_str("\"}");
        }
    }
}

/// Returns the seed for the unique IDs of an account's roles.
fn account_seed(owner: &str) -> u64 {
    owner.bytes().fold(0, |sum, byte| mix(sum ^ u64::from(byte)))
}
