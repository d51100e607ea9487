// Share links: made, listed, extended and ended. Only for the bearer of the admin token; the node sees to that.

const shares = { tickets: null, more: false };

/** The words of a list in a field, by commas or white space. */
const listed = (id) => at(id).value.split(/[\s,，]+/).filter(Boolean);

function beginShare() {
  const projects = [...new Set(session.viewer.logstores.map(([project]) => project))];
  at('share-project').replaceChildren(...projects.map((name) => el('option', { value: name }, name)));
  offerShared();
  pressed('links-again', 'links-fault', readLinks);
}

function offerShared() {
  const project = at('share-project').value;
  // Copies (web@archive) are of the project whole.
  const names = session.viewer.logstores.filter(([it, logstore]) => it === project && !logstore.includes('@')).map(([, logstore]) => logstore);
  at('share-logstores').replaceChildren(...names.map((name) => el('label', {}, el('input', { type: 'checkbox', value: name, checked: true }), name)));
}

function openDialog() {
  at('share-fault').textContent = '';
  at('share-made').hidden = true;
  at('share-fields').hidden = false;
  at('share-make').hidden = false;
  for (const id of ['share-link', 'share-frame']) at(id).value = '';
  at('share-dialog').showModal();
}

function closeDialog() {
  at('share-dialog').close();
  // The link is told once.
  for (const id of ['share-link', 'share-frame']) at(id).value = '';
}

/** The ticket that the form asks for. */
function asked() {
  const range = at('share-range').value;
  const boxes = [...at('share-logstores').querySelectorAll('input')];
  const some = boxes.filter((box) => box.checked).map((box) => box.value);
  if (boxes.length && !some.length) throw new Error(word('chooseLogstore'));
  const view = { project: at('share-project').value, dashboard: 'overview', hidden: listed('share-hidden') };
  if (some.length < boxes.length) view.logstores = some;
  const seconds = (id) => (at(id).value ? Math.floor(new Date(at(id).value).getTime() / 1000) : undefined);
  if (range === 'fixed') {
    view.from = seconds('share-from');
    view.to = seconds('share-to');
  } else if (range) {
    view.lastSeconds = Number(range);
  }
  view.filters = at('share-filters').value.split('\n').map((line) => line.trim()).filter(Boolean).map((line) => {
    const sign = line.indexOf('=');
    if (sign < 1) throw new Error(word('filterForm', { line }));
    return { field: line.slice(0, sign), value: line.slice(sign + 1) };
  });
  const uses = at('share-uses').value;
  return {
    grant: { view }, ttlSeconds: Number(at('share-ttl').value), maxUses: uses ? Number(uses) : undefined,
    addresses: listed('share-addresses'), accounts: listed('share-accounts'),
    origins: listed('share-origins').map((it) => it.toLowerCase().replace(/\/$/, '')), note: at('share-note').value,
  };
}

/** The link of a ticket: the ticket itself stands behind the #, which browsers send to nobody. */
function linkOf(made, more = {}) {
  const members = new URLSearchParams({ embed: made.ticket.id, ...more });
  return `${location.origin}/?${members}#ticket=${made.token}`;
}

async function make() {
  const made = await call('POST', 'dashboard/tickets', asked());
  at('share-link').value = linkOf(made);
  at('share-frame').value = `<iframe src="${linkOf(made, { hideTopbar: 'true' }).replaceAll('&', '&amp;')}" width="100%" height="800" title="Tollgate"></iframe>`;
  at('share-fields').hidden = true;
  at('share-make').hidden = true;
  at('share-made').hidden = false;
  at('share-link').focus();
  at('share-link').select();
  await readLinks();
}

async function copy(from) {
  const field = at(from);
  try {
    await navigator.clipboard.writeText(field.value);
  } catch { // without https a browser may not give it
    field.focus();
    field.select();
    document.execCommand('copy');
  }
  say(word('copied'));
}

