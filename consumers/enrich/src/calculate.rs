//! The arithmetic of one event: look up the screen of each imp, its local time, and what a play would cost.
//!
//! Pure: everything comes in as an argument. A missing look-up is an absent value in the row, never a guess.

use std::borrow::Cow;

use events::ad_request::{AdRequest, Imp};
use events::enriched::{Enrichment, ImpEnrichment, MultiplierSource, ScreenFacts};
use events::envelope::{Event, EventError, EventType};
use events::failed::FailureType;
use events::json::{Json, JsonError};

use crate::screens::{Entry, Screens};

/// One impression a play, in ten-thousandths: what the field assumes where nobody says otherwise.
const MULTIPLIER_DEFAULT_E4: i64 = 10_000;

/// Why an event cannot be enriched, now or ever: it becomes a failed event.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The aggregated record is damaged.
    #[error(transparent)]
    Aggregate(#[from] kinesis_consumer::DeaggregateError),
    /// The record is no event.
    #[error(transparent)]
    Event(#[from] EventError),
    /// Its body is not JSON.
    #[error("the body is not JSON")]
    Body(#[from] JsonError),
    /// Its body breaks a rule that the collector checks: it did not come through the collector.
    #[error("the body breaks the rule {code}")]
    Rule {
        /// The first rule broken.
        code: &'static str,
        /// Where.
        path: String,
    },
    /// The door refused it already; why stands in the record.
    #[error("the collector refused it")]
    Refused,
    /// The enriched event could not be written.
    #[error("the enriched event cannot be written")]
    Write(#[source] serde_json::Error),
    /// It stands for an event that is not where it should be.
    #[error(transparent)]
    ClaimCheck(claim_check::RedeemError),
    /// It stands for an event in a bucket that this stage was not told of.
    #[error("the record stands for an event in a bucket, and no bucket is set")]
    NoClaimChecks,
    /// The enriched event is larger than a stream takes.
    #[error("the enriched event has {bytes} bytes, more than a record may have")]
    TooLarge {
        /// How large.
        bytes: usize,
    },
}

impl Fault {
    /// How the failed event is filed.
    pub fn failure_type(&self) -> FailureType {
        match self {
            Fault::Aggregate(_) | Fault::ClaimCheck(_) | Fault::NoClaimChecks => FailureType::LoaderError,
            Fault::Event(_) | Fault::Body(_) => FailureType::JsonSyntax,
            Fault::Rule { .. } | Fault::Refused => FailureType::SchemaViolation,
            Fault::Write(_) => FailureType::EnrichmentFailure,
            Fault::TooLarge { .. } => FailureType::SizeViolation,
        }
    }

    /// The rule or error, for grouping.
    pub fn code(&self) -> &'static str {
        match self {
            Fault::Aggregate(_) => "aggregate.damaged",
            Fault::Event(EventError::Envelope(_)) => "envelope.syntax",
            Fault::Event(EventError::NoBody) => "envelope.body",
            Fault::Event(EventError::Newer(_)) => "envelope.schema_version",
            Fault::Body(_) => "json.syntax",
            Fault::Rule { code, .. } => code,
            Fault::Refused => "refused",
            Fault::Write(_) => "enriched.write",
            Fault::ClaimCheck(error) => error.code(),
            Fault::NoClaimChecks => "claim_check.unset",
            Fault::TooLarge { .. } => "enriched.size",
        }
    }

    /// JSON pointer to the place in the body, where there is one.
    pub fn path(&self) -> Option<&str> {
        match self {
            Fault::Rule { path, .. } => Some(path),
            Fault::Aggregate(_)
            | Fault::Event(_)
            | Fault::Body(_)
            | Fault::Refused
            | Fault::Write(_)
            | Fault::ClaimCheck(_)
            | Fault::NoClaimChecks
            | Fault::TooLarge { .. } => None,
        }
    }
}

/// Enriches one record of the raw stream and returns the record for the enriched one.
///
/// # Errors
/// [`Fault`]: the record is not an event that the collector would have accepted.
pub fn enriched_record(record: &[u8], screens: &Screens, now_ms: i64) -> Result<Vec<u8>, Fault> {
    let event = Event::read(record)?;
    let body = event.original_body()?;
    let json = Json::parse(body.as_bytes())?;
    let event_ts = event.envelope.received_ts;
    let (mut imps, mut screen) = (Vec::new(), None);
    match event.envelope.event_type {
        EventType::AdRequest => {
            let request = AdRequest::new(&json);
            check(request)?;
            imps = request.imps().map(|imp| enrich_imp(request, imp, screens, event_ts)).collect();
        }
        EventType::Auction
        | EventType::WinNotice
        | EventType::LossNotice
        | EventType::BillingNotice
        | EventType::ProofOfPlay => {
            let entry = json.get("adunit_id").and_then(Json::as_str).and_then(|id| screens.get(id));
            screen = entry.and_then(|entry| screen_facts(entry, display_ts(&json).unwrap_or(event_ts)));
        }
        EventType::BidRequest | EventType::BidResponse => {}
        EventType::FailedEvent => return Err(Fault::Refused),
    }
    let mut envelope = event.envelope;
    envelope.enrichment = Some(Enrichment { event_ts, enriched_ts: now_ms, imps, screen });
    envelope.write(&body).map_err(Fault::Write)
}

/// What the collector would not have let through.
fn check(request: AdRequest<'_, '_>) -> Result<(), Fault> {
    if request.id().is_none() {
        return Err(Fault::Rule { code: "id.required", path: "/id".to_owned() });
    }
    if request.imps().next().is_none() {
        return Err(Fault::Rule { code: "imp.required", path: "/imp".to_owned() });
    }
    Ok(())
}

fn enrich_imp<'a>(
    request: AdRequest<'a, '_>,
    imp: Imp<'a, '_>,
    screens: &'a Screens,
    event_ts: i64,
) -> ImpEnrichment<'a> {
    let adunit_id = request.adunit_id(imp);
    let entry = adunit_id.and_then(|id| screens.get(id));
    let (multiplier_e4, multiplier_source) = match (request.multiplier_e4(imp), entry) {
        (Some(multiplier), _) => (multiplier, MultiplierSource::Request),
        (None, Some(entry)) => (entry.multiplier_e4, MultiplierSource::Screen),
        (None, None) => (MULTIPLIER_DEFAULT_E4, MultiplierSource::Default),
    };
    ImpEnrichment {
        adunit_id: adunit_id.map(Cow::Borrowed),
        screen: entry.and_then(|entry| screen_facts(entry, event_ts)),
        multiplier_e4,
        multiplier_source,
        floor_cost_micros: events::money::play_cost_micros(imp.floor_cpm_micros(), multiplier_e4),
    }
}

