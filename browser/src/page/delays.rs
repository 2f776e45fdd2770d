//! How long after their slots began the last blocks were verified here.

use leptos::prelude::*;
use weft_core::node::BlockSummary;

use super::{model::Model, session};
use crate::text::grouped;

/// A bar is full at so many times the median: one late block must not flatten all others.
const FULL: u64 = 10;

/// How many milliseconds after its slot began a block was verified here. Nothing for what was caught up on later, which
/// says nothing about the network.
pub(super) fn delay(block: &BlockSummary) -> Option<u64> {
    let genesis = &session()?.genesis;
    let millis = block.executed_at.checked_sub(genesis.slot_start(block.slot).0)?;
    (millis < 1000.max(2 * genesis.slot_millis)).then_some(millis)
}

pub(super) fn in_words(millis: u64) -> String {
    match millis {
        0..1000 => format!("+{millis} ms"),
        _ => format!("+{}.{} s", millis / 1000, millis % 1000 / 100),
    }
}

/// The last blocks as bars, the newest on the right, as high as they were late: nearly none where that is not known.
pub(super) fn chart() -> impl IntoView {
    let model = expect_context::<Model>();
    let delays = Memo::new(move |_| {
        model.blocks.with(|blocks| {
            blocks.iter().rev().map(|block| (block.height.0, delay(block))).collect::<Vec<_>>()
        })
    });
    let known = move || {
        let mut known: Vec<u64> =
            delays.with(|delays| delays.iter().filter_map(|(_, millis)| *millis).collect());
        known.sort_unstable();
        known
    };
    let median = Memo::new(move |_| {
        let known = known();
        known.get(known.len() / 2).copied()
    });
    let bars = move || {
        let most = known().last().copied().unwrap_or(0);
        let full = most.min(FULL * median.get().unwrap_or(0).max(1)).max(1);
        let bars = delays.get().into_iter().map(|(height, millis)| {
            let told = millis.map_or_else(|| "caught up on later".to_owned(), in_words);
            let title = format!("Block {}: {told}", grouped(height));
            let style = format!("--part:{}%", (millis.unwrap_or(0) * 100).div_ceil(full).min(100));
            view! {
                <i
                    class="chart-bar"
                    class:unknown=millis.is_none()
                    style=style
                    title=title
                    data-height=height
                    data-millis=millis
                ></i>
            }
        });
        bars.collect_view()
    };
    view! {
        <div
            class="chart"
            role="img"
            aria-label="How long after their slots began the last blocks were verified here, the newest on the right"
            data-testid="arrival-delays"
            data-median=median
        >
            {bars}
        </div>
        <p class="dim chart-note">
            {move || {
                let most = known().last().copied();
                median
                    .get()
                    .zip(most)
                    .map(|(median, most)| {
                        format!("Verified {} after the slot began, {} at most", in_words(median), in_words(most))
                    })
            }}
        </p>
    }
}
