//! Objects on disk: every change is one rename, durable before it is answered, and conditional where asked.
//!
//! Everything here blocks and runs on the blocking pool. A write's bytes go to a file in `temp/` first, without any
//! lock; then, under the lock of its key, the condition is checked and the file renamed. So of any number of
//! conditional writers at once exactly one wins: the first that finishes, as at AWS.

use std::fs::{self, DirBuilder, File, Metadata};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use s3s::crypto::{Checksum as _, Md5};

use super::attributes::{Attributes, Description, Identity};
use super::{StoreError, hex, layout};
use crate::clock::Clock;
use crate::faults::Faults;

/// Locks for keys: more than the writers that two cores keep busy, so that strangers rarely meet.
const LOCK_SHARDS: usize = 256;
/// How often a write repeats the making of its directories, when a delete beside it removes them as empty.
const DIRECTORY_RACES: usize = 16;

/// What must hold at the moment of a write.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Condition {
    /// Nothing.
    #[default]
    None,
    /// `If-None-Match: *`: there is no such object.
    Absent,
    /// `If-Match: *`: there is such an object.
    Present,
    /// `If-Match: <etag>`: there is such an object, with this `ETag`.
    Matches(String),
}

/// What a write says beside its bytes.
#[derive(Debug, Clone, Default)]
pub struct PutOptions {
    /// What must hold for the write to happen.
    pub condition: Condition,
    /// What is kept with the object.
    pub attributes: Attributes,
}

/// An object as it was when it was looked at.
#[derive(Debug, Clone)]
pub struct ObjectInfo {
    /// Size in bytes.
    pub size: u64,
    /// `ETag` without quotes.
    pub etag: String,
    /// When it was written.
    pub modified: SystemTime,
    /// What else is known.
    pub attributes: Attributes,
}

/// An object's bytes, and what it is.
type Opened = (File, ObjectInfo);

/// A file that will become an object, or vanish.
#[derive(Debug)]
pub(super) struct Temporary {
    pub(super) path: PathBuf,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After the rename there is nothing to remove; what stays behind is removed at the next start.
        drop(fs::remove_file(&self.path));
    }
}

#[derive(Debug)]
pub(super) struct Store {
    root: PathBuf,
    // One lock for the keys of a shard, held only around a check and a rename, on the blocking pool.
    shards: Vec<Mutex<()>>,
    temporaries: AtomicU64,
    faults: Faults,
    clock: Clock,
}

impl Store {
    pub(super) fn open(root: PathBuf, faults: Faults, clock: Clock) -> Result<Self, StoreError> {
        for directory in ["objects", "attributes", "uploads", "temp"] {
            fs::create_dir_all(root.join(directory))?;
        }
        for leftover in fs::read_dir(root.join("temp"))? {
            fs::remove_file(leftover?.path())?;
        }
        let shards = (0..LOCK_SHARDS).map(|_| Mutex::new(())).collect();
        Ok(Self { root, shards, temporaries: AtomicU64::new(0), faults, clock })
    }

    pub(super) fn objects(&self) -> PathBuf {
        self.root.join("objects")
    }

    pub(super) fn uploads(&self) -> PathBuf {
        self.root.join("uploads")
    }

    pub(super) fn temporary(&self) -> Temporary {
        let number = self.temporaries.fetch_add(1, Ordering::Relaxed);
        Temporary { path: self.root.join("temp").join(format!("{number}.part")) }
    }

