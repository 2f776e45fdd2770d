//! Chat rooms: join, leave, listen and say something.

use std::{collections::BTreeMap, sync::Arc};

use leptos::{ev::SubmitEvent, html, prelude::*};
use weft_core::{
    gossip::Room,
    node::{ChatView, Command},
};

use super::{
    feed,
    model::Model,
    parts::{colour, sentence},
    session,
};
use crate::{
    session::Session,
    text::{shortened, time_of_day},
};

pub(super) fn card() -> impl IntoView {
    let Some(session) = session() else { return ().into_any() };
    let error = RwSignal::new(None::<String>);
    view! {
        <section class="card chat" data-in="chat" aria-labelledby="chat-title">
            <h2 id="chat-title">"Chat"</h2>
            <Rooms session=session.clone() error />
            <Messages />
            <Say session error />
            <p class="outcome" role="status" data-testid="chat-error" data-state="refused">
                {move || error.get()}
            </p>
        </section>
    }
    .into_any()
}

/// Shows another room, or none.
fn open(model: Model, session: Arc<Session>, room: Option<Room>) {
    if let Some(room) = &room {
        model.unread.update(|rooms| {
            rooms.remove(room);
        });
    }
    model.room.set(room);
    leptos::task::spawn_local(async move { feed::chat(model, &session).await });
}

#[component]
fn Rooms(session: Arc<Session>, error: RwSignal<Option<String>>) -> impl IntoView {
    let model = expect_context::<Model>();
    let name = RwSignal::new(String::new());
    let join = {
        let session = session.clone();
        move |event: SubmitEvent| {
            event.prevent_default();
            let room: Room = match name.get_untracked().trim().trim_start_matches('#').parse() {
                Ok(room) => room,
                Err(refused) => return error.set(Some(sentence(&ToString::to_string(&refused)))),
            };
            let session = session.clone();
            leptos::task::spawn_local(async move {
                match session.handle.call(Command::Join(room.clone())).await {
                    Ok(_) => {
                        error.set(None);
                        name.set(String::new());
                        open(model, session, Some(room));
                    }
                    Err(refused) => error.set(Some(sentence(&refused.to_string()))),
                }
            });
        }
    };
    let rooms = session.clone();
    view! {
        <div class="rooms">
            <For each=move || model.rooms.get() key=|room| room.clone() let(room)>
                <RoomTab session=rooms.clone() room />
            </For>
            <form class="join" on:submit=join>
                <input
                    type="text"
                    aria-label="Name of a room to join"
                    placeholder="join a room"
                    autocomplete="off"
                    autocapitalize="none"
                    spellcheck="false"
                    maxlength="65"
                    data-testid="chat-join"
                    bind:value=name
                />
                <button type="submit" class="small" data-testid="chat-join-submit">
                    "Join"
                </button>
            </form>
        </div>
    }
}

#[component]
fn RoomTab(session: Arc<Session>, room: Room) -> impl IntoView {
    let model = expect_context::<Model>();
    let name = room.to_string();
    let shown = Memo::new({
        let room = room.clone();
        move |_| model.room.with(|shown| shown.as_ref() == Some(&room))
    });
    let unread = Memo::new({
        let room = room.clone();
        move |_| model.unread.with(|rooms| rooms.contains(&room))
    });
    let select = {
        let (session, room) = (session.clone(), room.clone());
        move |_| open(model, session.clone(), Some(room.clone()))
    };
    let leave = move |_| {
        let (session, room) = (session.clone(), room.clone());
        leptos::task::spawn_local(async move {
            // Leaving cannot be refused while the peer runs.
            let _ = session.handle.call(Command::Leave(room.clone())).await;
            let other =
                model.rooms.with_untracked(|rooms| rooms.iter().find(|other| **other != room).cloned());
            open(model, session, other);
        });
    };
    view! {
        <span class="room" class:shown=shown data-testid="chat-room" data-room=name.clone()>
            <button type="button" aria-pressed=move || shown.get().to_string() on:click=select>
                "#"
                {name.clone()}
                {move || unread.get().then(|| view! { <span class="dot" aria-label="unread messages"></span> })}
            </button>
            <button
                type="button"
                class="leave"
                aria-label=format!("Leave {name}")
                data-testid="chat-leave"
                on:click=leave
            >
                "×"
            </button>
        </span>
    }
}

