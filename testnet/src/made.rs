//! A made chain on disk, for programs to start from.

use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use weft_testnet::fixture::{Extent, LongChain, WriteError};

/// What the options ask for; the chain's last block is of this moment.
///
/// # Errors
/// Says which option is wrong.
pub(crate) fn extent(options: &[&str]) -> Result<Extent, String> {
    let mut extent = Extent { time: 0, slot_millis: 1_000, blocks: 20_000, accounts: 100_000, hand_offs: 8 };
    for option in options.chunks(2) {
        let [name, number] = option else { return Err(format!("{} needs a number.", option[0])) };
        let place = match *name {
            "--blocks" => &mut extent.blocks,
            "--accounts" => &mut extent.accounts,
            "--hand-offs" => &mut extent.hand_offs,
            "--slot-millis" => &mut extent.slot_millis,
            _ => return Err(format!("There is no option {name}.")),
        };
        *place = number.parse().map_err(|_| format!("`{number}` is not a number."))?;
    }
    if extent.blocks == 0 || extent.slot_millis == 0 || !extent.fits() {
        return Err(
            "A chain has at least one block, slots are not empty, and hand-offs take 64 blocks each.".into(),
        );
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    extent.time = now.saturating_sub(extent.blocks.saturating_mul(extent.slot_millis));
    Ok(extent)
}

/// Makes the chain and writes it.
///
/// # Errors
/// When the directory has one already, or cannot be written.
pub(crate) fn write(directory: &Path, extent: &Extent) -> Result<(), WriteError> {
    let made = LongChain::growing(extent);
    made.write(directory)?;
    println!(
        "{} blocks, {} accounts, authority set {}; final at height {} with state root {}",
        made.height(),
        made.accounts(made.height()).len(),
        made.record(made.height()).set.id,
        made.record(made.height()).finalised.height,
        made.header(made.record(made.height()).finalised.height).content.state_root,
    );
    Ok(())
}
