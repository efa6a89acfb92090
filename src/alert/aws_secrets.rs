//! Secrets in AWS Secrets Manager, and in encrypted parameters of AWS Systems Manager.

use super::{SecretStore, region_of};
use crate::aws::{AwsFailure, FailureKind, failure};
use crate::http::Secret;
use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_ssm::types::ParameterType;
use std::time::Duration;

/// The time limit of reading a secret, with retries. The lease of a destination includes it.
const READ_TIME: Duration = Duration::from_secs(10);

/// Reads secrets by their ARN, in the region of the ARN.
#[derive(Debug)]
pub struct AwsSecrets {
    config: SdkConfig,
}

impl AwsSecrets {
    /// Creates a reader with the credentials of `config`.
    pub fn new(config: &SdkConfig) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(3))
            .operation_attempt_timeout(READ_TIME / 2)
            .operation_timeout(READ_TIME);
        Self { config: config.to_builder().timeout_config(timeouts.build()).build() }
    }

    /// Returns the configuration for the region of an ARN.
    fn regional(&self, arn: &str) -> SdkConfig {
        self.config.to_builder().region(region_of(arn).or_else(|| self.config.region().cloned())).build()
    }

    async fn secret(&self, arn: &str) -> Result<Option<String>, String> {
        let client = aws_sdk_secretsmanager::Client::new(&self.regional(arn));
        match client.get_secret_value().secret_id(arn).send().await {
            Ok(found) => Ok(found.secret_string),
            Err(error) => Err(unreadable(arn, "secretsmanager:GetSecretValue", &failure(&error))),
        }
    }

    async fn parameter(&self, arn: &str) -> Result<Option<String>, String> {
        let client = aws_sdk_ssm::Client::new(&self.regional(arn));
        match client.get_parameter().name(arn).with_decryption(true).send().await {
            Ok(found) => match found.parameter {
                Some(found) if found.r#type == Some(ParameterType::SecureString) => Ok(found.value),
                _ => Err(format!(
                    "the parameter {arn} is not encrypted: create it with the type SecureString, and replace its content"
                )),
            },
            Err(error) => Err(unreadable(arn, "ssm:GetParameter", &failure(&error))),
        }
    }
}

#[async_trait]
impl SecretStore for AwsSecrets {
    async fn read(&self, arn: &str) -> Result<Secret, String> {
        let text = match arn.split(':').nth(2) {
            Some("secretsmanager") => self.secret(arn).await?,
            Some("ssm") => self.parameter(arn).await?,
            _ => return Err(format!("{arn} is neither the ARN of a secret nor of a parameter")),
        };
        text.map(Secret::new).ok_or_else(|| format!("the secret {arn} has no text: it is binary"))
    }
}

/// Returns why a secret cannot be read, and the next step.
fn unreadable(arn: &str, action: &str, failure: &AwsFailure) -> String {
    // Both services report a denied key as a denied request or with an error code of their own. In most cases the message
    // names no action.
    let texts = ["KMS", "kms:", "customer master key", "ciphertext"];
    let concerns_key = texts.iter().any(|text| failure.message.contains(text)) || failure.code == "InvalidKeyId";
    let advice = match failure.kind {
        _ if failure.concerns_credentials() => {
            return format!("the secret {arn} cannot be read: {}", failure.credentials_text());
        }
        _ if concerns_key || failure.code == "DecryptionFailure" => failure.denial_advice(|| {
            "allow kms:Decrypt on the key of the secret: set AlertSecretKeyArns, and check the policy of the key".into()
        }),
        FailureKind::Denied => failure.denial_advice(|| format!("allow {action} on {arn}")),
        FailureKind::Throttled | FailureKind::Unknown => "the next invocation tries again".into(),
        FailureKind::NotFound | FailureKind::Refused | FailureKind::Invalid => {
            "check that it exists and is not marked for deletion, and that the ARN is complete".into()
        }
    };
    format!("the secret {arn} cannot be read: {failure}; {advice}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::failure_of_code;

    const ARN: &str = "arn:aws:ssm:eu-west-1:111122223333:parameter/trailhose/slack";

    #[test]
    fn error_names_the_secret_and_the_missing_action() {
        let user = "User: arn:aws:sts::111122223333:assumed-role/detect/x is not authorized to perform:";
        for (code, message, step) in [
            (
                "AccessDeniedException",
                format!("{user} ssm:GetParameter on resource: {ARN}"),
                format!("allow ssm:GetParameter on {ARN}"),
            ),
            ("AccessDeniedException", "Access to KMS is not allowed".into(), "allow kms:Decrypt".into()),
            ("AccessDeniedException", format!("{user} kms:Decrypt on resource: key"), "allow kms:Decrypt".into()),
            (
                "AccessDeniedException",
                format!("{user} ssm:GetParameter with an explicit deny in a service control policy"),
                "organization's administrator".into(),
            ),
            ("ThrottlingException", "Rate exceeded".into(), "tries again".into()),
            ("ResourceNotFoundException", "can't find the specified secret".into(), "check that it exists".into()),
        ] {
            let error = unreadable(ARN, "ssm:GetParameter", &failure_of_code(code, &message));
            assert!(
                error.contains(&step) && error.starts_with(&format!("the secret {ARN} cannot be read: ")),
                "{error}"
            );
        }
    }
}
