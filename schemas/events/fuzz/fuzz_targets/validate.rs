//! Any bytes as the body of an event of each type: reading, rules, and what the rows read.

#![no_main]

use events::ad_request::AdRequest;
use events::envelope::EventType;
use events::json::Json;
use events::validate::{self, Policy, Response};
use libfuzzer_sys::fuzz_target;

const NOW_MS: i64 = 1_795_000_000_000;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, body)) = bytes.split_first() else { return };
    let json = match Json::parse(body) {
        Ok(json) => json,
        Err(error) => {
            assert!(error.offset(body) <= body.len(), "the place of an error is within the body");
            return;
        }
    };
    let response = |bit: u8| if kind & bit == 0 { Response::Mark } else { Response::Refuse };
    let policy = Policy {
        channel_required: kind & 8 == 0,
        dooh_id_or_venuetype_required: kind & 16 == 0,
        dooh_position: response(32),
        tolerated_faults: response(64),
    };
    let event_type = EventType::COLLECTED[usize::from(kind & 7)];
    let violations = validate::event(event_type, &json, policy, NOW_MS);
    assert!(violations.len() <= 100);
    let lenient = validate::event(event_type, &json, Policy::default(), NOW_MS);
    // What a strict tenant takes, a lenient one takes.
    let is_strict = policy.channel_required && policy.dooh_id_or_venuetype_required;
    assert!(!is_strict || validate::refuses(&violations) || !validate::refuses(&lenient));
    let request = AdRequest::new(&json);
    let seen = request.imps().filter_map(|imp| request.multiplier_e4(imp)).filter(|multiplier| *multiplier < 0).count();
    assert_eq!(seen, 0, "no multiplier is negative");
    let _read = (request.venuetype(), request.venuetypetax(), request.audience(), request.us_privacy(), request.gdpr());
    let _more = (request.position(), request.country(), request.schain().is_some(), request.publisher_id());
});
