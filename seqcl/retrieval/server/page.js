"use strict";
// The page of an index: asks the API of the same server and draws what it answers.

const $ = (id) => document.getElementById(id);
const token = new URLSearchParams(location.search).get("token");
let index = null;
let searches = 0, pointed = 0;  // an answer that a later question has overtaken is not shown

async function ask(path, options = {}) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch(path, { ...options, headers });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error || `the server answered ${response.status}`);
  return answer;
}

function say(text, bad = false) {
  $("status").textContent = text;
  $("status").className = bad ? "bad" : "";
}

const ink = (name) => {
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
};
const hue = (place, count) => `hsl(${(360 * place) / Math.max(1, count)} 65% 50%)`;

// Pictures

function bytes(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

function drawPixels(canvas, picture) {
  const raw = bytes(picture.values);
  const small = document.createElement("canvas");
  small.width = picture.width;
  small.height = picture.height;
  const image = new ImageData(picture.width, picture.height);
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  for (let at = 0; at < picture.width * picture.height; at++) {
    const level = dark ? raw[at] : 255 - raw[at];
    const pixel = picture.kind === "image" ? raw.subarray(3 * at, 3 * at + 3) : [level, level, level];
    image.data.set([...pixel, 255], 4 * at);
  }
  small.getContext("2d").putImageData(image, 0, 0);
  const context = canvas.getContext("2d");
  if (picture.kind === "image") canvas.height = (canvas.width * picture.height) / picture.width / 3;
  const width = picture.kind === "image" ? canvas.width / 3 : canvas.width;
  context.drawImage(small, 0, 0, width, canvas.height);
}

function drawLines(canvas, picture) {
  const context = canvas.getContext("2d");
  const rows = picture.values;
  rows.forEach((row, channel) => {
    const known = row.filter((value) => value !== null);
    const low = Math.min(...known), high = Math.max(...known);
    const band = canvas.height / rows.length;
    context.strokeStyle = rows.length > 1 ? hue(channel, rows.length) : ink("--accent");
    context.lineWidth = 1.2;
    context.beginPath();
    let pen = false;
    row.forEach((value, at) => {
      if (value === null) { pen = false; return; }
      const x = (at / Math.max(1, row.length - 1)) * canvas.width;
      const y = band * (channel + 0.92 - (0.84 * (value - low)) / (high - low || 1));
      if (pen) context.lineTo(x, y); else context.moveTo(x, y);
      pen = true;
    });
    context.stroke();
  });
}

function draw(canvas, picture) {
  canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
  if (picture.kind === "lines") drawLines(canvas, picture); else drawPixels(canvas, picture);
  if (!picture.span || picture.kind === "image") return;
  const context = canvas.getContext("2d");
  const [from, to] = picture.span.map((part) => part * canvas.width);
  context.strokeStyle = ink("--span");
  context.lineWidth = 2;
  context.strokeRect(from + 1, 1, Math.max(2, to - from - 2), canvas.height - 2);
}

async function drawEntry(canvas, entry, isWanted = () => true) {
  const picture = await ask(`api/picture/${entry}`);
  if (isWanted()) draw(canvas, picture);
}

const soundOf = (entry) => `api/sound/${entry}${token ? `?token=${encodeURIComponent(token)}` : ""}`;
const placeText = (match) => (match.start_s === null ? `step ${Math.round(match.start)}` : `${match.start_s.toFixed(2)} s`);

// Answers

function element(tag, text, kind) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function matchItem(match) {
  const item = element("li");
  const head = element("div", undefined, "head");
  head.append(element("span", `${match.rank}.`), element("b", match.recording), element("span", `at ${placeText(match)}`));
  if (match.label !== null) head.append(element("span", String(match.label), "tag"));
  const chance = match.probability === null ? "" : ` · match ${(100 * match.probability).toFixed(0)} %`;
  head.append(element("span", `score ${match.score.toFixed(4)}${chance}`, "numbers"));
  const figure = element("figure");
  const canvas = element("canvas");
  canvas.width = 720;
  canvas.height = 110;
  figure.append(canvas);
  item.append(head, figure);
  drawEntry(canvas, match.entry).catch((error) => figure.replaceChildren(element("figcaption", error.message)));
  if (index.sound) {
    const player = element("audio");
    player.controls = true;
    player.preload = "none";
    player.src = soundOf(match.entry);
    item.append(player);
  }
  return item;
}

function showIdentified(found) {
  const box = $("identified");
  box.hidden = !index.identifies;
  if (found.known === false || !("recording" in found)) box.textContent = "From no recording of this index";
  else {
    const sure = found.confidence === null ? "" : ` (confidence ${(100 * found.confidence).toFixed(0)} %)`;
    const speed = found.speed === 1 ? "" : `, played at ${found.speed.toFixed(2)} of its speed`;
    box.textContent = `${found.known ? "From" : "Nearest"} ${found.recording}, beginning at ${placeText(found)}${speed}${sure}`;
  }
}

async function search(name, body) {
  if (body.size > index.upload_bytes) {
    say(`${name} is larger than ${(index.upload_bytes / 2 ** 20).toFixed(0)} MB`, true);
    return;
  }
  const number = ++searches;
  say(`searching with ${name} …`);
  const asked = new URLSearchParams({ name, k: $("k").value || "10", label: $("label").value });
  try {
    const answer = await ask(`api/search?${asked}`, { method: "POST", body });
    if (number !== searches) return;
    $("query").hidden = false;
    draw($("query").querySelector("canvas"), answer.picture);
    $("query").querySelector("figcaption").textContent = name;
    showIdentified(answer.identified);
    $("matches").replaceChildren(...answer.matches.map(matchItem));
    say(answer.matches.length ? "" : "nothing matches");
  } catch (error) {
    if (number === searches) say(error.message, true);
  }
}

// Recording: browsers record compressed sound, so the samples are kept and written as WAV here

function wav(parts, rate) {
  const count = parts.reduce((sum, part) => sum + part.length, 0);
  const view = new DataView(new ArrayBuffer(44 + 2 * count));
  const text = (at, letters) => [...letters].forEach((letter, place) => view.setUint8(at + place, letter.charCodeAt(0)));
  text(0, "RIFF"); view.setUint32(4, 36 + 2 * count, true); text(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, rate, true); view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true); view.setUint16(34, 16, true);
  text(36, "data"); view.setUint32(40, 2 * count, true);
  let at = 44;
  for (const part of parts) {
    for (const sample of part) {
      view.setInt16(at, Math.max(-1, Math.min(1, sample)) * 32767, true);
      at += 2;
    }
  }
  return new Blob([view], { type: "audio/wav" });
}

