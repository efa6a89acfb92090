//! A ledger, opened for a person.

use crate::args::LedgerAt;
use crate::components::{self, Aws};
use std::sync::Arc;
use trailhose::billing::price::Counted;
use trailhose::ledger::Ledger;
use trailhose::ledger::cost::{self, scan_units};
use trailhose::ledger::inspect::scan::{Over, Piece, Survey};
use trailhose::ledger::model::row::Row;
use trailhose::ledger::store::StoreError;

/// What is wanted of a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Nothing is changed; a file may be in use by another process.
    Look,
    /// Rows are changed; a file is this process's alone meanwhile.
    Change,
}

/// See the module.
pub(super) struct Open {
    pub(super) at: LedgerAt,
    pub(super) ledger: Ledger,
    pub(super) survey: Arc<dyn Survey>,
    pub(super) usage: Arc<cost::Usage>,
}

impl Open {
    pub(super) async fn at(at: LedgerAt, access: Access, aws: &Aws) -> Result<Self, String> {
        let (ledger, survey, usage) = match (&at, access) {
            (LedgerAt::DynamoDb(table), _) => components::survey_table(table, aws).await,
            (LedgerAt::File(file), Access::Look) => components::survey_file(file)?,
            (LedgerAt::File(file), Access::Change) => components::change_file(file)?,
        };
        Ok(Self { at, ledger, survey, usage })
    }

    /// Whether what is read is billed.
    pub(super) fn is_billed(&self) -> bool {
        matches!(self.at, LedgerAt::DynamoDb(_))
    }

    /// A walk over a part of the ledger.
    pub(super) fn walk(&self, over: Over) -> Walk<'_> {
        Walk { survey: &*self.survey, over, next: Some(None) }
    }

    /// The same rows as they stand now: a walk is not strongly consistent.
    pub(super) async fn again(&self, rows: &[Row]) -> Result<Vec<Row>, String> {
        let ids: Vec<_> = rows.iter().map(|row| row.object.id()).collect();
        Ok(self.ledger.rows(&ids).await.map_err(failed)?.into_iter().flatten().collect())
    }

    /// What reading the whole ledger would cost.
    pub(super) fn cost_of_all(&self, bytes: u64) -> String {
        let units = scan_units(usize::try_from(bytes).unwrap_or(usize::MAX)) as f64;
        let dollars = Counted { read_units: units, ..Counted::default() }.dollars();
        format!("{units:.0} read units, {}", money(dollars))
    }

    /// What was read so far has cost.
    pub(super) fn cost_so_far(&self) -> String {
        let spent = self.usage.spent();
        format!("{} read units, {}", spent.read_units, money(Counted::ledger(spent).dollars()))
    }
}

/// A walk, a piece at a time.
pub(super) struct Walk<'a> {
    survey: &'a dyn Survey,
    over: Over,
    next: Option<Option<trailhose::ledger::inspect::scan::Mark>>,
}

impl Walk<'_> {
    /// The next piece; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Piece>, String> {
        let Some(after) = self.next.take() else { return Ok(None) };
        let piece = self.survey.walk(&self.over, after.as_ref(), super::AT_ONCE).await.map_err(failed)?;
        self.next = piece.next.clone().map(Some);
        Ok(Some(piece))
    }
}

pub(super) fn failed(error: StoreError) -> String {
    format!("ledger: {error}")
}

/// Dollars, with as many decimals as say something.
fn money(dollars: f64) -> String {
    match dollars {
        dollars if dollars >= 0.01 => format!("${dollars:.2}"),
        dollars if dollars >= 0.000_01 => format!("${dollars:.5}"),
        _ => "less than $0.00001".to_owned(),
    }
}
