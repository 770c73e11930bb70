// The page: a queue on the left, a face in the middle, its points on the right. Every step goes to the server first, and
// the page says that something is done when the server has said that it is on disk.
import { Gone, Shelf, get, post } from "./asking.js";
import { KEYS, actionOf, showHelp } from "./keys.js";
import { $, make, ordered, percent, showFacts, showHistory, showPoints, verdictOf } from "./panel.js";
import { List, SIGNS } from "./queue.js";
import { Stage } from "./stage.js";

/** @typedef {import("./asking.js").Face} Face @typedef {import("./asking.js").Point} Point @typedef {import("./queue.js").Item} Item */

const POLL = 1000; // milliseconds between two looks at what others did
const AHEAD = 6; // faces fetched before they are asked for
const NUDGE = 1; // CSS pixels
const SETTLE = 500; // milliseconds after the last nudge, when it is saved
const STATES = ["todo", "done", "flagged", "all"];
const MODES = /** @type {("both"|"before"|"after")[]} */ (["both", "before", "after"]);
const DONE = { accept: "Accepted", reject: "Kept as annotated", move: "Moved", flag: "Flagged" };

const about = await get("/api/audit").catch(error => fail(error));
const page = [...crypto.getRandomValues(new Uint8Array(12))].map(byte => byte.toString(16).padStart(2, "0")).join("");
const shelf = new Shelf();
const list = new List($("list"), $("rows"), index => serial(() => go(index)), about);
const stage = new Stage(/** @type {HTMLCanvasElement} */ ($("canvas")), about, {
  select: landmark => select(landmark),
  moved: (landmark, place) => serial(() => decide("move", landmark, place)),
});

/** @type {Face|null} the face that is shown */
let face = null;
/** @type {{face: number, landmark: number}|null} what is shown although it is not in the list */
let guest = null;
let change = about.change;
let who = localStorage.getItem("semalign-review-name") || about.name;
let busy = Promise.resolve();
let held = false; // the key that shows what was before
let turn = 0; // number of the face asked for last
/** @type {{landmark: number, timer: number}|null} nudges that are not saved yet */
let nudged = null;
/** Milliseconds from asking for a face to its picture on the screen; for measurements. @type {number[]} */
const shown = [];

/** One step after the other, so that keys may be pressed faster than a disk writes. @param {() => Promise<any>} step */
function serial(step) {
  busy = busy.then(step).then(calm, fail);
  return busy;
}

/** @param {Error} error @returns {any} */
function fail(error) {
  $("alarm").textContent = error.message;
  $("alarm").hidden = false;
  if (error instanceof Gone) $("who").classList.add("gone");
}

function calm() {
  if (!$("who").classList.contains("gone")) $("alarm").hidden = true;
}

let saying = 0;
/** @param {string} text */
function say(text) {
  $("say").textContent = text;
  $("say").classList.add("on");
  clearTimeout(saying);
  saying = setTimeout(() => $("say").classList.remove("on"), 1600);
}

// Faces --------------------------------------------------------------------------------------------------------------

/** What is worked on. @returns {{face: number, landmark: number}|null} */
const current = () => guest || list.current || null;

/** The landmarks that matter in a face. @param {Face} shown_ @param {number} landmark of the place in the queue, -1 = none */
function focusOf(shown_, landmark) {
  if (landmark >= 0) return new Set([landmark, ...shown_.listed]);
  if (!shown_.listed.length) return new Set(shown_.annotations.map((_, i) => i));
  return new Set(shown_.listed);
}

/** Show the place of the list with this number. @param {number} index */
async function go(index) {
  await settle();
  if (!list.items.length) return show();
  if (index >= list.items.length) await list.ahead();
  if (index >= list.items.length) { say("That was the last one"); index = list.items.length - 1; }
  guest = null;
  list.select(Math.max(0, index));
  return show();
}

