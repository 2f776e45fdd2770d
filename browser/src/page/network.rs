//! Who this tab is connected to, and how; and what it is itself.

use leptos::prelude::*;
use weft_core::node::{DeedView, LinkState, LinkView, PeerView, Way};

use super::{
    model::Model,
    parts::{colour, copy, short},
    session,
};
use crate::text::{grouped, in_bytes, time_of_day};

pub(super) fn peers() -> impl IntoView {
    let model = expect_context::<Model>();
    view! {
        <section class="card first" data-in="network" aria-labelledby="peers-title">
            <h2 id="peers-title">"Peers"</h2>
            <Show
                when=move || model.peers.with(|peers| !peers.is_empty())
                fallback=|| view! { <p class="empty">"No peers yet. This tab keeps trying."</p> }
            >
                <ul class="rows" data-testid="peers">
                    // A row is drawn anew when anything about its peer has changed.
                    {move || model.peers.with(|peers| peers.iter().map(|peer| row(model, peer)).collect_view())}
                </ul>
            </Show>
        </section>
    }
}

fn row(model: Model, peer: &PeerView) -> impl IntoView + use<> {
    let addresses: Vec<_> = peer.links.iter().map(|link| link.address.clone()).collect();
    let found: Vec<_> = peer.found.iter().map(|way| words(way)).collect();
    let found = found.join(", ");
    let agent = peer.agent.clone().unwrap_or_else(|| "not yet identified".into());
    view! {
        <li class="row peer" data-testid="peer" data-peer=peer.peer.clone() title=addresses.join("\n")>
            {colour(&peer.peer)}
            <span class="two-lines">
                {short(peer.peer.clone(), 8, 6)}
                <span class="dim">{agent}</span>
                <span class="dim" data-testid="peer-found" title="How this tab came to know of it">{found}</span>
            </span>
            <span class="spacer"></span>
            <span class="dim">{peer.height.map(|height| format!("at {}", grouped(height.0)))}</span>
            <span class="dim" data-testid="peer-latency">{peer.ping_millis.map(|millis| format!("{millis} ms"))}</span>
            {standing(model, peer)}
            <span class="tags" data-testid="peer-transport">
                {peer.links.iter().map(tag).collect_view()}
                {peer.for_blocks.then(|| view! {
                    <span class="tag" data-testid="for-blocks" title="Neither transactions nor addresses of peers pass here, so that nobody can find this connection out by them">
                        "blocks only"
                    </span>
                })}
            </span>
        </li>
        {history(model, peer)}
    }
}

/// What this tab thinks of a peer, when there is something to think; a click says why.
fn standing(model: Model, peer: &PeerView) -> Option<impl IntoView + use<>> {
    let class = if peer.score < 0 { "score" } else { "score good" };
    let (score, id) = (format!("{:+}", peer.score), peer.peer.clone());
    let open = is_open(model, peer);
    let toggle = move |_| {
        model.open_peer.update(|open| *open = open.take().is_none_or(|it| it != id).then(|| id.clone()))
    };
    (peer.score != 0 || !peer.deeds.is_empty()).then(|| {
        view! {
            <button
                type="button"
                class=class
                data-testid="peer-score"
                title="Reputation, and why"
                aria-expanded=move || open.get().to_string()
                on:click=toggle
            >
                {score}
            </button>
        }
    })
}

fn is_open(model: Model, peer: &PeerView) -> Memo<bool> {
    let id = peer.peer.clone();
    Memo::new(move |_| model.open_peer.with(|open| open.as_ref() == Some(&id)))
}

/// What a peer did wrong, once a person asks, the newest first.
fn history(model: Model, peer: &PeerView) -> impl IntoView + use<> {
    let line = |deed: &DeedView| {
        let points =
            if deed.points == -1 { "1 point".to_owned() } else { format!("{} points", -deed.points) };
        format!("{}: {}, {points}", time_of_day(deed.at), deed.offence)
    };
    let lines: Vec<_> = peer.deeds.iter().rev().map(line).collect();
    let open = is_open(model, peer);
    move || {
        let nothing =
            lines.is_empty().then(|| view! { <p data-testid="no-deeds">"It did nothing wrong."</p> });
        open.get().then(|| {
            view! {
                <li class="deeds dim" data-testid="peer-deeds">
                    {nothing}
                    {lines.iter().map(|line| view! { <p data-testid="deed">{line.clone()}</p> }).collect_view()}
                    <p>
                        "Of use: up to 20. Below -20 it is disconnected, below -50 banned. Points of either kind halve in ten minutes."
                    </p>
                </li>
            }
        })
    }
}

