// Heat map of accounts and days: the objects, events and quarantined objects that the ledger records for each day.

import { request } from './api.js';
import { announce, count, failure, fill, formatNumber, h, link } from './dom.js';

export const title = 'Days';

const METRICS = { objects: 'Objects', events: 'Events', quarantined: 'Quarantined objects' };
// The number of days by which the buttons Earlier and Later move.
const DAYS = 62;
const LEVELS = 5;

export function open(root, first) {
  let parameters = first;
  let answer = null;
  let controller = new AbortController();
  const choice = h(
    'select',
    { id: 'metric' },
    Object.entries(METRICS).map(([value, label]) => h('option', { value }, label)),
  );
  const range = h('span', { class: 'muted small' });
  const earlier = h('button', { type: 'button', onclick: () => show(answer.days[0]) }, 'Earlier');
  const later = h('button', { type: 'button', onclick: () => show(addDays(answer.days.at(-1), DAYS + 1)) }, 'Later');
  const map = h('div');
  const described = h('p', { class: 'described', 'aria-live': 'polite' });

  const metric = () => (Object.hasOwn(METRICS, parameters.show) ? parameters.show : 'events');
  choice.addEventListener('change', () => (location.hash = link('days', { ...parameters, show: choice.value })));

  /** Shows the days before a day. */
  function show(until) {
    location.hash = link('days', { ...parameters, until });
  }

  async function load() {
    controller.abort();
    controller = new AbortController();
    map.setAttribute('aria-busy', 'true');
    const { until } = parameters;
    try {
      const query = until ? { since: addDays(until, -DAYS), until } : {};
      answer = await request('GET', 'days', { query, signal: controller.signal });
      draw();
    } catch (error) {
      if (error.name === 'AbortError') return;
      fill(map, failure('The days cannot be read', error));
    }
    map.removeAttribute('aria-busy');
  }

  /** Draws the days from the first to the last one with objects of any account. */
  function draw() {
    const isEmpty = (index) => answer.accounts.every((account) => account.days[index].state === 'outside');
    let [start, end] = [0, answer.days.length];
    while (start < end && isEmpty(start)) start += 1;
    while (start < end && isEmpty(end - 1)) end -= 1;
    earlier.disabled = !answer.first || answer.first >= answer.days[0];
    later.disabled = !answer.last || answer.last <= answer.days.at(-1);
    earlier.hidden = later.hidden = earlier.disabled && later.disabled;
    if (start === end) {
      fill(range);
      const days = `from ${answer.days[0]} to ${answer.days.at(-1)}`;
      fill(map, h('p', { class: 'empty' }, `The ledger contains no objects of the days ${days}.`));
      return;
    }
    const days = answer.days.slice(start, end);
    fill(range, `${days[0]} to ${days.at(-1)} (UTC)`);
    const largest = Math.max(
      1,
      ...answer.accounts.flatMap((account) => account.days.slice(start, end).map((day) => day[metric()] ?? 0)),
    );
    const rows = answer.accounts.map((account) => accountRow(account, days, start, largest));
    fill(
      map,
      h(
        'div',
        { class: 'scroll' },
        h(
          'table',
          { role: 'grid', 'aria-label': `${METRICS[metric()]} by account and day`, class: 'heat' },
          heads(days),
          h('tbody', {}, rows),
        ),
      ),
    );
    // Scroll to the newest days. The Tab key moves to the newest day of the first account.
    map.querySelector('tbody tr')?.lastElementChild.setAttribute('tabindex', '0');
    map.firstElementChild.scrollLeft = map.firstElementChild.scrollWidth;
    const missing = answer.accounts.flatMap((account) => account.days).filter((day) => day.state === 'no_objects').length;
    announce(
      `${count(answer.accounts.length, 'account')}, ${count(days.length, 'day')}, ${count(missing, 'day')} without objects`,
    );
  }

  function accountRow(account, days, start, largest) {
    return h(
      'tr',
      {},
      h('th', { scope: 'row', class: 'mono' }, account.account),
      days.map((day, index) => cell(account, day, account.days[start + index], largest)),
    );
  }

  function cell(account, day, figures, largest) {
    const text = describe(account.account, day, figures);
    const value = figures?.[metric()] ?? 0;
    const level = value === 0 ? 0 : Math.max(1, Math.ceil((Math.log1p(value) / Math.log1p(largest)) * LEVELS));
    const state = figures?.state ?? 'outside';
    const kind = state === 'objects' ? `level-${level}` : state;
    const hasQuarantined = (figures?.quarantined ?? 0) > 0;
    return h(
      'td',
      {
        role: 'gridcell',
        tabindex: '-1',
        class: `${kind} ${hasQuarantined ? 'quarantined' : ''}`,
        'aria-label': text,
        title: text,
        'data-account': account.account,
        'data-day': day,
      },
      state === 'no_objects' ? 'none' : state === 'outside' ? '' : shortNumber(value),
    );
  }

  function showFigures(target) {
    described.textContent = target.getAttribute('aria-label');
  }

  function openDay(target) {
    location.hash = link('events', { account: target.dataset.account, since: target.dataset.day, until: target.dataset.day });
  }

  map.addEventListener('focusin', (event) => event.target.matches('td') && showFigures(event.target));
  map.addEventListener('mouseover', (event) => event.target.matches('td') && showFigures(event.target));
  map.addEventListener('click', (event) => event.target.matches('td') && openDay(event.target));
  map.addEventListener('keydown', (event) => {
    const from = event.target;
    if (!from.matches('td')) return;
    if (event.key === 'Enter') openDay(from);
    const [down, right] = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] }[event.key] ?? [];
    if (down === undefined) return;
    event.preventDefault();
    const to = from.closest('tbody').rows[from.parentElement.sectionRowIndex + down]?.cells[from.cellIndex + right];
    if (!to?.matches('td')) return;
    from.setAttribute('tabindex', '-1');
    to.setAttribute('tabindex', '0');
    to.focus();
  });

  fill(
    root,
    h(
      'div',
      { class: 'row between' },
      h('div', { class: 'row' }, h('label', { for: 'metric' }, 'Show'), choice),
      h('div', { class: 'row' }, range, earlier, later),
    ),
    map,
    described,
    legend(),
  );
  function update(next) {
    const isOtherSpan = answer === null || next.until !== parameters.until;
    parameters = next;
    choice.value = metric();
    if (isOtherSpan) load();
    else draw();
    return true;
  }

  update(parameters);
  return { update, close: () => controller.abort() };
}

