// Search over the index of delivered events. The conditions are in the URL's fragment.

import { request } from './api.js';
import {
  addRows,
  announce,
  arrowKeys,
  clickRows,
  count,
  failure,
  fill,
  openLink,
  h,
  link,
  shortPrincipal,
  table,
  time,
} from './dom.js';
import { openEvent } from './event.js';

export const title = 'Events';

const PAGE = 100;
const FIELDS = [
  ['name', 'Event name', 'DeleteBucket'],
  ['service', 'Service', 's3.amazonaws.com'],
  ['account', 'Account', '111122223333'],
  ['region', 'Region', 'eu-west-1'],
  ['principal', 'Principal', 'arn:aws:iam::111122223333:user/alice'],
  ['access_key', 'Access key', 'AKIAIOSFODNN7EXAMPLE'],
  ['address', 'Source address', '203.0.113.7'],
  ['error', 'Error code', 'AccessDenied'],
  ['since', 'Since', '2026-11-01 or 7d'],
  ['until', 'Until', '2026-11-30'],
];
const LABELS = Object.fromEntries(FIELDS);
const SPANS = [
  ['', 'All time'],
  ['1h', 'Last hour'],
  ['1d', 'Last 24 hours'],
  ['7d', 'Last 7 days'],
  ['30d', 'Last 30 days'],
];

/** Returns the field of a search text, and its value: `['access_key', 'AKIA…']`. */
export function classify(text) {
  const named = /^([a-z_]+)[:=](.+)$/.exec(text);
  if (named && Object.hasOwn(LABELS, named[1])) return [named[1], named[2].trim()];
  if (/^A[KS]IA[A-Z0-9]{12,}$/.test(text)) return ['access_key', text];
  if (/^\d{12}$/.test(text)) return ['account', text];
  if (/^\d{1,3}(\.\d{1,3}){3}$/.test(text) || /^[0-9a-f]*:[0-9a-f:.]+$/i.test(text)) return ['address', text];
  if (text.startsWith('arn:')) return ['principal', text];
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)) return ['event', text];
  if (text.endsWith('.amazonaws.com')) return ['service', text];
  if (/^[a-z]{2}(-[a-z]+)+-\d+$/.test(text)) return ['region', text];
  if (/^(AccessDenied|UnauthorizedOperation|Client\.|NoSuch)|Exception$|Denied$/.test(text)) return ['error', text];
  return ['name', text];
}

/** Converts a time of the form for the API. The API excludes the end, so a day as the end becomes the start of the next day. */
export function timeOf(text, isEnd) {
  if (!text) return '';
  const relative = /^(\d+)([mhd])$/.exec(text);
  if (relative) {
    const minutes = Number(relative[1]) * { m: 1, h: 60, d: 1440 }[relative[2]];
    return new Date(Date.now() - minutes * 60_000).toISOString();
  }
  const isDay = /^\d{4}-\d{2}-\d{2}$/.test(text);
  const date = new Date(isDay ? `${text}T00:00:00Z` : text.replace(' ', 'T').replace(/(\d)$/, '$1Z'));
  if (Number.isNaN(date.getTime()) || !/^\d{4}-\d{2}-\d{2}/.test(text))
    throw new Error(`"${text}" is not a time. Write 2026-11-01, 2026-11-01T10:00:00Z or 7d`);
  if (isDay && isEnd) date.setUTCDate(date.getUTCDate() + 1);
  return date.toISOString().replace('.000Z', 'Z');
}

const columns = (parameters) => [
  {
    label: 'Time (UTC)',
    cell: (row) => h('a', { class: 'open', href: link('events', { ...parameters, event: row.id }) }, time(row.time)),
    class: 'time',
  },
  { label: 'Event', cell: (row) => h('strong', {}, row.name ?? ''), class: 'mono name' },
  { label: 'Service', cell: (row) => (row.service ?? '').replace(/\.amazonaws\.com$/, ''), class: 'extra mono' },
  { label: 'Principal', cell: (row) => h('span', { title: row.principal }, shortPrincipal(row.principal)), class: 'mono text' },
  { label: 'Account', cell: (row) => row.account ?? '', class: 'extra mono' },
  { label: 'Region', cell: (row) => row.region ?? '', class: 'extra mono keep' },
  { label: 'Address', cell: (row) => row.address ?? '', class: 'extra mono text' },
  { label: 'Error', cell: (row) => row.error && h('span', { class: 'error-code' }, row.error), class: 'extra mono text' },
];

