/**
 * Answers texts in Node, one JSON object a line.
 *
 *     node run_node.mjs model.tflite "a text" ["a second text" ...]
 *     node run_node.mjs model.tflite < texts.txt   # one a line; tabs before second texts
 */

import {File} from 'node:buffer';
import {readFileSync} from 'node:fs';
import {createRequire} from 'node:module';
import {dirname} from 'node:path';
import {fileURLToPath} from 'node:url';
import {runInThisContext} from 'node:vm';

// LiteRT.js is made for browsers: this is as much of a web worker as it asks for.
globalThis.self = globalThis;
globalThis.navigator ??= {};
globalThis.importScripts = (url) => {
  const path = fileURLToPath(url);
  Object.assign(globalThis, {
    require: createRequire(url), __filename: path, __dirname: dirname(path),
    Module: {printErr() {}}, // LiteRT's log; errors are thrown
  });
  runInThisContext(readFileSync(path, 'utf8'), {filename: path});
};
console.warn = () => {}; // there is no WebGPU here, and none is needed

async function main(path, ...texts) {
  if (!path) throw new Error('Usage: node run_node.mjs model.tflite [text [second text ...]]');
  const {TextModel} = await import('./text_model.js').catch((error) => {
    if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw new Error('LiteRT.js is missing. Install it with `npm install` beside this program.');
  });
  const model = await TextModel.load(new File([readFileSync(path)], path));
  const print = async ([text, ...pairs]) => {
    const answer = await model.run(text, pairs);
    const plain = (key, value) => value instanceof Float32Array ? Array.from(value) : value;
    process.stdout.write(JSON.stringify(answer, plain) + '\n');
  };
  if (texts.length) return print(texts);
  let rest = '';
  for await (const part of process.stdin.setEncoding('utf8')) {
    const lines = (rest + part).split('\n');
    rest = lines.pop();
    for (const line of lines) await print(line.split('\t'));
  }
  if (rest) await print(rest.split('\t'));
}

main(...process.argv.slice(2)).catch((error) => {
  process.stderr.write(error.message + '\n');
  process.exitCode = 2;
});
