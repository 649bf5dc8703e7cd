//! Days are valid, linked, life-like, and the same for the same seed.

use std::collections::{BTreeMap, HashMap, HashSet};

use events::json::Json;
use events::validate::{self, Policy};
use sha2::{Digest, Sha256};

use super::*;
use crate::screen::screens;

const START_MS: i64 = 1_795_305_600_000;

fn day(seed: u64, auctions_per_day: u32) -> Day {
    Day::new(DayConfig { seed, start_ms: START_MS, auctions_per_day }, screens(seed, 2_000)).unwrap()
}

/// The first events, as types, times and texts.
fn events(day: &mut Day, count: usize) -> Vec<(Made, String)> {
    let mut events = Vec::with_capacity(count);
    for _ in 0..count {
        let mut out = Vec::new();
        let made = day.next(&mut out);
        events.push((made, String::from_utf8(out).unwrap()));
    }
    events
}

#[test]
fn a_hundred_thousand_events_pass_without_a_finding() {
    let mut day = day(3, 1_000_000);
    let mut last_ms = START_MS;
    let mut counts: BTreeMap<EventType, usize> = BTreeMap::new();
    for _ in 0..100_000 {
        let mut out = Vec::new();
        let made = day.next(&mut out);
        assert!(made.at_ms >= last_ms, "events come in the order of their time");
        last_ms = made.at_ms;
        let json = Json::parse(&out).unwrap();
        let found = validate::event(made.event_type, &json, Policy::default(), made.at_ms);
        assert_eq!(found, [], "{}", String::from_utf8_lossy(&out));
        let named = json.get("event_type").and_then(Json::as_str);
        assert!(made.event_type == EventType::AdRequest || named == Some(made.event_type.name()));
        *counts.entry(made.event_type).or_default() += 1;
    }
    assert_eq!(counts.len(), EventType::COLLECTED.len(), "{counts:?}");
    assert!(counts[&EventType::BidRequest] > 4 * counts[&EventType::AdRequest], "{counts:?}");
}

#[test]
fn ids_link_every_event_to_those_before_it() {
    let member = |json: &Json<'_>, key: &str| json.get(key).and_then(Json::as_str).unwrap_or_default().to_owned();
    let (mut asked, mut bids, mut answers) = (HashSet::new(), HashMap::new(), HashSet::new());
    let (mut sold, mut won, mut played) = (HashMap::new(), HashSet::new(), HashSet::new());
    // So few that the first plays and bills are among them.
    for (made, text) in events(&mut day(1, 20_000), 30_000) {
        let json = Json::parse(text.as_bytes()).unwrap();
        let (auction, imp, dsp) = (member(&json, "auction_id"), member(&json, "imp_id"), member(&json, "dsp_id"));
        let key = (auction.clone(), imp, dsp.clone());
        match made.event_type {
            EventType::AdRequest => assert!(asked.insert(member(&json, "id"))),
            EventType::BidRequest => assert!(asked.contains(&auction)),
            EventType::BidResponse => {
                assert!(asked.contains(&auction));
                let Some(response) = json.get("response") else { continue };
                answers.insert((auction, dsp, member(response, "bidid")));
                for seat in response.get("seatbid").unwrap().elements() {
                    for bid in seat.get("bid").unwrap().elements() {
                        bids.insert(member(bid, "id"), bid.get("price").and_then(Json::as_f64));
                    }
                }
            }
            EventType::Auction if member(&json, "status") == "filled" => {
                assert_eq!(bids[&member(&json, "bid_id")], json.get("clearing_cpm").and_then(Json::as_f64));
                sold.insert(key, json.get("clearing_cpm").and_then(Json::as_f64));
            }
            EventType::Auction => assert!(asked.contains(&auction)),
            EventType::WinNotice => {
                assert_eq!(sold[&key], json.get("auction_price").and_then(Json::as_f64));
                assert!(answers.contains(&(auction, dsp, member(&json, "bid_id"))));
                won.insert(key);
            }
            EventType::LossNotice => assert!(answers.contains(&(auction, dsp, member(&json, "bid_id")))),
            EventType::ProofOfPlay => {
                assert!(won.contains(&key));
                let is_completed = member(&json, "play_status") == "completed";
                assert!(played.insert((key, is_completed)), "an imp is played once");
            }
            EventType::BillingNotice => assert!(played.contains(&(key, true)), "what was played is billed"),
            EventType::FailedEvent => panic!("nobody sends these"),
        }
    }
    assert!(played.len() > 300, "{}", played.len());
}

