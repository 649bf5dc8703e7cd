//! The way in for a server: the routes that carry events are matched by hand, the others by the router.
//!
//! A request of an event takes some dozen microseconds in all. The router's layers, their boxed futures and the
//! extensions they attach took a tenth of that, and three routes carry nearly every call.

use std::time::Instant;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::response::Response;
use bytes::Bytes;
use http::{Method, Request};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;

use crate::http::problem::Kind;
use crate::http::routes::{self, Serves};
use crate::http::{events, is_uri_too_long, openrtb, refuse, single, uncounted};
use crate::ingest::Ingest;

/// Answers every call as [`crate::app`] does.
#[derive(Debug, Clone)]
pub(crate) struct Front {
    ingest: Ingest,
    others: TowerToHyperService<Router>,
}

impl Front {
    pub(crate) fn new(ingest: Ingest) -> Self {
        Self { others: TowerToHyperService::new(uncounted(ingest.clone())), ingest }
    }

    /// The answer to one call, counted.
    pub(crate) async fn answer<B>(&self, request: Request<B>) -> Response
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<axum::BoxError>,
    {
        let latencies = self.ingest.latencies();
        let (route, arrived, _open) = (routes::find(request.uri().path()), Instant::now(), latencies.open());
        let serves = route.filter(|_| *request.method() == Method::POST).map(|(_, route)| (route.serves, route.path));
        let response = match serves {
            Some((Serves::Single(_) | Serves::Batch | Serves::OpenRtb, _)) if is_uri_too_long(request.uri()) => {
                refuse(&self.ingest, Kind::UriTooLong)
            }
            Some((Serves::Single(event_type), path)) => single(&self.ingest, request, event_type, path).await,
            Some((Serves::Batch, _)) => events(&self.ingest, request).await,
            Some((Serves::OpenRtb, path)) => openrtb(&self.ingest, request, path).await,
            Some((
                Serves::Notice
                | Serves::Health
                | Serves::SinkHealth
                | Serves::Metrics
                | Serves::OpenApi
                | Serves::ProblemPage,
                _,
            ))
            | None => {
                let Ok(response) = self.others.call(request.map(Body::new)).await;
                response
            }
        };
        latencies.answered(route.map(|(index, _)| index), response.status().as_u16(), arrived.elapsed());
        response
    }
}
