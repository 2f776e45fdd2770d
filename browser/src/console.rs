//! Logs to the browser's console: warnings and errors, and what Weft itself has to say.

use std::fmt::{self, Write};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};
use wasm_bindgen::JsValue;
use web_sys::console;

struct Console;

/// Sends this thread's logs to the console.
pub(crate) fn start() {
    // Fails only when called twice, and then there is one already.
    let _ = tracing::subscriber::set_global_default(Console);
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
        metadata.is_event() && *metadata.level() <= least
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
