//! How the bucket of a source is accessed: credentials, endpoint and region, if they differ from the program's own.

use super::{config, credentials, s3, s3_access_point};
use aws_config::SdkConfig;
use aws_config::sts::AssumeRoleProvider;

/// The name of a role session, if none is given. It appears in CloudTrail.
const SESSION_NAME: &str = "trailhose";

/// How to access one bucket. The default uses the program's own credentials, region and endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BucketAccess {
    /// The region of the bucket.
    pub region: Option<String>,
    /// A profile of the AWS configuration files.
    pub profile: Option<String>,
    /// A role to assume, with the credentials of the profile.
    pub role_arn: Option<String>,
    /// The external ID that the role's trust policy requires.
    pub external_id: Option<String>,
    /// The name of the role session.
    pub role_session_name: Option<String>,
    /// The endpoint for requests to S3: an S3-compatible service, a gateway or a VPC endpoint.
    pub endpoint_url: Option<String>,
    /// Whether to use FIPS endpoints.
    pub fips: bool,
    /// Whether to use dual-stack endpoints (IPv4 and IPv6).
    pub dual_stack: bool,
    /// Whether this account pays for the requests.
    pub requester_pays: bool,
}

impl BucketAccess {
    /// Returns whether the credentials or the endpoints differ from the program's own.
    pub fn needs_own_config(&self) -> bool {
        self.profile.is_some() || self.role_arn.is_some() || self.fips || self.dual_stack
    }

    /// Loads the configuration for this access. The credentials of a role are renewed before they expire.
    ///
    /// # Errors
    /// Returns one line with the next step if there are no credentials, or if the role cannot be assumed.
    pub async fn load(&self) -> Result<SdkConfig, String> {
        let base = config(self).await;
        credentials::check(&base).await?;
        let Some(role) = &self.role_arn else { return Ok(base) };
        let name = self.role_session_name.as_deref().unwrap_or(SESSION_NAME);
        let mut builder = AssumeRoleProvider::builder(role).session_name(name).configure(&base);
        if let Some(id) = &self.external_id {
            builder = builder.external_id(id);
        }
        if let Some(region) = self.region.as_ref().map(|region| aws_config::Region::new(region.clone())) {
            builder = builder.region(region);
        }
        let config =
            credentials::with_role(&base, builder.build_from_provider(credentials::provider(&base)?).await, role);
        credentials::check(&config).await?;
        Ok(config)
    }

    /// Returns an S3 client for `bucket`, a name or the ARN of an access point, with `config`.
    pub fn client(&self, bucket: &str, config: &SdkConfig) -> aws_sdk_s3::Client {
        let mut builder = config.to_builder();
        if let Some(region) = &self.region {
            builder = builder.region(aws_config::Region::new(region.clone()));
        }
        let config = builder.build();
        let client = if bucket.starts_with("arn:") { s3_access_point(&config) } else { s3(&config) };
        match &self.endpoint_url {
            None => client,
            // Set in the client's own configuration: in the shared one, AWS_ENDPOINT_URL takes precedence.
            Some(url) => {
                let config =
                    client.config().to_builder().endpoint_url(url).force_path_style(!bucket.starts_with("arn:"));
                aws_sdk_s3::Client::from_conf(config.build())
            }
        }
    }
}
