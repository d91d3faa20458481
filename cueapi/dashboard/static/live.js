/*
 * Makes pages live; each can be read and used without this. A stream of hints says that something has changed. Then the
 * page is fetched anew, and its regions ([data-live], by id) are replaced, tables row by row. What the reader is busy
 * with stays: a row with the focus, what was typed, an open menu or question, and a list that was scrolled past.
 */
const POLL = 15_000; // between two looks without a stream
const [LOOK, MOVES] = [60_000, 5_000]; // with one, since hints may be lost; and where it says for how long something runs
const SILENT = 40_000; // a stream pings every 15 s: after so long it is dead
const BOXES = "tbody input[type=checkbox]"; // of rows that can be selected
const TEXTS = "input:not([type=checkbox]), textarea"; // that can be typed in
const [COME_BACK, TRY_LATER] = [2_000, 60_000]; // after a stream has ended, and where the server has no room for one

const [state, main] = ["live-state", "main"].map((id) => document.getElementById(id));
const regions = () => [...document.querySelectorAll("[data-live][id]")];
const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

/* Times: in the viewer's zone, and how far away they are. */
let skew = 0; // how far the server's clock is ahead of this one
const now = () => Date.now() + skew;
const two = (number) => String(number).padStart(2, "0");

function localTime(date, shown) {
  const minute = `${two(date.getHours())}:${two(date.getMinutes())}`, second = `${minute}:${two(date.getSeconds())}`;
  if (shown === "time" || shown === "clock") return shown === "time" ? second : minute;
  const day = `${two(date.getMonth() + 1)}-${two(date.getDate())} ${shown === "minute" || shown === "day" ? minute : second}`;
  return shown === "day" ? day : `${date.getFullYear()}-${day}`;
}

function distance(milliseconds) {
  const seconds = Math.ceil(milliseconds / 1000);
  if (seconds <= 0 && seconds > -60) return "now";
  const minutes = Math.round(Math.abs(seconds) / 60), hours = Math.floor(minutes / 60);
  const [whole, unit, rest, smaller] =
    seconds > 0 && seconds < 60 ? [seconds, "s"]
    : hours < 1 ? [minutes, "min"]
    : hours < 24 ? [hours, "h", minutes % 60, "min"]
    : [Math.floor(hours / 24), "d", hours % 24, "h"];
  return `${seconds > 0 ? "in" : "due for"} ${whole} ${unit}` + (rest ? ` ${rest} ${smaller}` : "");
}

function countDown(root) {
  for (const time of root.querySelectorAll("[data-countdown]"))
    time.textContent = distance(Date.parse(time.dataset.countdown) - now());
}

function dress(root) {
  for (const time of root.querySelectorAll("time[data-shown]"))
    time.textContent = localTime(new Date(time.dateTime), time.dataset.shown);
  for (const button of root.querySelectorAll("[data-copy]")) button.hidden = false;
  countDown(root);
}

/* Regions: what is fetched takes the place of what is there, except where the reader is busy. */
const unfolded = new WeakSet(); // by the reader, not by the page
function isBusy(node) {
  const folds = [node, ...node.querySelectorAll("details")].filter((one) => one.open && unfolded.has(one));
  const typed = [...node.querySelectorAll(TEXTS)].filter((one) => one.value !== one.defaultValue);
  const asked = node.querySelectorAll("[aria-invalid], :popover-open"); // also what was refused: it was typed
  return node.contains(document.activeElement) || folds.length + typed.length + asked.length > 0;
}

function takePlace(old, fresh) {
  if (old.isEqualNode(fresh) || isBusy(old)) return old;
  const ticked = [...old.querySelectorAll("input:checked")].map((box) => box.value);
  for (const box of fresh.querySelectorAll("input[type=checkbox]")) box.checked = ticked.includes(box.value);
  old.replaceWith(fresh);
  return fresh;
}

