//! What a mapping calls: a Rust function in this process, with events or with JSON, or a deployed function.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lambda_events::event::kinesis::KinesisEvent;
use aws_lambda_events::event::streams::KinesisEventResponse;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use crate::clock::Clock;
use crate::faults::{Faults, FunctionFate};
use crate::kinesis::Record;
use crate::meter::{Reading, Sizes, Summary, count};

use super::account::{Account, Throttle};
use super::batch;
use super::decision::Report;
use super::function::{Call, Function, InvokeError, function_arn};
use super::window::WindowCall;

/// A function that handles batches of a stream, as it would be deployed.
pub type Handler = Arc<dyn Fn(KinesisEvent) -> BoxFuture<'static, anyhow::Result<KinesisEventResponse>> + Send + Sync>;

/// A function that takes the event's JSON and answers with JSON: what windows and their state need.
pub type PayloadHandler = Arc<dyn Fn(Bytes) -> BoxFuture<'static, anyhow::Result<Bytes>> + Send + Sync>;

/// What a mapping calls.
#[derive(Clone)]
pub enum Target {
    /// A Rust function in this process.
    Handler(Handler),
    /// The same, with JSON.
    Payload(PayloadHandler),
    /// A deployed function; its own timeout holds, not the mapping's.
    Function(Function),
}

impl fmt::Debug for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handler(_) => formatter.write_str("Handler"),
            Self::Payload(_) => formatter.write_str("Payload"),
            Self::Function(function) => function.fmt(formatter),
        }
    }
}

impl From<Handler> for Target {
    fn from(handler: Handler) -> Self {
        Self::Handler(handler)
    }
}

impl From<Function> for Target {
    fn from(function: Function) -> Self {
        Self::Function(function)
    }
}

/// Why an invocation has no report.
#[derive(Debug, thiserror::Error)]
pub(super) enum InvocationError {
    #[error("the function is throttled")]
    Throttled(#[from] Throttle),
    #[error("the function panicked")]
    Panic,
    #[error("the function was killed or frozen, as a fault that was asked for")]
    Struck,
    #[error("the function did not answer within {timeout:?}")]
    Timeout { timeout: Duration },
    #[error("the function failed: {0:#}")]
    Handler(anyhow::Error),
    #[error("the function failed: {message}")]
    Function { message: String },
    #[error("the function could not be invoked")]
    Invoke(#[source] InvokeError),
}

/// An invocation that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) request_id: String,
    pub(super) result: Result<Report, InvocationError>,
}

/// A mapping's way to its function.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) target: Target,
    pub(super) account: Account,
    /// By which the account knows a function of this process.
    pub(super) name: String,
    /// For functions of this process.
    pub(super) timeout: Duration,
    pub(super) stream_arn: String,
    pub(super) clock: Clock,
    /// How long invocations of a function of this process took, in milliseconds. Held for a few additions.
    pub(super) took: Arc<Mutex<Sizes>>,
    pub(super) faults: Faults,
}

/// An event on its way to a function.
#[derive(Clone)]
pub(super) enum Event {
    Value(KinesisEvent),
    Json(Bytes),
}

impl Caller {
    /// The function's ARN.
    pub(super) fn function_arn(&self) -> String {
        match &self.target {
            Target::Handler(_) | Target::Payload(_) => function_arn(&self.name),
            Target::Function(function) => function.config().arn(),
        }
    }

    /// The event for a batch, in the form that the function takes.
    pub(super) fn event(&self, records: &[Record], window: Option<&WindowCall>) -> Event {
        match &self.target {
            Target::Handler(_) => Event::Value(batch::event(records, &self.stream_arn)),
            Target::Payload(_) | Target::Function(_) => Event::Json(batch::payload(records, &self.stream_arn, window)),
        }
    }

    /// Calls the function once, or twice where that was asked for as a fault. A panic or a timeout is this invocation's
    /// failure and nothing else's.
    pub(super) async fn call(&self, event: Event) -> Ended {
        let fate = self.faults.strike_function(&self.name, self.clock.now_ms());
        if fate != Some(FunctionFate::Duplicate) {
            return self.call_once(event, fate).await;
        }
        let first = self.call_once(event.clone(), None).await;
        // A batch that has failed comes again anyway.
        if first.result.is_err() { first } else { self.call_once(event, None).await }
    }