/** Show what is current. */
async function show() {
  const one = current(), mine = ++turn, begin = performance.now();
  $("empty").hidden = true;
  if (!one) {
    face = null;
    stage.show(null, null, new Set(), null);
    empty("Nothing to do here", "Nothing passes the filter. Change it (/), take another state (D), or the other queue (Q).");
    return renderFace();
  }
  const [found, picture] = await Promise.all([shelf.face(one.face), shelf.picture(one.face)]);
  if (mine !== turn) return;
  face = found;
  stage.show(face, picture, focusOf(face, one.landmark), one.landmark >= 0 ? one.landmark : null);
  shown.push(performance.now() - begin);
  if (!picture.bitmap) empty("There is no picture", picture.error, true);
  renderFace();
  renderTotal();
  const next = list.items.slice(list.index + 1, list.index + 1 + AHEAD).map(item => item.face);
  const before = list.items[list.index - 1];
  shelf.want([...new Set(before ? [...next, before.face] : next)].filter(row => row !== one.face));
}

/** @param {string} title @param {string} text @param {boolean} [above] over a face without a picture */
function empty(title, text, above = false) {
  $("empty").hidden = false;
  $("empty").classList.toggle("on-picture", above);
  /** @type {HTMLElement} */ ($("empty").querySelector("b")).textContent = title;
  /** @type {HTMLElement} */ ($("empty").querySelector("p")).textContent = text;
}

/** The face that is shown, of which something changed. @param {number} row */
async function renew(row) {
  if (face?.face !== row) return;
  const found = await shelf.face(row);
  if (face?.face !== row) return;
  face = found;
  stage.renew(face, nudged ? nudged.landmark : null);
  renderFace();
}

/** @param {number|null} landmark */
function select(landmark) {
  if (!face || landmark !== null && !face.annotations[landmark]) return;
  if (nudged && nudged.landmark !== landmark) serial(settle);
  stage.selected = landmark;
  if (stage.closeup && landmark !== null && !stage.grip) stage.fit(true);
  stage.draw();
  renderFace();
}

/** @param {number} step */
function point(step) {
  if (!face) return;
  const order = ordered(face), at = stage.selected === null ? (step > 0 ? -1 : order.length) : order.indexOf(stage.selected);
  select(order[(at + step + order.length) % order.length]);
}

/** The suspicious points of a face that nobody has decided: what a decision on the face is about, where it has some. @param {Face} shown_ */
const listedOpen = shown_ => shown_.listed.filter(i => verdictOf(shown_, i) < 0);

// Decisions ----------------------------------------------------------------------------------------------------------

/**
 * Decide on a point or on the face, and go on when it is on disk.
 * @param {string} verdict @param {number|null} landmark null = the face @param {Point} [place]
 */
async function decide(verdict, landmark, place) {
  const one = current(), shown_ = face;
  if (!one || !shown_ || shown_.face !== one.face) return;
  const some = landmark === null && verdict !== "flag" ? listedOpen(shown_) : [];
  const points = some.length ? some : [landmark];
  const decisions = points.map(i => ({ face: shown_.face, landmark: i, verdict, ...(place ? { x: place[0], y: place[1] } : {}) }));
  const answer = await post("/api/decide", { who, decisions });
  took(answer);
  say(`${DONE[verdict]}: ${some.length > 1 ? `${some.length} points` : points[0] === null ? "face" : `point ${points[0]}`}`);
  await touched([shown_.face]);
  if (verdict === "move") return;
  const same = guest === null && one.landmark === (landmark === null ? -1 : landmark);
  if (landmark === null || same) await go(list.index + 1);
  else select(ordered(/** @type {Face} */ (face)).find(i => /** @type {Face} */ (face).listed.includes(i) && verdictOf(/** @type {Face} */ (face), i) < 0) ?? null);
}

/** What a step's answer says of the whole. @param {any} answer */
function took(answer) {
  if (answer.progress) renderProgress(answer.progress);
}

