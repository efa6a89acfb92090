// Sources: their state and last runs, and adding, running and deleting them. Refreshes itself while the page is visible.

import { request } from './api.js';
import { add, announce, badge, count, failure, fill, formatNumber, h, relativeTime, span, table, time } from './dom.js';

export const title = 'Sources';

// The times between two refreshes, in milliseconds.
const REFRESH_WHILE_RUNNING = 1500;
const REFRESH_OTHERWISE = 8000;
const STATES = { running: 'info', waiting: 'good', failed: 'bad', succeeded: 'good', stopped: 'warn' };

const ORIGINS = { api: 'added here or with the API', settings: 'from trailhose.toml' };

export function open(root, parameters, session) {
  const mayWrite = session.scopes.includes('write');
  const message = h('div');
  const list = h('div', { class: 'cards' });
  const consumers = h('div');
  const runs = h('div');
  let timer = null;
  let isClosed = false;
  let drawn = '';

  async function refresh() {
    clearTimeout(timer);
    let delay = REFRESH_OTHERWISE;
    if (!document.hidden) {
      try {
        const [answer, followers, latest] = await Promise.all([
          request('GET', 'sources'),
          request('GET', 'followers'),
          request('GET', 'runs', { query: { limit: 12 } }),
        ]);
        if (isClosed) return;
        if (message.querySelector('.refresh')) fill(message);
        if (answer.sources.some((source) => source.state === 'running')) delay = REFRESH_WHILE_RUNNING;
        draw(answer.sources, followers.followers, latest.runs);
      } catch (error) {
        if (isClosed) return;
        fill(message, add(h('div', { class: 'refresh' }), failure('The state cannot be read', error)));
      }
    }
    timer = setTimeout(refresh, delay);
  }

  function draw(all, followers, latest) {
    // Drawing removes the button that has the focus, so the new button with the same key gets the focus.
    const state = JSON.stringify([all, followers, latest]);
    const focused = root.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    if (state === drawn && !all.some((source) => source.next_run)) return;
    drawn = state;
    fill(
      list,
      all.length ? all.map(card) : h('p', { class: 'empty' }, 'There are no sources. Add a bucket or a folder to start.'),
    );
    fill(consumers, followers.length > 0 && [h('h2', {}, 'Consumers'), h('ul', { class: 'plain' }, followers.map(consumer))]);
    fill(runs, latest.length > 0 && [h('h2', {}, 'Latest runs'), runTable(latest)]);
    if (focused) root.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  }

  function card(source) {
    const last = source.last_run;
    const [amount, unit] = span(source.interval_seconds);
    const selection = [...(source.accounts ?? []), ...(source.regions ?? []), ...(source.kinds ?? [])];
    const name = locationOf(source);
    return h(
      'article',
      { class: 'card source', 'aria-label': `Source ${source.id}`, 'data-id': source.id },
      h('div', { class: 'row between' }, h('h2', { class: 'mono' }, name), badge(source.state, STATES[source.state] ?? '')),
      h(
        'p',
        { class: 'muted small' },
        `${source.id} · every ${amount} ${unit} · ${ORIGINS[source.origin] ?? ''}`,
        selection.length > 0 && ` · only ${selection.join(', ')}`,
        source.since && [' · since ', source.since],
        source.role_arn && [' · with ', h('span', { class: 'mono' }, source.role_arn)],
      ),
      last && figures(last),
      last?.error && h('p', { class: 'notice bad' }, h('strong', {}, `Last run ${last.state}: `), last.error),
      h(
        'div',
        { class: 'row between' },
        h(
          'p',
          { class: 'muted small' },
          last ? ['last run ', relativeTime(last.ended ?? last.started)] : 'no run yet',
          source.next_run && [' · next run ', new Date(source.next_run) > new Date() ? relativeTime(source.next_run) : 'now'],
        ),
        mayWrite &&
          h(
            'div',
            { class: 'row' },
            h(
              'button',
              {
                type: 'button',
                'data-key': `run ${source.id}`,
                'aria-label': `Run ${source.id} now`,
                onclick: () => run(source),
              },
              'Run now',
            ),
            source.origin === 'api' &&
              h(
                'button',
                {
                  type: 'button',
                  class: 'quiet',
                  'data-key': `delete ${source.id}`,
                  'aria-label': `Delete ${source.id}`,
                  onclick: () => remove(source),
                },
                'Delete',
              ),
          ),
      ),
    );
  }

  async function run(source) {
    try {
      const { run: number } = await request('POST', `sources/${encodeURIComponent(source.id)}/run`);
      fill(message);
      announce(`Run ${number} of ${source.id} started`);
    } catch (error) {
      fill(message, failure(`The run of ${source.id} was not started`, error));
    }
    refresh();
  }

  async function remove(source) {
    const isConfirmed = await askToConfirm(
      `Delete the source ${source.id}?`,
      `${locationOf(source)} is not read any more. Delivered events and the ledger are kept, so adding it again repeats no event.`,
      'Delete',
    );
    if (!isConfirmed) return;
    try {
      await request('DELETE', `sources/${encodeURIComponent(source.id)}`);
      fill(message);
      announce(`${source.id} was deleted`);
    } catch (error) {
      fill(message, failure(`${source.id} was not deleted`, error));
    }
    refresh();
  }

  const form = mayWrite
    ? addForm(refresh)
    : h('p', { class: 'muted small' }, 'This token only allows reading. Changes need a token with the scope write.');
  fill(root, form, message, list, consumers, runs);
  document.addEventListener('visibilitychange', refresh);
  refresh();
  return {
    update: () => true,
    close() {
      isClosed = true;
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', refresh);
    },
  };
}

