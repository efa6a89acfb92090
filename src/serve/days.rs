//! `GET /v1/days`: objects, events and quarantined objects of each account and day of delivery, from the ledger.
//!
//! A day without objects between days with objects does not prove that objects are missing: CloudTrail may have logged
//! nothing on this day. Only a digest proves that nothing was logged.

use super::ApiState;
use super::extract::Parameters;
use super::problem::ApiProblem;
use crate::ledger::inspect::scan::{LedgerScan, ScanFilter};
use crate::ledger::model::row::{Row, Status};
use crate::object::key::{Recognized, recognize};
use axum::Json;
use axum::extract::State;
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan, tz::TimeZone};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use utoipa::{IntoParams, ToSchema};

/// The number of days if `since` is missing.
const DEFAULT_DAYS: i32 = 90;

/// The maximum number of days of an answer.
const MAX_DAYS: i32 = 3_700;

/// The number of rows that one step of the scan reads.
const BATCH: u32 = 5_000;

/// What the ledger contains for an account and a day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct DayCounts {
    objects: u64,
    events: u64,
    quarantined: u64,
}

/// The counts of a whole ledger. The scan reads every row, so its result is kept for some time.
#[derive(Debug, Default)]
pub(super) struct LedgerDays {
    accounts: BTreeMap<String, BTreeMap<Date, DayCounts>>,
    /// The number of objects by state.
    pub(super) objects: BTreeMap<&'static str, u64>,
    took: Duration,
}

impl LedgerDays {
    /// Scans a ledger.
    pub(super) async fn scan(ledger: &dyn LedgerScan) -> Result<Self, ApiProblem> {
        let (started, mut days, mut after) = (Instant::now(), Self::default(), None);
        loop {
            let batch = ledger.scan(&ScanFilter::All, after.as_ref(), BATCH).await.map_err(ApiProblem::internal)?;
            batch.rows.iter().for_each(|row| days.add(row));
            match batch.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        days.took = started.elapsed();
        Ok(days)
    }

    /// Returns how long this result is used: twenty times the duration of the scan, and at least 2 seconds.
    pub(super) fn valid_for(&self) -> Duration {
        (20 * self.took).max(Duration::from_secs(2))
    }

    /// Returns the first and the last day with objects of any account.
    fn span(&self) -> Option<(Date, Date)> {
        let days = || self.accounts.values().flat_map(BTreeMap::keys).copied();
        days().min().zip(days().max())
    }

    fn add(&mut self, row: &Row) {
        *self.objects.entry(row.status.as_str()).or_default() += 1;
        let Recognized::Log { account, date, .. } = recognize(&row.object.key) else { return };
        let counts = self.accounts.entry(account.to_owned()).or_default().entry(date).or_default();
        match row.status {
            Status::Quarantined => counts.quarantined += 1,
            Status::Open | Status::Settled | Status::Done => {
                counts.objects += 1;
                counts.events += row.counts.map_or(0, |counts| counts.seen);
            }
        }
    }
}

/// A day of an account.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AccountDay {
    /// Objects that were delivered on this day and are not quarantined.
    objects: u64,
    /// Events in them, with duplicates.
    events: u64,
    quarantined: u64,
    /// `objects` for a day with objects; `no_objects` for a day without objects between days with objects; `outside` for any
    /// other day.
    state: &'static str,
}

/// The days of an account, in the order of `days` of the answer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AccountDays {
    account: String,
    days: Vec<AccountDay>,
}

/// The figures of a heat map.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DayList {
    #[schema(value_type = Vec<String>)]
    days: Vec<String>,
    accounts: Vec<AccountDays>,
    /// The first day with objects of any account; `null` if the ledger contains no objects.
    first: Option<String>,
    /// The last day with objects of any account.
    last: Option<String>,
    /// When the ledger was read.
    read: String,
}

/// Which days are returned.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DayParameters {
    /// The first day, or a time in it [default: 90 days before `until`].
    #[param(pattern = r"^\d{4}-\d{2}-\d{2}$", value_type = Option<String>, format = Date)]
    since: Option<String>,
    /// The day after the last day, or a time in it [default: the day after the newest day with objects].
    #[param(pattern = r"^\d{4}-\d{2}-\d{2}$", value_type = Option<String>, format = Date)]
    until: Option<String>,
}

/// Returns objects, events and quarantined objects of each account and day of delivery.
#[utoipa::path(get, path = "/v1/days", operation_id = "days", tag = "events", params(DayParameters),
    responses((status = 200, body = DayList), super::RefusalResponses))]
pub(super) async fn list(
    State(api): State<Arc<ApiState>>,
    Parameters(parameters): Parameters<DayParameters>,
) -> Result<Json<DayList>, ApiProblem> {
    let (ledger, read) = api.ledger_days().await?;
    let (first, last) = ledger.span().unzip();
    // The newest objects can be months old. A day in the future comes from an invalid key.
    let tomorrow = Timestamp::now().to_zoned(TimeZone::UTC).date().saturating_add(1.day());
    let newest = last.map_or(tomorrow, |last| last.saturating_add(1.day()).min(tomorrow));
    let until = day("until", parameters.until.as_deref())?.unwrap_or(newest);
    let since = match day("since", parameters.since.as_deref())? {
        Some(since) => since,
        None => until.saturating_sub(DEFAULT_DAYS.days()),
    };
    let length = since.until(until).map_or(0, |span| span.get_days());
    if !(0..=MAX_DAYS).contains(&length) {
        return Err(ApiProblem::bad_request(format!("expected at most {MAX_DAYS} days, and since before until")));
    }
    let days: Vec<Date> = since.series(1.day()).take_while(|day| *day < until).collect();
    let account = |(account, counts): (&String, &BTreeMap<Date, DayCounts>)| {
        let range = counts.first_key_value().zip(counts.last_key_value()).map(|((first, _), (last, _))| *first..=*last);
        let account_day = |day: &Date| {
            let found = counts.get(day).copied();
            let DayCounts { objects, events, quarantined } = found.unwrap_or_default();
            let state = match (found, &range) {
                (Some(_), _) => "objects",
                (None, Some(range)) if range.contains(day) => "no_objects",
                (None, _) => "outside",
            };
            AccountDay { objects, events, quarantined, state }
        };
        AccountDays { account: account.clone(), days: days.iter().map(account_day).collect() }
    };
    let accounts = ledger.accounts.iter().map(account).collect();
    let text = |day: Date| day.to_string();
    let days = days.into_iter().map(text).collect();
    Ok(Json(DayList { days, accounts, first: first.map(text), last: last.map(text), read }))
}

/// Parses a day, or the day of a time in RFC 3339.
fn day(name: &str, text: Option<&str>) -> Result<Option<Date>, ApiProblem> {
    let Some(text) = text else { return Ok(None) };
    let day = match text.len() {
        10 => text.parse::<Date>().ok(),
        _ => text.parse::<Timestamp>().ok().map(|time| time.to_zoned(TimeZone::UTC).date()),
    };
    day.map(Some).ok_or_else(|| ApiProblem::bad_request(format!("{name}: expected a day, for example 2026-11-01")))
}
