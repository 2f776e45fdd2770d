//! A clock and a place to print, natively and in JavaScript, and what results look like.

pub(crate) use imp::{millis, say};

/// One line of results, from the times of both in each round: the ratios of the other to the one, and the median round.
pub(crate) fn report(what: &str, against: &str, mut rounds: Vec<(f64, f64)>) {
    rounds.sort_by(|a, b| (a.1 / a.0).total_cmp(&(b.1 / b.0)));
    let ratio = |at: usize| rounds[at].1 / rounds[at].0;
    let (own, other) = rounds[rounds.len() / 2];
    say(&format!(
        "{what} {own:.2} ms, {against} {other:.2} ms; {against} / {what}: min {:.3}  median {:.3}  max {:.3}",
        ratio(0),
        ratio(rounds.len() / 2),
        ratio(rounds.len() - 1)
    ));
}

#[cfg(not(target_arch = "wasm32"))]
mod imp {
    use std::{sync::LazyLock, time::Instant};

    use mimalloc::MiMalloc;

    /// As in the programs that people run.
    #[global_allocator]
    static ALLOCATOR: MiMalloc = MiMalloc;

    static START: LazyLock<Instant> = LazyLock::new(Instant::now);

    pub(crate) fn millis() -> f64 {
        START.elapsed().as_secs_f64() * 1000.0
    }

    pub(crate) fn say(line: &str) {
        println!("{line}");
    }
}

#[cfg(target_arch = "wasm32")]
mod imp {
    use wasm_bindgen::prelude::wasm_bindgen;

    #[wasm_bindgen]
    extern "C" {
        #[wasm_bindgen(js_namespace = performance, js_name = now)]
        pub(crate) fn millis() -> f64;

        #[wasm_bindgen(js_namespace = console, js_name = log)]
        pub(crate) fn say(line: &str);
    }
}
