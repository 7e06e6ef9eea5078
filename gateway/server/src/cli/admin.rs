//! Commands for the running gateway, sent to its admin socket.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use http::Method;
use serde_json::Value;

use super::{Failure, runtime};
use crate::admin;

/// Sends an act, and prints what the gateway says of it.
pub(super) fn act(config: &Path, path: &str, body: String) -> Result<ExitCode, Failure> {
    let (status, said) = send(config, Method::POST, path, body)?;
    print_lines(&said["changes"]);
    println!("{}", said["said"].as_str().unwrap_or("the gateway said nothing"));
    Ok(if status.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints what waits for a second person, each with all that it changes.
pub(super) fn waiting(config: &Path) -> Result<ExitCode, Failure> {
    let page = look(config, "/status")?;
    let waiting = page["waiting_for_a_second_person"].as_array().into_iter().flatten();
    for proposal in waiting {
        let text = |key: &str| proposal[key].as_str().unwrap_or_default().to_owned();
        println!("{} (until {})", text("number"), text("until"));
        print_lines(&proposal["changes"]);
    }
    Ok(ExitCode::SUCCESS)
}

fn print_lines(changes: &Value) {
    let lines = changes.as_array().into_iter().flatten().filter_map(Value::as_str);
    lines.for_each(|line| println!("  {line}"));
}

/// Prints how the gateway stands.
pub(super) fn status(config: &Path) -> Result<ExitCode, Failure> {
    let page = look(config, "/status")?;
    print_value("", &page);
    Ok(ExitCode::SUCCESS)
}

/// Prints how each department stands.
pub(super) fn departments(config: &Path) -> Result<ExitCode, Failure> {
    let page = look(config, "/departments")?;
    println!(
        "{:<24} {:<14} {:>11} {:>7} {:>7} {:>9} {:>8} {:>7} {:>6}  adapter",
        "department", "state", "slots", "waiting", "ms", "answered", "refused", "failed", "trips"
    );
    for department in page.as_array().into_iter().flatten() {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        // A value as such takes no width.
        let number =
            |value: &Value| value.as_u64().map_or_else(|| "-".to_owned(), |it| it.to_string());
        let counts = &department["since_the_start"];
        let refused = counts["refused"].as_object().into_iter().flatten();
        let refused: u64 = refused.filter_map(|(_, count)| count.as_u64()).sum();
        // In use, there now, there when it is well.
        let slots =
            ["in_flight", "limit", "concurrency_max"].map(|key| department[key].to_string());
        println!(
            "{:<24} {:<14} {:>11} {:>7} {:>7} {:>9} {refused:>8} {:>7} {:>6}  {} {}",
            text(&department["department"]),
            text(&department["state"]),
            slots.join("/"),
            number(&department["waiting"]),
            number(&department["typical_ms"]),
            number(&counts["answered"]),
            number(&counts["failed"]),
            number(&department["breaker"]["trips"]),
            text(&department["adapter"]["name"]),
            text(&department["adapter"]["version"]),
        );
        let message = &department["message"];
        if message.is_object() {
            println!(
                "{:<24} people are shown: {} {}",
                "",
                text(&message["en"]),
                text(&message["zh"])
            );
        }
        if let Some(rest_s) = department["maintenance_s"].as_u64() {
            println!("{:<24} maintenance for {rest_s} seconds more", "");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// One line for each value, under the path to it.
fn print_value(path: &str, value: &Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                print_value(&path, value);
            }
        }
        Value::Array(values) => {
            for (position, value) in values.iter().enumerate() {
                print_value(&format!("{path}[{position}]"), value);
            }
        }
        Value::String(text) => println!("{path:<40} {text}"),
        Value::Null | Value::Bool(_) | Value::Number(_) => println!("{path:<40} {value}"),
    }
}

fn look(config: &Path, path: &str) -> Result<Value, Failure> {
    let (status, page) = send(config, Method::GET, path, String::new())?;
    if status.is_success() {
        return Ok(page);
    }
    Err(page["said"].as_str().unwrap_or("the gateway said nothing").into())
}

fn send(
    config: &Path,
    method: Method,
    path: &str,
    body: String,
) -> Result<(http::StatusCode, Value), Failure> {
    let socket = socket(config)?;
    let sent = runtime()?.block_on(admin::send(&socket, method, path, body));
    sent.map_err(|error| format!("{}: {error}; is the gateway running?", socket.display()).into())
}

/// The socket that a configuration names. Nothing else of the file is looked at: a department must
/// be switched off also while somebody is in the middle of writing.
fn socket(config: &Path) -> Result<PathBuf, Failure> {
    let cannot = |why: &dyn std::fmt::Display| format!("{}: {why}", config.display());
    let text = fs::read_to_string(config).map_err(|error| cannot(&error))?;
    let socket = socket_in(&text).ok_or_else(|| cannot(&"admin.socket is not to be found"))?;
    Ok(config.parent().unwrap_or(Path::new(".")).join(socket))
}

/// Read line by line, so that a mistake elsewhere in the file does not matter.
fn socket_in(text: &str) -> Option<PathBuf> {
    if let Ok(table) = text.parse::<toml::Table>() {
        return Some(table.get("admin")?.get("socket")?.as_str()?.into());
    }
    let mut lines = text.lines().map(str::trim).skip_while(|line| *line != "[admin]").skip(1);
    let line = lines.by_ref().take_while(|line| !line.starts_with('[')).find_map(|line| {
        let table: toml::Table = line.parse().ok()?;
        Some(table.get("socket")?.as_str()?.to_owned())
    });
    line.map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_found_in_a_file_that_is_being_written() {
        let whole = "x = 1\n[admin]\nbind = \"127.0.0.1:0\"\nsocket = \"a.sock\"\n[log]\n";
        for text in [whole.to_owned(), format!("{whole}dir = \n[[callers"), format!("?\n{whole}")] {
            assert_eq!(socket_in(&text), Some("a.sock".into()), "{text}");
        }
        for text in ["", "[log]\nsocket = \"b.sock\"", "?\n[admin]\n[log]\nsocket = \"b.sock\""] {
            assert_eq!(socket_in(text), None, "{text}");
        }
    }
}
