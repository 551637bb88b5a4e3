// Keeps pages up to date, sends files, asks for what changes something. Pages are whole without it.
"use strict";

const root = document.documentElement;
root.classList.add("js");
const find = (id) => document.getElementById(id);

// ---- what changes is put into place: text and attributes of the nodes that are there, so nothing flickers

const keyOf = (node) => (node.nodeType === Node.ELEMENT_NODE ? node.id : "");

function adopt(old, made) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== made.nodeValue) old.nodeValue = made.nodeValue;
    return;
  }
  if (old.hasAttribute("data-keep")) return;
  for (const { name } of [...old.attributes]) {
    // whether a part is unfolded is the reader's
    if (!made.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name);
  }
  for (const { name, value } of made.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  adoptChildren(old, made);
}

function adoptChildren(old, made) {
  const keyed = new Map();
  for (const child of old.childNodes) if (keyOf(child)) keyed.set(keyOf(child), child);
  let next = old.firstChild;
  for (const child of [...made.childNodes]) {
    const key = keyOf(child);
    let match = null;
    if (key) match = keyed.get(key);
    else if (next && !keyOf(next) && next.nodeName === child.nodeName) match = next;
    if (!match) {
      old.insertBefore(document.importNode(child, true), next);
      continue;
    }
    if (match === next) next = next.nextSibling;
    else old.insertBefore(match, next);
    adopt(match, child);
  }
  while (next) {
    const after = next.nextSibling;
    next.remove();
    next = after;
  }
}

// ---- streams

function follow(place) {
  const sign = find("stream");
  let source = null;
  let heard = 0;
  const say = (lost) => {
    if (!sign) return;
    const words = lost ? sign.dataset.lost : sign.dataset.live;
    if (sign.textContent !== words) sign.textContent = words;
    sign.classList.toggle("lost", lost);
    place.classList.toggle("stale", lost);
  };
  const alive = () => {
    heard = Date.now();
    say(false);
  };
  const open = () => {
    if (source) source.close();
    heard = Date.now();
    source = new EventSource(place.dataset.stream);
    source.addEventListener("open", alive);
    source.addEventListener("vie", alive);
    source.addEventListener("vue", (event) => {
      alive();
      const made = document.createElement("template");
      made.innerHTML = event.data;
      const box = document.createElement("div");
      box.append(made.content);
      adoptChildren(place, box);
      place.dispatchEvent(new Event("seen"));
    });
    source.addEventListener("fin", (event) => {
      source.close();
      clearInterval(watch);
      location.assign(event.data);
    });
    source.addEventListener("error", () => say(true));
  };
  // a browser gives up on an answer that is no stream, and does not see a line that went silent
  const watch = setInterval(() => {
    const silent = Date.now() - heard > 6000;
    if (silent) say(true);
    if (silent || source.readyState === EventSource.CLOSED) open();
  }, 2000);
  addEventListener("pagehide", () => source.close());
  open();
}

// ---- a job that was just started leads to its report, however soon it ended: its page is asked for with this mark

const STARTED = "#started";
const started = (job) => location.assign(`/jobs/${encodeURIComponent(job)}${STARTED}`);

// ---- requests that change something; where the server wants a token, it is asked for once

const token = () => sessionStorage.getItem("token");

// the address that `make password` prints brings it along
if (location.hash.startsWith("#token=")) {
  sessionStorage.setItem("token", location.hash.slice("#token=".length));
  history.replaceState(null, "", location.pathname + location.search);
}

function askForToken() {
  const dialog = find("token");
  const input = find("token-value");
  input.value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const given = dialog.returnValue === "ok" && input.value.trim();
      if (given) sessionStorage.setItem("token", given);
      input.value = "";
      resolve(Boolean(given));
    }, { once: true });
  });
}

function say(words) {
  const said = find("said");
  if (said) said.textContent = words;
}

const detailOf = (problem, status) => problem?.detail || problem?.error || `HTTP ${status}`;

