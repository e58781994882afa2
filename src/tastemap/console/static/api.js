// The service's HTTP interface.

import { askForKey, authorization } from "./key.js";

export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

function path(...parts) {
  return `/${parts.map(encodeURIComponent).join("/")}`;
}

async function request(url, options = {}) {
  let response;
  try {
    const headers = { accept: "application/json", ...options.headers, ...authorization() };
    response = await fetch(url, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The service does not answer. Is it still running?", 0);
  }
  const body = await response.json().catch(() => null);
  if (response.ok && body) return body;
  const first = body?.detail?.[0];
  if (response.status === 401 && (await askForKey(first?.msg ?? ""))) return request(url, options);
  throw new ApiError(first?.msg ?? `The service answered ${response.status}.`, response.status);
}

function post(url, body, signal) {
  return request(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
}

export const health = () => request("/health");

export const findUsers = (query, signal) =>
  request(`/users?${new URLSearchParams({ query, limit: 30 })}`, { signal });

export const findItems = (query, signal) =>
  request(`/items?${new URLSearchParams({ query, limit: 24 })}`, { signal });

export const item = (id) => request(path("items", id));

export const history = (user, signal) =>
  request(`${path("users", user, "history")}?limit=300`, { signal });

export const forUser = (user, k, signal) =>
  request(`${path("users", user, "recommendations")}?k=${k}`, { signal });

export const forPicks = (history, k, signal) => post("/recommendations", { history, k }, signal);

export const similar = (id, k, signal) => request(`${path("items", id, "similar")}?k=${k}`, { signal });

/** Records that a user likes an item. Safe to send twice: the event has an id of its own. */
export async function like(user, id, { kind, value }) {
  const random = crypto.getRandomValues(new Uint32Array(4));
  const event = { user, item: id, kind, value, id: `page-${Array.from(random, (n) => n.toString(36)).join("")}` };
  try {
    return await post("/events", event);
  } catch (error) {
    if (error.status !== 0) throw error;
    return post("/events", event);
  }
}
