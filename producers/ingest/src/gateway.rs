//! The function's front: events of API Gateway, function URLs and load balancers as calls of the router.
//!
//! The same router answers as in the server, so what is done here is to give it the call as the sender made it: the path
//! without the stage that API Gateway adds, every value of a repeated header, the query in an order that is always the
//! same, the body's bytes. An event that no sender can cause (a body that is not base64) is answered, never a panic.
//!
//! | source | told by | answers with |
//! |---|---|---|
//! | HTTP API with payload 2.0, function URL | `version` 2.0 | `headers` |
//! | REST API, HTTP API with payload 1.0 | neither | `multiValueHeaders` |
//! | ALB | `requestContext.elb` | `headers` or `multiValueHeaders`, whichever the target group sends |
//!
//! Why not `lambda_http`: it panics on host names and paths that are none, decodes an ALB's query before it is taken apart,
//! gives maps of parameters in random order (the same notice would be another event), and puts the stage before the
//! path.

mod answer;
mod event;

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use lambda_runtime::{LambdaEvent, service_fn};
use tower::ServiceExt;

pub use answer::Answer;
pub use event::{Event, Unreadable};

/// Serves events until the environment ends: one at a time, or as many at once as `AWS_LAMBDA_MAX_CONCURRENCY` says,
/// which Lambda sets on Managed Instances.
///
/// Each answer waits for its events to be durable, so nothing is left to do when the environment freezes.
///
/// # Errors
/// When Lambda's Runtime API is gone.
pub async fn run(app: Router) -> Result<(), lambda_runtime::Error> {
    let handler = move |event: LambdaEvent<Event>| {
        let app = app.clone();
        async move { Ok::<Answer, Infallible>(call(app, event.payload).await) }
    };
    lambda_runtime::run_concurrent(service_fn(handler)).await
}

/// The answer of the router to one event.
pub async fn call(app: Router, event: Event) -> Answer {
    let form = event.form();
    let request: Request<Body> = match event.into_request() {
        Ok(request) => request,
        Err(error) => {
            tracing::warn!(%error, "an event is no HTTP request");
            // As the server answers what it cannot read: without content.
            return Answer::empty(StatusCode::BAD_REQUEST, form);
        }
    };
    let Ok(response) = app.oneshot(request).await;
    let (head, body) = response.into_parts();
    match body.collect().await {
        Ok(body) => Answer::new(head.status, &head.headers, body.to_bytes(), form),
        Err(error) => {
            tracing::error!(%error, "an answer could not be collected");
            Answer::empty(StatusCode::INTERNAL_SERVER_ERROR, form)
        }
    }
}

#[cfg(test)]
mod tests;
