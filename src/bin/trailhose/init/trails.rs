//! Finds the trails of an account in several regions.

use crate::components::Aws;
use serde::Serialize;
use std::collections::BTreeMap;
use trailhose::aws::{self, FailureKind};

/// A trail of the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Trail {
    pub(super) arn: String,
    pub(super) name: String,
    /// Home region. In other regions a trail is visible as a shadow trail.
    pub(super) home: String,
    pub(super) scope: TrailScope,
    #[serde(skip)]
    pub(super) bucket: String,
    #[serde(skip)]
    pub(super) prefix: String,
    pub(super) kms_key: Option<String>,
    pub(super) sns_topic: Option<String>,
    /// The searched regions in which the trail is visible.
    pub(super) seen_from: Vec<String>,
}

/// Accounts and regions whose events a trail records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum TrailScope {
    /// All accounts of an organization, in all regions, or in one region if the trail is not multi-region.
    Organization,
    /// All regions of its account.
    EveryRegion,
    /// The home region of its account.
    OneRegion,
}

impl std::fmt::Display for Trail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, home, .. } = self;
        let what = match self.scope {
            TrailScope::Organization => "organization trail",
            TrailScope::EveryRegion => "multi-region trail",
            TrailScope::OneRegion => "single-region trail",
        };
        write!(f, "{what} {name}, home {home}")?;
        let shadows: Vec<&str> = self.seen_from.iter().map(String::as_str).filter(|region| region != home).collect();
        if shadows.is_empty() { Ok(()) } else { write!(f, " (shadow trail in {})", shadows.join(", ")) }
    }
}

/// Describes the trails of every region and merges those with the same ARN.
///
/// # Errors
/// A region did not respond. Incomplete settings are not returned.
pub(super) async fn describe(aws: &Aws, regions: &[String]) -> Result<Vec<Trail>, String> {
    let mut trails: BTreeMap<String, Trail> = BTreeMap::new();
    for region in regions {
        let client = aws_sdk_cloudtrail::Client::new(&aws.config_in(region).await?);
        let answer = client.describe_trails().include_shadow_trails(true).send().await.map_err(|error| {
            let failure = aws::failure(&error);
            match failure.kind {
                _ if failure.concerns_credentials() => format!("{region}: {}", failure.credentials_text()),
                FailureKind::Denied => {
                    let allow = || "allow cloudtrail:DescribeTrails for these credentials".to_owned();
                    format!("{region}: {}. {failure}", failure.denial_advice(allow))
                }
                _ => format!("{region}: cloudtrail:DescribeTrails failed: {failure}"),
            }
        })?;
        for trail in answer.trail_list() {
            let Some(seen) = read(trail, region) else {
                return Err(format!("{region}: trail without ARN or bucket: {trail:?}"));
            };
            trails
                .entry(seen.arn.clone())
                .or_insert(Trail { seen_from: Vec::new(), ..seen })
                .seen_from
                .push(region.clone());
        }
    }
    Ok(trails.into_values().collect())
}

fn read(trail: &aws_sdk_cloudtrail::types::Trail, region: &str) -> Option<Trail> {
    let text = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
    let scope = match (trail.is_organization_trail(), trail.is_multi_region_trail()) {
        (Some(true), _) => TrailScope::Organization,
        (_, Some(true)) => TrailScope::EveryRegion,
        _ => TrailScope::OneRegion,
    };
    Some(Trail {
        arn: text(trail.trail_arn())?,
        name: text(trail.name())?,
        home: text(trail.home_region()).unwrap_or_else(|| region.to_owned()),
        scope,
        bucket: text(trail.s3_bucket_name())?,
        prefix: text(trail.s3_key_prefix()).unwrap_or_default(),
        kms_key: text(trail.kms_key_id()),
        sns_topic: text(trail.sns_topic_arn()),
        seen_from: Vec::new(),
    })
}

/// Groups trails by bucket and prefix. Trails that write to the same location are one source.
pub(super) fn by_location(trails: Vec<Trail>) -> BTreeMap<(String, String), Vec<Trail>> {
    let mut locations: BTreeMap<_, Vec<Trail>> = BTreeMap::new();
    for trail in trails {
        let prefix = trail.prefix.trim_end_matches('/').to_owned();
        locations.entry((trail.bucket.clone(), prefix)).or_default().push(trail);
    }
    locations
}
