// Who looks: the session in the memory of this page, opened by the admin token, by a ticket, or by the
// certificate that the browser shows (which it does only for calls with credentials). The
// ticket is taken out of the address at once, and stays in memory: a session does not outlive its node,
// and sleep ends it. No cookie is set or asked for.

const session = { bearer: null, viewer: null, ttl: 600, timer: null, ticket: null, renewed: 0 };
const HELD = 'tollgate.session';
/** A session that ends sooner than that after it was renewed is not renewed again. */
const RENEW_AFTER = 60000;
/** Why a ticket is over. */
const OVER = ['ticket', 'ticket_expired', 'credential_revoked'];

/** Whether a call was refused because its session is not known, or not any more. */
const isRefused = (status) => status === 401 || status === 429;

/** A call of this node. Throws what it says when it does not go well. */
async function call(method, path, body) {
  const headers = {};
  const { bearer } = session;
  if (bearer) headers.authorization = `Bearer ${bearer}`;
  if (body !== undefined) headers['content-type'] = 'application/json';
  let answer;
  try {
    answer = await fetch(`/api/v1/${path}`, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), cache: 'no-store', credentials: 'same-origin', referrerPolicy: 'no-referrer' });
  } catch {
    throw Object.assign(new Error(word('unreachable')), { status: 0 });
  }
  const text = await answer.text();
  const said = text ? JSON.parse(text) : {};
  if (answer.ok) return said;
  if (isRefused(answer.status) && bearer && bearer === session.bearer) ended(said.reason);
  const [what, fix] = said.reason ? meaning(said.reason) : [said.errorMessage ?? `HTTP ${answer.status}`, ''];
  const message = sentence(what, fix);
  throw Object.assign(new Error(message), { status: answer.status, reason: said.reason, code: said.errorCode });
}

/** What happened and how it is mended, as sentences. */
function sentence(what, fix) {
  const first = what.charAt(0).toUpperCase() + what.slice(1);
  if (!fix) return first;
  return language === 'zh' ? `${first}。${fix}。` : `${first}. ${fix}`;
}

/** The ticket and the account of the address, taken out of it. */
function takeTicket() {
  const hash = new URLSearchParams(location.hash.slice(1));
  const ticket = hash.get('ticket') ?? query.get('ticket');
  if (!ticket) return null;
  const account = hash.get('account') ?? undefined;
  const rest = new URLSearchParams(query);
  rest.delete('ticket');
  const left = rest.toString();
  history.replaceState(null, '', `${location.pathname}${left ? `?${left}` : ''}`);
  return { ticket, account };
}

/** The id that a ticket names, to see whether this tab has a session of it. */
function idOf(ticket) {
  try {
    return JSON.parse(atob(ticket.split('.')[1].replace(/-/g, '+').replace(/_/g, '/'))).ticketId;
  } catch {
    return null;
  }
}

const framed = window !== window.top;

/** The origin of the page that shows this one in a frame. */
function embedder() {
  if (!framed) return undefined;
  const above = location.ancestorOrigins?.[0];
  if (above) return above;
  try { return new URL(document.referrer).origin; } catch { return undefined; }
}

function opened(said) {
  if (said.session) {
    session.bearer = said.session;
    kept.set(HELD, said.session);
  }
  session.viewer = said.viewer;
  session.ttl = said.ttlSeconds;
  const admin = said.viewer.kind === 'admin';
  if (admin) session.ticket = null;
  const sharer = admin && said.viewer.role === 'admin';
  at('login').hidden = true;
  document.body.classList.remove('closed');
  document.body.classList.toggle('admin', admin);
  document.body.classList.toggle('looks', !sharer);
  clearInterval(session.timer);
  session.timer = setInterval(extend, Math.max(3, session.ttl / 3) * 1000);
  showScope();
  beginLive();
  beginLists();
  if (sharer) beginShare();
}

async function extend() {
  try {
    const said = await call('POST', 'dashboard/session/extend');
    session.viewer = said.viewer;
  } catch { /* when it has ended, the call has shown that; else the next one will do */ }
}

/** Shows a ticket's viewer what the link shows. */
function showScope() {
  const { viewer } = session;
  const note = at('scope');
  note.hidden = !viewer || viewer.kind === 'admin';
  if (note.hidden) return;
  const parts = [word('sharedView', { project: viewer.project })];
  if (viewer.lastSeconds) parts.push(word('onlyLast', { time: lasting(viewer.lastSeconds) }));
  if (viewer.from) parts.push(word('onlyFrom', { time: moment(viewer.from) }));
  if (viewer.to) parts.push(word('onlyUntil', { time: moment(viewer.to) }));
  if (viewer.filters.length) parts.push(word('onlyWhere', { filters: viewer.filters.map((it) => `${it.field}=${it.value}`).join(', ') }));
  if (viewer.hidden.length) parts.push(word('notShown', { fields: viewer.hidden.join(', ') }));
  if (viewer.expires) parts.push(word('linkEnds', { time: moment(viewer.expires) }));
  write(note, parts.join(' '));
}