function mergeRows(old, fresh) {
  const isHeld = old.getBoundingClientRect().top < 0;
  const [known, rows] = [new Map([...old.children].map((row) => [row.id, row])), [...fresh.children]];
  let [next, newer] = [old.firstElementChild, 0];
  for (const row of rows) {
    const present = known.get(row.id);
    if (present === undefined && isHeld && ++newer) continue;
    const placed = present === undefined ? row : takePlace(present, row);
    const isAside = next !== placed && next !== present;
    if (present === undefined || (isAside && !isHeld && !isBusy(placed))) old.insertBefore(placed, next);
    next = placed.nextElementSibling;
  }
  const isGone = (row) => !isHeld && !rows.some((one) => one.id === row.id) && !isBusy(row);
  for (const row of [...old.children].filter(isGone)) row.remove();
  offerNewer(newer);
}

function offerNewer(number) {
  document.getElementById("newer")?.remove();
  const button = Object.assign(document.createElement("button"), { id: "newer", textContent: `${number} newer` });
  if (number > 0) main.prepend(button);
}

/* What stands around the one table of a region, whose rows are merged. */
function mergeAround(old, fresh) {
  if (old.matches("table")) return mergeRows(old.tBodies[0], fresh.tBodies[0]);
  const [parts, others] = [[...old.children], [...fresh.children]];
  const [at, other] = [parts, others].map((all) => all.findIndex((one) => one.querySelector("tbody") !== null));
  const isAlike = at === other && parts.length === others.length;
  if (!isAlike) for (const part of parts) if (part !== parts[at]) part.remove();
  for (const [number, part] of others.entries())
    if (number === other) mergeAround(parts[at], part);
    else if (isAlike) takePlace(parts[number], part);
    else number < other ? parts[at].before(part) : old.append(part);
}

const heads = (one) => [...one.querySelectorAll("h2, th")].map((head) => head.textContent).join();
function merge(page) {
  dress(page);
  for (const old of regions()) {
    const fresh = page.getElementById(old.id) ?? old.cloneNode(true);
    const [before, after] = [old, fresh].map((one) => [...one.querySelectorAll("tbody")]);
    const isSameTable = before.length === 1 && after.length === 1 && heads(old) === heads(fresh);
    if (isSameTable && before[0].rows[0]?.id) mergeAround(old, fresh);
    else takePlace(old, fresh);
  }
  countSelected();
}

/* Looking again, and what the header says about it. */
let [isLive, isLooking, again, lastLook] = [false, false, false, Date.now()];

function say(text, isStale = false) {
  state.textContent = text;
  for (const [name, is] of [["stale", isStale], ["on", isLive && !isStale]]) state.classList.toggle(name, is);
}

async function look() {
  try {
    const answer = await fetch(location.href, { headers: { "X-Fragment": "1" }, signal: AbortSignal.timeout(POLL) });
    if (answer.status === 401) return say("signed out", true);
    if (!answer.ok) throw new Error(answer.statusText);
    const off = Date.parse(answer.headers.get("Date")) - Date.now();
    skew = Math.abs(off) > 2_000 ? off : 0;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (page.getElementById("main").dataset.account !== main.dataset.account) return say("signed in as another", true);
    merge(page);
    if (!answer.redirected) document.title = page.title;
    lastLook = Date.now();
    say(isLive ? "live" : "every 15 s");
  } catch {
    say(`not up to date since ${localTime(new Date(lastLook), "time")}`, true);
  }
}

async function refresh() {
  again = true; // also where one is under way: it may have seen what was before
  if (isLooking) return;
  for (isLooking = true; again; await look()) again = false;
  isLooking = false;
}

const concerns = (topics) =>
  regions().some(({ dataset }) => dataset.topics?.split(" ").some((topic) => topics.includes(topic)) ?? true);

/* The stream of hints: one while the page is seen. */
async function follow(signal) {
  const answer = await fetch(state.dataset.events, { headers: { Accept: "text/event-stream" }, signal });
  if (answer.status !== 200) return TRY_LATER;
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  isLive = true;
  refresh();
  let text = "";
  for (;;) {
    const part = await Promise.race([reader.read(), sleep(SILENT).then(() => ({ done: true }))]);
    if (part.done) return COME_BACK;
    const events = (text + part.value).split("\n\n");
    text = events.pop();
    const told = events.flatMap((one) => [...one.matchAll(/^data: (.*)$/gm)].flatMap(([, data]) => JSON.parse(data).topics));
    if (told.length && concerns(told)) refresh();
  }
}

