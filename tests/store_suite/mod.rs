//! What every store promises, as plain functions over `&dyn Store`: each expects a store that is its own, or names that
//! nobody else uses.

pub mod pages;
pub mod rows;
pub mod survey;

use trailhose::ledger::inspect::scan::LedgerScan;
use trailhose::ledger::store::{Store, WriteError};

/// All promises of one writer. `run` keeps the names of one run apart from another's in the same store.
pub async fn keeps_every_promise(store: &dyn Store, run: &str) {
    rows::each_guard_admits_what_the_rule_says(store, run).await;
    rows::each_change_leaves_what_the_rule_says(store, run).await;
    rows::a_row_known_by_its_name_only_is_never_made(store, run).await;
    rows::a_repeated_write_succeeds_or_is_refused_with_what_it_wrote(store, run).await;
    rows::many_rows_come_in_the_order_asked(store, run).await;
    rows::every_text_and_number_survives(store, run).await;
    pages::a_page_is_made_once_and_replaced_on_its_version_only(store, run).await;
    pages::a_page_that_is_gone_or_made_anew_is_not_replaced(store, run).await;
    pages::a_repeated_write_succeeds_or_is_refused_with_what_it_wrote(store, run).await;
    pages::many_pages_come_in_the_order_asked(store, run).await;
    pages::a_page_of_three_thousand_events_survives(store, run).await;
}

/// What a person reads of a store.
pub async fn tells_what_it_holds(store: &dyn Store, survey: &dyn LedgerScan, run: &str) {
    survey::a_walk_meets_every_row_and_page_once(store, survey, run).await;
    survey::what_is_set_aside_is_listed_until_it_is_opened(store, survey, run).await;
    survey::every_version_of_an_object_is_found_and_no_other(store, survey, run).await;
}

/// What a store of this machine says of its size.
pub async fn knows_its_size(store: &dyn Store, survey: &dyn LedgerScan, run: &str) {
    survey::the_size_is_that_of_rows_and_pages_together(store, survey, run).await;
}

/// What holds when many write at once. Not for moto: it puts an item there before it fills it, without a lock.
pub async fn settles_every_race(store: &dyn Store, run: &str) {
    rows::one_of_many_at_once_gets_the_lease(store, run).await;
    pages::one_of_many_at_once_replaces_a_page(store, run).await;
}

/// What stands where a write was refused; panics where it was not answered.
fn refused<T: std::fmt::Debug, D>(outcome: Result<D, WriteError<T>>) -> Result<D, Option<T>> {
    match outcome {
        Ok(done) => Ok(done),
        Err(WriteError::Refused(current)) => Err(current.map(|current| *current)),
        Err(WriteError::Store(error)) => panic!("the store did not answer: {error}"),
    }
}
