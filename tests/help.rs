//! A worker delivers the events of a stalled owner on its behalf, and counts them once.

mod world;

use std::sync::Arc;
use trailhose::ingest::{Deferred, Outcome};
use world::{Fault, Wire, World, event, log, long_event};

/// More owners than a worker helps between two checks of its own claims.
const STALLED: u32 = 10;

#[tokio::test]
async fn events_helped_before_a_second_check_count_as_delivered() {
    let world = World::with_short_records();
    let mut events = vec![long_event(0)];
    events.extend((1..STALLED).map(event));
    for (number, event) in events.iter().enumerate() {
        let at = world.put(&format!("owner{number}"), &log(std::slice::from_ref(event)));
        let wire = Arc::new(Wire::failing([(3, Fault::Die)]));
        world.ingest_over(&wire, &at).await;
        assert_eq!(wire.calls(), ["lease", "fetch", "pages", "write_page"]);
    }
    let at = world.put("all", &log(&events));
    let Outcome::Deferred(Deferred::OwnerInProgress { until }) = world.ingest(&at).await else {
        panic!("not deferred")
    };
    world.pass_until(until);
    let Outcome::Done(report) = world.ingest(&at).await else { panic!("not done") };
    assert_eq!(report.helped, u64::from(STALLED));
    assert_eq!((report.counts.seen, report.counts.duplicate), (u64::from(STALLED), 0));
    assert_eq!((report.counts.oversize, report.counts.delivered), (1, u64::from(STALLED) - 1));
    assert_eq!(world.delivered().len(), STALLED as usize);
}
