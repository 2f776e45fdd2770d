//! Files by what is in them: put one, get one by its name, and what is here.

use futures_timer::Delay;
use leptos::{ev::SubmitEvent, prelude::*};
use wasm_bindgen::JsCast;
use weft_core::{
    content::Cid,
    node::{FileState, FileView},
};

use super::{
    parts::{copy, sentence, short},
    session,
};
use crate::files;

/// How often it is looked what has come.
const LOOK: std::time::Duration = std::time::Duration::from_millis(700);

const NOTE: &str = "Peers that are connected with this tab directly can fetch what it puts, and so can other tabs, which \
                    reach it over its relay. Nobody can once the tab is closed, unless somebody has fetched it before.";

/// What came of the last thing done: a word for tests and styles, and words for people.
type Outcome = RwSignal<Option<(&'static str, String)>>;

pub(super) fn card() -> impl IntoView {
    let Some(session) = session() else { return ().into_any() };
    let here = RwSignal::new(Vec::<FileView>::new());
    let outcome: Outcome = RwSignal::new(None);
    let name = RwSignal::new(String::new());

    let handle = session.handle.clone();
    let look = move || {
        let handle = handle.clone();
        leptos::task::spawn_local(async move {
            if let Ok(now) = files::list(&handle).await
                && here.try_with_untracked(|before| *before != now).unwrap_or(false)
            {
                here.set(now);
            }
        });
    };
    look();
    if let Ok(interval) = set_interval_with_handle(look, LOOK) {
        on_cleanup(move || interval.clear());
    }

    let handle = session.handle.clone();
    let put = move |event: leptos::ev::Event| {
        let input = event.target().and_then(|target| target.dyn_into::<web_sys::HtmlInputElement>().ok());
        let Some(file) = input.as_ref().and_then(|input| input.files()).and_then(|files| files.get(0)) else {
            return;
        };
        // So that the same file can be chosen again.
        input.into_iter().for_each(|input| input.set_value(""));
        let handle = handle.clone();
        leptos::task::spawn_local(async move {
            let progress = |permille: u64| {
                outcome.set(Some(("waiting", format!("Reading the file: {} %.", permille / 10))));
            };
            outcome.set(Some(match files::put(&handle, &file, progress).await {
                Ok(cid) => ("put", format!("Kept here. Others get it by this name: {cid}")),
                Err(error) => ("refused", sentence(&error)),
            }));
        });
    };

    let handle = session.handle.clone();
    let get = move |event: SubmitEvent| {
        event.prevent_default();
        let cid = match name.get_untracked().trim().parse::<Cid>() {
            Ok(cid) => cid,
            Err(error) => return outcome.set(Some(("refused", sentence(&error.to_string())))),
        };
        let handle = handle.clone();
        outcome.set(Some(("waiting", "Looking for it.".into())));
        leptos::task::spawn_local(async move {
            if let Err(error) = files::fetch(&handle, cid).await {
                return outcome.set(Some(("refused", sentence(&error))));
            }
            loop {
                let Some(view) = files::show(&handle, cid).await else { return };
                let told = match (view.state, &view.problem) {
                    (FileState::Coming, _) => ("waiting", sentence(&view.to_string())),
                    (FileState::Here, _) => ("here", "It is here: save it below.".to_owned()),
                    (_, Some(problem)) => ("refused", sentence(problem)),
                    (_, None) => ("refused", "It was let go.".to_owned()),
                };
                outcome.set(Some(told));
                if view.state != FileState::Coming {
                    return;
                }
                Delay::new(LOOK).await;
            }
        });
    };

    let rows = session.handle.clone();
    view! {
        <section class="card" data-in="network" aria-labelledby="files-title">
            <h2 id="files-title">"Files"</h2>
            <p class="dim" data-testid="files-note">{NOTE}</p>
            <form class="send" on:submit=get aria-labelledby="files-title">
                <label class="file-picker">
                    <span>"Put a file, at most 64 MiB"</span>
                    <input type="file" data-testid="file-put" on:change=put />
                </label>
                <div class="send-line">
                    <input
                        type="text"
                        class="mono"
                        autocomplete="off"
                        autocapitalize="none"
                        spellcheck="false"
                        maxlength="80"
                        placeholder="a file's name: bafkr4i…"
                        aria-label="The name of a file to get"
                        data-testid="file-cid"
                        bind:value=name
                    />
                    <button type="submit" data-testid="file-get">"Get"</button>
                </div>
                <p
                    class="outcome long"
                    role="status"
                    data-testid="file-result"
                    data-state=move || outcome.with(|outcome| outcome.as_ref().map(|(state, _)| *state))
                >
                    {move || outcome.with(|outcome| outcome.as_ref().map(|(_, words)| words.clone()))}
                </p>
            </form>
            <ul class="rows" data-testid="files">
                {move || {
                    here.with(|files| files.iter().map(|file| row(file, rows.clone(), outcome)).collect_view())
                }}
            </ul>
        </section>
    }
    .into_any()
}

fn row(file: &FileView, handle: weft_core::swarm::Handle, outcome: Outcome) -> impl IntoView + use<> {
    let (cid, said) = (file.cid, if file.told { ", and said in the table" } else { "" });
    let far = format!("{file}{said}");
    let name = if file.name.is_empty() { "no name".to_owned() } else { file.name.clone() };
    let state = match file.state {
        FileState::Here => "here",
        FileState::Coming => "coming",
        FileState::Begun | FileState::Absent => "begun",
    };
    let save = {
        let (file, handle) = (file.clone(), handle.clone());
        move |_| {
            let (file, handle) = (file.clone(), handle.clone());
            leptos::task::spawn_local(async move {
                if let Err(error) = files::save(&handle, &file).await {
                    outcome.set(Some(("refused", sentence(&error))));
                }
            });
        }
    };
    let go = move |_| {
        let handle = handle.clone();
        leptos::task::spawn_local(async move {
            if let Err(error) = files::drop_file(&handle, cid).await {
                outcome.set(Some(("refused", sentence(&error))));
            }
        });
    };
    let permille = file.permille();
    view! {
        <li class="row file" data-testid="file" data-cid=cid.to_string() data-state=state data-told=file.told.to_string()>
            <span class="two-lines">
                <span>{name}</span>
                {short(cid.to_string(), 12, 6)}
                <span class="dim">{far}</span>
                {(file.state == FileState::Coming)
                    .then(|| {
                        view! {
                            <progress max="1000" value=permille aria-label="How much of it is here"></progress>
                        }
                    })}
                {file.problem.as_deref().map(|problem| view! { <span class="dim">{sentence(problem)}</span> })}
            </span>
            <span class="spacer"></span>
            {copy(cid.to_string(), "Copy the file's name")}
            {(file.state == FileState::Here)
                .then(|| view! { <button type="button" class="small" data-testid="file-save" on:click=save>"Save"</button> })}
            <button type="button" class="small" data-testid="file-drop" on:click=go>"Let go"</button>
        </li>
    }
}
