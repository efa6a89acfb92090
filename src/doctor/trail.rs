//! Checks of the trails that write to the bucket.

use super::catalog::{
    Check, TRAIL_DELIVERY, TRAIL_EVENTS, TRAIL_FOUND, TRAIL_LOGGING, TRAIL_ORGANIZATION, TRAIL_REGIONS,
    TRAIL_VALIDATION,
};
use super::deployment::Deployment;
use super::facts::{Fact, all};
use super::finding::{Finding, Verdict};
use async_trait::async_trait;

/// Seconds without a delivery after which the check warns. The trail of an account in use delivers every few minutes.
const LONG_WITHOUT_DELIVERY: i64 = 86_400;

/// A trail and its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrailFacts {
    /// ARN of the trail.
    pub arn: String,
    /// Bucket that the trail writes to.
    pub bucket: String,
    /// Prefix before `AWSLogs/`.
    pub prefix: String,
    /// Whether it records all accounts of an organization.
    pub organization: bool,
    /// Whether it records all regions.
    pub all_regions: bool,
    /// Whether it records global services.
    pub global_services: bool,
    /// Whether it writes digest files.
    pub validation: bool,
    /// ARN of the KMS key that encrypts its objects.
    pub key: Option<String>,
    /// ARN of the SNS topic on which CloudTrail announces its files.
    pub topic: Option<String>,
    /// Its status.
    pub status: Fact<TrailStatus>,
    /// What it records.
    pub selection: Fact<EventSelection>,
}

/// The status of a trail.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrailStatus {
    /// Whether it records events.
    pub logging: bool,
    /// Time of the last delivery, in seconds since 1970.
    pub last_delivery: Option<i64>,
    /// Error of the last delivery.
    pub error: Option<String>,
}

/// What the event selectors of a trail include.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventSelection {
    /// Whether management events that read are recorded.
    pub management_reads: bool,
    /// Whether management events that write are recorded.
    pub management_writes: bool,
    /// Services whose management events are excluded.
    pub excluded: Vec<String>,
    /// Resource types whose data events are recorded.
    pub data: Vec<String>,
}

/// Reads trails.
#[async_trait]
pub trait TrailReader: Send + Sync {
    /// Returns the trails of all regions that write to this bucket.
    async fn trails(&self, bucket: &str) -> Fact<Vec<TrailFacts>>;
}

/// Evaluates the trails at a time in seconds since 1970.
type TrailEvaluation = fn(&[TrailFacts], i64) -> Fact<Verdict>;

pub(super) fn examine(trails: &Fact<Vec<TrailFacts>>, deployment: &Deployment, now: i64) -> Vec<Finding> {
    let checks: [(&Check, TrailEvaluation); 6] = [
        (&TRAIL_LOGGING, logging),
        (&TRAIL_DELIVERY, delivery),
        (&TRAIL_ORGANIZATION, |trails, _| Ok(organization(trails))),
        (&TRAIL_REGIONS, |trails, _| Ok(regions(trails))),
        (&TRAIL_VALIDATION, |trails, _| Ok(validation(trails))),
        (&TRAIL_EVENTS, |trails, _| events(trails)),
    ];
    let mut findings = vec![TRAIL_FOUND.finding_of(trails, |trails| found(trails, deployment))];
    for (check, evaluate) in checks {
        findings.push(match trails {
            Err(error) => check.unknown(error),
            Ok(trails) if trails.is_empty() => check.finding(Verdict::not_applicable("no trail was found")),
            Ok(trails) => check.finding_of(&evaluate(trails, now), Verdict::clone),
        });
    }
    findings
}

fn found(trails: &[TrailFacts], deployment: &Deployment) -> Verdict {
    let bucket = deployment.bucket.as_deref().unwrap_or_default();
    if trails.is_empty() {
        return Verdict::warning(
            format!("no trail of this account writes to {bucket}"),
            "run trailhose doctor with credentials of the account that owns the trail, or create the trail",
        );
    }
    let wanted = deployment.prefix.trim_matches('/');
    let names = trails.iter().map(|trail| trail.arn.as_str()).collect::<Vec<_>>().join(", ");
    match trails.iter().find(|trail| !wanted.is_empty() && !covers(wanted, trail.prefix.trim_matches('/'))) {
        Some(other) => Verdict::warning(
            format!("{} writes to the prefix {:?}, but LogPrefix is {wanted:?}", other.arn, other.prefix),
            "set LogPrefix to the prefix of the trail, or leave it empty, so that the backfill finds its objects",
        ),
        None => Verdict::ok(names),
    }
}

/// Returns whether a listing of `wanted` includes the objects of a trail with this prefix.
fn covers(wanted: &str, prefix: &str) -> bool {
    // LogPrefix can also name a folder below AWSLogs/, such as that of one organization.
    prefix == wanted || prefix.starts_with(&format!("{wanted}/")) || wanted.starts_with(&format!("{prefix}/AWSLogs"))
}

