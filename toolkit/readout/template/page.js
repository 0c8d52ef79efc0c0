"use strict";
(() => {
  const root = document.documentElement;
  const make = (name, text, parent) => {
    const made = document.createElement(name);
    made.textContent = text;
    parent.append(made);
    return made;
  };

  const theme = document.getElementById("theme");
  const dark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const name = () => { theme.textContent = dark() ? "Light" : "Dark"; };
  theme.hidden = false;
  theme.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; name(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", name);
  name();

  const cards = [...document.querySelectorAll("main section[id] > h2")];
  if (cards.length > 2) {
    const nav = make("nav", "", document.body);
    nav.className = "toc";
    nav.setAttribute("aria-label", "On this page");
    for (const each of cards) {
      make("a", each.firstChild.textContent.trim(), nav).href = "#" + each.parentElement.id;
    }
    document.querySelector("main .headline").after(nav);
  }

  const tip = make("div", "", document.body);
  tip.id = "tip";
  tip.setAttribute("role", "tooltip");
  tip.hidden = true;
  const hide = () => { tip.hidden = true; };
  const show = (mark) => {
    tip.textContent = mark.getAttribute("aria-label");
    tip.hidden = false;
    const at = mark.getBoundingClientRect(), box = tip.getBoundingClientRect();
    const left = Math.min(Math.max(8, at.left + at.width / 2 - box.width / 2), root.clientWidth - box.width - 8);
    const above = at.top - box.height - 8;
    tip.style.left = `${left + scrollX}px`;
    tip.style.top = `${(above > 0 ? above : at.bottom + 8) + scrollY}px`;
  };
  for (const mark of document.querySelectorAll("svg.chart [tabindex]")) {
    const title = mark.querySelector("title");
    mark.setAttribute("aria-label", title.textContent);
    title.remove();
    mark.addEventListener("pointerenter", () => show(mark));
    mark.addEventListener("pointerleave", hide);
    mark.addEventListener("focus", () => show(mark));
    mark.addEventListener("blur", hide);
  }
  addEventListener("keydown", (pressed) => { if (pressed.key === "Escape") hide(); });

  const folded = () => [...document.querySelectorAll("details:not([open])")];
  let opened = [];
  addEventListener("beforeprint", () => { opened = folded(); for (const each of opened) each.open = true; });
  addEventListener("afterprint", () => { for (const each of opened) each.open = false; });

  const list = document.getElementById("experiments");
  if (!list) return;
  const rows = [...list.children], said = document.getElementById("shown");
  const find = document.getElementById("find"), status = document.getElementById("status"), order = document.getElementById("order");
  const orders = {
    newest: (a, b) => b.dataset.on.localeCompare(a.dataset.on),
    name: (a, b) => a.dataset.name.localeCompare(b.dataset.name),
    status: (a, b) => a.dataset.rank - b.dataset.rank,
    customers: (a, b) => b.dataset.customers - a.dataset.customers,
  };
  const update = () => {
    const wanted = find.value.trim().toLowerCase();
    for (const row of rows) {
      row.hidden = !(row.dataset.text.toLowerCase().includes(wanted) && (!status.value || row.dataset.status === status.value));
    }
    list.append(...rows.sort(orders[order.value]));
    const shown = rows.filter((row) => !row.hidden).length;
    said.textContent = `${shown} of ${rows.length} shown`;
  };
  document.getElementById("sieve").hidden = false;
  for (const each of [find, status, order]) each.addEventListener("input", update);
  update();
})();
