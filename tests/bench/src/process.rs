//! A child process: started, watched through `/proc` (proc(5)), and ended by its own id on every
//! way out. Never touches a process it did not start.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::Failure;

/// A running process. Dropping it ends it: SIGTERM, then SIGKILL.
pub struct Process {
    name: &'static str,
    id: u32,
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
    complaints: PathBuf,
}

impl Process {
    /// Starts `program`; what it writes to its standard error lands in `scratch`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(
        name: &'static str,
        program: &Path,
        arguments: &[String],
        scratch: &Path,
    ) -> Result<Self, Failure> {
        let complaints = scratch.join(format!("{name}.stderr"));
        let mut command = Command::new(program);
        command
            .args(arguments)
            // What is measured is the level of a fresh installation.
            .env_remove("RUST_LOG")
            // The departments stop when this closes.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&complaints)?)
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| format!("{name}: {error}"))?;
        let (Some(id), Some(stdout)) = (child.id(), child.stdout.take()) else {
            return Err(format!("{name} ended at once").into());
        };
        Ok(Self { name, id, child, said: BufReader::new(stdout).lines(), complaints })
    }

    /// The next line it prints.
    ///
    /// # Errors
    /// It prints none within [`START_TIME_MAX`], or ends; with its complaints.
    pub async fn line(&mut self) -> Result<String, Failure> {
        match timeout(START_TIME_MAX, self.said.next_line()).await {
            Ok(Ok(Some(line))) => Ok(line),
            Ok(_) => Err(self.failure("ended")),
            Err(_) => Err(self.failure("says nothing")),
        }
    }

    /// True while it runs.
    ///
    /// # Errors
    /// Its state cannot be read.
    pub fn is_running(&mut self) -> Result<bool, Failure> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// What became of it, with the last of its complaints.
    pub fn failure(&self, what: &str) -> Failure {
        let complaints = fs::read_to_string(&self.complaints).unwrap_or_default();
        let lines: Vec<&str> = complaints.lines().collect();
        let last = lines[lines.len().saturating_sub(COMPLAINTS_MAX)..].join("\n  ");
        format!("{} {what}\n  {last}", self.name).into()
    }

    /// Processor time so far, its own and that of its children that still run.
    ///
    /// # Errors
    /// It has ended.
    pub fn cpu(&self) -> Result<Duration, Failure> {
        let id = self.id;
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        let mut ticks = 0;
        for id in children.split_whitespace().chain([id.to_string().as_str()]) {
            let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
            ticks += cpu_ticks(&stat).ok_or("/proc/PID/stat has another form")?;
        }
        Ok(Duration::from_millis(ticks * TICK_MS))
    }

    /// Memory in use now.
    ///
    /// # Errors
    /// It has ended.
    pub fn resident_mib(&self) -> Result<f64, Failure> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id))?;
        let kib = resident_kib(&status).ok_or("/proc/PID/status has no VmRSS")?;
        Ok(kib as f64 / 1024.0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Until it is waited for, its id is nobody else's.
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let id = self.id.to_string();
        // nginx must be asked: killed, it would leave its workers behind.
        let asked = std::process::Command::new("kill").args(["-TERM", &id]).status();
        let deadline = Instant::now() + END_TIME_MAX;
        while asked.is_ok() && Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        // Nothing is left to try if this fails.
        let _ = self.child.start_kill();
    }
}

/// User and system time of a process without its children: fields 14 and 15. The second field, the
/// program's name, can hold anything, so counting begins behind its bracket.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn resident_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// Linux reports to user space in hundredths of a second (`USER_HZ`) on every architecture in use.
const TICK_MS: u64 = 10;
/// Compiling the plugins takes two seconds; a busy machine is given more.
const START_TIME_MAX: Duration = Duration::from_secs(60);
/// Enough for a drain without connections.
const END_TIME_MAX: Duration = Duration::from_secs(5);
const COMPLAINTS_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 123 0 1 0 250 31 7 9 20 0 3 0 99 1 2";
        assert_eq!(cpu_ticks(stat), Some(281));
        assert_eq!(cpu_ticks("42 (a) S 1"), None);
    }

    #[test]
    fn memory_is_found_by_its_name() {
        assert_eq!(resident_kib("VmPeak:\t  99 kB\nVmRSS:\t    12345 kB\n"), Some(12_345));
        assert_eq!(resident_kib("VmPeak:\t  99 kB\n"), None);
    }

    #[tokio::test]
    async fn a_dropped_process_has_ended() {
        let scratch = tempfile::tempdir().unwrap();
        let script = ["-c".to_owned(), "echo ready; exec cat".to_owned()];
        let mut process =
            Process::start("cat", Path::new("/bin/sh"), &script, scratch.path()).unwrap();
        assert_eq!(process.line().await.unwrap(), "ready");
        assert!(process.cpu().is_ok() && process.resident_mib().unwrap() > 0.0);
        let proc = PathBuf::from(format!("/proc/{}", process.id));
        assert!(proc.exists());
        drop(process);
        assert!(!proc.exists());
    }

    #[tokio::test]
    async fn a_process_that_fails_is_quoted() {
        let scratch = tempfile::tempdir().unwrap();
        let script = ["-c".to_owned(), "echo no luck >&2; exit 1".to_owned()];
        let mut process =
            Process::start("sh", Path::new("/bin/sh"), &script, scratch.path()).unwrap();
        assert_eq!(process.line().await.unwrap_err().to_string(), "sh ended\n  no luck");
    }
}
