//! Synchronisation in words: the same ones in the log, on a terminal and in the app.

use std::fmt;

use super::{BackfillView, SyncPhase, SyncView};

impl SyncPhase {
    /// What the peer is doing, as one says it.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Starting => "rebuilding the accounts from disk",
            Self::Searching => "looking for peers of this chain",
            Self::Proof => "proving what is final",
            Self::State => "downloading accounts",
            Self::Light => "following finalised checkpoints",
            Self::Headers => "downloading headers",
            Self::Bodies => "executing blocks",
            Self::Following => "following the chain",
        }
    }

    /// What is counted while it does so, when anything is.
    #[must_use]
    pub const fn unit(self) -> Option<&'static str> {
        match self {
            Self::Proof | Self::Headers | Self::Bodies => Some("blocks"),
            Self::State => Some("accounts"),
            Self::Starting | Self::Searching | Self::Light | Self::Following => None,
        }
    }
}

impl SyncView {
    /// Whether the peer is where the chain is, and goes with it.
    #[must_use]
    pub const fn is_following(&self) -> bool {
        matches!(self.phase, SyncPhase::Following | SyncPhase::Light)
    }

    /// Whether there is work to wait for: the peer neither follows the chain nor looks for it.
    #[must_use]
    pub const fn is_catching_up(&self) -> bool {
        !self.is_following() && !matches!(self.phase, SyncPhase::Searching)
    }

    /// How much is done, in thousandths; 0 while nothing is counted.
    #[must_use]
    pub fn permille(&self) -> u64 {
        if self.phase.unit().is_none() {
            return 0;
        }
        let (done, total) = (u128::from(self.done), u128::from(self.total.max(1)));
        u64::try_from(done * 1000 / total).unwrap_or(1000).min(1000)
    }
}

/// A whole number with its thousands apart: `1,234,567`.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes: `812 B`, `1.4 KB`.
#[must_use]
pub fn in_bytes(count: u64) -> String {
    let (unit, name) = match count {
        0..1000 => return format!("{count} B"),
        1000..1_000_000 => (1000, "KB"),
        1_000_000..1_000_000_000 => (1_000_000, "MB"),
        _ => (1_000_000_000, "GB"),
    };
    format!("{}.{} {name}", count / unit, count % unit / (unit / 10))
}

/// One line, such as `executing blocks: 20 of 3,000, 40 a second, 74 s left`.
impl fmt::Display for SyncView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.phase.words())?;
        if self.phase.unit().is_some() && self.total > 0 {
            write!(f, ": {} of {}", grouped(self.done), grouped(self.total))?;
            write_pace(f, self.rate, self.seconds_left)?;
        }
        match self.backfill {
            None => Ok(()),
            Some(BackfillView { done, total, rate, seconds_left }) => {
                write!(f, "; {} of {} older headers are checked", grouped(done), grouped(total))?;
                write_pace(f, rate, seconds_left)
            }
        }
    }
}

fn write_pace(f: &mut fmt::Formatter<'_>, rate: u32, seconds_left: Option<u64>) -> fmt::Result {
    if rate > 0 {
        write!(f, ", {} a second", grouped(rate.into()))?;
    }
    match seconds_left {
        None => Ok(()),
        Some(left @ 0..120) => write!(f, ", {left} s left"),
        Some(left @ 120..7200) => write!(f, ", {} min left", left / 60),
        Some(left) => write!(f, ", {} h left", left / 3600),
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn a_line_says_what_is_known_and_no_more() {
        let mut view = SyncView {
            phase: SyncPhase::Bodies,
            done: 20,
            total: 300,
            rate: 40,
            seconds_left: Some(7),
            backfill: None,
        };
        assert_eq!(view.to_string(), "executing blocks: 20 of 300, 40 a second, 7 s left");
        for (left, words) in [
            (119, "119 s"),
            (120, "2 min"),
            (7199, "119 min"),
            (7200, "2 h"),
            (u64::MAX, "5124095576030431 h"),
        ] {
            view.seconds_left = Some(left);
            assert!(view.to_string().ends_with(&format!(", {words} left")), "{view}");
        }
        (view.rate, view.seconds_left) = (0, None);
        assert_eq!(view.to_string(), "executing blocks: 20 of 300");
        (view.done, view.total, view.rate) = (999, 1_234_567, 1000);
        assert_eq!(view.to_string(), "executing blocks: 999 of 1,234,567, 1,000 a second");
        (view.done, view.total) = (0, 0);
        assert_eq!(view.to_string(), "executing blocks");
        view.phase = SyncPhase::Following;
        assert_eq!(view.to_string(), "following the chain");
        let backfill = BackfillView { done: 7, total: 90, rate: 0, seconds_left: None };
        view.backfill = Some(backfill);
        assert_eq!(view.to_string(), "following the chain; 7 of 90 older headers are checked");
        view.backfill = Some(BackfillView { rate: 2, seconds_left: Some(42), ..backfill });
        assert!(
            view.to_string().ends_with("; 7 of 90 older headers are checked, 2 a second, 42 s left"),
            "{view}"
        );
    }

    #[test]
    fn the_share_done_is_between_nothing_and_all() {
        let view =
            |phase, done, total| SyncView { phase, done, total, rate: 0, seconds_left: None, backfill: None };
        let share = |done, total| view(SyncPhase::Bodies, done, total).permille();
        assert_eq!([share(0, 0), share(1, 3), share(3, 3), share(5, 3)], [0, 333, 1000, 1000]);
        assert_eq!(share(u64::MAX, u64::MAX), 1000);
        assert_eq!(view(SyncPhase::Starting, 3, 3).permille(), 0);
    }
}
