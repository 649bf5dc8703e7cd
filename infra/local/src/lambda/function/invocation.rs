//! One invocation: an environment is found or started, gets the event, answers, and is at rest again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::environment::Environment;
use super::fault::Fault;
use super::log::LogStream;
use super::report::{Metrics, Status, init_line};
use super::runtime_api::{Answer, Event};
use super::{Call, FunctionConfig, Inner, InvokeError, Invoked, PAYLOAD_BYTES_MAX, VERSION};
use crate::clock;

/// How long an initialisation may take before the first invocation has to repeat it on its own time.
const INIT_MAX: Duration = Duration::from_secs(10);

/// Where the caller waits.
type Waiting = oneshot::Sender<Result<Invoked, InvokeError>>;

/// What the caller gets.
struct Outcome {
    payload: Bytes,
    is_error: bool,
    status: Status,
}

/// Runs an invocation as a task of its own, so that it ends well even if nobody waits for it.
pub(super) async fn run(function: Arc<Inner>, call: Call) -> Result<Invoked, InvokeError> {
    let permit = function.admit(call.is_request)?;
    let (answer, answered) = oneshot::channel();
    tokio::spawn(async move {
        let _until_the_environment_rests = permit;
        let request_id = call.request_id.clone().unwrap_or_else(|| Uuid::new_v4().to_string());
        match environment(&function, &request_id).await {
            Ok(Ok(environment)) => use_environment(&function, environment, call, request_id, answer).await,
            Ok(Err(fault)) => {
                count(&function, true);
                let (payload, log_tail) = (fault.payload(&request_id), String::new());
                // The caller may have given up.
                let _gone = answer.send(Ok(Invoked { request_id, payload, is_error: true, log_tail }));
            }
            Err(error) => drop(answer.send(Err(error))),
        }
    });
    // Dropped only with the runtime.
    answered.await.unwrap_or(Err(InvokeError::Stopped))
}

/// An environment that waits for an event: an idle one, or a new one. A failed initialisation is repeated once, on the
/// function's own time, as the service does.
async fn environment(function: &Inner, request_id: &str) -> Result<Result<Environment, Fault>, InvokeError> {
    let (idle, gone) = function.take_idle();
    for environment in gone {
        environment.shut_down().await;
    }
    if let Some(environment) = idle {
        return Ok(Ok(environment));
    }
    function.admit_start()?;
    let mut fault = None;
    let config = function.config();
    for within in [INIT_MAX, config.timeout] {
        let mut environment = match start(function, &config).await? {
            Ok(environment) => environment,
            Err(found) => return Ok(Err(found)),
        };
        // The platform's lines of this phase belong to the invocation that it is for.
        environment.log().begin(request_id);
        let begun = Instant::now();
        match environment.initialize(within).await {
            Ok(()) => return Ok(Ok(environment)),
            Err(found) => {
                let line = init_line(begun.elapsed(), found.status(), found.error_type());
                environment.log().platform("platform.initReport", line, None).await;
                environment.shut_down().await;
                fault = Some(found);
            }
        }
    }
    Ok(Err(fault.unwrap_or(Fault::Exited)))
}

/// A new process; none where the binary is not one that can be run, which is the function's fault.
async fn start(function: &Inner, config: &Arc<FunctionConfig>) -> Result<Result<Environment, Fault>, InvokeError> {
    function.counts.cold_starts.fetch_add(1, Ordering::Relaxed);
    let date = chrono::DateTime::from_timestamp_millis(clock::now_ms()).unwrap_or_default().format("%Y/%m/%d");
    let log_stream = format!("{date}/[{VERSION}]{}", Uuid::new_v4().simple());
    match Environment::start(Arc::clone(config), &function.place, &function.logs, &log_stream).await {
        Ok(environment) => Ok(Ok(environment)),
        Err(source) => match Fault::entrypoint(&source) {
            Some(fault) => {
                let log = LogStream::new(function.logs.clone(), &log_stream);
                log.platform(
                    "platform.initReport",
                    init_line(Duration::ZERO, fault.status(), fault.error_type()),
                    None,
                )
                .await;
                Ok(Err(fault))
            }
            None => Err(InvokeError::Start { bootstrap: config.bootstrap.clone(), source }),
        },
    }
}