export function open(root, first) {
  let parameters = first;
  let controller = new AbortController();
  let searched = null;
  // The ID of the event whose details were hidden, until its row has the focus.
  let focusAfterClose = null;
  const chips = h('ul', { class: 'chips', 'aria-label': 'Conditions' });
  const summary = h('p', { class: 'muted small' });
  const results = h('div', { class: 'results' });
  const detail = h('aside', { class: 'detail', 'aria-label': 'Event', hidden: true });
  const search = h('input', {
    id: 'search',
    type: 'search',
    class: 'mono',
    spellcheck: 'false',
    autocomplete: 'off',
    placeholder: 'AKIAIOSFODNN7EXAMPLE',
    'aria-describedby': 'search-kind',
  });
  const kind = h('p', { id: 'search-kind', class: 'muted small' });
  const spans = h(
    'select',
    { id: 'span' },
    SPANS.map(([value, label]) => h('option', { value }, label)),
  );
  const inputs = FIELDS.map(([name, label, placeholder]) => [
    name,
    h('label', { for: `field-${name}` }, label),
    h('input', { id: `field-${name}`, placeholder, spellcheck: 'false', autocomplete: 'off', class: 'mono' }),
  ]);
  const more = h(
    'details',
    {},
    h('summary', {}, 'All conditions'),
    h(
      'div',
      { class: 'grid' },
      inputs.map(([, label, input]) => h('div', {}, label, input)),
    ),
  );
  const form = h(
    'form',
    { class: 'card search', role: 'search' },
    h(
      'div',
      { class: 'row fields' },
      h(
        'div',
        { class: 'grow' },
        h('label', { for: 'search' }, 'Access key, account, address, ARN, region, event name, service, error or event ID'),
        search,
      ),
      h('div', {}, h('label', { for: 'span' }, 'Time'), spans),
      h('button', { type: 'submit', class: 'primary' }, 'Search'),
    ),
    kind,
    more,
  );

  function describe() {
    const text = search.value.trim();
    const [field] = text ? classify(text) : [];
    const label = field === 'event' ? 'event ID' : LABELS[field]?.toLowerCase();
    kind.textContent = text
      ? `Searched as ${label}. For another field, write for example principal:${text.slice(0, 24)}`
      : 'Every condition must hold. Values are compared exactly.';
  }

  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const next = {};
    for (const [name, , input] of inputs) next[name] = input.value.trim();
    const text = search.value.trim();
    if (text) {
      const [field, value] = classify(text);
      next[field] = value;
    }
    search.value = '';
    describe();
    const target = link('events', next);
    if (target === location.hash) load();
    else location.hash = target;
  });
  search.addEventListener('input', describe);
  spans.addEventListener('change', () => {
    location.hash = link('events', { ...parameters, since: spans.value, until: '', event: '' });
  });

  function draw() {
    for (const [name, , input] of inputs) input.value = parameters[name] ?? '';
    const since = parameters.since ?? '';
    spans.querySelector('.own')?.remove();
    if (parameters.until || !SPANS.some(([value]) => value === since))
      spans.append(h('option', { value: since, class: 'own' }, 'As below'));
    spans.selectedIndex = spans.querySelector('.own') ? SPANS.length : SPANS.findIndex(([value]) => value === since);
    const active = FIELDS.filter(([name]) => parameters[name]);
    fill(
      chips,
      active.map(([name, label]) =>
        h(
          'li',
          {},
          h(
            'button',
            {
              type: 'button',
              class: 'chip',
              'aria-label': `Remove the condition ${label} ${parameters[name]}`,
              onclick: () => (location.hash = link('events', { ...parameters, [name]: '', event: '' })),
            },
            h('span', { class: 'muted' }, `${label} `),
            h('span', { class: 'mono' }, parameters[name]),
            h('span', { 'aria-hidden': 'true' }, ' ×'),
          ),
        ),
      ),
    );
  }

  async function load() {
    controller.abort();
    controller = new AbortController();
    const signal = controller.signal;
    results.setAttribute('aria-busy', 'true');
    try {
      const query = { limit: PAGE };
      for (const [name] of FIELDS) query[name] = parameters[name];
      query.since = timeOf(parameters.since, false);
      query.until = timeOf(parameters.until, true);
      const answer = await request('GET', 'events', { query, signal });
      drawResults(answer, query);
    } catch (error) {
      if (error.name === 'AbortError') return;
      summary.textContent = '';
      fill(results, failure('The search failed', error));
    }
    results.removeAttribute('aria-busy');
  }

  function drawResults(answer, query) {
    let shown = answer.events.length;
    let cursor = answer.next_cursor;
    const describeResults = () => {
      const { events = 0, behind = 0, skipped_events: skipped = 0 } = answer.indexed ?? {};
      const found = cursor ? `The newest ${count(shown, 'event')}` : count(shown, 'event');
      fill(
        summary,
        `${found} · index of ${count(events, 'event')}`,
        behind > 0 && h('strong', {}, ` · ${count(behind, 'delivered event')} not indexed yet`),
        skipped > 0 && ` · ${count(skipped, 'event')} of skipped or pruned files not indexed`,
        answer.unreadable > 0 &&
          h(
            'strong',
            {},
            ` · ${count(answer.unreadable, 'found event')} cannot be read: the log of the server names missing and damaged files`,
          ),
      );
      announce(found);
    };
    describeResults();
    if (shown === 0) {
      fill(
        results,
        h(
          'p',
          { class: 'empty' },
          answer.indexed?.behind > 0
            ? 'No indexed event matches. Events that are not indexed yet may match.'
            : 'No event matches all conditions.',
        ),
      );
      return;
    }
    const list = table('Events, newest first', columns(searchParameters()), answer.events, { class: 'events' });
    arrowKeys(list);
    clickRows(list);
    const button = h('button', { type: 'button', onclick: loadMore }, 'Load more');
    const problem = h('div');
    fill(results, list, problem, cursor && button);
    mark();
    focusRow();

    async function loadMore() {
      button.disabled = true;
      try {
        const next = await request('GET', 'events', { query: { ...query, cursor } });
        const row = addRows(list, columns(searchParameters()), next.events);
        shown += next.events.length;
        cursor = next.next_cursor;
        fill(problem);
        if (!cursor) button.remove();
        row?.querySelector('a.open').focus();
        describeResults();
      } catch (error) {
        fill(problem, failure('The next events cannot be read', error));
      }
      button.disabled = false;
    }
  }

  function searchParameters() {
    return { ...parameters, event: '' };
  }

  /** Marks the row of the open event. */
  function mark() {
    for (const row of results.querySelectorAll('tr[data-id]')) {
      if (row.dataset.id === parameters.event) row.setAttribute('aria-selected', 'true');
      else row.removeAttribute('aria-selected');
    }
  }

  function close() {
    focusAfterClose = parameters.event;
    location.hash = link('events', searchParameters());
    setTimeout(focusRow);
  }

  /** Moves the focus to the row of the event whose details were hidden, as soon as the list is loaded. */
  function focusRow() {
    if (focusAfterClose === null || results.childElementCount === 0) return;
    (openLink(results, focusAfterClose) ?? root.parentElement.querySelector('h1')).focus();
    focusAfterClose = null;
  }

  function drawDetail() {
    const isOpen = Boolean(parameters.event);
    root.classList.toggle('with-detail', isOpen);
    detail.hidden = !isOpen;
    if (isOpen) openEvent(detail, parameters.event, close);
    else fill(detail);
    mark();
  }

  detail.addEventListener('keydown', (event) => event.key === 'Escape' && close());
  results.addEventListener('keydown', (event) => event.key === 'Escape' && parameters.event && close());

  function update(next) {
    parameters = next;
    draw();
    const text = JSON.stringify(FIELDS.map(([name]) => parameters[name] ?? ''));
    if (text !== searched) {
      searched = text;
      load();
    }
    drawDetail();
    return true;
  }

  fill(root, form, chips, summary, h('div', { class: 'split' }, results, detail));
  describe();
  update(parameters);
  return { update, close: () => controller.abort() };
}
