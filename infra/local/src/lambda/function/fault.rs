//! How an execution environment fails, and what its caller is told then.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use bytes::Bytes;

use super::report::Status;

/// Why an environment has no answer of the function.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("Task timed out after {:.2} seconds", after.as_secs_f64())]
    Timeout { after: Duration },
    #[error("Runtime exited with error: {how}")]
    Exit { how: String },
    #[error("Runtime exited without providing a reason")]
    Exited,
    #[error("Runtime exited with error: signal: killed")]
    OutOfMemory,
    #[error("{how}")]
    Entrypoint { how: &'static str },
    #[error("the function could not initialise")]
    Init { error_type: String, body: Bytes },
    #[error("Response payload size exceeded maximum allowed payload size ({} bytes).", super::super::PAYLOAD_BYTES_MAX)]
    TooLarge,
}

impl Fault {
    /// The fault of a process that has ended.
    pub(super) fn exit(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(0), _) => Self::Exited,
            (Some(code), _) => Self::Exit { how: format!("exit status {code}") },
            (None, signal) => Self::Exit { how: format!("signal: {}", signal_name(signal.unwrap_or(0))) },
        }
    }

    /// The fault of a binary that the operating system does not run; none where it was not the binary's fault.
    pub(super) fn entrypoint(error: &io::Error) -> Option<Self> {
        /// What `execve` says of something that is no program.
        const NO_PROGRAM: i32 = 8;
        let how = match (error.kind(), error.raw_os_error()) {
            (io::ErrorKind::NotFound, _) => "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]",
            (io::ErrorKind::PermissionDenied, _) => "fork/exec /var/task/bootstrap: permission denied",
            (_, Some(NO_PROGRAM)) => "fork/exec /var/task/bootstrap: exec format error",
            _ => return None,
        };
        Some(Self::Entrypoint { how })
    }

    /// The service's name of the fault.
    pub(super) fn error_type(&self) -> &str {
        match self {
            Self::Timeout { .. } => "Sandbox.Timedout",
            Self::Exit { .. } | Self::Exited => "Runtime.ExitError",
            Self::OutOfMemory => "Runtime.OutOfMemory",
            Self::Entrypoint { .. } => "Runtime.InvalidEntrypoint",
            Self::Init { error_type, .. } => error_type,
            Self::TooLarge => "Function.ResponseSizeTooLarge",
        }
    }

    /// How the report calls it.
    pub(super) fn status(&self) -> Status {
        match self {
            Self::Timeout { .. } => Status::Timeout,
            Self::Exit { .. } | Self::Exited | Self::OutOfMemory | Self::Init { .. } => Status::Failure,
            Self::TooLarge | Self::Entrypoint { .. } => Status::Error,
        }
    }

    /// What the caller gets as the payload.
    pub(super) fn payload(&self, request_id: &str) -> Bytes {
        if let Self::Init { body, .. } = self {
            return body.clone();
        }
        let message = format!("RequestId: {request_id} Error: {self}");
        let body = serde_json::json!({ "errorType": self.error_type(), "errorMessage": message });
        Bytes::from(body.to_string())
    }
}

fn signal_name(signal: i32) -> String {
    let name = match signal {
        2 => "interrupt",
        6 => "aborted",
        9 => "killed",
        11 => "segmentation fault",
        15 => "terminated",
        other => return other.to_string(),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_are_told_as_by_the_service() {
        let check = |fault: &Fault, expected: &str| {
            assert_eq!(String::from_utf8(fault.payload("7-b").to_vec()).unwrap(), expected);
        };
        check(
            &Fault::Timeout { after: Duration::from_millis(3_000) },
            r#"{"errorMessage":"RequestId: 7-b Error: Task timed out after 3.00 seconds","errorType":"Sandbox.Timedout"}"#,
        );
        check(
            &Fault::exit(ExitStatus::from_raw(1 << 8)),
            r#"{"errorMessage":"RequestId: 7-b Error: Runtime exited with error: exit status 1","errorType":"Runtime.ExitError"}"#,
        );
        check(
            &Fault::exit(ExitStatus::from_raw(9)),
            r#"{"errorMessage":"RequestId: 7-b Error: Runtime exited with error: signal: killed","errorType":"Runtime.ExitError"}"#,
        );
        check(
            &Fault::exit(ExitStatus::from_raw(0)),
            r#"{"errorMessage":"RequestId: 7-b Error: Runtime exited without providing a reason","errorType":"Runtime.ExitError"}"#,
        );
        check(
            &Fault::entrypoint(&io::ErrorKind::PermissionDenied.into()).unwrap(),
            r#"{"errorMessage":"RequestId: 7-b Error: fork/exec /var/task/bootstrap: permission denied","errorType":"Runtime.InvalidEntrypoint"}"#,
        );
        assert_eq!(Fault::entrypoint(&io::Error::from_raw_os_error(24)), None, "too many open files are ours");
        check(&Fault::Init { error_type: "X".to_owned(), body: Bytes::from_static(b"{}") }, "{}");
    }
}
