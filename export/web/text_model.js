/**
 * Runs a `.tflite` file that takes text: text in, answer out, in a browser or in Node.
 *
 *     const model = await TextModel.load("model.tflite");
 *     const answer = await model.run("a fine film");  // {task, label, score, labels, truncated}
 *
 * The file does the work, tokenizing included. What is done here: the text's bytes go in, and the
 * numbers that come out become names, and places in the text.
 */

import {loadAndCompile, loadLiteRt, Tensor} from '@litertjs/core';

const SIGNATURE = 'serving_default';

// LiteRT's own WebAssembly, where npm puts it.
const WASM = new URL('./node_modules/@litertjs/core/wasm/', import.meta.url).href;

let runtime; // one for all models

export class TextModel {
  /**
   * Loads a file.
   *
   * @param {string|URL|Blob|Uint8Array} source its address, or its content.
   * @param {{wasm?: string}} options the address of the directory `wasm` of @litertjs/core.
   * @return {Promise<TextModel>}
   * @throws {Error} in one line, if it cannot be loaded, or does not take text.
   */
  static async load(source, {wasm = WASM} = {}) {
    const name = source instanceof Uint8Array ? 'The file' : source.name ?? String(source);
    const content = await read(source, name);
    if (decodeUtf8(content.subarray(4, 8)) !== 'TFL3') {
      throw new Error(`${name} is not a TFLite file. Choose a .tflite that takes text.`);
    }
    runtime ??= loadLiteRt(wasm);
    await runtime.catch((error) => {
      runtime = undefined; // the next call tries again
      throw new Error(`LiteRT cannot be loaded from ${wasm} (${error?.message ?? error.type}).`);
    });
    let files, compiled;
    try {
      files = readZip(content);
      compiled = await loadAndCompile(content, {accelerator: 'wasm'});
    } catch (error) {
      throw new Error(`${name} is damaged, or too new for this LiteRT (${error.message}).`);
    }
    try {
      return new TextModel(compiled, files, name);
    } catch (error) {
      compiled.delete();
      throw error;
    }
  }

  constructor(compiled, files, name) {
    this.compiled = compiled;
    this.signature = compiled.signatures[SIGNATURE] ?? compiled;
    this.inputs = byName(this.signature.getInputDetails());
    this.outputs = byName(this.signature.getOutputDetails());
    /** What the file answers, see `run`. */
    this.task = findTask(this.inputs, this.outputs);
    if (!this.inputs.text || !this.task) {
      throw new Error(
        `${name} does not turn text into an answer, but ${Object.keys(this.inputs).join(', ')} ` +
        `into ${Object.keys(this.outputs).join(', ')}. Export it with interface="text".`);
    }
    this.labels = lines(files.get('labels.txt'));
    this.vocabulary = lines(files.get('vocab.txt'));
    /** How many second texts `run` takes. */
    this.pairs = this.inputs.text_pair?.shape[0] ?? 0;
    /** Most bytes of a text; what is longer is cut. */
    this.maxBytes = this.inputs.text.shape[1];
  }

  /**
   * Answers for a text.
   *
   * Every answer has `task`, and `truncated`: whether a text was cut to fit. By task, there are:
   * - classification: `label`, `score`, and `labels`, all `{label, score}`, best first; where they
   *   do not exclude each other, those with a score over 0.5 hold;
   * - regression: `values`;
   * - embedding: `embedding`, a Float32Array;
   * - entities: `entities`, each `{text, start, end, label, score}`;
   * - question_answering (`text` is the question): `answer`, `start`, `end`, `score`,
   *   `noAnswerScore`; `answer` is empty where the second text holds none;
   * - multiple_choice: `index`, `choice`, `score`, and the `scores` of all;
   * - fill_mask: `masks`, each `{text, start, end, tokens}`, tokens being `{token, id, score}`, the
   *   best first.
   * `text.slice(start, end)` is what is meant.
   *
   * @param {string} text
   * @param {string|string[]} textPair the second text, or all choices.
   * @return {Promise<Object>}
   */
  async run(text, textPair = []) {
    const pairs = [textPair].flat();
    if (pairs.length !== this.pairs) {
      throw new Error(
        `The file takes ${this.pairs} second text(s) with a text. Received: ${pairs.length}`);
    }
    const columns = pairs.length ? {text: [text], text_pair: pairs} : {text: [text]};
    const outputs = await this.runRaw(columns);
    const answer = ANSWERS[this.task](outputs, text, pairs, this);
    return {task: this.task, ...answer, truncated: outputs.truncated[0] !== 0};
  }

  /**
   * Runs the file, and gives its outputs as they are.
   *
   * @param {Object<string, string[]>} columns texts, by the name of the input.
   * @return {Promise<Object<string, Float32Array|Int32Array>>} by the name of the output.
   */
  async runRaw(columns) {
    const inputs = {};
    let outputs = {};
    try {
      for (const [name, texts] of Object.entries(columns)) {
        const {shape} = this.inputs[name]; // [texts, bytes]
        const data = new Int32Array(shape[0] * shape[1]);
        texts.forEach((text, i) => data.set(utf8Bytes(text, shape[1]), i * shape[1]));
        inputs[name] = new Tensor(data, shape);
      }
      outputs = await this.signature.run(inputs);
      const copies = Object.entries(outputs).map(([name, x]) => [name, x.toTypedArray().slice()]);
      return Object.fromEntries(copies);
    } finally { // LiteRT's memory is not the garbage collector's
      for (const tensors of [inputs, outputs]) Object.values(tensors).forEach((x) => x.delete());
    }
  }

