//! `jumpgate serve`.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

use super::Failure;
use crate::admin::Admin;
use crate::listener::Listener;
use crate::live::Live;

pub(super) fn serve(config: &Path, accept_clock: bool) -> Result<ExitCode, Failure> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let mut config = super::load(config)?;
    config.accept_clock = accept_clock;
    super::runtime()?.block_on(async {
        let live = Live::open(config, Arc::new(jiff::Timestamp::now)).await?;
        let admin = Admin::bind(live.clone()).await?;
        let listener = Listener::bind(live.clone()).await?;
        announce(&format!("jumpgate: callers connect to https://{}", listener.address()?));
        if let Some(clear) = listener.clear_address() {
            announce(&format!("jumpgate: DANGEROUS: everybody is believed at http://{clear}"));
        }
        announce(&format!("jumpgate: metrics and health at http://{}", admin.address()?));
        let (stopper, stop) = watch::channel(false);
        // Health and metrics outlast the drain, so that it can be watched.
        let (admin_stopper, admin_stop) = watch::channel(false);
        let admin = tokio::spawn(admin.serve(admin_stop));
        let mut serving = tokio::spawn(listener.serve(stop));
        let (mut term, mut int) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
            _ = &mut serving => return Err("the listener ended by itself".into()),
        }
        eprintln!("jumpgate: draining");
        stopper.send_replace(true);
        serving.await?;
        admin_stopper.send_replace(true);
        admin.await?;
        let running = live.gateway().drain.running();
        if running > 0 {
            // The log's own end waits for every open question, and drain_s_max is over.
            return Err(format!(
                "{running} queries outlived drain_s_max; they are recorded as failed, and the log \
                 has no stop entry"
            )
            .into());
        }
        live.close().await?;
        eprintln!("jumpgate: stopped; every admitted query is on record");
        Ok(ExitCode::SUCCESS)
    })
}

/// Says where the gateway listens. Nobody may be reading, which is no reason to stop.
fn announce(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
