//! The AWS client configuration of a Lambda function.

use super::{app_name, https, retries, timeouts};
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::identity::IdentityCache;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};

/// Returns the same configuration as [`super::config`], but reads only environment variables, in which Lambda provides
/// the region and the role's credentials. Without the other credential providers (profile, web identity, container,
/// instance) the program is 640 KB smaller.
pub fn function_config() -> SdkConfig {
    build_config(Environment(|name| std::env::var(name).ok()))
}

fn build_config(environment: Environment) -> SdkConfig {
    let flag = |name| environment.get(name).map(|value| value.trim().eq_ignore_ascii_case("true"));
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new()))
        .identity_cache(IdentityCache::lazy().build())
        .http_client(https::client())
        .retry_config(retries())
        .timeout_config(timeouts());
    config.set_region(environment.get("AWS_REGION").or_else(|| environment.get("AWS_DEFAULT_REGION")).map(Region::new));
    config.set_endpoint_url(environment.get("AWS_ENDPOINT_URL"));
    config.set_use_fips(flag("AWS_USE_FIPS_ENDPOINT"));
    config.set_use_dual_stack(flag("AWS_USE_DUALSTACK_ENDPOINT"));
    config.set_app_name(app_name());
    config.service_config(environment).build()
}

/// Environment variables, including those of one service such as `AWS_ENDPOINT_URL_S3`. An empty variable counts as
/// unset.
#[derive(Debug)]
struct Environment(fn(&str) -> Option<String>);

impl Environment {
    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }
}

impl LoadServiceConfig for Environment {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let service = key.service_id().replace(' ', "_").to_uppercase();
        self.get(&format!("{}_{service}", key.env())).or_else(|| self.get(key.env()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn region_and_endpoints_come_from_the_environment() {
        let config = build_config(Environment(|name| {
            let value = match name {
                "AWS_REGION" => "eu-west-1",
                "AWS_USE_FIPS_ENDPOINT" => "true",
                "AWS_ENDPOINT_URL" => "http://localhost:1",
                "AWS_ENDPOINT_URL_DYNAMODB" => "http://localhost:2",
                _ => return None,
            };
            Some(value.to_owned())
        }));
        assert_eq!(config.region(), Some(&Region::from_static("eu-west-1")));
        assert_eq!((config.use_fips(), config.use_dual_stack()), (Some(true), None));
        assert_eq!(config.endpoint_url(), Some("http://localhost:1"));
        let endpoint = |service| {
            let key = ServiceConfigKey::builder().service_id(service).env("AWS_ENDPOINT_URL").profile("endpoint_url");
            config.service_config().unwrap().load_config(key.build().unwrap())
        };
        assert_eq!(endpoint("DynamoDB").as_deref(), Some("http://localhost:2"));
        assert_eq!(endpoint("SQS").as_deref(), Some("http://localhost:1"));
        assert!(config.credentials_provider().is_some() && config.identity_cache().is_some());
    }

    // The template declares the variable with an empty value, so that `sam local invoke` passes it.
    #[test]
    fn an_empty_endpoint_is_ignored() {
        let empty = |name: &str| name.starts_with("AWS_ENDPOINT_URL").then(String::new);
        let config = build_config(Environment(empty));
        assert_eq!(config.endpoint_url(), None);
        let key = ServiceConfigKey::builder().service_id("SQS").env("AWS_ENDPOINT_URL").profile("endpoint_url");
        assert_eq!(config.service_config().unwrap().load_config(key.build().unwrap()), None);
    }
}
