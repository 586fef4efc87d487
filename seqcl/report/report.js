"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const LEVELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const COLORS = 7;
  // Seven colours and six shapes: neighbours differ in both, and 42 classes are all different.
  const SHAPES = [
    "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0Z",
    "M-3.5,-3.5h7v7h-7Z",
    "M0,-4.6L4.5,3.4H-4.5Z",
    "M0,-5L5,0L0,5L-5,0Z",
    "M0,4.6L4.5,-3.4H-4.5Z",
    "M-1.5,-4.5h3v3h3v3h-3v3h-3v-3h-3v-3h3Z",
  ];

  // Elements. The namespace is read from the page's own inline drawing.
  const NS = new DOMParser().parseFromString("<svg></svg>", "text/html").querySelector("svg").namespaceURI;
  const put = (node, attributes, parent, text) => {
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    if (text !== undefined) node.textContent = text;
    if (parent) parent.append(node);
    return node;
  };
  const svg = (name, attributes, parent, text) => put(document.createElementNS(NS, name), attributes, parent, text);
  const html = (name, attributes, parent, text) => put(document.createElement(name), attributes, parent, text);
  const color = (index) => `c${index % COLORS}`;
  const marker = (index, parent) => {
    const box = svg("svg", { viewBox: "-6 -6 12 12", class: color(index), "aria-hidden": "true" }, parent);
    svg("path", { d: SHAPES[index % SHAPES.length] }, box);
  };

  const format = (value) => {
    if (value === null || value === undefined) return "–";
    const short = Number(value.toPrecision(3));
    const size = Math.abs(short);
    if (size >= 1e6 || (size > 0 && size < 1e-3)) return short.toExponential().replace("+", "").replaceAll("-", "−");
    return (size >= 1000 ? Math.round(value).toLocaleString("en") : String(short)).replace("-", "−");
  };

  // Charts.
  const ticks = (low, high, count) => {
    const rough = (high - low) / count || 1;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * ([1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough * 0.9) || 10);
    const found = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) found.push(k * step);
    return found;
  };
  const known = (values) => values.filter((value) => value !== null);
  const extent = (values) => {
    const low = values.reduce((a, b) => Math.min(a, b));
    const high = values.reduce((a, b) => Math.max(a, b));
    const room = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
    return [low - room, high + room];
  };

  // Place of the value nearest to x in a rising list.
  const nearest = (values, x) => {
    let [low, high] = [0, values.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (values[middle] < x) low = middle + 1; else high = middle;
    }
    return low > 0 && x - values[low - 1] < values[low] - x ? low - 1 : low;
  };

  // Charts of one zoom show the same stretch: drag to choose it, double-click for the whole.
  const zooms = new Map();
  const zoomOf = (name) => {
    if (!zooms.has(name)) zooms.set(name, { range: null, draws: [] });
    return zooms.get(name);
  };
  const cut = (line, [first, last]) => {
    const [from, to] = [Math.max(0, nearest(line.x, first) - 1), nearest(line.x, last) + 2];
    const part = (values) => values && values.slice(from, to);
    return { ...line, x: part(line.x), y: part(line.y), low: part(line.low), high: part(line.high) };
  };
  function startZoom(zoom, box, atX, [top, bottom]) {
    const mark = svg("rect", { class: "zoomed", y: top, height: bottom - top, visibility: "hidden" }, box);
    let begun = null;
    box.addEventListener("pointerdown", (event) => {
      begun = atX(event);
      box.setPointerCapture(event.pointerId);
    });
    box.addEventListener("pointermove", (event) => {
      if (!begun) return;
      const now = atX(event);
      put(mark, { x: Math.min(begun.pixel, now.pixel), width: Math.abs(now.pixel - begun.pixel), visibility: "visible" });
    });
    const show = (range) => {
      zoom.range = range;
      zoom.draws.forEach((draw) => draw());
    };
    box.addEventListener("pointerup", (event) => {
      if (!begun) return;
      const ends = [begun, atX(event)].sort((a, b) => a.pixel - b.pixel);
      begun = null;
      mark.setAttribute("visibility", "hidden");
      if (ends[1].pixel - ends[0].pixel > 4) show([ends[0].x, ends[1].x]);
    });
    box.addEventListener("dblclick", () => show(null));
  }

  function drawChart(chart, figure) {
    const plot = figure.querySelector(".plot");
    const output = figure.querySelector("output");
    const summary = output ? output.textContent : "";
    const whole = chart.lines;
    if (!known(whole.flatMap((line) => line.x)).length || !known(whole.flatMap((line) => line.y)).length) {
      plot.textContent = "no finite values";
      return () => {};
    }
    const scaled = chart.logX ? Math.log : (value) => value;
    const zoom = chart.zoom ? zoomOf(chart.zoom) : null;

    const draw = () => {
      const range = zoom && zoom.range;
      const lines = range ? whole.map((line) => cut(line, range)) : whole;
      const xs = range || [...new Set(known(lines.flatMap((line) => line.x)))].sort((a, b) => a - b);
      const seen = known(lines.flatMap((line) => [...line.y, ...(line.low || []), ...(line.high || [])]));
      const [yLow, yHigh] = extent(seen.length ? seen : [0]);
      const width = Math.max(220, plot.clientWidth);
      const height = Math.round(Math.min(300, Math.max(170, width * 0.42)));
      const [left, right, top, bottom] = [48, 12, 8, 36];
      const spread = scaled(xs[xs.length - 1]) - scaled(xs[0]);
      const px = (x) => left + (spread ? (scaled(x) - scaled(xs[0])) / spread : 0.5) * (width - left - right);
      const py = (y) => top + ((yHigh - y) / (yHigh - yLow)) * (height - top - bottom);
      const box = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${chart.title} over ${chart.xLabel}` });

      for (const y of ticks(yLow, yHigh, height > 220 ? 6 : 4)) {
        svg("line", { class: "grid", x1: left, x2: width - right, y1: py(y), y2: py(y) }, box);
        svg("text", { x: left - 6, y: py(y) + 4, "text-anchor": "end" }, box, format(y));
      }
      const marks = xs.length <= 8 && !range ? xs : ticks(xs[0], xs[xs.length - 1], width < 420 ? 4 : 6);
      for (const x of marks) svg("text", { x: px(x), y: height - 20, "text-anchor": "middle" }, box, format(x));
      svg("text", { x: width - right, y: height - 5, "text-anchor": "end" }, box, chart.xLabel);

      const inside = svg("svg", { x: left, y: 0, width: width - left - right, height, viewBox: `${left} 0 ${width - left - right} ${height}` }, box);
      lines.forEach((line, index) => {
        const group = svg("g", { class: color(index) }, range ? inside : box);
        const at = (k, values) => `${px(line.x[k]).toFixed(1)},${py(values[k]).toFixed(1)}`;
        const keys = [...line.x.keys()];
        if (line.low) {
          const solid = keys.filter((k) => line.low[k] !== null && line.high[k] !== null);
          const band = [...solid.map((k) => at(k, line.high)), ...solid.reverse().map((k) => at(k, line.low))];
          if (band.length) svg("path", { class: "band", d: `M${band.join("L")}Z` }, group);
        }
        let pen = "M";
        const path = keys.map((k) => {
          if (line.y[k] === null) { pen = "M"; return ""; }
          const step = pen + at(k, line.y);
          pen = "L";
          return step;
        }).join("");
        svg("path", { class: "line", d: path }, group);
        if (keys.length <= 12) {
          for (const k of keys) if (line.y[k] !== null) svg("circle", { class: "dot", cx: px(line.x[k]), cy: py(line.y[k]), r: 3 }, group);
        }
      });

      const cross = svg("line", { class: "cross", y1: top, y2: height - bottom, visibility: "hidden" }, box);
      const atX = (event) => {
        const bounds = box.getBoundingClientRect();
        const pixel = Math.min(width - right, Math.max(left, ((event.clientX - bounds.left) / bounds.width) * width));
        const share = (pixel - left) / (width - left - right);
        const x = scaled(xs[0]) + share * spread;
        return { pixel, x: chart.logX ? Math.exp(x) : x };
      };
      const places = [...new Set(lines.flatMap((line) => line.x))].filter((x) => x !== null).sort((a, b) => a - b);
      box.addEventListener("pointermove", (event) => {
        const x = places[nearest(places, atX(event).x)];
        put(cross, { x1: px(x), x2: px(x), visibility: "visible" });
        const values = lines.map((line) => (lines.length > 1 ? `${line.name} ` : "") + format(line.y[nearest(line.x, x)]));
        if (output) output.textContent = `${chart.xLabel} ${format(x)}: ${values.join(", ")}`;
      });
      box.addEventListener("pointerleave", () => {
        cross.setAttribute("visibility", "hidden");
        if (output) output.textContent = summary;
      });
      if (zoom) startZoom(zoom, box, atX, [top, height - bottom]);
      plot.replaceChildren(box);
    };
    if (zoom) zoom.draws.push(draw);
    return draw;
  }

  // The embedding map.
  function sparkline(codes, colorClass, parent) {
    const levels = [...codes].map((code) => LEVELS.indexOf(code));
    const box = svg("svg", { class: `spark ${colorClass}`, viewBox: "0 0 208 40", preserveAspectRatio: "none" }, parent);
    let pen = "M";
    const path = levels.map((level, index) => {
      if (level < 0) { pen = "M"; return ""; }
      const x = levels.length > 1 ? (index / (levels.length - 1)) * 206 + 1 : 104;
      const step = `${pen}${x.toFixed(1)},${(38 - (level / 63) * 36).toFixed(1)}`;
      pen = "L";
      return step;
    }).join("");
    svg("path", { d: path, "vector-effect": "non-scaling-stroke" }, box);
  }

  function drawPicture([height, width, codes], parent) {
    const canvas = html("canvas", { class: "picture", width, height }, parent);
    const context = canvas.getContext("2d");
    const image = context.createImageData(width, height);
    const size = width * height;
    const plane = codes.length > size ? size : 0;
    for (let pixel = 0; pixel < size; pixel += 1) {
      for (let channel = 0; channel < 3; channel += 1) {
        image.data[4 * pixel + channel] = (LEVELS.indexOf(codes[channel * plane + pixel]) / 63) * 255;
      }
      image.data[4 * pixel + 3] = 255;
    }
    context.putImageData(image, 0, 0);
  }

  function startMap(map, root) {
    const plot = root.querySelector(".plot");
    const classOf = (point) => (map.label.length ? map.label[point] : 0);
    let isolated = null;
    let pinned = null;
    let chosen = null;
    let nodes = [];
    let places = [];

    const card = html("div", { class: "card", hidden: "", role: "status" });
    const visible = (point) => isolated === null || classOf(point) === isolated;

    function fillCard(point) {
      card.replaceChildren();
      if (map.label.length) {
        const head = html("header", {}, card);
        marker(classOf(point), head);
        html("span", {}, head, map.classes[classOf(point)] || "(empty)");
      }
      html("small", {}, card, map.id[point]);
      if (map.pictures[point]) drawPicture(map.pictures[point], card);
      (map.series[point] || []).forEach(([codes, low, high], channel) => {
        const row = html("small", { class: "channel" }, card);
        html("span", {}, row, map.channels[channel] || "");
        html("span", {}, row, low === null ? "missing" : `${format(low)} to ${format(high)}`);
        sparkline(codes, color(classOf(point)), card);
      });
    }

    function show(point) {
      if (chosen !== null && nodes[chosen]) nodes[chosen].classList.remove("chosen");
      chosen = point;
      card.hidden = point === null;
      if (point === null) return;
      nodes[point].classList.add("chosen");
      nodes[point].parentNode.append(nodes[point]);
      fillCard(point);
      const [x, y] = places[point];
      const room = plot.clientWidth - card.offsetWidth - 8;
      card.style.left = `${Math.max(8, Math.min(room, x + (x > room - 16 ? -card.offsetWidth - 16 : 16)))}px`;
      card.style.top = `${Math.max(8, Math.min(plot.clientHeight - card.offsetHeight - 8, y - card.offsetHeight / 2))}px`;
    }

    function pin(point) {
      pinned = point;
      show(point);
      const rest = location.href.split("#")[0];
      try { history.replaceState(null, "", point === null ? rest : `${rest}#point-${point}`); } catch { /* not allowed in a frame */ }
    }

    function nearest(event) {
      const frame = plot.getBoundingClientRect();
      let [best, distance] = [null, 24 ** 2];
      places.forEach(([x, y], point) => {
        const away = (event.clientX - frame.left - x) ** 2 + (event.clientY - frame.top - y) ** 2;
        if (away < distance && visible(point)) [best, distance] = [point, away];
      });
      return best;
    }

    function draw() {
      const width = Math.max(220, plot.clientWidth);
      const height = Math.round(Math.min(560, Math.max(300, width * 0.64)));
      const margin = 16;
      const box = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Embedding map" });
      const layer = svg("g", {}, box);
      places = map.x.map((x, point) => [
        margin + (x / 4095) * (width - 2 * margin),
        height - margin - (map.y[point] / 4095) * (height - 2 * margin),
      ]);
      nodes = places.map(([x, y], point) => svg("path", {
        class: `point ${color(classOf(point))}${visible(point) ? "" : " faded"}`,
        d: SHAPES[classOf(point) % SHAPES.length],
        transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})`,
      }, layer));
      plot.replaceChildren(box, card);
      chosen = null;
      show(pinned);
    }

    function isolate(index) {
      isolated = isolated === index ? null : index;
      nodes.forEach((node, point) => node.classList.toggle("faded", !visible(point)));
      root.querySelectorAll(".legend button").forEach((button, k) => button.setAttribute("aria-pressed", String(k === isolated)));
      if (chosen !== null && !visible(chosen)) pin(null);
    }

    const legend = root.querySelector(".legend");
    if (legend && map.label.length) {
      legend.replaceChildren();
      map.classes.forEach((name, index) => {
        const button = html("button", { type: "button", "aria-pressed": "false" }, html("li", {}, legend));
        marker(index, button);
        html("span", {}, button, name || "(empty)");
        html("i", {}, button, map.counts[index].toLocaleString("en"));
        button.addEventListener("click", () => isolate(index));
      });
    }
    const order = [...map.x.keys()].sort((a, b) => map.x[a] - map.x[b]);
    plot.addEventListener("pointermove", (event) => { if (pinned === null) show(nearest(event)); });
    plot.addEventListener("pointerleave", () => { if (pinned === null) show(null); });
    plot.addEventListener("click", (event) => { const point = nearest(event); pin(point === pinned ? null : point); });
    plot.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const seen = order.filter(visible);
      if (event.key === "Escape") pin(null);
      if (!step || !seen.length) return;
      event.preventDefault();
      pin(seen[(seen.indexOf(chosen) + step + seen.length) % seen.length]);
    });
    const follow = () => {
      const point = Number((/^#point-(\d+)$/.exec(location.hash) || [])[1] ?? NaN);
      if (point < map.x.length) { if (!visible(point)) isolate(isolated); pinned = point; show(point); }
    };
    addEventListener("hashchange", follow);
    return [draw, follow];
  }

  // Draw now, and again when the width changes.
  const drawings = [...document.querySelectorAll("figure[data-chart]")]
    .map((figure) => drawChart(data.charts[Number(figure.dataset.chart)], figure));
  const mapRoot = document.querySelector(".map");
  let follow = () => {};
  if (mapRoot && data.map) {
    const [draw, atHash] = startMap(data.map, mapRoot);
    drawings.push(draw);
    follow = atHash;
  }
  const drawAll = () => drawings.forEach((draw) => draw());
  drawAll();
  follow();
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    requestAnimationFrame(drawAll);
  });
})();
