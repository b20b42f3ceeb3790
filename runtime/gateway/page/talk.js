// The conversation: the microphone goes out, the answer comes in, and each word is shown as it is heard.
import { call, secret } from "./api.js";
import { Loudspeaker, Microphone, base64Of, pcmOf } from "./audio.js";
import { Answer, Question } from "./dialogue.js";
import { Realtime } from "./realtime.js";
import { notice, text, told } from "./texts.js";
import { loadVoices, showStyles } from "./voices.js";
import { draw, row } from "./waterfall.js";

const RATE = 24000, CAREFUL_MS = 4000, CAREFUL = 0.8;
const $ = (id) => document.getElementById(id);
const button = $("talk-button"), hold = $("hold-button");
const TOOL = { type: "function", name: "time", description: "The time of day and the date", parameters: { type: "object", properties: {} } };

const microphone = new Microphone(), loudspeaker = new Loudspeaker(), realtime = new Realtime(secret);
let on = false, held = false, ready = false, unsent = [], dropped = 0, turns = 0, begun = 0;
let question, answers = new Map(), calls = [], spokenAt = 0;

window.voxturn = { figures: [] }; // what was measured, for tests and for the curious

function status(name) {
  $("status").textContent = text(name);
  $("status").dataset.text = name;
}

function pressed(down) {
  button.setAttribute("aria-pressed", down);
  button.dataset.label = down ? "talk_stop" : "talk_start";
  button.setAttribute("aria-label", text(button.dataset.label));
}

function settings() {
  const automatic = $("mode").value === "auto";
  const careful = performance.now() - begun < CAREFUL_MS;
  return {
    type: "realtime",
    output_modalities: ["audio"],
    tools: $("tool").checked ? [TOOL] : [],
    audio: {
      input: {
        transcription: { model: "whisper-1" },
        // later the end of a question is told by its words, which is sooner
        turn_detection: automatic ? (careful ? { type: "server_vad", threshold: CAREFUL } : { type: "semantic_vad", eagerness: "auto" }) : null,
      },
      output: { ...($("voice").value ? { voice: $("voice").value } : {}), speed: Number($("speed").value) },
    },
    ...($("style").value ? { instructions: `[${$("style").value}]` } : {}),
  };
}

const update = () => realtime.send({ type: "session.update", session: settings() });

async function start() {
  notice("");
  status("connecting");
  try {
    await loudspeaker.start(played);
    if ($("mode").value === "auto" || held) await microphone.start(hear).catch((error) => (notice(text("error_microphone")), console.warn(error.name)));
  } catch (error) {
    return told(error);
  }
  on = true;
  begun = performance.now();
  pressed(true);
  await realtime.connect();
  setTimeout(() => on && update(), CAREFUL_MS);
}

function stop() {
  for (const answer of answers.values()) answer.finish?.(); // what was made and will not sound any more
  on = ready = false;
  realtime.close();
  microphone.stop();
  loudspeaker.stop();
  pressed(false);
  status("idle");
}

function hear(pcm) {
  let most = 0;
  for (const sample of pcm) most = Math.max(most, Math.abs(sample));
  button.style.setProperty("--level", Math.min(1, most / 12000));
  if ($("mode").value === "hold" && !held) return;
  if (!ready) {
    unsent.push(pcm);
    if (unsent.length > 100) unsent.shift(), dropped++; // two seconds
    return;
  }
  realtime.send({ type: "input_audio_buffer.append", audio: base64Of(pcm) });
}

function played({ item, samples, underruns, cleared, sounding }) {
  const answer = answers.get(item);
  if (!answer) return;
  if (sounding !== undefined) {
    answer.soundedAt = performance.now() + 1000 * loudspeaker.latency;
    return answer.finish?.();
  }
  answer.underruns = underruns;
  answer.heardS = samples / RATE;
  if (!cleared) return answer.shown.heard(answer.heardS);
  answer.cut = true;
  answer.finish?.();
  answer.shown.cut(answer.heardS);
  if (!answer.complete || answer.heardS < answer.lengthS - 0.05)
    realtime.send({ type: "conversation.item.truncate", item_id: item, content_index: 0, audio_end_ms: Math.floor(1000 * Math.min(answer.heardS, answer.lengthS)) });
}

const events = {
  "session.created"() {
    update();
    ready = true;
    for (const pcm of unsent.splice(0)) realtime.send({ type: "input_audio_buffer.append", audio: base64Of(pcm) });
    notice("");
    status("listening");
  },
  "input_audio_buffer.speech_started"() {
    loudspeaker.clear();
    question = new Question();
    status("hearing");
  },
  "input_audio_buffer.speech_stopped"() {
    spokenAt = performance.now();
    status("thinking");
  },
  "conversation.item.input_audio_transcription.delta"({ delta }) {
    question ??= new Question();
    question.words = (question.words || "") + delta;
    question.show(question.words);
  },
  "conversation.item.input_audio_transcription.completed"({ transcript }) {
    (question ??= new Question()).whole(transcript);
    question = undefined;
  },
  "response.output_item.added"({ item }) {
    if (item.type !== "message") return;
    answers.set(item.id, { shown: new Answer(), spokenAt, lengthS: 0, heardS: 0, underruns: 0 });
    spokenAt = 0;
  },
  "response.output_audio_transcript.delta"({ item_id, delta, start_time }) {
    answers.get(item_id)?.shown.add(delta, start_time ?? 0);
  },
  "response.output_text.delta"({ item_id, delta }) {
    answers.get(item_id)?.shown.add(delta);
  },
  "response.output_audio.delta"({ item_id, delta }) {
    const pcm = pcmOf(delta), answer = answers.get(item_id);
    if (!answer) return;
    answer.lengthS += pcm.length / RATE;
    loudspeaker.play(item_id, pcm);
    status("speaking");
  },
  "response.output_audio.done"({ item_id }) {
    const answer = answers.get(item_id);
    if (!answer) return;
    answer.complete = true;
    answer.shown.ended(answer.lengthS);
    loudspeaker.end(item_id);
  },
  "response.function_call_arguments.done"({ call_id }) {
    calls.push(call_id);
  },
  "response.done"({ response }) {
    if (calls.length) return answerCalls();
    const answer = answers.get(response.output?.[0]?.id);
    if (!answer?.lengthS || answer.soundedAt || answer.cut) finished(response, answer);
    else answer.finish = () => ((answer.finish = undefined), finished(response, answer)); // it does not sound yet
    if (on) status("listening");
  },
  error({ error }) {
    if (!["response_cancel_not_active", "conversation_item_truncate_invalid"].includes(error.code)) notice(text("error_other") + error.message);
  },
};

