//! Which partitions a query needs: its filters over the partition keys, evaluated before any file is looked for.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, ScalarValue, exec_datafusion_err};
use datafusion::error::Result;
use datafusion::logical_expr::Expr;

/// A partition with its typed values.
#[derive(Debug, Clone)]
pub(super) struct Partition {
    pub(super) values: Vec<ScalarValue>,
    /// Where its files lie; a text that is no location of S3 is an error only when the partition is read.
    pub(super) location: String,
}

/// What Hive writes for null.
const NULL_VALUE: &str = "__HIVE_DEFAULT_PARTITION__";

/// Reads a partition's value in the type of its key.
pub(super) fn typed(value: &str, kind: &DataType) -> Result<ScalarValue> {
    if value == NULL_VALUE {
        return ScalarValue::try_from(kind);
    }
    ScalarValue::try_from_string(value.to_owned(), kind).map_err(|_invalid| {
        exec_datafusion_err!("HIVE_INVALID_PARTITION_VALUE: Invalid partition value '{value}' for {kind}")
    })
}

/// Keeps the partitions for which every filter may hold. The filters name partition keys only.
pub(super) fn prune(
    state: &dyn Session,
    keys: &[Field],
    partitions: Vec<Partition>,
    filters: &[Expr],
) -> Result<Vec<Partition>> {
    if filters.is_empty() || partitions.is_empty() {
        return Ok(partitions);
    }
    let schema = Arc::new(Schema::new(keys.to_vec()));
    let columns: Vec<ArrayRef> = (0..keys.len())
        .map(|key| ScalarValue::iter_to_array(partitions.iter().filter_map(|one| one.values.get(key).cloned())))
        .collect::<Result<_>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(partitions.len()));
    let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options)?;
    let names = DFSchema::try_from(schema)?;
    let mut wanted = vec![true; partitions.len()];
    for filter in filters {
        let filter = state.create_physical_expr(unqualified(filter.clone())?, &names)?;
        let holds = filter.evaluate(&batch)?.into_array(partitions.len())?;
        for (wanted, holds) in wanted.iter_mut().zip(holds.as_boolean().iter()) {
            // A null is no match, as in WHERE.
            *wanted &= holds == Some(true);
        }
    }
    Ok(partitions.into_iter().zip(wanted).filter(|(_, wanted)| *wanted).map(|(partition, _)| partition).collect())
}

/// Column names without their table: the batch has no table.
pub(super) fn unqualified(filter: Expr) -> Result<Expr> {
    use datafusion::common::tree_node::{Transformed, TreeNode as _};
    let plain = filter.transform(|expr| {
        Ok(match expr {
            Expr::Column(column) => Transformed::yes(Expr::Column(datafusion::common::Column::from_name(column.name))),
            other => Transformed::no(other),
        })
    })?;
    Ok(plain.data)
}
