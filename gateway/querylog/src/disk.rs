//! Every file operation of the log.
//!
//! Owns what the operations mean and how their faults are told, nothing of the formats. The system
//! behind them is a parameter, so that tests can put one in its place that fails or loses power at
//! any operation. Nothing here is tried again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

mod system;

pub(crate) use system::System;

/// What a file system does for the log. Errors are its own; [`Disk`] adds what was done to which
/// file.
pub(crate) trait Files: std::fmt::Debug + Send + Sync {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn OpenFile>>;
    fn identity(&self, path: &Path) -> io::Result<Identity>;
    /// Names in a folder, in any order.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Makes a folder, and those above it, for the owner alone.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes a folder and what is in it.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Bytes that this process may still write to the file system of `path`.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;
}

/// An open file.
pub(crate) trait OpenFile: std::fmt::Debug + Send + Sync {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Fills all of `bytes`.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;
    /// fdatasync, or fsync with metadata.
    fn sync(&self, with_metadata: bool) -> io::Result<()>;
    fn identity(&self) -> io::Result<Identity>;
    /// The exclusive lock; false if another holds it. Held until the file is closed.
    fn try_lock(&self) -> io::Result<bool>;
}

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// An existing file, to read.
    Read,
    /// An existing file, to read and write.
    Write,
    /// A file that is not there yet, for the owner alone.
    New,
}

/// Which file it is, and its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub device: u64,
    pub inode: u64,
    pub bytes: u64,
    /// False once no name leads to it any more; what it holds ends with the process then.
    pub has_name: bool,
    /// When it was changed last, as nobody can set it: seconds and nanoseconds. Of a folder: when
    /// a name in it was.
    pub changed_ns: (i64, i64),
}

impl Identity {
    /// True if both are the same file, whatever its size.
    pub fn is_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

/// A file operation failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {}", path.display())]
pub struct DiskFault {
    /// The operation.
    pub doing: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// The system's error.
    pub source: io::Error,
}

impl DiskFault {
    /// True if there was no room.
    pub fn is_full(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }

    /// What mends it, as the end of a sentence.
    pub fn mend(&self) -> &'static str {
        use io::ErrorKind;
        match self.source.kind() {
            _ if self.is_full() => "make room on this file system and start again",
            ErrorKind::ReadOnlyFilesystem => {
                "find out why this file system became read-only, mount it writable and start again"
            }
            ErrorKind::PermissionDenied => {
                "give the gateway's user the right to write here and start again"
            }
            ErrorKind::NotFound => "put it back, or restore it from a backup, and start again",
            _ => "check the disk and its cables, then start again: a start reads everything anew",
        }
    }

    /// The fault with its cause and mend.
    pub fn in_full(&self) -> String {
        format!("{self}: {}; {}", self.source, self.mend())
    }
}

/// The file system.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    files: Arc<dyn Files>,
}

/// An open file that knows its name.
#[derive(Debug)]
pub(crate) struct DiskFile {
    file: Box<dyn OpenFile>,
    path: PathBuf,
    disk: Disk,
}

impl Default for Disk {
    fn default() -> Self {
        Self::on(Arc::new(System))
    }
}

impl Disk {
    /// The log's operations on a file system.
    pub fn on(files: Arc<dyn Files>) -> Self {
        Self { files }
    }

