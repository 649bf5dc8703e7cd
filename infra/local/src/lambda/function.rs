//! A function as it is deployed: a `bootstrap` binary that speaks the Runtime API, run unchanged as child processes.
//!
//! Each environment serves one invocation at a time, and is frozen in between. An invocation takes an idle one, or
//! starts another (a cold start), within the function's and the account's concurrency. A function that hangs, dies or
//! uses more memory than it has is killed, and the next invocation starts anew.
//! A changed configuration or code is that of new environments; the old ones end with what they do.
//! What is absent: cgroups (memory is looked at every 100 ms, CPU is not limited), versions and aliases, layers,
//! `SnapStart`, extensions' lifecycle events, response streaming (streams are collected).

mod environment;
mod fault;
mod invocation;
mod log;
mod memory;
mod meters;
mod report;
mod runtime_api;
mod variables;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderValue;

use super::account::{Account, NotReservable, Throttle, TokenBucket};
use super::{Destination, PAYLOAD_BYTES_MAX, TIMEOUT_MAX};
use crate::clock::Clock;
use crate::cloudwatch::CloudWatch;
use crate::faults::{Faults, FunctionFate};
use crate::kinesis::{ACCOUNT, REGION};
use crate::meter::Summary;
use environment::Environment;
use log::LogGroup;
pub(super) use meters::{FunctionUse, Meters};
use variables::Place;

/// The only version that a function has here.
pub const VERSION: &str = "$LATEST";
/// A function's own variables, names and values together.
pub const VARIABLES_BYTES_MAX: usize = 4_096;
/// New environments of a function, which refill in [`SCALING_REFILL`].
pub(super) const SCALING_MAX: usize = 1_000;
const SCALING_REFILL: Duration = Duration::from_secs(10);
/// An environment that was idle for longer is ended by the next invocation.
const IDLE_MAX: Duration = Duration::from_secs(600);

/// What a function is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionConfig {
    /// Its name: 1 to 64 letters, digits, `-`, `_`.
    pub name: String,
    /// The binary. It is run in its own directory.
    pub bootstrap: PathBuf,
    /// What it gets as `_HANDLER`; `bootstrap` by default.
    pub handler: String,
    /// Memory, 128 to 10,240 MB; 128 by default. An environment that uses more is killed.
    pub memory_mb: u32,
    /// When an invocation is cut off, at most 900 s; 3 s by default.
    pub timeout: Duration,
    /// Its own variables, at most 4 KB.
    pub environment: BTreeMap<String, String>,
    /// Concurrency that is kept for this function and that it cannot exceed; none by default.
    pub reserved_concurrency: Option<usize>,
    /// Whether idle environments are stopped by SIGSTOP, as at AWS; on by default.
    pub is_frozen_when_idle: bool,
    /// Where asynchronous events go that were given up; nowhere by default.
    pub dead_letter: Option<Destination>,
}

/// Why a function was refused.
#[derive(Debug, thiserror::Error)]
pub enum FunctionError {
    /// A setting is out of its range.
    #[error("function {function}: {setting} must be {range}")]
    Setting {
        /// The function's name.
        function: String,
        /// The setting.
        setting: &'static str,
        /// What it may be.
        range: &'static str,
    },
    /// The binary is not there.
    #[error("function {function}: cannot use {} as its bootstrap", path.display())]
    Bootstrap {
        /// The function's name.
        function: String,
        /// The path.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The account does not have what is to be reserved.
    #[error("function {function}")]
    Reservation {
        /// The function's name.
        function: String,
        /// Why.
        source: NotReservable,
    },
    /// A function of this name exists.
    #[error("function {function} exists")]
    Exists {
        /// The function's name.
        function: String,
    },
    /// Its log cannot be opened.
    #[error("function {function}: cannot open its log")]
    Log {
        /// The function's name.
        function: String,
        /// What the operating system said.
        source: io::Error,
    },
}

impl FunctionConfig {
    /// A function with the service's defaults.
    pub fn new(name: impl Into<String>, bootstrap: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            bootstrap: bootstrap.into(),
            handler: "bootstrap".to_owned(),
            memory_mb: 128,
            timeout: Duration::from_secs(3),
            environment: BTreeMap::new(),
            reserved_concurrency: None,
            is_frozen_when_idle: true,
            dead_letter: None,
        }
    }

