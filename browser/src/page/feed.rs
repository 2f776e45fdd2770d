//! Keeps the page's signals at what the peer knows.
//!
//! Events only say what has changed; what is shown is then asked for, at most a few times a second, so that a sync of
//! thousands of blocks does not redraw the page thousands of times.

use std::{cell::Cell, rc::Rc, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt};
use futures_timer::Delay;
use leptos::prelude::*;
use weft_core::{
    gossip::Room,
    node::{Command, CommandError, Event, Reply, SyncPhase},
    swarm::Notice,
};

use super::model::Model;
use crate::{
    measure::{Mark, mark},
    session::Session,
    storage,
};

/// How often the page is brought up to date.
const PERIOD: Duration = Duration::from_millis(250);
/// After how many periods everything is asked for, changed or not: slots and rates move by themselves.
const FULL_EVERY: u32 = 8;
/// After how many periods the browser is asked how much is stored.
const USAGE_EVERY: u32 = 40;
/// Blocks in the list.
const BLOCKS: usize = 50;
/// Mempool transactions in the list.
const MEMPOOL: usize = 50;
/// The room every tab begins in.
const LOBBY: &str = "lobby";

/// What has to be asked for again.
#[derive(Clone, Copy)]
struct Stale {
    status: bool,
    peers: bool,
    blocks: bool,
    mempool: bool,
    chat: bool,
}

impl Stale {
    const ALL: Self = Self { status: true, peers: true, blocks: true, mempool: true, chat: true };
    const NOTHING: Self = Self { status: false, peers: false, blocks: false, mempool: false, chat: false };
}

/// Runs for as long as the peer does.
pub(crate) async fn feed(model: Model, session: Arc<Session>) {
    let mut events = session.handle.subscribe().await.fuse();
    if let Ok(lobby) = LOBBY.parse::<Room>()
        && session.handle.call(Command::Join(lobby.clone())).await.is_ok()
    {
        model.room.set(Some(lobby));
    }
    let mut stale = Stale::ALL;
    let mut round = 0_u32;
    let asking = Rc::new(Cell::new(false));
    let mut tick = Delay::new(Duration::ZERO).fuse();
    loop {
        futures::select! {
            notice = events.next() => match notice {
                Some(Notice::Event(event)) => note(model, &mut stale, event),
                Some(Notice::Lost(_)) => stale = Stale::ALL,
                None => break,
            },
            () = tick => {
                let wanted = if round.is_multiple_of(FULL_EVERY) { Stale::ALL } else { stale };
                stale = Stale::NOTHING;
                if session.opened_at.is_some() && round.is_multiple_of(USAGE_EVERY) {
                    show(model.usage, storage::usage().await.unwrap_or_default());
                }
                round = round.wrapping_add(1);
                if wanted.blocks || wanted.mempool || wanted.status {
                    ask_account(model, session.clone(), &asking);
                }
                refresh(model, &session, wanted).await;
                tick = Delay::new(PERIOD).fuse();
            }
        }
    }
    model
        .alarms
        .update(|alarms| alarms.push("This peer has stopped. Reload the page to start it again.".into()));
}

fn note(model: Model, stale: &mut Stale, event: Event) {
    match event {
        Event::Block(_) | Event::Reorganised(_) => {
            mark(Mark::FirstBlock);
            stale.blocks = true;
            stale.status = true;
            stale.mempool = true;
        }
        Event::Finalised(_) => {
            stale.status = true;
            // How much went over each connection changes all the time.
            stale.peers = true;
        }
        Event::Chat(view) => {
            stale.chat = true;
            if model.room.with_untracked(|room| room.as_ref() != Some(&view.room)) {
                model.unread.update(|rooms| {
                    rooms.insert(view.room);
                });
            }
        }
        Event::Peers => {
            stale.peers = true;
            stale.status = true;
        }
        Event::Mempool => stale.mempool = true,
        Event::Sync(view) => {
            if view.is_following() {
                mark(Mark::Synced);
            }
            stale.status = true;
            show(model.sync, Some(view));
        }
        Event::Alarm(_) | Event::AlarmOver(_) => stale.status = true,
        Event::Woke(millis) => {
            model.woke.set(Some(millis));
            *stale = Stale::ALL;
        }
    }
}

/// Sets a signal only when that changes what is shown.
fn show<T: PartialEq + Send + Sync + 'static>(signal: RwSignal<T>, value: T) {
    if signal.with_untracked(|shown| *shown != value) {
        signal.set(value);
    }
}

/// Whether the account is shown as well as it can be: a proof is of a finalised block, and there is one every few seconds.
fn is_proven_to_the_last(model: Model) -> bool {
    let finalised = model.status.with_untracked(|status| {
        let chain = status.as_ref()?.chain.as_ref()?;
        matches!(chain.sync.phase, SyncPhase::State | SyncPhase::Light).then_some(chain.finalised)
    });
    model.unverified.with_untracked(Option::is_none)
        && finalised.is_some()
        && model.account.with_untracked(|account| account.as_ref().map(|account| account.height)) == finalised
}

/// Asks for this tab's account. The answer may have to come from a peer, so the page does not wait for it.
fn ask_account(model: Model, session: Arc<Session>, asking: &Rc<Cell<bool>>) {
    if is_proven_to_the_last(model) || asking.replace(true) {
        return;
    }
    let asking = asking.clone();
    leptos::task::spawn_local(async move {
        match session.handle.call(Command::Account(session.address)).await {
            Ok(Reply::Account(account)) => {
                mark(Mark::Balance);
                show(model.account, Some(account));
                show(model.unverified, None);
            }
            // It is said already that nothing is known yet.
            Err(CommandError::Starting) | Ok(_) => {}
            Err(error) => show(model.unverified, Some(error.to_string())),
        }
        asking.set(false);
    });
}

async fn refresh(model: Model, session: &Session, stale: Stale) {
    let handle = &session.handle;
    if stale.status
        && let Ok(Reply::Status(status)) = handle.call(Command::Status).await
    {
        if status.peers > 0 {
            show(model.seen_peers, true);
        }
        if let Some(chain) = &status.chain {
            show(model.sync, Some(chain.sync.clone()));
        }
        show(model.status, Some(*status));
    }
    if stale.peers
        && let Ok(Reply::Peers(peers)) = handle.call(Command::Peers).await
    {
        show(model.peers, peers);
    }
    if stale.blocks
        && let Ok(Reply::Blocks(blocks)) = handle.call(Command::RecentBlocks(BLOCKS)).await
    {
        show(model.blocks, blocks);
    }
    if (stale.mempool || stale.blocks)
        && let Ok(Reply::Mempool(mempool)) = handle.call(Command::Mempool(MEMPOOL)).await
    {
        show(model.mempool, Some(mempool));
    }
    if stale.chat {
        chat(model, session).await;
    }
}

/// Brings the rooms and the messages of the shown one up to date.
pub(crate) async fn chat(model: Model, session: &Session) {
    if let Ok(Reply::Rooms(rooms)) = session.handle.call(Command::Rooms).await {
        show(model.rooms, rooms);
    }
    let messages = match model.room.get_untracked() {
        None => Vec::new(),
        Some(room) => match session.handle.call(Command::History(room)).await {
            Ok(Reply::History(messages)) => messages,
            _ => return,
        },
    };
    show(model.messages, messages);
}
