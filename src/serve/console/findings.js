// Findings of the detection rules and their states, and the alerts that were sent about them.

import { request } from './api.js';
import {
  addRows,
  announce,
  arrowKeys,
  badge,
  clickRows,
  count,
  failure,
  fill,
  openLink,
  h,
  jsonBlock,
  link,
  shortPrincipal,
  table,
  time,
} from './dom.js';
import { timeOf } from './events.js';

export const title = 'Findings';

const STATES = ['open', 'acknowledged', 'closed', 'suppressed'];
const ACTIONS = { acknowledged: 'Acknowledge', closed: 'Close', suppressed: 'Suppress', open: 'Reopen' };
const LEVELS = { critical: 'bad', high: 'bad', medium: 'warn', low: 'info', informational: '' };
const STATE_KINDS = { open: 'warn', acknowledged: 'info', closed: 'good', suppressed: '' };
const ALERT_KINDS = { sent: 'good', pending: 'info', failed: 'bad' };

const columns = (parameters) => [
  { label: 'Level', cell: (row) => badge(row.level, LEVELS[row.level] ?? '') },
  {
    label: 'Finding',
    cell: (row) => h('a', { class: 'open', href: link('findings', { ...parameters, finding: row.id }) }, row.title ?? row.rule),
    class: 'text',
  },
  { label: 'Time (UTC)', cell: (row) => time(row.time), class: 'time' },
  { label: 'Event', cell: (row) => row.event_name ?? '', class: 'mono name extra' },
  {
    label: 'Principal',
    cell: (row) => h('span', { title: row.principal }, shortPrincipal(row.principal)),
    class: 'mono text extra',
  },
  { label: 'Account', cell: (row) => row.account ?? '', class: 'mono extra' },
  { label: 'State', cell: (row) => badge(row.state, STATE_KINDS[row.state] ?? '') },
];

