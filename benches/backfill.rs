//! The cost of a backfill without the network: discovery and reconciliation of buckets with 10⁴, 10⁵ and 10⁶ objects in
//! 200 accounts and 17 regions, of which 5 % are missing from the ledger. Each size runs in its own process, so that
//! its peak memory is measured separately.
//!
//! ```sh
//! cargo bench --bench backfill
//! ```

#[path = "../tests/synthetic_listing/mod.rs"]
mod synthetic_listing;

use std::process::Command;
use std::sync::Arc;
use std::time::Instant;
use trailhose::listing::DayRange;

fn main() {
    let mut arguments = std::env::args().skip(1);
    if let (Some("--keys"), Some(keys)) = (arguments.next().as_deref(), arguments.next()) {
        return measure(keys.parse().expect("--keys is a number"));
    }
    // Without `--bench`, as in `cargo test --all-targets`, a small run only checks that the program works.
    let sizes = if std::env::args().any(|argument| argument == "--bench") { 4..7 } else { 4..5 };
    println!(
        "{:>9} {:>8} {:>8} {:>10} {:>8} {:>8} {:>9}",
        "keys", "missing", "lists", "allowed", "seconds", "keys/s", "peak KiB"
    );
    for size in sizes {
        let program = std::env::current_exe().expect("the path of this program is known");
        let status = Command::new(program).args(["--keys", &10_u64.pow(size).to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()), "10^{size} keys failed");
    }
}

fn measure(keys: usize) {
    let day_range = DayRange::parse("2026-11-18", "2026-11-20").expect("valid days");
    let bucket = Arc::new(synthetic_listing::SyntheticListing::of(keys, day_range));
    let expected = bucket.expected();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("the runtime starts");
    let start = Instant::now();
    let result = runtime.block_on(synthetic_listing::run(&bucket));
    let seconds = start.elapsed().as_secs_f64();
    let allowed = (expected.pages + expected.prefixes) as f64 * 1.05;
    assert_eq!(result.enqueued, expected.missing, "exactly the missing objects are enqueued");
    assert_eq!(result.counts.listed, expected.keys, "every key is listed once");
    assert!(result.requests as f64 <= allowed, "{} list requests, {allowed} allowed", result.requests);
    let (listed, missing) = (result.counts.listed, result.counts.missing);
    let (lists, rate) = (result.requests, listed as f64 / seconds);
    println!("{listed:>9} {missing:>8} {lists:>8} {allowed:>10.0} {seconds:>8.2} {rate:>8.0} {:>9}", peak_kib());
}

/// Returns the peak memory of this process in KiB, or 0 if the system does not report it.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
}
