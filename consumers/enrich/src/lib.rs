//! Enrichment: from the raw stream to the enriched one.
//!
//! [`screens`] is the reference data, [`calculate`] the arithmetic of one event, [`handle`] a batch,
//! [`failed`] where bad data goes, [`config`] the settings of the Lambda function.

pub mod calculate;
pub mod config;
pub mod failed;
pub mod handle;
pub mod screens;

pub use config::Config;
pub use handle::Enricher;
