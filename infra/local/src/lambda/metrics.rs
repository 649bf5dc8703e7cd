//! What Lambda counts of its functions, by the names that the metrics have at AWS.

use crate::cloudwatch::{Counted, Measured, MetricKey};

use super::Lambda;
use super::function::Function;
use super::mapping::Mapping;

const NAMESPACE: &str = "AWS/Lambda";

/// Counts since the start, and what was measured since the last call of this.
pub(super) fn metrics(lambda: &Lambda) -> (Vec<Counted>, Vec<Measured>) {
    let (mut counted, mut measured) = (Vec::new(), Vec::new());
    for function in lambda.functions().iter() {
        of_function(function, &mut counted, &mut measured);
    }
    for mapping in lambda.running() {
        of_mapping(&mapping, &mut counted, &mut measured);
    }
    for (function, total) in lambda.events.dropped() {
        counted.push(Counted { key: key("AsyncEventsDropped", &function), unit: "Count", total });
    }
    for (function, _limit, used) in lambda.account.read().reserved {
        measured.push(Measured::of_level(key("ConcurrentExecutions", &function), "Count", used.now));
    }
    (counted, measured)
}

fn key(name: &str, function: &str) -> MetricKey {
    MetricKey::of(NAMESPACE, name, ("FunctionName", function))
}

fn counts(function: &str, [invocations, errors, throttles]: [u64; 3]) -> impl Iterator<Item = Counted> {
    let named = [("Invocations", invocations), ("Errors", errors), ("Throttles", throttles)];
    named.map(|(name, total)| Counted { key: key(name, function), unit: "Count", total }).into_iter()
}

fn of_function(function: &Function, counted: &mut Vec<Counted>, measured: &mut Vec<Measured>) {
    let (name, stats) = (function.name(), function.stats());
    counted.extend(counts(name, [stats.invocations, stats.errors, stats.throttles]));
    measured.extend(Measured::of_summary(key("Duration", name), "Milliseconds", function.take_durations()));
}

fn of_mapping(mapping: &Mapping, counted: &mut Vec<Counted>, measured: &mut Vec<Measured>) {
    let progress = mapping.progress();
    let function = mapping.function_name();
    measured.push(Measured::of_level(key("IteratorAge", &function), "Milliseconds", progress.lag_ms));
    // A deployed function counts for itself.
    if let Some(durations) = mapping.take_durations() {
        counted.extend(counts(&function, [progress.invocations, progress.errors, progress.throttles]));
        measured.extend(Measured::of_summary(key("Duration", &function), "Milliseconds", durations));
    }
}
