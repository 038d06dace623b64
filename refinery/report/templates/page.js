"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const make = (tag, text, style) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (style) element.className = style;
    return element;
  };
  const words = (verdict) => verdict.replace("_", " ");

  // Light and dark
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const theme = at("theme");
  const isDark = () => (document.documentElement.dataset.theme || (dark.matches ? "dark" : "light")) === "dark";
  const nameTheme = () => { theme.textContent = isDark() ? "Light" : "Dark"; theme.setAttribute("aria-label", isDark() ? "Light colours" : "Dark colours"); };
  theme.hidden = false;
  theme.addEventListener("click", () => { document.documentElement.dataset.theme = isDark() ? "light" : "dark"; nameTheme(); });
  dark.addEventListener("change", nameTheme);
  nameTheme();

  const data = at("samples");
  if (!data) return;
  const samples = JSON.parse(data.textContent);
  const png = (base64) => "data:image/png;base64," + base64;
  const named = (label) => label.name + (label.item ? `[${label.item}]` : "");
  const measured = (label) => label.drift === null ? "" : label.unit === "flip" ? (label.drift >= 0.5 ? "flipped" : "did not flip") : `${label.drift.toFixed(2)} ${label.unit}`;

  // Filters
  const filters = { sort: at("sort"), label: at("label"), verdict: at("verdict"), class: at("class") };
  const offer = (select, values, shown) => {
    for (const value of [...new Set(values)].sort()) {
      const option = make("option", shown ? shown(value) : value);
      option.value = value;
      select.append(option);
    }
    select.parentElement.hidden = select.options.length < 2;
  };
  offer(filters.label, samples.flatMap((sample) => sample.labels.map((label) => label.name)));
  offer(filters.verdict, samples.flatMap((sample) => [sample.verdict, ...sample.labels.map((label) => label.verdict)]), words);
  offer(filters.class, samples.flatMap((sample) => sample.classes));
  at("filters").hidden = false;
  at("filters").addEventListener("submit", (event) => event.preventDefault());

  const judged = (sample) => filters.label.value ? sample.labels.filter((label) => label.name === filters.label.value) : sample.labels;
  const fits = (sample) => {
    const labels = judged(sample);
    if (filters.label.value && !labels.length) return false;
    const verdicts = filters.label.value ? labels.map((label) => label.verdict) : [sample.verdict];
    if (filters.verdict.value && !verdicts.includes(filters.verdict.value)) return false;
    return !filters.class.value || sample.classes.includes(filters.class.value);
  };
  let shown = [];
  const refresh = () => {
    const sort = filters.sort.value;
    shown = samples.filter(fits).sort((a, b) => sort === "key" ? (a.key < b.key ? -1 : 1) : a[sort] - b[sort]);
    at("count").textContent = `${shown.length} of ${samples.length} samples shown`;
    at("cards").replaceChildren(...shown.map(card));
  };
  const card = (sample, index) => {
    const button = make("button", undefined, "card");
    const image = make("img");
    const label = judged(sample)[0];
    const name = make("span", undefined, "name");
    const name_text = make("bdi", sample.key);
    button.type = "button";
    image.src = png(sample.refined);
    image.alt = "";
    name.append(make("i", undefined, "chip " + sample.verdict), name_text);
    button.append(image, name, make("span", `${words(sample.verdict)}${label ? `; ${named(label)} ${measured(label) || words(label.verdict)}` : ""}`));
    button.setAttribute("aria-label", `Look at ${sample.key}: ${words(sample.verdict)}`);
    button.addEventListener("click", () => look(index));
    return button;
  };
  for (const select of Object.values(filters)) select.addEventListener("change", refresh);

  // The viewer
  const viewer = at("viewer"), stage = at("stage"), pair = at("pair"), slider = at("slider"), marks = at("marks");
  let place = 0, scale = 1;
  const path = (d, style, dx, dy) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", "path");
    element.setAttribute("d", d);
    element.setAttribute("class", style);
    if (dx || dy) element.setAttribute("transform", `translate(${dx} ${dy})`);
    return element;
  };
  const arrow = ([x, y], [dx, dy]) => {
    const length = Math.hypot(dx, dy), head = Math.min(0.4 * length, 8 / scale);
    const [ux, uy] = [dx / length, dy / length], [tx, ty] = [x + dx, y + dy];
    const barb = (side) => `M${tx} ${ty}L${tx - head * ux + side * 0.6 * head * uy} ${ty - head * uy - side * 0.6 * head * ux}`;
    return `M${x} ${y}L${tx} ${ty}${barb(1)}${barb(-1)}`;
  };
  const mark = () => {
    const sample = shown[place], drawn = [];
    for (const label of judged(sample)) {
      const [dx, dy] = label.shift || [0, 0];
      if (label.path && at("outlines").checked) {
        drawn.push(path(label.path, "halo", 0, 0), path(label.path, "was", 0, 0));
        if (dx || dy) drawn.push(path(label.path, "is", dx, dy));
      }
      if (label.middle && (dx || dy) && at("arrows").checked) {
        const line = arrow(label.middle, [dx * sample.times, dy * sample.times]);
        drawn.push(path(line, "halo", 0, 0), path(line, "arrow", 0, 0));
      }
    }
    marks.replaceChildren(...drawn);
  };
  const slide = () => {
    at("after").style.clipPath = `inset(0 ${100 - slider.value}% 0 0)`;
    at("handle").style.left = `${slider.value}%`;
    slider.setAttribute("aria-valuetext", `${slider.value}% refined`);
  };
  const zoom = (wanted) => {
    const sample = shown[place], ratio = window.devicePixelRatio || 1;
    scale = Math.min(32, Math.max(0.25, wanted));
    pair.style.width = `${sample.width * scale / ratio}px`;
    pair.style.height = `${sample.height * scale / ratio}px`;
    at("scale").textContent = scale === 1 ? "1:1" : `${Math.round(scale * 100) / 100} times`;
    mark();
  };
  const fit = () => {
    const sample = shown[place], ratio = window.devicePixelRatio || 1;
    const room = Math.min(stage.clientWidth / sample.width, 0.56 * window.innerHeight / sample.height) * ratio;
    zoom(room >= 1 ? Math.floor(room) : room);
  };
  const look = (index) => {
    place = (index + shown.length) % shown.length;
    const sample = shown[place];
    at("viewer-title").replaceChildren(make("bdi", sample.key));
    at("before").src = png(sample.synthetic);
    at("after").src = png(sample.refined);
    marks.setAttribute("viewBox", `0 0 ${sample.width} ${sample.height}`);
    stage.setAttribute("aria-label", `${sample.key}, synthetic and refined, ${sample.width} by ${sample.height} pixels`);
    const delivered = { softened: `delivered at strength ${sample.strength}`, quarantined: "in quarantine; the synthetic image was delivered", kept: "delivered all the same" }[sample.status];
    const cut = sample.of ? `cut out of ${sample.of[0]}x${sample.of[1]} px` : "";
    const longer = sample.times > 1 ? `arrows are ${sample.times} times as long as the move` : "";
    const classes = sample.classes.length ? `class ${sample.classes.join(", ")}` : "";
    at("about").textContent = [words(sample.verdict), delivered, classes, cut, longer, `${place + 1} of ${shown.length}`].filter(Boolean).join("; ");
    at("labels").tBodies[0].replaceChildren(...sample.labels.map((label) => {
      const row = make("tr");
      const between = label.lower === null || label.upper === null ? "" : `${label.lower.toFixed(2)} to ${label.upper.toFixed(2)}`;
      const verdict = make("td");
      verdict.append(make("i", undefined, "chip " + label.verdict), words(label.verdict));
      row.append(make("td", named(label) + (label.text ? ` (${label.text})` : "")), verdict, make("td", measured(label)), make("td", between), make("td", label.reason));
      return row;
    }));
    if (!viewer.open) viewer.showModal();
    slide();
    fit();
  };
  slider.addEventListener("input", slide);
  for (const id of ["outlines", "arrows"]) at(id).addEventListener("change", mark);
  const press = { previous: () => look(place - 1), next: () => look(place + 1), close: () => viewer.close(), smaller: () => zoom(scale / 2), larger: () => zoom(scale * 2), actual: () => zoom(1), fit };
  for (const [id, action] of Object.entries(press)) at(id).addEventListener("click", action);
  const keys = { n: press.next, p: press.previous, "+": press.larger, "=": press.larger, "-": press.smaller, "1": press.actual, "0": fit, o: () => at("outlines").click(), a: () => at("arrows").click() };
  const step = (by) => { slider.value = Number(slider.value) + by; slide(); };
  viewer.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const side = { ArrowLeft: -5, ArrowRight: 5 }[event.key];
    if (side && event.target !== slider) { step(side); event.preventDefault(); }
    else if (keys[event.key]) { keys[event.key](); event.preventDefault(); }
  });
  const drag = (event) => {
    const box = pair.getBoundingClientRect();
    slider.value = 100 * (event.clientX - box.left) / box.width;
    slide();
  };
  pair.addEventListener("pointerdown", (event) => { if (event.pointerType === "mouse") event.preventDefault(); stage.focus({ preventScroll: true }); drag(event); });
  pair.addEventListener("pointermove", (event) => { if (event.buttons) drag(event); });
  window.addEventListener("resize", () => { if (viewer.open) fit(); });
  refresh();
})();
