// A js-libp2p peer for the test that Weft talks to others: it connects to one address, pings, waits to be told who
// is there, and takes part in a chat room. Lines on standard input are said in the room; what happens is written to
// standard output, one line of JSON each.
//
//     node peer.mjs ADDRESS ROOM

import './node20.mjs'
import { createInterface } from 'node:readline'
import { gossipsub } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import { noise } from '@libp2p/noise'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { webSockets } from '@libp2p/websockets'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'

const [address, room] = process.argv.slice(2)
const topic = `/weft/chat/${room}`
const tell = (event, details = {}) => console.log(JSON.stringify({ event, ...details }))

const node = await createLibp2p({
  addresses: { listen: [] },
  transports: [tcp(), webSockets()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: {
    identify: identify(),
    ping: ping(),
    pubsub: gossipsub({ allowPublishToZeroTopicPeers: false })
  }
})
const { pubsub } = node.services

node.addEventListener('peer:identify', ({ detail }) =>
  tell('identified', { peer: detail.peerId.toString(), agent: detail.agentVersion, protocols: detail.protocols }))
pubsub.addEventListener('gossipsub:message', ({ detail: { msg } }) => {
  if (msg.topic === topic) {
    tell('heard', { author: msg.from?.toString(), text: new TextDecoder().decode(msg.data) })
  }
})
pubsub.subscribe(topic)

const connection = await node.dial(multiaddr(address))
tell('connected', { peer: connection.remotePeer.toString(), own: node.peerId.toString() })
tell('pinged', { millis: await node.services.ping.ping(connection.remotePeer) })

// A message published before the stream to a subscriber is open is dropped without a word. A peer in the mesh has one.
const meshed = async () => {
  while (pubsub.getMeshPeers(topic).length === 0) {
    await new Promise((resolve) => pubsub.addEventListener('gossipsub:heartbeat', resolve, { once: true }))
  }
}
await meshed()
tell('joined')

for await (const line of createInterface({ input: process.stdin })) {
  await meshed()
  await pubsub.publish(topic, new TextEncoder().encode(line))
  tell('said', { text: line })
}
await node.stop()
