'use strict';
/* Plots beside the 3D view, in plain SVG: a Ramachandran map, and curves over the frames with a cursor.
   geofoldPlots(host, data, last, contacts, go) draws them and returns a function that shows a frame. */
const geofoldPlots = (() => {
const BLUE = 'var(--curve)', VERMILION = '#D55E00', CRIMSON = '#C2284A', INK = 'var(--ink)', SOFT = 'var(--soft)', LINE = 'var(--line)';
const CYCLE = [BLUE, VERMILION, '#009E73', '#CC79A7', '#E69F00', '#56B4E9', INK];
const DIGIT = new Map([...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'].map((c, i) => [c, i]));
const TRAIL = 3000; /* points of the trail that are drawn at once: all frames of a loop, the last ones of a chain */

/* Base-64 VLQ differences from frame to frame, see encode in viewer_page.py. */
function decode(texts, count) {
  let counts = new Int32Array(count);
  return texts.map(text => {
    counts = counts.slice();
    let at = 0, code = 0, shift = 0;
    for (const letter of text) {
      const digit = DIGIT.get(letter);
      code += (digit & 31) * 2 ** shift; shift += 5;
      if (digit & 32) continue;
      counts[at++] += code % 2 ? -(code - 1) / 2 : code / 2;
      code = shift = 0;
    }
    return counts;
  });
}
function html(tag, parent, name, text) {
  const made = parent.appendChild(document.createElement(tag));
  if (name) made.className = name;
  if (text) made.textContent = text;
  return made;
}
/* The name of SVG's namespace looks like an address; asked for, it need not stand in a page that names no server. */
const SPACE = Object.assign(document.createElement('div'), {innerHTML: '<svg></svg>'}).firstChild.namespaceURI;
function svg(tag, parent, attributes, text) {
  const made = parent.appendChild(document.createElementNS(SPACE, tag));
  for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

/* ---- Ramachandran map: phi to the right, psi up, in degrees ---- */
const LEFT = 34, TOP = 6, SIDE = 250, KINDS = ['favoured', 'allowed', 'outlier'];
const SHAPES = [
  {d: 'M-3.4 0a3.4 3.4 0 1 0 6.8 0a3.4 3.4 0 1 0 -6.8 0z', fill: BLUE, stroke: 'var(--paper)', 'stroke-width': 0.8},
  {d: 'M-3.2 0a3.2 3.2 0 1 0 6.4 0a3.2 3.2 0 1 0 -6.4 0z', fill: 'var(--paper)', stroke: BLUE, 'stroke-width': 1.8},
  {d: 'M0 -6.2L5.6 4.2H-5.6z', fill: VERMILION, stroke: INK, 'stroke-width': 0.9},
];
const across = phi => LEFT + (phi + 180) * SIDE / 360, up = psi => TOP + (180 - psi) * SIDE / 360;
/* The map of some residues: returns where to draw a trail, and a function that places the dots. */
function board(host, data) {
  html('h2', host, '', 'Ramachandran map');
  const drawn = svg('svg', host, {id: 'rama', viewBox: '0 0 292 292', role: 'img', 'aria-label': 'Ramachandran map of the moving residues'});
  const field = svg('g', drawn, {transform: `translate(${LEFT} ${TOP}) scale(${SIDE / 360})`, fill: 'none', 'stroke-width': 2.2});
  svg('rect', field, {width: 360, height: 360, stroke: 'none', fill: 'var(--paper)'});
  ['var(--zone)', 'var(--zone2)'].forEach((colour, i) => svg('path', field, {d: data.contours[i] || '', stroke: colour}));
  for (const at of [-180, -90, 0, 90, 180]) {
    const text = String(at).replace('-', '−');
    if (at % 180) svg('path', drawn, {d: `M${across(at)} ${TOP}v${SIDE}M${LEFT} ${up(at)}h${SIDE}`, stroke: 'var(--paper)', 'stroke-width': 0.8});
    if (!at) svg('path', drawn, {d: `M${across(0)} ${TOP}v${SIDE}M${LEFT} ${up(0)}h${SIDE}`, stroke: SOFT, 'stroke-width': 0.5});
    svg('text', drawn, {x: Math.min(across(at), 281), y: TOP + SIDE + 13, 'text-anchor': 'middle'}, text);
    svg('text', drawn, {x: LEFT - 4, y: Math.max(up(at), TOP + 5) + 3.5, 'text-anchor': 'end'}, text);
  }
  svg('rect', drawn, {x: LEFT, y: TOP, width: SIDE, height: SIDE, fill: 'none', stroke: 'var(--edge)'});
  svg('text', drawn, {x: across(0), y: TOP + SIDE + 28, 'text-anchor': 'middle'}, 'φ (°)');
  svg('text', drawn, {transform: `translate(10 ${up(45)}) rotate(-90)`, 'text-anchor': 'middle'}, 'ψ (°)');
  const trail = svg('path', drawn, {id: 'trail', fill: 'none', stroke: '#E69F00', 'stroke-width': 1, 'stroke-opacity': 0.6, 'stroke-linejoin': 'round'});
  const dots = data.residues.map(name => {
    const group = svg('g', drawn), shape = svg('path', group), title = svg('title', group);
    group.dataset.residue = name;
    return {name, group, shape, title, label: svg('text', group, {x: 7, y: -4, class: 'named'})};
  });
  const legend = html('p', host, 'small counts'), counts = KINDS.map((kind, i) => {
    const icon = svg('svg', html('span', legend), {viewBox: '-8 -8 16 16', class: 'icon'});
    svg('path', icon, SHAPES[i]);
    return html('span', icon.parentNode);
  });
  html('p', host, 'small', `Contours: general class; a dot is judged by its own.${data.angles ? ' Orange: the way it came.' : ''}`);
  const place = (now, verdicts) => {
    const seen = [0, 0, 0];
    dots.forEach((dot, i) => {
      const kind = +verdicts[i], [phi, psi] = now.slice(2 * i, 2 * i + 2);
      dot.group.setAttribute('class', kind < 3 ? `dot ${KINDS[kind]}` : 'gone');
      if (kind > 2) return;
      seen[kind]++;
      for (const [name, value] of Object.entries(SHAPES[kind])) dot.shape.setAttribute(name, value);
      dot.group.setAttribute('transform', `translate(${across(phi).toFixed(1)} ${up(psi).toFixed(1)})`);
      dot.title.textContent = `${dot.name}: φ ${phi}°, ψ ${psi}°, ${KINDS[kind]}`.replaceAll('-', '−');
      dot.label.textContent = kind === 2 ? dot.name : '';
      const right = across(phi) > LEFT + SIDE - 60;
      dot.label.setAttribute('text-anchor', right ? 'end' : 'start');
      dot.label.setAttribute('x', right ? -7 : 7);
      dot.label.setAttribute('y', up(psi) < TOP + 14 ? 10 : -4);
    });
    counts.forEach((cell, i) => { cell.textContent = ` ${KINDS[i]} ${seen[i]}`; });
  };
  return {trail, place, dots};
}
function map(host, data, last) {
  const {trail, place} = board(host, data), count = data.residues.length, angles = decode(data.angles, 2 * count);
  const reach = Math.max(2, Math.floor(TRAIL / Math.max(count, 1)));
  return frame => {
    place(angles[frame], data.verdicts[frame]);
    let path = '';
    for (let i = 0; i < count; i++) {
      let from = null;
      for (let at = Math.max(0, frame - reach); at <= frame; at++) {
        const phi = angles[at][2 * i], psi = angles[at][2 * i + 1];
        if (phi > 180) { from = null; continue; }
        if (from && from[0] === phi && from[1] === psi) continue;
        const far = !from || Math.abs(phi - from[0]) > 180 || Math.abs(psi - from[1]) > 180;
        path += `${far ? 'M' : 'L'}${across(phi).toFixed(1)} ${up(psi).toFixed(1)}`;
        from = [phi, psi];
      }
    }
    trail.setAttribute('d', path);
  };
}

/* ---- Curves over the frames ---- */
/* Energies of overlapping atoms are a million times those of good ones: they go by tens. */
const tenfold = value => Math.log10(1 + value / 10);
const brief = (value, digits) => value >= 1e6 ? value.toExponential(1).replace('+', '') : value.toFixed(digits);
const WIDE = 258, X0 = 34, Y0 = 6, HIGH = 56;
function ticks(top, whole) {
  let step = 10 ** Math.floor(Math.log10(top / 2));
  step = [1, 2, 5, 10].map(k => k * step).find(k => top / k <= 4.01);
  if (whole) step = Math.max(1, Math.round(step));
  const values = [];
  for (let at = 0; at <= top * 1.001; at += step) values.push(at);
  return values;
}
function powers(top) {
  const values = [0], most = Math.floor(Math.log10(Math.max(top, 10))), apart = Math.ceil(most / 4);
  for (let k = most; k > 0; k -= apart) if (k > 1 || most < 4) values.push(10 ** k);
  return values;
}
function curve(host, last, go, {name, title, series, whole, bars, unit, tens}) {
  const head = html('h2', host, '', title);
  const drawn = svg('svg', host, {id: name, class: 'curve', viewBox: '0 0 298 80', role: 'img', 'aria-label': `${title} over the frames`});
  const every = series.flatMap(one => [...one.values.filter(v => v !== null), one.bound || 0]);
  const scale = tens ? tenfold : v => v;
  const most = Math.max(1, ...every), top = scale(most) * 1.06, x = at => X0 + at / last * WIDE, y = v => Y0 + HIGH * (1 - scale(v) / top);
  for (const at of tens ? powers(most) : ticks(top, whole)) {
    svg('path', drawn, {d: `M${X0} ${y(at).toFixed(1)}h${WIDE}`, stroke: LINE});
    svg('text', drawn, {x: X0 - 4, y: (y(at) + 3.5).toFixed(1), 'text-anchor': 'end'}, at < 1e5 ? String(+at.toPrecision(6)) : `1e${Math.round(Math.log10(at))}`);
  }
  const dates = [...new Set([0, Math.round(last / 2), last])];
  dates.forEach((at, i) => svg('text', drawn, {x: x(at), y: Y0 + HIGH + 14, 'text-anchor': i === dates.length - 1 ? 'end' : i ? 'middle' : 'start'}, `${i ? '' : 'frame '}${at + 1}`));
  for (const one of series) {
    let path = '', joined = false;
    one.values.forEach((v, at) => {
      if (v === null) svg('rect', drawn, {x: x(at - 0.5), y: Y0, width: WIDE / last, height: HIGH, fill: 'var(--none)'});
      else if (bars) path += v > 0 ? `M${x(at).toFixed(1)} ${y(0).toFixed(1)}V${y(v).toFixed(1)}` : '';
      else path += `${joined ? 'L' : 'M'}${x(at).toFixed(1)} ${y(v).toFixed(1)}`;
      joined = v !== null;
    });
    const width = bars ? Math.max(1, Math.min(4, 0.7 * WIDE / last)).toFixed(1) : 1.8;
    svg('path', drawn, {d: path, fill: 'none', stroke: one.colour, 'stroke-width': width, 'stroke-linejoin': 'round', class: 'line'});
    let bound = '';
    for (let at = 0; at <= last; at++) if (!one.wanted || one.wanted[at]) {
      const from = Math.max(x(0), x(at - 0.5)), to = Math.min(x(last), x(at + 0.5));
      bound = bound.endsWith(`H${from.toFixed(1)}`) ? bound.replace(/H[^H]*$/, `H${to.toFixed(1)}`) : `${bound}M${from.toFixed(1)} ${y(one.bound || 0).toFixed(1)}H${to.toFixed(1)}`;
    }
    if (one.bound) svg('path', drawn, {d: bound, stroke: one.colour, 'stroke-width': 1.2, 'stroke-dasharray': '5 4', class: 'bound'});
  }
  const cursor = svg('path', drawn, {d: `M0 ${Y0 - 3}v${HIGH + 6}`, stroke: INK, 'stroke-width': 1.2, class: 'cursor'});
  const marks = series.map(one => svg('circle', drawn, {r: 3.2, fill: one.colour, stroke: 'var(--paper)'}));
  const named = series.length > 1 || series[0].text ? html('p', host, 'small named') : null;
  const values = series.map(one => {
    if (!named) return html('span', head, 'value');
    const row = html('span', named);
    html('span', row, 'swatch').style.background = one.colour;
    html('span', row, '', ` ${one.text} `);
    return html('b', row);
  });
  const point = event => {
    const box = drawn.getBoundingClientRect();
    const at = ((event.clientX - box.left) * 298 / box.width - X0) / WIDE * last;
    go(Math.max(0, Math.min(last, Math.round(at))));
  };
  drawn.addEventListener('pointerdown', event => { if (event.button === 0) point(event); });
  drawn.addEventListener('pointermove', event => { if (event.buttons & 1) point(event); });
  return frame => {
    cursor.setAttribute('transform', `translate(${x(frame).toFixed(1)} 0)`);
    series.forEach((one, i) => {
      const v = one.values[frame];
      marks[i].setAttribute('visibility', v === null ? 'hidden' : 'visible');
      marks[i].setAttribute('transform', `translate(${x(frame).toFixed(1)} ${y(v || 0).toFixed(1)})`);
      const idle = one.wanted && !one.wanted[frame] ? ' (not wanted)' : '';
      values[i].textContent = v === null ? 'not counted' : (whole ? String(v) : brief(v, 1)) + (unit || '') + idle;
    });
  };
}

return Object.assign((host, data, last, contacts, go) => {
  const shows = [], plots = data || {};
  if (plots.residues && plots.residues.length) shows.push(map(host, plots, last));
  const over = options => { if (last > 0) shows.push(curve(host, last, go, options)); };
  if (contacts.length) over({
    name: 'distances', title: contacts.length > 1 ? 'Contacts (Å)' : 'Contact (Å)', unit: ' Å',
    series: contacts.map((one, i) => ({...one, colour: CYCLE[i % CYCLE.length]})),
  });
  if (plots.overlaps) over({name: 'overlaps', title: 'Severe overlaps', whole: true, series: [{values: plots.overlaps, colour: CRIMSON}]});
  if (plots.energy) over({name: 'energy', title: 'Energy', tens: true, unit: ' kJ/mol', series: [{values: plots.energy, colour: '#009E73'}]});
  if (plots.depth) over({name: 'depth', title: 'Inner steps K', whole: true, bars: true, series: [{values: plots.depth, colour: BLUE}]});
  if (last > 0) html('p', host, 'small', `Click a curve to go to that frame.${plots.energy ? ' Energy: above the lowest.' : ''}${contacts.length ? ' Dashed: the contact’s bound.' : ''}`);
  return frame => shows.forEach(show => show(frame));
}, {decode, tenfold, brief, board});
})();
