//! Questions to the tables: [`report`] holds the named ones, [`athena`] asks any, [`mod@format`] shows the answers.

pub mod athena;
pub mod format;
pub mod report;
pub mod result;
