//! Parses the settings file. Every value keeps its position, so that errors can name the line.

#[cfg(feature = "detect")]
use super::detect::DetectTable;
#[cfg(feature = "forward")]
use super::forward::{ForwardTable, forwards};
#[cfg(feature = "serve")]
use super::serve::ServeTable;
use super::{BackfillSettings, Settings, SourceSettings, TrailInfo};
use crate::args::value;
use crate::args::{CompressMode, Dest, EventsPerRecord, LedgerLocation, Location};
use crate::text::one_line;
use clap::ValueEnum;
use jiff::civil::Date;
use serde::Deserialize;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;
use trailhose::aws::BucketAccess;
use trailhose::event::filter::Filter;

pub(super) type SpannedString = Spanned<String>;
pub(super) type SpannedInteger = Spanned<i64>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SettingsFile {
    dest: Option<SpannedString>,
    ledger: Option<SpannedString>,
    ledger_days: Option<SpannedInteger>,
    look_back: Option<SpannedInteger>,
    since: Option<SpannedString>,
    until: Option<SpannedString>,
    filter: Option<SpannedString>,
    filter_file: Option<SpannedString>,
    compress: Option<SpannedString>,
    events_per_record: Option<SpannedString>,
    oversize: Option<SpannedString>,
    jobs: Option<SpannedInteger>,
    checkpoint: Option<Spanned<f64>>,
    max_object_bytes: Option<SpannedInteger>,
    min_free: Option<SpannedString>,
    keep_days: Option<SpannedInteger>,
    backfill: Option<BackfillTable>,
    detect: Option<DetectTable>,
    serve: Option<ServeTable>,
    #[serde(default)]
    forward: Vec<Spanned<ForwardTable>>,
    #[serde(default)]
    source: Vec<Spanned<SourceTable>>,
}

/// This build evaluates no rules.
#[cfg(not(feature = "detect"))]
type DetectTable = serde::de::IgnoredAny;

/// This build forwards no events.
#[cfg(not(feature = "forward"))]
type ForwardTable = serde::de::IgnoredAny;
/// This build does not serve.
#[cfg(not(feature = "serve"))]
type ServeTable = serde::de::IgnoredAny;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BackfillTable {
    queue: Option<SpannedString>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceTable {
    id: Option<SpannedString>,
    interval: Option<SpannedString>,
    bucket: Option<SpannedString>,
    folder: Option<SpannedString>,
    prefix: Option<SpannedString>,
    bucket_region: Option<SpannedString>,
    profile: Option<SpannedString>,
    role_arn: Option<SpannedString>,
    external_id: Option<SpannedString>,
    role_session_name: Option<SpannedString>,
    endpoint_url: Option<SpannedString>,
    #[serde(default)]
    fips: bool,
    #[serde(default)]
    dual_stack: bool,
    #[serde(default)]
    requester_pays: bool,
    #[serde(default)]
    accounts: Vec<SpannedString>,
    #[serde(default)]
    regions: Vec<SpannedString>,
    #[serde(default)]
    kinds: Vec<SpannedString>,
    since: Option<SpannedString>,
    until: Option<SpannedString>,
    #[serde(default)]
    allow_empty: bool,
    #[serde(default)]
    trails: Vec<SpannedString>,
    organization: Option<SpannedString>,
    kms_key: Option<SpannedString>,
    sns_topic: Option<SpannedString>,
}

/// An invalid setting: byte range in the text, and message.
pub(super) struct SettingError(pub(super) Range<usize>, pub(super) String);

pub(super) type ParseResult<T> = Result<T, SettingError>;

pub(super) fn settings(path: &Path, text: &str) -> Result<Settings, String> {
    let line = |span: &Range<usize>| text[..span.start.min(text.len())].matches('\n').count() + 1;
    let message = |SettingError(span, what)| one_line(&format!("{}:{}: {what}", path.display(), line(&span)));
    let file: SettingsFile = toml::from_str(text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        let what = type_error(text, &span, error.message());
        message(SettingError(span, what))
    })?;
    let filter_file_line = file.filter_file.as_ref().map_or(0, |setting| line(&setting.span()));
    file.settings(path).map(|settings| Settings { filter_file_line, ..settings }).map_err(message)
}

/// Returns an error of the parser. If it is about the type of a value, it starts with the name of the setting, and has words
/// instead of the types of the program.
fn type_error(text: &str, span: &Range<usize>, message: &str) -> String {
    if !message.starts_with("invalid type: ") {
        return message.to_owned();
    }
    let message = [("expected i64", "expected an integer"), ("expected f64", "expected a number")]
        .into_iter()
        .fold(message.to_owned(), |message, (name, words)| message.replace(name, words));
    let before = &text[..span.start.min(text.len())];
    let line = &before[before.rfind('\n').map_or(0, |at| at + 1)..];
    match line.split_once('=') {
        Some((name, _)) => format!("{}: {message}", name.trim()),
        None => message,
    }
}