/** A stretch of time in whole units, from seconds. */
function lasting(seconds) {
  for (const [unit, size] of [['day', 86400], ['hour', 3600], ['minute', 60]]) {
    if (seconds >= size) {
      return new Intl.NumberFormat(locale(), { style: 'unit', unit, unitDisplay: 'long', maximumFractionDigits: 1 }).format(seconds / size);
    }
  }
  return new Intl.NumberFormat(locale(), { style: 'unit', unit: 'second', unitDisplay: 'long' }).format(seconds);
}

/** Shows the way in, and why it is needed. */
function showLogin(fault = '', form = 'login-form') {
  // The page around a frame could lay something over it, so nobody is asked for the admin token there.
  if (framed && form === 'login-form') {
    form = 'none';
    fault = fault || word('frameNeedsTicket');
  }
  endLive();
  clearInterval(session.timer);
  document.body.classList.add('closed');
  document.body.classList.remove('admin');
  at('scope').hidden = true;
  at('login').hidden = false;
  at('login-form').hidden = form !== 'login-form';
  at('account-form').hidden = form !== 'account-form';
  write(at('login-fault'), fault);
  if (!framed && form !== 'none') at(form === 'account-form' ? 'account' : 'token').focus();
}

/** The session is gone, for this reason. Who came by a ticket that this page knows comes by it again. */
function ended(reason) {
  const { viewer, ticket } = session;
  const guest = viewer?.kind === 'ticket';
  const over = OVER.includes(reason);
  session.bearer = null;
  kept.drop(HELD);
  if (guest && ticket && !over && Date.now() - session.renewed > RENEW_AFTER) {
    renew();
    return;
  }
  session.viewer = null;
  const why = guest ? word(over ? 'linkEnded' : 'openAgain') : word('sessionEnded');
  showLogin(viewer ? why : '', guest ? 'none' : 'login-form');
}

/** Opens another session by the ticket, once the node answers. */
async function renew() {
  const held = session.ticket;
  session.renewed = Date.now();
  clearInterval(session.timer);
  endLive();
  // Until somebody logs out meanwhile.
  for (let pause = 1000; session.ticket === held; pause = Math.min(pause * 2, 10000)) {
    state('bad', word('reconnecting'));
    try {
      opened(await call('POST', 'dashboard/session', bodyOf(held)));
      return;
    } catch (error) {
      if (![0, 502, 503, 504].includes(error.status)) {
        refusedTicket(error);
        return;
      }
    }
    await new Promise((resolve) => { setTimeout(resolve, pause); });
  }
}

async function login(body, fault) {
  try {
    opened(await call('POST', 'dashboard/session', body));
  } catch (error) {
    fault(error);
  }
}

const bodyOf = (held) => ({ ticket: held.ticket, account: held.account, page: embedder() });

/** Why a ticket opens nothing; one for named accounts asks for a proof. */
function refusedTicket(error) {
  session.viewer = null;
  showLogin(error.message, error.reason === 'ticket_account' ? 'account-form' : 'none');
}

function openTicket(held) {
  session.ticket = held;
  return login(bodyOf(held), refusedTicket);
}

async function beginSession() {
  const held = takeTicket();
  session.bearer = kept.get(HELD);
  if (session.bearer) {
    try {
      const said = await call('GET', 'dashboard/session');
      const isFor = held ? said.viewer.ticket === idOf(held.ticket) : !framed || said.viewer.kind === 'ticket';
      if (isFor) {
        session.ticket = held;
        opened(said);
        return;
      }
    } catch { /* it has ended, or this node is away: the way in tells */ }
    session.bearer = null;
    kept.drop(HELD);
  }
  if (held) await openTicket(held);
  else if (!framed && location.protocol === 'https:') await login({ certificate: true }, () => showLogin());
  else showLogin();
}

function beginLogin() {
  at('login-form').addEventListener('submit', (event) => {
    event.preventDefault();
    const token = at('token').value;
    at('token').value = '';
    write(at('login-fault'), '');
    // What the node says of a token is known, so it is said in the language of the page.
    login({ token }, (error) => showLogin(WORDS[language][`fault.${error.code}`] ?? error.message));
  });
  at('account-form').addEventListener('submit', (event) => {
    event.preventDefault();
    const account = at('account').value.trim();
    at('account').value = '';
    write(at('login-fault'), '');
    if (session.ticket) openTicket({ ticket: session.ticket.ticket, account });
  });
  at('logout').addEventListener('click', async () => {
    try { await call('DELETE', 'dashboard/session'); } catch { /* it ends by itself */ }
    session.viewer = null;
    session.ticket = null;
    ended();
  });
  changed.push(showScope);
}
