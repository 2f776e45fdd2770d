//! The line at the top: which chain, how high, and whether anybody is there.

use leptos::prelude::*;

use super::{
    model::{Model, Stage},
    parts::short,
};
use crate::text::{counted, grouped};

/// Whether anybody is there: a word for tests and styles, and words for people.
fn connection(model: Model) -> (&'static str, String) {
    match model.stage.get() {
        Stage::Starting(_) => ("starting", "Starting".into()),
        Stage::Failed(_) => ("failed", "Not started".into()),
        Stage::Running => match model.status.with(|status| status.as_ref().map(|status| status.peers)) {
            None => ("connecting", "Connecting".into()),
            Some(0) if model.seen_peers.get() => ("offline", "Connection lost, trying again".into()),
            Some(0) => ("connecting", "Connecting".into()),
            Some(peers) => ("connected", counted(peers as u64, "peer")),
        },
    }
}

pub(super) fn top() -> impl IntoView {
    let model = expect_context::<Model>();
    let state = Memo::new(move |_| connection(model));
    let chain = Memo::new(move |_| model.status.with(|status| status.as_ref()?.chain.clone()));
    let name = move || chain.with(|chain| chain.as_ref().map(|chain| chain.name.clone()));
    let height = move || chain.with(|chain| chain.as_ref().map(|chain| grouped(chain.height.0)));
    let head = Memo::new(move |_| chain.with(|chain| chain.as_ref().map(|chain| chain.head.to_string())));
    let last = Memo::new(move |_| {
        chain.with(|chain| {
            let chain = chain.as_ref()?;
            let (hash, root) = (chain.finalised_hash, chain.finalised_state_root);
            Some((chain.finalised.0, hash.to_string(), root.to_string()))
        })
    });
    view! {
        <header class="top">
            <h1 class="brand">
                <span class="logo" aria-hidden="true"></span>
                "Weft"
            </h1>
            <span class="chain-name" data-testid="chain-name">{name}</span>
            <span class="spacer"></span>
            <Show when=move || chain.with(Option::is_some)>
                <span class="fact">
                    <span class="label">"Height"</span>
                    <b data-testid="height">{height}</b>
                </span>
                <span
                    class="fact"
                    title="Nothing up to this block is ever undone"
                    data-testid="finalised"
                    data-height=move || last.with(|last| last.as_ref().map(|(height, ..)| *height))
                    data-hash=move || last.with(|last| last.as_ref().map(|(_, hash, _)| hash.clone()))
                    data-state-root=move || last.with(|last| last.as_ref().map(|(.., root)| root.clone()))
                >
                    <span class="label">"Final"</span>
                    <b>{move || last.with(|last| last.as_ref().map(|(height, ..)| grouped(*height)))}</b>
                </span>
                <span class="fact wide-only">
                    <span class="label">"Head"</span>
                    <span data-testid="head-hash" data-full=move || head.get()>
                        {move || head.get().map(|hash| short(hash, 8, 4))}
                    </span>
                </span>
            </Show>
            <span
                class="pill"
                role="status"
                data-testid="connection-state"
                data-state=move || state.with(|(word, _)| *word)
            >
                {move || state.with(|(_, words)| words.clone())}
            </span>
        </header>
    }
}
