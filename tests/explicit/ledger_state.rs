//! The ledger of one state: the contents of the in-memory store and their hash, which identifies the state.

use super::wire::{Reply, SinkCall};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::pin;
use std::sync::MutexGuard;
use std::task::{Context, Poll, Waker};
use trailhose::event::EventId;
use trailhose::ledger::model::page::{Owner, Page};
use trailhose::ledger::model::row::{Row, Token};
use trailhose::ledger::store::memory::{Memory, MemoryState};
use trailhose::ledger::store::{Store, WriteError};

/// The token that replaces those of ended attempts, which no worker presents again.
const ENDED: Token = Token(1);

/// The contents of the ledger and their hash.
#[derive(Debug)]
pub struct LedgerState {
    store: Memory,
    pub hash: u64,
}

impl LedgerState {
    pub fn new(kept: MemoryState) -> Self {
        let hash = kept_hash(&kept);
        let store = Memory::default();
        *store.contents() = kept;
        Self { store, hash }
    }

    pub fn contents(&self) -> MutexGuard<'_, MemoryState> {
        self.store.contents()
    }

    /// Applies a call with the code of the store. Returns the new ledger, or `None` if it is unchanged, and the reply.
    pub fn after(&self, call: &SinkCall) -> (Option<Self>, Reply) {
        match call {
            SinkCall::Rows(ids) => (None, Reply::Rows(at_once(self.store.rows(ids)).unwrap())),
            SinkCall::Pages(names) => (None, Reply::Pages(at_once(self.store.pages(names)).unwrap())),
            SinkCall::Row { object, id, guard, change } => {
                let next = self.copied();
                let reply = match object {
                    Some(object) => write_reply(at_once(next.change_row(object, *guard, change))),
                    None => write_reply(at_once(next.change_row_by_id(*id, *guard, change))),
                };
                (reply.is_ok().then(|| Self::hashed(next)), Reply::Row(reply))
            }
            SinkCall::Page { name, expected_version, page } => {
                let next = self.copied();
                let reply = write_reply(at_once(next.write_page(name, *expected_version, page)));
                (reply.is_ok().then(|| Self::hashed(next)), Reply::Page(reply))
            }
            SinkCall::Fetch(_) | SinkCall::Deliver(_) => unreachable!("not a ledger call"),
        }
    }

    fn copied(&self) -> Memory {
        let next = Memory::default();
        next.contents().clone_from(&self.store.contents());
        next
    }

    fn hashed(store: Memory) -> Self {
        let hash = kept_hash(&store.contents());
        Self { store, hash }
    }

    /// Returns the ledger after the end of a worker's attempt: its tokens become [`ENDED`], so equal states are merged.
    /// Tokens that `late`, a write of this worker that has not taken effect, presents keep their meaning.
    pub fn without_tokens_of(&self, worker: u8, late: &[Token]) -> Option<Self> {
        let own = |token: &Token| is_token_of(*token, worker);
        if !self.contents().rows.values().any(|row| row.token.as_ref().is_some_and(own)) {
            return None;
        }
        let mut kept = self.contents().clone();
        for row in kept.rows.values_mut() {
            row.token = row.token.map(|token| if own(&token) { ended(token, late) } else { token });
        }
        Some(Self::new(kept))
    }
}

/// Returns whether a worker's current attempt generated this token.
pub fn is_token_of(token: Token, worker: u8) -> bool {
    token.0 >> 16 == u128::from(worker) + 1
}

/// Returns the token that replaces the token of an ended attempt.
pub fn ended(token: Token, late: &[Token]) -> Token {
    late.iter().position(|kept| *kept == token).map_or(ENDED, |at| Token(ENDED.0 + 1 + at as u128))
}

fn kept_hash(kept: &MemoryState) -> u64 {
    let mut all = DefaultHasher::new();
    let mut rows: Vec<_> = kept.rows.iter().collect();
    rows.sort_unstable_by_key(|(id, _)| id.0);
    for (id, row) in rows {
        id.0.hash(&mut all);
        row_hash(row).hash(&mut all);
    }
    let mut pages: Vec<_> = kept.pages.iter().collect();
    pages.sort_unstable_by_key(|(name, _)| *name);
    for (name, page) in pages {
        (name, page.version.0, page_hash(page)).hash(&mut all);
    }
    all.finish()
}

fn write_reply<T, R: std::fmt::Debug>(outcome: Result<T, WriteError<R>>) -> Result<T, Option<R>> {
    outcome.map_err(|error| match error {
        WriteError::Refused(current) => current.map(|current| *current),
        WriteError::Store(error) => panic!("the in-memory store failed: {error}"),
    })
}

/// Polls a future that never waits.
pub fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("the in-memory store waits"),
    }
}

fn row_hash(row: &Row) -> u64 {
    let mut hash = DefaultHasher::new();
    let counts =
        row.counts.map(|counts| (counts.seen, counts.delivered, counts.duplicate, counts.filtered, counts.oversize));
    (row.status.as_str(), row.token, row.until, row.cursor, &row.acknowledged, counts, &row.reason, row.expires)
        .hash(&mut hash);
    hash.finish()
}

/// Returns a hash of a page without its version.
pub fn page_hash(page: &Page) -> u64 {
    let mut entries: Vec<(&EventId, Owner, u16, Option<u32>)> =
        page.entries.iter().map(|(id, entry)| (id, entry.owner, entry.fingerprint, entry.ordinal)).collect();
    entries.sort_unstable_by_key(|(id, ..)| **id);
    let mut hash = DefaultHasher::new();
    (page.full, page.expires, entries).hash(&mut hash);
    hash.finish()
}

impl Reply {
    pub fn hash(&self) -> u64 {
        let rows = |rows: &[Option<Row>]| rows.iter().map(|row| row.as_ref().map(row_hash)).collect::<Vec<_>>();
        let page = |page: &Option<Page>| page.as_ref().map(|page| (page.version, page_hash(page)));
        let mut hash = DefaultHasher::new();
        std::mem::discriminant(self).hash(&mut hash);
        match self {
            Self::Row(Ok(row)) => (true, rows(&[Some(row.clone())])).hash(&mut hash),
            Self::Row(Err(row)) => (false, rows(std::slice::from_ref(row))).hash(&mut hash),
            Self::Rows(all) => rows(all).hash(&mut hash),
            Self::Pages(pages) => pages.iter().map(page).collect::<Vec<_>>().hash(&mut hash),
            Self::Page(outcome) => outcome.as_ref().map_err(page).hash(&mut hash),
            Self::Fetched(there) => there.hash(&mut hash),
            Self::DeliveredExcept(lines) => lines.hash(&mut hash),
            Self::Delivered | Self::Lost => {}
        }
        hash.finish()
    }
}
