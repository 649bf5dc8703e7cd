//! Metrics in memory: per metric and minute how many values there were, their sum, the least and the most.
//!
//! Pure: times are arguments. Bounded by series, by points in all, and by age.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Metrics with different names or dimensions. More are refused.
pub(super) const SERIES_MAX: usize = 10_000;
/// Minutes of all metrics together; past that, a metric loses its oldest for each new one.
const POINTS_MAX: usize = 1_000_000;
/// Minutes are kept so long, as CloudWatch keeps them: 15 days.
pub(super) const RETENTION_MS: i64 = 15 * 86_400_000;
pub(super) const MINUTE_MS: i64 = 60_000;

/// Some values of a metric: what CloudWatch calls a statistic set.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct StatisticSet {
    pub(crate) count: f64,
    pub(crate) sum: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

/// Which metric.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct MetricKey {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// By name.
    pub(crate) dimensions: BTreeMap<String, String>,
}

/// Values of a metric at one time, as they are kept and put on disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Datum {
    #[serde(flatten)]
    pub(crate) key: MetricKey,
    pub(crate) unit: String,
    pub(crate) at_ms: i64,
    #[serde(flatten)]
    pub(crate) values: StatisticSet,
}

/// What one metric had.
#[derive(Debug, Clone, Default)]
pub(super) struct Series {
    /// As it was said last.
    pub(super) unit: String,
    /// By the beginning of the minute.
    points: BTreeMap<i64, StatisticSet>,
}

/// All metrics.
#[derive(Debug, Default)]
pub(super) struct AllSeries {
    series: BTreeMap<MetricKey, Series>,
    points: usize,
}

impl StatisticSet {
    /// One value.
    pub(crate) fn of(value: f64) -> Self {
        Self { count: 1.0, sum: value, min: value, max: value }
    }

    /// Several; `None` for none.
    pub(crate) fn all(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        values.into_iter().map(Self::of).reduce(Self::and)
    }

    /// Both together.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            sum: self.sum + other.sum,
            min: self.min.min(other.min),
            max: self.max.max(other.max),
        }
    }

    /// A statistic by CloudWatch's name; `None` for percentiles, which a set cannot tell, and for what is none.
    pub(super) fn statistic(&self, name: &str) -> Option<f64> {
        match name {
            "SampleCount" => Some(self.count),
            "Sum" => Some(self.sum),
            "Minimum" => Some(self.min),
            "Maximum" => Some(self.max),
            "Average" => Some(if self.count > 0.0 { self.sum / self.count } else { 0.0 }),
            _ => None,
        }
    }
}

impl Series {
    /// The values from `start_ms` on and before `end_ms`, by periods that begin at their multiples.
    pub(super) fn periods(&self, (start_ms, end_ms): (i64, i64), period_ms: i64) -> BTreeMap<i64, StatisticSet> {
        let mut periods = BTreeMap::new();
        let start_ms = start_ms.div_euclid(MINUTE_MS) * MINUTE_MS;
        if start_ms >= end_ms {
            return periods;
        }
        for (at_ms, values) in self.points.range(start_ms..end_ms) {
            let period = at_ms.div_euclid(period_ms) * period_ms;
            periods.entry(period).and_modify(|held: &mut StatisticSet| *held = held.and(*values)).or_insert(*values);
        }
        periods
    }
}

impl AllSeries {
    /// Takes values in; whether there was room for their metric.
    pub(super) fn add(&mut self, datum: &Datum) -> bool {
        if !self.series.contains_key(&datum.key) && self.series.len() >= SERIES_MAX {
            return false;
        }
        let series = self.series.entry(datum.key.clone()).or_default();
        series.unit.clone_from(&datum.unit);
        let minute = datum.at_ms.div_euclid(MINUTE_MS) * MINUTE_MS;
        let before = series.points.len();
        let values = datum.values;
        series.points.entry(minute).and_modify(|held| *held = held.and(values)).or_insert(values);
        self.points += series.points.len() - before;
        if self.points > POINTS_MAX && series.points.pop_first().is_some() {
            self.points -= 1;
        }
        true
    }

    /// Forgets what is too old.
    pub(super) fn trim(&mut self, now_ms: i64) {
        let horizon_ms = now_ms.saturating_sub(RETENTION_MS);
        for series in self.series.values_mut() {
            series.points = series.points.split_off(&horizon_ms);
        }
        self.series.retain(|_, series| !series.points.is_empty());
        self.points = self.series.values().map(|series| series.points.len()).sum();
    }

    pub(super) fn get(&self, key: &MetricKey) -> Option<&Series> {
        self.series.get(key)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &MetricKey> {
        self.series.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datum(name: &str, at_ms: i64, value: f64) -> Datum {
        let key = MetricKey { namespace: "n".to_owned(), name: name.to_owned(), dimensions: BTreeMap::new() };
        Datum { key, unit: "Count".to_owned(), at_ms, values: StatisticSet::of(value) }
    }

    #[test]
    fn values_meet_in_minutes_and_periods() {
        let mut all = AllSeries::default();
        for (at_ms, value) in [(0, 1.0), (59_999, 3.0), (60_000, 5.0), (300_000, 7.0)] {
            assert!(all.add(&datum("m", at_ms, value)));
        }
        let series = all.get(&datum("m", 0, 0.0).key).unwrap();
        let check = |range: (i64, i64), period_ms: i64, expected: &[(i64, f64, f64)]| {
            let found = series.periods(range, period_ms);
            let found: Vec<_> = found.iter().map(|(at_ms, values)| (*at_ms, values.count, values.sum)).collect();
            assert_eq!(found, expected, "{range:?} by {period_ms}");
        };
        check((0, 400_000), 60_000, &[(0, 2.0, 4.0), (60_000, 1.0, 5.0), (300_000, 1.0, 7.0)]);
        check((30_000, 300_000), 300_000, &[(0, 3.0, 9.0)]);
        check((300_000, 300_000), 60_000, &[]);
        let both = StatisticSet::all([4.0, 1.0, 7.0]).unwrap();
        let names = ["SampleCount", "Sum", "Minimum", "Maximum", "Average", "p99"];
        let found = names.map(|name| both.statistic(name));
        assert_eq!(found, [Some(3.0), Some(12.0), Some(1.0), Some(7.0), Some(4.0), None]);
    }

    #[test]
    fn series_and_ages_are_bounded() {
        let mut all = AllSeries::default();
        for number in 0..SERIES_MAX {
            assert!(all.add(&datum(&number.to_string(), 0, 1.0)));
        }
        assert!(!all.add(&datum("one more", 0, 1.0)));
        assert!(all.add(&datum("7", RETENTION_MS, 1.0)));
        all.trim(RETENTION_MS + 1);
        assert_eq!(all.keys().map(|key| key.name.as_str()).collect::<Vec<_>>(), ["7"]);
        assert_eq!(all.points, 1);
    }
}
