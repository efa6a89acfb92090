//! `[detect]` in the settings file: rules, windows and destinations of alerts.
//!
//! ```toml
//! [detect]
//! rules = "./rules"                     # a folder with Sigma rules
//! skip_invalid = false                  # start although some rules are invalid
//! window = "1h"                         # findings of one window are one alert and one summary
//! group_by = ["account", "principal"]   # in addition to the rule
//! close_after = "15m"                   # after the end of a window
//! alert_max_age = "24h"                 # older events are recorded and do not alert
//! findings_per_hour = 1000              # of one rule; further ones are counted
//! findings_keep_days = 365              # delete closed and suppressed findings that are older
//! findings_keep_open = true             # keep open and acknowledged findings at any age
//!
//! [[detect.destination]]
//! name = "oncall"
//! type = "webhook"                      # or slack, pagerduty, sns, eventbridge
//! url = "https://alerts.example.com/hook"
//! keys_file = "/etc/trailhose/webhook-keys"
//! min_level = "medium"
//! ```

use super::read::{ParseResult, SettingError, SpannedInteger, SpannedString, number, parsed, resolve};
use serde::Deserialize;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;
use trailhose::alert::{DestinationConfig, DestinationKind};
use trailhose::detect::RuleLevel;
use trailhose::finding::{GroupField, Grouping, parse_span};
use trailhose::finding_store::Route;
use trailhose::http::{DestinationUrl, SecretSource};
use trailhose::state::FindingRetention;

/// The settings of the detection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DetectSettings {
    /// The folder with the rules.
    pub(crate) rules: PathBuf,
    /// Whether to start although some rules are invalid.
    pub(crate) skip_invalid: bool,
    /// Windows and groups.
    pub(crate) grouping: Grouping,
    /// The time after the end of a window at which it is closed.
    pub(crate) close_after: Duration,
    /// Which findings are deleted. `None` deletes none.
    pub(crate) retention: Option<FindingRetention>,
    /// The destinations of alerts.
    pub(crate) destinations: Vec<DestinationConfig>,
    /// Which alerts they get.
    pub(crate) routes: Vec<Route>,
}

/// The default of `close_after`. CloudTrail delivers most events within 10 minutes.
const CLOSE_AFTER: Duration = Duration::from_secs(900);