async function change(method, address, body) {
  say("");
  for (;;) {
    const headers = body === undefined ? {} : { "Content-Type": "application/json" };
    if (token()) headers.Authorization = `Bearer ${token()}`;
    let response;
    try {
      response = await fetch(address, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
    } catch (error) {
      say(String(error.message || error));
      return null;
    }
    const answer = await response.json().catch(() => null);
    if (response.ok) return answer || {};
    if (response.status === 401) {
      sessionStorage.removeItem("token");
      if (await askForToken()) continue;
      return null;
    }
    say(detailOf(answer, response.status));
    return null;
  }
}

async function pressed(button) {
  const { cancel, process, requeue, newest, then } = button.dataset;
  if ("print" in button.dataset) return print();
  button.disabled = true;
  if (cancel !== undefined) await change("DELETE", `/api/jobs/${encodeURIComponent(cancel)}`);
  if (process !== undefined) {
    const job = await change("POST", find("upload").action, { fichier: process });
    if (job) return started(job.job_id);
  }
  if (newest !== undefined && await change("POST", `/api/jobs/${encodeURIComponent(newest)}/newest`)) return location.assign(then);
  if (requeue !== undefined) {
    const ids = requeue === "all" ? [...document.querySelectorAll("#dead-list tbody [data-requeue]")].map((one) => one.dataset.requeue) : [requeue];
    if (await change("POST", "/api/dead/requeue", { ids })) await showDead();
  }
  button.disabled = false;
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-cancel], button[data-process], button[data-requeue], button[data-newest], button[data-print]");
  if (button) pressed(button);
});

// ---- dead messages: listed again whenever their number changes

let deadShown = "0";

async function showDead() {
  const panel = find("panel-dead");
  const list = find("dead-list");
  deadShown = panel.dataset.dead;
  let answer = { dead: [], beyond: 0 };
  if (deadShown !== "0") {
    try {
      const response = await fetch("/api/dead");
      if (!response.ok) throw new Error(response.status);
      answer = await response.json();
    } catch {
      deadShown = "";
      return;
    }
  }
  if (answer.dead.length === 0) return list.replaceChildren();
  const table = find("dead-table").content.cloneNode(true);
  const rows = answer.dead.map((one) => {
    const row = find("dead-row").content.cloneNode(true);
    const job = find(`job-${one.job}`)?.querySelector("bdi").textContent ?? one.job?.slice(0, 8);
    const words = { job, chunk: one.chunk ?? one.key, reason: one.reason };
    for (const cell of row.querySelectorAll("[data-f]")) cell.textContent = words[cell.dataset.f] ?? "–";
    row.querySelector("button").dataset.requeue = one.id;
    return row;
  });
  table.querySelector("tbody").append(...rows);
  const beyond = table.querySelector("[data-f=beyond]");
  if (answer.beyond > 0) beyond.querySelector("span").textContent = answer.beyond;
  else beyond.remove();
  list.replaceChildren(table);
}

// ---- a file of one's own

function upload(form) {
  const file = find("file");
  const drop = find("drop");
  const sending = find("sending");
  const start = find("start");
  const bar = find("sent");
  const words = find("sent-words");
  let request = null;

  const over = (is) => drop.classList.toggle("over", is);
  for (const kind of ["dragenter", "dragover"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      over(true);
    });
  }
  drop.addEventListener("dragleave", () => over(false));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    over(false);
    if (event.dataTransfer.files.length > 0) file.files = event.dataTransfer.files;
  });

  const idle = (problem) => {
    request = null;
    sending.hidden = true;
    start.disabled = file.disabled = false;
    if (problem) say(problem);
  };

  const send = () => {
    say("");
    const size = [...file.files].reduce((sum, one) => sum + one.size, 0);
    if (size > Number(form.dataset.max)) return say(`${form.dataset.big}.`);
    const body = new FormData(form);
    request = new XMLHttpRequest();
    request.open("POST", form.action);
    request.responseType = "json";
    if (token()) request.setRequestHeader("Authorization", `Bearer ${token()}`);
    request.upload.addEventListener("progress", (event) => {
      const part = event.total > 0 ? Math.floor((100 * event.loaded) / event.total) : 0;
      bar.value = part;
      words.textContent = `${part} % ${form.dataset.sent}`;
    });
    request.addEventListener("load", async () => {
      const { status, response } = request;
      if (status >= 200 && status < 300 && response) return started(response.job_id);
      if (status === 401) {
        sessionStorage.removeItem("token");
        idle("");
        if (await askForToken()) send();
        return;
      }
      idle(detailOf(response, status));
    });
    request.addEventListener("error", () => idle(form.dataset.failed));
    request.addEventListener("abort", () => idle(""));
    bar.value = 0;
    words.textContent = "";
    sending.hidden = false;
    start.disabled = true;
    request.send(body);
    file.disabled = true;
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!request) send();
  });
  find("stop").addEventListener("click", () => request?.abort());
}

// ---- this page

const place = find("live");
const wasStarted = location.hash === STARTED;
// whoever comes back to the page stays on it
if (wasStarted) history.replaceState(null, "", location.pathname + location.search);
if (place?.dataset.stream) follow(place);
else if (wasStarted) place?.querySelector("a[href^='/resultats/']")?.click();
if (find("panel-dead")) {
  place.addEventListener("seen", () => {
    const { dead } = find("panel-dead").dataset;
    if (dead !== "" && dead !== deadShown) showDead();
  });
}
const form = find("upload");
if (form) upload(form);
