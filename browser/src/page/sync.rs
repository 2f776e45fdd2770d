//! How far this tab is with verifying the chain, and the rhythm of its blocks.

use std::collections::BTreeMap;

use leptos::prelude::*;
use weft_core::node::{BlockSummary, SyncPhase, SyncView};

use super::{model::Model, session};
use crate::{clock, text};

/// Slots in the strip.
const SLOTS: u64 = 48;

fn words(sync: &SyncView) -> String {
    match sync.phase {
        SyncPhase::Starting => "Rebuilding the accounts".into(),
        SyncPhase::Searching => "Looking for peers that have the chain".into(),
        SyncPhase::Proof => "Checking the proof of the finalised chain".into(),
        SyncPhase::State => format!(
            "Downloading accounts: {} of about {}",
            text::grouped(sync.done),
            text::grouped(sync.total)
        ),
        SyncPhase::Light => "Light: following finalised checkpoints".into(),
        SyncPhase::Headers => "Checking headers".into(),
        SyncPhase::Bodies => {
            let left = sync
                .seconds_left
                .map(|left| format!(", about {} left", text::seconds(left)))
                .unwrap_or_default();
            format!(
                "Verifying blocks: {} of {} at {} a second{left}",
                text::grouped(sync.done),
                text::grouped(sync.total),
                text::grouped(sync.rate.into())
            )
        }
        SyncPhase::Following => "Verified from genesis, and following".into(),
    }
}

const fn phase(phase: SyncPhase) -> &'static str {
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

pub(super) fn card() -> impl IntoView {
    let model = expect_context::<Model>();
    let says = move || model.sync.with(|sync| sync.as_ref().map_or("Starting".into(), words));
    let phase = move || model.sync.with(|sync| sync.as_ref().map_or("starting", |sync| phase(sync.phase)));
    let done = move || model.sync.with(|sync| sync.as_ref().map_or(0, |sync| sync.done));
    let total = move || model.sync.with(|sync| sync.as_ref().map_or(0, |sync| sync.total));
    let share = move || {
        let (done, total) = (done(), total());
        if total == 0 { 0.0 } else { (done as f64 / total as f64).min(1.0) * 100.0 }
    };
    view! {
        <section class="card strip" data-in="chain" aria-label="Synchronisation">
            <div class="strip-words">
                <p class="strip-title" role="status" data-testid="sync-state" data-phase=phase>
                    {says}
                </p>
                <div
                    class="bar"
                    class:indeterminate=move || matches!(phase(), "starting" | "searching")
                    role="progressbar"
                    aria-label="Blocks verified"
                    aria-valuemin="0"
                    aria-valuenow=done
                    aria-valuemax=total
                    data-testid="sync-progress"
                    data-done=done
                    data-total=total
                >
                    <i style:width=move || format!("{:.2}%", share())></i>
                </div>
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
