// @ts-check
/**
 * Live events of FastCMS: one subscription that outlives cuts and restarts without a gap.
 *
 *     import { subscribe } from '/static/realtime/fastcms-realtime.js'
 *     const feed = subscribe({ collection: 'posts', query: 'status=published' })
 *     feed.on('record.created', event => console.log(event.data.title))
 *
 * @typedef {'record.created' | 'record.updated' | 'record.deleted' | 'collection.created' | 'collection.updated'
 *   | 'collection.deleted' | 'job.updated' | 'user.joined' | 'user.left' | 'connected' | 'reset'} EventType
 *
 * @typedef {Object} LiveEvent
 * @property {EventType} type
 * @property {string | null} collection
 * @property {string | null} record_id
 * @property {Record<string, any>} data
 * @property {string} timestamp
 *
 * @typedef {Object} Status
 * @property {'connecting' | 'open' | 'waiting' | 'closed'} state
 * @property {number} [code] closed: the HTTP status of the refusal; none after `close()`
 * @property {string} [message] closed: what the server says about it
 * @property {number} [retryIn] waiting: milliseconds until the next try
 *
 * @typedef {Object} Options
 * @property {string} [url] where the CMS is, `https://cms.example.com`; this page's own server if left out
 * @property {string} [collection] its name; all collections if left out
 * @property {string} [query] a filter; only records that match are told
 * @property {string} [token] an access token
 * @property {(refused: boolean) => string | null | undefined | Promise<string | null | undefined>} [getToken]
 *   asked before each connect; `refused`: the last one was 401. Better than `token`, which ends
 * @property {string} [userId] be present under this name
 * @property {string} [lastEventId] go on after this event
 * @property {(event: LiveEvent) => void} [onEvent] every event but `connected` and `reset`
 * @property {(event: LiveEvent) => void} [onReset] something may have been missed: read again what you show
 * @property {(status: Status) => void} [onStatus]
 *
 * @typedef {Object} Feed
 * @property {(type: EventType, listener: (event: LiveEvent) => void) => () => void} on answers how to stop listening
 * @property {() => void} close
 * @property {string} lastEventId where another subscription could go on
 */

/** @type {EventType[]} */
const TYPES = [
  'record.created', 'record.updated', 'record.deleted', 'collection.created', 'collection.updated',
  'collection.deleted', 'job.updated', 'user.joined', 'user.left', 'connected', 'reset',
]
const FIRST_DELAY = 1000
const LONGEST_DELAY = 30000
const PASSING = [408, 425, 429] // and 5xx: the same request may be answered later

/**
 * The answer, if it is good. Throws the Status of a refusal, or an Error where another try may help.
 * @param {string} url @param {RequestInit} init
 */
async function ask(url, init) {
  const answer = await fetch(url, { ...init, credentials: 'omit', cache: 'no-store' })
  if (answer.ok) return answer
  if (answer.status >= 500 || PASSING.includes(answer.status)) throw new Error(answer.statusText)
  const body = await answer.json().catch(() => ({}))
  throw { state: 'closed', code: answer.status, message: body.message ?? answer.statusText }
}

/** @param {Options} [options] @returns {Feed} */
export function subscribe(options = {}) {
  const api = `${(options.url ?? '').replace(/\/$/, '')}/api/v1/realtime`
  const stream = options.collection ? `${api}/${encodeURIComponent(options.collection)}` : api
  /** @type {Map<EventType, Set<(event: LiveEvent) => void>>} */
  const listeners = new Map(TYPES.map(type => [type, new Set()]))
  /** @type {EventSource | null} */
  let source = null
  let lastEventId = options.lastEventId ?? ''
  let isClosed = false
  let tries = 0
  let refused = false
  let timer = 0

  /** @param {Status} status */
  const say = status => options.onStatus?.(status)

  async function connect() {
    say({ state: 'connecting' })
    try {
      const token = options.getToken ? await options.getToken(refused) : options.token
      /** @type {Record<string, string>} */
      const headers = token ? { Authorization: `Bearer ${token}` } : {}
      // A token in an address would end up in logs; a ticket is good for one minute and one connection.
      const ticket = token && (await (await ask(`${api}/ticket`, { method: 'POST', headers })).json()).ticket
      if (!isClosed) listen(ticket, headers)
    } catch (fault) {
      failed(fault)
    }
  }

  /** @param {string | null | undefined} ticket @param {Record<string, string>} headers */
  function listen(ticket, headers) {
    const given = { query: options.query, user_id: options.userId, last_event_id: lastEventId }
    const parameters = new URLSearchParams(Object.entries(given).flatMap(([name, value]) => value ? [[name, value]] : []))
    const address = `${stream}?${parameters}`
    if (ticket) parameters.set('token', ticket)
    const opened = (source = new EventSource(`${stream}?${parameters}`))
    let isOpen = false
    opened.onopen = () => (isOpen = true)
    // The browser would come back by itself, but with the ticket that is used up.
    opened.onerror = () => {
      opened.close()
      isOpen ? failed() : why(address, headers).then(failed, failed)
    }
    for (const type of TYPES) opened.addEventListener(type, message => take(type, message))
  }

  /**
   * An EventSource does not say why it failed: ask once more in a way that does.
   * @param {string} address @param {Record<string, string>} headers
   */
  async function why(address, headers) {
    const end = new AbortController()
    await ask(address, { headers, signal: end.signal })
    end.abort()
  }

  /** @param {EventType} type @param {MessageEvent<string>} message */
  function take(type, message) {
    if (isClosed) return
    const isLogged = type.startsWith('record.') || type.startsWith('collection.')
    if (isLogged && Number(message.lastEventId) <= Number(lastEventId)) return // known already
    lastEventId = message.lastEventId
    const event = JSON.parse(message.data)
    if (type === 'connected') {
      tries = 0
      refused = false
      say({ state: 'open' })
    } else if (type === 'reset') {
      options.onReset?.(event)
    } else {
      options.onEvent?.(event)
    }
    for (const listener of [...(listeners.get(type) ?? [])]) listener(event)
  }

  /** @param {any} [fault] an Error, or the Status of a refusal */
  function failed(fault) {
    if (isClosed) return
    if (fault?.code === 401 && options.getToken && !refused) {
      refused = true // a token that has just ended: there may be a new one
      return connect()
    }
    if (fault?.state) return end(fault)
    const longest = Math.min(FIRST_DELAY * 2 ** tries++, LONGEST_DELAY)
    const retryIn = Math.round(longest * (0.5 + Math.random() / 2)) // or all come back at the same moment
    timer = setTimeout(connect, retryIn)
    say({ state: 'waiting', retryIn })
  }

  /** @param {Status} status */
  function end(status) {
    if (isClosed) return
    isClosed = true
    clearTimeout(timer)
    source?.close()
    say(status)
  }

  connect()
  return {
    on(type, listener) {
      const those = listeners.get(type)
      if (!those) throw new TypeError(`There are no events of type ${type}.`)
      those.add(listener)
      return () => void those.delete(listener)
    },
    close: () => end({ state: 'closed' }),
    get lastEventId() {
      return lastEventId
    },
  }
}