async function stayLive() {
  for (;;) {
    const stream = new AbortController();
    const stop = () => document.hidden && stream.abort();
    document.addEventListener("visibilitychange", stop);
    const pause = document.hidden ? COME_BACK : await follow(stream.signal).catch(() => COME_BACK); // lost, or not seen
    document.removeEventListener("visibilitychange", stop);
    stream.abort();
    if (isLive && !document.hidden) refresh(); // what the header says is true again, whatever has ended the stream
    isLive = false;
    const seen = new Promise((done) => document.addEventListener("visibilitychange", done, { once: true }));
    await (document.hidden ? seen : Promise.race([sleep(pause), seen]));
  }
}

/* Forms: copying, choosing rows, trying a schedule; a second click sends nothing. */
function copy(button) {
  const source = document.getElementById(button.dataset.copy);
  getSelection().selectAllChildren(source); // where the clipboard is closed (no https), the reader copies it
  navigator.clipboard?.writeText(source.textContent).then(() => {
    const [label] = button.childNodes; // what it copies is said behind that, for those who do not see it
    label.data = "Copied";
    setTimeout(() => (label.data = "Copy"), 1_500);
  });
}

function countSelected() {
  const [rows, number] = ["", ":checked"].map((which) => document.querySelectorAll(BOXES + which).length);
  for (const one of document.querySelectorAll("[data-selected]")) one.textContent = `${number || "none"} selected`;
  for (const all of document.querySelectorAll("[data-all]"))
    Object.assign(all, { hidden: false, checked: number > 0 && number === rows, indeterminate: number % rows > 0 });
}

let typing;
function previewSoon(form) {
  clearTimeout(typing);
  typing = setTimeout(async () => {
    const body = new URLSearchParams(new FormData(form));
    const asked = fetch(form.dataset.preview, { method: "POST", body, headers: { "X-Fragment": "1" } });
    const text = await asked.then((answer) => answer.text()).catch(() => "");
    const page = new DOMParser().parseFromString(text, "text/html");
    const [old, fresh] = [document, page].map((one) => one.getElementById("preview"));
    if (`${body}` !== `${new URLSearchParams(new FormData(form))}`) return; // a newer one is asked for
    dress(page);
    fresh === null ? (old.textContent = "Not up to date: the server cannot be asked.") : old.replaceWith(fresh);
  }, 300);
}

document.addEventListener("click", (event) => {
  if (event.target.closest("summary")) unfolded.add(event.target.closest("summary").parentElement);
  const button = event.target.closest("[data-copy], #newer");
  if (button?.id === "newer") {
    window.scrollTo({ top: 0 });
    refresh();
  } else if (button) copy(button);
});
const sent = new Set();
document.addEventListener("submit", (event) => {
  if ((event.submitter?.formMethod || event.target.method) !== "post") return;
  sent.has(event.target) ? event.preventDefault() : sent.add(event.target);
  setTimeout(() => sent.delete(event.target), 2_000);
});
document.addEventListener("change", (event) => {
  const all = event.target.matches("[data-all]") ? document.querySelectorAll(BOXES) : [];
  for (const box of all) box.checked = event.target.checked;
  countSelected();
});
document.addEventListener("input", ({ target }) => target.form?.dataset.preview && previewSoon(target.form));

dress(document);
countSelected();
setInterval(() => countDown(document), 1_000);
if (state !== null && regions().length > 0) {
  say("every 15 s");
  stayLive();
  const pause = () => (document.querySelector("[data-moves]") ? MOVES : isLive ? LOOK : POLL);
  setInterval(() => !document.hidden && Date.now() - lastLook >= pause() && refresh(), 1_000);
}
