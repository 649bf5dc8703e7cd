//! Questions to the tables: [`mod@report`] holds the named ones, [`athena`] asks any, [`mod@format`] shows the answers.

pub mod athena;
pub mod format;
pub mod report;
pub mod result;

pub use athena::{Athena, QueryError};
pub use report::{Report, report, reports};
pub use result::QueryResult;