/** Something was decided on some faces. @param {number[]|null} rows null = any */
async function touched(rows) {
  shelf.forget(rows);
  if (face && (rows === null || rows.includes(face.face))) await renew(face.face);
  recount();
  list.update(rows).catch(fail);
}

let counting = 0;
function recount() {
  clearTimeout(counting);
  counting = setTimeout(() => list.recount().then(renderFilters).catch(() => {}), 250);
}

async function undo() {
  await settle(true);
  const answer = await post("/api/undo", { who });
  took(answer);
  if (!answer.undone) return say("Nothing of yours to undo");
  say(answer.undone === 1 ? "Undone" : `Undone: ${answer.undone.toLocaleString("en")} decisions`);
  await touched(answer.undone > 50 ? null : [answer.face]);
  if (answer.face === undefined) return;
  const landmark = answer.landmark ?? -1;
  const at = list.items.findIndex(item => item.face === answer.face && (item.landmark === landmark || list.filter.queue === "faces"));
  if (at >= 0 && at !== list.index) await go(at);
  else if (at < 0 && answer.undone === 1) {
    guest = { face: answer.face, landmark };
    await show();
  }
}

/** Accept the proposal; a point that was moved by hand stays where it was put, and the next one comes. */
async function accept() {
  await settle();
  if (!face || !isMoved()) return decide("accept", stage.selected);
  say(`Stays as moved: point ${stage.selected}`);
  return list.current?.landmark === stage.selected && !guest ? go(list.index + 1) : select(null);
}

const isMoved = () => face !== null && stage.selected !== null && about.verdicts[face.verdicts[stage.selected]] === "move";

/** Move the chosen point by CSS pixels. @param {number} dx @param {number} dy */
function nudge(dx, dy) {
  const landmark = stage.selected;
  if (!face || landmark === null) return say("Choose a point first (↑ ↓)");
  const place = stage.result(landmark);
  if (!place) return;
  const undecided = verdictOf(face, landmark) < 0 && !stage.moving.has(landmark), from = undecided ? face.proposals[landmark] || place : place;
  const step = NUDGE / stage.view.zoom;
  stage.moving.set(landmark, [from[0] + dx * step, from[1] + dy * step]);
  stage.draw();
  clearTimeout(nudged?.timer);
  nudged = { landmark, timer: setTimeout(() => serial(settle), SETTLE) };
}

/** Save nudges. @param {boolean} [drop] forget them instead */
async function settle(drop = false) {
  if (!nudged) return;
  const { landmark, timer } = nudged, place = stage.moving.get(landmark);
  clearTimeout(timer);
  nudged = null;
  if (drop) { stage.moving.delete(landmark); stage.draw(); } else if (place) await decide("move", landmark, place);
}

async function acceptAll() {
  const filter = list.filter;
  if (filter.state !== "todo") return say("Choose 'To do' first (D)");
  await list.recount();
  renderFilters();
  const count = list.total;
  if (!count) return say("Nothing passes the filter");
  const what = filter.queue === "faces" ? (count === 1 ? "face" : "faces") : count === 1 ? "point" : "points";
  const number = count.toLocaleString("en"), body = document.createElement("dl"), kind = about.kinds.find(one => one.name === filter.kind);
  const rows = [["kind", kind ? kind.title : "any"], ["probability", filter.least ? `at least ${percent(filter.least)}` : "any"]];
  if (filter.region) rows.push(["region", filter.region]);
  if (filter.landmark) rows.push(["landmark", `${filter.landmark} ${about.landmarks[Number(filter.landmark)]}`]);
  if (filter.move) rows.push(["move", `at least ${percent(filter.move, 1)} of the face`]);
  if (filter.queue === "faces") rows.push(["of a face", "its suspicious points where it has some, else all"]);
  for (const [term, value] of rows) body.append(make("dt", term), make("dd", value));
  const note = make("p", `All that nobody has decided yet, also those further down the list. One undo (U) takes it back.`, "quiet");
  if (!await ask(`Accept ${number} ${what}?`, [body, note], `Accept ${number} ${what}`)) return;
  const answer = await post("/api/batch", { ...filter, who, verdict: "accept", count });
  took(answer);
  say(`Accepted: ${answer.count.toLocaleString("en")} ${what}`);
  shelf.forget(null);
  await reload();
}

