//! The commands.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Config, Mistake};
use crate::demo;

mod adapter;
mod admin;
mod check;
mod disclosure;
mod log;
mod policy;
mod receipt;
mod serve;

pub(crate) use log::line as log_line;
pub(crate) use receipt::in_words as proven_in_words;

/// A gateway that answers yes, no or undetermined in front of departments' unmodified systems.
///
/// Start with `jumpgate demo`: it sets everything up in a scratch folder, asks a dozen questions
/// and shows what crossed the wall. For a real one: `jumpgate log init`, `jumpgate check`, then
/// `jumpgate serve`.
#[derive(Debug, Parser)]
#[command(name = "jumpgate", version, max_term_width = 100)]
pub struct Command {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Serve callers until SIGTERM or Ctrl-C, then let every admitted query end.
    Serve {
        /// The configuration file.
        config: PathBuf,
        /// Go on although the log's last entry is later than the clock: the clock was ahead then
        /// and is right now. The log's `start` entry says so.
        #[arg(long)]
        accept_clock: bool,
    },
    /// Check a configuration and everything it names; binds and connects nothing.
    ///
    /// Reads the certificates, the catalogue, the policy, the endpoints' files and the plugins, and
    /// prints every mistake it finds, each with its mend. Exit code 1 if there is one.
    Check {
        /// The configuration file.
        config: PathBuf,
    },
    /// Show the whole product on this machine, with simulated departments.
    ///
    /// Builds the plugins, starts two department servers as their own process, makes a development
    /// certificate authority and a query log in a scratch folder, asks over mTLS and prints what
    /// each record holds and what crossed the wall. Run it from the root of a checkout.
    Demo {
        /// Stay up after the questions and print `curl` lines to try.
        #[arg(long)]
        keep: bool,
    },
    /// Make, read or check a query log.
    #[command(subcommand)]
    Log(log::LogAct),
    /// Build a plugin, or run it on recorded cases.
    #[command(subcommand)]
    Adapter(adapter::AdapterAct),
    /// See what the rules decide, or sign a department's own.
    #[command(subcommand)]
    Policy(policy::PolicyAct),
    /// Check receipts offline.
    #[command(subcommand)]
    Receipt(receipt::ReceiptAct),
    /// What exact answers have told of a person, or could tell of anybody.
    #[command(subcommand)]
    Disclosure(disclosure::DisclosureAct),
    /// Erase a person in the running gateway, which takes two people.
    ///
    /// What is sealed about him can be read no more, here and in copies of the log without its
    /// handle table. The identifier is read from standard input.
    Erase {
        /// The configuration file of the running gateway.
        config: PathBuf,
        /// The kind of identifier.
        #[arg(long)]
        kind: String,
    },
    /// Show how the running gateway stands.
    Status {
        /// The configuration file of the running gateway.
        config: PathBuf,
    },
    /// Show how each department stands.
    Departments {
        /// The configuration file of the running gateway.
        config: PathBuf,
    },
    /// Switch a department off in the running gateway, now, and after restarts too.
    Kill {
        /// The configuration file of the running gateway.
        config: PathBuf,
        /// The department's id.
        department: String,
        /// What people at counters are shown meanwhile, in English.
        #[arg(long, requires = "zh")]
        en: Option<String>,
        /// The same in Chinese.
        #[arg(long, requires = "en")]
        zh: Option<String>,
    },
    /// Switch a department on again in the running gateway, which takes two people.
    Revive {
        /// The configuration file of the running gateway.
        config: PathBuf,
        /// The department's id.
        department: String,
    },
    /// Make the running gateway read its configuration and all it names again.
    ///
    /// Nothing changes if there is a mistake. What may take protection away waits for a second
    /// person; revocation lists, the gateway's certificate and departments' credentials do not.
    Reload {
        /// The configuration file of the running gateway.
        config: PathBuf,
    },
    /// See what waits for a second person, with all that it changes; with a number, approve it.
    Approve {
        /// The configuration file of the running gateway.
        config: PathBuf,
        /// The number that the proposal was given.
        number: Option<String>,
    },
}

/// What a command fails with: its own sentence, and the causes below it.
pub type Failure = Box<dyn Error>;

/// Runs a command.
///
/// # Errors
/// What the command could not do, in a sentence for the operator.
pub fn run(command: Command) -> Result<ExitCode, Failure> {
    match command.act {
        Act::Serve { config, accept_clock } => serve::serve(&config, accept_clock),
        Act::Check { config } => check::check(&config),
        Act::Demo { keep } => runtime()?.block_on(demo::run(keep)),
        Act::Log(act) => log::run(act),
        Act::Adapter(act) => adapter::run(act),
        Act::Policy(act) => policy::run(act),
        Act::Receipt(act) => receipt::run(act),
        Act::Disclosure(act) => disclosure::run(act),
        Act::Erase { config, kind } => disclosure::about(&config, "erase", &kind, None),
        Act::Status { config } => admin::status(&config),
        Act::Departments { config } => admin::departments(&config),
        Act::Kill { config, department, en, zh } => {
            let message = en.zip(zh).map(|(en, zh)| serde_json::json!({ "en": en, "zh": zh }));
            let message = message.map(|it| it.to_string()).unwrap_or_default();
            admin::act(&config, &format!("/departments/{department}/kill"), message)
        }
        Act::Revive { config, department } => {
            admin::act(&config, &format!("/departments/{department}/revive"), String::new())
        }
        Act::Reload { config } => admin::act(&config, "/reload", String::new()),
        Act::Approve { config, number: None } => admin::waiting(&config),
        Act::Approve { config, number: Some(number) } => {
            admin::act(&config, &format!("/approvals/{number}"), String::new())
        }
    }
}

fn load(path: &Path) -> Result<Config, Failure> {
    Config::load(path).map_err(|mistakes| Failure::from(listed(path, &mistakes)))
}

fn listed(path: &Path, mistakes: &[Mistake]) -> String {
    let mut text = format!("{} has {} mistake(s)", path.display(), mistakes.len());
    for mistake in mistakes {
        text.push_str(&format!("\n  {mistake}"));
    }
    text
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}
