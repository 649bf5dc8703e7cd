//! Databases, tables and partitions: in memory for reading, on disk before a change is answered.
//!
//! `<db>/database.json`, `<db>/<table>/table.json`, `<db>/<table>/partitions.log`. A table comes and goes by one
//! rename of its directory. Everything here blocks and runs on the blocking pool.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::GlueError;
use super::expression::PartitionKey;
use super::partition_log::{Change, PartitionLog, Partitions};
use crate::data_dir;
use crate::meter::Sizes;

/// What is kept in memory has a bound; AWS's own quotas are far above (10 million partitions a table).
pub(super) const MAX_DATABASES: usize = 1_000;
pub(super) const MAX_TABLES: usize = 10_000;
pub(super) const MAX_PARTITIONS: usize = 1_000_000;

/// A database as it lies on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct DatabaseEntry {
    /// `DatabaseInput` as it was given.
    pub(super) input: Value,
    pub(super) created_s: i64,
}

/// A table as it lies on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct TableEntry {
    /// `TableInput` as it was given.
    pub(super) input: Value,
    pub(super) version: u64,
    pub(super) created_s: i64,
    pub(super) updated_s: i64,
}

impl TableEntry {
    /// The partition keys; a key without a type is a string.
    pub(super) fn partition_keys(&self) -> Vec<PartitionKey> {
        let keys = self.input.get("PartitionKeys").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        keys.iter()
            .filter_map(|key| {
                let text = |field: &str| key.get(field).and_then(Value::as_str);
                Some(PartitionKey { name: text("Name")?.to_owned(), kind: text("Type").unwrap_or("string").to_owned() })
            })
            .collect()
    }
}

#[derive(Debug)]
pub(super) struct Table {
    pub(super) entry: Arc<TableEntry>,
    pub(super) partitions: Partitions,
    log: PartitionLog,
}

#[derive(Debug)]
pub(super) struct Database {
    pub(super) entry: DatabaseEntry,
    pub(super) tables: BTreeMap<String, Table>,
}

#[derive(Debug)]
pub(super) struct Catalog {
    root: PathBuf,
    databases: BTreeMap<String, Database>,
    /// How many partitions the batches had.
    pub(super) batches: Batches,
}

/// Partitions of one call.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Batches {
    pub(super) create: Sizes,
    pub(super) get: Sizes,
    pub(super) update: Sizes,
    pub(super) delete: Sizes,
}

