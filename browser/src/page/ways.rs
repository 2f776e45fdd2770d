//! The ways in which this tab finds others, and which of them the person has switched off.

use std::collections::BTreeSet;

use leptos::{ev::SubmitEvent, prelude::*};
use weft_core::node::Way;

use super::{parts::sentence, session};
use crate::settings;

/// What a way is, for people.
const fn words(way: Way) -> (&'static str, &'static str) {
    match way {
        Way::Bootstrap => {
            ("Peers to begin with", "those that this page’s server names, and your own addresses below")
        }
        Way::Names => ("Names in the DNS", "what your own /dnsaddr names below stand for"),
        Way::Lists => ("Signed lists of peers", "that of this page’s server, and those that you name below"),
        Way::Exchange => ("Peers tell of peers", "who is connected is asked for others, and told of them"),
        Way::Dht => (
            "The distributed hash table",
            "lookups in it; without it files and rooms have only whom this tab knows",
        ),
        Way::Rendezvous => {
            ("Rendezvous at relays", "this tab writes itself down there, and asks who else has")
        }
    }
}

pub(super) fn card() -> impl IntoView {
    let Some(session) = session() else { return ().into_any() };
    let now = session.off.clone();
    // Another choice may wait for the next start already.
    let kept = settings::ways_off();
    let said: RwSignal<Option<Result<bool, String>>> = RwSignal::new((kept != now).then_some(Ok(true)));
    let off = RwSignal::new(kept);
    let in_use: Vec<_> = Way::ALL.iter().filter(|way| !now.contains(way)).map(|way| way.name()).collect();
    let save = move |event: SubmitEvent| {
        event.prevent_default();
        let chosen: BTreeSet<Way> = off.get_untracked();
        said.set(Some(settings::keep_ways_off(&chosen).map(|()| chosen != now)));
    };
    let option = move |way: Way| {
        let (name, meaning) = words(way);
        let toggle = move |event| {
            off.update(|off| {
                if event_target_checked(&event) {
                    off.remove(&way);
                } else {
                    off.insert(way);
                }
            });
        };
        view! {
            <label class="choice">
                <input
                    type="checkbox"
                    data-testid=format!("way-{way}")
                    prop:checked=move || off.with(|off| !off.contains(&way))
                    on:change=toggle
                />
                <span><b>{name}</b><span class="dim">": "{meaning}</span></span>
            </label>
        }
    };
    view! {
        <section class="card" data-in="network" aria-labelledby="ways-title">
            <div class="card-head">
                <h2 id="ways-title">"How this tab finds others"</h2>
            </div>
            <form
                class="choices"
                on:submit=save
                aria-labelledby="ways-title"
                data-testid="ways"
                data-on=in_use.join(" ")
            >
                {Way::ALL.map(option).collect_view()}
                <Show when=move || off.with(|off| off.len() == Way::ALL.len())>
                    <p class="dim" data-testid="ways-none">
                        "With all of them off this tab is alone until it opens somebody’s link."
                    </p>
                </Show>
                <div class="send-line">
                    <button type="submit" data-testid="ways-save">"Save"</button>
                    <span class="dim">"It counts from the next reload on."</span>
                </div>
                <p
                    class="outcome"
                    role="status"
                    data-testid="ways-result"
                    data-state=move || said.with(|said| said.as_ref().map(|said| if said.is_ok() { "done" } else { "refused" }))
                >
                    {move || {
                        said.with(|said| match said {
                            None => String::new(),
                            Some(Err(refused)) => sentence(refused),
                            Some(Ok(false)) => "Saved. This tab does so already.".into(),
                            Some(Ok(true)) => "Saved. Reload the page to find others that way.".into(),
                        })
                    }}
                </p>
            </form>
        </section>
    }
    .into_any()
}
