//! What is set for a function beside what it is, and outlives it being made anew: reserved concurrency, and what becomes
//! of its asynchronous events. Kept in `lambda-settings.json`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::destination::Destination;
use crate::clock::Clock;
use crate::data_dir::replace_file;
use crate::faults::Faults;

/// All functions' settings. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    /// Held while the file is written, on the blocking pool; never across an await.
    held: Mutex<BTreeMap<String, FunctionSettings>>,
    faults: Faults,
    clock: Clock,
}

/// One function's settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FunctionSettings {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reserved_concurrency: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) event_invoke: Option<EventInvoke>,
}

/// What becomes of a function's asynchronous events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EventInvoke {
    pub(super) modified_ms: i64,
    pub(super) maximum_retry_attempts: Option<u32>,
    pub(super) maximum_event_age_in_seconds: Option<u32>,
    pub(super) on_success: Option<Destination>,
    pub(super) on_failure: Option<Destination>,
}

impl Settings {
    /// Reads what was kept; nothing where nothing was. Blocks.
    pub(super) fn open(path: PathBuf, faults: Faults, clock: Clock) -> io::Result<Self> {
        let held = Mutex::new(read(&path)?);
        Ok(Self { shared: Arc::new(Shared { path, held, faults, clock }) })
    }

    /// Those of a function.
    pub(super) fn of(&self, function: &str) -> FunctionSettings {
        self.shared.held().get(function).cloned().unwrap_or_default()
    }

    /// Changes those of a function, durable when this returns them.
    pub(super) async fn change(
        &self,
        function: &str,
        change: impl FnOnce(&mut FunctionSettings) + Send + 'static,
    ) -> io::Result<FunctionSettings> {
        let (shared, function) = (Arc::clone(&self.shared), function.to_owned());
        let changing = tokio::task::spawn_blocking(move || {
            let mut held = shared.held();
            let mut all = held.clone();
            let settings = all.entry(function).or_default();
            change(settings);
            let changed = settings.clone();
            all.retain(|_, settings| *settings != FunctionSettings::default());
            shared.faults.check_disk(shared.clock.now_ms())?;
            replace_file(&shared.path, &serde_json::to_vec_pretty(&all)?)?;
            *held = all;
            Ok(changed)
        });
        changing.await.map_err(io::Error::other)?
    }
}

impl Shared {
    fn held(&self) -> MutexGuard<'_, BTreeMap<String, FunctionSettings>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(path: &Path) -> io::Result<BTreeMap<String, FunctionSettings>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn settings_are_kept_until_they_are_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let open = || {
            let path = dir.path().join("lambda-settings.json");
            Settings::open(path, Faults::default(), Clock::standing_at(0)).unwrap()
        };
        let settings = open();
        assert_eq!(settings.of("f"), FunctionSettings::default());
        let on_failure = Some(Destination::Queue { queue: "q".to_owned() });
        let event_invoke = EventInvoke { maximum_retry_attempts: Some(1), on_failure, ..EventInvoke::default() };
        let given = FunctionSettings { reserved_concurrency: Some(7), event_invoke: Some(event_invoke) };
        let made = given.clone();
        settings.change("f", move |settings| *settings = made).await.unwrap();
        assert_eq!(open().of("f"), given);
        settings.change("f", |settings| *settings = FunctionSettings::default()).await.unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("lambda-settings.json")).unwrap(), "{}");
    }
}
