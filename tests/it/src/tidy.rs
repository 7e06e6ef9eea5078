//! The rules of the house, held against the whole tree.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rules::{Part, derives_serialize, has, tokens};

mod rules;

/// Which crates of the workspace a crate may know. Plugins and guests know the kit alone; the
/// other crates in `tests` may know every crate but those that run in the sandbox.
const EDGES: [(&str, &[&str]); 8] = [
    ("adapters/kit", &[]),
    ("adapters/runtime", &["jumpgate-catalogue"]),
    ("gateway/admission", &["jumpgate-catalogue", "jumpgate-tlog"]),
    ("gateway/catalogue", &[]),
    ("gateway/querylog", &["jumpgate-catalogue", "jumpgate-tlog"]),
    ("gateway/tlog", &[]),
    (
        "gateway/server",
        &["jumpgate-admission", "jumpgate-catalogue", "jumpgate-querylog", "jumpgate-runtime"],
    ),
    ("tests/departments", &[]),
];

/// The names at the top. `target` is where cargo builds unless told otherwise.
const TOP: [&str; 9] = [
    "Cargo.lock",
    "Cargo.toml",
    "README.md",
    "adapters",
    "gateway",
    "plugins",
    "spec",
    "target",
    "tests",
];

/// A sequence of tokens and the only places that may hold it; each ends a path's beginning.
const WORDS: [(&str, &[&str]); 7] = [
    (
        "hyper",
        &[
            "gateway/server/src/admin.rs",
            "gateway/server/src/endpoint.rs",
            "gateway/server/src/endpoint/",
            "gateway/server/src/listener.rs",
            "tests/",
        ],
    ),
    ("tower", &["gateway/server/src/listener.rs"]),
    ("governor :", &["gateway/admission/src/"]),
    ("wasmtime", &["adapters/runtime/src/"]),
    (
        "unsafe",
        &[
            "adapters/kit/src/arena.rs",
            "adapters/kit/src/arena/tests.rs",
            "adapters/runtime/src/cache.rs",
            "tests/guests/",
        ],
    ),
    (
        "unsafe_code",
        &[
            "adapters/kit/src/arena.rs",
            "adapters/kit/src/arena/tests.rs",
            "adapters/kit/src/bindings.rs",
            "adapters/kit/src/lib.rs",
            "adapters/runtime/src/cache.rs",
            "tests/guests/",
        ],
    ),
    // An asynchronous department would hold one lock for all its queries.
    ("tokio : : sync : : Mutex", &["gateway/server/src/live.rs", "tests/"]),
];

/// Formats that other programs read: each is a promise.
const SERIALIZED: [&str; 4] =
    ["gateway/server/src/live/state.rs", "gateway/server/src/wire.rs", "plugins/", "tests/"];

#[test]
fn crates_know_only_whom_they_may() {
    let mut broken = Vec::new();
    for member in members() {
        let known = rules::own_dependencies(&manifest(&member));
        let listed = EDGES.iter().find(|(crate_dir, _)| *crate_dir == member);
        let is_guest = member.starts_with("plugins/") || member.starts_with("tests/guests/");
        let allowed: BTreeSet<&str> = match listed {
            Some((_, allowed)) => allowed.iter().copied().collect(),
            None if is_guest => BTreeSet::from(["jumpgate-adapter"]),
            None if member.starts_with("tests/") => known
                .iter()
                .map(String::as_str)
                .filter(|name| *name != "jumpgate-adapter")
                .collect(),
            None => panic!("{member} is not in the table of edges"),
        };
        let foreign = known.iter().filter(|name| !allowed.contains(name.as_str()));
        broken.extend(foreign.map(|name| format!("{member} -> {name}")));
    }
    assert_none(&broken, "edges that must not be");
}

#[test]
fn each_crate_takes_lints_and_versions_from_the_workspace() {
    let mut broken = Vec::new();
    for member in members() {
        let manifest = manifest(&member);
        if !rules::has_house_lints(&manifest) {
            broken.push(format!("{member}: [lints] workspace = true"));
        }
        let own = rules::own_versions(&manifest);
        broken.extend(own.iter().map(|name| format!("{member}: {name}.workspace = true")));
    }
    assert_none(&broken, "manifests to mend");
}

#[test]
fn words_stand_where_they_may() {
    let mut broken = Vec::new();
    for Source { path, text, .. } in sources() {
        let tokens = tokens(&text, Part::Everything);
        for (word, places) in WORDS {
            if has(&tokens, word) && !places.iter().any(|place| path.starts_with(place)) {
                broken.push(format!("{path} names {word}"));
            }
        }
    }
    assert_none(&broken, "words out of place");
}

#[test]
fn each_rule_on_words_still_meets_its_word() {
    let sources = sources();
    for (word, _) in WORDS.iter().filter(|(word, _)| !word.starts_with("tokio")) {
        let is_met =
            sources.iter().any(|source| has(&tokens(&source.text, Part::Everything), word));
        assert!(is_met, "nothing names {word} any more: the rule guards nothing");
    }
}

#[test]
fn only_formats_derive_serialize() {
    let derives = sources().into_iter().filter(|source| derives_serialize(&source.text));
    let broken: Vec<String> = derives
        .map(|source| source.path)
        .filter(|path| !SERIALIZED.iter().any(|place| path.starts_with(place)))
        .collect();
    assert_none(&broken, "files that derive Serialize");
}

