//! What Lambda limits, and how much of it is used.

use crate::limits::LimitUse;
use crate::meter::{Reading, count};

use super::account::UNRESERVED_MIN;
use super::events::{EVENTS_BYTES_MAX, EVENTS_MAX};
use super::function::{Function, SCALING_MAX, VARIABLES_BYTES_MAX, variables_bytes};
use super::mapping::Mapping;
use super::{Lambda, PAYLOAD_BYTES_MAX};

const QUOTAS: &str = "lambda/latest/dg/gettingstarted-limits.html";
const RESERVED: &str = "lambda/latest/dg/configuration-concurrency.html";
const SCALING: &str = "lambda/latest/dg/scaling-behavior.html";
const KINESIS: &str = "lambda/latest/dg/with-kinesis.html";
const RETENTION: &str = "streams/latest/dev/kinesis-extended-retention.html";
/// A limit that AWS does not have.
const OURS: &str = "(of this local cloud: events that wait or run)";

/// The account's limits, then those of each function and mapping.
pub(super) fn limits(lambda: &Lambda) -> Vec<LimitUse> {
    let used = lambda.account.read();
    let mut limits = vec![
        row("concurrency", "account", (used.account.0, "invocations"), used.account.1, QUOTAS).refused(used.throttled),
        row("unreserved concurrency", "account", (used.unreserved.0, "invocations"), used.unreserved.1, RESERVED)
            .refused(used.throttled),
        reservable(&used.reserved, used.account.0),
    ];
    let events = lambda.events.usage();
    let of_events = |limit: &str, allowed: (u64, &str), used: Reading| {
        row(limit, "account", allowed, used, OURS).refused(events.refused)
    };
    limits.push(of_events("asynchronous events", (count(EVENTS_MAX), "events"), events.events));
    limits.push(of_events("bytes of asynchronous events", (count(EVENTS_BYTES_MAX), "bytes"), events.bytes));
    for (function, limit, reading) in used.reserved {
        limits.push(row("reserved concurrency", function, (limit, "invocations"), reading, RESERVED));
    }
    for function in lambda.functions().iter() {
        limits.extend(of_function(function));
    }
    for mapping in lambda.running() {
        limits.extend(of_mapping(&mapping));
    }
    limits
}

fn row(limit: &str, at: impl Into<String>, allowed: (u64, &str), used: Reading, source: &str) -> LimitUse {
    LimitUse::new(("lambda", limit), at, allowed, used, source)
}

fn still(value: usize) -> Reading {
    Reading { now: count(value), peak: count(value) }
}

/// What all functions together have reserved, of what leaves 100 unreserved.
fn reservable(reserved: &[(String, u64, Reading)], account: u64) -> LimitUse {
    let sum: u64 = reserved.iter().map(|(_, limit, _)| limit).sum();
    let allowed = account.saturating_sub(count(UNRESERVED_MIN));
    row("reservable concurrency", "account", (allowed, "invocations"), Reading { now: sum, peak: sum }, RESERVED)
}

fn of_function(function: &Function) -> Vec<LimitUse> {
    let (config, used) = (function.config(), function.usage());
    let timeout_ms = u64::try_from(config.timeout.as_millis()).unwrap_or(u64::MAX);
    let variables = variables_bytes(&config.environment);
    let name = config.name.as_str();
    let one = |limit: &str, allowed: (u64, &str), (reading, refused): (Reading, u64), source: &str| {
        row(limit, name, allowed, reading, source).refused(refused)
    };
    let (per_s, requests, requests_refused) = used.requests;
    vec![
        one("requests a second, 10 an environment", (per_s, "requests/s"), (requests, requests_refused), QUOTAS),
        one("new environments in 10 s", (count(SCALING_MAX), "environments"), used.starts, SCALING),
        one("bytes of an event", (count(PAYLOAD_BYTES_MAX), "bytes"), used.payload, QUOTAS),
        one("bytes of an answer", (count(PAYLOAD_BYTES_MAX), "bytes"), used.answer, QUOTAS),
        one("duration", (timeout_ms, "ms"), used.duration_ms, QUOTAS),
        one("memory", (u64::from(config.memory_mb), "MB"), used.memory_mb, QUOTAS),
        row("variables", name, (count(VARIABLES_BYTES_MAX), "bytes"), still(variables), QUOTAS),
    ]
}

fn of_mapping(mapping: &Mapping) -> Vec<LimitUse> {
    let (retention_ms, age) = mapping.iterator_age();
    let age = row("iterator age", mapping.name(), (retention_ms, "ms"), age, RETENTION);
    let durations = mapping.durations().map(|(timeout_ms, reading, over)| {
        row("duration", mapping.name(), (timeout_ms, "ms"), reading, KINESIS).refused(over)
    });
    std::iter::once(age).chain(durations).collect()
}