impl Catalog {
    pub(super) fn open(root: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&root)?;
        let mut databases = BTreeMap::new();
        for (name, path) in entries(&root)? {
            let entry = serde_json::from_slice(&fs::read(path.join("database.json"))?)?;
            let mut tables = BTreeMap::new();
            for (name, path) in entries(&path)? {
                let entry = serde_json::from_slice(&fs::read(path.join("table.json"))?)?;
                let (log, partitions) = PartitionLog::open(&path.join("partitions.log"))?;
                tables.insert(name, Table { entry: Arc::new(entry), partitions, log });
            }
            databases.insert(name, Database { entry, tables });
        }
        Ok(Self { root, databases, batches: Batches::default() })
    }

    pub(super) fn databases(&self) -> &BTreeMap<String, Database> {
        &self.databases
    }

    pub(super) fn database(&self, name: &str) -> Result<&Database, GlueError> {
        self.databases.get(name).ok_or_else(|| GlueError::NoDatabase { name: name.to_owned() })
    }

    pub(super) fn table(&self, database: &str, name: &str) -> Result<&Table, GlueError> {
        let table = self.database(database)?.tables.get(name);
        table.ok_or_else(|| GlueError::NoTable { name: name.to_owned() })
    }

    pub(super) fn create_database(&mut self, name: String, entry: DatabaseEntry) -> Result<(), GlueError> {
        if self.databases.contains_key(&name) {
            return Err(GlueError::DatabaseExists { name });
        }
        if self.databases.len() >= MAX_DATABASES {
            return Err(GlueError::TooMany { what: "databases", limit: MAX_DATABASES });
        }
        self.appear(&self.root.join(&name), "database.json", &entry)?;
        self.databases.insert(name, Database { entry, tables: BTreeMap::new() });
        Ok(())
    }

    pub(super) fn update_database(&mut self, name: &str, input: Value) -> Result<(), GlueError> {
        let entry = DatabaseEntry { input, created_s: self.database(name)?.entry.created_s };
        data_dir::replace_file(&self.root.join(name).join("database.json"), &json(&entry)?)?;
        self.database_mut(name)?.entry = entry;
        Ok(())
    }

    pub(super) fn delete_database(&mut self, name: &str) -> Result<(), GlueError> {
        self.database(name)?;
        self.vanish(&self.root.join(name))?;
        self.databases.remove(name);
        Ok(())
    }

    pub(super) fn create_table(&mut self, database: &str, name: String, entry: TableEntry) -> Result<(), GlueError> {
        let tables = &self.database(database)?.tables;
        if tables.contains_key(&name) {
            return Err(GlueError::TableExists { name });
        }
        if tables.len() >= MAX_TABLES {
            return Err(GlueError::TooMany { what: "tables in a database", limit: MAX_TABLES });
        }
        let path = self.root.join(database).join(&name);
        self.appear(&path, "table.json", &entry)?;
        let (log, partitions) = PartitionLog::open(&path.join("partitions.log"))?;
        self.database_mut(database)?.tables.insert(name, Table { entry: Arc::new(entry), partitions, log });
        Ok(())
    }

    /// Replaces a table if nobody has since `expected_version` was read.
    pub(super) fn update_table(
        &mut self,
        (database, name): (&str, &str),
        input: Value,
        expected_version: Option<&str>,
        now_s: i64,
    ) -> Result<(), GlueError> {
        let old = &self.table(database, name)?.entry;
        let found = old.version.to_string();
        if expected_version.is_some_and(|expected| expected != found) {
            return Err(GlueError::VersionMoved { name: name.to_owned(), found });
        }
        let entry = TableEntry { input, version: old.version + 1, created_s: old.created_s, updated_s: now_s };
        let path = self.root.join(database).join(name).join("table.json");
        data_dir::replace_file(&path, &json(&entry)?)?;
        self.table_mut(database, name)?.entry = Arc::new(entry);
        Ok(())
    }

    pub(super) fn delete_table(&mut self, database: &str, name: &str) -> Result<(), GlueError> {
        self.table(database, name)?;
        self.vanish(&self.root.join(database).join(name))?;
        self.database_mut(database)?.tables.remove(name);
        Ok(())
    }

    /// Makes changes to partitions, all durable when this returns.
    pub(super) fn change(&mut self, database: &str, name: &str, changes: Vec<Change>) -> Result<(), GlueError> {
        if changes.is_empty() {
            return Ok(());
        }
        let table = self.table_mut(database, name)?;
        if table.partitions.len() + changes.len() > MAX_PARTITIONS {
            return Err(GlueError::TooMany { what: "partitions of a table", limit: MAX_PARTITIONS });
        }
        table.log.append(&changes)?;
        for change in changes {
            change.apply(&mut table.partitions);
        }
        Ok(())
    }

    fn database_mut(&mut self, name: &str) -> Result<&mut Database, GlueError> {
        self.databases.get_mut(name).ok_or_else(|| GlueError::NoDatabase { name: name.to_owned() })
    }

    fn table_mut(&mut self, database: &str, name: &str) -> Result<&mut Table, GlueError> {
        let table = self.database_mut(database)?.tables.get_mut(name);
        table.ok_or_else(|| GlueError::NoTable { name: name.to_owned() })
    }

    /// Makes a directory with one file in it, both or nothing.
    fn appear<T: Serialize>(&self, path: &Path, file: &str, content: &T) -> Result<(), GlueError> {
        let new = self.root.join(format!(".new-{}", Uuid::now_v7().simple()));
        fs::create_dir(&new)?;
        data_dir::replace_file(&new.join(file), &json(content)?)?;
        fs::rename(&new, path)?;
        Ok(path.parent().map_or(Ok(()), data_dir::sync_dir)?)
    }

    fn vanish(&self, path: &Path) -> Result<(), GlueError> {
        let old = self.root.join(format!(".old-{}", Uuid::now_v7().simple()));
        fs::rename(path, &old)?;
        path.parent().map_or(Ok(()), data_dir::sync_dir)?;
        Ok(fs::remove_dir_all(&old)?)
    }
}

fn json<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    Ok(serde_json::to_vec(value)?)
}

/// The directories in a directory. Those that begin with a point are left-overs of a crash, and are removed.
fn entries(directory: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            continue;
        }
        let name =
            entry.file_name().into_string().map_err(|_name| io::Error::other("a catalog entry's name is not UTF-8"))?;
        if name.starts_with('.') {
            fs::remove_dir_all(entry.path())?;
        } else {
            found.push((name, entry.path()));
        }
    }
    Ok(found)
}
