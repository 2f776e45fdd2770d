//! Numbers and names as people read them.

pub(crate) use weft_core::node::{grouped, in_bytes};

/// A number with its noun: `1 block`, `2 blocks`.
pub(crate) fn counted(number: u64, one: &str) -> String {
    format!("{} {one}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// The beginning and end of a long name: `12D3Ko…4fHx`.
pub(crate) fn shortened(name: &str, head: usize, tail: usize) -> String {
    let length = name.chars().count();
    if length <= head + tail + 1 {
        return name.to_owned();
    }
    let start: String = name.chars().take(head).collect();
    let end: String = name.chars().skip(length - tail).collect();
    format!("{start}…{end}")
}

/// Milliseconds since the Unix epoch as the time of day where this person is.
pub(crate) fn time_of_day(millis: u64) -> String {
    let date = js_sys::Date::new(&wasm_bindgen::JsValue::from_f64(millis as f64));
    format!("{:02}:{:02}", date.get_hours(), date.get_minutes())
}

/// Reads a whole number of coins; thousands may be apart by spaces or underscores.
///
/// # Errors
/// In words, when it is not one.
pub(crate) fn amount(text: &str) -> Result<u64, String> {
    let digits: String = text.chars().filter(|char| !char.is_whitespace() && *char != '_').collect();
    if digits.is_empty() {
        return Err("Enter how much to send.".into());
    }
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("An amount is a whole number of coins, such as 250.".into());
    }
    match digits.parse() {
        Ok(0) => Err("Enter an amount of at least 1.".into()),
        Ok(amount) => Ok(amount),
        Err(_) => Err("That is more than there can be.".into()),
    }
}

/// A hue, in degrees, that goes with a name: the same one everywhere.
pub(crate) fn hue(name: &str) -> u32 {
    name.bytes().fold(7_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte))) % 360
}