/// Messages with a key each: what is said twice at once by one author is still two.
fn keyed(messages: Vec<ChatView>) -> Vec<((u64, String, String, usize), ChatView)> {
    let mut seen = BTreeMap::new();
    messages
        .into_iter()
        .map(|message| {
            let times: &mut usize =
                seen.entry((message.at, message.author.clone(), message.text.clone())).or_default();
            *times += 1;
            ((message.at, message.author.clone(), message.text.clone(), *times), message)
        })
        .collect()
}

#[component]
fn Messages() -> impl IntoView {
    let model = expect_context::<Model>();
    let list = NodeRef::<html::Ol>::new();
    // Keeps the newest message in view, unless the person has scrolled up to read.
    Effect::new(move |earlier: Option<usize>| {
        let count = model.messages.with(Vec::len);
        if let Some(list) = list.get() {
            let below = list.scroll_height() - list.scroll_top() - list.client_height();
            if earlier.is_none_or(|earlier| earlier == 0) || below < 160 {
                request_animation_frame(move || list.set_scroll_top(list.scroll_height()));
            }
        }
        count
    });
    let none = move || model.messages.with(Vec::is_empty);
    view! {
        <ol class="messages" aria-live="polite" aria-label="Messages" tabindex="0" data-testid="chat-messages" node_ref=list>
            {move || {
                none()
                    .then(|| {
                        let words = if model.room.with(Option::is_some) {
                            "Nothing has been said here yet."
                        } else {
                            "Join a room to talk to other peers."
                        };
                        view! { <li class="empty">{words}</li> }
                    })
            }}
            <For each=move || keyed(model.messages.get()) key=|(key, _)| key.clone() let((_, message))>
                {message_row(message)}
            </For>
        </ol>
    }
}

fn message_row(message: ChatView) -> impl IntoView {
    let ChatView { author, own, text, at, told_by, .. } = message;
    let name = if own { "you".to_owned() } else { shortened(&author, 0, 6).replace('…', "") };
    let hearsay = told_by.map(|teller| {
        let title = format!("Told by {teller}; the author's signature was not seen here");
        view! {
            <span class="hearsay" data-testid="chat-hearsay" title=title>
                "told by "
                {shortened(&teller, 0, 6).replace('…', "")}
            </span>
        }
    });
    view! {
        <li class="message" class:own=own data-testid="chat-message" data-author=author.clone() data-own=own.to_string()>
            {colour(&author)}
            <span class="author" data-testid="chat-author" title=author.clone()>{name}</span>
            <time class="dim">{time_of_day(at)}</time>
            {hearsay}
            <p class="words" data-testid="chat-text">{text}</p>
        </li>
    }
}

#[component]
fn Say(session: Arc<Session>, error: RwSignal<Option<String>>) -> impl IntoView {
    let model = expect_context::<Model>();
    let text = RwSignal::new(String::new());
    let say = move |event: SubmitEvent| {
        event.prevent_default();
        let words = text.get_untracked();
        let Some(room) = model.room.get_untracked() else {
            return error.set(Some("Join a room first.".into()));
        };
        if words.trim().is_empty() {
            return;
        }
        let session = session.clone();
        leptos::task::spawn_local(async move {
            match session.handle.call(Command::Say(room, words)).await {
                Ok(_) => {
                    error.set(None);
                    text.set(String::new());
                    feed::chat(model, &session).await;
                }
                Err(refused) => error.set(Some(sentence(&refused.to_string()))),
            }
        });
    };
    view! {
        <form class="say" on:submit=say>
            <input
                type="text"
                aria-label="Message"
                placeholder=move || {
                    model.room.with(|room| room.as_ref().map_or("Message".into(), |room| format!("Message #{room}")))
                }
                autocomplete="off"
                maxlength="2000"
                data-testid="chat-input"
                bind:value=text
            />
            <button type="submit" class="primary" data-testid="chat-send">
                "Say"
            </button>
        </form>
    }
}
