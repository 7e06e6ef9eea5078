//! A file system in memory that loses power.
//!
//! It keeps what is durable beside what is visible. Of each file: sectors of 512 bytes, each with
//! every content it had since its last sync. Of the names: the durable ones, and the changes since
//! the last sync of their folder. At a power cut every sector keeps any one of its contents, and
//! every change of a name happens or not. After a failed sync the sectors stay visible and a later
//! sync no longer makes them durable, as on Linux.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::disk::{Disk, Files, Identity, Mode, OpenFile};
use crate::queue::locked;

const SECTOR: usize = 512;

type Sector = [u8; SECTOR];

/// What goes wrong at an operation that changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    /// It fails and nothing happens; a failed sync leaves its sectors to chance.
    Fails,
    /// It fails, and happens all the same.
    FailsButHappens,
    /// It happens, and then the power is cut: every later operation fails.
    CutAfter,
}

/// The file system; clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Sim {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Clone, Default)]
struct State {
    files: Vec<FileState>,
    /// Visible names.
    names: BTreeMap<PathBuf, Node>,
    durable: BTreeMap<PathBuf, Node>,
    /// Changes of names whose folder was not synced since, in their order.
    changes: Vec<NameChange>,
    /// Files that are locked.
    locked: BTreeSet<usize>,
    /// Operations that changed something so far.
    operations: u64,
    mishap: Option<(u64, Mishap)>,
    /// The operation at which the mishap came to pass, in words.
    happened: Option<String>,
    is_cut: bool,
    /// Every text that ever stood in a draft of the state or the checkpoint.
    pub signed: Vec<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Folder,
    File(usize),
}

/// One change of names: each of them gets a node or loses it, all or none.
#[derive(Debug, Clone)]
struct NameChange {
    folder: PathBuf,
    set: Vec<(PathBuf, Option<Node>)>,
}

#[derive(Debug, Clone, Default)]
struct FileState {
    visible: Vec<u8>,
    durable: Vec<u8>,
    /// What each changed sector has been since it was durable.
    pending: BTreeMap<usize, Pending>,
}

#[derive(Debug, Clone, Default)]
struct Pending {
    contents: Vec<Sector>,
    /// True after a failed sync: the next one does not write it.
    is_forgotten: bool,
}

impl Sim {
    /// The log's operations on this file system.
    pub fn disk(&self) -> Disk {
        Disk::on(Arc::new(self.clone()))
    }

    /// Lets something go wrong at the operation of this number, counted from 0 and from now.
    pub fn plan(&self, number: u64, mishap: Mishap) {
        let mut state = locked(&self.state);
        state.operations = 0;
        state.mishap = Some((number, mishap));
        state.happened = None;
    }

    /// The operation that went wrong; none if there were not as many.
    pub fn happened(&self) -> Option<String> {
        locked(&self.state).happened.clone()
    }

    /// Every signed text so far.
    pub fn signed(&self) -> Vec<Vec<u8>> {
        locked(&self.state).signed.clone()
    }

    /// Cuts the power now.
    pub fn cut(&self) {
        locked(&self.state).is_cut = true;
    }

    /// How many things the power cut leaves to chance.
    pub fn uncertain(&self) -> usize {
        let state = locked(&self.state);
        let sectors = state.files.iter().map(|file| file.pending.len() + file.length_pending());
        sectors.sum::<usize>() + state.changes.len()
    }

    /// The file system as the power cut may leave it. `keep` decides for each uncertain thing by
    /// its number: of `n` states it has had since it was durable, which one (0 is the durable one).
    pub fn after_cut(&self, mut keep: impl FnMut(usize, usize) -> usize) -> Self {
        let state = locked(&self.state);
        let mut number = 0;
        let mut choose = |states| {
            number += 1;
            keep(number - 1, states)
        };
        let files = state.files.iter().map(|file| file.after_cut(&mut choose)).collect();
        let mut names = state.durable.clone();
        for change in &state.changes {
            if choose(2) == 1 {
                apply(&mut names, change);
            }
        }
        // A name whose folder was lost is not reached any more.
        let folders: BTreeSet<PathBuf> = names.keys().cloned().collect();
        let is_reached = |path: &Path| {
            path.ancestors().skip(1).all(|it| it == Path::new("/") || folders.contains(it))
        };
        names.retain(|path, _| is_reached(path));
        let signed = state.signed.clone();
        let left = State { files, durable: names.clone(), names, signed, ..State::default() };
        Self { state: Arc::new(Mutex::new(left)) }
    }

    /// Another file system with the same files, all durable.
    pub fn settled(&self) -> Self {
        self.after_cut(|_, states| states - 1)
    }

