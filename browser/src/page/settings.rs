//! How this tab joins the chain, and the choice of another way.

use leptos::{ev::SubmitEvent, prelude::*};
use weft_core::{node::Role, primitives::Hash, sync::Strategy};

use super::session;
use crate::settings;

/// The ways that are offered, the usual one first, each with a name and what it is in a few words.
const WAYS: [(&str, &str, &str); 6] = [
    ("snap", "Snap", "balances by proof at once, then everything"),
    ("warp", "Warp", "as snap, then the headers of before"),
    ("fast", "Fast", "as snap, once every header is checked"),
    ("full", "Full", "execute every block from genesis on"),
    ("light", "Light", "proofs only, next to no storage"),
    ("checkpoint", "From a checkpoint", "of a hash that you trust"),
];

/// The strategy of a form's fields.
///
/// # Errors
/// In words, when there is none.
fn chosen(way: &str, hash: &str) -> Result<Strategy, String> {
    match way {
        "checkpoint" => match hash.trim().parse() {
            Ok(Hash::ZERO) => Err("A hash of zeros is no block's.".into()),
            Ok(hash) => Ok(Strategy::Checkpoint(hash)),
            Err(_) => {
                Err("A checkpoint is given by its hash: 64 hex digits, from somebody you trust.".into())
            }
        },
        other => other.parse().map_err(|error: weft_core::sync::ParseStrategyError| error.to_string()),
    }
}

fn way(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::Full => "full",
        Strategy::Light => "light",
        Strategy::Checkpoint(_) => "checkpoint",
        Strategy::Snap => "snap",
        Strategy::Fast => "fast",
        Strategy::Warp => "warp",
    }
}

pub(super) fn card() -> impl IntoView {
    let Some(session) = session() else { return ().into_any() };
    let now = session.strategy;
    // Another choice may wait for the next start already.
    let kept = settings::strategy();
    let picked = RwSignal::new(way(kept));
    let hash = RwSignal::new(match kept {
        Strategy::Checkpoint(hash) => hash.to_string(),
        _ => String::new(),
    });
    // Whether what was saved differs from how this tab has joined.
    let said: RwSignal<Option<Result<bool, String>>> = RwSignal::new((kept != now).then_some(Ok(true)));
    let save = move |event: SubmitEvent| {
        event.prevent_default();
        let saved = chosen(picked.get_untracked(), &hash.get_untracked()).and_then(|strategy| {
            settings::choose(strategy, strategy != now)?;
            Ok(strategy != now)
        });
        said.set(Some(saved));
    };
    let explained = move || {
        // Only the kind matters for what is told.
        let strategy = chosen(picked.get(), &hash.get()).unwrap_or(Strategy::Checkpoint(Hash::ZERO));
        let told = strategy.explain();
        [("Downloads", told.downloads), ("Verifies", told.verifies), ("Trusts", told.trusts)]
    };
    let option = move |(id, name, words): (&'static str, &'static str, &'static str)| {
        let usual = (id == way(Role::Browser.strategy())).then_some(" (usual)");
        view! {
            <label class="choice" class:current=move || picked.get() == id>
                <input
                    type="radio"
                    name="strategy"
                    value=id
                    data-testid=format!("strategy-{id}")
                    prop:checked=move || picked.get() == id
                    on:change=move |_| picked.set(id)
                />
                <span><b>{name}</b>{usual}<span class="dim">": "{words}</span></span>
            </label>
        }
    };
    view! {
        <section class="card" data-in="network" aria-labelledby="settings-title">
            <div class="card-head">
                <h2 id="settings-title">"How this tab joins"</h2>
                <span class="dim" data-testid="strategy" data-strategy=now.to_string()>"now: "{way(now)}</span>
            </div>
            <form class="choices" on:submit=save aria-labelledby="settings-title">
                {WAYS.map(option).collect_view()}
                <Show when=move || picked.get() == "checkpoint">
                    <input
                        type="text"
                        class="mono"
                        autocomplete="off"
                        autocapitalize="none"
                        spellcheck="false"
                        maxlength="80"
                        placeholder="64 hex digits"
                        aria-label="The checkpoint's hash"
                        data-testid="strategy-hash"
                        bind:value=hash
                    />
                </Show>
                <dl class="facts told" data-testid="strategy-explained">
                    {move || {
                        explained()
                            .map(|(name, words)| view! { <dt>{name}</dt> <dd>{words}</dd> })
                            .collect_view()
                    }}
                </dl>
                <div class="send-line">
                    <button type="submit" data-testid="strategy-save">"Save"</button>
                    <span class="dim">"It counts from the next reload on."</span>
                </div>
                <p
                    class="outcome"
                    role="status"
                    data-testid="strategy-result"
                    data-state=move || said.with(|said| said.as_ref().map(|said| if said.is_ok() { "done" } else { "refused" }))
                >
                    {move || {
                        said.with(|said| match said {
                            None => String::new(),
                            Some(Err(refused)) => super::parts::sentence(refused),
                            Some(Ok(false)) => "Saved. This tab has joined that way already.".into(),
                            Some(Ok(true)) => {
                                "Saved. Reload the page: what is stored of the chain is then deleted, and this tab joins \
                                 again. Your keys stay."
                                    .into()
                            }
                        })
                    }}
                </p>
            </form>
        </section>
    }
    .into_any()
}
