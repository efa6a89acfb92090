//! An object's row: its state, and who may change it.
//!
//! The state and the conditions are written here as plain functions. SQLite applies them as they stand; DynamoDB spells
//! them again as condition and update expressions, and one conformance suite holds the two against each other.

use crate::object::Object;
use serde::Serialize;

/// The right to work on an object, fresh for every attempt. Whoever presents it is the one who leased the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(pub u128);

impl Token {
    /// A token that nobody holds.
    pub fn fresh() -> Self {
        Self(uuid::Uuid::new_v4().as_u128())
    }
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The cursor behind every event.
pub const CURSOR_END: u32 = u32::MAX;

/// Seconds since 1970, UTC.
pub type Seconds = i64;

/// What is known of an object's deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Work to do: nothing, or the first `cursor` events, delivered.
    Open,
    /// All that the object owns is delivered; what others own is not yet proven.
    Settled,
    /// Every event of the object is delivered. The only state that may expire.
    Done,
    /// Set aside with a reason. Never expires.
    Quarantined,
}

impl Status {
    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Settled => "settled",
            Self::Done => "done",
            Self::Quarantined => "quarantined",
        }
    }

    /// The inverse of [`Status::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Open, Self::Settled, Self::Done, Self::Quarantined].into_iter().find(|status| status.as_str() == text)
    }
}

/// How many events an object held, or several, and what became of each. *seen = delivered + duplicate + filtered +
/// oversize*, always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// Events in the object.
    pub seen: u64,
    /// Delivered, by this object's attempts, oversize ones not counted.
    pub delivered: u64,
    /// Not delivered because the same event was, from this object or another.
    pub duplicate: u64,
    /// Dropped by the configured filter.
    pub filtered: u64,
    /// Set aside for their length, a pointer delivered in their place.
    pub oversize: u64,
}

impl Counts {
    /// Adds another object's.
    pub fn merge(&mut self, other: &Self) {
        let Self { seen, delivered, duplicate, filtered, oversize } = other;
        self.seen += seen;
        self.delivered += delivered;
        self.duplicate += duplicate;
        self.filtered += filtered;
        self.oversize += oversize;
    }
}

/// One object's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The object, spelled out for people.
    pub object: Object,
    /// What is known of its deliveries.
    pub status: Status,
    /// Who holds the lease; none once released.
    pub token: Option<Token>,
    /// Until when. A lease is live while `until >= now`.
    pub until: Seconds,
    /// Every owned event with an ordinal below this is delivered. [`CURSOR_END`] once settled, and when set aside after that.
    pub cursor: u32,
    /// Filled when done.
    pub counts: Option<Counts>,
    /// Why it was set aside.
    pub reason: Option<String>,
    /// When the store may forget the row. Only ever set on `Done`.
    pub expires: Option<Seconds>,
}

impl Row {
    /// Whether somebody may be at work on the object.
    pub fn leased(&self, now: Seconds) -> bool {
        self.until >= now
    }

    /// Whether the event at `ordinal`, owned by this row's object, is proven delivered.
    pub fn proves(&self, ordinal: Option<u32>) -> bool {
        self.cursor == CURSOR_END || ordinal.is_some_and(|ordinal| ordinal < self.cursor)
    }
}

/// On what condition a row may be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// No row, or one that is open or settled and whose lease has ended or is this token's.
    Leasable {
        /// The time.
        now: Seconds,
        /// Mine.
        token: Token,
    },
    /// A row that is open or quarantined and whose lease has ended or is this token's: it may be helped.
    Helpable {
        /// The time.
        now: Seconds,
        /// Mine.
        token: Token,
    },
    /// A row whose lease is this token's.
    Held(Token),
    /// A row whose lease has ended.
    Unleased {
        /// The time.
        now: Seconds,
    },
    /// A quarantined row whose lease, a helper's, has ended.
    Quarantined {
        /// The time.
        now: Seconds,
    },
}

impl Guard {
    /// Whether the row, or its absence, satisfies the condition.
    pub fn admits(&self, row: Option<&Row>) -> bool {
        match *self {
            Self::Leasable { now, token } => row.is_none_or(|row| {
                matches!(row.status, Status::Open | Status::Settled) && (row.until < now || row.token == Some(token))
            }),
            Self::Helpable { now, token } => row.is_some_and(|row| {
                matches!(row.status, Status::Open | Status::Quarantined)
                    && (row.until < now || row.token == Some(token))
            }),
            Self::Held(token) => row.is_some_and(|row| row.token == Some(token)),
            Self::Unleased { now } => row.is_some_and(|row| row.until < now),
            Self::Quarantined { now } => row.is_some_and(|row| row.status == Status::Quarantined && row.until < now),
        }
    }
}

/// What is written into a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Take the lease: a row that was absent becomes open with cursor 0; status and cursor of another stay.
    Lease {
        /// Mine.
        token: Token,
        /// Until when.
        until: Seconds,
    },
    /// End the lease: no token, `until` 0.
    Release,
    /// Every owned event below this ordinal is delivered.
    Advance(u32),
    /// Open again, cursor 0, done's time to live and counts taken away, the reason too. The lease stays as it is.
    Reopen,
    /// Open, cursor 0, as [`Change::Reopen`], and nobody's: the lease and its token are taken away. The last worker's repeat
    /// of `Complete` or `Quarantine`, however late it arrives, would otherwise find its token and undo this.
    Forget,
    /// All that the object owns is delivered: cursor [`CURSOR_END`].
    Settle,
    /// Every event is delivered: cursor [`CURSOR_END`]; the lease ends (`until` 0) and the token stays, so that a repeat of this write is
    /// recognised.
    Complete {
        /// What became of the events.
        counts: Counts,
        /// When the row may be forgotten.
        expires: Seconds,
    },
    /// Set aside; the lease ends (`until` 0), the token stays, the cursor stays.
    Quarantine {
        /// What was found, for a person.
        reason: String,
    },
}

impl Change {
    /// The row after the change.
    pub fn apply(&self, row: Option<Row>, object: &Object) -> Row {
        let mut row = row.unwrap_or_else(|| Row {
            object: object.clone(),
            status: Status::Open,
            token: None,
            until: 0,
            cursor: 0,
            counts: None,
            reason: None,
            expires: None,
        });
        match self {
            Self::Lease { token, until } => {
                row.token = Some(*token);
                row.until = *until;
            }
            Self::Release => {
                row.token = None;
                row.until = 0;
            }
            Self::Advance(cursor) => row.cursor = *cursor,
            Self::Reopen => {
                row.status = Status::Open;
                row.cursor = 0;
                row.counts = None;
                row.reason = None;
                row.expires = None;
            }
            Self::Forget => {
                row = Self::Reopen.apply(Some(row), object);
                row.token = None;
                row.until = 0;
            }
            Self::Settle => {
                row.status = Status::Settled;
                row.cursor = CURSOR_END;
                row.expires = None;
            }
            Self::Complete { counts, expires } => {
                row.status = Status::Done;
                row.cursor = CURSOR_END;
                row.until = 0;
                row.counts = Some(*counts);
                row.expires = Some(*expires);
            }
            Self::Quarantine { reason } => {
                row.status = Status::Quarantined;
                row.until = 0;
                row.expires = None;
                row.reason = Some(reason.clone());
            }
        }
        row
    }
}
