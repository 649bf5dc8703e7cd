//! The manifest of an hour: one object that lists the files of the table, put whole, so that readers see all of a change
//! or nothing of it.

use bytes::Bytes;
use events::table::Table;
use object_store::{ObjectStoreExt, PutMode, PutPayload, UpdateVersion};

use super::state::{Loaded, State};
use super::{ATTEMPTS_MAX, PublishError, Publisher};
use crate::hour::Hour;
use crate::layout;

impl Publisher {
    /// Makes the manifest say what the state says.
    ///
    /// The manifest is read *before* the state and replaced only if it is still the one that was read. So whoever is late
    /// with an older state finds the manifest changed, and looks again.
    pub(super) async fn put_manifest(&self, table: &Table, hour: Hour) -> Result<(), PublishError> {
        let path = layout::manifest(table, hour);
        let store_error = |source| PublishError::Store { path: path.clone(), source };
        for _ in 0..ATTEMPTS_MAX {
            let (found, mode) = match self.store.get(&path).await {
                Ok(found) => {
                    let version =
                        UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
                    (found.bytes().await.map_err(store_error)?, PutMode::Update(version))
                }
                Err(object_store::Error::NotFound { .. }) => (Bytes::new(), PutMode::Create),
                Err(source) => return Err(store_error(source)),
            };
            let state = State::load(self.store.as_ref(), table, hour).await?.unwrap_or_else(Loaded::none).state;
            let manifest = state.manifest(&self.bucket);
            if found == manifest.as_bytes() {
                return Ok(());
            }
            match self.store.put_opts(&path, PutPayload::from(manifest), mode.into()).await {
                Ok(_) => return Ok(()),
                Err(object_store::Error::Precondition { .. } | object_store::Error::AlreadyExists { .. }) => {}
                Err(source) => return Err(store_error(source)),
            }
        }
        Err(PublishError::Contended)
    }
}
