//! How far a peer is, as one redrawn line on a terminal.

use std::io::{self, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing_subscriber::fmt::MakeWriter;
use weft_core::node::SyncView;

/// How often the line is redrawn at most, a second.
const REDRAWS: u8 = 8;

/// Standard error, shared by the log and the bar: the bar steps aside while a line is written. On anything but a terminal
/// there is no bar.
#[derive(Clone, Debug)]
pub(super) struct Screen {
    bar: ProgressBar,
}

impl Screen {
    pub(super) fn new() -> Self {
        let target = ProgressDrawTarget::stderr_with_hz(REDRAWS);
        let style = ProgressStyle::with_template("[{bar:10}] {wide_msg}").expect("the template is one");
        let bar = ProgressBar::with_draw_target(Some(1000), target).with_style(style.progress_chars("=> "));
        bar.finish_and_clear();
        Self { bar }
    }

    /// Whether somebody sees the bar.
    pub(super) fn is_terminal(&self) -> bool {
        !self.bar.is_hidden()
    }

    /// Shows the bar while the peer catches up, and takes it away when there is nothing to wait for.
    pub(super) fn show(&self, view: &SyncView) {
        if !view.is_catching_up() {
            self.clear();
            return;
        }
        self.show_at(view.permille(), view.to_string());
    }

    /// Shows the bar at so many thousandths.
    pub(super) fn show_at(&self, permille: u64, words: String) {
        if self.bar.is_finished() {
            self.bar.reset();
        }
        self.bar.set_position(permille);
        self.bar.set_message(words);
    }

    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// Lines of the log, each above the bar.
impl Write for Screen {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.bar.suspend(|| io::stderr().lock().write(line))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}

impl MakeWriter<'_> for Screen {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