async function readLinks() {
  const { tickets, more } = await call('GET', 'dashboard/tickets');
  Object.assign(shares, { tickets, more });
  drawLinks();
}

function stateOf(it) {
  const now = Date.now() / 1000;
  if (it.revoked) return ['bad', 'revoked'];
  if (now >= it.expires) return ['plain', 'expired'];
  if (it.maxUses !== undefined && it.uses >= it.maxUses) return ['plain', 'used'];
  if (it.notBefore !== undefined && now < it.notBefore) return ['warn', 'early'];
  return ['good', 'good'];
}

function drawLinks() {
  if (!shares.tickets) return;
  at('no-links').hidden = shares.tickets.length > 0;
  at('more-links').hidden = !shares.more;
  at('link-rows').replaceChildren(...shares.tickets.map((it) => {
    const { view } = it.grant;
    const [kind, name] = stateOf(it);
    const facts = [
      [word('shows'), [view.project, (view.logstores ?? []).join(', ') || word('all')].join(': ')],
      [word('range'), [view.lastSeconds && word('onlyLast', { time: lasting(view.lastSeconds) }), view.from && word('onlyFrom', { time: moment(view.from) }), view.to && word('onlyUntil', { time: moment(view.to) })].filter(Boolean).join(' ') || word('rangeAll')],
      [word('ends'), moment(it.expires)], [word('uses'), it.maxUses === undefined ? whole(it.uses) : `${whole(it.uses)} / ${whole(it.maxUses)}`],
      [word('where'), (view.filters ?? []).map((one) => `${one.field}=${one.value}`).join(', ')], [word('hiddenFields'), (view.hidden ?? []).join(', ')],
      [word('addresses'), (it.addresses ?? []).join(', ')], [word('accounts'), (it.accounts ?? []).join(', ')], [word('origins'), (it.origins ?? []).join(', ')],
    ];
    const line = el('div', { className: 'line' }, el('span', { className: `pill ${kind}` }, named('ticket', name)), el('strong', {}, it.note || view.project), el('code', { className: 'soft' }, it.id));
    const can = kind === 'good' || kind === 'warn';
    const until = Math.min(Math.floor(Date.now() / 1000) + 86400, it.maxUntil);
    const longer = can && until > it.expires ? el('button', { type: 'button', ariaLabel: word('extendOf', { id: it.id }) }, word('extendDay')) : null;
    longer?.addEventListener('click', () => change('POST', `${it.id}/extend`, { until }));
    const end = can ? el('button', { type: 'button', className: 'danger', ariaLabel: word('revokeOf', { id: it.id }) }, word('revoke')) : null;
    end?.addEventListener('click', () => { if (confirm(word('sureToRevoke'))) change('DELETE', it.id); });
    return el('li', {}, line, pairs(facts), el('div', { className: 'actions' }, longer, end));
  }));
}

const change = (method, path, body) => pressed('links-again', 'links-fault', async () => {
  await call(method, `dashboard/tickets/${path}`, body);
  await readLinks();
  say(word('done'));
});

function beginDialog() {
  at('share').addEventListener('click', openDialog);
  at('share-close').addEventListener('click', closeDialog);
  at('share-dialog').addEventListener('cancel', closeDialog);
  at('share-project').addEventListener('change', offerShared);
  at('share-range').addEventListener('change', () => { at('share-fixed').hidden = at('share-range').value !== 'fixed'; });
  at('share-form').addEventListener('submit', (event) => {
    event.preventDefault();
    pressed('share-make', 'share-fault', make);
  });
  at('copy-link').addEventListener('click', () => copy('share-link'));
  at('copy-frame').addEventListener('click', () => copy('share-frame'));
  at('links-again').addEventListener('click', () => pressed('links-again', 'links-fault', readLinks));
  changed.push(drawLinks);
}

// === the beginning ===

beginLooks();
beginCharts();
beginLogin();
beginDrawing();
beginButtons();
beginDialog();
beginSession();