  /** Frees the model's memory. */
  delete() {
    this.compiled.delete();
  }
}

/** The cosine of two embeddings. */
export function cosineSimilarity(a, b) {
  const dot = (x, y) => x.reduce((sum, value, i) => sum + value * y[i], 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}

/**
 * A text's UTF-8 bytes, padded with zeros. One that is too long is cut between characters, and
 * spaces fill the last places: by those the file knows that it was cut.
 */
export function utf8Bytes(text, maxBytes) {
  const bytes = new Uint8Array(maxBytes);
  const {read, written} = new TextEncoder().encodeInto(text, bytes); // whole characters only
  if (read < text.length) bytes.fill(0x20, written);
  return bytes;
}

/** As much of a text as fits. */
export function cutText(text, maxBytes) {
  return text.slice(0, new TextEncoder().encodeInto(text, new Uint8Array(maxBytes)).read);
}

function findTask(inputs, outputs) {
  if (outputs.entity_count) return 'entities';
  if (outputs.answer_start) return 'question_answering';
  if (outputs.mask_count) return 'fill_mask';
  if (outputs.embedding) return 'embedding';
  if (outputs.values) return 'regression';
  if (!outputs.probabilities) return null;
  return inputs.text_pair?.shape[0] > 1 ? 'multiple_choice' : 'classification';
}

const ANSWERS = {
  classification({probabilities}, text, pairs, {labels}) {
    const all = Array.from(probabilities, (score, i) => ({label: labels[i] ?? `${i}`, score}));
    all.sort((a, b) => b.score - a.score);
    return {...all[0], labels: all};
  },

  regression({values}) {
    return {values: Array.from(values)};
  },

  embedding({embedding}) {
    return {embedding};
  },

  entities(outputs, text, pairs, {labels}) {
    const slice = slicer(text);
    const entities = [];
    for (let i = 0; i < outputs.entity_count[0]; i++) {
      const label = labels[outputs.entity_labels[i]] ?? `${outputs.entity_labels[i]}`;
      const span = slice(outputs.entity_starts[i], outputs.entity_ends[i]);
      entities.push({...span, label, score: outputs.entity_scores[i]});
    }
    return {entities};
  },

  question_answering(outputs, question, [context]) {
    const {text, start, end} = slicer(context)(outputs.answer_start[0], outputs.answer_end[0]);
    const noAnswerScore = outputs.no_answer_score[0];
    return {answer: text, start, end, score: outputs.score[0], noAnswerScore};
  },

  multiple_choice({probabilities}, text, choices) {
    const scores = Array.from(probabilities);
    const index = scores.indexOf(Math.max(...scores));
    return {index, choice: choices[index], score: scores[index], scores};
  },

  fill_mask(outputs, text, pairs, {outputs: details, vocabulary}) {
    const slice = slicer(text);
    const best = details.token_ids.shape[2];
    const masks = [];
    for (let i = 0; i < outputs.mask_count[0]; i++) {
      const span = slice(outputs.mask_starts[i], outputs.mask_ends[i]);
      const tokens = [];
      for (let j = i * best; j < (i + 1) * best; j++) {
        const id = outputs.token_ids[j];
        tokens.push({token: vocabulary[id] ?? `${id}`, id, score: outputs.scores[j]});
      }
      masks.push({...span, tokens});
    }
    return {masks};
  },
};

/** A function from two byte offsets in a text to the part between, and its place in the string. */
function slicer(text) {
  const bytes = new TextEncoder().encode(text);
  return (first, last) => {
    const part = decodeUtf8(bytes.subarray(first, last));
    const start = decodeUtf8(bytes.subarray(0, first)).length;
    return {text: part, start, end: start + part.length};
  };
}

/** The files in a .tflite, which is a zip archive, too; they are not compressed. */
function readZip(content) {
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  const u16 = (at) => view.getUint16(at, true);
  const u32 = (at) => view.getUint32(at, true);
  const files = new Map();
  let last = content.length - 22; // the closing record, where no comment follows it
  while (last >= 0 && u32(last) !== 0x06054b50) last--;
  if (last < 0) return files;
  let entry = last - u32(last + 12); // the directory stands before it
  const archive = entry - u32(last + 16); // 0 where offsets count from the start of the file
  for (let i = u16(last + 10); i > 0; i--) {
    const header = archive + u32(entry + 42);
    const start = header + 30 + u16(header + 26) + u16(header + 28);
    const name = decodeUtf8(content.subarray(entry + 46, entry + 46 + u16(entry + 28)));
    files.set(name, content.subarray(start, start + u32(entry + 20)));
    entry += 46 + u16(entry + 28) + u16(entry + 30) + u16(entry + 32);
  }
  return files;
}

async function read(source, name) {
  if (source instanceof Uint8Array) return source;
  if (source instanceof Blob) return new Uint8Array(await source.arrayBuffer());
  const response = await fetch(source).catch(() => ({status: 'no answer'}));
  if (!response.ok) throw new Error(`${name} cannot be loaded (${response.status}).`);
  return new Uint8Array(await response.arrayBuffer());
}

function byName(details) {
  return Object.fromEntries(details.map((detail) => [detail.name, detail]));
}

function lines(content) {
  return content ? decodeUtf8(content).replace(/\n$/, '').split('\n') : [];
}

function decodeUtf8(bytes) {
  return new TextDecoder('utf-8', {ignoreBOM: true}).decode(bytes); // keeps a first U+FEFF
}
