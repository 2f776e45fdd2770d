//! `weft-testnet attack`: the attack suite, in virtual time.

use std::time::Instant;

use weft_testnet::attacks::{self, Attack, Pair, Setting, Verdict};

/// What the command line says besides which attack.
#[derive(Debug)]
pub(crate) struct Options {
    names: Vec<String>,
    seed: u64,
    seeds: u64,
    scale: usize,
    without_defence: bool,
    markdown: bool,
}

/// What the words say.
///
/// # Errors
/// Says which is wrong.
pub(crate) fn options(words: &[&str]) -> Result<Options, String> {
    let mut found =
        Options { names: Vec::new(), seed: 1, seeds: 1, scale: 1, without_defence: false, markdown: false };
    let mut words = words.iter().copied();
    while let Some(word) = words.next() {
        let mut number = |name: &str| {
            let value = words.next().ok_or_else(|| format!("{name} needs a value."))?;
            value.parse::<u64>().map_err(|_| format!("`{value}` is not a number."))
        };
        match word {
            "--seed" => found.seed = number(word)?,
            "--seeds" => found.seeds = number(word)?.clamp(1, 1_000),
            "--scale" => {
                found.scale =
                    usize::try_from(number(word)?.clamp(1, 50)).map_err(|error| error.to_string())?;
            }
            "--without-defence" => found.without_defence = true,
            "--markdown" => found.markdown = true,
            _ if word.starts_with("--") => return Err(format!("There is no option {word}.")),
            name if attacks::named(name).is_some() => found.names.push(name.to_owned()),
            name => {
                let known: Vec<_> = attacks::all().map(|attack| attack.name).collect();
                return Err(format!("There is no attack {name}. There are: {}.", known.join(", ")));
            }
        }
    }
    Ok(found)
}

/// Runs the attacks and prints what came of them.
///
/// # Errors
/// When one succeeds although the defence is on.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let chosen = attacks::all()
        .filter(|attack| options.names.is_empty() || options.names.iter().any(|name| name == attack.name));
    let mut pairs = Vec::new();
    for attack in chosen {
        for seed in options.seed..options.seed.saturating_add(options.seeds) {
            let begun = Instant::now();
            if options.without_defence {
                show_without(attack, seed, options.scale);
            } else {
                pairs.push(attack.pair(seed, options.scale));
                println!("{}", pairs[pairs.len() - 1]);
            }
            println!("  took {:.1} s\n", begun.elapsed().as_secs_f64());
        }
    }
    if options.markdown {
        println!("{}", attacks::markdown(&pairs));
    }
    let broken = pairs.iter().filter(|pair| pair.verdict() == Verdict::Broken && pair.attack.open.is_none());
    let broken: Vec<_> =
        broken.map(|pair: &Pair| format!("{} (seed {})", pair.attack.name, pair.seed)).collect();
    if broken.is_empty() { Ok(()) } else { Err(format!("not defended: {}", broken.join(", "))) }
}

fn show_without(attack: &Attack, seed: u64, scale: usize) {
    println!("{}, seed {seed}, without the defence: {}", attack.name, attack.defence);
    let setting = Setting { seed, defended: false, scale };
    for reading in attack.run(&setting) {
        println!("{reading}");
    }
}
