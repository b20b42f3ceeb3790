// The page's microphone and loudspeaker, in one AudioContext at the device's own rate.

let context, worklets;

async function audioContext() {
  context ??= new AudioContext({ latencyHint: "interactive" });
  worklets ??= Promise.all(["microphone.js", "loudspeaker.js"].map((name) => context.audioWorklet.addModule(new URL(name, import.meta.url))));
  await worklets;
  await context.resume();
  return context;
}

export class Microphone {
  // `hear(pcm)` gets Int16Array frames of 20 ms at 24 kHz. What is stopped meanwhile does not start.
  async start(hear) {
    const wish = (this.wish = {});
    const stream = await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 },
    });
    const audio = await audioContext();
    if (wish !== this.wish) return stream.getTracks().forEach((track) => track.stop());
    this.stream = stream;
    this.source = audio.createMediaStreamSource(stream);
    this.node = new AudioWorkletNode(audio, "microphone", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    this.node.port.onmessage = ({ data }) => hear(data);
    this.source.connect(this.node);
  }

  stop() {
    this.source?.disconnect();
    this.node?.port.postMessage("end");
    this.stream?.getTracks().forEach((track) => track.stop());
    if (this.node) this.node.port.onmessage = null;
    this.wish = this.source = this.node = this.stream = undefined;
  }
}

export class Loudspeaker {
  // Worklets are there over HTTPS and on localhost alone; without them answers are read.
  get there() {
    return isSecureContext;
  }

  // `told({item, samples, underruns, cleared, done, sounding})` hears how far the playback is.
  async start(told) {
    if (!this.there) return;
    const audio = await audioContext();
    if (this.node) return;
    this.node = new AudioWorkletNode(audio, "loudspeaker", { numberOfInputs: 0, outputChannelCount: [1] });
    this.node.port.onmessage = ({ data }) => told(data);
    this.node.connect(audio.destination);
  }

  // Seconds until what the worklet gives sounds; in Firefox without the device's own: asking for that may hang the page,
  // which waits for the sound server, which waits for the page's sound.
  get latency() {
    const device = navigator.userAgent.includes("Firefox") ? 0 : context.outputLatency || 0;
    return (context.baseLatency || 0) + device;
  }

  play(item, pcm) {
    this.node?.port.postMessage({ item, pcm }, [pcm.buffer]);
  }

  end(item) {
    this.node?.port.postMessage({ end: item });
  }

  // "clear", "pause" or "resume"
  order(name) {
    this.node?.port.postMessage(name);
  }

  stop() {
    this.node?.port.postMessage("end");
    if (this.node) this.node.port.onmessage = null;
    this.node?.disconnect();
    this.node = undefined;
    context?.suspend();
  }
}

export function pcmOf(base64) {
  const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  return new Int16Array(bytes.buffer);
}

export function base64Of(pcm) {
  return btoa(String.fromCharCode(...new Uint8Array(pcm.buffer)));
}
