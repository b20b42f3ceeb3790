// The gateway's realtime protocol (OpenAI's, GA): JSON over a WebSocket that comes back by itself.

const FIRST_WAIT = 500, LONGEST_WAIT = 8000;

export class Realtime extends EventTarget {
  // `secret()` gives the key that a connection shows; empty: none.
  constructor(secret) {
    super();
    this.secret = secret;
    this.conversation = crypto.randomUUID();
    this.wait = FIRST_WAIT;
    this.wanted = false;
  }

  get open() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  async connect() {
    this.wanted = true;
    const url = new URL(`v1/realtime?model=voxturn&conversation=${this.conversation}`, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    let key;
    try {
      key = await this.secret();
    } catch (error) {
      return this.dispatchEvent(new CustomEvent("refused", { detail: error }));
    }
    if (!this.wanted) return;
    const socket = (this.socket = new WebSocket(url, key ? ["realtime", `openai-insecure-api-key.${key}`] : ["realtime"]));
    socket.onmessage = ({ data }) => {
      const event = JSON.parse(data);
      if (event.type === "session.created") this.wait = FIRST_WAIT;
      this.dispatchEvent(new CustomEvent("event", { detail: event }));
    };
    socket.onclose = () => this.lost(socket);
  }

  lost(socket) {
    if (socket !== this.socket) return;
    this.dispatchEvent(new CustomEvent("lost"));
    if (!this.wanted) return;
    setTimeout(() => this.wanted && this.connect(), this.wait);
    this.wait = Math.min(this.wait * 2, LONGEST_WAIT);
  }

  send(event) {
    if (this.open) this.socket.send(JSON.stringify(event));
  }

  close() {
    this.wanted = false;
    this.socket?.close(1000);
  }
}
