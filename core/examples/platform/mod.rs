//! A clock and a place to print, natively and in JavaScript.

pub(crate) use imp::{millis, say};

#[cfg(not(target_arch = "wasm32"))]
mod imp {
    use std::{sync::LazyLock, time::Instant};

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
