//! Row of an object: its state, and the rules for changing it.
//!
//! The state and the conditions are plain functions. SQLite applies them directly. DynamoDB implements them again as
//! condition and update expressions; one conformance suite checks that both agree.

use crate::ledger::model::ordinals::OrdinalSet;
use crate::object::Object;
use serde::Serialize;

/// Random token that identifies one lease. Every attempt at an object uses a new token; a write that presents the
/// token of the row comes from the lease holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(pub u128);

impl Token {
    /// Returns a new random token.
    pub(crate) fn fresh() -> Self {
        Self(uuid::Uuid::new_v4().as_u128())
    }
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Cursor after the last event: every owned event is delivered.
pub const CURSOR_END: u32 = u32::MAX;

/// Seconds since 1970-01-01 00:00:00 UTC.
pub type Seconds = i64;

/// Delivery status of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Work remains. Every owned event whose ordinal is below the cursor is delivered.
    Open,
    /// All events that the object owns are delivered. Events that other objects own are not yet proven delivered.
    Settled,
    /// Every event of the object is delivered. Only rows with this status expire.
    Done,
    /// Excluded from processing, with a reason. Never expires.
    Quarantined,
}

impl Status {
    /// Returns the stored spelling.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Settled => "settled",
            Self::Done => "done",
            Self::Quarantined => "quarantined",
        }
    }

    /// Parses the result of [`Status::as_str`].
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Open, Self::Settled, Self::Done, Self::Quarantined].into_iter().find(|status| status.as_str() == text)
    }
}

/// Event counts of one object or of several. Invariant: *seen = delivered + duplicate + filtered + oversize*.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// Events in the object.
    pub seen: u64,
    /// Delivered by attempts at this object, without oversize events.
    pub delivered: u64,
    /// Not delivered because the same event was delivered before, from this object or another.
    pub duplicate: u64,
    /// Dropped by the configured filter.
    pub filtered: u64,
    /// Stored separately because they exceed the sink's record limit; a pointer is delivered instead.
    pub oversize: u64,
}

impl Counts {
    /// Adds the counts of another object.
    pub fn merge(&mut self, other: &Self) {
        let Self { seen, delivered, duplicate, filtered, oversize } = other;
        self.seen += seen;
        self.delivered += delivered;
        self.duplicate += duplicate;
        self.filtered += filtered;
        self.oversize += oversize;
    }
}

/// Row of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Bucket, key and ETag, in readable form.
    pub object: Object,
    /// Delivery status.
    pub status: Status,
    /// Token of the last lease holder. Absent after a release or a reset.
    pub token: Option<Token>,
    /// End of the lease. A lease is live while `until >= now`.
    pub until: Seconds,
    /// Every owned event with an ordinal below the cursor is delivered. Settled and done rows have [`CURSOR_END`]. If a
    /// settled row is quarantined, it keeps this value.
    pub cursor: u32,
    /// Ordinals at or after the cursor whose events, if the object owns them, are delivered: the acknowledged part of
    /// the call that begins at the cursor. Empty unless a call was acknowledged in part.
    pub acknowledged: OrdinalSet,
    /// Counts of the object's events. Present when done.
    pub counts: Option<Counts>,
    /// Reason for the quarantine.
    pub reason: Option<String>,
    /// Time of the quarantine. Only set on `Quarantined` rows.
    pub quarantined_at: Option<Seconds>,
    /// Why a person accepted that the object stays quarantined. Only set on `Quarantined` rows.
    pub accepted: Option<String>,
    /// Time from which the store may delete the row. Only set on `Done` rows.
    pub expires: Option<Seconds>,
}

impl Row {
    /// Returns whether a worker may be processing the object.
    pub fn leased(&self, now: Seconds) -> bool {
        self.until >= now
    }

    /// Removes all progress, because what the row states about deliveries no longer holds.
    fn start_again(&mut self) {
        self.status = Status::Open;
        self.cursor = 0;
        self.acknowledged = OrdinalSet::default();
        self.counts = None;
        self.reason = None;
        self.expires = None;
    }

    /// Returns whether the row proves that the event at `ordinal`, owned by this row's object, is delivered.
    pub fn proves(&self, ordinal: Option<u32>) -> bool {
        self.cursor == CURSOR_END
            || ordinal.is_some_and(|ordinal| ordinal < self.cursor || self.acknowledged.contains(ordinal))
    }
}

/// Condition for changing a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// The row is absent, or it is open or settled and its lease has ended or has this token.
    Leasable {
        /// The current time.
        now: Seconds,
        /// The caller's token.
        token: Token,
    },
    /// The row is open or quarantined and its lease has ended or has this token: a helper may lease it.
    Helpable {
        /// The current time.
        now: Seconds,
        /// The caller's token.
        token: Token,
    },
    /// The lease of the row has this token.
    Held(Token),
    /// The lease of the row has this token, and the row is open. For writes that record progress: if one of them took
    /// effect late, after the row is settled or done, it would lower the cursor that other objects rely on.
    HeldOpen(Token),
    /// The lease of the row has ended.
    Unleased {
        /// The current time.
        now: Seconds,
    },
    /// The row is quarantined and its lease, which a helper may hold, has ended.
    Quarantined {
        /// The current time.
        now: Seconds,
    },
}

