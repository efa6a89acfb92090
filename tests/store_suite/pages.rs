//! Page writes: a write replaces the expected version, or is refused with the current page.

use super::refused;
use futures_util::{StreamExt, stream};
use trailhose::event::EventId;
use trailhose::ledger::model::page::{Entry, Owner, Page, PageName, Version};
use trailhose::ledger::store::Store;
use trailhose::object::ObjectId;

fn name(run: &str, name: impl std::fmt::Display) -> PageName {
    PageName(format!("{run}/eu-west-1/{name}"))
}

/// Returns a page of `events` events with three owners, with and without ordinals.
fn page(events: u32) -> Page {
    let mut page = Page::new(1_900_000_000 + i64::from(events));
    for number in 0..events {
        let owner = match number % 3 {
            0 => Owner::Delivered,
            owner => Owner::Object(ObjectId([owner as u8; 16])),
        };
        let entry = Entry { owner, fingerprint: number as u16, ordinal: (number % 2 == 0).then_some(number) };
        page.entries.insert(EventId::from_text(number.to_string().as_bytes()), entry);
    }
    page
}

async fn read(store: &dyn Store, name: &PageName) -> Option<Page> {
    store.pages(std::slice::from_ref(name)).await.unwrap().remove(0)
}

pub async fn page_is_replaced_only_at_its_version(store: &dyn Store, run: &str) {
    let name = name(run, "versions");
    assert_eq!(read(store, &name).await, None);
    let (first, mut second) = (page(3), page(5));
    refused(store.write_page(&name, None, &first).await).unwrap();
    assert_eq!(read(store, &name).await.as_ref(), Some(&first));
    // Another writer has created the page.
    assert_eq!(refused(store.write_page(&name, None, &second).await), Err(Some(first.clone())));
    second.full = true;
    refused(store.write_page(&name, Some(first.version), &second).await).unwrap();
    assert_eq!(read(store, &name).await.as_ref(), Some(&second));
    // The expected version is one write old.
    assert_eq!(refused(store.write_page(&name, Some(first.version), &page(9)).await), Err(Some(second.clone())));
    assert_eq!(read(store, &name).await.as_ref(), Some(&second));
    // The old page leaves nothing behind: neither the full flag nor entries.
    let third = Page { version: Version(u64::MAX), expires: 5, ..page(0) };
    refused(store.write_page(&name, Some(second.version), &third).await).unwrap();
    assert_eq!(read(store, &name).await, Some(third), "an expired page is returned");
}

pub async fn deleted_or_recreated_page_is_not_replaced(store: &dyn Store, run: &str) {
    let name = name(run, "anew");
    let seen = page(2);
    // Another writer created the page, this one read it, then it expired and was deleted.
    assert_eq!(refused(store.write_page(&name, Some(seen.version), &page(3)).await), Err(None));
    assert_eq!(read(store, &name).await, None);
    let anew = page(2);
    refused(store.write_page(&name, None, &anew).await).unwrap();
    assert_eq!(refused(store.write_page(&name, Some(seen.version), &page(3)).await), Err(Some(anew)));
}

pub async fn repeated_write_succeeds_or_returns_its_own_page(store: &dyn Store, run: &str) {
    let name = name(run, "repeat");
    let (first, second) = (page(1), page(2));
    for (expected_version, page) in [(None, &first), (Some(first.version), &second)] {
        refused(store.write_page(&name, expected_version, page).await).unwrap();
        if let Err(current) = refused(store.write_page(&name, expected_version, page).await) {
            assert_eq!(current.as_ref(), Some(page));
        }
        assert_eq!(read(store, &name).await.as_ref(), Some(page));
    }
}

pub async fn one_concurrent_writer_replaces_the_page(store: &dyn Store, run: &str) {
    let name = name(run, "race");
    let mut expected_version = None;
    for _ in 0..3 {
        let pages: Vec<Page> = (0..12).map(page).collect();
        let attempts = pages.iter().map(|page| {
            let name = &name;
            async move { (page, refused(store.write_page(name, expected_version, page).await)) }
        });
        let outcomes: Vec<_> = stream::iter(attempts).buffer_unordered(12).collect().await;
        let mut won = outcomes.iter().filter(|(_, outcome)| outcome.is_ok());
        let (winner, _) = won.next().expect("one writer succeeds");
        assert!(won.next().is_none(), "a page was replaced twice");
        for (_, refused) in outcomes.iter().filter(|(_, outcome)| outcome.is_err()) {
            assert_eq!(*refused, Err(Some((*winner).clone())), "a refusal returns the current page");
        }
        expected_version = Some(winner.version);
    }
}

pub async fn pages_are_returned_in_request_order(store: &dyn Store, run: &str) {
    let names: Vec<PageName> = (0..120).map(|number| name(run, format!("many-{number}~{:x}", number % 16))).collect();
    let pages: Vec<Page> = (0..120).map(page).collect();
    let made = stream::iter(names.iter().zip(&pages).step_by(2))
        .map(async |(name, page)| refused(store.write_page(name, None, page).await).unwrap());
    assert_eq!(made.buffer_unordered(8).count().await, 60);
    let asked: Vec<usize> = (0..250).map(|at| (at * 7919) % 120).collect();
    let found = store.pages(&asked.iter().map(|&at| names[at].clone()).collect::<Vec<_>>()).await.unwrap();
    assert_eq!(found.len(), 250);
    for (&at, found) in asked.iter().zip(found) {
        assert_eq!(found, (at % 2 == 0).then(|| pages[at].clone()), "{at}");
    }
    assert_eq!(store.pages(&[]).await.unwrap(), []);
}

pub async fn page_of_3_000_events_is_preserved(store: &dyn Store, run: &str) {
    let name = name(run, "long");
    let long = page(3000);
    refused(store.write_page(&name, None, &long).await).unwrap();
    assert_eq!(read(store, &name).await.as_ref(), Some(&long));
    let refusal = refused(store.write_page(&name, None, &page(1)).await);
    assert_eq!(refusal, Err(Some(long)), "a refusal returns the whole page");
}
