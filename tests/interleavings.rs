//! Interleavings: several workers at one ledger, in every order of their calls.

mod explicit;
mod world;

use explicit::{LEASE, Scene, Sight, at_most};
use world::{event, event_at};

fn events(numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    numbers.into_iter().map(event).collect()
}

/// Events of a minute each, so that each lies on a page of its own.
fn apart(numbers: &[u32]) -> Vec<String> {
    numbers.iter().map(|number| event_at(*number, &format!("2026-11-01T00:{number:02}:00Z"))).collect()
}

#[test]
fn one_object_announced_twice() {
    let scene = Scene::new(1, &[events(1..=2)]).announced(&[0, 0]);
    Scene { faults: at_most(1, 2), leaps: vec![LEASE], sights: vec![Sight::PutOff], ..scene }
        .explore("announced twice");
}

#[test]
fn two_objects_that_share_all() {
    let scene = Scene::new(2, &[events(1..=2), events(1..=2)]);
    Scene { faults: at_most(1, 2), leaps: vec![LEASE], sights: vec![Sight::PutOff, Sight::Marked], ..scene }
        .explore("share all");
}

#[test]
fn two_objects_that_own_each_others_events() {
    let scene = Scene::new(2, &[apart(&[1, 2]), apart(&[2, 1])]);
    Scene { faults: at_most(1, 1), sights: vec![Sight::Settled], ..scene }.explore("crosswise");
}