fn logging(trails: &[TrailFacts], _: i64) -> Fact<Verdict> {
    let states = all(trails.iter().map(|trail| trail.status.clone()).collect())?;
    let stopped = names(trails, |index, _| !states[index].logging);
    Ok(match stopped.as_slice() {
        [] => Verdict::ok("recording"),
        stopped => Verdict::failed(
            format!("stopped: {}", stopped.join(", ")),
            format!("aws cloudtrail start-logging --name {}", stopped[0]),
        ),
    })
}

fn delivery(trails: &[TrailFacts], now: i64) -> Fact<Verdict> {
    let states = all(trails.iter().map(|trail| trail.status.clone()).collect())?;
    for (trail, status) in trails.iter().zip(&states) {
        if let Some(error) = status.error.as_deref().filter(|error| !error.is_empty()) {
            return Ok(Verdict::failed(
                format!("{}: the last delivery failed: {error}", trail.arn),
                "correct the policy of the bucket and of the KMS key, so that CloudTrail may write",
            ));
        }
    }
    let last = states.iter().filter_map(|status| status.last_delivery).max();
    Ok(match last {
        None => Verdict::warning(
            "no object was delivered yet",
            "wait 15 minutes after the creation of the trail, then run trailhose doctor again",
        ),
        Some(last) if now - last > LONG_WITHOUT_DELIVERY => Verdict::warning(
            format!("the last object was delivered {}", super::text::ago(now - last)),
            "check that the trail records events and that the accounts are in use",
        ),
        Some(last) => Verdict::ok(format!("the last object was delivered {}", super::text::ago(now - last))),
    })
}

fn organization(trails: &[TrailFacts]) -> Verdict {
    match trails.iter().find(|trail| trail.organization) {
        Some(trail) => Verdict::ok(format!("{} is an organization trail", trail.arn)),
        None => Verdict::warning(
            "no organization trail",
            "create an organization trail in the management account; for a single account, use --skip trail.organization",
        ),
    }
}

fn regions(trails: &[TrailFacts]) -> Verdict {
    if let Some(trail) = trails.iter().find(|trail| trail.all_regions && trail.global_services) {
        return Verdict::ok(format!("{} records all regions and global services", trail.arn));
    }
    let name = &trails[0].arn;
    Verdict::warning(
        "no trail records all regions and global services",
        format!("aws cloudtrail update-trail --name {name} --is-multi-region-trail --include-global-service-events"),
    )
}

fn validation(trails: &[TrailFacts]) -> Verdict {
    match names(trails, |_, trail| !trail.validation).as_slice() {
        [] => Verdict::ok("enabled"),
        without => Verdict::warning(
            format!("disabled: {}", without.join(", ")),
            format!("aws cloudtrail update-trail --name {} --enable-log-file-validation", without[0]),
        ),
    }
}

fn events(trails: &[TrailFacts]) -> Fact<Verdict> {
    let selections = all(trails.iter().map(|trail| trail.selection.clone()).collect())?;
    let any = |has: fn(&EventSelection) -> bool| selections.iter().any(has);
    let excluded: Vec<String> = match selections.iter().find(|one| one.management_writes && one.excluded.is_empty()) {
        Some(_) => Vec::new(),
        None => selections.iter().flat_map(|one| one.excluded.clone()).collect(),
    };
    let mut data: Vec<String> = selections.iter().flat_map(|one| one.data.clone()).collect();
    data.sort();
    data.dedup();
    let data = match data.is_empty() {
        true => "no data events".to_owned(),
        false => format!("data events of {}", data.join(", ")),
    };
    let missing = match (any(|one| one.management_reads), any(|one| one.management_writes)) {
        (true, true) if excluded.is_empty() => {
            return Ok(Verdict::ok(format!("all management events, {data}")));
        }
        (true, true) => format!("management events of {} are excluded", excluded.join(", ")),
        (false, true) => "management events that only read are excluded".to_owned(),
        (true, false) => "management events that change something are excluded".to_owned(),
        (false, false) => "no management events".to_owned(),
    };
    Ok(Verdict::warning(
        format!("{missing}; {data}"),
        "if this is not intended, change the event selectors: aws cloudtrail put-event-selectors",
    ))
}

