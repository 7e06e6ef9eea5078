//! Configurations as data: what is accepted, and for each mistake the exact words in which it is
//! told. The words stand in `tests/golden/config`; `JUMPGATE_BLESS=1` writes them anew.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use jumpgate::config::Config;
use toml::{Table, Value};

use crate::harness::{Setup, parts};
use samples::{Edit, INVALID, RAW, VALID};

mod samples;

#[tokio::test]
async fn valid_configurations_are_accepted() {
    let ground = Setup::new().ground().await;
    let usual = read(&ground.config());
    for (name, edits) in VALID {
        let found = mistakes(ground.folder.path(), &edited(&usual, edits));
        assert_eq!(found, "", "{name}");
    }
}

#[tokio::test]
async fn each_mistake_is_told_in_words_that_mend_it() {
    let ground = Setup::new().ground().await;
    let usual = read(&ground.config());
    for (name, edits) in INVALID {
        let found = mistakes(ground.folder.path(), &edited(&usual, edits));
        assert_ne!(found, "", "{name} is accepted");
        compare(name, &found);
    }
    for (name, text) in RAW {
        compare(name, &mistakes(ground.folder.path(), text));
    }
}

/// All mistakes of a file are told at once.
#[tokio::test]
async fn mistakes_in_several_tables_are_told_together() {
    let ground = Setup::new().ground().await;
    let usual = read(&ground.config());
    let single = |edit: &Edit| mistakes(ground.folder.path(), &edited(&usual, &[*edit]));
    let edits: [Edit; 4] = [
        ("civil_time_zone", "\"Asia/Nowhere\""),
        ("listener.requests_max", "0"),
        ("callers.1.san_uri", "\"no uri\""),
        ("departments.civil-registry.deadline_ms", "0"),
    ];
    let together = mistakes(ground.folder.path(), &edited(&usual, &edits));
    for edit in &edits {
        for line in single(edit).lines() {
            assert!(together.contains(line), "{edit:?}: {line} is not in\n{together}");
        }
    }
}

#[tokio::test]
async fn files_that_are_missing_or_open_to_others_are_told() {
    let ground = Setup::new().ground().await;
    let folder = ground.folder.path();
    let usual = fs::read_to_string(ground.config()).unwrap();
    let mode = |name: &str, mode| {
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("gateway.key", 0o640);
    compare("key-open-to-others", &mistakes(folder, &usual));
    mode("gateway.key", 0o600);
    fs::write(folder.join("revoked.crl"), "no list").unwrap();
    compare("revocation-list-unreadable", &mistakes(folder, &usual));
    fs::remove_file(folder.join("revoked.crl")).unwrap();
    fs::remove_file(folder.join("authority.crt")).unwrap();
    fs::remove_file(folder.join("gateway.crt")).unwrap();
    compare("files-missing", &mistakes(folder, &usual));
}

#[test]
fn a_file_that_is_not_there_is_told_by_its_name() {
    let Err(found) = Config::load(Path::new("/nowhere/jumpgate.toml")) else { panic!("loaded") };
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].at, "/nowhere/jumpgate.toml");
}

/// A word in the golden folder that no sample makes any more is a leftover.
#[test]
fn each_golden_text_has_its_sample() {
    let made_here = ["files-missing", "key-open-to-others", "revocation-list-unreadable"];
    let named = INVALID.iter().map(|(name, _)| *name).chain(RAW.iter().map(|(name, _)| *name));
    let mut expected: Vec<String> =
        named.chain(made_here).map(|name| format!("{name}.txt")).collect();
    expected.sort();
    let entries = fs::read_dir(golden()).unwrap();
    let mut found: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    found.sort();
    assert_eq!(found, expected);
}

fn read(path: &Path) -> Table {
    fs::read_to_string(path).unwrap().parse().unwrap()
}

fn edited(usual: &Table, edits: &[Edit]) -> String {
    let mut config = Value::Table(usual.clone());
    for (path, value) in edits {
        let value = match *value {
            "" => None,
            text => format!("v = {text}").parse::<Table>().unwrap().remove("v"),
        };
        edit(&mut config, path, value);
    }
    toml::to_string(&config).unwrap()
}

/// Sets, or without a value removes, what stands at a path of keys and positions.
fn edit(node: &mut Value, path: &str, value: Option<Value>) {
    let (step, rest) = path.split_once('.').unwrap_or((path, ""));
    match (node, rest.is_empty(), value) {
        (Value::Array(items), true, Some(value)) => items.push(value),
        (Value::Array(items), true, None) => drop(items.remove(step.parse().unwrap())),
        (Value::Array(items), false, value) => {
            edit(&mut items[step.parse::<usize>().unwrap()], rest, value);
        }
        (Value::Table(table), true, Some(value)) => drop(table.insert(step.to_owned(), value)),
        (Value::Table(table), true, None) => {
            table.remove(step).unwrap_or_else(|| panic!("no {path}"));
        }
        (Value::Table(table), false, value) => {
            let below = table.entry(step).or_insert_with(|| Value::Table(Table::new()));
            edit(below, rest, value);
        }
        (other, ..) => panic!("{path} goes through {other}"),
    }
}

/// The mistakes of a configuration, one to a line, without this machine's folders.
fn mistakes(folder: &Path, text: &str) -> String {
    let path = folder.join("sample.toml");
    fs::write(&path, text).unwrap();
    let found = match Config::load(&path) {
        Ok(_) => Vec::new(),
        Err(found) => found,
    };
    let lines: String = found.iter().map(|mistake| format!("{mistake}\n")).collect();
    without_places(&lines)
        .replace(folder.to_str().unwrap(), "<folder>")
        .replace(parts::root().to_str().unwrap(), "<root>")
        .replace(parts::plugins_folder().to_str().unwrap(), "<plugins>")
}

/// The parser's texts without the line they are about: it moves with every edit of the usual
/// configuration.
fn without_places(text: &str) -> String {
    let without = |line: &str| {
        let margin = |c: char| c == ' ' || c.is_ascii_digit();
        match (line.split_once("parse error at line "), line.trim_start_matches(margin)) {
            (Some((before, _)), _) => format!("{before}parse error\n"),
            (None, code) if code.starts_with('|') => format!("{code}\n"),
            (None, _) => format!("{line}\n"),
        }
    };
    text.lines().map(without).collect()
}

fn golden() -> std::path::PathBuf {
    parts::root().join("tests/golden/config")
}

fn compare(name: &str, found: &str) {
    let path = golden().join(format!("{name}.txt"));
    if std::env::var_os("JUMPGATE_BLESS").is_some() {
        fs::create_dir_all(golden()).unwrap();
        fs::write(path, found).unwrap();
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "{name} (JUMPGATE_BLESS=1 writes it)");
}
