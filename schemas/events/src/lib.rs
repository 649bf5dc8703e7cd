//! The events of the pipeline: what is received, what travels on the streams, and the tables it ends in.
//!
//! Reading order: [`json`] (a borrowed tree of a body), [`validate`] (which bodies are accepted), [`event_id`] and
//! [`envelope`] (an event on the raw stream), [`screen`] and [`enriched`] (an event on the enriched stream),
//! [`failed`] (what could not be processed), [`table`] (where the rows go).

pub mod ad_request;
mod code_list;
pub mod country;
pub mod currency;
pub mod dooh;
pub mod enriched;
pub mod envelope;
pub mod event_id;
pub mod failed;
pub mod json;
pub mod money;
pub mod screen;
pub mod table;
pub mod time;
pub mod validate;
pub mod venue;
pub mod violation;
