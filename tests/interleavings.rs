//! Interleavings: several workers use one ledger, in every order of their calls.

mod explicit;
mod world;

use explicit::{Goal, LEASE, Scene, all};
use trailhose::ledger::{PAGE_MARGIN, PAGE_SLACK};
use world::event;

fn events(numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    numbers.into_iter().map(event).collect()
}

const DAY: i64 = 86_400;

/// The retention of the ledger, in seconds.
const KEEP: i64 = 4 * DAY;

/// How long a page is kept.
const PAGE_LIFE: i64 = KEEP + PAGE_SLACK;

/// Returns events that are on separate pages.
fn apart(numbers: &[u32]) -> Vec<String> {
    numbers.iter().copied().map(world::apart).collect()
}

#[test]
fn one_object_announced_twice() {
    let twice = Scene { goals: vec![Goal::Deferred], ..Scene::new(1, &[events(1..=2)]).announced(&[&[0], &[0]]) };
    let lapse = Scene { clock_jumps: vec![LEASE], ..twice.clone() };
    Scene { faults: 1, ..lapse.clone() }.explore("announced twice, a fault, a lapse");
    let thrice = lapse.clone().announced(&[&[0], &[0], &[0]]);
    thrice.clone().explore("announced thrice, a lapse");
    if all() {
        Scene { faults: 2, ..lapse }.explore("announced twice, two faults, a lapse");
        Scene { faults: 1, ..thrice }.explore("announced thrice, a fault, a lapse");
    }
}

#[test]
fn two_objects_that_share_all() {
    let goals = vec![Goal::Deferred, Goal::Settled, Goal::Marked];
    let scene = Scene { faults: 1, goals, ..Scene::new(2, &[events(1..=2), events(1..=2)]) };
    scene.clone().explore("share all, a fault");
    if all() {
        Scene { clock_jumps: vec![LEASE], ..scene.clone() }.explore("share all, a fault, a lapse");
        Scene { faults: 2, ..scene }.explore("share all, two faults");
    }
}

#[test]
fn two_objects_that_share_some_in_several_calls() {
    let goals = vec![Goal::Deferred, Goal::Marked];
    let scene = Scene { faults: 1, goals, ..Scene::new(1, &[events(1..=3), events((2..=4).rev())]) };
    scene.clone().explore("share some, a fault");
    if all() {
        Scene { clock_jumps: vec![LEASE], ..scene }.explore("share some, a fault, a lapse");
    }
}

#[test]
fn two_objects_that_share_one() {
    let goals = vec![Goal::Deferred, Goal::Settled, Goal::Marked];
    let scene = Scene { faults: 1, goals, ..Scene::new(3, &[events(1..=2), events(2..=3)]) };
    scene.clone().explore("share one, a fault");
    if all() {
        Scene { clock_jumps: vec![LEASE], ..scene.clone() }.explore("share one, a fault, a lapse");
        Scene { faults: 2, ..scene }.explore("share one, two faults");
    }
}

#[test]
fn two_objects_that_own_each_others_events() {
    let scene = Scene { goals: vec![Goal::Settled], ..Scene::new(2, &[apart(&[1, 2]), apart(&[2, 1])]) };
    scene.clone().explore("crosswise");
    Scene { faults: 1, in_order: true, ..scene.clone() }.explore("crosswise, a fault, calls in order");
    if all() {
        Scene { faults: 1, clock_jumps: vec![LEASE], ..scene }.explore("crosswise, a fault, a lapse");
    }
}

#[test]
fn three_objects_in_a_ring() {
    let files = [apart(&[1, 2]), apart(&[2, 3]), apart(&[3, 1])];
    let scene = Scene { goals: vec![Goal::Settled], ..Scene::new(2, &files) };
    Scene { in_order: true, ..scene.clone() }.explore("ring, calls in order");
    if all() {
        scene.clone().explore("ring");
        Scene { in_order: true, clock_jumps: vec![LEASE], ..scene }.explore("ring, a lapse, calls in order");
    }
}

#[test]
fn three_objects_that_share_one() {
    let scene = Scene { goals: vec![Goal::Settled], ..Scene::new(2, &[events([1]), events([1]), events([1])]) };
    scene.clone().explore("three share one");
    if all() {
        Scene { faults: 1, ..scene.clone() }.explore("three share one, a fault");
        Scene { clock_jumps: vec![LEASE], ..scene }.explore("three share one, a lapse");
    }
}

#[test]
fn objects_of_one_message_with_merged_claims() {
    // While the first object writes the page, two wait for it, and the next of them writes the claims of both.
    let files = [events([1]), events([2]), events([3])];
    let scene = Scene { in_order: true, ..Scene::new(1, &files).announced(&[&[0, 1, 2]]) };
    Scene { faults: 1, goals: vec![Goal::ClaimsMerged], ..scene }
        .explore("one message of three, a fault, calls in order");
    if all() {
        let scene = Scene::new(1, &[events([1]), events([2, 3]), events([3, 1])]).announced(&[&[0, 1], &[2]]);
        Scene { in_order: true, ..scene }.explore("one message of two, and one, calls in order");
    }
}

#[test]
fn workers_that_fill_the_same_page() {
    let goals = vec![Goal::Spilled, Goal::Deferred];
    let scene = Scene { page_bytes: 50, goals, ..Scene::new(2, &[events([1, 2]), events([2, 17])]) };
    scene.clone().explore("spill");
    if all() {
        Scene { faults: 1, ..scene.clone() }.explore("spill, a fault");
        Scene { clock_jumps: vec![LEASE], ..scene }.explore("spill, a lapse");
    }
}

