// Requests of HTTP, with the key where one is needed; errors are the gateway's own words.

export const key = {
  get: () => sessionStorage.getItem("key") || "",
  set: (value) => sessionStorage.setItem("key", value),
};

export class Refused extends Error {
  constructor(status, error = {}) {
    super(error.message || String(status));
    this.status = status;
    this.code = error.code || "";
  }
}

export async function call(path, options = {}) {
  const headers = { ...options.headers };
  if (key.get()) headers.authorization = `Bearer ${key.get()}`;
  const answer = await fetch(path, { ...options, headers });
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => ({}));
  throw new Refused(answer.status, body.error);
}

export const json = (path, body, signal) =>
  call(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), signal });

// An ephemeral key: the long-lived one stays out of the address and the protocol's name.
export async function secret() {
  if (!key.get()) return "";
  const answer = await json("v1/realtime/client_secrets", { session: { type: "realtime" } });
  return (await answer.json()).value;
}

// Why a socket was closed before its session began: browsers do not show the handshake's answer.
export async function refusal() {
  try {
    await call("v1/models");
  } catch (error) {
    return error;
  }
  return new Refused(503);
}
