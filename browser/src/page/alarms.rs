//! What is wrong, in words, above everything else.

use leptos::prelude::*;

use super::{model::Model, parts::sentence};

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
            <For each=all key=|alarm| alarm.clone() let(alarm)>
                <p class="banner alarm" role="alert" data-testid="alarm">
                    {sentence(&alarm)}
                </p>
            </For>
        </div>
    }
}
