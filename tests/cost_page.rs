//! The table of `docs/cost.md` for three organizations: every cell follows from the stated assumptions and from
//! `trailhose cost`.

use serde_json::Value;
use std::process::Command;

/// Events of a small account: 30 days, two regions, a file of nine events every five minutes.
const SMALL_EVENTS: u64 = 30 * 2 * 288 * 9;

const BUSY_EVENTS: u64 = 10_000_000;

/// Events in a file of a small and of a busy account.
const EVENTS_PER_FILE: [u64; 2] = [9, 59];

/// Files per day and region of a small and of a busy account.
const FILES: [u64; 2] = [288, BUSY_EVENTS / 59 / 30 / 2];

/// Scheduled runs in a month.
const RUNS: f64 = 120.0;

fn page() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/cost.md")).unwrap()
}

/// Returns the cells of a row of the table.
fn row(page: &str, name: &str) -> Vec<String> {
    let start = format!("| {name} |");
    let line = page.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("no row {name}"));
    line[start.len()..]
        .split('|')
        .map(|cell| cell.trim().replace(['*', '$', ','], ""))
        .filter(|cell| !cell.is_empty())
        .collect()
}

/// Executes a command of the page and returns the dollars.
fn dollars(command: &str) -> f64 {
    let arguments = command.strip_prefix("$ trailhose ").unwrap();
    let output =
        Command::new(env!("CARGO_BIN_EXE_trailhose")).args(arguments.split(' ')).arg("--json").output().unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
    serde_json::from_slice::<Value>(&output.stdout).unwrap()["dollars"].as_f64().unwrap()
}

/// Returns the cost of the scheduled backfill of one unit, per month. The prices are those of `docs/backfill.md`.
fn backfill(files_per_day: u64) -> f64 {
    let rows = 4 * files_per_day;
    RUNS * (rows.div_ceil(1_000) as f64 * 5e-6 + 1.2e-6 + 1.25e-6 + rows as f64 * 1.25e-7)
}

#[test]
fn each_cell_follows_from_the_assumptions() {
    let page = page();
    let cells = |name: &str| row(&page, name);
    let (small, busy) = (cells("events of small accounts"), cells("events of busy accounts"));
    for (column, accounts) in [10_u64, 200, 5_000].into_iter().enumerate() {
        let counts = [accounts - accounts / 10, accounts / 10];
        let events = [counts[0] * SMALL_EVENTS, counts[1] * BUSY_EVENTS];
        assert_eq!(
            [&small[column], &busy[column]].map(|cell| cell.parse::<u64>().unwrap()),
            events,
            "{accounts} accounts"
        );

        let mut figures = Vec::new();
        for (events, per_file) in events.into_iter().zip(EVENTS_PER_FILE) {
            let command = format!("$ trailhose cost --events {events} --events-per-file {per_file}");
            assert!(page.lines().any(|line| line == command), "the page does not contain: {command}");
            figures.push(dollars(&command));
        }
        figures.push(counts.iter().zip(FILES).map(|(count, files)| (2 * count) as f64 * backfill(files)).sum::<f64>());
        let gb_seconds = |events: u64, per_file: u64| {
            events as f64 / 1e6 * 12.0 + events as f64 / per_file as f64 * 0.2 * 0.5 / 16.0
        };
        figures.push(
            events.into_iter().zip(EVENTS_PER_FILE).map(|(events, per_file)| gb_seconds(events, per_file)).sum::<f64>()
                * 0.000_013_333_4,
        );
        figures.push(events.iter().sum::<u64>() as f64 * 1_380.0 / 10.0 / 1e9 * 0.023);
        figures.push(figures.iter().sum::<f64>());
        let names = [
            "small accounts, `trailhose cost`",
            "busy accounts, `trailhose cost`",
            "scheduled backfill",
            "Lambda, compute time",
            "lake",
            "**total of a month**",
        ];
        for (name, figure) in names.into_iter().zip(figures) {
            let cell: f64 = cells(name)[column].parse().unwrap();
            // Objects that are processed at once share ledger pages differently in each run: about one in 100,000 of the price.
            let tolerance = 0.006 + figure * 2e-5;
            assert!((cell - figure).abs() < tolerance, "{accounts} accounts, {name}: {cell}, computed {figure:.4}");
        }
    }
}