async function exportAll() {
  if (!about.export) return;
  say("Exporting…");
  const answer = await post("/api/export", { who }).catch(error => error);
  if (answer instanceof Gone) throw answer;
  const body = document.createElement("dl");
  if (answer instanceof Error) return void await ask("Not exported", [make("p", answer.message)], "");
  for (const [term, value] of Object.entries(answer.result)) {
    body.append(make("dt", term.replaceAll("_", " ")), make("dd", typeof value === "number" ? value.toLocaleString("en") : typeof value === "string" ? value : JSON.stringify(value)));
  }
  await ask("Exported", [body], "");
}

/** Ask something. @param {string} title @param {HTMLElement[]} body @param {string} yes "" = there is nothing to decide */
function ask(title, body, yes) {
  const dialog = /** @type {HTMLDialogElement} */ ($("ask"));
  $("ask-title").textContent = title;
  $("ask-body").replaceChildren(...body);
  $("ask-yes").textContent = yes;
  $("ask-yes").hidden = !yes;
  $("ask-no").textContent = yes ? "Cancel" : "Close";
  dialog.returnValue = "no";
  dialog.showModal();
  (dialog.querySelector("input") || $(yes ? "ask-yes" : "ask-no")).focus();
  return new Promise(done => dialog.addEventListener("close", () => done(dialog.returnValue === "yes"), { once: true }));
}

async function rename() {
  const input = document.createElement("input");
  input.value = who;
  input.maxLength = 80;
  input.setAttribute("aria-label", "Your name");
  input.addEventListener("keydown", event => {
    if (event.key === "Enter") { event.preventDefault(); /** @type {HTMLDialogElement} */ ($("ask")).close("yes"); }
  });
  if (!await ask("Your name", [make("p", "It is kept with each of your decisions, and undo is by name.", "quiet"), input], "Keep") || !input.value.trim()) return;
  who = input.value.trim();
  localStorage.setItem("semalign-review-name", who);
  $("who").textContent = who;
}

// Queue and filters --------------------------------------------------------------------------------------------------

const form = /** @type {HTMLFormElement} */ ($("filters"));
/** @param {string} name */
const field = name => /** @type {HTMLInputElement|HTMLSelectElement|RadioNodeList} */ (form.elements.namedItem(name));
let kind = "", queue = new URLSearchParams(location.search).get("queue") === "points" ? "points" : "faces";

function filter() {
  const order = field("order").value; // by how far they move nothing depends on the probability
  return {
    queue, kind, region: field("region").value, landmark: field("landmark").value, order,
    least: order === "move" ? 0 : Number(field("least").value) / 100,
    move: Number(field("move").value) / 100, state: field("state").value,
  };
}

/** Take the queue anew, with the filter as it is. */
async function reload() {
  renderFilters();
  guest = null;
  if (!await list.open_(filter())) return;
  renderFilters();
  renderTotal();
  await show();
}

function renderFilters() {
  const { least, move } = filter();
  /** @type {HTMLElement} */ (form.querySelector("[name=least] + output")).textContent = least ? `≥ ${percent(least)}` : "any";
  /** @type {HTMLInputElement} */ (field("least")).disabled = !least;
  /** @type {HTMLElement} */ (form.querySelector("[name=move] + output")).textContent = move ? `≥ ${percent(move, 1)}` : "any";
  for (const name of ["faces", "points"]) $(`tab-${name}`).setAttribute("aria-selected", String(name === queue));
  const kinds = about.kinds.filter(one => list.kinds[one.name] || one.name === kind);
  $("kinds").replaceChildren(...[{ name: "", title: "Any kind" }, ...kinds].map(one => {
    const chip = /** @type {HTMLButtonElement} */ (make("button", one.name || "any kind"));
    chip.type = "button";
    chip.title = one.title;
    chip.setAttribute("role", "radio");
    chip.setAttribute("aria-checked", String(one.name === kind));
    chip.append(make("span", String(one.name ? list.kinds[one.name] || 0 : list.any)));
    chip.addEventListener("click", () => serial(() => choose("kind", one.name)));
    return chip;
  }));
  renderTotal();
}

