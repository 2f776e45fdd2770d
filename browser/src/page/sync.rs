//! How far this tab is with joining the chain and following it, and the rhythm of its blocks.

use std::collections::BTreeMap;

use leptos::prelude::*;
use weft_core::{
    node::{BlockSummary, ChainView, SyncPhase},
    primitives::Height,
    sync::Strategy,
};

use super::{model::Model, parts::sentence, session};
use crate::{
    clock,
    text::{self, grouped},
};

/// Slots in the strip.
const SLOTS: u64 = 48;

const fn name(phase: SyncPhase) -> &'static str {
    match phase {
        SyncPhase::Starting => "starting",
        SyncPhase::Searching => "searching",
        SyncPhase::Proof => "proof",
        SyncPhase::State => "state",
        SyncPhase::Light => "light",
        SyncPhase::Headers => "headers",
        SyncPhase::Bodies => "bodies",
        SyncPhase::Following => "following",
    }
}

/// What is shown rests on this.
fn ground(chain: &ChainView, strategy: Strategy) -> String {
    let height = grouped(chain.joined_at.0);
    match (chain.sync.phase, chain.joined_at, strategy) {
        (SyncPhase::Starting | SyncPhase::Searching, ..) => String::new(),
        (SyncPhase::Proof | SyncPhase::State, Height(0), _) => String::new(),
        (SyncPhase::Proof | SyncPhase::State, ..) => {
            format!(
                "Block {height} is proven to be final. Balances are shown by proof until the rest is here."
            )
        }
        (SyncPhase::Light, ..) => {
            format!("Block {height} is proven to be final. This tab executes nothing itself.")
        }
        (_, Height(0), _) => "Executed by this tab since genesis.".into(),
        (.., Strategy::Checkpoint(_)) => {
            format!(
                "Joined at block {height}, proven from the checkpoint you gave, and executed by this tab since."
            )
        }
        _ => format!("Joined at block {height}, proven to be final, and executed by this tab since."),
    }
}

pub(super) fn card() -> impl IntoView {
    let model = expect_context::<Model>();
    let strategy = session().map(|session| session.strategy).unwrap_or_default();
    let says = move || {
        model.sync.with(|sync| sync.as_ref().map_or_else(|| "Starting".into(), |sync| sync.to_string()))
    };
    let phase = move || model.sync.with(|sync| sync.as_ref().map_or("starting", |sync| name(sync.phase)));
    let done = move || model.sync.with(|sync| sync.as_ref().map_or(0, |sync| sync.done));
    let total = move || model.sync.with(|sync| sync.as_ref().map_or(0, |sync| sync.total));
    let share = move || {
        model.sync.with(|sync| {
            sync.as_ref().map_or(0, |sync| if sync.is_following() { 1000 } else { sync.permille() })
        })
    };
    let ground = move || {
        model
            .status
            .with(|status| Some(ground(status.as_ref()?.chain.as_ref()?, strategy)))
            .unwrap_or_default()
    };
    let joined_at = move || model.status.with(|status| Some(status.as_ref()?.chain.as_ref()?.joined_at.0));
    view! {
        <section class="card strip" data-in="chain" aria-label="Synchronisation">
            <div class="strip-words">
                <p class="strip-title" role="status" data-testid="sync-state" data-phase=phase>
                    {move || sentence(&says()).trim_end_matches('.').to_owned()}
                </p>
                <div
                    class="bar"
                    class:indeterminate=move || matches!(phase(), "starting" | "searching")
                    role="progressbar"
                    aria-label="Synchronised"
                    aria-valuemin="0"
                    aria-valuenow=done
                    aria-valuemax=total
                    data-testid="sync-progress"
                    data-done=done
                    data-total=total
                >
                    <i style:width=move || format!("{}.{}%", share() / 10, share() % 10)></i>
                </div>
                <p class="dim ground" data-testid="ground" data-joined-at=joined_at>{ground}</p>
            </div>
            <Slots />
        </section>
    }
}

/// The last slots, woven: one thread a slot, coloured by who proposed its block, empty where there is none.
#[component]
fn Slots() -> impl IntoView {
    let model = expect_context::<Model>();
    let strip = move || {
        let blocks = model.blocks.get();
        model.status.track();
        let now = session().and_then(|session| session.genesis.slot_at(clock::now().wall));
        let newest = blocks.first().map(|block| block.slot.0).unwrap_or_default();
        // The block of the present slot is often still on its way.
        let last = newest.max(now.map_or(0, |slot| slot.0.saturating_sub(1)));
        let by_slot: BTreeMap<u64, &BlockSummary> =
            blocks.iter().map(|block| (block.slot.0, block)).collect();
        (0..SLOTS)
            .map(|index| (last + 1 + index).checked_sub(SLOTS))
            .map(|slot| thread(slot, slot.and_then(|slot| by_slot.get(&slot).copied())))
            .collect_view()
    };
    view! {
        <div class="threads" role="img" aria-label="The last slots, and which of them have a block" data-testid="slots">
            {strip}
        </div>
    }
}

fn thread(slot: Option<u64>, block: Option<&BlockSummary>) -> impl IntoView + use<> {
    let (class, style, title) = match (slot, block) {
        (Some(slot), Some(block)) => {
            let hue = text::hue(&block.proposer.to_string());
            let fill = 40 + (block.transactions.min(200) * 60 / 200);
            let count = text::counted(block.transactions as u64, "transaction");
            let title = format!("slot {slot}: block {}, {count}", block.height);
            ("thread", format!("--hue:{hue};--fill:{fill}%"), title)
        }
        (Some(slot), None) => ("thread missed", String::new(), format!("slot {slot}: no block")),
        (None, _) => ("thread missed", String::new(), "before the chain began".into()),
    };
    view! { <i class=class style=style title=title></i> }
}
