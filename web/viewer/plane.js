// Plane: a density with its level lines, and chains that move in it under a kernel.
import { $, Curve, Work, anySeed, fill, part, recall, remember, sentByEnter } from "./common.js";
import { draggable } from "./drag.js";

const panel = $("tab-plane"), field = (name) => panel.querySelector(`[name="${name}"]`);
const work = new Work(panel), board = part(panel, "board"), context = board.getContext("2d");
const accepted = new Curve(part(panel, "accepted"), "accepted"), energy = new Curve(part(panel, "curve"), "energy");
const examples = ["two-moons", "eight-gaussians", "gaussian(-1.5, 0, .5) | gaussian(1.5, 0, .5)", "ring(2, .2)", "ring(2, .3) & !gaussian(2, 0, .8)", "box(-2, -1, 2, 1)"];
const anchors = [[13, 8, 58], [62, 38, 128], [38, 110, 142], [42, 170, 124], [150, 214, 72], [252, 240, 90]];  // as io::heat has them
let ground = null, plane = null, points = [], entered = false;

// The density, and lines where the energy is a whole number of twos above its least.
function drawGround() {
  const { side, energies } = plane, canvas = Object.assign(document.createElement("canvas"), { width: board.width, height: board.height });
  const paint = canvas.getContext("2d"), small = Object.assign(document.createElement("canvas"), { width: side, height: side });
  const pixels = small.getContext("2d").createImageData(side, side);
  energies.forEach((e, i) => {
    const at = Math.exp(-e) * (anchors.length - 1), low = Math.min(Math.floor(at), anchors.length - 2), t = at - low;
    for (let c = 0; c < 3; ++c) pixels.data[4 * i + c] = (1 - t) * anchors[low][c] + t * anchors[low + 1][c];
    pixels.data[4 * i + 3] = 255;
  });
  small.getContext("2d").putImageData(pixels, 0, 0);
  paint.drawImage(small, 0, 0, board.width, board.height);
  paint.strokeStyle = "rgba(255, 255, 255, .35)";
  paint.beginPath();
  for (const level of [1, 3, 5, 7, 9, 13, 17]) trace(paint, level);
  paint.stroke();
  ground = canvas;
}

// Marching squares: within each cell of four values, from edge to edge that the level crosses.
function trace(paint, level) {
  const { side, energies } = plane, scale = board.width / side;
  for (let j = 0; j + 1 < side; ++j) {
    for (let i = 0; i + 1 < side; ++i) {
      const corners = [[i, j], [i + 1, j], [i + 1, j + 1], [i, j + 1]], crossed = [];
      for (let k = 0; k < 4; ++k) {
        const [ax, ay] = corners[k], [bx, by] = corners[(k + 1) % 4], a = energies[ay * side + ax] - level, b = energies[by * side + bx] - level;
        if (a > 0 !== b > 0) crossed.push([(ax + (bx - ax) * a / (a - b) + .5) * scale, (ay + (by - ay) * a / (a - b) + .5) * scale]);
      }
      for (let k = 0; k + 1 < crossed.length; k += 2) {
        paint.moveTo(...crossed[k]);
        paint.lineTo(...crossed[k + 1]);
      }
    }
  }
}

function drawPoints() {
  if (ground) context.drawImage(ground, 0, 0);
  context.fillStyle = "#fff";
  const half = board.width / 2;
  for (let i = 0; i < points.length; i += 2) context.fillRect(half + points[i] / 1000 * half - 1, half - points[i + 1] / 1000 * half - 1, 2, 2);
}

// Sliders stand for powers of ten.
const stepOf = () => Number(Math.pow(10, field("step_size").value).toPrecision(2));
const temperatureOf = () => Number(Math.pow(10, field("temperature").value).toPrecision(2));
const noiseOf = () => (Number(field("noise").value) === -3 ? 0 : Number(Math.pow(10, field("noise").value).toPrecision(2)));
function showSliders() {
  part(panel, "step-of").textContent = stepOf();
  part(panel, "temperature-of").textContent = temperatureOf();
  part(panel, "noise-of").textContent = noiseOf() || "the least";
}

function request() {
  return { expression: field("expression").value, kernel: field("kernel").value, step_size: stepOf(), temperature: temperatureOf(), noise: noiseOf(),
    steps: Number(field("steps").value), count: Number(field("count").value), bound: Number(field("bound").value), seed: Number(field("seed").value) };
}

function draw() {
  const what = request();
  remember("plane", what);
  accepted.clear();
  energy.clear();
  points = [];
  work.ask("plane", what, {
    plane(data) {
      plane = data;
      drawGround();
      drawPoints();
    },
    frame(data) {
      points = data.points;
      drawPoints();
      energy.add(data.step, data.energy);
      energy.draw();
      if (data.accepted === undefined) return void accepted.hide();
      accepted.add(data.step, data.accepted);
      accepted.draw();
    },
    done(data) {
      part(panel, "save").href = data.image;
      part(panel, "save").hidden = false;
      const share = data.accepted === undefined ? "" : `, ${(100 * data.accepted).toFixed(0)} % accepted`;
      return `${data.count} chains, ${data.steps} steps${share}, ${data.seconds.toFixed(1)} s`;
    },
  });
}

function take(state) {
  field("expression").value = state.expression || examples[0];
  for (const name of ["kernel", "steps", "count", "bound", "seed"]) if (state[name]) field(name).value = state[name];
  for (const name of ["step_size", "temperature", "noise"]) if (state[name] > 0) field(name).value = Math.log10(state[name]);
  showSliders();
  draw();
}

// What lies under the pointer.
board.addEventListener("pointermove", (event) => {
  if (!plane) return;
  const box = board.getBoundingClientRect(), across = (event.clientX - box.left) / box.width, down = (event.clientY - box.top) / box.height;
  const cell = (v) => Math.min(plane.side - 1, Math.max(0, Math.floor(v * plane.side))), e = plane.energies[cell(down) * plane.side + cell(across)];
  part(panel, "under").textContent = `(${((2 * across - 1) * plane.bound).toFixed(2)}, ${((1 - 2 * down) * plane.bound).toFixed(2)}): E is ${e.toPrecision(3)} above its least`;
});
draggable(board, field("expression"), () => Number(field("bound").value), draw);

sentByEnter(field("expression"));
part(panel, "form").addEventListener("submit", (event) => { event.preventDefault(); draw(); });
part(panel, "another").addEventListener("click", () => { field("seed").value = anySeed(); draw(); });
field("example").addEventListener("change", () => {
  if (field("example").value) field("expression").value = field("example").value;
  draw();
});
for (const name of ["step_size", "temperature", "noise"]) field(name).addEventListener("input", showSliders);
for (const name of ["step_size", "temperature", "noise", "kernel"]) field(name).addEventListener("change", draw);

export const planeTab = {
  enter(state) {
    if (!entered) fill(field("example"), [["", "an example …"], ...examples.map((e) => [e, e])]);
    $("about").textContent = "Chains from anywhere in the square, under an energy of the plane. Gaussians, rings and boxes can be dragged.";
    if (state || !entered) take(state || {});
    else recall("plane");
    entered = true;
  },
  leave: () => work.stop(),
};
