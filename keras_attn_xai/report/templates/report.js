"use strict";
// The page is whole without this script; with it one text is shown at a time, by layer, head and query. Every number
// was computed in Python: here they are only looked up. Words reach the page as textContent alone.
(() => {
  if (typeof DecompressionStream === "undefined") return;
  const find = (id) => document.getElementById(id);
  const texts = JSON.parse(find("numbers").textContent);
  const sections = [...document.querySelectorAll("main > section")];
  const controls = Object.fromEntries(["sort", "map", "head", "queries", "way", "scale"].map((name) => [name, find(name)]));
  const rest = find("said").textContent;
  const state = { text: 0, map: "", head: "", queries: "", held: null, pointed: null };
  const NO_ORDER = 999;

  // ---- the numbers

  async function unpack(packed) {
    const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const planes = new Uint8Array(await new Response(stream).arrayBuffer());
    const half = planes.length / 2; // all low bytes, then all high bytes
    const numbers = new Int16Array(half);
    for (let i = 0; i < half; i++) numbers[i] = planes[i] | (planes[half + i] << 8);
    return numbers;
  }

  /** A text's maps, each with its arrays: C order, heads first. */
  async function readMaps(text) {
    const numbers = await unpack(text.numbers);
    let start = 0;
    const take = (count) => numbers.subarray(start, (start += count));
    return text.maps.map((map) => {
      const heads = map.heads.length;
      const [tau, shared] = [take(heads * map.queries.length), take(heads * map.queries.length)];
      const ruler = take(heads * map.queries.length * text.words);
      const weights = take(heads * map.rows * map.kept);
      const index = map.kept < text.words ? take(heads * map.rows * map.kept) : null;
      return { ...map, tau, shared, ruler, weights, index };
    });
  }

  /** The chosen map, head and reduction, or the nearest that a text has. */
  function chosen(text = texts[state.text]) {
    const map = text.maps.find((one) => one.name === state.map) ?? text.maps[text.default];
    if (!map) return null;
    const head = Math.max(0, map.heads.indexOf(state.head));
    const queries = Math.max(0, map.queries.indexOf(state.queries));
    const at = head * map.queries.length + queries;
    return { map, head, queries, at, tau: map.tau[at] };
  }

  /** Attention of all queries together, or of one; undefined where the page does not hold a weight. */
  function attention({ map, head, at }, words, query) {
    const scale = 10 ** -map.digits;
    const shown = new Array(words).fill(undefined);
    const from = query === null ? at * words : (head * map.rows + query) * map.kept;
    const numbers = query === null ? map.ruler : map.weights;
    const count = query === null ? words : map.kept;
    for (let i = 0; i < count; i++) {
      shown[query !== null && map.index ? map.index[from + i] : i] = numbers[from + i] * scale;
    }
    return shown;
  }

  /** What each query gives a word; undefined where the page does not hold a weight. */
  function received({ map, head }, word) {
    return Array.from({ length: map.rows }, (_, query) => {
      const from = (head * map.rows + query) * map.kept;
      const at = map.index ? map.index.subarray(from, from + map.kept).indexOf(word) : word;
      return at < 0 ? undefined : map.weights[from + at] * 10 ** -map.digits;
    });
  }

  // ---- what is pointed at: {word, query}, either may be null

  function pointOf(target) {
    const at = target instanceof Element ? target.closest("[data-word], [data-query]") : null;
    if (!at) return null;
    const own = chosen()?.map.own;
    const word = at.dataset.word === undefined ? null : Number(at.dataset.word);
    return { word, query: word === null ? Number(at.dataset.query) : own ? word : null };
  }

  // ---- drawing

  const wordsOf = (section) => [...section.querySelector(".moved").children].map((one) => one.textContent);
  const shapOf = (word) => sections[state.text].querySelector(".moved").children[word].title;
  const number = (value, digits) => (value === undefined ? "not kept" : value.toFixed(Math.max(0, digits)));
  const signed = (tau) => (tau === NO_ORDER ? "no order" : (tau < 0 ? "-" : "+") + Math.abs(tau / 100).toFixed(2));

  function quoted(word) {
    const letters = Array.from(word.trim() || "blank");
    const shown = letters.length > 40 ? letters.slice(0, 40).join("") + "…" : letters.join("");
    return `“\u2068${shown}\u2069”`; // isolated: its direction is its own
  }

  function draw() {
    const section = sections[state.text];
    const now = chosen();
    const words = wordsOf(section);
    const point = state.pointed ?? state.held;
    if (now) {
      const query = point?.query ?? null;
      const turned = query !== null && now.map.own && controls.way.value === "from";
      tint(section, words, turned ? received(now, query) : attention(now, words.length, query), now);
      tintQueries(section, point?.query === null ? received(now, point.word) : []);
      const who = query === null ? "" : quoted(now.map.own ? words[query] : now.map.labels[query]);
      section.querySelector(".now").textContent = query === null ? "" : `${turned ? "each query gives" : "of the query"} ${who}`;
      section.querySelector(".map").textContent = `${now.map.name} (heads: ${headName(now)}, query: ${now.map.queries[now.queries]})`;
      section.querySelector(".tau").textContent = signed(now.tau);
      section.querySelector(".shared").textContent = now.map.shared[now.at];
    }
    find("all").disabled = state.held === null;
    for (const one of section.querySelectorAll("[data-word], [data-query]")) {
      const at = one.dataset.query === undefined ? point?.word : point?.word === null ? point?.query : undefined;
      one.classList.toggle("pointed", at !== undefined && at === Number(one.dataset.word ?? one.dataset.query));
      if (one.hasAttribute("aria-pressed")) one.setAttribute("aria-pressed", String(one.classList.contains("pointed")));
    }
    const said = point ? sentence(now, words, point) : rest;
    if (find("said").textContent !== said) find("said").textContent = said; // said aloud again only when it changed
  }

  const isNumber = (head) => /^\d+$/.test(head);
  const headName = ({ map, head }) => (isNumber(map.heads[head]) ? `head ${map.heads[head]}` : map.heads[head]);

  function tint(section, words, shown, { map }) {
    const largest = Math.max(...shown.map((one) => Math.abs(one ?? 0))) || 1;
    const looked = section.querySelector(".looked").children;
    const columns = section.querySelector(".ruler").children;
    const lines = section.querySelector("tbody").rows;
    words.forEach((word, i) => {
      const share = (Math.abs(shown[i] ?? 0) / largest).toFixed(3);
      const said = `attention ${number(shown[i], map.digits)}`;
      looked[i].style.setProperty("--s", share);
      looked[i].title = said;
      columns[i].firstElementChild.style.setProperty("--s", share);
      columns[i].title = `${word}: ${said}, ${shapOf(i)}`;
      lines[i].cells[1].textContent = number(shown[i], map.digits);
    });
  }

  /** Queries that are not the words, by what each gives the word pointed at. */
  function tintQueries(section, given) {
    const largest = Math.max(...given.map((one) => Math.abs(one ?? 0)), 0) || 1;
    section.querySelectorAll(".queries > *").forEach((one, i) => {
      one.style.setProperty("--s", (Math.abs(given[i] ?? 0) / largest).toFixed(3));
    });
  }

  /** The three largest of some weights, in words. */
  function strongest(shown, labels, digits) {
    const order = [...shown.keys()].filter((i) => shown[i]).sort((a, b) => shown[b] - shown[a] || a - b);
    return order.slice(0, 3).map((i) => `${quoted(labels[i])} ${number(shown[i], digits)}`).join(", ") || "nothing";
  }

  function sentence(now, words, { word, query }) {
    const parts = [];
    if (word !== null) {
      const got = now ? `, attention of all queries ${number(attention(now, words.length, null)[word], now.map.digits)}` : "";
      parts.push(`${quoted(words[word])}, word ${word + 1} of ${words.length}: ${shapOf(word)}${got}.`);
    }
    if (query !== null) {
      const who = word === null ? `The query ${quoted(now.map.labels[query])}` : "As a query it";
      parts.push(`${who} attends to ${strongest(attention(now, words.length, query), words, now.map.digits)}.`);
    }
    if (word !== null && now?.map.rows > 1) {
      const whose = now.map.index ? "Of the weights kept, it gets most from" : "It gets most from";
      const labels = now.map.own ? words : now.map.labels;
      parts.push(`${whose} ${strongest(received(now, word), labels, now.map.digits)}.`);
    }
    return parts.join(" ");
  }

  // ---- the controls

  function fill(select, options, value) {
    select.replaceChildren(...options.map(([name, shown]) => new Option(shown, name, false, name === value)));
    select.disabled = options.length < 2;
  }

  function fillControls() {
    const now = chosen();
    const same = (list) => list.map((one) => [one, one]);
    fill(controls.map, now ? same(texts[state.text].maps.map((one) => one.name)) : [["", "none"]], now?.map.name);
    const heads = now ? now.map.heads.map((one) => [one, isNumber(one) ? `head ${one}` : `${one} of heads`]) : [["", "none"]];
    fill(controls.head, heads, now?.map.heads[now.head]);
    fill(controls.queries, now ? same(now.map.queries) : [["", "none"]], now?.map.queries[now.queries]);
    controls.way.disabled = !now?.map.own;
    showQueries(now);
  }

  /** The queries of a map whose queries are not the words themselves. */
  function showQueries(now) {
    const section = sections[state.text];
    section.querySelector(".queries")?.remove();
    if (!now || now.map.own || now.map.rows < 2) return; // one query alone is all of them together
    const line = document.createElement("p");
    line.className = "words queries";
    line.append("Queries: ");
    line.append(...now.map.labels.flatMap((label, i) => {
      const one = document.createElement("span");
      one.dataset.query = i;
      one.textContent = label;
      return [one, " "];
    }));
    section.querySelector(".looked").after(line);
    walkable(line, "Queries of this map");
  }

  // ---- every head at a glance

  const PIXELS = 64; // of a square's side; several weights of a long text share one, the largest shows

  function overview() {
    const maps = texts[state.text].maps.filter((map) => map.rows > 1 && texts[state.text].words);
    find("overview").hidden = !maps.some((map) => map.heads.some(isNumber));
    find("grid").replaceChildren();
    if (!find("overview").open) return;
    const colour = getComputedStyle(document.documentElement).getPropertyValue("--attention").trim();
    for (const map of maps) {
      const [name, line] = [document.createElement("b"), document.createElement("div")];
      name.textContent = map.name;
      line.append(...map.heads.flatMap((head, i) => (isNumber(head) ? [square(map, head, i, colour)] : [])));
      find("grid").append(name, line);
    }
    markSquares(chosen());
  }

  function square(map, head, place, colour) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(picture(map, place, colour), "");
    button.addEventListener("click", () => change({ map: map.name, head }, true));
    return Object.assign(button, { map, place });
  }

  function picture(map, place, colour) {
    const words = texts[state.text].words;
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [Math.min(PIXELS, words), Math.min(PIXELS, map.rows)];
    const seen = new Float32Array(canvas.width * canvas.height);
    for (let query = 0; query < map.rows; query++) {
      const top = Math.floor((query * canvas.height) / map.rows) * canvas.width;
      const from = (place * map.rows + query) * map.kept;
      for (let i = 0; i < map.kept; i++) {
        const at = top + Math.floor(((map.index ? map.index[from + i] : i) * canvas.width) / words);
        seen[at] = Math.max(seen[at], Math.abs(map.weights[from + i]));
      }
    }
    const largest = seen.reduce((a, b) => Math.max(a, b), 1);
    const [red, green, blue] = colour.split(" ").map(Number);
    const image = new ImageData(canvas.width, canvas.height);
    seen.forEach((one, i) => image.data.set([red, green, blue, Math.round((255 * one) / largest)], 4 * i));
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas;
  }

  function markSquares(now) {
    const squares = [...find("grid").querySelectorAll("button")];
    const at = squares.findIndex((one) => one.map === now?.map && one.place === now.head);
    squares.forEach((one, i) => {
      const { map, place } = one;
      const tau = signed(map.tau[place * map.queries.length + Math.max(0, map.queries.indexOf(state.queries))]);
      one.lastChild.textContent = tau === "no order" ? "–" : tau;
      one.title = `${map.name}, head ${map.heads[place]}, Kendall tau: ${tau}`;
      one.setAttribute("aria-label", one.title);
      one.setAttribute("aria-pressed", String(i === at));
      one.tabIndex = i === Math.max(0, at) ? 0 : -1;
    });
  }

  /** One stop of the Tab key, arrow keys within. */
  function walkable(line, name) {
    line.setAttribute("role", "group");
    line.setAttribute("aria-label", name);
    [...line.children].forEach((one, i) => {
      one.setAttribute("role", "button");
      one.setAttribute("aria-pressed", "false");
      if (!one.textContent.trim()) one.setAttribute("aria-label", `blank, number ${i + 1}`);
      one.tabIndex = i === 0 ? 0 : -1;
    });
  }

  function walk(event) {
    const line = event.target.closest("[role=group], #list");
    const stops = line ? [...line.querySelectorAll("[tabindex]")] : [];
    const at = stops.indexOf(event.target);
    if (at < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    const forward = getComputedStyle(line).direction === "rtl" ? -1 : 1;
    const { parentElement: part } = event.target;
    const down = part.parentElement === line ? part.children.length : 1; // a layer of the squares is a line of its own
    const [first, last] = [-at, stops.length - 1 - at];
    const steps = { ArrowRight: forward, ArrowLeft: -forward, ArrowDown: down, ArrowUp: -down, Home: first, End: last };
    if (!(event.key in steps)) return;
    event.preventDefault();
    const next = stops[at + steps[event.key]] ?? event.target;
    stops.forEach((one) => (one.tabIndex = one === next ? 0 : -1));
    next.focus();
  }

  // ---- the list of texts

  function listTexts() {
    find("list").append(...sections.map((section, i) => {
      const button = document.createElement("button");
      const name = document.createElement("b");
      const tau = document.createElement("span");
      const start = document.createElement("small");
      button.type = "button";
      button.dataset.text = i;
      name.textContent = section.querySelector("h2").firstChild.textContent.trim();
      start.textContent = wordsOf(section).slice(0, 12).join(" ").slice(0, 80);
      start.dir = "auto";
      button.append(name, " ", tau, " ", start);
      button.addEventListener("click", () => choose(i));
      const item = document.createElement("li");
      item.append(button);
      return item;
    }));
  }

  function orderTexts() {
    const tau = (i) => chosen(texts[i])?.tau ?? NO_ORDER;
    const items = [...find("list").children].sort((a, b) => a.firstChild.dataset.text - b.firstChild.dataset.text);
    if (controls.sort.value === "disagreement") {
      items.sort((a, b) => tau(a.firstChild.dataset.text) - tau(b.firstChild.dataset.text));
    }
    items.forEach((item, place) => {
      const i = Number(item.firstChild.dataset.text);
      item.querySelector("span").textContent = texts[i].maps.length ? `tau ${signed(tau(i))}` : "no map";
      item.firstChild.setAttribute("aria-current", String(i === state.text));
      item.firstChild.tabIndex = i === state.text ? 0 : -1;
      if (find("list").children[place] !== item) find("list").insertBefore(item, find("list").children[place] ?? null);
    });
  }

  function choose(i) {
    Object.assign(state, { text: i, held: null, pointed: null });
    sections.forEach((section, j) => (section.hidden = j !== i));
    fillControls();
    orderTexts();
    overview();
    draw();
  }

  /** Another map, head or reduction; the word that is held stays, where it is a query of both maps. */
  function change(wanted, holds) {
    const before = chosen().map;
    Object.assign(state, wanted);
    Object.assign(state, { held: holds && before.own && chosen().map.own ? state.held : null, pointed: null });
    fillControls();
    orderTexts();
    markSquares(chosen());
    draw();
  }

  /** SHAP of each text beside its own largest value, or beside the largest of all texts in its unit. */
  function rescale() {
    const shared = controls.scale.value === "shared";
    sections.forEach((section) => section.style.setProperty("--strength", shared ? section.dataset.strength : 1));
  }

  // ---- the start

  /** What a word says when pointed at: its numbers, which the page writes once, in the table. */
  function entitle(section) {
    const [moved, columns] = [section.querySelector(".moved").children, section.querySelector(".ruler").children];
    [...section.querySelector("tbody").rows].forEach(({ cells }, i) => {
      moved[i].title = `SHAP ${cells[cells.length - 1].textContent.trim()}`;
      columns[i].title = `${moved[i].textContent}: ${moved[i].title}`;
      const looked = section.querySelector(".looked")?.children[i];
      if (looked) looked.title = `attention ${cells[1].textContent.trim()}`;
    });
  }

  async function start() {
    for (const text of texts) text.maps = await readMaps(text);
    sections.forEach((section) => {
      const line = section.querySelector(".looked") ?? section.querySelector(".moved");
      for (const part of section.querySelectorAll(".looked, .moved, .ruler")) {
        [...part.children].forEach((one, i) => (one.dataset.word = i));
      }
      walkable(line, "Words; arrow keys move between them");
      entitle(section);
      const point = (to) => ((state.pointed = to), draw());
      section.addEventListener("pointerover", (event) => point(pointOf(event.target)));
      section.addEventListener("pointerleave", () => point(null));
      const hold = (event) => {
        state.held = pointOf(event.target) ?? state.held;
        draw();
        const column = section.querySelector(".ruler .pointed");
        if (column && event.type === "focusin") {
          column.parentElement.scrollLeft = column.offsetLeft - column.parentElement.clientWidth / 2;
        }
      };
      section.addEventListener("focusin", hold);
      section.addEventListener("click", hold);
    });
    const release = () => (Object.assign(state, { held: null, pointed: null }), draw());
    find("all").addEventListener("click", release);
    document.addEventListener("keydown", (event) => (event.key === "Escape" ? release() : walk(event)));
    controls.sort.addEventListener("change", orderTexts);
    for (const name of ["map", "head", "queries"]) {
      controls[name].addEventListener("change", () => change({ [name]: controls[name].value }, name !== "queries"));
    }
    controls.way.addEventListener("change", draw);
    controls.scale.addEventListener("change", rescale);
    find("overview").addEventListener("toggle", overview);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", overview);
    listTexts();
    choose(0);
    document.documentElement.classList.add("live");
  }

  start();
})();
