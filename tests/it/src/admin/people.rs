//! Roles and second persons, by the commands of real processes of other users.
//!
//! Needs to be root to start them; skipped, visibly, where it is not, and never in CI.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use jumpgate::development::Authority;
use jumpgate_querylog::{Act, FieldId, Kind};

use super::{KILL, act, detail};
use crate::crash::{binary, build_binary};
use crate::harness::questions::{WIDOW, age};
use crate::harness::{Harness, Setup};
use crate::http::assert_problem;

const OPERATOR: u32 = 61_001;
const SECURITY: u32 = 61_002;
const AUDITOR: u32 = 61_003;
const NOBODY: u32 = 61_004;
const ACCOUNTS: &str = "[admin]\ntwo_people = true\n\
    [[admin.accounts]]\nname = \"wang\"\nuid = 61001\nroles = [\"operator\"]\n\
    [[admin.accounts]]\nname = \"li\"\nuid = 61002\nroles = [\"security\"]\n\
    [[admin.accounts]]\nname = \"zhao\"\nuid = 61003\nroles = [\"auditor\"]\n";

/// A gateway with three accounts, and its command where every user can run it.
struct Office {
    harness: Harness,
    command: PathBuf,
}

impl Office {
    async fn open() -> Option<Self> {
        if fs::metadata("/proc/self").unwrap().uid() != 0 {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI runs as root");
            eprintln!("SKIPPED: only root can be several people");
            return None;
        }
        build_binary().await;
        let harness = Setup::new().with(ACCOUNTS).start().await;
        let open = |path: &Path| {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        };
        open(harness.folder());
        let command = harness.folder().join("jumpgate");
        // By another process: a child that another test begins meanwhile would hold the file open
        // for writing, and so keep anybody from running it.
        let copied = Command::new("cp").arg(binary()).arg(&command).status().unwrap();
        assert!(copied.success(), "{copied}");
        open(&command);
        Some(Self { harness, command })
    }

