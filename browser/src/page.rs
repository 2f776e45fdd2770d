//! The page: what a person sees of the peer, and does with it.

mod alarms;
mod begin;
mod blocks;
mod chat;
mod delays;
mod feed;
mod files;
mod header;
mod invite;
mod lookup;
mod mempool;
mod model;
mod network;
mod parts;
mod passing;
mod settings;
mod sync;
mod table;
mod wallet;
mod ways;

use std::sync::Arc;

use leptos::{mount::mount_to_body, prelude::*};

use self::model::{Model, Section, Stage};
use crate::{session::Session, shell::Condition, start};

/// The running peer's session, for components that are shown only while it runs.
type Running = StoredValue<Option<Arc<Session>>>;

fn session() -> Option<Arc<Session>> {
    use_context::<Running>().and_then(|running| running.get_value())
}

/// Puts the page in the place of the skeleton and starts the peer.
pub(crate) fn show() {
    if let Some(skeleton) = document().get_element_by_id("boot") {
        skeleton.remove();
    }
    mount_to_body(Page);
}

#[component]
fn Page() -> impl IntoView {
    let model = Model::new();
    let running = Running::new(None);
    provide_context(model);
    provide_context(running);
    begin(model, running);
    view! {
        <div class="app" data-section=move || model.section.get().id()>
            {header::top()}
            {alarms::banners()}
            {move || match model.stage.get() {
                Stage::Starting(step) => starting(step).into_any(),
                Stage::Failed(error) => failed(model, running, error).into_any(),
                Stage::Running => dashboard().into_any(),
            }}
            <Sections model />
        </div>
    }
}

fn begin(model: Model, running: Running) {
    model.stage.set(Stage::Starting("Starting"));
    leptos::task::spawn_local(async move {
        let step = move |step| model.stage.set(Stage::Starting(step));
        match start::start(step, move |condition| tell(model, condition)).await {
            Ok(started) => {
                let session = Arc::new(started.session);
                model.guest.set(started.guest);
                running.set_value(Some(session.clone()));
                invite::follow(model, &session);
                model.stage.set(Stage::Running);
                feed::feed(model, session).await;
            }
            Err(error) => model.stage.set(Stage::Failed(error)),
        }
    });
}

const NO_WORKERS: &str = "This browser cannot start the background worker that checks blocks, so this tab verifies \
                          nothing at the moment. It keeps trying.";

const NO_WEBRTC_DIRECT: &str = "This browser does not let pages speak WebRTC-direct, so this tab dials by WebSocket \
                                alone.";

fn tell(model: Model, condition: Condition) {
    model.alarms.update(|alarms| match condition {
        Condition::NoWorkers(error) => {
            alarms.retain(|alarm| !alarm.starts_with(NO_WORKERS));
            alarms.push(format!("{NO_WORKERS} ({error})"));
        }
        Condition::Workers => alarms.retain(|alarm| !alarm.starts_with(NO_WORKERS)),
        Condition::NoWebrtcDirect(reason) => {
            alarms.retain(|alarm| !alarm.starts_with(NO_WEBRTC_DIRECT));
            alarms.push(format!("{NO_WEBRTC_DIRECT} ({reason})"));
        }
        // It comes again when the person tries again.
        Condition::Storage(alarm) if alarms.contains(&alarm) => {}
        Condition::Storage(alarm) => alarms.push(alarm),
    });
}

fn starting(step: &'static str) -> impl IntoView {
    view! {
        <main class="notice" aria-busy="true">
            <p class="notice-title" data-testid="starting" role="status">{step}"…"</p>
            <div class="bar indeterminate"><i></i></div>
        </main>
    }
}

fn failed(model: Model, running: Running, error: String) -> impl IntoView {
    view! {
        <main class="notice" role="alert">
            <p class="notice-title">"Weft could not start"</p>
            <p data-testid="start-error">{parts::sentence(&error)}</p>
            <button class="primary" data-testid="retry" on:click=move |_| begin(model, running)>
                "Try again"
            </button>
        </main>
    }
}

fn dashboard() -> impl IntoView {
    view! {
        <main class="board">
            {sync::card()}
            <div class="column">
                {blocks::card()}
            </div>
            <div class="column">
                {wallet::card()}
                {lookup::card()}
                {mempool::card()}
                {files::card()}
                {table::card()}
            </div>
            <div class="column">
                {chat::card()}
                {network::peers()}
                {invite::card()}
                {network::this_peer()}
                {network::refused()}
                {settings::card()}
                {ways::card()}
                {passing::card()}
                {begin::card()}
            </div>
        </main>
    }
}

/// The sections, as tabs on a phone; a wide screen shows all of them.
#[component]
fn Sections(model: Model) -> impl IntoView {
    let button = move |section: Section| {
        let current = move || (model.section.get() == section).then_some("page");
        let unread = move || section == Section::Chat && model.unread.with(|rooms| !rooms.is_empty());
        view! {
            <button
                type="button"
                aria-current=current
                data-testid=format!("section-{}", section.id())
                on:click=move |_| model.section.set(section)
            >
                <span class="section-icon" data-icon=section.id() aria-hidden="true"></span>
                {section.name()}
                {move || unread().then(|| view! { <span class="dot" aria-label="unread messages"></span> })}
            </button>
        }
    };
    view! { <nav class="sections" aria-label="Sections">{Section::ALL.map(button).collect_view()}</nav> }
}
