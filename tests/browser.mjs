// A browser for one page: runs its script with an EventSource that behaves as the standard says.
// node browser.mjs URL '{"prompt": ...}' or '{"events": ...}'; prints what the page shows in the end.
const [url, given] = process.argv.slice(2)
const wanted = JSON.parse(given)
const script = (await (await fetch(url)).text()).match(/<script>(.*)<\/script>/s)[1]
const store = new Map()
const sessionStorage = {
  getItem: (name) => store.get(name) ?? null,
  setItem: (name, value) => store.set(name, value),
}
const opened = []
let sources = []
let received = 0
let onReceived = () => {}

class EventSource extends EventTarget {
  static CLOSED = 2
  readyState = 0
  constructor(path) {
    super()
    this.path = path
    this.last = ""
    sources.push(this)
    this.run()
  }
  close() {
    this.readyState = EventSource.CLOSED
    this.abort?.abort()
  }
  async run() {
    while (this.readyState !== EventSource.CLOSED) {
      this.abort = new AbortController()
      const headers = this.last ? { "Last-Event-ID": this.last } : {}
      try {
        opened.push(this.path)
        const answer = await fetch(url + this.path, { headers, signal: this.abort.signal })
        if (answer.status !== 200) {
          this.readyState = EventSource.CLOSED
          this.dispatchEvent(new Event("error"))
          return
        }
        this.readyState = 1
        await this.read(answer)
      } catch (error) {
        if (error.name !== "AbortError") throw error
      }
      if (this.readyState === EventSource.CLOSED) return
      this.readyState = 0
      this.dispatchEvent(new Event("error"))
      await new Promise(setImmediate)
    }
  }
  async read(answer) {
    let rest = ""
    for await (const piece of answer.body.pipeThrough(new TextDecoderStream())) {
      rest += piece
      for (let end; (end = rest.indexOf("\n\n")) >= 0; ) {
        this.deliver(rest.slice(0, end))
        rest = rest.slice(end + 2)
        if (this.readyState === EventSource.CLOSED) return
        // The network goes away after every seventh event, in the page's mind at least.
        if (wanted.lossy && received % 7 === 0) return this.abort.abort()
      }
    }
  }
  deliver(block) {
    const fields = Object.fromEntries(
      block.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]),
    )
    this.last = fields.id ?? this.last
    const event = new Event(fields.event ?? "message")
    event.data = fields.data
    event.lastEventId = this.last
    if (event.type === "message") this.onmessage?.(event)
    this.dispatchEvent(event)
    received += 1
    onReceived()
  }
}

function open() {
  const elements = {}
  const document = {
    querySelector: (name) => (elements[name] ??= Object.assign(new EventTarget(), { textContent: "" })),
  }
  document.querySelector("#prompt").value = wanted.prompt
  const get = (path, options) => fetch(url + path, options)
  new Function("document", "sessionStorage", "EventSource", "fetch", script)(
    document, sessionStorage, EventSource, get,
  )
  return document
}

if (wanted.events) {
  sessionStorage.setItem("answer", JSON.stringify({ events: wanted.events, text: "", cursor: null }))
}
let document = open()
if (wanted.prompt) document.querySelector("#form").dispatchEvent(new Event("submit"))
const isOver = () => Boolean(JSON.parse(sessionStorage.getItem("answer") ?? "{}").over)
await new Promise((resolve) => {
  onReceived = () => {
    if (wanted.reload && received === wanted.reload) {
      sources.forEach((source) => source.close())
      sources = []
      document = open()
    }
  }
  const look = () => (isOver() ? resolve() : setImmediate(look))
  look()
})
// A source that would reconnect does so within this time of the loop.
for (let turn = 0; turn < 50; turn += 1) await new Promise(setImmediate)
console.log(
  JSON.stringify({
    text: document.querySelector("#answer").textContent,
    state: document.querySelector("#state").textContent,
    opened: opened.length,
    open: sources.filter((source) => source.readyState !== EventSource.CLOSED).length,
  }),
)
process.exit(0)