    /// The function's ARN.
    pub fn arn(&self) -> String {
        function_arn(&self.name)
    }

    fn log_group(&self) -> String {
        format!("/aws/lambda/{}", self.name)
    }

    /// Whether the binary is there: asked where it is ours to say so, and not a client's archive.
    pub(super) fn check_bootstrap(&self) -> Result<(), FunctionError> {
        let (function, path) = (self.name.clone(), self.bootstrap.clone());
        let found = std::fs::metadata(&self.bootstrap);
        found.map(drop).map_err(|source| FunctionError::Bootstrap { function, path, source })
    }

    pub(super) fn check(&self) -> Result<(), FunctionError> {
        let name_is_valid = (1..=64).contains(&self.name.len()) && self.name.bytes().all(super::is_name_char);
        let variables_bytes = variables_bytes(&self.environment);
        let checks = [
            (name_is_valid, "name", "1 to 64 letters, digits, - and _"),
            ((128..=10_240).contains(&self.memory_mb), "memory_mb", "128 to 10,240"),
            (!self.timeout.is_zero() && self.timeout <= TIMEOUT_MAX, "timeout", "above 0, up to 900 s"),
            (variables_bytes <= VARIABLES_BYTES_MAX, "environment", "at most 4,096 bytes"),
        ];
        match checks.into_iter().find(|(is_valid, ..)| !is_valid) {
            Some((_, setting, range)) => Err(FunctionError::Setting { function: self.name.clone(), setting, range }),
            None => Ok(()),
        }
    }
}

/// Whether a function may have a variable of this name: those that Lambda sets itself it may not.
pub(super) fn is_variable_name(name: &str) -> bool {
    let is_char = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.len() > 1
        && name.bytes().all(is_char)
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && !variables::RESERVED.contains(&name)
}

/// What a function's own variables count, against [`VARIABLES_BYTES_MAX`].
pub(super) fn variables_bytes(variables: &BTreeMap<String, String>) -> usize {
    variables.iter().map(|(name, value)| name.len() + value.len()).sum()
}

/// The ARN of a function.
pub(super) fn function_arn(name: &str) -> String {
    format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}")
}

/// How a function is called.
#[derive(Debug, Clone, Default)]
pub struct Call {
    /// The event, JSON of at most 6 MB.
    pub payload: Bytes,
    /// Whether a caller waits for the answer: then the rate is limited to ten a second for each unit of concurrency.
    pub is_request: bool,
    /// Whether the answer waits for the end of the invocation's log.
    pub wants_log: bool,
    /// The id of an event that was accepted before; a new one by default.
    pub request_id: Option<String>,
    /// What the caller says of itself, base64.
    pub client_context: Option<HeaderValue>,
    /// A fault that strikes this invocation.
    pub(crate) fate: Option<FunctionFate>,
}

/// An invocation that was run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoked {
    /// Its id.
    pub request_id: String,
    /// The function's answer, or the description of its error.
    pub payload: Bytes,
    /// Whether the function failed: by its own word, or because it was cut off or died.
    pub is_error: bool,
    /// The end of its log, at most 4 KB; complete only if it was asked for.
    pub log_tail: String,
}

