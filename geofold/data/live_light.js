'use strict';
/* Draws a moving chain as flat sticks on a canvas above the 3D view, where drawing in 3D is slow: without a graphics
card, each frame of a 3D view takes hundreds of milliseconds. What does not move stays in the 3D view. */
const geofoldLight = (host, viewer) => {
  const FOG = 0.6, OUTLINE = '#20262e', TRACE = 0.5;
  const canvas = host.appendChild(document.createElement('canvas')), context = canvas.getContext('2d');
  canvas.className = 'light';
  const channels = new Map();
  function parsed(color) {
    if (!channels.has(color)) {
      context.fillStyle = color; /* the canvas writes any opaque colour as #rrggbb */
      channels.set(color, [1, 3, 5].map(i => parseInt(context.fillStyle.slice(i, i + 2), 16)));
    }
    return channels.get(color);
  }
  const mixed = (color, other, share) => `rgb(${parsed(color).map((value, i) => Math.round(value * (1 - share) + parsed(other)[i] * share)).join(',')})`;
  /* Places on the screen, with the depth (towards the eye) of each. */
  function projected(points) {
    const box = host.getBoundingClientRect(), left = box.left + scrollX, top = box.top + scrollY;
    const [, , , , x, y, z, w] = viewer.getView();
    const row = [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)];
    return viewer.modelToScreen(points).map((seen, i) => ({
      x: seen.x - left, y: seen.y - top, depth: row[0] * points[i].x + row[1] * points[i].y + row[2] * points[i].z,
    }));
  }
  function line(start, end, color, width, dash = []) {
    context.strokeStyle = color;
    context.lineWidth = width;
    context.setLineDash(dash);
    context.beginPath();
    context.moveTo(start.x, start.y);
    context.lineTo(end.x, end.y);
    context.stroke();
  }
  function ball(place, radius, color, opacity) {
    context.globalAlpha = opacity;
    context.fillStyle = color;
    context.beginPath();
    context.arc(place.x, place.y, radius, 0, 2 * Math.PI);
    context.fill();
    context.globalAlpha = 1;
  }
  /* atoms: [{x, y, z}] in A; bonds and trace: pairs of atoms; colors: of the atoms; tints: of their residues;
  dashes: [{start, end, color, radius, dash}]; balls: [{center, radius, color, opacity}]. */
  function draw({atoms, bonds, trace, colors, tints, dashes, balls, background}) {
    const ratio = window.devicePixelRatio || 1, {clientWidth, clientHeight} = host;
    if (canvas.width !== Math.round(clientWidth * ratio) || canvas.height !== Math.round(clientHeight * ratio)) {
      canvas.width = Math.round(clientWidth * ratio);
      canvas.height = Math.round(clientHeight * ratio);
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, clientWidth, clientHeight);
    context.lineCap = 'round';
    const offset = viewer.screenOffsetToModel(10, 0), scale = 10 / (Math.hypot(offset.x, offset.y, offset.z) || 1);
    const places = projected(atoms), depths = places.map(place => place.depth);
    const near = Math.max(...depths), range = near - Math.min(...depths) || 1;
    const fogged = (color, depth) => mixed(color, background, FOG * (near - depth) / range);
    const parts = [...trace.map(([i, j]) => [i, j, true]), ...bonds.map(([i, j]) => [i, j, false])]
      .map(([i, j, wide]) => ({start: places[i], end: places[j], wide, depth: (depths[i] + depths[j]) / 2 - (wide ? 1 : 0), colors: wide ? [tints[i], tints[j]] : [colors[i], colors[j]]}))
      .sort((one, other) => one.depth - other.depth);
    for (const {start, end, wide, depth, colors: [first, second]} of parts) {
      const middle = {x: (start.x + end.x) / 2, y: (start.y + end.y) / 2}, width = scale * (wide ? TRACE : 0.26);
      line(start, end, fogged(OUTLINE, depth), width + 1.5);
      line(start, middle, fogged(first, depth), width);
      line(middle, end, fogged(second, depth), width);
    }
    for (const {start, end, color, radius, dash} of dashes) {
      const [from, to] = projected([start, end]);
      line(from, to, color, 2 * scale * radius, [dash * scale, 1.2 * dash * scale]);
    }
    for (const {center, radius, color, opacity} of balls) ball(projected([center])[0], radius * scale, color, opacity);
  }
  return {draw, show: shown => { canvas.hidden = !shown; }};
};
