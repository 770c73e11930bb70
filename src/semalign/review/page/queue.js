// The list on the left: the places of a queue that pass the filter, as they were when the filter was set.
import { get } from "./asking.js";

/**
 * @typedef {Object} Item
 * @property {number} rank
 * @property {number} face
 * @property {number} landmark  -1 = the whole face
 * @property {number} kind  -1 = none
 * @property {number} probability
 * @property {number} move  in sizes of the face
 * @property {number} verdict  -1 = none
 *
 * @typedef {{queue: string, kind: string, region: string, landmark: string, least: number, move: number, state: string, order: string}} Filter
 */

export const SIGNS = { accept: "✓", reject: "✕", move: "◆", flag: "⚑" };
const PART = 300; // places fetched at once
const AHEAD = 60; // left before the next part is fetched

/** @param {any[]} values @returns {Item} */
const item = ([rank, face, landmark, kind, probability, move, verdict]) => ({ rank, face, landmark, kind, probability, move, verdict });

export class List {
  /**
   * @param {HTMLElement} box scrolls
   * @param {HTMLElement} rows in it
   * @param {(index: number) => void} choose
   * @param {any} about what the server says of the audit
   */
  constructor(box, rows, choose, about) {
    this.box = box;
    this.rows = rows;
    this.about = about;
    /** @type {Item[]} */
    this.items = [];
    this.index = -1;
    this.total = 0;
    this.kinds = {};
    this.any = 0; // of any kind, or of none
    this.more = false;
    this.fetching = null;
    this.turn = 0;
    /** @type {Object<string, string[]>} names by face, of who else has it open */
    this.open = {};
    /** @type {Map<number, HTMLElement>} */
    this.shown = new Map();
    /** @type {Filter} */
    this.filter = { queue: "faces", kind: "", region: "", landmark: "", least: 0.5, move: 0, state: "todo", order: "probability" };
    box.addEventListener("scroll", () => this.render(), { passive: true });
    new ResizeObserver(() => this.render()).observe(box);
    rows.addEventListener("click", event => {
      const row = /** @type {HTMLElement} */ (event.target).closest(".row");
      if (row) choose(Number(row.dataset.index));
    });
  }

  get current() {
    return this.items[this.index];
  }

  /** @param {Object<string, string|number>} more */
  address(more) {
    return `/api/queue?${new URLSearchParams({ ...this.filter, ...more })}`;
  }

  /** Fetch the queue anew. @param {Filter} filter */
  async open_(filter) {
    this.filter = filter;
    const turn = ++this.turn;
    const answer = await get(this.address({ limit: PART }));
    if (turn !== this.turn) return false;
    this.take(answer);
    this.items = answer.items.map(item);
    this.more = answer.more;
    this.index = this.items.length ? 0 : -1;
    this.box.scrollTop = 0;
    this.clear();
    this.render();
    return true;
  }

  /** @param {any} answer */
  take(answer) {
    this.total = answer.total;
    this.kinds = answer.kinds;
    this.any = answer.any;
  }

  /** How many there are now, by kind too; the list stays as it is. */
  async recount() {
    const turn = this.turn, answer = await get(this.address({ limit: 1 }));
    if (turn === this.turn) this.take(answer);
  }

  /** The following places, when few are left. */
  async ahead() {
    if (!this.more || this.fetching || this.items.length - this.index > AHEAD && !this.atEnd()) return this.fetching;
    const turn = this.turn;
    this.fetching = get(this.address({ limit: PART, after: this.items[this.items.length - 1].rank }));
    try {
      const answer = await this.fetching;
      if (turn !== this.turn) return null;
      this.items.push(...answer.items.map(item));
      this.more = answer.more;
    } finally {
      this.fetching = null;
    }
    this.render();
    return null;
  }

  atEnd() {
    return this.box.scrollTop + this.box.clientHeight > this.rows.offsetHeight - 600;
  }