/// The limits of `findings_keep_days`, which are those of the stack parameter `FindingDays`.
const KEEP_DAYS: std::ops::RangeInclusive<i64> = 30..=3_650;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DetectTable {
    rules: SpannedString,
    #[serde(default)]
    skip_invalid: bool,
    window: Option<SpannedString>,
    group_by: Option<Vec<SpannedString>>,
    close_after: Option<SpannedString>,
    alert_max_age: Option<SpannedString>,
    findings_per_hour: Option<SpannedInteger>,
    findings_keep_days: Option<SpannedInteger>,
    findings_keep_open: Option<Spanned<bool>>,
    #[serde(default)]
    destination: Vec<Spanned<DestinationTable>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DestinationTable {
    name: SpannedString,
    r#type: SpannedString,
    url: Option<SpannedString>,
    url_file: Option<SpannedString>,
    url_env: Option<SpannedString>,
    keys_file: Option<SpannedString>,
    keys_env: Option<SpannedString>,
    key_file: Option<SpannedString>,
    key_env: Option<SpannedString>,
    topic: Option<SpannedString>,
    bus: Option<SpannedString>,
    min_level: Option<SpannedString>,
    #[serde(default)]
    allow_private: bool,
}

impl DetectTable {
    /// Checks the settings. Relative paths are resolved against `folder`.
    pub(super) fn settings(self, folder: &Path) -> ParseResult<DetectSettings> {
        let default = Grouping::default();
        let fields = self.group_by.map(|fields| fields.iter().map(group_field).collect::<ParseResult<Vec<_>>>());
        let grouping = Grouping {
            window: parsed("window", self.window.as_ref(), parse_span)?.unwrap_or(default.window),
            fields: fields.transpose()?.unwrap_or(default.fields),
            alert_max_age: parsed("alert_max_age", self.alert_max_age.as_ref(), parse_span)?
                .unwrap_or(default.alert_max_age),
            findings_per_hour: number("findings_per_hour", self.findings_per_hour.as_ref(), 1..=1_000_000)?
                .unwrap_or(default.findings_per_hour),
        };
        let retention = retention(self.findings_keep_days.as_ref(), self.findings_keep_open.as_ref(), &grouping)?;
        let (mut destinations, mut routes) = (Vec::new(), Vec::<Route>::new());
        for table in self.destination {
            let at = table.span();
            let (config, route) = table.into_inner().destination(&at, folder)?;
            if routes.iter().any(|other| other.destination == route.destination) {
                return Err(SettingError(at, format!("the name {:?} is used twice", route.destination)));
            }
            destinations.push(config);
            routes.push(route);
        }
        Ok(DetectSettings {
            rules: resolve(folder, PathBuf::from(self.rules.into_inner())),
            skip_invalid: self.skip_invalid,
            grouping,
            close_after: parsed("close_after", self.close_after.as_ref(), parse_span)?.unwrap_or(CLOSE_AFTER),
            retention,
            destinations,
            routes,
        })
    }
}

impl DestinationTable {
    fn destination(mut self, at: &Range<usize>, folder: &Path) -> ParseResult<(DestinationConfig, Route)> {
        let name = self.name.get_ref().clone();
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > 64 || !name.chars().all(is_name) {
            let what = "name: expected 1 to 64 letters, digits, hyphens and underscores".to_owned();
            return Err(SettingError(self.name.span(), what));
        }
        let kind = match self.r#type.get_ref().as_str() {
            "webhook" => {
                let url = needed("url", self.url.take(), at)?;
                check_url(&url, self.allow_private)?;
                let keys = source("keys", self.keys_file.take(), self.keys_env.take(), at, folder)?;
                DestinationKind::Webhook { url: url.into_inner(), keys }
            }
            "slack" => {
                DestinationKind::Slack { url: source("url", self.url_file.take(), self.url_env.take(), at, folder)? }
            }
            "pagerduty" => {
                let url = self.url.take();
                url.iter().try_for_each(|url| check_url(url, self.allow_private))?;
                let key = source("key", self.key_file.take(), self.key_env.take(), at, folder)?;
                DestinationKind::PagerDuty { key, url: url.map(Spanned::into_inner) }
            }
            "sns" => {
                let topic = needed("topic", self.topic.take(), at)?;
                let parts: Vec<&str> = topic.get_ref().split(':').collect();
                if parts.len() != 6 || parts[0] != "arn" || parts[2] != "sns" {
                    let what = "topic: expected an ARN such as arn:aws:sns:eu-west-1:111122223333:alerts".to_owned();
                    return Err(SettingError(topic.span(), what));
                }
                DestinationKind::Sns { topic: topic.into_inner() }
            }
            "eventbridge" => DestinationKind::EventBridge { bus: needed("bus", self.bus.take(), at)?.into_inner() },
            other => {
                let what = format!("type {other:?}: expected webhook, slack, pagerduty, sns or eventbridge");
                return Err(SettingError(self.r#type.span(), what));
            }
        };
        let others = [
            ("url", &self.url),
            ("url_file", &self.url_file),
            ("url_env", &self.url_env),
            ("keys_file", &self.keys_file),
            ("keys_env", &self.keys_env),
            ("key_file", &self.key_file),
            ("key_env", &self.key_env),
            ("topic", &self.topic),
            ("bus", &self.bus),
        ];
        if let Some((setting, found)) = others.iter().find_map(|(setting, text)| Some((setting, text.as_ref()?))) {
            let what = format!("{setting} does not apply to the type {}", self.r#type.get_ref());
            return Err(SettingError(found.span(), what));
        }
        let level = |text: &str| {
            let expected = || format!("{text:?}: expected informational, low, medium, high or critical");
            RuleLevel::parse(text).ok_or_else(expected)
        };
        let min_level = parsed("min_level", self.min_level.as_ref(), level)?.unwrap_or(RuleLevel::Informational);
        let route = Route { destination: name.clone(), min_level };
        Ok((DestinationConfig { name, kind, allow_private: self.allow_private }, route))
    }
}

/// Returns which findings are deleted. A deleted finding is not known any more. So findings are kept for longer than their
/// events can alert, and an event that is evaluated again does not alert twice.
fn retention(
    days: Option<&SpannedInteger>,
    keeps_open: Option<&Spanned<bool>>,
    grouping: &Grouping,
) -> ParseResult<Option<FindingRetention>> {
    let Some(keep_days): Option<u64> = number("findings_keep_days", days, KEEP_DAYS)? else {
        return match keeps_open {
            None => Ok(None),
            Some(open) => {
                Err(SettingError(open.span(), "findings_keep_open has no effect without findings_keep_days".into()))
            }
        };
    };
    let keep = Duration::from_secs(keep_days * 86_400);
    if let (true, Some(days)) = (keep < grouping.alert_max_age, days) {
        let what = "findings_keep_days: expected at least alert_max_age, because an event alerts again after its finding is deleted";
        return Err(SettingError(days.span(), what.to_owned()));
    }
    Ok(Some(FindingRetention { keep, keeps_open: keeps_open.is_none_or(|open| *open.get_ref()) }))
}

/// Checks a URL, so that an invalid one is an error with its line. The message does not contain it.
fn check_url(url: &SpannedString, allow_private: bool) -> ParseResult<()> {
    let checked = DestinationUrl::parse(url.get_ref(), allow_private);
    checked.map(drop).map_err(|error| SettingError(url.span(), error.to_string()))
}

fn needed(name: &str, text: Option<SpannedString>, at: &Range<usize>) -> ParseResult<SpannedString> {
    text.ok_or_else(|| SettingError(at.clone(), format!("a destination of this type needs {name} = \"…\"")))
}

/// Returns where a secret is stored.
fn source(
    name: &str,
    file: Option<SpannedString>,
    variable: Option<SpannedString>,
    at: &Range<usize>,
    folder: &Path,
) -> ParseResult<SecretSource> {
    match (file, variable) {
        (Some(file), None) => Ok(SecretSource::File(resolve(folder, PathBuf::from(file.into_inner())))),
        (None, Some(variable)) => Ok(SecretSource::Variable(variable.into_inner())),
        _ => {
            let what = format!("a destination of this type needs either {name}_file = \"…\" or {name}_env = \"…\"");
            Err(SettingError(at.clone(), what))
        }
    }
}

fn group_field(text: &SpannedString) -> ParseResult<GroupField> {
    Ok(match text.get_ref().as_str() {
        "account" => GroupField::Account,
        "principal" => GroupField::Principal,
        "region" => GroupField::Region,
        "name" => GroupField::Name,
        "address" => GroupField::Address,
        other => {
            let what = format!("group_by: {other:?}: expected account, principal, region, name or address");
            return Err(SettingError(text.span(), what));
        }
    })
}

#[cfg(test)]
mod tests {
    use crate::settings::Settings;
    use std::path::Path;
    use std::time::Duration;
    use trailhose::alert::DestinationKind;
    use trailhose::detect::RuleLevel;
    use trailhose::http::SecretSource;
    use trailhose::state::FindingRetention;

    fn parse(detect: &str) -> Result<Settings, String> {
        let text = format!("dest = \"out\"\n[[source]]\nfolder = \"in\"\n[detect]\nrules = \"rules\"\n{detect}");
        Settings::parse(Path::new("conf/trailhose.toml"), &text)
    }

    #[test]
    fn destinations_and_windows_are_read() {
        let settings = parse(
            "window = \"30m\"\nalert_max_age = \"2d\"\ngroup_by = []\n[[detect.destination]]\nname = \"oncall\"\n\
             type = \"webhook\"\nurl = \"https://h.example/x\"\nkeys_file = \"keys\"\nmin_level = \"high\"\n\
             [[detect.destination]]\nname = \"chat\"\ntype = \"slack\"\nurl_env = \"SLACK_URL\"\n",
        );
        let detect = settings.unwrap().detect.unwrap();
        assert_eq!(detect.rules, Path::new("conf/rules"));
        assert_eq!(detect.grouping.window, Duration::from_secs(1_800));
        assert_eq!(detect.grouping.alert_max_age, Duration::from_secs(2 * 86_400));
        assert_eq!((detect.grouping.fields.len(), detect.close_after), (0, Duration::from_secs(900)));
        let keys = SecretSource::File("conf/keys".into());
        let webhook = DestinationKind::Webhook { url: "https://h.example/x".into(), keys };
        assert_eq!(detect.destinations[0].kind, webhook);
        assert_eq!(detect.routes[0].min_level, RuleLevel::High);
        assert_eq!(detect.routes[1].min_level, RuleLevel::Informational);
    }

    #[test]
    fn retention_of_findings_is_read() {
        let retention = |text| parse(text).unwrap().detect.unwrap().retention;
        let of_days = |days: u64, keeps_open| FindingRetention { keep: Duration::from_secs(days * 86_400), keeps_open };
        assert_eq!(retention(""), None);
        assert_eq!(retention("findings_keep_days = 30"), Some(of_days(30, true)));
        let text = "findings_keep_days = 90\nfindings_keep_open = false\nalert_max_age = \"90d\"";
        assert_eq!(retention(text), Some(of_days(90, false)));
    }

    #[test]
    fn invalid_destination_is_an_error_with_its_line_and_without_secrets() {
        let head = "[[detect.destination]]\nname = \"a\"\n";
        for (rest, expected) in [
            ("type = \"mail\"", ":8: type \"mail\": expected webhook"),
            (
                "type = \"webhook\"\nurl = \"http://h/hunter2\"\nkeys_env = \"K\"",
                ":9: the URL does not start with https",
            ),
            ("type = \"webhook\"\nurl = \"https://169.254.169.254/hunter2\"\nkeys_env = \"K\"", "not public"),
            ("type = \"webhook\"\nurl = \"https://h/\"", "either keys_file = \"…\" or keys_env"),
            ("type = \"slack\"\nurl = \"https://hooks.slack.com/hunter2\"", "either url_file"),
            ("type = \"slack\"\nurl_env = \"U\"\ntopic = \"x\"", "topic does not apply to the type slack"),
            ("type = \"sns\"\ntopic = \"alerts\"", "expected an ARN"),
            ("type = \"eventbridge\"", "needs bus"),
            ("type = \"eventbridge\"\nbus = \"b\"\nmin_level = \"huge\"", "min_level: \"huge\""),
            (
                "type = \"eventbridge\"\nbus = \"b\"\n[[detect.destination]]\nname = \"a\"\ntype = \"eventbridge\"\nbus = \"b\"",
                "used twice",
            ),
            ("type = \"eventbridge\"\nbus = \"b\"\nsecret = \"hunter2\"", "unknown field"),
        ] {
            let error = parse(&format!("{head}{rest}\n")).unwrap_err();
            assert!(error.contains(expected) && !error.contains("hunter2"), "{rest}: {error}");
        }
        for (rest, expected) in [
            ("findings_keep_days = 29", "findings_keep_days"),
            ("findings_keep_days = 3651", "findings_keep_days"),
            (
                "findings_keep_days = 30\nalert_max_age = \"31d\"",
                ":6: findings_keep_days: expected at least alert_max_age",
            ),
            ("findings_keep_open = false", ":6: findings_keep_open has no effect without findings_keep_days"),
        ] {
            let error = parse(rest).unwrap_err();
            assert!(error.contains(expected), "{rest}: {error}");
        }
        assert!(parse("window = \"0s\"").unwrap_err().contains("expected 1s to 366d"));
        assert!(parse("group_by = [\"user\"]").unwrap_err().contains("group_by: \"user\""));
    }
}