#[test]
fn requests_follow_the_hours_of_their_places() {
    let mut day = day(5, 5_000);
    let mut out = Vec::new();
    let screens = screens(5, 2_000);
    // Requests of screens in Berlin's offices: by day and by night.
    let offices: HashSet<&str> =
        screens.iter().filter(|screen| screen.venuetype_id == 70_101).map(|screen| screen.adunit_id.as_str()).collect();
    let tz = |id: &str| screens.iter().find(|screen| screen.adunit_id == id).map(|screen| screen.tz.clone()).unwrap();
    let (mut by_day, mut by_night, mut requests, mut last_play_ms) = (0, 0, 0, 0);
    loop {
        out.clear();
        let made = day.next(&mut out);
        if made.at_ms >= START_MS + DAY_MS {
            break;
        }
        if made.event_type == EventType::ProofOfPlay {
            let json = Json::parse(&out).unwrap();
            let imp_ts = json.get("imp_ts").and_then(Json::as_i64).unwrap();
            last_play_ms = last_play_ms.max(made.at_ms - imp_ts);
        }
        if made.event_type != EventType::AdRequest {
            continue;
        }
        requests += 1;
        let json = Json::parse(&out).unwrap();
        let id = json.at(&["dooh", "id"]).and_then(Json::as_str).unwrap();
        if !offices.contains(id) {
            continue;
        }
        let zone: chrono_tz::Tz = tz(id).parse().unwrap();
        let hour =
            chrono::Timelike::hour(&chrono::DateTime::from_timestamp_millis(made.at_ms).unwrap().with_timezone(&zone));
        by_day += u32::from((8..18).contains(&hour));
        by_night += u32::from(!(6..22).contains(&hour));
    }
    assert!((4_500..5_500).contains(&requests), "{requests} requests");
    assert!(by_day > 15 * by_night.max(1), "{by_day} by day, {by_night} by night");
    assert!(
        (3_600_000..4 * 3_600_000 + 60_000).contains(&last_play_ms),
        "plays are reported hours later: {last_play_ms}"
    );
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let hash = |seed| {
        let mut hasher = Sha256::new();
        for (made, text) in events(&mut day(seed, 100_000), 20_000) {
            hasher.update(format!("{} {} {text}\n", made.at_ms, made.event_type.name()));
        }
        hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    expect_test::expect![["cb8d3d576e6cb6ea7a3d4199bf4b87eb3c380a9a3e78c8bdd59adc2f71e03877"]].assert_eq(&hash(1));
    assert_eq!(hash(2), hash(2));
    assert_ne!(hash(1), hash(2));
    let config = DayConfig { seed: 1, start_ms: 0, auctions_per_day: 1 };
    assert!(Day::new(config, Vec::new()).is_err());
}

/// The curves that the reports by place and local hour show, calculated from the events alone.
#[test]
fn forty_thousand_screens_and_five_bidders_make_life_like_curves() {
    let screens = screens(9, 40_000);
    let by_id: HashMap<&str, &Screen> = screens.iter().map(|screen| (screen.adunit_id.as_str(), screen)).collect();
    let mut day =
        Day::new(DayConfig { seed: 9, start_ms: START_MS, auctions_per_day: 8_000 }, screens.clone()).unwrap();
    let (mut bidders, mut asking, mut zones) = (HashSet::new(), HashSet::new(), HashSet::new());
    let mut curves: BTreeMap<i32, [u32; 24]> = BTreeMap::new();
    let mut out = Vec::new();
    loop {
        out.clear();
        let made = day.next(&mut out);
        if made.at_ms >= START_MS + DAY_MS {
            break;
        }
        let json = Json::parse(&out).unwrap();
        let text = |path: &[&str]| json.at(path).and_then(Json::as_str).unwrap_or_default().to_owned();
        match made.event_type {
            EventType::BidRequest => _ = bidders.insert(text(&["dsp_id"])),
            EventType::AdRequest => _ = asking.insert(text(&["dooh", "id"])),
            EventType::ProofOfPlay => {
                let screen = by_id[text(&["adunit_id"]).as_str()];
                let zone: chrono_tz::Tz = screen.tz.parse().unwrap();
                let played =
                    json.get("imp_ts").and_then(Json::as_i64).and_then(chrono::DateTime::from_timestamp_millis);
                let hour = chrono::Timelike::hour(&played.unwrap().with_timezone(&zone));
                curves.entry(screen.venuetype_parent()).or_default()[usize::try_from(hour).unwrap()] += 1;
                zones.insert(zone);
            }
            EventType::BidResponse
            | EventType::Auction
            | EventType::WinNotice
            | EventType::LossNotice
            | EventType::BillingNotice
            | EventType::FailedEvent => {}
        }
    }
    assert_eq!(bidders, bidder::BIDDERS.iter().map(|bidder| bidder.id.to_owned()).collect());
    // Of 40,000 screens that ask 8,000 times, nearly as many different ones as chance lets ask.
    assert!(asking.len() > 6_500, "{} screens ask", asking.len());
    assert!(zones.len() > 20, "{} zones", zones.len());
    for (place, hours) in curves {
        let sum = |hours: &[u32]| hours.iter().sum::<u32>();
        if sum(&hours) > 300 {
            assert!(sum(&hours[16..19]) > 3 * sum(&hours[2..5]), "afternoons and nights of {place}: {hours:?}");
        }
    }
}
