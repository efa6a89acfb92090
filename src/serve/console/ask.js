// Questions in English: the plan that the server made of the question, and its answer. No language model is involved.

import { request } from './api.js';
import { announce, count, failure, fill, h, jsonBlock, link, table, time } from './dom.js';

export const title = 'Ask';

const EXAMPLES = [
  'who deleted a bucket in the last 30 days?',
  'top 10 principals in the last 30 days',
  'denied requests by user in the last 7 days',
  'console logins by the root user this month',
];

export function open(root, first) {
  let asked = null;
  let controller = new AbortController();
  const question = h('input', {
    id: 'question',
    type: 'search',
    spellcheck: 'true',
    autocomplete: 'off',
    placeholder: EXAMPLES[0],
    required: true,
  });
  const button = h('button', { type: 'submit', class: 'primary' }, 'Ask');
  const answer = h('div', { class: 'answer' });
  const form = h(
    'form',
    { class: 'card ask-form' },
    h('div', { class: 'row fields' }, h('div', { class: 'grow' }, h('label', { for: 'question' }, 'Question'), question), button),
    h(
      'p',
      { class: 'muted small' },
      'A fixed grammar reads the question on this server. Times are UTC; without a time, the last 24 hours are searched.',
    ),
    h(
      'ul',
      { class: 'chips', 'aria-label': 'Examples' },
      EXAMPLES.map((text) => h('li', {}, h('a', { class: 'chip', href: link('ask', { q: text }) }, text))),
    ),
  );
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const target = link('ask', { q: question.value.trim() });
    if (target === location.hash) ask(question.value.trim());
    else location.hash = target;
  });

  async function ask(text) {
    controller.abort();
    controller = new AbortController();
    button.disabled = true;
    answer.setAttribute('aria-busy', 'true');
    fill(answer, h('p', { class: 'muted' }, 'Searching the delivered events …'));
    try {
      const result = await request('POST', 'ask', { body: { question: text }, signal: controller.signal });
      draw(result);
    } catch (error) {
      if (error.name === 'AbortError') return;
      fill(answer, failure(error.status === 422 ? 'The question cannot be answered' : 'The question failed', error));
    }
    answer.removeAttribute('aria-busy');
    button.disabled = false;
  }

  function draw({ plan, summary, columns, rows, complete, limited, not_read: notRead = [] }) {
    announce(count(rows.length, 'row'));
    const shown = columns.map((name, index) => ({
      label: name,
      cell: (row) => value(row[index]),
      class: `mono text ${rows.every((row) => /^\d{1,9}$/.test(row[index] ?? '0')) ? 'number right' : ''}`,
    }));
    fill(
      answer,
      h('h2', {}, 'Plan'),
      h('p', { class: 'sentence' }, summary),
      h('details', {}, h('summary', {}, 'Plan as JSON'), jsonBlock('Plan', JSON.stringify(plan))),
      h('h2', {}, 'Answer'),
      !complete &&
        h(
          'div',
          { class: 'notice warn' },
          h('strong', {}, 'The answer is incomplete.'),
          notRead.length > 0 && [
            ' Not read:',
            h(
              'ul',
              {},
              notRead.map((item) => h('li', {}, typeof item === 'string' ? item : JSON.stringify(item))),
            ),
          ],
        ),
      limited && h('p', { class: 'muted small' }, `The first ${count(rows.length, 'row')}: the plan limits their number.`),
      rows.length === 0
        ? h('p', { class: 'empty' }, 'No event matches the plan. Check its time span.')
        : table('Answer', shown, rows),
    );
  }

  function update(parameters) {
    const text = parameters.q ?? '';
    if (text === asked) return true;
    asked = text;
    question.value = text;
    if (text) ask(text);
    else fill(answer);
    return true;
  }

  fill(root, form, answer);
  update(first);
  return { update, close: () => controller.abort() };
}

function value(content) {
  if (content === null || content === undefined) return h('span', { class: 'muted' }, '–');
  if (/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(content)) return time(content);
  return typeof content === 'object' ? JSON.stringify(content) : content;
}
