//! What a peer does, in the log.

use futures::StreamExt;
use weft_core::{
    node::Event,
    swarm::{Events, Notice},
};

/// Logs events until the peer stops.
pub(super) async fn log(mut events: Events) {
    while let Some(notice) = events.next().await {
        match notice {
            Notice::Event(Event::Block(block)) => {
                let (height, slot, transactions) = (block.height.0, block.slot.0, block.transactions);
                tracing::info!(height, hash = %block.hash.short(), slot, transactions, "block");
            }
            Notice::Event(Event::Reorganised(undone)) => tracing::warn!(undone, "reorganised"),
            Notice::Event(Event::Finalised(checkpoint)) => {
                tracing::info!(height = checkpoint.height.0, hash = %checkpoint.hash.short(), "final");
            }
            Notice::Event(Event::Alarm(text)) => tracing::error!("{text}"),
            Notice::Event(Event::AlarmOver(text)) => tracing::info!("over: {text}"),
            Notice::Event(Event::Chat(_) | Event::Peers | Event::Mempool | Event::Sync(_)) => {}
            Notice::Lost(events) => tracing::warn!(events, "the log was too slow for these"),
        }
    }
}