fn names(trails: &[TrailFacts], select: impl Fn(usize, &TrailFacts) -> bool) -> Vec<String> {
    let selected = trails.iter().enumerate().filter(|(index, trail)| select(*index, trail));
    selected.map(|(_, trail)| trail.arn.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::facts::FactError;
    use crate::doctor::finding::CheckStatus;

    const NOW: i64 = 1_795_132_800;

    fn trail() -> TrailFacts {
        TrailFacts {
            arn: "arn:aws:cloudtrail:eu-west-1:111122223333:trail/all".into(),
            bucket: "logs".into(),
            prefix: String::new(),
            organization: true,
            all_regions: true,
            global_services: true,
            validation: true,
            key: None,
            topic: None,
            status: Ok(TrailStatus { logging: true, last_delivery: Some(NOW - 300), error: None }),
            selection: Ok(EventSelection {
                management_reads: true,
                management_writes: true,
                ..EventSelection::default()
            }),
        }
    }

    async fn finding(trails: Vec<TrailFacts>, id: &str) -> Finding {
        let deployment = Deployment { bucket: Some("logs".into()), ..Deployment::default() };
        let found = examine(&Ok(trails), &deployment, NOW);
        found.into_iter().find(|finding| finding.id == id).unwrap()
    }

    #[tokio::test]
    async fn complete_trail_has_no_finding() {
        let deployment = Deployment { bucket: Some("logs".into()), ..Deployment::default() };
        for finding in examine(&Ok(vec![trail()]), &deployment, NOW) {
            assert_eq!(finding.status, CheckStatus::Ok, "{finding:?}");
        }
    }

    #[tokio::test]
    async fn each_setting_has_its_own_finding() {
        let status = |status| TrailFacts { status: Ok(status), ..trail() };
        let working = trail().status.unwrap();
        let selection = |selection| TrailFacts { selection: Ok(selection), ..trail() };
        let all = trail().selection.unwrap();
        for (trail, id, expected, text) in [
            (
                status(TrailStatus { logging: false, ..working.clone() }),
                "trail.logging",
                CheckStatus::Failed,
                "stopped",
            ),
            (
                status(TrailStatus { error: Some("AccessDenied".into()), ..working.clone() }),
                "trail.delivery",
                CheckStatus::Failed,
                "AccessDenied",
            ),
            (
                status(TrailStatus { last_delivery: None, ..working.clone() }),
                "trail.delivery",
                CheckStatus::Warning,
                "no object",
            ),
            (
                status(TrailStatus { last_delivery: Some(NOW - 90_000), ..working }),
                "trail.delivery",
                CheckStatus::Warning,
                "25 hours ago",
            ),
            (
                TrailFacts { organization: false, ..trail() },
                "trail.organization",
                CheckStatus::Warning,
                "no organization",
            ),
            (TrailFacts { global_services: false, ..trail() }, "trail.regions", CheckStatus::Warning, "all regions"),
            (TrailFacts { validation: false, ..trail() }, "trail.validation", CheckStatus::Warning, "trail/all"),
            (
                selection(EventSelection { management_writes: false, ..all.clone() }),
                "trail.events",
                CheckStatus::Warning,
                "change something",
            ),
            (
                selection(EventSelection { excluded: vec!["kms.amazonaws.com".into()], ..all.clone() }),
                "trail.events",
                CheckStatus::Warning,
                "kms",
            ),
            (
                selection(EventSelection { data: vec!["AWS::S3::Object".into()], ..all }),
                "trail.events",
                CheckStatus::Ok,
                "data events of AWS::S3::Object",
            ),
        ] {
            let finding = finding(vec![trail], id).await;
            assert_eq!(finding.status, expected, "{finding:?}");
            assert!(finding.found.contains(text), "{finding:?}");
        }
    }

    #[tokio::test]
    async fn absent_trail_is_a_warning_and_a_denied_call_names_the_permission() {
        assert_eq!(finding(vec![], "trail.found").await.status, CheckStatus::Warning);
        assert_eq!(finding(vec![], "trail.logging").await.status, CheckStatus::NotApplicable);
        let denied = FactError::Denied {
            action: "cloudtrail:GetTrailStatus".into(),
            resource: trail().arn,
            advice: "allow it".into(),
        };
        let finding = finding(vec![TrailFacts { status: Err(denied), ..trail() }], "trail.logging").await;
        assert_eq!(
            (finding.status, finding.permission.unwrap().action.as_str()),
            (CheckStatus::NotPermitted, "cloudtrail:GetTrailStatus")
        );
    }

    #[tokio::test]
    async fn prefix_that_the_backfill_does_not_list_is_a_warning() {
        for (prefix, wanted, expected) in [
            ("a", "", CheckStatus::Ok),
            ("a", "a/", CheckStatus::Ok),
            ("a", "a/AWSLogs/o-1", CheckStatus::Ok),
            ("a/b", "a", CheckStatus::Ok),
            ("b", "a", CheckStatus::Warning),
        ] {
            let deployment = Deployment { bucket: Some("logs".into()), prefix: wanted.into(), ..Deployment::default() };
            let trails = [TrailFacts { prefix: prefix.into(), ..trail() }];
            assert_eq!(TRAIL_FOUND.finding(found(&trails, &deployment)).status, expected, "{prefix} {wanted}");
        }
    }
}
