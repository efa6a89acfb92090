//! Adapter for KMS: keys, their policies and grants.

use super::AwsServices;
use crate::doctor::bucket::{KeyFacts, KeyReader};
use crate::doctor::facts::Fact;
use async_trait::async_trait;
use aws_sdk_kms::Client;
use aws_sdk_kms::types::{GrantOperation, KeyManagerType};

/// Grants in one request.
const GRANTS: i32 = 100;

#[async_trait]
impl KeyReader for AwsServices {
    async fn key(&self, arn: &str) -> Fact<KeyFacts> {
        let region = arn.split(':').nth(3).filter(|region| !region.is_empty());
        let client = match region {
            Some(region) => Client::new(&self.config_in(region)),
            None => Client::new(&self.config),
        };
        let described = self.ask("kms:DescribeKey", arn, client.describe_key().key_id(arn).send());
        let policy =
            self.ask("kms:GetKeyPolicy", arn, client.get_key_policy().key_id(arn).policy_name("default").send());
        let (described, policy, grants) = tokio::join!(described, policy, self.decrypt_grants(&client, arn));
        let metadata = described?.key_metadata;
        let metadata = metadata.as_ref();
        let state = metadata.and_then(|key| key.key_state()).map_or("unknown", |state| state.as_str());
        Ok(KeyFacts {
            state: state.to_owned(),
            aws_managed: metadata.and_then(|key| key.key_manager()) == Some(&KeyManagerType::Aws),
            policy: policy.map(|answer| answer.policy.unwrap_or_default()),
            grants,
        })
    }
}

impl AwsServices {
    /// Returns the principals that a grant of the key allows to decrypt.
    async fn decrypt_grants(&self, client: &Client, arn: &str) -> Fact<Vec<String>> {
        let mut grantees = Vec::new();
        let mut marker = None;
        loop {
            let call = client.list_grants().key_id(arn).limit(GRANTS).set_marker(marker).send();
            let answer = self.ask("kms:ListGrants", arn, call).await?;
            let decrypt = answer.grants().iter().filter(|grant| grant.operations().contains(&GrantOperation::Decrypt));
            grantees.extend(decrypt.filter_map(|grant| grant.grantee_principal().map(str::to_owned)));
            marker = answer.next_marker.filter(|_| answer.truncated);
            if marker.is_none() {
                return Ok(grantees);
            }
        }
    }
}
