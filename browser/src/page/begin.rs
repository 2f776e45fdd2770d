//! Whom this tab begins with, beside the peers that the page's server names, and whom it asks for what names in the DNS
//! stand for.

use leptos::{ev::SubmitEvent, prelude::*};
use libp2p::Multiaddr;
use weft_core::{
    node::Role,
    peers::{ListSource, MAX_LIST_SOURCES, can_dial, is_name},
};

use super::parts::sentence;
use crate::settings;

/// The addresses in a text, one a line.
///
/// # Errors
/// In words, when a browser can dial one of them no more than it can read it, or there are too many.
fn peers(text: &str) -> Result<Vec<Multiaddr>, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let peers = lines.map(|line| match line.parse::<Multiaddr>() {
        Ok(address) if is_name(&address) || can_dial(Role::Browser, &address) => Ok(address),
        Ok(_) => Err(format!("a browser cannot dial {line}: it needs /ws or /wss, /webrtc-direct with /certhash, or /dnsaddr and a name")),
        Err(_) => Err(format!("{line} is no address: /dns4/example.org/tcp/443/wss/p2p/12D3… is one")),
    });
    let peers: Vec<_> = peers.collect::<Result<_, _>>()?;
    match peers.len() {
        0..=settings::MAX_PEERS => Ok(peers),
        _ => Err(format!("at most {} peers are begun with", settings::MAX_PEERS)),
    }
}

fn resolver(text: &str) -> Result<&str, String> {
    let text = text.trim();
    let is_local =
        ["http://127.0.0.1", "http://localhost", "http://[::1]"].iter().any(|it| text.starts_with(it));
    match text {
        "" | settings::USUAL_RESOLVER => Ok(""),
        _ if text.starts_with("https://") || is_local => Ok(text),
        _ => Err("a resolver is given by its address, which begins with https://".into()),
    }
}

/// The places of lists in a text, one a line.
///
/// # Errors
/// In words, when one is none, or there are too many.
fn lists(text: &str) -> Result<Vec<ListSource>, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let lists = lines.map(|line| match line.parse::<ListSource>() {
        Ok(source) if source.url.starts_with("file:") => Err(format!("a page cannot read {line}")),
        Ok(source) => Ok(source),
        Err(error) => Err(format!("{line}: {error}")),
    });
    let lists: Vec<_> = lists.collect::<Result<_, _>>()?;
    match lists.len() {
        0..MAX_LIST_SOURCES => Ok(lists),
        _ => Err(format!(
            "at most {} lists are fetched beside that of this page’s server",
            MAX_LIST_SOURCES - 1
        )),
    }
}

fn save(kept_peers: &str, kept_lists: &str, kept_resolver: &str) -> Result<(), String> {
    let (peers, lists, resolver) = (peers(kept_peers)?, lists(kept_lists)?, resolver(kept_resolver)?);
    settings::keep_peers(&peers)?;
    settings::keep_lists(&lists)?;
    settings::keep_resolver(resolver)
}

pub(super) fn card() -> impl IntoView {
    let lines: Vec<_> = settings::peers().iter().map(ToString::to_string).collect();
    let named = RwSignal::new(lines.join("\n"));
    let lines: Vec<_> = settings::lists().iter().map(ToString::to_string).collect();
    let listed = RwSignal::new(lines.join("\n"));
    let asked = RwSignal::new(settings::resolver());
    let said: RwSignal<Option<Result<(), String>>> = RwSignal::new(None);
    let save = move |event: SubmitEvent| {
        event.prevent_default();
        said.set(Some(save(&named.get_untracked(), &listed.get_untracked(), &asked.get_untracked())));
    };
    view! {
        <section class="card" data-in="network" aria-labelledby="begin-title">
            <div class="card-head">
                <h2 id="begin-title">"Whom this tab begins with"</h2>
            </div>
            <form class="choices" on:submit=save aria-labelledby="begin-title">
                <label for="begin-peers">"Peers beside those of this page’s server, one address a line"</label>
                <textarea
                    id="begin-peers"
                    class="mono"
                    rows="3"
                    autocomplete="off"
                    autocapitalize="none"
                    spellcheck="false"
                    maxlength="8192"
                    placeholder="/dnsaddr/seeds.example.org"
                    data-testid="begin-peers"
                    prop:value=move || named.get()
                    on:input=move |event| named.set(event_target_value(&event))
                ></textarea>
                <label for="begin-lists">
                    "Where else the signed list of peers can be had, one address a line; after a # who signs it, if that is not this page’s server"
                </label>
                <textarea
                    id="begin-lists"
                    class="mono"
                    rows="2"
                    autocomplete="off"
                    autocapitalize="none"
                    spellcheck="false"
                    maxlength="8192"
                    placeholder="https://mirror.example.org/bootstrap.json"
                    data-testid="begin-lists"
                    prop:value=move || listed.get()
                    on:input=move |event| listed.set(event_target_value(&event))
                ></textarea>
                <label for="begin-resolver">"Who is asked what a /dnsaddr name stands for (DNS over HTTPS)"</label>
                <input
                    id="begin-resolver"
                    type="text"
                    class="mono"
                    autocomplete="off"
                    autocapitalize="none"
                    spellcheck="false"
                    maxlength="512"
                    placeholder=settings::USUAL_RESOLVER
                    data-testid="begin-resolver"
                    bind:value=asked
                />
                <div class="send-line">
                    <button type="submit" data-testid="begin-save">"Save"</button>
                    <span class="dim">"It counts from the next reload on."</span>
                </div>
                <p
                    class="outcome"
                    role="status"
                    data-testid="begin-result"
                    data-state=move || said.with(|said| said.as_ref().map(|said| if said.is_ok() { "done" } else { "refused" }))
                >
                    {move || {
                        said.with(|said| match said {
                            None => String::new(),
                            Some(Err(refused)) => sentence(refused),
                            Some(Ok(())) => "Saved. Reload the page to begin with them.".into(),
                        })
                    }}
                </p>
            </form>
        </section>
    }
}
