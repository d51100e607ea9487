// Words, theme, numbers and elements. Nothing here builds HTML from text.

const WORDS = JSON.parse(document.getElementById('words').textContent);
const REASONS = JSON.parse(document.getElementById('reasons').textContent);
const query = new URLSearchParams(location.search);

/** An element by its id. */
const at = (id) => document.getElementById(id);

/** What is kept for this tab; in some frames a browser keeps nothing. */
const kept = {
  get(key) { try { return sessionStorage.getItem(key); } catch { return null; } },
  set(key, value) { try { sessionStorage.setItem(key, value); } catch { /* then a reload forgets it */ } },
  drop(key) { try { sessionStorage.removeItem(key); } catch { /* nothing was kept */ } },
};

/** What is liked on this device. */
const liked = {
  get(key) { try { return localStorage.getItem(key); } catch { return null; } },
  set(key, value) { try { localStorage.setItem(key, value); } catch { /* then it is forgotten */ } },
};

let language = 'en';

/** A word of the page in the language of the viewer, with its holes filled. */
function word(key, holes = {}) {
  const text = WORDS[language][key] ?? WORDS.en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in holes ? String(holes[name]) : whole));
}

/** The word for one of a closed list of names, or the name. */
const named = (family, name) => WORDS[language][`${family}.${name}`] ?? name;

/** What a reason means, and how it is mended. */
const meaning = (reason) => (REASONS[language] ?? {})[reason] ?? REASONS.en[reason] ?? [reason, ''];

/** Makes an element: its tag, its attributes or properties, and what is in it (text, elements). */
function el(tag, has = {}, ...inside) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(has)) {
    if (value === undefined || value === null || value === false) continue;
    if (name in made && name !== 'list' && name !== 'form') made[name] = value;
    else made.setAttribute(name, value === true ? '' : value);
  }
  made.append(...inside.filter((it) => it !== null && it !== undefined));
  return made;
}

/** Writes a text where it has changed, so that nothing is laid out, or read out, for nothing. */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Says something to screen readers, once. Numbers are never said. */
function say(text) { at('said').textContent = text; }

/** Shows these rows: each has a key and its cells. Rows that stay are kept, and so is what is selected. */
function rows(body, items) {
  const known = new Map([...body.children].map((row) => [row.dataset.key, row]));
  items.forEach(({ key, cells }, index) => {
    let row = known.get(key);
    if (!row) {
      row = el('tr');
      row.dataset.key = key;
      row.append(...cells.map((cell, column) => el(column === 0 ? 'th' : 'td', column === 0 ? { scope: 'row' } : {})));
    }
    known.delete(key);
    if (body.children[index] !== row) body.insertBefore(row, body.children[index] ?? null);
    cells.forEach((cell, column) => fill(row.children[column], cell));
  });
  known.forEach((row) => row.remove());
}

/** Fills a cell: text, a number, a pill ({pill, kind}) or a meter ({meter, most, label}). */
function fill(cell, what) {
  if (what === null || what === undefined) { write(cell, ''); return; }
  if (typeof what === 'string') { write(cell, what); return; }
  if ('number' in what) {
    cell.className = what.admin ? 'number only-admin' : 'number';
    write(cell, what.number);
  } else if ('pill' in what) {
    if (!cell.firstElementChild) cell.append(el('span'));
    cell.firstElementChild.className = `pill ${what.kind}`;
    write(cell.firstElementChild, what.pill);
  } else if ('meter' in what) {
    if (!cell.firstElementChild) cell.append(el('meter', { min: 0 }), ' ', el('span', { className: 'soft' }));
    const [meter, said] = cell.children;
    meter.max = Math.max(what.most, 1);
    meter.value = what.meter;
    meter.setAttribute('aria-label', what.label);
    write(said, what.said);
  }
}

/** How the viewer writes numbers and times, in the language of the page. */
const locale = () => navigator.languages.find((it) => it.toLowerCase().startsWith(language)) ?? language;

const whole = (value) => new Intl.NumberFormat(locale()).format(Math.round(value));
const rate = (value) => new Intl.NumberFormat(locale(), { maximumFractionDigits: value < 10 ? 2 : value < 100 ? 1 : 0 }).format(value);
const number = (text, admin = false) => ({ number: text, admin });

function bytes(value) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  for (; value >= 1024 && unit < units.length - 1; unit += 1) value /= 1024;
  return `${new Intl.NumberFormat(locale(), { maximumFractionDigits: value < 10 && unit ? 1 : 0 }).format(value)} ${units[unit]}`;
}

/** A stretch of time from microseconds. */
function stretch(micros) {
  if (micros < 1000) return `${whole(micros)} µs`;
  if (micros < 1e6) return `${rate(micros / 1000)} ms`;
  return `${rate(micros / 1e6)} s`;
}

/** A time from unix seconds, in the zone of the viewer. */
const moment = (seconds) => new Intl.DateTimeFormat(locale(), { dateStyle: 'medium', timeStyle: 'medium' }).format(new Date(seconds * 1000));
/** The day of a time from unix seconds. */
const day = (seconds) => new Intl.DateTimeFormat(locale(), { dateStyle: 'medium' }).format(new Date(seconds * 1000));
const timeOf = (seconds) => el('time', { dateTime: new Date(seconds * 1000).toISOString() }, moment(seconds));

// === language and theme ===

const changed = []; // what is drawn anew when either changes

function translate() {
  document.documentElement.lang = language === 'zh' ? 'zh-CN' : 'en';
  for (const element of document.querySelectorAll('[data-word]')) element.textContent = word(element.dataset.word);
  for (const element of document.querySelectorAll('[data-label]')) element.setAttribute('aria-label', word(element.dataset.label));
  const other = at('language');
  other.textContent = language === 'zh' ? 'English' : '中文';
  other.lang = language === 'zh' ? 'en' : 'zh-CN';
}

function setLanguage(to) {
  language = to === 'zh' ? 'zh' : 'en';
  translate();
  nameTheme();
  changed.forEach((draw) => draw());
}

const prefersDark = matchMedia('(prefers-color-scheme: dark)');
let theme = null; // null: as the system says

const isDark = () => (theme ? theme === 'dark' : prefersDark.matches);

function nameTheme() {
  at('theme').textContent = isDark() ? word('lightTheme') : word('darkTheme');
}

function setTheme(to) {
  theme = to;
  document.documentElement.dataset.theme = isDark() ? 'dark' : 'light';
  nameTheme();
  changed.forEach((draw) => draw());
}

function beginLooks() {
  const asked = query.get('lang') ?? liked.get('tollgate.language') ?? navigator.language ?? 'en';
  const wanted = query.get('theme') ?? liked.get('tollgate.theme');
  language = asked.toLowerCase().startsWith('zh') ? 'zh' : 'en';
  setTheme(wanted === 'dark' || wanted === 'light' ? wanted : null);
  translate();
  prefersDark.addEventListener('change', () => setTheme(theme));
  at('language').addEventListener('click', () => {
    setLanguage(language === 'zh' ? 'en' : 'zh');
    liked.set('tollgate.language', language);
  });
  at('theme').addEventListener('click', () => {
    setTheme(isDark() ? 'light' : 'dark');
    liked.set('tollgate.theme', theme);
  });
  document.body.classList.toggle('bare', query.get('hideTopbar') === 'true');
}
