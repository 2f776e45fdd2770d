//! Where a transaction is, and how this tab knows.

use leptos::{ev::SubmitEvent, prelude::*};
use weft_core::{
    node::{InBlock, TransactionStatus, Verified},
    primitives::Hash,
};

use super::{parts::sentence, session};
use crate::{payments, text::grouped};

/// What a look-up has found: a word for tests and styles, and words for people.
type Found = (&'static str, String);

fn told(status: &TransactionStatus) -> Found {
    let transaction = &status.transaction;
    let what = format!("{} coins to {}", grouped(transaction.amount.0), transaction.to);
    let Some(InBlock { height, finalised, verified, as_of, .. }) = status.block else {
        return ("waits", format!("{what}: it waits for a block."));
    };
    let (height, as_of) = (grouped(height.0), grouped(as_of.0));
    let last = if finalised { "which is final" } else { "which is not final yet" };
    match verified {
        Verified::Executed => {
            ("executed", format!("{what}: in block {height}, {last}. Verified: this tab has executed it."))
        }
        Verified::Proven => {
            ("proven", format!("{what}: in block {height}, {last}. Verified: proven at block {as_of}."))
        }
    }
}

pub(super) fn card() -> impl IntoView {
    let Some(session) = session() else { return ().into_any() };
    let id = RwSignal::new(String::new());
    let found = RwSignal::new(None::<Found>);
    let ask = move |event: SubmitEvent| {
        event.prevent_default();
        let Ok(id) = id.get_untracked().trim().parse::<Hash>() else {
            found.set(Some(("refused", "An id has 64 hex digits.".into())));
            return;
        };
        let session = session.clone();
        found.set(Some(("waiting", "Looking.".into())));
        leptos::task::spawn_local(async move {
            found.set(Some(match payments::find(&session, id).await {
                Ok(status) => told(&status),
                Err(error) => ("refused", sentence(&error.to_string())),
            }));
        });
    };
    view! {
        <section class="card" data-in="wallet" aria-labelledby="lookup-title">
            <h2 id="lookup-title">"Find a transaction"</h2>
            <form class="send" on:submit=ask aria-labelledby="lookup-title">
                <input
                    type="text"
                    class="mono"
                    autocomplete="off"
                    autocapitalize="none"
                    spellcheck="false"
                    maxlength="80"
                    placeholder="its id: 64 hex digits"
                    aria-label="The transaction's id"
                    data-testid="lookup-id"
                    bind:value=id
                />
                <div class="send-line">
                    <button type="submit" data-testid="lookup">"Find"</button>
                </div>
                <p
                    class="outcome"
                    role="status"
                    data-testid="lookup-result"
                    data-state=move || found.with(|found| found.as_ref().map(|(state, _)| *state))
                >
                    {move || found.with(|found| found.as_ref().map(|(_, words)| words.clone()))}
                </p>
            </form>
        </section>
    }
    .into_any()
}
