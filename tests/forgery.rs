//! The effects of forged events by an attacker who can write to the bucket and knows an event ID. The threat model
//! describes these limitations; the tests check the description.

mod world;

use trailhose::decode::{DecodeLimits, EventReader};
use trailhose::ingest::{IngestReport, Outcome};
use world::{World, event, log};

async fn done(world: &World, name: &str, events: &[String]) -> IngestReport {
    let at = world.put(name, &log(events));
    match world.ingest(&at).await {
        Outcome::Done(report) => report,
        other => panic!("not done: {other:?}"),
    }
}

fn fingerprint(event: &str) -> u16 {
    let file = format!("[{event}]");
    EventReader::new(file.as_bytes(), DecodeLimits::default()).next().unwrap().unwrap().fingerprint
}

fn forged(number: u32, filler: u32) -> String {
    event(number).replacen('{', &format!("{{\"eventName\":\"Nothing\",\"filler\":{filler},"), 1)
}

#[tokio::test]
async fn earlier_forged_event_replaces_the_genuine_one_and_is_a_conflict() {
    let world = World::default();
    let first = (0..).find(|&filler| fingerprint(&forged(1, filler)) != fingerprint(&event(1))).unwrap();
    done(&world, "forged", &[forged(1, first)]).await;
    let report = done(&world, "genuine", &[event(1), event(2)]).await;
    assert_eq!((report.counts.delivered, report.counts.duplicate, report.conflicts), (1, 1, 1));
    assert_eq!(world.delivered(), [forged(1, first), event(2)]);
}

#[tokio::test]
async fn forged_event_with_an_equal_fingerprint_is_not_detected() {
    let world = World::default();
    let (wanted, most) = (fingerprint(&event(1)), 1 << 22);
    let filler = (0..most).find(|&filler| fingerprint(&forged(1, filler)) == wanted).expect("16 bits are soon met");
    done(&world, "forged", &[forged(1, filler)]).await;
    let report = done(&world, "genuine", &[event(1)]).await;
    assert_eq!((report.counts.delivered, report.counts.duplicate, report.conflicts), (0, 1, 0));
    assert_eq!(world.delivered(), [forged(1, filler)]);
}

#[tokio::test]
async fn later_forged_event_is_dropped_and_is_a_conflict() {
    let world = World::default();
    done(&world, "genuine", &[event(1)]).await;
    let first = (0..).find(|&filler| fingerprint(&forged(1, filler)) != fingerprint(&event(1))).unwrap();
    let report = done(&world, "forged", &[forged(1, first)]).await;
    assert_eq!((report.counts.duplicate, report.conflicts), (1, 1));
    assert_eq!(world.delivered(), [event(1)]);
}

#[tokio::test]
async fn event_of_another_account_does_not_conflict() {
    let world = World::default();
    let other = event(1).replace("111122223333", "444455556666");
    assert_ne!(other, event(1));
    done(&world, "other", std::slice::from_ref(&other)).await;
    let report = done(&world, "genuine", &[event(1)]).await;
    assert_eq!((report.counts.delivered, report.conflicts), (1, 0));
    assert_eq!(world.delivered(), [other, event(1)]);
}