    /// Makes a bucket; says whether it is new.
    pub(super) fn create_bucket(&self, bucket: &str) -> Result<bool, StoreError> {
        let objects = self.objects();
        match fs::create_dir(objects.join(layout::bucket_path(bucket)?)) {
            Ok(()) => {
                sync_directory(&objects)?;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn bucket(&self, bucket: &str) -> Result<PathBuf, StoreError> {
        let path = self.objects().join(layout::bucket_path(bucket)?);
        if path.is_dir() { Ok(path) } else { Err(StoreError::NoSuchBucket { bucket: bucket.to_owned() }) }
    }

    pub(super) fn object_path(&self, bucket: &str, key: &str) -> Result<PathBuf, StoreError> {
        Ok(self.objects().join(layout::relative_path(bucket, key)?))
    }

    /// Turns a temporary file into the object, if the condition holds.
    pub(super) fn commit(
        &self,
        file: &Temporary,
        target: (&str, &str),
        etag: String,
        write: PutOptions,
    ) -> Result<ObjectInfo, StoreError> {
        let (bucket, key) = target;
        let bucket_path = self.bucket(bucket)?;
        let path = self.object_path(bucket, key)?;
        let metadata = self.settle(file)?;

        let guard = self.lock(bucket, key);
        self.check(bucket, key, &write.condition)?;
        place(&file.path, &path, &bucket_path)?;
        let description = Description {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            identity: Identity::of(&metadata),
            etag: etag.clone(),
            attributes: write.attributes.clone(),
        };
        self.describe(&description)?;
        drop(guard);
        Ok(ObjectInfo { size: metadata.len(), etag, modified: metadata.modified()?, attributes: write.attributes })
    }

    /// Refuses while the disk is said to be full.
    pub(super) fn check_disk(&self) -> io::Result<()> {
        self.faults.check_disk(self.clock.now_ms())
    }

    /// Makes a file durable, with the time of the cloud's clock as its own. A disk that is full, or is said to be, refuses.
    pub(super) fn settle(&self, file: &Temporary) -> Result<Metadata, StoreError> {
        self.check_disk()?;
        let bytes = File::open(&file.path)?;
        let written = bytes.metadata()?.modified()?;
        let moved = self.clock.moved(written);
        if moved != written {
            bytes.set_modified(moved)?;
        }
        bytes.sync_all()?;
        Ok(bytes.metadata()?)
    }

    /// Opens an object and says what it is, both of the same moment.
    pub(super) fn open_object(&self, bucket: &str, key: &str) -> Result<Opened, StoreError> {
        self.bucket(bucket)?;
        let _guard = self.lock(bucket, key);
        self.read(bucket, key)?.ok_or_else(|| StoreError::NoSuchKey { key: key.to_owned() })
    }

    /// Removes an object; one that is not there is removed already.
    pub(super) fn delete(&self, bucket: &str, key: &str, condition: &Condition) -> Result<(), StoreError> {
        let bucket_path = self.bucket(bucket)?;
        let path = self.object_path(bucket, key)?;
        let _guard = self.lock(bucket, key);
        if *condition != Condition::None {
            self.check(bucket, key, condition)?;
        }
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => return Ok(()),
            Ok(_) => fs::remove_file(&path)?,
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        match fs::remove_file(self.description_path(bucket, key)) {
            Err(error) if !is_absent(&error) => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
        remove_empty_parents(&path, &bucket_path)
    }

    /// Removes a bucket that holds no object.
    pub(super) fn delete_bucket(&self, bucket: &str) -> Result<(), StoreError> {
        let path = self.bucket(bucket)?;
        match fs::remove_dir(&path) {
            Ok(()) => Ok(sync_directory(&self.objects())?),
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                Err(StoreError::BucketNotEmpty { bucket: bucket.to_owned() })
            }
            Err(error) => Err(error.into()),
        }
    }

    fn check(&self, bucket: &str, key: &str, condition: &Condition) -> Result<(), StoreError> {
        let failed = || StoreError::PreconditionFailed { key: key.to_owned() };
        match condition {
            Condition::None => Ok(()),
            Condition::Absent => match fs::metadata(self.object_path(bucket, key)?) {
                Ok(found) if found.is_file() => Err(failed()),
                Err(error) if !is_absent(&error) => Err(error.into()),
                Ok(_) | Err(_) => Ok(()),
            },
            Condition::Present | Condition::Matches(_) => {
                let (_, found) =
                    self.read(bucket, key)?.ok_or_else(|| StoreError::NoSuchKey { key: key.to_owned() })?;
                match condition {
                    Condition::Matches(etag) if *etag != found.etag => Err(failed()),
                    Condition::None | Condition::Absent | Condition::Present | Condition::Matches(_) => Ok(()),
                }
            }
        }
    }

    fn read(&self, bucket: &str, key: &str) -> Result<Option<Opened>, StoreError> {
        let path = self.object_path(bucket, key)?;
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Ok(None);
        }
        let described = self
            .description(bucket, key)
            .filter(|found| found.identity == Identity::of(&metadata) && found.bucket == bucket && found.key == key);
        let (etag, attributes) = match described {
            Some(found) => (found.etag, found.attributes),
            None => (etag_of(&mut file)?, Attributes::default()),
        };
        let info = ObjectInfo { size: metadata.len(), etag, modified: metadata.modified()?, attributes };
        Ok(Some((file, info)))
    }

    fn describe(&self, description: &Description) -> Result<(), StoreError> {
        let path = self.description_path(&description.bucket, &description.key);
        let content = serde_json::to_vec(description).map_err(io::Error::from)?;
        let temporary = self.temporary();
        let mut file = File::create(&temporary.path)?;
        file.write_all(&content)?;
        file.sync_all()?;
        let root = self.root.join("attributes");
        place(&temporary.path, &path, &root)
    }

    /// `None` when there is none or it cannot be read: the bytes themselves are then asked.
    fn description(&self, bucket: &str, key: &str) -> Option<Description> {
        let content = fs::read(self.description_path(bucket, key)).ok()?;
        serde_json::from_slice(&content).ok()
    }

    fn description_path(&self, bucket: &str, key: &str) -> PathBuf {
        let mut hash = Md5::new();
        hash.update(bucket.as_bytes());
        hash.update(b"/");
        hash.update(key.as_bytes());
        let name = hex(&hash.finalize());
        let shard = name.get(..2).unwrap_or_default();
        self.root.join("attributes").join(shard).join(format!("{name}.json"))
    }

    fn lock(&self, bucket: &str, key: &str) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        (bucket, key).hash(&mut hasher);
        let shard = usize::try_from(hasher.finish() % LOCK_SHARDS as u64).unwrap_or_default();
        let lock = self.shards.get(shard).expect("the shard is below their number");
        // The lock guards no data in memory, so a panic beside it leaves nothing half-done.
        lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Renames a synced file to its place, making the directories, and syncs what has changed.
fn place(from: &Path, to: &Path, root: &Path) -> Result<(), StoreError> {
    let parent = to.parent().unwrap_or(root);
    for _ in 0..DIRECTORY_RACES {
        make_directories(parent, root)?;
        match fs::rename(from, to) {
            Ok(()) => return Ok(sync_directory(parent)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                return Err(StoreError::KeyConflict { path: to.to_owned() });
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::Contended)
}

fn make_directories(directory: &Path, root: &Path) -> Result<(), StoreError> {
    if directory.is_dir() || directory == root {
        return Ok(());
    }
    let parent = directory.parent().unwrap_or(root);
    make_directories(parent, root)?;
    match DirBuilder::new().create(directory) {
        Ok(()) => Ok(sync_directory(parent)?),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => Ok(()),
        // Removed beside us: the caller begins again.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory) => {
            Err(StoreError::KeyConflict { path: directory.to_owned() })
        }
        Err(error) => Err(error.into()),
    }
}

fn remove_empty_parents(path: &Path, root: &Path) -> Result<(), StoreError> {
    let mut directory = path.parent();
    while let Some(current) = directory {
        if current == root || fs::remove_dir(current).is_err() {
            match sync_directory(current) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                Ok(()) | Err(_) => return Ok(()),
            }
        }
        directory = current.parent();
    }
    Ok(())
}

pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// There is no object there: nothing, or a directory in the way of a longer key.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The `ETag` of bytes that were put in one piece: their MD5. Leaves the file at its beginning.
fn etag_of(file: &mut File) -> io::Result<String> {
    let mut hash = Md5::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hash.update(buffer.get(..read).unwrap_or_default());
    }
    io::Seek::rewind(file)?;
    Ok(hex(&hash.finalize()))
}
