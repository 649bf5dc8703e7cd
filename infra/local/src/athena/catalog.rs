//! The Glue catalog as the engine sees it: databases are schemas, and a table is made anew for each query.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, SchemaProvider, TableProvider};
use datafusion::common::DataFusionError;
use datafusion::error::Result;

use super::table::{Definition, GlueTable};
use crate::glue::Glue;
use crate::s3::S3;

/// The name of the catalog in SQL.
pub(super) const CATALOG: &str = "awsdatacatalog";

/// The catalog at the beginning of one query.
#[derive(Debug, Clone)]
pub(super) struct GlueCatalog {
    pub(super) glue: Glue,
    pub(super) s3: S3,
    pub(super) databases: Vec<String>,
    pub(super) now_ms: i64,
    pub(super) json_bytes: Arc<AtomicU64>,
}

impl CatalogProvider for GlueCatalog {
    fn schema_names(&self) -> Vec<String> {
        self.databases.clone()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let known = self.databases.iter().any(|database| database == name);
        known
            .then(|| Arc::new(GlueDatabase { catalog: self.clone(), name: name.to_owned() }) as Arc<dyn SchemaProvider>)
    }
}

#[derive(Debug)]
struct GlueDatabase {
    catalog: GlueCatalog,
    name: String,
}

#[async_trait]
impl SchemaProvider for GlueDatabase {
    fn table_names(&self) -> Vec<String> {
        // Only the information schema asks, and that is switched off: SHOW TABLES asks Glue.
        Vec::new()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let GlueCatalog { glue, s3, now_ms, json_bytes, .. } = &self.catalog;
        let input = glue.table(&self.name, name).await.map_err(|error| DataFusionError::External(Box::new(error)))?;
        let Some(input) = input else { return Ok(None) };
        let definition =
            Definition::read(&self.name, name, &input).map_err(|error| DataFusionError::External(Box::new(error)))?;
        let table = GlueTable::new(definition, glue.clone(), s3.clone(), *now_ms, Arc::clone(json_bytes));
        Ok(Some(Arc::new(table)))
    }

    fn table_exist(&self, _name: &str) -> bool {
        // Asked only before a table is made or dropped, which the local Athena does not do.
        false
    }
}