async fn use_environment(
    function: &Inner,
    mut environment: Environment,
    call: Call,
    request_id: String,
    answer: Waiting,
) {
    let config = Arc::clone(environment.config());
    let timeout = config.timeout;
    let begun = Instant::now();
    let deadline = begun + timeout;
    let init = environment.take_init();
    environment.log().begin(&request_id);
    let line = format!("START RequestId: {request_id} Version: {VERSION}");
    environment.log().platform("platform.start", line, None).await;
    let event = event(&config, &call, &request_id);
    let result = environment.invoke(event, deadline, call.fate).await;
    let outcome = outcome(&result, &request_id);
    let status = outcome.status;
    let result_type = match &result {
        Ok(Answer::Error { error_type, .. }) => Some(error_type.clone()),
        Ok(Answer::Response(_) | Answer::TooLarge) | Err(_) => None,
    };
    let answer_bytes = match &result {
        Ok(Answer::TooLarge) => PAYLOAD_BYTES_MAX + 1,
        Ok(Answer::Response(_) | Answer::Error { .. }) | Err(_) => outcome.payload.len(),
    };
    let mut waiting = Some((answer, outcome));
    if !call.wants_log {
        reply(&mut waiting, &request_id, &environment);
    }
    // The rest of the invocation's time is the function's: it is frozen when it asks for the next event.
    let rested = match result {
        Ok(_) | Err(Fault::TooLarge) => environment.settle(deadline, timeout).await,
        Err(fault) => Err(fault),
    };
    count(function, status != Status::Success);
    let how = match (&result_type, &rested) {
        (_, Err(fault)) => Some(format!("{request_id} {fault}")),
        (Some(error_type), Ok(())) => Some(format!("{request_id} the function answered with an error: {error_type}")),
        (None, Ok(())) => None,
    };
    if let Some(line) = how {
        environment.log().platform("platform.runtimeDone", line, None).await;
    }
    let (took, peak_mb) = (begun.elapsed(), environment.peak_mb());
    note(function, &config, (took, answer_bytes, peak_mb));
    let metrics = Metrics::new(took, init, config.memory_mb, peak_mb);
    environment.log().platform("platform.end", format!("END RequestId: {request_id}"), None).await;
    let report = metrics.line(&request_id, status);
    environment.log().platform("platform.report", report, Some(metrics)).await;
    reply(&mut waiting, &request_id, &environment);
    let leftover = match rested {
        Ok(()) => function.keep(environment),
        Err(_dead) => Some(environment),
    };
    if let Some(environment) = leftover {
        environment.shut_down().await;
    }
}

fn event(config: &FunctionConfig, call: &Call, request_id: &str) -> Event {
    let timeout_ms = i64::try_from(config.timeout.as_millis()).unwrap_or(i64::MAX);
    let now_ms = clock::now_ms();
    let (root, parent) = (Uuid::new_v4().simple().to_string(), Uuid::new_v4().simple().to_string());
    let (root, parent) = (root.get(..24).unwrap_or_default(), parent.get(..16).unwrap_or_default());
    Event {
        request_id: request_id.to_owned(),
        deadline_ms: now_ms.saturating_add(timeout_ms),
        function_arn: config.arn(),
        trace_id: format!("Root=1-{:08x}-{root};Parent={parent};Sampled=0", now_ms / 1_000),
        client_context: call.client_context.clone(),
        payload: call.payload.clone(),
    }
}

fn outcome(result: &Result<Answer, Fault>, request_id: &str) -> Outcome {
    let fault = match result {
        Ok(Answer::Response(payload)) => {
            return Outcome { payload: payload.clone(), is_error: false, status: Status::Success };
        }
        Ok(Answer::Error { body, .. }) => {
            return Outcome { payload: body.clone(), is_error: true, status: Status::Error };
        }
        Ok(Answer::TooLarge) => &Fault::TooLarge,
        Err(fault) => fault,
    };
    Outcome { payload: fault.payload(request_id), is_error: true, status: fault.status() }
}

/// Answers the caller, once.
fn reply(waiting: &mut Option<(Waiting, Outcome)>, request_id: &str, environment: &Environment) {
    let Some((answer, outcome)) = waiting.take() else { return };
    let invoked = Invoked {
        request_id: request_id.to_owned(),
        payload: outcome.payload,
        is_error: outcome.is_error,
        log_tail: environment.log().tail(),
    };
    // The caller may have given up.
    let _gone = answer.send(Ok(invoked));
}

/// Notes how near to its limits the invocation came.
fn note(function: &Inner, config: &FunctionConfig, (took, answer_bytes, peak_mb): (Duration, usize, Option<u64>)) {
    let now_ms = function.clock.now_ms();
    let mut meters = function.meters();
    meters.took(took, config.timeout, now_ms);
    meters.answer.note(answer_bytes, PAYLOAD_BYTES_MAX, now_ms);
    if let (Some(peak_mb), Ok(memory_mb)) = (peak_mb, usize::try_from(config.memory_mb)) {
        meters.memory_mb.note(usize::try_from(peak_mb).unwrap_or(usize::MAX), memory_mb, now_ms);
    }
}

fn count(function: &Inner, is_error: bool) {
    function.counts.invocations.fetch_add(1, Ordering::Relaxed);
    function.counts.errors.fetch_add(u64::from(is_error), Ordering::Relaxed);
}
