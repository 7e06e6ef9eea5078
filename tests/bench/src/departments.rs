//! The simulated departments as a process, and their control listener.

use std::net::SocketAddr;
use std::path::Path;

use jiff::civil::Date;
use serde_json::{Value, json};

use crate::Failure;
use crate::client::Door;
use crate::process::Process;
use crate::question::{PEOPLE, SEED};

/// Both departments, running.
pub struct Departments {
    /// The civil registry's base URL.
    pub civil_registry: String,
    /// Social insurance's base URL.
    pub social_insurance: String,
    control: SocketAddr,
    _process: Process,
}

impl Departments {
    /// Starts them as of a day.
    ///
    /// # Errors
    /// The program does not start.
    pub async fn start(program: &Path, today: Date, scratch: &Path) -> Result<Self, Failure> {
        let arguments = ["--seed", &SEED.to_string(), "--people", &PEOPLE.to_string()]
            .into_iter()
            .chain(["--today", &today.to_string()])
            .map(str::to_owned)
            .collect::<Vec<_>>();
        let mut process = Process::start("departments", program, &arguments, scratch)?;
        let urls: Value = serde_json::from_str(&process.line().await?)?;
        let url = |name: &str| urls[name].as_str().map(str::to_owned).ok_or("no such department");
        let control = url("control")?.trim_start_matches("http://").parse()?;
        Ok(Self {
            civil_registry: url("civil_registry")?,
            social_insurance: url("social_insurance")?,
            control,
            _process: process,
        })
    }

    /// The civil registry's host and port.
    pub fn civil_registry_authority(&self) -> &str {
        self.civil_registry.trim_start_matches("http://")
    }

    /// Makes every further request to a department meet a fault.
    ///
    /// # Errors
    /// The department does not know the fault.
    pub async fn set_fault(&self, server: &str, fault: &str) -> Result<(), Failure> {
        let order = json!({ "server": server, "fault": fault }).to_string();
        let length = order.len();
        let head = format!("POST /faults HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n");
        self.control(&[head, order].concat()).await?;
        Ok(())
    }

    /// Clears all faults; what hangs is answered.
    ///
    /// # Errors
    /// The control listener does not answer.
    pub async fn clear_faults(&self) -> Result<(), Failure> {
        self.control("DELETE /faults HTTP/1.1\r\nhost: a\r\n\r\n").await?;
        Ok(())
    }

    /// Most requests a department had in work at the same moment.
    ///
    /// # Errors
    /// The control listener does not answer.
    pub async fn in_flight_peak(&self, server: &str) -> Result<u64, Failure> {
        let said = self.control("GET /requests HTTP/1.1\r\nhost: a\r\n\r\n").await?;
        let counters: Value = serde_json::from_slice(&said)?;
        let peak = counters[server.replace('-', "_")]["in_flight_peak"].as_u64();
        peak.ok_or_else(|| "the counters have another form".into())
    }

    async fn control(&self, request: &str) -> Result<Vec<u8>, Failure> {
        let mut client = Door::clear(self.control).open().await?;
        let reply = client.exchange(request.as_bytes()).await?;
        match reply.status {
            200 | 204 => Ok(reply.body.to_vec()),
            status => Err(format!("the departments' control listener said {status}").into()),
        }
    }
}