/** @param {string} name @param {string} value */
async function choose(name, value) {
  await settle();
  if (name === "kind") kind = value;
  else if (name === "queue") { queue = value; kind = ""; }
  else field(name).value = value;
  await reload();
}

/** The value after, or before, in a list. @param {string[]} values @param {string} value @param {number} step */
const after = (values, value, step = 1) => values[(Math.max(0, values.indexOf(value)) + step + values.length) % values.length];

function kindsThere() {
  return ["", ...about.kinds.filter(one => list.kinds[one.name]).map(one => one.name)];
}

// What is seen -------------------------------------------------------------------------------------------------------

function renderTotal() {
  const words = { todo: "to do", done: "done", flagged: "flagged", all: "in all" }, state = list.filter.state;
  const number = make("b", list.total.toLocaleString("en"));
  $("total").replaceChildren(number, ` ${words[state]}${list.index >= 0 ? `, at ${(list.index + 1).toLocaleString("en")}` : ""}`);
  /** @type {HTMLButtonElement} */ ($("all")).disabled = state !== "todo" || !list.total;
}

/** @param {any} progress */
function renderProgress(progress) {
  const kept = Math.max(0, progress.settled - progress.gained);
  $("gained").textContent = percent(progress.gained, 1);
  $("settled").textContent = `${percent(progress.settled, 1)} decided, ${percent(kept, 1)} of it kept as annotated`;
  $("bar-taken").style.width = `${100 * progress.gained}%`;
  $("bar-kept").style.width = `${100 * kept}%`;
  $("gain-bar").setAttribute("aria-valuenow", String(Math.round(100 * progress.settled)));
  for (const name of ["faces", "points"]) {
    const [done, all] = progress[name];
    $(`done-${name}`).textContent = `${done.toLocaleString("en")} / ${all.toLocaleString("en")}`;
  }
}

function renderFace() {
  const chosen = stage.selected, verdict = face && about.verdicts[chosen === null ? face.status : verdictOf(face, chosen)];
  for (const button of document.querySelectorAll("[data-act]")) /** @type {HTMLButtonElement} */ (button).disabled = !face && /** @type {HTMLElement} */ (button).dataset.act !== "undo";
  for (const id of ["facts", "points", "history"]) if (!face) $(id).replaceChildren();
  $("verdict").hidden = !verdict;
  const some = face && (face.verdict >= 0 || face.verdicts.some(one => one >= 0));
  const rest = chosen === null && face?.verdicts.some(one => one >= 0) ? " the rest" : "";
  const open = face ? listedOpen(face).length : 0, points = open ? (open > 1 ? ` ${open} points` : " the point") : "";
  $("word-accept").textContent = chosen === null ? `Accept${points || rest || " face"}` : isMoved() ? "Keep as moved" : `Accept point ${chosen}`;
  $("word-reject").textContent = chosen === null ? `Keep${rest || " annotation"}` : "Keep annotation";
  $("legend").hidden = !face;
  /** @type {HTMLElement} */ ($("legend").querySelector(".key-moved")).hidden = !face || !some || !Object.keys(face.moved).length;
  /** @type {HTMLElement} */ ($("legend").querySelector(".key-spread")).hidden = !stage.ellipses || chosen === null && stage.focus.size > 20;
  if (!face) {
    for (const id of ["what", "where"]) $(id).textContent = "\u00a0";
    $("odds").replaceChildren();
    $("else").hidden = true;
    return;
  }
  if (verdict) {
    $("verdict").textContent = `${SIGNS[verdict]} ${DONE[verdict]}`;
    $("verdict").className = `verdict ${verdict}`;
  }
  const found = about.kinds[chosen === null ? face.kind : face.kinds[chosen]];
  const title = found ? found.title : chosen === null ? "nothing found" : "nothing found at this point";
  $("what").textContent = chosen === null ? title : `${chosen} ${about.landmarks[chosen]}`;
  $("where").textContent = `${chosen === null ? "" : `${title}, `}face ${face.face}: ${face.image}${face.file && !face.image.includes(face.file.replace(/\.\w+$/, "")) ? ` (${face.file})` : ""}`;
  const odds = chosen === null ? face.probability : face.probabilities[chosen];
  $("odds").replaceChildren(percent(odds), make("small", " wrong"));
  showFacts(face, chosen, about.gain);
  showPoints(face, chosen, about, select);
  showHistory(face);
  renderOthers();
}

