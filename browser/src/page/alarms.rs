//! What is wrong, in words, above everything else.

use leptos::prelude::*;

use super::{model::Model, parts::sentence};
use crate::text::counted;

/// That the tab is back, and from what.
fn back(millis: u64) -> String {
    match millis / 1000 {
        0 => "The network is back.".to_owned(),
        seconds @ 1..120 => {
            format!("This tab is back after standing still for {}.", counted(seconds, "second"))
        }
        seconds => format!("This tab is back after standing still for {}.", counted(seconds / 60, "minute")),
    }
}

pub(super) fn banners() -> impl IntoView {
    let model = expect_context::<Model>();
    let insecure = !window().is_secure_context();
    let all = move || {
        let mut alarms = model.alarms.get();
        model.status.with(|status| {
            if let Some(status) = status {
                alarms.extend(status.alarms.iter().cloned());
            }
        });
        alarms
    };
    view! {
        <div class="banners" role="region" aria-label="Notices">
            {insecure
                .then(|| {
                    view! {
                        <p class="banner warn" data-testid="insecure-notice">
                            "This page was opened without https, so the browser denies it storage, locks and the \
                             clipboard. Open it over https, or on localhost, to keep an identity and a balance."
                        </p>
                    }
                })}
            {move || {
                model
                    .guest
                    .get()
                    .map(|reason| {
                        view! {
                            <p class="banner" role="status" data-testid="guest-notice">
                                <strong>"You are a guest in this tab. "</strong>
                                {sentence(&reason)}
                                " This tab has an identity and an account of its own, and both are gone when you close it."
                            </p>
                        }
                    })
            }}
            {move || {
                model
                    .woke
                    .get()
                    .map(|millis| {
                        view! {
                            <p class="banner" role="status" data-testid="woke" data-millis=millis>
                                <strong>{back(millis)}</strong>
                                " It looks who is still there, and catches up with the rest. "
                                <button type="button" data-testid="woke-seen" on:click=move |_| model.woke.set(None)>
                                    "Fine"
                                </button>
                            </p>
                        }
                    })
            }}
            <For each=all key=|alarm| alarm.clone() let(alarm)>
                <p class="banner alarm" role="alert" data-testid="alarm">
                    {sentence(&alarm)}
                </p>
            </For>
        </div>
    }
}
