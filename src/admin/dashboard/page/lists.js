// What is asked for now and then: refused requests, events that were set aside, events of a logstore.

const lists = { refusals: null, refusalsAt: 0, records: null, events: null };

const place = (select) => {
  const [project, logstore] = at(select).value.split('/');
  return `project=${encodeURIComponent(project ?? '')}&logstore=${encodeURIComponent(logstore ?? '')}`;
};

/** Runs what a button starts: no second time before it has ended, and its fault told. */
async function pressed(button, fault, work) {
  at(button).disabled = true;
  try {
    await work();
    write(at(fault), '');
  } catch (error) {
    write(at(fault), error.message);
  } finally {
    at(button).disabled = false;
  }
}

const nothing = (text) => el('li', { className: 'soft' }, text);
const pairs = (list) => el('dl', { className: 'pairs' }, ...list.filter(([, value]) => value !== undefined && value !== null && value !== '').flatMap(([name, value]) => [el('dt', {}, name), el('dd', {}, value)]));

// === refused requests ===

async function readRefusals() {
  lists.refusalsAt = Date.now();
  lists.refusals = (await call('GET', 'dashboard/refusals?limit=50')).refusals;
  drawRefusals();
}

/** Asks again when some were refused since, every few seconds at most. */
function noticeRefusals(look) {
  const refused = look.now[1] > 0 || look.hidden;
  if (refused && !document.hidden && Date.now() - lists.refusalsAt > 4000) readRefusals().catch(() => {});
}

/** Rows that are open stay open, and rows that stay are kept, so that the focus is not lost. */
function keep(list, items, make) {
  const known = new Map([...list.children].map((row) => [row.dataset.key, row]));
  const wanted = items.map(({ key, value }) => {
    const row = known.get(key) ?? make(value);
    row.dataset.key = key;
    return row;
  });
  const before = [...list.children];
  if (before.length !== wanted.length || before.some((row, index) => row !== wanted[index])) list.replaceChildren(...wanted);
}

function drawRefusals(anew = false) {
  if (!lists.refusals) return;
  const list = at('refusal-rows');
  if (anew) list.replaceChildren();
  if (!lists.refusals.length) { list.replaceChildren(nothing(word('noRefusals'))); return; }
  keep(list, lists.refusals.map((value, index) => ({ key: `${value.id ?? index}/${value.time}`, value })), (it) => {
    const [what, fix] = meaning(it.reason);
    const facts = [
      [word('explanation'), sentence(what, fix)],
      [word('logstore'), it.logstore?.join('/')], [word('stageOf'), named('stage', it.stage)], [word('limit'), it.limit],
      [word('client'), it.client], [word('credential'), it.credential && [named('kind', it.credential.kind), it.credential.name ?? it.credential.key].filter(Boolean).join(' ')],
      [word('origin'), it.origin], [word('request'), it.path && `${it.method} ${it.path}`], [word('requestId'), it.id],
    ];
    const line = el('summary', {}, el('span', { className: 'line' },
      timeOf(it.time / 1000), el('span', { className: 'pill bad' }, String(it.status)), el('strong', {}, it.reason),
      el('span', { className: 'brief' }, what)));
    return el('li', {}, el('details', {}, line, pairs(facts)));
  });
}

// === events that were set aside ===

async function readAside() {
  if (!at('quarantine-which').value) return;
  lists.records = (await call('GET', `dashboard/quarantine?${place('quarantine-which')}&limit=50`)).records;
  drawAside();
}

function drawAside() {
  if (!lists.records) return;
  if (!lists.records.length) { at('quarantine-rows').replaceChildren(nothing(word('noRecords'))); return; }
  at('quarantine-rows').replaceChildren(...lists.records.map((it) => {
    const wrong = (it.violations ?? []).map((one) => [one.pointer, one.keyword, one.message].filter(Boolean).join(': ')).join('\n');
    const line = el('summary', {}, el('span', { className: 'line' },
      timeOf(it.received), el('span', { className: 'pill warn' }, named('cause', it.cause)), el('strong', {}, it.check ?? ''),
      el('span', { className: 'brief' }, wrong.split('\n')[0])));
    const facts = [[word('whatIsWrong'), wrong], ['id', it.id], [word('client'), it.client], ['__topic__', it.topic], ['__source__', it.source],
      [word('event'), JSON.stringify(it.event, null, 2)]];
    return el('li', {}, el('details', {}, line, pairs(facts)));
  }));
}

// === events of a logstore ===

async function readEvents() {
  if (!at('events-which').value) return;
  try {
    lists.events = await call('GET', `dashboard/events?${place('events-which')}&limit=100`);
  } catch (error) {
    if (error.code !== 'Unreadable') throw error;
    lists.events = { unreadable: true };
  }
  drawEvents();
  if (!lists.events.unreadable) say(word('eventsRead', { count: lists.events.events.length }));
}

function drawEvents() {
  if (!lists.events) return;
  if (lists.events.unreadable) { at('event-rows').replaceChildren(nothing(word('unreadable'))); return; }
  const { events, partial } = lists.events;
  const part = at('events-filter').value.toLowerCase();
  const texts = (it) => [it.topic, it.source, ...it.fields.flat(), ...it.tags.flat()];
  const found = events.filter((it) => !part || texts(it).some((text) => text.toLowerCase().includes(part)));
  const list = found.map((it) => {
    const brief = it.fields.slice(0, 6).map(([name, value]) => `${name}=${value.slice(0, 80)}`).join('  ');
    const line = el('summary', {}, el('span', { className: 'line' }, timeOf(it.time), it.topic ? el('strong', {}, it.topic) : null, el('span', { className: 'brief' }, brief)));
    const facts = [...it.fields, ['__topic__', it.topic], ['__source__', it.source], ...it.tags.map(([name, value]) => [`__tag__:${name}`, value])];
    return el('li', {}, el('details', {}, line, pairs(facts), it.cut ? el('p', { className: 'soft' }, word('cut')) : null));
  });
  if (!list.length) list.push(nothing(events.length ? word('noMatch') : word('noEvents')));
  if (partial) list.unshift(nothing(word('partial')));
  at('event-rows').replaceChildren(...list);
}

/** A ticket that shows no numbers has no look to take the logstores from. */
async function beginLists() {
  lists.refusals = null;
  lists.records = null;
  lists.events = null;
  for (const id of ['refusal-rows', 'quarantine-rows', 'event-rows']) at(id).replaceChildren();
  for (const id of ['which', 'quarantine-which', 'events-which']) at(id).replaceChildren();
  const names = session.viewer.logstores.map(([project, logstore]) => ({ project, logstore }));
  offerLogstores({ logstores: names });
  pressed('refusals-again', 'refusals-fault', readRefusals);
  pressed('quarantine-again', 'quarantine-fault', readAside);
  pressed('events-again', 'events-fault', readEvents);
}

function beginButtons() {
  at('refusals-again').addEventListener('click', () => pressed('refusals-again', 'refusals-fault', readRefusals));
  at('quarantine-again').addEventListener('click', () => pressed('quarantine-again', 'quarantine-fault', readAside));
  at('events-again').addEventListener('click', () => pressed('events-again', 'events-fault', readEvents));
  at('quarantine-which').addEventListener('change', () => pressed('quarantine-again', 'quarantine-fault', readAside));
  at('events-which').addEventListener('change', () => pressed('events-again', 'events-fault', readEvents));
  at('events-filter').addEventListener('input', drawEvents);
  changed.push(() => { drawRefusals(true); drawAside(); drawEvents(); });
}
