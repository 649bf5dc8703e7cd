//! What reading and checking one request costs, on one thread and without HTTP.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use events::{
    envelope::EventType,
    json::Json,
    validate::{self, Policy},
};
use producer_bench::figure::{Better, Figure};

/// A request as sites and apps send it: 377 bytes, as the median of the public fixtures we know has.
const MEDIAN_REQUEST: &str = include_str!("median.json");

const GOAL_US: f64 = 4.0;
const ROUNDS: usize = 41;
const CALLS: u32 = 20_000;
const NOW_MS: i64 = 1_795_000_000_000;

pub(crate) fn measure() -> anyhow::Result<Vec<Figure>> {
    let mut rounds: Vec<Duration> = (0..ROUNDS).map(|_| round()).collect();
    rounds.sort_unstable();
    let median = *rounds.get(ROUNDS / 2).context("there are rounds")?;
    Ok(vec![Figure {
        name: "ingest.validation",
        value: median.as_secs_f64() * 1e6 / f64::from(CALLS),
        unit: "µs a request",
        goal: Some(GOAL_US),
        better: Better::Lower,
        peer: None,
        peer_value: None,
        note: format!(
            "reading and all rules, {} B, as the p50 of the public corpus; median of {ROUNDS} rounds",
            MEDIAN_REQUEST.len()
        ),
    }])
}

fn round() -> Duration {
    let started = Instant::now();
    for _ in 0..CALLS {
        let json = Json::parse(black_box(MEDIAN_REQUEST.as_bytes()));
        let found = json.map(|json| validate::event(EventType::AdRequest, &json, Policy::default(), NOW_MS));
        black_box(found.is_ok());
    }
    started.elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_accepted() {
        let json = Json::parse(MEDIAN_REQUEST.as_bytes()).unwrap();
        let found = validate::event(EventType::AdRequest, &json, Policy::default(), NOW_MS);
        assert!(!validate::refuses(&found), "{found:?}");
        assert_eq!(MEDIAN_REQUEST.len(), 377);
    }
}
