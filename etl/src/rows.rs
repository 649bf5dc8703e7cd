//! From an enriched event to the rows of its table, and those of the table of its parts (imps, bids).
//!
//! An event is checked whole before its first value is appended: it becomes all of its rows or none.

mod ad_request;
mod event;
mod imp;

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use events::ad_request::AdRequest;
use events::enriched::Enrichment;
use events::envelope::{Envelope, Event, EventError, EventType};
use events::failed::FailureType;
use events::json::{Json, JsonError};
use events::table::{AD_REQUESTS, IMPS, Table, of_event};

use crate::columns::TableRows;
use crate::hour::Hour;

/// Rows under construction, by hour.
#[derive(Debug, Default)]
pub struct Rows {
    hours: BTreeMap<Hour, HourRows>,
}

/// Rows of one table and hour.
pub type HourBatch = (&'static Table, Hour, RecordBatch);

#[derive(Debug, Default)]
struct HourRows {
    /// Of the tables that have any, in the order in which they were met.
    tables: Vec<(&'static Table, TableRows)>,
}

/// An event, checked and ready to become rows.
struct Checked<'e, 'j> {
    envelope: &'e Envelope<'e>,
    enrichment: &'e Enrichment<'e>,
    body: &'e str,
    request: AdRequest<'e, 'j>,
    event_id: String,
}

/// Why a record of the enriched stream gives no rows. It will give none at the next attempt either.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    /// No event.
    #[error("read the event")]
    Event(#[from] EventError),
    /// Its body is not JSON.
    #[error("read the body")]
    Body(#[from] JsonError),
    /// It was never enriched.
    #[error("the event carries no enrichment")]
    NotEnriched,
    /// Its enrichment is that of another request.
    #[error("the body has {body} imps and the enrichment {enrichment}")]
    ImpsDiffer {
        /// In the body.
        body: usize,
        /// In the enrichment.
        enrichment: usize,
    },
    /// It is of a type that has no table.
    #[error("the event is of a type that is not enriched")]
    NoTable,
    /// It happened outside the years 1970 to 9999.
    #[error("the event's time is out of range")]
    TimeOutOfRange,
}

impl RowError {
    /// What kind of failed event the record becomes.
    pub fn failure_type(&self) -> FailureType {
        match self {
            RowError::Event(_) | RowError::Body(_) => FailureType::JsonSyntax,
            RowError::NotEnriched | RowError::ImpsDiffer { .. } | RowError::NoTable | RowError::TimeOutOfRange => {
                FailureType::SchemaViolation
            }
        }
    }

    /// The code of the failed event.
    pub fn code(&self) -> &'static str {
        match self {
            RowError::Event(_) => "event",
            RowError::Body(_) => "body",
            RowError::NotEnriched => "enrichment",
            RowError::ImpsDiffer { .. } => "enrichment.imps",
            RowError::NoTable => "event_type",
            RowError::TimeOutOfRange => "enrichment.event_ts",
        }
    }
}

impl Rows {
    /// Appends the rows of one record of the enriched stream.
    ///
    /// # Errors
    /// When it is no enriched event; nothing has been appended then.
    pub fn append(&mut self, record: &[u8]) -> Result<(), RowError> {
        let event = Event::read(record)?;
        let body = event.original_body()?;
        let json = Json::parse(body.as_bytes())?;
        let request = AdRequest::new(&json);
        let enrichment = event.envelope.enrichment.as_ref().ok_or(RowError::NotEnriched)?;
        let table = of_event(event.envelope.event_type).ok_or(RowError::NoTable)?;
        let is_ad_request = event.envelope.event_type == EventType::AdRequest;
        let imps = if is_ad_request { request.imps().count() } else { 0 };
        if imps != enrichment.imps.len() {
            return Err(RowError::ImpsDiffer { body: imps, enrichment: enrichment.imps.len() });
        }
        let hour = Hour::of(enrichment.event_ts).ok_or(RowError::TimeOutOfRange)?;
        let event_id = event.envelope.event_id.to_string();
        let checked = Checked { envelope: &event.envelope, enrichment, body: &body, request, event_id };
        let rows = self.hours.entry(hour).or_default();
        if is_ad_request {
            ad_request::append(rows.table(&AD_REQUESTS), &checked);
            imp::append(rows.table(&IMPS), &checked);
        } else {
            event::append(rows, table, &checked, &json);
        }
        Ok(())
    }

    /// All rows, one batch for each table and hour that has any.
    ///
    /// # Errors
    /// Only if the rows do not fit Arrow's 2 GiB of text a column, which no batch of a stream does.
    pub fn finish(self) -> Result<Vec<HourBatch>, ArrowError> {
        let mut batches = Vec::with_capacity(self.hours.len() * 2);
        for (hour, rows) in self.hours {
            for (table, rows) in rows.tables {
                if rows.rows() > 0 {
                    batches.push((table, hour, rows.finish()?));
                }
            }
        }
        Ok(batches)
    }
}

impl HourRows {
    /// The rows of a table, of which there are none yet at first.
    fn table(&mut self, table: &'static Table) -> &mut TableRows {
        let at = self.tables.iter().position(|(other, _)| std::ptr::eq(*other, table));
        let at = at.unwrap_or_else(|| {
            self.tables.push((table, TableRows::new(table)));
            self.tables.len() - 1
        });
        let (_, rows) = self.tables.get_mut(at).expect("it was found there or just put there");
        rows
    }
}

/// A number that a 32-bit column holds; what is beyond is left out, and stays in the body.
fn int32(number: Option<i64>) -> Option<i32> {
    i32::try_from(number?).ok()
}

#[cfg(test)]
mod tests;
