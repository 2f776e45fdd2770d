//! Transactions that wait for a block, in the order a block would take them.

use leptos::prelude::*;

use super::{blocks::transaction, model::Model};
use crate::text::{counted, grouped, in_bytes};

/// Why nothing is shown.
fn nothing(model: Model) -> &'static str {
    match model.is_light() {
        true => "A light tab keeps no mempool: it could not check what is in it.",
        false => "Nothing waits for a block.",
    }
}

pub(super) fn card() -> impl IntoView {
    let model = expect_context::<Model>();
    let count = move |of: fn(&weft_core::node::MempoolView) -> usize| {
        model.mempool.with(|mempool| mempool.as_ref().map_or(0, of))
    };
    let best = move || {
        model.mempool.with(|mempool| mempool.as_ref().map(|view| view.best.clone())).unwrap_or_default()
    };
    view! {
        <section class="card" data-in="chain" aria-labelledby="mempool-title">
            <div class="card-head">
                <h2 id="mempool-title">"Mempool"</h2>
                <span class="dim">
                    <span data-testid="mempool-pending">{move || grouped(count(|view| view.pending) as u64)}</span>
                    " ready, "
                    <span data-testid="mempool-queued">{move || grouped(count(|view| view.queued) as u64)}</span>
                    " waiting, "
                    {move || in_bytes(count(|view| view.bytes) as u64)}
                </span>
            </div>
            <Fees />
            <Show
                when=move || count(|view| view.best.len()) != 0
                fallback=move || view! { <p class="empty">{move || nothing(model)}</p> }
            >
                <ul class="transactions scroll" data-testid="mempool">
                    <For each=best key=|waiting| waiting.id let(waiting)>
                        {transaction(waiting)}
                    </For>
                </ul>
            </Show>
        </section>
    }
}

/// What waits by what it pays, as bars, and what a fee must be to be taken.
#[component]
fn Fees() -> impl IntoView {
    let model = expect_context::<Model>();
    let minimum =
        Memo::new(move |_| model.mempool.with(|mempool| mempool.as_ref().map(|view| view.fees.minimum)));
    let bars = move || {
        let buckets = model.mempool.with(|mempool| mempool.as_ref().map(|view| view.histogram.clone()));
        let buckets = buckets.unwrap_or_default();
        let most = buckets.iter().map(|bucket| bucket.bytes).max().unwrap_or(0).max(1);
        let bars = buckets.into_iter().map(|bucket| {
            let title = format!(
                "from {} for 1,000 bytes: {}, {}",
                grouped(bucket.from),
                counted(bucket.count as u64, "transaction"),
                in_bytes(bucket.bytes as u64)
            );
            let style = format!("--part:{}%", (bucket.bytes * 100).div_ceil(most));
            view! { <i class="chart-bar" style=style title=title></i> }
        });
        bars.collect_view()
    };
    view! {
        <div
            class="chart"
            role="img"
            aria-label="What waits by its fee, the lowest on the left"
            data-testid="fee-histogram"
            data-minimum=minimum
        >
            {bars}
        </div>
        <p class="dim chart-note">
            {move || minimum.get().map(|rate| format!("At least {} for 1,000 bytes", grouped(rate)))}
        </p>
    }
}
