//! The connection of one replayed attempt: every call waits until the model supplies its reply.
//!
//! Tokens and versions are random in the code. Two replays of one history must give the same state, so they are
//! replaced: a token by its worker and its number, a version by a hash of its page. A page never returns to earlier
//! contents (entries are added or marked, and `expires` grows), so equal hashes mean the same page.

use super::ledger_state::page_hash;
use async_trait::async_trait;
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};
use tokio::time::Instant;
use trailhose::ledger::model::page::{Owner, Page, PageName, Version};
use trailhose::ledger::model::row::{Change, Guard, Row, Token};
use trailhose::ledger::store::memory::MemoryState;
use trailhose::ledger::store::{Store, StoreError, WriteError};
use trailhose::object::{Object, ObjectId, ObjectRef};
use trailhose::pack::{PackLimits, SinkCall as Packed};
use trailhose::sink::{Oversize, Sink, SinkError, Transaction};
use trailhose::source::{ListPage, Listing, Source, SourceError};

/// A call of a worker.
#[derive(Debug, Clone)]
pub enum SinkCall {
    Row { object: Option<Object>, id: ObjectId, guard: Guard, change: Change },
    Rows(Vec<ObjectId>),
    Pages(Vec<PageName>),
    Page { name: PageName, expected_version: Option<Version>, page: Page },
    Fetch(Object),
    Deliver(Vec<String>),
}

impl SinkCall {
    /// Returns the number of objects in a page write that own no event of the stored page.
    pub fn newcomers(&self, kept: &MemoryState) -> usize {
        let Self::Page { name, page, .. } = self else { return 0 };
        let owners = |page: &Page| page.entries.values().map(|entry| entry.owner).collect::<HashSet<Owner>>();
        let before = kept.pages.get(name).map(owners).unwrap_or_default();
        owners(page).difference(&before).filter(|owner| **owner != Owner::Delivered).count()
    }

    /// Whether the call changes the ledger.
    pub fn is_write(&self) -> bool {
        matches!(self, Self::Row { .. } | Self::Page { .. })
    }

    /// Returns the tokens that the call presents or sets.
    pub fn tokens(&self) -> Vec<Token> {
        let mut tokens = Vec::new();
        self.with_tokens(&mut |token| {
            tokens.push(token);
            token
        });
        tokens
    }

    /// Returns the call with other tokens.
    pub fn with_tokens(&self, rename: &mut dyn FnMut(Token) -> Token) -> Self {
        let mut call = self.clone();
        if let Self::Row { guard, change, .. } = &mut call {
            match guard {
                Guard::Leasable { token, .. }
                | Guard::Helpable { token, .. }
                | Guard::Held(token)
                | Guard::HeldOpen(token) => *token = rename(*token),
                Guard::Unleased { .. } | Guard::Quarantined { .. } => {}
            }
            if let Change::Lease { token, .. } | Change::ResetCursor { token } = change {
                *token = rename(*token);
            }
        }
        call
    }

    /// Returns a hash that is equal for equal writes.
    pub fn hash(&self) -> u64 {
        let mut hash = DefaultHasher::new();
        match self {
            Self::Row { id, guard, change, .. } => (id.0, format!("{guard:?} {change:?}")).hash(&mut hash),
            Self::Page { name, expected_version, page } => (name, expected_version, page_hash(page)).hash(&mut hash),
            other => unreachable!("{other:?} changes nothing"),
        }
        hash.finish()
    }

    /// Returns the name of the call for messages and goals.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Row { change, object, .. } => match change {
                Change::Lease { .. } if object.is_none() => "help",
                Change::Lease { .. } => "lease",
                Change::Release => "release",
                Change::Advance(_) => "advance",
                Change::Acknowledge { .. } => "acknowledge",
                Change::ResetCursor { .. } => "reset_cursor",
                Change::Settle => "settle",
                Change::Complete { .. } => "complete",
                Change::Quarantine { .. } => "quarantine",
                Change::Accept { .. } => "accept",
                Change::WithdrawAcceptance => "withdraw_acceptance",
                Change::Reset => "reset",
            },
            Self::Rows(_) => "rows",
            Self::Pages(_) => "pages",
            Self::Page { .. } => "write_page",
            Self::Fetch(_) => "fetch",
            Self::Deliver(_) => "deliver",
        }
    }
}

