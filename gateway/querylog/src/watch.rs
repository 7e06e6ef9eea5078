//! That the log's files still stand under their names.
//!
//! A write to a file that somebody has removed succeeds, and so does its sync: nothing but a look
//! at the name notices. The writer looks after every batch and before it tells anybody, and twice
//! a second while nothing is asked. What is gone from its name and still open is saved first.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::disk::{Disk, DiskFault, DiskFile, Identity};
use crate::handles::row_offset;
use crate::queue::locked;
use crate::segments;

/// Why the log stops, in words that name file and mend.
pub(crate) type Reason = Arc<str>;

pub(crate) struct Watch {
    disk: Disk,
    dir: PathBuf,
    state: Mutex<State>,
    ended: Condvar,
}

struct State {
    /// Segment, handle table, origin and lock.
    files: [Watched; 4],
    /// When a name in `segments` changed last.
    names_changed: Option<(i64, i64)>,
    lost: Option<Reason>,
    has_ended: bool,
}

/// A file as it was opened.
struct Watched {
    file: Arc<DiskFile>,
    identity: Identity,
    bytes_min: u64,
    /// Where its content was saved.
    saved: Option<PathBuf>,
}

impl Watched {
    fn new(file: Arc<DiskFile>) -> Result<Self, DiskFault> {
        let identity = file.identity()?;
        Ok(Self { file, identity, bytes_min: identity.bytes, saved: None })
    }
}

/// The files to be watched.
pub(crate) struct WatchedFiles {
    pub segment: Arc<DiskFile>,
    pub handles: Arc<DiskFile>,
    pub origin: DiskFile,
    /// Opened anew: the lock itself must go with the log's threads, not with the watch.
    pub lock: DiskFile,
}

impl Watch {
    /// Watches the files of the log in `dir` from now on.
    pub fn new(disk: Disk, dir: &Path, files: WatchedFiles) -> Result<Self, DiskFault> {
        let WatchedFiles { segment, handles, origin, lock } = files;
        let files = [segment, handles, Arc::new(origin), Arc::new(lock)];
        let [segment, handles, origin, lock] = files.map(Watched::new);
        let files = [segment?, handles?, origin?, lock?];
        let state = State { files, names_changed: None, lost: None, has_ended: false };
        let (state, ended) = (Mutex::new(state), Condvar::new());
        Ok(Self { disk, dir: dir.to_owned(), state, ended })
    }

    /// Watches the segment that was begun, no longer the one before it.
    pub fn segment_begun(&self, segment: Arc<DiskFile>) -> Result<(), DiskFault> {
        locked(&self.state).files[SEGMENT] = Watched::new(segment)?;
        Ok(())
    }

    /// Notes how many rows of the handle table are durable.
    pub fn handles_grown(&self, rows: u64) {
        locked(&self.state).files[HANDLES].bytes_min = row_offset(rows);
    }

    /// Fails if a file that is written is not the one that stands under its name, and from then on.
    pub fn check(&self) -> Result<(), Reason> {
        let mut state = locked(&self.state);
        if let Some(lost) = &state.lost {
            return Err(Arc::clone(lost));
        }
        let wrong = state.files.iter().find_map(|watched| self.look(watched));
        let Some(wrong) = wrong else { return Ok(()) };
        let reason: Reason = format!("{wrong}{}", self.save_all(&mut state)).into();
        state.lost = Some(Arc::clone(&reason));
        Err(reason)
    }

