//! One execution environment: a child process, its Runtime API, and what it is doing.
//!
//! It is owned by whoever uses it: the pool while it is idle, one invocation while it is not. An idle environment is
//! frozen, as at AWS: no thread of it runs between its call for the next event and that event.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Interval, MissedTickBehavior, sleep_until, timeout};

use super::FunctionConfig;
use super::fault::Fault;
use super::log::{LogGroup, LogStream};
use super::memory;
use super::runtime_api::{self, Answer, Call, Event};
use super::variables::{Place, variables};
use crate::faults::FunctionFate;

/// Calls of the runtime that wait to be looked at.
const CALLS: usize = 16;
/// How long a function with an extension may take to end after SIGTERM.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(500);
/// How often memory in use is looked at during an invocation.
const MEMORY_INTERVAL: Duration = Duration::from_millis(100);

/// A child process that runs a function.
#[derive(Debug)]
pub(super) struct Environment {
    config: Arc<FunctionConfig>,
    log: Arc<LogStream>,
    child: Child,
    group: Option<Pid>,
    calls: mpsc::Receiver<Call>,
    /// Where the next event goes; there while the runtime waits for it.
    next: Option<oneshot::Sender<Event>>,
    has_extension: bool,
    /// How long the initialisation took; taken by the report of the first invocation.
    init: Option<Duration>,
    idle_since: Instant,
    memory_ticks: Interval,
    server: AbortHandle,
}

