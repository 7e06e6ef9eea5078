//! The system's own files.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use super::{Files, Identity, Mode, OpenFile};

/// The file system that the operating system shows.
#[derive(Debug)]
pub(crate) struct System;

impl Files for System {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn OpenFile>> {
        let mut options = OpenOptions::new();
        match mode {
            Mode::Read => options.read(true),
            Mode::Write => options.read(true).write(true),
            Mode::New => options.read(true).write(true).create_new(true).mode(0o600),
        };
        Ok(Box::new(options.open(path)?))
    }

    fn identity(&self, path: &Path) -> io::Result<Identity> {
        fs::metadata(path).map(|metadata| identity(&metadata))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let name = |item: io::Result<fs::DirEntry>| {
            item.map(|item| item.file_name().to_string_lossy().into_owned())
        };
        fs::read_dir(path)?.map(name).collect()
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let state = rustix::fs::statvfs(path)?;
        Ok(state.f_bavail.saturating_mul(state.f_frsize))
    }
}

impl OpenFile for File {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(bytes, offset)
    }

    fn sync(&self, with_metadata: bool) -> io::Result<()> {
        if with_metadata { self.sync_all() } else { self.sync_data() }
    }

    fn identity(&self) -> io::Result<Identity> {
        self.metadata().map(|metadata| identity(&metadata))
    }

    fn try_lock(&self) -> io::Result<bool> {
        match File::try_lock(self) {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

fn identity(metadata: &fs::Metadata) -> Identity {
    let (device, inode, bytes) = (metadata.dev(), metadata.ino(), metadata.len());
    let changed_ns = (metadata.ctime(), metadata.ctime_nsec());
    Identity { device, inode, bytes, has_name: metadata.nlink() > 0, changed_ns }
}
