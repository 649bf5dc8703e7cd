//! Functions that clients made from archives, kept over restarts in `lambda-functions/`, each with its code beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::code::{Code, CodeError, unpack};
use super::destination::Destination;
use super::function::FunctionConfig;
use crate::clock::Clock;
use crate::data_dir::replace_file;
use crate::faults::Faults;

const FILE: &str = "functions.json";
/// How long a function is `Pending`, and its change `InProgress`: seen by whoever looks, waited for by nobody.
const TRANSITION_MS: i64 = 200;

/// A function with all that its owner said of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Definition {
    pub(super) name: String,
    pub(super) runtime: String,
    pub(super) role: String,
    pub(super) handler: String,
    pub(super) description: String,
    pub(super) timeout_s: u64,
    pub(super) memory_mb: u32,
    pub(super) variables: BTreeMap<String, String>,
    pub(super) dead_letter: Option<Destination>,
    pub(super) storage_mb: u32,
    pub(super) tracing: String,
    pub(super) tags: BTreeMap<String, String>,
    /// The folder of its code, within the registry's.
    pub(super) code: String,
    pub(super) code_bytes: u64,
    pub(super) code_sha256: String,
    pub(super) modified_ms: i64,
    /// Changes with each change.
    pub(super) revision: String,
}

/// In between states, for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It was just made, and cannot be called.
    Pending,
    /// It was just changed, and cannot be changed.
    InProgress,
    Ready,
}

/// All of them. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Registry {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    root: PathBuf,
    /// Held while the file is written, on the blocking pool; never across an await.
    held: Mutex<Held>,
    faults: Faults,
    clock: Clock,
}

#[derive(Debug, Default)]
struct Held {
    definitions: BTreeMap<String, Definition>,
    /// Until when a function is in between states.
    phases: BTreeMap<String, (Phase, i64)>,
}

impl Definition {
    /// What is run.
    pub(super) fn config(&self, root: &Path) -> FunctionConfig {
        FunctionConfig {
            handler: self.handler.clone(),
            memory_mb: self.memory_mb,
            timeout: Duration::from_secs(self.timeout_s),
            environment: self.variables.clone(),
            dead_letter: self.dead_letter.clone(),
            ..FunctionConfig::new(&self.name, root.join(&self.code).join("bootstrap"))
        }
    }

    /// The same with other code.
    pub(super) fn with_code(self, code: &Code) -> Self {
        let dir = code.dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { code: dir, code_bytes: code.bytes, code_sha256: code.sha256.clone(), ..self }
    }
}

impl Registry {
    /// Reads what was kept, and removes code that is nobody's. Blocks.
    pub(super) fn open(root: PathBuf, faults: Faults, clock: Clock) -> io::Result<Self> {
        fs::create_dir_all(&root)?;
        let definitions: BTreeMap<String, Definition> = match fs::read(root.join(FILE)) {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        let used: BTreeSet<&str> = definitions.values().map(|definition| definition.code.as_str()).collect();
        for entry in fs::read_dir(&root)? {
            let entry = entry?;
            let is_used = used.contains(entry.file_name().to_string_lossy().as_ref());
            if entry.file_type()?.is_dir() && !is_used {
                fs::remove_dir_all(entry.path())?;
            }
        }
        let held = Mutex::new(Held { definitions, phases: BTreeMap::new() });
        Ok(Self { shared: Arc::new(Shared { root, held, faults, clock }) })
    }

    pub(super) fn root(&self) -> &Path {
        &self.shared.root
    }

    pub(super) fn all(&self) -> Vec<Definition> {
        self.shared.held().definitions.values().cloned().collect()
    }

    pub(super) fn get(&self, name: &str) -> Option<Definition> {
        self.shared.held().definitions.get(name).cloned()
    }

    pub(super) fn phase(&self, name: &str) -> Phase {
        let now_ms = self.shared.clock.now_ms();
        let phase = self.shared.held().phases.get(name).copied();
        // A clock that jumps back holds nobody up.
        phase
            .filter(|(_, until_ms)| (1..=TRANSITION_MS).contains(&(until_ms - now_ms)))
            .map_or(Phase::Ready, |(phase, _)| phase)
    }

    /// The archives of all functions together.
    pub(super) fn code_bytes(&self) -> u64 {
        self.shared.held().definitions.values().map(|definition| definition.code_bytes).sum()
    }

    /// Unpacks an archive; what it becomes is nobody's yet.
    pub(super) async fn unpack(&self, archive: Vec<u8>) -> Result<Code, CodeError> {
        let shared = Arc::clone(&self.shared);
        let unpacking = tokio::task::spawn_blocking(move || {
            shared.faults.check_disk(shared.clock.now_ms())?;
            unpack(&shared.root, &archive)
        });
        unpacking.await.map_err(io::Error::other)?
    }

    /// Keeps a definition, durable when this returns; with `phase` it is in between states for a while.
    pub(super) async fn put(&self, definition: Definition, phase: Phase) -> io::Result<()> {
        self.write(move |held, until_ms| {
            held.phases.insert(definition.name.clone(), (phase, until_ms));
            held.definitions.insert(definition.name.clone(), definition);
        })
        .await
    }

    /// Forgets a definition; its code is removed later.
    pub(super) async fn remove(&self, name: &str) -> io::Result<()> {
        let name = name.to_owned();
        self.write(move |held, _| {
            held.phases.remove(&name);
            held.definitions.remove(&name);
        })
        .await
    }

    /// Removes code that no function has, when no invocation can have it open. Another start does it as well.
    pub(super) fn remove_code_later(&self, code: String) {
        let dir = self.shared.root.join(code);
        tokio::spawn(async move {
            tokio::time::sleep(super::TIMEOUT_MAX).await;
            if let Err(error) = tokio::fs::remove_dir_all(&dir).await {
                tracing::warn!(%error, dir = %dir.display(), "old code of a function stays for now");
            }
        });
    }

    async fn write(&self, change: impl FnOnce(&mut Held, i64) + Send + 'static) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let writing = tokio::task::spawn_blocking(move || {
            let mut held = shared.held();
            let now_ms = shared.clock.now_ms();
            let mut changed = Held { definitions: held.definitions.clone(), phases: held.phases.clone() };
            change(&mut changed, now_ms.saturating_add(TRANSITION_MS));
            shared.faults.check_disk(now_ms)?;
            replace_file(&shared.root.join(FILE), &serde_json::to_vec_pretty(&changed.definitions)?)?;
            *held = changed;
            Ok(())
        });
        writing.await.map_err(io::Error::other)?
    }
}

impl Shared {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
