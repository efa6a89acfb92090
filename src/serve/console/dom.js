// Elements, formats and small components. Text of events may come from an attacker, so it is only added
// as text nodes, and characters that are invisible or change the direction of text are shown as escapes.

const NUMBERS = new Intl.NumberFormat('en');
// Control characters, zero-width characters, and characters that change the direction of text.
const INVISIBLE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

/** Returns a new element. Attributes that are null, undefined or false are omitted; those that start with `on` are listeners. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) {
      element.addEventListener(name.slice(2), value);
    } else if (name === 'href' && !value.startsWith('#')) {
      throw new Error('a link must be a fragment');
    } else {
      element.setAttribute(name, value === true ? '' : value);
    }
  }
  return add(element, children);
}

/** Appends children. Nested lists are flattened; null, undefined and false are omitted. */
export function add(element, ...children) {
  const present = children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
  element.append(...present.map((child) => (child instanceof Node ? child : visible(child))));
  return element;
}

/** Replaces the content of an element. */
export function fill(element, ...children) {
  element.replaceChildren();
  return add(element, children);
}

/** Returns the text with invisible characters as `\u{…}`. */
export function visible(text) {
  return String(text).replace(INVISIBLE, (character) => `\\u{${character.codePointAt(0).toString(16)}}`);
}

/** Announces a message to users of screen readers. */
export function announce(text) {
  document.getElementById('status').textContent = visible(text);
}

/** Returns a number with its noun: `1,234 events` or `1 event`. */
export function count(number, singular, plural = `${singular}s`) {
  return `${NUMBERS.format(number)} ${number === 1 ? singular : plural}`;
}

export function formatNumber(number) {
  return NUMBERS.format(number);
}

/** Returns a time as `2026-11-01 10:00:00`, in UTC. */
export function time(value) {
  if (!value) return h('span', { class: 'muted' }, 'never');
  const date = new Date(value);
  if (Number.isNaN(date.getTime())) return visible(value);
  const text = date.toISOString();
  return h('time', { datetime: text, title: `${text} (UTC)`, class: 'number' }, `${text.slice(0, 10)} ${text.slice(11, 19)}`);
}

/** Returns a time as `12 s ago` or `in 3 min`. */
export function relativeTime(value) {
  if (!value) return h('span', { class: 'muted' }, 'never');
  const seconds = Math.round((new Date(value).getTime() - Date.now()) / 1000);
  const [amount, unit] = span(Math.abs(seconds));
  const text = seconds > 0 ? `in ${amount} ${unit}` : `${amount} ${unit} ago`;
  return h('time', { datetime: value, title: `${value} (UTC)`, class: 'number' }, Math.abs(seconds) < 1 ? 'now' : text);
}

/** Returns a duration as a number and its unit: `[5, 'min']` for 300 seconds. */
export function span(seconds) {
  if (seconds < 60 || (seconds < 100 && seconds % 60)) return [seconds, 's'];
  if (seconds < 3600 || (seconds < 6000 && seconds % 3600)) return [Math.round(seconds / 60), 'min'];
  if (seconds < 172_800) return [Math.round(seconds / 3600), 'h'];
  return [Math.round(seconds / 86_400), 'days'];
}

/** Returns the end of an ARN that identifies the principal: `user/alice`, or `deploy/session` for a session of a role. */
export function shortPrincipal(principal) {
  return (principal ?? '').replace(/^arn:[^:]*:[^:]*:[^:]*:[^:]*:(?:assumed-role\/)?/, '');
}

/** Returns `#/view?…` with the parameters that have a value. */
export function link(view, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined && value !== '') query.append(name, value);
  }
  const text = query.toString();
  return `#/${view}${text ? `?${text}` : ''}`;
}

/**
 * Returns a table. A column is `{label, cell(row), class}`. The roles are explicit because the table has another layout on
 * narrow screens, and browsers drop the implicit roles then.
 */