/// The reply to a call.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "most replies are rows")]
pub enum Reply {
    Row(Result<Row, Option<Row>>),
    Rows(Vec<Option<Row>>),
    Pages(Vec<Option<Page>>),
    Page(Result<(), Option<Page>>),
    /// Whether the object exists.
    Fetched(bool),
    Delivered,
    /// All records are acknowledged except those of these lines.
    DeliveredExcept(Vec<usize>),
    /// No reply: the call may have taken effect.
    Lost,
}

#[derive(Debug)]
struct Slot {
    call: SinkCall,
    reply: Option<Reply>,
    waker: Option<Waker>,
    /// Replied to, or no longer awaited.
    over: bool,
}

/// The connection of one attempt.
#[derive(Debug)]
pub struct Wire {
    worker: u8,
    bytes: HashMap<String, Vec<u8>>,
    limits: PackLimits,
    /// Whether the object may be deleted, so that the time of its fetch matters.
    may_be_deleted: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    now: i64,
    slots: Vec<Slot>,
    tokens: HashMap<Token, Token>,
    versions: HashMap<Version, Version>,
}

impl Wire {
    pub fn new(
        worker: u8,
        bytes: HashMap<String, Vec<u8>>,
        limits: PackLimits,
        may_be_deleted: bool,
        now: i64,
    ) -> Self {
        Self { worker, bytes, limits, may_be_deleted, state: Mutex::new(State { now, ..State::default() }) }
    }

    pub fn now(&self) -> i64 {
        self.state.lock().unwrap().now
    }

    /// Supplies the reply of a waiting call at this time.
    pub fn answer(&self, slot: usize, reply: Reply, now: i64) {
        let mut state = self.state.lock().unwrap();
        state.now = now;
        let slot = &mut state.slots[slot];
        assert!(!slot.over, "the code asked otherwise than in the replay before");
        slot.over = true;
        slot.reply = Some(reply);
        if let Some(waker) = slot.waker.take() {
            waker.wake();
        }
    }

    /// Returns the calls that wait for a reply.
    pub fn waiting(&self) -> Vec<(usize, SinkCall)> {
        let state = self.state.lock().unwrap();
        let waiting = state.slots.iter().enumerate().filter(|(_, slot)| !slot.over);
        waiting.map(|(number, slot)| (number, slot.call.clone())).collect()
    }

    fn ask(&self, call: SinkCall) -> Answer<'_> {
        let mut state = self.state.lock().unwrap();
        state.slots.push(Slot { call, reply: None, waker: None, over: false });
        Answer { wire: self, slot: state.slots.len() - 1 }
    }

    fn token(&self, token: Token) -> Token {
        let tokens = &mut self.state.lock().unwrap().tokens;
        let next = Token((u128::from(self.worker) + 1) << 16 | tokens.len() as u128);
        *tokens.entry(token).or_insert(next)
    }

    fn guard(&self, guard: Guard) -> Guard {
        match guard {
            Guard::Leasable { now, token } => Guard::Leasable { now, token: self.token(token) },
            Guard::Helpable { now, token } => Guard::Helpable { now, token: self.token(token) },
            Guard::Held(token) => Guard::Held(self.token(token)),
            Guard::HeldOpen(token) => Guard::HeldOpen(self.token(token)),
            other => other,
        }
    }

    fn change(&self, change: &Change) -> Change {
        match change {
            Change::Lease { token, until } => Change::Lease { token: self.token(*token), until: *until },
            Change::ResetCursor { token } => Change::ResetCursor { token: self.token(*token) },
            other => other.clone(),
        }
    }

    async fn row(
        &self,
        object: Option<&Object>,
        id: ObjectId,
        guard: Guard,
        change: &Change,
    ) -> Result<Row, WriteError<Row>> {
        let call = SinkCall::Row { object: object.cloned(), id, guard: self.guard(guard), change: self.change(change) };
        match self.ask(call).await {
            Reply::Row(outcome) => outcome
                .map(|row| self.original(row))
                .map_err(|current| WriteError::Refused(current.map(|row| Box::new(self.original(row))))),
            _ => Err(WriteError::Store(lost())),
        }
    }

    /// Returns the row with the tokens that the code generated, which recognizes its own token.
    fn original(&self, row: Row) -> Row {
        let tokens = &self.state.lock().unwrap().tokens;
        let original = |named| tokens.iter().find(|(_, name)| **name == named).map_or(named, |(token, _)| *token);
        Row { token: row.token.map(original), ..row }
    }
}

