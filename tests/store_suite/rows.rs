//! Rows, held against `Guard::admits` and `Change::apply`.

use super::refused;
use futures_util::{StreamExt, stream};
use trailhose::ledger::model::row::{Change, Counts, Guard, Row, Seconds, Status, Token};
use trailhose::ledger::store::Store;
use trailhose::object::{Object, ObjectId};

const NOW: Seconds = 1_800_000_000;
const MINE: Token = Token(0xab);
const OTHER: Token = Token(u128::MAX);
const COUNTS: Counts = Counts { seen: 10, delivered: 4, duplicate: 3, filtered: 2, oversize: 1 };

/// Cases under way at once: the emulators answer one at a time, and the store is shared.
const AT_ONCE: usize = 8;

fn object(run: &str, name: impl std::fmt::Display) -> Object {
    Object { bucket: "logs".into(), key: format!("{run}/{name}"), etag: "e".into() }
}

fn guards() -> [Guard; 6] {
    [
        Guard::Leasable { now: NOW, token: MINE },
        Guard::Helpable { now: NOW, token: MINE },
        Guard::Held(MINE),
        Guard::Held(Token(1)),
        Guard::Unleased { now: NOW },
        Guard::Quarantined { now: NOW },
    ]
}

fn changes() -> [Change; 8] {
    [
        Change::Lease { token: Token(7), until: NOW + 900 },
        Change::Release,
        Change::Advance(17),
        Change::Reopen,
        Change::Forget,
        Change::Settle,
        Change::Complete { counts: Counts { seen: 1, ..COUNTS }, expires: NOW + 1 },
        Change::Quarantine { reason: "found something else".into() },
    ]
}

/// How a row comes to be what it is; none for a row that is absent.
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
            // Just over, at its last second, and live.
            for until in [NOW - 1, NOW, NOW + 900] {
                states.push(Some(State { status, holder: Some(holder), until }));
            }
        }
        states.push(Some(State { status, holder: None, until: 0 }));
    }
    states
}

/// Brings a row into a state by writes alone, and returns what the rules say it is then.
async fn bring(store: &dyn Store, object: &Object, state: Option<State>) -> Option<Row> {
    let State { status, holder, until } = state?;
    let held = Guard::Held(OTHER);
    let mut steps = vec![(Guard::Leasable { now: NOW, token: OTHER }, Change::Lease { token: OTHER, until: NOW })];
    steps.extend(match status {
        Status::Open => Some((held, Change::Advance(5))),
        Status::Settled => Some((held, Change::Settle)),
        Status::Done => Some((held, Change::Complete { counts: COUNTS, expires: NOW + 99 })),
        Status::Quarantined => Some((held, Change::Quarantine { reason: "found something".into() })),
    });
    steps.push(match holder {
        Some(token) => (held, Change::Lease { token, until }),
        None => (held, Change::Release),
    });
    let mut row = None;
    for (guard, change) in steps {
        row = Some(change.apply(row, object));
        let written = refused(store.change_row(object, guard, &change).await);
        assert_eq!(written.as_ref().ok(), row.as_ref(), "{object} on the way to {state:?}, at {change:?}");
    }
    row
}

/// Tries one change on one state, by the object or by its name, compares the outcome with the rules, and returns the row
/// that must be left.
async fn try_one(
    store: &dyn Store,
    object: &Object,
    state: Option<State>,
    guard: Guard,
    change: &Change,
    by_id: bool,
) -> (ObjectId, Option<Row>) {
    let current = bring(store, object, state).await;
    let admitted = guard.admits(current.as_ref()) && (current.is_some() || !by_id);
    let expected = match admitted {
        true => Ok(change.apply(current.clone(), object)),
        false => Err(current.clone()),
    };
    let outcome = match by_id {
        true => store.change_row_by_id(object.id(), guard, change).await,
        false => store.change_row(object, guard, change).await,
    };
    assert_eq!(refused(outcome), expected, "{change:?} on {state:?} if {guard:?}");
    (object.id(), expected.ok().or(current))
}

async fn compare(store: &dyn Store, expected: Vec<(ObjectId, Option<Row>)>) {
    let (ids, rows): (Vec<_>, Vec<_>) = expected.into_iter().unzip();
    for (found, expected) in store.rows(&ids).await.unwrap().into_iter().zip(rows) {
        assert_eq!(found, expected, "what is read is not what was answered");
    }
}

pub async fn each_guard_admits_what_the_rule_says(store: &dyn Store, run: &str) {
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

pub async fn each_change_leaves_what_the_rule_says(store: &dyn Store, run: &str) {
    let mut cases = Vec::new();
    for state in states() {
        for change in changes() {
            // The guards that admit a state: what is refused is tried above.
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

pub async fn a_row_known_by_its_name_only_is_never_made(store: &dyn Store, run: &str) {
    for (at, guard) in guards().into_iter().enumerate() {
        for change in changes() {
            let id = object(run, format!("unmade-{at}")).id();
            assert_eq!(refused(store.change_row_by_id(id, guard, &change).await), Err(None), "{change:?} if {guard:?}");
            assert_eq!(store.rows(&[id]).await.unwrap(), [None], "{change:?} if {guard:?}");
        }
    }
}

/// Each write of the protocol, twice, as after a lost reply.
pub async fn a_repeated_write_succeeds_or_is_refused_with_what_it_wrote(store: &dyn Store, run: &str) {
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

pub async fn one_of_many_at_once_gets_the_lease(store: &dyn Store, run: &str) {
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
        assert_eq!(refused.as_ref(), Some(granted[0]), "a refusal shows who has it");
    }
}

pub async fn many_rows_come_in_the_order_asked(store: &dyn Store, run: &str) {
    let token = MINE;
    let lease = Change::Lease { token, until: NOW };
    let objects: Vec<Object> = (0..120).map(|number| object(run, format!("many-{number}"))).collect();
    let made = stream::iter(objects.iter().step_by(2)).map(async |object| {
        refused(store.change_row(object, Guard::Leasable { now: NOW, token }, &lease).await).unwrap()
    });
    assert_eq!(made.buffer_unordered(AT_ONCE).count().await, 60);
    // Every second one absent, some asked twice and thrice, in no order.
    let asked: Vec<usize> = (0..250).map(|at| (at * 7919) % 120).collect();
    let ids: Vec<ObjectId> = asked.iter().map(|&at| objects[at].id()).collect();
    let rows = store.rows(&ids).await.unwrap();
    assert_eq!(rows.len(), 250);
    for (&at, row) in asked.iter().zip(rows) {
        assert_eq!(row.map(|row| row.object), (at % 2 == 0).then(|| objects[at].clone()), "{at}");
    }
    assert_eq!(store.rows(&[]).await.unwrap(), []);
}

pub async fn every_text_and_number_survives(store: &dyn Store, run: &str) {
    let object = Object {
        bucket: "file:///a b/ü".into(),
        // The longest key S3 takes.
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
        (Guard::Held(token), Change::Quarantine { reason: format!("offset 3: {{\"\u{0}…\n{}", "r".repeat(5000)) }),
    ];
    let mut row = None;
    for (guard, change) in steps {
        row = Some(change.apply(row, &object));
        assert_eq!(refused(store.change_row(&object, guard, &change).await).ok(), row);
        assert_eq!(store.rows(&[object.id()]).await.unwrap(), [row.clone()]);
    }
}
