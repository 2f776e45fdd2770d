// A Firefox for tests, driven over WebDriver BiDi: it opens a page, evaluates what each line on standard input says there, and writes the value
// to standard output, one line of JSON each, in the same order. It ends with its input.
//
//     node firefox.mjs FIREFOX PROFILE URL

import { spawn } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { WebSocket } from 'undici'

const [firefox, profile, url] = process.argv.slice(2)
mkdirSync(profile, { recursive: true })
// Nothing that it would do by itself, all of which it does elsewhere than here.
const off = ['app.update.auto', 'browser.safebrowsing.malware.enabled', 'browser.safebrowsing.phishing.enabled',
  'datareporting.healthreport.uploadEnabled', 'datareporting.policy.dataSubmissionEnabled', 'extensions.update.enabled',
  'network.captive-portal-service.enabled', 'network.connectivity-service.enabled']
writeFileSync(join(profile, 'user.js'), off.map((name) => `user_pref(${JSON.stringify(name)}, false);\n`).join(''))

const browser = spawn(firefox, ['--headless', '--no-remote', '--remote-debugging-port=0', '--profile', profile],
  { stdio: ['ignore', 'ignore', 'pipe'] })
process.on('exit', () => browser.kill())
process.on('SIGTERM', () => process.exit())
const place = await new Promise((resolve, reject) => {
  createInterface({ input: browser.stderr }).on('line', (line) => {
    const found = /WebDriver BiDi listening on (ws:\S+)/.exec(line)
    if (found != null) {
      resolve(found[1])
    }
  })
  browser.on('exit', (code) => reject(new Error(`Firefox ended: ${code}`)))
  browser.on('error', reject)
})

const socket = new WebSocket(`${place}/session`)
await new Promise((resolve, reject) => Object.assign(socket, { onopen: resolve, onerror: reject }))
const waiting = new Map()
socket.onmessage = ({ data }) => {
  const { id, result, message } = JSON.parse(data)
  const [resolve, reject] = waiting.get(id) ?? []
  waiting.delete(id)
  message == null ? resolve?.(result) : reject?.(new Error(message))
}
let last = 0
const call = (method, params) => new Promise((resolve, reject) => {
  last += 1
  waiting.set(last, [resolve, reject])
  socket.send(JSON.stringify({ id: last, method, params }))
})

await call('session.new', { capabilities: {} })
const { contexts: [{ context }] } = await call('browsingContext.getTree', {})
await call('browsingContext.navigate', { context, url, wait: 'complete' })
for await (const expression of createInterface({ input: process.stdin })) {
  // As text, since the protocol writes values in a way of its own.
  const text = `(() => { try { return JSON.stringify(${expression}) ?? 'null' } catch { return 'null' } })()`
  const { result } = await call('script.evaluate', { expression: text, target: { context }, awaitPromise: false })
  console.log(result.value)
}
await call('browser.close', {})
process.exit()
