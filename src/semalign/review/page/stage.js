// The face on a canvas: picture, annotation, proposal, ellipses; zoom, pan, points that can be dragged, a magnifier.

/**
 * @typedef {import("./asking.js").Face} Face
 * @typedef {import("./asking.js").Picture} Picture
 * @typedef {import("./asking.js").Point} Point
 * @typedef {{x: number, y: number, zoom: number, width: number, height: number}} View  x, y of the image in the middle; zoom in CSS pixels
 * @typedef {"both"|"before"|"after"} Mode
 */

const MARKS = { annotation: "#ffa01c", found: "#45c4ff", hand: "#ffffff", halo: "#10161d", flag: "#ffd83d" };
const RADII = Math.sqrt(2 * Math.log(10)); // standard deviations that hold 90 % of a plane normal distribution
const REACH = 13, TOUCH = 22; // CSS pixels within which a point is grabbed
const STILL = 3; // CSS pixels that a pointer may stray in a click
const LENS = 92, LENS_ZOOM = 3.2; // radius in CSS pixels; how much more it enlarges
const SHARP = 10; // screen pixels of one of the picture, from where pixels are shown as squares
const ACCEPT = 0, REJECT = 1, MOVE = 2, FLAG = 3;

export class Stage {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {any} about what the server says of the audit
   * @param {{select: (landmark: number|null) => void, moved: (landmark: number, place: Point) => void}} host
   */
  constructor(canvas, about, host) {
    this.canvas = canvas;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
    this.about = about;
    this.host = host;
    /** @type {Face|null} */
    this.face = null;
    /** @type {Picture|null} */
    this.picture = null;
    /** @type {View} */
    this.view = { x: 0, y: 0, zoom: 1, width: 1, height: 1 };
    /** @type {Set<number>} landmarks that matter */
    this.focus = new Set();
    /** @type {number|null} */
    this.selected = null;
    /** @type {Mode} */
    this.mode = "both";
    this.lens = false;
    this.lines = true;
    this.ellipses = true;
    this.numbers = false;
    /** @type {Map<number, Point>} where points are being moved to, before it is saved */
    this.moving = new Map();
    /** @type {Map<number, {x: number, y: number}>} */
    this.pointers = new Map();
    /** @type {null|{kind: string, landmark: number, x: number, y: number, from: Point, away: boolean}} */
    this.grip = null;
    /** @type {{x: number, y: number}|null} */
    this.pointer = null;
    this.closeup = false;
    this.asked = 0;
    new ResizeObserver(() => this.resize()).observe(canvas);
    matchMedia(`(resolution: ${devicePixelRatio}dppx)`).addEventListener?.("change", () => this.resize());
    canvas.addEventListener("pointerdown", event => this.down(event));
    canvas.addEventListener("pointermove", event => this.move(event));
    canvas.addEventListener("pointerup", event => this.up(event));
    canvas.addEventListener("pointercancel", event => this.up(event, true));
    canvas.addEventListener("pointerleave", () => { this.pointer = null; this.draw(); });
    canvas.addEventListener("wheel", event => this.wheel(event), { passive: false });
    canvas.addEventListener("dblclick", () => this.fit(!this.closeup));
  }

  /**
   * Show a face.
   * @param {Face|null} face @param {Picture|null} picture @param {Set<number>} focus @param {number|null} selected
   */
  show(face, picture, focus, selected) {
    this.face = face;
    this.picture = picture;
    this.focus = focus;
    this.selected = selected;
    this.moving.clear();
    this.grip = null;
    this.fit(selected !== null);
    this.paint();
  }

  /** The same face, of which something was decided. @param {Face} face @param {number|null} keep a point that is still being moved */
  renew(face, keep) {
    this.face = face;
    for (const i of this.moving.keys()) if (i !== keep && i !== this.grip?.landmark) this.moving.delete(i);
    this.draw();
  }

  // Where things are ---------------------------------------------------------------------------------------------------

