//! Arguments for the access to a bucket.

use super::value::{endpoint_url, region, role_arn};
use clap::Args;
use trailhose::aws::BucketAccess;

/// How the buckets of the sources are accessed. The options replace the settings of `trailhose.toml`.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Access to the bucket")]
pub(crate) struct AccessArgs {
    /// Region of the bucket, if it differs from the configured region
    #[arg(long, value_name = "REGION", value_parser = region)]
    bucket_region: Option<String>,

    /// Role to assume for reading the bucket
    #[arg(long, value_name = "ARN", value_parser = role_arn)]
    role_arn: Option<String>,

    /// External ID that the role requires
    #[arg(long, value_name = "ID", requires = "role_arn")]
    external_id: Option<String>,

    /// Name of the role session, which CloudTrail records [default: trailhose]
    #[arg(long, value_name = "NAME", requires = "role_arn")]
    role_session_name: Option<String>,

    /// Endpoint of S3: an S3-compatible service, a gateway or a VPC endpoint
    #[arg(long, value_name = "URL", value_parser = endpoint_url)]
    endpoint_url: Option<String>,

    /// Use FIPS endpoints for the bucket
    #[arg(long)]
    fips: bool,

    /// Use dual-stack endpoints (IPv4 and IPv6) for the bucket
    #[arg(long)]
    dual_stack: bool,

    /// Pay for the requests: for buckets that require it
    #[arg(long)]
    requester_pays: bool,
}

impl AccessArgs {
    /// Replaces the settings that an option names.
    pub(crate) fn apply(&self, access: &mut BucketAccess) {
        for (option, setting) in [
            (&self.bucket_region, &mut access.region),
            (&self.role_arn, &mut access.role_arn),
            (&self.external_id, &mut access.external_id),
            (&self.role_session_name, &mut access.role_session_name),
            (&self.endpoint_url, &mut access.endpoint_url),
        ] {
            if option.is_some() {
                setting.clone_from(option);
            }
        }
        access.fips |= self.fips;
        access.dual_stack |= self.dual_stack;
        access.requester_pays |= self.requester_pays;
    }
}