/// When the ad was displayed, as a play or a notice says it.
fn display_ts(body: &Json<'_>) -> Option<i64> {
    let time = body.get("imp_ts").or_else(|| body.get("auction_imp_ts"))?.as_f64();
    time.and_then(events::time::millis).map(|time| time.ms)
}

fn screen_facts(entry: &Entry, event_ts: i64) -> Option<ScreenFacts<'_>> {
    let local = entry.local_time(event_ts)?;
    Some(ScreenFacts {
        publisher_id: Cow::Borrowed(&entry.screen.publisher_id),
        venuetype_id: entry.screen.venuetype_id,
        venuetype_parent: entry.screen.venuetype_parent(),
        city: Cow::Borrowed(&entry.screen.city),
        country: Cow::Borrowed(&entry.screen.country),
        tz: Cow::Borrowed(&entry.screen.tz),
        local_ts: local.ts,
        local_hour: local.hour,
    })
}

#[cfg(test)]
mod tests {
    use events::envelope::{Envelope, SCHEMA_VERSION};
    use events::event_id::EventId;

    use super::*;

    const SCREEN: &str = r#"{"adunit_id":"unit-1","publisher_id":"pub","name":"n","venuetype_id":10101,"city":"Berlin","country":"DEU","lat":52.5,"lon":13.4,"tz":"Europe/Berlin","width":1080,"height":1920,"slot_s":8,"multiplier":4}"#;
    /// 2026-07-01 22:30 UTC, half past midnight of the next day in Berlin.
    const RECEIVED_TS: i64 = 1_782_945_000_000;

    fn raw(body: &str) -> Vec<u8> {
        let envelope = Envelope {
            event_id: EventId::of_content("demo", "ad_request", "r", body.as_bytes()),
            event_type: EventType::AdRequest,
            schema_version: SCHEMA_VERSION,
            tenant_id: "demo".into(),
            auction_id: "r".into(),
            received_ts: RECEIVED_TS,
            endpoint: "/v1/ad_requests".into(),
            handler_us: 5,
            warnings: Vec::new(),
            enrichment: None,
        };
        envelope.write(body).unwrap()
    }

    fn enrich(body: &str) -> Result<Vec<u8>, Fault> {
        enriched_record(&raw(body), &Screens::from_ndjson(SCREEN.as_bytes()).unwrap(), RECEIVED_TS + 250)
    }

    #[test]
    fn a_known_screen_adds_place_local_time_and_money() {
        let body = r#"{"id":"r",  "imp":[{"id":"1","tagid":"unit-1","bidfloor":2.50,"qty":{"multiplier":30.3}}]}"#;
        let record = enrich(body).unwrap();
        let event = Event::read(&record).unwrap();
        assert_eq!(event.original_body().unwrap(), body);
        let enrichment = event.envelope.enrichment.unwrap();
        assert_eq!((enrichment.event_ts, enrichment.enriched_ts), (RECEIVED_TS, RECEIVED_TS + 250));
        let imp = &enrichment.imps[0];
        assert_eq!(imp.floor_cost_micros, Some(75_750), "2.50 / 1000 x 30.3");
        assert_eq!(imp.multiplier_source, MultiplierSource::Request);
        let screen = imp.screen.as_ref().unwrap();
        assert_eq!((screen.venuetype_id, screen.venuetype_parent, screen.local_hour), (10101, 1, 0));
        assert_eq!(screen.local_ts, RECEIVED_TS + 7_200_000);
    }