/// Why an invocation was not run.
#[derive(Debug, thiserror::Error)]
pub enum InvokeError {
    /// A limit of the function or the account.
    #[error("the invocation is throttled")]
    Throttled(#[from] Throttle),
    /// The payload is over 6 MB.
    #[error("a payload of {bytes} bytes is over {PAYLOAD_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// No environment could be started.
    #[error("cannot start {}", bootstrap.display())]
    Start {
        /// The binary.
        bootstrap: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The local cloud is stopping.
    #[error("the function is stopped")]
    Stopped,
}

/// What a function has done since it was created.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FunctionStats {
    /// Invocations that were run.
    pub invocations: u64,
    /// Those that failed.
    pub errors: u64,
    /// Those that were refused by a limit.
    pub throttles: u64,
    /// Environments that were started.
    pub cold_starts: u64,
    /// Environments that wait for an event now.
    pub idle_environments: usize,
}

/// What a function finds around it.
#[derive(Debug, Clone)]
pub(super) struct Host {
    /// Where the local cloud listens.
    pub(super) endpoint: String,
    /// Where embedded metrics in its log go.
    pub(super) cloudwatch: Option<CloudWatch>,
    /// Those of the disk strike its log.
    pub(super) faults: Faults,
}

/// A function. Cheap to clone; all clones are one function.
#[derive(Clone)]
pub struct Function {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    /// Held for a copy; put in place of by a change.
    config: Mutex<Arc<FunctionConfig>>,
    place: Place,
    account: Account,
    logs: LogGroup,
    pool: Mutex<Pool>,
    counts: Counts,
    /// Held for a few additions.
    meters: Mutex<Meters>,
    clock: Clock,
}

#[derive(Debug, Default)]
struct Counts {
    invocations: AtomicU64,
    errors: AtomicU64,
    throttles: AtomicU64,
    cold_starts: AtomicU64,
}

/// The idle environments and the rates. Held for a push, a pop or a few additions.
struct Pool {
    idle: Vec<Environment>,
    scaling: TokenBucket,
    requests: TokenBucket,
    is_stopped: bool,
}

impl fmt::Debug for Function {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Function").field("config", &self.config()).finish_non_exhaustive()
    }
}

impl Function {
    /// Checks the settings, reserves concurrency and opens the log in `log_dir`. Blocks for the opening of a file.
    pub(super) fn create(
        config: FunctionConfig,
        host: Host,
        account: Account,
        clock: Clock,
        log_dir: &Path,
    ) -> Result<Self, FunctionError> {
        config.check()?;
        let function = || config.name.clone();
        let log_path = log_dir.join(format!("{}.ndjson", config.name));
        let logs = LogGroup::open(&log_path, (host.faults, clock.clone()), host.cloudwatch)
            .map_err(|source| FunctionError::Log { function: function(), source })?;
        if let Some(asked) = config.reserved_concurrency {
            let reserved = account.reserve(&config.name, asked);
            reserved.map_err(|source| FunctionError::Reservation { function: function(), source })?;
        }
        let now = Instant::now();
        let requests = TokenBucket::full(account.requests_per_s(&config.name), now);
        let pool = Pool { idle: Vec::new(), scaling: TokenBucket::full(SCALING_MAX, now), requests, is_stopped: false };
        let place = Place { endpoint: host.endpoint };
        let (name, config) = (config.name.clone(), Mutex::new(Arc::new(config)));
        let (counts, meters, pool) = (Counts::default(), Mutex::default(), Mutex::new(pool));
        Ok(Self { inner: Arc::new(Inner { name, config, place, account, logs, pool, counts, meters, clock }) })
    }

    /// Its name, which never changes.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// What it is now.
    pub fn config(&self) -> Arc<FunctionConfig> {
        self.inner.config()
    }

    /// Makes it what `config` says, from the next invocation on.
    ///
    /// # Errors
    /// When a setting is out of range; the old configuration holds on then.
    pub(super) async fn change(&self, config: FunctionConfig) -> Result<(), FunctionError> {
        config.check()?;
        *self.inner.config.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        let idle = std::mem::take(&mut self.inner.pool().idle);
        futures::future::join_all(idle.into_iter().map(Environment::shut_down)).await;
        Ok(())
    }

    /// What it has done.
    pub fn stats(&self) -> FunctionStats {
        let counts = &self.inner.counts;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        FunctionStats {
            invocations: count(&counts.invocations),
            errors: count(&counts.errors),
            throttles: count(&counts.throttles),
            cold_starts: count(&counts.cold_starts),
            idle_environments: self.inner.pool().idle.len(),
        }
    }