impl SettingsFile {
    fn settings(self, path: &Path) -> ParseResult<Settings> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let days = (day("since", self.since.as_ref())?, day("until", self.until.as_ref())?);
        in_order(days, self.until.as_ref())?;
        if self.source.is_empty() && self.serve.is_none() {
            return Err(SettingError(
                0..0,
                "no source: expected [[source]] with bucket = \"…\" or folder = \"…\"".into(),
            ));
        }
        #[cfg(not(feature = "detect"))]
        if self.detect.is_some() {
            return Err(SettingError(0..0, crate::components::missing_feature("[detect]", "detect")));
        }
        #[cfg(not(feature = "forward"))]
        if !self.forward.is_empty() {
            return Err(SettingError(0..0, crate::components::missing_feature("[[forward]]", "forward")));
        }
        let source = |table: Spanned<SourceTable>| {
            let span = table.span();
            table.into_inner().source(span, folder, days)
        };
        Ok(Settings {
            path: path.to_owned(),
            dest: parsed("dest", self.dest.as_ref(), value::dest)?.map(|dest| match dest {
                Dest::Folder(path) => Dest::Folder(resolve(folder, path)),
                stream => stream,
            }),
            ledger: parsed("ledger", self.ledger.as_ref(), value::ledger)?.map(|ledger| match ledger {
                LedgerLocation::File(path) => LedgerLocation::File(resolve(folder, path)),
                table => table,
            }),
            ledger_days: number("ledger_days", self.ledger_days.as_ref(), 30..=36_500)?,
            look_back: number("look_back", self.look_back.as_ref(), 0..=36_500)?,
            since: days.0,
            until: days.1,
            filter: parsed("filter", self.filter.as_ref(), |text| {
                Filter::parse(text).map_err(|error| error.to_string())
            })?,
            filter_file: filter_file(folder, self.filter.as_ref(), self.filter_file.as_ref())?,
            filter_file_line: 0,
            compress: parsed("compress", self.compress.as_ref(), one_of::<CompressMode>)?,
            events_per_record: parsed("events_per_record", self.events_per_record.as_ref(), one_of::<EventsPerRecord>)?,
            oversize: self.oversize.map(Spanned::into_inner),
            jobs: number("jobs", self.jobs.as_ref(), 1..=10_000)?,
            checkpoint: self.checkpoint.as_ref().map(checkpoint).transpose()?,
            max_object_bytes: number("max_object_bytes", self.max_object_bytes.as_ref(), 1..=i64::MAX)?,
            min_free: parsed("min_free", self.min_free.as_ref(), value::size)?,
            keep_days: number("keep_days", self.keep_days.as_ref(), 1..=36_500)?,
            backfill: self.backfill.map(|table| BackfillSettings { queue: table.queue.map(Spanned::into_inner) }),
            #[cfg(feature = "detect")]
            detect: self.detect.map(|table| table.settings(folder)).transpose()?,
            #[cfg(feature = "forward")]
            forwards: forwards(self.forward, folder)?,
            #[cfg(feature = "serve")]
            serve: self.serve.map(|table| table.settings(folder)).transpose()?,
            sources: self.source.into_iter().map(source).collect::<ParseResult<_>>()?,
        })
    }
}

