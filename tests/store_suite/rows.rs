//! Row writes must follow `Guard::admits` and `Change::apply`.

use super::refused;
use futures_util::{StreamExt, stream};
use trailhose::ledger::model::ordinals::OrdinalSet;
use trailhose::ledger::model::row::{Change, Counts, Guard, Row, Seconds, Status, Token};
use trailhose::ledger::store::Store;
use trailhose::object::{Object, ObjectId};

const NOW: Seconds = 1_800_000_000;
const MINE: Token = Token(0xab);
const OTHER: Token = Token(u128::MAX);
const COUNTS: Counts = Counts { seen: 10, delivered: 4, duplicate: 3, filtered: 2, oversize: 1 };

fn ordinals(ranges: &[(u32, u32)]) -> OrdinalSet {
    let mut set = OrdinalSet::default();
    ranges.iter().for_each(|(first, end)| set.insert(*first, *end));
    set
}

/// Concurrent cases. The emulators process one request at a time, and the store is shared.
const AT_ONCE: usize = 8;

fn object(run: &str, name: impl std::fmt::Display) -> Object {
    Object { bucket: "logs".into(), key: format!("{run}/{name}"), etag: "e".into() }
}

fn guards() -> [Guard; 7] {
    [
        Guard::Leasable { now: NOW, token: MINE },
        Guard::Helpable { now: NOW, token: MINE },
        Guard::Held(MINE),
        Guard::HeldOpen(MINE),
        Guard::Held(Token(1)),
        Guard::Unleased { now: NOW },
        Guard::Quarantined { now: NOW },
    ]
}

fn changes() -> [Change; 12] {
    [
        Change::Lease { token: Token(7), until: NOW + 900 },
        Change::Release,
        Change::Advance(17),
        Change::Acknowledge { cursor: 17, acknowledged: ordinals(&[(20, 21), (300, 70_000)]) },
        Change::Acknowledge { cursor: 18, acknowledged: ordinals(&[]) },
        Change::ResetCursor { token: MINE },
        Change::Reset,
        Change::Settle,
        Change::Complete { counts: Counts { seen: 1, ..COUNTS }, expires: NOW + 1 },
        Change::Quarantine { reason: "found something else".into(), at: NOW + 5 },
        Change::Accept { reason: "its events are known to be lost".into() },
        Change::WithdrawAcceptance,
    ]
}

/// The state of a row before the tested write. `None` is an absent row.
#[derive(Debug, Clone, Copy)]
struct State {
    status: Status,
    holder: Option<Token>,
    until: Seconds,
}

fn states() -> Vec<Option<State>> {
    let mut states = vec![None];
    for status in [Status::Open, Status::Settled, Status::Done, Status::Quarantined] {
        for holder in [MINE, OTHER] {
            // Just expired, in its last second, and unexpired.
            for until in [NOW - 1, NOW, NOW + 900] {
                states.push(Some(State { status, holder: Some(holder), until }));
            }
        }
        states.push(Some(State { status, holder: None, until: 0 }));
    }
    states
}

/// Brings a row into a state by writes, and returns the row that the rules specify.
async fn write_state(store: &dyn Store, object: &Object, state: Option<State>) -> Option<Row> {
    let State { status, holder, until } = state?;
    let held = Guard::Held(OTHER);
    let mut steps = vec![(Guard::Leasable { now: NOW, token: OTHER }, Change::Lease { token: OTHER, until: NOW })];
    steps.extend(match status {
        Status::Open => Some((held, Change::Acknowledge { cursor: 5, acknowledged: ordinals(&[(7, 9)]) })),
        Status::Settled => Some((held, Change::Settle)),
        Status::Done => Some((held, Change::Complete { counts: COUNTS, expires: NOW + 99 })),
        Status::Quarantined => Some((held, Change::Quarantine { reason: "found something".into(), at: NOW })),
    });
    steps.push(match holder {
        Some(token) => (held, Change::Lease { token, until }),
        None => (held, Change::Release),
    });
    let mut row = None;
    for (guard, change) in steps {
        row = Some(change.apply(row, object));
        let written = refused(store.change_row(object, guard, &change).await);
        assert_eq!(written.as_ref().ok(), row.as_ref(), "{object} before {state:?}: {change:?}");
    }
    row
}

