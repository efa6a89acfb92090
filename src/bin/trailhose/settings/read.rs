//! The file's text into settings: every value with the line it stands on, so that an error can name it.

use super::{Backfill, Facts, Settings, Source};
use crate::args::value;
use crate::args::{Compress, Dest, LedgerAt, Lines, Place};
use crate::labels::one_line;
use clap::ValueEnum;
use jiff::civil::Date;
use serde::Deserialize;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;
use trailhose::event::filter::Filter;

type Text = Spanned<String>;
type Number = Spanned<i64>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    dest: Option<Text>,
    ledger: Option<Text>,
    ledger_days: Option<Number>,
    look_back: Option<Number>,
    since: Option<Text>,
    until: Option<Text>,
    filter: Option<Text>,
    compress: Option<Text>,
    destination: Option<Text>,
    oversize: Option<Text>,
    jobs: Option<Number>,
    checkpoint: Option<Spanned<f64>>,
    max_object_bytes: Option<Number>,
    backfill: Option<BackfillTable>,
    #[serde(default)]
    source: Vec<Spanned<SourceTable>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BackfillTable {
    queue: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceTable {
    bucket: Option<Text>,
    folder: Option<Text>,
    prefix: Option<Text>,
    bucket_region: Option<Text>,
    #[serde(default)]
    accounts: Vec<Text>,
    #[serde(default)]
    regions: Vec<Text>,
    #[serde(default)]
    kinds: Vec<Text>,
    since: Option<Text>,
    until: Option<Text>,
    #[serde(default)]
    trails: Vec<Text>,
    organization: Option<Text>,
    kms_key: Option<Text>,
    sns_topic: Option<Text>,
}

/// What is wrong, and where in the text.
struct Wrong(Range<usize>, String);

type Read<T> = Result<T, Wrong>;

pub(super) fn settings(path: &Path, text: &str) -> Result<Settings, String> {
    let told = |Wrong(span, what)| {
        let line = text[..span.start.min(text.len())].matches('\n').count() + 1;
        one_line(&format!("{}:{line}: {what}", path.display()))
    };
    let file: File =
        toml::from_str(text).map_err(|error| told(Wrong(error.span().unwrap_or(0..0), error.message().to_owned())))?;
    file.settings(path).map_err(told)
}

impl File {
    fn settings(self, path: &Path) -> Read<Settings> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let days = (day("since", self.since.as_ref())?, day("until", self.until.as_ref())?);
        in_order(days, self.until.as_ref())?;
        if self.source.is_empty() {
            return Err(Wrong(
                0..0,
                "no source is named: expected [[source]] with bucket = \"…\" or folder = \"…\"".into(),
            ));
        }
        let source = |table: Spanned<SourceTable>| {
            let span = table.span();
            table.into_inner().source(span, folder, days)
        };
        Ok(Settings {
            path: path.to_owned(),
            dest: meant("dest", self.dest.as_ref(), value::dest)?.map(|dest| match dest {
                Dest::Folder(path) => Dest::Folder(below(folder, path)),
                stream => stream,
            }),
            ledger: meant("ledger", self.ledger.as_ref(), value::ledger)?.map(|ledger| match ledger {
                LedgerAt::File(path) => LedgerAt::File(below(folder, path)),
                table => table,
            }),
            ledger_days: number("ledger_days", self.ledger_days.as_ref(), 15..=36_500)?,
            look_back: number("look_back", self.look_back.as_ref(), 0..=36_500)?,
            since: days.0,
            until: days.1,
            filter: meant("filter", self.filter.as_ref(), |text| {
                Filter::parse(text).map_err(|error| error.to_string())
            })?,
            compress: meant("compress", self.compress.as_ref(), one_of::<Compress>)?,
            destination: meant("destination", self.destination.as_ref(), one_of::<Lines>)?,
            oversize: self.oversize.map(Spanned::into_inner),
            jobs: number("jobs", self.jobs.as_ref(), 1..=10_000)?,
            checkpoint: self.checkpoint.as_ref().map(checkpoint).transpose()?,
            max_object_bytes: number("max_object_bytes", self.max_object_bytes.as_ref(), 1..=i64::MAX)?,
            backfill: self.backfill.map(|table| Backfill { queue: table.queue.map(Spanned::into_inner) }),
            sources: self.source.into_iter().map(source).collect::<Read<_>>()?,
        })
    }
}

