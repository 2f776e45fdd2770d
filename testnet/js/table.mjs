// A js-libp2p peer for the test of the distributed hash table and of relays: it connects to one address, keeps a slot on that relay, provides a key, and
// looks for who provides another. With a third argument it first dials that address, which leads through the relay, and pings whoever is there; with
// `serve` in place of one it listens on loopback instead, without a slot, and answers what others ask the table. What happens is written to standard
// output, one line of JSON each.
//
//     node table.mjs ADDRESS PROTOCOL [CIRCUIT | serve]
//
// Lines on standard input are `provide HEX`, `find HEX`, `hold HEX` and `held HEX`, with the BLAKE3 hash that is the key. `hold` is `provide` without telling
// anybody. `find` goes on until somebody is found, and `held` until somebody is whom it has itself been told of.

import './node20.mjs'
import { createInterface } from 'node:readline'
import { circuitRelayTransport } from '@libp2p/circuit-relay-v2'
import { identify } from '@libp2p/identify'
import { kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { noise } from '@libp2p/noise'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { CID } from 'multiformats/cid'
import * as Digest from 'multiformats/hashes/digest'

const RAW = 0x55
const BLAKE3 = 0x1e

const [address, protocol, third] = process.argv.slice(2)
const serves = third === 'serve'
const circuit = serves ? undefined : third
const tell = (event, details = {}) => console.log(JSON.stringify({ event, ...details }))
const key = (hex) => CID.createV1(RAW, Digest.create(BLAKE3, Uint8Array.from(Buffer.from(hex, 'hex'))))

const node = await createLibp2p({
  addresses: { listen: serves ? ['/ip4/127.0.0.1/tcp/0'] : circuit == null ? [`${address}/p2p-circuit`] : [] },
  transports: [tcp(), circuitRelayTransport()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  // Everything here is on loopback.
  connectionGater: { denyDialMultiaddr: () => false },
  services: {
    identify: identify(),
    ping: ping(),
    table: kadDHT({ protocol, clientMode: !serves, peerInfoMapper: passthroughMapper })
  }
})
const { table } = node.services
// What asks for a provider or names one has the multihash for a key. Its servers read that as a CID, which it is for SHA-256 alone, and end the stream for
// our keys; so here they are given the CID that it stands for.
for (const what of ['ADD_PROVIDER', 'GET_PROVIDERS']) {
  const handler = table.rpc.handlers[what]
  const handle = handler.handle.bind(handler)
  handler.handle = (peer, message) => handle(peer, { ...message, key: CID.createV1(RAW, Digest.decode(message.key)).bytes })
}
// The slot is granted when there is an address through the relay.
const slot = () => node.getMultiaddrs().map(String).find((it) => it.includes('/p2p-circuit'))
node.addEventListener('self:peer:update', () => {
  if (slot() != null) {
    tell('reserved', { address: slot() })
  }
})
if (serves) {
  tell('listening', { address: node.getMultiaddrs().map(String)[0] })
}
const connection = await node.dial(multiaddr(address))
tell('connected', { peer: connection.remotePeer.toString(), own: node.peerId.toString() })
if (circuit != null) {
  const through = await node.dial(multiaddr(circuit))
  const millis = await node.services.ping.ping(through.remotePeer, { runOnLimitedConnection: true })
  tell('pinged', { peer: through.remotePeer.toString(), millis, limited: through.limits != null })
}

const pause = () => new Promise((resolve) => setTimeout(resolve, 100))
// Whoever serves the table is in ours once it has said what it speaks.
while (table.routingTable.size === 0) {
  await pause()
}

for await (const line of createInterface({ input: process.stdin })) {
  const [what, hex] = line.split(' ')
  const providers = []
  try {
    if (what === 'provide') {
      await node.contentRouting.provide(key(hex))
    }
    if (what === 'hold') {
      await table.providers.addProvider(key(hex), node.peerId)
    }
    while (what === 'held' && providers.length === 0) {
      providers.push(...(await table.providers.getProviders(key(hex))).map(String))
      await pause()
    }
    while (what === 'find' && providers.length === 0) {
      for await (const found of node.contentRouting.findProviders(key(hex))) {
        providers.push(found.id.toString())
      }
      await pause()
    }
    tell(what, { key: hex, providers })
  } catch (error) {
    tell('failed', { what, key: hex, reason: String(error) })
  }
}
await node.stop()
