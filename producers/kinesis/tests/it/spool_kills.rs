//! SIGKILL in the middle of everything: nothing that was acknowledged as durable is lost.

use std::{path::Path, process::Command};

use crate::kills::{Plan, live, run};

/// How the test below hands a child what it needs.
const VARIABLES: [&str; 3] = ["SPOOL_KILLS_FOLDER", "SPOOL_KILLS_ENDPOINT", "SPOOL_KILLS_LIFE"];

/// The child of the test below. Without the parent's variables it has nothing to do.
#[tokio::test]
async fn child() {
    #[expect(clippy::disallowed_methods, reason = "a test that starts itself has no other way to hand values over")]
    let values = VARIABLES.map(std::env::var);
    if let [Ok(folder), Ok(endpoint), Ok(life)] = values {
        live(Path::new(&folder), &endpoint, life.parse().unwrap()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_over_kills() {
    let plan = Plan { kills: 6, records_per_life: 3_000, shards: 8, seed: 1 };
    let report = run(plan, |folder, endpoint, life| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["spool_kills::child", "--exact", "--nocapture"]);
        command.envs([(VARIABLES[0], folder.to_str().unwrap()), (VARIABLES[1], endpoint)]);
        command.env(VARIABLES[2], life.to_string());
        command
    })
    .await;
    assert_eq!((report.lost, report.inversions), (0, 0), "{report:?}");
    assert_eq!((report.read_twice, report.not_read), (0, 0), "{report:?}");
    assert!(report.repeats > 0 && report.records_left_out > 0, "there was something to remove: {report:?}");
    assert!(report.acknowledged >= 6 * 1_500 && report.spooled > 1_500, "{report:?}");
}
