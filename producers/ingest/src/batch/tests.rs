//! Lines, types and the answer as a whole.

use super::*;

#[test]
fn lines_keep_their_numbers() {
    let check = |body: &str, expect: &[(usize, &str)]| {
        let expect: Vec<_> = expect.iter().map(|(number, line)| (*number, line.as_bytes())).collect();
        assert_eq!(lines(body.as_bytes()).collect::<Vec<_>>(), expect, "{body:?}");
    };
    check("", &[]);
    check("\n \r\n\t", &[]);
    check("a", &[(1, "a")]);
    check("a\nb\n", &[(1, "a"), (2, "b")]);
    check("\n a \r\n\n\nb", &[(2, " a "), (5, "b")]);
    check("a\r\r\n", &[(1, "a\r")]);
}

#[test]
fn the_type_of_a_batch() {
    for (query, expect) in [
        (None, Some(EventType::AdRequest)),
        (Some(""), Some(EventType::AdRequest)),
        (Some("other=1"), Some(EventType::AdRequest)),
        (Some("a&type=ad_request&b=2"), Some(EventType::AdRequest)),
        (Some("type=auction"), Some(EventType::Auction)),
        (Some("type="), None),
        (Some("type=failed_event"), None),
        (Some("type=ad_request&type=auction"), None),
    ] {
        assert_eq!(event_type(query), expect, "{query:?}");
    }
}

#[test]
fn the_type_of_a_line() {
    for (line, expect) in [
        (r#"{"id":"1"}"#, Some(EventType::AdRequest)),
        (r#"{"event_type":"auction"}"#, Some(EventType::Auction)),
        (r#"{"a":{"event_type":"auction"}}"#, Some(EventType::AdRequest)),
        (r#"{"event_type":7}"#, Some(EventType::AdRequest)),
        (r#"{"event_type":"auction""#, Some(EventType::AdRequest)),
        (r#"{"event_type":"other"}"#, None),
        (r#"{"event_type":"failed_event"}"#, None),
    ] {
        assert_eq!(line_type(line.as_bytes(), EventType::AdRequest).ok(), expect, "{line}");
    }
}

fn violations(count: usize) -> Vec<Violation> {
    vec![empty(); count]
}

#[test]
fn listed_findings_are_bounded_and_each_line_lists_one() {
    let mut findings_left = 5;
    let mut refuse = |count| {
        let result = LineResult::refused(1, violations(count), &mut findings_left);
        (result.errors.len(), result.errors_omitted)
    };
    assert_eq!(refuse(3), (3, 0));
    assert_eq!(refuse(3), (2, 1));
    assert_eq!(refuse(3), (1, 2));
    assert_eq!(refuse(1), (1, 0));
}

#[test]
fn the_whole_is_unavailable_only_if_every_line_is() {
    let [full, unavailable, invalid] = [Kind::QueueFull, Kind::StreamUnavailable, Kind::TooLarge];
    let check = |kinds: &[Kind], expect: Option<Kind>| {
        let results = kinds.iter().map(|kind| LineResult::other(1, *kind)).collect();
        assert_eq!(answer(results).err().map(|problem| problem.kind), expect, "{kinds:?}");
    };
    check(&[full, full], Some(Kind::QueueFull));
    check(&[full, unavailable], Some(Kind::StreamUnavailable));
    check(&[full, unavailable, invalid], None);
    check(&[invalid], None);
}

#[test]
fn an_answer_counts_and_lists() {
    let mut findings_left = 100;
    let results = vec![
        LineResult::accepted(1, EventId::of_content("demo", "ad_request", "a", b"{}"), Vec::new()),
        LineResult::refused(3, violations(1), &mut findings_left),
        LineResult::other(4, Kind::QueueFull),
    ];
    let text = String::from_utf8(answer(results).unwrap()).unwrap();
    expect_test::expect![[r#"{"accepted":1,"refused":1,"unavailable":1,"results":[{"line":1,"status":200,"event_id":"12260b9d-90b5-8142-9562-fa6358c6915e"},{"line":3,"status":400,"type":"/problems/invalid-request","errors":[{"code":"batch.empty","severity":"error","path":"","message":"must have at least one line that is not blank"}]},{"line":4,"status":503,"type":"/problems/queue-full"}]}"#]]
        .assert_eq(&text);
}