function renderOthers() {
  const others = face ? list.open[face.face] || [] : [];
  $("else").hidden = !others.length;
  $("else").textContent = others.length ? `also open: ${[...new Set(others)].join(", ")}` : "";
}

function renderMode() {
  $("mode").hidden = stage.mode === "both";
  $("mode").className = `mode ${stage.mode}`;
  $("mode").textContent = { both: "", before: "Before: as annotated", after: "After: as proposed and decided" }[stage.mode];
  /** @type {HTMLElement} */ (document.querySelector("[data-act=compare]")).setAttribute("aria-pressed", String(stage.mode !== "both"));
  stage.draw();
}

// Others -------------------------------------------------------------------------------------------------------------

async function look() {
  const one = current();
  try {
    const asked = { since: String(change), page, who, ...(one ? { face: String(one.face) } : {}) };
    const answer = await get(`/api/changes?${new URLSearchParams(asked)}`);
    if ($("who").classList.contains("gone")) {
      $("who").classList.remove("gone");
      $("alarm").hidden = true;
      await touched(null);
    }
    const other = answer.change !== change;
    change = answer.change;
    list.open = answer.open;
    renderProgress(answer.progress);
    if (other && (answer.faces === null || answer.faces.length)) await touched(answer.faces);
    else list.render();
    renderOthers();
  } catch (error) {
    fail(/** @type {Error} */ (error));
  }
  setTimeout(look, POLL);
}

// Actions ------------------------------------------------------------------------------------------------------------

function theme() {
  const dark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("semalign-review-theme", document.documentElement.dataset.theme);
  stage.draw();
}

/** @param {"lens"|"lines"|"ellipses"|"numbers"} name */
function toggle(name) {
  stage[name] = !stage[name];
  document.querySelector(`[data-act=${name}]`)?.setAttribute("aria-pressed", String(stage[name]));
  renderFace();
  stage.draw();
}

/** @type {Object<string, () => any>} */
const ACTIONS = {
  accept: () => serial(accept),
  reject: () => serial(async () => { await settle(true); await decide("reject", stage.selected); }),
  flag: () => serial(async () => { await settle(); await decide("flag", stage.selected); }),
  undo: () => serial(undo),
  all: () => serial(acceptAll),
  next: () => serial(() => go(list.index + 1)),
  previous: () => serial(() => go(list.index - 1)),
  first: () => serial(() => go(0)),
  pointAfter: () => point(1),
  pointBefore: () => point(-1),
  leave: () => select(null),
  up: () => nudge(0, -1),
  down: () => nudge(0, 1),
  left: () => nudge(-1, 0),
  right: () => nudge(1, 0),
  compare: () => { stage.mode = MODES[(MODES.indexOf(stage.mode) + 1) % 3]; renderMode(); },
  hold: () => { if (!held) { held = true; stage.mode = stage.mode === "before" ? "after" : "before"; renderMode(); } },
  closeup: () => stage.fit(!stage.closeup),
  in: () => stage.zoom(1.35),
  out: () => stage.zoom(1 / 1.35),
  fit: () => stage.fit(false),
  lens: () => toggle("lens"),
  lines: () => toggle("lines"),
  ellipses: () => toggle("ellipses"),
  numbers: () => toggle("numbers"),
  faces: () => serial(() => choose("queue", "faces")),
  points: () => serial(() => choose("queue", "points")),
  queue: () => serial(() => choose("queue", queue === "faces" ? "points" : "faces")),
  state: () => serial(() => choose("state", after(STATES, field("state").value))),
  kind: () => serial(() => choose("kind", after(kindsThere(), kind))),
  kindBefore: () => serial(() => choose("kind", after(kindsThere(), kind, -1))),
  region: () => serial(() => choose("region", after(["", ...Object.keys(about.regions)], field("region").value))),
  filters: () => /** @type {HTMLElement} */ (form.querySelector("[name=state]:checked")).focus(),
  reload: () => serial(reload),
  export: () => serial(exportAll),
  name: () => serial(rename),
  theme,
  help: showHelp,
};
console.assert(KEYS.every(([, keys]) => keys.every(([, action]) => !action || action in ACTIONS)), "keys without an action");

