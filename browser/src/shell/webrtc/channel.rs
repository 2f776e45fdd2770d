//! A data channel of the browser.

use std::{cell::RefCell, rc::Rc};

use js_sys::{ArrayBuffer, Uint8Array};
use send_wrapper::SendWrapper;
use wasm_bindgen::{JsCast, closure::Closure};
use web_sys::{Event, MessageEvent, RtcDataChannel, RtcDataChannelState, RtcDataChannelType};
use weft_core::swarm::{ChannelEvents, DataChannel, LOW_WATER};

use crate::in_words;

/// A data channel, closed when dropped.
pub(super) struct Channel(SendWrapper<Inner>);

struct Inner {
    channel: RtcDataChannel,
    ears: Ears,
}

/// What listens to a channel, once there is somebody to tell.
#[derive(Clone)]
pub(super) struct Ears {
    channel: RtcDataChannel,
    listeners: Rc<RefCell<Option<Listeners>>>,
}

struct Listeners {
    _on_open: Closure<dyn Fn(Event)>,
    _on_message: Closure<dyn Fn(MessageEvent)>,
    _on_low: Closure<dyn Fn(Event)>,
    _on_close: Closure<dyn Fn(Event)>,
}

impl Channel {
    pub(super) fn new(channel: RtcDataChannel) -> Self {
        channel.set_binary_type(RtcDataChannelType::Arraybuffer);
        channel.set_buffered_amount_low_threshold(u32::try_from(LOW_WATER).unwrap_or(u32::MAX));
        let ears = Ears { channel: channel.clone(), listeners: Rc::default() };
        Self(SendWrapper::new(Inner { channel, ears }))
    }

    pub(super) fn ears(&self) -> Ears {
        self.0.ears.clone()
    }
}

impl Ears {
    /// Tells `events` what happens from now on.
    pub(super) fn listen(&self, events: ChannelEvents) {
        let plain = |tell: fn(&ChannelEvents)| {
            let events = events.clone();
            Closure::<dyn Fn(_)>::new(move |_: Event| tell(&events))
        };
        let (on_open, on_low) = (plain(ChannelEvents::opened), plain(ChannelEvents::drained));
        let on_close = plain(ChannelEvents::closed);
        let hear = events.clone();
        let on_message = Closure::<dyn Fn(_)>::new(move |event: MessageEvent| {
            match event.data().dyn_into::<ArrayBuffer>() {
                Ok(buffer) => hear.message(&Uint8Array::new(&buffer).to_vec()),
                // A text, which libp2p never sends.
                Err(_) => hear.closed(),
            }
        });
        self.channel.set_onopen(Some(on_open.as_ref().unchecked_ref()));
        self.channel.set_onbufferedamountlow(Some(on_low.as_ref().unchecked_ref()));
        self.channel.set_onclose(Some(on_close.as_ref().unchecked_ref()));
        self.channel.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        *self.listeners.borrow_mut() = Some(Listeners {
            _on_open: on_open,
            _on_message: on_message,
            _on_low: on_low,
            _on_close: on_close,
        });
        if self.channel.ready_state() == RtcDataChannelState::Open {
            events.opened();
        }
    }
}

impl DataChannel for Channel {
    fn send(&mut self, message: &[u8]) -> Result<(), String> {
        self.0.channel.send_with_u8_array(message).map_err(in_words)
    }

    fn waiting(&self) -> usize {
        self.0.channel.buffered_amount() as usize
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.channel.set_onopen(None);
        self.channel.set_onbufferedamountlow(None);
        self.channel.set_onclose(None);
        self.channel.set_onmessage(None);
        self.ears.listeners.borrow_mut().take();
        self.channel.close();
    }
}
