//! The distributed hash table: where is a peer, who has something, how does one get there, and whom does this tab know.

use leptos::{ev::SubmitEvent, prelude::*};
use libp2p::PeerId;
use weft_core::{
    content::Cid,
    node::{BucketView, Command, DhtQuery, DhtTarget, Reply, TraceStep, TraceView},
    primitives::Hash,
};

use super::{
    parts::{sentence, short},
    session,
};
use crate::text::{counted, shortened};

/// What came of a question: a word for tests and styles, words, and a list.
type Found = (&'static str, String, Vec<String>);

/// A question: a peer id asks where it is; anything else is a key, of which is asked who has what it names.
fn question(text: &str) -> Result<DhtQuery, &'static str> {
    let text = text.trim();
    if let Ok(peer) = text.parse::<PeerId>() {
        return Ok(DhtQuery::FindPeer(peer));
    }
    key(text).map(DhtQuery::Providers)
}

/// The same question, watched step by step.
fn trace(text: &str) -> Result<DhtQuery, &'static str> {
    question(text).map(|query| match query {
        DhtQuery::Providers(key) => DhtQuery::Trace(DhtTarget::Key(key)),
        DhtQuery::FindPeer(peer) => DhtQuery::Trace(DhtTarget::Peer(peer)),
        other => other,
    })
}

/// As `weft dht` reads a key: a file's name, a hash, or a text that is hashed.
fn key(text: &str) -> Result<Hash, &'static str> {
    match (text.trim(), text.trim().parse::<Cid>(), text.trim().parse::<Hash>()) {
        ("", ..) => Err("Give a peer's id, a file's name, or a key."),
        (_, Ok(Cid(hash)), _) | (_, _, Ok(hash)) => Ok(hash),
        (text, ..) => Ok(Hash::of(text.as_bytes())),
    }
}

fn told(reply: Reply) -> Found {
    match reply {
        Reply::Addresses(at) if at.is_empty() => ("nobody", "Nobody knows where it is.".into(), at),
        Reply::Addresses(at) => ("found", "It is said to be at:".into(), at),
        Reply::Providers(who) if who.is_empty() => ("nobody", "Nobody says that they have it.".into(), who),
        Reply::Providers(who) => ("found", "These say that they have it:".into(), who),
        Reply::Trace(view) => ("found", ended(&view), view.steps.iter().map(step).collect()),
        _ => ("done", "It is said in the table.".into(), Vec::new()),
    }
}

fn ended(trace: &TraceView) -> String {
    let answered = trace.steps.iter().filter(|step| step.failed.is_none()).count();
    let (asked, known) = (trace.steps.len(), counted(trace.known as u64, "peer"));
    format!(
        "From {known} in this tab's own table, {answered} of {asked} asked have answered in {} ms:",
        trace.took_millis
    )
}

/// One question: how far the one who was asked is from what is looked for, and what came of it.
fn step(step: &TraceStep) -> String {
    let peer = shortened(&step.peer, 8, 6);
    let from = match step.told_by {
        0 => "own table".to_owned(),
        other => format!("step {other}"),
    };
    let outcome = match (&step.failed, step.took_millis) {
        (None, Some(millis)) => format!("{millis} ms, told of {}, {} nearer", step.told, step.nearer),
        (Some(why), _) => why.clone(),
        (None, None) => String::new(),
    };
    format!("{} bits away: {peer} (from {from}): {outcome}", step.distance_bits)
}

pub(super) fn card() -> impl IntoView {
    let Some(session) = session() else { return ().into_any() };
    let text = RwSignal::new(String::new());
    let found = RwSignal::new(None::<Found>);
    let buckets = RwSignal::new(None::<Vec<BucketView>>);
    let handle = session.handle.clone();
    let run = move |query: Result<DhtQuery, &'static str>| {
        let query = match query {
            Ok(query) => query,
            Err(words) => return found.set(Some(("refused", words.to_owned(), Vec::new()))),
        };
        let handle = handle.clone();
        found.set(Some(("waiting", "Asking.".into(), Vec::new())));
        leptos::task::spawn_local(async move {
            found.set(Some(match handle.call(Command::Dht(query)).await {
                Ok(reply) => told(reply),
                Err(error) => ("refused", sentence(&error.to_string()), Vec::new()),
            }));
        });
    };
    let ask = {
        let run = run.clone();
        move |event: SubmitEvent| {
            event.prevent_default();
            run(question(&text.get_untracked()));
        }
    };
    let watch = {
        let run = run.clone();
        move |_| run(trace(&text.get_untracked()))
    };
    let provide = move |_| run(key(&text.get_untracked()).map(DhtQuery::Provide));
    let handle = session.handle.clone();
    let show = move |_| {
        let handle = handle.clone();
        leptos::task::spawn_local(async move {
            if let Ok(Reply::RoutingTable(table)) = handle.call(Command::RoutingTable).await {
                buckets.set(Some(table));
            }
        });
    };
    view! {
        <section class="card" data-in="network" aria-labelledby="table-title">
            <h2 id="table-title">"Distributed hash table"</h2>
            <form class="send" on:submit=ask aria-labelledby="table-title">
                <input
                    type="text"
                    class="mono"
                    autocomplete="off"
                    autocapitalize="none"
                    spellcheck="false"
                    maxlength="256"
                    placeholder="a peer's id, a file's name, or a key"
                    aria-label="What to look for"
                    data-testid="table-text"
                    bind:value=text
                />
                <div class="send-line wrapping">
                    <button type="submit" data-testid="table-ask">"Look up"</button>
                    <button type="button" data-testid="table-trace" on:click=watch>"Step by step"</button>
                    <button type="button" data-testid="table-provide" on:click=provide>"Say that this tab has it"</button>
                </div>
                <p
                    class="outcome"
                    role="status"
                    data-testid="table-result"
                    data-state=move || found.with(|found| found.as_ref().map(|(state, ..)| *state))
                >
                    {move || found.with(|found| found.as_ref().map(|(_, words, _)| words.clone()))}
                </p>
                <ul class="rows" data-testid="table-found">
                    {move || {
                        let items = found.get().map(|(_, _, items)| items).unwrap_or_default();
                        let row = |item: String| view! { <li class="row mono address">{item}</li> };
                        items.into_iter().map(row).collect_view()
                    }}
                </ul>
            </form>
            <button type="button" class="small" data-testid="table-show" on:click=show>"Show whom this tab knows"</button>
            {move || {
                buckets
                    .get()
                    .map(|table| {
                        view! {
                            <ul class="rows" data-testid="table-buckets">
                                {table.iter().map(bucket).collect_view()}
                            </ul>
                        }
                    })
            }}
        </section>
    }
    .into_any()
}

fn bucket(bucket: &BucketView) -> impl IntoView + use<> {
    let peers = bucket.peers.iter().map(|peer| short(peer.clone(), 8, 6)).collect_view();
    view! {
        <li class="row">
            <span class="dim" title="The distance has so many bits">{format!("2^{}", bucket.distance_bits.saturating_sub(1))}</span>
            <span class="two-lines">{peers}</span>
        </li>
    }
}
