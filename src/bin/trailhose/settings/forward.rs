//! `[[forward]]` in the settings file: destinations that delivered events are sent to.
//!
//! ```toml
//! [[forward]]
//! name = "siem"
//! url = "https://collector.example.com/cloudtrail"
//! preset = "webhook"                    # or splunk_hec, elastic_bulk, otlp
//! format = "ndjson"                     # or json_array; otlp: protobuf or json
//! method = "POST"                       # or PUT
//! headers = { "x-team" = "security" }
//! keys_file = "/etc/trailhose/forward-keys"      # signs requests; several keys during a rotation
//! token_file = "/etc/trailhose/forward-token"    # Authorization: Bearer …
//! filter = "readOnly=true"              # or filter_file
//! max_events = 1000                     # of a batch
//! max_bytes = 1000000
//! events_per_second = 2000
//! compress = "gzip"                     # or none
//! ca_file = "/etc/trailhose/ca.pem"
//! client_cert_file = "/etc/trailhose/client.pem"
//! client_key_file = "/etc/trailhose/client.key"
//! allow_private = false
//!
//! [forward.redact]
//! remove = ["requestParameters"]
//! hash = ["userIdentity.userName", "sourceIPAddress"]
//! key_file = "/etc/trailhose/redaction-key"
//! ```

use super::read::{ParseResult, SettingError, SpannedInteger, SpannedString, filter_file, number, parsed, resolve};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Spanned;
use trailhose::event::filter::Filter;
use trailhose::follow::BatchLimits;
use trailhose::forward::{
    BatchFormat, ForwardConfig, MAX_BYTES, MAX_EVENTS, OtlpEncoding, Preset, RedactionConfig, SplunkConfig,
    check_header,
};
use trailhose::http::{DestinationUrl, SecretSource, TlsFiles};

