"use strict";
// What a recognizer found in a text: marked, to be corrected, listed and downloaded. The value is
// {text, entities, concepts, threshold, note}; entities that the visitor added or relabelled have no score.
window.nerfound.findings = (element, props, trigger, watch) => {
  const { el, copy, color, percent, wholeWords, withMention, surface, replace } = window.nerfound;
  const root = el("div", { class: "nf-findings" });
  element.replaceChildren(root);
  const body = el("div");
  root.append(body);
  const menu = window.nerfound.menu(root);
  const editable = props.editable;
  let found = read(), listed = false;

  function read() {
    const value = copy(props.value);
    return value && typeof value.text === "string" ? { threshold: 0, entities: [], concepts: [], ...value } : null;
  }

  const shown = () => found.entities.filter((entity) => entity.score === null || entity.score === undefined || entity.score >= found.threshold);
  const sure = (entity) => entity.score === null || entity.score === undefined;

  function change(edit) {
    edit();
    props.value = copy(found);
    render();
  }

  function describe(entity, words) {
    if (entity.verdict) {
      const sign = { right: "✓", partly: "≈", wrong: "✗" }[entity.verdict] || entity.verdict;
      return { tag: `${entity.label} ${sign}`, kind: `nf-${entity.verdict}`, spoken: `${words}: ${entity.label}, ${entity.verdict}` };
    }
    const certainty = sure(entity) ? "yours" : percent(entity.score);
    return { tag: `${entity.label} ${certainty}`, kind: sure(entity) ? "nf-yours" : "",
      spoken: `${words}: ${entity.label}, ${sure(entity) ? "corrected by you" : `score ${certainty} %`}${editable ? ". Correct" : ""}` };
  }

  function render() {
    menu.close();
    if (!found) {
      replace(body, el("p", { class: "nf-empty" }, props.placeholder));
      return;
    }
    const entities = shown();
    const text = surface({ text: found.text, entities, names: found.concepts, label: "Text with its entities", name: "f", describe,
      open: editable ? openMenu : null });
    if (editable) text.classList.add("nf-editable");
    const legend = el("ul", { class: "nf-legend", "aria-label": "Concepts" }, ...found.concepts.map((name, index) =>
      el("li", { class: color(index) }, name)));
    replace(body, ...(found.note ? [el("p", { class: "nf-note", role: "status" }, found.note)] : []),
      text, legend, ...(editable ? [slider(entities.length), table(entities)] : []));
  }

  function slider(count) {
    const input = el("input", { type: "range", min: 0, max: 100, step: 1, value: Math.round(found.threshold * 100), "data-key": "threshold", "aria-label": "Threshold: hide entities with a lower score, in percent" });
    input.addEventListener("input", () => change(() => { found.threshold = Number(input.value) / 100; }));
    const hidden = found.entities.length - count;
    return el("label", { class: "nf-slider" }, el("span", {}, "Hide scores below"), input,
      el("output", {}, `${input.value} %`), el("small", {}, hidden ? `${hidden} hidden` : `${count} shown`));
  }

  function table(entities) {
    const words = (entity) => [...found.text].slice(entity.start, entity.end).join("");
    const details = el("details", { class: "nf-table", ontoggle: (event) => { listed = event.target.open; } },
      el("summary", { "data-key": "summary" }, `Table and downloads (${entities.length})`),
      el("div", { class: "nf-scroll", tabindex: "0", role: "region", "aria-label": "Table of entities" }, el("table", {},
        el("thead", {}, el("tr", {}, ...["text", "concept", "score", "characters"].map((name) => el("th", { scope: "col" }, name)))),
        el("tbody", {}, ...entities.map((entity) => el("tr", {}, el("td", {}, words(entity)), el("td", {}, entity.label),
          el("td", {}, sure(entity) ? "yours" : entity.score.toFixed(2)), el("td", {}, `${entity.start}–${entity.end}`)))))),
      el("div", { class: "nf-row" },
        el("button", { type: "button", class: "nf-button", onclick: () => save("entities.csv", "text/csv;charset=utf-8", csv(entities, words)) }, "Download CSV"),
        el("button", { type: "button", class: "nf-button", onclick: () => save("entities.json", "application/json", json(entities, words)) }, "Download JSON")));
    details.open = listed;
    return details;
  }

  // A spreadsheet would run a cell that begins like a formula; with the apostrophe it is text
  const cell = (value) => {
    const text = String(value ?? "");
    return `"${(/^[=+\-@\t\r\n]/u.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
  };
  const csv = (entities, words) => "\ufeff" + [["text", "label", "score", "start", "end"],
    ...entities.map((entity) => [words(entity), entity.label, sure(entity) ? "" : entity.score, entity.start, entity.end])]
    .map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
  const json = (entities, words) => JSON.stringify({ text: found.text, entities: entities.map((entity) => (
    { start: entity.start, end: entity.end, label: entity.label, text: words(entity), score: entity.score ?? null })) }, null, 1) + "\n";

  function save(name, type, content) {
    const url = URL.createObjectURL(new Blob([content], { type }));
    const link = el("a", { href: url, download: name });
    root.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  }

  function openMenu(entity, mark, byKeyboard) {
    menu.open({
      rect: mark.getBoundingClientRect(), words: mark.textContent, names: found.concepts, current: entity.label, opener: mark, byKeyboard,
      onPick: (label) => change(() => { entity.label = label; entity.score = null; }),
      onRemove: () => change(() => { found.entities = found.entities.filter((other) => other !== entity); }),
    });
  }

  if (editable) window.nerfound.onSelection(root, (holder, selection) => {
    if (!found) return;
    const points = [...found.text], span = wholeWords(points, selection.start, selection.end);
    if (!span) return;
    menu.open({
      rect: selection.rect, words: points.slice(...span).join(""), names: found.concepts,
      onPick: (label) => change(() => { found.entities = withMention(found.entities, { start: span[0], end: span[1], label, score: null }); }),
    });
  });

  watch("value", () => { found = read(); render(); });
  render();
};