#[test]
fn workers_that_share_an_old_page() {
    let ages = [
        ("nearly expired", PAGE_LIFE - 7_200, 0),
        ("expired", PAGE_LIFE + 1, 0),
        ("expired and deleted", PAGE_LIFE + PAGE_MARGIN + 1, 1),
    ];
    for (name, jump, sweeps) in ages {
        let scene =
            |files: [Vec<String>; 2]| Scene { keep: KEEP, clock_jumps: vec![jump], sweeps, ..Scene::new(1, &files) };
        scene([events([1]), events([1])]).explore(name);
        if all() {
            let scene = scene([events(1..=2), events((1..=2).rev())]);
            scene.clone().explore(&format!("{name}, two of each"));
            Scene { faults: 1, ..scene }.explore(&format!("{name}, two of each, a fault"));
        }
    }
}

#[test]
fn an_object_that_is_deleted() {
    let goals = vec![Goal::Quarantined, Goal::Marked];
    let scene = Scene { faults: 1, deletions: 1, goals, ..Scene::new(1, &[events([1]), events(1..=2)]) };
    scene.clone().explore("deleted, a fault");
    if all() {
        Scene { faults: 2, ..scene }.explore("deleted, two faults");
    }
}

#[test]
fn an_object_that_is_reset() {
    let goals = vec![Goal::Repeated];
    let scene = Scene { resets: 1, goals, ..Scene::new(1, &[events(1..=2), events([2])]) };
    scene.clone().explore("reset by the user");
    if all() {
        let scene = Scene { faults: 1, ..scene };
        scene.clone().explore("reset by the user, a fault");
        Scene { clock_jumps: vec![LEASE], ..scene }.explore("reset by the user, a fault, a lapse");
    }
}

#[test]
fn calls_that_are_acknowledged_in_part() {
    let goals = vec![Goal::Acknowledged, Goal::Numbered];
    let scene = Scene { partials: 2, goals, ..Scene::new(3, &[events(1..=3)]) };
    scene.clone().explore("one object, two partial calls");
    Scene { faults: 1, ..scene.clone() }.explore("one object, two partial calls, a fault");
    // One call each: the helper must recognize the acknowledged events of an owner without ordinals.
    let share = Scene {
        partials: 1,
        goals: vec![Goal::Numbered, Goal::Marked],
        ..Scene::new(3, &[events(1..=2), events(1..=2)])
    };
    share.clone().explore("share all, a partial call");
    Scene { partials: 2, ..share.clone() }.explore("share all, two partial calls");
    // Several calls each.
    let several =
        Scene { partials: 1, goals: vec![Goal::Marked], ..Scene::new(2, &[events(1..=3), events((2..=4).rev())]) };
    several.clone().explore("share some, a partial call");
    if all() {
        Scene { faults: 1, ..several.clone() }.explore("share some, a partial call, a fault");
        Scene { partials: 2, ..several }.explore("share some, two partial calls");
        Scene { faults: 1, clock_jumps: vec![LEASE], ..scene }
            .explore("one object, two partial calls, a fault, a lapse");
        Scene { faults: 1, ..share }.explore("share all, a partial call, a fault");
    }
}

#[test]
fn acknowledged_part_of_an_old_page() {
    // The second object owns an event between acknowledged events of the first. When the page has expired, the first
    // object is granted this event too. `expiry.rs` runs this order; all orders take long.
    if all() {
        let goals = vec![Goal::Acknowledged, Goal::CursorReset];
        let files = [events([1, 2, 3, 4]), events([3])];
        let scene = Scene { keep: KEEP, partials: 1, clock_jumps: vec![PAGE_LIFE + 1], goals, ..Scene::new(4, &files) };
        Scene { faults: 1, jumps_only_when_idle: true, in_order: true, ..scene }
            .explore("expired, a partial call, a fault");
    }
}

#[test]
fn writes_that_take_effect_late() {
    let scene = Scene { lates: 1, ..Scene::new(1, &[events(1..=2)]).announced(&[&[0], &[0]]) };
    scene.clone().explore("announced twice, a late write");
    Scene { lates: 1, ..Scene::new(3, &[events(1..=2), events(2..=3)]) }.explore("share one, a late write");
    let part = Scene { lates: 1, partials: 1, ..Scene::new(3, &[events(1..=3)]) };
    part.clone().explore("one object, a partial call, a late write");
    // The page expires, an event below the cursor is granted, and a write from before arrives.
    let old = Scene {
        keep: KEEP,
        clock_jumps: vec![PAGE_LIFE + 1],
        lates: 1,
        ..Scene::new(1, &[events([1, 2]), events([1])])
    };
    if all() {
        Scene { in_order: true, ..old.clone() }.explore("expired, a late write");
        Scene { faults: 1, ..scene.clone() }.explore("announced twice, a late write, a fault");
        Scene { clock_jumps: vec![LEASE], ..scene }.explore("announced twice, a late write, a lapse");
        Scene { faults: 1, ..old }.explore("expired, a late write, a fault");
    }
}

#[test]
fn done_row_of_an_object_whose_page_is_extended() {
    // A copy extends the page late in its life. Then the first object's row expires, and the object is announced again.
    let extended = PAGE_LIFE - DAY;
    let scene = Scene {
        keep: KEEP,
        clock_jumps: vec![extended, PAGE_LIFE + PAGE_MARGIN + 1 - extended],
        sweeps: 1,
        jumps_only_when_idle: true,
        ..Scene::new(2, &[events([1]), events([1, 2])])
    };
    scene.clone().explore("extended");
    scene.announced(&[&[0], &[1], &[0]]).explore("extended, announced again");
}
