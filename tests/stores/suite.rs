//! What a store must do, as plain functions over the trait. The oracle is the plainest store there is: rows and pages in
//! two maps.

use fastrand::Rng;
use std::collections::HashMap;
use trailhose::event::EventId;
use trailhose::ledger::memory::Memory;
use trailhose::ledger::page::{Entry, Owner, Page, PageName, Version};
use trailhose::ledger::row::{Change, Counts, Guard, Row, Token};
use trailhose::ledger::store::{Store, WriteError};
use trailhose::object::{Object, ObjectId};

const NOW: i64 = 1_800_000_000;

/// Everything; `steps` of random history.
pub async fn all(store: &dyn Store, steps: usize) {
    pages_of_every_size(store).await;
    a_page_that_was_made_anew_is_another(store).await;
    what_is_asked_comes_in_the_order_asked(store).await;
    a_repeat_of_a_write_is_the_write(store).await;
    history(store, steps).await;
}

fn object(number: u64) -> Object {
    Object { bucket: "logs".into(), key: format!("AWSLogs/{number}/é \"#:.json.gz"), etag: format!("{number:032x}") }
}

fn page(rng: &mut Rng, entries: usize) -> Page {
    let mut page = Page::new(NOW + 1000);
    page.full = rng.bool();
    while page.entries.len() < entries {
        let owner = match rng.u8(0..4) {
            0 => Owner::Delivered,
            n => Owner::Object(ObjectId([n; 16])),
        };
        let ordinal = rng.bool().then(|| rng.u32(..));
        let id = EventId(rng.u128(..).to_le_bytes());
        page.entries.insert(id, Entry { owner, fingerprint: rng.u16(..), ordinal });
    }
    page
}

/// Every guard against every change in whatever states a random history leads to, each answer compared.
async fn history(store: &dyn Store, steps: usize) {
    let mut rng = Rng::with_seed(7);
    let model = Memory::default();
    let tokens = [Token(1), Token(2), Token(u128::MAX)];
    let (mut admitted, mut refused): (HashMap<String, usize>, HashMap<String, usize>) = Default::default();
    for step in 0..steps {
        let object = object(1000 + rng.u64(0..4));
        // Leases end at one of three times; now is one of three times between.
        let (now, until) = (NOW + 10 * rng.i64(0..3), NOW + 5 + 10 * rng.i64(0..3));
        let token = tokens[rng.usize(0..3)];
        let guard = match rng.u8(0..8) {
            0..=2 => Guard::Leasable { now, token },
            3 => Guard::Helpable { now, token },
            4..=6 => Guard::Held(token),
            _ => Guard::Unleased { now },
        };
        let count = || u64::from(step as u32);
        let change = match (guard, rng.u8(0..12)) {
            (Guard::Leasable { .. }, _) | (Guard::Helpable { .. }, 0..6) => Change::Lease { token, until },
            (_, 0) => Change::Release,
            (_, 1 | 2) => Change::Advance(rng.u32(..)),
            (_, 3 | 4) => Change::Reopen,
            (_, 5) => Change::Settle,
            (_, 6) => Change::Complete {
                counts: Counts { seen: count(), delivered: 0, duplicate: u64::MAX >> 1, filtered: 3, oversize: 4 },
                expires: NOW + 7,
            },
            (_, 7) => Change::Quarantine { reason: format!("gzip: \"cut\" at {step}\n") },
            _ => Change::Lease { token, until },
        };
        let by_name = matches!(guard, Guard::Leasable { .. });
        let (ours, theirs) = if by_name {
            (store.change_row(&object, guard, &change).await, model.change_row(&object, guard, &change).await)
        } else {
            let id = object.id();
            (store.change_row_by_id(id, guard, &change).await, model.change_row_by_id(id, guard, &change).await)
        };
        let name = format!("{guard:?}").split([' ', '(']).next().unwrap().to_owned();
        *if theirs.is_ok() { &mut admitted } else { &mut refused }.entry(name).or_default() += 1;
        assert_eq!(answer(ours), answer(theirs), "step {step}: {change:?} if {guard:?}");
    }
    for guard in ["Leasable", "Helpable", "Held", "Unleased"] {
        assert!(admitted.get(guard).is_some_and(|&times| times > 5), "{guard} was hardly ever admitted");
        assert!(refused.get(guard).is_some_and(|&times| times > 5), "{guard} was hardly ever refused");
    }
    let ids: Vec<_> = (1000..1005).map(|number| object(number).id()).collect();
    assert_eq!(store.rows(&ids).await.unwrap(), model.rows(&ids).await.unwrap());
}

