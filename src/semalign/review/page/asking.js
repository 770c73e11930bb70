// Questions to the server, and what is kept of its answers: faces, and their pictures, also those that come next.

/**
 * @typedef {[number, number]} Point  x, y in pixels of the image, centres at integers
 * @typedef {{landmark: number|null, verdict: string, who: string, at: string, undone: boolean}} Past
 * @typedef {Object} Face
 * @property {number} face
 * @property {string} image
 * @property {string} file
 * @property {number} kind
 * @property {number} probability
 * @property {number} size  of the face, pixels of the image
 * @property {(Point|null)[]} annotations
 * @property {(Point|null)[]} proposals
 * @property {(Point|null)[]} spread
 * @property {number[]} probabilities
 * @property {number[]} kinds
 * @property {number[]} gains
 * @property {number[]} listed
 * @property {number} verdict  of the face as a whole, -1 = none
 * @property {number} status  the same, or what its suspicious points say together
 * @property {number[]} verdicts  of its points singly, -1 = none
 * @property {Object<string, Point>} moved
 * @property {Past[]} history
 *
 * @typedef {Object} Picture
 * @property {ImageBitmap|null} bitmap  null = it cannot be read
 * @property {string} error
 * @property {number} x  of the centre of the bitmap's first pixel, in the image
 * @property {number} y
 * @property {number} scale  pixels of the image that one of the bitmap's spans
 * @property {number} width  of the whole image
 * @property {number} height
 */

/** The server does not answer. */
export class Gone extends Error {}

/** @param {string} path @param {RequestInit} [init] @returns {Promise<Response>} */
async function answered(path, init) {
  let answer;
  try {
    answer = await fetch(path, init);
  } catch {
    throw new Gone("The server does not answer. What it has said is saved is saved; the rest is not.");
  }
  if (!answer.ok) {
    const value = await answer.json().catch(() => ({ error: `The server says ${answer.status}.` }));
    throw new Error(sentence(value.error));
  }
  return answer;
}

/** @param {string} text */
const sentence = text => text.charAt(0).toUpperCase() + text.slice(1);

/** @param {string} path @returns {Promise<any>} */
export async function get(path) {
  return (await answered(path)).json();
}

/** @param {string} path @param {object} body @returns {Promise<any>} */
export async function post(path, body) {
  const headers = { "Content-Type": "application/json", "X-Semalign": "review" };
  return (await answered(path, { method: "POST", headers, body: JSON.stringify(body) })).json();
}

const PIXELS = 120e6; // of all pictures that are kept
const FACES = 400; // that are kept

/** Faces and pictures by the face's number. */
export class Shelf {
  constructor() {
    /** @type {Map<number, Promise<Face>>} */
    this.faces = new Map();
    /** @type {Map<number, Promise<Picture>>} */
    this.pictures = new Map();
    /** @type {Map<number, number>} */
    this.pixels = new Map();
  }

  /** @param {number} row @returns {Promise<Face>} */
  face(row) {
    return this.kept(this.faces, row, () => get(`/api/face/${row}`));
  }

  /** @param {number} row @returns {Promise<Picture>} */
  picture(row) {
    return this.kept(this.pictures, row, () => this.fetchPicture(row));
  }

  /** Fetch what will be asked for soon. @param {number[]} rows the next one first */
  async want(rows) {
    for (const row of rows) {
      await Promise.allSettled([this.face(row), this.picture(row)]);
    }
    this.tidy(rows.length + 2);
  }

  /** Ask anew for some faces when they are needed. @param {number[]|null} rows null = all */
  forget(rows) {
    if (rows === null) this.faces.clear();
    else rows.forEach(row => this.faces.delete(row));
  }

  /** @template T @param {Map<number, Promise<T>>} shelf @param {number} row @param {() => Promise<T>} fetched */
  kept(shelf, row, fetched) {
    const there = shelf.get(row) || fetched();
    shelf.delete(row);
    shelf.set(row, there); // last = used last
    there.catch(() => shelf.get(row) === there && shelf.delete(row));
    return there;
  }

  /** @param {number} row @returns {Promise<Picture>} */
  async fetchPicture(row) {
    const nothing = { bitmap: null, x: 0, y: 0, scale: 1, width: 0, height: 0 };
    try {
      const answer = await answered(`/api/picture/${row}`);
      const [x, y, scale, width, height] = JSON.parse(answer.headers.get("X-Place") || "[0,0,1,0,0]");
      const bitmap = await createImageBitmap(await answer.blob());
      this.pixels.set(row, bitmap.width * bitmap.height);
      return { bitmap, error: "", x, y, scale, width, height };
    } catch (error) {
      if (error instanceof Gone) throw error;
      return { ...nothing, error: String(error.message) };
    }
  }

  /** Let go of what was used longest ago. @param {number} least pictures to keep */
  tidy(least) {
    const sum = () => [...this.pixels.values()].reduce((a, b) => a + b, 0);
    for (const row of [...this.pictures.keys()]) {
      if (this.pictures.size <= least || sum() < PIXELS) break;
      this.pictures.get(row)?.then(picture => picture.bitmap?.close()).catch(() => {});
      this.pictures.delete(row);
      this.pixels.delete(row);
    }
    for (const row of [...this.faces.keys()].slice(0, Math.max(0, this.faces.size - FACES))) this.faces.delete(row);
  }
}
