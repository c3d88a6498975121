"use strict";
// What the annotator and the findings share. Everything that a visitor or a model wrote becomes text nodes and
// attributes, never markup. Offsets are code points, as in Python.
window.nerfound = (() => {
  const WORD = /[\p{L}\p{N}\p{M}_]/u;
  const UNSPACED = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}\p{Script=Tibetan}]/u;
  const COLORS = 12;

  function el(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value === true) node.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
    }
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
  }

  const copy = (value) => JSON.parse(JSON.stringify(value ?? null));
  const color = (index) => (index < 0 ? "nf-c-none" : `nf-c${index % COLORS}`);
  const percent = (score) => `${Math.floor(score * 100)}`;
  const key = (name) => name.trim().toLowerCase().split(/\s+/u).join(" ");

  // White space goes, cut words are completed: entities begin and end with words
  function wholeWords(points, start, end) {
    while (start < end && /\s/u.test(points[start])) start++;
    while (end > start && /\s/u.test(points[end - 1])) end--;
    if (start >= end) return null;
    const joined = (i) => i > 0 && i < points.length && [points[i - 1], points[i]].every((c) => WORD.test(c) && !UNSPACED.test(c));
    while (joined(start)) start--;
    while (joined(end)) end++;
    return [start, end];
  }

  // The selection inside a surface, as code points
  function selectionIn(surface) {
    const selection = document.getSelection();
    if (!selection || selection.isCollapsed || !selection.rangeCount) return null;
    const range = selection.getRangeAt(0);
    if (!range.intersectsNode(surface)) return null;
    const whole = document.createRange();
    whole.selectNodeContents(surface);
    if (!surface.contains(range.startContainer) && !surface.contains(range.endContainer)) return null;
    if (surface.contains(range.startContainer)) whole.setStart(range.startContainer, range.startOffset);
    if (surface.contains(range.endContainer)) whole.setEnd(range.endContainer, range.endOffset);
    const before = document.createRange();
    before.selectNodeContents(surface);
    before.setEnd(whole.startContainer, whole.startOffset);
    const start = [...before.toString()].length;
    return { start, end: start + [...whole.toString()].length, rect: whole.getBoundingClientRect() };
  }

  const overlap = (one, other) => one.start < other.end && other.start < one.end;

  // Put a mention among others: it takes the place of those that it overlaps
  function withMention(entities, mention) {
    return [...entities.filter((entity) => !overlap(entity, mention)), mention].sort((a, b) => a.start - b.start);
  }

  // A text with its mentions. `describe` gives a mention's tag and spoken name; `open` is called with a mention.
  function surface({ text, entities, names, label, describe, open, name }) {
    const points = [...text];
    const node = el("div", { class: "nf-text", dir: "auto", role: "group", "aria-label": label });
    let at = 0;
    for (const entity of entities) {
      node.append(points.slice(at, entity.start).join(""));
      const words = points.slice(entity.start, entity.end).join("");
      const { tag, spoken, kind } = describe(entity, words);
      const mark = el("mark", {
        class: `nf-mark ${color(names.indexOf(entity.label))} ${kind || ""}`,
        "data-tag": tag,
        "aria-label": spoken,
        "data-key": `${name}-${entity.start}-${entity.end}`,
        ...(open ? { role: "button", tabindex: "0", "aria-haspopup": "dialog" } : {}),
      }, words);
      if (open) {
        mark.addEventListener("click", () => document.getSelection().isCollapsed && open(entity, mark));
        mark.addEventListener("keydown", (event) => {
          if (event.key !== "Enter" && event.key !== " ") return;
          event.preventDefault();
          open(entity, mark, true);
        });
      }
      node.append(mark);
      at = entity.end;
    }
    node.append(points.slice(at).join(""));
    return node;
  }

  // The menu that gives a mention its concept. One per component; numbers pick, Escape closes.
  function menu(root) {
    const node = el("div", { class: "nf-menu", role: "dialog", hidden: true });
    let state = null;
    root.append(node);

    function close(refocus = false) {
      if (!state) return;
      const { opener, byKeyboard } = state;
      state = null;
      node.hidden = true;
      if ((refocus || byKeyboard) && opener && opener.isConnected) opener.focus();
    }

    function pick(index) {
      const { onPick, names } = state;
      if (index >= names.length) return;
      close();
      document.getSelection().removeAllRanges();
      onPick(names[index]);
    }

    function open({ rect, words, names, current, onPick, onRemove, opener, byKeyboard }) {
      state = { names, onPick, onRemove, opener, byKeyboard };
      node.setAttribute("aria-label", `Concept of “${words}”`);
      const buttons = names.map((name, index) =>
        el("button", { type: "button", class: `nf-pick ${color(index)}`, "aria-pressed": current === name ? "true" : "false",
          onclick: () => pick(index) }, index < 9 ? el("kbd", {}, String(index + 1)) : null, el("span", {}, name)));
      if (onRemove) buttons.push(el("button", { type: "button", class: "nf-pick nf-remove", onclick: remove }, el("kbd", {}, "⌫"), "not an entity"));
      if (!names.length) buttons.push(el("p", {}, "Name a concept first."));
      node.replaceChildren(...buttons);
      node.hidden = false;
      const frame = root.getBoundingClientRect();
      const left = Math.min(Math.max(0, rect.left - frame.left), Math.max(0, frame.width - node.offsetWidth));
      node.style.left = `${left}px`;
      node.style.top = `${rect.bottom - frame.top + 6}px`;
      if (byKeyboard) node.querySelector("button")?.focus();
    }

    function remove() {
      const { onRemove } = state;
      close();
      onRemove();
    }

    node.addEventListener("pointerdown", (event) => event.preventDefault());  // the selection stays
    document.addEventListener("keydown", (event) => {
      if (!state || event.ctrlKey || event.metaKey || event.altKey) return;
      if (/^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement?.tagName || "")) return;
      if (event.key === "Escape") close(true);
      else if (/^[1-9]$/.test(event.key)) pick(Number(event.key) - 1);
      else if ((event.key === "Delete" || event.key === "Backspace") && state.onRemove) remove();
      else return;
      event.preventDefault();
    });
    document.addEventListener("pointerdown", (event) => {
      if (state && !node.contains(event.target) && !event.target.closest(".nf-keeps-selection")) close();
    });
    return { open, close, pick: (index) => state && pick(index), get isOpen() { return Boolean(state); } };
  }

  // Call `found` when words inside one of the surfaces of `root` have been selected, by mouse, finger or keyboard
  function onSelection(root, found) {
    let waiting = 0, pressed = false;
    const look = () => {
      const node = document.getSelection()?.anchorNode;
      const holder = (node?.nodeType === 1 ? node : node?.parentElement)?.closest?.(".nf-editable");
      if (!holder || !root.contains(holder) || pressed) return;
      const selected = selectionIn(holder);
      if (selected) found(holder, selected);
    };
    document.addEventListener("pointerdown", () => { pressed = true; });
    for (const type of ["pointerup", "pointercancel"]) document.addEventListener(type, () => { pressed = false; setTimeout(look, 0); });
    document.addEventListener("selectionchange", () => { clearTimeout(waiting); waiting = setTimeout(look, 250); });
  }

  // Replace what a component shows; the focus stays where it was
  function replace(parent, ...children) {
    const focused = parent.contains(document.activeElement) ? document.activeElement.getAttribute("data-key") : null;
    parent.replaceChildren(...children.filter(Boolean));
    if (focused) parent.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  }

  return { el, copy, color, percent, key, wholeWords, withMention, surface, menu, onSelection, replace };
})();
