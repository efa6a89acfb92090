//! What is found in an account, and which permissions were missing.

use super::{AccountReader, BucketKey, CallerAccount};
use crate::aws::{AwsFailure, FailureKind};
use crate::wire::NotificationDocument;
use std::collections::BTreeMap;

/// A trail that is visible in the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrailSummary {
    /// ARN of the trail.
    pub arn: String,
    /// Name of the trail.
    pub name: String,
    /// Region in which the trail was created.
    pub home_region: String,
    /// Whether the trail records all accounts of an organization.
    pub is_organization: bool,
    /// Whether the trail records all regions.
    pub is_multi_region: bool,
    /// Bucket that the trail writes to.
    pub bucket: String,
    /// Prefix before `AWSLogs/`, without a slash at the end.
    pub prefix: String,
    /// ID or ARN of the KMS key that encrypts the objects.
    pub key: Option<String>,
    /// ARN of the topic to which CloudTrail announces its objects.
    pub topic: Option<String>,
    /// Whether the trail records events. `None` if it is not known.
    pub is_logging: Option<bool>,
}

/// A bucket that trails write to. `None` means that a request failed, which [`Inspection::notes`] names.
#[derive(Debug, Clone)]
pub struct FoundBucket {
    /// Name of the bucket.
    pub name: String,
    /// Prefix before `AWSLogs/`, without a slash at the end.
    pub prefix: String,
    /// The trails that write to it. Empty if the bucket was named by the user.
    pub trails: Vec<TrailSummary>,
    /// Region of the bucket.
    pub region: Option<String>,
    /// Whether the account of the credentials owns the bucket.
    pub is_own: Option<bool>,
    /// Its notifications.
    pub notifications: Option<NotificationDocument>,
    /// The key of its objects. `Some(None)` if there is none.
    pub key: Option<Option<BucketKey>>,
}

/// The result of [`inspect`].
#[derive(Debug, Clone, Default)]
pub struct Inspection {
    /// The account of the credentials. `None` if it is not known.
    pub caller: Option<CallerAccount>,
    /// ID of the organization.
    pub organization: Option<String>,
    /// The buckets, the most suitable one first.
    pub buckets: Vec<FoundBucket>,
    /// One line for each failed request, with the permission to allow, and for each finding that needs attention.
    pub notes: Vec<String>,
}

impl Inspection {
    /// Returns the value, or notes why it is not known.
    fn known<T>(&mut self, action: &str, on: &str, unknown: &str, result: Result<T, AwsFailure>) -> Option<T> {
        let failure = match result {
            Ok(value) => return Some(value),
            Err(failure) => failure,
        };
        let step = match failure.kind {
            _ if failure.concerns_credentials() => failure.credentials_text(),
            FailureKind::Denied => failure.denial_advice(|| format!("allow {action} on {on}")),
            _ => format!("{action} on {on} failed"),
        };
        let text = format!("{step}. Not known: {unknown}. {failure}");
        self.notes.push(text.split_whitespace().collect::<Vec<_>>().join(" "));
        None
    }
}

/// Inspects the account. With `only`, a bucket and a prefix, inspects only this location and the trails that write to it.
pub async fn inspect(account: &dyn AccountReader, only: Option<(&str, &str)>) -> Inspection {
    let mut found = Inspection::default();
    let caller = account.caller().await;
    found.caller = found.known("sts:GetCallerIdentity", "this account", "which account this is", caller);
    let organization = account.organization().await;
    let unknown = "whether the account belongs to an organization";
    found.organization =
        found.known("organizations:DescribeOrganization", "the organization", unknown, organization).flatten();
    let trails = account.trails().await;
    let trails = found.known("cloudtrail:DescribeTrails", "this account", "which trails exist", trails);
    for ((name, prefix), trails) in locations(trails.unwrap_or_default(), only) {
        let bucket = inspect_bucket(account, &mut found, name, prefix, trails).await;
        found.buckets.push(bucket);
    }
    // `false` sorts before `true`, so each criterion is negated.
    found.buckets.sort_by_key(|bucket| {
        let any = |is: fn(&TrailSummary) -> bool| !bucket.trails.iter().any(is);
        (
            any(|trail| trail.is_logging != Some(false)),
            any(|trail| trail.is_organization),
            bucket.is_own == Some(false),
            any(|trail| trail.is_multi_region),
        )
    });
    found
}

