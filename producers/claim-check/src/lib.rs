//! Claim check: an event larger than a record of its stream is stored whole in S3, and a pointer to it travels.
//!
//! [`mod@pointer`] is the format of what travels, [`bucket`] where the events lie, [`failed`] what becomes of
//! failed events of that size. Whoever puts events on a stream asks
//! [`ClaimChecks::fits`] and, where not, [`ClaimChecks::check_in`]; whoever reads records gives each that
//! [`is_pointer`] to [`ClaimChecks::redeem`], and goes on with the event as if it had come by itself.

pub mod bucket;
pub mod failed;
pub mod pointer;

pub use bucket::{CheckInError, ClaimChecks, RedeemError, Stream};
pub use failed::LargeFailedEvents;
pub use pointer::{Claim, is_pointer};
