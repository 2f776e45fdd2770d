// A js-libp2p peer in a page, for the test that tabs of both families reach each other by `/webrtc`: it takes part in a chat room, keeps a slot on a
// relay, dials and is dialled. The test calls the functions of `window.peer` and reads from `events` what came of it.
//
//     esbuild page.mjs --bundle --format=esm --outfile=page.js

import { circuitRelayTransport } from '@libp2p/circuit-relay-v2'
import { gossipsub } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import { noise } from '@libp2p/noise'
import { ping } from '@libp2p/ping'
import { webRTC } from '@libp2p/webrtc'
import { webSockets } from '@libp2p/websockets'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'

// The address of a relay and the name of a room.
const [relay, room] = decodeURIComponent(location.hash.slice(1)).split(' ')
const topic = `/weft/chat/${room}`
const events = []
const tell = (event, details = {}) => {
  events.push({ event, ...details })
  document.body.append(JSON.stringify(events.at(-1)), document.createElement('br'))
}

const node = await createLibp2p({
  addresses: { listen: ['/webrtc', `${relay}/p2p-circuit`] },
  // Nobody is asked from where this page is seen.
  transports: [webSockets(), circuitRelayTransport(), webRTC({ rtcConfiguration: { iceServers: [] } })],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  // That a busy machine answers late is no reason to hang up, and with the relay to lose the slot, nor to give up after its ten seconds.
  connectionMonitor: { abortConnectionOnPingFailure: false },
  connectionManager: { dialTimeout: 60_000, inboundUpgradeTimeout: 60_000 },
  // Everything here is on this machine.
  connectionGater: { denyDialMultiaddr: () => false },
  services: {
    identify: identify(),
    ping: ping(),
    pubsub: gossipsub({ allowPublishToZeroTopicPeers: false })
  }
})
const { pubsub } = node.services
pubsub.addEventListener('gossipsub:message', ({ detail: { msg } }) => {
  if (msg.topic === topic) {
    tell('heard', { author: msg.from?.toString(), text: new TextDecoder().decode(msg.data) })
  }
})
pubsub.subscribe(topic)

// Whoever asks for so many bytes gets them as fast as they go.
const BYTES = '/weft-bench/bytes/1'
await node.handle(BYTES, async (stream) => {
  const piece = new Uint8Array(64 << 10)
  for await (const asked of stream) {
    for (let left = Number(new DataView(asked.slice().buffer).getBigUint64(0)); left > 0; left -= piece.length) {
      if (!stream.send(piece.subarray(0, Math.min(left, piece.length)))) {
        await stream.onDrain()
      }
    }
  }
})
const fetchBytes = async (id, count) => {
  const stream = await to(id).find((it) => it.limits == null).newStream(BYTES)
  const asked = new Uint8Array(8)
  new DataView(asked.buffer).setBigUint64(0, BigInt(count))
  const begun = performance.now()
  stream.send(asked)
  let left = count
  for await (const piece of stream) {
    left -= piece.byteLength
    if (left <= 0) {
      break
    }
  }
  const millis = performance.now() - begun
  stream.abort(new Error('all is here'))
  return { millis }
}
const dial = async (address) => {
  const begun = performance.now()
  const connection = await node.dial(multiaddr(address))
  return { direct: connection.limits == null, millis: performance.now() - begun }
}

const to = (id) => node.getConnections().filter((it) => it.remotePeer.toString() === id)
const told = (what, promise) => {
  promise.then((details) => tell(what, details), (error) => tell('failed', { what, reason: String(error) }))
}

window.peer = {
  id: node.peerId.toString(),
  events,
  // Where others dial this page by `/webrtc`, once the relay has a slot for it.
  address: () => node.getMultiaddrs().map(String).find((it) => it.includes('/p2p-circuit/webrtc')),
  // What leads to a peer: whether it is without limits, as nothing through a relay is, and the address.
  links: (id) => to(id).map((it) => ({ direct: it.limits == null, address: it.remoteAddr.toString() })),
  // Whether what is said goes to this peer.
  meshed: (id) => pubsub.getMeshPeers(topic).includes(id),
  dial: (address) => told('dialled', dial(address)),
  say: (text) => told('said', pubsub.publish(topic, new TextEncoder().encode(text)).then(() => ({ text }))),
  fetchBytes: (id, count) => told('fetched', fetchBytes(id, count)),
  hangUp: (id) => to(id).forEach((it) => it.close()),
  ping: (id) => told('pinged', node.services.ping.ping(to(id)[0].remotePeer).then((millis) => ({ id, millis })))
}