export function table(caption, columns, rows, attributes = {}) {
  const body = h('tbody', { role: 'rowgroup' });
  const result = h(
    'table',
    { role: 'table', 'aria-label': caption, ...attributes },
    h(
      'thead',
      { role: 'rowgroup' },
      h(
        'tr',
        { role: 'row' },
        columns.map((column) => h('th', { role: 'columnheader', scope: 'col', class: column.class }, column.label)),
      ),
    ),
    body,
  );
  addRows(result, columns, rows);
  return result;
}

/** Appends rows to a table of `table`, and returns the first new one. */
export function addRows(element, columns, rows) {
  const added = rows.map((row) =>
    h(
      'tr',
      { role: 'row', 'data-id': row.id },
      columns.map((column) => h('td', { role: 'cell', class: column.class, 'data-label': column.label }, column.cell(row))),
    ),
  );
  element.tBodies[0].append(...added);
  return added[0];
}

/** Moves the focus between the links `a.open` of a table with the arrow keys. */
export function arrowKeys(element) {
  element.addEventListener('keydown', (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || !event.target.matches('a.open')) return;
    const links = [...element.querySelectorAll('a.open')];
    const next = links[links.indexOf(event.target) + step];
    if (next) next.focus();
    event.preventDefault();
  });
}

/** Returns the link that opens the row with an ID, if the list contains it. */
export function openLink(list, id) {
  return [...list.querySelectorAll('tr[data-id]')].find((row) => row.dataset.id === id)?.querySelector('a.open');
}

/** Opens a row if a click in it neither selects text nor hits a link or control. */
export function clickRows(element) {
  element.addEventListener('click', (event) => {
    if (event.target.closest('a, button, input, select') || String(getSelection())) return;
    event.target.closest('tr')?.querySelector('a.open')?.click();
  });
}

/** Returns a message about a failed request. */
export function failure(action, error) {
  return h('p', { class: 'notice bad', role: 'alert' }, h('strong', {}, `${action}: `), error.message);
}

/** Returns a labelled state with a mark, so that the color is not the only difference. */
export function badge(text, kind) {
  return h('span', { class: `badge ${kind}` }, text);
}

/** Returns a button that copies a text. */
export function copyButton(label, text) {
  const button = h('button', { type: 'button', class: 'quiet' }, label);
  button.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(text());
      button.textContent = 'Copied';
    } catch {
      button.textContent = 'The browser does not permit copying';
    }
    announce(button.textContent);
    setTimeout(() => (button.textContent = label), 2000);
  });
  return button;
}

/** Returns JSON text with line breaks and indentation. No other character changes, so numbers keep their spelling. */
export function indentJson(text) {
  let depth = 0;
  const parts = text.match(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g) ?? [];
  let result = '';
  for (let index = 0; index < parts.length; index += 1) {
    const part = parts[index];
    if (part === '{' || part === '[') {
      const isEmpty = parts[index + 1] === (part === '{' ? '}' : ']');
      result += part;
      if (isEmpty) result += parts[(index += 1)];
      else result += `\n${'  '.repeat((depth += 1))}`;
    } else if (part === '}' || part === ']') {
      result += `\n${'  '.repeat((depth = Math.max(0, depth - 1)))}${part}`;
    } else if (part === ',') {
      result += `,\n${'  '.repeat(depth)}`;
    } else {
      result += part === ':' ? ': ' : part;
    }
  }
  return result;
}

/** Returns a block of JSON: indented, or the text as it is. */
export function jsonBlock(label, text) {
  const block = h('pre', { tabindex: '0', role: 'region', 'aria-label': label }, indentJson(text));
  const original = h('input', { type: 'checkbox' });
  original.addEventListener('change', () => {
    block.classList.toggle('wrap', original.checked);
    fill(block, original.checked ? text : indentJson(text));
  });
  return h(
    'section',
    { class: 'json' },
    h(
      'div',
      { class: 'row between' },
      h('h3', {}, label),
      h(
        'span',
        { class: 'row' },
        h('label', { class: 'inline' }, original, ' Original text'),
        copyButton('Copy', () => text),
      ),
    ),
    block,
  );
}
