//! What came of a run: one object for programs, a few lines for people.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::progress::{Counts, Latency, Progress};

/// A finished run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Report {
    /// From the first call to the last answer.
    pub seconds: f64,
    /// Acknowledged events per second of that.
    pub accepted_per_s: f64,
    /// Events by what became of them.
    #[serde(flatten)]
    pub counts: Counts,
    /// Latency of calls from when they were due.
    pub latency: Latency,
    /// Latency of calls from when they were sent.
    pub service_time: Latency,
}

impl Report {
    pub(crate) fn new(progress: &Progress, elapsed: Duration) -> Self {
        let counts = progress.counts();
        let seconds = elapsed.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a rate for people; counts stay below 2^52")]
        let accepted_per_s = if seconds > 0.0 { counts.accepted as f64 / seconds } else { 0.0 };
        Self { seconds, accepted_per_s, counts, latency: progress.latency(), service_time: progress.service_time() }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { seconds, accepted_per_s, counts, latency, service_time } = self;
        writeln!(formatter, "sent         {} in {seconds:.1} s", counts.sent)?;
        writeln!(formatter, "accepted     {} ({accepted_per_s:.0}/s)", counts.accepted)?;
        writeln!(formatter, "refused      {} ({} were sent invalid)", counts.refused, counts.sent_invalid)?;
        writeln!(formatter, "unavailable  {}", counts.unavailable)?;
        writeln!(formatter, "unanswered   {}", counts.unanswered)?;
        writeln!(formatter, "missed       {}", counts.missed)?;
        writeln!(formatter, "latency      {latency} (from when calls were due)")?;
        write!(formatter, "service time {service_time} (from when they were sent)")
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Latency { calls: _, p50_us, p90_us, p99_us, p999_us, max_us } = self;
        let millis = |us: &u64| Duration::from_micros(*us).as_secs_f64() * 1_000.0;
        let [p50, p90, p99, p999, max] = [p50_us, p90_us, p99_us, p999_us, max_us].map(millis);
        write!(formatter, "p50 {p50:.1}  p90 {p90:.1}  p99 {p99:.1}  p99.9 {p999:.1}  max {max:.1} ms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::add;

    #[test]
    fn a_report_is_for_people_and_programs() {
        let progress = Progress::default();
        add(&progress.sent, 1_000);
        add(&progress.accepted, 990);
        add(&progress.refused, 10);
        add(&progress.sent_invalid, 10);
        progress.measure(Duration::from_micros(5_000), Duration::from_micros(1_000));
        let report = Report::new(&progress, Duration::from_secs(10));
        expect_test::expect![[r#"
            sent         1000 in 10.0 s
            accepted     990 (99/s)
            refused      10 (10 were sent invalid)
            unavailable  0
            unanswered   0
            missed       0
            latency      p50 5.0  p90 5.0  p99 5.0  p99.9 5.0  max 5.0 ms (from when calls were due)
            service time p50 1.0  p90 1.0  p99 1.0  p99.9 1.0  max 1.0 ms (from when they were sent)"#]]
        .assert_eq(&report.to_string());
        let json = serde_json::to_value(report).unwrap();
        assert_eq!((json["accepted"].as_u64(), json["latency"]["calls"].as_u64()), (Some(990), Some(1)));
    }
}
