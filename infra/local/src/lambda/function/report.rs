//! What the platform reports about an invocation: the REPORT line, and the same as fields.

use std::time::Duration;

use serde::Serialize;

/// The figures of one invocation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metrics {
    duration_ms: f64,
    billed_duration_ms: u64,
    #[serde(rename = "memorySizeMB")]
    memory_size_mb: u32,
    #[serde(rename = "maxMemoryUsedMB", skip_serializing_if = "Option::is_none")]
    max_memory_used_mb: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    init_duration_ms: Option<f64>,
}

/// How an invocation ended, in the words of the Telemetry API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Success,
    Error,
    Failure,
    Timeout,
}

impl Status {
    fn text(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Error => "error",
            Self::Failure => "failure",
            Self::Timeout => "timeout",
        }
    }
}

impl Metrics {
    /// `init` is there for the first invocation of an environment only. Billing counts both, to the next millisecond.
    pub(super) fn new(
        duration: Duration,
        init: Option<Duration>,
        memory_size_mb: u32,
        max_memory_used_mb: Option<u64>,
    ) -> Self {
        let billed = (duration + init.unwrap_or_default()).as_nanos().div_ceil(1_000_000);
        Self {
            duration_ms: millis(duration),
            billed_duration_ms: u64::try_from(billed).unwrap_or(u64::MAX),
            memory_size_mb,
            max_memory_used_mb,
            init_duration_ms: init.map(millis),
        }
    }

    /// The line as the service writes it.
    pub(super) fn line(&self, request_id: &str, status: Status) -> String {
        let mut line = format!(
            "REPORT RequestId: {request_id}\tDuration: {:.2} ms\tBilled Duration: {} ms\tMemory Size: {} MB",
            self.duration_ms, self.billed_duration_ms, self.memory_size_mb,
        );
        if let Some(used) = self.max_memory_used_mb {
            line.push_str(&format!("\tMax Memory Used: {used} MB"));
        }
        if let Some(init) = self.init_duration_ms {
            line.push_str(&format!("\tInit Duration: {init:.2} ms"));
        }
        if status != Status::Success {
            line.push_str(&format!("\tStatus: {}", status.text()));
        }
        line
    }
}

/// Milliseconds to two places, as the service shows them.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 100_000.0).round() / 100.0
}

/// The line about an initialisation that failed.
pub(super) fn init_line(duration: Duration, status: Status, error_type: &str) -> String {
    let ms = millis(duration);
    format!("INIT_REPORT Init Duration: {ms:.2} ms\tPhase: init\tStatus: {}\tError Type: {error_type}", status.text())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_service_s() {
        let us = Duration::from_micros;
        let cold = Metrics::new(us(12_345), Some(us(30_001)), 128, Some(31));
        expect_test::expect![
            "REPORT RequestId: 7-b	Duration: 12.35 ms	Billed Duration: 43 ms	Memory Size: 128 MB	Max Memory Used: 31 MB	Init Duration: 30.00 ms"
        ]
        .assert_eq(&cold.line("7-b", Status::Success));
        let warm = Metrics::new(us(1_000), None, 128, None);
        expect_test::expect![
            "REPORT RequestId: 7-b	Duration: 1.00 ms	Billed Duration: 1 ms	Memory Size: 128 MB	Status: timeout"
        ]
        .assert_eq(&warm.line("7-b", Status::Timeout));
        expect_test::expect![[
            r#"{"durationMs":12.35,"billedDurationMs":43,"memorySizeMB":128,"maxMemoryUsedMB":31,"initDurationMs":30.0}"#
        ]]
        .assert_eq(&serde_json::to_string(&cold).unwrap());
        expect_test::expect![
            "INIT_REPORT Init Duration: 10000.00 ms	Phase: init	Status: timeout	Error Type: Sandbox.Timedout"
        ]
        .assert_eq(&init_line(Duration::from_secs(10), Status::Timeout, "Sandbox.Timedout"));
    }
}
