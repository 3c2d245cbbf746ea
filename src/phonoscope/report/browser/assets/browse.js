"use strict";

const PAGE = 50;
const F = DATA.features;
const COUNT = F.density.length;
const COLUMNS = [
  { key: "feature", label: "feature", value: (i) => i, text: (i) => String(i), up: true },
  { key: "density", label: "density", value: (i) => F.density[i], text: (i) => percent(F.density[i]) },
  { key: "best_phone", label: "phone", value: (i) => F.best_phone[i] || null, text: (i) => F.best_phone[i] || "–", left: true, up: true },
  { key: "auroc", label: "AUROC", value: (i) => F.auroc[i], text: (i) => F.auroc[i].toFixed(2) },
  { key: "precision", label: "precision", value: (i) => F.precision[i], text: (i) => F.precision[i].toFixed(2) },
  { key: "g", label: "g (sex)", value: (i) => "effects by sex" in DATA.skipped ? null : Math.abs(F.g[i]),
    text: (i) => "effects by sex" in DATA.skipped ? "–" : signed(F.g[i]) + (F.g_q[i] < 0.05 ? " *" : "") },
  { key: "effect", label: "effect", value: (i) => F.difference[i] === null ? null : Math.abs(F.difference[i]),
    text: (i) => F.difference[i] === null ? "–" : signed(F.difference[i]) + (F.causal[i] ? " ✓" : "") },
];
const FIELDS = {
  density: (i) => F.density[i], auroc: (i) => F.auroc[i], precision: (i) => F.precision[i], g: (i) => F.g[i],
  effect: (i) => F.difference[i],
};
const state = { sort: "auroc", down: true, page: 0, chosen: null, shown: [] };
const $ = (id) => document.getElementById(id);

function percent(share) { return share === 0 ? "0 %" : (100 * share).toPrecision(2) + " %"; }
function signed(number) { return (number < 0 ? "−" : "+") + Math.abs(number).toFixed(2); }

