//! What the catalog limits, and how much of it is used.

use crate::limits::{LimitUse, fullest};
use crate::meter::{Reading, Sizes, count};

use super::catalog::{Catalog, MAX_DATABASES, MAX_PARTITIONS, MAX_TABLES};
use super::operations::partitions::{MAX_CREATE, MAX_DELETE, MAX_GET};

const API: &str = "glue/latest/webapi/";
/// The account's quotas are far above what is kept in memory here.
const OURS: &str = "(of this local cloud: what it keeps in memory)";

/// The sizes of batches, then what the catalog may hold.
pub(super) fn limits(catalog: &Catalog, now_ms: i64) -> Vec<LimitUse> {
    let batches = &catalog.batches;
    let batch = |operation: &str, allowed: usize, sizes: &Sizes| {
        let (limit, source) = (format!("partitions of a {operation}"), format!("{API}API_{operation}.html"));
        LimitUse::new(("glue", &limit), "account", (count(allowed), "partitions"), sizes.read(now_ms), &source)
            .refused(sizes.over())
    };
    let still = |value: usize| Reading { now: count(value), peak: count(value) };
    let tables = catalog.databases().iter();
    let (database, tables, _) =
        fullest(tables.map(|(name, database)| (name.clone(), still(database.tables.len()), 0)), String::new);
    let all = catalog.databases().iter().flat_map(|(database, entry)| {
        entry.tables.iter().map(move |(name, table)| (format!("{database}.{name}"), still(table.partitions.len()), 0))
    });
    let (table, partitions, _) = fullest(all, String::new);
    let holds = |limit: &str, at: String, (allowed, unit): (usize, &str), used: Reading| {
        LimitUse::new(("glue", limit), at, (count(allowed), unit), used, OURS)
    };
    vec![
        batch("BatchCreatePartition", MAX_CREATE, &batches.create),
        batch("BatchUpdatePartition", MAX_CREATE, &batches.update),
        batch("BatchDeletePartition", MAX_DELETE, &batches.delete),
        batch("BatchGetPartition", MAX_GET, &batches.get),
        holds("databases", "account".to_owned(), (MAX_DATABASES, "databases"), still(catalog.databases().len())),
        holds("tables of a database", database, (MAX_TABLES, "tables"), tables),
        holds("partitions of a table", table, (MAX_PARTITIONS, "partitions"), partitions),
    ]
}
