//! From the enriched stream to tables: [`stage`] makes a file of each batch, [`publish`] makes tables of the files.
//!
//! Reading order: [`columns`] and [`rows`] (events as rows), [`parquet_file`] (rows as files), [`layout`] (where files
//! lie), [`stage`], [`publish`], [`catalog`] (what Athena is told), [`audit`] (what was published).

pub mod audit;
pub mod catalog;
pub mod columns;
pub mod config;
pub mod failed;
pub mod hour;
pub mod key;
pub mod layout;
mod object_file;
pub mod parquet_file;
pub mod publish;
pub mod rows;
pub mod stage;