  /** Where a point ends up. @param {number} i @returns {Point|null} */
  result(i) {
    const face = /** @type {Face} */ (this.face), moved = this.moving.get(i) || face.moved[i];
    if (!face.annotations[i]) return null;
    if (moved) return moved;
    const verdict = this.verdict(i);
    return verdict === ACCEPT ? face.proposals[i] : face.annotations[i];
  }

  /** @param {number} i */
  verdict(i) {
    const face = /** @type {Face} */ (this.face), own = face.verdicts[i];
    return this.moving.has(i) ? MOVE : own >= 0 ? own : face.verdict;
  }

  /** Where a point would end up if what is proposed were accepted. @param {number} i @returns {Point|null} */
  after(i) {
    const face = /** @type {Face} */ (this.face), verdict = this.verdict(i);
    return (verdict < 0 || verdict === FLAG) && this.focus.has(i) ? face.proposals[i] : this.result(i);
  }

  /** Show the face, or what is around the chosen point. @param {boolean} closeup */
  fit(closeup) {
    const face = this.face;
    if (!face) return;
    const near = closeup && this.selected !== null ? [this.selected] : closeup && this.focus.size < 12 ? [...this.focus] : [];
    this.closeup = closeup && near.length > 0;
    const wanted = this.closeup ? near : face.annotations.map((_, i) => i);
    const points = wanted.flatMap(i => [face.annotations[i], face.proposals[i], this.result(i)]).filter(p => p !== null);
    if (!points.length) return;
    const xs = points.map(p => p[0]), ys = points.map(p => p[1]);
    const [x0, x1, y0, y1] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const least = this.closeup ? 0.62 * face.size : 8;
    const width = Math.max(least, (x1 - x0) * (this.closeup ? 2.6 : 1.22)), height = Math.max(least, (y1 - y0) * (this.closeup ? 2.6 : 1.22));
    this.view.zoom = Math.min(this.view.width / width, (this.view.height - 20) / height);
    this.view.x = (x0 + x1) / 2;
    this.view.y = (y0 + y1) / 2;
    this.draw();
  }

  /** @param {number} factor @param {{x: number, y: number}} [at] CSS pixels of the canvas that stay where they are */
  zoom(factor, at) {
    const view = this.view, middle = at || { x: view.width / 2, y: view.height / 2 };
    const zoom = Math.min(120, Math.max(0.02, view.zoom * factor)), held = this.toImage(middle);
    view.zoom = zoom;
    view.x = held[0] - (middle.x - view.width / 2) / zoom;
    view.y = held[1] - (middle.y - view.height / 2) / zoom;
    this.draw();
  }

  /** @param {Point} p @param {View} [view] @returns {Point} CSS pixels of the canvas */
  toScreen([x, y], view = this.view) {
    return [(x - view.x) * view.zoom + view.width / 2, (y - view.y) * view.zoom + view.height / 2];
  }

  /** @param {{x: number, y: number}} at @returns {Point} */
  toImage({ x, y }) {
    return [(x - this.view.width / 2) / this.view.zoom + this.view.x, (y - this.view.height / 2) / this.view.zoom + this.view.y];
  }

  // Pointers -----------------------------------------------------------------------------------------------------------

  /** @param {PointerEvent|WheelEvent} event */
  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  /** The point under the pointer; those that matter come first. @param {{x: number, y: number}} at @param {number} reach */
  hit(at, reach) {
    const face = this.face;
    if (!face) return null;
    let best = null, least = reach;
    face.annotations.forEach((annotation, i) => {
      if (!annotation) return;
      const matters = this.focus.has(i) || i === this.selected;
      const places = matters ? [annotation, face.proposals[i], this.result(i)] : [this.result(i)];
      for (const place of places) {
        if (!place) continue;
        const [x, y] = this.toScreen(place), away = Math.hypot(x - at.x, y - at.y) + (i === this.selected ? 0 : matters ? 1 : 4);
        if (away < least) [best, least] = [{ landmark: i, place }, away];
      }
    });
    return best;
  }

