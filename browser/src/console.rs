//! Logs to the browser's console: warnings and errors, and what Weft itself has to say; with `?log=told` in the page's
//! address, also each block and transaction that it gets.

use std::fmt::{self, Write};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};
use wasm_bindgen::JsValue;
use web_sys::console;

/// Where a peer tells each block and transaction, which is more than people want to read.
const TOLD: &str = "weft_core::told";

struct Console {
    /// Whether that is written too.
    told: bool,
}

/// Sends this thread's logs to the console.
pub(crate) fn start() {
    // A worker has no address of its own.
    let query = web_sys::window().and_then(|window| window.location().search().ok()).unwrap_or_default();
    let told = query.trim_start_matches('?').split('&').any(|part| part == "log=told");
    // Fails only when called twice, and then there is one already.
    let _ = tracing::subscriber::set_global_default(Console { told });
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

impl Subscriber for Console {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let least = if metadata.target().starts_with("weft") { Level::INFO } else { Level::WARN };
        metadata.is_event() && *metadata.level() <= least && (self.told || metadata.target() != TOLD)
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let mut line = Line(metadata.target().to_owned());
        event.record(&mut line);
        let line = JsValue::from_str(&line.0);
        match *metadata.level() {
            Level::ERROR => console::error_1(&line),
            Level::WARN => console::warn_1(&line),
            _ => console::info_1(&line),
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
