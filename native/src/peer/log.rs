//! What a peer does, in the log.

use std::time::{Duration, Instant};

use futures::StreamExt;
use weft_core::{
    node::{Event, SyncPhase, SyncView},
    swarm::{Events, Notice},
};

/// While a peer catches up, the log says so often how far it is.
const PROGRESS_PAUSE: Duration = Duration::from_secs(5);

/// How far the peer was when the log said so last.
#[derive(Default)]
struct Progress {
    told: Option<(Instant, SyncPhase)>,
    catching_up: bool,
}

impl Progress {
    /// Whether this is to be said: another phase has begun, or it is time again.
    fn is_news(&mut self, view: &SyncView, now: Instant) -> bool {
        self.catching_up = view.is_catching_up();
        let news = match self.told {
            None => true,
            Some((at, phase)) => {
                phase != view.phase || (self.catching_up && now.duration_since(at) >= PROGRESS_PAUSE)
            }
        };
        if news {
            self.told = Some((now, view.phase));
        }
        news
    }
}

/// Logs events until the peer stops; how far it is only when asked to.
pub(super) async fn log(mut events: Events, log_progress: bool) {
    let mut progress = Progress::default();
    while let Some(notice) = events.next().await {
        match notice {
            Notice::Event(Event::Block(block)) => {
                let (height, slot, transactions) = (block.height.0, block.slot.0, block.transactions);
                // Those of a chain that is caught up with are many, and old.
                if progress.catching_up {
                    tracing::debug!(height, hash = %block.hash.short(), slot, transactions, "block");
                } else {
                    tracing::info!(height, hash = %block.hash.short(), slot, transactions, "block");
                }
            }
            Notice::Event(Event::Sync(view)) => {
                if progress.is_news(&view, Instant::now()) && log_progress {
                    tracing::info!("{view}");
                }
            }
            Notice::Event(Event::Reorganised(undone)) => tracing::warn!(undone, "reorganised"),
            Notice::Event(Event::Finalised(checkpoint)) => {
                tracing::info!(height = checkpoint.height.0, hash = %checkpoint.hash.short(), "final");
            }
            Notice::Event(Event::Alarm(text)) => tracing::error!("{text}"),
            Notice::Event(Event::AlarmOver(text)) => tracing::info!("over: {text}"),
            Notice::Event(Event::Woke(millis)) => {
                tracing::warn!(millis, "this peer stood still; it looks what became of its connections");
            }
            Notice::Event(Event::Chat(_) | Event::Peers | Event::Mempool) => {}
            Notice::Lost(events) => tracing::warn!(events, "the log was too slow for these"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_with_each_phase_and_every_few_seconds_of_catching_up() {
        let view = |phase| SyncView { phase, done: 1, total: 9, rate: 0, seconds_left: None, backfill: None };
        let (bodies, following) = (view(SyncPhase::Bodies), view(SyncPhase::Following));
        let (mut progress, start) = (Progress::default(), Instant::now());
        let told: Vec<bool> = [
            (&bodies, 0),
            (&bodies, 4),
            (&bodies, 5),
            (&bodies, 9),
            (&following, 9),
            (&following, 60),
            (&bodies, 61),
        ]
        .into_iter()
        .map(|(view, seconds)| progress.is_news(view, start + Duration::from_secs(seconds)))
        .collect();
        assert_eq!(told, [true, false, true, false, true, false, true]);
    }
}