  /** @param {PointerEvent} event */
  down(event) {
    if (event.button > 1 || !this.face) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.canvas.focus({ preventScroll: true });
    const at = this.place(event);
    this.pointers.set(event.pointerId, at);
    this.pointer = at;
    if (this.pointers.size > 1) {
      if (this.grip?.kind === "point" && this.grip.away) this.moving.delete(this.grip.landmark);
      this.grip = null;
      return;
    }
    const hit = event.button === 0 ? this.hit(at, event.pointerType === "touch" ? TOUCH : REACH) : null;
    this.grip = { kind: hit ? "point" : "pan", landmark: hit ? hit.landmark : -1, ...at, from: hit ? hit.place : [this.view.x, this.view.y], away: false };
  }

  /** @param {PointerEvent} event */
  move(event) {
    const at = this.place(event), before = this.pointers.get(event.pointerId);
    this.pointer = at;
    if (before && this.pointers.size === 2) {
      this.pinch(event.pointerId, before, at);
      return;
    }
    if (before) this.pointers.set(event.pointerId, at);
    const grip = this.grip;
    if (!grip) {
      this.canvas.classList.toggle("over", Boolean(this.hit(at, REACH)));
      if (this.lens) this.draw();
      return;
    }
    const dx = at.x - grip.x, dy = at.y - grip.y;
    grip.away ||= Math.hypot(dx, dy) > STILL;
    if (!grip.away) return;
    if (grip.kind === "pan") {
      this.canvas.classList.add("panning");
      this.view.x = grip.from[0] - dx / this.view.zoom;
      this.view.y = grip.from[1] - dy / this.view.zoom;
    } else {
      if (this.selected !== grip.landmark) this.host.select(grip.landmark);
      this.canvas.classList.add("dragging");
      const fine = event.shiftKey ? 0.2 : 1;
      this.moving.set(grip.landmark, [grip.from[0] + fine * dx / this.view.zoom, grip.from[1] + fine * dy / this.view.zoom]);
    }
    this.draw();
  }

  /** @param {number} id @param {{x: number, y: number}} before @param {{x: number, y: number}} at */
  pinch(id, before, at) {
    const [other] = [...this.pointers].filter(([key]) => key !== id).map(([, value]) => value);
    const apart = Math.hypot(at.x - other.x, at.y - other.y) / Math.max(1, Math.hypot(before.x - other.x, before.y - other.y));
    this.view.x -= (at.x - before.x) / 2 / this.view.zoom;
    this.view.y -= (at.y - before.y) / 2 / this.view.zoom;
    this.pointers.set(id, at);
    this.zoom(apart, { x: (at.x + other.x) / 2, y: (at.y + other.y) / 2 });
  }

  /** @param {PointerEvent} event @param {boolean} [cancelled] */
  up(event, cancelled = false) {
    this.pointers.delete(event.pointerId);
    this.canvas.classList.remove("panning", "dragging");
    const grip = this.grip;
    this.grip = null;
    if (!grip) return;
    const place = this.moving.get(grip.landmark);
    if (cancelled) this.moving.delete(grip.landmark);
    else if (grip.kind === "point" && grip.away && place) this.host.moved(grip.landmark, place);
    else if (!grip.away) this.host.select(grip.kind === "point" ? grip.landmark : null);
    this.draw();
  }