/// One connection: over what, and whether it is direct.
fn tag(link: &LinkView) -> impl IntoView + use<> {
    let (state, meaning) = match link.state {
        LinkState::Direct => ("direct", "Straight to the peer"),
        LinkState::Upgraded => ("direct", "Straight to the peer, whom a relay has introduced"),
        LinkState::Relayed => ("relayed", "Through a relay, for small messages only"),
        LinkState::Upgrading => ("upgrading", "Through a relay; a direct connection is being made"),
    };
    let text = match link.state {
        LinkState::Direct | LinkState::Upgraded if link.transport == "webrtc" => "webrtc, direct".to_owned(),
        LinkState::Upgrading => "relayed, going direct".to_owned(),
        LinkState::Direct | LinkState::Upgraded | LinkState::Relayed => link.transport.clone(),
    };
    let carried = format!("{} out, {} in", in_bytes(link.sent), in_bytes(link.received));
    view! {
        <span class="tag" data-testid="link" data-state=state data-transport=link.transport.clone() title=meaning>{text}</span>
        <span class="dim" data-testid="link-bytes" data-sent=link.sent data-received=link.received title="Since it was opened">
            {carried}
        </span>
    }
}

/// How a peer was found, for a person.
fn words(found: &str) -> &str {
    match found {
        "node-list" => "from a signed list",
        "exchange" => "told by a peer",
        "dht" => "by a lookup",
        "rendezvous" => "at a relay’s rendezvous",
        "inbound" => "it called",
        other => other,
    }
}

pub(super) fn this_peer() -> impl IntoView {
    let model = expect_context::<Model>();
    let Some(session) = session() else { return ().into_any() };
    let peer = session.peer.to_string();
    let chain = session.chain.to_string();
    let begun_with = session.relays.iter().filter(|_| !session.off.contains(&Way::Bootstrap));
    let relays: Vec<_> = begun_with.map(ToString::to_string).collect();
    let reserved = Memo::new(move |_| {
        model.status.with(|status| {
            status
                .as_ref()
                .is_some_and(|status| status.addresses.iter().any(|address| address.contains("/p2p-circuit")))
        })
    });
    let version = move || model.status.with(|status| status.as_ref().map(|status| status.version.clone()));
    let root = move || {
        model
            .status
            .with(|status| Some(status.as_ref()?.chain.as_ref()?.state_root.to_string()))
            .map(|root| short(root, 12, 6))
    };
    let opened_at = session.opened_at;
    let opened_at = opened_at.map_or_else(String::new, |height| height.to_string());
    let stored = match opened_at.as_str() {
        "" => "the chain is in memory only".to_owned(),
        "0" => "the chain is kept here".to_owned(),
        height => format!("went on from block {height}"),
    };
    view! {
        <section class="card" data-in="network" aria-labelledby="self-title">
            <h2 id="self-title">"This tab"</h2>
            <dl class="facts">
                <dt>"Peer"</dt>
                <dd>
                    <span data-testid="peer-id" data-full=peer.clone()>{short(peer.clone(), 10, 8)}</span>
                    {copy(peer, "Copy the peer id")}
                </dd>
                <dt>"Chain"</dt>
                <dd data-testid="chain">{short(chain, 12, 6)}</dd>
                <dt>"State root"</dt>
                <dd data-testid="state-root">{root}</dd>
                <dt>"Relay"</dt>
                <dd data-testid="relay" data-reserved=move || reserved.get().to_string()>
                    {move || if reserved.get() { "others can reach this tab" } else { "asking for a slot" }}
                    {relays.into_iter().map(|relay| view! { <span class="address dim">{relay}</span> }).collect_view()}
                </dd>
                <dt>"Storage"</dt>
                <dd
                    data-testid="storage"
                    data-opened-at=opened_at
                >
                    {stored}
                    {move || model.usage.get()}
                </dd>
                <dt>"Version"</dt>
                <dd>{version}</dd>
            </dl>
        </section>
    }
    .into_any()
}

/// What this tab has refused, and how often; nothing is shown before there is something.
pub(super) fn refused() -> impl IntoView {
    let model = expect_context::<Model>();
    let refusals = Memo::new(move |_| {
        model.status.with(|status| status.as_ref().map(|status| status.refusals.clone()).unwrap_or_default())
    });
    let row = |(reason, count): (String, u64)| {
        view! {
            <dt>{reason.clone()}</dt>
            <dd data-testid="refusal" data-reason=reason>{grouped(count)}</dd>
        }
    };
    move || {
        let refusals = refusals.get();
        (!refusals.is_empty()).then(|| {
            view! {
                <section class="card" data-in="network" data-testid="refused" aria-labelledby="refused-title">
                    <h2 id="refused-title">"Refused"</h2>
                    <p class="dim">"What this tab did not take from others, and how often since it was opened."</p>
                    <dl class="facts">{refusals.into_iter().map(row).collect_view()}</dl>
                </section>
            }
        })
    }
}
