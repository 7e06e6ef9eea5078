//! What all tests of one process share: the checkout, the build's folders, the plugins.

use std::path::{Path, PathBuf};

use jumpgate::author;
use jumpgate_runtime::{Adapter, Cache, Limits, Runtime};
use tokio::sync::OnceCell;

/// The root of the checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The folder this test was built into: `<target>/<profile>`.
pub fn profile_folder() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(Path::parent).unwrap().to_owned()
}

/// The folder of the plugins' own build, beside this one.
pub fn plugins_folder() -> PathBuf {
    profile_folder().parent().unwrap().join("plugins")
}

/// Folder with the built components of both departments; builds them the first time.
pub async fn plugins() -> &'static Path {
    static BUILT: OnceCell<PathBuf> = OnceCell::const_new();
    BUILT.get_or_init(async || blocking(build_plugins).await).await
}

/// The component of a crate below the root, built into the plugins' folder. Callers that can come
/// twice keep it in a cell of their own.
pub async fn component(path: &'static str) -> PathBuf {
    let build = move || author::build(&root().join(path), &plugins_folder()).unwrap().path;
    blocking(build).await
}

/// A private folder of compiled artefacts, warm once [`plugins`] has returned.
pub fn cache_folder() -> PathBuf {
    plugins_folder().join("it-cache")
}

fn build_plugins() -> PathBuf {
    let folder = plugins_folder();
    let cache = Cache::open(&cache_folder()).unwrap();
    let runtime = Runtime::new(Limits::default(), 4).unwrap();
    for plugin in ["civil-registry", "social-insurance"] {
        let built = author::build(&root().join("plugins").join(plugin), &folder).unwrap();
        // Compiled here once, so that tests that start side by side do not each compile it.
        let bytes = std::fs::read(built.path).unwrap();
        drop(Adapter::load(&runtime, Some(&cache), &bytes).unwrap());
    }
    folder
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}