/// Writes one change to one state, by object or by ID, and checks the result. Returns the expected row.
async fn try_one(
    store: &dyn Store,
    object: &Object,
    state: Option<State>,
    guard: Guard,
    change: &Change,
    by_id: bool,
) -> (ObjectId, Option<Row>) {
    let current = write_state(store, object, state).await;
    let admitted = guard.admits(current.as_ref()) && (current.is_some() || !by_id);
    let expected = match admitted {
        true => Ok(change.apply(current.clone(), object)),
        false => Err(current.clone()),
    };
    let outcome = match by_id {
        true => store.change_row_by_id(object.id(), guard, change).await,
        false => store.change_row(object, guard, change).await,
    };
    assert_eq!(refused(outcome), expected, "{change:?} in {state:?} with {guard:?}");
    (object.id(), expected.ok().or(current))
}

async fn compare(store: &dyn Store, expected: Vec<(ObjectId, Option<Row>)>) {
    let (ids, rows): (Vec<_>, Vec<_>) = expected.into_iter().unzip();
    let found = store.rows(&ids).await.unwrap();
    assert_eq!(found.len(), rows.len(), "the store returns one row for each ID");
    for (found, expected) in found.into_iter().zip(rows) {
        assert_eq!(found, expected, "the stored row differs from the row that the write returned");
    }
}

pub async fn guards_admit_the_specified_states(store: &dyn Store, run: &str) {
    let mut cases = Vec::new();
    for state in states() {
        for guard in guards() {
            for by_id in [false, true] {
                cases.push((object(run, format!("guard-{}", cases.len())), state, guard, by_id));
            }
        }
    }
    let change = Change::Lease { token: MINE, until: NOW + 1 };
    let tried = stream::iter(&cases)
        .map(|(object, state, guard, by_id)| try_one(store, object, *state, *guard, &change, *by_id));
    compare(store, tried.buffer_unordered(AT_ONCE).collect().await).await;
}

pub async fn changes_write_the_specified_rows(store: &dyn Store, run: &str) {
    let mut cases = Vec::new();
    for state in states() {
        for change in changes() {
            // Guards that admit the state. The test above covers refusals.
            let guard = match state {
                None => Guard::Leasable { now: NOW, token: MINE },
                Some(State { holder: Some(token), .. }) => Guard::Held(token),
                Some(_) => Guard::Unleased { now: NOW },
            };
            cases.push((object(run, format!("change-{}", cases.len())), state, guard, change));
        }
    }
    let tried = stream::iter(&cases)
        .map(|(object, state, guard, change)| try_one(store, object, *state, *guard, change, false));
    compare(store, tried.buffer_unordered(AT_ONCE).collect().await).await;
}

pub async fn write_by_id_creates_no_row(store: &dyn Store, run: &str) {
    for (at, guard) in guards().into_iter().enumerate() {
        for change in changes() {
            let id = object(run, format!("absent-{at}")).id();
            assert_eq!(refused(store.change_row_by_id(id, guard, &change).await), Err(None), "{change:?} if {guard:?}");
            assert_eq!(store.rows(&[id]).await.unwrap(), [None], "{change:?} if {guard:?}");
        }
    }
}

