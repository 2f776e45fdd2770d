//! The browser's WebRTC: it makes connection objects, and tells core what happens to them.
//!
//! Nothing is decided here. What a browser calls back with is handed on at once, and everything it is asked to do begins in the order in
//! which it was asked, since the browser keeps a queue of its own.

mod channel;

use std::{cell::RefCell, rc::Rc};

use js_sys::{Array, JSON, Reflect};
use send_wrapper::SendWrapper;
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{
    Event, RtcConfiguration, RtcDataChannel, RtcDataChannelEvent, RtcDataChannelInit, RtcIceCandidateInit,
    RtcIceServer, RtcPeerConnection, RtcPeerConnectionIceEvent, RtcPeerConnectionState, RtcSdpType,
    RtcSessionDescriptionInit,
};
use weft_core::{
    primitives::Mono,
    signalling::{Happened, INIT_LABEL, Step},
    swarm::{Backend, ChannelEvents, ConnectionEvents, DataChannel, PeerConnection},
};

use self::channel::Channel;
use crate::{clock, in_words, random};

/// What hears why the browser refuses something.
type Hearer = Box<dyn Fn(&str)>;

/// What makes connections in this browser.
pub(super) struct Browser {
    /// The servers that are asked from where this tab is seen, as URIs.
    pub(super) stun: Vec<String>,
    /// What is called when the browser does not let WebRTC-direct be spoken, with its reason.
    pub(super) refused: SendWrapper<Hearer>,
}

impl Backend for Browser {
    fn connect(&self, events: ConnectionEvents) -> Result<Box<dyn PeerConnection>, String> {
        Ok(Box::new(Connection(SendWrapper::new(Inner::new(events, &self.stun).map_err(in_words)?))))
    }

    fn now(&self) -> Mono {
        clock::now().mono
    }

    fn random(&self) -> Result<[u8; 32], String> {
        random()
    }

    fn refused(&self, reason: &str) {
        (self.refused)(reason);
    }
}

/// A connection object. A page has one thread, so it never leaves the one it was made on.
struct Connection(SendWrapper<Inner>);

struct Inner {
    connection: RtcPeerConnection,
    events: ConnectionEvents,
    /// The channel without which a browser gathers no addresses, and what listens to it.
    init: Rc<RefCell<Option<Init>>>,
    _on_candidate: Closure<dyn Fn(RtcPeerConnectionIceEvent)>,
    _on_state: Closure<dyn Fn(Event)>,
    _on_channel: Closure<dyn Fn(RtcDataChannelEvent)>,
}

struct Init {
    channel: RtcDataChannel,
    _on_open: Closure<dyn Fn(Event)>,
    _on_close: Closure<dyn Fn(Event)>,
}

impl Inner {
    fn new(events: ConnectionEvents, stun: &[String]) -> Result<Self, JsValue> {
        let configuration = RtcConfiguration::new();
        let servers = stun.iter().map(|uri| {
            let server = RtcIceServer::new();
            server.set_urls(&JsValue::from_str(uri));
            server
        });
        // Nobody but those whom the signed list names is asked where we are.
        configuration.set_ice_servers(&servers.collect::<Array>());
        let connection = RtcPeerConnection::new_with_configuration(&configuration)?;

        let tell = events.clone();
        let on_candidate = Closure::<dyn Fn(_)>::new(move |event: RtcPeerConnectionIceEvent| {
            // Without one, or with an empty one, it says that there are no more.
            let candidate = event.candidate().filter(|candidate| !candidate.candidate().is_empty());
            let json = candidate.and_then(|candidate| JSON::stringify(&candidate).ok());
            if let Some(json) = json.and_then(|json| json.as_string()) {
                tell.happened(Happened::Candidate(json));
            }
        });
        connection.set_onicecandidate(Some(on_candidate.as_ref().unchecked_ref()));

        let (tell, of) = (events.clone(), connection.clone());
        let on_state = Closure::<dyn Fn(_)>::new(move |_: Event| match of.connection_state() {
            RtcPeerConnectionState::Connected => tell.happened(Happened::Connected),
            RtcPeerConnectionState::Failed | RtcPeerConnectionState::Closed => {
                tell.happened(Happened::Unreachable);
            }
            _ => {}
        });
        connection.set_onconnectionstatechange(Some(on_state.as_ref().unchecked_ref()));

        let tell = events.clone();
        let on_channel = Closure::<dyn Fn(_)>::new(move |event: RtcDataChannelEvent| {
            let channel = event.channel();
            if channel.label() == INIT_LABEL {
                return;
            }
            let channel = Channel::new(channel);
            let ears = channel.ears();
            if let Some(events) = tell.arrived(Box::new(channel)) {
                ears.listen(events);
            }
        });
        connection.set_ondatachannel(Some(on_channel.as_ref().unchecked_ref()));

        Ok(Self {
            connection,
            events,
            init: Rc::default(),
            _on_candidate: on_candidate,
            _on_state: on_state,
            _on_channel: on_channel,
        })
    }

