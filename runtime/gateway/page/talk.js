// The conversation: the microphone goes out, the answer comes in, and each word is shown as it is heard.
import { Answers } from "./answers.js";
import { refusal, secret } from "./api.js";
import { Loudspeaker, Microphone, base64Of } from "./audio.js";
import { Question, note } from "./dialogue.js";
import { Realtime } from "./realtime.js";
import { Settings, automatic } from "./settings.js";
import { notice, say, settled, text, told } from "./texts.js";
import { Turn } from "./turn.js";

const CAREFUL_MS = 4000;
const WAITING_FRAMES = 100, HELD_FRAMES = 3000; // of 20 ms, while there is no connection
const LEAST_FRAMES = 5; // the gateway takes no less for a question
// what could not be is as it was wanted; a session that is over begins again by itself
const EXPECTED = ["response_cancel_not_active", "item_truncate_invalid_item_id", "audio_end_ms_too_large", "session_expired"];

const $ = (id) => document.getElementById(id);
const button = $("talk-button");

const microphone = new Microphone(), loudspeaker = new Loudspeaker();
const realtime = new Realtime(secret, refusal);
export const settings = new Settings(realtime, loudspeaker.there);

let begun, talking = false, held = 0, dropped = 0, carefully;
let turn = new Turn(), question, creating = false, asked = false;
const running = new Map(); // turns by the response that is made
const answers = new Answers(loudspeaker, realtime, changed);

function status(name) {
  if ($("status").dataset.text !== name) say($("status"), name); // said once
}

// What is so while nothing is answered.
function rest() {
  if (held) status("hearing");
  else if (!automatic()) status("hold");
  else status(microphone.stream ? "listening" : "idle");
}

function pressed(down) {
  talking = down;
  button.classList.toggle("on", down);
  button.dataset.label = down ? "talk_stop" : "talk_start";
  button.setAttribute("aria-label", text(button.dataset.label));
}

// Begins a session, unless there is one.
function begin() {
  return (begun ??= open());
}

async function open() {
  settled("error_other");
  status("connecting");
  try {
    await loudspeaker.start((told) => answers.played(told));
  } catch (error) {
    stop();
    return told(error);
  }
  if (begun) realtime.connect();
  else loudspeaker.stop();
}

async function start() {
  pressed(true);
  interrupt();
  await Promise.all([begin(), automatic() && listen()]);
}

async function listen() {
  if (microphone.stream) return;
  try {
    await microphone.start(hear);
    settled("error_microphone", "error_insecure");
    if (microphone.stream) careful();
  } catch (error) {
    notice(isSecureContext ? "error_microphone" : "error_insecure");
    console.warn(error.name);
    pressed(false);
  }
  if (realtime.ready && !running.size) rest();
}

// Only what is loud is speech until the echo canceller has learned the room.
function careful() {
  settings.careful = true;
  settings.send("mode");
  carefully = setTimeout(() => ((settings.careful = false), settings.send("mode")), CAREFUL_MS);
}

function stop() {
  asked = false;
  leave();
  creating = false;
  answers.drop();
  begun = undefined;
  clearTimeout(carefully);
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
  if (!automatic() && !held) return;
  if (held) held++;
  if (realtime.send({ type: "input_audio_buffer.append", audio: base64Of(pcm) }, held ? HELD_FRAMES : WAITING_FRAMES)) dropped++;
}

// Somebody wants to say something.
function interrupt() {
  answers.silence();
  if (creating || running.size) realtime.sendNow({ type: "response.cancel" });
}

// Something has changed in a turn.
function changed(which) {
  if (which.show(dropped)) dropped = 0;
  if (which === turn && which.done && !answers.any) rest();
}

// The connection is gone, or is left: nothing more comes of what was said on it.
function leave() {
  answers.silence();
  running.clear();
  creating = questionWaits();
  question?.whole(question.words);
  question = undefined;
  if (asked) respond();
  else if (!creating) turn = new Turn();
}

// Has the dialogue answered, once no other answer is made.
function respond() {
  asked = creating || running.size > 0;
  if (asked) return;
  creating = true;
  realtime.send({ type: "response.create", event_id: "respond" });
}

const questionWaits = () => realtime.waiting.some(({ type }) => type === "response.create");

function ask() {
  turn = new Turn();
  turn.asked();
  respond();
  status("thinking");
}

const answerTo = (response) => running.get(response) ?? turn;

