// Charts of the last minutes. What they show stands in tables beside them as well.

const SHOWN_SECONDS = 300;
const LEAST_SECONDS = 60;
const points = new Map(); // by logstore ('' is all of them): times and series

function remember(key, time, values) {
  if (!points.has(key)) points.set(key, { times: [], series: values.map(() => []) });
  const { times, series } = points.get(key);
  times.push(time);
  values.forEach((value, index) => series[index].push(value));
  while (times.length && times[0] < time - SHOWN_SECONDS) {
    times.shift();
    series.forEach((one) => one.shift());
  }
}

class Chart {
  constructor(id, label, lines) {
    this.box = at(id);
    this.label = label;
    this.lines = lines; // where the series stands among the points, its word, its colour
    this.key = '';
    new ResizeObserver(() => this.resize()).observe(this.box);
  }

  /** Makes it anew: colours and words are fixed when it is made. */
  make() {
    this.plot?.destroy();
    this.plot = null;
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const axis = { stroke: colour('--soft'), grid: { stroke: colour('--grid'), width: 1 }, ticks: { stroke: colour('--grid'), width: 1 } };
    this.box.setAttribute('aria-label', this.label());
    const clock = new Intl.DateTimeFormat(locale(), { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' });
    const told = (plot, value) => (value === null || value === undefined ? '–' : rate(value));
    this.plot = new uPlot({
      ...this.size(),
      legend: { live: true },
      cursor: { points: { size: 6 } },
      padding: [12, 32, 0, 0],
      scales: { x: { range: (plot, first, last) => [Math.min(first, last - LEAST_SECONDS), last] }, y: { range: (plot, least, most) => [0, Math.max(1, (most ?? 0) * 1.1)] } },
      series: [
        { label: word('time'), value: (plot, value) => (value === null ? '–' : clock.format(value * 1000)) },
        ...this.lines.map(({ name, ink, dash }) => ({ label: word(name), stroke: colour(ink), width: 2, dash, value: told, points: { show: false } })),
      ],
      axes: [
        { ...axis, space: 70, values: (plot, values) => values.map((value) => clock.format(value * 1000)) },
        { ...axis, size: 56, values: (plot, values) => values.map((value) => rate(value)) },
      ],
    }, this.data(), this.box);
  }

  size() {
    return { width: Math.max(this.box.clientWidth, 120), height: 180 };
  }

  data() {
    const { times, series } = points.get(this.key) ?? { times: [], series: [] };
    const known = this.lines.map(({ from }) => series[from] ?? []);
    return [times.slice(), ...known.map((one) => one.slice())];
  }

  resize() {
    if (this.plot && this.box.clientWidth) this.plot.setSize(this.size());
  }

  draw(key) {
    this.key = key;
    if (!this.box.clientWidth) return;
    if (!this.plot) this.make();
    else this.plot.setData(this.data());
  }
}

const charts = [
  new Chart('chart-requests', () => word('chartRequestsLabel'), [
    { from: 0, name: 'accepted', ink: '--series1' },
    { from: 1, name: 'refused', ink: '--series2', dash: [8, 4] },
  ]),
  new Chart('chart-events', () => word('chartEventsLabel'), [
    { from: 2, name: 'eventsIn', ink: '--series1' },
    { from: 3, name: 'delivered', ink: '--series3', dash: [8, 4] },
    { from: 4, name: 'setAside', ink: '--series2', dash: [2, 3] },
  ]),
];

function beginCharts() {
  changed.push(() => charts.forEach((chart) => { if (chart.plot) chart.make(); }));
}