    /// After the log has stopped, for whatever reason: what loses its name is saved until the log
    /// is let go. A folder is not removed in one moment.
    pub fn keep_vigil(&self) {
        let mut state = locked(&self.state);
        while !state.has_ended {
            let saved = self.save_all(&mut state);
            if !saved.is_empty() {
                tracing::error!("more of the query log is lost{saved}");
            }
            let waited = self.ended.wait_timeout(state, VIGIL_INTERVAL);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends a vigil, now or later.
    pub fn end(&self) {
        locked(&self.state).has_ended = true;
        self.ended.notify_all();
    }

    /// Fails if one of the segments that begin at `firsts` is gone. Costs one look at the folder
    /// unless a name in it has changed.
    pub fn check_segments(&self, firsts: impl FnOnce() -> Vec<u64>) -> Result<(), Reason> {
        let folder = self.dir.join(segments::SEGMENTS_DIR);
        let found = self.disk.identity(&folder).map_err(|fault| fault.in_full())?;
        let changed = found.map(|it| it.changed_ns);
        if changed.is_some() && locked(&self.state).names_changed == changed {
            return Ok(());
        }
        // Before the names are read: a segment is known only after it has its name.
        let firsts = firsts();
        let names = self.disk.list(&folder).map_err(|fault| fault.in_full())?;
        for first in firsts {
            let path = segments::path_of(&self.dir, first);
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            if name.is_none_or(|name| names.binary_search(&name).is_err()) {
                let mend = "put it back, or restore it from a mirror or a backup, and start again";
                return Err(format!("{} was removed or renamed; {mend}", path.display()).into());
            }
        }
        locked(&self.state).names_changed = changed;
        Ok(())
    }

    fn look(&self, watched: &Watched) -> Option<String> {
        let path = watched.file.path().display();
        match self.disk.identity(watched.file.path()) {
            Err(fault) => Some(fault.in_full()),
            Ok(None) => Some(format!(
                "{path} was removed or renamed while the log was open; find out by whom, put it \
                 back, or restore it from a backup, and start again"
            )),
            Ok(Some(found)) if !found.is_same_file(&watched.identity) => Some(format!(
                "{path} was replaced by another file while the log was open; find out by whom, put \
                 the log's own back, and start again"
            )),
            Ok(Some(found)) if found.bytes < watched.bytes_min => Some(format!(
                "{path} was cut to {} bytes while the log was open, where {} were durable; find \
                 out by whom, restore it from a mirror or a backup, and start again",
                found.bytes, watched.bytes_min
            )),
            Ok(Some(_)) => None,
        }
    }

    /// Saves the segment and the handle table where they have no name any more; what is to be said
    /// of it.
    fn save_all(&self, state: &mut State) -> String {
        let content = state.files.iter_mut().take(HANDLES + 1);
        content.filter_map(|it| self.save(it)).collect()
    }

    /// Writes what an open file without a name holds to one with the ending `.saved`: beside its
    /// old place, or, if the folder is gone, beside the log's.
    fn save(&self, watched: &mut Watched) -> Option<String> {
        let has_name = watched.file.identity().is_ok_and(|identity| identity.has_name);
        let path = watched.file.path();
        let is_there = |place: &Path| matches!(self.disk.identity(place), Ok(Some(_)));
        // What was saved in a folder that is being removed is removed with it; but it may also have
        // been moved back.
        let is_saved = watched.saved.as_ref().is_some_and(|it| is_there(it) || is_there(path));
        if has_name || is_saved {
            return None;
        }
        let bytes = match watched.file.read_all(u64::MAX) {
            Ok(bytes) => bytes,
            Err(fault) => return Some(format!("; {}", fault.in_full())),
        };
        let saved = save(&self.disk, &self.dir, path, &bytes);
        watched.saved.clone_from(&saved);
        Some(match saved {
            Some(saved) => format!(
                "; what {} held is saved in {}: move it back under its name",
                path.display(),
                saved.display()
            ),
            None => format!("; what {} held could not be saved", path.display()),
        })
    }
}

/// Writes what a lost file held to one with the ending `.saved`: beside its old place, or, if the
/// folder is gone, beside the log's. None if neither can be done.
pub(crate) fn save(disk: &Disk, log_dir: &Path, path: &Path, bytes: &[u8]) -> Option<PathBuf> {
    let beside = with_ending(log_dir);
    let places = [with_ending(path), beside.join(path.file_name()?)];
    places.into_iter().find_map(|place| {
        let folder = place.parent().unwrap_or(Path::new("/"));
        let written = || {
            if folder == beside {
                disk.create_dir(folder)?;
            }
            disk.replace(&place, bytes, true)?;
            disk.sync_dir(folder)
        };
        match written() {
            Ok(()) => Some(place),
            Err(fault) => {
                tracing::error!(fault = fault.in_full(), "a lost file cannot be saved here");
                None
            }
        }
    })
}

/// What stands under the log's folders with the ending `.saved`: the next start must not go on
/// without it.
pub(crate) fn saved(disk: &Disk, dir: &Path) -> Result<Option<PathBuf>, DiskFault> {
    let folders = [segments::SEGMENTS_DIR, crate::tree::TREE_DIR, ""];
    for folder in folders.map(|name| dir.join(name)) {
        let names = disk.list(&folder)?;
        if let Some(name) = names.iter().find(|name| name.ends_with(SAVED_ENDING)) {
            return Ok(Some(folder.join(name)));
        }
    }
    saved_beside(disk, dir)
}

/// What was saved of a log whose folder was lost, beside it.
pub(crate) fn saved_beside(disk: &Disk, dir: &Path) -> Result<Option<PathBuf>, DiskFault> {
    let beside = with_ending(dir);
    Ok(disk.identity(&beside)?.map(|_| beside))
}

/// A path with `.saved` after its name.
pub(crate) fn with_ending(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(SAVED_ENDING);
    PathBuf::from(name)
}

const SAVED_ENDING: &str = ".saved";
const VIGIL_INTERVAL: Duration = Duration::from_millis(500);
const SEGMENT: usize = 0;
const HANDLES: usize = 1;

#[cfg(test)]
mod tests;
