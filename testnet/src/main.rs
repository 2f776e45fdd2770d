//! `weft-testnet`: networks to look at.

mod demo;

use std::{env, path::PathBuf, process::ExitCode};

const USAGE: &str = "usage: weft-testnet demo --app DIRECTORY --port PORT";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (app, port) = match words.as_slice() {
        ["demo", "--app", app, "--port", port] => (PathBuf::from(app), port.parse()),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    let Ok(port) = port else {
        eprintln!("{USAGE}\nA port is a number from 1 to 65535.");
        return ExitCode::from(2);
    };
    match demo::run(&app, port) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