impl Guard {
    /// Returns whether the row, or its absence, satisfies the condition.
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
            Self::HeldOpen(token) => row.is_some_and(|row| row.token == Some(token) && row.status == Status::Open),
            Self::Unleased { now } => row.is_some_and(|row| row.until < now),
            Self::Quarantined { now } => row.is_some_and(|row| row.status == Status::Quarantined && row.until < now),
        }
    }
}

/// Change of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Takes the lease. An absent row is created as open with cursor 0; an existing row keeps its status and cursor.
    Lease {
        /// The caller's token.
        token: Token,
        /// End of the lease.
        until: Seconds,
    },
    /// Ends the lease: removes the token and sets `until` to 0.
    Release,
    /// Sets the cursor: every owned event with a lower ordinal is delivered. Removes the acknowledged ordinals.
    Advance(u32),
    /// A call was acknowledged in part: sets the cursor to the first event that was not acknowledged, and the
    /// acknowledged ordinals after it.
    Acknowledge {
        /// Every owned event with a lower ordinal is delivered.
        cursor: u32,
        /// Ordinals at or after the cursor whose events are delivered.
        acknowledged: OrdinalSet,
    },
    /// Sets the status to open and the cursor to 0, and removes acknowledged ordinals, expiry, counts and reason. The
    /// lease continues with a new token. With the old token, an earlier request of the same worker that takes effect
    /// late (`Advance`, `Acknowledge`, `Settle`, `Complete`) would state again what is no longer true.
    ResetCursor {
        /// The new token of the lease.
        token: Token,
    },
    /// Like [`Change::ResetCursor`], but ends the lease and removes its token. If the token stayed, a late repeat of
    /// the last worker's `Complete` or `Quarantine` would match it and undo this change.
    Reset,
    /// All events that the object owns are delivered: sets the cursor to [`CURSOR_END`] and removes the acknowledged
    /// ordinals.
    Settle,
    /// Every event is delivered: sets the cursor to [`CURSOR_END`] and ends the lease (`until` 0). The token stays,
    /// so that a repeat of this write is recognized.
    Complete {
        /// Counts of the object's events.
        counts: Counts,
        /// Time from which the row may be deleted.
        expires: Seconds,
    },
    /// Quarantines the object and ends the lease (`until` 0). Token, cursor and acknowledged ordinals stay.
    Quarantine {
        /// The reason, for a person to read.
        reason: String,
        /// The current time.
        at: Seconds,
    },
    /// Records that a person accepts that the quarantined object stays undelivered.
    Accept {
        /// Why, for a person to read.
        reason: String,
    },
    /// Withdraws [`Change::Accept`].
    WithdrawAcceptance,
}

impl Change {
    /// Returns the row after the change. `row` is the current row, if it exists.
    pub fn apply(&self, row: Option<Row>, object: &Object) -> Row {
        let mut row = row.unwrap_or_else(|| Row {
            object: object.clone(),
            status: Status::Open,
            token: None,
            until: 0,
            cursor: 0,
            acknowledged: OrdinalSet::default(),
            counts: None,
            reason: None,
            quarantined_at: None,
            accepted: None,
            expires: None,
        });
        if matches!(self, Self::ResetCursor { .. } | Self::Reset | Self::Settle | Self::Complete { .. }) {
            row.quarantined_at = None;
            row.accepted = None;
        }
        match self {
            Self::Lease { token, until } => {
                row.token = Some(*token);
                row.until = *until;
            }
            Self::Release => {
                row.token = None;
                row.until = 0;
            }
            Self::Advance(cursor) => {
                row.cursor = *cursor;
                row.acknowledged = OrdinalSet::default();
            }
            Self::Acknowledge { cursor, acknowledged } => {
                row.cursor = *cursor;
                row.acknowledged.clone_from(acknowledged);
            }
            Self::ResetCursor { token } => {
                row.start_again();
                row.token = Some(*token);
            }
            Self::Reset => {
                row.start_again();
                row.token = None;
                row.until = 0;
            }
            Self::Settle => {
                row.status = Status::Settled;
                row.cursor = CURSOR_END;
                row.acknowledged = OrdinalSet::default();
                row.expires = None;
            }
            Self::Complete { counts, expires } => {
                row.status = Status::Done;
                row.cursor = CURSOR_END;
                row.acknowledged = OrdinalSet::default();
                row.until = 0;
                row.counts = Some(*counts);
                row.expires = Some(*expires);
            }
            Self::Quarantine { reason, at } => {
                row.status = Status::Quarantined;
                row.until = 0;
                row.expires = None;
                row.reason = Some(reason.clone());
                row.quarantined_at = Some(*at);
            }
            Self::Accept { reason } => row.accepted = Some(reason.clone()),
            Self::WithdrawAcceptance => row.accepted = None,
        }
        row
    }
}
