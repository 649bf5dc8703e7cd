//! Counts as Prometheus reads them.

use crate::ingest::Ingest;

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
    family(&mut text, "stream_throttled_total", "counter", "Attempts that the stream throttled.");
    line(&mut text, "stream_throttled_total", stream.throttled);
    family(&mut text, "stream_buffered_bytes", "gauge", "Bytes that wait for the stream.");
    line(&mut text, "stream_buffered_bytes", stream.buffered_bytes);
    family(&mut text, "sink_healthy", "gauge", "1 if the stream takes data, as far as is known.");
    line(&mut text, "sink_healthy", u64::from(ingest.takes_data()));
    text
}

fn family(text: &mut String, name: &str, kind: &str, help: &str) {
    text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
}

fn line(text: &mut String, name: &str, value: u64) {
    text.push_str(&format!("{name} {value}\n"));
}
