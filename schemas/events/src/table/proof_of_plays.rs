//! The table of proofs of play.

use super::ColumnType::{Bool, Int64, Text, Timestamp};
use super::event::{columns, member, multiplier_e4, with_screen};
use super::{Column, Storage, Table};

/// One row an accepted `proof_of_play`.
pub static PROOF_OF_PLAYS: Table = Table {
    name: "proof_of_plays",
    grain: "one play of an ad on a screen",
    storage: Storage::Parquet,
    columns: &COLUMNS,
    key: &["event_id"],
    sort: &["adunit_id", "event_ts"],
};

const COLUMNS: [Column; 33] = columns(with_screen::<13, 21>([
    member("play_id", Text, &["play_id"], "player's id of the play"),
    member("adunit_id", Text, &["adunit_id"], "ad unit that showed it"),
    member("imp_id", Text, &["imp_id"], "imp that it fills"),
    member("dsp_id", Text, &["dsp_id"], "bidder whose ad it is"),
    member("crid", Text, &["crid"], "creative that was shown"),
    member("imp_ts", Timestamp, &["imp_ts"], "when the play began"),
    member("end_ts", Timestamp, &["end_ts"], "when it ended"),
    member("played_ms", Int64, &["played_ms"], "how long it was shown"),
    member("play_status", Text, &["play_status"], "completed, interrupted, failed or not_played"),
    multiplier_e4("multiplier_e4", &["multiplier"], "impressions that the play counts for, in ten-thousandths"),
    member("player_version", Text, &["player_version"], "version of the player"),
    member("reported_batch_id", Text, &["reported_batch_id"], "batch in which the player reported it"),
    member("test", Bool, &["test"], "not billable"),
]));
