//! The cache of compiled artefacts: what is in it runs as native code, so only what this gateway
//! wrote there is taken from it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use jumpgate_runtime::{Adapter, Cache, CacheFault, Limits, Runtime};

use super::hostile::hostile;
use crate::harness::parts;

fn load(cache: &Path, bytes: &[u8]) -> Adapter {
    let runtime = Runtime::new(Limits::default(), 1).unwrap();
    Adapter::load(&runtime, Some(&Cache::open(cache).unwrap()), bytes).unwrap()
}

/// The one artefact whose name begins with the adapter's digest.
fn artefact(cache: &Path, adapter: &Adapter) -> PathBuf {
    let digest = adapter.digest().to_string();
    let paths = fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().path());
    let of_adapter =
        |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(&digest);
    let found: Vec<PathBuf> = paths.filter(of_adapter).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

/// A file that is written again is another file under the same name.
fn identity(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

#[tokio::test]
async fn a_second_start_takes_what_the_first_compiled() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let first = load(&cache, hostile().await);
    let artefact = artefact(&cache, &first);
    let written = identity(&artefact);
    let second = load(&cache, hostile().await);
    assert_eq!(identity(&artefact), written);
    assert_eq!(second.manifest(), first.manifest());
    assert_eq!(second.digest(), first.digest());
    for entry in fs::read_dir(&cache).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().mode() & 0o777, 0o600, "{entry:?}");
    }
}

#[tokio::test]
async fn a_tampered_artefact_is_compiled_again() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let artefact = artefact(&cache, &load(&cache, hostile().await));
    let whole = fs::read(&artefact).unwrap();
    let last = whole.len() - 1;
    for flipped in [0, 31, 32, whole.len() / 2, last] {
        let mut bytes = whole.clone();
        bytes[flipped] ^= 1;
        fs::write(&artefact, bytes).unwrap();
        let tampered = identity(&artefact);
        load(&cache, hostile().await);
        assert_ne!(identity(&artefact), tampered, "byte {flipped} of {last}");
    }
    for short in [&whole[..0], &whole[..31], &whole[..32], &whole[..last]] {
        fs::write(&artefact, short).unwrap();
        let tampered = identity(&artefact);
        load(&cache, hostile().await);
        assert_ne!(identity(&artefact), tampered, "{} of {last} bytes", short.len());
    }
}

#[tokio::test]
async fn an_artefact_of_another_component_or_cache_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
    let honest = fs::read(parts::plugins().await.join("civil-registry.component.wasm")).unwrap();
    let honest_artefact = artefact(&ours, &load(&ours, &honest));
    let hostile = hostile().await;
    let hostile_artefact = artefact(&ours, &load(&ours, hostile));
    // A genuine artefact under another's name: the name is under the MAC.
    fs::copy(&hostile_artefact, &honest_artefact).unwrap();
    let swapped = identity(&honest_artefact);
    assert_eq!(load(&ours, &honest).manifest().name, "civil-registry");
    assert_ne!(identity(&honest_artefact), swapped);
    // A genuine artefact of another cache: its key is another.
    let foreign = artefact(&theirs, &load(&theirs, &honest));
    fs::copy(&foreign, &honest_artefact).unwrap();
    let copied = identity(&honest_artefact);
    load(&ours, &honest);
    assert_ne!(identity(&honest_artefact), copied);
}

#[test]
fn a_folder_open_to_others_is_no_cache() {
    let folder = tempfile::tempdir().unwrap();
    for mode in [0o755, 0o750, 0o701, 0o770] {
        fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
        assert!(matches!(Cache::open(folder.path()), Err(CacheFault::Mode(_))), "{mode:o}");
    }
    fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
    assert!(Cache::open(folder.path()).is_ok());
}