  /** Ask what is decided now on some faces. @param {number[]|null} faces null = all */
  async update(faces) {
    const wanted = faces && new Set(faces);
    const ranks = this.items.filter(one => !wanted || wanted.has(one.face)).map(one => one.rank);
    for (let at = 0; at < ranks.length; at += 400) {
      const part = ranks.slice(at, at + 400), turn = this.turn;
      const answer = await get(`/api/verdicts?queue=${this.filter.queue}&order=${this.filter.order}&ranks=${part.join(",")}`);
      if (turn !== this.turn) return;
      const said = new Map(part.map((rank, i) => [rank, answer.verdicts[i]]));
      for (const one of this.items) if (said.has(one.rank)) one.verdict = said.get(one.rank);
    }
    this.clear();
    this.render();
  }

  clear() {
    for (const row of this.shown.values()) row.remove();
    this.shown.clear();
  }

  /** @param {number} index */
  select(index) {
    this.index = index;
    const height = this.rowHeight(), top = index * height;
    if (top < this.box.scrollTop + height) this.box.scrollTop = top - height;
    else if (top + 2 * height > this.box.scrollTop + this.box.clientHeight) this.box.scrollTop = top + 2 * height - this.box.clientHeight;
    this.render();
    this.ahead();
  }

  rowHeight() {
    return 3.5 * parseFloat(getComputedStyle(document.documentElement).fontSize);
  }

  /** Draw the rows that are in sight, and no others. */
  render() {
    const height = this.rowHeight();
    this.rows.style.height = `${this.items.length * height}px`;
    const first = Math.max(0, Math.floor(this.box.scrollTop / height) - 4);
    const last = Math.min(this.items.length, Math.ceil((this.box.scrollTop + this.box.clientHeight) / height) + 4);
    for (const [index, row] of this.shown) {
      if (index < first || index >= last) {
        row.remove();
        this.shown.delete(index);
      }
    }
    for (let index = first; index < last; index++) {
      let row = this.shown.get(index);
      if (!row) {
        row = this.make(index);
        this.shown.set(index, row);
        this.rows.append(row);
      }
      row.style.top = `${index * height}px`;
      row.setAttribute("aria-selected", String(index === this.index));
      const others = this.open[this.items[index].face] || [];
      const eyes = /** @type {HTMLElement} */ (row.querySelector(".eyes"));
      eyes.textContent = others.length ? `● ${others[0]}` : "";
      eyes.title = others.length ? `Also open: ${others.join(", ")}` : "";
    }
    if (this.more && this.atEnd()) this.ahead();
  }

  /** @param {number} index @returns {HTMLElement} */
  make(index) {
    const one = this.items[index], row = document.createElement("div");
    const verdict = this.about.verdicts[one.verdict], kind = this.about.kinds[one.kind];
    row.className = `row${verdict && verdict !== "flag" ? " decided" : ""}`;
    row.dataset.index = String(index);
    row.setAttribute("role", "option");
    const image = document.createElement("img");
    image.alt = "";
    image.decoding = "async";
    image.src = `/api/small/${one.face}`;
    const words = document.createElement("div"), name = document.createElement("div"), id = document.createElement("div");
    name.className = "name";
    name.textContent = one.landmark >= 0 ? `${one.landmark} ${this.about.landmarks[one.landmark]}` : kind ? kind.name : "nothing found";
    id.className = "id";
    const inner = document.createElement("bdi");
    inner.textContent = one.landmark >= 0 && kind ? `${kind.name}, face ${one.face}` : `face ${one.face}, moves ${(100 * one.move).toFixed(0)} %`;
    id.append(inner);
    words.style.minWidth = "0";
    words.append(name, id);
    const side = document.createElement("div"), sign = document.createElement("span"), eyes = document.createElement("span");
    side.className = "side";
    sign.className = `sign${verdict ? ` sign-${verdict}` : ""}`;
    sign.textContent = verdict ? SIGNS[verdict] : `${Math.round(100 * one.probability)} %`;
    if (!verdict) sign.style.fontWeight = "500";
    eyes.className = "eyes";
    side.append(sign, eyes);
    row.append(image, words, side);
    return row;
  }
}
