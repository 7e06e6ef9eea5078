//! Every file operation of the log.
//!
//! Owns the system calls and nothing of the formats, so that a simulated file system can take its
//! place. Each fault names the operation and the file. Nothing here is retried.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

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

/// The file system. In tests it can be told to fail.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    #[cfg(test)]
    pub faults: std::sync::Arc<crate::testing::Faults>,
    #[cfg(test)]
    pub tree_faults: std::sync::Arc<crate::testing::Faults>,
}

/// An open file that knows its name.
#[derive(Debug)]
pub(crate) struct DiskFile {
    file: File,
    path: PathBuf,
    disk: Disk,
}

impl Disk {
    /// The file system as the tree uses it, whose faults in tests are its own.
    pub fn of_tree(&self) -> Self {
        #[cfg(test)]
        let disk = {
            let faults = std::sync::Arc::clone(&self.tree_faults);
            Self { tree_faults: std::sync::Arc::clone(&faults), faults }
        };
        #[cfg(not(test))]
        let disk = self.clone();
        disk
    }

    /// Makes a folder for the owner alone; fine if it is there.
    pub fn create_dir(&self, path: &Path) -> Result<(), DiskFault> {
        match DirBuilder::new().recursive(true).mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(fault("make the folder", path)(error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Names in a folder, sorted.
    pub fn list(&self, path: &Path) -> Result<Vec<String>, DiskFault> {
        let mut names = Vec::new();
        for item in fs::read_dir(path).map_err(fault("list", path))? {
            let item = item.map_err(fault("list", path))?;
            names.push(item.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Makes a new file for the owner alone.
    pub fn create_new(&self, path: &Path) -> Result<DiskFile, DiskFault> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        self.open_with(&options, "create", path)
    }

    /// Opens a file to read.
    pub fn open_read(&self, path: &Path) -> Result<DiskFile, DiskFault> {
        self.open_with(OpenOptions::new().read(true), "open", path)
    }

    /// Opens a file to read and write.
    pub fn open_write(&self, path: &Path) -> Result<DiskFile, DiskFault> {
        self.open_with(OpenOptions::new().read(true).write(true), "open for writing", path)
    }

    fn open_with(
        &self,
        options: &OpenOptions,
        doing: &'static str,
        path: &Path,
    ) -> Result<DiskFile, DiskFault> {
        let file = options.open(path).map_err(fault(doing, path))?;
        Ok(DiskFile { file, path: path.to_owned(), disk: self.clone() })
    }

    /// A small file's bytes, or none if it is not there.
    pub fn read_small(&self, path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, DiskFault> {
        match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(fault("open", path)(error)),
            Ok(file) => {
                let mut bytes = Vec::new();
                let read = io::Read::read_to_end(&mut io::Read::take(file, bytes_max), &mut bytes);
                read.map_err(fault("read", path))?;
                Ok(Some(bytes))
            }
        }
    }

    /// Takes the exclusive lock on a file; none if another process holds it. Held until dropped.
    pub fn lock(&self, path: &Path) -> Result<Option<DiskFile>, DiskFault> {
        let lock = self.open_write(path)?;
        match lock.file.try_lock() {
            Ok(()) => Ok(Some(lock)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(fault("lock", path)(error)),
        }
    }

    /// Gives a file another name, replacing what had it.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskFault> {
        fs::rename(from, to).map_err(fault("rename", from))
    }

    /// Removes a file; fine if it is not there.
    pub fn remove(&self, path: &Path) -> Result<(), DiskFault> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(fault("remove", path)(error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Removes a folder and what is in it; fine if it is not there.
    pub fn remove_dir(&self, path: &Path) -> Result<(), DiskFault> {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(fault("remove the folder", path)(error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
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
        let synced = File::open(path).and_then(|folder| folder.sync_all());
        synced.map_err(fault("sync the folder", path))
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
        #[cfg(test)]
        let bytes = self.disk.faults.before_write(bytes).map_err(fault("write", &self.path))?;
        self.file.write_all_at(bytes, offset).map_err(fault("write", &self.path))
    }

    /// Fills bytes from an offset.
    pub fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<(), DiskFault> {
        self.file.read_exact_at(bytes, offset).map_err(fault("read", &self.path))
    }

    /// The whole file, at most `bytes_max`.
    pub fn read_all(&self, bytes_max: u64) -> Result<Vec<u8>, DiskFault> {
        let length = self.bytes()?.min(bytes_max);
        // A length of at most `bytes_max` was read from a file; it fits in memory's address space.
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        self.read_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// The file's size.
    pub fn bytes(&self) -> Result<u64, DiskFault> {
        let metadata = self.file.metadata().map_err(fault("examine", &self.path))?;
        Ok(metadata.len())
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
        #[cfg(test)]
        self.disk.faults.before_sync().map_err(fault("sync", &self.path))?;
        self.file.sync_data().map_err(fault("sync", &self.path))
    }

    /// Makes the file's bytes and metadata durable (fsync).
    pub fn sync_all(&self) -> Result<(), DiskFault> {
        #[cfg(test)]
        self.disk.faults.before_sync().map_err(fault("sync", &self.path))?;
        self.file.sync_all().map_err(fault("sync", &self.path))
    }

    /// The file system the file is on.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }
}

fn fault(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> DiskFault {
    move |source| DiskFault { doing, path: path.to_owned(), source }
}

/// One write of a segment's preparation: large enough to be fast, small enough for memory.
const ZEROS_BYTES: usize = 1 << 20;
