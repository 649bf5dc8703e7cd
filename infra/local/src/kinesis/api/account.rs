//! `DescribeAccountSettings` and `UpdateAccountSettings`.

use serde::{Deserialize, Serialize};

use crate::kinesis::ACCOUNT;
use crate::kinesis::account::{Account, Commitment, earliest_end_ms};
use crate::kinesis::store::Store;
use crate::kinesis::stream::Stream;
use crate::wire::{Request, ServiceError};

use super::store_failure;
use super::validate::Checks;
use super::value::Timestamp;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateInput {
    minimum_throughput_billing_commitment: Option<CommitmentInput>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CommitmentInput {
    status: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Output {
    minimum_throughput_billing_commitment: CommitmentOutput,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct CommitmentOutput {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    earliest_allowed_end_at: Option<Timestamp>,
}

/// The account's settings.
pub(super) fn describe(store: &Store, request: Request<'_>) -> Result<Vec<u8>, ServiceError> {
    request.answer(&output(store.account(), store.clock().now_ms()))
}

/// Starts or ends the minimum throughput commitment.
pub(super) async fn update(store: &Store, request: Request<'_>) -> Result<Vec<u8>, ServiceError> {
    let input: UpdateInput = request.parse()?;
    let mut checks = Checks::default();
    let commitment = input.minimum_throughput_billing_commitment;
    checks.required("minimumThroughputBillingCommitment", commitment.as_ref().map(|_| ()));
    let is_enabled = checks.required_choice(
        "minimumThroughputBillingCommitment.status",
        commitment.as_ref().and_then(|commitment| commitment.status.as_deref()),
        &[("ENABLED", true), ("DISABLED", false)],
    );
    checks.finish()?;
    if is_enabled == Some(false) {
        refuse_warm_streams(store)?;
    }
    let now_ms = store.clock().now_ms();
    let change = |account: &mut Account| match is_enabled {
        Some(true) => account.enable(now_ms),
        Some(false) | None => account.disable(now_ms),
    };
    let account = store.set_account(change).await.map_err(|error| store_failure(&error))?;
    request.answer(&output(account, now_ms))
}

/// Warm throughput belongs to the commitment: it is given up first.
fn refuse_warm_streams(store: &Store) -> Result<(), ServiceError> {
    let is_warm = |stream: &&Stream| stream.state().settings.warm_mibps.is_some_and(|mibps| mibps > 0);
    match store.list().iter().find(is_warm) {
        None => Ok(()),
        Some(stream) => Err(ServiceError::client(
            "ValidationException",
            format!(
                "MinimumThroughputBillingCommitment cannot be disabled while streams have warm throughput: set that of \
                 stream {} under account {ACCOUNT} to 0 first.",
                stream.name()
            ),
        )),
    }
}

fn output(account: Account, now_ms: i64) -> Output {
    let (status, started_ms, ended_ms, is_running) = match account.commitment(now_ms) {
        Commitment::Disabled { started_ms, ended_ms } => ("DISABLED", started_ms, ended_ms, false),
        Commitment::Enabled { started_ms } => ("ENABLED", Some(started_ms), None, true),
        Commitment::Ending { started_ms, .. } => ("ENABLED_UNTIL_EARLIEST_ALLOWED_END", Some(started_ms), None, true),
    };
    Output {
        minimum_throughput_billing_commitment: CommitmentOutput {
            status,
            started_at: started_ms.map(Timestamp),
            ended_at: ended_ms.map(Timestamp),
            earliest_allowed_end_at: started_ms.filter(|_| is_running).map(earliest_end_ms).map(Timestamp),
        },
    }
}