type Locations = BTreeMap<(String, String), Vec<TrailSummary>>;

fn locations(trails: Vec<TrailSummary>, only: Option<(&str, &str)>) -> Locations {
    let mut locations = Locations::new();
    if let Some((bucket, prefix)) = only {
        locations.insert((bucket.to_owned(), prefix.to_owned()), Vec::new());
    }
    for trail in trails {
        let location = (trail.bucket.clone(), trail.prefix.clone());
        match (locations.get_mut(&location), only) {
            (Some(trails), _) => trails.push(trail),
            (None, None) => drop(locations.insert(location, vec![trail])),
            (None, Some(_)) => {}
        }
    }
    locations
}

async fn inspect_bucket(
    account: &dyn AccountReader,
    found: &mut Inspection,
    name: String,
    prefix: String,
    mut trails: Vec<TrailSummary>,
) -> FoundBucket {
    for trail in &mut trails {
        let status = account.is_logging(trail).await;
        let unknown = format!("whether trail {} records events", trail.name);
        trail.is_logging = found.known("cloudtrail:GetTrailStatus", &trail.arn, &unknown, status);
        if trail.is_logging == Some(false) {
            found.notes.push(format!(
                "trail {} does not record events: start it with aws cloudtrail start-logging",
                trail.name
            ));
        }
    }
    let on = format!("bucket {name}");
    let region = account.bucket_region(&name).await;
    let region = found.known("s3:ListBucket", &on, "the region of the bucket", region).flatten();
    let mut bucket = FoundBucket { name, prefix, trails, region, is_own: None, notifications: None, key: None };
    let Some(region) = bucket.region.clone() else { return bucket };
    if let Some(caller) = found.caller.clone() {
        let owns = account.owns(&bucket.name, &region, &caller.account).await;
        bucket.is_own = found.known("s3:ListBucket", &on, "which account owns the bucket", owns);
    }
    let notifications = account.notifications(&bucket.name, &region).await;
    let notifications = found.known("s3:GetBucketNotification", &on, "its notifications", notifications);
    bucket.notifications = notifications.and_then(|xml| match NotificationDocument::parse(xml) {
        Ok(document) => Some(document),
        Err(reason) => {
            found.notes.push(format!("cannot interpret the notifications of {on}: {reason}"));
            None
        }
    });
    let public = account.is_public(&bucket.name, &region).await;
    if found.known("s3:GetBucketPolicyStatus", &on, "whether the bucket is public", public) == Some(true) {
        found.notes.push(format!("{on} is public: its policy allows access to everyone. Restrict it"));
    }
    bucket.key = inspect_key(account, found, &bucket, &region).await;
    bucket
}

/// Returns the key of the trails, or else the default key of the bucket.
async fn inspect_key(
    account: &dyn AccountReader,
    found: &mut Inspection,
    bucket: &FoundBucket,
    region: &str,
) -> Option<Option<BucketKey>> {
    let key = match bucket.trails.iter().find_map(|trail| trail.key.clone()) {
        Some(key) => key,
        None => {
            let default = account.default_key(&bucket.name, region).await;
            let on = format!("bucket {}", bucket.name);
            match found.known("s3:GetEncryptionConfiguration", &on, "the default key of the bucket", default)? {
                Some(key) => key,
                None => return Some(None),
            }
        }
    };
    let described = account.key(&key, region).await;
    match found.known("kms:DescribeKey", &format!("key {key}"), "whether the key can be used", described) {
        Some(key) => {
            if !key.is_enabled {
                found.notes.push(format!("key {} is not enabled: objects that it encrypts cannot be read", key.arn));
            }
            Some(Some(key))
        }
        // The ARN is sufficient for the template.
        None if key.starts_with("arn:") && key.contains(":key/") => {
            Some(Some(BucketKey { arn: key, is_enabled: true }))
        }
        None => None,
    }
}
