//! Adapter for Service Quotas.

use super::AwsServices;
use crate::doctor::facts::Fact;
use crate::doctor::quota::QuotaReader;
use async_trait::async_trait;
use aws_sdk_servicequotas::Client;

#[async_trait]
impl QuotaReader for AwsServices {
    async fn quota(&self, service: &str, name: &str) -> Fact<Option<f64>> {
        let client = Client::new(&self.config);
        let mut token = None;
        loop {
            let call = client.list_service_quotas().service_code(service).max_results(100).set_next_token(token).send();
            let answer = self.ask("servicequotas:ListServiceQuotas", service, call).await?;
            let found = answer.quotas().iter().find(|quota| quota.quota_name() == Some(name));
            if let Some(value) = found.and_then(|quota| quota.value()) {
                return Ok(Some(value));
            }
            token = answer.next_token;
            if token.is_none() {
                return Ok(None);
            }
        }
    }
}