#[test]
fn nothing_ends_roughly_outside_tests() {
    let mut broken = Vec::new();
    for Source { path, text, .. } in sources().into_iter().filter(|source| !source.is_test) {
        broken.extend(rules::rough_ends(&text).iter().map(|end| format!("{path}: {end}")));
    }
    // The attack is a panic.
    broken.retain(|found| found != "tests/guests/hostile/src/lib.rs: panic !");
    assert_none(&broken, "unwraps and panics");
}

#[test]
fn no_test_sleeps() {
    let mut broken = Vec::new();
    for Source { path, text, is_test } in sources() {
        let part = if is_test { Part::Everything } else { Part::Tests };
        // The one place that polls, with a deadline.
        if rules::sleeps(&text, part) && !path.starts_with("tests/it/src/harness") {
            broken.push(path);
        }
    }
    assert_none(&broken, "tests that sleep");
}

#[test]
fn functions_fit_a_screen() {
    let mut broken = Vec::new();
    for Source { path, text, .. } in sources().into_iter().filter(|source| !is_table(source)) {
        let long = rules::long_functions(&text);
        broken.extend(long.iter().map(|function| format!("{path}:{function}")));
    }
    assert_none(&broken, "functions of more than 70 lines");
}

#[test]
fn files_are_neither_long_nor_wide() {
    let mut broken = Vec::new();
    for Source { path, text, is_test } in sources() {
        if rules::is_long_file(&text) && !is_test {
            broken.push(format!("{path} has {} lines", text.lines().count()));
        }
        broken.extend(rules::wide_lines(&text).iter().map(|line| format!("{path}:{line}")));
    }
    assert_none(&broken, "files too long or too wide");
}

#[test]
fn each_module_says_what_it_owns() {
    let silent = |source: &Source| !source.text.trim_start().starts_with("//!");
    let is_unit = |source: &Source| source.is_test && !source.path.starts_with("tests/it/");
    let modules = sources().into_iter().filter(|source| !is_unit(source));
    let broken: Vec<String> = modules.filter(silent).map(|source| source.path).collect();
    assert_none(&broken, "modules without a first word");
}

#[test]
fn running_and_testing_build_everything_with_the_same_features() {
    let features = |edges: &str| -> BTreeSet<String> {
        let arguments = ["tree", "--offline", "--locked", "--prefix", "none"];
        let mut cargo = jumpgate::author::cargo();
        cargo.current_dir(root()).args(arguments).args(["--format", "{p} {f}", "--edges", edges]);
        let listed = cargo.output().unwrap();
        assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
        let listed = String::from_utf8(listed.stdout).unwrap();
        listed.lines().map(|line| line.trim_end_matches(" (*)").to_owned()).collect()
    };
    let (run, tested) = (features("normal,build"), features("normal,build,dev"));
    assert!(run.iter().any(|line| line.starts_with("wasmtime v")), "nothing was listed");
    let broken: Vec<String> = run.difference(&tested).cloned().collect();
    assert_none(&broken, "crates that tests build anew (see [dependencies] in tests/it)");
}

#[test]
fn the_top_holds_only_the_agreed_names() {
    let names = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.into_string().unwrap());
    let broken: Vec<String> =
        names.filter(|name| !name.starts_with('.') && !TOP.contains(&&**name)).collect();
    assert_none(&broken, "names at the top");
}

/// The checkout's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

fn members() -> Vec<String> {
    let workspace = manifest(".");
    let members = workspace["workspace"]["members"].as_array().unwrap();
    members.iter().map(|member| member.as_str().unwrap().to_owned()).collect()
}

fn manifest(folder: &str) -> toml::Table {
    let text = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
    toml::from_str(&text).unwrap()
}

/// A Rust file: its path from the root, its text, and whether it holds nothing but tests.
struct Source {
    path: String,
    text: String,
    is_test: bool,
}

/// Every Rust file of the members.
fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    for member in members() {
        for folder in ["src", "tests", "benches", "examples"] {
            collect(&root().join(&member).join(folder), &mut sources);
        }
    }
    assert!(sources.len() > 100, "the tree was not found");
    let modules: BTreeSet<String> = sources.iter().flat_map(files_of_test_modules).collect();
    for source in &mut sources {
        source.is_test = source.path.starts_with("tests/it/")
            || source.path.contains("/tests/")
            || modules.contains(&source.path);
    }
    sources
}

/// The files of the modules that a file declares for its tests alone.
fn files_of_test_modules(source: &Source) -> Vec<String> {
    let stem = source.path.strip_suffix(".rs").unwrap();
    let folder = match stem.rsplit_once('/').unwrap() {
        (above, "lib" | "main" | "it") => above,
        _ => stem,
    };
    let names = rules::test_modules(&source.text);
    names.iter().map(|name| format!("{folder}/{name}.rs")).collect()
}

fn collect(folder: &Path, into: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let from_root = path.strip_prefix(root()).unwrap().display().to_string();
            let text = fs::read_to_string(path).unwrap();
            into.push(Source { path: from_root, text, is_test: false });
        }
    }
}

/// Unit tests are data: a table of a hundred mistakes is no function to hold in the head.
fn is_table(source: &Source) -> bool {
    source.is_test && source.path.ends_with("/tests.rs")
}

fn assert_none(broken: &[String], what: &str) {
    assert!(broken.is_empty(), "{what}:\n  {}", broken.join("\n  "));
}