    /// Does an operation that changes something, or what was planned in its place.
    fn change<T>(
        &self,
        doing: impl FnOnce() -> String,
        act: impl FnOnce(&mut State) -> io::Result<T>,
        fail: impl FnOnce(&mut State),
    ) -> io::Result<T> {
        let mut state = locked(&self.state);
        if state.is_cut {
            return Err(io::Error::other("the power is cut"));
        }
        let number = state.operations;
        state.operations += 1;
        let Some((_, mishap)) = state.mishap.filter(|(planned, _)| *planned == number) else {
            return act(&mut state);
        };
        state.happened = Some(doing());
        let told = io::Error::other("told to fail");
        match mishap {
            Mishap::Fails => {
                fail(&mut state);
                Err(told)
            }
            Mishap::FailsButHappens => act(&mut state).and(Err(told)),
            Mishap::CutAfter => {
                let result = act(&mut state);
                state.is_cut = true;
                result
            }
        }
    }

    fn look<T>(&self, read: impl FnOnce(&State) -> io::Result<T>) -> io::Result<T> {
        let state = locked(&self.state);
        if state.is_cut { Err(io::Error::other("the power is cut")) } else { read(&state) }
    }

    fn rename_all(&self, doing: &str, path: &Path, change: NameChange) -> io::Result<()> {
        let act = |state: &mut State| {
            apply(&mut state.names, &change);
            state.changes.push(change);
            Ok(())
        };
        self.change(|| format!("{doing} {}", path.display()), act, |_| {})
    }
}

impl FileState {
    fn length_pending(&self) -> usize {
        usize::from(self.visible.len() != self.durable.len())
    }

    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if self.visible.len() < end {
            self.visible.resize(end, 0);
        }
        self.visible[offset..end].copy_from_slice(bytes);
        for number in offset / SECTOR..end.div_ceil(SECTOR) {
            let content = sector_of(&self.visible, number);
            let pending = self.pending.entry(number).or_default();
            pending.contents.push(content);
            pending.is_forgotten = false;
        }
    }

    fn sync(&mut self) {
        self.durable.resize(self.visible.len(), 0);
        let Self { visible, durable, pending } = self;
        pending.retain(|number, it| {
            if !it.is_forgotten {
                set_sector(durable, *number, &sector_of(visible, *number));
            }
            it.is_forgotten
        });
    }

    fn fail_sync(&mut self) {
        self.pending.values_mut().for_each(|it| it.is_forgotten = true);
    }

    fn after_cut(&self, choose: &mut impl FnMut(usize) -> usize) -> Self {
        let mut durable = self.durable.clone();
        durable.resize(durable.len().max(self.visible.len()), 0);
        for (number, pending) in &self.pending {
            let chosen = choose(pending.contents.len() + 1);
            if let Some(content) = chosen.checked_sub(1).and_then(|it| pending.contents.get(it)) {
                set_sector(&mut durable, *number, content);
            }
        }
        if self.length_pending() == 1 {
            let length = if choose(2) == 1 { self.visible.len() } else { self.durable.len() };
            durable.truncate(length);
        }
        Self { visible: durable.clone(), durable, pending: BTreeMap::new() }
    }
}

fn sector_of(bytes: &[u8], number: usize) -> Sector {
    let mut sector = [0; SECTOR];
    let rest = &bytes[number * SECTOR..];
    let length = rest.len().min(SECTOR);
    sector[..length].copy_from_slice(&rest[..length]);
    sector
}

fn set_sector(bytes: &mut [u8], number: usize, content: &Sector) {
    if let Some(place) = bytes.get_mut(number * SECTOR..) {
        let length = place.len().min(SECTOR);
        place[..length].copy_from_slice(&content[..length]);
    }
}

fn apply(names: &mut BTreeMap<PathBuf, Node>, change: &NameChange) {
    for (path, node) in &change.set {
        match node {
            Some(node) => drop(names.insert(path.clone(), *node)),
            None => drop(names.remove(path)),
        }
    }
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("/")).to_owned()
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl State {
    fn has_folder(&self, path: &Path) -> bool {
        path == Path::new("/") || self.names.get(path) == Some(&Node::Folder)
    }
}

impl Files for Sim {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn OpenFile>> {
        let file = |number| -> Box<dyn OpenFile> {
            let (sim, path) = (self.clone(), path.to_owned());
            Box::new(SimFile { sim, path, number, has_lock: Mutex::new(false) })
        };
        if mode != Mode::New {
            return self.look(|state| match state.names.get(path) {
                Some(Node::File(number)) => Ok(file(*number)),
                Some(Node::Folder) | None => Err(not_found()),
            });
        }
        let act = |state: &mut State| {
            if state.names.contains_key(path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            if !state.has_folder(&parent(path)) {
                return Err(not_found());
            }
            let number = state.files.len();
            state.files.push(FileState::default());
            let set = vec![(path.to_owned(), Some(Node::File(number)))];
            let change = NameChange { folder: parent(path), set };
            apply(&mut state.names, &change);
            state.changes.push(change);
            Ok(file(number))
        };
        self.change(|| format!("create {}", path.display()), act, |_| {})
    }

