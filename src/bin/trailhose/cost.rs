//! `trailhose cost`: estimates the AWS cost of a number of events, offline.

use crate::args::CostArgs;
use crate::text::{counted, dollars};
use serde_json::json;
use trailhose::billing::estimate::Sample;
use trailhose::billing::price::{AS_OF, Bill, REGION};
use trailhose::generate::ObjectSize;

/// Default number of events per file: the rounded mean of three real accounts with 39,585 events.
const MEAN_EVENTS_PER_FILE: u32 = 9;

/// Runs the command and returns the exit code.
pub(crate) async fn run(args: &CostArgs) -> Result<u8, String> {
    let size = match (args.object_size, args.events_per_file) {
        (Some(bytes), _) => ObjectSize::Bytes(bytes),
        (None, events) => ObjectSize::Events(events.unwrap_or(MEAN_EVENTS_PER_FILE)),
    };
    let sample = Sample::of(size).await?;
    let bill = sample.billed_units(args.events).bill();
    let text = if args.json { as_json(args.events, &sample, &bill) } else { as_table(args.events, &sample, &bill) };
    crate::print::print_bytes(text.as_bytes());
    Ok(0)
}

fn as_table(events: u64, sample: &Sample, bill: &Bill) -> String {
    let mut text = format!(
        "{}, estimated from {} generated files with {:.0} events each and {:.0} bytes per event\n",
        counted(events, "event"),
        sample.objects,
        sample.events as f64 / sample.objects as f64,
        sample.json_bytes as f64 / sample.events as f64,
    );
    for line in &bill.lines {
        let (price, units, amount) = (line.price, line.units, line.dollars);
        text += &format!("  {:<9} {units:>18.3} {:<20} {:>13}\n", price.service, price.unit, dollars(amount, 4));
    }
    let per_million = bill.dollars() / events as f64 * 1e6;
    let (total, per_million) = (dollars(bill.dollars(), 4), dollars(per_million, 4));
    text += &format!("  {:<9} {:>39} {total:>13}, {per_million} per million events\n", "total", "");
    text + &format!(
        "List prices of {REGION}, {AS_OF}; Lambda compute time, S3 storage and data transfer are not included.\n"
    )
}

fn as_json(events: u64, sample: &Sample, bill: &Bill) -> String {
    let lines = bill.lines.iter().map(|line| {
        let price = line.price;
        json!({
            "service": price.service, "unit": price.unit, "page": price.page,
            "units": line.units, "dollars": line.dollars,
        })
    });
    let value = json!({
        "events": events,
        "sample": {
            "objects": sample.objects, "events": sample.events, "json_bytes": sample.json_bytes,
            "stored_bytes": sample.stored_bytes, "write_units": sample.ledger.write_units,
            "read_units": sample.ledger.read_units, "writes": sample.ledger.writes,
            "firehose_calls": sample.sink.calls, "firehose_records": sample.sink.records,
            "firehose_bytes": sample.sink.bytes, "firehose_billed_bytes": sample.sink.billed_bytes,
        },
        "region": REGION, "as_of": AS_OF, "bill": lines.collect::<Vec<_>>(), "dollars": bill.dollars(),
    });
    format!("{value}\n")
}