let recording = null;

async function startRecording() {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: false, noiseSuppression: false } });
  const context = new AudioContext();
  const source = context.createMediaStreamSource(stream);
  const tap = context.createScriptProcessor(4096, 1, 1);
  const parts = [];
  tap.onaudioprocess = (event) => parts.push(event.inputBuffer.getChannelData(0).slice());
  source.connect(tap);
  tap.connect(context.destination);
  recording = { stream, context, parts };
}

async function toggleRecording() {
  $("record").disabled = true;
  try {
    if (recording === null) {
      await startRecording();
      say("recording; press again to search");
    } else {
      const { stream, context, parts } = recording;
      recording = null;
      stream.getTracks().forEach((track) => track.stop());
      const rate = context.sampleRate;
      await context.close();
      search("recording.wav", wav(parts, rate));
    }
  } catch (error) {
    say(`the microphone cannot be used: ${error.message}`, true);
  }
  $("record").disabled = false;
  $("record").className = recording ? "on" : "";
  $("record").textContent = recording ? "Stop and search" : "Record";
}

// Map

async function showMap() {
  const map = await ask("api/map");
  const canvas = $("map"), context = canvas.getContext("2d");
  const xs = map.points.map((point) => point[0]), ys = map.points.map((point) => point[1]);
  const low = [Math.min(...xs), Math.min(...ys)], high = [Math.max(...xs), Math.max(...ys)];
  const place = (value, side, size) => 12 + ((size - 24) * (value - low[side])) / (high[side] - low[side] || 1);
  const dots = map.points.map(([x, y]) => [place(x, 0, canvas.width), canvas.height - place(y, 1, canvas.height)]);
  const labels = [...new Set(map.labels)].sort();
  dots.forEach(([x, y], at) => {
    context.fillStyle = hue(labels.indexOf(map.labels[at]), labels.length);
    context.globalAlpha = 0.7;
    context.beginPath();
    context.arc(x, y, 3, 0, 7);
    context.fill();
  });
  if (labels.length > 1 && labels.length <= 24) $("legend").replaceChildren(...labels.map((label, at) => legendItem(label, hue(at, labels.length))));
  let last = null;
  canvas.addEventListener("mousemove", (event) => {
    const scale = canvas.width / canvas.clientWidth;
    const [x, y] = [event.offsetX * scale, event.offsetY * scale];
    let best = null, nearest = 100;
    dots.forEach((dot, at) => {
      const gap = (dot[0] - x) ** 2 + (dot[1] - y) ** 2;
      if (gap < nearest) { nearest = gap; best = at; }
    });
    if (best !== null && best !== last) point(map, best);
    last = best ?? last;
  });
}

function legendItem(label, fill) {
  const item = element("li"), dot = element("i");
  dot.style.background = fill;
  item.append(dot, label || "no label");
  return item;
}

async function point(map, at) {
  const number = ++pointed;
  const figure = $("pointed");
  figure.hidden = false;
  figure.querySelector("figcaption").textContent = [map.names[at], map.labels[at]].filter(Boolean).join(" · ");
  if (index.sound) {
    $("hover").src = soundOf(map.entries[at]);
    $("hover").play().catch(() => {});  // browsers play nothing before the first click
  }
  const isWanted = () => number === pointed;
  await drawEntry(figure.querySelector("canvas"), map.entries[at], isWanted).catch((error) => say(error.message, true));
}

async function open() {
  try {
    index = await ask("api/info");
  } catch (error) {
    $("facts").textContent = error.message;
    return;
  }
  $("facts").textContent = `${index.entries.toLocaleString()} entries of ${index.recordings.toLocaleString()} recordings`;
  $("label").append(...index.labels.map((label) => new Option(label, label)));
  $("file").accept = index.suffixes.join(",");
  $("record").hidden = !(index.sound && navigator.mediaDevices);
  $("record").addEventListener("click", toggleRecording);
  let chosen = null;
  const take = (file) => { if (file) { chosen = file; search(file.name, file); } };
  $("file").addEventListener("change", () => {
    take($("file").files[0]);
    $("file").value = "";  // so that the same file may be chosen again
  });
  $("label").addEventListener("change", () => take(chosen));
  const drop = $("drop");
  for (const name of ["dragover", "dragleave", "drop"]) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", name === "dragover");
      if (name === "drop") take(event.dataTransfer.files[0]);
    });
  }
  await showMap().catch((error) => say(error.message, true));
}

open();
