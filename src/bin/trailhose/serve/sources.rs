//! Converts sources of the settings file and of the API.

use crate::args::{Location, value};
use crate::settings::SourceSettings;
use crate::sync::plan::{PlannedSource, SyncPlan};
use jiff::civil::Date;
use std::collections::HashMap;
use std::path::PathBuf;
use trailhose::aws::BucketAccess;
use trailhose::listing::folder_level::Filters;
use trailhose::serve::{ApiSourceSettings, DEFAULT_INTERVAL, MIN_INTERVAL, ScheduledSource, SourceOrigin};

/// Returns the sources of the settings file with their IDs, for the scheduler and for the runner.
///
/// # Errors
/// Two sources have the same ID, or an interval is too short.
pub(super) fn of_settings(
    listed: &[SourceSettings],
    plan: &SyncPlan,
) -> Result<(Vec<ScheduledSource>, HashMap<String, PlannedSource>), String> {
    let (mut scheduled, mut planned) = (Vec::<ScheduledSource>::new(), HashMap::new());
    for (source, plan) in listed.iter().zip(&plan.sources) {
        let settings = api_settings(source, plan);
        let id = match &source.id {
            Some(id) if planned.contains_key(id) => return Err(format!("two sources have the id {id:?}")),
            Some(id) => id.clone(),
            None => {
                let is_used =
                    |id: &str| planned.contains_key(id) || listed.iter().any(|other| other.id.as_deref() == Some(id));
                settings.new_id(is_used)
            }
        };
        let interval = source.interval.unwrap_or(DEFAULT_INTERVAL);
        if interval < MIN_INTERVAL {
            let seconds = MIN_INTERVAL.as_secs();
            return Err(format!("the source {id}: interval: expected at least {seconds}s"));
        }
        planned.insert(id.clone(), plan.clone());
        scheduled.push(ScheduledSource { id, origin: SourceOrigin::Settings, settings, interval });
    }
    Ok((scheduled, planned))
}

/// Returns the settings of a source as the API shows them.
fn api_settings(source: &SourceSettings, plan: &PlannedSource) -> ApiSourceSettings {
    let (bucket, prefix, folder) = match &plan.location {
        Location::S3 { bucket, key } => (Some(bucket.clone()), Some(key.clone()).filter(|key| !key.is_empty()), None),
        Location::Path(path) => {
            let path = path.canonicalize().unwrap_or_else(|_| path.clone());
            (None, None, Some(path.display().to_string()))
        }
    };
    let access = &plan.access;
    ApiSourceSettings {
        id: source.id.clone(),
        bucket,
        prefix,
        folder,
        interval: None,
        accounts: plan.filters.accounts.iter().cloned().collect(),
        regions: plan.filters.regions.iter().cloned().collect(),
        kinds: plan.filters.kinds.iter().cloned().collect(),
        since: plan.since.map(|day| day.to_string()),
        until: plan.until.map(|day| day.to_string()),
        bucket_region: access.region.clone(),
        role_arn: access.role_arn.clone(),
        external_id: access.external_id.clone(),
        endpoint_url: access.endpoint_url.clone(),
        profile: access.profile.clone(),
    }
}

/// Returns what is read for a source of the API.
///
/// # Errors
/// A value is invalid.
pub(super) fn planned(settings: &ApiSourceSettings) -> Result<PlannedSource, String> {
    let location = match (&settings.bucket, &settings.folder) {
        (Some(bucket), None) => Location::S3 {
            bucket: value::bucket(bucket).map_err(|what| format!("bucket: {what}"))?,
            key: settings.prefix.clone().unwrap_or_default(),
        },
        (None, Some(folder)) => Location::Path(PathBuf::from(folder)),
        _ => return Err("a source has either a bucket or a folder".into()),
    };
    if settings.external_id.is_some() && settings.role_arn.is_none() {
        return Err("external_id needs role_arn".into());
    }
    let is_folder = settings.folder.is_some();
    let of_bucket = [&settings.bucket_region, &settings.role_arn, &settings.endpoint_url, &settings.profile];
    if is_folder && of_bucket.iter().any(|setting| setting.is_some()) {
        return Err("bucket_region, role_arn, endpoint_url and profile apply to a bucket only".into());
    }
    let parsed = |name: &str, text: &Option<String>, parse: fn(&str) -> Result<String, String>| {
        text.as_deref().map(parse).transpose().map_err(|what| format!("{name}: {what}"))
    };
    let each = |name: &str, list: &[String], parse: &dyn Fn(&str) -> Result<String, String>| {
        let values: Result<_, String> = list.iter().map(|text| parse(text)).collect();
        values.map_err(|what| format!("{name}: {what}"))
    };
    let (since, until) = (day("since", settings.since.as_deref())?, day("until", settings.until.as_deref())?);
    if let (Some(since), Some(until)) = (since, until)
        && until < since
    {
        return Err(format!("since must not be after until ({since} is after {until})"));
    }
    Ok(PlannedSource {
        location,
        access: BucketAccess {
            region: parsed("bucket_region", &settings.bucket_region, value::region)?,
            profile: settings.profile.clone(),
            role_arn: parsed("role_arn", &settings.role_arn, value::role_arn)?,
            external_id: settings.external_id.clone(),
            endpoint_url: parsed("endpoint_url", &settings.endpoint_url, value::endpoint_url)?,
            ..BucketAccess::default()
        },
        filters: Filters {
            accounts: each("accounts", &settings.accounts, &value::account)?,
            kinds: each("kinds", &settings.kinds, &|text| value::kind(text).map(|kind| kind.to_string()))?,
            regions: each("regions", &settings.regions, &value::region)?,
        },
        since,
        until,
        allow_empty: true,
    })
}

/// Parses a day. Days relative to now would change their meaning when the server starts again.
fn day(name: &str, text: Option<&str>) -> Result<Option<Date>, String> {
    let Some(text) = text else { return Ok(None) };
    text.parse().map(Some).map_err(|_| format!("{name}: expected a day, for example 2026-11-01"))
}