function locationOf(source) {
  return source.folder ?? `s3://${source.bucket}${source.prefix ? `/${source.prefix}` : ''}`;
}

function figures(run) {
  const items = [
    ['objects', run.objects],
    ['events', run.events],
    ['delivered', run.delivered],
    ['duplicates', run.duplicates],
    ['filtered', run.filtered],
    ['quarantined', run.quarantined],
  ];
  return h(
    'dl',
    { class: 'figures' },
    items.map(([name, value]) =>
      h(
        'div',
        { class: name === 'quarantined' && value > 0 ? 'warn' : '' },
        h('dt', {}, name),
        h('dd', { class: 'number' }, formatNumber(value ?? 0)),
      ),
    ),
  );
}

function consumer(follower) {
  const lag =
    follower.events_behind === 0 ? 'has read every delivered event' : `is ${count(follower.events_behind, 'event')} behind`;
  return h(
    'li',
    {},
    h('span', { class: 'mono' }, follower.name),
    ' ',
    lag,
    follower.error && h('p', { class: 'notice bad' }, follower.error),
  );
}

function runTable(runs) {
  const columns = [
    { label: 'Run', cell: (run) => run.number, class: 'number' },
    { label: 'Source', cell: (run) => run.source, class: 'mono' },
    { label: 'State', cell: (run) => badge(run.state, STATES[run.state] ?? '') },
    { label: 'Started', cell: (run) => time(run.started) },
    { label: 'Objects', cell: (run) => formatNumber(run.objects ?? 0), class: 'number right' },
    { label: 'Delivered', cell: (run) => formatNumber(run.delivered ?? 0), class: 'number right' },
    { label: 'Duplicates', cell: (run) => formatNumber(run.duplicates ?? 0), class: 'number right' },
    { label: 'Quarantined', cell: (run) => formatNumber(run.quarantined ?? 0), class: 'number right' },
    { label: 'Error', cell: (run) => run.error ?? '', class: 'text' },
  ];
  return table('Latest runs', columns, runs);
}

/** Asks for a confirmation in a dialog. Returns whether the user confirmed. */
function askToConfirm(question, consequence, action) {
  return new Promise((resolve) => {
    const dialog = h('dialog', { 'aria-labelledby': 'question' }, h('h2', { id: 'question' }, question), h('p', {}, consequence));
    const buttons = h(
      'form',
      { method: 'dialog', class: 'row' },
      h('button', { type: 'submit', value: 'yes', class: 'danger' }, action),
      h('button', { type: 'submit', value: 'no' }, 'Cancel'),
    );
    add(dialog, buttons);
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(dialog.returnValue === 'yes');
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

const OPTIONS = [
  ['id', 'ID', 'chosen by the server'],
  ['accounts', 'Accounts', 'all'],
  ['regions', 'Regions', 'all'],
  ['since', 'Delivered since', '2026-11-01'],
  ['bucket_region', 'Region of the bucket', 'eu-west-1'],
  ['role_arn', 'Role to assume', 'arn:aws:iam::111122223333:role/trailhose'],
  ['external_id', 'External ID of the role', ''],
  ['endpoint_url', 'Endpoint of S3', 'https://s3.example.com'],
];

function addForm(refresh) {
  const where = h('input', {
    id: 'source-place',
    required: true,
    placeholder: 's3://my-trail-bucket/prefix or /var/log/cloudtrail',
    spellcheck: 'false',
    autocomplete: 'off',
    class: 'mono',
  });
  const interval = h('input', {
    id: 'source-interval',
    value: '1m',
    size: '6',
    autocomplete: 'off',
    'aria-describedby': 'interval-help',
  });
  const fields = OPTIONS.map(([name, label, placeholder]) => [
    name,
    h('label', { for: `source-${name}` }, label),
    h('input', { id: `source-${name}`, placeholder, spellcheck: 'false', autocomplete: 'off' }),
  ]);
  const result = h('div');
  const form = h(
    'form',
    { class: 'card add', 'aria-label': 'Add a source' },
    h(
      'div',
      { class: 'row fields' },
      h('div', { class: 'grow' }, h('label', { for: 'source-place' }, 'Bucket or folder'), where),
      h('div', {}, h('label', { for: 'source-interval' }, 'Interval'), interval),
      h('button', { type: 'submit', class: 'primary' }, 'Add source'),
    ),
    h('p', { id: 'interval-help', class: 'hidden-text' }, 'For example 30s, 5m or 1h. The minimum is 10s.'),
    h(
      'details',
      {},
      h('summary', {}, 'Selection and access'),
      h(
        'div',
        { class: 'grid' },
        fields.map(([, label, input]) => h('div', {}, label, input)),
      ),
      h(
        'p',
        { class: 'muted small' },
        'Several accounts or regions are separated by commas. Access keys are never stored: ',
        'the server uses its own role, or assumes the role above.',
      ),
    ),
    result,
  );
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const body = { ...parseLocation(where.value.trim()), interval: interval.value.trim() };
    for (const [name, , input] of fields) {
      const value = input.value.trim();
      if (value) body[name] = name === 'accounts' || name === 'regions' ? value.split(/[\s,]+/) : value;
    }
    try {
      const source = await request('POST', 'sources', { body });
      fill(result);
      announce(`The source ${source.id} was added`);
      where.value = '';
      where.focus();
    } catch (error) {
      fill(result, failure('The source was not added', error));
    }
    refresh();
  });
  return form;
}

function parseLocation(text) {
  if (!text.startsWith('s3://')) return { folder: text };
  const [bucket, ...prefix] = text.slice('s3://'.length).split('/');
  return prefix.join('/') ? { bucket, prefix: prefix.join('/') } : { bucket };
}
