//! `trailhose redrive`: returns the messages of a dead-letter queue to the queues that they came from.

use crate::args::RedriveArgs;
use crate::components::Aws;
use crate::print::{print, print_json};
use crate::table::Table;
use crate::text::one_line;
use trailhose::ledger::system_clock;
use trailhose::queue::redrive::{Redrive, RedriveReport};

/// Exit code: the source of some messages is not known.
const SOURCE_UNKNOWN: u8 = 1;

/// The maximum number of reasons to print.
const MAX_REASONS: usize = 10;

pub(crate) async fn run(args: RedriveArgs) -> Result<u8, String> {
    let redrive = Redrive {
        client: Aws::default().sqs().await?,
        dead_letter_url: args.queue,
        to: args.to,
        max: args.max,
        dry_run: args.dry_run,
        now: system_clock()(),
    };
    let report = redrive.run().await.map_err(|error| error.to_string())?;
    match args.json {
        true => print_json(&report),
        false => print(&render(&report, args.dry_run)),
    }
    Ok(if report.without_source > 0 { SOURCE_UNKNOWN } else { 0 })
}

fn render(report: &RedriveReport, dry_run: bool) -> String {
    let mut table = Table::new(24, 12);
    let total = report.returned.values().sum();
    table.row(if dry_run { "would be returned" } else { "returned" }, total, "");
    for (queue, count) in &report.returned {
        table.row("  to the queue", *count, &one_line(queue));
    }
    let mut reasons: Vec<_> = report.reasons.iter().collect();
    reasons.sort_by_key(|(reason, count)| (u64::MAX - **count, *reason));
    for (reason, count) in reasons.iter().take(MAX_REASONS) {
        table.row("  reason", **count, &one_line(reason));
    }
    let others = reasons.iter().skip(MAX_REASONS).map(|(_, count)| **count).sum();
    table.row_if("  other reasons", others, "use --json to list them");
    table.row_if("source unknown", report.without_source, "pass --to QUEUE_URL to return them");
    table.row("in the dead-letter queue", report.left, "approximate");
    table.into_text()
}