    /// Makes a folder for the owner alone, and those above it; fine if it is there. Returns the
    /// folders in which a name is new, for the caller to sync.
    pub fn create_dir(&self, path: &Path) -> Result<Vec<PathBuf>, DiskFault> {
        let mut changed = Vec::new();
        for folder in path.ancestors().filter(|it| !it.as_os_str().is_empty()) {
            if self.identity(folder)?.is_some() {
                break;
            }
            let above = folder.parent().unwrap_or(folder);
            let is_here = above.as_os_str().is_empty();
            changed.push(if is_here { PathBuf::from(".") } else { above.to_owned() });
        }
        match self.files.create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(fault("make the folder", path)(error))
            }
            Ok(()) | Err(_) => Ok(changed),
        }
    }

    /// Names in a folder, sorted.
    pub fn list(&self, path: &Path) -> Result<Vec<String>, DiskFault> {
        let mut names = self.files.list(path).map_err(fault("list", path))?;
        names.sort_unstable();
        Ok(names)
    }

    /// Makes a new file for the owner alone.
    pub fn create_new(&self, path: &Path) -> Result<DiskFile, DiskFault> {
        self.open_with(Mode::New, "create", path)
    }

    /// Opens a file to read.
    pub fn open_read(&self, path: &Path) -> Result<DiskFile, DiskFault> {
        self.open_with(Mode::Read, "open", path)
    }

    /// Opens a file to read and write.
    pub fn open_write(&self, path: &Path) -> Result<DiskFile, DiskFault> {
        self.open_with(Mode::Write, "open for writing", path)
    }

    fn open_with(
        &self,
        mode: Mode,
        doing: &'static str,
        path: &Path,
    ) -> Result<DiskFile, DiskFault> {
        let file = self.files.open(path, mode).map_err(fault(doing, path))?;
        Ok(DiskFile { file, path: path.to_owned(), disk: self.clone() })
    }

    /// A small file's bytes, or none if it is not there.
    pub fn read_small(&self, path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, DiskFault> {
        match self.open_read(path) {
            Err(fault) if fault.source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(fault) => Err(fault),
            Ok(file) => file.read_all(bytes_max).map(Some),
        }
    }

    /// Takes the exclusive lock on a file; none if another process holds it. Held until dropped.
    pub fn lock(&self, path: &Path) -> Result<Option<DiskFile>, DiskFault> {
        let lock = self.open_write(path)?;
        let is_ours = lock.file.try_lock().map_err(fault("lock", path))?;
        Ok(is_ours.then_some(lock))
    }

    /// Gives a file another name, replacing what had it.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskFault> {
        self.files.rename(from, to).map_err(fault("rename", from))
    }

    /// Removes a file; fine if it is not there.
    pub fn remove(&self, path: &Path) -> Result<(), DiskFault> {
        fine_if_gone(self.files.remove(path)).map_err(fault("remove", path))
    }

    /// Removes a folder and what is in it; fine if it is not there.
    pub fn remove_dir(&self, path: &Path) -> Result<(), DiskFault> {
        fine_if_gone(self.files.remove_dir(path)).map_err(fault("remove the folder", path))
    }

    /// Writes a file under another name and renames it, so that nobody reads half of it. With
    /// `durable`, its bytes are synced before the rename; its name is the caller's to sync.
    pub fn replace(&self, path: &Path, bytes: &[u8], durable: bool) -> Result<(), DiskFault> {
        let draft = path.with_extension("tmp");
        self.remove(&draft)?;
        let file = self.create_new(&draft)?;
        file.write_at(bytes, 0)?;
        if durable {
            file.sync_all()?;
        }
        self.rename(&draft, path)
    }

    /// Makes a folder's names durable.
    pub fn sync_dir(&self, path: &Path) -> Result<(), DiskFault> {
        self.files.sync_dir(path).map_err(fault("sync the folder", path))
    }

    /// Which file or folder stands at a path; none if there is none.
    pub fn identity(&self, path: &Path) -> Result<Option<Identity>, DiskFault> {
        match self.files.identity(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            found => found.map(Some).map_err(fault("examine", path)),
        }
    }

    /// Bytes that may still be written to the file system of `path`.
    pub fn free_bytes(&self, path: &Path) -> Result<u64, DiskFault> {
        self.files.free_bytes(path).map_err(fault("examine the file system of", path))
    }
}

impl DiskFile {
    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tells the file its name after a rename.
    pub fn renamed(&mut self, path: PathBuf) {
        self.path = path;
    }

    /// Writes all bytes at an offset.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), DiskFault> {
        self.file.write_at(bytes, offset).map_err(fault("write", &self.path))
    }

    /// Fills bytes from an offset.
    pub fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<(), DiskFault> {
        self.file.read_at(bytes, offset).map_err(fault("read", &self.path))
    }

    /// The whole file, at most `bytes_max`.
    pub fn read_all(&self, bytes_max: u64) -> Result<Vec<u8>, DiskFault> {
        let length = self.bytes()?.min(bytes_max);
        // A length of at most `bytes_max` was read from a file; it fits in memory's address space.
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        self.read_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Which file it is, and its size.
    pub fn identity(&self) -> Result<Identity, DiskFault> {
        self.file.identity().map_err(fault("examine", &self.path))
    }

    /// The file's size.
    pub fn bytes(&self) -> Result<u64, DiskFault> {
        self.identity().map(|identity| identity.bytes)
    }

    /// Appends zero bytes up to a size, really written, so that a later sync changes no metadata.
    pub fn fill_with_zeros(&self, from: u64, to: u64) -> Result<(), DiskFault> {
        let zeros = vec![0; ZEROS_BYTES];
        let mut offset = from;
        while offset < to {
            let bytes = usize::try_from(to - offset).unwrap_or(ZEROS_BYTES).min(ZEROS_BYTES);
            self.write_at(&zeros[..bytes], offset)?;
            offset += bytes as u64;
        }
        Ok(())
    }

    /// Makes the file's bytes durable (fdatasync).
    pub fn sync(&self) -> Result<(), DiskFault> {
        self.file.sync(false).map_err(fault("sync", &self.path))
    }

    /// Makes the file's bytes and metadata durable (fsync).
    pub fn sync_all(&self) -> Result<(), DiskFault> {
        self.file.sync(true).map_err(fault("sync", &self.path))
    }

    /// The file system the file is on.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }
}

fn fine_if_gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn fault(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> DiskFault {
    move |source| DiskFault { doing, path: path.to_owned(), source }
}

/// One write of a segment's preparation: large enough to be fast, small enough for memory.
const ZEROS_BYTES: usize = 1 << 20;