/** Returns the day that is `days` days after `day`. */
export function addDays(day, days) {
  const date = new Date(`${day}T00:00:00Z`);
  date.setUTCDate(date.getUTCDate() + days);
  return date.toISOString().slice(0, 10);
}

/** Returns two header rows: the months, and the days of the month. */
function heads(days) {
  const months = [];
  for (const day of days) {
    const month = day.slice(0, 7);
    if (months.at(-1)?.month === month) months.at(-1).days += 1;
    else months.push({ month, days: 1 });
  }
  return h(
    'thead',
    {},
    h(
      'tr',
      {},
      h('td'),
      months.map((month) =>
        h('th', { scope: 'colgroup', colspan: month.days }, month.days > 2 ? month.month : month.month.slice(5)),
      ),
    ),
    h(
      'tr',
      {},
      h('th', { scope: 'col' }, 'Account'),
      days.map((day) =>
        h('th', { scope: 'col', class: 'number' }, h('span', { class: 'hidden-text' }, day.slice(0, 8)), day.slice(8)),
      ),
    ),
  );
}

function describe(account, day, figures) {
  const where = `${day}, account ${account}`;
  if (!figures || figures.state === 'outside') return `${where}: outside of the days with objects`;
  if (figures.state === 'no_objects') return `${where}: no objects. Objects may be missing, or nothing was logged`;
  const quarantined = figures.quarantined > 0 ? `, ${formatNumber(figures.quarantined)} quarantined` : '';
  return `${where}: ${count(figures.objects, 'object')}, ${count(figures.events, 'event')}${quarantined}`;
}

function shortNumber(number) {
  if (number < 1000) return String(number);
  const [divisor, unit] = number < 1e6 ? [1e3, 'k'] : number < 1e9 ? [1e6, 'M'] : [1e9, 'G'];
  const value = number / divisor;
  return `${value < 10 ? Math.floor(value * 10) / 10 : Math.floor(value)}${unit}`;
}

function legend() {
  const levels = [1, 2, 3, 4, 5].map((level) => h('span', { class: `swatch level-${level}` }));
  return h(
    'div',
    { class: 'legend small' },
    h('span', { class: 'row' }, 'fewer', levels, 'more'),
    h(
      'span',
      { class: 'row' },
      h('span', { class: 'swatch no_objects' }),
      'no objects, between days with objects. This does not prove that nothing was logged',
    ),
    h('span', { class: 'row' }, h('span', { class: 'swatch level-2 quarantined' }), 'with quarantined objects'),
  );
}
