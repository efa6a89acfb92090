// Requests to the API of the server that delivered this page.

/** A request that the server refused, or that got no response. `status` is 0 if there was no response. */
export class Problem extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/**
 * Sends a request below `v1/` and returns the answer: parsed JSON, the text with `{text: true}`, or null without content. A 401
 * also dispatches `signed-out` on the document.
 */
export async function request(method, path, { query = {}, body, text = false, signal } = {}) {
  const url = new URL(`v1/${path}`, document.baseURI);
  url.hash = '';
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== '') url.searchParams.append(name, value);
  }
  // The header proves that the request comes from a page of this origin. The session is a cookie that no script can read.
  const headers = { 'X-Trailhose-Console': '1' };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  let response;
  let content;
  try {
    response = await fetch(url, {
      method,
      headers,
      signal,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: 'same-origin',
      cache: 'no-store',
      redirect: 'error',
    });
    content = await response.text();
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Problem(0, 'the server does not answer. Check that trailhose serve is running, then try again');
  }
  if (!response.ok) {
    if (response.status === 401 && path !== 'session') document.dispatchEvent(new Event('signed-out'));
    throw new Problem(response.status, explain(response, content));
  }
  if (text) return content;
  return content ? JSON.parse(content) : null;
}

function explain(response, content) {
  let problem = {};
  try {
    problem = JSON.parse(content);
  } catch {
    // The content is not a problem document, so the message names only the status.
  }
  const message = problem.detail || problem.title || `the server answered with status ${response.status}`;
  const wait = response.headers.get('Retry-After');
  return wait ? `${message} (try again in ${wait} s)` : message;
}
