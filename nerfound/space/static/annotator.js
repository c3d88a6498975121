"use strict";
// Concepts and examples, as a visitor marks them. The value is the document: {concepts, examples}, and, where the
// visitor writes markup, the markup and what the server says to it.
window.nerfound.annotator = (element, props, trigger, watch) => {
  const { el, copy, color, key, wholeWords, withMention, surface, replace } = window.nerfound;
  const root = el("div", { class: "nf-annotator" });
  element.replaceChildren(root);
  const conceptsPart = el("div"), examplesPart = el("div");
  root.append(conceptsPart, examplesPart);
  const menu = window.nerfound.menu(root);
  let doc = read(), editing = -1, selected = null;

  function read() {
    const value = copy(props.value) || {};
    return { concepts: value.concepts || [], examples: value.examples || [], markup: value.markup ?? null, error: value.error || null };
  }

  const names = () => doc.concepts.map((concept) => concept.name);
  const count = (name) => doc.examples.reduce((sum, example) => sum + example.entities.filter((entity) => entity.label === name).length, 0);

  function change(edit) {
    edit();
    props.value = copy(doc);
    render();
  }

  function addConcept(name, description) {
    name = name.trim().replace(/\s+/gu, " ");
    if (!name) return "Write the concept’s name first.";
    if (names().some((other) => key(other) === key(name))) return `“${name}” is there already.`;
    if (doc.concepts.length >= props.max_concepts) return `This page takes at most ${props.max_concepts} concepts.`;
    change(() => doc.concepts.push({ name, description: description.trim() }));
    return null;
  }

  function renderConcepts() {
    const chips = doc.concepts.map((concept, index) => el("li", {},
      el("button", { type: "button", class: `nf-chip nf-keeps-selection ${color(index)}`, "data-key": `chip-${index}`,
        title: concept.description || false, "aria-expanded": editing === index ? "true" : "false",
        "aria-label": `Concept ${index + 1}: ${concept.name}, ${count(concept.name)} mentions. Edit, or mark the selected words.`,
        onpointerdown: (event) => event.preventDefault(),
        onclick: () => {
          if (menu.isOpen) menu.pick(index);
          else { editing = editing === index ? -1 : index; render(); }
        } },
      index < 9 ? el("kbd", { "aria-hidden": "true" }, String(index + 1)) : null,
      el("span", {}, concept.name), el("small", {}, String(count(concept.name))))));
    const problem = el("p", { class: "nf-problem", role: "alert", hidden: true });
    const name = el("input", { type: "text", "data-key": "new-name", placeholder: "e.g. city", "aria-label": "Name of a new concept", maxlength: props.max_name, autocomplete: "off" });
    const description = el("input", { type: "text", "data-key": "new-description", placeholder: "what it means (optional)", "aria-label": "Description of the new concept (optional)", maxlength: props.max_description, autocomplete: "off" });
    const form = el("form", { class: "nf-row", onsubmit: (event) => {
      event.preventDefault();
      const complaint = addConcept(name.value, description.value);
      problem.textContent = complaint || "";
      problem.hidden = !complaint;
      (conceptsPart.querySelector('[data-key="new-name"]') || name).focus();
    } }, name, description, el("button", { type: "submit", class: "nf-button" }, "Add concept"));
    replace(conceptsPart, el("ul", { class: "nf-chips", "aria-label": "Concepts" }, ...chips), editor(), form, problem);
  }

  function editor() {
    const concept = doc.concepts[editing];
    if (!concept) return null;
    const name = el("input", { type: "text", value: concept.name, "aria-label": "Name of the concept", "data-key": "edit-name", maxlength: props.max_name });
    const description = el("input", { type: "text", value: concept.description || "", placeholder: "what it means (optional)", "aria-label": "Description of the concept", "data-key": "edit-description", maxlength: props.max_description });
    name.addEventListener("input", () => name.setCustomValidity(""));
    const done = () => { editing = -1; };
    return el("form", { class: `nf-row nf-editor ${color(editing)}`, onsubmit: (event) => {
      event.preventDefault();
      const renamed = name.value.trim().replace(/\s+/gu, " "), before = concept.name;
      const taken = doc.concepts.some((other) => other !== concept && key(other.name) === key(renamed));
      if (!renamed || taken) { name.setCustomValidity(taken ? "Another concept has this name." : "Write a name."); name.reportValidity(); return; }
      change(() => {
        concept.name = renamed;
        concept.description = description.value.trim();
        for (const example of doc.examples) for (const entity of example.entities) if (entity.label === before) entity.label = renamed;
        done();
      });
    } }, name, description, el("button", { type: "submit", class: "nf-button" }, "Save"),
    el("button", { type: "button", class: "nf-button nf-quiet", onclick: () => change(() => {
      doc.concepts.splice(editing, 1);
      for (const example of doc.examples) example.entities = example.entities.filter((entity) => entity.label !== concept.name);
      done();
    }) }, "Remove concept"));
  }

  function renderExamples() {
    const marking = doc.markup === null;
    const tab = (label, pressed, onclick) => el("button", { type: "button", class: "nf-toggle", "aria-pressed": pressed ? "true" : "false", "data-key": `view-${label}`, onclick }, label);
    const views = el("div", { class: "nf-views", role: "group", "aria-label": "How to mark" },
      tab("Marks", marking, () => { if (doc.markup !== null) apply(); }),
      tab("Markup", !marking, () => { if (doc.markup === null) trigger("show_markup"); }));
    const total = doc.examples.reduce((sum, example) => sum + example.entities.length, 0);
    const head = el("div", { class: "nf-examples-head" }, views,
      el("span", { class: "nf-count" }, `${plural(doc.examples.length, "example")}, ${plural(total, "mention")}`));
    replace(examplesPart, head, ...(marking ? marksView() : markupView()));
  }

  const plural = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

  function marksView() {
    const items = doc.examples.map((example, index) => {
      const node = surface({
        text: example.text, entities: example.entities, names: names(), label: `Example ${index + 1}`, name: `e${index}`,
        describe: (entity, words) => ({ tag: entity.label, spoken: `${words}: ${entity.label}. Change` }),
        open: (entity, mark, byKeyboard) => openMenu(index, entity, mark, byKeyboard),
      });
      node.classList.add("nf-editable");
      node.dataset.example = index;
      return el("li", { class: "nf-example" }, node,
        el("button", { type: "button", class: "nf-close", "aria-label": `Remove example ${index + 1}`, title: "Remove this example",
          onclick: () => change(() => doc.examples.splice(index, 1)) }, "×"));
    });
    const list = items.length
      ? el("ol", { class: "nf-examples", tabindex: "0", "aria-label": "Examples" }, ...items)
      : el("p", { class: "nf-empty" }, "No example yet. Paste a few texts below, one per line.");
    const text = el("textarea", { rows: 2, "data-key": "new-text", placeholder: "Paste texts of your own, one per line", "aria-label": "New example texts, one per line" });
    const problem = el("p", { class: "nf-problem", role: "alert", hidden: true });
    const add = () => {
      const lines = text.value.split(/\r\n|[\r\n\u2028\u2029]/u).map((line) => line.trim()).filter(Boolean);
      const long = lines.findIndex((line) => [...line].length > props.max_example);
      const complaint = !lines.length ? "Write or paste a text first."
        : doc.examples.length + lines.length > props.max_examples ? `This page takes at most ${props.max_examples} examples; there are ${doc.examples.length}.`
        : long >= 0 ? `Line ${long + 1} has more than ${props.max_example.toLocaleString("en")} characters: cut it into sentences.` : null;
      if (complaint) { problem.textContent = complaint; problem.hidden = false; text.focus(); return; }
      change(() => lines.forEach((line) => doc.examples.push({ text: line, entities: [] })));
      const shown = examplesPart.querySelector(".nf-examples");
      shown.scrollTop = shown.scrollHeight;
    };
    text.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); add(); } });
    return [list, el("div", { class: "nf-row" }, text, el("button", { type: "button", class: "nf-button", onclick: add }, "Add texts")), problem];
  }

  function markupView() {
    const area = el("textarea", { class: "nf-markup", rows: 12, spellcheck: "false", dir: "auto", "data-key": "markup",
      "aria-label": "Examples as inline markup, one per line", "aria-describedby": "nf-markup-help", "aria-invalid": doc.error ? "true" : "false",
      placeholder: "a table at [Nobu](restaurant) in [Leeds](city)" });
    area.value = doc.markup;
    area.addEventListener("input", () => { doc.markup = area.value; });
    area.addEventListener("change", () => { props.value = copy(doc); });
    return [area,
      el("p", { class: "nf-problem", role: "alert", hidden: !doc.error }, doc.error || ""),
      el("div", { class: "nf-row" },
        el("span", { id: "nf-markup-help", class: "nf-hint" }, "One example per line: [mention](concept). A new concept is added by using it."),
        el("button", { type: "button", class: "nf-button", onclick: apply }, "Apply"))];
  }

  function apply() {
    props.value = copy(doc);
    trigger("apply_markup");
  }

  function openMenu(index, entity, mark, byKeyboard) {
    const example = doc.examples[index];
    menu.open({
      rect: mark.getBoundingClientRect(), words: mark.textContent, names: names(), current: entity.label, opener: mark, byKeyboard,
      onPick: (label) => { change(() => { entity.label = label; }); focusMark(index, entity); },
      onRemove: () => change(() => { example.entities = example.entities.filter((other) => other !== entity); }),
    });
  }

  function focusMark(index, entity) {
    examplesPart.querySelector(`[data-key="e${index}-${entity.start}-${entity.end}"]`)?.focus({ preventScroll: true });
  }

  window.nerfound.onSelection(root, (holder, selection) => {
    const index = Number(holder.dataset.example), example = doc.examples[index];
    if (!example) return;
    const points = [...example.text], span = wholeWords(points, selection.start, selection.end);
    if (!span) return;
    selected = { start: span[0], end: span[1] };
    menu.open({
      rect: selection.rect, words: points.slice(...span).join(""), names: names(),
      onPick: (label) => change(() => { example.entities = withMention(example.entities, { ...selected, label }); }),
    });
  });

  function render() {
    menu.close();
    const scrolled = examplesPart.querySelector(".nf-examples")?.scrollTop || 0;
    renderConcepts();
    renderExamples();
    const list = examplesPart.querySelector(".nf-examples");
    if (list) list.scrollTop = scrolled;
  }

  watch("value", () => { doc = read(); editing = -1; render(); });
  render();
};