fn lost() -> StoreError {
    StoreError::Unknown("wire".to_owned())
}

struct Answer<'a> {
    wire: &'a Wire,
    slot: usize,
}

impl Future for Answer<'_> {
    type Output = Reply;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Reply> {
        let slot = &mut self.wire.state.lock().unwrap().slots[self.slot];
        match slot.reply.take() {
            Some(reply) => Poll::Ready(reply),
            None => {
                slot.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Answer<'_> {
    fn drop(&mut self) {
        self.wire.state.lock().unwrap().slots[self.slot].over = true;
    }
}

#[async_trait]
impl Store for Wire {
    async fn change_row(&self, object: &Object, guard: Guard, change: &Change) -> Result<Row, WriteError<Row>> {
        self.row(Some(object), object.id(), guard, change).await
    }

    async fn change_row_by_id(&self, id: ObjectId, guard: Guard, change: &Change) -> Result<Row, WriteError<Row>> {
        self.row(None, id, guard, change).await
    }

    async fn rows(&self, ids: &[ObjectId]) -> Result<Vec<Option<Row>>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        match self.ask(SinkCall::Rows(ids.to_vec())).await {
            Reply::Rows(rows) => Ok(rows),
            _ => Err(lost()),
        }
    }

    async fn pages(&self, names: &[PageName]) -> Result<Vec<Option<Page>>, StoreError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        match self.ask(SinkCall::Pages(names.to_vec())).await {
            Reply::Pages(pages) => Ok(pages),
            _ => Err(lost()),
        }
    }

    async fn write_page(
        &self,
        name: &PageName,
        expected_version: Option<Version>,
        page: &Page,
    ) -> Result<(), WriteError<Page>> {
        let named = Version(page_hash(page));
        let expected_version = {
            let versions = &mut self.state.lock().unwrap().versions;
            versions.insert(page.version, named);
            expected_version.map(|version| versions.get(&version).copied().unwrap_or(version))
        };
        let page = Page { version: named, ..page.clone() };
        match self.ask(SinkCall::Page { name: name.clone(), expected_version, page }).await {
            Reply::Page(outcome) => outcome.map_err(|current| WriteError::Refused(current.map(Box::new))),
            _ => Err(WriteError::Store(lost())),
        }
    }
}

#[async_trait]
impl Source for Wire {
    async fn stat(&self, at: &ObjectRef) -> Result<ObjectRef, SourceError> {
        Err(SourceError::Unavailable(format!("{at} has its version")))
    }

    async fn fetch(&self, object: &Object) -> Result<Vec<u8>, SourceError> {
        let reply = match self.may_be_deleted {
            true => self.ask(SinkCall::Fetch(object.clone())).await,
            false => Reply::Fetched(true),
        };
        match reply {
            Reply::Fetched(true) => Ok(self.bytes[&object.key].clone()),
            Reply::Fetched(false) => Err(SourceError::Missing(object.to_string())),
            _ => Err(SourceError::Unavailable("wire".to_owned())),
        }
    }

    async fn list(&self, _ask: &Listing<'_>) -> Result<ListPage, SourceError> {
        Err(SourceError::Unavailable("this bucket is not listed".to_owned()))
    }
}

#[async_trait]
impl Sink for Wire {
    fn limits(&self) -> PackLimits {
        self.limits
    }

    async fn begin(&self) -> Result<Transaction, SinkError> {
        Ok(Transaction::none())
    }

    async fn deliver(&self, call: &Packed, _deadline: Instant) -> Result<(), SinkError> {
        let lines = std::str::from_utf8(&call.body).unwrap().lines().map(str::to_owned).collect();
        match self.ask(SinkCall::Deliver(lines)).await {
            Reply::Delivered => Ok(()),
            Reply::DeliveredExcept(unacknowledged) => {
                let error = SinkError::OutOfTime {
                    failed: unacknowledged.len(),
                    records: call.records.len(),
                    code: String::new(),
                };
                Err(SinkError::Partial { unacknowledged, error: Box::new(error) })
            }
            _ => Err(SinkError::Unavailable("wire".to_owned())),
        }
    }

    async fn store_oversize(&self, event: &Oversize<'_>) -> Result<String, SinkError> {
        Err(SinkError::NoOversizeStore(format!("event {} is too long", event.id)))
    }
}
