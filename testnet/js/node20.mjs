// What js-libp2p takes for granted and Node 20 does not have.

import { WebSocket } from 'undici'

globalThis.WebSocket ??= WebSocket

Promise.withResolvers ??= function () {
  const parts = {}
  parts.promise = new this((resolve, reject) => Object.assign(parts, { resolve, reject }))
  return parts
}