const events = {
  "session.created"() {
    settings.sendAll();
    settled("error_offline", "error_waiting", "error_key", "error_busy");
    if (questionWaits()) status("thinking");
    else rest();
  },
  "session.updated"() {
    settings.updated();
  },
  "input_audio_buffer.speech_started"() {
    answers.silence();
    turn = new Turn();
    question?.whole(question.words);
    question = new Question();
    status("hearing");
  },
  "input_audio_buffer.speech_stopped"() {
    turn.asked();
    status("thinking");
  },
  "voxturn.output_audio.paused"() {
    loudspeaker.order("pause");
  },
  "voxturn.output_audio.resumed"() {
    loudspeaker.order("resume");
  },
  "conversation.item.input_audio_transcription.delta"({ delta }) {
    question ??= new Question();
    question.show(question.words + delta);
  },
  "conversation.item.input_audio_transcription.completed"({ transcript }) {
    (question ?? new Question()).whole(transcript);
    question = undefined;
    if (transcript) turn.mark("transcript");
    else rest();
  },
  "conversation.item.input_audio_transcription.failed"({ error }) {
    question?.whole("");
    question = undefined;
    notice("error_other", error.message);
    rest();
  },
  "response.created"({ response }) {
    creating = false;
    running.set(response.id, turn);
  },
  "response.output_item.added"({ response_id, item }) {
    if (item.type !== "message") return;
    answers.begin(item.id, answerTo(response_id));
  },
  "response.output_audio_transcript.delta"({ item_id, delta, start_time }) {
    answers.words(item_id, delta, start_time);
  },
  "response.output_text.delta"({ item_id, delta }) {
    answers.words(item_id, delta);
  },
  "response.output_audio.delta"({ item_id, delta }) {
    if (answers.audio(item_id, delta)) status(microphone.stream && automatic() ? "speaking" : "answering");
  },
  "response.output_item.done"({ item }) {
    answers.ended(item.id, item.status === "completed");
  },
  "response.function_call_arguments.done"({ response_id, call_id }) {
    answerTo(response_id).calls.push(call_id);
  },
  "response.done"({ response }) {
    const which = answerTo(response.id);
    running.delete(response.id);
    which.responded(response);
    if (which.calls.length) return answerCalls(which);
    which.done = true;
    changed(which);
    if (response.status === "failed") notice("error_other", response.status_details?.error?.message ?? "");
    if (asked) respond();
  },
  error({ error }) {
    if (error.event_id?.startsWith("set:")) settings.refused(error.event_id);
    if (!EXPECTED.includes(error.code)) notice("error_other", error.message);
    if (error.event_id !== "respond") return;
    creating = false;
    if (asked) respond();
    else rest();
  },
};

function answerCalls(which) {
  note("tool_called");
  for (const call_id of which.calls.splice(0))
    realtime.send({ type: "conversation.item.create", item: { type: "function_call_output", call_id, output: new Date().toString() } });
  respond();
}

realtime.addEventListener("event", ({ detail }) => events[detail.type]?.(detail));
realtime.addEventListener("refused", ({ detail }) => (stop(), told(detail)));
realtime.addEventListener("lost", ({ detail }) => {
  leave();
  notice(detail.busy ? "error_waiting" : "error_offline");
  status("connecting");
});

export const toggle = () => (talking ? stop() : start());

// The button is held.
export async function press() {
  if (held) return;
  held = 1; // and the frames that were heard since
  pressed(true);
  interrupt();
  realtime.sendNow({ type: "input_audio_buffer.clear" });
  await Promise.all([begin(), listen()]);
  if (held) status("hearing");
}

export function release() {
  if (!held) return;
  const frames = held - 1;
  held = 0;
  if (frames < LEAST_FRAMES) return rest();
  realtime.send({ type: "input_audio_buffer.commit" });
  ask();
}

export async function askTyped(words) {
  interrupt();
  new Question().whole(words);
  await begin();
  realtime.send({ type: "conversation.item.create", item: { type: "message", role: "user", content: [{ type: "input_text", text: words }] } });
  ask();
}

// The voice of a session cannot be changed once it was heard: another session goes on with the conversation.
export function reconnect() {
  if (!begun) return;
  leave();
  status("connecting");
  realtime.connect();
}

export function changeMode() {
  settings.send("mode");
  if (talking && automatic()) listen();
  if (begun && !running.size && !answers.any) rest();
}
