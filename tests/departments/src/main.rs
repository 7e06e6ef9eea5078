//! The departments as a process: starts them, prints one line of JSON with their addresses, and
//! stops when its standard input closes, so that a dying parent never leaves it behind.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::{self, TimeZone};
use jumpgate_departments::{
    Auth, Departments, Options, PEOPLE_MAX, Tls, dump, employers, population,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::oneshot;

/// Simulated department servers for demonstrations, tests and measurements.
#[derive(Parser)]
struct Arguments {
    /// Seeds the population: the same seed makes the same people.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// How many people.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    people: u64,
    /// The day the records are as of, YYYY-MM-DD; today in Beijing unless told.
    #[arg(long)]
    today: Option<Date>,
    /// What the civil registry demands: none, basic:USER:PASSWORD, bearer:TOKEN, header:NAME:VALUE,
    /// username-token-text:USER:PASSWORD or username-token-digest:USER:PASSWORD.
    #[arg(long, default_value = "none")]
    auth_civil: Auth,
    /// What social insurance demands: none, basic:…, bearer:… or header:….
    #[arg(long, default_value = "none")]
    auth_social: Auth,
    /// PEM file with the servers' certificate chain.
    #[arg(long, requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// PEM file with the servers' private key.
    #[arg(long, requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// PEM file with the certificates of which one must have issued a caller's.
    #[arg(long, requires = "tls_cert")]
    tls_client_ca: Option<PathBuf>,
    /// Prints the people as JSON and ends.
    #[arg(long)]
    dump_people: bool,
    /// Prints the employers as JSON and ends.
    #[arg(long, conflicts_with = "dump_people")]
    dump_employers: bool,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let mut line = format!("jumpgate-departments: {failure}");
            let mut source = failure.source();
            while let Some(cause) = source {
                line.push_str(&format!(": {cause}"));
                source = cause.source();
            }
            eprintln!("{line}");
            ExitCode::FAILURE
        }
    }
}

type Failure = Box<dyn std::error::Error>;

fn run(arguments: Arguments) -> Result<(), Failure> {
    let beijing = TimeZone::fixed(tz::offset(8));
    let today = arguments.today.unwrap_or_else(|| Timestamp::now().to_zoned(beijing).date());
    let people = usize::try_from(arguments.people)?.min(PEOPLE_MAX);
    if arguments.dump_people {
        return print(&dump(&population(arguments.seed, people, today), today));
    }
    if arguments.dump_employers {
        return print(&employer_list());
    }
    let options = Options {
        people,
        tls: tls(&arguments)?,
        civil_auth: arguments.auth_civil,
        social_auth: arguments.auth_social,
        ..Options::new(arguments.seed, today)
    };
    // One thread answers far more than a gateway on the same machine asks.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(options))
}

async fn serve(options: Options) -> Result<(), Failure> {
    let departments = Departments::start(options).await?;
    let control = departments.control().await?;
    print(&serde_json::json!({
        "civil_registry": departments.civil_registry.base_url(),
        "social_insurance": departments.social_insurance.base_url(),
        "control": control.base_url(),
    }))?;
    until_stdin_closes().await;
    Ok(())
}

/// Reads on a thread of its own, which cannot be interrupted and need not be: the process ends.
async fn until_stdin_closes() {
    let (closed, closing) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        let mut buffer = [0; 1024];
        while matches!(std::io::stdin().read(&mut buffer), Ok(1..)) {}
        drop(closed);
    });
    // An error is the only news there is: the thread dropped its end.
    let _ = closing.await;
}

fn tls(arguments: &Arguments) -> Result<Option<Tls>, Failure> {
    let (Some(cert), Some(key)) = (&arguments.tls_cert, &arguments.tls_key) else {
        return Ok(None);
    };
    Ok(Some(Tls {
        certificates: certificates(cert)?,
        key: PrivateKeyDer::from_pem_file(key)?,
        client_roots: arguments.tls_client_ca.as_deref().map(certificates).transpose()?,
    }))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    Ok(CertificateDer::pem_file_iter(path)?.collect::<Result<_, _>>()?)
}

fn employer_list() -> serde_json::Value {
    let list = employers().into_iter().map(|employer| {
        serde_json::json!({
            "uscc": employer.uscc,
            "name": employer.name,
            "is_active": employer.is_active,
            "arrears_months": employer.arrears.map(|owed| owed.months),
        })
    });
    list.collect()
}

fn print(value: &serde_json::Value) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{value}")?;
    Ok(out.flush()?)
}
