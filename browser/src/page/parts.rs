//! Small pieces that several cards use.

use leptos::prelude::*;

use crate::text;

/// An error as a sentence: a capital letter at the start, a full stop at the end.
pub(super) fn sentence(error: &str) -> String {
    let mut chars = error.chars();
    let Some(first) = chars.next() else { return String::new() };
    let stop = if error.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{}{}{stop}", first.to_uppercase(), chars.as_str())
}

/// A long name with its middle left out; the whole is in the tooltip and in `data-full`.
pub(super) fn short(name: String, head: usize, tail: usize) -> impl IntoView {
    let shown = text::shortened(&name, head, tail);
    view! { <span class="mono" title=name.clone() data-full=name>{shown}</span> }
}

/// A dot in the colour of a name, to tell names apart at a glance.
pub(super) fn colour(name: &str) -> impl IntoView + use<> {
    let hue = text::hue(name);
    view! { <span class="swatch" aria-hidden="true" style=format!("--hue:{hue}")></span> }
}

/// A button that copies `text`, and says so. `label` tells those who cannot see it what it is for.
pub(super) fn copy(text: String, label: &'static str) -> impl IntoView {
    let said = RwSignal::new("Copy");
    let copy = move |_| {
        let text = text.clone();
        leptos::task::spawn_local(async move {
            let promise = window().navigator().clipboard().write_text(&text);
            let copied = wasm_bindgen_futures::JsFuture::from(promise).await.is_ok();
            said.set(if copied { "Copied" } else { "Select and copy it" });
            set_timeout(move || said.set("Copy"), std::time::Duration::from_secs(2));
        });
    };
    view! {
        <button type="button" class="small" aria-label=label on:click=copy>
            <span aria-live="polite">{said}</span>
        </button>
    }
}
