//! How this tab passes payments on, and the choice of another way.

use leptos::{ev::SubmitEvent, prelude::*};
use weft_core::gossip::TxMode;

use super::{parts::sentence, session};
use crate::settings;

/// The ways, the usual one first, each with a name and what it is in a few words.
const WAYS: [(TxMode, &str, &str); 3] = [
    (TxMode::PushPull, "Push and pull", "to some peers at once, to the others by announcement"),
    (TxMode::Push, "Push", "to all peers at once; the quickest, and the most bytes"),
    (TxMode::Pull, "Pull", "by announcement only; the fewest bytes, and the slowest"),
];

pub(super) fn card() -> impl IntoView {
    let Some(session) = session() else { return ().into_any() };
    let now = session.tx_mode;
    // Another choice may wait for the next start already.
    let picked = RwSignal::new(settings::tx_mode());
    let said: RwSignal<Option<Result<(), String>>> = RwSignal::new(None);
    let save = move |event: SubmitEvent| {
        event.prevent_default();
        said.set(Some(settings::keep_tx_mode(picked.get_untracked())));
    };
    let option = move |(mode, name, words): (TxMode, &'static str, &'static str)| {
        let usual = (mode == TxMode::default()).then_some(" (usual)");
        view! {
            <label class="choice" class:current=move || picked.get() == mode>
                <input
                    type="radio"
                    name="tx-mode"
                    value=mode.to_string()
                    data-testid=format!("tx-mode-{mode}")
                    prop:checked=move || picked.get() == mode
                    on:change=move |_| picked.set(mode)
                />
                <span><b>{name}</b>{usual}<span class="dim">": "{words}</span></span>
            </label>
        }
    };
    view! {
        <section class="card" data-in="network" aria-labelledby="passing-title">
            <div class="card-head">
                <h2 id="passing-title">"How this tab passes payments on"</h2>
                <span class="dim" data-testid="tx-mode" data-mode=now.to_string()>"now: "{now.to_string()}</span>
            </div>
            <form class="choices" on:submit=save aria-labelledby="passing-title">
                {WAYS.map(option).collect_view()}
                <div class="send-line">
                    <button type="submit" data-testid="tx-mode-save">"Save"</button>
                    <span class="dim">"It counts from the next reload on."</span>
                </div>
                <p
                    class="outcome"
                    role="status"
                    data-testid="tx-mode-result"
                    data-state=move || said.with(|said| said.as_ref().map(|said| if said.is_ok() { "done" } else { "refused" }))
                >
                    {move || {
                        said.with(|said| match said {
                            None => String::new(),
                            Some(Err(refused)) => sentence(refused),
                            Some(Ok(())) => "Saved. Reload the page for it to count.".into(),
                        })
                    }}
                </p>
            </form>
        </section>
    }
    .into_any()
}
