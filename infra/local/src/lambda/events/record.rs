//! What a destination is told of an asynchronous invocation, and what a dead-letter queue gets of its event.

use chrono::DateTime;
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::lambda::destination::{Destination, Letter, time_text};
use crate::lambda::function::{VERSION, function_arn};
use crate::sqs::AttributeValue;

use super::queue::{Condition, Ending, Event};

/// What of an error's text stands in an attribute.
const ERROR_BYTES_MAX: usize = 1_024;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    version: &'static str,
    timestamp: String,
    request_context: RequestContext<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_payload: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_context: Option<ResponseContext>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_payload: Option<&'a RawValue>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    request_id: &'a str,
    function_arn: String,
    condition: &'static str,
    approximate_invoke_count: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResponseContext {
    status_code: u16,
    executed_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_error: Option<&'static str>,
}

/// The record for a destination. Payloads that are too much for it are left out, the larger first.
pub(super) fn letter(event: &Event, ending: &Ending, destination: &Destination) -> serde_json::Result<Letter> {
    let response_is_larger = ending.response.as_ref().is_some_and(|response| response.len() > event.payload.len());
    let mut body = record(event, ending, (true, true))?;
    if body.len() > destination.bytes_max() {
        body = record(event, ending, (response_is_larger, !response_is_larger))?;
    }
    if body.len() > destination.bytes_max() {
        body = record(event, ending, (false, false))?;
    }
    Ok(Letter { body, key: key(event, ending, Uuid::new_v4()), ..Letter::default() })
}

fn record(event: &Event, ending: &Ending, (has_request, has_response): (bool, bool)) -> serde_json::Result<String> {
    let is_error = ending.condition != Condition::Success;
    let request = serde_json::from_str::<&RawValue>(&event.payload)?;
    // An answer that is no JSON stands there as text.
    let response = ending.response.as_deref().map(|text| match serde_json::from_str::<Box<RawValue>>(text) {
        Ok(json) => Ok(json),
        Err(_not_json) => serde_json::value::to_raw_value(text),
    });
    let response = response.transpose()?;
    let record = Record {
        version: "1.0",
        timestamp: time_text(ending.ended_ms),
        request_context: RequestContext {
            request_id: &event.request_id,
            function_arn: format!("{}:{VERSION}", function_arn(&event.function)),
            condition: ending.condition.text(),
            approximate_invoke_count: ending.invocations,
        },
        request_payload: Some(request).filter(|_| has_request),
        response_context: (ending.invocations > 0).then_some(ResponseContext {
            status_code: 200,
            executed_version: VERSION,
            function_error: is_error.then_some("Unhandled"),
        }),
        response_payload: response.as_deref().filter(|_| has_response),
    };
    serde_json::to_string(&record)
}

fn key(event: &Event, ending: &Ending, object_id: Uuid) -> String {
    let at = DateTime::from_timestamp_millis(ending.ended_ms).unwrap_or_default();
    let (day, time) = (at.format("%Y/%m/%d"), at.format("%Y-%m-%dT%H.%M.%S"));
    format!("aws/lambda/async/{}/{day}/{time}-{object_id}", event.function)
}