/// The row as it stands, and whether the change went through.
fn answer(result: Result<Row, WriteError<Row>>) -> (bool, Option<Row>) {
    match result {
        Ok(row) => (true, Some(row)),
        Err(WriteError::Refused(row)) => (false, row.map(|row| *row)),
        Err(WriteError::Store(error)) => panic!("{error}"),
    }
}

fn refused(result: Result<(), WriteError<Page>>) -> Option<Page> {
    match result {
        Err(WriteError::Refused(page)) => page.map(|page| *page),
        other => panic!("not refused: {other:?}"),
    }
}

/// Pages from empty to thousands of entries: written, read, refused with what stands there.
pub async fn pages_of_every_size(store: &dyn Store) {
    let mut rng = Rng::with_seed(1);
    for (number, entries) in [0, 1, 50, 1_800, 3_000].into_iter().enumerate() {
        let name = PageName(format!("111122223333/eu-west-1/{number}~a5"));
        let first = page(&mut rng, entries);
        assert_eq!(store.pages(std::slice::from_ref(&name)).await.unwrap(), [None]);
        assert_eq!(refused(store.write_page(&name, Some(Version(1)), &first).await), None);
        store.write_page(&name, None, &first).await.unwrap();
        assert_eq!(store.pages(std::slice::from_ref(&name)).await.unwrap(), [Some(first.clone())]);

        let second = page(&mut rng, entries + 1);
        assert_eq!(refused(store.write_page(&name, None, &second).await), Some(first.clone()));
        assert_eq!(refused(store.write_page(&name, Some(second.version), &second).await), Some(first.clone()));
        store.write_page(&name, Some(first.version), &second).await.unwrap();
        assert_eq!(store.pages(&[name]).await.unwrap(), [Some(second)]);
    }
}

/// Two empty pages are two pages: a worker that read the one must not write over the other.
async fn a_page_that_was_made_anew_is_another(store: &dyn Store) {
    let name = PageName("anew".into());
    let (before, after) = (Page::new(NOW), Page::new(NOW));
    assert_ne!(before.version, after.version);
    store.write_page(&name, None, &before).await.unwrap();
    store.write_page(&name, Some(before.version), &after).await.unwrap();
    assert_eq!(refused(store.write_page(&name, Some(before.version), &before).await), Some(after));
}

/// More keys than one request takes, some twice, some not there.
async fn what_is_asked_comes_in_the_order_asked(store: &dyn Store) {
    let token = Token(9);
    for number in 0..30 {
        let (guard, lease) = (Guard::Leasable { now: NOW, token }, Change::Lease { token, until: NOW + number as i64 });
        store.change_row(&object(number), guard, &lease).await.unwrap();
    }
    let asked: Vec<u64> = (0..250).map(|number| number * 37 % 125).collect();
    let ids: Vec<_> = asked.iter().map(|&number| object(number).id()).collect();
    let rows = store.rows(&ids).await.unwrap();
    assert_eq!(rows.len(), asked.len());
    for (number, row) in asked.into_iter().zip(rows) {
        assert_eq!(row.map(|row| row.object), (number < 30).then(|| object(number)));
    }
    assert_eq!(store.rows(&[]).await.unwrap(), []);
    assert_eq!(store.pages(&[]).await.unwrap(), []);
}

/// After a lost reply the same write is made again: it goes through again, or is refused with what it wrote.
async fn a_repeat_of_a_write_is_the_write(store: &dyn Store) {
    let (object, token) = (object(500), Token(5));
    let lease = (Guard::Leasable { now: NOW, token }, Change::Lease { token, until: NOW + 9 });
    let complete = Change::Complete { counts: Counts::default(), expires: NOW + 99 };
    let noted = [Change::Advance(3), Change::Settle, complete, Change::Reopen];
    for (guard, change) in [lease].into_iter().chain(noted.map(|change| (Guard::Held(token), change))) {
        let first = store.change_row(&object, guard, &change).await.unwrap();
        assert_eq!(store.change_row(&object, guard, &change).await.unwrap(), first, "{change:?}");
    }
    let name = PageName("again".into());
    let page = page(&mut Rng::with_seed(3), 4);
    store.write_page(&name, None, &page).await.unwrap();
    assert_eq!(refused(store.write_page(&name, None, &page).await), Some(page));
}

/// What a lease says of a store that is not there.
pub async fn lease_of_nothing(store: &dyn Store) -> String {
    let token = Token(1);
    let leased =
        store.change_row(&object(1), Guard::Leasable { now: NOW, token }, &Change::Lease { token, until: NOW }).await;
    leased.unwrap_err().to_string()
}