impl SourceTable {
    fn source(
        self,
        span: Range<usize>,
        folder: &Path,
        default_days: (Option<Date>, Option<Date>),
    ) -> ParseResult<SourceSettings> {
        let location = match (&self.bucket, &self.folder) {
            (Some(bucket), None) => {
                let name = bucket_name(bucket)?;
                let key = self.prefix.as_ref().map(|prefix| prefix.get_ref().clone()).unwrap_or_default();
                Location::S3 { bucket: name, key }
            }
            (None, Some(path)) => match &self.prefix {
                None => Location::Path(resolve(folder, PathBuf::from(path.get_ref()))),
                Some(prefix) => {
                    return Err(SettingError(
                        prefix.span(),
                        "prefix applies to a bucket only; specify the folder itself".into(),
                    ));
                }
            },
            (Some(_), Some(path)) => {
                return Err(SettingError(path.span(), "a source has either a bucket or a folder, not both".into()));
            }
            (None, None) => return Err(SettingError(span, "a source needs bucket = \"…\" or folder = \"…\"".into())),
        };
        let days = (day("since", self.since.as_ref())?, day("until", self.until.as_ref())?);
        let days_of = (days.0.or(default_days.0), days.1.or(default_days.1));
        in_order(days_of, self.until.as_ref().or(self.since.as_ref()))?;
        let text = |text: Option<SpannedString>| text.map(Spanned::into_inner);
        if let (None, Some(id)) = (&self.role_arn, self.external_id.as_ref().or(self.role_session_name.as_ref())) {
            let what = "external_id and role_session_name need role_arn = \"arn:…\"".into();
            return Err(SettingError(id.span(), what));
        }
        let access = BucketAccess {
            region: text(self.bucket_region),
            profile: text(self.profile),
            role_arn: parsed("role_arn", self.role_arn.as_ref(), value::role_arn)?,
            external_id: text(self.external_id),
            role_session_name: text(self.role_session_name),
            endpoint_url: parsed("endpoint_url", self.endpoint_url.as_ref(), value::endpoint_url)?,
            fips: self.fips,
            dual_stack: self.dual_stack,
            requester_pays: self.requester_pays,
        };
        Ok(SourceSettings {
            id: parsed("id", self.id.as_ref(), value::source_id)?,
            interval: parsed("interval", self.interval.as_ref(), value::pause)?,
            location,
            access,
            accounts: each("accounts", &self.accounts, value::account)?,
            regions: each("regions", &self.regions, value::region)?,
            kinds: each("kinds", &self.kinds, value::kind)?,
            since: days_of.0,
            until: days_of.1,
            allow_empty: self.allow_empty,
            trail: TrailInfo {
                trails: self.trails.into_iter().map(Spanned::into_inner).collect(),
                organization: text(self.organization),
                kms_key: text(self.kms_key),
                sns_topic: text(self.sns_topic),
            },
        })
    }
}

pub(super) fn filter_file(
    folder: &Path,
    filter: Option<&SpannedString>,
    file: Option<&SpannedString>,
) -> ParseResult<Option<PathBuf>> {
    match (filter, file) {
        (Some(_), Some(file)) => {
            Err(SettingError(file.span(), "filter_file: filter is set too; move its rules to the file".into()))
        }
        (_, file) => Ok(parsed("filter_file", file, value::path)?.map(|path| resolve(folder, path))),
    }
}

fn bucket_name(bucket: &SpannedString) -> ParseResult<String> {
    let name = bucket.get_ref();
    value::bucket(name).map_err(|what| SettingError(bucket.span(), format!("bucket = {name:?}: {what}")))
}

pub(super) fn resolve(folder: &Path, path: PathBuf) -> PathBuf {
    if folder.as_os_str().is_empty() { path } else { folder.join(path) }
}

pub(super) fn parsed<T>(
    name: &str,
    text: Option<&SpannedString>,
    parse: impl Fn(&str) -> Result<T, String>,
) -> ParseResult<Option<T>> {
    text.map(|text| parse(text.get_ref()).map_err(|what| SettingError(text.span(), format!("{name}: {what}"))))
        .transpose()
}

fn each<T>(name: &str, texts: &[SpannedString], parse: impl Fn(&str) -> Result<T, String>) -> ParseResult<Vec<T>> {
    texts
        .iter()
        .map(|text| parse(text.get_ref()).map_err(|what| SettingError(text.span(), format!("{name}: {what}"))))
        .collect()
}

fn day(name: &str, text: Option<&SpannedString>) -> ParseResult<Option<Date>> {
    parsed(name, text, value::day)
}

fn one_of<T: ValueEnum>(text: &str) -> Result<T, String> {
    T::from_str(text, false).map_err(|_| {
        let names: Vec<String> =
            T::value_variants().iter().filter_map(|one| Some(one.to_possible_value()?.get_name().to_owned())).collect();
        format!("invalid value {text:?}: expected one of {}", names.join(", "))
    })
}

pub(super) fn number<T: TryFrom<i64>>(
    name: &str,
    number: Option<&SpannedInteger>,
    range: RangeInclusive<i64>,
) -> ParseResult<Option<T>> {
    let Some(found) = number else { return Ok(None) };
    let value = Some(*found.get_ref()).filter(|value| range.contains(value)).and_then(|value| T::try_from(value).ok());
    value.map(Some).ok_or_else(|| {
        let (from, to) = range.into_inner();
        let expected = if to == i64::MAX { format!("a number of at least {from}") } else { format!("{from} to {to}") };
        SettingError(found.span(), format!("{name} = {}: expected {expected}", found.get_ref()))
    })
}

fn checkpoint(seconds: &Spanned<f64>) -> ParseResult<Duration> {
    value::seconds(&seconds.get_ref().to_string())
        .map_err(|what| SettingError(seconds.span(), format!("checkpoint: {what}")))
}

fn in_order((since, until): (Option<Date>, Option<Date>), at: Option<&SpannedString>) -> ParseResult<()> {
    match (since, until) {
        (Some(since), Some(until)) if until < since => {
            let what = format!("since must not be after until ({since} is after {until})");
            Err(SettingError(at.map_or(0..0, Spanned::span), what))
        }
        _ => Ok(()),
    }
}
