//! The account of this tab: what it holds, and sending some of it.

use std::sync::Arc;

use leptos::{ev::SubmitEvent, prelude::*};
use weft_core::{
    mempool::FeeEstimate,
    node::{AccountView, Verified},
    primitives::{Address, Amount, Hash},
};

use super::{
    model::Model,
    parts::{copy, sentence, short},
    session,
};
use crate::{
    payments::{self, Fate},
    session::Session,
    text::{self, counted, grouped},
};

/// What is said below a form, and how: `waiting`, `done` or `refused`.
#[derive(Clone, PartialEq)]
struct Said {
    state: &'static str,
    words: String,
    transaction: Option<Hash>,
}

impl Said {
    fn new(state: &'static str, words: impl Into<String>) -> Option<Self> {
        Some(Self { state, words: words.into(), transaction: None })
    }
}

pub(super) fn card() -> impl IntoView {
    let Some(session) = session() else { return ().into_any() };
    let model = expect_context::<Model>();
    let address = session.address.to_string();
    let balance = Memo::new(move |_| model.account.with(|account| account.as_ref().map(|view| view.balance)));
    let pending = Memo::new(move |_| {
        model.account.with(|account| {
            let view = account.as_ref()?;
            (view.pending_balance != view.balance).then_some(view.pending_balance)
        })
    });
    let verified = Memo::new(move |_| model.account.with(|account| known(account.as_ref(), model)));
    view! {
        <section class="card wallet" data-in="wallet" aria-labelledby="wallet-title">
            <h2 id="wallet-title">"Wallet"</h2>
            <p class="balance">
                <b data-testid="balance" data-amount=move || balance.get().map(|amount| amount.0)>
                    {move || balance.get().map_or("–".into(), |amount| grouped(amount.0))}
                </b>
                " coins"
            </p>
            <p
                class="verified"
                data-testid="verified"
                data-verified=move || verified.with(|(word, ..)| *word)
                data-height=move || verified.with(|(_, height, _)| *height)
            >
                {move || verified.with(|(.., words)| words.clone())}
            </p>
            <p class="dim" data-testid="pending-balance">
                {move || pending.get().map(|amount| format!("{} once what is on its way is in a block", grouped(amount.0)))}
            </p>
            <div class="address-line">
                <code data-testid="address" data-full=address.clone()>{address.clone()}</code>
                {copy(address, "Copy the address")}
            </div>
            {session.faucet.is_some().then(|| view! { <Faucet session=session.clone() /> })}
            <Send session=session.clone() />
        </section>
    }
    .into_any()
}

/// How the balance is known: a word for tests and styles, the height it is of, and words for people.
fn known(account: Option<&AccountView>, model: Model) -> (&'static str, Option<u64>, String) {
    let Some(account) = account else {
        let waits = "Not verified yet: this tab is still joining the chain.".to_owned();
        return ("", None, model.unverified.get().map_or(waits, |error| format!("Not verified: {error}.")));
    };
    let height = grouped(account.height.0);
    if let Some(error) = model.unverified.get() {
        return ("", Some(account.height.0), format!("As of block {height}; not verified since: {error}."));
    }
    let (word, words) = match account.verified {
        Verified::Executed => ("executed", format!("Verified: this tab has executed block {height} itself.")),
        Verified::Proven => ("proven", format!("Verified: proven at block {height}, which is final.")),
    };
    (word, Some(account.height.0), words)
}

#[component]
fn Faucet(session: Arc<Session>) -> impl IntoView {
    let busy = RwSignal::new(false);
    let said = RwSignal::new(None);
    let ask = move |_| {
        let session = session.clone();
        busy.set(true);
        said.set(Said::new("waiting", "The faucet's payment waits for a block."));
        leptos::task::spawn_local(async move {
            said.set(match payments::gift(&session).await {
                Ok(height) => Said::new("done", format!("It is in block {}.", grouped(height.0))),
                Err(error) => Said::new("refused", sentence(&error)),
            });
            busy.set(false);
        });
    };
    view! {
        <div class="faucet">
            <button type="button" data-testid="faucet" disabled=busy on:click=ask>
                {format!("Get {} coins", grouped(payments::GIFT.0))}
            </button>
            <Outcome said testid="faucet-result" />
        </div>
    }
}

type FeeOf = fn(&FeeEstimate) -> u64;

/// How soon a payment should be in a block: a word for the form, words for people, and which fee that is.
const SPEEDS: [(&str, &str, FeeOf); 3] = [
    ("next", "next block", |fees| fees.next),
    ("soon", "soon", |fees| fees.soon),
    ("slow", "slow", |fees| fees.slow),
];

