//! What a command prints: lines for people, or JSON.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::json;

use super::Failure;

/// Where results go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    json: bool,
}

impl Output {
    pub(super) const fn new(json: bool) -> Self {
        Self { json }
    }

    pub(super) const fn is_json(self) -> bool {
        self.json
    }

    /// Prints a result: as one line of JSON, or as `text` says it. Nobody reading any more is no error.
    pub(super) fn print(self, value: &impl Serialize, text: impl FnOnce() -> String) {
        let line = if self.json {
            serde_json::to_string(value)
                .unwrap_or_else(|error| json!({ "error": error.to_string() }).to_string())
        } else {
            text()
        };
        let mut stdout = io::stdout().lock();
        let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    }

    /// Tells the person something that is no result; nothing in JSON.
    pub(super) fn note(self, text: &str) {
        if !self.json {
            let _ = writeln!(io::stderr().lock(), "{text}");
        }
    }

    pub(super) fn failure(self, failure: &Failure) {
        let line = if self.json {
            json!({ "error": { "code": failure.code(), "message": failure.to_string() } }).to_string()
        } else {
            format!("error: {failure}")
        };
        let _ = writeln!(io::stderr().lock(), "{line}");
    }
}

/// Text from the network, safe to show: what would move the cursor or colour the terminal is replaced.
pub(super) fn printable(text: &str) -> String {
    let shown = |c: char| {
        let directional =
            matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || directional { '\u{fffd}' } else { c }
    };
    text.chars().map(shown).collect()
}

/// Rows as aligned columns; the first row is the heading.
pub(super) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let widths: [usize; N] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    let lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        })
        .collect();
    lines.join("\n")
}

/// One row of a table whose cells are broken between words, so that they fit these widths.
pub(super) fn wrapped<const N: usize>(cells: &[String; N], widths: [usize; N]) -> String {
    let columns: Vec<Vec<String>> =
        cells.iter().zip(widths).map(|(cell, width)| lines(cell, width)).collect();
    let height = columns.iter().map(Vec::len).max().unwrap_or(0);
    let line = |at: usize| {
        let cells = columns.iter().zip(widths);
        let cells =
            cells.map(|(lines, width)| format!("{:width$}", lines.get(at).map_or("", String::as_str)));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    (0..height).map(line).collect::<Vec<_>>().join("\n")
}

/// A text in lines of at most `width` characters; a longer word has a line of its own.
fn lines(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The last characters of a peer id, which are the ones that differ.
pub(super) fn short_peer(peer: &str) -> &str {
    peer.char_indices().rev().nth(7).map_or(peer, |(at, _)| &peer[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_the_network_cannot_drive_the_terminal() {
        assert_eq!(printable("a\x1b[31mb\r\n\u{202e}ü"), "a\u{fffd}[31mb\u{fffd}\u{fffd}\u{fffd}ü");
    }

    #[test]
    fn cells_are_broken_between_words() {
        let row = ["one two three", "", "longest"].map(str::to_owned);
        assert_eq!(wrapped(&row, [7, 2, 3]), "one two      longest\nthree");
    }

    #[test]
    fn a_short_peer_id_is_its_end() {
        assert_eq!(short_peer("12D3KooWabcdefgh"), "abcdefgh");
        assert_eq!(short_peer("abc"), "abc");
        assert_eq!(short_peer(""), "");
    }
}
