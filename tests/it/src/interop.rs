//! The civil registry on another stack: Python's spyne answers through the whole gateway exactly
//! what our own server answers.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use jumpgate_departments::{dump, population};

use crate::harness::{Setup, TODAY, parts, questions as q};

const PEOPLE: usize = 40;
const SEED: u64 = 7;

/// spyne's process; it ends when its standard input closes.
struct Spyne {
    child: Child,
    port: u16,
}

impl Spyne {
    fn start(python: &Path, people: &Path) -> Self {
        let script = parts::root().join("tests/departments/interop/spyne_registry.py");
        let mut child = Command::new(python)
            .arg(script)
            .arg(people)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, port: line.trim().parse().unwrap() }
    }
}

impl Drop for Spyne {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// The interpreter of a virtual environment that has spyne, made the first time; or why there is
/// none. Python 3.11 is the last that spyne runs on.
fn python() -> Result<PathBuf, String> {
    let folder = parts::profile_folder().parent().unwrap().join("interop-venv");
    let python = folder.join("bin/python");
    if has_spyne(&python) {
        return Ok(python);
    }
    let made = ["python3.11", "python3"]
        .iter()
        .any(|base| run(Command::new(base).args(["-m", "venv", "--clear"]).arg(&folder)).is_ok());
    if !made {
        return Err("python3 cannot make a virtual environment".to_owned());
    }
    let requirements = parts::root().join("tests/departments/interop/requirements.txt");
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
    run(Command::new(&python).args(pip).arg(requirements))?;
    if has_spyne(&python) { Ok(python) } else { Err("spyne cannot be imported".to_owned()) }
}

fn has_spyne(python: &Path) -> bool {
    run(Command::new(python).args(["-c", "import spyne.server.wsgi, lxml"])).is_ok()
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| error.to_string())?;
    let last = String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or("").to_owned();
    if output.status.success() { Ok(()) } else { Err(last) }
}

#[tokio::test]
async fn spynes_registry_is_answered_like_ours() {
    let python = match tokio::task::spawn_blocking(python).await.unwrap() {
        Ok(python) => python,
        Err(why) => {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{why}");
            eprintln!("SKIPPED: {why}");
            return;
        }
    };
    let people = population(SEED, PEOPLE, TODAY);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("people.json");
    std::fs::write(&file, dump(&people, TODAY).to_string()).unwrap();
    let spyne = tokio::task::spawn_blocking(move || Spyne::start(&python, &file)).await.unwrap();

    let shape = |options: &mut jumpgate_departments::Options| {
        options.seed = SEED;
        options.people = PEOPLE;
    };
    let theirs = format!(
        "[departments.civil-registry.endpoints.registry]\nbase_url = \"http://127.0.0.1:{}\"",
        spyne.port
    );
    let ours = Setup::new().departments(shape).start().await;
    let theirs = Setup::new().departments(shape).with(&theirs).start().await;
    let (mut our, mut their) = (ours.client("one-window").await, theirs.client("one-window").await);
    let mut said = std::collections::BTreeMap::new();
    for ordinal in 1..=24 {
        let passport = format!("E{ordinal:08}");
        for question in [q::age(18, &passport), q::age(60, &passport)] {
            let (ours, theirs) = (our.ask(&question).await, their.ask(&question).await);
            assert_eq!(theirs.status, 200, "{passport}: {:?}", theirs.json);
            assert_eq!(theirs.says(), ours.says(), "{passport}");
            *said.entry(theirs.says().to_owned()).or_insert(0) += 1;
        }
    }
    assert_eq!(ours.civil().requests().count, 48);
    assert_eq!(theirs.civil().requests().count, 0, "spyne was asked, not ours");
    let verdicts: Vec<&str> = said.keys().map(String::as_str).collect();
    assert_eq!(verdicts, ["no", "undetermined", "yes"], "{said:?}");
    ours.finish().await;
    theirs.finish().await;
    drop(spyne);
}
