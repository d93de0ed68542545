"use strict";
(() => {
  // Studies and runs as the ledger's files say; the server tells what changed, and draws the charts.
  const PAGE = 50;
  const studies = new Map();
  const runs = new Map();
  const at = (id) => document.getElementById(id);
  const make = (tag, words, kind) => {
    const made = document.createElement(tag);
    if (words !== undefined) made.textContent = words;
    if (kind) made.className = kind;
    return made;
  };
  const place = () => new URLSearchParams(location.hash.slice(1));
  const go = (study, run) => {
    const next = new URLSearchParams({study});
    if (run) next.set("run", run);
    return "#" + next;
  };
  const number = (value) => (value === null || value === undefined ? "" : String(Number(value.toPrecision(4))));
  const total = (study) => Object.values(study.states).reduce((sum, n) => sum + n, 0);

  // ---- the line to the server
  let source = null;
  const say = (words, kind) => {
    const line = at("line");
    if (line.textContent !== words) line.textContent = words;
    line.className = kind;
  };
  const listen = () => {
    source = new EventSource("events");
    source.addEventListener("change", (event) => {
      const told = JSON.parse(event.data);
      if (told.first) {
        studies.clear();
        runs.clear();
      }
      for (const study of told.studies) studies.set(study.key, study);
      for (const row of told.rows) runs.set(row.id, row);
      for (const id of told.gone) runs.delete(id);
      say("live", "on");
      soon();
    });
    source.addEventListener("beat", () => say("live", "on"));
    source.addEventListener("error", () => {
      say("the line is down; trying again", "off");
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, 2000);
    });
  };

  // ---- parts that the server draws: fetched again when their study changed, one at a time
  const shown = new Map();
  const busy = new Set();
  const refresh = async (id, path, stamp) => {
    const box = at(id);
    const key = path + " " + stamp;
    if (busy.has(id) || shown.get(id) === key || document.hidden) return;
    if (shown.get(id)?.startsWith(path + " ") && box.contains(document.activeElement)) return;
    if (!shown.get(id)?.startsWith(path + " ")) box.replaceChildren(make("p", "…", "fix"));
    busy.add(id);
    shown.set(id, key);
    try {
      const answer = await fetch(path);
      const text = await answer.text();
      if (shown.get(id) === key) {
        if (answer.status === 202) {
          // Being computed: what stood there stays, and the next turn asks again.
          if (!box.querySelector("table")) box.replaceChildren(make("p", text, "fix"));
          shown.set(id, path + " later");
        } else if (answer.ok) box.innerHTML = text;
        else box.replaceChildren(make("p", text, "fix"));
      }
    } catch {
      shown.delete(id);
    } finally {
      busy.delete(id);
    }
  };

  // ---- drawing
  let waiting = false;
  const soon = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  };
  const cell = (row, i, words, kind) => {
    const box = row.cells[i] || row.appendChild(document.createElement(i ? "td" : "th"));
    if (!i) box.scope = "row";
    if (kind !== undefined && box.className !== kind) box.className = kind;
    if (words !== undefined && box.textContent !== words) box.textContent = words;
    return box;
  };
  const rowsOf = (body, count) => {
    while (body.rows.length > count) body.deleteRow(-1);
    while (body.rows.length < count) body.insertRow();
    return [...body.rows];
  };
  const link = (box, words, href) => {
    const a = box.firstElementChild || box.appendChild(document.createElement("a"));
    if (a.textContent !== words) a.textContent = words;
    if (a.getAttribute("href") !== href) a.setAttribute("href", href);
    return a;
  };
  const drawStudies = (chosen) => {
    const all = [...studies.values()];
    at("empty").hidden = all.length > 0;
    rowsOf(at("studies").tBodies[0], all.length).forEach((row, i) => {
      const study = all[i];
      const done = study.states.done || 0;
      link(cell(row, 0), study.key, go(study.key));
      cell(row, 1, study.question, "long");
      const finished = cell(row, 2, undefined, "count");
      const bar = finished.firstElementChild || finished.appendChild(document.createElement("progress"));
      if (!finished.lastElementChild || finished.children.length < 2) finished.append(make("span"));
      bar.max = total(study);
      bar.value = done;
      bar.setAttribute("aria-label", "finished runs of " + study.key);
      const words = ` ${done} of ${total(study)}`;
      if (finished.lastElementChild.textContent !== words) finished.lastElementChild.textContent = words;
      const others = Object.entries(study.states).filter(([name]) => name !== "done" && name !== "missing");
      cell(row, 3, others.map(([name, n]) => `${n} ${name}`).join(", ") || (done === total(study) ? "finished" : "waiting"));
      const report = cell(row, 4, done ? undefined : "");
      if (done) {
        const a = link(report, done === total(study) ? "report" : "report so far", "report/" + encodeURIComponent(study.key));
        a.target = "_blank";
        a.rel = "noreferrer";
      }
      if (study.key === chosen) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    });
  };
  const RANK = {running: 0, stopped: 1, failed: 2, corrupt: 3, done: 4, missing: 5};
  let start = 0;
  const drawRuns = (study) => {
    const state = at("runs-state").value;
    const wanted = at("runs-search").value.toLowerCase();
    const mine = [...runs.values()].filter((row) => row.study === study.key);
    const matching = mine
      .filter((row) => (!state || row.state === state) && (!wanted || `${row.arm} ${row.sig} ${row.phase}`.toLowerCase().includes(wanted)))
      .sort((a, b) => RANK[a.state] - RANK[b.state]);
    if (start >= matching.length) start = 0;
    const page = matching.slice(start, start + PAGE);
    const words = matching.length ? `${start + 1} to ${start + page.length} of ${matching.length} runs` : "No run matches.";
    if (at("runs-count").textContent !== words) at("runs-count").textContent = words;
    rowsOf(at("runs").tBodies[0], page.length).forEach((row, i) => {
      const run = page[i];
      link(cell(row, 0), run.arm, go(study.key, run.sig));
      cell(row, 1, run.seed === null ? "-" : String(run.seed));
      const box = cell(row, 2);
      const mark = box.firstElementChild || box.appendChild(make("span"));
      if (mark.textContent !== run.state) mark.textContent = run.state;
      mark.className = "verdict state-" + run.state;
      cell(row, 3, run.step ? String(run.step) + (run.steps ? " of " + run.steps : "") : "");
      cell(row, 4, number(run.loss));
      cell(row, 5, number(run.dev));
      cell(row, 6, run.phase, "now");
    });
    const turn = at("runs-turn");
    turn.hidden = matching.length <= PAGE;
    turn.children[0].disabled = start === 0;
    turn.children[1].disabled = start + PAGE >= matching.length;
  };
  const drawStates = (study) => {
    const box = at("runs-state");
    const names = Object.keys(study.states).sort((a, b) => RANK[a] - RANK[b]);
    const have = [...box.options].slice(1).map((option) => option.value);
    if (names.join() === have.join()) return;
    const kept = box.value;
    box.replaceChildren(box.options[0], ...names.map((name) => new Option(name, name)));
    box.value = names.includes(kept) ? kept : "";
  };
  const draw = () => {
    const chosen = place();
    const key = chosen.get("study") || studies.keys().next().value;
    const study = studies.get(key);
    drawStudies(key);
    at("study").hidden = !study;
    if (!study) {
      at("run").hidden = true;
      return;
    }
    if (at("study-title").textContent !== study.question) at("study-title").textContent = study.question;
    document.title = `${study.states.done || 0} of ${total(study)}: ${study.key}`;
    drawStates(study);
    drawRuns(study);
    const at_key = encodeURIComponent(study.key);
    refresh("verdicts", `study/${at_key}/verdicts`, study.sealed);
    refresh("curves", `study/${at_key}/curves`, study.stamp);
    const sig = chosen.get("run");
    const run = sig && [...runs.values()].find((row) => row.study === study.key && row.sig === sig);
    at("run").hidden = !run;
    if (run) refresh("run", `run/${at_key}/${encodeURIComponent(sig)}`, `${run.state} ${run.step} ${run.phase} ${run.dev}`);
  };

  const turn = (words, by) => {
    const made = make("button", words);
    made.type = "button";
    made.addEventListener("click", () => {
      start = Math.max(0, start + by);
      draw();
    });
    return made;
  };
  at("runs-turn").append(turn("Previous", -PAGE), turn("Next", PAGE));
  for (const name of ["runs-state", "runs-search"]) at(name).addEventListener("input", () => { start = 0; draw(); });
  addEventListener("hashchange", () => {
    start = 0;
    draw();
    if (place().get("run")) at("run").scrollIntoView({block: "start"});
  });
  document.addEventListener("visibilitychange", soon);
  // What could not be shown at its moment (hidden page, busy server, focus inside) is shown at the next.
  setInterval(soon, 2000);
  listen();
})();
