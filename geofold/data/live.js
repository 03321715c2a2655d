'use strict';
(() => {
/* The colours of the viewer page. */
const GREY = '#B4B4B4', ORANGE = '#E69F00', BLUE = '#0072B2', VERMILION = '#D55E00', SKY = '#56B4E9', CRIMSON = '#A50026';
const VERDICTS = [BLUE, SKY, VERMILION, GREY], CIVIDIS = ['#00224E', '#3B496C', '#7C7B78', '#BBAD6C', '#FDE737'];
const ELEMENTS = {N: '#3F6FB5', O: '#C8503C', S: '#B59B00', Se: '#B59B00'};
const SCALES = {clash: [1.5, 'Å, worst overlap'], depths: [20, 'recent inner steps K'], strain: [6, 'strain']};
const REACH = 14, HISTORY = 240, NUDGE = 0.7;
/* Longest time (ms) of a frame in 3D, of the first ones, before the chain is drawn flat. */
const SLOW = 40, TIMED = 3;
/* Time (ms) between two updates of what is beside the picture. */
const BESIDE = 400;
const get = id => document.getElementById(id);
let socket, scene, frame, viewer, whole, animated, chosen = 0, pressed = null, drag = 0, waiting = new Map(), first = null;
let light = null, timings = [], later = 0;
let drawn = true, lastPaint = 0, rate = 0, board = null, plotted = 0, spoken = '';
const past = [], painted = [], latencies = [], steps = [];

/* ---- the server ---- */
const send = message => { if (socket && socket.readyState === 1) socket.send(JSON.stringify(message)); };
const act = (action, values) => { get('message').textContent = ''; send({do: action, ...values}); };
function connect() {
  const place = new URL('stream', location.href);
  place.protocol = place.protocol.replace('http', 'ws');
  socket = new WebSocket(place);
  socket.onmessage = event => receive(JSON.parse(event.data));
  socket.onclose = () => { get('lost').hidden = false; pressed = null; setTimeout(connect, 700); };
  socket.onopen = () => { get('lost').hidden = true; };
}
function receive(message) {
  if (message.error) { get('message').textContent = message.error; return; }
  if (message.scene) { begin(message.scene); return; }
  frame = {...message.frame, drag: message.drag, jobs: message.jobs};
  if (drawn) { drawn = false; requestAnimationFrame(paint); }
}

/* ---- the picture ---- */
const lines = () => scene.pdb.split('\n').filter(Boolean);
const key = atom => `${atom.chain.trim()}:${atom.resi}${(atom.icode || '').trim()}`;
function ramp(share) {
  const at = Math.max(0, Math.min(share * 4, 3.999)), i = Math.floor(at), part = at - i;
  const channel = (hex, c) => parseInt(hex.slice(1 + 2 * c, 3 + 2 * c), 16);
  return `rgb(${[0, 1, 2].map(c => Math.round(channel(CIVIDIS[i], c) * (1 - part) + channel(CIVIDIS[i + 1], c) * part)).join(',')})`;
}
function colour(atom) {
  const place = scene.index.get(key(atom));
  if (place === undefined || !frame) return GREY;
  const by = get('paint').value;
  return by === 'verdict' ? VERDICTS[+frame.verdict[place]] : ramp(frame[by][place] / SCALES[by][0]);
}
function begin(given) {
  const again = Boolean(scene);
  scene = given;
  scene.index = new Map(scene.residues.map((label, i) => [label, i]));
  scene.place = new Map(scene.moving.map((atom, i) => [atom, i]));
  if (again) return;
  get('search').hidden = !scene.loop;
  scene.residues.forEach((label, i) => {
    const button = get('residues').appendChild(document.createElement('button'));
    button.type = 'button';
    button.textContent = `${scene.resnames[i]} ${label.split(':')[1]}`;
    button.onclick = () => choose(i);
  });
  scene.regions.forEach(name => get('region').add(new Option(name, name)));
  board = geofoldPlots.board(get('map'), {residues: scene.residues, contours: scene.contours});
  if (!window.$3Dmol) { get('message').textContent = '3Dmol.js could not be loaded: is this computer offline?'; return; }
  viewer = window.$3Dmol.createViewer(get('scene'), {backgroundColor: background(), antialias: true});
  const all = lines(), inside = new Set(scene.moving), edge = new Set(scene.edge);
  const outside = all.filter((_, i) => !inside.has(i));
  if (outside.length) {
    whole = viewer.addModel(outside.join('\n'), 'pdb', {keepH: true});
    whole.setStyle({hetflag: false}, {cartoon: {color: GREY, opacity: 0.85}});
    whole.setStyle({hetflag: true}, {stick: {radius: 0.15, color: GREY}});
  }
  /* The ribbon of a loop takes one neighbour on each side. */
  scene.drawn = all.map((_, i) => i).filter(i => inside.has(i) || edge.has(i));
  animated = viewer.addModel(scene.drawn.map(i => all[i]).join('\n'), 'pdb', {keepH: true, noComputeSecondaryStructure: true});
  animated.selectedAtoms({}).forEach(atom => { atom.ss = 'c'; });
  viewer.zoomTo({model: animated});
  viewer.zoom(0.75);
  choose(0);
}
function bondsOf(atoms) {
  /* Bonds are guessed from distances: those of the start stay, whatever comes near later. */
  atoms.forEach(atom => { atom.bondOrder = atom.bonds.map(() => 1); });
}
const at = place => ({x: frame.xyz[3 * place] * scene.resolution, y: frame.xyz[3 * place + 1] * scene.resolution, z: frame.xyz[3 * place + 2] * scene.resolution});
function position(atom) {
  const place = scene.place.get(atom);
  if (place !== undefined) return at(place);
  const line = lines()[atom];
  return {x: +line.slice(30, 38), y: +line.slice(38, 46), z: +line.slice(46, 54)};
}
/* Dashed lines and balls around the chain: overlaps, bands, the hand, what is chosen. */
function marks() {
  const dashes = frame.pairs.map(([i, j]) => ({start: position(i), end: position(j), color: CRIMSON, radius: 0.07, dash: 0.15})), balls = [];
  for (const band of frame.bands) if (band.atoms[0] !== null && band.atoms[1] !== null) dashes.push({start: position(band.atoms[0]), end: position(band.atoms[1]), color: band.held ? BLUE : VERMILION, radius: 0.12, dash: 0.4});
  if (frame.hand && frame.hand.atom !== null) {
    const [x, y, z] = frame.hand.to;
    dashes.push({start: position(frame.hand.atom), end: {x, y, z}, color: ORANGE, radius: 0.1, dash: 0.25});
    balls.push({center: {x, y, z}, radius: 0.35, color: ORANGE, opacity: 1});
  }
  if (first !== null) balls.push({center: position(scene.moving[first]), radius: 0.5, color: ORANGE, opacity: 0.6});
  const mark = scene.names.indexOf(`${scene.residues[chosen]}@CA`);
  if (mark >= 0) balls.push({center: at(mark), radius: 0.42, color: ORANGE, opacity: 0.45});
  return {dashes, balls};
}
const isDrawn = atom => scene.index.has(key(atom));
const atomColour = atom => ELEMENTS[atom.elem] || colour(atom);
function draw() {
  if (!animated) return;
  const atoms = animated.selectedAtoms({});
  if (!animated.seen) { animated.seen = true; bondsOf(atoms); }
  atoms.forEach((atom, i) => { const place = scene.place.get(scene.drawn[i]); if (place !== undefined) Object.assign(atom, at(place)); });
  const flat = get('drawing').value === 'flat' || (get('drawing').value === 'auto' && slow());
  if (flat) drawFlat(atoms); else drawSolid();
}
/* Whether frames in 3D take long, once a few have been timed to the end of their drawing. */
const slow = () => timings.length >= TIMED && Math.min(...timings) > SLOW;
function drawSolid() {
  if (light) light.show(false);
  animated.hiddenHere = false;
  const began = performance.now(), {dashes, balls} = marks();
  animated.setStyle({}, {cartoon: {colorfunc: colour, thickness: 0.3}});
  animated.setStyle({predicate: isDrawn}, {stick: {radius: 0.13, colorfunc: atomColour}}, true);
  viewer.removeAllShapes();
  for (const {start, end, color, radius, dash} of dashes) viewer.addCylinder({start, end, radius, dashed: true, dashLength: dash, gapLength: 0.7 * dash, color});
  balls.forEach(ball => viewer.addSphere(ball));
  viewer.render();
  if (timings.length >= TIMED) return;
  requestAnimationFrame(draw); /* a chain at rest sends no frames */
  const canvas = get('scene').querySelector('canvas'), drawing = canvas.getContext('webgl2') || canvas.getContext('webgl');
  if (drawing) drawing.readPixels(0, 0, 1, 1, drawing.RGBA, drawing.UNSIGNED_BYTE, new Uint8Array(4)); /* waits for the end */
  timings.push(performance.now() - began);
}
function drawFlat(atoms) {
  if (!light) { light = geofoldLight(get('scene'), viewer); viewer.setViewChangeCallback(() => { if (animated.hiddenHere) drawFlat(animated.selectedAtoms({})); }); }
  light.show(true);
  if (!animated.hiddenHere) {
    animated.hiddenHere = true;
    animated.setStyle({}, {});
    viewer.removeAllShapes();
    viewer.render();
  }
  const places = new Map(atoms.map((atom, i) => [atom.index, i])), bonds = [], trace = [];
  let before = null;
  atoms.forEach((atom, i) => {
    for (const other of atom.bonds) { const j = places.get(other); if (j > i && (isDrawn(atom) || isDrawn(atoms[j]))) bonds.push([i, j]); }
    if (atom.atom !== 'CA') return;
    if (before !== null && atoms[before].chain === atom.chain) trace.push([before, i]);
    before = i;
  });
  light.draw({atoms, bonds, trace, colors: atoms.map(atomColour), tints: atoms.map(colour), background: background(), ...marks()});
}
function paint(now) {
  drawn = true;
  draw();
  get('n').textContent = frame.n;
  get('overlaps').textContent = frame.overlaps;
  get('outliers').textContent = frame.outliers;
  get('loss').textContent = frame.loss === null ? '–' : frame.loss.toFixed(2);
  get('ms').textContent = frame.ms === null ? '–' : frame.ms.toFixed(1);
  get('pulled').textContent = frame.hand ? `hand ${frame.hand.distance.toFixed(1)} Å` : '';
  past.push({overlaps: frame.overlaps, depth: frame.depth});
  frame.bands.forEach(band => { past[past.length - 1][band.text] = band.distance; });
  if (past.length > HISTORY) past.shift();
  if (lastPaint && now > lastPaint && !frame.resting) rate = rate ? 0.9 * rate + 100 / (now - lastPaint) : 1000 / (now - lastPaint);
  lastPaint = frame.resting ? 0 : now;
  get('fps').textContent = frame.resting ? 'resting' : `${rate.toFixed(0)} frames/s`;
  const done = performance.now(), began = waiting.get(frame.drag);
  painted.push(done);
  if (frame.last_ms !== null) steps.push(frame.last_ms);
  if (began !== undefined) latencies.push(done - began);
  for (const id of waiting.keys()) if (id <= frame.drag) waiting.delete(id);
  get('scene').dataset.frame = frame.n;
  for (const kept of [painted, latencies, steps]) if (kept.length > 20000) kept.splice(0, 10000);
  send({painted: frame.n});
  clearTimeout(later);
  if (now - plotted > BESIDE || frame.resting) { plotted = now; beside(); }
  else later = setTimeout(beside, BESIDE); /* no frame may follow */
}
/* What need not follow every frame. */
function beside() {
  const angles = frame.phi.flatMap((phi, i) => [phi === null ? 0 : phi, frame.psi[i] === null ? 0 : frame.psi[i]]);
  const verdicts = [...frame.verdict].map((digit, i) => frame.phi[i] === null || frame.psi[i] === null ? '3' : digit);
  if (board) board.place(angles, verdicts);
  get('curves').replaceChildren();
  if (past.length > 1) {
    const contacts = frame.bands.map(band => ({text: band.text, bound: band.bound, values: past.map(one => one[band.text] === undefined ? null : one[band.text])}));
    geofoldPlots(get('curves'), {overlaps: past.map(one => one.overlaps), depth: past.map(one => one.depth)}, past.length - 1, contacts, () => {})(past.length - 1);
    get('curves').lastChild.remove();
  }
  get('pause').textContent = frame.paused ? '▶ Run' : '❚❚ Pause';
  get('undo').disabled = !frame.undo;
  get('redo').disabled = !frame.redo;
  const frozen = new Set(frame.frozen);
  [...get('residues').children].forEach((button, i) => {
    button.className = `${frame.verdict[i] === '2' || frame.clash[i] > 0 ? 'bad' : ''} ${frozen.has(scene.residues[i]) ? 'frozen' : ''}`;
    button.setAttribute('aria-label', `${scene.resnames[i]} ${scene.residues[i]}, ${['favoured', 'allowed', 'outlier', 'no map'][+frame.verdict[i]]}${frame.clash[i] > 0 ? ', overlaps' : ''}${frozen.has(scene.residues[i]) ? ', frozen' : ''}`);
  });
  const label = scene.residues[chosen];
  get('freeze').setAttribute('aria-pressed', frozen.has(label));
  get('freeze').textContent = frozen.has(label) ? 'Thaw' : 'Freeze';
  if (document.activeElement !== get('region')) get('region').value = frame.asked[label] || 'any';
  list('bands', frame.bands.map(band => [`${band.text}: ${band.distance.toFixed(1)} Å ${band.held ? '✓' : '✗'}`, [['✕', () => act('unband', {contact: band.text}), `remove band ${band.text}`]], band.held ? 'good' : 'bad']));
  list('marks', frame.marks.map(name => [name, [['Return', () => act('return', {name}), `return to ${name}`]], '']));
  list('held', [...frame.frozen.map(name => [`${name} frozen`, [['Thaw', () => act('thaw', {residue: name}), `thaw ${name}`]], '']),
    ...frame.held.map(text => { const [residue, torsion] = text.split(' '); return [`${text} held`, [['Free', () => act('free', {residue, torsion}), `free ${text}`]], '']; })]);
  const jobs = frame.jobs;
  get('relax').disabled = get('search').disabled = Boolean(jobs.running);
  get('relax').textContent = jobs.running === 'relax' ? 'Settling …' : 'Settle';
  get('search').textContent = jobs.running === 'search' ? 'Searching …' : 'Search here';
  get('models').hidden = !jobs.models.length;
  if (jobs.error) get('message').textContent = jobs.error;
  list('offers', jobs.models.map((model, i) => [`${model.name}: ${model.note}`, [['Take', () => send({model: i}), `take ${model.name}`]], '']));
  const text = `${frame.overlaps} overlaps, ${frame.outliers} outliers${jobs.running ? `, ${jobs.running} is running` : ''}`;
  if (frame.resting && text !== spoken) get('spoken').textContent = spoken = text;
}
const shown = {};
function list(id, rows) {
  const now = JSON.stringify(rows.map(row => [row[0], row[2]]));
  if (shown[id] === now) return;
  shown[id] = now;
  get(id).replaceChildren(...rows.map(([text, buttons, kind]) => {
    const item = document.createElement('li'), words = item.appendChild(document.createElement('span'));
    words.textContent = text; words.className = kind;
    for (const [name, run, label] of buttons) {
      const button = item.appendChild(document.createElement('button'));
      button.type = 'button'; button.textContent = name; button.onclick = run; button.setAttribute('aria-label', label);
    }
    return item;
  }));
}
function legend() {
  const by = get('paint').value, host = get('legend'), keyed = (color, text) => {
    const item = document.createElement('span'); item.className = 'key'; item.style.background = color;
    host.append(item, ` ${text} `);
    return item;
  };
  host.replaceChildren();
  if (by === 'verdict') ['favoured', 'allowed', 'outlier'].forEach((name, i) => keyed(VERDICTS[i], name));
  else { host.append('0 '); keyed(`linear-gradient(to right, ${CIVIDIS.join(',')})`, `${SCALES[by][0]} ${SCALES[by][1]}`).id = 'ramp'; }
}

/* ---- the hand ---- */
function near(event) {
  let best = REACH, found = null;
  const points = viewer.modelToScreen(scene.moving.map((_, i) => at(i)));
  points.forEach((point, i) => {
    const distance = Math.hypot(point.x - event.pageX, point.y - event.pageY);
    if (distance < best) { best = distance; found = i; }
  });
  return found;
}
/* A point as deep in the picture as another one, where the mouse is: two corrections make up for the perspective. */
function under(event, from) {
  let point = {...from};
  for (let again = 0; again < 3; again++) {
    const seen = viewer.modelToScreen(point), shift = viewer.screenOffsetToModel(event.pageX - seen.x, event.pageY - seen.y);
    point = {x: point.x + shift.x, y: point.y + shift.y, z: point.z + shift.z};
  }
  return point;
}
const residueOf = place => scene.names[place].split('@')[0];
function press(event) {
  if (!frame || !animated || event.button !== 0) return;
  const place = near(event);
  if (place === null) return;
  event.stopPropagation();
  event.preventDefault();
  get('scene').focus({preventScroll: true});
  choose(scene.index.get(residueOf(place)));
  if (get('pick').getAttribute('aria-pressed') === 'true') return pick(place);
  if (event.shiftKey) act('grab residue', {residue: residueOf(place)});
  else act('grab', {atom: scene.names[place]});
  const mark = event.shiftKey ? scene.names.indexOf(`${residueOf(place)}@CA`) : place;
  pressed = {from: at(mark), x: event.pageX, y: event.pageY, start: viewer.modelToScreen(at(mark))};
  get('scene').classList.add('grabbing');
}
function follow(event) {
  if (!pressed) {
    if (frame && animated && !event.buttons && get('scene').contains(event.target)) get('scene').classList.toggle('near', near(event) !== null);
    return;
  }
  event.stopPropagation();
  const point = {pageX: event.pageX - pressed.x + pressed.start.x, pageY: event.pageY - pressed.y + pressed.start.y};
  pull(under(point, pressed.from), event.timeStamp);
}
function pull({x, y, z}, began) {
  drag += 1;
  waiting.set(drag, began);
  send({do: 'drag', to: [x, y, z], id: drag});
}
function letGo() {
  if (!pressed) return;
  pressed = null;
  get('scene').classList.remove('grabbing');
  act('release');
}
function pick(place) {
  if (first === null || first === place) { first = place; return; }
  const [one, other] = [scene.names[first], scene.names[place]];
  get('contact').value = `${one}-${other}<6.0`;
  first = null;
  get('pick').setAttribute('aria-pressed', 'false');
  get('contact').focus();
}
function choose(place) {
  chosen = (place + scene.residues.length) % scene.residues.length;
  [...get('residues').children].forEach((button, i) => button.setAttribute('aria-pressed', i === chosen));
  get('which').textContent = `Residue ${scene.resnames[chosen]} ${scene.residues[chosen]}`;
  const hold = get('hold');
  hold.replaceChildren(new Option('–', ''), ...['phi', 'psi', 'chi1', 'chi2', 'chi3', 'chi4'].map(name => new Option(name, name)));
  if (frame) { draw(); beside(); }
}
/* Shift and the arrows pull the CA of the chosen residue over the screen, as a mouse would. */
let nudged = null;
function nudge(dx, dy) {
  const place = scene.names.indexOf(`${scene.residues[chosen]}@CA`);
  if (!nudged) { act('grab', {atom: scene.names[place]}); nudged = at(place); }
  const shift = viewer.screenOffsetToModel(dx, dy), length = Math.hypot(shift.x, shift.y, shift.z) || 1;
  nudged = {x: nudged.x + NUDGE * shift.x / length, y: nudged.y + NUDGE * shift.y / length, z: nudged.z + NUDGE * shift.z / length};
  pull(nudged, performance.now());
}
function typed(event) {
  if (!frame || ['INPUT', 'SELECT'].includes(event.target.tagName)) return;
  const letter = event.key.toLowerCase(), control = event.ctrlKey || event.metaKey;
  const arrow = {arrowleft: [-20, 0], arrowright: [20, 0], arrowup: [0, -20], arrowdown: [0, 20]}[letter];
  const residue = scene.residues[chosen];
  if (control && letter === 'z') act(event.shiftKey ? 'redo' : 'undo');
  else if (control && letter === 'y') act('redo');
  else if (control || event.altKey) return;
  else if (arrow && event.shiftKey) nudge(...arrow);
  else if (arrow) choose(chosen + (arrow[0] + arrow[1] > 0 ? 1 : -1));
  else if ((letter === 'enter' || letter === 'escape') && nudged) { nudged = null; act('release'); }
  else if (event.target.tagName === 'BUTTON' && (letter === ' ' || letter === 'enter')) return;
  else if (letter === ' ') act(frame.paused ? 'resume' : 'pause');
  else if (letter === 's') send({do: 'step', count: 1, depth: 1});
  else if (letter === 'f') act(frame.frozen.includes(residue) ? 'thaw' : 'freeze', {residue});
  else if (letter === 'p') act('flip', {residue});
  else return;
  event.preventDefault();
}

/* ---- controls ---- */
const background = () => getComputedStyle(document.documentElement).getPropertyValue('--stage').trim();
function theme(dark) {
  document.documentElement.dataset.theme = dark ? 'dark' : 'light';
  if (viewer) { viewer.setBackgroundColor(background()); viewer.render(); if (frame) draw(); }
}
theme(matchMedia('(prefers-color-scheme: dark)').matches);
get('theme').onclick = () => theme(document.documentElement.dataset.theme !== 'dark');
get('pause').onclick = () => act(frame.paused ? 'resume' : 'pause');
get('step').onclick = () => send({do: 'step', count: 1, depth: 1});
get('undo').onclick = () => act('undo');
get('redo').onclick = () => act('redo');
get('freeze').onclick = () => act(frame.frozen.includes(scene.residues[chosen]) ? 'thaw' : 'freeze', {residue: scene.residues[chosen]});
get('flip').onclick = () => act('flip', {residue: scene.residues[chosen]});
get('hold').onchange = event => { if (event.target.value) act('hold', {residue: scene.residues[chosen], torsion: event.target.value}); event.target.value = ''; };
get('region').onchange = event => { act('region', {residue: scene.residues[chosen], region: event.target.value}); event.target.blur(); };
get('banding').onsubmit = event => { event.preventDefault(); act('band', {contact: get('contact').value}); };
get('marking').onsubmit = event => { event.preventDefault(); act('mark', {name: get('name').value || `step ${frame.n}`}); };
get('pick').onclick = () => { first = null; get('pick').setAttribute('aria-pressed', get('pick').getAttribute('aria-pressed') !== 'true'); };
get('relax').onclick = () => { get('message').textContent = ''; send({job: 'relax'}); };
get('search').onclick = () => { get('message').textContent = ''; send({job: 'search'}); };
get('paint').onchange = () => { legend(); if (frame) draw(); };
get('drawing').onchange = () => { timings = []; if (frame) draw(); };
get('scene').addEventListener('mousedown', press, true);
window.addEventListener('mousemove', follow, true);
window.addEventListener('mouseup', letGo, true);
document.addEventListener('keydown', typed);
window.addEventListener('resize', () => { if (viewer) { viewer.resize(); if (frame) draw(); } });
/* What a benchmark or a test reads. */
window.geofoldLive = {latencies, painted, steps, frame: () => frame, scene: () => scene, screen: place => viewer.modelToScreen(at(place)), flat: () => Boolean(animated && animated.hiddenHere)};
legend();
connect();
})();
