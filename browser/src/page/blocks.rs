//! Blocks as they arrive, newest first, and one block's transactions on a click.

use leptos::prelude::*;
use weft_core::{
    node::{BlockRef, BlockSummary, BlockView, Command, Reply, StatusView, TransactionView},
    primitives::Hash,
};

use super::{
    delays::{self, delay},
    model::Model,
    parts::{colour, sentence, short},
    session,
};
use crate::text::{grouped, in_bytes};

pub(super) fn card() -> impl IntoView {
    let model = expect_context::<Model>();
    view! {
        <section class="card" data-in="chain" aria-labelledby="blocks-title">
            <h2 id="blocks-title">"Blocks"</h2>
            {delays::chart()}
            <Show
                when=move || model.blocks.with(|blocks| !blocks.is_empty())
                fallback=move || view! { <p class="empty">{move || nothing(model)}</p> }
            >
                <ol class="rows blocks" data-testid="blocks">
                    <For each=move || model.blocks.get() key=|block| block.hash let(block)>
                        <Row block />
                    </For>
                </ol>
            </Show>
        </section>
    }
}

/// Why no block is shown.
fn nothing(model: Model) -> &'static str {
    match model.is_light() {
        true => "The next block will appear here. A light tab checks who signed it, and executes nothing.",
        false => "The first block will appear here once it is verified.",
    }
}

#[component]
fn Row(block: BlockSummary) -> impl IntoView {
    let model = expect_context::<Model>();
    let hash = block.hash;
    let is_open = Memo::new(move |_| model.open_block.get() == Some(hash));
    let toggle = move |_| {
        model.open_block.update(|open| *open = if *open == Some(hash) { None } else { Some(hash) });
    };
    let proposer = block.proposer.to_string();
    let height = block.height;
    let is_final = Memo::new(move |_| {
        let finalised =
            |status: &StatusView| status.chain.as_ref().is_some_and(|chain| height <= chain.finalised);
        model.status.with(|status| status.as_ref().is_some_and(finalised))
    });
    let mark = move || match is_final.get() {
        true => {
            view! { <span class="mark final" title="Final: it is never undone" aria-label="final">"✓"</span> }
        }
        false => {
            view! { <span class="mark" title="Not final yet: another branch could still win" aria-label="not final yet">"○"</span> }
        }
    };
    view! {
        <li
            data-testid="block"
            data-height=block.height.0
            data-hash=hash.to_string()
            data-final=move || is_final.get().to_string()
            data-transactions=block.transactions
        >
            <button
                type="button"
                class="row"
                aria-expanded=move || if is_open.get() { "true" } else { "false" }
                on:click=toggle
            >
                {colour(&proposer)}
                <b class="number">{grouped(height.0)}</b>
                {short(hash.to_string(), 8, 4)}
                <span class="spacer"></span>
                <span class="dim delay" title="After its slot began, the block was verified here">{delay(&block).map(delays::in_words)}</span>
                {mark}
                <span class="count" class:none=block.transactions == 0>
                    {format!("{} tx", grouped(block.transactions as u64))}
                </span>
            </button>
            {move || is_open.get().then(|| view! { <Details hash /> })}
        </li>
    }
}

#[component]
fn Details(hash: Hash) -> impl IntoView {
    let session = session();
    let block = RwSignal::new(None);
    leptos::task::spawn_local(async move {
        let Some(session) = session else { return };
        let answer = match session.handle.call(Command::Block(BlockRef::Hash(hash))).await {
            Ok(Reply::Block(view)) => Ok(view),
            Ok(_) => Err("the peer gave another answer".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        // The details may have been closed meanwhile.
        let _ = block.try_set(Some(answer));
    });
    view! {
        <div class="details" data-testid="block-details">
            {move || match block.get() {
                None => view! { <p class="dim">"Reading…"</p> }.into_any(),
                Some(Err(error)) => view! { <p class="error">{sentence(&error)}</p> }.into_any(),
                Some(Ok(view)) => facts(view).into_any(),
            }}
        </div>
    }
}

fn facts(view: BlockView) -> impl IntoView {
    let summary = view.summary;
    let none = view.transactions.is_empty();
    view! {
        <dl class="facts">
            <dt>"Hash"</dt>
            <dd>{short(summary.hash.to_string(), 16, 8)}</dd>
            <dt>"Parent"</dt>
            <dd>{short(view.parent.to_string(), 16, 8)}</dd>
            <dt>"State root"</dt>
            <dd>{short(view.state_root.to_string(), 16, 8)}</dd>
            <dt>"Proposer"</dt>
            <dd>{short(summary.proposer.to_string(), 16, 8)}</dd>
            <dt>"Slot"</dt>
            <dd>{grouped(summary.slot.0)}</dd>
            <dt>"Size"</dt>
            <dd>{in_bytes(summary.bytes as u64)}</dd>
        </dl>
        {none.then(|| view! { <p class="dim">"No transactions."</p> })}
        <ul class="transactions">{view.transactions.into_iter().map(transaction).collect_view()}</ul>
    }
}

/// One transaction, in a block or in the mempool.
pub(super) fn transaction(transaction: TransactionView) -> impl IntoView {
    let TransactionView { id, from, to, amount, fee, nonce, memo, .. } = transaction;
    view! {
        <li
            class="transaction"
            data-testid="transaction"
            data-id=id.to_string()
            data-from=from.to_string()
            data-to=to.to_string()
            data-amount=amount.0
            title=format!("transaction {id}, nonce {nonce}")
        >
            <span class="way">
                {short(from.to_string(), 9, 4)}
                <span class="arrow" aria-label="to">"→"</span>
                {short(to.to_string(), 9, 4)}
            </span>
            <span class="spacer"></span>
            <b>{grouped(amount.0)}</b>
            <span class="dim">"fee "{grouped(fee.0)}</span>
            {(!memo.is_empty()).then(|| view! { <q class="memo">{memo}</q> })}
        </li>
    }
}