    async fn call_once(&self, event: Event, fate: Option<FunctionFate>) -> Ended {
        if let (Target::Function(function), Event::Json(payload)) = (&self.target, &event) {
            return call_function(function, payload.clone(), fate).await;
        }
        let request_id = Uuid::new_v4().to_string();
        let begun = Instant::now();
        let result = match self.account.take(&self.name) {
            Ok(_permit) => self.call_struck(event, fate).await,
            Err(throttle) => Err(throttle.into()),
        };
        let millis = |duration: Duration| usize::try_from(duration.as_millis()).unwrap_or(usize::MAX);
        let mut took = self.took.lock().unwrap_or_else(PoisonError::into_inner);
        took.note(millis(begun.elapsed()), millis(self.timeout), self.clock.now_ms());
        drop(took);
        Ended { request_id, result }
    }

    /// The name of what is called: of a function of this process, the mapping's own.
    pub(super) fn function_name(&self) -> String {
        match &self.target {
            Target::Handler(_) | Target::Payload(_) => self.name.clone(),
            Target::Function(function) => function.config().name.clone(),
        }
    }

    /// Of a function of this process: what its invocations took since the last call of this.
    pub(super) fn take_durations(&self) -> Option<Summary> {
        match self.target {
            Target::Handler(_) | Target::Payload(_) => {
                Some(self.took.lock().unwrap_or_else(PoisonError::into_inner).take())
            }
            Target::Function(_) => None,
        }
    }

    /// Of a function of this process: its timeout in milliseconds, what its invocations took, and how many were over.
    pub(super) fn durations(&self) -> Option<(u64, Reading, u64)> {
        match self.target {
            Target::Handler(_) | Target::Payload(_) => {
                let took = *self.took.lock().unwrap_or_else(PoisonError::into_inner);
                let timeout_ms = usize::try_from(self.timeout.as_millis()).unwrap_or(usize::MAX);
                Some((count(timeout_ms), took.read(self.clock.now_ms()), took.over()))
            }
            Target::Function(_) => None,
        }
    }

    /// A function of this process cannot be killed or stopped. What its caller sees of that can be had: the work is
    /// done and its answer lost, or neither is done.
    async fn call_struck(&self, event: Event, fate: Option<FunctionFate>) -> Result<Report, InvocationError> {
        match fate {
            None | Some(FunctionFate::Duplicate) => self.call_here(event).await,
            Some(FunctionFate::Kill(_)) => {
                self.call_here(event).await?;
                Err(InvocationError::Struck)
            }
            Some(FunctionFate::Freeze(_)) => Err(InvocationError::Struck),
        }
    }

    async fn call_here(&self, event: Event) -> Result<Report, InvocationError> {
        let answer = async {
            match (&self.target, event) {
                (Target::Handler(handler), Event::Value(event)) => handler(event).await.map(Report::from),
                (Target::Payload(handler), Event::Json(payload)) => {
                    handler(payload).await.map(|answer| Report::parse(&answer))
                }
                (Target::Handler(_) | Target::Payload(_) | Target::Function(_), _) => {
                    Err(anyhow::anyhow!("the event is not in the form that the function takes"))
                }
            }
        };
        match timeout(self.timeout, AssertUnwindSafe(answer).catch_unwind()).await {
            Ok(Ok(answer)) => answer.map_err(InvocationError::Handler),
            // The panic's message went to standard error already.
            Ok(Err(_panic)) => Err(InvocationError::Panic),
            Err(_elapsed) => Err(InvocationError::Timeout { timeout: self.timeout }),
        }
    }
}

async fn call_function(function: &Function, payload: Bytes, fate: Option<FunctionFate>) -> Ended {
    match function.invoke(Call { payload, fate, ..Call::default() }).await {
        Ok(invoked) if invoked.is_error => {
            let message = String::from_utf8_lossy(&invoked.payload).into_owned();
            Ended { request_id: invoked.request_id, result: Err(InvocationError::Function { message }) }
        }
        Ok(invoked) => Ended { request_id: invoked.request_id, result: Ok(Report::parse(&invoked.payload)) },
        Err(error) => {
            let error = match error {
                InvokeError::Throttled(throttle) => InvocationError::Throttled(throttle),
                error @ (InvokeError::TooLarge { .. } | InvokeError::Start { .. } | InvokeError::Stopped) => {
                    InvocationError::Invoke(error)
                }
            };
            Ended { request_id: Uuid::new_v4().to_string(), result: Err(error) }
        }
    }
}