impl Environment {
    /// Starts the process. It is not initialised yet.
    pub(super) async fn start(
        config: Arc<FunctionConfig>,
        place: &Place,
        logs: &LogGroup,
        log_stream: &str,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        let runtime_api = listener.local_addr()?;
        let mut command = Command::new(&config.bootstrap);
        command
            .env_clear()
            .envs(variables(&config, place, runtime_api, log_stream))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own: ctrl-C is for us, who let the function finish; signals reach its children too; and
            // if we are killed, the kernel ends a group that is stopped and orphaned.
            .process_group(0)
            .kill_on_drop(true);
        if let Some(dir) = config.bootstrap.parent() {
            command.current_dir(dir);
        }
        let mut child = command.spawn()?;
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let log = Arc::new(LogStream::new(logs.clone(), log_stream));
        if let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) {
            let (out, err) = (Arc::clone(&log), Arc::clone(&log));
            // They end with the pipes.
            tokio::spawn(async move { out.copy(stdout).await });
            tokio::spawn(async move { err.copy(stderr).await });
        }
        let (sender, calls) = mpsc::channel(CALLS);
        let server = tokio::spawn(runtime_api::serve(listener, sender, config.name.clone())).abort_handle();
        let mut memory_ticks = tokio::time::interval(MEMORY_INTERVAL);
        memory_ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            config,
            log,
            child,
            group,
            calls,
            next: None,
            has_extension: false,
            init: None,
            idle_since: Instant::now(),
            memory_ticks,
            server,
        })
    }

    /// Waits until the runtime asks for its first event.
    pub(super) async fn initialize(&mut self, within: Duration) -> Result<(), Fault> {
        let begun = Instant::now();
        self.settle(begun + within, within).await?;
        self.init = Some(begun.elapsed());
        Ok(())
    }

    /// Hands an event to the runtime and waits for its answer.
    /// A fault strikes after its delay, also a function that has answered meanwhile.
    pub(super) async fn invoke(
        &mut self,
        event: Event,
        deadline: Instant,
        fate: Option<FunctionFate>,
    ) -> Result<Answer, Fault> {
        let request_id = event.request_id.clone();
        let after = self.config.timeout;
        self.signal(Signal::Cont);
        let Some(next) = self.next.take() else { return Err(Fault::Exited) };
        if next.send(event).is_err() {
            // The runtime's connection is gone; mostly the process as well.
            tracing::debug!(function = self.config.name, "an environment was gone before its event");
        }
        self.strike(fate, deadline).await;
        loop {
            match self.call(deadline, after).await? {
                Call::Answer { request_id: of, answer, reply } => {
                    let is_current = of == request_id;
                    // The connection may be gone; the answer counts all the same.
                    let _gone = reply.send(is_current);
                    if is_current {
                        return Ok(answer);
                    }
                }
                // A runtime that asks for the next event has given up this one.
                Call::Next { reply } => {
                    self.next = Some(reply);
                    return Err(Fault::Exited);
                }
                Call::InitError { error_type, body } => return Err(Fault::Init { error_type, body }),
                Call::Register => self.has_extension = true,
            }
        }
    }

    /// Kills or stops the process, where that was asked for as a fault.
    async fn strike(&self, fate: Option<FunctionFate>, deadline: Instant) {
        let (signal, delay) = match fate {
            Some(FunctionFate::Kill(delay)) => (Signal::Kill, delay),
            Some(FunctionFate::Freeze(delay)) => (Signal::Stop, delay),
            Some(FunctionFate::Duplicate) | None => return,
        };
        sleep_until((Instant::now() + delay).min(deadline).into()).await;
        self.signal(signal);
    }

    /// Waits until the runtime asks for its next event, and freezes it.
    pub(super) async fn settle(&mut self, deadline: Instant, after: Duration) -> Result<(), Fault> {
        loop {
            match self.call(deadline, after).await? {
                Call::Next { reply } => {
                    self.next = Some(reply);
                    if self.config.is_frozen_when_idle {
                        self.signal(Signal::Stop);
                    }
                    self.idle_since = Instant::now();
                    return Ok(());
                }
                Call::Answer { reply, .. } => drop(reply.send(false)),
                Call::InitError { error_type, body } => return Err(Fault::Init { error_type, body }),
                Call::Register => self.has_extension = true,
            }
        }
    }

    /// The runtime's next call, or what ended the wait for it.
    async fn call(&mut self, deadline: Instant, after: Duration) -> Result<Call, Fault> {
        loop {
            tokio::select! {
                biased;
                Some(call) = self.calls.recv() => return Ok(call),
                ended = self.child.wait() => {
                    return Err(ended.map_or_else(|error| Fault::Exit { how: error.to_string() }, Fault::exit));
                }
                () = sleep_until(deadline.into()) => return Err(Fault::Timeout { after }),
                _ = self.memory_ticks.tick() => {
                    let used = self.child.id().and_then(memory::used_mb);
                    if used.is_some_and(|used_mb| used_mb > u64::from(self.config.memory_mb)) {
                        return Err(Fault::OutOfMemory);
                    }
                }
            }
        }
    }

    /// Whether the process still runs and waits for an event.
    pub(super) fn is_ready(&mut self) -> bool {
        let is_running = matches!(self.child.try_wait(), Ok(None));
        is_running && self.next.as_ref().is_some_and(|next| !next.is_closed())
    }

    pub(super) fn config(&self) -> &Arc<FunctionConfig> {
        &self.config
    }

    pub(super) fn log(&self) -> &LogStream {
        &self.log
    }

    pub(super) fn idle_since(&self) -> Instant {
        self.idle_since
    }

    /// The duration of the initialisation, once.
    pub(super) fn take_init(&mut self) -> Option<Duration> {
        self.init.take()
    }

    /// The most memory that the process had at once.
    pub(super) fn peak_mb(&self) -> Option<u64> {
        self.child.id().and_then(memory::peak_mb)
    }

    /// Ends the process. One that has registered an extension is told and gets half a second, as at AWS.
    pub(super) async fn shut_down(mut self) {
        if self.has_extension {
            self.signal(Signal::Term);
            self.signal(Signal::Cont);
            let _in_time = timeout(SHUTDOWN_GRACE, self.child.wait()).await;
        }
        self.signal(Signal::Kill);
        if let Err(error) = self.child.wait().await {
            tracing::warn!(%error, function = self.config.name, "cannot wait for the end of an environment");
        }
    }

    /// Sends a signal to the process and its children, while they are not waited for.
    fn signal(&self, signal: Signal) {
        let (Some(group), Some(_running)) = (self.group, self.child.id()) else { return };
        if let Err(error) = kill_process_group(group, signal) {
            tracing::debug!(%error, function = self.config.name, "an environment had ended before a signal");
        }
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        self.signal(Signal::Kill);
        self.server.abort();
    }
}
