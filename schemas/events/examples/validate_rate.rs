//! What the door costs an event: microseconds of one core for reading, checking and naming each request of a file.
//!
//! `cargo run --release -p events --example validate_rate -- valid_bid_requests.ndjson`

use std::hint::black_box;
use std::time::Instant;

use events::envelope::EventType;
use events::event_id::EventId;
use events::json::Json;
use events::validate::{self, Policy};

/// Rounds over the file for each step; the median of them is shown.
const ROUNDS: usize = 41;
const NOW_MS: i64 = 1_795_000_000_000;

#[expect(clippy::print_stdout, reason = "a command answers on its terminal")]
fn main() -> std::io::Result<()> {
    let Some(path) = std::env::args().nth(1) else {
        println!("name a file of one request a line");
        return Ok(());
    };
    let text = std::fs::read_to_string(path)?;
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_by_key(|line| line.len());
    // The median request, and its neighbours of about the same size: one alone would only measure the cache.
    let median: Vec<&str> = lines.iter().copied().skip(lines.len() / 2).take(lines.len() / 50).collect();
    for (name, lines) in [("median", &median), ("all", &lines)] {
        let bytes = lines.iter().map(|line| line.len()).sum::<usize>() / lines.len().max(1);
        let parse = measure(lines, |line| drop(black_box(Json::parse(line.as_bytes()))));
        let check = measure(lines, |line| {
            black_box(checked(line));
        });
        let name_it = measure(lines, |line| {
            black_box(EventId::of_content("demo", "ad_request", "id", line.as_bytes()));
        });
        let rules = check - parse;
        println!(
            "{name}: {} requests of {bytes} B: parse {parse:.2} + rules {rules:.2} = {check:.2} µs; id {name_it:.2} µs",
            lines.len()
        );
    }
    Ok(())
}

fn checked(line: &str) -> usize {
    let json = Json::parse(line.as_bytes());
    json.map_or(0, |json| validate::event(EventType::AdRequest, &json, Policy::default(), NOW_MS).len())
}

/// Microseconds a line.
fn measure(lines: &[&str], mut step: impl FnMut(&str)) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            lines.iter().for_each(|line| step(line));
            start.elapsed().as_secs_f64()
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    let count = u32::try_from(lines.len().max(1)).map_or(f64::INFINITY, f64::from);
    rounds.get(ROUNDS / 2).copied().unwrap_or_default() * 1e6 / count
}