/// The minimum of `max_bytes`. A smaller batch would contain hardly more than one event.
const MIN_BYTES: i64 = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ForwardTable {
    name: SpannedString,
    url: SpannedString,
    preset: Option<SpannedString>,
    format: Option<SpannedString>,
    index: Option<SpannedString>,
    sourcetype: Option<SpannedString>,
    acknowledge: Option<Spanned<bool>>,
    method: Option<SpannedString>,
    #[serde(default)]
    headers: BTreeMap<String, SpannedString>,
    keys_file: Option<SpannedString>,
    keys_env: Option<SpannedString>,
    token_file: Option<SpannedString>,
    token_env: Option<SpannedString>,
    token_scheme: Option<SpannedString>,
    filter: Option<SpannedString>,
    filter_file: Option<SpannedString>,
    max_events: Option<SpannedInteger>,
    max_bytes: Option<SpannedInteger>,
    events_per_second: Option<SpannedInteger>,
    compress: Option<SpannedString>,
    ca_file: Option<SpannedString>,
    client_cert_file: Option<SpannedString>,
    client_key_file: Option<SpannedString>,
    #[serde(default)]
    allow_private: bool,
    redact: Option<Spanned<RedactTable>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RedactTable {
    #[serde(default)]
    remove: Vec<String>,
    #[serde(default)]
    hash: Vec<String>,
    key_file: Option<SpannedString>,
    key_env: Option<SpannedString>,
}

/// Checks the forwards. Relative paths are resolved against `folder`.
pub(super) fn forwards(tables: Vec<Spanned<ForwardTable>>, folder: &Path) -> ParseResult<Vec<ForwardConfig>> {
    let mut forwards = Vec::<ForwardConfig>::new();
    for table in tables {
        let at = table.span();
        let config = table.into_inner().config(folder)?;
        if forwards.iter().any(|other| other.name == config.name) {
            return Err(SettingError(at, format!("the name {:?} is used twice", config.name)));
        }
        forwards.push(config);
    }
    Ok(forwards)
}

impl ForwardTable {
    fn config(mut self, folder: &Path) -> ParseResult<ForwardConfig> {
        let preset = self.preset()?;
        let name = self.name.get_ref().clone();
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if name.is_empty() || name.len() > 64 || !name.chars().all(is_name) {
            let what = "name: expected 1 to 64 letters, digits and hyphens".to_owned();
            return Err(SettingError(self.name.span(), what));
        }
        let url = DestinationUrl::parse(self.url.get_ref(), self.allow_private);
        url.map_err(|error| SettingError(self.url.span(), error.to_string()))?;
        for (header, value) in &self.headers {
            check_header(header, value.get_ref()).map_err(|what| SettingError(value.span(), what))?;
        }
        let put = parsed("method", self.method.as_ref(), |text| match text {
            "POST" => Ok(false),
            "PUT" => Ok(true),
            other => Err(format!("{other:?}: expected POST or PUT")),
        })?;
        let gzip = parsed("compress", self.compress.as_ref(), |text| match text {
            "gzip" => Ok(true),
            "none" => Ok(false),
            other => Err(format!("{other:?}: expected gzip or none")),
        })?;
        let token = source("token", self.token_file, self.token_env, folder)?;
        let scheme = match (self.token_scheme, &token) {
            (Some(scheme), None) => {
                return Err(SettingError(scheme.span(), "token_scheme needs token_file or token_env".into()));
            }
            (Some(scheme), _) => scheme.into_inner(),
            (None, _) => match preset {
                Preset::Splunk(_) => "Splunk".to_owned(),
                Preset::Elastic { .. } => "ApiKey".to_owned(),
                Preset::Webhook(_) | Preset::Otlp(_) => "Bearer".to_owned(),
            },
        };
        let file = filter_file(folder, self.filter.as_ref(), self.filter_file.as_ref())?;
        let filter = match (&file, &self.filter_file) {
            (Some(path), Some(at)) => {
                crate::filter::read(path).map_err(|what| SettingError(at.span(), format!("filter_file: {what}")))?
            }
            _ => parsed("filter", self.filter.as_ref(), |text| Filter::parse(text).map_err(|error| error.to_string()))?
                .unwrap_or_default(),
        };
        let limits = BatchLimits {
            events: number("max_events", self.max_events.as_ref(), 1..=MAX_EVENTS as i64)?.unwrap_or(MAX_EVENTS),
            bytes: number("max_bytes", self.max_bytes.as_ref(), MIN_BYTES..=MAX_BYTES as i64)?.unwrap_or(MAX_BYTES),
        };
        let path = |text: SpannedString| resolve(folder, PathBuf::from(text.into_inner()));
        let client = match (self.client_cert_file, self.client_key_file) {
            (Some(certificate), Some(key)) => Some((path(certificate), path(key))),
            (Some(only), None) | (None, Some(only)) => {
                let what = "client_cert_file and client_key_file are needed together".to_owned();
                return Err(SettingError(only.span(), what));
            }
            (None, None) => None,
        };
        Ok(ForwardConfig {
            url: self.url.get_ref().clone(),
            preset,
            put: put.unwrap_or(false),
            headers: self.headers.into_iter().map(|(name, value)| (name, value.into_inner())).collect(),
            signing_keys: source("keys", self.keys_file, self.keys_env, folder)?,
            credentials: token.map(|token| (scheme, token)),
            filter,
            limits,
            events_per_second: number("events_per_second", self.events_per_second.as_ref(), 1..=1_000_000)?,
            redaction: self.redact.map(|redact| redaction(redact, folder)).transpose()?,
            tls: TlsFiles { ca: self.ca_file.map(path), client },
            gzip: gzip.unwrap_or(true),
            allow_private: self.allow_private,
            name,
        })
    }
}

impl ForwardTable {
    /// Returns the preset, and takes its settings.
    fn preset(&mut self) -> ParseResult<Preset> {
        let name = self.preset.as_ref().map_or("webhook", |name| name.get_ref().as_str()).to_owned();
        let preset = match name.as_str() {
            "webhook" => {
                let format = parsed("format", self.format.take().as_ref(), |text| match text {
                    "ndjson" => Ok(BatchFormat::Ndjson),
                    "json_array" => Ok(BatchFormat::JsonArray),
                    other => Err(format!("{other:?}: expected ndjson or json_array")),
                })?;
                Preset::Webhook(format.unwrap_or(BatchFormat::Ndjson))
            }
            "splunk_hec" => {
                let default = SplunkConfig::default();
                Preset::Splunk(SplunkConfig {
                    index: self.index.take().map(Spanned::into_inner),
                    sourcetype: self.sourcetype.take().map_or(default.sourcetype, Spanned::into_inner),
                    acknowledge: self.acknowledge.take().map_or(default.acknowledge, Spanned::into_inner),
                })
            }
            "elastic_bulk" => Preset::Elastic { index: self.index.take().map(Spanned::into_inner) },
            "otlp" => {
                let encoding = parsed("format", self.format.take().as_ref(), |text| match text {
                    "protobuf" => Ok(OtlpEncoding::Protobuf),
                    "json" => Ok(OtlpEncoding::Json),
                    other => Err(format!("{other:?}: expected protobuf or json")),
                })?;
                Preset::Otlp(encoding.unwrap_or(OtlpEncoding::Protobuf))
            }
            other => {
                let at = self.preset.as_ref().map_or(0..0, Spanned::span);
                let what = format!("preset: {other:?}: expected webhook, splunk_hec, elastic_bulk or otlp");
                return Err(SettingError(at, what));
            }
        };
        // Signatures and PUT requests belong to a webhook.
        let (mut keys, mut method) = (None, None);
        if !matches!(preset, Preset::Webhook(_)) {
            keys = self.keys_file.as_ref().or(self.keys_env.as_ref()).map(Spanned::span);
            method = self.method.as_ref().map(Spanned::span);
        }
        let others = [
            ("format", self.format.as_ref().map(Spanned::span)),
            ("index", self.index.as_ref().map(Spanned::span)),
            ("sourcetype", self.sourcetype.as_ref().map(Spanned::span)),
            ("acknowledge", self.acknowledge.as_ref().map(Spanned::span)),
            ("keys_file or keys_env", keys),
            ("method", method),
        ];
        match others.into_iter().find_map(|(setting, span)| Some((setting, span?))) {
            Some((setting, span)) => Err(SettingError(span, format!("{setting} does not apply to the preset {name}"))),
            None => Ok(preset),
        }
    }
}

fn redaction(table: Spanned<RedactTable>, folder: &Path) -> ParseResult<RedactionConfig> {
    let at = table.span();
    let RedactTable { remove, hash, key_file, key_env } = table.into_inner();
    let config = RedactionConfig { remove, hash, key: source("key", key_file, key_env, folder)? };
    config.check().map_err(|what| SettingError(at, what))?;
    Ok(config)
}

/// Returns where a secret is stored, if it is set.
fn source(
    name: &str,
    file: Option<SpannedString>,
    variable: Option<SpannedString>,
    folder: &Path,
) -> ParseResult<Option<SecretSource>> {
    match (file, variable) {
        (None, None) => Ok(None),
        (Some(file), None) => Ok(Some(SecretSource::File(resolve(folder, PathBuf::from(file.into_inner()))))),
        (None, Some(variable)) => Ok(Some(SecretSource::Variable(variable.into_inner()))),
        (Some(_), Some(variable)) => {
            let at: Range<usize> = variable.span();
            Err(SettingError(at, format!("{name}_env: {name}_file is set too; remove one of them")))
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::settings::Settings;
    use std::path::Path;
    use trailhose::forward::{BatchFormat, Preset};
    use trailhose::http::SecretSource;

    fn parse(forward: &str) -> Result<Settings, String> {
        let text = format!("dest = \"out\"\n[[source]]\nfolder = \"in\"\n[[forward]]\n{forward}");
        Settings::parse(Path::new("conf/trailhose.toml"), &text)
    }

    #[test]
    fn forward_is_read() {
        let settings = parse(
            "name = \"siem\"\nurl = \"https://h.example/x\"\nformat = \"json_array\"\nheaders = { x-team = \"a b\" }\n\
             keys_file = \"keys\"\ntoken_env = \"TOKEN\"\ntoken_scheme = \"ApiKey\"\nmax_events = 10\n\
             events_per_second = 5\ncompress = \"none\"\nca_file = \"ca.pem\"\nfilter = \"readOnly=true\"\n\
             [forward.redact]\nremove = [\"requestParameters\"]\nhash = [\"sourceIPAddress\"]\nkey_file = \"k\"\n",
        );
        let [forward] = &settings.unwrap().forwards[..] else { panic!("one forward") };
        assert_eq!((forward.name.as_str(), &forward.preset), ("siem", &Preset::Webhook(BatchFormat::JsonArray)));
        assert_eq!(forward.signing_keys, Some(SecretSource::File("conf/keys".into())));
        assert_eq!(forward.credentials, Some(("ApiKey".into(), SecretSource::Variable("TOKEN".into()))));
        assert_eq!((forward.limits.events, forward.limits.bytes), (10, 1_000_000));
        assert_eq!((forward.events_per_second, forward.gzip), (Some(5), false));
        assert_eq!(forward.tls.ca.as_deref(), Some(Path::new("conf/ca.pem")));
        assert_eq!(forward.redaction.as_ref().unwrap().hash, ["sourceIPAddress"]);
        assert!(!forward.filter.is_empty());
    }

    #[test]
    fn invalid_forward_is_an_error_with_its_line_and_without_secrets() {
        let url = "url = \"https://h.example/x\"\n";
        for (name, rest, expected) in [
            ("a_b", url, ":5: name: expected"),
            ("a", "", "missing field `url`"),
            ("a", "url = \"http://h.example/hunter2\"", ":6: the URL does not start with https"),
            ("a", "url = \"https://169.254.169.254/hunter2\"", "169.254.169.254, which is not public"),
            ("a", "url = \"https://h.example/\"\nformat = \"xml\"", ":7: format: \"xml\""),
            ("a", "url = \"https://h.example/\"\npreset = \"kafka\"", "expected webhook, splunk_hec"),
            ("a", "url = \"https://h.example/\"\nindex = \"x\"", "index does not apply to the preset webhook"),
            (
                "a",
                "url = \"https://h.example/\"\npreset = \"otlp\"\nkeys_env = \"K\"",
                "does not apply to the preset otlp",
            ),
            ("a", "url = \"https://h.example/\"\nmethod = \"GET\"", "expected POST or PUT"),
            ("a", "url = \"https://h.example/\"\nheaders = { x = \"hunter2\\nb: c\" }", "without line breaks"),
            ("a", "url = \"https://h.example/\"\nheaders = { Webhook-Id = \"x\" }", "is set by trailhose"),
            ("a", "url = \"https://h.example/\"\nheaders = { Authorization = \"hunter2\" }", "token_file"),
            (
                "a",
                "url = \"https://h.example/\"\nmax_bytes = 2000000",
                "max_bytes = 2000000: expected 10000 to 1000000",
            ),
            ("a", "url = \"https://h.example/\"\nclient_key_file = \"x\"", "needed together"),
            ("a", "url = \"https://h.example/\"\ntoken_scheme = \"x\"", "token_scheme needs"),
            ("a", "url = \"https://h.example/\"\nkeys_env = \"x\"\nkeys_file = \"y\"", "keys_file is set too"),
            ("a", "url = \"https://h.example/\"\nsecret = \"hunter2\"", "unknown field"),
            ("a", "url = \"https://h.example/\"\n[forward.redact]\nhash = [\"a\"]", "needs key_file"),
            ("a", "url = \"https://h.example/\"\n[[forward]]\nname = \"a\"\nurl = \"https://h/\"", "used twice"),
        ] {
            let error = parse(&format!("name = {name:?}\n{rest}\n")).unwrap_err();
            assert!(error.contains(expected) && !error.contains("hunter2"), "{rest}: {error}");
        }
    }
}
