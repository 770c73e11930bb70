// Every key, what it does, and the help that lists them.
import { $, make } from "./panel.js";

/** @type {[string, [string, string, string][]][]} title; keys, action, what it does */
export const KEYS = [
  ["Decide", [
    ["a Enter", "accept", "accept the proposal: of the chosen point, else of the face; a moved point stays as moved"],
    ["r", "reject", "keep the annotation"],
    ["f", "flag", "flag, to look at it again"],
    ["u Ctrl+z", "undo", "undo your last step"],
    ["b", "all", "accept all that the filter shows"],
  ]],
  ["Go", [
    ["j ArrowRight", "next", "next"],
    ["k ArrowLeft", "previous", "previous"],
    ["ArrowDown .", "pointAfter", "next point of the face"],
    ["ArrowUp ,", "pointBefore", "point before"],
    ["Escape", "leave", "no point: the whole face"],
    ["h", "first", "back to the first"],
  ]],
  ["Move a point", [
    ["Drag", "", "with the pointer; Shift makes it five times finer"],
    ["Shift+ArrowUp", "up", "nudge it up"],
    ["Shift+ArrowDown", "down", "nudge it down"],
    ["Shift+ArrowLeft", "left", "nudge it left"],
    ["Shift+ArrowRight", "right", "nudge it right"],
  ]],
  ["Look", [
    ["c", "compare", "both, before, after"],
    ["Space", "hold", "hold: before; release: back"],
    ["z", "closeup", "close-up or whole face"],
    ["+ =", "in", "zoom in; or the wheel, or two fingers"],
    ["-", "out", "zoom out"],
    ["0", "fit", "whole face"],
    ["m", "lens", "magnifier"],
    ["l", "lines", "lines"],
    ["e", "ellipses", "ellipses"],
    ["n", "numbers", "numbers"],
  ]],
  ["Queue and filters", [
    ["1", "faces", "faces"],
    ["2", "points", "points"],
    ["q", "queue", "the other queue"],
    ["d", "state", "to do, done, flagged, all"],
    ["t", "kind", "next kind"],
    ["Shift+T", "kindBefore", "kind before"],
    ["g", "region", "next region"],
    ["/", "filters", "to the filters; Escape comes back"],
    ["w", "reload", "take the queue anew"],
  ]],
  ["Page", [
    ["x", "export", "export"],
    ["i", "name", "your name"],
    ["y", "theme", "light, dark"],
    ["?", "help", "this help"],
  ]],
];

const NAMES = { ArrowRight: "→", ArrowLeft: "←", ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc", Shift: "⇧" };
/** @type {Map<string, string>} */
const ACTIONS = new Map();
for (const [, keys] of KEYS) for (const [names, action] of keys) for (const name of names.split(" ")) if (action) ACTIONS.set(name, action);

/** What a key is to do. @param {KeyboardEvent} event @returns {string|undefined} */
export function actionOf(event) {
  if (event.altKey || event.metaKey && event.key !== "z") return undefined;
  const key = event.key === " " ? "Space" : event.key.length === 1 && !event.shiftKey ? event.key.toLowerCase() : event.key;
  if (event.ctrlKey || event.metaKey) return ACTIONS.get(`Ctrl+${key}`);
  if (event.shiftKey && ACTIONS.has(`Shift+${key}`)) return ACTIONS.get(`Shift+${key}`);
  return ACTIONS.get(key) || ACTIONS.get(key.length === 1 ? key.toLowerCase() : key); // caps lock
}

export function showHelp() {
  const dialog = /** @type {HTMLDialogElement} */ ($("keys")), columns = make("div", "", "columns-of-keys");
  for (const [title, keys] of KEYS) {
    const section = document.createElement("section"), list = document.createElement("dl");
    for (const [names, , words] of keys) {
      const term = document.createElement("dt");
      for (const name of names.split(" ")) {
        for (const part of name === "+" ? ["+"] : name.split("+").filter(Boolean)) {
          term.append(make("kbd", NAMES[part] || (part.length === 1 ? part.toUpperCase() : part)));
        }
      }
      list.append(term, make("dd", words));
    }
    section.append(make("h3", title), list);
    columns.append(section);
  }
  dialog.replaceChildren(make("h2", "Keys"), columns);
  dialog.showModal();
}