    #[test]
    fn events_around_a_request_pass_with_their_times() {
        for event_type in EventType::COLLECTED {
            if event_type == EventType::AdRequest {
                continue;
            }
            let written = String::from_utf8(raw(r#"{"auction_id":"a","new":[1]}"#)).unwrap();
            let written =
                written.replace(r#""event_type":"ad_request""#, &format!(r#""event_type":"{}""#, event_type.name()));
            let record = enriched_record(written.as_bytes(), &Screens::default(), RECEIVED_TS + 250).unwrap();
            let event = Event::read(&record).unwrap();
            assert_eq!(event.envelope.event_type, event_type);
            assert_eq!(event.original_body().unwrap(), r#"{"auction_id":"a","new":[1]}"#);
            let enrichment = event.envelope.enrichment.unwrap();
            assert_eq!((enrichment.event_ts, enrichment.enriched_ts), (RECEIVED_TS, RECEIVED_TS + 250));
            assert!(enrichment.imps.is_empty());
        }
    }

    #[test]
    fn plays_notices_and_auctions_know_their_screen_at_the_time_of_the_display() {
        let body = r#"{"auction_id":"a","adunit_id":"ID","TIME":1782939600000}"#;
        // 21:00 UTC is 23:00 in Berlin; RECEIVED_TS is half past midnight.
        for (event_type, id, time, expect) in [
            (EventType::ProofOfPlay, "unit-1", "imp_ts", Some(23)),
            (EventType::BillingNotice, "unit-1", "auction_imp_ts", Some(23)),
            (EventType::WinNotice, "unit-1", "other", Some(0)),
            (EventType::LossNotice, "unknown", "other", None),
            (EventType::Auction, "unit-1", "other", Some(0)),
            (EventType::BidRequest, "unit-1", "other", None),
        ] {
            let written = String::from_utf8(raw(&body.replace("ID", id).replace("TIME", time))).unwrap();
            let named = format!(r#""event_type":"{}""#, event_type.name());
            let written = written.replace(r#""event_type":"ad_request""#, &named);
            let screens = Screens::from_ndjson(SCREEN.as_bytes()).unwrap();
            let record = enriched_record(written.as_bytes(), &screens, RECEIVED_TS).unwrap();
            let screen = Event::read(&record).unwrap().envelope.enrichment.unwrap().screen;
            assert_eq!(screen.as_ref().map(|screen| screen.local_hour), expect, "{event_type:?} {id}");
            assert!(screen.is_none_or(|screen| (screen.venuetype_id, &*screen.city) == (10101, "Berlin")));
        }
    }

    #[test]
    fn multipliers_come_from_the_request_then_the_screen_then_are_one() {
        let check = |imp: &str, expect: (i64, MultiplierSource, bool)| {
            let record = enrich(&format!(r#"{{"id":"r","imp":[{imp}]}}"#)).unwrap();
            let enrichment = Event::read(&record).unwrap().envelope.enrichment.unwrap();
            let imp = &enrichment.imps[0];
            assert_eq!((imp.multiplier_e4, imp.multiplier_source, imp.screen.is_some()), expect);
        };
        check(r#"{"id":"1","tagid":"unit-1","qty":{"multiplier":0.5}}"#, (5_000, MultiplierSource::Request, true));
        check(r#"{"id":"1","tagid":"unit-1"}"#, (40_000, MultiplierSource::Screen, true));
        check(r#"{"id":"1","tagid":"unknown"}"#, (10_000, MultiplierSource::Default, false));
        check(r#"{"id":"1"}"#, (10_000, MultiplierSource::Default, false));
    }

    #[test]
    fn what_did_not_come_through_the_collector_is_a_fault_with_its_reason() {
        let check = |record: &[u8], code: &str, failure_type: FailureType| {
            let fault = enriched_record(record, &Screens::default(), 0).unwrap_err();
            assert_eq!((fault.code(), fault.failure_type()), (code, failure_type), "{fault}");
        };
        check(b"not json", "envelope.syntax", FailureType::JsonSyntax);
        check(b"\xff\x00", "envelope.syntax", FailureType::JsonSyntax);
        check(&raw("[]"), "id.required", FailureType::SchemaViolation);
        check(&raw(r#"{"id":"r"}"#), "imp.required", FailureType::SchemaViolation);
        let deep = format!(r#"{{"id":"r","imp":{}{}}}"#, "[".repeat(60), "]".repeat(60));
        check(&raw(&deep), "json.syntax", FailureType::JsonSyntax);
    }
}
