// What is said beside the picture: what was found, every point, and who decided what.
import { SIGNS } from "./queue.js";

/** @typedef {import("./asking.js").Face} Face */

/** @param {string} id */
export const $ = id => /** @type {HTMLElement} */ (document.getElementById(id));

/** @param {number} share @param {number} [digits] */
export const percent = (share, digits = 0) => `${(100 * share).toFixed(digits)} %`;

/** A share of which the first two digits matter. @param {number} value */
const share = value => (value > 0 && value < 5e-5 ? "< 0.01 %" : percent(value, value >= 0.0995 ? 0 : value >= 0.00995 ? 1 : 2));

/** @param {string} kind @param {string} [text] @param {string} [name] its class */
export function make(kind, text = "", name = "") {
  const element = document.createElement(kind);
  element.textContent = text;
  if (name) element.className = name;
  return element;
}

/** How far a point moves, in sizes of the face. @param {Face} face @param {number} i */
export function moveOf(face, i) {
  return Math.sqrt(face.gains[i]);
}

/** What holds for a point. @param {Face} face @param {number} i */
export const verdictOf = (face, i) => (face.verdicts[i] >= 0 ? face.verdicts[i] : face.verdict);

/** The points in the order in which they are to be looked at. @param {Face} face @returns {number[]} */
export function ordered(face) {
  const listed = new Set(face.listed);
  const there = face.annotations.map((_, i) => i).filter(i => face.annotations[i]);
  return there.sort((a, b) => Number(listed.has(b)) - Number(listed.has(a)) || face.probabilities[b] - face.probabilities[a]);
}

/**
 * How far a face, or the chosen point, is from where it should be.
 * @param {Face} face @param {number|null} selected @param {number} whole gain of the audit's points
 */
export function showFacts(face, selected, whole) {
  const there = face.annotations.map((_, i) => i).filter(i => face.annotations[i]);
  const gain = selected === null ? face.gains.reduce((a, b) => a + b, 0) : face.gains[selected];
  const move = selected === null ? Math.sqrt(gain / Math.max(1, there.length)) : moveOf(face, selected);
  const spread = selected === null ? null : face.spread[selected];
  const rows = [
    ["Move", percent(move, move < 0.9995 ? 1 : 0), `${(move * face.size).toFixed(1)} px${selected === null ? " mean" : ""}`],
    ["Gain", whole ? share(gain / whole) : "–", "of the whole"],
    spread ? ["Sure to", `${(2.146 * Math.sqrt(spread[0] * spread[1])).toFixed(1)} px`, "90 % within"] : ["Face", `${face.size.toFixed(0)} px`, "side of its box"],
  ];
  const list = document.createElement("dl");
  for (const [term, value, more] of rows) {
    const cell = document.createElement("div"), detail = make("dd", value);
    detail.append(make("small", more));
    cell.append(make("dt", term), detail);
    list.append(cell);
  }
  $("facts").replaceChildren(list);
}

/** @param {Face} face @param {number|null} selected @param {any} about @param {(landmark: number) => void} choose */
export function showPoints(face, selected, about, choose) {
  const listed = new Set(face.listed);
  const head = make("div", "", "columns");
  head.append(make("span", "#"), make("span", "name"), make("span", "move"), make("span", "wrong"), make("span", ""));
  const rows = ordered(face).map(i => {
    const row = make("button", "", `point${listed.has(i) ? " listed" : ""}`), verdict = about.verdicts[verdictOf(face, i)];
    /** @type {HTMLButtonElement} */ (row).type = "button";
    row.tabIndex = -1;
    row.dataset.landmark = String(i);
    if (i === selected) row.setAttribute("aria-current", "true");
    row.append(make("span", String(i), "number"), make("span", about.landmarks[i], "name"), make("span", percent(moveOf(face, i), moveOf(face, i) < 0.9995 ? 1 : 0)));
    row.append(make("span", percent(face.probabilities[i])), make("span", verdict ? SIGNS[verdict] : "", `sign${verdict ? ` sign-${verdict}` : ""}`));
    row.title = about.landmarks[i];
    row.addEventListener("click", () => choose(i));
    return row;
  });
  const top = $("points").scrollTop;
  $("points").replaceChildren(head, ...rows);
  $("points").scrollTop = top;
  $("points").querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
  const open = face.listed.filter(i => verdictOf(face, i) < 0).length;
  $("points-note").textContent = face.listed.length ? `${face.listed.length} suspicious${open < face.listed.length ? `, ${open} to do` : ""}` : "";
}

const WORDS = { accept: "accepted", reject: "kept as annotated", move: "moved", flag: "flagged" };

/** @param {Face} face */
export function showHistory(face) {
  const lines = face.history.map(one => {
    const line = make("li", "", one.undone ? "undone" : ""), time = make("time", ago(one.at));
    time.title = new Date(one.at).toLocaleString();
    line.append(make("span", `${one.landmark === null ? "Face" : `Point ${one.landmark}`} ${WORDS[one.verdict]}, ${one.who}`), time);
    return line;
  });
  $("history").replaceChildren(...(lines.length ? lines : [make("li", "Nothing decided yet", "quiet")]));
}

/** @param {string} at */
function ago(at) {
  const seconds = Math.max(0, (Date.now() - Date.parse(at)) / 1000);
  if (seconds < 60) return "now";
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  return new Date(at).toLocaleDateString();
}
