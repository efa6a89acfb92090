// Starts the console, and handles the session, the views, the colors and the keys. The fragment of the URL contains the view
// and its parameters, so a search can be shared as a link. It never contains a token.

import { request } from './console/api.js';
import { announce, failure, fill, h } from './console/dom.js';
import * as sources from './console/sources.js';
import * as events from './console/events.js';
import * as days from './console/days.js';
import * as findings from './console/findings.js';
import * as ask from './console/ask.js';

// In the order of the keyboard keys 1 to 5. A view has a `title` and `open(root, parameters, session)`, which returns
// `{update(parameters), close()}`: `update` returns false if the view has to be opened again.
const VIEWS = { sources, events, days, findings, ask };

const main = document.getElementById('main');
const navigation = document.getElementById('views');
let session = null;
let current = null;

function route() {
  const [view, query = ''] = location.hash.replace(/^#\/?/, '').split(/\?(.*)/s);
  return { view: Object.hasOwn(VIEWS, view) ? view : 'sources', parameters: Object.fromEntries(new URLSearchParams(query)) };
}

function show() {
  if (!session) return;
  const { view, parameters } = route();
  for (const item of navigation.children) {
    const isCurrent = item.getAttribute('href') === `#/${view}`;
    if (isCurrent) item.setAttribute('aria-current', 'page');
    else item.removeAttribute('aria-current');
  }
  if (current?.view === view && current.update(parameters) !== false) return;
  const isFirst = current === null;
  current?.close();
  document.title = `${VIEWS[view].title} · trailhose`;
  const heading = h('h1', { tabindex: '-1' }, VIEWS[view].title);
  const root = h('div', { class: `view ${view}` });
  fill(main, heading, root);
  current = { view, ...VIEWS[view].open(root, parameters, session) };
  if (!isFirst && !main.contains(document.activeElement)) heading.focus({ preventScroll: true });
}

async function start() {
  try {
    session = await request('GET', 'session');
  } catch (error) {
    if (error.status === 401) signIn();
    else fill(main, failure('The console cannot start', error), h('button', { type: 'button', onclick: start }, 'Try again'));
    return;
  }
  const name = session.name ? `${session.name} · ` : '';
  document.getElementById('session-name').textContent = `${name}${session.version ?? ''}`;
  document.getElementById('sign-out').hidden = !session.token_required;
  navigation.hidden = false;
  show();
}

function signIn(message) {
  current?.close();
  current = null;
  session = null;
  navigation.hidden = true;
  document.getElementById('sign-out').hidden = true;
  document.getElementById('session-name').textContent = '';
  document.title = 'Sign in · trailhose';
  const token = h('input', {
    type: 'password',
    id: 'token',
    autocomplete: 'current-password',
    required: true,
    spellcheck: 'false',
  });
  const result = h('div', {}, message && h('p', { class: 'notice', role: 'alert' }, message));
  const form = h(
    'form',
    { class: 'card sign-in' },
    h('h1', {}, 'Sign in'),
    // A password manager needs a user name to store a token.
    h('input', { type: 'text', name: 'username', value: 'trailhose', autocomplete: 'username', hidden: true }),
    h('label', { for: 'token' }, 'Token'),
    token,
    h(
      'p',
      { class: 'muted small' },
      'An administrator of this server creates a token with ',
      h('code', {}, 'trailhose token create'),
      '.',
    ),
    result,
    h('button', { type: 'submit', class: 'primary' }, 'Sign in'),
  );
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    try {
      await request('POST', 'session', { body: { token: token.value.trim() } });
      token.value = '';
      await start();
    } catch (error) {
      fill(result, failure('Not signed in', error.status === 401 ? new Error('the token is invalid or was revoked') : error));
      token.select();
    }
  });
  fill(main, form);
  token.focus();
}

async function signOut() {
  try {
    await request('DELETE', 'session');
    signIn('You are signed out.');
  } catch (error) {
    announce(`Not signed out: ${error.message}`);
    main.prepend(failure('Not signed out', error));
  }
}

// Stores a setting if there is a value, and returns the setting. Without the browser's permission, it lasts until the page is
// closed.
function stored(name, value) {
  try {
    if (value !== undefined) localStorage.setItem(name, value);
    return localStorage.getItem(name);
  } catch {
    return value ?? null;
  }
}

function prepareTheme() {
  const select = document.getElementById('theme');
  select.value = document.documentElement.dataset.theme ?? 'auto';
  select.addEventListener('change', () => {
    if (select.value === 'auto') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = select.value;
    stored('trailhose-theme', select.value);
  });
}

function prepareKeys() {
  const dialog = document.getElementById('keys-dialog');
  const singleKeys = document.getElementById('single-keys');
  singleKeys.checked = stored('trailhose-keys') !== 'off';
  singleKeys.addEventListener('change', () => stored('trailhose-keys', singleKeys.checked ? 'on' : 'off'));
  document.getElementById('keys').addEventListener('click', () => dialog.showModal());
  document.addEventListener('keydown', (event) => {
    const isTyping = event.target.closest?.('input, textarea, select, dialog');
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey || !session || !singleKeys.checked) return;
    const view = Object.keys(VIEWS)[Number(event.key) - 1];
    if (view) {
      location.hash = `#/${view}`;
    } else if (event.key === '?') {
      dialog.showModal();
    } else if (event.key === '/') {
      if (current.view !== 'events') location.hash = '#/events';
      setTimeout(() => document.getElementById('search')?.focus());
    } else {
      return;
    }
    event.preventDefault();
  });
}

addEventListener('hashchange', show);
document.addEventListener('signed-out', () => session && signIn('The session ended. Sign in again.'));
document.getElementById('sign-out').addEventListener('click', signOut);
prepareTheme();
prepareKeys();
start();
