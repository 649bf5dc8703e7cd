//! Bid requests written by others, where they are at hand: `MILLRACE_CORPUS`, or `../shared/corpus` beside the project.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use serde_json::value::RawValue;

use crate::rig::Rig;
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
