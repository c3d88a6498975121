"use strict";
// Words with a colour each. {text, panels: [{title, note, words: [[start, end, color]]}]} or, for concepts without
// examples, {text, words: [[start, end]], concepts: [{name, description, scores}]}.
window.nerfound.words = (element, props, trigger, watch) => {
  const { el, copy } = window.nerfound;
  const root = el("div", { "aria-live": "polite" });
  element.replaceChildren(root);

  function colored(text, words, kind, dress) {
    const points = [...text], node = el("div", { class: kind, dir: "auto" });
    let at = 0;
    words.forEach(([start, end], index) => {
      node.append(points.slice(at, start).join(""));
      const word = el("span", {}, points.slice(start, end).join(""));
      dress(word, index);
      node.append(word);
      at = end;
    });
    node.append(points.slice(at).join(""));
    return node;
  }

  function panel({ title, note, words }, text) {
    return el("section", {}, el("h3", {}, title, el("small", {}, note ? ` ${note}` : "")),
      colored(text, words, "nf-words", (word, index) => { word.style.backgroundColor = words[index][2]; }));
  }

  // Strength is relative to the best word: the scores rank words, they are no probabilities
  function heat({ name, description, scores }, index, { text, words }) {
    const best = Math.max(...scores, 1e-9);
    const top = scores.indexOf(Math.max(...scores));
    const points = [...text];
    return el("section", { class: `nf-heat nf-c${index % 12}` }, el("h3", {}, name, el("small", {}, description ? ` ${description}` : "")),
      colored(text, words, "nf-text", (word, i) => {
        word.style.backgroundColor = `color-mix(in srgb, var(--nf-heat) ${Math.round(100 * (scores[i] / best) ** 1.5)}%, transparent)`;
        word.title = `score ${scores[i].toFixed(3)}`;
      }),
      words.length ? el("p", { class: "nf-hint" }, `Strongest: ${points.slice(...words[top]).join("")} (score ${scores[top].toFixed(2)})`) : null);
  }

  function render() {
    const value = copy(props.value);
    if (!value) root.replaceChildren(el("p", { class: "nf-empty" }, props.placeholder));
    else if (value.panels) root.replaceChildren(el("div", { class: "nf-panels" }, ...value.panels.map((each) => panel(each, value.text))));
    else root.replaceChildren(...value.concepts.map((concept, index) => heat(concept, index, value)));
  }

  watch("value", render);
  render();
};
