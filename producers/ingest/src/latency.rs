//! How long calls took, by route and class of status: histograms that cost a call two additions.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::http::routes::ROUTES;

/// Upper bounds of the buckets in microseconds; above the last is one more.
pub(crate) const BOUNDS_US: [u64; 13] =
    [1_000, 2_500, 5_000, 10_000, 15_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 10_000_000];

/// The classes of status that a call can end with.
pub(crate) const CLASSES: [&str; 3] = ["2xx", "4xx", "5xx"];

/// Calls since the start, and those that are open.
#[derive(Debug)]
pub(crate) struct Latencies {
    /// For each route, and behind them one for calls of no route.
    cells: Vec<[Cell; CLASSES.len()]>,
    open: AtomicUsize,
}

#[derive(Debug, Default)]
struct Cell {
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

/// One histogram at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Histogram {
    /// The route's path, or `other`.
    pub(crate) route: &'static str,
    pub(crate) class: &'static str,
    /// Calls up to each bound, and all of them: sums, as Prometheus has them.
    pub(crate) up_to: [u64; BOUNDS_US.len() + 1],
    pub(crate) sum_us: u64,
}

/// A call that is open; dropped when it is answered or given up.
#[derive(Debug)]
pub(crate) struct Open<'l> {
    open: &'l AtomicUsize,
}

impl Default for Latencies {
    fn default() -> Self {
        let classes = || std::array::from_fn(|_| Cell::default());
        Self { cells: std::iter::repeat_with(classes).take(ROUTES.len() + 1).collect(), open: AtomicUsize::new(0) }
    }
}

impl Latencies {
    /// Counts a call as open until what is returned is dropped.
    pub(crate) fn open(&self) -> Open<'_> {
        self.open.fetch_add(1, Ordering::Relaxed);
        Open { open: &self.open }
    }

    /// Calls that are open now.
    pub(crate) fn open_now(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Counts a call that was answered. `route` is its place among the routes, if it has one.
    pub(crate) fn answered(&self, route: Option<usize>, status: u16, took: Duration) {
        let class = match status {
            ..400 => 0,
            400..500 => 1,
            500.. => 2,
        };
        let classes = self.cells.get(route.unwrap_or(ROUTES.len()));
        let Some(cell) = classes.and_then(|classes| classes.get(class)) else { return };
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.iter().take_while(|bound| **bound < took_us).count();
        if let Some(bucket) = cell.buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        cell.sum_us.fetch_add(took_us, Ordering::Relaxed);
    }

    /// The histograms in which something was counted.
    pub(crate) fn histograms(&self) -> Vec<Histogram> {
        let routes = ROUTES.iter().map(|route| route.path).chain(["other"]);
        let mut histograms = Vec::new();
        for (route, classes) in routes.zip(&self.cells) {
            for (class, cell) in CLASSES.into_iter().zip(classes) {
                let mut sum = 0;
                let up_to = std::array::from_fn(|bucket| {
                    sum += cell.buckets.get(bucket).map_or(0, |bucket| bucket.load(Ordering::Relaxed));
                    sum
                });
                if sum > 0 {
                    histograms.push(Histogram { route, class, up_to, sum_us: cell.sum_us.load(Ordering::Relaxed) });
                }
            }
        }
        histograms
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_route_class_and_bound() {
        let latencies = Latencies::default();
        let micros = Duration::from_micros;
        for (route, status, took_us) in [
            (Some(0), 200, 1_000),
            (Some(0), 204, 1_001),
            (Some(0), 503, 11_000_000),
            (None, 404, 0),
            (Some(99), 200, 5),
        ] {
            latencies.answered(route, status, micros(took_us));
        }
        let found = latencies.histograms();
        let names: Vec<_> =
            found.iter().map(|found| (found.route, found.class, found.up_to[0], found.up_to[13])).collect();
        assert_eq!(names, [("/v1/ad_requests", "2xx", 1, 2), ("/v1/ad_requests", "5xx", 0, 1), ("other", "4xx", 1, 1)]);
        assert_eq!(found[0].up_to[1..], [2; 13]);
        assert_eq!((found[0].sum_us, found[1].up_to[12]), (2_001, 0));
        let open = latencies.open();
        assert_eq!(latencies.open_now(), 1);
        drop(open);
        assert_eq!(latencies.open_now(), 0);
    }
}