function answerCalls() {
  spokenAt = [...answers.values()].at(-1)?.spokenAt || spokenAt; // the question is answered after the calls
  for (const call_id of calls.splice(0))
    realtime.send({ type: "conversation.item.create", item: { type: "function_call_output", call_id, output: new Date().toString() } });
  [...answers.values()].at(-1)?.shown.note(text("tool_called"));
  realtime.send({ type: "response.create" });
}

function finished(response, answer) {
  const trace = JSON.parse(response.metadata?.voxturn_trace || "{}");
  const times = { ...trace.times_ms };
  // the browser's own clock, from the notice of the end: it needs no synchronised clocks
  const browserMs = answer?.soundedAt && answer.spokenAt ? answer.soundedAt - answer.spokenAt : null;
  if (browserMs !== null && "endpoint" in times) times.browser = times.endpoint + browserMs;
  draw(times);
  const response_ms = trace.response_ms ?? null;
  $("turn-figure").textContent = response_ms === null ? "" : `${Math.round(response_ms)} ms`;
  row(++turns, response_ms, answer?.underruns ?? 0, dropped);
  window.voxturn.figures.push({ status: response.status, response_ms, browser_ms: browserMs, sounded_at: answer?.soundedAt ?? null, underruns: answer?.underruns ?? 0, dropped });
  if (answer && response.status === "cancelled") answer.complete = true;
}

realtime.addEventListener("event", ({ detail }) => events[detail.type]?.(detail));
realtime.addEventListener("refused", ({ detail }) => (told(detail), stop()));
realtime.addEventListener("lost", () => {
  ready = false;
  loudspeaker.clear();
  if (on) notice(text("error_offline"));
  if (on) status("connecting");
});

button.addEventListener("click", () => (on ? stop() : start()));

async function press() {
  held = true;
  if (!on) await start();
  else if (!microphone.stream) await microphone.start(hear).catch(() => notice(text("error_microphone")));
  loudspeaker.clear();
  realtime.send({ type: "response.cancel" });
  realtime.send({ type: "input_audio_buffer.clear" });
  status("hearing");
}

function release() {
  if (!held) return;
  held = false;
  realtime.send({ type: "input_audio_buffer.commit" });
  realtime.send({ type: "response.create" });
  spokenAt = performance.now();
  status("thinking");
}

hold.addEventListener("pointerdown", press);
for (const name of ["pointerup", "pointerleave", "blur"]) hold.addEventListener(name, release);
hold.addEventListener("keydown", (event) => [" ", "Enter"].includes(event.key) && !event.repeat && press());
hold.addEventListener("keyup", (event) => [" ", "Enter"].includes(event.key) && release());

$("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  const words = $("ask-text").value.trim();
  if (!words) return;
  $("ask-text").value = "";
  if (!on) {
    await loudspeaker.start(played);
    on = true;
    pressed(true);
    await realtime.connect();
    await new Promise((done) => realtime.addEventListener("event", done, { once: true }));
  }
  loudspeaker.clear();
  spokenAt = 0;
  realtime.send({ type: "response.cancel" });
  new Question(words).whole(words);
  realtime.send({ type: "conversation.item.create", item: { type: "message", role: "user", content: [{ type: "input_text", text: words }] } });
  realtime.send({ type: "response.create" });
  status("thinking");
});

$("mode").addEventListener("change", () => ((hold.hidden = $("mode").value !== "hold"), update()));
$("voice").addEventListener("change", () => (showStyles(), update()));
for (const id of ["style", "tool"]) $(id).addEventListener("change", update);
$("speed").addEventListener("input", () => (document.querySelector("output[for=speed]").textContent = Number($("speed").value).toFixed(2)));
$("speed").addEventListener("change", update);

$("clone").addEventListener("submit", async (event) => {
  event.preventDefault();
  const [file] = $("clone-file").files, name = $("clone-name").value.trim();
  if (!file || !name || !$("clone-consent").checked) return notice(text("clone_needs"));
  const form = new FormData();
  form.set("name", name);
  form.set("audio_sample", file);
  form.set("consent", "true");
  try {
    const voice = await (await call("v1/audio/voices", { method: "POST", body: form })).json();
    await loadVoices();
    $("voice").value = voice.id;
    notice(text("cloned"));
    update();
  } catch (error) {
    told(error);
  }
});

loadVoices();
