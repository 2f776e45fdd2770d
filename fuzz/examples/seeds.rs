//! Writes the seeds of all targets, or of those named, under a directory: `seeds DIRECTORY [TARGET...]`.

use std::{env, fs, path::PathBuf, process::ExitCode};

use weft_core::primitives::Hash;
use weft_fuzz::TARGETS;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let Some((directory, names)) = arguments.split_first() else {
        eprintln!("usage: seeds DIRECTORY [TARGET...]");
        return ExitCode::from(2);
    };
    for target in
        TARGETS.iter().filter(|target| names.is_empty() || names.iter().any(|name| name == target.name))
    {
        let home = PathBuf::from(directory).join(target.name);
        let written = fs::create_dir_all(&home).and_then(|()| {
            (target.seeds)().iter().try_for_each(|seed| fs::write(home.join(Hash::of(seed).short()), seed))
        });
        if let Err(error) = written {
            eprintln!("error: {} cannot be written: {error}", home.display());
            return ExitCode::FAILURE;
        }
        println!("{}", target.name);
    }
    ExitCode::SUCCESS
}