    /// How much of its limits it uses.
    pub(super) fn usage(&self) -> FunctionUse {
        let (meters, now_ms) = (*self.inner.meters(), self.inner.clock.now_ms());
        meters.read(self.inner.account.requests_per_s(&self.inner.name), now_ms)
    }

    /// What its invocations took since the last call of this, in milliseconds.
    pub(super) fn take_durations(&self) -> Summary {
        self.inner.meters().duration_ms.take()
    }

    /// Runs one invocation to its end. It goes on when the caller gives up waiting.
    ///
    /// # Errors
    /// When it could not be run at all; a function that fails is an answer.
    pub async fn invoke(&self, call: Call) -> Result<Invoked, InvokeError> {
        self.inner.meters().payload.note(call.payload.len(), PAYLOAD_BYTES_MAX, self.inner.clock.now_ms());
        if call.payload.len() > PAYLOAD_BYTES_MAX {
            return Err(InvokeError::TooLarge { bytes: call.payload.len() });
        }
        invocation::run(Arc::clone(&self.inner), call).await
    }

    /// Waits until what was logged so far is in the function's log file.
    pub async fn flush_log(&self) {
        self.inner.logs.flush().await;
    }

    /// Ends the idle environments; those that are busy end after their invocation.
    pub(super) async fn stop(&self) {
        let idle = {
            let mut pool = self.inner.pool();
            pool.is_stopped = true;
            std::mem::take(&mut pool.idle)
        };
        futures::future::join_all(idle.into_iter().map(Environment::shut_down)).await;
        self.flush_log().await;
    }
}

impl Inner {
    fn config(&self) -> Arc<FunctionConfig> {
        Arc::clone(&self.config.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn meters(&self) -> MutexGuard<'_, Meters> {
        self.meters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the environment that was used last and still waits for an event. Old and dead ones are given too.
    fn take_idle(&self) -> (Option<Environment>, Vec<Environment>) {
        let mut pool = self.pool();
        let (mut kept, mut gone): (Vec<_>, Vec<_>) = std::mem::take(&mut pool.idle)
            .into_iter()
            .partition(|environment| environment.idle_since().elapsed() < IDLE_MAX);
        let mut found = None;
        while let Some(mut environment) = kept.pop() {
            if environment.is_ready() {
                found = Some(environment);
                break;
            }
            gone.push(environment);
        }
        pool.idle = kept;
        (found, gone)
    }

    /// Keeps an environment for later; gives it back when the function is stopped, or was changed since.
    fn keep(&self, environment: Environment) -> Option<Environment> {
        let is_old = !Arc::ptr_eq(environment.config(), &self.config());
        let mut pool = self.pool();
        if pool.is_stopped || is_old {
            return Some(environment);
        }
        pool.idle.push(environment);
        None
    }

    /// Takes a place in the function's limits on requests and their rate.
    fn admit(&self, is_request: bool) -> Result<super::account::Permit, InvokeError> {
        if self.pool().is_stopped {
            return Err(InvokeError::Stopped);
        }
        let admitted = self.account.take(&self.name).and_then(|permit| {
            let rate = self.account.requests_per_s(&self.name);
            let is_over = is_request && !self.pool().requests.take(rate, Duration::from_secs(1), Instant::now());
            if is_request {
                self.meters().request(!is_over, self.clock.now_ms());
            }
            if is_over { Err(Throttle::Rate) } else { Ok(permit) }
        });
        admitted.map_err(|throttle| self.throttled(throttle))
    }

    /// Takes the right to start an environment.
    fn admit_start(&self) -> Result<(), InvokeError> {
        let may_start = self.pool().scaling.take(SCALING_MAX, SCALING_REFILL, Instant::now());
        self.meters().start(may_start, self.clock.now_ms());
        if may_start { Ok(()) } else { Err(self.throttled(Throttle::Scaling)) }
    }

    fn throttled(&self, throttle: Throttle) -> InvokeError {
        self.counts.throttles.fetch_add(1, Ordering::Relaxed);
        InvokeError::Throttled(throttle)
    }
}

#[cfg(test)]
mod tests;
