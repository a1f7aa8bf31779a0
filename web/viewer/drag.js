// Densities of an expression in the plane that can be taken by hand: a gaussian by its middle, a ring by its line, a box by its middle or its edges.
const reach = .04;  // of the square's half side, beyond what a term covers itself

// A grip without drag moves all of its term.
const shapes = {
  gaussian: {
    count: 3,
    grips: ([x, y, s]) => [{ away: (px, py) => Math.hypot(px - x, py - y) - s }],
    move: ([x, y, s], dx, dy) => [x + dx, y + dy, s],
    grow: ([x, y, s], by) => [x, y, s * by],
  },
  ring: {
    count: 2,
    grips: ([r, w]) => [{ away: (px, py) => Math.abs(Math.hypot(px, py) - r) - w, drag: (px, py) => [Math.max(.05, Math.hypot(px, py)), w] }],
    move: ([r, w], dx, dy) => [Math.max(.05, r + dx + dy), w],
    grow: ([r, w], by) => [r, w * by],
  },
  box: {
    count: 4,
    grips: ([l, b, r, t]) => {
      const within = (v, from, to) => v > from - .1 && v < to + .1;
      const edge = (away, drag) => ({ edge: true, away, drag });
      return [
        edge((x, y) => (within(y, b, t) ? Math.abs(x - l) : Infinity), (x) => [Math.min(x, r - .1), b, r, t]),
        edge((x, y) => (within(y, b, t) ? Math.abs(x - r) : Infinity), (x) => [l, b, Math.max(x, l + .1), t]),
        edge((x, y) => (within(x, l, r) ? Math.abs(y - b) : Infinity), (x, y) => [l, Math.min(y, t - .1), r, t]),
        edge((x, y) => (within(x, l, r) ? Math.abs(y - t) : Infinity), (x, y) => [l, b, r, Math.max(y, b + .1)]),
        { away: (x, y) => (x > l && x < r && y > b && y < t ? 0 : Infinity) },
      ];
    },
    move: ([l, b, r, t], dx, dy) => [l + dx, b + dy, r + dx, t + dy],
    grow: ([l, b, r, t], by) => [(l + r) / 2 - (r - l) / 2 * by, (b + t) / 2 - (t - b) / 2 * by, (l + r) / 2 + (r - l) / 2 * by, (b + t) / 2 + (t - b) / 2 * by],
  },
};

// The terms of a text that can be dragged: where they stand, and their numbers.
export function terms(text) {
  return [...text.matchAll(/(gaussian|ring|box)\(([^()]*)\)/g)].map((m) => ({ at: m.index, length: m[0].length, name: m[1], numbers: m[2].split(",").map(Number) }))
    .filter((t) => t.numbers.length === shapes[t.name].count && t.numbers.every(Number.isFinite));
}

const written = (v) => String(Number(v.toFixed(2)));

// Lets `board`, which shows the square out to bound(), move the terms of the text area `text`; moved() is told when one has, at most five times a second,
// and once at the end. With shift held, up and down change its size. Arrow keys move the one last taken, with shift they change its size; the next one is taken by Enter.
export function draggable(board, text, bound, moved) {
  let held = null, chosen = 0, timer = 0;
  const soon = () => { if (!timer) timer = setTimeout(() => { timer = 0; moved(); }, 200); };
  const put = (index, numbers) => {
    const term = terms(text.value)[index];
    text.value = `${text.value.slice(0, term.at)}${term.name}(${numbers.map(written).join(", ")})${text.value.slice(term.at + term.length)}`;
    text.dispatchEvent(new Event("input"));
    soon();
  };
  const place = (event) => {
    const box = board.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width * 2 - 1) * bound(), (1 - (event.clientY - box.top) / box.height * 2) * bound()];
  };
  // The nearest grip within reach: edges before what lies in them, of two terms the one whose line is nearer.
  const under = (x, y) => terms(text.value).flatMap((term, index) => shapes[term.name].grips(term.numbers).map((grip) => ({ index, grip, numbers: term.numbers, edge: Boolean(grip.edge), away: grip.away(x, y) })))
    .filter((g) => g.away < reach * bound()).sort((a, b) => b.edge - a.edge || a.away - b.away)[0];

  board.addEventListener("pointerdown", (event) => {
    const from = place(event);
    held = under(...from) || null;
    if (!held) return;
    chosen = held.index;
    Object.assign(held, { from, grows: event.shiftKey });
    event.preventDefault();
    board.setPointerCapture(event.pointerId);
  });
  board.addEventListener("pointermove", (event) => {
    if (!held) return void board.classList.toggle("over", Boolean(under(...place(event))));
    const term = terms(text.value)[held.index];
    if (!term) return;
    const [x, y] = place(event), { grip, numbers, from, grows } = held, shape = shapes[term.name];
    if (grows) put(held.index, shape.grow(numbers, Math.exp(3 * (y - from[1]) / bound())));
    else put(held.index, grip.drag ? grip.drag(x, y) : shape.move(numbers, x - from[0], y - from[1]));
  });
  board.addEventListener("touchstart", (event) => { if (under(...place(event.changedTouches[0]))) event.preventDefault(); }, { passive: false });  // else it scrolls
  for (const end of ["pointerup", "pointercancel"]) board.addEventListener(end, () => { held = null; });
  board.addEventListener("keydown", (event) => {
    const all = terms(text.value), [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key] || [0, 0];
    if (!all.length) return;
    if (event.key === "Enter") chosen = (chosen + 1) % all.length;
    else if (!dx && !dy) return;
    else {
      chosen = Math.min(chosen, all.length - 1);
      const { name, numbers } = all[chosen], by = bound() / 40;
      put(chosen, event.shiftKey ? shapes[name].grow(numbers, dx + dy > 0 ? 1.1 : 1 / 1.1) : shapes[name].move(numbers, dx * by, dy * by));
    }
    event.preventDefault();
  });
}