impl SourceTable {
    fn source(self, span: Range<usize>, folder: &Path, outer: (Option<Date>, Option<Date>)) -> Read<Source> {
        let place = match (&self.bucket, &self.folder) {
            (Some(bucket), None) => {
                let named = plain_bucket(bucket)?;
                let key = self.prefix.as_ref().map(|prefix| prefix.get_ref().clone()).unwrap_or_default();
                Place::S3 { bucket: named, key }
            }
            (None, Some(path)) => match &self.prefix {
                None => Place::Path(below(folder, PathBuf::from(path.get_ref()))),
                Some(prefix) => {
                    return Err(Wrong(prefix.span(), "prefix is for a bucket; name the folder that is meant".into()));
                }
            },
            (Some(_), Some(path)) => return Err(Wrong(path.span(), "a source has either a bucket or a folder".into())),
            (None, None) => return Err(Wrong(span, "a source needs bucket = \"…\" or folder = \"…\"".into())),
        };
        let days = (day("since", self.since.as_ref())?, day("until", self.until.as_ref())?);
        let days_of = (days.0.or(outer.0), days.1.or(outer.1));
        in_order(days_of, self.until.as_ref().or(self.since.as_ref()))?;
        let text = |text: Option<Text>| text.map(Spanned::into_inner);
        Ok(Source {
            place,
            bucket_region: text(self.bucket_region),
            accounts: each("accounts", &self.accounts, value::account)?,
            regions: each("regions", &self.regions, |region| Ok(region.to_owned()))?,
            kinds: each("kinds", &self.kinds, value::kind)?,
            since: days_of.0,
            until: days_of.1,
            facts: Facts {
                trails: self.trails.into_iter().map(Spanned::into_inner).collect(),
                organization: text(self.organization),
                kms_key: text(self.kms_key),
                sns_topic: text(self.sns_topic),
            },
        })
    }
}

fn plain_bucket(bucket: &Text) -> Read<String> {
    let name = bucket.get_ref();
    if name.is_empty() || name.contains(['/', ':']) {
        let what = format!("bucket = {name:?}: expected a bucket's name; what follows it goes into prefix");
        return Err(Wrong(bucket.span(), what));
    }
    Ok(name.clone())
}

fn below(folder: &Path, path: PathBuf) -> PathBuf {
    if folder.as_os_str().is_empty() { path } else { folder.join(path) }
}

fn meant<T>(name: &str, text: Option<&Text>, parse: impl Fn(&str) -> Result<T, String>) -> Read<Option<T>> {
    text.map(|text| parse(text.get_ref()).map_err(|what| Wrong(text.span(), format!("{name}: {what}")))).transpose()
}

fn each<T>(name: &str, texts: &[Text], parse: impl Fn(&str) -> Result<T, String>) -> Read<Vec<T>> {
    texts
        .iter()
        .map(|text| parse(text.get_ref()).map_err(|what| Wrong(text.span(), format!("{name}: {what}"))))
        .collect()
}

fn day(name: &str, text: Option<&Text>) -> Read<Option<Date>> {
    meant(name, text, value::day)
}

fn one_of<T: ValueEnum>(text: &str) -> Result<T, String> {
    T::from_str(text, false).map_err(|_| {
        let names: Vec<String> =
            T::value_variants().iter().filter_map(|one| Some(one.to_possible_value()?.get_name().to_owned())).collect();
        format!("{text:?} is none of {}", names.join(", "))
    })
}

fn number<T: TryFrom<i64>>(name: &str, number: Option<&Number>, range: RangeInclusive<i64>) -> Read<Option<T>> {
    let Some(found) = number else { return Ok(None) };
    let value = Some(*found.get_ref()).filter(|value| range.contains(value)).and_then(|value| T::try_from(value).ok());
    value.map(Some).ok_or_else(|| {
        let (from, to) = range.into_inner();
        let expected = if to == i64::MAX { format!("a number from {from} on") } else { format!("{from} to {to}") };
        Wrong(found.span(), format!("{name} = {}: expected {expected}", found.get_ref()))
    })
}

fn checkpoint(seconds: &Spanned<f64>) -> Read<Duration> {
    value::seconds(&seconds.get_ref().to_string()).map_err(|what| Wrong(seconds.span(), format!("checkpoint: {what}")))
}

fn in_order((since, until): (Option<Date>, Option<Date>), at: Option<&Text>) -> Read<()> {
    match (since, until) {
        (Some(since), Some(until)) if until < since => {
            let what = format!("until = {until} is before since = {since}: no day is both; exchange the two");
            Err(Wrong(at.map_or(0..0, Spanned::span), what))
        }
        _ => Ok(()),
    }
}
