/** The page: choose a model, type, and see its answer at once. */

import {cosineSimilarity, cutText, TextModel} from './text_model.js';

// What each task asks for; the last of a list of labels stands for all that follow.
const LABELS = {
  classification: ['Text', 'Second text'],
  regression: ['Text', 'Second text'],
  embedding: ['Text', 'Text to compare it with'],
  entities: ['Text'],
  question_answering: ['Question', 'Text that holds the answer'],
  multiple_choice: ['Text', 'Choice'],
  fill_mask: ['Text with [MASK] in it'],
};
const MOST_BARS = 12;

const byId = (id) => document.getElementById(id);
const percent = (share) => `${(100 * share).toFixed(1)} %`;

let model = null;
let loads = 0; // the last load wins
let running = false;
let again = false; // the texts changed while the model ran

async function load(source) {
  const load = ++loads;
  model?.delete();
  model = null;
  for (const id of ['texts', 'answer', 'note', 'error']) byId(id).replaceChildren();
  byId('status').textContent = 'Loading the model…';
  try {
    const loaded = await TextModel.load(source);
    if (load !== loads) return loaded.delete();
    model = loaded;
    const name = source.name ?? source;
    byId('status').textContent = `${name} is ready: ${model.task.replaceAll('_', ' ')}.`;
    showInputs();
  } catch (error) {
    if (load === loads) fail(error);
  }
}

function fail(error) {
  byId('status').replaceChildren();
  byId('error').textContent = error.message;
}

function showInputs() {
  const labels = LABELS[model.task];
  const count = model.task === 'embedding' ? 2 : 1 + model.pairs;
  for (let i = 0; i < count; i++) {
    const last = Math.min(i, labels.length - 1);
    const number = count > labels.length && last === labels.length - 1 ? ` ${i - last + 1}` : '';
    const rows = model.task === 'question_answering' && i === 1 ? 5 : count > 2 ? 1 : 3;
    const area = element('textarea', {rows, name: 'text'});
    byId('texts').append(element('label', {}, labels[last] + number, area));
  }
  byId('texts').querySelector('textarea').focus();
  answer();
}

async function answer() {
  again = running;
  if (running || !model) return;
  running = true;
  byId('answer').ariaBusy = 'true';
  const asked = model;
  try {
    const texts = [...byId('texts').querySelectorAll('textarea')].map((area) => area.value);
    if (texts.includes('')) {
      show([], 'Type to see the answer.');
    } else {
      const start = performance.now();
      const answers = asked.task === 'embedding'
        ? [await asked.run(texts[0]), await asked.run(texts[1])]
        : [await asked.run(texts[0], texts.slice(1))];
      const cut = answers.some(({truncated}) => truncated);
      const note = `${(performance.now() - start).toFixed(1)} ms.` +
        (cut ? ' The text is longer than the model reads: its end was left out.' : '');
      if (asked === model) show(SHOW[asked.task](answers, texts), note);
    }
  } catch (error) {
    if (asked === model) fail(error);
  }
  running = false;
  byId('answer').ariaBusy = 'false';
  if (again) answer();
}

function show(parts, note) {
  byId('error').replaceChildren();
  byId('answer').replaceChildren(...parts);
  byId('note').textContent = note;
}

const SHOW = {
  classification: ([{label, labels}]) => {
    // Several, where they do not exclude each other.
    const likely = labels.filter(({score}) => score > 0.5);
    return [
      element('p', {className: 'best'}, likely.map(({label}) => label).join(', ') || label),
      bars(labels.map(({label, score}) => [label, score])),
    ];
  },

  regression: ([{values}]) => [
    element('p', {className: 'best'}, values.map((value) => value.toFixed(4)).join(', ')),
  ],

  embedding: ([first, second]) => {
    const cosine = cosineSimilarity(first.embedding, second.embedding);
    return [
      element('p', {className: 'best'}, cosine.toFixed(4)),
      bars([['similarity', Math.max(0, cosine)]]),
    ];
  },

  entities: ([{entities}], [text]) => {
    const labels = [...new Set(model.labels)];
    return [marked(text, entities.map(({start, end, label, score}) => ({
      start, end, label,
      title: `${label}: ${percent(score)}`,
      turn: 360 * labels.indexOf(label) / labels.length,
    })))];
  },

  question_answering: ([{answer, start, end, score, noAnswerScore}], [, context]) => [
    element('p', {className: 'best'}, answer || 'No answer'),
    bars([['answer', score], ['no answer', noAnswerScore]]),
    marked(context, answer ? [{start, end, title: percent(score)}] : []),
  ],

  multiple_choice: ([{choice, scores}], [, ...choices]) => [
    element('p', {className: 'best'}, choice),
    bars(choices.map((choice, i) => [choice, scores[i]])),
  ],

  fill_mask: ([{masks}]) => masks.length
    ? masks.flatMap(({tokens}) => [
      element('p', {className: 'best'}, tokens[0].token),
      bars(tokens.map(({token, score}) => [token, score])),
    ])
    : [element('p', {}, 'Write [MASK] where a word is missing.')],
};

/** Names, and their shares of 1 as bars. */
function bars(rows) {
  return element('dl', {className: 'scores'}, ...rows.slice(0, MOST_BARS).map(([name, share]) => {
    const bar = element('dd', {className: 'bar', ariaHidden: 'true'});
    bar.style.setProperty('--share', `${100 * share}%`);
    return element('div', {}, element('dt', {}, name), bar, element('dd', {}, percent(share)));
  }));
}

/** What the model read of a text, with parts marked; they are in order, and do not overlap. */
function marked(whole, spans) {
  const text = cutText(whole, model.maxBytes);
  const paragraph = element('p', {className: 'marked'});
  let end = 0;
  for (const span of spans) {
    const mark = element('mark', {title: span.title}, text.slice(span.start, span.end));
    if (span.label) mark.append(element('small', {}, span.label));
    mark.style.setProperty('--turn', span.turn ?? 0);
    paragraph.append(text.slice(end, span.start), mark);
    end = span.end;
  }
  paragraph.append(text.slice(end));
  return paragraph;
}

/** An element; strings in it are text, never HTML. */
function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

byId('file').addEventListener('change', ({target}) => target.files[0] && load(target.files[0]));
byId('model').addEventListener('submit', (event) => {
  event.preventDefault();
  const address = byId('address').value.trim();
  if (address) load(address);
});
byId('texts').addEventListener('submit', (event) => event.preventDefault());
byId('texts').addEventListener('input', answer);

const address = new URLSearchParams(location.search).get('model');
if (address) {
  byId('address').value = address;
  load(address);
}