/// The event as it was, for a dead-letter queue, with its error as attributes.
pub(super) fn dead_letter(event: &Event, ending: &Ending) -> Letter {
    let error = ending.response.as_deref().unwrap_or(ending.condition.text());
    let message = serde_json::from_str::<serde_json::Value>(error).ok();
    let message = message.as_ref().and_then(|body| body.get("errorMessage")?.as_str()).unwrap_or(error);
    let mut end = message.len().min(ERROR_BYTES_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    let message = Some(message.get(..end).unwrap_or_default()).filter(|text| !text.is_empty());
    let attributes = [
        ("RequestID", AttributeValue::string(&event.request_id)),
        ("ErrorCode", AttributeValue::number(&200)),
        ("ErrorMessage", AttributeValue::string(message.unwrap_or("unknown"))),
    ];
    let attributes = attributes.map(|(name, value)| (name.to_owned(), value)).into();
    Letter { body: event.payload.to_string(), attributes, ..Letter::default() }
}

#[cfg(test)]
mod tests {
    use super::super::queue::State;
    use super::*;

    fn event(payload: &str) -> Event {
        Event {
            request_id: "7-b".to_owned(),
            function: "f".to_owned(),
            payload: payload.into(),
            accepted_ms: 0,
            state: State::default(),
        }
    }

    fn ending(condition: Condition, response: Option<&str>) -> Ending {
        let invocations = u32::from(response.is_some()) * 3;
        Ending { condition, ended_ms: 1_700_000_000_123, invocations, response: response.map(Into::into) }
    }

    fn queue() -> Destination {
        Destination::Queue { queue: "q".to_owned() }
    }

    #[test]
    fn the_record_is_the_service_s() {
        let failed = ending(Condition::RetriesExhausted, Some(r#"{"errorMessage":"no"}"#));
        let letter = letter(&event(r#"{"n":1}"#), &failed, &queue()).unwrap();
        let record: serde_json::Value = serde_json::from_str(&letter.body).unwrap();
        expect_test::expect![[r#"
            {
              "requestContext": {
                "approximateInvokeCount": 3,
                "condition": "RetriesExhausted",
                "functionArn": "arn:aws:lambda:us-east-1:000000000000:function:f:$LATEST",
                "requestId": "7-b"
              },
              "requestPayload": {
                "n": 1
              },
              "responseContext": {
                "executedVersion": "$LATEST",
                "functionError": "Unhandled",
                "statusCode": 200
              },
              "responsePayload": {
                "errorMessage": "no"
              },
              "timestamp": "2023-11-14T22:13:20.123Z",
              "version": "1.0"
            }"#]]
        .assert_eq(&serde_json::to_string_pretty(&record).unwrap());
        assert!(letter.key.starts_with("aws/lambda/async/f/2023/11/14/2023-11-14T22.13.20-"), "{}", letter.key);
    }

    #[test]
    fn a_success_has_no_error_and_an_event_that_was_never_run_no_response() {
        let text = |ending: &Ending| letter(&event("1"), ending, &queue()).unwrap().body;
        let success = text(&ending(Condition::Success, Some("no JSON")));
        assert!(success.contains(r#""condition":"Success""#) && !success.contains("functionError"), "{success}");
        assert!(success.contains(r#""responsePayload":"no JSON""#), "{success}");
        let expired = text(&ending(Condition::EventAgeExceeded, None));
        assert!(!expired.contains("responseContext") && !expired.contains("responsePayload"), "{expired}");
    }

    #[test]
    fn payloads_that_are_too_much_are_left_out() {
        let large = |bytes: usize| format!("\"{}\"", "x".repeat(bytes));
        let has = |request: usize, response: usize| {
            let ending = ending(Condition::Success, Some(&large(response)));
            let body = letter(&event(&large(request)), &ending, &queue()).unwrap().body;
            (body.contains("requestPayload"), body.contains("responsePayload"))
        };
        assert_eq!(has(1_000, 1_000), (true, true));
        assert_eq!(has(1_000, 1_048_576), (true, false));
        assert_eq!(has(1_000_000, 60_000), (false, true));
        assert_eq!(has(1_048_576, 2_000_000), (false, false));
    }

    #[test]
    fn a_dead_letter_is_the_event_and_its_error() {
        let failed = ending(Condition::RetriesExhausted, Some(r#"{"errorMessage":"no"}"#));
        let letter = dead_letter(&event(r#"{"n":1}"#), &failed);
        assert_eq!(
            (letter.body.as_str(), &letter.attributes["ErrorMessage"]),
            (r#"{"n":1}"#, &AttributeValue::string("no"))
        );
        let long = ending(Condition::RetriesExhausted, Some(&"€".repeat(1_000)));
        let text = dead_letter(&event("1"), &long).attributes["ErrorMessage"].string_value.clone().unwrap();
        assert_eq!(text.len(), 1_023);
        let expired = dead_letter(&event("1"), &ending(Condition::EventAgeExceeded, None));
        assert_eq!(expired.attributes["ErrorMessage"], AttributeValue::string("EventAgeExceeded"));
    }
}
