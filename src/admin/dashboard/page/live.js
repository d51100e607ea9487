// Live numbers: one look each second, by a stream that carries the session in a header.

const live = { stop: null, look: null, pause: 1000, breakers: new Map() };

function state(kind, text) {
  const pill = at('link');
  if (pill.textContent !== text) say(text);
  pill.className = `pill ${kind}`;
  write(pill, text);
}

function beginLive() {
  endLive();
  const stop = new AbortController();
  live.stop = stop;
  follow(stop);
}

function endLive() {
  live.stop?.abort();
  live.stop = null;
  live.look = null;
  points.clear();
  state('', '');
}

/** Reads the stream, and opens it again when it breaks. */
async function follow(stop) {
  while (!stop.signal.aborted) {
    try {
      await read(stop);
    } catch (error) {
      if (stop.signal.aborted) return;
      state(error.full ? 'warn' : 'bad', error.full ? word('tooManyPages') : word('reconnecting'));
    }
    if (stop.signal.aborted) return;
    await new Promise((resolve) => { setTimeout(resolve, live.pause); });
    live.pause = Math.min(live.pause * 2, 10000);
  }
}

/** A look comes each second. Without one for so long the connection is given up: nobody else may tell. */
const SILENCE = 5000;

async function read(stop) {
  const attempt = new AbortController();
  const abort = () => attempt.abort();
  stop.signal.addEventListener('abort', abort);
  let silence = setTimeout(abort, SILENCE);
  const heard = () => {
    clearTimeout(silence);
    silence = setTimeout(abort, SILENCE);
  };
  try {
    await readLooks(attempt.signal, heard);
  } finally {
    clearTimeout(silence);
    stop.signal.removeEventListener('abort', abort);
    abort();
  }
}

async function readLooks(signal, heard) {
  const { bearer } = session;
  const over = (reason) => { if (bearer === session.bearer) ended(reason); };
  const answer = await fetch('/api/v1/live', { headers: { authorization: `Bearer ${bearer}` }, signal, cache: 'no-store', credentials: 'same-origin' });
  if (isRefused(answer.status)) {
    over((await answer.json().catch(() => ({}))).reason);
    return;
  }
  if (!answer.ok) throw Object.assign(new Error(), { full: answer.status === 503 });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new Error();
    held += value;
    let end = held.indexOf('\n\n');
    for (; end >= 0; end = held.indexOf('\n\n')) {
      const message = held.slice(0, end);
      held = held.slice(end + 2);
      const data = message.slice(message.indexOf('data: ') + 6);
      heard();
      if (message.startsWith('event: look')) {
        live.pause = 1000;
        state('good', word('connected'));
        take(JSON.parse(data));
        continue;
      }
      const { why } = JSON.parse(data);
      if (why !== 'stopping') {
        over(why);
        return;
      }
    }
  }
}

const sum = (rates, prefix) => Object.entries(rates ?? {}).reduce((all, [name, value]) => (name === prefix || name.startsWith(`${prefix}.`) ? all + value : all), 0);
const nameOf = (one) => `${one.project}/${one.logstore}`;
const chosen = () => at('which').value;

/** Takes a look: remembers what the charts show, and draws. */
function take(look) {
  live.look = look;
  const seconds = look.time / 1000;
  const all = [0, 0, 0, 0, 0];
  let known = false;
  for (const one of look.logstores) {
    if (!one.rates) continue;
    known = true;
    const values = [
      (one.rates.requests ?? 0) + (one.rates.relayed ?? 0), sum(one.rates, 'refused'), one.rates.events ?? 0,
      one.rates.delivered ?? 0, sum(one.rates, 'quarantined'),
    ];
    one.now = values;
    values.forEach((value, index) => { all[index] += value; });
    remember(nameOf(one), seconds, values);
  }
  all[1] += sum(look.unroutedRates, 'refused');
  look.now = all;
  if (known) remember('', seconds, all);
  offerLogstores(look);
  draw();
  noticeRefusals(look);
}

