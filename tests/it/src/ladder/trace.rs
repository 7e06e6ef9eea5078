//! What strace writes of a process and its threads: the calls, and which of them it made fail.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The traced calls of one process.
pub struct Trace {
    calls: Vec<Call>,
}

/// A call on a file.
#[derive(Debug, Clone)]
pub struct Call {
    thread: u32,
    pub name: String,
    pub path: PathBuf,
    /// Its place among the thread's calls of this name, from 1.
    pub number: u32,
    pub end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Returned,
    /// strace returned the error.
    Injected,
    /// The process ended first.
    None,
}

/// Where a fault was, without what differs from run to run.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hit {
    pub call: String,
    pub file: String,
    pub is_kill: bool,
}

impl fmt::Display for Hit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, file, is_kill } = self;
        write!(formatter, "{call} of {file} {}", if *is_kill { "not returned" } else { "failed" })
    }
}

impl Trace {
    /// Reads what strace has written, once the end of the process stands there.
    pub fn read(path: &Path, process: u32) -> Option<Self> {
        let text = fs::read_to_string(path).ok()?;
        let (mut calls, mut counts) = (Vec::<Call>::new(), BTreeMap::new());
        let mut has_ended = false;
        for line in text.lines() {
            let (thread, rest) = thread_of(line)?;
            if rest.starts_with("+++") {
                has_ended |= thread == process;
            } else if rest.starts_with("<... ") {
                let begun = calls.iter_mut().rev().find(|call| call.thread == thread);
                begun.into_iter().for_each(|call| call.end = end_of(rest));
            } else if let Some((name, path)) = name_and_path(rest) {
                let number = counts.entry((thread, name)).or_insert(0);
                *number += 1;
                let (name, path, number) = (name.to_owned(), path.into(), *number);
                calls.push(Call { thread, name, path, number, end: end_of(rest) });
            }
        }
        has_ended.then_some(Self { calls })
    }

    /// The calls that strace made fail.
    pub fn injected(&self) -> Vec<&Call> {
        self.ended(End::Injected)
    }

    /// The calls that did not return, because the process was killed.
    pub fn last_calls(&self) -> Vec<&Call> {
        self.ended(End::None)
    }

    fn ended(&self, end: End) -> Vec<&Call> {
        self.calls.iter().filter(|call| call.end == end).collect()
    }

    /// Where the faults were, in a log's folder.
    pub fn hits(&self, log: &Path) -> Vec<Hit> {
        let faults = self.calls.iter().filter(|call| call.end != End::Returned);
        let hit = |call: &Call| {
            let file = call.path.strip_prefix(log);
            let file = file.unwrap_or_else(|_| panic!("{call:?} is not on a file of the log"));
            let file = file.display().to_string();
            let is_numbered = |folder| file.starts_with(folder) && file != "segments/next.tmp";
            let file = match file.rsplit_once('.') {
                Some((_, end)) if is_numbered("segments/") => format!("segments/N.{end}"),
                Some((_, end)) if is_numbered("tree/tile/") => format!("tree/tile/N.{end}"),
                _ => file,
            };
            Hit { call: call.name.clone(), file, is_kill: call.end == End::None }
        };
        faults.map(hit).collect()
    }
}

fn thread_of(line: &str) -> Option<(u32, &str)> {
    let (thread, rest) = line.split_once(' ')?;
    Some((thread.parse().ok()?, rest.trim_start()))
}

/// A call's name, and the file of its first argument; none of a call that was not on a file.
fn name_and_path(call: &str) -> Option<(&str, &str)> {
    let (name, arguments) = call.split_once('(')?;
    let (descriptor, path) = arguments.split_once('<')?;
    // Of a process that is gone strace knows no paths.
    let has_path = descriptor.parse::<u32>().is_ok();
    path.split_once('>').filter(|_| has_path).map(|(path, _)| (name, path))
}

fn end_of(line: &str) -> End {
    match line.rsplit_once("= ") {
        _ if line.ends_with("(INJECTED)") => End::Injected,
        Some((_, "?")) | None => End::None,
        Some(_) => End::Returned,
    }
}

/// Tries strace on a program that does nothing; where processes may not be traced, it fails.
pub fn strace_works() -> Result<(), String> {
    let tried = Command::new("strace").args(["-D", "-f", "-o", "/dev/null", "true"]).output();
    let output = tried.map_err(|error| format!("strace: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() && said.is_empty() { Ok(()) } else { Err(format!("strace: {said}")) }
}