document.addEventListener("keydown", event => {
  const within = /** @type {HTMLElement} */ (event.target);
  if (document.querySelector("dialog[open]")) {
    if (event.key === "?" && $("keys").hasAttribute("open")) /** @type {HTMLDialogElement} */ ($("keys")).close();
    return;
  }
  if (within.closest(".filters")) {
    if (event.key === "Escape") $("canvas").focus();
    if (within.matches("input, select") || event.key === "Enter" || event.key === " ") return;
  }
  if (within.matches("button") && (event.key === "Enter" || event.key === " ")) return;
  const action = actionOf(event);
  if (!action) return;
  event.preventDefault();
  ACTIONS[action]();
});
document.addEventListener("keyup", event => {
  if (event.key === " " && held) { held = false; stage.mode = "both"; renderMode(); }
});
for (const button of document.querySelectorAll("[data-act]")) {
  button.addEventListener("click", () => { ACTIONS[/** @type {HTMLElement} */ (button).dataset.act || ""](); $("canvas").focus(); });
}
for (const name of ["export", "theme", "help", "all"]) $(name).addEventListener("click", () => { ACTIONS[name](); });
$("who").addEventListener("click", () => ACTIONS.name());
for (const tab of document.querySelectorAll("[data-queue]")) tab.addEventListener("click", () => ACTIONS[/** @type {HTMLElement} */ (tab).dataset.queue || ""]());
form.addEventListener("submit", event => event.preventDefault());
form.addEventListener("input", event => {
  renderFilters();
  if (/** @type {HTMLInputElement} */ (event.target).type !== "range") serial(reload);
});
form.addEventListener("change", event => { if (/** @type {HTMLInputElement} */ (event.target).type === "range") serial(reload); });
window.addEventListener("beforeunload", event => { if (nudged) event.preventDefault(); });

// Begin --------------------------------------------------------------------------------------------------------------

if (new URLSearchParams(location.search).has("token")) history.replaceState(null, "", "/"); // the cookie has it now
document.documentElement.dataset.theme = localStorage.getItem("semalign-review-theme") || "";
document.title = `${about.title}: review`;
$("title").textContent = about.title;
$("title").title = about.title;
$("about").textContent = `${about.faces.toLocaleString("en")} faces`;
$("who").textContent = who;
$("export").hidden = !about.export;
/** @type {HTMLSelectElement} */ (field("region")).append(...Object.keys(about.regions).map(name => new Option(name, name)));
/** @type {HTMLSelectElement} */ (field("landmark")).append(...about.landmarks.map((name, i) => new Option(`${i} ${name}`, String(i))));
renderProgress(about.progress);
await serial(reload);
look();
$("canvas").focus();
Object.assign(window, { review: { shelf, list, stage, shown, get face() { return face; }, get busy() { return busy; } } });
document.body.dataset.ready = "yes";