  /** @param {WheelEvent} event */
  wheel(event) {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 30 : 1;
    this.zoom(Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.0016)), this.place(event));
  }

  // Drawing ------------------------------------------------------------------------------------------------------------

  resize() {
    const box = this.canvas.getBoundingClientRect(), ratio = devicePixelRatio || 1;
    const fresh = this.view.width === 1;
    const bigger = Math.min(box.width / this.view.width, box.height / this.view.height);
    this.canvas.width = Math.round(box.width * ratio);
    this.canvas.height = Math.round(box.height * ratio);
    this.view.width = box.width;
    this.view.height = box.height;
    if (fresh) this.fit(this.closeup);
    else if (Number.isFinite(bigger) && bigger > 0) this.view.zoom *= bigger;
    this.paint();
  }

  /** Draw before the next picture of the screen. */
  draw() {
    if (!this.asked) this.asked = requestAnimationFrame(() => this.paint());
  }

  paint() {
    cancelAnimationFrame(this.asked);
    this.asked = 0;
    const context = this.context, ratio = this.canvas.width / Math.max(1, this.view.width);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = getComputedStyle(this.canvas.parentElement || this.canvas).backgroundColor;
    context.fillRect(0, 0, this.view.width, this.view.height);
    if (!this.face) return;
    this.scene(this.view, ratio, 1);
    if (this.lens || this.grip?.kind === "point" && this.grip.away) this.magnify(ratio);
  }

  /** @param {View} view @param {number} ratio screen pixels of a CSS pixel @param {number} strong size of marks */
  scene(view, ratio, strong) {
    const context = this.context, picture = this.picture;
    if (picture?.bitmap) {
      const { bitmap, x, y, scale } = picture, [left, top] = this.toScreen([x - scale / 2, y - scale / 2], view);
      context.imageSmoothingEnabled = view.zoom * scale * ratio < SHARP;
      context.imageSmoothingQuality = "high";
      context.drawImage(bitmap, left, top, bitmap.width * scale * view.zoom, bitmap.height * scale * view.zoom);
    }
    if (this.lines) this.curves(view);
    const face = /** @type {Face} */ (this.face), all = face.annotations.map((_, i) => i).filter(i => face.annotations[i]);
    const many = this.focus.size > 20;
    const size = strong * Math.min(1.5, Math.max(0.75, view.zoom * face.size / 420)) * (many ? 0.72 : 1);
    for (const i of all) if (!this.focus.has(i) && i !== this.selected) this.faint(i, view, size);
    const order = all.filter(i => this.focus.has(i) && i !== this.selected);
    if (this.mode === "both") for (const i of order) this.way(i, view, size, many);
    for (const i of order) this.marks(i, view, size, false);
    if (this.selected !== null && face.annotations[this.selected]) {
      if (this.mode === "both") this.way(this.selected, view, size, false);
      this.marks(this.selected, view, size, true);
    }
    if (this.numbers) for (const i of all) this.number(i, view);
  }

  /** @param {View} view */
  curves(view) {
    const face = /** @type {Face} */ (this.face), all = this.focus.size > 20;
    const sets = {
      both: all ? [[MARKS.annotation, 0.75, i => face.annotations[i]], [MARKS.found, 0.85, i => this.after(i)]] : [["#ffffff", 0.42, i => this.result(i)]],
      before: [[MARKS.annotation, 0.85, i => face.annotations[i]]],
      after: [[MARKS.found, 0.9, i => this.after(i)]],
    };
    for (const [colour, strength, where] of /** @type {any[]} */ (sets[this.mode])) {
      for (const curve of this.about.curves) {
        const path = new Path2D();
        let drawn = 0;
        for (const i of curve.closed ? [...curve.landmarks, curve.landmarks[0]] : curve.landmarks) {
          const place = where(i);
          if (!place) continue;
          const [x, y] = this.toScreen(place, view);
          if (drawn++) path.lineTo(x, y);
          else path.moveTo(x, y);
        }
        this.stroke(path, colour, 1.2, strength);
      }
    }
  }

  /** @param {Path2D} path @param {string} colour @param {number} width @param {number} strength 0 to 1 */
  stroke(path, colour, width, strength) {
    const context = this.context;
    context.lineJoin = context.lineCap = "round";
    context.globalAlpha = 0.4 * strength;
    context.strokeStyle = MARKS.halo;
    context.lineWidth = width + 1.8;
    context.stroke(path);
    context.globalAlpha = strength;
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.stroke(path);
    context.globalAlpha = 1;
  }

  /** A point that nothing is wrong with. @param {number} i @param {View} view @param {number} size */
  faint(i, view, size) {
    const place = this.mode === "before" ? this.face?.annotations[i] : this.mode === "after" ? this.after(i) : this.result(i);
    if (!place) return;
    const [x, y] = this.toScreen(place, view), context = this.context, moved = this.verdict(i) === MOVE;
    context.globalAlpha = 0.85;
    context.fillStyle = MARKS.halo;
    context.beginPath();
    context.arc(x, y, 2.9 * size, 0, 7);
    context.fill();
    context.fillStyle = this.mode === "before" ? MARKS.annotation : this.mode === "after" ? MARKS.found : "#dfe6ec";
    context.beginPath();
    if (moved) context.rect(x - 3 * size, y - 3 * size, 6 * size, 6 * size);
    else context.arc(x, y, 1.9 * size, 0, 7);
    context.fill();
    context.globalAlpha = 1;
  }

  /** From annotation to proposal, and how sure that is. @param {number} i @param {View} view @param {number} size @param {boolean} many */
  way(i, view, size, many) {
    const face = /** @type {Face} */ (this.face), from = face.annotations[i], to = face.proposals[i], spread = face.spread[i];
    if (!from || !to) return;
    const [x0, y0] = this.toScreen(from, view), [x1, y1] = this.toScreen(to, view), verdict = this.verdict(i);
    const strength = verdict === REJECT || verdict === MOVE ? 0.35 : 1;
    const line = new Path2D();
    line.moveTo(x0, y0);
    line.lineTo(x1, y1);
    this.stroke(line, "#ffffff", many ? 0.9 : 1.3 * size, strength * (many ? 0.5 : 0.85));
    if (!this.ellipses || !spread || many && i !== this.selected) return;
    const ellipse = new Path2D();
    ellipse.ellipse(x1, y1, Math.max(1, RADII * spread[0] * view.zoom), Math.max(1, RADII * spread[1] * view.zoom), 0, 0, 7);
    this.context.globalAlpha = 0.13 * strength;
    this.context.fillStyle = MARKS.found;
    this.context.fill(ellipse);
    this.stroke(ellipse, MARKS.found, 1.1, 0.75 * strength);
  }

  /** @param {number} i @param {View} view @param {number} size @param {boolean} chosen */
  marks(i, view, size, chosen) {
    const face = /** @type {Face} */ (this.face), annotation = face.annotations[i], proposal = face.proposals[i];
    const verdict = this.verdict(i), both = this.mode === "both", moved = this.moving.get(i) || face.moved[i];
    if (!annotation || !proposal) return;
    const big = chosen ? 1.3 : 1;
    if (both || this.mode === "before") {
      const [x, y] = this.toScreen(annotation, view), ring = new Path2D();
      ring.arc(x, y, 5 * size * big, 0, 7);
      this.stroke(ring, MARKS.annotation, 2.1 * size, verdict === ACCEPT || verdict === MOVE ? (both ? 0.4 : 1) : 1);
      if (verdict === REJECT && both) this.dot(x, y, 2.6 * size * big, MARKS.annotation);
    }
    if ((both || this.mode === "after" && verdict !== REJECT) && !(this.mode === "after" && moved)) {
      const [x, y] = this.toScreen(proposal, view), half = 5 * size * big, diamond = new Path2D();
      diamond.moveTo(x, y - half);
      diamond.lineTo(x + half, y);
      diamond.lineTo(x, y + half);
      diamond.lineTo(x - half, y);
      diamond.closePath();
      this.context.globalAlpha = both && (verdict === REJECT || verdict === MOVE) ? 0.35 : 1;
      this.context.lineWidth = 2.4;
      this.context.lineJoin = "round";
      this.context.strokeStyle = MARKS.halo;
      this.context.stroke(diamond);
      this.context.fillStyle = MARKS.found;
      this.context.fill(diamond);
      this.context.globalAlpha = 1;
      if (verdict === ACCEPT && both) this.dot(x, y, 2 * size * big, "#ffffff");
    } else if (this.mode === "after" && verdict === REJECT) {
      const [x, y] = this.toScreen(annotation, view);
      this.dot(x, y, 4 * size * big, MARKS.annotation);
    }
    if (moved && this.mode !== "before") {
      const [x, y] = this.toScreen(moved, view), half = 3.8 * size * big;
      this.context.fillStyle = MARKS.halo;
      this.context.fillRect(x - half - 1.4, y - half - 1.4, 2 * half + 2.8, 2 * half + 2.8);
      this.context.fillStyle = MARKS.hand;
      this.context.fillRect(x - half, y - half, 2 * half, 2 * half);
    }
    if (verdict === FLAG && both) {
      const [x, y] = this.toScreen(annotation, view), flag = new Path2D();
      flag.moveTo(x + 6, y - 5);
      flag.lineTo(x + 6, y - 17);
      flag.lineTo(x + 15, y - 13.5);
      flag.lineTo(x + 6, y - 10);
      this.stroke(flag, MARKS.flag, 1.8, 1);
    }
    if (chosen && both && !this.grip) {
      const [x, y] = this.toScreen(moved || proposal, view), around = new Path2D();
      around.arc(x, y, 12 * size * big, 0, 7);
      this.stroke(around, "#ffffff", 1.2, 0.9);
    }
  }

  /** @param {number} x @param {number} y @param {number} radius @param {string} colour */
  dot(x, y, radius, colour) {
    this.context.fillStyle = MARKS.halo;
    this.context.beginPath();
    this.context.arc(x, y, radius + 1.2, 0, 7);
    this.context.fill();
    this.context.fillStyle = colour;
    this.context.beginPath();
    this.context.arc(x, y, radius, 0, 7);
    this.context.fill();
  }

  /** @param {number} i @param {View} view */
  number(i, view) {
    const place = this.mode === "before" ? this.face?.annotations[i] : this.after(i);
    if (!place) return;
    const [x, y] = this.toScreen(place, view), context = this.context;
    context.font = "600 11px ui-sans-serif, system-ui, sans-serif";
    context.lineWidth = 3;
    context.strokeStyle = MARKS.halo;
    context.strokeText(String(i), x + 7, y - 6);
    context.fillStyle = "#ffffff";
    context.fillText(String(i), x + 7, y - 6);
  }

  /** A circle that enlarges what is under the pointer, beside it. @param {number} ratio */
  magnify(ratio) {
    const dragged = this.grip?.kind === "point" && this.grip.away ? this.moving.get(this.grip.landmark) : null;
    const at = this.pointer;
    if (!at) return;
    const held = dragged || this.toImage(at), context = this.context;
    const [px, py] = dragged ? this.toScreen(dragged) : [at.x, at.y];
    const away = LENS + 42;
    const x = px + away + LENS < this.view.width ? px + away : px - away, y = py - away - LENS > 0 ? py - away : py + away;
    const zoom = Math.max(this.view.zoom * LENS_ZOOM, 5);
    context.save();
    context.shadowColor = "rgb(0 0 0 / 0.55)";
    context.shadowBlur = 18;
    context.fillStyle = MARKS.halo;
    context.beginPath();
    context.arc(x, y, LENS + 2.5, 0, 7);
    context.fill();
    context.shadowBlur = 0;
    context.beginPath();
    context.arc(x, y, LENS, 0, 7);
    context.clip();
    const view = { x: held[0] - (x - this.view.width / 2) / zoom, y: held[1] - (y - this.view.height / 2) / zoom, zoom, width: this.view.width, height: this.view.height };
    const fine = this.moving;
    if (dragged) this.moving = new Map(); // the point itself is the cross
    const mode = this.mode;
    this.scene(view, ratio, 0.8);
    this.mode = mode;
    this.moving = fine;
    const cross = new Path2D();
    for (const [a, b] of [[-LENS, -7], [7, LENS]]) {
      cross.moveTo(x + a, y);
      cross.lineTo(x + b, y);
      cross.moveTo(x, y + a);
      cross.lineTo(x, y + b);
    }
    this.stroke(cross, "#ffffff", 1, 0.85);
    if (dragged) this.dot(x, y, 1.6, "#ffffff");
    context.restore();
    context.strokeStyle = "#ffffff";
    context.lineWidth = 2;
    context.beginPath();
    context.arc(x, y, LENS, 0, 7);
    context.stroke();
  }
}
