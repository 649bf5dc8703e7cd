//! Every route, with what it answers: the one list that the router, its help and the `OpenAPI` document share.

use events::envelope::EventType;

use crate::http::problem::Kind;

/// One path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route {
    /// Methods, and the path in the router's form.
    pub(crate) methods: &'static [&'static str],
    pub(crate) path: &'static str,
    /// What it is for.
    pub(crate) summary: &'static str,
    /// The status of success.
    pub(crate) success: u16,
    /// What else it may answer; see [`Route::problems`].
    problems: &'static [&'static [Kind]],
    pub(crate) serves: Serves,
}

/// What a route does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Serves {
    /// Takes one event of a type.
    Single(EventType),
    Batch,
    OpenRtb,
    Notice,
    Health,
    SinkHealth,
    Metrics,
    OpenApi,
    ProblemPage,
}

/// What every call that carries a body may be told.
const BODY: &[Kind] = &[
    Kind::InvalidRequest,
    Kind::CorruptBody,
    Kind::IncompleteBody,
    Kind::UnknownKey,
    Kind::TenantDisabled,
    Kind::SlowBody,
    Kind::TooLarge,
    Kind::RatioTooLarge,
    Kind::UriTooLong,
    Kind::UnsupportedMediaType,
    Kind::UnsupportedEncoding,
    Kind::OverQuota,
    Kind::QueueFull,
    Kind::StreamUnavailable,
    Kind::Overloaded,
];

/// One event: in a batch it is the line that is told.
const SINGLE: &[&[Kind]] = &[BODY, &[Kind::Unwritable]];

const BATCH: &[&[Kind]] = &[BODY, &[Kind::UnknownEventType, Kind::TooManyLines]];

const NOTICE: &[&[Kind]] = &[BODY, &[Kind::Unwritable, Kind::BadSignature, Kind::UnknownRoute]];

const fn single(path: &'static str, event_type: EventType, summary: &'static str) -> Route {
    Route { methods: &["POST"], path, summary, success: 200, problems: SINGLE, serves: Serves::Single(event_type) }
}

const fn page(
    path: &'static str,
    serves: Serves,
    problems: &'static [&'static [Kind]],
    summary: &'static str,
) -> Route {
    Route { methods: &["GET"], path, summary, success: 200, problems, serves }
}

/// All of them.
pub(crate) const ROUTES: [Route; 16] = [
    single("/v1/ad_requests", EventType::AdRequest, "Takes one ad request: an OpenRTB 2.6 bid request."),
    single("/v1/bid_requests", EventType::BidRequest, "Takes one bid request: whom the exchange asked."),
    single("/v1/bid_responses", EventType::BidResponse, "Takes one bid response: what a bidder answered, or nothing."),
    single("/v1/auctions", EventType::Auction, "Takes one auction: how an imp ended."),
    single("/v1/win_notices", EventType::WinNotice, "Takes one win notice."),
    single("/v1/loss_notices", EventType::LossNotice, "Takes one loss notice."),
    single("/v1/billing_notices", EventType::BillingNotice, "Takes one billing notice."),
    single("/v1/proof_of_plays", EventType::ProofOfPlay, "Takes one proof of play."),
    Route {
        methods: &["POST"],
        path: "/v1/events",
        summary: "Takes a batch, one event a line. A line's type is its member event_type, else the query's type.",
        success: 200,
        problems: BATCH,
        serves: Serves::Batch,
    },
    Route {
        methods: &["POST"],
        path: "/openrtb2/auction",
        summary: "Takes one OpenRTB bid request and never bids: 204, or 400 without content.",
        success: 204,
        problems: SINGLE,
        serves: Serves::OpenRtb,
    },
    Route {
        methods: &["GET", "POST"],
        path: "/v1/notices/{notice}",
        summary: "Takes a notice (nurl, burl or lurl) as its URL: OpenRTB's macros, resolved, in the query.",
        success: 204,
        problems: NOTICE,
        serves: Serves::Notice,
    },
    page("/health", Serves::Health, &[], "Says that the process serves."),
    page("/sink-health", Serves::SinkHealth, &[&[Kind::StreamUnavailable]], "Says whether the stream takes data."),
    page("/metrics", Serves::Metrics, &[&[Kind::UnknownRoute]], "Counts for Prometheus (server only)."),
    page("/openapi.json", Serves::OpenApi, &[], "This document."),
    page("/problems/{problem}", Serves::ProblemPage, &[&[Kind::UnknownRoute]], "Explains an error."),
];

/// The route of a path, with its place among all.
pub(crate) fn find(path: &str) -> Option<(usize, &'static Route)> {
    ROUTES.iter().enumerate().find(|(_, route)| route.is_of(path))
}

impl Route {
    /// Whether a path is one of its paths. A parameter is the last segment, and takes any text without a slash.
    fn is_of(&self, path: &str) -> bool {
        match self.path.split_once('{') {
            None => self.path == path,
            Some((start, _parameter)) => {
                path.strip_prefix(start).is_some_and(|rest| !rest.is_empty() && !rest.contains('/'))
            }
        }
    }

    /// What it may answer beside success.
    pub(crate) fn problems(&self) -> impl Iterator<Item = Kind> {
        self.problems.iter().copied().flatten().copied()
    }

    /// As the answer to an unknown route lists it: once for each method.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        self.methods.iter().map(|method| format!("{method} {}", self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_find_their_routes() {
        for (path, expect) in [
            ("/v1/ad_requests", Some("/v1/ad_requests")),
            ("/v1/events", Some("/v1/events")),
            ("/v1/notices/burl", Some("/v1/notices/{notice}")),
            ("/v1/notices/", None),
            ("/v1/notices/a/b", None),
            ("/problems/x", Some("/problems/{problem}")),
            ("/v1/ad_requests/", None),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(find(path).map(|(_, route)| route.path), expect, "{path}");
        }
        for (index, route) in ROUTES.iter().enumerate() {
            assert_eq!(find(route.path).map(|(index, _)| index), Some(index));
        }
    }
}
