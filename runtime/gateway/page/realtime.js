// The gateway's realtime protocol (OpenAI's, GA): JSON over a WebSocket that comes back by itself.

const FIRST_WAIT = 500, LONGEST_WAIT = 8000;
const BUSY = [429, 503];

// crypto.randomUUID is there over HTTPS and on localhost alone
const newId = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

export class Realtime extends EventTarget {
  // `secret()` gives the key that a connection shows, empty: none; `refusal()` why one was not taken.
  constructor(secret, refusal) {
    super();
    this.secret = secret;
    this.refusal = refusal;
    this.conversation = newId();
    this.wait = FIRST_WAIT;
    this.attempt = 0;
    this.wanted = this.ready = false;
    this.waiting = []; // events that are sent once the session is there
  }

  async connect() {
    this.wanted = true;
    this.ready = false;
    const attempt = ++this.attempt, gone = () => attempt !== this.attempt;
    clearTimeout(this.timer);
    this.socket?.close(1000);
    const url = new URL(`v1/realtime?model=voxturn&conversation=${this.conversation}`, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    let key;
    try {
      key = await this.secret();
    } catch (error) {
      return gone() || this.failed(error);
    }
    if (gone()) return;
    this.socket = new WebSocket(url, key ? ["realtime", `openai-insecure-api-key.${key}`] : ["realtime"]);
    this.socket.onmessage = ({ data }) => gone() || this.told(JSON.parse(data));
    this.socket.onclose = async () => {
      if (gone()) return;
      const error = this.ready ? undefined : await this.refusal();
      if (!gone()) this.failed(error);
    };
  }

  told(event) {
    const created = event.type === "session.created";
    if (created) this.ready = true;
    this.dispatchEvent(new CustomEvent("event", { detail: event }));
    if (!created) return;
    this.wait = FIRST_WAIT;
    for (const each of this.waiting.splice(0)) this.send(each);
  }

  // `error`: why there is no connection, where the gateway has said it.
  failed(error) {
    const busy = BUSY.includes(error?.status);
    if (error && !busy && !(error instanceof TypeError)) {
      this.close();
      this.dispatchEvent(new CustomEvent("refused", { detail: error }));
      return;
    }
    this.ready = false;
    this.dispatchEvent(new CustomEvent("lost", { detail: { busy } }));
    this.timer = setTimeout(() => this.connect(), this.wait);
    this.wait = Math.min(this.wait * 2, LONGEST_WAIT);
  }

  // Sends an event now or, of its kind at most `most`, once there is a session. Whether one was dropped for it.
  send(event, most = Infinity) {
    if (this.sendNow(event) || !this.wanted) return false;
    this.waiting.push(event);
    const same = this.waiting.filter(({ type }) => type === event.type);
    if (same.length <= most) return false;
    this.waiting.splice(this.waiting.indexOf(same[0]), 1);
    return true;
  }

  // Sends an event if there is a session: later it would mean nothing.
  sendNow(event) {
    if (this.ready) this.socket.send(JSON.stringify(event));
    return this.ready;
  }

  close() {
    this.attempt++;
    this.wanted = this.ready = false;
    this.waiting = [];
    clearTimeout(this.timer);
    this.socket?.close(1000);
  }
}