/** The logstores to choose from; what was chosen stays chosen. */
function offerLogstores(look) {
  const names = look.logstores.map(nameOf);
  for (const [id, first] of [['which', word('all')], ['quarantine-which', null], ['events-which', null]]) {
    const select = at(id);
    const wanted = (first === null ? names : ['', ...names]).join('\n');
    if (select.dataset.names === wanted || (look.hidden && select.options.length)) continue;
    const before = select.value;
    select.dataset.names = wanted;
    select.replaceChildren(...(first === null ? [] : [el('option', { value: '' }, first)]), ...names.map((name) => el('option', { value: name }, name)));
    if (names.includes(before)) select.value = before;
  }
}

function draw() {
  const { look } = live;
  if (!look || document.hidden) return;
  const hidden = at('hidden-numbers');
  hidden.hidden = !look.hidden;
  if (look.hidden) write(hidden, named('hidden', look.hidden));
  const one = chosen();
  const shown = look.logstores.filter((it) => !one || nameOf(it) === one);
  drawTiles(look, shown, one);
  charts.forEach((chart) => chart.draw(one));
  drawOutcomes(look, shown, one);
  drawLogstores(look);
  drawSpool(look);
  if (session.viewer?.kind !== 'admin') return;
  drawLatency(look);
  drawLimits(look);
  drawUpstreams(look);
  drawNode(look);
}

const total = (shown, of) => shown.reduce((all, one) => all + (of(one) ?? 0), 0);

function drawTiles(look, shown, one) {
  const values = one ? (shown[0]?.now ?? [0, 0, 0, 0, 0]) : look.now;
  const tiles = [
    ['tileAccepted', rate(values[0])], ['tileRefused', rate(values[1])], ['tileEvents', rate(values[2])],
    ['tileBytes', bytes(total(shown, (it) => it.rates?.bytes))],
    ['tileHeld', whole(total(shown, (it) => it.gauges.held))], ['tileDisk', whole(total(shown, (it) => it.gauges.spoolEvents))],
  ];
  if (look.process) {
    const { memoryUsed, memoryLimit, connections } = look.process;
    tiles.push(['tileMemory', `${rate(memoryLimit ? (100 * memoryUsed) / memoryLimit : 0)} %`], ['tileConnections', whole(connections)]);
  }
  const list = at('tiles');
  while (list.children.length > tiles.length) list.lastChild.remove();
  tiles.forEach(([name, value], index) => {
    if (!list.children[index]) list.append(el('div', {}, el('dt'), el('dd')));
    const [term, said] = list.children[index].children;
    write(term, WORDS[language][name]);
    write(said, value);
  });
}

/** What became of what came in, by reason: now and since the start. */
function drawOutcomes(look, shown, one) {
  const found = new Map();
  const add = (rates, counts) => {
    for (const [from, place] of [[rates, 'rate'], [counts, 'count']]) {
      for (const [name, value] of Object.entries(from ?? {})) {
        const [family, reason] = name.split('.');
        if (!['requests', 'relayed', 'refused', 'observed', 'quarantined', 'dropped', 'duplicate', 'sampled', 'repaired'].includes(family)) continue;
        const entry = found.get(name) ?? { family, reason, rate: 0, count: 0 };
        entry[place] += value;
        found.set(name, entry);
      }
    }
  };
  shown.forEach((it) => add(it.rates, it.counts));
  if (!one) add(look.unroutedRates, look.unrouted);
  const order = [...found.entries()].sort(([, a], [, b]) => b.rate - a.rate || b.count - a.count);
  rows(at('outcomes'), order.slice(0, 30).map(([key, { family, reason, rate: now, count }]) => {
    const about = family === 'refused' || family === 'observed' ? `${reason}: ${meaning(reason)[0]}` : reason && named('cause', reason);
    return { key, cells: [about ? `${named('outcome', family)} – ${about}` : named('outcome', family), number(rate(now)), number(whole(count), true)] };
  }));
}