export function open(root, first, session) {
  const mayWrite = session.scopes.includes('write');
  let parameters = first;
  let listed = null;
  // The ID of the finding whose details were hidden, until its row has the focus.
  let focusAfterClose = null;
  let isClosed = false;
  const known = new Map();
  const state = h(
    'select',
    { id: 'state' },
    h('option', { value: '' }, 'All'),
    STATES.map((name) => h('option', { value: name }, name)),
  );
  const rule = h('input', { id: 'rule', spellcheck: 'false', autocomplete: 'off', placeholder: 'all rules' });
  const since = h('input', { id: 'since', spellcheck: 'false', autocomplete: 'off', placeholder: '2026-11-01 or 7d' });
  const form = h(
    'form',
    { class: 'row fields' },
    h('div', {}, h('label', { for: 'state' }, 'State'), state),
    h('div', {}, h('label', { for: 'rule' }, 'Rule'), rule),
    h('div', {}, h('label', { for: 'since' }, 'Since'), since),
    h('button', { type: 'submit' }, 'Show'),
  );
  const results = h('div', { class: 'results' });
  const detail = h('aside', { class: 'detail', 'aria-label': 'Finding', hidden: true });
  const alerts = h('section', { class: 'alerts' });

  // Without a state, the open findings are listed. So the link to all findings contains `state=all`.
  const wanted = () => (parameters.state === undefined ? 'open' : parameters.state === 'all' ? '' : parameters.state);
  const filters = () => ({ state: parameters.state, rule: parameters.rule, since: parameters.since });
  const show = () =>
    (location.hash = link('findings', { state: state.value || 'all', rule: rule.value.trim(), since: since.value.trim() }));
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    show();
  });
  state.addEventListener('change', show);

  async function load() {
    try {
      const query = { state: wanted(), rule: parameters.rule, since: timeOf(parameters.since, false), limit: 100 };
      const answer = await request('GET', 'findings', { query });
      if (!isClosed) drawList(answer, query);
    } catch (error) {
      if (!isClosed) fill(results, failure('The findings cannot be read', error));
    }
  }

  function drawList(answer, query) {
    let cursor = answer.next_cursor;
    announce(count(answer.findings.length, 'finding'));
    remember(answer.findings);
    if (answer.findings.length === 0) {
      fill(
        results,
        h(
          'p',
          { class: 'empty' },
          wanted()
            ? `No finding is ${wanted()}.`
            : 'There are no findings. Rules are configured in the section [detect] of trailhose.toml.',
        ),
      );
      return;
    }
    const list = table('Findings, newest first', columns(filters()), answer.findings);
    arrowKeys(list);
    clickRows(list);
    const problem = h('div');
    const more = h('button', { type: 'button', onclick: loadMore }, 'Load more');
    fill(results, list, problem, cursor && more);
    mark();
    focusRow();

    async function loadMore() {
      try {
        const next = await request('GET', 'findings', { query: { ...query, cursor } });
        remember(next.findings);
        addRows(list, columns(filters()), next.findings)?.querySelector('a.open').focus();
        cursor = next.next_cursor;
        if (!cursor) more.remove();
      } catch (error) {
        fill(problem, failure('The next findings cannot be read', error));
      }
    }
  }

  function remember(findings) {
    for (const finding of findings) known.set(finding.id, finding);
  }

  function mark() {
    for (const row of results.querySelectorAll('tr[data-id]')) {
      if (row.dataset.id === parameters.finding) row.setAttribute('aria-selected', 'true');
      else row.removeAttribute('aria-selected');
    }
  }

  async function drawDetail() {
    const id = parameters.finding;
    root.classList.toggle('with-detail', Boolean(id));
    detail.hidden = !id;
    mark();
    if (!id) {
      fill(detail);
      return;
    }
    const heading = h('h2', { tabindex: '-1' }, known.get(id)?.title ?? 'Finding');
    const body = h('div', { 'aria-busy': 'true' });
    fill(
      detail,
      h('div', { class: 'row between' }, heading, h('button', { type: 'button', class: 'quiet', onclick: close }, 'Hide')),
      body,
    );
    heading.focus();
    try {
      const text = await request('GET', `findings/${encodeURIComponent(id)}`, { text: true });
      if (parameters.finding !== id) return;
      const details = JSON.parse(text);
      fill(heading, details.finding_info?.title ?? 'Finding');
      fill(body, describe(details, id), jsonBlock('OCSF Detection Finding', text));
    } catch (error) {
      if (parameters.finding === id) fill(body, failure('The finding cannot be read', error));
    }
    body.removeAttribute('aria-busy');
  }

  function describe(details, id) {
    const finding = known.get(id) ?? {};
    return [
      h(
        'p',
        { class: 'row' },
        finding.level && badge(finding.level, LEVELS[finding.level] ?? ''),
        finding.state && badge(finding.state, STATE_KINDS[finding.state] ?? ''),
        finding.time && time(finding.time),
      ),
      details.finding_info?.desc && h('p', {}, details.finding_info.desc),
      finding.principal && h('p', {}, 'Principal ', h('span', { class: 'mono' }, finding.principal)),
      finding.note && h('p', { class: 'notice' }, h('strong', {}, 'Note: '), finding.note),
      finding.event_id &&
        h('p', {}, h('a', { href: link('events', { event: finding.event_id }) }, `Open the event ${finding.event_name ?? ''}`)),
      mayWrite ? changes(finding, id) : h('p', { class: 'muted small' }, 'Changes need a token with the scope write.'),
    ];
  }

  function changes(finding, id) {
    const note = h('textarea', { id: 'note', rows: '2' });
    const result = h('div');
    const buttons = Object.entries(ACTIONS)
      .filter(([next]) => next !== finding.state)
      .map(([next, label]) => h('button', { type: 'button', onclick: () => change(next) }, label));
    async function change(next) {
      try {
        const body = { state: next };
        if (note.value.trim()) body.note = note.value.trim();
        const changed = await request('PATCH', `findings/${encodeURIComponent(id)}`, { body });
        known.set(id, changed);
        announce(`The finding is ${changed.state}`);
        await load();
        known.set(id, changed);
        drawDetail();
      } catch (error) {
        fill(result, failure('The state was not changed', error));
      }
    }
    return h(
      'div',
      { class: 'changes' },
      h('label', { for: 'note' }, 'Note (optional)'),
      note,
      h('div', { class: 'row' }, buttons),
      result,
    );
  }

  function close() {
    focusAfterClose = parameters.finding;
    location.hash = link('findings', filters());
    setTimeout(focusRow);
  }

  /** Moves the focus to the row of the finding whose details were hidden, as soon as the list is loaded. */
  function focusRow() {
    if (focusAfterClose === null || results.childElementCount === 0) return;
    (openLink(results, focusAfterClose) ?? root.parentElement.querySelector('h1')).focus();
    focusAfterClose = null;
  }

  async function loadAlerts() {
    try {
      const answer = await request('GET', 'alerts', { query: { limit: 20 } });
      if (!isClosed) fill(alerts, answer.alerts.length > 0 && [h('h2', {}, 'Latest alerts'), alertTable(answer.alerts)]);
    } catch (error) {
      if (!isClosed) fill(alerts, failure('The alerts cannot be read', error));
    }
  }

  function alertTable(all) {
    const alertColumns = [
      { label: 'Alert', cell: (row) => row.number, class: 'number' },
      { label: 'Destination', cell: (row) => row.destination, class: 'mono' },
      { label: 'Kind', cell: (row) => row.kind },
      { label: 'State', cell: (row) => badge(row.state, ALERT_KINDS[row.state] ?? 'warn') },
      { label: 'Attempts', cell: (row) => row.attempts, class: 'number right' },
      { label: 'Due or sent (UTC)', cell: (row) => time(row.sent ?? row.due), class: 'time' },
      { label: 'Error', cell: (row) => row.error ?? '', class: 'text' },
      {
        label: 'Action',
        cell: (row) =>
          mayWrite &&
          row.state === 'failed' &&
          h('button', { type: 'button', 'aria-label': `Retry alert ${row.number}`, onclick: () => retry(row) }, 'Retry'),
      },
    ];
    return table('Latest alerts', alertColumns, all);
  }

  async function retry(alert) {
    try {
      await request('POST', `alerts/${encodeURIComponent(alert.number)}/retry`);
      announce(`Alert ${alert.number} is sent again`);
      await loadAlerts();
    } catch (error) {
      alerts.prepend(failure(`Alert ${alert.number} is not sent again`, error));
    }
  }

  detail.addEventListener('keydown', (event) => event.key === 'Escape' && close());

  function update(next) {
    parameters = next;
    state.value = wanted();
    rule.value = parameters.rule ?? '';
    since.value = parameters.since ?? '';
    const text = JSON.stringify(filters());
    if (text !== listed) {
      listed = text;
      load();
    }
    drawDetail();
    return true;
  }

  fill(root, form, h('div', { class: 'split' }, results, detail), alerts);
  update(parameters);
  loadAlerts();
  return {
    update,
    close() {
      isClosed = true;
    },
  };
}