    fn identity(&self, path: &Path) -> io::Result<Identity> {
        self.look(|state| match state.names.get(path) {
            Some(Node::File(number)) => Ok(state.identity(*number)),
            Some(Node::Folder) => {
                let names = state.names.keys().filter(|it| parent(it) == path).count() as i64;
                let changed_ns = (names, 0);
                let (inode, bytes, has_name) = (u64::MAX, 0, true);
                Ok(Identity { device: 1, inode, bytes, has_name, changed_ns })
            }
            None => Err(not_found()),
        })
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.look(|state| {
            if !state.has_folder(path) {
                return Err(not_found());
            }
            let names = state.names.keys().filter(|it| parent(it) == path && *it != path);
            let names = names.filter_map(|it| it.file_name());
            Ok(names.map(|it| it.to_string_lossy().into_owned()).collect())
        })
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let missing = self.look(|state| {
            let above = path.ancestors().filter(|it| !state.has_folder(it));
            Ok(above.map(Path::to_owned).collect::<Vec<_>>())
        })?;
        for folder in missing.into_iter().rev() {
            let set = vec![(folder.clone(), Some(Node::Folder))];
            let change = NameChange { folder: parent(&folder), set };
            self.rename_all("make", &folder, change)?;
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.look(|state| state.names.get(from).copied().ok_or_else(not_found))?;
        let set = vec![(from.to_owned(), None), (to.to_owned(), Some(node))];
        self.rename_all("rename", from, NameChange { folder: parent(to), set })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.look(|state| state.names.get(path).map(|_| ()).ok_or_else(not_found))?;
        let set = vec![(path.to_owned(), None)];
        self.rename_all("remove", path, NameChange { folder: parent(path), set })
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let inside = self.look(|state| {
            if !state.has_folder(path) {
                return Err(not_found());
            }
            let inside = state.names.keys().filter(|it| it.starts_with(path));
            Ok(inside.rev().cloned().collect::<Vec<_>>())
        })?;
        for path in inside {
            let set = vec![(path.clone(), None)];
            self.rename_all("remove", &path, NameChange { folder: parent(&path), set })?;
        }
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let act = |state: &mut State| {
            let State { changes, durable, .. } = state;
            changes.retain(|change| {
                let is_synced = change.folder == path;
                if is_synced {
                    apply(durable, change);
                }
                !is_synced
            });
            Ok(())
        };
        self.change(|| format!("sync the folder {}", path.display()), act, |_| {})
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(1 << 40)
    }
}

impl State {
    fn identity(&self, number: usize) -> Identity {
        let bytes = self.files[number].visible.len() as u64;
        let has_name = self.names.values().any(|node| *node == Node::File(number));
        Identity { device: 1, inode: number as u64, bytes, has_name, changed_ns: (0, 0) }
    }
}

#[derive(Debug)]
struct SimFile {
    sim: Sim,
    path: PathBuf,
    number: usize,
    has_lock: Mutex<bool>,
}

impl OpenFile for SimFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let act = |state: &mut State| {
            if self.path.extension().is_some_and(|it| it == "tmp")
                && bytes.starts_with(b"jumpgate-tree")
            {
                state.signed.push(bytes.to_vec());
            }
            state.files[self.number].write(bytes, offset as usize);
            Ok(())
        };
        self.sim.change(|| format!("write {}", self.path.display()), act, |_| {})
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.sim.look(|state| {
            let file = &state.files[self.number].visible;
            let start = offset as usize;
            let found = file.get(start..start + bytes.len());
            bytes.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn sync(&self, _with_metadata: bool) -> io::Result<()> {
        let number = self.number;
        let act = |state: &mut State| {
            state.files[number].sync();
            Ok(())
        };
        let fail = |state: &mut State| state.files[number].fail_sync();
        self.sim.change(|| format!("sync {}", self.path.display()), act, fail)
    }

    fn identity(&self) -> io::Result<Identity> {
        self.sim.look(|state| Ok(state.identity(self.number)))
    }

    fn try_lock(&self) -> io::Result<bool> {
        let is_ours = locked(&self.sim.state).locked.insert(self.number);
        *locked(&self.has_lock) |= is_ours;
        Ok(is_ours)
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        if *locked(&self.has_lock) {
            locked(&self.sim.state).locked.remove(&self.number);
        }
    }
}
