//! Findings in the format of OCSF: class 2004, Detection Finding.
//!
//! The required attributes and the numbers are those of the schema version [`SCHEMA_VERSION`]
//! (<https://schema.ocsf.io/1.7.0/classes/detection_finding>). Values without an attribute in the
//! schema are in `unmapped`.

use super::DetectionFinding;
use super::alert::rfc3339;
use serde_json::{Value, json};

/// The version of the OCSF schema.
const SCHEMA_VERSION: &str = "1.7.0";

/// Returns a finding as an OCSF Detection Finding. `state` is open, acknowledged, closed or suppressed. `recorded` is the
/// time at which the finding was recorded, in seconds since 1970.
pub fn ocsf(finding: &DetectionFinding, state: &str, recorded: i64) -> Value {
    let DetectionFinding { rule, event, fields, omitted_fields, suppression } = finding;
    let seen = event.time.unwrap_or(recorded).saturating_mul(1_000);
    let recorded_at = recorded.saturating_mul(1_000);
    let (severity_id, severity) = match rule.level.as_str() {
        "informational" => (1, "Informational"),
        "low" => (2, "Low"),
        "medium" => (3, "Medium"),
        "high" => (4, "High"),
        "critical" => (5, "Critical"),
        _ => (0, "Unknown"),
    };
    let (status_id, status) = match state {
        "open" => (1, "New"),
        "acknowledged" => (2, "In Progress"),
        "suppressed" => (3, "Suppressed"),
        "closed" => (4, "Resolved"),
        _ => (0, "Unknown"),
    };
    let (activity_id, activity) = match state {
        "open" => (1, "Create"),
        "closed" => (3, "Close"),
        _ => (2, "Update"),
    };
    let mut evidence = json!({
        "actor": {"user": {"uid": event.principal}},
        "api": {"operation": event.name, "service": {"name": event.source}},
        "data": {"matched_fields": fields, "omitted_fields": omitted_fields},
    });
    if event.address.parse::<std::net::IpAddr>().is_ok() {
        evidence["src_endpoint"] = json!({"ip": event.address});
    } else if !event.address.is_empty() {
        // A service name: requests that AWS makes on behalf of a principal.
        evidence["src_endpoint"] = json!({"svc_name": event.address});
    }
    if !event.error.is_empty() {
        evidence["api"]["response"] = json!({"error": event.error});
    }
    json!({
        "activity_id": activity_id,
        "activity_name": activity,
        "category_uid": 2,
        "category_name": "Findings",
        "class_uid": 2004,
        "class_name": "Detection Finding",
        "type_uid": 200_400 + activity_id,
        "time": recorded_at,
        "start_time": seen,
        "severity_id": severity_id,
        "severity": severity,
        "status_id": status_id,
        "status": status,
        "message": rule.title,
        "cloud": {"provider": "AWS", "account": {"uid": event.account}, "region": event.region},
        "metadata": {
            "version": SCHEMA_VERSION,
            "profiles": ["cloud"],
            "uid": finding.id().to_string(),
            "product": {"name": "trailhose", "vendor_name": "trailhose", "version": env!("CARGO_PKG_VERSION")},
        },
        "finding_info": {
            "uid": finding.id().to_string(),
            "title": rule.title,
            "created_time": recorded_at,
            "first_seen_time": seen,
            "data_sources": ["AWS CloudTrail"],
            "analytic": {"type_id": 1, "type": "Rule", "uid": rule.id, "name": rule.title, "version": rule.version},
            "attacks": attacks(&rule.tags),
            "related_events": [{"uid": event.id, "type": "CloudTrail event"}],
        },
        "evidences": [evidence],
        "unmapped": {
            "rule": {
                "id": rule.id, "sha256": rule.version, "author": rule.author, "license": rule.license,
                "level": rule.level, "tags": rule.tags,
            },
            "suppression": suppression,
            "event": {
                "id": event.id, "time": event.time.map(rfc3339), "file": event.file, "member": event.member,
                "offset": event.offset, "length": event.length,
            },
        },
    })
}

/// Returns the techniques and tactics that the tags of a Sigma rule name: `attack.t1562.008`, `attack.defense-evasion`.
fn attacks(tags: &[String]) -> Vec<Value> {
    let names = tags.iter().filter_map(|tag| tag.strip_prefix("attack."));
    names.filter_map(attack).collect()
}

fn attack(name: &str) -> Option<Value> {
    let rest = || name.chars().skip(1);
    let is_technique = name.starts_with('t') && rest().next().is_some_and(|digit| digit.is_ascii_digit());
    if is_technique {
        let uid = name.to_ascii_uppercase();
        return Some(match uid.split_once('.') {
            Some((technique, _)) => json!({"technique": {"uid": technique}, "sub_technique": {"uid": uid}}),
            None => json!({"technique": {"uid": uid}}),
        });
    }
    // Groups and software (`attack.g0016`, `attack.s0002`) have no attribute of their own.
    let is_other = rest().all(|digit| digit.is_ascii_digit());
    (!is_other).then(|| json!({"tactic": {"name": name.replace(['-', '_'], " ")}}))
}

#[cfg(test)]
mod tests {
    use super::super::tests::finding;
    use super::*;

    /// The attributes that the OCSF schema requires of the class, of its base event, and of the objects that a finding uses.
    const REQUIRED: [&str; 14] = [
        "/activity_id",
        "/category_uid",
        "/class_uid",
        "/type_uid",
        "/time",
        "/severity_id",
        "/metadata/version",
        "/metadata/product/name",
        "/finding_info/uid",
        "/finding_info/analytic/type_id",
        "/finding_info/related_events/0/uid",
        "/cloud/provider",
        "/evidences/0/api/operation",
        "/evidences/0/actor/user/uid",
    ];

    #[test]
    fn required_attributes_are_present() {
        let found = ocsf(&finding("r", "e", 100, "alice"), "open", 200);
        for path in REQUIRED {
            assert!(found.pointer(path).is_some_and(|value| !value.is_null()), "{path}");
        }
        assert_eq!(found["type_uid"], 200_401);
        assert_eq!((&found["time"], &found["start_time"]), (&json!(200_000), &json!(100_000)));
        assert_eq!((&found["severity_id"], &found["status_id"]), (&json!(4), &json!(1)));
        assert_eq!(found["evidences"][0]["src_endpoint"]["ip"], "192.0.2.1");
    }

    #[test]
    fn author_license_hash_and_techniques_are_kept() {
        let found = ocsf(&finding("r", "e", 100, "alice"), "closed", 200);
        assert_eq!(found["unmapped"]["rule"]["author"], "an author");
        assert_eq!(found["unmapped"]["rule"]["license"], "DRL-1.1");
        assert_eq!(found["unmapped"]["rule"]["sha256"], "ab".repeat(32));
        let expected = json!([
            {"tactic": {"name": "defense evasion"}},
            {"technique": {"uid": "T1562"}, "sub_technique": {"uid": "T1562.008"}},
        ]);
        assert_eq!(found["finding_info"]["attacks"], expected);
        assert_eq!((&found["type_uid"], &found["status_id"]), (&json!(200_403), &json!(4)));
    }

    #[test]
    fn tags_of_groups_and_other_tags_are_not_attacks() {
        let tags = ["attack.g0016", "attack.", "cve.2021-44228", "attack.t1078"].map(str::to_owned);
        assert_eq!(attacks(&tags), [json!({"technique": {"uid": "T1078"}})]);
    }
}