function drawLatency(look) {
  const items = look.latency.map((it) => ({ key: it.stage, cells: [named('stage', it.stage), number(stretch(it.p50)), number(stretch(it.p90)), number(stretch(it.p99))] }));
  const slow = look.logstores.filter((it) => it.gauges.delay);
  items.push({ key: ' lag', cells: [word('lag'), number(stretch(look.process.lagMicros)), number('–'), number('–')] });
  slow.forEach((it) => items.push({ key: ` ${nameOf(it)}`, cells: [word('delayOf', { logstore: nameOf(it) }), number(stretch(it.gauges.delay * 1000)), number('–'), number('–')] }));
  rows(at('latency'), items);
}

function drawLogstores(look) {
  rows(at('logstore-rows'), look.logstores.map((it) => {
    const { gauges } = it;
    const now = it.now ?? [0, 0, 0, 0, 0];
    const share = { meter: gauges.leasedBytes ?? 0, most: gauges.allowedBytes ?? 1, label: word('memoryOf', { logstore: nameOf(it) }), said: bytes(gauges.leasedBytes ?? 0) };
    return { key: nameOf(it), cells: [nameOf(it), ...now.slice(0, 4).map((value) => number(rate(value))), number(whole(gauges.held ?? 0)), number(whole(gauges.spoolEvents ?? 0)), number(gauges.delay ? stretch(gauges.delay * 1000) : '–'), share] };
  }));
}

const SPOOL = [['good', 'well'], ['warn', 'full'], ['bad', 'failing']];

function drawSpool(look) {
  rows(at('spool-rows'), look.logstores.map((it) => {
    const [kind, name] = SPOOL[it.gauges.spoolState ?? 0] ?? SPOOL[2];
    return { key: nameOf(it), cells: [nameOf(it), { pill: named('spool', name), kind }, number(whole(it.gauges.spoolEvents ?? 0)), number(bytes(it.gauges.spoolBytes ?? 0))] };
  }));
}

const BREAKER = { closed: 'good', half_open: 'warn', open: 'bad' };

function drawUpstreams(look) {
  rows(at('upstream-rows'), look.upstreams.map((it) => {
    const before = live.breakers.get(it.name);
    if (before && before !== it.breaker) say(word('breakerNow', { upstream: it.name, state: named('breaker', it.breaker) }));
    live.breakers.set(it.name, it.breaker);
    return { key: it.name, cells: [it.name, { pill: named('breaker', it.breaker), kind: BREAKER[it.breaker] }, number(whole(it.opened)), number(whole(it.credentialsRefused))] };
  }));
}

/** What a limit allows. */
function allowed(limit) {
  const windows = limit.windows.map((it) => word('limitWindow', { count: whole(it.count), unit: named('unit', limit.unit), per: named('per', it.per) }));
  const each = limit.key.length ? word('limitEach', { key: limit.key.join(word('limitAnd')) }) : word('limitInAll');
  return `${windows.join(word('limitAnd'))} ${each}`;
}

