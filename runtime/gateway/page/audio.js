// The page's microphone and loudspeaker, in one AudioContext at the device's own rate.

let context;

export async function audioContext() {
  if (!context) {
    context = new AudioContext({ latencyHint: "interactive" });
    await Promise.all(["microphone.js", "loudspeaker.js"].map((name) => context.audioWorklet.addModule(new URL(name, import.meta.url))));
  }
  if (context.state !== "running") await context.resume();
  return context;
}

export class Microphone {
  // `hear(pcm)` gets Int16Array frames of 20 ms at 24 kHz.
  async start(hear) {
    this.stream = await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 },
    });
    const audio = await audioContext();
    this.source = audio.createMediaStreamSource(this.stream);
    this.node = new AudioWorkletNode(audio, "microphone", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    this.node.port.onmessage = ({ data }) => hear(data);
    this.source.connect(this.node);
  }

  stop() {
    this.source?.disconnect();
    this.node?.port.close();
    this.stream?.getTracks().forEach((track) => track.stop());
    this.source = this.node = this.stream = undefined;
  }
}

export class Loudspeaker {
  // `told({item, samples, underruns, cleared, done, sounding})` hears how far the playback is.
  async start(told) {
    const audio = await audioContext();
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
    this.node.port.postMessage({ item, pcm }, [pcm.buffer]);
  }

  end(item) {
    this.node.port.postMessage({ end: item });
  }

  clear() {
    this.node.port.postMessage({ clear: true });
  }

  stop() {
    this.node?.disconnect();
    this.node?.port.close();
  }
}

export function pcmOf(base64) {
  const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  return new Int16Array(bytes.buffer);
}

export function base64Of(pcm) {
  return btoa(String.fromCharCode(...new Uint8Array(pcm.buffer)));
}