    /// Runs a command as somebody; whether it succeeded, and what it printed.
    async fn run(&self, uid: u32, arguments: &[&str]) -> (bool, String) {
        let mut command = Command::new(&self.command);
        command.args(arguments).uid(uid).gid(uid).current_dir(self.harness.folder());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = [&output.stdout[..], &output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    }

    /// The number that a proposal was given.
    async fn propose(&self, uid: u32, arguments: &[&str]) -> String {
        let (proposed, said) = self.run(uid, arguments).await;
        assert!(proposed, "{said}");
        said.trim().rsplit(' ').next().unwrap().to_owned()
    }
}

const CONFIG: &str = "jumpgate.toml";

#[tokio::test(flavor = "multi_thread")]
async fn one_person_switches_off_and_two_switch_on() {
    let Some(office) = Office::open().await else { return };
    let mut client = office.harness.client("one-window").await;
    assert!(office.run(SECURITY, &["kill", CONFIG, "civil-registry"]).await.0);
    assert_problem(&client.ask(&age(18, WIDOW)).await, 503, "department-switched-off");
    let revive = ["revive", CONFIG, "civil-registry"];
    let number = office.propose(OPERATOR, &revive).await;
    let (_, status) = office.run(AUDITOR, &["status", CONFIG]).await;
    assert!(status.contains(&number), "{status}");
    let approve = ["approve", CONFIG, &number];
    let (approved, said) = office.run(OPERATOR, &approve).await;
    assert!(!approved && said.contains("another person"), "{said}");
    let (approved, said) = office.run(AUDITOR, &approve).await;
    assert!(!approved && said.contains("looks only"), "{said}");
    assert_problem(&client.ask(&age(18, WIDOW)).await, 503, "department-switched-off");
    assert!(office.run(SECURITY, &approve).await.0);
    assert_eq!(client.ask(&age(18, WIDOW)).await.says(), "yes");
    assert!(!office.run(SECURITY, &approve).await.0, "once");
    let acts = office.harness.records_of(Kind::Act(Act::Config));
    let said = |at: usize| {
        let by = office.harness.fields(&acts[at]).text(FieldId::Operator).map(str::to_owned);
        (detail(&acts[at], "switched"), by.unwrap())
    };
    assert_eq!(acts.len(), 2, "what was not approved left no entry");
    assert_eq!(said(0), ("off".to_owned(), "li".to_owned()));
    assert_eq!(said(1), ("on".to_owned(), "wang, li".to_owned()));
    drop(client);
    office.harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_may_take_protection_away_takes_two() {
    let Some(office) = Office::open().await else { return };
    let mut other = office.harness.client("other-window").await;
    // Departments' credentials, revocation lists, the gateway's own certificate: one person.
    let (done, said) = office.run(OPERATOR, &["reload", CONFIG]).await;
    assert!(done && said.contains("in force"), "{said}");
    office.harness.revoke(2, &[&[7]]);
    let (done, said) = office.run(OPERATOR, &["reload", CONFIG]).await;
    assert!(done && said.contains("revocation lists") && said.contains("in force"), "{said}");
    office.harness.reconfigure(super::NO_AGES_FOR_OTHERS);
    let number = office.propose(OPERATOR, &["reload", CONFIG]).await;
    assert_eq!(other.ask(&age(18, WIDOW)).await.says(), "yes", "not yet in force");
    // What is approved is what was proposed, whatever the file holds by then.
    office.harness.reconfigure("grants = []");
    let (approved, said) = office.run(SECURITY, &["approve", CONFIG, &number]).await;
    assert!(approved && said.contains("- "), "{said}");
    assert_problem(&other.ask(&age(18, WIDOW)).await, 403, "not-granted");
    let mut one = office.harness.client("one-window").await;
    assert_eq!(one.ask(&age(18, WIDOW)).await.says(), "yes");
    // A second proposal that was compared with what is no longer in force.
    let number = office.propose(OPERATOR, &["reload", CONFIG]).await;
    let newer = office.propose(SECURITY, &["reload", CONFIG]).await;
    assert!(office.run(OPERATOR, &["approve", CONFIG, &newer]).await.0);
    let (approved, said) = office.run(SECURITY, &["approve", CONFIG, &number]).await;
    assert!(!approved && said.contains("nothing waits"), "{said}");
    drop((one, other));
    office.harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_account_sees_nothing_and_who_audits_does_nothing() {
    let Some(office) = Office::open().await else { return };
    for command in [&["status", CONFIG][..], &["departments", CONFIG], &["reload", CONFIG]] {
        let (done, said) = office.run(NOBODY, command).await;
        assert!(!done && said.contains("no account"), "{said}");
        assert!(!said.contains("civil-registry"), "{said}");
    }
    let (done, said) = office.run(AUDITOR, &["departments", CONFIG]).await;
    assert!(done && said.contains("civil-registry"), "{said}");
    for command in [&["kill", CONFIG, "civil-registry"][..], &["reload", CONFIG]] {
        let (done, said) = office.run(AUDITOR, command).await;
        assert!(!done && said.contains("looks only"), "{said}");
    }
    // This process is root's, and root has no account.
    assert_eq!(act(&office.harness, KILL).await.0, 403);
    let mut client = office.harness.client("one-window").await;
    assert_eq!(client.ask(&age(18, WIDOW)).await.says(), "yes");
    // A mistake anywhere in the file does not keep anybody from the switch.
    fs::write(
        office.harness.folder().join(CONFIG),
        "this is no longer TOML\n[admin]\nsocket = \"admin.sock\"\n",
    )
    .unwrap();
    assert!(office.run(OPERATOR, &["kill", CONFIG, "civil-registry"]).await.0);
    assert_problem(&client.ask(&age(18, WIDOW)).await, 503, "department-switched-off");
    drop(client);
    office.harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_proposed_before_a_department_was_switched_off_is_void() {
    let Some(office) = Office::open().await else { return };
    let kill = ["kill", CONFIG, "civil-registry"];
    let revive = ["revive", CONFIG, "civil-registry"];
    assert!(office.run(OPERATOR, &kill).await.0);
    let (first, second) =
        (office.propose(OPERATOR, &revive).await, office.propose(OPERATOR, &revive).await);
    assert!(office.run(SECURITY, &["approve", CONFIG, &first]).await.0);
    let (_, said) = office.run(OPERATOR, &revive).await;
    assert!(said.contains("so already"), "{said}");
    assert!(office.run(OPERATOR, &kill).await.0);
    let (approved, said) = office.run(SECURITY, &["approve", CONFIG, &second]).await;
    assert!(!approved && said.contains("nothing waits"), "{said}");
    let (_, said) = office.run(SECURITY, &["approve", CONFIG]).await;
    assert_eq!(said, "", "nothing waits");
    let mut client = office.harness.client("one-window").await;
    assert_problem(&client.ask(&age(18, WIDOW)).await, 503, "department-switched-off");
    drop(client);
    office.harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_decide_whom_to_believe_take_two() {
    let Some(office) = Office::open().await else { return };
    let reload = ["reload", CONFIG];
    let folder = office.harness.folder();
    office.harness.revoke(5, &[&[7]]);
    assert!(office.run(OPERATOR, &reload).await.1.contains("in force"));
    // An older list would let somebody in again.
    office.harness.revoke(4, &[]);
    let (_, said) = office.run(OPERATOR, &reload).await;
    assert!(said.contains("OLDER") && said.contains("second person"), "{said}");
    office.harness.revoke(6, &[&[7]]);
    assert!(office.run(OPERATOR, &reload).await.1.contains("in force"));
    // Another authority for callers.
    let other = Authority::new("another authority").unwrap();
    let both = [office.harness.authority.certificate(), other.certificate()].concat();
    fs::write(folder.join("authority.crt"), both).unwrap();
    let number = office.propose(OPERATOR, &reload).await;
    let (_, said) = office.run(SECURITY, &["approve", CONFIG]).await;
    assert!(said.contains(&number) && said.contains("trust anchors"), "{said}");
    office.harness.finish().await;
}