/// Each write of the protocol runs twice, as after a lost reply.
pub async fn repeated_write_succeeds_or_returns_its_own_row(store: &dyn Store, run: &str) {
    let leasable = Guard::Leasable { now: NOW, token: MINE };
    for (at, change) in changes().into_iter().enumerate() {
        let object = object(run, format!("repeat-{at}"));
        let lease = Change::Lease { token: MINE, until: NOW + 60 };
        let (guard, change) = match change {
            Change::Lease { .. } => (leasable, lease),
            change => {
                refused(store.change_row(&object, leasable, &lease).await).unwrap();
                (Guard::Held(MINE), change)
            }
        };
        let once = refused(store.change_row(&object, guard, &change).await).unwrap();
        let again = match refused(store.change_row(&object, guard, &change).await) {
            Ok(row) => Some(row),
            Err(current) => current,
        };
        assert_eq!(again, Some(once), "{change:?}");
    }
}

pub async fn one_concurrent_writer_gets_the_lease(store: &dyn Store, run: &str) {
    let object = object(run, "race");
    let attempts = (1..=12).map(|number| {
        let (object, token) = (&object, Token(number));
        async move {
            let lease = Change::Lease { token, until: NOW + 60 };
            refused(store.change_row(object, Guard::Leasable { now: NOW, token }, &lease).await)
        }
    });
    let outcomes: Vec<_> = stream::iter(attempts).buffer_unordered(12).collect().await;
    let granted: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()).collect();
    assert_eq!(granted.len(), 1, "{outcomes:?}");
    for refused in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        assert_eq!(refused.as_ref(), Some(granted[0]), "a refusal returns the row with the lease");
    }
}

pub async fn rows_are_returned_in_request_order(store: &dyn Store, run: &str) {
    let token = MINE;
    let lease = Change::Lease { token, until: NOW };
    let objects: Vec<Object> = (0..120).map(|number| object(run, format!("many-{number}"))).collect();
    let made = stream::iter(objects.iter().step_by(2)).map(async |object| {
        refused(store.change_row(object, Guard::Leasable { now: NOW, token }, &lease).await).unwrap()
    });
    assert_eq!(made.buffer_unordered(AT_ONCE).count().await, 60);
    // Every second row is absent, and some IDs occur two or three times, in arbitrary order.
    let asked: Vec<usize> = (0..250).map(|at| (at * 7919) % 120).collect();
    let ids: Vec<ObjectId> = asked.iter().map(|&at| objects[at].id()).collect();
    let rows = store.rows(&ids).await.unwrap();
    assert_eq!(rows.len(), 250);
    for (&at, row) in asked.iter().zip(rows) {
        assert_eq!(row.map(|row| row.object), (at % 2 == 0).then(|| objects[at].clone()), "{at}");
    }
    assert_eq!(store.rows(&[]).await.unwrap(), []);
}

pub async fn all_texts_and_numbers_are_preserved(store: &dyn Store, run: &str) {
    let object = Object {
        bucket: "file:///a b/ü".into(),
        // Close to the longest key of S3.
        key: format!("{run}/it's \"here\"; \\ \u{1F980}\n{}", "k".repeat(900)),
        etag: "d41d8cd98f00b204e9800998ecf8427e-12".into(),
    };
    let token = Token(u128::MAX - 1);
    let steps = [
        (Guard::Leasable { now: i64::MAX, token }, Change::Lease { token, until: i64::MAX }),
        (Guard::Held(token), Change::Advance(u32::MAX)),
        (
            Guard::Held(token),
            Change::Complete {
                counts: Counts { seen: i64::MAX as u64, delivered: 0, duplicate: 1, filtered: 1 << 40, oversize: 10 },
                expires: i64::MAX,
            },
        ),
        (
            Guard::Held(token),
            Change::Quarantine { reason: format!("offset 3: {{\"\u{0}…\n{}", "r".repeat(5000)), at: NOW },
        ),
    ];
    let mut row = None;
    for (guard, change) in steps {
        row = Some(change.apply(row, &object));
        assert_eq!(refused(store.change_row(&object, guard, &change).await).ok(), row);
        assert_eq!(store.rows(&[object.id()]).await.unwrap(), [row.clone()]);
    }
}
