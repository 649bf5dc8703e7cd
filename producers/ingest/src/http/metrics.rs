//! Counts as Prometheus reads them.

use crate::ingest::Ingest;
use crate::latency::{BOUNDS_US, Histogram};

/// The text of `/metrics`: counters since the start, and gauges of now.
pub(crate) fn text(ingest: &Ingest) -> String {
    let counts = ingest.counters();
    let stream = ingest.stream_stats();
    let mut text = String::with_capacity(4096);
    family(&mut text, "events_accepted_total", "counter", "Events answered with 2xx, by type.");
    for (event_type, count) in ingest.accepted_by_type() {
        line(&mut text, &format!("events_accepted_total{{type=\"{}\"}}", event_type.name()), count);
    }
    family(&mut text, "events_refused_total", "counter", "Events and calls that were not accepted, by reason.");
    for (reason, count) in [
        ("invalid", counts.invalid),
        ("denied", counts.denied),
        ("over_quota", counts.over_quota),
        ("too_large", counts.too_large),
        ("undecodable", counts.undecodable),
        ("incomplete", counts.incomplete),
        ("misrouted", counts.misrouted),
        ("queue_full", counts.queue_full),
        ("shed", counts.shed),
        ("unavailable", counts.unavailable),
        ("abandoned", counts.abandoned),
    ] {
        line(&mut text, &format!("events_refused_total{{reason=\"{reason}\"}}"), count);
    }
    family(&mut text, "failed_events_total", "counter", "Refused events: kept as failed events, or counted only.");
    line(&mut text, "failed_events_total{result=\"kept\"}", counts.refused_kept);
    line(&mut text, "failed_events_total{result=\"lost\"}", counts.refused_lost);
    family(&mut text, "accepted_bytes_total", "counter", "Bytes of the bodies of accepted events.");
    line(&mut text, "accepted_bytes_total", counts.accepted_bytes);
    family(&mut text, "stream_put_records_total", "counter", "User records of the stream, by result.");
    line(&mut text, "stream_put_records_total{result=\"acknowledged\"}", stream.acknowledged);
    line(&mut text, "stream_put_records_total{result=\"failed\"}", stream.failed);
    family(&mut text, "stream_requests_total", "counter", "PutRecords requests.");
    line(&mut text, "stream_requests_total", stream.requests);
    family(&mut text, "stream_retried_total", "counter", "Attempts after a record's first.");
    line(&mut text, "stream_retried_total", stream.retried);
    family(&mut text, "stream_bytes_total", "counter", "Bytes of data and partition keys that the stream has stored.");
    line(&mut text, "stream_bytes_total", stream.bytes);
    family(&mut text, "stream_throttled_total", "counter", "Attempts that the stream throttled.");
    line(&mut text, "stream_throttled_total", stream.throttled);
    family(&mut text, "stream_buffered_bytes", "gauge", "Bytes that wait for the stream.");
    line(&mut text, "stream_buffered_bytes", stream.buffered_bytes);
    family(&mut text, "spool_backlog_events", "gauge", "Events on disk that the stream has not taken yet.");
    line(&mut text, "spool_backlog_events", stream.spool_backlog);
    family(&mut text, "spool_bytes", "gauge", "Bytes that the spool takes on disk.");
    line(&mut text, "spool_bytes", stream.spool_disk_bytes);
    family(&mut text, "spool_events_total", "counter", "Events that took the way over the disk, by what came of it.");
    line(&mut text, "spool_events_total{result=\"written\"}", stream.spooled);
    line(&mut text, "spool_events_total{result=\"sent\"}", stream.spool_drained);
    line(&mut text, "spool_events_total{result=\"refused\"}", stream.spool_refused);
    family(&mut text, "events_waiting", "gauge", "Events that wait for the stream.");
    line(&mut text, "events_waiting", as_count(ingest.waiting()));
    family(&mut text, "http_requests_open", "gauge", "Calls that are not answered yet, this one among them.");
    line(&mut text, "http_requests_open", as_count(ingest.latencies().open_now()));
    histograms(&mut text, &ingest.latencies().histograms());
    family(&mut text, "sink_healthy", "gauge", "1 if the stream takes data, as far as is known.");
    line(&mut text, "sink_healthy", u64::from(ingest.takes_data()));
    text
}

/// Times from a call's head to its answer.
fn histograms(text: &mut String, histograms: &[Histogram]) {
    const NAME: &str = "http_request_duration_seconds";
    family(text, NAME, "histogram", "Time from the head of a call to its answer, by route and status.");
    for Histogram { route, class, up_to, sum_us } in histograms {
        let labels = format!("route=\"{route}\",status=\"{class}\"");
        let bounds = BOUNDS_US.iter().map(|bound_us| seconds(*bound_us)).chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(up_to) {
            line(text, &format!("{NAME}_bucket{{{labels},le=\"{bound}\"}}"), *count);
        }
        text.push_str(&format!("{NAME}_sum{{{labels}}} {}\n", seconds(*sum_us)));
        line(text, &format!("{NAME}_count{{{labels}}}"), up_to.last().copied().unwrap_or_default());
    }
}

/// Microseconds as seconds, without the zeros that say nothing.
fn seconds(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn as_count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn family(text: &mut String, name: &str, kind: &str, help: &str) {
    text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
}

fn line(text: &mut String, name: &str, value: u64) {
    text.push_str(&format!("{name} {value}\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_written_short() {
        for (micros, expect) in [
            (0, "0"),
            (1_000, "0.001"),
            (2_500, "0.0025"),
            (1_000_000, "1"),
            (10_000_000, "10"),
            (1_500_001, "1.500001"),
        ] {
            assert_eq!(seconds(micros), expect);
        }
    }
}