function element(name, options = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(options)) {
    if (key in made) made[key] = value; else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

// ---- search ----------------------------------------------------------------------------------------------------------

function matcher(term) {
  const comparison = /^(density|auroc|precision|d|effect)(<|>)(-?\d*\.?\d+)$/.exec(term);
  if (comparison) {
    const [, field, sign, limit] = comparison;
    const value = FIELDS[field];
    return (i) => value(i) !== null && (sign === "<" ? value(i) < Number(limit) : value(i) > Number(limit));
  }
  if (/^\d+$/.test(term)) return (i) => i === Number(term);
  const word = DATA.words.indexOf(term);
  return (i) => F.best_phone[i].toLowerCase() === term || F.detects[i].toLowerCase().split(" ").includes(term)
    || (word > 0 && DATA.windows[i].some((row) => row[4] === word));
}

function found() {
  const terms = $("search").value.trim().toLowerCase().replace(/\s*([<>])\s*/g, "$1").split(/\s+/).filter(Boolean);
  const tests = terms.map(matcher);
  if ($("with-clips").checked) tests.push((i) => F.clips[i]);
  if ($("causal-only").checked) tests.push((i) => F.causal[i]);
  const rows = [];
  for (let i = 0; i < COUNT; i++) if (tests.every((test) => test(i))) rows.push(i);
  return rows;
}

function sorted(rows) {
  const column = COLUMNS.find((other) => other.key === state.sort);
  const sign = state.down ? -1 : 1;
  return rows.sort((a, b) => {
    const x = column.value(a), y = column.value(b);
    if (x === null || y === null) return (x === null) - (y === null) || a - b;
    return (x < y ? -sign : x > y ? sign : 0) || a - b;
  });
}

// ---- table -----------------------------------------------------------------------------------------------------------

function drawTable() {
  state.shown = sorted(found());
  const pages = Math.max(1, Math.ceil(state.shown.length / PAGE));
  state.page = Math.min(state.page, pages - 1);
  const rows = state.shown.slice(state.page * PAGE, (state.page + 1) * PAGE);
  $("count").textContent = `${state.shown.length} of ${COUNT} features`;
  $("page").textContent = `page ${state.page + 1} of ${pages}`;
  $("previous").disabled = state.page === 0;
  $("next").disabled = state.page === pages - 1;
  $("rows").replaceChildren(...rows.map(drawRow));
  for (const header of $("columns").children) {
    const here = header.dataset.key === state.sort;
    if (here) header.setAttribute("aria-sort", state.down ? "descending" : "ascending");
    else header.removeAttribute("aria-sort");
  }
}

function drawRow(i) {
  const row = element("tr", { className: i === state.chosen ? "chosen" : "" });
  for (const column of COLUMNS) {
    const cell = element("td", { className: column.left ? "text" : "" });
    if (column.key === "feature") {
      const link = element("a", { href: `#feature-${i}`, textContent: String(i) });
      if (F.clips[i]) link.title = "has clips";
      cell.append(F.clips[i] ? "♪ " : "", link);
    } else cell.textContent = column.text(i);
    row.append(cell);
  }
  row.addEventListener("click", () => { location.hash = `feature-${i}`; });
  return row;
}

function drawHeader() {
  for (const column of COLUMNS) {
    const button = element("button", { type: "button", textContent: column.label });
    button.addEventListener("click", () => {
      state.down = state.sort === column.key ? !state.down : !column.up;
      state.sort = column.key;
      state.page = 0;
      drawTable();
    });
    const header = element("th", { scope: "col", className: column.left ? "text" : "" }, button);
    header.dataset.key = column.key;
    $("columns").append(header);
  }
}

// ---- one feature -----------------------------------------------------------------------------------------------------

function drawFeature(i) {
  state.chosen = i;
  const pane = $("feature");
  const rows = DATA.windows[i];
  pane.replaceChildren(
    element("h2", { textContent: `Feature ${i}` }),
    facts(i),
    element("h3", { textContent: "Mean activation by phone" }),
    histogram(i),
    element("h3", { textContent: "By word, sex and accent" }),
    element("p", {}, words(i)),
    groups(i),
    element("h3", { textContent: `Where it is most active: ${rows.length} windows` }),
  );
  if (!rows.length) pane.append(element("p", { className: "notice", textContent: "It is active nowhere in this corpus." }));
  else if (F.clips[i]) pane.append(element("div", { id: "clips" }, ...rows.map((row, rank) => clip(i, row, rank))));
  else pane.append(...list(rows));
  pane.scrollIntoView({ block: "nearest" });
}

function facts(i) {
  const rows = [["Density (share of frames)", percent(F.density[i])]];
  rows.push(["Mean activation where active", String(F.mean_active[i])]);
  if (F.best_phone[i]) {
    rows.push([`AUROC for ${F.best_phone[i]}, eval (train)`, `${F.auroc[i].toFixed(3)} (${F.auroc_train[i].toFixed(3)})`]);
    rows.push([`Top eval windows on ${F.best_phone[i]}`, percent(F.precision[i])]);
  }
  if (F.detects[i]) rows.push(["Best detector of", F.detects[i]]);
  if (!("effects by sex" in DATA.skipped)) {
    const strength = `${signed(F.g[i])} (${signed(F.g_low[i])} to ${signed(F.g_high[i])}), q = ${F.g_q[i]}`;
    rows.push(["Hedges' g, female − male speakers", strength]);
  }
  const tested = F.difference[i] !== null;
  const interval = tested ? ` (${signed(F.difference_low[i])} to ${signed(F.difference_high[i])}) nats a word` : "";
  const verdict = tested ? element("span", { className: F.causal[i] ? "yes" : "", textContent: F.causal[i] ? " causal" : " not shown causal" }) : "";
  const list = element("dl", {}, ...rows.map(([name, value]) => fact(name, value)));
  list.append(fact("Ablated, against controls", tested ? signed(F.difference[i]) + interval : "not tested", verdict));
  return list;
}

function fact(name, ...value) {
  return element("div", {}, element("dt", { textContent: name }), element("dd", {}, ...value));
}

function histogram(i) {
  const { groups: names, values } = DATA.means.phone;
  const means = values[i];
  const top = Math.max(...means, 1e-9);
  const order = means.map((mean, place) => [mean, place]).sort((a, b) => b[0] - a[0] || a[1] - b[1]).map((pair) => pair[1]);
  const spoken = order.slice(0, 3).map((place) => `${names[place]} ${means[place]}`).join(", ");
  const bars = element("div", { className: "bars", role: "img", "aria-label": `Mean activation by phone; highest: ${spoken}` });
  const labels = element("div", { className: "names", "aria-hidden": "true" });
  for (const place of order) {
    const bar = element("div", { title: `${names[place]}: ${means[place]}`, className: names[place] === F.best_phone[i] ? "best" : "" });
    bar.style.height = `${100 * means[place] / top}%`;
    bars.append(bar);
    labels.append(element("span", { textContent: names[place] || "–" }));
  }
  return element("div", {}, bars, labels);
}

function words(i) {
  const loud = DATA.loud_words[i];
  return loud.length ? loud.map(([word, mean]) => `${word} ${mean}`).join(" · ") : "active in none of the frequent words";
}

function groups(i) {
  const box = element("div", { className: "groups" });
  for (const kind of ["sex", "accent"]) {
    const { groups: names, values } = DATA.means[kind];
    const top = Math.max(...values[i], 1e-9);
    names.forEach((name, place) => {
      const bar = element("i");
      bar.style.width = `${100 * values[i][place] / top}%`;
      box.append(element("span", { textContent: name }), bar, element("span", { textContent: String(values[i][place]) }));
    });
  }
  return box;
}

function describe(row) {
  const [utterance, frame, , phone, word] = row;
  const [name, speaker, sex, accent, split] = DATA.utterances[utterance];
  const place = DATA.frame_s ? `at\u00a0${(frame * DATA.frame_s).toFixed(2)}\u00a0s` : `at token ${frame}`;
  const said = [DATA.phones[phone] || "no phone", DATA.words[word] && `in “${DATA.words[word]}”`].filter(Boolean).join(" ");
  return { said, who: [speaker, sex, accent, split].filter(Boolean).join(", "), where: `${name} ${place}` };
}

function clip(i, row, rank) {
  const { said, who, where } = describe(row);
  const folder = `clips/${String(i).padStart(5, "0")}`;
  const trace = DATA.traces[i][rank];
  const many = DATA.windows[i].length;
  const picture = element("div", { className: "picture", role: "img",
    "aria-label": `Spectrogram of ${where}; the feature peaks at ${row[2]} on ${said}` });
  picture.style.backgroundImage = `url("${folder}/spectrograms.png")`;
  picture.style.backgroundSize = `100% ${100 * many}%`;
  picture.style.backgroundPosition = `0 ${many > 1 ? 100 * rank / (many - 1) : 0}%`;
  picture.append(curve(trace, Math.max(...DATA.traces[i].flat())));
  const head = element("div", { className: "head", hidden: true });
  picture.append(head);
  const audio = element("audio", { controls: true, preload: "none", src: `${folder}/${String(rank + 1).padStart(2, "0")}.flac` });
  audio.setAttribute("aria-label", `Clip ${rank + 1}: ${where}`);
  follow(audio, head);
  const half = DATA.clip_s / 2;
  const axis = element("div", { className: "axis", "aria-hidden": "true" }, element("span", { textContent: `−${half} s` }),
    element("span", { textContent: "0" }), element("span", { textContent: `+${half} s` }));
  const caption = element("figcaption", {}, element("strong", { textContent: `${rank + 1}. ${said}` }),
    ` · activation ${row[2]}`, element("br"), `${who} · ${where}`);
  return element("figure", {}, caption, picture, axis, audio);
}

function curve(trace, top) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${trace.length - 1} 100`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const points = trace.map((value, place) => `${place},${(98 - 94 * value / top).toFixed(1)}`);
  const area = document.createElementNS(svg.namespaceURI, "polygon");
  area.setAttribute("points", [`0,100`, ...points, `${trace.length - 1},100`].join(" "));
  area.setAttribute("fill", "#d55e00");
  area.setAttribute("fill-opacity", "0.18");
  const line = document.createElementNS(svg.namespaceURI, "polyline");
  line.setAttribute("points", points.join(" "));
  line.setAttribute("fill", "none");
  line.setAttribute("stroke", "#d55e00");
  line.setAttribute("stroke-width", "2");
  line.setAttribute("vector-effect", "non-scaling-stroke");
  svg.append(area, line);
  return svg;
}

function follow(audio, head) {
  const move = () => {
    head.style.left = `${100 * audio.currentTime / DATA.clip_s}%`;
    if (!audio.paused) requestAnimationFrame(move);
  };
  audio.addEventListener("play", () => {
    for (const other of document.querySelectorAll("audio")) if (other !== audio) other.pause();
    head.hidden = false;
    move();
  });
  audio.addEventListener("ended", () => { head.hidden = true; });
}

function list(rows) {
  const table = element("table", { id: "windows" });
  const header = element("tr");
  for (const name of ["rank", "activation", "on", "speaker", "where"]) {
    header.append(element("th", { scope: "col", className: ["on", "speaker", "where"].includes(name) ? "text" : "", textContent: name }));
  }
  table.append(element("thead", {}, header));
  const body = element("tbody");
  rows.forEach((row, rank) => {
    const { said, who, where } = describe(row);
    const line = element("tr", {}, element("td", { textContent: String(rank + 1) }), element("td", { textContent: String(row[2]) }));
    for (const text of [said, who, where]) line.append(element("td", { className: "text", textContent: text }));
    body.append(line);
  });
  table.append(body);
  const note = "To bound the size of this page, clips were cut only for the features marked ♪, the best phone detectors first"
    + " (interpret.clip_features).";
  return [element("p", { className: "notice", textContent: note }), element("div", { className: "scroll" }, table)];
}

// ---- the page --------------------------------------------------------------------------------------------------------

function drawIntroduction() {
  const scores = DATA.scores;
  const clips = F.clips.filter(Boolean).length;
  document.title = `${DATA.site}: features`;
  $("title").textContent = `Features of ${DATA.site}`;
  $("headline").textContent = `${COUNT} features, ${scores.dead} of them never active; ${scores.phones_with_auroc_90} of `
    + `${scores.phones} phones have a feature with AUROC above 0.9; clips for ${clips} features, left out for the other `
    + `${COUNT - clips} to bound the size.`;
  const lines = [
    "Density: share of frames (20 ms) in which a feature is active.",
    "Phone and AUROC: the phone that the feature tells best from all others, by its highest activation in each phone segment;"
      + " chosen on train utterances, the area reported on eval utterances. 0.5 is chance.",
    "Precision: share of its top windows on eval whose highest frame carries that phone.",
    "g: Hedges' g of speaker means, female minus male, with its interval over speakers; * marks q < 0.05"
      + " (Benjamini-Hochberg). Sorted by size.",
    "Effect: change of the target words' log-probability when the feature is ablated, minus the mean effect of"
      + " controls of equal length on the same frames; ✓ where it beats the controls. – where it was not tested.",
    "Windows: a second around the frames in which the feature is highest. The orange curve is its activation, in the middle"
      + " its peak; the spectrogram is log-mel, dark is loud; white beyond the edges of the file.",
    "Keys: / searches, ↑ and ↓ go from row to row in the table, Enter opens a feature.",
    ...Object.entries(DATA.skipped).map(([name, reason]) => `Left out: ${name}: ${reason}.`),
  ];
  $("guide").append(...lines.map((line) => element("p", { textContent: line })));
}

function open() {
  const match = /^#feature-(\d+)$/.exec(location.hash);
  if (match && Number(match[1]) < COUNT) {
    drawFeature(Number(match[1]));
    drawTable();
    $("feature").focus({ preventScroll: true });
  }
}

function turn(step) {
  state.page += step;
  drawTable();
}

document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== $("search")) {
    event.preventDefault();
    $("search").focus();
  }
  const row = document.activeElement.closest("#rows tr");
  if (row && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
    const next = event.key === "ArrowDown" ? row.nextElementSibling : row.previousElementSibling;
    if (next) {
      event.preventDefault();
      next.querySelector("a").focus();
    }
  }
});
$("filters").addEventListener("submit", (event) => event.preventDefault());
$("filters").addEventListener("input", () => {
  state.page = 0;
  drawTable();
});
$("previous").addEventListener("click", () => turn(-1));
$("next").addEventListener("click", () => turn(1));
window.addEventListener("hashchange", open);
drawIntroduction();
drawHeader();
drawTable();
open();
