"use strict";
(() => {
  const data = (name) => {
    const found = document.getElementById("data-" + name);
    return found ? JSON.parse(found.textContent) : null;
  };
  const make = (tag, words, kind) => {
    const made = document.createElement(tag);
    if (words !== undefined) made.textContent = words;
    if (kind) made.className = kind;
    return made;
  };

  // What a number rests on, on hover, focus and touch.
  const basis = data("basis");
  const tip = document.getElementById("tip");
  let owner = null;
  const hide = () => {
    if (owner) owner.removeAttribute("aria-describedby");
    owner = null;
    tip.hidden = true;
  };
  const fill = (about) => {
    const list = make("dl");
    const lines = [["says", about.said], ["interval", about.interval], ["n", about.n], ["method", about.method], ["rows", about.rows]];
    for (const [name, words] of lines) list.append(make("dt", name), make("dd", words));
    tip.replaceChildren(make("p", about.what), list);
  };
  const place = (target) => {
    const box = target.getBoundingClientRect();
    const wide = document.documentElement.clientWidth;
    const middle = box.left + (target.matches(".mark") ? (box.width - tip.offsetWidth) / 2 : 0);
    const left = Math.max(12, Math.min(middle, wide - tip.offsetWidth - 12));
    const below = box.bottom + 8 + tip.offsetHeight < window.innerHeight || box.top < tip.offsetHeight + 8;
    tip.style.left = left + window.scrollX + "px";
    tip.style.top = (below ? box.bottom + 8 : box.top - tip.offsetHeight - 8) + window.scrollY + "px";
  };
  const show = (target) => {
    const about = basis[target.dataset.tip || target.dataset.bound];
    if (!about) return;
    hide();
    owner = target;
    fill(about);
    tip.hidden = false;
    target.setAttribute("aria-describedby", "tip");
    place(target);
  };
  const bound = (event) => (event.target.closest ? event.target.closest(".bound,.mark") : null);
  document.addEventListener("pointerover", (event) => {
    const target = bound(event);
    if (target && target !== owner) show(target);
    else if (!target && owner !== document.activeElement) hide();
  });
  document.addEventListener("focusin", (event) => (bound(event) ? show(bound(event)) : hide()));
  document.addEventListener("focusout", hide);
  document.addEventListener("click", (event) => (bound(event) ? show(bound(event)) : hide()));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hide();
    else if ((event.key === "Enter" || event.key === " ") && bound(event)) {
      event.preventDefault();
      show(bound(event));
    }
  });

  // Answers of base and tuned, side by side. Text only ever goes in as text.
  const items = data("items");
  if (!items) return;
  const PAGE = 10;
  const field = (name) => document.getElementById("items-" + name);
  const list = field("list");
  let matching = [];
  let start = 0;
  const TONE = {2: "bad", 3: "good", 4: "bad", 5: "good"};
  const number = (value) => (value === null ? "no value" : String(Number(value.toPrecision(4))));
  const side = (title, value, words) => {
    const made = make("div", undefined, "side");
    const said = make("p", words || "(no text recorded)", "said");
    said.dir = "auto";
    made.append(make("h4", title + ": " + number(value)), said);
    return made;
  };
  const asked = (row) => ((items.prompts || {})[items.pairs[row[0]].task] || {})[row[1]] || "";
  const card = (row) => {
    const pair = items.pairs[row[0]];
    const made = make("article");
    const head = make("h3");
    head.append(make("span", items.verdicts[row[2]], "verdict " + (TONE[row[2]] || "")));
    const seed = pair.seed === null || pair.seed === undefined ? "" : ", seed " + pair.seed;
    head.append(pair.task + "/" + pair.metric + ", " + row[1] + seed);
    made.append(head);
    const question = asked(row);
    if (question) {
      const said = make("p", question, "said asked");
      said.dir = "auto";
      made.append(said);
    }
    if (row[3]) made.append(make("p", "right answer: " + row[3], "gold"));
    const sides = make("div", undefined, "sides");
    sides.append(side(pair.versus, row[6], row[4]), side(pair.arm, row[7], row[5]));
    made.append(sides);
    return made;
  };
  const turn = (label, to, able) => {
    const made = make("button", label);
    made.type = "button";
    made.disabled = !able;
    made.addEventListener("click", () => { start = to; draw(); list.scrollIntoView({block: "start"}); });
    return made;
  };
  const draw = () => {
    const shown = matching.slice(start, start + PAGE);
    const end = start + shown.length;
    field("count").textContent = matching.length
      ? `${(start + 1).toLocaleString("en")} to ${end.toLocaleString("en")} of ${matching.length.toLocaleString("en")}`
      : "No item matches.";
    list.replaceChildren(...shown.map(card));
    if (matching.length > PAGE) {
      const turns = make("p");
      turns.append(turn("Previous", start - PAGE, start > 0), turn("Next", start + PAGE, end < matching.length));
      list.append(turns);
    }
  };
  const filter = () => {
    const task = field("task").value;
    const arm = field("arm").value;
    const verdict = items.verdicts.indexOf(field("verdict").value);
    const wanted = field("search").value.toLowerCase();
    matching = items.rows.filter((row) => {
      const pair = items.pairs[row[0]];
      if (task && pair.task !== task) return false;
      if (arm && pair.arm !== arm) return false;
      if (verdict >= 0 && row[2] !== verdict) return false;
      return !wanted || (row[1] + "\n" + row[3] + "\n" + row[4] + "\n" + row[5] + "\n" + asked(row)).toLowerCase().includes(wanted);
    });
    start = 0;
    draw();
  };
  for (const name of ["task", "arm", "verdict"]) field(name).addEventListener("change", filter);
  field("search").addEventListener("input", filter);
  field("tool").hidden = false;
  filter();
})();