function drawLimits(look) {
  at('no-limits').hidden = look.limits.length > 0;
  const box = at('limit-cards');
  const known = new Map([...box.children].map((card) => [card.dataset.key, card]));
  look.limits.forEach(({ limit, top, overrides }, index) => {
    let card = known.get(limit.name);
    if (!card) {
      card = el('div', { className: 'card' }, el('h3'), el('p', { className: 'soft' }), el('p'),
        el('div', { className: 'scroll', tabIndex: 0, role: 'region' }, el('table', {}, el('caption', { className: 'soft' }), el('thead', {}, el('tr')), el('tbody'))));
      card.dataset.key = limit.name;
    }
    known.delete(limit.name);
    if (box.children[index] !== card) box.insertBefore(card, box.children[index] ?? null);
    const [title, policy, counts, region] = card.children;
    const [caption, head, body] = region.firstElementChild.children;
    const places = [...(limit.projects ?? []), ...(limit.logstores ?? [])].join(', ');
    write(title, limit.name);
    write(policy, `${allowed(limit)} · ${named('mode', limit.mode)} · ${places ? word('limitFor', { places }) : word('limitForAll')}`);
    write(counts, word('limitCounts', { passed: whole(limit.counts.passed), refused: whole(limit.counts.refused), keys: whole(limit.keysInUse), most: whole(limit.keyCapacity), bans: whole(overrides.length) }));
    region.setAttribute('aria-label', word('topKeysOf', { limit: limit.name }));
    write(caption, top.length ? word('topKeys') : word('noKeys'));
    const titles = [word('key'), word('asked'), word('roomLeft')];
    if (head.dataset.words !== titles.join()) {
      head.dataset.words = titles.join();
      head.firstElementChild.replaceChildren(...titles.map((text, index) => el('th', { scope: 'col', className: index === 1 ? 'number' : '' }, text)));
    }
    head.hidden = !top.length;
    rows(body, top.map((it) => {
      const least = it.rooms.reduce((a, b) => (b.remaining / Math.max(b.most, 1) < a.remaining / Math.max(a.most, 1) ? b : a), it.rooms[0] ?? { remaining: 0, most: 1 });
      const banned = it.changed?.change === 'ban';
      const said = banned ? word('banned') : `${whole(least.remaining)} / ${whole(least.most)}`;
      return { key: it.key, cells: [it.key || word('allTogether'), number(whole(it.asked ?? 0)), { meter: least.remaining, most: least.most, label: word('roomOf', { key: it.key || word('allTogether') }), said }] };
    }));
  });
  known.forEach((card) => card.remove());
}

function drawNode(look) {
  const { about } = look;
  write(at('version'), about.version);
  const ready = at('ready');
  ready.className = `pill only-admin ${about.ready ? 'good' : 'bad'}`;
  write(ready, about.ready ? word('isReady') : word('notReady'));
  write(at('generation'), word('generationNow', { number: about.generation }));
  const facts = [
    [word('version'), about.version], [word('generation'), `${about.generation} (${moment(about.configured)})`],
    [word('running'), moment(about.started)],
    [word('quarantineSize'), bytes(look.process.quarantineBytes)],
    [word('connections'), `${whole(look.process.connections)} / ${whole(look.process.connectionLimit)}`],
    [word('memory'), `${bytes(look.process.memoryUsed)} / ${bytes(look.process.memoryLimit)}`],
  ];
  const list = at('about');
  if (list.children.length !== facts.length * 2) list.replaceChildren(...facts.flatMap(() => [el('dt'), el('dd')]));
  facts.forEach(([name, value], index) => {
    write(list.children[2 * index], name);
    write(list.children[2 * index + 1], value);
  });
  at('no-certificates').hidden = look.certificates.length > 0;
  rows(at('certificate-rows'), look.certificates.map((it) => {
    const days = Math.floor((it.notAfter - look.time / 1000) / 86400);
    const kind = days < 3 ? 'bad' : days < 14 ? 'warn' : 'good';
    return { key: `${it.listener} ${it.file}`, cells: [it.listener, it.file, { pill: days < 0 ? word('expired') : word('daysLeft', { days: whole(days), time: day(it.notAfter) }), kind }] };
  }));
}

function beginDrawing() {
  at('which').addEventListener('change', draw);
  document.addEventListener('visibilitychange', draw);
  changed.push(() => {
    for (const id of ['which', 'quarantine-which', 'events-which']) delete at(id).dataset.names;
    if (live.look) { offerLogstores(live.look); draw(); }
    if (live.stop && live.look) write(at('link'), word('connected'));
  });
}