/// The fee for 1,000 bytes that is suggested, 0 while nothing is known. Tracks.
fn rate(model: Model, speed: RwSignal<String>) -> u64 {
    let of = speed.with(|speed| SPEEDS.iter().find(|(word, ..)| word == speed).map(|(.., of)| *of));
    let fees = model.mempool.with(|mempool| mempool.as_ref().map(|view| view.fees));
    fees.zip(of).map_or(0, |(fees, of)| of(&fees))
}

#[component]
fn Send(session: Arc<Session>) -> impl IntoView {
    let to = RwSignal::new(String::new());
    let amount = RwSignal::new(String::new());
    let memo = RwSignal::new(String::new());
    let speed = RwSignal::new("next".to_owned());
    let model = expect_context::<Model>();
    let busy = RwSignal::new(false);
    let said = RwSignal::new(None);
    let fee = {
        let session = session.clone();
        move || memo.with(|memo| payments::fee(&session, memo, rate(model, speed)))
    };
    let submit = move |event: SubmitEvent| {
        event.prevent_default();
        if busy.get_untracked() {
            return;
        }
        let read = payment(&to.get_untracked(), &amount.get_untracked());
        let (address, coins) = match read {
            Ok(payment) => payment,
            Err(error) => return said.set(Said::new("refused", error)),
        };
        let session = session.clone();
        let rate = untrack(|| rate(model, speed));
        busy.set(true);
        said.set(Said::new("waiting", "Sending."));
        leptos::task::spawn_local(async move {
            let sent = payments::send(&session, address, coins, &memo.get_untracked(), rate).await;
            busy.set(false);
            let sent = match sent {
                Ok(sent) => sent,
                Err(error) => return said.set(Said::new("refused", error)),
            };
            let id = sent.id;
            amount.set(String::new());
            memo.set(String::new());
            let say = |state, words: String| said.set(Some(Said { state, words, transaction: Some(id) }));
            say("waiting", "Sent; it waits for a block.".into());
            let fate = payments::fate(&session, sent).await;
            // Something sent since has the line now.
            if said.with_untracked(|said| said.as_ref().is_none_or(|said| said.transaction != Some(id))) {
                return;
            }
            match fate {
                Fate::Included(height) => say("done", format!("It is in block {}.", grouped(height.0))),
                Fate::Overtaken => say("refused", "Another payment took its place: it was not made.".into()),
                Fate::Expired => say("refused", "No block took it in time: it was not made.".into()),
                Fate::Unknown => say("refused", "The peer stopped before a block had it.".into()),
            }
        });
    };
    view! {
        <form class="send" on:submit=submit aria-label="Send coins">
            <label>
                "To"
                <input
                    type="text"
                    class="mono"
                    autocomplete="off"
                    autocapitalize="none"
                    spellcheck="false"
                    maxlength="128"
                    placeholder="weft1…"
                    data-testid="send-to"
                    bind:value=to
                />
            </label>
            <div class="two">
                <label>
                    "Amount"
                    <input
                        type="text"
                        inputmode="numeric"
                        autocomplete="off"
                        maxlength="30"
                        placeholder="250"
                        data-testid="send-amount"
                        bind:value=amount
                    />
                </label>
                <label>
                    "Memo"
                    <input
                        type="text"
                        autocomplete="off"
                        maxlength="256"
                        placeholder="optional"
                        data-testid="send-memo"
                        bind:value=memo
                    />
                </label>
            </div>
            <div class="send-line">
                <button type="submit" class="primary" data-testid="send-submit" disabled=busy>
                    "Send"
                </button>
                <span class="dim" data-testid="send-fee">
                    {move || format!("and {} as the fee", counted(fee().0, "coin"))}
                </span>
                <select
                    aria-label="How soon it should be in a block"
                    data-testid="send-speed"
                    on:change=move |event| speed.set(event_target_value(&event))
                >
                    {SPEEDS.map(|(word, words, _)| view! { <option value=word>{words}</option> })}
                </select>
            </div>
            <Outcome said testid="send-result" />
        </form>
    }
}

fn payment(to: &str, amount: &str) -> Result<(Address, Amount), String> {
    let to = to.trim();
    if to.is_empty() {
        return Err("Enter the address to send to.".into());
    }
    let address =
        to.parse().map_err(|error: weft_core::primitives::AddressError| sentence(&error.to_string()))?;
    Ok((address, Amount(text::amount(amount)?)))
}

#[component]
fn Outcome(said: RwSignal<Option<Said>>, testid: &'static str) -> impl IntoView {
    let state = move || said.with(|said| said.as_ref().map(|said| said.state));
    let transaction = move || said.with(|said| Some(said.as_ref()?.transaction?.to_string()));
    view! {
        <p class="outcome" role="status" data-testid=testid data-state=state data-transaction=transaction>
            {move || said.with(|said| said.as_ref().map(|said| said.words.clone()))}
            {move || transaction().map(|id| view! { " " {short(id, 8, 4)} })}
        </p>
    }
}
