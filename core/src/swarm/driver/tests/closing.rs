//! Somebody who does not let a connection close.

use std::{io, pin::Pin};

use libp2p::core::{
    StreamMuxer,
    muxing::{StreamMuxerEvent, SubstreamBox},
};

use super::*;

/// A connection whose other side has stopped reading: what is still to be sent never is.
struct Stuck(StreamMuxerBox);

impl StreamMuxer for Stuck {
    type Substream = SubstreamBox;
    type Error = io::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<SubstreamBox>> {
        Pin::new(&mut self.0).poll_inbound(cx)
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<SubstreamBox>> {
        Pin::new(&mut self.0).poll_outbound(cx)
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        Pin::new(&mut self.0).poll(cx)
    }
}

#[test]
fn a_connection_that_does_not_let_itself_be_closed_is_dropped() {
    run(|spawner| async move {
        let stuck = |transport: Transported| {
            Transport::map(transport, |(peer, muxer), _| (peer, StreamMuxerBox::new(Stuck(muxer)))).boxed()
        };
        let mut a = Peer::start_as(&spawner, Role::Native, None, stuck);
        let mut b = Peer::start(&spawner, None);
        b.dial(&mut a).await;
        a.put_out(Output::Disconnect(b.id));
        let left = b.id;
        a.told(|input| matches!(input, Input::Disconnected { peer, .. } if peer == left).then_some(())).await;
    });
}
