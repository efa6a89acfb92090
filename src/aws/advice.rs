//! Advice: the next step after a failed AWS call that a retry does not fix.

use super::AwsFailure;

/// The policies that can deny a request although the role's permissions allow it. Each has its name in AWS's messages
/// and the next step.
const DENYING_POLICIES: [(&str, &str); 8] = [
    (
        "service control policy",
        "a service control policy of the organization denies it: ask the organization's administrator, because a \
         permission of this role cannot override it",
    ),
    (
        "resource control policy",
        "a resource control policy of the organization denies it: ask the organization's administrator, because a \
         permission of this role cannot override it",
    ),
    ("permissions boundary", "the permissions boundary of this role does not allow it: add it to the boundary"),
    ("session policy", "the session policy does not allow it: assume the role without that policy"),
    ("VPC endpoint policy", "the policy of the VPC endpoint does not allow it: add it to that policy"),
    ("identity-based policy", "a policy of this role explicitly denies it: remove the deny statement"),
    ("resource-based policy", "the resource's policy explicitly denies it: remove the deny statement"),
    ("", "a policy explicitly denies it: remove the deny statement"),
];

impl AwsFailure {
    /// Returns the message with the next step, for a failure that concerns the credentials. The credentials provider's
    /// own message already contains it.
    pub fn credentials_text(&self) -> String {
        let code = self.code.rsplit(['#', '.']).next().unwrap_or(&self.code);
        let outdated = ["expired", "not yet current"].iter().any(|word| self.message.contains(word));
        let advice = match code {
            "Credentials" => return self.message.clone(),
            "InvalidAccessKeyId" | "UnrecognizedClientException" | "InvalidClientTokenId" => {
                "AWS does not know the access key ID: check the key ID, that the key is active, that temporary credentials \
                 have their session token, and that the region is in the partition of the account"
            }
            // DynamoDB and Firehose use one code for a wrong key and for a wrong time.
            "InvalidSignatureException" if outdated => CLOCK_ADVICE,
            "SignatureDoesNotMatch" | "InvalidSignatureException" | "IncompleteSignature" => {
                "the secret access key does not belong to the access key ID: set both again"
            }
            "InvalidToken" => "the session token does not belong to the access key: set all three values again",
            "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" => {
                "the session has expired: renew it, for example with `aws sso login`"
            }
            "RequestTimeTooSkewed" | "RequestExpired" | "RequestInTheFuture" => CLOCK_ADVICE,
            "OptInRequired" | "NotSignedUp" => {
                "the account does not use this service or region: enable the region, or use another one"
            }
            _ => "AWS does not accept the credentials: renew them",
        };
        format!("{advice}. {self}")
    }

    /// Returns the next step for a denied request: `allow` unless the message names a policy that a permission of the
    /// role cannot override.
    pub fn denial_advice(&self, allow: impl FnOnce() -> String) -> String {
        let message = &self.message;
        let denies = |policy: &str| {
            // Without an explicit deny, only a statement in a policy of the role or of the resource is missing. `allow`
            // describes that case.
            let lacks_allow = !matches!(policy, "" | "identity-based policy" | "resource-based policy")
                && message.contains(&format!("no {policy} allows"));
            lacks_allow || message.contains("with an explicit deny") && message.contains(policy)
        };
        match DENYING_POLICIES.iter().find(|(policy, _)| denies(policy)) {
            Some((_, advice)) => (*advice).to_owned(),
            None => allow(),
        }
    }

    /// Returns the next step for a request that was sent to another region than the bucket's, or `None` for other
    /// failures.
    pub(crate) fn region_advice(&self) -> Option<String> {
        if !matches!(self.code.as_str(), "PermanentRedirect" | "AuthorizationHeaderMalformed" | "HTTP 301") {
            return None;
        }
        // "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-central-1'"
        let region_in_message =
            self.message.split_once("expecting '").and_then(|(_, rest)| rest.split_once('\'')).map(|(name, _)| name);
        Some(match self.bucket_region.as_deref().or(region_in_message) {
            Some(region) => format!("the bucket is in the region {region}: use that region (AWS_REGION={region})"),
            None => "the bucket is in another region: use the bucket's region (AWS_REGION)".to_owned(),
        })
    }
}

const CLOCK_ADVICE: &str = "this machine's clock differs from AWS's by more than some minutes: set the clock";

#[cfg(test)]
mod tests {
    use crate::aws::failure_of_code;

    #[test]
    fn each_credentials_error_has_its_own_next_step() {
        for (code, message, step) in [
            ("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist", "check the key ID"),
            (
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
                "check the key ID",
            ),
            ("SignatureDoesNotMatch", "The request signature we calculated", "set both again"),
            ("com.amazon.coral#InvalidSignatureException", "The request signature we calculated", "set both again"),
            ("InvalidSignatureException", "Signature expired: 20261101T000000Z is now earlier than", "set the clock"),
            ("InvalidSignatureException", "Signature not yet current: 20261101T000000Z", "set the clock"),
            ("InvalidToken", "The provided token is malformed", "set all three values again"),
            ("ExpiredToken", "The provided token has expired.", "the session has expired: renew it"),
            ("ExpiredTokenException", "The security token included in the request is expired", "renew it"),
            ("RequestTimeTooSkewed", "The difference between the request time and", "set the clock"),
            ("OptInRequired", "The AWS Access Key Id needs a subscription", "enable the region"),
        ] {
            let failure = failure_of_code(code, message);
            let text = failure.credentials_text();
            assert!(failure.concerns_credentials(), "{code}");
            assert!(text.contains(step) && text.contains(message) && !text.contains("rerun"), "{text}");
        }
    }

    #[test]
    fn denial_names_the_policy_that_a_permission_cannot_override() {
        let user = "User: arn:aws:sts::111122223333:assumed-role/r/s is not authorized to perform: s3:GetObject on \
                    resource: \"arn:aws:s3:::b/k\"";
        for (reason, step) in [
            ("with an explicit deny in a service control policy", "a service control policy"),
            ("because no service control policy allows the s3:GetObject action", "a service control policy"),
            ("with an explicit deny in a resource control policy", "a resource control policy"),
            ("because no permissions boundary allows the s3:GetObject action", "add it to the boundary"),
            ("with an explicit deny in a permissions boundary", "add it to the boundary"),
            ("because no session policy allows the s3:GetObject action", "without that policy"),
            ("because no VPC endpoint policy allows the s3:GetObject action", "the VPC endpoint"),
            ("with an explicit deny in an identity-based policy", "a policy of this role explicitly denies"),
            ("with an explicit deny in a resource-based policy", "the resource's policy explicitly denies"),
            ("with an explicit deny", "a policy explicitly denies"),
            ("because no identity-based policy allows the s3:GetObject action", "allow it"),
            ("because no resource-based policy allows the s3:GetObject action", "allow it"),
        ] {
            let advice =
                failure_of_code("AccessDenied", &format!("{user} {reason}")).denial_advice(|| "allow it".into());
            assert!(advice.contains(step), "{reason}: {advice}");
        }
    }

    #[test]
    fn region_of_the_bucket_is_named() {
        let malformed =
            "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-central-1'";
        let advice = failure_of_code("AuthorizationHeaderMalformed", malformed).region_advice().unwrap();
        assert!(advice.contains("AWS_REGION=eu-central-1"), "{advice}");
        assert!(failure_of_code("PermanentRedirect", "elsewhere").region_advice().unwrap().contains("another region"));
        assert_eq!(failure_of_code("AccessDenied", "Access Denied").region_advice(), None);
    }
}
