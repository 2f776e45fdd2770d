//! An invitation to this tab, as a link and as a code for cameras; and the one that this page was opened with.

use std::sync::Arc;

use leptos::prelude::*;
use libp2p::Multiaddr;
use qrcodegen::{QrCode, QrCodeEcc};
use weft_core::{
    node::{Command, Role},
    peers::{Invite, InviteError, Scope},
};

use super::{model::Model, parts::copy, session};
use crate::session::Session;

/// How the notice about an invitation that is not followed begins.
const REFUSED: &str = "the invitation in this page's address is not followed";
/// The quiet margin that a code needs around it, in its squares.
const MARGIN: i32 = 4;

/// Follows the invitation in the page's address, now and when the address changes.
pub(super) fn follow(model: Model, session: &Arc<Session>) {
    let session = session.clone();
    let take = move || {
        model.alarms.update(|alarms| alarms.retain(|alarm| !alarm.starts_with(REFUSED)));
        match invited(&session) {
            None => {}
            Some(Err(error)) => model.alarms.update(|alarms| alarms.push(format!("{REFUSED}: {error}"))),
            Some(Ok(address)) => {
                let handle = session.handle.clone();
                leptos::task::spawn_local(async move {
                    if let Err(error) = handle.call(Command::Dial(address)).await {
                        model.alarms.update(|alarms| alarms.push(format!("{REFUSED}: {error}")));
                    }
                });
            }
        }
    };
    take();
    // For as long as the page is there.
    window_event_listener(leptos::ev::hashchange, move |_| take());
}

/// Whom the page's address says to dial; `None` when it says nothing.
fn invited(session: &Session) -> Option<Result<Multiaddr, InviteError>> {
    let fragment = window().location().hash().ok()?;
    let text = fragment.strip_prefix('#').filter(|text| !text.is_empty())?;
    // This page's own peers say in which network it is.
    let near = session.relays.iter().filter_map(Scope::of).min().unwrap_or(Scope::World);
    let invite = text.parse::<Invite>();
    Some(invite.and_then(|invite| invite.follow(Role::Browser, &session.peer, &session.chain, near)))
}

/// The link that leads to this tab, once a relay has a slot for it.
fn link(session: &Session, addresses: &[String]) -> Option<String> {
    let slots = addresses.iter().filter_map(|address| address.parse().ok());
    let invite = slots.filter_map(|slot| Invite::to_tab(&slot, session.peer, session.chain)).next()?;
    let (origin, path) = (window().location().origin().ok()?, window().location().pathname().ok()?);
    Some(format!("{origin}{path}#{invite}"))
}

pub(super) fn card() -> impl IntoView {
    let model = expect_context::<Model>();
    let Some(session) = session() else { return ().into_any() };
    let link = Memo::new(move |_| {
        model.status.with(|status| status.as_ref().and_then(|status| link(&session, &status.addresses)))
    });
    view! {
        <section class="card" data-in="network" aria-labelledby="invite-title">
            <h2 id="invite-title">"Invite"</h2>
            {move || match link.get() {
                None => view! { <p class="empty">"There is a link once a relay has a slot for this tab."</p> }.into_any(),
                Some(link) => {
                    view! {
                        <p class="dim">
                            "Whoever opens this link gets this page, and dials this tab for as long as it is open."
                        </p>
                        <div class="invite">
                            <a class="mono address" data-testid="invite-link" href=link.clone()>{link.clone()}</a>
                            {copy(link.clone(), "Copy the link")}
                            {code(&link)}
                        </div>
                    }
                        .into_any()
                }
            }}
        </section>
    }
    .into_any()
}

/// The link as a QR code (ISO 18004), black on white whatever the page's colours are.
fn code(link: &str) -> impl IntoView + use<> {
    let code = QrCode::encode_text(link, QrCodeEcc::Low).ok()?;
    let size = code.size();
    let squares = (0..size).flat_map(|y| (0..size).map(move |x| (x, y)));
    let dark = squares.filter(|(x, y)| code.get_module(*x, *y));
    let path: String = dark.map(|(x, y)| format!("M{} {}h1v1h-1z", x + MARGIN, y + MARGIN)).collect();
    let side = size + 2 * MARGIN;
    Some(view! {
        <svg
            class="qr"
            data-testid="invite-code"
            viewBox=format!("0 0 {side} {side}")
            role="img"
            aria-label="The link as a code for a camera"
            shape-rendering="crispEdges"
        >
            <rect width=side height=side fill="#fff" />
            <path d=path fill="#000" />
        </svg>
    })
}