    fn open_init(&self) {
        let channel = self.connection.create_data_channel(INIT_LABEL);
        let tell = |events: &ConnectionEvents, happened: fn() -> Happened<'static>| {
            let events = events.clone();
            Closure::<dyn Fn(_)>::new(move |_: Event| events.happened(happened()))
        };
        let on_open = tell(&self.events, || Happened::InitOpened);
        let on_close = tell(&self.events, || Happened::InitClosed);
        channel.set_onopen(Some(on_open.as_ref().unchecked_ref()));
        channel.set_onclose(Some(on_close.as_ref().unchecked_ref()));
        *self.init.borrow_mut() = Some(Init { channel, _on_open: on_open, _on_close: on_close });
    }

    /// Begins something, and tells of it when the browser refuses.
    fn spawn(&self, step: impl Future<Output = Result<(), JsValue>> + 'static) {
        let events = self.events.clone();
        spawn_local(async move {
            if let Err(error) = step.await {
                events.happened(Happened::Refused(in_words(error)));
            }
        });
    }
}

/// A description as the browser takes it.
fn description(kind: RtcSdpType, sdp: &str) -> RtcSessionDescriptionInit {
    let description = RtcSessionDescriptionInit::new(kind);
    description.set_sdp(sdp);
    description
}

/// Takes for our own the description that the browser has made, and tells of it.
async fn describe(
    connection: &RtcPeerConnection,
    events: &ConnectionEvents,
    made: JsValue,
) -> Result<(), JsValue> {
    let made: RtcSessionDescriptionInit = made.unchecked_into();
    JsFuture::from(connection.set_local_description(&made)).await?;
    let sdp = connection.local_description().map(|description| description.sdp());
    events.happened(Happened::Described(sdp.unwrap_or_default()));
    Ok(())
}

impl PeerConnection for Connection {
    fn begin(&mut self, step: Step) {
        let (connection, events) = (self.0.connection.clone(), self.0.events.clone());
        match step {
            Step::Offer => {
                self.0.open_init();
                self.0.spawn(async move {
                    let offer = JsFuture::from(connection.create_offer()).await?;
                    describe(&connection, &events, offer).await
                });
            }
            Step::Answer(offer) => self.0.spawn(async move {
                let offer = description(RtcSdpType::Offer, &offer);
                JsFuture::from(connection.set_remote_description(&offer)).await?;
                let answer = JsFuture::from(connection.create_answer()).await?;
                describe(&connection, &events, answer).await
            }),
            Step::Accept(answer) => self.0.spawn(async move {
                let answer = description(RtcSdpType::Answer, &answer);
                JsFuture::from(connection.set_remote_description(&answer)).await.map(drop)
            }),
            Step::Try(candidate) => spawn_local(async move {
                // That one address is of no use is no reason to give up.
                if let Err(error) = try_candidate(&connection, &candidate).await {
                    tracing::debug!(error = in_words(error), "an address is of no use");
                }
            }),
            Step::CloseInit => {
                if let Some(init) = &*self.0.init.borrow() {
                    init.channel.close();
                }
            }
        }
    }

    fn propose(&mut self) {
        let (connection, events) = (self.0.connection.clone(), self.0.events.clone());
        self.0.spawn(async move {
            let offer = JsFuture::from(connection.create_offer()).await?;
            let sdp = Reflect::get(&offer, &JsValue::from_str("sdp"))?;
            events.happened(Happened::Described(sdp.as_string().unwrap_or_default()));
            Ok(())
        });
    }

    fn settle(&mut self, offer: String, answer: String) {
        let connection = self.0.connection.clone();
        self.0.spawn(async move {
            let offer = description(RtcSdpType::Offer, &offer);
            JsFuture::from(connection.set_local_description(&offer)).await?;
            let answer = description(RtcSdpType::Answer, &answer);
            JsFuture::from(connection.set_remote_description(&answer)).await.map(drop)
        });
    }

    fn handshake(&mut self, events: ChannelEvents) -> Result<Box<dyn DataChannel>, String> {
        let known = RtcDataChannelInit::new();
        known.set_negotiated(true);
        known.set_id(0);
        let channel = Channel::new(self.0.connection.create_data_channel_with_data_channel_dict("", &known));
        channel.ears().listen(events);
        Ok(Box::new(channel))
    }

    fn open(&mut self, events: ChannelEvents) -> Result<Box<dyn DataChannel>, String> {
        let state = self.0.connection.connection_state();
        if matches!(state, RtcPeerConnectionState::Failed | RtcPeerConnectionState::Closed) {
            return Err("the direct connection is closed".to_owned());
        }
        let channel = Channel::new(self.0.connection.create_data_channel(""));
        channel.ears().listen(events);
        Ok(Box::new(channel))
    }
}

async fn try_candidate(connection: &RtcPeerConnection, json: &str) -> Result<(), JsValue> {
    let candidate: RtcIceCandidateInit = JSON::parse(json)?.dyn_into::<js_sys::Object>()?.unchecked_into();
    let added = connection.add_ice_candidate_with_opt_rtc_ice_candidate_init(Some(&candidate));
    JsFuture::from(added).await.map(drop)
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.connection.set_onicecandidate(None);
        self.connection.set_onconnectionstatechange(None);
        self.connection.set_ondatachannel(None);
        if let Some(init) = self.init.borrow_mut().take() {
            init.channel.set_onopen(None);
            init.channel.set_onclose(None);
        }
        self.connection.close();
    }
}
