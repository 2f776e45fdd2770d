//! What peers say in their logs, with the time when they said it.

use weft_core::primitives::Hash;

/// What a peer tells of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It publishes a block.
    Proposed(Hash),
    /// It has executed a block.
    Executed(Hash),
    /// It calls the block of this hash, at this height, final.
    Final(u64, Hash),
    /// It has taken a transaction into its mempool.
    Took(Hash),
    /// It left a branch of so many blocks.
    Left(u64),
}

impl Said {
    /// What a line says, if it is of this kind.
    pub(super) fn read(line: &str) -> Option<Self> {
        let field = |name: &str| {
            let words = line.split([' ', '"', '\\']);
            words
                .filter_map(|word| word.split_once('='))
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value)
        };
        let hash = |name| field(name)?.parse().ok();
        let number = |name| field(name)?.parse().ok();
        if line.contains("weft_core::node::chain::propose") && line.contains(" proposed a block ") {
            Some(Self::Proposed(hash("hash")?))
        } else if line.contains("weft_core::told") && line.contains(" a new block ") {
            Some(Self::Executed(hash("hash")?))
        } else if line.contains("weft_core::told") && line.contains(" a new final block ") {
            Some(Self::Final(number("height")?, hash("hash")?))
        } else if line.contains("weft_core::told") && line.contains(" took a transaction ") {
            Some(Self::Took(hash("id")?))
        } else if line.contains(" the best chain moved to another branch ") {
            Some(Self::Left(number("undone")?))
        } else {
            None
        }
    }
}

/// The time at the beginning of a program's line (RFC 3339 in UTC, as `2026-01-31T12:34:56.789012Z`), in microseconds since
/// the Unix epoch.
pub(super) fn time(line: &str) -> Option<u64> {
    let stamp = line.split_once(' ')?.0.strip_suffix('Z')?;
    let (date, clock) = stamp.split_once('T')?;
    let mut parts = date.splitn(3, '-').map(str::parse::<u64>);
    let (year, month, day) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    let (whole, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut parts = whole.splitn(3, ':').map(str::parse::<u64>);
    let (hours, minutes, seconds) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    let micros: u64 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
    if !(1970..10_000).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years begin in March, so that a leap day is the last of its year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    let seconds = (days - 719_468) * 86_400 + hours * 3_600 + minutes * 60 + seconds;
    Some(seconds * 1_000_000 + micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_line_is_read() {
        assert_eq!(time("1970-01-01T00:00:00.000000Z INFO x"), Some(0));
        assert_eq!(time("2000-02-29T12:34:56.789012Z DEBUG x"), Some(951_827_696_789_012));
        assert_eq!(time("2026-11-21T23:40:07Z  WARN x"), Some(1_795_304_407_000_000));
        for wrong in ["", "x y", "2026-13-01T00:00:00Z x", "2026-01-01 00:00:00Z", "2026-01-01T00:00Z x"] {
            assert_eq!(time(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn lines_of_programs_and_of_a_browsers_console_are_told_apart_from_others() {
        let hash = Hash([7; 32]);
        let line = format!("2026-11-21T23:40:07.5Z DEBUG weft_core::told: a new block height=3 hash={hash}");
        assert_eq!(Said::read(&line), Some(Said::Executed(hash)));
        let line = format!(
            "http://127.0.0.1/x.js 385:12 \"weft_core::told a new final block height=16 hash={hash}\""
        );
        assert_eq!(Said::read(&line), Some(Said::Final(16, hash)));
        let line = format!(
            "Z DEBUG weft_core::node::chain::propose: proposed a block height=3 slot=9 hash={hash} transactions=0"
        );
        assert_eq!(Said::read(&line), Some(Said::Proposed(hash)));
        let line = format!("Z DEBUG weft_core::told: took a transaction id={hash}");
        assert_eq!(Said::read(&line), Some(Said::Took(hash)));
        let line =
            "Z INFO weft_core::node::chain::blocks: the best chain moved to another branch undone=2 done=3";
        assert_eq!(Said::read(line), Some(Said::Left(2)));
        assert_eq!(Said::read("Z INFO weft: a new block hash=xyz"), None);
    }
}
