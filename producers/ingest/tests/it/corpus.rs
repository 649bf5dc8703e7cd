//! Bid requests and responses written by others, where they are at hand: `MILLRACE_CORPUS`, or `../shared/corpus` beside the project.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use serde_json::value::RawValue;

use crate::rig::{Answer, Rig};
use crate::stream::Mode;

/// The lines of a file of the corpus; none, with a word about it, where there is no corpus.
fn lines(file: &str) -> Option<Vec<String>> {
    #[expect(clippy::disallowed_methods, reason = "a test may be told where the corpus is")]
    let folder = std::env::var("MILLRACE_CORPUS").map(PathBuf::from);
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    let path = folder.unwrap_or_else(|_| beside()).join(file);
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: no corpus at {}", path.display());
        return None;
    };
    Some(text.lines().map(str::to_owned).collect())
}

/// The member of a line as its author wrote it.
fn raw_member(line: &str, member: &str) -> Option<String> {
    let members: HashMap<String, &RawValue> = serde_json::from_str(line).unwrap();
    members.get(member).map(|value| value.get().to_owned())
}

#[tokio::test]
async fn every_valid_request_is_accepted_once_and_kept_byte_for_byte() {
    let Some(lines) = lines("valid_bid_requests.ndjson") else { return };
    let rig = Rig::start(Mode::Take).await;
    let mut by_id = HashMap::new();
    for chunk in lines.chunks(300) {
        let answer = rig.post("/v1/events", chunk.join("\n")).await;
        let document = answer.json();
        assert_eq!(document["accepted"], chunk.len(), "{}", answer.text);
        let ids = document["results"]
            .as_array()
            .unwrap()
            .iter()
            .map(|result| result["event_id"].as_str().unwrap().to_owned());
        by_id.extend(ids.zip(chunk));
    }
    assert_eq!(by_id.len(), lines.len());
    let events = rig.events();
    assert_eq!(events.len(), lines.len());
    for (id, body) in &events {
        assert_eq!(by_id.get(id), Some(&body));
    }
}

#[tokio::test]
async fn valid_requests_one_by_one() {
    let Some(lines) = lines("valid_bid_requests.ndjson") else { return };
    let rig = Rig::start(Mode::Take).await;
    let calls = lines.iter().map(|line| rig.post("/v1/ad_requests", line.clone()));
    for answer in futures::future::join_all(calls).await {
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    assert_eq!(rig.events().len(), lines.len());
}

#[tokio::test]
async fn structurally_invalid_requests_are_refused_for_the_rules_they_break() {
    let Some(lines) = lines("structurally_invalid_bid_requests.ndjson") else { return };
    let rig = Rig::start(Mode::Take).await;
    for line in lines {
        let problem = rig.post("/v1/ad_requests", raw_member(&line, "request").unwrap()).await;
        let problem = problem.check_problem(400, "invalid-request");
        let found: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|error| &error["code"]).collect();
        let expected: Value = serde_json::from_str(&line).unwrap();
        for violation in expected["violations"].as_array().unwrap() {
            assert!(found.contains(&violation), "{violation} not in {found:?}: {line}");
        }
    }
    assert!(rig.events().is_empty());
}

