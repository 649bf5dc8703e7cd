//! The table that records are converted by, as it is when a buffer is delivered.

use arrow::datatypes::Fields;
use serde_json::{Value, json};

use crate::firehose::FirehoseError;
use crate::firehose::conversion::{self, Conversion};
use crate::firehose::failed::Reason;
use crate::glue::Glue;

/// What records are converted to.
#[derive(Debug)]
pub(super) struct Schema {
    /// Without them no record can be converted, for this reason.
    pub(super) columns: Result<Fields, Reason>,
    /// How failed records name the table.
    pub(super) named: Value,
}

/// Looks the table up; `fixed` is that of the version that was asked for.
///
/// # Errors
/// When the catalog does not answer. A table that is missing is no error but a reason.
pub(super) async fn find(conversion: &Conversion, fixed: Option<&Value>, glue: &Glue) -> Result<Schema, FirehoseError> {
    let (database, table) = (conversion.database.as_str(), conversion.table.as_str());
    let named = json!({
        "catalogId": conversion.catalog_id,
        "databaseName": database,
        "tableName": table,
        "region": conversion.region,
        "versionId": conversion.version.as_deref().unwrap_or("LATEST"),
    });
    let found = match fixed {
        Some(fixed) => Some(fixed.clone()),
        None => glue.table(database, table).await.map_err(|error| FirehoseError::Catalog { what: error.message })?,
    };
    let columns = match found {
        None => {
            let message = format!("Table {table} of database {database} not found.");
            Err(Reason { code: "DataFormatConversion.EntityNotFoundException", message })
        }
        Some(input) => conversion::columns(&input)
            .map_err(|message| Reason { code: "DataFormatConversion.InvalidSchema", message }),
    };
    Ok(Schema { columns, named })
}
