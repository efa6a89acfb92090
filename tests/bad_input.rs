//! Bad input: what cannot be understood is parked with a reason, and its neighbours go on.

mod world;

use trailhose::ingest::{Outcome, Report};
use world::{World, event_at, log};

#[tokio::test]
async fn an_event_of_before_1970_and_one_without_a_time_are_both_delivered() {
    // Minute -10, and an identity that begins with the byte 0x10.
    let old = event_at(1, "1969-12-31T23:50:00Z");
    let timeless = r#"{"eventID":"10000000-0000-4000-8000-000000000002","awsRegion":"eu-west-1","recipientAccountId":"111122223333"}"#;
    let world = World::default();
    let report = done(&world, &[old.clone(), timeless.to_owned()]).await;
    assert_eq!((report.counts.seen, report.counts.delivered, report.counts.filtered), (2, 2, 0));
    assert_eq!(world.delivered(), [old.as_str(), timeless]);
}

async fn done(world: &World, events: &[String]) -> Report {
    let at = world.put("a", &log(events));
    match world.ingest(&at).await {
        Outcome::Done(report) => report,
        other => panic!("not done: {other:?}"),
    }
}