#[tokio::test]
async fn invalid_requests_by_scope() {
    let Some(lines) = lines("invalid_bid_requests.ndjson") else { return };
    let rig = Rig::start(Mode::Take).await;
    let mut wrong = Vec::new();
    for line in lines {
        let expected: Value = serde_json::from_str(&line).unwrap();
        let body = match expected["raw_body"].as_str() {
            Some(raw_body) => raw_body.to_owned(),
            None => raw_member(&line, "request").unwrap(),
        };
        let answer = rig.post("/v1/ad_requests", body).await;
        let is_as_expected = match expected["scope"].as_str().unwrap() {
            "openrtb" | "json" => answer.status == 400,
            // Rules of that product's own extensions are none of ours; its structural faults still are.
            "prebid" => (answer.status == 200) == expected["violations"].as_array().unwrap().is_empty(),
            _ => answer.status == 400 || answer.status == 200,
        };
        if !is_as_expected {
            wrong.push(format!("{} {} {}", answer.status, expected["scope"], expected["expected_error"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn batch(rig: &Rig, path: &str, lines: &[String]) -> Value {
    let answer: Answer = rig.post(path, lines.join("\n")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

#[tokio::test]
async fn the_public_requests_of_screens_are_accepted_one_by_one() {
    let Some(lines) = lines("dooh_bid_requests.ndjson") else { return };
    let rig = Rig::start(Mode::Take).await;
    for line in &lines {
        for path in ["/v1/ad_requests", "/openrtb2/auction"] {
            let answer = rig.post(path, line.clone()).await;
            assert!(answer.status.is_success(), "{path}: {} {line}", answer.text);
        }
    }
    assert_eq!(rig.events().len(), 2 * lines.len());
}

#[tokio::test]
async fn a_missing_channel_is_a_matter_of_the_tenants_policy() {
    let Some(lines) = lines("valid_bid_requests_no_channel.ndjson") else { return };
    let rig = Rig::start(Mode::Take).await;
    let lenient = Rig::start_with(Mode::Take, |_| {}, |settings| settings.policy.channel_required = false).await;
    for chunk in lines.chunks(200) {
        let refused = batch(&rig, "/v1/events", chunk).await;
        assert_eq!(refused["refused"], chunk.len());
        for result in refused["results"].as_array().unwrap() {
            let errors = result["errors"].as_array().unwrap().iter();
            let codes: Vec<_> =
                errors.filter(|found| found["severity"] == "error").map(|found| &found["code"]).collect();
            assert_eq!(codes, ["channel.missing"], "{result}");
        }
        let accepted = batch(&lenient, "/v1/events", chunk).await;
        assert_eq!(accepted["accepted"], chunk.len(), "{accepted}");
    }
}

/// What a bidder answered as the event that an exchange would send of it, with the answer's own bytes.
fn response_event(line: &str) -> String {
    let found: Value = serde_json::from_str(line).unwrap();
    let bids = found["body"]["seatbid"]
        .as_array()
        .map_or(0, |seats| seats.iter().map(|seat| seat["bid"].as_array().map_or(0, Vec::len)).sum::<usize>());
    let outcome = match (found["is_bid_response"].as_bool().unwrap(), bids, found["status"].as_i64()) {
        (true, 1.., _) => "bid",
        (true, 0, _) | (false, _, Some(200 | 204)) => "nobid",
        _ => "error",
    };
    let auction_id = found["body"]["id"].as_str().filter(|id| !id.is_empty()).unwrap_or("unknown");
    let response = raw_member(line, "body").filter(|body| body != "null");
    let response = response.map_or_else(String::new, |body| format!(r#","response":{body}"#));
    format!(
        r#"{{"auction_id":{},"dsp_id":{},"outcome":"{outcome}","http_status":{}{response}}}"#,
        Value::from(auction_id),
        found["bidder"],
        found["status"],
    )
}

#[tokio::test]
async fn whatever_bidders_answered_is_accepted_and_kept() {
    let Some(lines) = lines("dsp_http_responses.ndjson") else { return };
    let rig = Rig::start(Mode::Take).await;
    let events: Vec<String> = lines.iter().map(|line| response_event(line)).collect();
    let mut marks: HashMap<String, usize> = HashMap::new();
    let mut marked_bids = 0;
    for chunk in events.chunks(200) {
        let answer = batch(&rig, "/v1/events?type=bid_response", chunk).await;
        assert_eq!(answer["accepted"], chunk.len(), "{answer}");
        for result in answer["results"].as_array().unwrap() {
            let warnings = result["warnings"].as_array().map_or(&[][..], Vec::as_slice);
            marked_bids += usize::from(!warnings.is_empty());
            for warning in warnings {
                *marks.entry(warning["code"].as_str().unwrap().to_owned()).or_default() += 1;
            }
        }
    }
    assert_eq!(rig.events().len(), events.len());
    println!("{marked_bids} of {} responses are marked: {marks:?}", events.len());
    // Adapters' fixtures often leave a creative's id out, and some answer what is no response at all.
    assert!(marks["bid.crid"] > 50 && marks.contains_key("response.type"), "{marks:?}");
    assert!(!marks.contains_key("field.type"), "{marks:?}");
}
