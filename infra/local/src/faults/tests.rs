//! Whom rules strike, how often and how long.

use super::*;

const KINESIS: FaultService = FaultService::Kinesis;

fn rule(kind: FaultKind, probability: f64) -> FaultRule {
    FaultRule { probability, seed: 7, ..FaultRule::new(kind) }
}

#[test]
fn a_seed_strikes_the_same_calls() {
    let row = |seed: u64| -> Vec<bool> {
        let faults = Faults::default();
        faults.set(vec![FaultRule { seed, ..rule(FaultKind::Throttle, 0.3) }], 0).unwrap();
        (0..1_000).map(|_| faults.strike(KINESIS, "PutRecords", 0) != Fate::Answer).collect()
    };
    assert_eq!(row(1), row(1));
    assert_ne!(row(1), row(2));
    let struck = row(1).into_iter().filter(|struck| *struck).count();
    assert!((250..350).contains(&struck), "{struck} of 1,000 at 0.3");
}

#[test]
fn a_rule_holds_for_its_operations_and_its_time() {
    let faults = Faults::default();
    let operations = vec!["PutRecords".to_owned()];
    let timed = FaultRule { operations, duration_ms: Some(100), ..rule(FaultKind::Hang, 1.0) };
    faults.set(vec![timed.clone(), rule(FaultKind::CutAfterCommit, 0.0)], 1_000).unwrap();
    assert_eq!(faults.strike(KINESIS, "PutRecords", 1_099), Fate::Hang);
    assert_eq!(faults.strike(KINESIS, "GetRecords", 1_099), Fate::Answer);
    assert_eq!(faults.strike(FaultService::S3, "PutRecords", 1_099), Fate::Answer, "Kinesis alone unless it is said");
    assert_eq!(faults.status(1_040)[0], FaultStatus { rule: timed, left_ms: Some(60), struck: 1 });
    assert_eq!(faults.strike(KINESIS, "PutRecords", 1_100), Fate::Answer);
    faults.set(Vec::new(), 0).unwrap();
    assert!(faults.status(0).is_empty());
}

#[test]
fn calls_of_each_service_meet_what_was_asked_for() {
    let faults = Faults::default();
    let services = vec![FaultService::S3, FaultService::Glue];
    let check = |kind: FaultKind, expected: Fate| {
        let slow = FaultRule { delay_ms: 5, services: services.clone(), ..rule(kind, 1.0) };
        faults.set(vec![slow], 0).unwrap();
        assert_eq!(faults.strike(FaultService::S3, "PutObject", 0), expected);
        assert_eq!(faults.strike(FaultService::Glue, "GetTable", 0), expected);
        assert_eq!(faults.strike(KINESIS, "PutRecords", 0), Fate::Answer);
    };
    check(FaultKind::Throttle, Fate::Throttle);
    check(FaultKind::InternalError, Fate::Fail);
    check(FaultKind::Slow, Fate::Delay(Duration::from_millis(5)));
    check(FaultKind::Hang, Fate::Hang);
    check(FaultKind::CutAfterCommit, Fate::Cut);
    for kind in [FaultKind::Record, FaultKind::Duplicate, FaultKind::DiskFull, FaultKind::Split] {
        check(kind, Fate::Answer);
    }
}

#[test]
fn rules_about_records_leave_calls_alone() {
    let faults = Faults::default();
    assert_eq!(faults.strike_records(3, 0), None);
    faults.set(vec![rule(FaultKind::Record, 1.0), rule(FaultKind::Slow, 1.0)], 0).unwrap();
    assert_eq!(faults.strike_records(3, 0), Some(vec![true; 3]));
    assert_eq!(faults.strike(KINESIS, "PutRecords", 0), Fate::Delay(Duration::ZERO));
}

#[test]
fn functions_are_struck_by_name() {
    let faults = Faults::default();
    let of = |kind: FaultKind, name: &str| FaultRule { names: vec![name.to_owned()], delay_ms: 9, ..rule(kind, 1.0) };
    let rules = vec![of(FaultKind::Kill, "a"), of(FaultKind::Freeze, "b"), of(FaultKind::Duplicate, "c")];
    faults.set(rules, 0).unwrap();
    let after = Duration::from_millis(9);
    assert_eq!(faults.strike_function("a", 0), Some(FunctionFate::Kill(after)));
    assert_eq!(faults.strike_function("b", 0), Some(FunctionFate::Freeze(after)));
    assert_eq!(faults.strike_function("c", 0), Some(FunctionFate::Duplicate));
    assert_eq!(faults.strike_function("d", 0), None);
}

#[test]
fn a_full_disk_takes_nothing_while_it_lasts() {
    let faults = Faults::default();
    faults.check_disk(0).unwrap();
    faults.set(vec![FaultRule { duration_ms: Some(10), ..rule(FaultKind::DiskFull, 1.0) }], 0).unwrap();
    assert_eq!(faults.check_disk(9).unwrap_err().kind(), io::ErrorKind::StorageFull);
    faults.check_disk(10).unwrap();
    assert_eq!(faults.status(0)[0].struck, 1);
    faults.set(Vec::new(), 0).unwrap();
    faults.check_disk(0).unwrap();
}

#[test]
fn an_action_happens_once_or_each_time_within_its_duration() {
    let faults = Faults::default();
    let jump = FaultRule { jump_ms: -5, ..rule(FaultKind::ClockJump, 1.0) };
    let split = FaultRule { duration_ms: Some(100), names: vec!["s".to_owned()], ..rule(FaultKind::Split, 1.0) };
    faults.set(vec![jump, split, rule(FaultKind::Merge, 0.0)], 0).unwrap();
    let splitting = Action::Split { streams: vec!["s".to_owned()] };
    assert_eq!(faults.due_actions(0), [Action::ClockJump { by_ms: -5 }, splitting.clone()]);
    assert_eq!(faults.due_actions(99), [splitting]);
    assert_eq!(faults.due_actions(100), []);
    let left: Vec<Option<i64>> = faults.status(40).iter().map(|status| status.left_ms).collect();
    assert_eq!(left, [Some(0), Some(60), Some(0)], "what happens once is over");
}

#[test]
fn bad_rules_are_refused_and_the_old_ones_hold() {
    let faults = Faults::default();
    faults.set(vec![rule(FaultKind::Hang, 1.0)], 0).unwrap();
    for probability in [-0.1, 1.1, f64::NAN] {
        assert!(matches!(faults.set(vec![rule(FaultKind::Slow, probability)], 0), Err(FaultError::Probability { .. })));
    }
    let slow = FaultRule { delay_ms: 600_001, ..rule(FaultKind::Slow, 1.0) };
    assert_eq!(faults.set(vec![slow], 0), Err(FaultError::Delay { delay_ms: 600_001 }));
    for jump_ms in [0, i64::MIN, 401 * 86_400_000] {
        let jump = FaultRule { jump_ms, ..rule(FaultKind::ClockJump, 1.0) };
        assert_eq!(faults.set(vec![jump], 0), Err(FaultError::Jump { jump_ms }));
    }
    let many = vec![rule(FaultKind::Slow, 1.0); 65];
    assert_eq!(faults.set(many, 0), Err(FaultError::TooMany { count: 65 }));
    assert_eq!(faults.strike(KINESIS, "PutRecords", 0), Fate::Hang);
    let unknown = serde_json::from_str::<FaultRule>(r#"{"kind":"slow","delay":5}"#);
    assert!(unknown.is_err(), "a misspelt member is no rule");
}
