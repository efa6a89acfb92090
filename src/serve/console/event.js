// One event: a summary for people, and its original text.

import { request } from './api.js';
import { failure, fill, h, jsonBlock, link, shortPrincipal, time } from './dom.js';

/** Loads an event into an element. `close` is called by the button that hides it. */
export async function openEvent(element, id, close) {
  if (element.dataset.id === id && element.childElementCount > 0) return;
  element.dataset.id = id;
  const heading = h('h2', { tabindex: '-1' }, 'Event');
  const header = h(
    'div',
    { class: 'row between' },
    heading,
    h('button', { type: 'button', class: 'quiet', onclick: close }, 'Hide'),
  );
  const body = h('div', { 'aria-busy': 'true' });
  fill(element, header, body);
  heading.focus();
  try {
    const original = await request('GET', `events/${encodeURIComponent(id)}`, { text: true });
    if (element.dataset.id !== id) return;
    const event = parse(original);
    fill(heading, text(event.eventName) ?? 'Event');
    fill(body, summary(event, id), jsonBlock('Original event', original));
  } catch (error) {
    if (element.dataset.id !== id) return;
    fill(body, failure('The event cannot be read', error));
  }
  body.removeAttribute('aria-busy');
}

/** Parses an event. Numbers keep their spelling if the browser provides it, so that long ones are not rounded. */
function parse(original) {
  return JSON.parse(original, (key, value, context) => (typeof value === 'number' && context?.source ? context.source : value));
}

/** Returns a value as text. A value can have another type than the documentation of CloudTrail says. */
function text(value) {
  if (value === null || value === undefined) return value;
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

function summary(event, id) {
  const identity = event.userIdentity ?? {};
  const principal = text(identity.arn ?? identity.invokedBy ?? identity.principalId ?? identity.type);
  const session = identity.sessionContext ?? {};
  const issuer = session.sessionIssuer ?? {};
  const mfa = session.attributes?.mfaAuthenticated ?? event.additionalEventData?.MFAUsed;
  return [
    sentence(event, principal),
    event.errorCode &&
      h(
        'p',
        { class: 'notice bad' },
        h('strong', {}, text(event.errorCode)),
        event.errorMessage && `: ${text(event.errorMessage)}`,
      ),
    facts('What', [
      ['Service', event.eventSource, 'service'],
      ['Event name', event.eventName, 'name'],
      ['Time', event.eventTime && time(event.eventTime)],
      ['Region', event.awsRegion, 'region'],
      ['Account', event.recipientAccountId, 'account'],
      ['Type', [event.eventType, event.eventCategory].filter(Boolean).join(', ')],
      ['Changes data', event.readOnly === undefined ? null : String(event.readOnly) === 'false' ? 'yes' : 'no (read-only)'],
      ['Event ID', event.eventID ?? id],
      ['Request ID', event.requestID],
    ]),
    facts('Who', [
      ['Principal', principal, 'principal'],
      ['Type', identity.type],
      ['User name', identity.userName],
      ['Access key', identity.accessKeyId, 'access_key'],
      ['Account of the caller', identity.accountId],
      ['Role of the session', issuer.arn],
      ['Session started', session.attributes?.creationDate && time(session.attributes.creationDate)],
      ['Signed in with MFA', mfa],
      ['Source identity', session.sourceIdentity],
      ['Called by', identity.arn ? identity.invokedBy : null],
    ]),
    facts('From', [
      ['Address', event.sourceIPAddress, 'address'],
      ['User agent', event.userAgent],
      ['VPC endpoint', event.vpcEndpointId],
      ['TLS', [event.tlsDetails?.tlsVersion, event.tlsDetails?.clientProvidedHostHeader].filter(Boolean).join(', ')],
    ]),
    facts(
      'Resources',
      (Array.isArray(event.resources) ? event.resources : []).map((resource) => [resource?.type ?? 'resource', resource?.ARN]),
    ),
    facts('Request', flatten(event.requestParameters)),
    facts('Response', flatten(event.responseElements)),
    facts('Additional data', flatten(event.additionalEventData)),
    facts('Service event', flatten(event.serviceEventDetails)),
  ];
}

function sentence(event, principal) {
  return h(
    'p',
    { class: 'sentence' },
    h('strong', { title: principal }, shortPrincipal(principal) || 'An unknown principal'),
    event.errorCode ? ' tried to call ' : ' called ',
    h('strong', { class: 'mono' }, text(event.eventName) ?? 'an unnamed event'),
    event.eventSource && ` of ${text(event.eventSource).replace(/\.amazonaws\.com$/, '')}`,
    event.awsRegion && ` in ${text(event.awsRegion)}`,
    event.sourceIPAddress && ` from ${text(event.sourceIPAddress)}`,
    '.',
  );
}

/** Returns a titled list of the facts that have a value. A fact with a search field links to the events with this value. */
function facts(name, rows) {
  const present = rows.filter(([, value]) => value !== null && value !== undefined && value !== '');
  if (present.length === 0) return null;
  return h(
    'section',
    { class: 'facts' },
    h('h3', {}, name),
    h(
      'dl',
      {},
      present.map(([label, value, field]) => [
        h('dt', {}, label),
        h(
          'dd',
          {},
          value instanceof Node ? value : h('span', { class: 'mono' }, text(value)),
          field && [
            ' ',
            h(
              'a',
              {
                class: 'pivot',
                href: link('events', { [field]: text(value) }),
                'aria-label': `Search events with the same ${label.toLowerCase()}`,
              },
              'search',
            ),
          ],
        ),
      ]),
    ),
  );
}

/** Returns each scalar below a value with its path: `bucketName`, `items[0].instanceId`. */
function flatten(value, path = '') {
  if (value === null || value === undefined) return [];
  if (Array.isArray(value)) return value.flatMap((item, index) => flatten(item, `${path}[${index}]`));
  if (typeof value === 'object')
    return Object.entries(value).flatMap(([key, item]) => flatten(item, path ? `${path}.${key}` : key));
  return [[path || 'value', String(value)]];
}
