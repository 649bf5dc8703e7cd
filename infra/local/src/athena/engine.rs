//! One query in the engine: a session with Trino's ways, the plan checked, and a stream of rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::datatypes::SchemaRef;
use datafusion::common::TableReference;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::object_store::local::LocalFileSystem;
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream, execute_stream};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement as Planned;
use datafusion::sql::sqlparser::ast::{Query, Statement as Ast};

use super::catalog::{CATALOG, GlueCatalog};
use super::error::QueryError;
use super::{functions, rewrite, semantics, table};
use crate::glue::Glue;
use crate::s3::S3;

/// What all queries together may hold in memory, in bytes; beyond, they spill to disk.
const MEMORY_BYTES: usize = 2 << 30;
/// Parts that one query runs in at the same time.
const PARALLELISM: usize = 2;

/// What queries share.
#[derive(Debug, Clone)]
pub(super) struct Engine {
    glue: Glue,
    s3: S3,
    runtime: Arc<RuntimeEnv>,
}

/// A query that has begun to give rows.
pub(super) struct Running {
    pub(super) schema: SchemaRef,
    pub(super) rows: SendableRecordBatchStream,
    plan: Arc<dyn ExecutionPlan>,
    json_bytes: Arc<AtomicU64>,
}

impl Running {
    /// Bytes read so far.
    pub(super) fn scanned(&self) -> u64 {
        parquet_bytes(&self.plan) + self.json_bytes.load(Ordering::Relaxed)
    }
}

impl Engine {
    pub(super) fn new(glue: Glue, s3: S3) -> Result<Self, QueryError> {
        let runtime =
            RuntimeEnvBuilder::new().with_memory_pool(Arc::new(FairSpillPool::new(MEMORY_BYTES))).build_arc()?;
        let store = LocalFileSystem::new_with_prefix(s3.objects_dir());
        let store = store.map_err(|error| QueryError::system(&error.to_string()))?;
        runtime.register_object_store(ObjectStoreUrl::parse(table::STORE)?.as_ref(), Arc::new(store));
        Ok(Self { glue, s3, runtime })
    }

    pub(super) fn glue(&self) -> &Glue {
        &self.glue
    }

    /// Plans and starts a query.
    pub(super) async fn start(
        &self,
        mut query: Box<Query>,
        database: &str,
        now_ms: i64,
    ) -> Result<Running, QueryError> {
        rewrite::rewrite(&mut query)?;
        let json_bytes = Arc::new(AtomicU64::new(0));
        let databases = self.glue.database_names().await.map_err(|error| QueryError::system(&error.message))?;
        let catalog = GlueCatalog {
            glue: self.glue.clone(),
            s3: self.s3.clone(),
            databases,
            now_ms,
            json_bytes: Arc::clone(&json_bytes),
        };
        let context = self.session(database);
        functions::register(&context);
        let state = context.state();
        let statement = Planned::Statement(Box::new(Ast::Query(query)));
        for reference in state.resolve_table_references(&statement)? {
            check_table(&catalog, &reference, database).await?;
        }
        state.catalog_list().register_catalog(CATALOG.to_owned(), Arc::new(catalog));
        let plan = semantics::rewrite(state.statement_to_plan(statement).await?)?;
        let plan = state.create_physical_plan(&plan).await?;
        let rows = execute_stream(Arc::clone(&plan), state.task_ctx())?;
        Ok(Running { schema: rows.schema(), rows, plan, json_bytes })
    }

    fn session(&self, database: &str) -> SessionContext {
        let mut config = SessionConfig::new()
            .with_target_partitions(PARALLELISM)
            .with_default_catalog_and_schema(CATALOG, database)
            .with_create_default_catalog_and_schema(false)
            .with_information_schema(false);
        let options = config.options_mut();
        options.sql_parser.parse_float_as_decimal = true;
        options.sql_parser.map_string_types_to_utf8view = false;
        "nulls_last".clone_into(&mut options.sql_parser.default_null_ordering);
        options.execution.time_zone = Some("+00:00".to_owned());
        options.execution.parquet.pushdown_filters = true;
        options.execution.parquet.reorder_filters = true;
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(Arc::clone(&self.runtime))
            .with_default_features()
            .build();
        SessionContext::new_with_state(state)
    }
}

/// Says of a table that is not there what Athena says, before the engine says it in its own words.
async fn check_table(catalog: &GlueCatalog, reference: &TableReference, database: &str) -> Result<(), QueryError> {
    let (schema, table) = (reference.schema().unwrap_or(database), reference.table());
    if reference.catalog().is_some_and(|name| name != CATALOG) {
        let name = reference.catalog().unwrap_or_default();
        return Err(QueryError::user("CATALOG_NOT_FOUND", &format!("Catalog '{name}' does not exist")));
    }
    let names = catalog.glue.table_names(schema).await.map_err(|error| QueryError::system(&error.message))?;
    match names {
        None => Err(QueryError::user("SCHEMA_NOT_FOUND", &format!("Schema '{schema}' does not exist"))),
        Some(names) if names.iter().any(|name| name == table) => Ok(()),
        Some(_) => {
            let message = format!("Table '{CATALOG}.{schema}.{table}' does not exist");
            Err(QueryError::user("TABLE_NOT_FOUND", &message))
        }
    }
}

fn parquet_bytes(plan: &Arc<dyn ExecutionPlan>) -> u64 {
    let own = plan.metrics().and_then(|metrics| metrics.sum_by_name("bytes_scanned"));
    let own = own.and_then(|bytes| u64::try_from(bytes.as_usize()).ok()).unwrap_or_default();
    own + plan.children().into_iter().map(parquet_bytes).sum::<u64>()
}
