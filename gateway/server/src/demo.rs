//! The demonstration: the whole product on one machine, with simulated departments.
//!
//! Everything it makes lies in one scratch folder that is removed at its end. What it prints is
//! what happened: the questions go over mTLS through the same listener that production uses.

mod client;
mod script;
mod stage;

use std::io::{self, Write};
use std::process::ExitCode;

use jumpgate_querylog::{Keys, Reader, verify};

use crate::cli::Failure;
use client::Client;
use stage::Stage;

/// Runs it.
///
/// # Errors
/// A part could not be set up; the sentence names it and its mend.
pub async fn run(keep: bool) -> Result<ExitCode, Failure> {
    let stage = Stage::set().await?;
    script::play(&stage).await?;
    print_log(&stage)?;
    if keep {
        print_lines_to_try(&stage);
        tokio::signal::ctrl_c().await?;
    }
    stage.clear().await?;
    Ok(ExitCode::SUCCESS)
}

fn print_log(stage: &Stage) -> Result<(), Failure> {
    heading("What the query log holds (no name, no birth date, no passport, no verdict in clear)");
    let dir = stage.folder().join("log");
    for record in Reader::open(&dir)? {
        println!("{}", crate::cli::log_line(&record?));
    }
    let keys = Keys::open(&stage.folder().join("keys"))?;
    match verify(&dir, Some(&keys)) {
        Ok(report) => println!(
            "\nVerified: {} entries, every ask closed exactly once, {} sealed fields fit their \
             commitments,\n{} entries in the signed tree.",
            report.entries, report.fields_opened, report.published
        ),
        Err(flaws) => flaws.iter().for_each(|flaw| println!("FLAW: {flaw}")),
    }
    Ok(())
}

fn print_lines_to_try(stage: &Stage) {
    let folder = stage.folder().display();
    let address = stage.address();
    heading("Still running; Ctrl-C ends it. Lines to try:");
    let curl = format!(
        "curl --cacert {folder}/authority.crt --cert {folder}/one-window.crt \
         --key {folder}/one-window.key"
    );
    println!(
        "{curl} \\\n  -H 'Content-Type: application/json' https://localhost:{}/v1/queries \\\n  \
         -d '{{\"predicate\":\"civil-registry/age-at-least@1\",\"parameters\":{{\"years\":18}},\
         \"subject\":{{\"kind\":\"passport\",\"value\":\"E00000011\"}},\"purpose\":\"hiring\"}}'\n",
        address.port()
    );
    println!("{curl} https://localhost:{}/v1/catalogue\n", address.port());
    println!("curl http://{}/metrics\n", stage.admin_address());
    println!(
        "jumpgate receipt verify {folder}/*.tlog-proof --key \\\n  \
         $(sed -n 's/^verifier_key //p' {folder}/log/origin)"
    );
    println!("jumpgate log show {folder}/log --keys {folder}/keys");
    println!("jumpgate kill {folder}/jumpgate.toml civil-registry");
}

fn heading(text: &str) {
    println!("\n== {text}\n");
}

/// Says what is being done, without a line's end, so that its result can follow.
fn progress(text: &str) {
    print!("{text:<58}");
    // A terminal that is gone is no reason to stop.
    let _ = io::stdout().flush();
}
