//! What time it is, and a way to let others have their turn.

use std::{cell::RefCell, collections::VecDeque, rc::Rc};

use futures::channel::oneshot;
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use web_sys::MessageChannel;
use weft_core::primitives::{Mono, Now, Wall};

/// Both clocks.
pub(crate) fn now() -> Now {
    let mono = web_sys::window().and_then(|window| window.performance()).map_or(0.0, |clock| clock.now());
    Now { mono: Mono(mono as u64), wall: Wall(js_sys::Date::now() as u64) }
}

/// Lets the browser draw and deliver events before a task goes on. A message to oneself does what a timer of zero does,
/// but is not slowed down in a hidden tab.
pub(crate) struct Turns {
    channel: MessageChannel,
    waiting: Rc<RefCell<VecDeque<oneshot::Sender<()>>>>,
    _next: Closure<dyn FnMut()>,
}

impl Turns {
    /// # Errors
    /// When the browser has no message channels.
    pub(crate) fn new() -> Result<Self, JsValue> {
        let channel = MessageChannel::new()?;
        let waiting = Rc::new(RefCell::new(VecDeque::<oneshot::Sender<()>>::new()));
        let next = Closure::<dyn FnMut()>::new({
            let waiting = waiting.clone();
            move || {
                let next = waiting.borrow_mut().pop_front();
                if let Some(next) = next {
                    // Whoever waited may have gone.
                    let _ = next.send(());
                }
            }
        });
        channel.port1().set_onmessage(Some(next.as_ref().unchecked_ref()));
        Ok(Self { channel, waiting, _next: next })
    }

    /// Returns in a later turn of the browser's event loop.
    pub(crate) async fn next(&self) {
        let (sender, receiver) = oneshot::channel();
        self.waiting.borrow_mut().push_back(sender);
        if self.channel.port2().post_message(&JsValue::NULL).is_ok() {
            // The sender is in the queue until the message arrives.
            let _ = receiver.await;
        }
    }
}
